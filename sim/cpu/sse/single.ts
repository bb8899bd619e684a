/**
 * Single-precision elements (SDM vol. 1, 4.2.2, 11.5). A function reads the elements at cells a and b, writes the result at
 * cell `out`, and returns the exceptions found. The common case, round to nearest on normal numbers with a normal result,
 * is done in JavaScript's doubles: rounding a double's sum, product, quotient or root once more gives the single-precision
 * result, since 53 is at least 2 x 24 + 2. All else goes to exact.ts.
 */
import type { CpuState } from "../state.ts";
import { SINGLE } from "../x87/conversions.ts";
import { ARITHMETIC, arithmetic, Element } from "./exact.ts";
import { EXCEPTION, isNearest, knowsInexact } from "./mxcsr.ts";

export type ElementOperation = (state: CpuState, out: number, a: number, b: number, mxcsr: number) => number;

const SMALLEST = 2 ** -126;
const LARGEST = (2 - 2 ** -23) * 2 ** 127;

/** Zero or a normal number. */
function isPlain(x: number): boolean {
  const magnitude = Math.abs(x);
  return (magnitude >= SMALLEST && magnitude <= LARGEST) || magnitude === 0;
}

/** A result that is far from underflow, overflow and tininess. */
function isSafe(x: number): boolean {
  const magnitude = Math.abs(x);
  return magnitude > SMALLEST && magnitude <= LARGEST;
}

function exactly(state: CpuState, operation: number, out: number, a: number, b: number, mxcsr: number): number {
  const { i32 } = state;
  const element = new Element(SINGLE, mxcsr);
  const bits = arithmetic(element, operation, BigInt((i32[a] as number) >>> 0), BigInt((i32[b] as number) >>> 0));
  i32[out] = Number(bits) | 0;
  return element.flags;
}

function finish(state: CpuState, out: number, result: number, inexact: boolean): number {
  state.f32[out] = result;
  return inexact ? EXCEPTION.PE : 0;
}

/** Whether the double x + y = sum is not the exact sum (Knuth's TwoSum). */
export function sumIsInexact(x: number, y: number, sum: number): boolean {
  const second = sum - x;
  return x - (sum - second) + (y - second) !== 0;
}

function addition(operation: number): ElementOperation {
  return (state, out, a, b, mxcsr) => {
    const x = state.f32[a] as number;
    const y = operation === ARITHMETIC.ADD ? (state.f32[b] as number) : -(state.f32[b] as number);
    if (isNearest(mxcsr) && isPlain(x) && isPlain(y)) {
      const sum = x + y;
      const result = Math.fround(sum);
      if (isSafe(result) || sum === 0) {
        const inexact = !knowsInexact(mxcsr) && (result !== sum || sumIsInexact(x, y, sum));
        return finish(state, out, result, inexact);
      }
    }
    return exactly(state, operation, out, a, b, mxcsr);
  };
}

const multiplication: ElementOperation = (state, out, a, b, mxcsr) => {
  const x = state.f32[a] as number;
  const y = state.f32[b] as number;
  if (isNearest(mxcsr) && isPlain(x) && isPlain(y)) {
    // Exact: 48 bits.
    const product = x * y;
    const result = Math.fround(product);
    if (isSafe(result) || x === 0 || y === 0) return finish(state, out, result, result !== product);
  }
  return exactly(state, ARITHMETIC.MULTIPLY, out, a, b, mxcsr);
};

const division: ElementOperation = (state, out, a, b, mxcsr) => {
  const x = state.f32[a] as number;
  const y = state.f32[b] as number;
  if (isNearest(mxcsr) && isPlain(x) && isPlain(y) && y !== 0) {
    const result = Math.fround(x / y);
    if (isSafe(result) || x === 0) return finish(state, out, result, result * y !== x);
  }
  return exactly(state, ARITHMETIC.DIVIDE, out, a, b, mxcsr);
};

const root: ElementOperation = (state, out, a, b, mxcsr) => {
  const x = state.f32[b] as number;
  if (isNearest(mxcsr) && isPlain(x) && x >= 0) {
    const result = Math.fround(Math.sqrt(x));
    return finish(state, out, result, result * result !== x);
  }
  return exactly(state, ARITHMETIC.ROOT, out, a, b, mxcsr);
};

export const SINGLE_OPERATIONS = {
  add: addition(ARITHMETIC.ADD),
  subtract: addition(ARITHMETIC.SUBTRACT),
  multiply: multiplication,
  divide: division,
  root,
} as const;

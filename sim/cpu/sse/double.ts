/**
 * Double-precision elements (SDM vol. 1, 4.2.2, 11.5), as single.ts: the common case is JavaScript's own arithmetic, with an
 * error-free transformation that says whether the result is exact; all else goes to exact.ts.
 */
import type { CpuState } from "../state.ts";
import { DOUBLE } from "../x87/conversions.ts";
import { ARITHMETIC, arithmetic, Element } from "./exact.ts";
import { EXCEPTION, isNearest, knowsInexact } from "./mxcsr.ts";
import { type ElementOperation, sumIsInexact } from "./single.ts";

const SMALLEST = 2 ** -1022;
const LARGEST = Number.MAX_VALUE;
/** Between these the error-free transformations neither overflow nor lose bits. */
const LOW = 2 ** -960;
const HIGH = 2 ** 990;
/** Veltkamp's constant, which splits 53 bits into two halves. */
const SPLIT = 2 ** 27 + 1;

function isPlain(x: number): boolean {
  const magnitude = Math.abs(x);
  return (magnitude >= SMALLEST && magnitude <= LARGEST) || magnitude === 0;
}

function isSafe(x: number): boolean {
  const magnitude = Math.abs(x);
  return magnitude > SMALLEST && magnitude <= LARGEST;
}

function isMiddle(x: number): boolean {
  const magnitude = Math.abs(x);
  return magnitude > LOW && magnitude < HIGH;
}

function exactly(state: CpuState, operation: number, out: number, a: number, b: number, mxcsr: number): number {
  const { u64 } = state;
  const element = new Element(DOUBLE, mxcsr);
  u64[out >> 1] = arithmetic(element, operation, u64[a >> 1] as bigint, u64[b >> 1] as bigint);
  return element.flags;
}

function finish(state: CpuState, out: number, result: number, inexact: boolean): number {
  state.f64[out >> 1] = result;
  return inexact ? EXCEPTION.PE : 0;
}

/** What x * y differs from its rounded `product` by (Dekker); for operands and products in the middle of the range. */
function productError(x: number, y: number, product: number): number {
  const p = x * SPLIT;
  const xHigh = p - (p - x);
  const xLow = x - xHigh;
  const q = y * SPLIT;
  const yHigh = q - (q - y);
  const yLow = y - yHigh;
  return xLow * yLow - (product - xHigh * yHigh - xLow * yHigh - xHigh * yLow);
}

function addition(operation: number): ElementOperation {
  return (state, out, a, b, mxcsr) => {
    const x = state.f64[a >> 1] as number;
    const y = operation === ARITHMETIC.ADD ? (state.f64[b >> 1] as number) : -(state.f64[b >> 1] as number);
    if (isNearest(mxcsr) && isPlain(x) && isPlain(y)) {
      const sum = x + y;
      // A sum of doubles of zero is exact.
      if ((isSafe(sum) && Math.abs(sum) < HIGH) || sum === 0) {
        return finish(state, out, sum, !knowsInexact(mxcsr) && sumIsInexact(x, y, sum));
      }
    }
    return exactly(state, operation, out, a, b, mxcsr);
  };
}

const multiplication: ElementOperation = (state, out, a, b, mxcsr) => {
  const x = state.f64[a >> 1] as number;
  const y = state.f64[b >> 1] as number;
  if (isNearest(mxcsr) && isPlain(x) && isPlain(y)) {
    const product = x * y;
    if (x === 0 || y === 0) return finish(state, out, product, false);
    if (knowsInexact(mxcsr) && isSafe(product)) return finish(state, out, product, false);
    if (isMiddle(x) && isMiddle(y) && isMiddle(product)) {
      return finish(state, out, product, productError(x, y, product) !== 0);
    }
  }
  return exactly(state, ARITHMETIC.MULTIPLY, out, a, b, mxcsr);
};

const division: ElementOperation = (state, out, a, b, mxcsr) => {
  const x = state.f64[a >> 1] as number;
  const y = state.f64[b >> 1] as number;
  if (isNearest(mxcsr) && isPlain(x) && isPlain(y) && y !== 0) {
    const quotient = x / y;
    if (x === 0) return finish(state, out, quotient, false);
    if (knowsInexact(mxcsr) && isSafe(quotient)) return finish(state, out, quotient, false);
    if (isMiddle(x) && isMiddle(y) && isMiddle(quotient)) {
      const product = quotient * y;
      return finish(state, out, quotient, product !== x || productError(quotient, y, product) !== 0);
    }
  }
  return exactly(state, ARITHMETIC.DIVIDE, out, a, b, mxcsr);
};

const root: ElementOperation = (state, out, a, b, mxcsr) => {
  const x = state.f64[b >> 1] as number;
  if (isNearest(mxcsr)) {
    if (x === 0) return finish(state, out, x, false);
    if (x > 0 && isMiddle(x)) {
      const result = Math.sqrt(x);
      const square = result * result;
      return finish(state, out, result, square !== x || productError(result, result, square) !== 0);
    }
  }
  return exactly(state, ARITHMETIC.ROOT, out, a, b, mxcsr);
};

export const DOUBLE_OPERATIONS = {
  add: addition(ARITHMETIC.ADD),
  subtract: addition(ARITHMETIC.SUBTRACT),
  multiply: multiplication,
  divide: division,
  root,
} as const;

// The common cases of the x87 in 32-bit words against the exact arithmetic on big integers: results, exceptions and C1.
import { expect, test } from "vitest";
import { CpuState, X87, x87RegisterCell } from "../../sim/cpu/state.ts";
import * as arithmetic from "../../sim/cpu/x87/arithmetic.ts";
import { FORMAT, toMemory } from "../../sim/cpu/x87/conversions.ts";
import * as fast from "../../sim/cpu/x87/fast.ts";
import { type Float80, unpack } from "../../sim/cpu/x87/float80.ts";
import { Context } from "../../sim/cpu/x87/rounding.ts";
import * as stack from "../../sim/cpu/x87/stack.ts";

const CONTROL = 0x37f;
const C1 = 0x200;
const PE = 0x20;
const [A, B, D] = [x87RegisterCell(0), x87RegisterCell(1), x87RegisterCell(2)];

let seed = 0x2545f491;
function random(): number {
  seed ^= seed << 13;
  seed ^= seed >>> 17;
  seed ^= seed << 5;
  return seed >>> 0;
}

/** A normal number: random bits, runs of ones or zeroes, few bits; the exponent near `near`. */
function normal(near: number): Float80 {
  const kind = random() % 6;
  let bits = (BigInt(random()) << 32n) | BigInt(random());
  if (kind === 0) bits = 0n;
  if (kind === 1) bits = (1n << 63n) - 1n;
  if (kind === 2) bits &= ~((1n << BigInt(random() % 64)) - 1n);
  if (kind === 3) bits |= (1n << BigInt(random() % 64)) - 1n;
  if (kind === 4) bits = 1n << BigInt(random() % 64);
  const exponent = near + (random() % 3 === 0 ? (random() % 140) - 70 : (random() % 7) - 3);
  return { signExponent: exponent | (random() & 0x8000), significand: BigInt.asUintN(64, bits | (1n << 63n)) };
}

function put(state: CpuState, cell: number, { signExponent, significand }: Float80): void {
  state.u64[cell >> 1] = significand;
  state.set(cell + 2, signExponent);
}

function value(state: CpuState, cell: number): Float80 {
  return { signExponent: state.i32[cell + 2] as number, significand: state.u64[cell >> 1] as bigint };
}

function fresh(): CpuState {
  const state = new CpuState();
  stack.setControl(state, CONTROL);
  return state;
}

function statusOf(found: Context): number {
  return found.flags | (found.roundedUp ? C1 : 0);
}

test("sums, differences and products are those of the exact arithmetic, or are left to it", () => {
  const operations = [
    {
      quick: (s: CpuState) => fast.add(s, D, A, B, 0, 0),
      exact: (c: Context, a: Float80, b: Float80) => arithmetic.add(c, unpack(a), unpack(b), 0),
    },
    {
      quick: (s: CpuState) => fast.add(s, D, A, B, 0, fast.SIGN),
      exact: (c: Context, a: Float80, b: Float80) => arithmetic.add(c, unpack(a), unpack(b), 1),
    },
    {
      quick: (s: CpuState) => fast.multiply(s, D, A, B),
      exact: (c: Context, a: Float80, b: Float80) => arithmetic.multiply(c, unpack(a), unpack(b)),
    },
  ];
  let done = 0;
  const state = fresh();
  for (let n = 0; n < 30_000; n++) {
    const a = normal(n % 10 === 0 ? 8195 : 16383);
    const b = normal(n % 3 === 0 ? a.signExponent & 0x7fff : 16383);
    const { quick, exact } = operations[n % 3]!;
    put(state, A, a);
    put(state, B, b);
    stack.setStatus(state, 0);
    if (!quick(state)) {
      expect(stack.status(state)).toBe(0);
      continue;
    }
    done++;
    const found = new Context(CONTROL);
    const result = exact(found, a, b);
    const is = [value(state, D), stack.status(state) & (C1 | PE)];
    const should = [result, statusOf(found)];
    if (JSON.stringify(is, text) !== JSON.stringify(should, text)) expect([a, b, is]).toEqual([a, b, should]);
  }
  expect(done).toBeGreaterThan(15_000);
});

const text = (_key: string, item: unknown): unknown => (typeof item === "bigint" ? item.toString(16) : item);

test("a store of a double is that of the exact conversion, or is left to it", () => {
  let done = 0;
  const state = fresh();
  for (let n = 0; n < 10_000; n++) {
    const a = normal(n % 4 === 0 ? 16383 + (n % 8 === 0 ? 1020 : -1020) : 16383);
    put(state, A, a);
    stack.setStatus(state, 0);
    if (!fast.shrink(state, A)) continue;
    done++;
    const found = new Context(CONTROL);
    const bits = toMemory(found, FORMAT.FLOAT64, a);
    expect([state.u64[X87.transfer >> 1], stack.status(state) & (C1 | PE)]).toEqual([bits, statusOf(found)]);
  }
  expect(done).toBeGreaterThan(5_000);
});

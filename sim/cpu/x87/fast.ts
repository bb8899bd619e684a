/**
 * The common case of the x87 without big integers: loads of normal numbers, sums and products of normal numbers with a normal
 * result, and stores of them, all in 32-bit words under round to nearest (and extended precision, where it matters). Each function
 * says whether it did its work, results and exceptions included; if not, nothing has changed and arithmetic.ts and
 * conversions.ts do all of it. A number is in a cell as registers have it: significand, then sign and exponent.
 */
import { type CpuState, X87, x87RegisterCell } from "../state.ts";
import { BIAS, MAX_EXPONENT } from "./float80.ts";
import { EXCEPTION } from "./rounding.ts";
import * as stack from "./stack.ts";

const TOP_BIT = 0x8000_0000;
const ROUNDING = 3 << 10;
const PRECISION = 3 << 8;
const EXTENDED = 3 << 8;
/** The sign in the field of sign and exponent. */
export const SIGN = 0x8000;

/** Cell of ST(i). */
export const stackCell = (state: CpuState, i: number): number => x87RegisterCell(stack.physical(state, i));

/** Whether the cell holds a normal number. */
function isNormal(state: CpuState, cell: number): boolean {
  const biased = (state.i32[cell + 2] as number) & MAX_EXPONENT;
  return biased !== 0 && biased !== MAX_EXPONENT && (state.i32[cell + 1] as number) < 0;
}

/** Reports an inexact result; `up`: its magnitude was increased. */
function finish(state: CpuState, inexact: boolean, up: boolean): true {
  stack.setC1(state, up);
  if (inexact) stack.setStatus(state, stack.status(state) | EXCEPTION.PE);
  return true;
}

/**
 * Writes the normal number with significand high:low and 32 more bits `rest` below it, rounded to nearest, to a register cell;
 * false if its exponent is out of range.
 */
function put(
  state: CpuState,
  cell: number,
  sign: number,
  biased: number,
  high: number,
  low: number,
  rest: number,
): boolean {
  const up = rest >>> 0 > TOP_BIT || (rest >>> 0 === TOP_BIT && (low & 1) !== 0);
  let first = low | 0;
  let second = high | 0;
  let exponent = biased;
  if (up) {
    first = (first + 1) | 0;
    if (first === 0) second = (second + 1) | 0;
    if (first === 0 && second === 0) {
      second = TOP_BIT | 0;
      exponent++;
    }
  }
  if (exponent <= 1 || exponent >= MAX_EXPONENT - 1) return false;
  state.i32[cell] = first;
  state.i32[cell + 1] = second;
  state.set(cell + 2, sign | exponent);
  return finish(state, rest !== 0, up);
}

/** Whether results are rounded to nearest and to 64 bits. */
function isUsual(state: CpuState): boolean {
  return (stack.control(state) & (ROUNDING | PRECISION)) === EXTENDED;
}

/** d = a + b; with `flipA` or `flipB` (SIGN or 0) an operand's sign is changed first. */
export function add(state: CpuState, d: number, a: number, b: number, flipA: number, flipB: number): boolean {
  if (!isUsual(state) || !isNormal(state, a) || !isNormal(state, b)) return false;
  const { i32 } = state;
  const fieldA = (i32[a + 2] as number) ^ flipA;
  const fieldB = (i32[b + 2] as number) ^ flipB;
  let distance = (fieldA & MAX_EXPONENT) - (fieldB & MAX_EXPONENT);
  if (distance === 0) {
    const highA = (i32[a + 1] as number) >>> 0;
    const highB = (i32[b + 1] as number) >>> 0;
    if (highA < highB || (highA === highB && (i32[a] as number) >>> 0 < (i32[b] as number) >>> 0)) distance = -1 / 2;
  }
  const large = distance < 0 ? b : a;
  const small = distance < 0 ? a : b;
  const field = distance < 0 ? fieldB : fieldA;
  const shift = Math.abs(Math.trunc(distance));
  if (shift > 60) return false;
  // The smaller one, shifted right, with 32 bits below it, the last of which stands for all that was lost.
  const s1 = i32[small + 1] as number;
  const s0 = i32[small] as number;
  const bits = shift & 31;
  let high = bits === 0 ? s1 : s1 >>> bits;
  let low = bits === 0 ? s0 : (s0 >>> bits) | (s1 << (32 - bits));
  let rest = bits === 0 ? 0 : s0 << (32 - bits);
  if (shift >= 32) {
    rest = low | (rest !== 0 ? 1 : 0);
    low = high;
    high = 0;
  }
  const l1 = (i32[large + 1] as number) >>> 0;
  const l0 = (i32[large] as number) >>> 0;
  const sign = field & SIGN;
  let biased = field & MAX_EXPONENT;
  if (((fieldA ^ fieldB) & SIGN) === 0) {
    const sum0 = l0 + (low >>> 0);
    const sum1 = l1 + (high >>> 0) + (sum0 > 0xffff_ffff ? 1 : 0);
    low = sum0 | 0;
    high = sum1 | 0;
    if (sum1 > 0xffff_ffff) {
      rest = (rest >>> 1) | (rest & 1) | (low << 31);
      low = (low >>> 1) | (high << 31);
      high = (high >>> 1) | TOP_BIT;
      biased++;
    }
    return put(state, d, sign, biased, high, low, rest);
  }
  // Large minus small: the bits below are negated, with a borrow.
  let borrow = 0;
  if (rest !== 0) {
    rest = -rest | 0;
    borrow = 1;
  }
  const difference0 = l0 - (low >>> 0) - borrow;
  const difference1 = l1 - (high >>> 0) - (difference0 < 0 ? 1 : 0);
  low = difference0 | 0;
  high = difference1 | 0;
  if (high === 0 && low === 0) return false;
  while (high >= 0) {
    const left = high === 0 ? 32 : Math.clz32(high);
    if (left === 32) {
      high = low;
      low = rest;
      rest = 0;
    } else {
      high = (high << left) | (low >>> (32 - left));
      low = (low << left) | (rest >>> (32 - left));
      rest <<= left;
    }
    biased -= left;
  }
  return put(state, d, sign, biased, high, low, rest);
}

/** Upper word of an unsigned product of words. */
function upperProduct(a: number, b: number): number {
  const a0 = a & 0xffff;
  const a1 = a >>> 16;
  const b0 = b & 0xffff;
  const b1 = b >>> 16;
  const middle = a1 * b0 + ((a0 * b0) >>> 16);
  const cross = a0 * b1 + (middle & 0xffff);
  return (a1 * b1 + Math.floor(middle / 65536) + Math.floor(cross / 65536)) >>> 0;
}

/** d = a b. */
export function multiply(state: CpuState, d: number, a: number, b: number): boolean {
  if (!isUsual(state) || !isNormal(state, a) || !isNormal(state, b)) return false;
  const { i32 } = state;
  const [a0, a1, b0, b1] = [i32[a] as number, i32[a + 1] as number, i32[b] as number, i32[b + 1] as number];
  const sign = ((i32[a + 2] as number) ^ (i32[b + 2] as number)) & SIGN;
  let biased = ((i32[a + 2] as number) & MAX_EXPONENT) + ((i32[b + 2] as number) & MAX_EXPONENT) - BIAS + 1;
  // Words of the product, lowest first; sums of words are exact in doubles.
  const p0 = Math.imul(a0, b0) >>> 0;
  const s1 = upperProduct(a0, b0) + (Math.imul(a0, b1) >>> 0) + (Math.imul(a1, b0) >>> 0);
  const s2 = Math.floor(s1 / 4294967296) + upperProduct(a0, b1) + upperProduct(a1, b0) + (Math.imul(a1, b1) >>> 0);
  let high = (Math.floor(s2 / 4294967296) + upperProduct(a1, b1)) | 0;
  let low = s2 | 0;
  const p1 = s1 | 0;
  let rest = p1;
  let last = p0 !== 0 ? 1 : 0;
  if (high >= 0) {
    high = (high << 1) | (low >>> 31);
    low = (low << 1) | (p1 >>> 31);
    rest = (p1 << 1) | (p0 >>> 31);
    last = p0 << 1 !== 0 ? 1 : 0;
    biased--;
  }
  return put(state, d, sign, biased, high, low, rest | last);
}

/**
 * Turns the single (`bytes` 4) or double whose bits are in X87.transfer into a number there, if it is normal or zero; no
 * exception can come of it.
 */
export function expand(state: CpuState, bytes: number): boolean {
  const { i32 } = state;
  const cell = X87.transfer;
  const top = i32[bytes === 4 ? cell : cell + 1] as number;
  const sign = (top >>> 16) & SIGN;
  if (bytes === 4) {
    const biased = (top >>> 23) & 0xff;
    if (biased === 0 || biased === 0xff) return false;
    i32[cell] = 0;
    i32[cell + 1] = TOP_BIT | (top << 8);
    i32[cell + 2] = sign | (biased - 127 + BIAS);
  } else {
    const biased = (top >>> 20) & 0x7ff;
    if (biased === 0 || biased === 0x7ff) return false;
    const low = i32[cell] as number;
    i32[cell] = low << 11;
    i32[cell + 1] = TOP_BIT | (top << 11) | (low >>> 21);
    i32[cell + 2] = sign | (biased - 1023 + BIAS);
  }
  i32[cell + 3] = 0;
  return true;
}

/** Turns an integer other than zero into a number in X87.transfer. */
export function expandInteger(state: CpuState, value: number): boolean {
  if (value === 0) return false;
  const { i32 } = state;
  const cell = X87.transfer;
  const magnitude = Math.abs(value);
  const left = Math.clz32(magnitude);
  i32[cell] = 0;
  i32[cell + 1] = magnitude << left;
  i32[cell + 2] = (value < 0 ? SIGN : 0) | (BIAS + 31 - left);
  i32[cell + 3] = 0;
  return true;
}

/** Puts the number in `cell`, rounded to a double, into X87.transfer as bits, if it is a normal one; reports PE. */
export function shrink(state: CpuState, cell: number): boolean {
  if ((stack.control(state) & ROUNDING) !== 0 || !isNormal(state, cell)) return false;
  const { i32 } = state;
  const high = i32[cell + 1] as number;
  const low = i32[cell] as number;
  const field = i32[cell + 2] as number;
  let biased = (field & MAX_EXPONENT) - BIAS + 1023;
  let first = (low >>> 11) | (high << 21);
  let second = high >>> 11;
  const rest = low << 21;
  const up = rest >>> 0 > TOP_BIT || (rest >>> 0 === TOP_BIT && (first & 1) !== 0);
  if (up) {
    first = (first + 1) | 0;
    if (first === 0) second++;
    if (second >>> 21 !== 0) {
      second = 1 << 20;
      biased++;
    }
  }
  // With PE unmasked the store is made too (SDM vol. 1, 8.5.6).
  if (biased <= 1 || biased >= 0x7fe) return false;
  i32[X87.transfer] = first;
  i32[X87.transfer + 1] = ((field & SIGN) << 16) | (biased << 20) | (second & 0xf_ffff);
  return finish(state, rest !== 0, up);
}

/** Copies a number from cell to cell. */
export function copy(state: CpuState, to: number, from: number): void {
  const { i32 } = state;
  i32[to] = i32[from] as number;
  i32[to + 1] = i32[from + 1] as number;
  state.set(to + 2, i32[from + 2] as number);
}

/**
 * Arithmetic on extended-precision operands (SDM vol. 1, 8.3.5 and 8.5): exact, then rounded once. Each operation resolves
 * NaNs and invalid operands first, which hide the denormal-operand exception, then division by zero, then denormals.
 */
import {
  BIAS,
  type Float80,
  INDEFINITE,
  INTEGER_BIT,
  infinity,
  isNan,
  KIND,
  type Operand,
  pack,
  quiet,
  zero,
} from "./float80.ts";
import { type Context, EXCEPTION, round80, roundToInteger, TRUNCATE } from "./rounding.ts";

const EXTENDED = 64;
/** Beyond this distance of exponents the smaller addend only decides the direction of rounding. */
const FAR = 130;

export function invalid(context: Context): Float80 {
  context.raise(EXCEPTION.IE);
  return INDEFINITE;
}

/** The result when an operand is a NaN or unsupported (SDM vol. 1, table 4-7), else null. */
export function special(context: Context, a: Operand, b: Operand): Float80 | null {
  if (a.kind === KIND.UNSUPPORTED || b.kind === KIND.UNSUPPORTED) return invalid(context);
  if (!isNan(a) && !isNan(b)) return null;
  const signalling = a.kind === KIND.SNAN || b.kind === KIND.SNAN;
  if (signalling) context.raise(EXCEPTION.IE);
  if (!isNan(b)) return quiet(a);
  if (!isNan(a)) return quiet(b);
  if (a.kind !== b.kind) return quiet(a.kind === KIND.QNAN ? a : b);
  if (a.significand !== b.significand) return quiet(a.significand > b.significand ? a : b);
  return quiet(a.sign === 0 ? a : b);
}

/** The result when the only operand is a NaN or unsupported, else null. */
export function specialUnary(context: Context, a: Operand): Float80 | null {
  if (a.kind === KIND.UNSUPPORTED) return invalid(context);
  if (a.kind === KIND.SNAN) context.raise(EXCEPTION.IE);
  return isNan(a) ? quiet(a) : null;
}

function denormals(context: Context, a: Operand, b: Operand = a): void {
  if (a.denormal || b.denormal) context.raise(EXCEPTION.DE);
}

/** A finite operand or zero as it is, for results that need no rounding. */
export function whole(context: Context, a: Operand, sign = a.sign): Float80 {
  if (a.kind === KIND.ZERO) return zero(sign);
  if (a.kind === KIND.INFINITY) return infinity(sign);
  return round80(context, EXTENDED, sign, a.significand, a.exponent - 63);
}

/** a + b, or with `negate` = 1 a - b. */
export function add(context: Context, a: Operand, b: Operand, negate: number): Float80 {
  const nan = special(context, a, b);
  if (nan !== null) return nan;
  const signB = b.sign ^ negate;
  if (a.kind === KIND.INFINITY && b.kind === KIND.INFINITY && a.sign !== signB) return invalid(context);
  denormals(context, a, b);
  if (a.kind === KIND.INFINITY) return infinity(a.sign);
  if (b.kind === KIND.INFINITY) return infinity(signB);
  const { precision } = context;
  const zeroSign = context.rounding === 1 ? 1 : 0;
  if (a.kind === KIND.ZERO && b.kind === KIND.ZERO) return zero(a.sign === signB ? a.sign : zeroSign);
  if (a.kind === KIND.ZERO) return round80(context, precision, signB, b.significand, b.exponent - 63);
  if (b.kind === KIND.ZERO) return round80(context, precision, a.sign, a.significand, a.exponent - 63);

  const aIsLarger = a.exponent > b.exponent || (a.exponent === b.exponent && a.significand >= b.significand);
  const large = aIsLarger ? a : b;
  const small = aIsLarger ? b : a;
  const sign = aIsLarger ? a.sign : signB;
  const subtracts = a.sign !== signB;
  const distance = large.exponent - small.exponent;
  if (distance > FAR) {
    const magnitude = (large.significand << 66n) - (subtracts ? 1n : 0n);
    return round80(context, precision, sign, magnitude, large.exponent - 63 - 66, true);
  }
  const aligned = large.significand << BigInt(distance);
  const magnitude = subtracts ? aligned - small.significand : aligned + small.significand;
  if (magnitude === 0n) return zero(zeroSign);
  return round80(context, precision, sign, magnitude, small.exponent - 63);
}

export function multiply(context: Context, a: Operand, b: Operand): Float80 {
  const nan = special(context, a, b);
  if (nan !== null) return nan;
  const sign = a.sign ^ b.sign;
  const infinite = a.kind === KIND.INFINITY || b.kind === KIND.INFINITY;
  const zeroes = a.kind === KIND.ZERO || b.kind === KIND.ZERO;
  if (infinite && zeroes) return invalid(context);
  denormals(context, a, b);
  if (infinite) return infinity(sign);
  if (zeroes) return zero(sign);
  return round80(context, context.precision, sign, a.significand * b.significand, a.exponent + b.exponent - 126);
}

/** a / b. */
export function divide(context: Context, a: Operand, b: Operand): Float80 {
  const nan = special(context, a, b);
  if (nan !== null) return nan;
  const sign = a.sign ^ b.sign;
  if (a.kind === b.kind && (a.kind === KIND.INFINITY || a.kind === KIND.ZERO)) return invalid(context);
  if (b.kind === KIND.ZERO && a.kind === KIND.FINITE) {
    context.raise(EXCEPTION.ZE);
    return infinity(sign);
  }
  denormals(context, a, b);
  if (a.kind === KIND.INFINITY) return infinity(sign);
  if (a.kind === KIND.ZERO || b.kind === KIND.INFINITY) return zero(sign);
  const numerator = a.significand << 66n;
  const quotient = numerator / b.significand;
  const sticky = quotient * b.significand !== numerator;
  return round80(context, context.precision, sign, quotient, a.exponent - b.exponent - 66, sticky);
}

export function squareRoot(context: Context, a: Operand): Float80 {
  const nan = specialUnary(context, a);
  if (nan !== null) return nan;
  if (a.kind === KIND.ZERO) return zero(a.sign);
  if (a.sign === 1) return invalid(context);
  denormals(context, a);
  if (a.kind === KIND.INFINITY) return infinity(0);
  // An even exponent, and 67 bits of root.
  const scale = a.exponent - 63 - 70;
  const even = scale - (scale & 1);
  const magnitude = a.significand << BigInt(a.exponent - 63 - even);
  const root = integerRoot(magnitude);
  return round80(context, context.precision, 0, root, even / 2, root * root !== magnitude);
}

/** Largest integer whose square is not above `value`: Newton's iteration from a double's estimate. */
export function integerRoot(value: bigint): bigint {
  let root = BigInt(Math.floor(Math.sqrt(Number(value))));
  for (;;) {
    const next = (root + value / root) >> 1n;
    const distance = next - root;
    root = next;
    if (distance >= -1n && distance <= 1n) break;
  }
  while (root * root > value) root--;
  while ((root + 1n) * (root + 1n) <= value) root++;
  return root;
}

export interface Remainder {
  readonly value: Float80;
  /** Low bits of the quotient; "partial" when the reduction is (C2); "none" when an operand is no number. */
  readonly quotient: number | "partial" | "none";
}

/**
 * FPREM (truncating) and FPREM1 (`nearest`): exact; a distance of exponents of 64 and more is reduced by 32 to 63 of it
 * (SDM vol. 2, FPREM; the amount is the implementation's choice).
 */
export function remainder(context: Context, a: Operand, b: Operand, nearest: boolean): Remainder {
  const nan = special(context, a, b);
  if (nan !== null) return { value: nan, quotient: "none" };
  if (a.kind === KIND.INFINITY || b.kind === KIND.ZERO) return { value: invalid(context), quotient: "none" };
  denormals(context, a, b);
  if (a.kind === KIND.ZERO || b.kind === KIND.INFINITY) return { value: whole(context, a), quotient: 0 };
  const distance = a.exponent - b.exponent;
  if (distance < -1) return { value: whole(context, a), quotient: 0 };
  if (distance >= 64) {
    const step = (distance & 31) | 32;
    const rest = (a.significand << BigInt(step)) % b.significand;
    const scale = b.exponent - 63 + distance - step;
    const value = rest === 0n ? zero(a.sign) : round80(context, EXTENDED, a.sign, rest, scale);
    return { value, quotient: "partial" };
  }
  // Both in units of the smaller one's last bit.
  const low = Math.min(a.exponent, b.exponent);
  const dividend = a.significand << BigInt(a.exponent - low);
  const divisor = b.significand << BigInt(b.exponent - low);
  let quotient = dividend / divisor;
  let rest = dividend - quotient * divisor;
  let sign = a.sign;
  if (nearest && (rest * 2n > divisor || (rest * 2n === divisor && (quotient & 1n) === 1n))) {
    quotient++;
    rest = divisor - rest;
    sign ^= 1;
  }
  const value = rest === 0n ? zero(a.sign) : round80(context, EXTENDED, sign, rest, low - 63);
  return { value, quotient: Number(quotient & 7n) };
}

export function roundInteger(context: Context, a: Operand): Float80 {
  const nan = specialUnary(context, a);
  if (nan !== null) return nan;
  denormals(context, a);
  if (a.kind !== KIND.FINITE || a.exponent >= 63) return whole(context, a);
  const value = roundToInteger(context, context.rounding, a.sign, a.significand, a.exponent - 63);
  if (value === 0n) return zero(a.sign);
  const { flags, roundedUp } = context;
  const result = round80(context, EXTENDED, a.sign, value, 0);
  context.flags = flags;
  context.roundedUp = roundedUp;
  return result;
}

/** a x 2^(b, truncated). */
export function scale(context: Context, a: Operand, b: Operand): Float80 {
  const nan = special(context, a, b);
  if (nan !== null) return nan;
  if (b.kind === KIND.INFINITY) {
    if (b.sign === 0 ? a.kind === KIND.ZERO : a.kind === KIND.INFINITY) return invalid(context);
    denormals(context, a);
    return b.sign === 0 ? infinity(a.sign) : zero(a.sign);
  }
  denormals(context, a, b);
  if (a.kind !== KIND.FINITE || b.kind === KIND.ZERO) return whole(context, a);
  // 2^17 is beyond the range of exponents from any operand, scaled results included.
  const limit = 1 << 17;
  const steps = b.exponent < 0 ? 0 : b.exponent > 16 ? limit : Number(b.significand >> BigInt(63 - b.exponent));
  return round80(context, EXTENDED, a.sign, a.significand, a.exponent - 63 + (b.sign === 1 ? -steps : steps));
}

/** Exponent and significand of a value, both as values (FXTRACT). */
export function extract(context: Context, a: Operand): { exponent: Float80; significand: Float80 } {
  const nan = specialUnary(context, a);
  if (nan !== null) return { exponent: nan, significand: nan };
  if (a.kind === KIND.ZERO) {
    context.raise(EXCEPTION.ZE);
    return { exponent: infinity(1), significand: zero(a.sign) };
  }
  if (a.kind === KIND.INFINITY) return { exponent: infinity(0), significand: infinity(a.sign) };
  denormals(context, a);
  const magnitude = BigInt(Math.abs(a.exponent));
  const sign = a.exponent < 0 ? 1 : 0;
  const exponent = magnitude === 0n ? zero(0) : round80(context, EXTENDED, sign, magnitude, 0);
  return { exponent, significand: pack(a.sign, BIAS, a.significand) };
}

/** Outcomes of a comparison as C3, C2, C0 in bits 2 to 0: the values that FCOMI puts into ZF, PF, CF. */
export const ORDER = { ABOVE: 0, BELOW: 1, EQUAL: 4, UNORDERED: 7 } as const;

/** Compares; `quietly` (FUCOM) raises the invalid-operation exception only for signalling NaNs and unsupported operands. */
export function compare(context: Context, a: Operand, b: Operand, quietly: boolean): number {
  const unsupported = a.kind === KIND.UNSUPPORTED || b.kind === KIND.UNSUPPORTED;
  if (unsupported || isNan(a) || isNan(b)) {
    const signalling = a.kind === KIND.SNAN || b.kind === KIND.SNAN;
    if (!quietly || unsupported || signalling) context.raise(EXCEPTION.IE);
    return ORDER.UNORDERED;
  }
  denormals(context, a, b);
  if (a.kind === KIND.ZERO && b.kind === KIND.ZERO) return ORDER.EQUAL;
  const signA = a.kind === KIND.ZERO ? b.sign ^ 1 : a.sign;
  const signB = b.kind === KIND.ZERO ? a.sign ^ 1 : b.sign;
  if (signA !== signB) return signA === 1 ? ORDER.BELOW : ORDER.ABOVE;
  const magnitude = compareMagnitudes(a, b);
  if (magnitude === 0) return ORDER.EQUAL;
  return magnitude > 0 === (signA === 0) ? ORDER.ABOVE : ORDER.BELOW;
}

function compareMagnitudes(a: Operand, b: Operand): number {
  if (a.kind === KIND.INFINITY || b.kind === KIND.INFINITY) {
    return (a.kind === KIND.INFINITY ? 1 : 0) - (b.kind === KIND.INFINITY ? 1 : 0);
  }
  if (a.exponent !== b.exponent) return a.exponent - b.exponent;
  return a.significand === b.significand ? 0 : a.significand > b.significand ? 1 : -1;
}

/** Class of a register's value as FXAM gives it: C3, C2, C0 in bits 2 to 0 (SDM vol. 2, FXAM). */
export function classify(a: Operand): number {
  switch (a.kind) {
    case KIND.UNSUPPORTED:
      return 0;
    case KIND.QNAN:
    case KIND.SNAN:
      return 1;
    case KIND.INFINITY:
      return 3;
    case KIND.ZERO:
      return 4;
    default:
      return a.denormal ? 6 : 2;
  }
}

/** The integer that a value rounds to, or null when it is no number or too large for `bits`; null raises IE. */
export function toInteger(context: Context, a: Operand, limit: bigint, truncate: boolean): bigint | null {
  if (a.kind === KIND.ZERO) return 0n;
  if (a.kind === KIND.FINITE && a.exponent < 64) {
    const rounding = truncate ? TRUNCATE : context.rounding;
    const magnitude = roundToInteger(context, rounding, a.sign, a.significand, a.exponent - 63);
    const value = a.sign === 1 ? -magnitude : magnitude;
    if (value >= -limit && value < limit) return value;
  }
  context.flags = EXCEPTION.IE;
  context.roundedUp = false;
  return null;
}

/** Significand of 1.0. */
export const ONE: Float80 = { signExponent: BIAS, significand: INTEGER_BIT };

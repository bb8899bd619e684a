/**
 * SSE arithmetic on single and double precision in exact integers (SDM vol. 1, 4.8.4, 4.9, 11.5): whatever the fast paths of
 * single.ts and double.ts leave: NaNs, infinities, denormals, directed rounding, results at the edges of the range. Each
 * operation gives a bit pattern and the exceptions it found; what an unmasked one makes of them is the caller's business.
 */
import { integerRoot } from "../x87/arithmetic.ts";
import { type Binary, fromBinary } from "../x87/conversions.ts";
import { bitLength, isNan, KIND, type Operand } from "../x87/float80.ts";
import { ROUND, shiftRight } from "../x87/rounding.ts";
import { DENORMALS_ARE_ZEROS, EXCEPTION, FLUSH_TO_ZERO, MASK_SHIFT, ROUNDING_SHIFT } from "./mxcsr.ts";

/** What one element's operation works under, and what it found. */
export class Element {
  readonly format: Binary;
  readonly mxcsr: number;
  flags = 0;

  constructor(format: Binary, mxcsr: number) {
    this.format = format;
    this.mxcsr = mxcsr;
  }

  get rounding(): number {
    return (this.mxcsr >>> ROUNDING_SHIFT) & 3;
  }

  masked(flag: number): boolean {
    return (this.mxcsr & (flag << MASK_SHIFT)) !== 0;
  }

  /** A source operand; denormals are zeroes with DAZ. */
  operand(bits: bigint, format: Binary = this.format): Operand {
    const value = fromBinary(format, bits);
    if (!value.denormal || (this.mxcsr & DENORMALS_ARE_ZEROS) === 0) return value;
    return { sign: value.sign, kind: KIND.ZERO, exponent: 0, significand: 0n, denormal: false };
  }
}

const signBit = (format: Binary, sign: number): bigint =>
  sign === 0 ? 0n : BigInt(format.top + 1) << BigInt(format.fraction);
const infinity = (format: Binary, sign: number): bigint =>
  signBit(format, sign) | (BigInt(format.top) << BigInt(format.fraction));
/** A quiet NaN with the upper fraction bits of `nan`. */
function quiet(format: Binary, nan: Operand): bigint {
  const fraction = (nan.significand >> BigInt(63 - format.fraction)) & ((1n << BigInt(format.fraction)) - 1n);
  return infinity(format, nan.sign) | fraction | (1n << BigInt(format.fraction - 1));
}

/** QNaN floating-point indefinite, of a masked invalid operation (SDM vol. 1, table 4-3). */
function invalid(e: Element): bigint {
  e.flags |= EXCEPTION.IE;
  return infinity(e.format, 1) | (1n << BigInt(e.format.fraction - 1));
}

/** The result when an operand is a NaN (SDM vol. 1, table 4-7: the first one, quieted), else null. */
function nanOf(e: Element, a: Operand, b: Operand): bigint | null {
  if (a.kind === KIND.SNAN || b.kind === KIND.SNAN) e.flags |= EXCEPTION.IE;
  if (isNan(a)) return quiet(e.format, a);
  return isNan(b) ? quiet(e.format, b) : null;
}

function denormals(e: Element, a: Operand, b: Operand = a): void {
  if (a.denormal || b.denormal) e.flags |= EXCEPTION.DE;
}

/**
 * Rounds the positive magnitude `magnitude` x 2^`scale` to the element's format; with `sticky` it is a little more. Tininess
 * is detected after rounding. An unmasked overflow or underflow gives no result that anyone will see.
 */
function round(e: Element, sign: number, magnitude: bigint, scale: number, sticky = false): bigint {
  const { format } = e;
  const precision = format.fraction + 1;
  const minimum = 1 - format.bias;
  const length = bitLength(magnitude);
  const free = shiftRight(e.rounding, sign, magnitude, length - precision, sticky);
  const carried = free.value >> BigInt(precision) !== 0n;
  const exponent = scale + length - 1 + (carried ? 1 : 0);
  const sign0 = signBit(format, sign);
  if (exponent < minimum) {
    if (!e.masked(EXCEPTION.UE)) {
      e.flags |= EXCEPTION.UE | (free.inexact ? EXCEPTION.PE : 0);
      return sign0;
    }
    if ((e.mxcsr & FLUSH_TO_ZERO) !== 0) {
      e.flags |= EXCEPTION.UE | EXCEPTION.PE;
      return sign0;
    }
    const denormal = shiftRight(e.rounding, sign, magnitude, minimum - format.fraction - scale, sticky);
    if (denormal.inexact) e.flags |= EXCEPTION.UE | EXCEPTION.PE;
    return sign0 | denormal.value;
  }
  if (exponent > format.bias) {
    e.flags |= EXCEPTION.OE;
    if (!e.masked(EXCEPTION.OE)) {
      if (free.inexact) e.flags |= EXCEPTION.PE;
      return sign0;
    }
    e.flags |= EXCEPTION.PE;
    const { rounding } = e;
    const away = rounding === ROUND.NEAREST || rounding === (sign === 0 ? ROUND.UP : ROUND.DOWN);
    return away ? infinity(format, sign) : infinity(format, sign) - 1n;
  }
  if (free.inexact) e.flags |= EXCEPTION.PE;
  const significand = carried ? free.value >> 1n : free.value;
  const fraction = significand & ((1n << BigInt(format.fraction)) - 1n);
  return sign0 | (BigInt(exponent + format.bias) << BigInt(format.fraction)) | fraction;
}

/** The finite operand or zero, rounded. */
function rounded(e: Element, a: Operand, sign: number = a.sign): bigint {
  return a.kind === KIND.ZERO ? signBit(e.format, sign) : round(e, sign, a.significand, a.exponent - 63);
}

/** Beyond this distance of exponents the smaller addend only decides the direction of rounding. */
const FAR = 130;

/** a + b, or with `negate` = 1 a - b. */
function add(e: Element, a: Operand, b: Operand, negate: number): bigint {
  const nan = nanOf(e, a, b);
  if (nan !== null) return nan;
  const signB = b.sign ^ negate;
  if (a.kind === KIND.INFINITY && b.kind === KIND.INFINITY && a.sign !== signB) return invalid(e);
  denormals(e, a, b);
  if (a.kind === KIND.INFINITY) return infinity(e.format, a.sign);
  if (b.kind === KIND.INFINITY) return infinity(e.format, signB);
  const zeroSign = e.rounding === ROUND.DOWN ? 1 : 0;
  if (a.kind === KIND.ZERO && b.kind === KIND.ZERO) return signBit(e.format, a.sign === signB ? a.sign : zeroSign);
  if (a.kind === KIND.ZERO) return rounded(e, b, signB);
  if (b.kind === KIND.ZERO) return rounded(e, a);
  const aIsLarger = a.exponent > b.exponent || (a.exponent === b.exponent && a.significand >= b.significand);
  const large = aIsLarger ? a : b;
  const small = aIsLarger ? b : a;
  const sign = aIsLarger ? a.sign : signB;
  const subtracts = a.sign !== signB;
  const distance = large.exponent - small.exponent;
  if (distance > FAR) {
    const magnitude = (large.significand << 66n) - (subtracts ? 1n : 0n);
    return round(e, sign, magnitude, large.exponent - 63 - 66, true);
  }
  const aligned = large.significand << BigInt(distance);
  const magnitude = subtracts ? aligned - small.significand : aligned + small.significand;
  return magnitude === 0n ? signBit(e.format, zeroSign) : round(e, sign, magnitude, small.exponent - 63);
}

function multiply(e: Element, a: Operand, b: Operand): bigint {
  const nan = nanOf(e, a, b);
  if (nan !== null) return nan;
  const sign = a.sign ^ b.sign;
  const infinite = a.kind === KIND.INFINITY || b.kind === KIND.INFINITY;
  const zeroes = a.kind === KIND.ZERO || b.kind === KIND.ZERO;
  if (infinite && zeroes) return invalid(e);
  denormals(e, a, b);
  if (infinite) return infinity(e.format, sign);
  if (zeroes) return signBit(e.format, sign);
  return round(e, sign, a.significand * b.significand, a.exponent + b.exponent - 126);
}

function divide(e: Element, a: Operand, b: Operand): bigint {
  const nan = nanOf(e, a, b);
  if (nan !== null) return nan;
  const sign = a.sign ^ b.sign;
  if (a.kind === b.kind && (a.kind === KIND.INFINITY || a.kind === KIND.ZERO)) return invalid(e);
  if (b.kind === KIND.ZERO && a.kind === KIND.FINITE) {
    e.flags |= EXCEPTION.ZE;
    return infinity(e.format, sign);
  }
  denormals(e, a, b);
  if (a.kind === KIND.INFINITY) return infinity(e.format, sign);
  if (a.kind === KIND.ZERO || b.kind === KIND.INFINITY) return signBit(e.format, sign);
  const numerator = a.significand << 66n;
  const quotient = numerator / b.significand;
  const sticky = quotient * b.significand !== numerator;
  return round(e, sign, quotient, a.exponent - b.exponent - 66, sticky);
}

function squareRoot(e: Element, a: Operand): bigint {
  const nan = nanOf(e, a, a);
  if (nan !== null) return nan;
  if (a.kind === KIND.ZERO) return signBit(e.format, a.sign);
  if (a.sign === 1) return invalid(e);
  denormals(e, a);
  if (a.kind === KIND.INFINITY) return infinity(e.format, 0);
  const scale = a.exponent - 63 - 70;
  const even = scale - (scale & 1);
  const magnitude = a.significand << BigInt(a.exponent - 63 - even);
  const root = integerRoot(magnitude);
  return round(e, 0, root, even / 2, root * root !== magnitude);
}

/** Arithmetic by number, for the fast paths to fall back on. */
export const ARITHMETIC = { ADD: 0, SUBTRACT: 1, MULTIPLY: 2, DIVIDE: 3, ROOT: 4 } as const;

/** The bit pattern of `operation` on the bit patterns a and b (a root is b's). */
export function arithmetic(e: Element, operation: number, a: bigint, b: bigint): bigint {
  const y = e.operand(b);
  if (operation === ARITHMETIC.ROOT) return squareRoot(e, y);
  const x = e.operand(a);
  if (operation === ARITHMETIC.MULTIPLY) return multiply(e, x, y);
  if (operation === ARITHMETIC.DIVIDE) return divide(e, x, y);
  return add(e, x, y, operation);
}

/** A value of another format, in the element's (CVTSS2SD, CVTSD2SS). */
export function convert(e: Element, from: Binary, bits: bigint): bigint {
  const value = e.operand(bits, from);
  const nan = nanOf(e, value, value);
  if (nan !== null) return nan;
  denormals(e, value);
  return value.kind === KIND.INFINITY ? infinity(e.format, value.sign) : rounded(e, value);
}

/** An integer in the element's format (CVTDQ2PS). */
export function fromInteger(e: Element, value: number): bigint {
  return value === 0 ? 0n : round(e, value < 0 ? 1 : 0, BigInt(Math.abs(value)), 0);
}

/**
 * Double extended-precision values (SDM vol. 1, 4.2.2 and 8.2): the 80-bit format of the x87 registers, taken apart into
 * operands for exact arithmetic on BigInt significands, and put together again.
 *
 * Unnormals, pseudo-NaNs and pseudo-infinities are unsupported operands (8.2.2): they raise the invalid-operation exception.
 * Pseudo-denormals are read as denormals and never produced.
 */

/** A value as registers hold it: sign and biased exponent in 16 bits, and 64 bits of significand. */
export interface Float80 {
  readonly signExponent: number;
  readonly significand: bigint;
}

export const BIAS = 16383;
export const MAX_EXPONENT = 0x7fff;
export const INTEGER_BIT = 1n << 63n;
const QUIET_BIT = 1n << 62n;
const FRACTION = INTEGER_BIT - 1n;

export const KIND = { ZERO: 0, FINITE: 1, INFINITY: 2, QNAN: 3, SNAN: 4, UNSUPPORTED: 5 } as const;

/** A value taken apart. */
export interface Operand {
  /** 0 positive, 1 negative. */
  readonly sign: number;
  /** KIND. */
  readonly kind: number;
  /** Of a finite value: exponent of the leading bit. */
  readonly exponent: number;
  /** Of a finite value 64 bits with the leading one set; of a NaN as it was; otherwise 0. */
  readonly significand: bigint;
  /** The source was a denormal or pseudo-denormal: arithmetic raises the denormal-operand exception. */
  readonly denormal: boolean;
}

/** Real indefinite: the QNaN of a masked invalid operation (SDM vol. 1, table 4-3). */
export const INDEFINITE: Float80 = { signExponent: 0xffff, significand: 3n << 62n };

/** Number of bits of a non-negative integer. */
export function bitLength(value: bigint): number {
  let rest = value;
  let length = 0;
  while (rest > 0xffff_ffffn) {
    rest >>= 32n;
    length += 32;
  }
  return length + 32 - Math.clz32(Number(rest));
}

export function zero(sign: number): Float80 {
  return { signExponent: sign << 15, significand: 0n };
}

export function infinity(sign: number): Float80 {
  return { signExponent: (sign << 15) | MAX_EXPONENT, significand: INTEGER_BIT };
}

/** A quiet NaN with the significand of `nan`. */
export function quiet(nan: Operand): Float80 {
  return { signExponent: (nan.sign << 15) | MAX_EXPONENT, significand: nan.significand | INTEGER_BIT | QUIET_BIT };
}

export function isNan(operand: Operand): boolean {
  return operand.kind === KIND.QNAN || operand.kind === KIND.SNAN;
}

/** Takes a register's value apart. */
export function unpack(value: Float80): Operand {
  const sign = value.signExponent >>> 15;
  const biased = value.signExponent & MAX_EXPONENT;
  const significand = value.significand;
  const integerBit = significand >= INTEGER_BIT;
  if (biased === 0) {
    if (significand === 0n) return { sign, kind: KIND.ZERO, exponent: 0, significand, denormal: false };
    return finite(sign, 1 - BIAS - 63, significand, true);
  }
  if (!integerBit) return { sign, kind: KIND.UNSUPPORTED, exponent: 0, significand, denormal: false };
  if (biased < MAX_EXPONENT) {
    return { sign, kind: KIND.FINITE, exponent: biased - BIAS, significand, denormal: false };
  }
  if ((significand & FRACTION) === 0n)
    return { sign, kind: KIND.INFINITY, exponent: 0, significand: 0n, denormal: false };
  return nan(sign, significand);
}

/** A NaN operand; its quiet bit decides of which kind. */
export function nan(sign: number, significand: bigint): Operand {
  const kind = (significand & QUIET_BIT) !== 0n ? KIND.QNAN : KIND.SNAN;
  return { sign, kind, exponent: 0, significand, denormal: false };
}

/** The finite value `magnitude` x 2^`scale`, zero included; `magnitude` has at most 64 bits. */
export function finite(sign: number, scale: number, magnitude: bigint, denormal: boolean): Operand {
  if (magnitude === 0n) return { sign, kind: KIND.ZERO, exponent: 0, significand: 0n, denormal: false };
  const length = bitLength(magnitude);
  return {
    sign,
    kind: KIND.FINITE,
    exponent: scale + length - 1,
    significand: magnitude << BigInt(64 - length),
    denormal,
  };
}

/** Puts a finite value together from a biased exponent and a significand (leading bit clear only for exponent 0). */
export function pack(sign: number, biased: number, significand: bigint): Float80 {
  return { signExponent: (sign << 15) | biased, significand };
}

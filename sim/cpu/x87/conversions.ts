/**
 * Memory formats of the x87 (SDM vol. 1, 4.2.2, 8.1.2): single and double precision, integers, and packed decimal, as bit
 * patterns (bigint) of the format's size, little-endian order aside.
 */
import { toInteger } from "./arithmetic.ts";
import {
  type Float80,
  finite,
  infinity,
  isNan,
  KIND,
  nan,
  type Operand,
  pack,
  quiet,
  unpack,
  zero,
} from "./float80.ts";
import { type Context, EXCEPTION, round80, roundTo } from "./rounding.ts";

/** Formats by the number that a micro-op carries. */
export const FORMAT = {
  NONE: 0,
  INT16: 1,
  INT32: 2,
  INT64: 3,
  FLOAT32: 4,
  FLOAT64: 5,
  FLOAT80: 6,
  DECIMAL: 7,
} as const;
/** Bytes of each format. */
export const FORMAT_BYTES: readonly number[] = [0, 2, 4, 8, 4, 8, 10, 10];

/** An interchange format: bits of the fraction, exponent bias, exponent of infinities. */
export interface Binary {
  readonly fraction: number;
  readonly bias: number;
  readonly top: number;
}
export const SINGLE: Binary = { fraction: 23, bias: 127, top: 0xff };
export const DOUBLE: Binary = { fraction: 52, bias: 1023, top: 0x7ff };
const DECIMAL_DIGITS = 18;
const DECIMAL_LIMIT = 10n ** 18n;
const DECIMAL_INDEFINITE = 0xffff_c000_0000_0000_0000n;

/** The value in memory as an operand; a signalling NaN or a denormal is not reported yet. */
export function fromMemory(format: number, bits: bigint): Operand {
  switch (format) {
    case FORMAT.FLOAT32:
      return fromBinary(SINGLE, bits);
    case FORMAT.FLOAT64:
      return fromBinary(DOUBLE, bits);
    case FORMAT.FLOAT80:
      return unpack({ signExponent: Number(bits >> 64n), significand: bits & 0xffff_ffff_ffff_ffffn });
    case FORMAT.DECIMAL:
      return fromDecimal(bits);
    default: {
      const value = BigInt.asIntN(FORMAT_BYTES[format]! * 8, bits);
      return finite(value < 0n ? 1 : 0, 0, value < 0n ? -value : value, false);
    }
  }
}

export function fromBinary(format: Binary, bits: bigint): Operand {
  const width = BigInt(format.fraction);
  const fraction = bits & ((1n << width) - 1n);
  const biased = Number(bits >> width) & format.top;
  const sign = Number(bits >> width) > format.top ? 1 : 0;
  if (biased === format.top) {
    if (fraction === 0n) return { sign, kind: KIND.INFINITY, exponent: 0, significand: 0n, denormal: false };
    return nan(sign, ((1n << width) | fraction) << BigInt(63 - format.fraction));
  }
  if (biased === 0) return finite(sign, 1 - format.bias - format.fraction, fraction, true);
  return finite(sign, biased - format.bias - format.fraction, (1n << width) | fraction, false);
}

function fromDecimal(bits: bigint): Operand {
  let value = 0n;
  for (let digit = DECIMAL_DIGITS - 1; digit >= 0; digit--) value = value * 10n + ((bits >> BigInt(4 * digit)) & 15n);
  return finite(Number((bits >> 79n) & 1n), 0, value, false);
}

/** An operand from memory as a register's value (FLD, FILD, FBLD): single and double report IE and DE. */
export function toRegister(context: Context, format: number, operand: Operand, bits: bigint): Float80 {
  if (format === FORMAT.FLOAT80) {
    return { signExponent: Number(bits >> 64n), significand: bits & 0xffff_ffff_ffff_ffffn };
  }
  if (isNan(operand)) {
    if (operand.kind === KIND.SNAN) context.raise(EXCEPTION.IE);
    return quiet(operand);
  }
  if (operand.denormal) context.raise(EXCEPTION.DE);
  if (operand.kind === KIND.INFINITY) return infinity(operand.sign);
  if (operand.kind === KIND.ZERO) return zero(operand.sign);
  return round80(context, 64, operand.sign, operand.significand, operand.exponent - 63);
}

/** Bit pattern that a store of a register's value writes; exceptions are reported, masked responses given. */
export function toMemory(context: Context, format: number, value: Float80, truncate = false): bigint {
  switch (format) {
    case FORMAT.FLOAT32:
      return toBinary(context, SINGLE, unpack(value));
    case FORMAT.FLOAT64:
      return toBinary(context, DOUBLE, unpack(value));
    case FORMAT.FLOAT80:
      return (BigInt(value.signExponent) << 64n) | value.significand;
    case FORMAT.DECIMAL:
      return toDecimal(context, unpack(value));
    default: {
      const bits = FORMAT_BYTES[format]! * 8;
      const integer = toInteger(context, unpack(value), 1n << BigInt(bits - 1), truncate);
      return integer === null ? indefiniteBits(format) : BigInt.asUintN(bits, integer);
    }
  }
}

/** What a masked invalid operation stores (SDM vol. 1, tables 4-1, 4-3, 4-4). */
export function indefiniteBits(format: number): bigint {
  switch (format) {
    case FORMAT.FLOAT32:
      return 0xffc0_0000n;
    case FORMAT.FLOAT64:
      return 0xfff8_0000_0000_0000n;
    case FORMAT.FLOAT80:
      return 0xffff_c000_0000_0000_0000n;
    case FORMAT.DECIMAL:
      return DECIMAL_INDEFINITE;
    default:
      return 1n << BigInt(FORMAT_BYTES[format]! * 8 - 1);
  }
}

function toBinary(context: Context, format: Binary, operand: Operand): bigint {
  const width = BigInt(format.fraction);
  const sign = BigInt(operand.sign) << BigInt(format.fraction + bitsOf(format.top));
  const top = BigInt(format.top) << width;
  switch (operand.kind) {
    case KIND.UNSUPPORTED:
      context.raise(EXCEPTION.IE);
      return indefiniteBits(format === SINGLE ? FORMAT.FLOAT32 : FORMAT.FLOAT64);
    case KIND.SNAN:
    case KIND.QNAN: {
      if (operand.kind === KIND.SNAN) context.raise(EXCEPTION.IE);
      const fraction = (quiet(operand).significand >> BigInt(63 - format.fraction)) & ((1n << width) - 1n);
      return sign | top | fraction;
    }
    case KIND.INFINITY:
      return sign | top;
    case KIND.ZERO:
      return sign;
  }
  const range = { precision: format.fraction + 1, minimum: 1 - format.bias, maximum: format.bias };
  const rounded = roundTo(context, range, operand.sign, operand.significand, operand.exponent - 63, false, false);
  if (rounded.significand === null) return sign | top;
  const normal = rounded.significand >> width !== 0n;
  const biased = normal ? BigInt(rounded.exponent + format.bias) : 0n;
  return sign | (biased << width) | (rounded.significand & ((1n << width) - 1n));
}

function bitsOf(mask: number): number {
  return 32 - Math.clz32(mask);
}

function toDecimal(context: Context, operand: Operand): bigint {
  const value = toInteger(context, operand, DECIMAL_LIMIT, false);
  if (value === null) return DECIMAL_INDEFINITE;
  if (value === -DECIMAL_LIMIT) {
    context.flags = EXCEPTION.IE;
    context.roundedUp = false;
    return DECIMAL_INDEFINITE;
  }
  let rest = value < 0n ? -value : value;
  let bits = BigInt(operand.sign) << 79n;
  for (let digit = 0; digit < DECIMAL_DIGITS; digit++) {
    bits |= (rest % 10n) << BigInt(4 * digit);
    rest /= 10n;
  }
  return bits;
}

/** A register's value with another sign (FCHS, FABS): no exception, whatever it is. */
export function withSign(value: Float80, sign: number): Float80 {
  return pack(sign, value.signExponent & 0x7fff, value.significand);
}

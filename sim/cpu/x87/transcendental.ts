/**
 * F2XM1, FYL2X, FYL2XP1, FPTAN, FPATAN, FSIN, FCOS, FSINCOS on operands (SDM vol. 2; vol. 1, 8.3.7 to 8.3.10): special operands by
 * the manual's tables, all others correctly rounded from about 160 bits. Precision control does not apply.
 *
 * Arguments of trigonometric functions are reduced by the 66-bit value of pi, as the manual says processors do; results for
 * large arguments are those of the reduced one. Processors' own results are off by up to one unit in the last place and differ
 * from model to model: these do not follow them there. Arguments outside the range for which a result is
 * defined: F2XM1 gives its argument back; FYL2XP1 computes above -1, and from -1 down is an invalid operation.
 */
import { invalid, special, specialUnary, whole } from "./arithmetic.ts";
import { BIAS, type Float80, INTEGER_BIT, infinity, KIND, type Operand, pack, zero } from "./float80.ts";
import { type Context, EXCEPTION, round80 } from "./rounding.ts";
import type { Magnitude } from "./series.ts";
import * as series from "./series.ts";

const EXTENDED = 64;
/** Trigonometric arguments from 2^63 on are out of range. */
const LIMIT = 63;
/** Half of the 66-bit pi: an integer in units of 2^-67. */
const HALF_PI = 0xc90f_daa2_2168_c234_cn;
const HALF_PI_SCALE = -67;

const magnitudeOf = (a: Operand): Magnitude => ({ magnitude: a.significand, scale: a.exponent - 63 });

/** A result that is not exact. */
function inexact(context: Context, sign: number, { magnitude, scale }: Magnitude): Float80 {
  return round80(context, EXTENDED, sign, magnitude, scale, true);
}

function denormal(context: Context, a: Operand, b: Operand = a): void {
  if (a.denormal || b.denormal) context.raise(EXCEPTION.DE);
}

/** An angle reduced to at most a quarter of pi: |x| = quadrant x pi/2 + or - rest. */
interface Reduced {
  readonly rest: Magnitude;
  readonly negative: boolean;
  readonly quadrant: number;
}

function reduce(a: Operand): Reduced {
  // Below a half nothing needs to be subtracted.
  if (a.exponent < -1) return { rest: magnitudeOf(a), negative: false, quadrant: 0 };
  const shift = a.exponent - 63 - HALF_PI_SCALE;
  const angle = a.significand << BigInt(shift);
  const turns = (2n * angle + HALF_PI) / (2n * HALF_PI);
  const rest = angle - turns * HALF_PI;
  return {
    rest: { magnitude: rest < 0n ? -rest : rest, scale: HALF_PI_SCALE },
    negative: rest < 0n,
    quadrant: Number(turns & 3n),
  };
}

function sineOf(context: Context, sign: number, { rest, negative, quadrant }: Reduced): Float80 {
  const odd = (quadrant & 1) !== 0;
  const flips = (quadrant >> 1) ^ (negative && !odd ? 1 : 0);
  return inexact(context, sign ^ flips, odd ? series.cosine(rest) : series.sine(rest));
}

function cosineOf(context: Context, { rest, negative, quadrant }: Reduced): Float80 {
  const odd = (quadrant & 1) !== 0;
  const flips = ((quadrant + 1) >> 1) & 1;
  const sign = odd && negative ? flips ^ 1 : flips;
  return inexact(context, sign, odd ? series.sine(rest) : series.cosine(rest));
}

export const ONE: Float80 = pack(0, BIAS, INTEGER_BIT);

/** A result of FSIN or FCOS, or both of FSINCOS or FPTAN: what ST(0) becomes, and what is pushed after it. */
export interface Pair {
  readonly value: Float80;
  readonly pushed: Float80;
}

/** Whether a trigonometric argument is out of range: C2, and nothing else happens. */
export function outOfRange(a: Operand): boolean {
  return a.kind === KIND.FINITE && a.exponent >= LIMIT;
}

/** A NaN or infinity as the argument of a trigonometric function, else null. */
function unusable(context: Context, a: Operand): Float80 | null {
  return specialUnary(context, a) ?? (a.kind === KIND.INFINITY ? invalid(context) : null);
}

export function sine(context: Context, a: Operand): Float80 {
  const nan = unusable(context, a);
  if (nan !== null) return nan;
  denormal(context, a);
  return a.kind === KIND.ZERO ? zero(a.sign) : sineOf(context, a.sign, reduce(a));
}

export function cosine(context: Context, a: Operand): Float80 {
  const nan = unusable(context, a);
  if (nan !== null) return nan;
  denormal(context, a);
  return a.kind === KIND.ZERO ? ONE : cosineOf(context, reduce(a));
}

export function sineAndCosine(context: Context, a: Operand): Pair {
  const nan = unusable(context, a);
  if (nan !== null) return { value: nan, pushed: nan };
  denormal(context, a);
  if (a.kind === KIND.ZERO) return { value: zero(a.sign), pushed: ONE };
  const reduced = reduce(a);
  return { value: sineOf(context, a.sign, reduced), pushed: cosineOf(context, reduced) };
}

/** FPTAN: the tangent, and 1. */
export function tangent(context: Context, a: Operand): Pair {
  const nan = unusable(context, a);
  if (nan !== null) return { value: nan, pushed: nan };
  denormal(context, a);
  if (a.kind === KIND.ZERO) return { value: zero(a.sign), pushed: ONE };
  const { rest, negative, quadrant } = reduce(a);
  const odd = (quadrant & 1) !== 0;
  const sine = series.sine(rest);
  const cosine = series.cosine(rest);
  const sign = a.sign ^ (negative ? 1 : 0) ^ (odd ? 1 : 0);
  return {
    value: inexact(context, sign, odd ? series.quotient(cosine, sine) : series.quotient(sine, cosine)),
    pushed: ONE,
  };
}

/** F2XM1. */
export function exponential(context: Context, a: Operand): Float80 {
  const nan = specialUnary(context, a);
  if (nan !== null) return nan;
  denormal(context, a);
  if (a.kind === KIND.INFINITY) return a.sign === 0 ? infinity(0) : pack(1, BIAS, INTEGER_BIT);
  if (a.kind === KIND.ZERO) return zero(a.sign);
  if (a.exponent >= 0) {
    context.raise(EXCEPTION.PE);
    if (a.exponent > 0 || a.significand !== INTEGER_BIT) return whole(context, a);
    return a.sign === 0 ? ONE : pack(1, BIAS - 1, INTEGER_BIT);
  }
  return inexact(context, a.sign, series.exponentialLessOne(magnitudeOf(a), a.sign === 1));
}

/** A logarithm to the base 2: sign and magnitude; `exact` for powers of two. */
interface Logarithm {
  readonly sign: number;
  readonly value: Magnitude;
  readonly exact: boolean;
}

const SQUARE_ROOT_OF_TWO = 0xb504_f333_f9de_6485n;

/** log2 of a positive finite value, as its exponent and the logarithm of a significand between the roots of 1/2 and 2. */
function logarithm(significand: bigint, exponent: number): Logarithm {
  if (significand === INTEGER_BIT) {
    return {
      sign: exponent < 0 ? 1 : 0,
      value: { magnitude: BigInt(Math.abs(exponent)), scale: 0 },
      exact: true,
    };
  }
  const halved = significand > SQUARE_ROOT_OF_TWO;
  const whole = exponent + (halved ? 1 : 0);
  // The significand in units of 2^-63, or of 2^-64 when halved, and 1 in the same.
  const one = halved ? INTEGER_BIT << 1n : INTEGER_BIT;
  const difference = significand - one;
  const sign = difference < 0n ? 1 : 0;
  const part = series.logarithmOfRatio(
    { magnitude: difference < 0n ? -difference : difference, scale: 0 },
    { magnitude: significand + one, scale: 0 },
  );
  if (whole === 0) return { sign, value: part, exact: false };
  const fixed = shiftTo(part, -series.FRACTION);
  const sum = (BigInt(whole) << BigInt(series.FRACTION)) + (sign === 1 ? -fixed : fixed);
  return {
    sign: sum < 0n ? 1 : 0,
    value: { magnitude: sum < 0n ? -sum : sum, scale: -series.FRACTION },
    exact: false,
  };
}

/** A magnitude in units of 2^`scale`, truncated. */
function shiftTo(value: Magnitude, scale: number): bigint {
  const shift = value.scale - scale;
  return shift >= 0 ? value.magnitude << BigInt(shift) : value.magnitude >> BigInt(-shift);
}

/** y times a logarithm; processors report PE, and UE with a denormal result, also where the logarithm is an integer. */
function product(context: Context, y: Operand, log: Logarithm): Float80 {
  context.raise(EXCEPTION.PE);
  const magnitude = y.significand * log.value.magnitude;
  const scale = y.exponent - 63 + log.value.scale;
  const result = round80(context, EXTENDED, y.sign ^ log.sign, magnitude, scale, !log.exact);
  const isTiny = (result.signExponent & 0x7fff) === 0 && result.significand !== 0n;
  if (isTiny) context.raise(EXCEPTION.UE);
  return result;
}

/** FYL2X: y log2 x (SDM vol. 2, FYL2X, table of results). */
export function yLog2X(context: Context, y: Operand, x: Operand): Float80 {
  const nan = special(context, y, x);
  if (nan !== null) return nan;
  if (x.sign === 1 && x.kind !== KIND.ZERO) return invalid(context);
  if (x.kind === KIND.ZERO) {
    if (y.kind === KIND.ZERO) return invalid(context);
    if (y.kind === KIND.INFINITY) return infinity(y.sign ^ 1);
    context.raise(EXCEPTION.ZE);
    return infinity(y.sign ^ 1);
  }
  if (x.kind === KIND.INFINITY) {
    if (y.kind === KIND.ZERO) return invalid(context);
    denormal(context, y);
    return infinity(y.sign);
  }
  const log = logarithm(x.significand, x.exponent);
  const isOne = log.exact && log.value.magnitude === 0n;
  if (y.kind === KIND.INFINITY && isOne) return invalid(context);
  denormal(context, x, y);
  if (y.kind === KIND.INFINITY) return infinity(y.sign ^ log.sign);
  if (y.kind === KIND.ZERO || isOne) return zero(y.sign ^ log.sign);
  return product(context, y, log);
}

/** FYL2XP1: y log2(x + 1). */
export function yLog2XPlusOne(context: Context, y: Operand, x: Operand): Float80 {
  const nan = special(context, y, x);
  if (nan !== null) return nan;
  if (x.kind === KIND.INFINITY) {
    if (x.sign === 1 || y.kind === KIND.ZERO) return invalid(context);
    denormal(context, y);
    return infinity(y.sign);
  }
  if (x.kind === KIND.ZERO) {
    if (y.kind === KIND.INFINITY) return invalid(context);
    denormal(context, y);
    return zero(x.sign ^ y.sign);
  }
  if (x.sign === 1 && x.exponent >= 0) return invalid(context);
  denormal(context, x, y);
  if (y.kind === KIND.INFINITY) return infinity(y.sign ^ x.sign);
  if (y.kind === KIND.ZERO) return zero(y.sign ^ x.sign);
  return product(context, y, logarithmOfSum(x));
}

/** log2(1 + x) for x above -1. */
function logarithmOfSum(x: Operand): Logarithm {
  const { magnitude, scale } = magnitudeOf(x);
  if (x.exponent < -2) {
    // x / (2 + x), both in units of 2^scale, so that nothing is lost however small x is.
    const two = { magnitude: 1n, scale: 1 };
    const below = scale < -400 ? two : sum(two, x.sign === 1 ? -magnitude : magnitude, scale);
    return { sign: x.sign, value: series.logarithmOfRatio({ magnitude, scale }, below), exact: false };
  }
  // 1 + x has few bits.
  const total = sum({ magnitude: 1n, scale: 0 }, x.sign === 1 ? -magnitude : magnitude, scale);
  const length = total.magnitude.toString(2).length;
  return logarithmOfLong(total, length);
}

/** The logarithm of a number of more than 64 bits: as `logarithm`, by its own unit. */
function logarithmOfLong(total: Magnitude, length: number): Logarithm {
  const exponent = total.scale + length - 1;
  const unit = 1n << BigInt(length - 1);
  if (total.magnitude === unit) return logarithm(INTEGER_BIT, exponent);
  const halved = total.magnitude * total.magnitude > unit * unit * 2n;
  const whole = exponent + (halved ? 1 : 0);
  const one = halved ? unit << 1n : unit;
  const difference = total.magnitude - one;
  const sign = difference < 0n ? 1 : 0;
  const part = series.logarithmOfRatio(
    { magnitude: difference < 0n ? -difference : difference, scale: 0 },
    { magnitude: total.magnitude + one, scale: 0 },
  );
  if (whole === 0) return { sign, value: part, exact: false };
  const fixed = shiftTo(part, -series.FRACTION);
  const result = (BigInt(whole) << BigInt(series.FRACTION)) + (sign === 1 ? -fixed : fixed);
  const magnitude = result < 0n ? -result : result;
  return { sign: result < 0n ? 1 : 0, value: { magnitude, scale: -series.FRACTION }, exact: false };
}

/** a + magnitude x 2^scale, exact; scale not above a's. */
function sum(a: Magnitude, magnitude: bigint, scale: number): Magnitude {
  if (scale >= a.scale) return { magnitude: a.magnitude + (magnitude << BigInt(scale - a.scale)), scale: a.scale };
  return { magnitude: (a.magnitude << BigInt(a.scale - scale)) + magnitude, scale };
}

const PI: Magnitude = { magnitude: series.PI, scale: -series.FRACTION };

/** FPATAN: the angle of the point (x, y). */
export function arctangent(context: Context, y: Operand, x: Operand): Float80 {
  const nan = special(context, y, x);
  if (nan !== null) return nan;
  denormal(context, x, y);
  const infiniteX = x.kind === KIND.INFINITY;
  const infiniteY = y.kind === KIND.INFINITY;
  const eighths = (n: number): Float80 =>
    inexact(context, y.sign, { magnitude: BigInt(n) * PI.magnitude, scale: PI.scale - 3 });
  if (infiniteY) return eighths(infiniteX ? (x.sign === 0 ? 2 : 6) : 4);
  if (y.kind === KIND.ZERO || infiniteX) return x.sign === 0 ? zero(y.sign) : eighths(8);
  if (x.kind === KIND.ZERO) return eighths(4);
  const steep = y.exponent > x.exponent || (y.exponent === x.exponent && y.significand > x.significand);
  const angle = steep
    ? series.arctangent(magnitudeOf(x), magnitudeOf(y))
    : series.arctangent(magnitudeOf(y), magnitudeOf(x));
  if (!steep && x.sign === 0) return inexact(context, y.sign, angle);
  // From pi/2 away, or from pi.
  const base = steep ? PI.magnitude >> 1n : PI.magnitude;
  const fixed = shiftTo(angle, -series.FRACTION);
  const magnitude = steep && x.sign === 1 ? base + fixed : base - fixed;
  return inexact(context, y.sign, { magnitude, scale: -series.FRACTION });
}

/**
 * Elementary functions on big integers in fixed point, for the transcendental instructions: series whose results have about
 * FRACTION bits. A magnitude here is integer x 2^scale and a little more (sticky) or less than the true one by far less than
 * a result's last bit; results keep their relative precision near zero, where factors rather than sums are formed.
 */
import { integerRoot } from "./arithmetic.ts";

/** Bits behind the point of fixed-point values. */
export const FRACTION = 160;
const BITS = BigInt(FRACTION);
const ONE = 1n << BITS;

/** Pi and the natural logarithm of 2 in fixed point. */
export const PI = 0x3_243f_6a88_85a3_08d3_1319_8a2e_0370_7344_a409_3822_299f_31d0n >> 32n;
const LN2 = 0xb172_17f7_d1cf_79ab_c9e3_b398_03f2_f6af_40f3_4326_7298_b62dn >> 32n;

/** The positive number `magnitude` x 2^`scale`. */
export interface Magnitude {
  readonly magnitude: bigint;
  readonly scale: number;
}

/** A magnitude in fixed point, rounded up: what is not zero does not become it. */
function toFixedUp({ magnitude, scale }: Magnitude): bigint {
  const shift = scale + FRACTION;
  if (shift >= 0) return magnitude << BigInt(shift);
  const bits = BigInt(Math.min(-shift, 1 << 16));
  return ((magnitude - 1n) >> bits) + 1n;
}

/** Sum of x^k / coefficient(k), with alternating signs if `alternates`; x in fixed point below 1. */
function powerSum(x: bigint, coefficient: (k: number) => bigint, alternates: boolean): bigint {
  let power = ONE;
  let sum = ONE;
  for (let k = 1; ; k++) {
    power = (power * x) >> BITS;
    const term = power / coefficient(k);
    if (term === 0n) break;
    sum += alternates && k % 2 === 1 ? -term : term;
  }
  // An argument that is too small for any term still makes the sum differ from 1.
  return sum === ONE ? (alternates ? ONE - 1n : ONE + 1n) : sum;
}

/** Sum of x^k / (s+1)(s+2)...: series of factorials, each term from the one before. */
function factorialSum(x: bigint, step: (k: number) => bigint, alternates: boolean): bigint {
  let term = ONE;
  let sum = ONE;
  for (let k = 1; ; k++) {
    term = ((term * x) >> BITS) / step(k);
    if (term === 0n) break;
    sum += alternates && k % 2 === 1 ? -term : term;
  }
  return sum === ONE ? (alternates ? ONE - 1n : ONE + 1n) : sum;
}

function square(r: Magnitude): bigint {
  return toFixedUp({ magnitude: r.magnitude * r.magnitude, scale: 2 * r.scale });
}

/** sin r for 0 < r < 1. */
export function sine(r: Magnitude): Magnitude {
  const factor = factorialSum(square(r), (k) => BigInt(2 * k * (2 * k + 1)), true);
  return { magnitude: r.magnitude * factor, scale: r.scale - FRACTION };
}

/** cos r for 0 < r < 1. */
export function cosine(r: Magnitude): Magnitude {
  return { magnitude: factorialSum(square(r), (k) => BigInt(2 * k * (2 * k - 1)), true), scale: -FRACTION };
}

/** a / b with at least FRACTION bits. */
export function quotient(a: Magnitude, b: Magnitude): Magnitude {
  const room = FRACTION + 64 + b.magnitude.toString(16).length * 4;
  return { magnitude: (a.magnitude << BigInt(room)) / b.magnitude, scale: a.scale - b.scale - room };
}

/** |2^x - 1| for x = `r` or, `negative`, -r; 0 < r < 1. */
export function exponentialLessOne(r: Magnitude, negative: boolean): Magnitude {
  const natural = { magnitude: r.magnitude * LN2, scale: r.scale - FRACTION };
  const factor = factorialSum(toFixedUp(natural), (k) => BigInt(k + 1), negative);
  return { magnitude: natural.magnitude * factor, scale: natural.scale - FRACTION };
}

/**
 * |log2(1 + t)| for 1 + t = (b + a) / (b - a): twice the inverse hyperbolic tangent of a / b, which must be below a quarter.
 */
export function logarithmOfRatio(a: Magnitude, b: Magnitude): Magnitude {
  const ratio = quotient(a, b);
  const factor = powerSum(square(ratio), (k) => BigInt(2 * k + 1), false);
  return quotient(
    { magnitude: 2n * ratio.magnitude * factor, scale: ratio.scale - FRACTION },
    { magnitude: LN2, scale: -FRACTION },
  );
}

/** atan(a / b) for 0 < a <= b. */
export function arctangent(a: Magnitude, b: Magnitude): Magnitude {
  let ratio = quotient(a, b);
  let doublings = 0;
  // tan(x / 2) = tan x / (1 + sqrt(1 + tan^2 x)), until the series is short.
  while (toFixedUp(ratio) > ONE >> 4n) {
    const t = toFixedUp(ratio);
    const root = integerRoot((ONE << BITS) + t * t);
    ratio = { magnitude: (t << BITS) / (ONE + root), scale: -FRACTION };
    doublings++;
  }
  const factor = powerSum(square(ratio), (k) => BigInt(2 * k + 1), true);
  return { magnitude: ratio.magnitude * factor, scale: ratio.scale - FRACTION + doublings };
}

/**
 * Conversions between integers, single and double precision (SDM vol. 1, 11.4.3; vol. 2). An integer that does not fit, or a
 * NaN, is an invalid operation with the integer indefinite as its masked response.
 */
import type { CpuState } from "../state.ts";
import { DOUBLE, SINGLE } from "../x87/conversions.ts";
import { ROUND } from "../x87/rounding.ts";
import { DOUBLES, daz, isDenormal, type Precision, SINGLES } from "./compare.ts";
import { convert, Element, fromInteger } from "./exact.ts";
import { EXCEPTION, isNearest, ROUNDING_SHIFT } from "./mxcsr.ts";
import type { ElementOperation } from "./single.ts";

const INDEFINITE = -0x8000_0000;
const LARGEST_SINGLE = (2 - 2 ** -23) * 2 ** 127;

/** x as an integer by rounding control `rounding`. */
function roundToInteger(x: number, rounding: number): number {
  switch (rounding) {
    case ROUND.DOWN:
      return Math.floor(x);
    case ROUND.UP:
      return Math.ceil(x);
    case ROUND.ZERO:
      return Math.trunc(x);
    default: {
      const below = Math.floor(x);
      const rest = x - below;
      return rest > 0.5 || (rest === 0.5 && below % 2 !== 0) ? below + 1 : below;
    }
  }
}

/** The element at b as a 32-bit integer. */
function toInteger(p: Precision, truncate: boolean): ElementOperation {
  return (state, out, _a, b, mxcsr) => {
    const given = p.value(state, b);
    const x = daz(mxcsr) && isDenormal(p, given) ? 0 : given;
    const value = roundToInteger(x, truncate ? ROUND.ZERO : (mxcsr >>> ROUNDING_SHIFT) & 3);
    if (!(value >= INDEFINITE && value <= 0x7fff_ffff)) {
      state.i32[out] = INDEFINITE;
      return EXCEPTION.IE;
    }
    state.i32[out] = value;
    return value === x ? 0 : EXCEPTION.PE;
  };
}

const integerToSingle: ElementOperation = (state, out, _a, b, mxcsr) => {
  const value = state.i32[b] as number;
  const nearest = Math.fround(value);
  if (nearest === value || isNearest(mxcsr)) {
    state.f32[out] = nearest;
    return nearest === value ? 0 : EXCEPTION.PE;
  }
  const element = new Element(SINGLE, mxcsr);
  state.i32[out] = Number(fromInteger(element, value)) | 0;
  return element.flags;
};

const integerToDouble: ElementOperation = (state, out, _a, b) => {
  state.f64[out >> 1] = state.i32[b] as number;
  return 0;
};

function isPlain(p: Precision, x: number): boolean {
  return Number.isFinite(x) && !isDenormal(p, x);
}

const singleToDouble: ElementOperation = (state, out, _a, b, mxcsr) => {
  const x = state.f32[b] as number;
  if (isPlain(SINGLES, x)) {
    state.f64[out >> 1] = x;
    return 0;
  }
  const element = new Element(DOUBLE, mxcsr);
  state.u64[out >> 1] = convert(element, SINGLE, BigInt((state.i32[b] as number) >>> 0));
  return element.flags;
};

const doubleToSingle: ElementOperation = (state, out, _a, b, mxcsr) => {
  const x = state.f64[b >> 1] as number;
  if (isNearest(mxcsr)) {
    const result = Math.fround(x);
    const magnitude = Math.abs(result);
    if (x === 0 || (magnitude > SINGLES.smallest && magnitude <= LARGEST_SINGLE)) {
      state.f32[out] = result;
      return result === x ? 0 : EXCEPTION.PE;
    }
  }
  const element = new Element(SINGLE, mxcsr);
  state.i32[out] = Number(convert(element, DOUBLE, state.u64[b >> 1] as bigint)) | 0;
  return element.flags;
};

/** Approximations are in 12 bits of significand: relative error at most 2^-12 (SDM: 1.5 x 2^-12). */
const KEPT = 12;
function approximately(x: number): number {
  const exponent = Math.floor(Math.log2(x));
  const unit = 2 ** (exponent - KEPT + 1);
  return Math.round(x / unit) * unit;
}

/** A result of the approximations: zero with its sign where it would be a denormal. */
function storeApproximation(state: CpuState, out: number, magnitude: number, sign: number): number {
  const result = magnitude < SINGLES.smallest ? 0 : Number.isFinite(magnitude) ? approximately(magnitude) : magnitude;
  state.f32[out] = sign === 0 ? result : -result;
  return 0;
}

function quieted(state: CpuState, out: number, b: number): number {
  state.i32[out] = (state.i32[b] as number) | SINGLES.quietBit;
  return 0;
}

/**
 * RCPPS and RSQRTPS: no exceptions, no rounding control, denormals taken as zero. The manual bounds the error; processors
 * look the value up in tables that differ from model to model. Here it is the exact one rounded to 12 bits.
 */
const reciprocal: ElementOperation = (state, out, _a, b) => {
  const x = state.f32[b] as number;
  if (Number.isNaN(x)) return quieted(state, out, b);
  const sign = (state.i32[b] as number) >>> 31;
  return storeApproximation(state, out, isDenormal(SINGLES, x) ? Number.POSITIVE_INFINITY : 1 / Math.abs(x), sign);
};

const reciprocalRoot: ElementOperation = (state, out, _a, b) => {
  const x = state.f32[b] as number;
  if (Number.isNaN(x)) return quieted(state, out, b);
  const sign = (state.i32[b] as number) >>> 31;
  if (x === 0 || isDenormal(SINGLES, x)) return storeApproximation(state, out, Number.POSITIVE_INFINITY, sign);
  if (sign === 1) {
    state.i32[out] = 0xffc0_0000;
    return 0;
  }
  return storeApproximation(state, out, 1 / Math.sqrt(x), 0);
};

export const CONVERSIONS = {
  singleToInteger: toInteger(SINGLES, false),
  singleTruncated: toInteger(SINGLES, true),
  doubleToInteger: toInteger(DOUBLES, false),
  doubleTruncated: toInteger(DOUBLES, true),
  integerToSingle,
  integerToDouble,
  singleToDouble,
  doubleToSingle,
  reciprocal,
  reciprocalRoot,
} as const;

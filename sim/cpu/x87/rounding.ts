/**
 * Rounding and the exceptions that come of it (SDM vol. 1, 4.8.4, 8.1.5, 8.5): an exact value is rounded to a format by
 * the rounding-control field; overflow, underflow and inexactness are reported, with the masked response or, for a register
 * as destination, the value scaled by 2^24576 that a handler of the unmasked exception finds. Tininess is detected after rounding.
 */
import { BIAS, bitLength, type Float80, infinity, MAX_EXPONENT, pack, zero } from "./float80.ts";

/** Exception flags of the status word and masks of the control word: the same bits (SDM vol. 1, 8.1.3.3). */
export const EXCEPTION = { IE: 1, DE: 2, ZE: 4, OE: 8, UE: 16, PE: 32 } as const;
export const ALL_EXCEPTIONS = 0x3f;

export const ROUND = { NEAREST: 0, DOWN: 1, UP: 2, ZERO: 3 } as const;
/** Exponent adjustment of an unmasked overflow or underflow (SDM vol. 1, 8.5.4, 8.5.5). */
const ADJUSTMENT = 24576;

/** What an operation works under, and what it found. */
export class Context {
  /** Control word. */
  readonly control: number;
  /** Exceptions found: bits of EXCEPTION. */
  flags = 0;
  /** The last rounding increased the magnitude: C1 with PE. */
  roundedUp = false;

  constructor(control: number) {
    this.control = control;
  }

  raise(flags: number): void {
    this.flags |= flags;
  }

  masked(flag: number): boolean {
    return (this.control & flag) !== 0;
  }

  /** Rounding control, bits 11:10. */
  get rounding(): number {
    return (this.control >>> 10) & 3;
  }

  /** Significand bits by precision control, bits 9:8; the reserved encoding 01 is taken as extended. */
  get precision(): number {
    const field = (this.control >>> 8) & 3;
    return field === 0 ? 24 : field === 2 ? 53 : 64;
  }
}

/** A format to round to: significand bits, and the range of exponents of normal values. */
export interface Format {
  readonly precision: number;
  readonly minimum: number;
  readonly maximum: number;
}

/** A rounded magnitude: `significand` of at most `precision` bits, leading bit of weight 2^`exponent`; null: infinity. */
export interface Rounded {
  readonly exponent: number;
  readonly significand: bigint | null;
}

/** Whether a magnitude with remainder `rest` of `half`'s double is rounded away from zero. */
function increments(
  rounding: number,
  sign: number,
  odd: boolean,
  rest: bigint,
  half: bigint,
  sticky: boolean,
): boolean {
  if (rest === 0n && !sticky) return false;
  switch (rounding) {
    case ROUND.NEAREST:
      return rest > half || (rest === half && (sticky || odd));
    case ROUND.DOWN:
      return sign === 1;
    case ROUND.UP:
      return sign === 0;
    default:
      return false;
  }
}

interface Quotient {
  readonly value: bigint;
  readonly inexact: boolean;
  readonly up: boolean;
}

/** `magnitude` / 2^`shift` as an integer, rounded; `sticky` says that the magnitude is a little above what is given. */
export function shiftRight(
  rounding: number,
  sign: number,
  magnitude: bigint,
  shift: number,
  sticky: boolean,
): Quotient {
  if (shift <= 0) {
    const value = magnitude << BigInt(-shift);
    const up = increments(rounding, sign, (value & 1n) === 1n, 0n, 1n, sticky);
    return { value: up ? value + 1n : value, inexact: sticky, up };
  }
  const bits = BigInt(shift);
  const value = magnitude >> bits;
  const rest = magnitude - (value << bits);
  const up = increments(rounding, sign, (value & 1n) === 1n, rest, 1n << (bits - 1n), sticky);
  return { value: up ? value + 1n : value, inexact: rest !== 0n || sticky, up };
}

/**
 * Rounds the positive magnitude `magnitude` x 2^`scale` to a format. With `sticky` the magnitude is between this and the
 * next integer. `register`: an unmasked overflow or underflow leaves a scaled result; for memory
 * it is all that is reported, and the result means nothing.
 */
export function roundTo(
  context: Context,
  format: Format,
  sign: number,
  magnitude: bigint,
  scale: number,
  sticky: boolean,
  register: boolean,
): Rounded {
  const { precision } = format;
  const length = bitLength(magnitude);
  const free = shiftRight(context.rounding, sign, magnitude, length - precision, sticky);
  const carried = free.value >> BigInt(precision) !== 0n;
  const significand = carried ? free.value >> 1n : free.value;
  let exponent = scale + length - 1 + (carried ? 1 : 0);

  if (exponent < format.minimum) {
    if (!context.masked(EXCEPTION.UE)) {
      context.raise(EXCEPTION.UE);
      if (!register) return { exponent: format.minimum, significand: 0n };
      exponent += ADJUSTMENT;
      if (exponent < format.minimum) {
        // FSCALE alone comes here, and with a massive overflow below (SDM vol. 1, 8.5.4, 8.5.5).
        context.raise(EXCEPTION.PE);
        return { exponent: format.minimum, significand: 0n };
      }
    } else {
      const quantum = format.minimum - precision + 1;
      const denormal = shiftRight(context.rounding, sign, magnitude, quantum - scale, sticky);
      if (denormal.inexact) context.raise(EXCEPTION.UE | EXCEPTION.PE);
      context.roundedUp = denormal.up;
      return { exponent: format.minimum, significand: denormal.value };
    }
  } else if (exponent > format.maximum) {
    context.raise(EXCEPTION.OE);
    if (!context.masked(EXCEPTION.OE) && !register) return { exponent: format.maximum, significand: null };
    const massive = !context.masked(EXCEPTION.OE) && exponent - ADJUSTMENT > format.maximum;
    if (massive || context.masked(EXCEPTION.OE)) {
      const away = context.rounding === ROUND.NEAREST || (context.rounding === ROUND.DOWN ? sign === 1 : sign === 0);
      const toInfinity = massive || (away && context.rounding !== ROUND.ZERO);
      context.raise(EXCEPTION.PE);
      context.roundedUp = toInfinity;
      return { exponent: format.maximum, significand: toInfinity ? null : (1n << BigInt(precision)) - 1n };
    }
    exponent -= ADJUSTMENT;
  }
  if (free.inexact) context.raise(EXCEPTION.PE);
  context.roundedUp = free.up;
  return { exponent, significand };
}

/** Rounds to a register: 15 bits of exponent whatever the precision. */
export function round80(
  context: Context,
  precision: number,
  sign: number,
  magnitude: bigint,
  scale: number,
  sticky = false,
): Float80 {
  const format = { precision, minimum: 1 - BIAS, maximum: MAX_EXPONENT - 1 - BIAS };
  const { exponent, significand } = roundTo(context, format, sign, magnitude, scale, sticky, true);
  if (significand === null) return infinity(sign);
  if (significand === 0n) return zero(sign);
  const field = significand << BigInt(64 - precision);
  return pack(sign, field >> 63n === 0n ? 0 : exponent + BIAS, field);
}

/** Rounds the magnitude to an integer; reports PE. */
export function roundToInteger(
  context: Context,
  rounding: number,
  sign: number,
  magnitude: bigint,
  scale: number,
): bigint {
  // Below a quarter of one only whether it is zero matters.
  const shift = Math.min(-scale, 70);
  const result = shiftRight(rounding, sign, magnitude, shift, false);
  if (result.inexact) context.raise(EXCEPTION.PE);
  context.roundedUp = result.up;
  return result.value;
}

/** Rounding control for truncation, which FISTTP uses whatever the control word says. */
export const TRUNCATE = ROUND.ZERO;

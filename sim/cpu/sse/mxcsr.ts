/**
 * MXCSR (SDM vol. 1, 10.2.3) and what becomes of the exceptions that an SSE instruction found (11.5): flags are sticky; an
 * unmasked one is #XM, or #UD while CR4.OSXMMEXCPT is clear, and leaves the destination alone.
 */
import { type CpuState, CR4, MXCSR, raise, VECTOR } from "../state.ts";
import type { Run } from "./packed-integer.ts";

/** Exception flags; the masks are the same bits shifted by MASK_SHIFT. */
export const EXCEPTION = { IE: 1, DE: 2, ZE: 4, OE: 8, UE: 16, PE: 32 } as const;
export const MASK_SHIFT = 7;
export const DENORMALS_ARE_ZEROS = 1 << 6;
export const FLUSH_TO_ZERO = 1 << 15;
export const ROUNDING_SHIFT = 13;
/** All bits but the reserved ones, as FXSAVE's MXCSR_MASK says: both profiles' processors have DAZ. */
export const MXCSR_MASK = 0xffff;

/** Exceptions that are found before a result is computed; an unmasked one hides those of results. */
const BEFORE_RESULT = EXCEPTION.IE | EXCEPTION.DE | EXCEPTION.ZE;

export function maskedExceptions(mxcsr: number): number {
  return (mxcsr >>> MASK_SHIFT) & 0x3f;
}

/** Reports the exceptions of all elements of an instruction; false when one is unmasked and has been raised. */
export function report(state: CpuState, flags: number): boolean {
  if (flags === 0) return true;
  const mxcsr = state.i32[MXCSR] as number;
  const unmasked = flags & ~maskedExceptions(mxcsr);
  state.i32[MXCSR] = mxcsr | ((unmasked & BEFORE_RESULT) !== 0 ? flags & BEFORE_RESULT : flags);
  if (unmasked === 0) return true;
  raise(state, (state.cr4 & CR4.OSXMMEXCPT) !== 0 ? VECTOR.XM : VECTOR.UD);
  return false;
}

/** LDMXCSR: a reserved bit is #GP(0). */
export const loadMxcsr: Run = (state, _u, s) => {
  const value = state.i32[s] as number;
  if ((value & ~MXCSR_MASK) !== 0) raise(state, VECTOR.GP, 0);
  else state.set(MXCSR, value);
};

/** Round to nearest is in force. */
export function isNearest(mxcsr: number): boolean {
  return (mxcsr & (3 << ROUNDING_SHIFT)) === 0;
}

const INEXACT_KNOWN = EXCEPTION.PE | (EXCEPTION.PE << MASK_SHIFT);
/** The precision flag is set and masked already, so that nobody can tell whether it is found again. */
export function knowsInexact(mxcsr: number): boolean {
  return (mxcsr & INEXACT_KNOWN) === INEXACT_KNOWN;
}

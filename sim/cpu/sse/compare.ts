/**
 * Comparisons of single- and double-precision elements (SDM vol. 2, CMPPS, COMISS, MINPS): exact, so that only invalid
 * operations and denormal operands are found. With DAZ a denormal compares as zero.
 */
import { type CpuState, FLAG, MXCSR } from "../state.ts";
import { DENORMALS_ARE_ZEROS, EXCEPTION, report } from "./mxcsr.ts";
import { immediateOf } from "./operands.ts";
import type { Run } from "./packed-integer.ts";
import type { ElementOperation } from "./single.ts";

/** How elements of a precision are read. */
export interface Precision {
  /** In words of 32 bits. */
  readonly words: 1 | 2;
  readonly smallest: number;
  /** The value; a signalling NaN may come as a quiet one. */
  value(state: CpuState, cell: number): number;
  /** Word that holds sign, exponent and the quiet bit, and the mask of the latter. */
  readonly quietBit: number;
}

export const SINGLES: Precision = {
  words: 1,
  smallest: 2 ** -126,
  value: (state, cell) => state.f32[cell] as number,
  quietBit: 1 << 22,
};
export const DOUBLES: Precision = {
  words: 2,
  smallest: 2 ** -1022,
  value: (state, cell) => state.f64[cell >> 1] as number,
  quietBit: 1 << 19,
};

export const isDenormal = (p: Precision, x: number): boolean => x !== 0 && Math.abs(x) < p.smallest;

function isSignalling(p: Precision, state: CpuState, cell: number): boolean {
  return ((state.i32[cell + p.words - 1] as number) & p.quietBit) === 0;
}

export const daz = (mxcsr: number): boolean => (mxcsr & DENORMALS_ARE_ZEROS) !== 0;

/** Exceptions of comparing x and y; quietly: for signalling NaNs only. */
function found(p: Precision, state: CpuState, a: number, b: number, mxcsr: number, quietly: boolean): number {
  const x = p.value(state, a);
  const y = p.value(state, b);
  if (Number.isNaN(x) || Number.isNaN(y)) {
    const signals =
      (Number.isNaN(x) && isSignalling(p, state, a)) || (Number.isNaN(y) && isSignalling(p, state, b)) || !quietly;
    return signals ? EXCEPTION.IE : 0;
  }
  return !daz(mxcsr) && (isDenormal(p, x) || isDenormal(p, y)) ? EXCEPTION.DE : 0;
}

/** An operand as it is compared. */
function compared(p: Precision, state: CpuState, cell: number, mxcsr: number): number {
  const x = p.value(state, cell);
  return daz(mxcsr) && isDenormal(p, x) ? 0 : x;
}

/** MIN, MAX: the second operand when either is a NaN or both are zero, bits as they are. */
export function extreme(p: Precision, wantsFirst: (x: number, y: number) => boolean): ElementOperation {
  return (state, out, a, b, mxcsr) => {
    const { i32 } = state;
    const first = wantsFirst(compared(p, state, a, mxcsr), compared(p, state, b, mxcsr));
    const from = first ? a : b;
    for (let k = 0; k < p.words; k++) i32[out + k] = i32[from + k] as number;
    if (daz(mxcsr) && isDenormal(p, p.value(state, from))) {
      if (p.words === 2) i32[out] = 0;
      i32[out + p.words - 1] = (i32[out + p.words - 1] as number) & 0x8000_0000;
    }
    return found(p, state, a, b, mxcsr, false);
  };
}

/** Predicates of CMPPS by the low two bits of its immediate; bit 2 negates (SDM vol. 2, CMPPS). */
const PREDICATES: readonly ((x: number, y: number) => boolean)[] = [
  (x, y) => x === y,
  (x, y) => x < y,
  (x, y) => x <= y,
  (x, y) => Number.isNaN(x) || Number.isNaN(y),
];
/** Less-than and less-or-equal signal for quiet NaNs, too. */
const SIGNALLING_PREDICATES = 0b0110;

/** CMPPS and its kin: all ones where the predicate holds. */
export function comparison(p: Precision, count: number): Run {
  return (state, u, s) => {
    const { i32 } = state;
    const mxcsr = i32[MXCSR] as number;
    const predicate = immediateOf(u) & 3;
    const negate = (immediateOf(u) & 4) !== 0;
    const holds = PREDICATES[predicate] as (x: number, y: number) => boolean;
    const quietly = ((SIGNALLING_PREDICATES >>> predicate) & 1) === 0;
    let flags = 0;
    let results = 0;
    for (let n = 0; n < count; n++) {
      const a = u.d + n * p.words;
      const b = s + n * p.words;
      flags |= found(p, state, a, b, mxcsr, quietly);
      if (holds(compared(p, state, a, mxcsr), compared(p, state, b, mxcsr)) !== negate) results |= 1 << n;
    }
    if (!report(state, flags)) return;
    for (let k = 0; k < count * p.words; k++) {
      i32[u.d + k] = ((results >>> Math.floor(k / p.words)) & 1) !== 0 ? -1 : 0;
    }
  };
}

/** COMISS, UCOMISS (quietly) and their kin: ZF, PF, CF; OF, SF and AF are cleared. */
export function flagComparison(p: Precision, quietly: boolean): Run {
  return (state, u, s) => {
    const mxcsr = state.i32[MXCSR] as number;
    if (!report(state, found(p, state, u.d, s, mxcsr, quietly))) return;
    const x = compared(p, state, u.d, mxcsr);
    const y = compared(p, state, s, mxcsr);
    const status = x > y ? 0 : x < y ? FLAG.CF : x === y ? FLAG.ZF : FLAG.ZF | FLAG.PF | FLAG.CF;
    state.flags = (state.flags & ~(FLAG.CF | FLAG.PF | FLAG.ZF | FLAG.OF | FLAG.SF | FLAG.AF)) | status;
  };
}

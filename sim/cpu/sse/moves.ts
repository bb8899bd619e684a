/**
 * Moves between registers and from memory (SDM vol. 1, 5.4.1, 5.5.1.1, 5.6.1.1): `words` words of the source, and whether the
 * rest of an XMM register is cleared. Moves to memory are stores of these cells.
 */
import { OPERAND, wordsOf } from "./operands.ts";
import type { Run } from "./packed-integer.ts";

/** `count` words from word `from` of the source to word `to`; others stay. */
const part =
  (count: number, from = 0, to = 0): Run =>
  (state, u, s) => {
    const { i32 } = state;
    for (let k = 0; k < count; k++) i32[u.d + to + k] = i32[s + from + k] as number;
  };

/** The low `count` words; the rest of the register becomes zero. */
const extended =
  (count: number): Run =>
  (state, u, s) => {
    const { i32 } = state;
    const all = wordsOf(u);
    for (let k = 0; k < all; k++) i32[u.d + k] = k < count ? (i32[s + k] as number) : 0;
  };

/** MOVSS, MOVSD: a register's value leaves the rest of the destination, one from memory clears it. */
function scalar(count: number): Run {
  const fromRegister = part(count);
  const fromMemory = extended(count);
  return (state, u, s) => ((u.x & OPERAND.MEMORY) !== 0 ? fromMemory : fromRegister)(state, u, s);
}

export const MOVES = {
  /** MOVAPS, MOVDQA, MOVUPS, LDDQU and their kin. */
  moveVector: part(4),
  /** MOVQ into an MMX register, MOVDQ2Q, MOVLPS, MOVLPD. */
  moveLow: part(2),
  /** MOVQ into an XMM register, MOVQ2DQ. */
  moveQuadword: extended(2),
  /** MOVD into an MMX or XMM register. */
  moveDoubleword: extended(1),
  movss: scalar(1),
  movsd: scalar(2),
  /** MOVHPS, MOVHPD, MOVLHPS. */
  moveToHigh: part(2, 0, 2),
  movhlps: part(2, 2, 0),
  /** MOVD into a general register. */
  moveToGeneral: (state, u, s) => state.set(u.d, state.i32[s] as number),
} as const satisfies Record<string, Run>;

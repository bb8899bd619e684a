/**
 * What MMX and SSE instructions share (SDM vol. 1, chapters 9 to 12; vol. 3, 12 and 13): whether they are available, the
 * transition to MMX state, and operands in memory. All bytes of a store are checked before the first is written.
 *
 * Fields of a micro-op for the `simd` helpers: d destination (for a store, source) cell; a source cell, or the offset of a
 * memory operand; c eight scratch words: memory operand, then result; x segment and the bits of OPERAND; w bytes of the
 * memory operand, immediate above bit 16; b operation.
 */
import type { Environment } from "../environment.ts";
import { dataAccess, linearAddress } from "../interpreter.ts";
import type { MicroOp } from "../micro-ops.ts";
import { type CpuState, CR0, CR4, OUTCOME, raise, VECTOR, X87 } from "../state.ts";
import { errorPending } from "../x87/errors.ts";
import { enterMmx } from "../x87/stack.ts";

export const OPERAND = {
  SEGMENT: 0xf,
  /** XMM registers or MXCSR are used: CR4.OSFXSR must be set. */
  XMM: 1 << 4,
  /** MMX registers are used: x87 errors are reported first, and the x87 goes over to MMX state. */
  MMX: 1 << 5,
  /** The source is in memory. */
  MEMORY: 1 << 6,
  /** The memory operand must be aligned to 16 bytes. */
  ALIGNED: 1 << 7,
  /** The destination is an MMX register: bits 79:64 become ones. */
  TO_MMX: 1 << 8,
  /** Packed operands have four words, not two. */
  WIDE: 1 << 9,
} as const;

/** Bytes of the largest operand. */
const VECTOR_BYTES = 16;
const PAGE_MASK = 0xfff;
/** From the memory operand's words to the result's in the scratch area. */
const RESULT = 4;

export const bytesOf = (u: MicroOp): number => u.w & 0xffff;
export const immediateOf = (u: MicroOp): number => u.w >>> 16;
/** Words of a packed operand: two in an MMX register, four in an XMM register. */
export const wordsOf = (u: MicroOp): number => ((u.x & OPERAND.WIDE) !== 0 ? 4 : 2);
/** Cell of the scratch words for a result that must not disturb its operands. */
export const resultOf = (u: MicroOp): number => u.c + RESULT;

const signalled = (state: CpuState): boolean => state.signal.outcome !== OUTCOME.NONE;

/** #UD, #NM, and for MMX registers a pending x87 error, in this order (SDM vol. 3, 13.1 and 12.5); false with one raised. */
export function available(state: CpuState, env: Environment, x: number): boolean {
  const cr0 = state.cr0;
  if ((cr0 & CR0.EM) !== 0 || ((x & OPERAND.XMM) !== 0 && (state.cr4 & CR4.OSFXSR) === 0)) {
    raise(state, VECTOR.UD);
    return false;
  }
  if ((cr0 & CR0.TS) !== 0) {
    raise(state, VECTOR.NM);
    return false;
  }
  return (x & OPERAND.MMX) === 0 || !errorPending(state, env);
}

/** The x87 goes over to MMX state; with a destination among the MMX registers, its sign and exponent become ones. */
export function finishMmx(state: CpuState, u: MicroOp): void {
  enterMmx(state);
  if ((u.x & OPERAND.TO_MMX) !== 0) state.set(u.d + 2, 0xffff);
}

/**
 * Linear address of the memory operand of `bytes` bytes, checked for a write or, where it is larger than one access, for a
 * read; -1 with a fault. A misaligned operand that must be aligned is #GP(0); others are checked for #AC by eight bytes.
 */
export function operandAddress(state: CpuState, env: Environment, u: MicroOp, bytes: number, write: boolean): number {
  const linear = linearAddress(state, u.x & OPERAND.SEGMENT, state.i32[u.a] as number, bytes, write);
  if (linear < 0) return -1;
  if ((u.x & OPERAND.ALIGNED) !== 0 && (linear & (VECTOR_BYTES - 1)) !== 0) {
    raise(state, VECTOR.GP, 0);
    return -1;
  }
  if (bytes < VECTOR_BYTES && !write) return linear;
  const access = dataAccess(state, write);
  if (!write && (linear & (VECTOR_BYTES - 1)) === 0) return linear;
  env.probe(linear, bytes, access);
  if (!signalled(state) && bytes === VECTOR_BYTES && (linear & 7) !== 0) env.probe(linear, 8, access);
  if (signalled(state)) return -1;
  // Each half pays for crossing inside it; between the halves nobody does.
  if (bytes === VECTOR_BYTES && (linear & PAGE_MASK) === PAGE_MASK - 7) env.charge("pageCross");
  return linear;
}

/** Reads the memory operand into cells from `cell` on; false with a fault. */
export function loadOperand(state: CpuState, env: Environment, u: MicroOp, cell: number): boolean {
  const bytes = bytesOf(u);
  const linear = operandAddress(state, env, u, bytes, false);
  if (linear < 0) return false;
  const access = dataAccess(state, false);
  if (bytes <= 4) {
    const value = env.load(linear, bytes, access);
    if (signalled(state)) return false;
    state.i32[cell] = value;
    return true;
  }
  env.load64(linear, access, cell);
  if (bytes === VECTOR_BYTES && !signalled(state)) env.load64((linear + 8) >>> 0, access, cell + 2);
  return !signalled(state);
}

/** Writes `bytes` bytes from cells to an address that was checked. */
export function storeCells(state: CpuState, env: Environment, linear: number, bytes: number, cell: number): void {
  const access = dataAccess(state, true);
  if (bytes <= 4) {
    env.store(linear, bytes, state.i32[cell] as number, access);
    return;
  }
  env.store64(linear, access, cell);
  if (bytes === VECTOR_BYTES) env.store64((linear + 8) >>> 0, access, cell + 2);
}

/** MASKMOVQ, MASKMOVDQU: the bytes of cell d whose byte in cell b has its sign set; every byte must be writable. */
export function maskedStore(state: CpuState, env: Environment, u: MicroOp): void {
  if (!available(state, env, u.x)) return;
  const bytes = bytesOf(u);
  const linear = linearAddress(state, u.x & OPERAND.SEGMENT, state.i32[u.a] as number, bytes, true);
  if (linear < 0) return;
  const access = dataAccess(state, true);
  // In parts of odd sizes: there is no alignment to check.
  env.probe(linear, bytes - 1, access);
  if (!signalled(state)) env.probe((linear + bytes - 1) >>> 0, 1, access);
  if (signalled(state)) return;
  for (let n = 0; n < bytes; n++) {
    const shift = (n & 3) * 8;
    if ((((state.i32[u.b + (n >> 2)] as number) >>> shift) & 0x80) === 0) continue;
    env.store((linear + n) >>> 0, 1, ((state.i32[u.d + (n >> 2)] as number) >>> shift) & 0xff, access);
  }
  if ((u.x & OPERAND.MMX) !== 0) finishMmx(state, u);
}

/** EMMS: all x87 registers become empty, and the top of the stack R0 (SDM vol. 3, table 12-1). */
export function emms(state: CpuState, env: Environment): void {
  if (!available(state, env, OPERAND.MMX)) return;
  enterMmx(state);
  state.set(X87.valid, 0);
}

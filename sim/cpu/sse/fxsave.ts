/**
 * FXSAVE and FXRSTOR (SDM vol. 1, 10.5; vol. 2): the 512-byte image of x87, MMX and SSE state outside 64-bit mode. Pending x87
 * errors are neither reported nor cleared. With CR4.OSFXSR clear, MXCSR and XMM registers are left out, which the manual
 * leaves to the implementation. Reserved bytes of a register's 16 are written as zero, those behind XMM7 not at all.
 */
import type { Environment } from "../environment.ts";
import { dataAccess } from "../interpreter.ts";
import type { MicroOp } from "../micro-ops.ts";
import { type CpuState, CR0, CR4, MXCSR, OUTCOME, raise, VECTOR, X87, x87RegisterCell, xmmCell } from "../state.ts";
import { errorEnded } from "../x87/errors.ts";
import * as stack from "../x87/stack.ts";
import { MXCSR_MASK } from "./mxcsr.ts";
import { operandAddress } from "./operands.ts";

const IMAGE_BYTES = 512;
/** Offsets in the image, in bytes (SDM vol. 1, table 10-2). */
const AT = { MXCSR: 24, MASK: 28, REGISTERS: 32, XMM: 160 } as const;
const XMM_REGISTERS = 8;
const WORDS = 4;

const get = (state: CpuState, cell: number): number => state.i32[cell] as number;

/** #NM while CR0.EM or CR0.TS is set. */
function usable(state: CpuState): boolean {
  if ((state.cr0 & (CR0.EM | CR0.TS)) === 0) return true;
  raise(state, VECTOR.NM);
  return false;
}

export function fxsave(state: CpuState, env: Environment, u: MicroOp): void {
  if (!usable(state)) return;
  const linear = operandAddress(state, env, u, IMAGE_BYTES, true);
  if (linear < 0) return;
  const access = dataAccess(state, true);
  const put = (offset: number, value: number): void => env.store(linear + offset, 4, value, access);
  put(0, stack.control(state) | (stack.status(state) << 16));
  put(4, get(state, X87.valid) | (get(state, X87.opcode) << 16));
  put(8, get(state, X87.instructionOffset));
  put(12, get(state, X87.instructionSelector) & 0xffff);
  put(16, get(state, X87.dataOffset));
  put(20, get(state, X87.dataSelector) & 0xffff);
  for (let i = 0; i < 8; i++) {
    const cell = x87RegisterCell(stack.physical(state, i));
    for (let k = 0; k < WORDS; k++) {
      const word = k === 2 ? get(state, cell + 2) & 0xffff : k === 3 ? 0 : get(state, cell + k);
      put(AT.REGISTERS + 16 * i + 4 * k, word);
    }
  }
  if ((state.cr4 & CR4.OSFXSR) === 0) return;
  put(AT.MXCSR, get(state, MXCSR));
  put(AT.MASK, MXCSR_MASK);
  for (let n = 0; n < XMM_REGISTERS; n++) {
    for (let k = 0; k < WORDS; k++) put(AT.XMM + 16 * n + 4 * k, get(state, xmmCell(n) + k));
  }
}

export function fxrstor(state: CpuState, env: Environment, u: MicroOp): void {
  if (!usable(state)) return;
  const linear = operandAddress(state, env, u, IMAGE_BYTES, false);
  if (linear < 0) return;
  const access = dataAccess(state, false);
  const image = new Int32Array(IMAGE_BYTES / 4);
  const vectors = (state.cr4 & CR4.OSFXSR) !== 0;
  const end = vectors ? AT.XMM + 16 * XMM_REGISTERS : AT.XMM;
  for (let offset = 0; offset < end; offset += 4) {
    image[offset / 4] = env.load(linear + offset, 4, access);
    if (state.signal.outcome !== OUTCOME.NONE) return;
  }
  const at = (offset: number): number => image[offset / 4] as number;
  if (vectors && (at(AT.MXCSR) & ~MXCSR_MASK) !== 0) {
    raise(state, VECTOR.GP, 0);
    return;
  }
  const before = stack.status(state);
  stack.setControl(state, at(0) & 0xffff);
  stack.setStatus(state, at(0) >>> 16);
  errorEnded(state, env, before);
  state.set(X87.valid, at(4) & 0xff);
  state.set(X87.opcode, (at(4) >>> 16) & 0x7ff);
  state.set(X87.instructionOffset, at(8));
  state.set(X87.instructionSelector, at(12) & 0xffff);
  state.set(X87.dataOffset, at(16));
  state.set(X87.dataSelector, at(20) & 0xffff);
  for (let i = 0; i < 8; i++) {
    const cell = x87RegisterCell(stack.physical(state, i));
    const from = AT.REGISTERS + 16 * i;
    state.i32[cell] = at(from);
    state.i32[cell + 1] = at(from + 4);
    state.set(cell + 2, at(from + 8) & 0xffff);
  }
  if (!vectors) return;
  state.set(MXCSR, at(AT.MXCSR));
  for (let n = 0; n < XMM_REGISTERS; n++) {
    for (let k = 0; k < WORDS; k++) state.i32[xmmCell(n) + k] = at(AT.XMM + 16 * n + 4 * k);
  }
}

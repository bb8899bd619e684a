/**
 * SYSENTER and SYSEXIT in protected mode (SDM vol. 2; vol. 3, 5.8.7). Segments get fixed descriptors: no table is
 * read. Real-address mode is #GP(0), as the manual says; entry from virtual-8086 mode clears VM. The caller charges.
 */
import {
  CELL,
  type CpuState,
  CR0,
  FLAG,
  FLAT_CODE,
  FLAT_DATA,
  FLAT_LIMIT,
  GPR,
  RIGHTS,
  raise,
  SEG,
  VECTOR,
} from "../state.ts";
import { setCpl } from "./stack.ts";

/** #GP(0) in real-address mode and while IA32_SYSENTER_CS is null. */
function available(state: CpuState): boolean {
  if ((state.cr0 & CR0.PE) !== 0 && (state.get(CELL.sysenterCs) & 0xfffc) !== 0) return true;
  raise(state, VECTOR.GP, 0);
  return false;
}

/** Loads flat CS and SS for a privilege level, `offset` bytes above IA32_SYSENTER_CS and the descriptor after it. */
function loadFlat(state: CpuState, level: number, offset: number): void {
  const cs = ((state.get(CELL.sysenterCs) & 0xfffc) + offset) | level;
  state.setSegment(SEG.cs, cs, 0, FLAT_LIMIT, FLAT_CODE | (level << RIGHTS.DPL_SHIFT));
  state.setSegment(SEG.ss, cs + 8, 0, FLAT_LIMIT, FLAT_DATA | (level << RIGHTS.DPL_SHIFT));
  setCpl(state, level);
}

/** SYSENTER; sets EIP. */
export function sysenter(state: CpuState): void {
  if (!available(state)) return;
  state.flags &= ~(FLAG.VM | FLAG.IF | FLAG.RF);
  loadFlat(state, 0, 0);
  state.set(GPR.esp, state.get(CELL.sysenterEsp));
  state.eip = state.get(CELL.sysenterEip);
}

/** SYSEXIT: to EDX with the stack of ECX, at CPL 3; sets EIP. */
export function sysexit(state: CpuState): void {
  if (!available(state)) return;
  if (state.cpl !== 0) {
    raise(state, VECTOR.GP, 0);
    return;
  }
  loadFlat(state, 3, 16);
  state.set(GPR.esp, state.get(GPR.ecx));
  state.eip = state.get(GPR.edx);
}

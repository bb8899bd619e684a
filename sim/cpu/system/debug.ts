/**
 * Debug registers: MOV to and from DRn (SDM vol. 2; vol. 3, 17.2). Breakpoints themselves are the core's. The caller
 * charges.
 *
 * The VM exit of MOV DR comes before #GP(0) by privilege and before #UD for DR4 and DR5 (vol. 3, 26.1.3).
 */
import type { Environment } from "../environment.ts";
import { CELL, type CpuState, CR4, raise, VECTOR } from "../state.ts";
import { privileged } from "./checks.ts";

/** DR6.BD: a debug register was about to be accessed while DR7.GD was set. */
export const DR6_BD = 1 << 13;
const DR7_GD = 1 << 13;
/** Bits that can be written, and those that always read as 1 (SDM vol. 3, 17.2.3, 17.2.4). */
const DR6 = { writable: 0x0000e00f, ones: 0xffff0ff0 } as const;
const DR7 = { writable: 0xffff23ff, ones: 0x00000400 } as const;
const CELLS = [CELL.dr0, CELL.dr1, CELL.dr2, CELL.dr3, CELL.dr6, CELL.dr7, CELL.dr6, CELL.dr7] as const;

/** Cell of debug register `dr`, or -1 with a VM exit or fault signalled; DR4 and DR5 are DR6 and DR7. */
function accessibleCell(state: CpuState, env: Environment, dr: number, write: boolean, gpr: number): number {
  if (env.intercepts?.movDr(dr, write, gpr) === true) return -1;
  if (dr > 7 || ((dr === 4 || dr === 5) && (state.cr4 & CR4.DE) !== 0)) {
    raise(state, VECTOR.UD);
    return -1;
  }
  if (!privileged(state)) return -1;
  if ((state.get(CELL.dr7) & DR7_GD) !== 0) {
    raise(state, VECTOR.DB);
    // For #DB the address is what delivery sets in DR6, or a VM exit reports in its qualification.
    state.signal.address = DR6_BD;
    return -1;
  }
  return CELLS[dr] as number;
}

/** MOV from DRn, unsigned. `gpr` is the destination's number, for the exit. */
export function readDebug(state: CpuState, env: Environment, dr: number, gpr: number): number {
  const cell = accessibleCell(state, env, dr, false, gpr);
  return cell < 0 ? 0 : state.get(cell);
}

/** MOV to DRn of a 32-bit value. */
export function writeDebug(state: CpuState, env: Environment, dr: number, value: number, gpr: number): void {
  const cell = accessibleCell(state, env, dr, true, gpr);
  if (cell < 0) return;
  if (cell === CELL.dr6) value = (value & DR6.writable) | DR6.ones;
  else if (cell === CELL.dr7) value = (value & DR7.writable) | DR7.ones;
  state.set(cell, value);
  env.attention();
}

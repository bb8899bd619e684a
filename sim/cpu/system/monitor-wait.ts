/**
 * MONITOR and MWAIT (SDM vol. 2; vol. 3, 9.10.4): #UD above CPL 0, no extensions or hints in ECX.
 *
 * Simplified: the range that MONITOR arms counts as written at once, which the manual allows (software must look at its
 * variable again after every wake-up). MWAIT therefore goes on after its own time, also with interrupts off.
 */
import type { Environment } from "../environment.ts";
import { dataAccess, linearAddress } from "../interpreter.ts";
import { type CpuState, GPR, raise, VECTOR } from "../state.ts";
import { REASON } from "../vmx/reasons.ts";

/** Privilege, the VM exit, and ECX; false when one of them ended the instruction. */
function permitted(state: CpuState, env: Environment, reason: number): boolean {
  if (state.cpl !== 0) {
    raise(state, VECTOR.UD);
    return false;
  }
  if (env.intercepts?.instruction(reason, 0) === true) return false;
  if (state.get(GPR.ecx) === 0) return true;
  raise(state, VECTOR.GP, 0);
  return false;
}

/** MONITOR of the byte at `offset` in `segment`, which is read. */
export function monitor(state: CpuState, env: Environment, segment: number, offset: number): void {
  if (!permitted(state, env, REASON.monitor)) return;
  const linear = linearAddress(state, segment, offset, 1, false);
  if (linear >= 0) env.load(linear, 1, dataAccess(state, false));
}

export function mwait(state: CpuState, env: Environment): void {
  permitted(state, env, REASON.mwait);
}

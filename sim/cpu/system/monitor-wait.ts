/**
 * MONITOR and MWAIT (SDM vol. 2; vol. 3, 9.10.4): #UD above CPL 0; of the extensions in ECX only the one that CPUID leaf 5
 * announces, by which interrupts end MWAIT although they are masked.
 *
 * MWAIT after MONITOR waits as HLT does, for an interrupt: there is no other processor that could write to the range, and
 * a device that writes there interrupts. An event between the two, whose handler may have written, disarms.
 *
 * Simplified: where nothing interrupts (IF = 0), without MONITOR, and in VMX non-root operation MWAIT goes on after its
 * own time, as if the range had been written; the manual allows such wake-ups (software must look at its variable again).
 */
import type { Environment } from "../environment.ts";
import { dataAccess, linearAddress } from "../interpreter.ts";
import { ACTIVITY, CELL, type CpuState, FLAG, GPR, OUTCOME, raise, VECTOR } from "../state.ts";
import { REASON } from "../vmx/reasons.ts";

/** CPUID leaf 5, ECX: bit 0 of ECX may be set for MWAIT. */
const MASKED_INTERRUPTS_BREAK = 1 << 1;

/** Privilege, the VM exit, and ECX; false when one of them ended the instruction. */
function permitted(state: CpuState, env: Environment, reason: number, extensions: number): boolean {
  if (state.cpl !== 0) {
    raise(state, VECTOR.UD);
    return false;
  }
  if (env.intercepts?.instruction(reason, 0) === true) return false;
  if ((state.get(GPR.ecx) & ~extensions) === 0) return true;
  raise(state, VECTOR.GP, 0);
  return false;
}

/** MONITOR of the byte at `offset` in `segment`, which is read. */
export function monitor(state: CpuState, env: Environment, segment: number, offset: number): void {
  if (!permitted(state, env, REASON.monitor, 0)) return;
  const linear = linearAddress(state, segment, offset, 1, false);
  if (linear < 0) return;
  env.load(linear, 1, dataAccess(state, false));
  if (state.signal.outcome === OUTCOME.NONE) state.set(CELL.monitorArmed, 1);
}

export function mwait(state: CpuState, env: Environment): void {
  const announced = (env.profile.cpuid[5]?.ecx ?? 0) & MASKED_INTERRUPTS_BREAK;
  if (!permitted(state, env, REASON.mwait, announced === 0 ? 0 : 1)) return;
  const armed = state.get(CELL.monitorArmed) !== 0;
  state.set(CELL.monitorArmed, 0);
  if (!armed || (state.flags & FLAG.IF) === 0 || env.intercepts !== null) return;
  state.set(CELL.activity, ACTIVITY.HLT);
  env.attention();
}

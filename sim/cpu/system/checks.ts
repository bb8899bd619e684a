/**
 * Checks that system instructions share. A helper here is a function of (state, environment, operands); it leaves a
 * fault in `state.signal` and returns.
 */
import { type CpuState, CR0, FLAG, OUTCOME, raise, VECTOR } from "../state.ts";

/** Whether the instruction in progress has faulted, exits, or is not modelled. */
export function stopped(state: CpuState): boolean {
  return state.signal.outcome !== OUTCOME.NONE;
}

/** Real-address mode: CR0.PE is clear. CPL is 0 then. */
export function inRealMode(state: CpuState): boolean {
  return (state.cr0 & CR0.PE) === 0;
}

/** Virtual-8086 mode: EFLAGS.VM is set, which only protected mode can do. CPL is 3 then. */
export function inVirtual8086(state: CpuState): boolean {
  return (state.flags & FLAG.VM) !== 0;
}

/** Whether a segment register is loaded as on the 8086, without a descriptor: real-address or virtual-8086 mode. */
export function segmentsAs8086(state: CpuState): boolean {
  return inRealMode(state) || inVirtual8086(state);
}

/** Whether the processor is at CPL 0; raises #GP(0) otherwise (SDM vol. 3, 5.9). */
export function privileged(state: CpuState): boolean {
  if (state.cpl === 0) return true;
  raise(state, VECTOR.GP, 0);
  return false;
}

/** I/O privilege level, 0 to 3. */
export function ioPrivilegeLevel(state: CpuState): number {
  return (state.flags >>> 12) & 3;
}

/**
 * Checks that system instructions share. A helper here is a function of (state, environment, operands); it leaves a
 * fault in `state.signal` and returns. Real-address and virtual-8086 mode are not modelled yet: helpers that differ
 * there ask `protectedMode` first, so that these modes have one place to grow from.
 */
import { type CpuState, CR0, FLAG, OUTCOME, raise, unmodelled, VECTOR } from "../state.ts";

/** Whether the instruction in progress has faulted, exits, or is not modelled. */
export function stopped(state: CpuState): boolean {
  return state.signal.outcome !== OUTCOME.NONE;
}

/** Whether the processor is in protected mode proper; otherwise stops the instruction `what` as unmodelled. */
export function protectedMode(state: CpuState, what: string): boolean {
  if ((state.cr0 & CR0.PE) === 0) {
    unmodelled(state, `${what} in real-address mode`);
    return false;
  }
  if ((state.flags & FLAG.VM) !== 0) {
    unmodelled(state, `${what} in virtual-8086 mode`);
    return false;
  }
  return true;
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

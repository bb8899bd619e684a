/**
 * How an x87 error that is pending is reported to the instruction that finds it (SDM vol. 1, 8.7, D.1): #MF, or while CR0.NE is
 * clear FERR#, at which the board requests IRQ 13; the processor waits at the instruction for an interrupt. With IGNNE#
 * asserted the instruction runs as if there were no error.
 */
import type { Environment } from "../environment.ts";
import { ACTIVITY, CELL, type CpuState, CR0, OUTCOME, raise, VECTOR } from "../state.ts";
import { STATUS, status } from "./stack.ts";

/** Whether an error keeps the instruction from running; what becomes of it has been signalled. */
export function errorPending(state: CpuState, env: Environment): boolean {
  if ((status(state) & STATUS.ES) === 0) return false;
  if ((state.cr0 & CR0.NE) !== 0) {
    raise(state, VECTOR.MF);
    return true;
  }
  if (env.numericError?.(true) === true) return false;
  state.set(CELL.activity, ACTIVITY.HLT);
  state.signal.outcome = OUTCOME.WAITS;
  return true;
}

/** Tells the board when an instruction has ended an error that was pending (`before`: the status word before it). */
export function errorEnded(state: CpuState, env: Environment, before: number): void {
  if ((before & STATUS.ES) === 0 || (status(state) & STATUS.ES) !== 0 || (state.cr0 & CR0.NE) !== 0) return;
  env.numericError?.(false);
}

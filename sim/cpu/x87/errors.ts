/** How an x87 error that is pending is reported to the instruction that finds it (SDM vol. 1, 8.7). */
import type { Environment } from "../environment.ts";
import { type CpuState, CR0, raise, unmodelled, VECTOR } from "../state.ts";
import { STATUS, status } from "./stack.ts";

/** Whether an error is pending; it has then been signalled. */
export function errorPending(state: CpuState, _env: Environment): boolean {
  if ((status(state) & STATUS.ES) === 0) return false;
  if ((state.cr0 & CR0.NE) !== 0) raise(state, VECTOR.MF);
  else unmodelled(state, "an x87 error with CR0.NE = 0, which is reported through IRQ 13");
  return true;
}

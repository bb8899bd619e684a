/**
 * Attempts to switch tasks (SDM vol. 3, 7.3). The checks that come before any VM exit (vol. 3, 26.4.2: gate, TSS
 * selector, descriptor type, presence, limit) are made; then the exit, or, outside VMX non-root operation, a stop as
 * unmodelled: hardware task switches are not modelled yet.
 */
import type { Environment } from "../environment.ts";
import { type CpuState, raise, unmodelled, VECTOR } from "../state.ts";
import {
  descriptorLimit,
  descriptorRights,
  fetchDescriptor,
  isAvailableTss,
  isPresent,
  SLOT,
  SYSTEM_TYPE,
  selectorError,
  systemType,
} from "./descriptors.ts";

/** Source of a task switch as the exit qualification has it (SDM vol. 3, table 28-2). */
export const TASK_SOURCE = { CALL: 0, IRET: 1, JMP: 2, TASK_GATE: 3 } as const;

/** Smallest limits of a 286 and a 386 TSS. */
const LIMIT16 = 0x2b;
const LIMIT32 = 0x67;

/** Attempts a switch to the task whose TSS `selector` names, after the checks of any gate. */
export function switchTask(state: CpuState, env: Environment, selector: number, source: number, ext = 0): void {
  const iret = source === TASK_SOURCE.IRET;
  const vector = iret ? VECTOR.TS : VECTOR.GP;
  const error = selectorError(selector, ext);
  if ((selector & 4) !== 0) {
    raise(state, vector, error);
    return;
  }
  if (!fetchDescriptor(state, env, selector, SLOT.data, vector, ext)) return;
  const rights = descriptorRights(state, SLOT.data);
  const type = systemType(rights);
  const busy = type === SYSTEM_TYPE.TSS16_BUSY || type === SYSTEM_TYPE.TSS32_BUSY;
  if (!(iret ? busy : isAvailableTss(rights))) {
    raise(state, vector, error);
    return;
  }
  if (!isPresent(rights)) {
    raise(state, VECTOR.NP, error);
    return;
  }
  if (descriptorLimit(state, SLOT.data) < ((type & 8) !== 0 ? LIMIT32 : LIMIT16)) {
    raise(state, VECTOR.TS, error);
    return;
  }
  if (env.intercepts?.taskSwitch(selector, source) === true) return;
  unmodelled(state, `hardware task switch to TSS ${selector.toString(16)}`);
}

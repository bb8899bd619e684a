/** What RET far and IRET have in common: checks of the code and stack segment returned to, and the outer return. */
import type { Environment } from "../environment.ts";
import { type CpuState, GPR, raise, SEG, VECTOR } from "../state.ts";
import { stopped } from "./checks.ts";
import {
  descriptorLimit,
  descriptorRights,
  dpl,
  fetchDescriptor,
  isCode,
  isConforming,
  isNull,
  isPresent,
  loadFromSlot,
  markAccessed,
  SLOT,
  selectorError,
} from "./descriptors.ts";
import { dropPrivilegedSegments } from "./segments.ts";
import { checkNewStack, loadStack, moveStack, setCpl, setStackPointer, stackHolds, stackMask } from "./stack.ts";

/** Checks the CS of a return; its descriptor is left in SLOT.code. */
export function checkReturnCode(state: CpuState, env: Environment, selector: number): boolean {
  const error = selectorError(selector);
  if (isNull(selector)) {
    raise(state, VECTOR.GP, 0);
    return false;
  }
  if (!fetchDescriptor(state, env, selector, SLOT.code, VECTOR.GP)) return false;
  const rights = descriptorRights(state, SLOT.code);
  const rpl = selector & 3;
  const levelFits = isConforming(rights) ? dpl(rights) <= rpl : dpl(rights) === rpl;
  if (!isCode(rights) || rpl < state.cpl || !levelFits) {
    raise(state, VECTOR.GP, error);
    return false;
  }
  if (!isPresent(rights)) {
    raise(state, VECTOR.NP, error);
    return false;
  }
  return true;
}

/** #GP(0) unless `eip` is inside the code segment in SLOT.code. */
export function targetInside(state: CpuState, eip: number): boolean {
  if (eip <= descriptorLimit(state, SLOT.code)) return true;
  raise(state, VECTOR.GP, 0);
  return false;
}

/** Return to the same level, after `checkReturnCode`: CS:EIP, and `release` bytes off the stack. */
export function returnSame(state: CpuState, env: Environment, cs: number, eip: number, release: number): boolean {
  if (!targetInside(state, eip) || !markAccessed(state, env, cs, SLOT.code)) return false;
  const rights = state.segmentRights(SEG.ss);
  setStackPointer(state, rights, moveStack(state.get(GPR.esp), release, stackMask(rights)));
  loadFromSlot(state, SEG.cs, cs, SLOT.code);
  state.eip = eip;
  return true;
}

/**
 * First half of a return to an outer level, after `checkReturnCode`: reads (E)SP and SS at `delta` bytes above the
 * stack pointer in items of `bytes` bytes, and makes all checks. Returns the selector for SS, its descriptor in
 * SLOT.data and the outer stack pointer in SLOT.innerStackPointer; or 0 with a fault signalled.
 */
export function prepareOuter(
  state: CpuState,
  env: Environment,
  cs: number,
  eip: number,
  delta: number,
  bytes: number,
): number {
  if (!stackHolds(state, delta, 2 * bytes, bytes)) return 0;
  state.set(SLOT.innerStackPointer, loadStack(state, env, delta, bytes));
  if (stopped(state)) return 0;
  const ss = loadStack(state, env, delta + bytes, bytes) & 0xffff;
  if (stopped(state)) return 0;
  if (isNull(ss)) {
    raise(state, VECTOR.GP, 0);
    return 0;
  }
  if (!checkNewStack(state, env, ss, cs & 3, VECTOR.GP, 0) || !targetInside(state, eip)) return 0;
  if (!markAccessed(state, env, ss, SLOT.data) || !markAccessed(state, env, cs, SLOT.code)) return 0;
  return ss;
}

/** Second half: loads CS:EIP and SS:ESP, drops `release` bytes from the outer stack, and nulls data segments. */
export function commitOuter(state: CpuState, cs: number, ss: number, eip: number, release: number): void {
  const rights = descriptorRights(state, SLOT.data);
  loadFromSlot(state, SEG.cs, cs, SLOT.code);
  loadFromSlot(state, SEG.ss, ss, SLOT.data);
  setStackPointer(state, rights, moveStack(state.get(SLOT.innerStackPointer), release, stackMask(rights)));
  setCpl(state, cs & 3);
  dropPrivilegedSegments(state);
  state.eip = eip;
}

/**
 * Far JMP, CALL and RET (SDM vol. 2, JMP, CALL, RET; vol. 3, 5.8): to code segments, conforming or not, and through
 * call gates of both sizes, with the stack switch and parameter copy of a call to an inner level. In real-address and
 * virtual-8086 mode they are mode8086.ts's. Task gates and TSSs switch tasks (tasks.ts).
 *
 * The caller charges farJump, farCall, farReturn; `farPrivilege` is charged here. EIP is set here.
 */
import type { Environment } from "../environment.ts";
import { type CpuState, FLAG, GPR, NO_ERROR_CODE, raise, SEG, VECTOR } from "../state.ts";
import { segmentsAs8086, stopped } from "./checks.ts";
import {
  descriptorBase,
  descriptorRights,
  dpl,
  fetchDescriptor,
  gateIs32,
  gateOffset,
  gateParameters,
  gateSelector,
  isAvailableTss,
  isCode,
  isConforming,
  isNull,
  isPresent,
  loadFromSlot,
  markAccessed,
  SLOT,
  SYSTEM_TYPE,
  selectorError,
  systemType,
} from "./descriptors.ts";
import { farCall8086, farJump8086, farReturn8086 } from "./mode8086.ts";
import { checkReturnCode, commitOuter, prepareOuter, returnSame, targetInside } from "./returns.ts";
import {
  innerStack,
  loadStack,
  moveStack,
  probeCurrentStack,
  probeNewStack,
  setCpl,
  setStackPointer,
  stackHolds,
  stackMask,
  storePush,
} from "./stack.ts";
import { switchTask, TASK_SOURCE } from "./tasks.ts";

/** JMP far to `selector`:`offset`; `next` is the EIP of the following instruction, which a task switch saves. */
export function farJump(
  state: CpuState,
  env: Environment,
  selector: number,
  offset: number,
  width: 16 | 32,
  next: number,
): void {
  selector &= 0xffff;
  if (segmentsAs8086(state)) {
    farJump8086(state, selector, targetOffset(offset, width));
    return;
  }
  if (!fetchTarget(state, env, selector)) return;
  const rights = descriptorRights(state, SLOT.code);
  if (isCode(rights)) {
    if (!checkDirectTarget(state, selector, rights)) return;
    enterSame(state, env, selector, targetOffset(offset, width));
  } else if (isCallGate(rights)) {
    const target = openGate(state, env, selector, true);
    if (target >= 0) enterSame(state, env, target, gateOffset(state, SLOT.gate));
  } else {
    systemTarget(state, env, selector, rights, TASK_SOURCE.JMP, next);
  }
}

/** CALL far to `selector`:`offset`; `next` is the EIP of the following instruction. */
export function farCall(
  state: CpuState,
  env: Environment,
  selector: number,
  offset: number,
  width: 16 | 32,
  next: number,
): void {
  selector &= 0xffff;
  if (segmentsAs8086(state)) {
    farCall8086(state, env, selector, targetOffset(offset, width), width / 8, next);
    return;
  }
  if (!fetchTarget(state, env, selector)) return;
  const rights = descriptorRights(state, SLOT.code);
  if (isCode(rights)) {
    if (!checkDirectTarget(state, selector, rights)) return;
    callSame(state, env, selector, targetOffset(offset, width), width / 8, next);
  } else if (isCallGate(rights)) {
    const target = openGate(state, env, selector, false);
    if (target < 0) return;
    const code = descriptorRights(state, SLOT.code);
    if (!isConforming(code) && dpl(code) < state.cpl) callInner(state, env, target, dpl(code), next);
    else callSame(state, env, target, gateOffset(state, SLOT.gate), gateIs32(state, SLOT.gate) ? 4 : 2, next);
  } else {
    systemTarget(state, env, selector, rights, TASK_SOURCE.CALL, next);
  }
}

/** RET far, releasing `parameters` bytes of the caller's pushes. */
export function farReturn(state: CpuState, env: Environment, width: 16 | 32, parameters: number): void {
  const bytes = width / 8;
  if (segmentsAs8086(state)) {
    farReturn8086(state, env, bytes, parameters);
    return;
  }
  if (!stackHolds(state, 0, 2 * bytes, bytes)) return;
  const eip = loadStack(state, env, 0, bytes);
  if (stopped(state)) return;
  const cs = loadStack(state, env, bytes, bytes) & 0xffff;
  if (stopped(state) || !checkReturnCode(state, env, cs)) return;
  if ((cs & 3) === state.cpl) {
    returnSame(state, env, cs, eip, 2 * bytes + parameters);
    return;
  }
  const ss = prepareOuter(state, env, cs, eip, 2 * bytes + parameters, bytes);
  if (stopped(state)) return;
  commitOuter(state, cs, ss, eip, parameters);
  env.charge("farPrivilege");
}

/** Reads the descriptor that a far JMP or CALL names into SLOT.code. */
function fetchTarget(state: CpuState, env: Environment, selector: number): boolean {
  if (isNull(selector)) {
    raise(state, VECTOR.GP, 0);
    return false;
  }
  return fetchDescriptor(state, env, selector, SLOT.code, VECTOR.GP);
}

function targetOffset(offset: number, width: 16 | 32): number {
  return width === 16 ? offset & 0xffff : offset >>> 0;
}

function isCallGate(rights: number): boolean {
  const type = systemType(rights);
  return type === SYSTEM_TYPE.CALL_GATE16 || type === SYSTEM_TYPE.CALL_GATE32;
}

/** Privilege and presence of a code segment named directly: conforming from any outer level, else the same level. */
function checkDirectTarget(state: CpuState, selector: number, rights: number): boolean {
  const level = dpl(rights);
  const fits = isConforming(rights) ? level <= state.cpl : level === state.cpl && (selector & 3) <= state.cpl;
  if (!fits) {
    raise(state, VECTOR.GP, selectorError(selector));
    return false;
  }
  return present(state, selector, rights);
}

function present(state: CpuState, selector: number, rights: number): boolean {
  if (isPresent(rights)) return true;
  raise(state, VECTOR.NP, selectorError(selector));
  return false;
}

/** DPL of a gate or TSS descriptor against CPL and the selector's RPL, then presence. */
function checkGatePrivilege(state: CpuState, selector: number, rights: number): boolean {
  if (dpl(rights) < state.cpl || dpl(rights) < (selector & 3)) {
    raise(state, VECTOR.GP, selectorError(selector));
    return false;
  }
  return present(state, selector, rights);
}

/**
 * Checks a call gate, whose descriptor is in SLOT.code, and the code segment that it names. Leaves the gate in
 * SLOT.gate, the segment in SLOT.code, and returns the segment's selector; -1 with a fault signalled.
 */
function openGate(state: CpuState, env: Environment, selector: number, jump: boolean): number {
  if (!checkGatePrivilege(state, selector, descriptorRights(state, SLOT.code))) return -1;
  state.u64[SLOT.gate >> 1] = state.u64[SLOT.code >> 1] as bigint;
  const target = gateSelector(state, SLOT.gate);
  if (!fetchTarget(state, env, target)) return -1;
  const rights = descriptorRights(state, SLOT.code);
  const level = dpl(rights);
  const fits = jump && !isConforming(rights) ? level === state.cpl : level <= state.cpl;
  if (!isCode(rights) || !fits) {
    raise(state, VECTOR.GP, selectorError(target));
    return -1;
  }
  return present(state, target, rights) ? target : -1;
}

/** A task gate or an available TSS; #GP(selector) for anything else. */
function systemTarget(
  state: CpuState,
  env: Environment,
  selector: number,
  rights: number,
  source: number,
  next: number,
): void {
  const taskGate = systemType(rights) === SYSTEM_TYPE.TASK_GATE;
  if (!taskGate && !isAvailableTss(rights)) {
    raise(state, VECTOR.GP, selectorError(selector));
  } else if (checkGatePrivilege(state, selector, rights)) {
    switchTask(state, env, {
      selector: taskGate ? gateSelector(state, SLOT.code) : selector,
      source,
      returnEip: next,
      flags: state.flags & ~FLAG.RF,
      errorCode: NO_ERROR_CODE,
      ext: 0,
    });
  }
}

/** Transfers to the code segment in SLOT.code at the current privilege level. */
function enterSame(state: CpuState, env: Environment, selector: number, eip: number): void {
  if (!targetInside(state, eip) || !markAccessed(state, env, selector, SLOT.code)) return;
  loadFromSlot(state, SEG.cs, (selector & 0xfffc) | state.cpl, SLOT.code);
  state.eip = eip;
}

function callSame(state: CpuState, env: Environment, selector: number, eip: number, bytes: number, next: number): void {
  if (!probeCurrentStack(state, env, bytes, 2, 0)) return;
  if (!targetInside(state, eip) || !markAccessed(state, env, selector, SLOT.code)) return;
  const base = state.segmentBase(SEG.ss);
  const rights = state.segmentRights(SEG.ss);
  const pointer = state.get(GPR.esp);
  storePush(env, base, rights, pointer, 1, bytes, state.selector(SEG.cs), state.cpl);
  storePush(env, base, rights, pointer, 2, bytes, next, state.cpl);
  state.set(GPR.esp, moveStack(pointer, -2 * bytes, stackMask(rights)));
  loadFromSlot(state, SEG.cs, (selector & 0xfffc) | state.cpl, SLOT.code);
  state.eip = eip;
}

/** Call to an inner level: old SS:ESP, the parameters and the return address go to the stack from the TSS. */
function callInner(state: CpuState, env: Environment, selector: number, level: number, next: number): void {
  const bytes = gateIs32(state, SLOT.gate) ? 4 : 2;
  const parameters = gateParameters(state, SLOT.gate);
  const eip = gateOffset(state, SLOT.gate);
  const newSs = innerStack(state, env, level, 0);
  if (stopped(state)) return;
  const pointer = state.get(SLOT.innerStackPointer);
  const count = 4 + parameters;
  if (!probeNewStack(state, env, pointer, bytes, count, level, selectorError(newSs))) return;
  if (!stackHolds(state, 0, parameters * bytes, bytes) || !targetInside(state, eip)) return;
  // A parameter that cannot be read faults before anything is written.
  for (let n = 0; n < parameters; n++) {
    loadStack(state, env, n * bytes, bytes);
    if (stopped(state)) return;
  }
  if (!markAccessed(state, env, newSs, SLOT.data) || !markAccessed(state, env, selector, SLOT.code)) return;
  const base = descriptorBase(state, SLOT.data);
  const rights = descriptorRights(state, SLOT.data);
  storePush(env, base, rights, pointer, 1, bytes, state.selector(SEG.ss), level);
  storePush(env, base, rights, pointer, 2, bytes, state.get(GPR.esp), level);
  for (let n = 0; n < parameters; n++) {
    const value = loadStack(state, env, (parameters - 1 - n) * bytes, bytes);
    storePush(env, base, rights, pointer, 3 + n, bytes, value, level);
  }
  storePush(env, base, rights, pointer, 3 + parameters, bytes, state.selector(SEG.cs), level);
  storePush(env, base, rights, pointer, 4 + parameters, bytes, next, level);
  setStackPointer(state, rights, moveStack(pointer, -count * bytes, stackMask(rights)));
  loadFromSlot(state, SEG.ss, newSs, SLOT.data);
  loadFromSlot(state, SEG.cs, (selector & 0xfffc) | level, SLOT.code);
  setCpl(state, level);
  state.eip = eip;
  env.charge("farPrivilege");
}

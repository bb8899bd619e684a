/**
 * Frames that event delivery and far transfers push and pop (SDM vol. 3, 5.8.5, 6.12). A frame is first probed whole,
 * on the stack that it will be pushed to, then stored; a stack switch pushes on a stack whose SS is not loaded yet,
 * so functions here take a stack's rights, base and limit rather than a segment register.
 */
import { ACCESS, type Environment } from "../environment.ts";
import { CELL, type CpuState, FAST_READ, fastCell, GPR, limitCell, RIGHTS, raise, SEG, VECTOR } from "../state.ts";
import { stopped } from "./checks.ts";
import {
  descriptorBase,
  descriptorLimit,
  descriptorRights,
  dpl,
  fetchDescriptor,
  isNull,
  isPresent,
  isWritableData,
  SLOT,
  selectorError,
} from "./descriptors.ts";
import { segmentLinear, withinLimit } from "./segments.ts";

/** Bits of the stack pointer that a stack uses: the B flag of its segment (SDM vol. 3, 3.4.5). */
export function stackMask(rights: number): number {
  return (rights & RIGHTS.DB) !== 0 ? 0xffffffff : 0xffff;
}

/** `pointer` moved by `delta` bytes within the bits that the stack uses. */
export function moveStack(pointer: number, delta: number, mask: number): number {
  return ((pointer & ~mask) | ((pointer + delta) & mask)) >>> 0;
}

/** Access flags of a push or pop at a privilege level. */
function stackAccess(cpl: number, kind: number): number {
  return cpl === 3 ? kind | ACCESS.USER : kind;
}

/**
 * Checks that `count` items of `bytes` bytes can be pushed below `pointer`: limits of all (else `vector` with
 * `errorCode`), then write permission, in the order of the pushes. Each page is probed once, where the first push
 * touches it, so that a page fault names that address.
 */
function probePushes(
  state: CpuState,
  env: Environment,
  base: number,
  limit: number,
  rights: number,
  pointer: number,
  bytes: number,
  count: number,
  cpl: number,
  vector: number,
  errorCode: number,
): boolean {
  const mask = stackMask(rights);
  const unlimited = limit === 0xffffffff && (rights & RIGHTS.EXPAND_DOWN_OR_CONFORMING) === 0;
  for (let n = 1; n <= count && !unlimited; n++) {
    const offset = ((pointer - n * bytes) & mask) >>> 0;
    if (!withinLimit(rights, limit, offset, bytes)) {
      raise(state, vector, errorCode);
      return false;
    }
  }
  let page = -1;
  for (let n = 1; n <= count; n++) {
    const linear = (base + (((pointer - n * bytes) & mask) >>> 0)) >>> 0;
    if (linear >>> 12 === page) continue;
    page = linear >>> 12;
    env.probe(linear, bytes, stackAccess(cpl, ACCESS.WRITE));
    if (stopped(state)) return false;
  }
  return true;
}

/** Stores item number `n` (1 is pushed first) of a probed frame below `pointer`. */
export function storePush(
  env: Environment,
  base: number,
  rights: number,
  pointer: number,
  n: number,
  bytes: number,
  value: number,
  cpl: number,
): void {
  const offset = ((pointer - n * bytes) & stackMask(rights)) >>> 0;
  env.store((base + offset) >>> 0, bytes, value, stackAccess(cpl, ACCESS.WRITE));
}

/** Whether no access to the current stack needs a check. */
function unlimitedStack(state: CpuState): boolean {
  return ((state.i32[fastCell(SEG.ss)] as number) & FAST_READ) !== 0;
}

/** Checks that bytes `from` to `from + bytes - 1` above the current stack pointer are inside SS; #SS(0) if not. */
export function stackHolds(state: CpuState, from: number, bytes: number, step: number): boolean {
  if (unlimitedStack(state)) return true;
  const mask = stackMask(state.segmentRights(SEG.ss));
  const pointer = state.get(GPR.esp);
  for (let delta = from; delta < from + bytes; delta += step) {
    segmentLinear(state, SEG.ss, ((pointer + delta) & mask) >>> 0, step, false);
    if (stopped(state)) return false;
  }
  return true;
}

/** Item at `delta` bytes above the current stack pointer, unsigned; the stack pointer stays. */
export function loadStack(state: CpuState, env: Environment, delta: number, bytes: number): number {
  const mask = stackMask(state.segmentRights(SEG.ss));
  const offset = ((state.get(GPR.esp) + delta) & mask) >>> 0;
  const linear = unlimitedStack(state)
    ? (state.segmentBase(SEG.ss) + offset) >>> 0
    : segmentLinear(state, SEG.ss, offset, bytes, false);
  if (stopped(state)) return 0;
  return env.load(linear, bytes, stackAccess(state.cpl, ACCESS.READ)) >>> 0;
}

/** Writes a stack pointer as the stack segment `rights` takes it: 16 bits of it where B is clear. */
export function setStackPointer(state: CpuState, rights: number, pointer: number): void {
  const mask = stackMask(rights);
  state.set(GPR.esp, (state.get(GPR.esp) & ~mask) | (pointer & mask));
}

/**
 * Reads the stack for privilege level `level` from the current TSS (SDM vol. 3, 7.2.1, 7.6), checks its segment
 * and leaves the descriptor in SLOT.data, the stack pointer in SLOT.innerStackPointer. Returns the selector; a fault
 * is signalled: #TS, or #SS if the segment is not present.
 */
export function innerStack(state: CpuState, env: Environment, level: number, ext: number): number {
  const tss32 = (state.segmentRights(SEG.tr) & 8) !== 0;
  const bytes = tss32 ? 4 : 2;
  const at = tss32 ? level * 8 + 4 : level * 4 + 2;
  if (at + bytes + 1 > state.get(limitCell(SEG.tr))) {
    raise(state, VECTOR.TS, selectorError(state.selector(SEG.tr), ext));
    return 0;
  }
  const address = state.segmentBase(SEG.tr) + at;
  const access = ACCESS.READ | ACCESS.DESCRIPTOR;
  const selector = env.load((address + bytes) >>> 0, 2, access);
  if (stopped(state)) return 0;
  state.set(SLOT.innerStackPointer, env.load(address >>> 0, bytes, access));
  if (stopped(state)) return 0;
  if (isNull(selector)) {
    raise(state, VECTOR.TS, ext);
    return 0;
  }
  checkNewStack(state, env, selector, level, VECTOR.TS, ext);
  return selector;
}

/**
 * Checks a stack segment that a transfer loads together with a change to privilege level `level`: `vector` (#TS
 * towards an inner level, #GP towards an outer one) or #SS if it is not present. The descriptor is left in SLOT.data.
 */
export function checkNewStack(
  state: CpuState,
  env: Environment,
  selector: number,
  level: number,
  vector: number,
  ext: number,
): boolean {
  if (!fetchDescriptor(state, env, selector, SLOT.data, vector, ext)) return false;
  const rights = descriptorRights(state, SLOT.data);
  if ((selector & 3) !== level || dpl(rights) !== level || !isWritableData(rights)) {
    raise(state, vector, selectorError(selector, ext));
    return false;
  }
  if (!isPresent(rights)) {
    raise(state, VECTOR.SS, selectorError(selector, ext));
    return false;
  }
  return true;
}

/** `probePushes` on the stack whose descriptor is in SLOT.data. */
export function probeNewStack(
  state: CpuState,
  env: Environment,
  pointer: number,
  bytes: number,
  count: number,
  level: number,
  errorCode: number,
): boolean {
  const base = descriptorBase(state, SLOT.data);
  const limit = descriptorLimit(state, SLOT.data);
  const rights = descriptorRights(state, SLOT.data);
  return probePushes(state, env, base, limit, rights, pointer, bytes, count, level, VECTOR.SS, errorCode);
}

/** `probePushes` on the current stack. */
export function probeCurrentStack(
  state: CpuState,
  env: Environment,
  bytes: number,
  count: number,
  errorCode: number,
): boolean {
  const base = state.segmentBase(SEG.ss);
  const limit = state.segmentLimit(SEG.ss);
  const rights = state.segmentRights(SEG.ss);
  const pointer = state.get(GPR.esp);
  return probePushes(state, env, base, limit, rights, pointer, bytes, count, state.cpl, VECTOR.SS, errorCode);
}

/** Sets the current privilege level. */
export function setCpl(state: CpuState, level: number): void {
  state.set(CELL.cpl, level);
}

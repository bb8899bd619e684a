/**
 * Segment registers: loads of protected mode with their checks (SDM vol. 2, MOV, POP, LDS; vol. 3, 5.6, 5.7), limit
 * and type checks of accesses (vol. 3, 5.3, 5.4), LLDT, LTR, and the instructions that look at a descriptor: LAR,
 * LSL, VERR, VERW (vol. 3, 5.10). The caller charges the instructions' static costs.
 *
 * Simplified: an access that wraps around a 4 GB limit does not fault; the SDM leaves this to the implementation.
 */
import type { Environment } from "../environment.ts";
import { BLOCKING, CELL, type CpuState, FLAG, RIGHTS, raise, SEG, selectorCell, VECTOR } from "../state.ts";
import { privileged, segmentsAs8086, stopped } from "./checks.ts";
import {
  descriptorLimit,
  descriptorRights,
  dpl,
  fetchDescriptor,
  isAvailableTss,
  isCode,
  isConforming,
  isNull,
  isPresent,
  isUnusable,
  isWritableData,
  loadFromSlot,
  loadNull,
  markAccessed,
  markBusy,
  SLOT,
  SYSTEM_TYPE,
  selectorError,
  systemType,
  withinTable,
} from "./descriptors.ts";
import { loadSegment8086 } from "./mode8086.ts";

/**
 * Loads ES, SS, DS, FS or GS (MOV, POP, LDS and its kin) with all checks. On a fault nothing has changed. MOV SS and
 * POP SS, but not LSS, also call `blockByMovSs`.
 */
export function loadSegment(state: CpuState, env: Environment, segment: number, selector: number): void {
  selector &= 0xffff;
  if (segmentsAs8086(state)) {
    loadSegment8086(state, segment, selector);
    return;
  }
  const ok = segment === SEG.ss ? checkStack(state, env, selector) : checkData(state, env, selector);
  if (!ok) return;
  if (isNull(selector)) {
    loadNull(state, segment, selector);
  } else if (markAccessed(state, env, selector, SLOT.data)) {
    loadFromSlot(state, segment, selector, SLOT.data);
  }
}

/** Checks of a selector for SS; its descriptor is left in SLOT.data. */
function checkStack(state: CpuState, env: Environment, selector: number): boolean {
  const error = selectorError(selector);
  if (isNull(selector)) {
    raise(state, VECTOR.GP, 0);
    return false;
  }
  if (!fetchDescriptor(state, env, selector, SLOT.data, VECTOR.GP)) return false;
  const rights = descriptorRights(state, SLOT.data);
  if ((selector & 3) !== state.cpl || !isWritableData(rights) || dpl(rights) !== state.cpl) {
    raise(state, VECTOR.GP, error);
    return false;
  }
  if (!isPresent(rights)) {
    raise(state, VECTOR.SS, error);
    return false;
  }
  return true;
}

/** Checks of a selector for DS, ES, FS, GS, which may be null; its descriptor is left in SLOT.data. */
function checkData(state: CpuState, env: Environment, selector: number): boolean {
  const error = selectorError(selector);
  if (isNull(selector)) return true;
  if (!fetchDescriptor(state, env, selector, SLOT.data, VECTOR.GP)) return false;
  const rights = descriptorRights(state, SLOT.data);
  const readable = !isCode(rights) || (rights & RIGHTS.WRITABLE_OR_READABLE) !== 0;
  const anyLevel = isCode(rights) && isConforming(rights);
  const level = dpl(rights);
  if ((rights & RIGHTS.S) === 0 || !readable || (!anyLevel && ((selector & 3) > level || state.cpl > level))) {
    raise(state, VECTOR.GP, error);
    return false;
  }
  if (!isPresent(rights)) {
    raise(state, VECTOR.NP, error);
    return false;
  }
  return true;
}

/** MOV SS and POP SS hold interrupts and debug traps off until after the next instruction (SDM vol. 3, 6.8.3). */
export function blockByMovSs(state: CpuState): void {
  state.set(CELL.interruptibility, state.get(CELL.interruptibility) | BLOCKING.MOV_SS);
}

/** Whether `bytes` bytes at `offset` lie inside a segment of these rights and limit. */
export function withinLimit(rights: number, limit: number, offset: number, bytes: number): boolean {
  const last = offset + bytes - 1;
  const data = (rights & (RIGHTS.S | RIGHTS.CODE)) === RIGHTS.S;
  if (data && (rights & RIGHTS.EXPAND_DOWN_OR_CONFORMING) !== 0) {
    return offset > limit && last <= ((rights & RIGHTS.DB) !== 0 ? 0xffffffff : 0xffff);
  }
  return last <= limit || limit === 0xffffffff;
}

/**
 * Linear address of an access through a segment register, with all checks of the segment: the slow path behind
 * `fastCell`. `offset` is unsigned. Raises #SS(0) through SS, #GP(0) otherwise.
 */
export function segmentLinear(state: CpuState, segment: number, offset: number, bytes: number, write: boolean): number {
  const rights = state.segmentRights(segment);
  const code = (rights & RIGHTS.CODE) !== 0;
  const readOrWrite = (rights & RIGHTS.WRITABLE_OR_READABLE) !== 0;
  const permitted = write ? !code && readOrWrite : !code || readOrWrite;
  const usable = (rights & RIGHTS.UNUSABLE) === 0;
  if (!usable || !permitted || !withinLimit(rights, state.segmentLimit(segment), offset, bytes)) {
    raise(state, segment === SEG.ss ? VECTOR.SS : VECTOR.GP, 0);
    return 0;
  }
  return (state.segmentBase(segment) + offset) >>> 0;
}

/** LLDT. */
export function loadLdt(state: CpuState, env: Environment, selector: number): void {
  if (!privileged(state)) return;
  selector &= 0xffff;
  const error = selectorError(selector);
  if (isNull(selector)) {
    loadNull(state, SEG.ldtr, selector);
    return;
  }
  if ((selector & 4) !== 0) {
    raise(state, VECTOR.GP, error);
    return;
  }
  if (!fetchDescriptor(state, env, selector, SLOT.data, VECTOR.GP)) return;
  const rights = descriptorRights(state, SLOT.data);
  if (systemType(rights) !== SYSTEM_TYPE.LDT) {
    raise(state, VECTOR.GP, error);
  } else if (!isPresent(rights)) {
    raise(state, VECTOR.NP, error);
  } else {
    loadFromSlot(state, SEG.ldtr, selector, SLOT.data);
  }
}

/** LTR: loads TR and marks the TSS busy, without a task switch. */
export function loadTaskRegister(state: CpuState, env: Environment, selector: number): void {
  if (!privileged(state)) return;
  selector &= 0xffff;
  const error = selectorError(selector);
  if (isNull(selector) || (selector & 4) !== 0) {
    raise(state, VECTOR.GP, error);
    return;
  }
  if (!fetchDescriptor(state, env, selector, SLOT.data, VECTOR.GP)) return;
  const rights = descriptorRights(state, SLOT.data);
  if (!isAvailableTss(rights)) {
    raise(state, VECTOR.GP, error);
  } else if (!isPresent(rights)) {
    raise(state, VECTOR.NP, error);
  } else if (markBusy(state, env, selector, SLOT.data)) {
    loadFromSlot(state, SEG.tr, selector, SLOT.data);
  }
}

/** SLDT and STR, which any privilege level may execute: the selector of LDTR or TR. */
export function storeSystemSelector(state: CpuState, segment: number): number {
  return state.i32[selectorCell(segment)] as number;
}

/** What LAR and LSL return for a selector that the program may not see. */
export const NOT_ACCESSIBLE = -1;

/** Bits of LAR_TYPES: type n of a system descriptor (SDM vol. 2, tables in LAR and LSL). */
const typeSet = (...types: number[]): number => types.reduce((set, type) => set | (1 << type), 0);
const LSL_TYPES = typeSet(
  SYSTEM_TYPE.TSS16_AVAILABLE,
  SYSTEM_TYPE.LDT,
  SYSTEM_TYPE.TSS16_BUSY,
  SYSTEM_TYPE.TSS32_AVAILABLE,
  SYSTEM_TYPE.TSS32_BUSY,
);
const LAR_TYPES = LSL_TYPES | typeSet(SYSTEM_TYPE.CALL_GATE16, SYSTEM_TYPE.TASK_GATE, SYSTEM_TYPE.CALL_GATE32);

/** Reads the descriptor of a selector that the program may name: false when it may not, or when the read faulted. */
function visible(state: CpuState, env: Environment, selector: number, systemTypes: number): boolean {
  if (isNull(selector) || !withinTable(state, selector)) return false;
  if (!fetchDescriptor(state, env, selector, SLOT.data, VECTOR.GP)) return false;
  const rights = descriptorRights(state, SLOT.data);
  const type = systemType(rights);
  if (type >= 0 && ((systemTypes >>> type) & 1) === 0) return false;
  if (isCode(rights) && isConforming(rights)) return true;
  return state.cpl <= dpl(rights) && (selector & 3) <= dpl(rights);
}

function setZero(state: CpuState, zero: boolean): void {
  state.flags = zero ? state.flags | FLAG.ZF : state.flags & ~FLAG.ZF;
}

/**
 * LAR: the access-rights bytes as they stand in the descriptor (bits 23:8; a 16-bit destination takes bits 15:8), or
 * NOT_ACCESSIBLE. Sets ZF accordingly.
 */
export function loadAccessRights(state: CpuState, env: Environment, selector: number): number {
  const ok = visible(state, env, selector & 0xffff, LAR_TYPES);
  if (stopped(state)) return NOT_ACCESSIBLE;
  setZero(state, ok);
  return ok ? state.get(SLOT.data + 1) & 0x00ffff00 : NOT_ACCESSIBLE;
}

/** LSL: the limit in bytes (unsigned), or NOT_ACCESSIBLE. Sets ZF accordingly. */
export function loadSegmentLimit(state: CpuState, env: Environment, selector: number): number {
  const ok = visible(state, env, selector & 0xffff, LSL_TYPES);
  if (stopped(state)) return NOT_ACCESSIBLE;
  setZero(state, ok);
  return ok ? descriptorLimit(state, SLOT.data) : NOT_ACCESSIBLE;
}

/** VERR (`write` false) and VERW: sets ZF if the segment could be read or written from here. */
export function verifySegment(state: CpuState, env: Environment, selector: number, write: boolean): void {
  const ok = visible(state, env, selector & 0xffff, 0);
  if (stopped(state)) return;
  const rights = descriptorRights(state, SLOT.data);
  const readable = !isCode(rights) || (rights & RIGHTS.WRITABLE_OR_READABLE) !== 0;
  setZero(state, ok && (write ? isWritableData(rights) : readable));
}

/**
 * After a return to an outer level: data segment registers that the outer program could not have loaded become null
 * (SDM vol. 2, IRET and RET, RETURN-TO-OUTER-PRIVILEGE-LEVEL).
 */
export function dropPrivilegedSegments(state: CpuState): void {
  for (const segment of [SEG.es, SEG.fs, SEG.gs, SEG.ds]) {
    const rights = state.segmentRights(segment);
    const conformingCode = isCode(rights) && isConforming(rights);
    if (!isUnusable(state, segment) && !conformingCode && dpl(rights) < state.cpl) loadNull(state, segment, 0);
  }
}

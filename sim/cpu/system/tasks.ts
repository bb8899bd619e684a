/**
 * Hardware task switches (SDM vol. 3, 8.2, 8.3, 8.4): by far JMP and CALL to a TSS or through a task gate, by an event
 * through a task gate in the IDT, and by IRET with EFLAGS.NT; between 16-bit and 32-bit TSSs in every combination.
 *
 * Up to the commit point a fault leaves everything as it was: the checks of the new TSS (table 8-1), the limit of the
 * old one, and probes of all that will be read and written in both and in their descriptors. Then come the VM exit's
 * place (vol. 3, 26.4.2: after the checks of gate and TSS, before the probes), the stores into the old TSS, the link,
 * the busy bits, and the registers. From there on a fault is one of the new task: its general registers, EIP, EFLAGS,
 * CR3 and selectors are loaded, the segments not yet reached are unusable, and the error codes name the new selectors.
 *
 * Order of the checks in the new task: LDTR, CS, SS, DS, ES, FS, GS; page faults on its descriptors are taken there
 * too, although the SDM would have them before the commit. What a 16-bit TSS does not hold reads as zero (upper halves
 * of the general registers and EFLAGS) or null (FS, GS); CR3 and the T bit are those of 32-bit TSSs only.
 *
 * `taskSwitch` is charged here, at the commit.
 */
import { ACCESS, type Environment } from "../environment.ts";
import { CELL, type CpuState, CR0, FLAG, GPR, gprCell, NO_ERROR_CODE, RIGHTS, raise, SEG, VECTOR } from "../state.ts";
import { stopped } from "./checks.ts";
import { loadPagingBase } from "./control.ts";
import {
  clearBusy,
  descriptorBase,
  descriptorLimit,
  descriptorRights,
  dpl,
  fetchDescriptor,
  isAvailableTss,
  isCode,
  isConforming,
  isNull,
  isPresent,
  isWritableData,
  loadFromSlot,
  loadNull,
  markAccessed,
  markBusy,
  probeTypeByte,
  SLOT,
  SYSTEM_TYPE,
  selectorError,
  systemType,
} from "./descriptors.ts";
import { loadVirtual8086Segment } from "./mode8086.ts";
import { moveStack, probeCurrentStack, setCpl, setStackPointer, stackMask, storePush } from "./stack.ts";

/** Source of a task switch as the exit qualification has it (SDM vol. 3, table 28-2). */
export const TASK_SOURCE = { CALL: 0, IRET: 1, JMP: 2, TASK_GATE: 3 } as const;

/** An attempt to switch tasks. */
export interface TaskSwitch {
  /** Selector of the new TSS: from the instruction, the task gate, or the link of the current TSS. */
  readonly selector: number;
  /** TASK_SOURCE. */
  readonly source: number;
  /** EIP to save: of the next instruction, or for a fault of the faulting one. */
  readonly returnEip: number;
  /** EFLAGS to save, RF as the event has it. */
  readonly flags: number;
  /** Error code to push on the new task's stack, or NO_ERROR_CODE. */
  readonly errorCode: number;
  /** EXT in the error codes of faults: 1 for events external to the program. */
  readonly ext: number;
}

/** Where things are in a TSS (SDM vol. 3, figures 8-2 and 8-10), in bytes. */
interface TssLayout {
  readonly bytes: 2 | 4;
  readonly eip: number;
  readonly flags: number;
  /** EAX, then the others in encoding order. */
  readonly registers: number;
  /** ES, then the others in encoding order. */
  readonly selectors: number;
  readonly selectorCount: number;
  readonly ldt: number;
  /** Last byte that is saved, and smallest limit of a TSS to switch to. */
  readonly savedEnd: number;
  readonly limit: number;
}
const TSS16: TssLayout = {
  bytes: 2,
  eip: 0x0e,
  flags: 0x10,
  registers: 0x12,
  selectors: 0x22,
  selectorCount: 4,
  ldt: 0x2a,
  savedEnd: 0x29,
  limit: 0x2b,
};
const TSS32: TssLayout = {
  bytes: 4,
  eip: 0x20,
  flags: 0x24,
  registers: 0x28,
  selectors: 0x48,
  selectorCount: 6,
  ldt: 0x60,
  savedEnd: 0x5f,
  limit: 0x67,
};
const CR3_OFFSET = 0x1c;
const TRAP_OFFSET = 0x64;

/** DR6.BT: the T bit of a new task's TSS. In the same place among the pending debug conditions. */
export const DR6_BT = 1 << 15;
/** DR7.L0 to L3, which a task switch clears (SDM vol. 3, 17.2.4). */
const DR7_LOCAL = 0x55;

/** Bits of EFLAGS that exist. */
const EFLAGS_BITS = 0x003f7fd5;

const layoutOf = (type: number): TssLayout => ((type & 8) !== 0 ? TSS32 : TSS16);
const READ = ACCESS.READ | ACCESS.DESCRIPTOR;
const WRITE = ACCESS.WRITE | ACCESS.DESCRIPTOR;

/**
 * Switches to the task that `request` names, after the checks of any gate. Returns whether the switch was committed;
 * a fault that is signalled then belongs to the new task. False comes with a fault of the old task, or with the VM
 * exit, signalled.
 */
export function switchTask(state: CpuState, env: Environment, request: TaskSwitch): boolean {
  if (!checkNewTss(state, env, request)) return false;
  if (env.intercepts?.taskSwitch(request.selector, request.source) === true) return false;
  if (!probeSwitch(state, env, request)) return false;
  env.charge("taskSwitch");
  const old = state.segmentBase(SEG.tr);
  const oldSelector = state.selector(SEG.tr);
  const { selector, source, ext } = request;
  const base = descriptorBase(state, SLOT.data);
  const layout = layoutOf(systemType(descriptorRights(state, SLOT.data)));
  const leaves = source === TASK_SOURCE.JMP || source === TASK_SOURCE.IRET;
  if (leaves) clearBusy(state, env, oldSelector);
  saveOld(state, env, old, layoutOf(state.segmentRights(SEG.tr)), request);
  if (!leaves) env.store(base, 2, oldSelector, WRITE);
  if (source !== TASK_SOURCE.IRET) markBusy(state, env, selector, SLOT.data);
  loadFromSlot(state, SEG.tr, selector, SLOT.data);
  state.set(CELL.cr0, state.cr0 | CR0.TS);
  state.set(CELL.dr7, state.get(CELL.dr7) & ~DR7_LOCAL);
  loadNew(state, env, base, layout, leaves ? 0 : FLAG.NT);
  env.attention();
  const trap = layout === TSS32 && (env.load((base + TRAP_OFFSET) >>> 0, 1, READ) & 1) !== 0;
  const paged = layout === TSS32 && (state.cr0 & CR0.PG) !== 0;
  const root = paged ? env.load((base + CR3_OFFSET) >>> 0, 4, READ) : 0;
  const ldt = env.load((base + layout.ldt) >>> 0, 2, READ);
  const moves = paged && root >>> 0 !== state.get(CELL.cr3);
  if (moves && !loadPagingBase(state, env, root, VECTOR.TS, selectorError(selector, ext))) return true;
  if (!loadSegments(state, env, ldt, ext)) return true;
  if (trap) state.set(CELL.pendingDebug, state.get(CELL.pendingDebug) | DR6_BT);
  if (request.errorCode !== NO_ERROR_CODE && !pushError(state, env, request.errorCode, layout.bytes, ext)) return true;
  if (state.eip > state.segmentLimit(SEG.cs)) raise(state, VECTOR.GP, ext);
  return true;
}

/** Checks of the new TSS's descriptor (table 8-1), which is left in SLOT.data. */
function checkNewTss(state: CpuState, env: Environment, { selector, source, ext }: TaskSwitch): boolean {
  const iret = source === TASK_SOURCE.IRET;
  const vector = iret ? VECTOR.TS : VECTOR.GP;
  const error = selectorError(selector, ext);
  if ((selector & 4) !== 0) {
    raise(state, vector, error);
    return false;
  }
  if (!fetchDescriptor(state, env, selector, SLOT.data, vector, ext)) return false;
  const rights = descriptorRights(state, SLOT.data);
  const type = systemType(rights);
  const busy = type === SYSTEM_TYPE.TSS16_BUSY || type === SYSTEM_TYPE.TSS32_BUSY;
  if (!(iret ? busy : isAvailableTss(rights))) {
    raise(state, vector, error);
    return false;
  }
  if (!isPresent(rights)) {
    raise(state, VECTOR.NP, error);
    return false;
  }
  if (descriptorLimit(state, SLOT.data) < layoutOf(type).limit) {
    raise(state, VECTOR.TS, error);
    return false;
  }
  return true;
}

/** Whether everything that the switch reads and writes before its commit point can be read and written. */
function probeSwitch(state: CpuState, env: Environment, { selector, source, ext }: TaskSwitch): boolean {
  const oldSelector = state.selector(SEG.tr);
  const old = layoutOf(state.segmentRights(SEG.tr));
  if (state.segmentLimit(SEG.tr) < old.savedEnd) {
    raise(state, VECTOR.TS, selectorError(oldSelector, ext));
    return false;
  }
  env.probe((state.segmentBase(SEG.tr) + old.eip) >>> 0, old.savedEnd + 1 - old.eip, WRITE);
  if (stopped(state)) return false;
  const base = descriptorBase(state, SLOT.data);
  const leaves = source === TASK_SOURCE.JMP || source === TASK_SOURCE.IRET;
  env.probe(base, layoutOf(descriptorRights(state, SLOT.data)).limit + 1, READ);
  if (!stopped(state) && !leaves) env.probe(base, 2, WRITE);
  if (!stopped(state) && leaves) probeTypeByte(state, env, oldSelector);
  if (!stopped(state) && source !== TASK_SOURCE.IRET) probeTypeByte(state, env, selector);
  return !stopped(state);
}

/** Saves the old task; a nested task that returns is saved without NT. */
function saveOld(state: CpuState, env: Environment, base: number, layout: TssLayout, request: TaskSwitch): void {
  const { bytes } = layout;
  const put = (offset: number, size: number, value: number): void =>
    env.store((base + offset) >>> 0, size, value, WRITE);
  const flags = request.source === TASK_SOURCE.IRET ? request.flags & ~FLAG.NT : request.flags;
  put(layout.eip, bytes, request.returnEip);
  put(layout.flags, bytes, flags);
  for (let n = 0; n < 8; n++) put(layout.registers + n * bytes, bytes, state.get(gprCell(n)));
  for (let n = 0; n < layout.selectorCount; n++) put(layout.selectors + n * bytes, 2, state.selector(n));
}

/**
 * Loads the general registers, EIP, EFLAGS, and the selectors, whose segments are unusable until `loadSegments` has
 * looked at them. `nested` is FLAG.NT if the task is entered as nested, else 0.
 */
function loadNew(state: CpuState, env: Environment, base: number, layout: TssLayout, nested: number): void {
  const { bytes } = layout;
  const get = (offset: number, size: number): number => env.load((base + offset) >>> 0, size, READ) >>> 0;
  state.eip = get(layout.eip, bytes);
  state.flags = (get(layout.flags, bytes) & EFLAGS_BITS) | FLAG.ONE | nested;
  state.set(CELL.resumeLoaded, 1);
  for (let n = 0; n < 8; n++) state.set(gprCell(n), get(layout.registers + n * bytes, bytes));
  for (let n = 0; n < 6; n++) {
    loadNull(state, n, n < layout.selectorCount ? get(layout.selectors + n * bytes, 2) : 0);
  }
  const level = (state.flags & FLAG.VM) !== 0 ? 3 : state.selector(SEG.cs) & 3;
  setCpl(state, level);
  // CPL is the DPL of SS, usable or not.
  state.setSegment(SEG.ss, state.selector(SEG.ss), 0, 0, RIGHTS.UNUSABLE | (level << RIGHTS.DPL_SHIFT));
}

/** Loads and checks LDTR and the segment registers from the selectors of the new task. */
function loadSegments(state: CpuState, env: Environment, ldt: number, ext: number): boolean {
  if (!loadTaskLdt(state, env, ldt, ext)) return false;
  if ((state.flags & FLAG.VM) !== 0) {
    for (let n = 0; n < 6; n++) loadVirtual8086Segment(state, n, state.selector(n));
    return true;
  }
  if (!loadTaskCode(state, env, ext) || !loadTaskStack(state, env, ext)) return false;
  for (const segment of [SEG.ds, SEG.es, SEG.fs, SEG.gs]) if (!loadTaskData(state, env, segment, ext)) return false;
  return true;
}

function fail(state: CpuState, vector: number, selector: number, ext: number): false {
  raise(state, vector, selectorError(selector, ext));
  return false;
}

function loadTaskLdt(state: CpuState, env: Environment, selector: number, ext: number): boolean {
  loadNull(state, SEG.ldtr, selector);
  if ((selector & 4) !== 0) return fail(state, VECTOR.TS, selector, ext);
  if (isNull(selector)) return true;
  if (!fetchDescriptor(state, env, selector, SLOT.data, VECTOR.TS, ext)) return false;
  const rights = descriptorRights(state, SLOT.data);
  if (systemType(rights) !== SYSTEM_TYPE.LDT || !isPresent(rights)) return fail(state, VECTOR.TS, selector, ext);
  loadFromSlot(state, SEG.ldtr, selector, SLOT.data);
  return true;
}

function loadTaskCode(state: CpuState, env: Environment, ext: number): boolean {
  const selector = state.selector(SEG.cs);
  if (isNull(selector)) return fail(state, VECTOR.TS, selector, ext);
  if (!fetchDescriptor(state, env, selector, SLOT.code, VECTOR.TS, ext)) return false;
  const rights = descriptorRights(state, SLOT.code);
  const fits = isConforming(rights) ? dpl(rights) <= state.cpl : dpl(rights) === state.cpl;
  if (!isCode(rights) || !fits) return fail(state, VECTOR.TS, selector, ext);
  if (!isPresent(rights)) return fail(state, VECTOR.NP, selector, ext);
  if (!markAccessed(state, env, selector, SLOT.code)) return false;
  loadFromSlot(state, SEG.cs, selector, SLOT.code);
  return true;
}

function loadTaskStack(state: CpuState, env: Environment, ext: number): boolean {
  const selector = state.selector(SEG.ss);
  if (isNull(selector)) return fail(state, VECTOR.TS, selector, ext);
  if (!fetchDescriptor(state, env, selector, SLOT.data, VECTOR.TS, ext)) return false;
  const rights = descriptorRights(state, SLOT.data);
  const fits = isWritableData(rights) && dpl(rights) === state.cpl && (selector & 3) === state.cpl;
  if (!fits) return fail(state, VECTOR.TS, selector, ext);
  if (!isPresent(rights)) return fail(state, VECTOR.SS, selector, ext);
  if (!markAccessed(state, env, selector, SLOT.data)) return false;
  loadFromSlot(state, SEG.ss, selector, SLOT.data);
  return true;
}

function loadTaskData(state: CpuState, env: Environment, segment: number, ext: number): boolean {
  const selector = state.selector(segment);
  if (isNull(selector)) return true;
  if (!fetchDescriptor(state, env, selector, SLOT.data, VECTOR.TS, ext)) return false;
  const rights = descriptorRights(state, SLOT.data);
  const readable = !isCode(rights) || (rights & RIGHTS.WRITABLE_OR_READABLE) !== 0;
  const anyLevel = isCode(rights) && isConforming(rights);
  const privileged = anyLevel || (state.cpl <= dpl(rights) && (selector & 3) <= dpl(rights));
  if ((rights & RIGHTS.S) === 0 || !readable || !privileged) return fail(state, VECTOR.TS, selector, ext);
  if (!isPresent(rights)) return fail(state, VECTOR.NP, selector, ext);
  if (!markAccessed(state, env, selector, SLOT.data)) return false;
  loadFromSlot(state, segment, selector, SLOT.data);
  return true;
}

/** The error code of the exception that switched tasks, on the new task's stack, in the size of its TSS. */
function pushError(state: CpuState, env: Environment, errorCode: number, bytes: number, ext: number): boolean {
  if (!probeCurrentStack(state, env, bytes, 1, ext)) return false;
  const rights = state.segmentRights(SEG.ss);
  const pointer = state.get(GPR.esp);
  storePush(env, state.segmentBase(SEG.ss), rights, pointer, 1, bytes, errorCode, state.cpl);
  setStackPointer(state, rights, moveStack(pointer, -bytes, stackMask(rights)));
  return true;
}

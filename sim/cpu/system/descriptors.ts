/**
 * Segment and gate descriptors in the GDT and LDT (SDM vol. 3, 3.4.5, 3.5, 5.8.3, 7.2).
 *
 *   31        24 23  22 21 20  19   16 15 14 13 12 11   8 7         0
 *  +------------+---+---+-+---+-------+--+-----+--+------+-----------+
 *  | base 31:24 | G |D/B|L|AVL| limit |P | DPL |S | type | base 23:16|  + 4
 *  +------------+---+---+-+---+-------+--+-----+--+------+-----------+
 *  |         base 15:0                |        limit 15:0            |  + 0
 *  +----------------------------------+------------------------------+
 *  |  gate: offset 31:16              |P | DPL |S | type | 000 count |  + 4
 *  |  gate: selector                  |        offset 15:0           |  + 0
 *  +----------------------------------+------------------------------+
 *
 * A descriptor is read once, by one 8-byte access, into a state cell (`SLOT`), and decoded from there: helpers
 * allocate nothing. Bits 19:16 of a limit and 31:24 of a base are ignored in 286 system descriptors by software that
 * leaves them zero, as the 286 required, so one layout serves both.
 */
import { ACCESS, type Environment } from "../environment.ts";
import { baseCell, CELL, type CpuState, limitCell, RIGHTS, raise, rightsCell, SEG, temporaryCell } from "../state.ts";
import { stopped } from "./checks.ts";

/** The last four temporaries belong to the system helpers: descriptors being examined, and a stack pointer. */
export const SLOT = {
  gate: temporaryCell(31),
  code: temporaryCell(30),
  /** Stack and data segments, and descriptors that LAR and its kin look at. */
  data: temporaryCell(29),
  innerStackPointer: temporaryCell(28),
} as const;

/** Types of system descriptors (S = 0; SDM vol. 3, table 3-2). */
export const SYSTEM_TYPE = {
  TSS16_AVAILABLE: 1,
  LDT: 2,
  TSS16_BUSY: 3,
  CALL_GATE16: 4,
  TASK_GATE: 5,
  INTERRUPT_GATE16: 6,
  TRAP_GATE16: 7,
  TSS32_AVAILABLE: 9,
  TSS32_BUSY: 11,
  CALL_GATE32: 12,
  INTERRUPT_GATE32: 14,
  TRAP_GATE32: 15,
} as const;

/** TSS: bit 1 of the type says busy. */
const BUSY = 2;
/** Bit 2 of a selector: index into the LDT. */
const TABLE_INDICATOR = 4;

/** Whether a selector is null (index 0 of the GDT, any RPL). */
export function isNull(selector: number): boolean {
  return (selector & 0xfffc) === 0;
}

/** Linear address of the descriptor that `selector` names. */
function descriptorAddress(state: CpuState, selector: number): number {
  const table = (selector & TABLE_INDICATOR) !== 0 ? baseCell(SEG.ldtr) : CELL.gdtrBase;
  return (state.get(table) + (selector & 0xfff8)) >>> 0;
}

/** Linear address of the byte of a descriptor that holds its type. */
function typeByteAddress(state: CpuState, selector: number): number {
  return (descriptorAddress(state, selector) + 5) >>> 0;
}

/** Whether a selector's descriptor lies inside its table. */
export function withinTable(state: CpuState, selector: number): boolean {
  const last = (selector & 0xffff) | 7;
  if ((selector & TABLE_INDICATOR) === 0) return last <= state.get(CELL.gdtrLimit);
  return (state.segmentRights(SEG.ldtr) & RIGHTS.UNUSABLE) === 0 && last <= state.get(limitCell(SEG.ldtr));
}

/** Error code that names a selector; `ext` is 1 for events external to the program (SDM vol. 3, 6.13). */
export function selectorError(selector: number, ext = 0): number {
  return (selector & 0xfffc) | ext;
}

/**
 * Reads the descriptor of `selector` into the cell `slot`. Beyond its table: `vector` with the selector as error
 * code. Returns whether it was read; otherwise the fault (or the page fault of the read) is signalled.
 */
export function fetchDescriptor(
  state: CpuState,
  env: Environment,
  selector: number,
  slot: number,
  vector: number,
  ext = 0,
): boolean {
  if (!withinTable(state, selector)) {
    raise(state, vector, selectorError(selector, ext));
    return false;
  }
  env.load64(descriptorAddress(state, selector), ACCESS.READ | ACCESS.DESCRIPTOR, slot);
  return !stopped(state);
}

/** Access rights in the format of state.ts, of a descriptor's upper word. */
export function rightsOf(high: number): number {
  return (high >>> 8) & 0xf0ff;
}

export function baseOf(low: number, high: number): number {
  return ((high & 0xff000000) | ((high & 0xff) << 16) | (low >>> 16)) >>> 0;
}

/** Limit in bytes: offset of the last byte, granularity applied. */
export function limitOf(low: number, high: number): number {
  const raw = (high & 0xf0000) | (low & 0xffff);
  return (high & 0x800000) !== 0 ? ((raw << 12) | 0xfff) >>> 0 : raw;
}

/** A descriptor of a base, a limit as its field says it (with G in `rights` in pages) and rights as in state.ts. */
export function packDescriptor(base: number, limit: number, rights: number): readonly [low: number, high: number] {
  const low = ((base & 0xffff) << 16) | (limit & 0xffff);
  const high = (base & 0xff000000) | ((rights & 0xf0ff) << 8) | (limit & 0xf0000) | ((base >>> 16) & 0xff);
  return [low, high];
}

/** The same of a descriptor in a slot. */
export function descriptorRights(state: CpuState, slot: number): number {
  return rightsOf(state.i32[slot + 1] as number);
}

export function descriptorBase(state: CpuState, slot: number): number {
  return baseOf(state.i32[slot] as number, state.i32[slot + 1] as number);
}

export function descriptorLimit(state: CpuState, slot: number): number {
  return limitOf(state.i32[slot] as number, state.i32[slot + 1] as number);
}

/** Selector in a gate. */
export function gateSelector(state: CpuState, slot: number): number {
  return state.get(slot) >>> 16;
}

/** Entry point in a gate: 16 bits of it for the 286 gates, whose bit 3 of the type is clear. */
export function gateOffset(state: CpuState, slot: number): number {
  const low = state.get(slot) & 0xffff;
  return gateIs32(state, slot) ? (((state.i32[slot + 1] as number) & 0xffff0000) | low) >>> 0 : low;
}

export function gateIs32(state: CpuState, slot: number): boolean {
  return (descriptorRights(state, slot) & 8) !== 0;
}

/** Number of parameters that a call gate copies, in its own units (words or doublewords). */
export function gateParameters(state: CpuState, slot: number): number {
  return (state.i32[slot + 1] as number) & 0x1f;
}

/** Descriptor privilege level in access rights. */
export function dpl(rights: number): number {
  return (rights >>> RIGHTS.DPL_SHIFT) & 3;
}

export function isPresent(rights: number): boolean {
  return (rights & RIGHTS.P) !== 0;
}

export function isCode(rights: number): boolean {
  return (rights & (RIGHTS.S | RIGHTS.CODE)) === (RIGHTS.S | RIGHTS.CODE);
}

export function isConforming(rights: number): boolean {
  return (rights & RIGHTS.EXPAND_DOWN_OR_CONFORMING) !== 0;
}

export function isWritableData(rights: number): boolean {
  const mask = RIGHTS.S | RIGHTS.CODE | RIGHTS.WRITABLE_OR_READABLE;
  return (rights & mask) === (RIGHTS.S | RIGHTS.WRITABLE_OR_READABLE);
}

/** Type of a system descriptor, or -1 for code and data. */
export function systemType(rights: number): number {
  return (rights & RIGHTS.S) === 0 ? rights & RIGHTS.TYPE : -1;
}

/** Whether access rights are those of an available TSS of either size. */
export function isAvailableTss(rights: number): boolean {
  const type = systemType(rights);
  return type === SYSTEM_TYPE.TSS16_AVAILABLE || type === SYSTEM_TYPE.TSS32_AVAILABLE;
}

/** Sets type bits of the descriptor of `selector` in memory and in `slot`, if they are not yet set. */
function setTypeBits(state: CpuState, env: Environment, selector: number, slot: number, bits: number): boolean {
  const high = state.i32[slot + 1] as number;
  if ((high & (bits << 8)) !== 0) return true;
  const address = typeByteAddress(state, selector);
  env.store(address, 1, ((high >>> 8) & 0xff) | bits, ACCESS.WRITE | ACCESS.DESCRIPTOR);
  if (stopped(state)) return false;
  state.i32[slot + 1] = high | (bits << 8);
  return true;
}

/**
 * Sets the accessed bit of a code or data descriptor about to be loaded (SDM vol. 3, 3.4.5.1). The write can
 * page-fault: call it after all checks and probes, before anything is committed.
 */
export function markAccessed(state: CpuState, env: Environment, selector: number, slot: number): boolean {
  return setTypeBits(state, env, selector, slot, RIGHTS.ACCESSED);
}

/** Sets the busy bit of a TSS descriptor (SDM vol. 3, 7.2.2). */
export function markBusy(state: CpuState, env: Environment, selector: number, slot: number): boolean {
  return setTypeBits(state, env, selector, slot, BUSY);
}

/** Clears the busy bit of the TSS descriptor of `selector`, in memory only. */
export function clearBusy(state: CpuState, env: Environment, selector: number): void {
  const address = typeByteAddress(state, selector);
  const byte = env.load(address, 1, ACCESS.WRITE | ACCESS.DESCRIPTOR);
  env.store(address, 1, byte & ~BUSY, ACCESS.WRITE | ACCESS.DESCRIPTOR);
}

/** Whether the byte of a descriptor that holds its type can be written; otherwise the page fault is signalled. */
export function probeTypeByte(state: CpuState, env: Environment, selector: number): void {
  env.probe(typeByteAddress(state, selector), 1, ACCESS.WRITE | ACCESS.DESCRIPTOR);
}

/** Loads a segment register from the descriptor in `slot`; no checks. */
export function loadFromSlot(state: CpuState, segment: number, selector: number, slot: number): void {
  const base = descriptorBase(state, slot);
  state.setSegment(segment, selector, base, descriptorLimit(state, slot), descriptorRights(state, slot));
}

/** Makes a segment register null: the selector stays as it was given, every use faults. */
export function loadNull(state: CpuState, segment: number, selector: number): void {
  state.setSegment(segment, selector, 0, 0, RIGHTS.UNUSABLE);
}

/** Whether the segment register was loaded with a null selector or is otherwise unusable. */
export function isUnusable(state: CpuState, segment: number): boolean {
  return ((state.i32[rightsCell(segment)] as number) & RIGHTS.UNUSABLE) !== 0;
}

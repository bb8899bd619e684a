/**
 * What moves between the VMCS and the processor's registers: loading guest state (SDM vol. 3, 27.3.2), saving guest
 * state (28.3) and loading host state (28.5). Who decides, and what is recorded about why, is in vmx.ts.
 *
 * A guest or host with PAE paging gets its PDPTE registers from memory, at its CR3 (27.3.2.4, 28.5.4): there is no EPT.
 * IA32_EFER is not switched but for LMA and LME; the rest of it, such as NXE, changes by the MSR lists or not at all.
 *
 * Simplified: 32-bit guests and hosts only (the checks refuse others: entries are made outside IA-32e mode);
 * IA32_DEBUGCTL is not a register of the model, so its field stays as software wrote it.
 */
import {
  ACTIVITY,
  BLOCKING,
  BUSY_TSS,
  baseCell,
  CELL,
  type CpuState,
  CR0,
  EFER,
  FLAT_CODE,
  FLAT_DATA,
  FLAT_LIMIT,
  GPR,
  limitCell,
  RIGHTS,
  rightsCell,
  SEG,
  SEGMENT_COUNT,
  selectorCell,
} from "../state.ts";
import { PDPTE_COUNT, pdptAddress, usesPae, validPdpte } from "../system/pdptes.ts";
import { FIELD, type VmcsField } from "./fields.ts";
import type { PhysicalMemory, Vmcs } from "./vmcs.ts";

/** CR0 bits that VM entries and exits leave alone: ET, NW, CD and the reserved ones (27.3.2.1, 28.5.1). */
const CR0_KEPT = CR0.ET | CR0.NW | CR0.CD | 0x0000ffc0 | (1 << 17) | 0x1ff80000;
/** DR7 after a VM exit, and its bits that read as fixed (10 is 1; 12, 14, 15 are 0). */
const DR7_RESET = 0x400;
const DR7_ZEROS = (1 << 12) | (1 << 14) | (1 << 15);

/** Guest fields that are one register each: the same pairs in both directions. */
const GUEST_REGISTERS: readonly (readonly [VmcsField, number])[] = [
  [FIELD.guestCr3, CELL.cr3],
  [FIELD.guestCr4, CELL.cr4],
  [FIELD.guestDr7, CELL.dr7],
  [FIELD.guestRsp, GPR.esp],
  [FIELD.guestRip, CELL.rip],
  [FIELD.guestRflags, CELL.rflags],
  [FIELD.guestGdtrBase, CELL.gdtrBase],
  [FIELD.guestGdtrLimit, CELL.gdtrLimit],
  [FIELD.guestIdtrBase, CELL.idtrBase],
  [FIELD.guestIdtrLimit, CELL.idtrLimit],
  [FIELD.guestSysenterCs, CELL.sysenterCs],
  [FIELD.guestSysenterEsp, CELL.sysenterEsp],
  [FIELD.guestSysenterEip, CELL.sysenterEip],
  [FIELD.guestActivity, CELL.activity],
  [FIELD.guestInterruptibility, CELL.interruptibility],
];

const HOST_REGISTERS: readonly (readonly [VmcsField, number])[] = [
  [FIELD.hostCr3, CELL.cr3],
  [FIELD.hostCr4, CELL.cr4],
  [FIELD.hostRsp, GPR.esp],
  [FIELD.hostRip, CELL.rip],
  [FIELD.hostGdtrBase, CELL.gdtrBase],
  [FIELD.hostIdtrBase, CELL.idtrBase],
  [FIELD.hostSysenterCs, CELL.sysenterCs],
  [FIELD.hostSysenterEsp, CELL.sysenterEsp],
  [FIELD.hostSysenterEip, CELL.sysenterEip],
];

/** Loads CR0 but for the bits that transitions keep. */
function loadCr0(state: CpuState, value: number): void {
  state.set(CELL.cr0, (state.cr0 & CR0_KEPT) | (value & ~CR0_KEPT));
}

/** IA-32e mode off, as the address-space controls demand here: LMA and, since CR0.PG is 1, LME. */
function leaveLongMode(state: CpuState): void {
  state.set(CELL.efer, state.get(CELL.efer) & ~(EFER.LMA | EFER.LME));
}

/** The four page-directory-pointer-table entries at a value of CR3, as words; null if one of them is not valid. */
export function pdptesInMemory(
  memory: Pick<PhysicalMemory, "read32">,
  cr3: number,
  physicalAddressBits: number,
): number[] | null {
  const table = pdptAddress(cr3);
  const words: number[] = [];
  for (let n = 0; n < PDPTE_COUNT; n++) {
    const low = memory.read32(table + 8 * n) | 0;
    const high = memory.read32(table + 8 * n + 4) | 0;
    if (!validPdpte(low, high, physicalAddressBits)) return null;
    words.push(low, high);
  }
  return words;
}

/** With PAE paging in use: loads the PDPTE registers. False if an entry is not valid. */
export function loadPdpteRegisters(vmcs: Vmcs, state: CpuState, physicalAddressBits: number): boolean {
  if (!usesPae(state.cr0, state.cr4, state.get(CELL.efer))) return true;
  const words = pdptesInMemory(vmcs.memory, state.get(CELL.cr3), physicalAddressBits);
  if (words === null) return false;
  state.i32.set(words, CELL.pdpte0);
  return true;
}

/** Loads guest state from the current VMCS; it has passed the checks. */
export function loadGuestState(vmcs: Vmcs, state: CpuState): void {
  loadCr0(state, vmcs.get(FIELD.guestCr0));
  for (const [field, cell] of GUEST_REGISTERS) vmcs.loadCell(field, state, cell);
  state.set(CELL.dr7, (state.get(CELL.dr7) & ~DR7_ZEROS) | DR7_RESET);
  for (let segment = 0; segment < SEGMENT_COUNT; segment++) {
    state.set(selectorCell(segment), vmcs.get(FIELD.guestSelectors[segment] as VmcsField));
    vmcs.loadCell(FIELD.guestBases[segment] as VmcsField, state, baseCell(segment));
    state.set(limitCell(segment), vmcs.get(FIELD.guestLimits[segment] as VmcsField));
    state.set(rightsCell(segment), vmcs.get(FIELD.guestRights[segment] as VmcsField));
    state.refreshSegment(segment);
  }
  state.set(CELL.cpl, (state.segmentRights(SEG.ss) >>> RIGHTS.DPL_SHIFT) & 3);
  vmcs.loadCell(FIELD.guestPendingDebug, state, CELL.pendingDebug);
  leaveLongMode(state);
}

/**
 * Saves guest state to the current VMCS. `rflags` is the image to save, whose RF depends on why the exit happens
 * (28.3.3); `pendingDebug` likewise (28.3.4).
 */
export function saveGuestState(vmcs: Vmcs, state: CpuState, rflags: number, pendingDebug: number): void {
  vmcs.saveCell(FIELD.guestCr0, state, CELL.cr0);
  for (const [field, cell] of GUEST_REGISTERS) vmcs.saveCell(field, state, cell);
  vmcs.set(FIELD.guestRflags, rflags);
  vmcs.set(FIELD.guestPendingDebug, pendingDebug);
  for (let segment = 0; segment < SEGMENT_COUNT; segment++) {
    vmcs.set(FIELD.guestSelectors[segment] as VmcsField, state.selector(segment));
    vmcs.saveCell(FIELD.guestBases[segment] as VmcsField, state, baseCell(segment));
    vmcs.set(FIELD.guestLimits[segment] as VmcsField, state.segmentLimit(segment));
    vmcs.set(FIELD.guestRights[segment] as VmcsField, state.segmentRights(segment));
  }
}

/** Limits that a VM exit gives the host's task state and tables; its segments are flat (28.5.2). */
const HOST_TSS_LIMIT = 0x67;
const HOST_TABLE_LIMIT = 0xffff;

/** Loads host state from the current VMCS: it is the processor's state after a VM exit. */
export function loadHostState(vmcs: Vmcs, state: CpuState): void {
  loadCr0(state, vmcs.get(FIELD.hostCr0));
  for (const [field, cell] of HOST_REGISTERS) vmcs.loadCell(field, state, cell);
  state.set(CELL.gdtrLimit, HOST_TABLE_LIMIT);
  state.set(CELL.idtrLimit, HOST_TABLE_LIMIT);
  state.set(CELL.dr7, DR7_RESET);
  state.flags = 2;
  const selector = (n: number): number => vmcs.get(FIELD.hostSelectors[n] as VmcsField);
  state.setSegment(SEG.cs, selector(SEG.cs), 0, FLAT_LIMIT, FLAT_CODE);
  for (const segment of [SEG.es, SEG.ss, SEG.ds, SEG.fs, SEG.gs]) {
    const value = selector(segment);
    let base = 0;
    if (segment === SEG.fs) base = vmcs.getAddress(FIELD.hostFsBase);
    if (segment === SEG.gs) base = vmcs.getAddress(FIELD.hostGsBase);
    if (value === 0) state.setSegment(segment, 0, base, 0, RIGHTS.UNUSABLE);
    else state.setSegment(segment, value, base, FLAT_LIMIT, FLAT_DATA);
  }
  state.setSegment(SEG.tr, selector(6), vmcs.getAddress(FIELD.hostTrBase), HOST_TSS_LIMIT, BUSY_TSS);
  state.setSegment(SEG.ldtr, 0, 0, 0, RIGHTS.UNUSABLE);
  state.set(CELL.cpl, 0);
  state.set(CELL.activity, ACTIVITY.ACTIVE);
  state.set(CELL.interruptibility, state.get(CELL.interruptibility) & BLOCKING.NMI);
  state.set(CELL.pendingDebug, 0);
  state.set(CELL.breakpointsMet, 0);
  leaveLongMode(state);
}

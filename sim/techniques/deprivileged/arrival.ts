/**
 * What the processor has of a guest that it has left, or is still running: the frame that the hardware's delivery pushed
 * on the monitor's stack, the general registers, and the segment registers where code of the guest's own was running,
 * which may have loaded them.
 */
import { CELL, type CpuState, FLAG, GPR, RIGHTS, SEG, VECTOR } from "../../cpu/state.ts";
import { inVirtual8086 } from "../../cpu/system/checks.ts";
import { loadVirtual8086Segment } from "../../cpu/system/mode8086.ts";
import type { MonitorMemory } from "../monitor-memory.ts";
import { REGION_PAGE } from "./layout.ts";
import type { MonitorRegion } from "./region.ts";
import type { ShadowDescriptors } from "./shadow-descriptors.ts";
import { descriptorSegment } from "./truncate.ts";

/** Flags that stay in the processor while the guest runs; the others are the virtual processor's alone. */
const KEPT_FLAGS =
  FLAG.CF | FLAG.PF | FLAG.AF | FLAG.ZF | FLAG.SF | FLAG.OF | FLAG.DF | FLAG.TF | FLAG.NT | FLAG.AC | FLAG.ID | FLAG.RF;
const GENERAL = [GPR.eax, GPR.ecx, GPR.edx, GPR.ebx, GPR.ebp, GPR.esi, GPR.edi];
export const DATA_SEGMENTS = [SEG.es, SEG.ds, SEG.fs, SEG.gs] as const;

/** Vectors whose delivery pushes an error code (SDM vol. 3, table 6-1). */
const WITH_ERROR_CODE: readonly number[] = [
  ...[VECTOR.DF, VECTOR.TS, VECTOR.NP, VECTOR.SS, VECTOR.GP, VECTOR.PF, VECTOR.AC],
];

/** What the hardware pushed. */
export interface Frame {
  errorCode: number;
  eip: number;
  cs: number;
  flags: number;
  esp: number;
  ss: number;
  /** Of virtual-8086 mode: selectors of ES, DS, FS and GS, which delivery pushes and clears; null elsewhere. */
  data: readonly number[] | null;
}

/** Flags with which the processor runs a guest that has these. */
export function processorFlags(virtual: number): number {
  return (virtual & KEPT_FLAGS) | FLAG.ONE | FLAG.IF;
}

/** The virtual processor's flags after the processor had these. */
function virtualFlags(virtual: number, processor: number): number {
  return (virtual & ~KEPT_FLAGS) | (processor & KEPT_FLAGS);
}

/** Stores the general registers where the monitor keeps them. */
export function saveGeneral(port: MonitorMemory, region: MonitorRegion, hardware: CpuState): void {
  const at = region.host(REGION_PAGE.stack);
  for (const [n, cell] of GENERAL.entries()) port.write(at + n * 4, 4, hardware.get(cell));
}

/** Loads them again: the virtual processor's, or with null what the processor still has. */
export function restoreGeneral(
  port: MonitorMemory,
  region: MonitorRegion,
  virtual: CpuState | null,
  hardware: CpuState,
): void {
  const at = region.host(REGION_PAGE.stack);
  for (const n of GENERAL.keys()) port.read(at + n * 4, 4);
  if (virtual === null) return;
  for (const cell of GENERAL) hardware.set(cell, virtual.get(cell));
  hardware.copyFloatingFrom(virtual);
}

/** The frame of a delivery from the guest through a gate of the monitor's IDT. */
export function readFrame(port: MonitorMemory, region: MonitorRegion, hardware: CpuState, vector: number): Frame {
  let at = region.hostOf(hardware.get(GPR.esp));
  const pop = (): number => {
    const value = port.read(at, 4);
    at += 4;
    return value;
  };
  const frame: Frame = {
    errorCode: WITH_ERROR_CODE.includes(vector) ? pop() : 0,
    eip: pop() >>> 0,
    cs: pop() & 0xffff,
    flags: pop(),
    esp: pop() >>> 0,
    ss: pop() & 0xffff,
    data: null,
  };
  if ((frame.flags & FLAG.VM) !== 0) frame.data = DATA_SEGMENTS.map(() => pop() & 0xffff);
  return frame;
}

/** The same of a guest that is still running. */
export function runningFrame(hardware: CpuState): Frame {
  return {
    errorCode: 0,
    eip: hardware.eip,
    cs: hardware.selector(SEG.cs),
    flags: hardware.flags,
    esp: hardware.get(GPR.esp),
    ss: hardware.selector(SEG.ss),
    data: null,
  };
}

/** General registers, stack pointer, flags and x87 of the guest, from the processor. */
export function takeRegisters(hardware: CpuState, frame: Frame, into: CpuState): void {
  for (const cell of GENERAL) into.set(cell, hardware.get(cell));
  into.set(GPR.esp, frame.esp);
  into.flags = virtualFlags(into.flags, frame.flags);
  into.eip = frame.eip;
  into.copyFloatingFrom(hardware);
}

/**
 * Segment registers and CPL of code of the guest's own, where they are no longer what the processor was given
 * (`loaded`): the guest's descriptor says what the register holds. SYSENTER leaves no frame, and needs no CS and SS.
 */
export function takeSegments(
  hardware: CpuState,
  frame: Frame | null,
  loaded: readonly number[],
  descriptors: ShadowDescriptors,
  into: CpuState,
): void {
  if (inVirtual8086(into)) {
    takeVirtual8086Segments(hardware, frame, into);
    return;
  }
  if (frame !== null) {
    const level = (frame.cs & 3) === 3 ? 3 : 0;
    if (frame.cs !== loaded[SEG.cs]) load(SEG.cs, (frame.cs & ~3) | level, descriptors, into);
    if (frame.ss !== loaded[SEG.ss]) load(SEG.ss, (frame.ss & ~3) | level, descriptors, into);
    into.set(CELL.cpl, level);
  }
  for (const segment of DATA_SEGMENTS) {
    const selector = hardware.selector(segment);
    if (selector !== loaded[segment]) load(segment, selector, descriptors, into);
  }
}

/** The same of code in virtual-8086 mode, whose segments are what their selectors say. */
function takeVirtual8086Segments(hardware: CpuState, frame: Frame | null, into: CpuState): void {
  if (frame !== null) {
    loadVirtual8086Segment(into, SEG.cs, frame.cs);
    loadVirtual8086Segment(into, SEG.ss, frame.ss);
  }
  for (const [n, segment] of DATA_SEGMENTS.entries()) {
    loadVirtual8086Segment(into, segment, frame?.data?.[n] ?? hardware.selector(segment));
  }
}

function load(segment: number, selector: number, descriptors: ShadowDescriptors, into: CpuState): void {
  if ((selector & 0xfffc) === 0) {
    into.setSegment(segment, selector, 0, 0, RIGHTS.UNUSABLE);
    return;
  }
  const { base, limit, rights } = descriptorSegment(...descriptors.guestDescriptor(selector));
  into.setSegment(segment, selector, base, limit, rights);
}

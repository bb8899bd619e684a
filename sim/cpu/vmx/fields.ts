/**
 * The fields of the VMCS, as data: encodings of SDM vol. 3, appendix B, and where each field lies in a region.
 *
 * An encoding carries the field's width (bits 14:13), type (bits 11:10), index (bits 9:1) and access type (bit 0:
 * 1 addresses the upper half of a 64-bit field). The SDM leaves the layout of a region to the processor beyond its
 * first eight bytes (25.2); ours is: revision identifier, VMX-abort indicator, launch state, then the fields in the
 * order of this table, 8 bytes for 64-bit and natural-width fields and 4 bytes for the others.
 *
 * Fields that came with later processors are listed with what they came with, but hold no place: they do not exist
 * on the processors modelled here, so that VMREAD and VMWRITE of them fail as they do on such a processor.
 */
import type { VmxCapabilities } from "../profiles/profile.ts";
import { PROCESSOR_BASED } from "./controls.ts";

export type FieldWidth = "16-bit" | "64-bit" | "32-bit" | "natural";
export type FieldType = "control" | "exit-information" | "guest-state" | "host-state";
const WIDTHS: readonly FieldWidth[] = ["16-bit", "64-bit", "32-bit", "natural"];
const TYPES: readonly FieldType[] = ["control", "exit-information", "guest-state", "host-state"];

/** Width of a field by its encoding (SDM vol. 3, 25.11.2, table 25-21). */
export const widthOf = (encoding: number): FieldWidth => WIDTHS[(encoding >>> 13) & 3] as FieldWidth;
/** Type of a field by its encoding. */
export const typeOf = (encoding: number): FieldType => TYPES[(encoding >>> 10) & 3] as FieldType;

export interface VmcsField {
  /** The SDM's name. */
  readonly name: string;
  readonly encoding: number;
  readonly width: FieldWidth;
  readonly type: FieldType;
  /** What the field came with; absent for the fields of the first generation. */
  readonly since?: string;
  /** Mask of the processor-based control whose 1-setting the processor must support for the field to exist. */
  readonly needs?: number;
  /** Offset in the region in bytes; -1 for fields that no modelled processor has. */
  readonly offset: number;
}

/** Offsets of what precedes the fields in a region. */
export const REGION = { revision: 0, abort: 4, launchState: 8, firstField: 16 } as const;

let nextOffset: number = REGION.firstField;
const all: VmcsField[] = [];

function field(encoding: number, name: string, needs?: number): VmcsField {
  const width = widthOf(encoding);
  const bytes = width === "64-bit" || width === "natural" ? 8 : 4;
  nextOffset = Math.ceil(nextOffset / bytes) * bytes;
  const row = { name, encoding, width, type: typeOf(encoding), offset: nextOffset };
  nextOffset += bytes;
  const complete: VmcsField = needs === undefined ? row : { ...row, needs };
  all.push(complete);
  return complete;
}

/** Eight selectors, limits, access rights or bases: ES, CS, SS, DS, FS, GS, LDTR, TR, two encodings apart. */
function segmentFields(first: number, what: string): readonly VmcsField[] {
  return ["ES", "CS", "SS", "DS", "FS", "GS", "LDTR", "TR"].map((segment, n) =>
    field(first + 2 * n, `Guest ${segment} ${what}`),
  );
}

/** The fields of the first generation, by role. Arrays are in the order of `SEG` (state.ts). */
export const FIELD = {
  // 64-bit and natural-width fields first, so that they are aligned
  ioBitmapA: field(0x2000, "Address of I/O bitmap A"),
  ioBitmapB: field(0x2002, "Address of I/O bitmap B"),
  msrBitmaps: field(0x2004, "Address of MSR bitmaps", PROCESSOR_BASED.useMsrBitmaps),
  exitMsrStoreAddress: field(0x2006, "VM-exit MSR-store address"),
  exitMsrLoadAddress: field(0x2008, "VM-exit MSR-load address"),
  entryMsrLoadAddress: field(0x200a, "VM-entry MSR-load address"),
  executiveVmcsPointer: field(0x200c, "Executive-VMCS pointer"),
  tscOffset: field(0x2010, "TSC offset"),
  virtualApicAddress: field(0x2012, "Virtual-APIC address", PROCESSOR_BASED.useTprShadow),
  linkPointer: field(0x2800, "VMCS link pointer"),
  guestDebugCtl: field(0x2802, "Guest IA32_DEBUGCTL"),

  cr0Mask: field(0x6000, "CR0 guest/host mask"),
  cr4Mask: field(0x6002, "CR4 guest/host mask"),
  cr0Shadow: field(0x6004, "CR0 read shadow"),
  cr4Shadow: field(0x6006, "CR4 read shadow"),
  cr3Targets: [
    field(0x6008, "CR3-target value 0"),
    field(0x600a, "CR3-target value 1"),
    field(0x600c, "CR3-target value 2"),
    field(0x600e, "CR3-target value 3"),
  ],
  qualification: field(0x6400, "Exit qualification"),
  ioRcx: field(0x6402, "I/O RCX"),
  ioRsi: field(0x6404, "I/O RSI"),
  ioRdi: field(0x6406, "I/O RDI"),
  ioRip: field(0x6408, "I/O RIP"),
  guestLinearAddress: field(0x640a, "Guest-linear address"),
  guestCr0: field(0x6800, "Guest CR0"),
  guestCr3: field(0x6802, "Guest CR3"),
  guestCr4: field(0x6804, "Guest CR4"),
  guestBases: segmentFields(0x6806, "base"),
  guestGdtrBase: field(0x6816, "Guest GDTR base"),
  guestIdtrBase: field(0x6818, "Guest IDTR base"),
  guestDr7: field(0x681a, "Guest DR7"),
  guestRsp: field(0x681c, "Guest RSP"),
  guestRip: field(0x681e, "Guest RIP"),
  guestRflags: field(0x6820, "Guest RFLAGS"),
  guestPendingDebug: field(0x6822, "Guest pending debug exceptions"),
  guestSysenterEsp: field(0x6824, "Guest IA32_SYSENTER_ESP"),
  guestSysenterEip: field(0x6826, "Guest IA32_SYSENTER_EIP"),
  hostCr0: field(0x6c00, "Host CR0"),
  hostCr3: field(0x6c02, "Host CR3"),
  hostCr4: field(0x6c04, "Host CR4"),
  hostFsBase: field(0x6c06, "Host FS base"),
  hostGsBase: field(0x6c08, "Host GS base"),
  hostTrBase: field(0x6c0a, "Host TR base"),
  hostGdtrBase: field(0x6c0c, "Host GDTR base"),
  hostIdtrBase: field(0x6c0e, "Host IDTR base"),
  hostSysenterEsp: field(0x6c10, "Host IA32_SYSENTER_ESP"),
  hostSysenterEip: field(0x6c12, "Host IA32_SYSENTER_EIP"),
  hostRsp: field(0x6c14, "Host RSP"),
  hostRip: field(0x6c16, "Host RIP"),

  pinBased: field(0x4000, "Pin-based VM-execution controls"),
  processorBased: field(0x4002, "Primary processor-based VM-execution controls"),
  exceptionBitmap: field(0x4004, "Exception bitmap"),
  pageFaultMask: field(0x4006, "Page-fault error-code mask"),
  pageFaultMatch: field(0x4008, "Page-fault error-code match"),
  cr3TargetCount: field(0x400a, "CR3-target count"),
  exitControls: field(0x400c, "VM-exit controls"),
  exitMsrStoreCount: field(0x400e, "VM-exit MSR-store count"),
  exitMsrLoadCount: field(0x4010, "VM-exit MSR-load count"),
  entryControls: field(0x4012, "VM-entry controls"),
  entryMsrLoadCount: field(0x4014, "VM-entry MSR-load count"),
  entryInterruption: field(0x4016, "VM-entry interruption-information field"),
  entryErrorCode: field(0x4018, "VM-entry exception error code"),
  entryInstructionLength: field(0x401a, "VM-entry instruction length"),
  tprThreshold: field(0x401c, "TPR threshold", PROCESSOR_BASED.useTprShadow),
  instructionError: field(0x4400, "VM-instruction error"),
  exitReason: field(0x4402, "Exit reason"),
  exitInterruption: field(0x4404, "VM-exit interruption information"),
  exitErrorCode: field(0x4406, "VM-exit interruption error code"),
  idtVectoring: field(0x4408, "IDT-vectoring information field"),
  idtVectoringErrorCode: field(0x440a, "IDT-vectoring error code"),
  exitInstructionLength: field(0x440c, "VM-exit instruction length"),
  exitInstructionInfo: field(0x440e, "VM-exit instruction information"),
  guestLimits: segmentFields(0x4800, "limit"),
  guestGdtrLimit: field(0x4810, "Guest GDTR limit"),
  guestIdtrLimit: field(0x4812, "Guest IDTR limit"),
  guestRights: segmentFields(0x4814, "access rights"),
  guestInterruptibility: field(0x4824, "Guest interruptibility state"),
  guestActivity: field(0x4826, "Guest activity state"),
  guestSmbase: field(0x4828, "Guest SMBASE"),
  guestSysenterCs: field(0x482a, "Guest IA32_SYSENTER_CS"),
  hostSysenterCs: field(0x4c00, "Host IA32_SYSENTER_CS"),

  guestSelectors: segmentFields(0x800, "selector"),
  /** ES, CS, SS, DS, FS, GS, TR. */
  hostSelectors: ["ES", "CS", "SS", "DS", "FS", "GS", "TR"].map((segment, n) =>
    field(0xc00 + 2 * n, `Host ${segment} selector`),
  ),
} as const;

/** Every field of the first generation. */
export const FIELDS: readonly VmcsField[] = all;
/** Bytes of a region that this layout uses. */
export const REGION_BYTES_USED: number = nextOffset;

/** Fields that came later (SDM vol. 3, appendix B), for whoever extends the model. */
const LATER: readonly (readonly [encoding: number, name: string, since: string])[] = [
  [0x0000, "Virtual-processor identifier (VPID)", "VPID"],
  [0x0002, "Posted-interrupt notification vector", "posted interrupts"],
  [0x0810, "Guest interrupt status", "virtual-interrupt delivery"],
  [0x2014, "APIC-access address", "virtualize APIC accesses"],
  [0x2016, "Posted-interrupt descriptor address", "posted interrupts"],
  [0x2018, "VM-function controls", "VM functions"],
  [0x201a, "EPT pointer", "EPT"],
  [0x201c, "EOI-exit bitmap 0", "virtual-interrupt delivery"],
  [0x201e, "EOI-exit bitmap 1", "virtual-interrupt delivery"],
  [0x2020, "EOI-exit bitmap 2", "virtual-interrupt delivery"],
  [0x2022, "EOI-exit bitmap 3", "virtual-interrupt delivery"],
  [0x2024, "EPTP-list address", "EPTP switching"],
  [0x2026, "VMREAD-bitmap address", "VMCS shadowing"],
  [0x2028, "VMWRITE-bitmap address", "VMCS shadowing"],
  [0x202a, "Virtualization-exception information address", "EPT-violation #VE"],
  [0x2032, "TSC multiplier", "TSC scaling"],
  [0x2400, "Guest-physical address", "EPT"],
  [0x2804, "Guest IA32_PAT", "load IA32_PAT"],
  [0x2806, "Guest IA32_EFER", "load IA32_EFER"],
  [0x2808, "Guest IA32_PERF_GLOBAL_CTRL", "load IA32_PERF_GLOBAL_CTRL"],
  [0x280a, "Guest PDPTE0", "EPT"],
  [0x280c, "Guest PDPTE1", "EPT"],
  [0x280e, "Guest PDPTE2", "EPT"],
  [0x2810, "Guest PDPTE3", "EPT"],
  [0x2c00, "Host IA32_PAT", "load IA32_PAT"],
  [0x2c02, "Host IA32_EFER", "load IA32_EFER"],
  [0x2c04, "Host IA32_PERF_GLOBAL_CTRL", "load IA32_PERF_GLOBAL_CTRL"],
  [0x401e, "Secondary processor-based VM-execution controls", "secondary controls"],
  [0x4020, "PLE_Gap", "PAUSE-loop exiting"],
  [0x4022, "PLE_Window", "PAUSE-loop exiting"],
  [0x482e, "VMX-preemption timer value", "VMX-preemption timer"],
];
export const LATER_FIELDS: readonly VmcsField[] = LATER.map(([encoding, name, since]) => ({
  name,
  encoding,
  width: widthOf(encoding),
  type: typeOf(encoding),
  since,
  offset: -1,
}));

const byEncoding: ReadonlyMap<number, VmcsField> = new Map(FIELDS.map((row) => [row.encoding, row]));

/**
 * The field that an encoding names on a processor with these capabilities, or null where VMREAD and VMWRITE report
 * an unsupported component: no such field, a reserved bit (12, 15 or above), or a high access to a field that is
 * not 64-bit. Bit 0 of `encoding` is the access type.
 */
export function fieldByEncoding(encoding: number, capabilities: VmxCapabilities): VmcsField | null {
  const row = byEncoding.get((encoding & ~1) >>> 0);
  if (row === undefined) return null;
  if ((encoding & 1) !== 0 && row.width !== "64-bit") return null;
  if (row.needs !== undefined && (capabilities.processorBased[1] & row.needs) === 0) return null;
  return row;
}

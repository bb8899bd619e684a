/**
 * The checks that a VM entry makes of the controls and of the host state (SDM vol. 3, 27.2), as rows with names; the
 * guest's are in guest-checks.ts. The first row that fails decides, so that a failure can be told by name.
 *
 * Simplified: the processor is outside IA-32e mode at VM entry and not in SMM, and has no secondary controls.
 */
import type { VmxCapabilities } from "../profiles/profile.ts";
import { CELL, type CpuState, CR0, EFER } from "../state.ts";
import { ENTRY_CONTROL, EVENT, EXIT_CONTROL, INTERRUPTION, PIN_BASED, PROCESSOR_BASED } from "./controls.ts";
import { FIELD, type VmcsField } from "./fields.ts";
import type { PhysicalMemory, Vmcs } from "./vmcs.ts";

/** The fields that checks read: a VMCS, or a monitor's idea of what it would write to one. */
export type CheckedFields = Pick<Vmcs, "get" | "masked" | "getHigh" | "getAddress" | "pointer"> & {
  readonly memory: Pick<PhysicalMemory, "read32">;
};

/** What a check looks at. */
export interface EntryContext {
  readonly vmcs: CheckedFields;
  readonly state: CpuState;
  readonly capabilities: VmxCapabilities;
  readonly physicalAddressBits: number;
}

export interface EntryCheck {
  readonly name: string;
  /** Exit qualification of a failed guest check (27.8); 0 for all but two. */
  readonly qualification?: number;
  readonly passes: (entry: EntryContext) => boolean;
}

type Allowed = readonly [must: number, may: number];

/** Whether every bit that must be 1 is, and no bit is 1 that may not be. */
export function allowed(value: number, [must, may]: Allowed): boolean {
  return (value & must) === (must | 0) && (value & ~may) === 0;
}

/** Whether a natural-width value is a canonical address of 48 bits. */
export function isCanonical(low: number, high: number): boolean {
  const top = high >>> 15;
  return low >= 0 && (top === 0 || top === 0x1ffff);
}

/** Whether a field holds a physical address with the alignment, within the processor's width. */
function addressFits(entry: EntryContext, field: VmcsField, alignment: number): boolean {
  const address = entry.vmcs.getAddress(field);
  return address % alignment === 0 && address < 2 ** entry.physicalAddressBits;
}

/** Whether an MSR list of `count` entries is aligned and ends within the processor's width. */
function listFits(entry: EntryContext, countField: VmcsField, addressField: VmcsField): boolean {
  const count = entry.vmcs.get(countField);
  if (count === 0) return true;
  const address = entry.vmcs.getAddress(addressField);
  return address % 16 === 0 && address + count * 16 - 1 < 2 ** entry.physicalAddressBits;
}

const control = (field: VmcsField, mask: number) => (entry: EntryContext) => (entry.vmcs.get(field) & mask) !== 0;
const usesTprShadow = control(FIELD.processorBased, PROCESSOR_BASED.useTprShadow);
const usesIoBitmaps = control(FIELD.processorBased, PROCESSOR_BASED.useIoBitmaps);
const usesMsrBitmaps = control(FIELD.processorBased, PROCESSOR_BASED.useMsrBitmaps);
const nmiExiting = control(FIELD.pinBased, PIN_BASED.nmiExiting);
const virtualNmis = control(FIELD.pinBased, PIN_BASED.virtualNmis);

/** VTPR: the byte at offset 80h of the virtual-APIC page. */
function virtualTpr(entry: EntryContext): number {
  return entry.vmcs.memory.read32(entry.vmcs.getAddress(FIELD.virtualApicAddress) + 0x80) & 0xff;
}

/** The event to inject; null if the VM-entry interruption-information field is not valid. */
export function injectionOf(entry: EntryContext): { vector: number; type: number; info: number } | null {
  const info = entry.vmcs.get(FIELD.entryInterruption);
  if ((info & INTERRUPTION.VALID) === 0) return null;
  return { vector: info & 0xff, type: (info >>> 8) & 7, info };
}

const SOFTWARE_TYPES: readonly number[] = [
  EVENT.softwareInterrupt,
  EVENT.privilegedSoftwareException,
  EVENT.softwareException,
];
/** #DF, #TS, #NP, #SS, #GP, #PF, #AC. */
const VECTORS_WITH_ERROR_CODE: readonly number[] = [8, 10, 11, 12, 13, 14, 17];
const MAX_INSTRUCTION_LENGTH = 15;

/** A check that concerns an event being injected; passes when there is none. */
function injecting(passes: (event: { vector: number; type: number; info: number }, entry: EntryContext) => boolean) {
  return (entry: EntryContext): boolean => {
    const event = injectionOf(entry);
    return event === null || passes(event, entry);
  };
}

/** 27.2.1; a failure is VMfailValid with error 7. */
export const CONTROL_CHECKS: readonly EntryCheck[] = [
  {
    name: "pin-based controls: reserved bits",
    passes: (e) => allowed(e.vmcs.get(FIELD.pinBased), e.capabilities.pinBased),
  },
  {
    name: "processor-based controls: reserved bits",
    passes: (e) => allowed(e.vmcs.get(FIELD.processorBased), e.capabilities.processorBased),
  },
  {
    name: "CR3-target count",
    passes: (e) => e.vmcs.get(FIELD.cr3TargetCount) <= ((e.capabilities.misc >>> 16) & 0x1ff),
  },
  { name: "I/O bitmap A address", passes: (e) => !usesIoBitmaps(e) || addressFits(e, FIELD.ioBitmapA, 4096) },
  { name: "I/O bitmap B address", passes: (e) => !usesIoBitmaps(e) || addressFits(e, FIELD.ioBitmapB, 4096) },
  { name: "MSR bitmap address", passes: (e) => !usesMsrBitmaps(e) || addressFits(e, FIELD.msrBitmaps, 4096) },
  { name: "virtual-APIC address", passes: (e) => !usesTprShadow(e) || addressFits(e, FIELD.virtualApicAddress, 4096) },
  {
    name: "TPR threshold: reserved bits",
    passes: (e) => !usesTprShadow(e) || (e.vmcs.get(FIELD.tprThreshold) & ~0xf) === 0,
  },
  {
    name: "TPR threshold above virtual TPR",
    passes: (e) => !usesTprShadow(e) || (e.vmcs.get(FIELD.tprThreshold) & 0xf) <= virtualTpr(e) >>> 4,
  },
  { name: "virtual NMIs without NMI exiting", passes: (e) => nmiExiting(e) || !virtualNmis(e) },
  {
    name: "NMI-window exiting without virtual NMIs",
    passes: (e) => virtualNmis(e) || (e.vmcs.get(FIELD.processorBased) & PROCESSOR_BASED.nmiWindowExiting) === 0,
  },
  {
    name: "VM-exit controls: reserved bits",
    passes: (e) => allowed(e.vmcs.get(FIELD.exitControls), e.capabilities.exit),
  },
  {
    name: "VM-exit MSR-store area",
    passes: (e) => listFits(e, FIELD.exitMsrStoreCount, FIELD.exitMsrStoreAddress),
  },
  { name: "VM-exit MSR-load area", passes: (e) => listFits(e, FIELD.exitMsrLoadCount, FIELD.exitMsrLoadAddress) },
  {
    name: "VM-entry controls: reserved bits",
    passes: (e) => allowed(e.vmcs.get(FIELD.entryControls), e.capabilities.entry),
  },
  { name: "VM-entry MSR-load area", passes: (e) => listFits(e, FIELD.entryMsrLoadCount, FIELD.entryMsrLoadAddress) },
  {
    name: "VM-entry controls: SMM outside SMM",
    passes: (e) =>
      (e.vmcs.get(FIELD.entryControls) & (ENTRY_CONTROL.entryToSmm | ENTRY_CONTROL.deactivateDualMonitor)) === 0,
  },
  // Type 7 (other event) came with the monitor trap flag.
  { name: "event injection: type", passes: injecting(({ type }) => type !== 1 && type !== 7) },
  {
    name: "event injection: vector",
    passes: injecting(({ type, vector }) => {
      if (type === EVENT.nmi) return vector === 2;
      return type !== EVENT.hardwareException || vector <= 31;
    }),
  },
  {
    name: "event injection: deliver error code",
    passes: injecting(({ type, vector, info }) => {
      const expected = type === EVENT.hardwareException && VECTORS_WITH_ERROR_CODE.includes(vector);
      return ((info & INTERRUPTION.ERROR_CODE) !== 0) === expected;
    }),
  },
  { name: "event injection: reserved bits", passes: injecting(({ info }) => (info & 0x7ffff000) === 0) },
  {
    name: "event injection: error code",
    passes: injecting(
      ({ info }, e) => (info & INTERRUPTION.ERROR_CODE) === 0 || e.vmcs.get(FIELD.entryErrorCode) >>> 15 === 0,
    ),
  },
  {
    name: "event injection: instruction length",
    passes: injecting(({ type }, e) => {
      const length = e.vmcs.get(FIELD.entryInstructionLength);
      return !SOFTWARE_TYPES.includes(type) || (length >= 1 && length <= MAX_INSTRUCTION_LENGTH);
    }),
  },
];

const HOST_SEGMENTS = ["ES", "CS", "SS", "DS", "FS", "GS", "TR"];
const hostSelector = (entry: EntryContext, n: number): number => entry.vmcs.get(FIELD.hostSelectors[n] as VmcsField);

/** A row that demands a canonical address in a natural-width field. */
export function canonicalRow(field: VmcsField): EntryCheck {
  return { name: `${field.name}: canonical`, passes: (e) => isCanonical(e.vmcs.get(field), e.vmcs.getHigh(field)) };
}

/** 27.2.2 to 27.2.4; a failure is VMfailValid with error 8. */
export const HOST_CHECKS: readonly EntryCheck[] = [
  {
    name: "Host CR0: fixed bits",
    passes: (e) => allowed(e.vmcs.get(FIELD.hostCr0), e.capabilities.cr0Fixed) && e.vmcs.getHigh(FIELD.hostCr0) === 0,
  },
  {
    name: "Host CR4: fixed bits",
    passes: (e) => allowed(e.vmcs.get(FIELD.hostCr4), e.capabilities.cr4Fixed) && e.vmcs.getHigh(FIELD.hostCr4) === 0,
  },
  { name: "Host CR3: width", passes: (e) => addressFits(e, FIELD.hostCr3, 1) },
  canonicalRow(FIELD.hostSysenterEsp),
  canonicalRow(FIELD.hostSysenterEip),
  ...HOST_SEGMENTS.map((name, n) => ({
    name: `Host ${name} selector: RPL and TI`,
    passes: (e: EntryContext) => (hostSelector(e, n) & 7) === 0,
  })),
  { name: "Host CS selector: null", passes: (e) => hostSelector(e, 1) !== 0 },
  { name: "Host TR selector: null", passes: (e) => hostSelector(e, 6) !== 0 },
  {
    name: "Host SS selector: null",
    passes: (e) =>
      hostSelector(e, 2) !== 0 || (e.vmcs.get(FIELD.exitControls) & EXIT_CONTROL.hostAddressSpaceSize) !== 0,
  },
  canonicalRow(FIELD.hostFsBase),
  canonicalRow(FIELD.hostGsBase),
  canonicalRow(FIELD.hostGdtrBase),
  canonicalRow(FIELD.hostIdtrBase),
  canonicalRow(FIELD.hostTrBase),
  {
    name: "IA-32e mode guest from outside IA-32e mode",
    passes: (e) =>
      (e.state.get(CELL.efer) & EFER.LMA) !== 0 ||
      (e.vmcs.get(FIELD.entryControls) & ENTRY_CONTROL.ia32eModeGuest) === 0,
  },
  {
    name: "host address-space size outside IA-32e mode",
    passes: (e) =>
      (e.state.get(CELL.efer) & EFER.LMA) !== 0 ||
      (e.vmcs.get(FIELD.exitControls) & EXIT_CONTROL.hostAddressSpaceSize) === 0,
  },
  { name: "Host RIP: width", passes: (e) => e.vmcs.getHigh(FIELD.hostRip) === 0 },
];

/** CR0 bits that are not checked in the guest, since entries do not load them (27.3.1.1). */
export const GUEST_CR0_UNCHECKED = CR0.NW | CR0.CD;

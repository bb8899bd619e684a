/**
 * The checks that a VM entry makes of the guest state (SDM vol. 3, 27.3.1), as rows with names. A failure is a VM
 * exit with reason 33 and bit 31 set, and the row's qualification (27.8).
 *
 * Simplified: 32-bit guests (the controls of others are refused before); no unrestricted guest, no SMM. Bits of
 * IA32_DEBUGCTL count as reserved when no processor modelled here has them.
 */
import { ACTIVITY, BLOCKING, FLAG, RIGHTS, SEG, SEGMENT_NAMES, VECTOR } from "../state.ts";
import { usesPae } from "../system/pdptes.ts";
import { EVENT } from "./controls.ts";
import {
  allowed,
  canonicalRow,
  type EntryCheck,
  type EntryContext,
  GUEST_CR0_UNCHECKED,
  injectionOf,
} from "./entry-checks.ts";
import { FIELD, type VmcsField } from "./fields.ts";
import { pdptesInMemory } from "./transitions.ts";

const CR0_PE = 1;
/** IA32_DEBUGCTL bits of Pentium 4 (6:0) and Core 2 (1:0, 12:6). */
const DEBUGCTL_DEFINED = 0x1fff;
const DEBUGCTL_BTF = 1 << 1;
const RFLAGS_ZEROS = ~0x3fffff | (1 << 15) | (1 << 5) | (1 << 3);
const PENDING_BS = 1 << 14;
/** All but B3 to B0, "enabled breakpoint" (12) and BS. */
const PENDING_DEBUG_ZEROS = ~(0xf | (1 << 12) | PENDING_BS);

const rflags = (e: EntryContext): number => e.vmcs.get(FIELD.guestRflags);
const isV86 = (e: EntryContext): boolean => e.vmcs.masked(FIELD.guestRflags, FLAG.VM) !== 0;
const selector = (e: EntryContext, n: number): number => e.vmcs.get(FIELD.guestSelectors[n] as VmcsField);
const rights = (e: EntryContext, n: number): number => e.vmcs.get(FIELD.guestRights[n] as VmcsField);
const limit = (e: EntryContext, n: number): number => e.vmcs.get(FIELD.guestLimits[n] as VmcsField);
const base = (_e: EntryContext, n: number): VmcsField => FIELD.guestBases[n] as VmcsField;
const dpl = (e: EntryContext, n: number): number => (rights(e, n) >>> RIGHTS.DPL_SHIFT) & 3;
const type = (e: EntryContext, n: number): number => rights(e, n) & RIGHTS.TYPE;
const isUsable = (e: EntryContext, n: number): boolean => (rights(e, n) & RIGHTS.UNUSABLE) === 0;
const interruptibility = (e: EntryContext): number => e.vmcs.get(FIELD.guestInterruptibility);
const activity = (e: EntryContext): number => e.vmcs.get(FIELD.guestActivity);

/** G must be 0 if any of limit 11:0 is 0, and 1 if any of limit 31:20 is 1. */
function granularityFits(e: EntryContext, n: number): boolean {
  const granular = (rights(e, n) & RIGHTS.G) !== 0;
  if ((limit(e, n) & 0xfff) !== 0xfff && granular) return false;
  return limit(e, n) >>> 20 === 0 || granular;
}

/** Rows of one code or data segment, in and out of virtual-8086 mode (27.3.1.2). CS counts as usable always. */
function segmentRows(n: number): EntryCheck[] {
  const name = (SEGMENT_NAMES[n] as string).toUpperCase();
  /** Applies outside virtual-8086 mode, to a usable register. */
  const usable = (passes: (e: EntryContext) => boolean) => (e: EntryContext) =>
    isV86(e) || (n !== SEG.cs && !isUsable(e, n)) || passes(e);
  const types: (e: EntryContext) => boolean =
    n === SEG.cs
      ? (e) => (type(e, n) & 9) === 9
      : n === SEG.ss
        ? (e) => type(e, n) === 3 || type(e, n) === 7
        : (e) => (type(e, n) & 1) === 1 && ((type(e, n) & 8) === 0 || (type(e, n) & 2) !== 0);
  const privilege: (e: EntryContext) => boolean =
    n === SEG.cs
      ? (e) => isV86(e) || ((type(e, n) & 4) === 0 ? dpl(e, n) === dpl(e, SEG.ss) : dpl(e, n) <= dpl(e, SEG.ss))
      : n === SEG.ss
        ? (e) => isV86(e) || dpl(e, n) === (selector(e, n) & 3)
        : usable((e) => type(e, n) > 11 || dpl(e, n) >= (selector(e, n) & 3));
  return [
    {
      name: `${name} base in virtual-8086 mode`,
      passes: (e) => !isV86(e) || e.vmcs.get(base(e, n)) === selector(e, n) << 4,
    },
    { name: `${name} limit in virtual-8086 mode`, passes: (e) => !isV86(e) || limit(e, n) === 0xffff },
    { name: `${name} access rights in virtual-8086 mode`, passes: (e) => !isV86(e) || rights(e, n) === 0xf3 },
    n === SEG.fs || n === SEG.gs
      ? canonicalRow(FIELD.guestBases[n] as VmcsField)
      : { name: `${name} base: width`, passes: usable((e) => e.vmcs.getHigh(base(e, n)) === 0) },
    { name: `${name} access rights: type`, passes: usable(types) },
    { name: `${name} access rights: S`, passes: usable((e) => (rights(e, n) & RIGHTS.S) !== 0) },
    { name: `${name} access rights: DPL`, passes: privilege },
    { name: `${name} access rights: present`, passes: usable((e) => (rights(e, n) & RIGHTS.P) !== 0) },
    { name: `${name} access rights: reserved bits`, passes: usable((e) => (rights(e, n) & 0xfffe0f00) === 0) },
    { name: `${name} access rights: granularity`, passes: usable((e) => granularityFits(e, n)) },
  ];
}

/** Rows of LDTR or TR. */
function systemSegmentRows(n: number): EntryCheck[] {
  const name = (SEGMENT_NAMES[n] as string).toUpperCase();
  const usable = (passes: (e: EntryContext) => boolean) => (e: EntryContext) =>
    (n === SEG.ldtr && !isUsable(e, n)) || passes(e);
  const canonical = canonicalRow(FIELD.guestBases[n] as VmcsField);
  return [
    { name: `${name} selector: TI`, passes: usable((e) => (selector(e, n) & 4) === 0) },
    { ...canonical, passes: usable(canonical.passes) },
    {
      name: `${name} access rights: type`,
      passes: usable((e) => (n === SEG.ldtr ? type(e, n) === 2 : type(e, n) === 3 || type(e, n) === 11)),
    },
    { name: `${name} access rights: S`, passes: usable((e) => (rights(e, n) & RIGHTS.S) === 0) },
    { name: `${name} access rights: present`, passes: usable((e) => (rights(e, n) & RIGHTS.P) !== 0) },
    { name: `${name} access rights: reserved bits`, passes: usable((e) => (rights(e, n) & 0xfffe0f00) === 0) },
    { name: `${name} access rights: granularity`, passes: usable((e) => granularityFits(e, n)) },
  ];
}

/** Whether the activity state admits the event to inject (27.3.1.5). */
function activityAdmitsInjection(e: EntryContext): boolean {
  const event = injectionOf(e);
  if (event === null) return true;
  const isException = (vector: number) => event.type === EVENT.hardwareException && event.vector === vector;
  switch (activity(e)) {
    case ACTIVITY.ACTIVE:
      return true;
    case ACTIVITY.HLT:
      return (
        event.type === EVENT.externalInterrupt ||
        event.type === EVENT.nmi ||
        isException(VECTOR.DB) ||
        isException(VECTOR.MC)
      );
    case ACTIVITY.SHUTDOWN:
      return event.type === EVENT.nmi || isException(VECTOR.MC);
    default:
      return false;
  }
}

/** BS must be pending exactly if single-stepping, where debug exceptions can be pending at all (27.3.1.5). */
function pendingBsConsistent(e: EntryContext): boolean {
  const blocked = (interruptibility(e) & (BLOCKING.STI | BLOCKING.MOV_SS)) !== 0;
  if (!blocked && activity(e) !== ACTIVITY.HLT) return true;
  const stepping = (rflags(e) & FLAG.TF) !== 0 && (e.vmcs.get(FIELD.guestDebugCtl) & DEBUGCTL_BTF) === 0;
  return ((e.vmcs.get(FIELD.guestPendingDebug) & PENDING_BS) !== 0) === stepping;
}

/** The link pointer: none, or a VMCS other than the current one. */
function linkPointerFits(e: EntryContext): boolean {
  const { vmcs } = e;
  if (vmcs.get(FIELD.linkPointer) === 0xffffffff && vmcs.getHigh(FIELD.linkPointer) === 0xffffffff) return true;
  const pointer = vmcs.getAddress(FIELD.linkPointer);
  if (pointer % 4096 !== 0 || pointer >= 2 ** e.physicalAddressBits || pointer === vmcs.pointer) return false;
  return vmcs.memory.read32(pointer) >>> 0 === e.capabilities.revision;
}

/** With PAE paging: no present page-directory-pointer entry has a reserved bit set (27.3.1.6). */
function pdptesValid(e: EntryContext): boolean {
  const { vmcs, physicalAddressBits } = e;
  if (!usesPae(vmcs.get(FIELD.guestCr0), vmcs.get(FIELD.guestCr4), 0)) return true;
  return pdptesInMemory(vmcs.memory, vmcs.get(FIELD.guestCr3), physicalAddressBits) !== null;
}

export const GUEST_CHECKS: readonly EntryCheck[] = [
  {
    name: "CR0: fixed bits",
    passes: (e) => {
      const [must, may] = e.capabilities.cr0Fixed;
      return allowed(e.vmcs.get(FIELD.guestCr0), [must & ~GUEST_CR0_UNCHECKED, may | GUEST_CR0_UNCHECKED]);
    },
  },
  {
    name: "CR0: paging without protection",
    passes: (e) => e.vmcs.get(FIELD.guestCr0) >>> 31 === 0 || (e.vmcs.get(FIELD.guestCr0) & CR0_PE) !== 0,
  },
  { name: "CR4: fixed bits", passes: (e) => allowed(e.vmcs.get(FIELD.guestCr4), e.capabilities.cr4Fixed) },
  {
    name: "IA32_DEBUGCTL: reserved bits",
    passes: (e) =>
      (e.vmcs.get(FIELD.guestDebugCtl) & ~DEBUGCTL_DEFINED) === 0 && e.vmcs.getHigh(FIELD.guestDebugCtl) === 0,
  },
  { name: "CR3: width", passes: (e) => e.vmcs.getAddress(FIELD.guestCr3) < 2 ** e.physicalAddressBits },
  { name: "DR7: width", passes: (e) => e.vmcs.getHigh(FIELD.guestDr7) === 0 },
  canonicalRow(FIELD.guestSysenterEsp),
  canonicalRow(FIELD.guestSysenterEip),

  {
    name: "SS selector: RPL differs from CS",
    passes: (e) => isV86(e) || (selector(e, SEG.ss) & 3) === (selector(e, SEG.cs) & 3),
  },
  ...systemSegmentRows(SEG.tr),
  { name: "TR access rights: unusable", passes: (e) => isUsable(e, SEG.tr) },
  ...systemSegmentRows(SEG.ldtr),
  ...[SEG.cs, SEG.ss, SEG.ds, SEG.es, SEG.fs, SEG.gs].flatMap(segmentRows),

  canonicalRow(FIELD.guestGdtrBase),
  canonicalRow(FIELD.guestIdtrBase),
  { name: "GDTR limit: width", passes: (e) => e.vmcs.get(FIELD.guestGdtrLimit) >>> 16 === 0 },
  { name: "IDTR limit: width", passes: (e) => e.vmcs.get(FIELD.guestIdtrLimit) >>> 16 === 0 },

  { name: "RIP: width", passes: (e) => e.vmcs.getHigh(FIELD.guestRip) === 0 },
  {
    name: "RFLAGS: reserved bits",
    passes: (e) => (rflags(e) & RFLAGS_ZEROS) === 0 && (rflags(e) & 2) !== 0 && e.vmcs.getHigh(FIELD.guestRflags) === 0,
  },
  {
    name: "RFLAGS.VM outside protected mode",
    passes: (e) => !isV86(e) || (e.vmcs.get(FIELD.guestCr0) & CR0_PE) !== 0,
  },
  {
    name: "RFLAGS.IF clear with an external interrupt to inject",
    passes: (e) => injectionOf(e)?.type !== EVENT.externalInterrupt || (rflags(e) & FLAG.IF) !== 0,
  },

  {
    name: "activity state: supported",
    passes: (e) => {
      const value = activity(e);
      return value === 0 || (value <= 3 && ((e.capabilities.misc >>> (5 + value)) & 1) !== 0);
    },
  },
  { name: "activity state: HLT above CPL 0", passes: (e) => activity(e) !== ACTIVITY.HLT || dpl(e, SEG.ss) === 0 },
  {
    name: "activity state: inactive with blocking by STI or MOV SS",
    passes: (e) => activity(e) === ACTIVITY.ACTIVE || (interruptibility(e) & (BLOCKING.STI | BLOCKING.MOV_SS)) === 0,
  },
  { name: "activity state: event to inject", passes: activityAdmitsInjection },

  { name: "interruptibility: reserved bits", passes: (e) => (interruptibility(e) & ~0xf) === 0 },
  {
    name: "interruptibility: STI and MOV SS together",
    passes: (e) => (interruptibility(e) & 3) !== (BLOCKING.STI | BLOCKING.MOV_SS),
  },
  {
    name: "interruptibility: blocking by STI with RFLAGS.IF clear",
    passes: (e) => (interruptibility(e) & BLOCKING.STI) === 0 || (rflags(e) & FLAG.IF) !== 0,
  },
  {
    name: "interruptibility: blocking with an external interrupt to inject",
    passes: (e) => injectionOf(e)?.type !== EVENT.externalInterrupt || (interruptibility(e) & 3) === 0,
  },
  {
    name: "interruptibility: blocking by MOV SS with an NMI to inject",
    passes: (e) => injectionOf(e)?.type !== EVENT.nmi || (interruptibility(e) & BLOCKING.MOV_SS) === 0,
  },
  {
    name: "interruptibility: blocking by SMI outside SMM",
    passes: (e) => (interruptibility(e) & BLOCKING.SMI) === 0,
  },
  {
    name: "pending debug exceptions: reserved bits",
    passes: (e) =>
      (e.vmcs.get(FIELD.guestPendingDebug) & PENDING_DEBUG_ZEROS) === 0 &&
      e.vmcs.getHigh(FIELD.guestPendingDebug) === 0,
  },
  { name: "pending debug exceptions: BS against RFLAGS.TF", passes: pendingBsConsistent },
  { name: "VMCS link pointer", qualification: 4, passes: linkPointerFits },
  { name: "PDPTEs", qualification: 2, passes: pdptesValid },
];

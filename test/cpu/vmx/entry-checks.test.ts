// Each named check of a VM entry fails, and by its own name, when just what it checks is spoiled.
import { describe, expect, test } from "vitest";
import { core2_e6700 } from "../../../sim/cpu/profiles/core2-e6700.ts";
import { pentium4_672 } from "../../../sim/cpu/profiles/pentium4-672.ts";
import type { Profile, VmxCapabilities } from "../../../sim/cpu/profiles/profile.ts";
import { BLOCKING, FLAG, RIGHTS, SEG } from "../../../sim/cpu/state.ts";
import {
  ENTRY_CONTROL,
  EVENT,
  EXIT_CONTROL,
  INTERRUPTION,
  PIN_BASED,
  PROCESSOR_BASED,
} from "../../../sim/cpu/vmx/controls.ts";
import { CONTROL_CHECKS, HOST_CHECKS } from "../../../sim/cpu/vmx/entry-checks.ts";
import { FIELD, type VmcsField } from "../../../sim/cpu/vmx/fields.ts";
import { GUEST_CHECKS } from "../../../sim/cpu/vmx/guest-checks.ts";
import {
  clearBits,
  createHost,
  DATA,
  type Machine,
  MSR_LIST,
  OTHER_VMCS,
  outcomeOf,
  setBits,
  VIRTUAL_APIC,
  VMCS,
} from "./fixture.ts";

type Spoil = (machine: Machine) => void;
const at = (fields: readonly VmcsField[], n: number): VmcsField => fields[n] as VmcsField;
const set =
  (field: VmcsField, value: number): Spoil =>
  ({ vmcs }) =>
    vmcs.set(field, value);
const setHigh =
  (field: VmcsField, value: number): Spoil =>
  ({ vmcs }) =>
    vmcs.setHigh(field, value);
const bits =
  (field: VmcsField, mask: number): Spoil =>
  (machine) =>
    setBits(machine, field, mask);
const noBits =
  (field: VmcsField, mask: number): Spoil =>
  (machine) =>
    clearBits(machine, field, mask);
const both =
  (...spoils: Spoil[]): Spoil =>
  (machine) => {
    for (const spoil of spoils) spoil(machine);
  };

const VALID = INTERRUPTION.VALID;
const inject = (type: number, vector: number, extra = 0): Spoil =>
  set(FIELD.entryInterruption, VALID | extra | (type << 8) | vector);
const injectExternal = inject(EVENT.externalInterrupt, 0x30);
const injectNmi = inject(EVENT.nmi, 2);
const tprShadow = bits(FIELD.processorBased, PROCESSOR_BASED.useTprShadow);
const hlt = both(
  set(FIELD.guestActivity, 1),
  // SS.DPL 0, so that HLT is admitted; all at CPL 0
  ...[SEG.cs, SEG.ss].map((n) => both(noBits(at(FIELD.guestRights, n), 0x60), noBits(at(FIELD.guestSelectors, n), 3))),
);

/** Controls and host: every case of every row. */
const CONTROL_SPOILS: Record<string, Spoil[]> = {
  "pin-based controls: reserved bits": [noBits(FIELD.pinBased, 2), bits(FIELD.pinBased, 1 << 5)],
  "processor-based controls: reserved bits": [
    noBits(FIELD.processorBased, PROCESSOR_BASED.cr3LoadExiting),
    noBits(FIELD.processorBased, PROCESSOR_BASED.cr3StoreExiting),
    bits(FIELD.processorBased, 1 << 31),
  ],
  "CR3-target count": [set(FIELD.cr3TargetCount, 5)],
  "I/O bitmap A address": [
    both(bits(FIELD.processorBased, PROCESSOR_BASED.useIoBitmaps), set(FIELD.ioBitmapA, 0x4001)),
    both(bits(FIELD.processorBased, PROCESSOR_BASED.useIoBitmaps), setHigh(FIELD.ioBitmapA, 16)),
  ],
  "I/O bitmap B address": [
    both(bits(FIELD.processorBased, PROCESSOR_BASED.useIoBitmaps), set(FIELD.ioBitmapB, 0x5800)),
  ],
  "MSR bitmap address": [
    both(bits(FIELD.processorBased, PROCESSOR_BASED.useMsrBitmaps), set(FIELD.msrBitmaps, 0x6010)),
  ],
  "virtual-APIC address": [both(tprShadow, set(FIELD.virtualApicAddress, 0x7080))],
  "TPR threshold: reserved bits": [both(tprShadow, set(FIELD.tprThreshold, 0x10))],
  "TPR threshold above virtual TPR": [
    both(tprShadow, set(FIELD.tprThreshold, 5), ({ write }) => write(VIRTUAL_APIC + 0x80, 0x40)),
  ],
  "VM-exit controls: reserved bits": [
    noBits(FIELD.exitControls, EXIT_CONTROL.saveDebugControls),
    bits(FIELD.exitControls, 1 << 22),
  ],
  "VM-exit MSR-store area": [
    both(set(FIELD.exitMsrStoreCount, 1), set(FIELD.exitMsrStoreAddress, MSR_LIST + 8)),
    both(set(FIELD.exitMsrStoreCount, 1), setHigh(FIELD.exitMsrStoreAddress, 16)),
    // the last of two entries lies beyond 36 bits
    both(
      set(FIELD.exitMsrStoreCount, 2),
      set(FIELD.exitMsrStoreAddress, 0xfffffff0),
      setHigh(FIELD.exitMsrStoreAddress, 15),
    ),
  ],
  "VM-exit MSR-load area": [both(set(FIELD.exitMsrLoadCount, 1), set(FIELD.exitMsrLoadAddress, MSR_LIST + 1))],
  "VM-entry controls: reserved bits": [
    noBits(FIELD.entryControls, ENTRY_CONTROL.loadDebugControls),
    bits(FIELD.entryControls, 1 << 15),
  ],
  "VM-entry MSR-load area": [both(set(FIELD.entryMsrLoadCount, 1), set(FIELD.entryMsrLoadAddress, MSR_LIST + 4))],
  "VM-entry controls: SMM outside SMM": [
    bits(FIELD.entryControls, ENTRY_CONTROL.entryToSmm),
    bits(FIELD.entryControls, ENTRY_CONTROL.deactivateDualMonitor),
  ],
  "event injection: type": [inject(1, 0x30), inject(7, 0)],
  "event injection: vector": [inject(EVENT.nmi, 3), inject(EVENT.hardwareException, 32)],
  "event injection: deliver error code": [
    inject(EVENT.hardwareException, 13),
    inject(EVENT.hardwareException, 6, INTERRUPTION.ERROR_CODE),
    inject(EVENT.externalInterrupt, 13, INTERRUPTION.ERROR_CODE),
    both(inject(EVENT.softwareInterrupt, 14, INTERRUPTION.ERROR_CODE), set(FIELD.entryInstructionLength, 2)),
  ],
  "event injection: reserved bits": [
    inject(EVENT.externalInterrupt, 0x30, 1 << 12),
    inject(EVENT.externalInterrupt, 0x30, 1 << 30),
  ],
  "event injection: error code": [
    both(inject(EVENT.hardwareException, 13, INTERRUPTION.ERROR_CODE), set(FIELD.entryErrorCode, 0x8000)),
  ],
  "event injection: instruction length": [
    both(inject(EVENT.softwareInterrupt, 0x80), set(FIELD.entryInstructionLength, 0)),
    both(inject(EVENT.softwareException, 3), set(FIELD.entryInstructionLength, 16)),
    both(inject(EVENT.privilegedSoftwareException, 1), set(FIELD.entryInstructionLength, 0)),
  ],
};

const nonCanonical = (field: VmcsField): Record<string, Spoil[]> => ({
  [`${field.name}: canonical`]: [setHigh(field, 0x8000), setHigh(field, 0xffff0000)],
});

const HOST_SPOILS: Record<string, Spoil[]> = {
  "Host CR0: fixed bits": [noBits(FIELD.hostCr0, 1 << 31), noBits(FIELD.hostCr0, 1 << 5), setHigh(FIELD.hostCr0, 1)],
  "Host CR4: fixed bits": [noBits(FIELD.hostCr4, 1 << 13), bits(FIELD.hostCr4, 1 << 11)],
  "Host CR3: width": [setHigh(FIELD.hostCr3, 16)],
  ...nonCanonical(FIELD.hostSysenterEsp),
  ...nonCanonical(FIELD.hostSysenterEip),
  ...Object.fromEntries(
    ["ES", "CS", "SS", "DS", "FS", "GS", "TR"].map((name, n) => [
      `Host ${name} selector: RPL and TI`,
      [bits(at(FIELD.hostSelectors, n), 1), bits(at(FIELD.hostSelectors, n), 4)],
    ]),
  ),
  "Host CS selector: null": [set(at(FIELD.hostSelectors, 1), 0)],
  "Host TR selector: null": [set(at(FIELD.hostSelectors, 6), 0)],
  "Host SS selector: null": [set(at(FIELD.hostSelectors, 2), 0)],
  ...nonCanonical(FIELD.hostFsBase),
  ...nonCanonical(FIELD.hostGsBase),
  ...nonCanonical(FIELD.hostGdtrBase),
  ...nonCanonical(FIELD.hostIdtrBase),
  ...nonCanonical(FIELD.hostTrBase),
  "IA-32e mode guest from outside IA-32e mode": [bits(FIELD.entryControls, ENTRY_CONTROL.ia32eModeGuest)],
  "host address-space size outside IA-32e mode": [bits(FIELD.exitControls, EXIT_CONTROL.hostAddressSpaceSize)],
  "Host RIP: width": [setHigh(FIELD.hostRip, 1)],
};

/** Makes the guest a virtual-8086 one that passes all checks. */
const virtual8086 = both(
  bits(FIELD.guestRflags, FLAG.VM),
  ...[SEG.es, SEG.cs, SEG.ss, SEG.ds, SEG.fs, SEG.gs].map((n) =>
    both(
      set(at(FIELD.guestSelectors, n), 0x1234),
      set(at(FIELD.guestBases, n), 0x12340),
      set(at(FIELD.guestLimits, n), 0xffff),
      set(at(FIELD.guestRights, n), 0xf3),
    ),
  ),
);

/** The guest has GS and LDTR unusable: makes them usable. */
const usable = (n: number): Spoil => {
  if (n === SEG.gs) {
    return both(
      set(at(FIELD.guestRights, n), DATA | 0x60),
      set(at(FIELD.guestLimits, n), 0xffffffff),
      set(at(FIELD.guestSelectors, n), 0x23),
    );
  }
  if (n === SEG.ldtr) return set(at(FIELD.guestRights, n), 2 | RIGHTS.P);
  return () => undefined;
};

const withType = (n: number, type: number): Spoil =>
  both(usable(n), noBits(at(FIELD.guestRights, n), 0xf), bits(at(FIELD.guestRights, n), type));

function segmentSpoils(name: string, n: number): Record<string, Spoil[]> {
  const rights = at(FIELD.guestRights, n);
  const wrongTypes = n === SEG.cs ? [0x8, 0x3] : n === SEG.ss ? [0xb, 0x1] : [0x2, 0x9];
  // CS conforming at DPL 2, so that only SS's own rule fails
  const ssPrivilege = both(
    withType(SEG.cs, 0xf),
    noBits(at(FIELD.guestRights, SEG.cs), 0x20),
    noBits(at(FIELD.guestRights, SEG.ss), 0x20),
  );
  const privilege =
    n === SEG.ss ? [ssPrivilege] : n === SEG.cs ? [noBits(rights, 0x20)] : [both(usable(n), noBits(rights, 0x20))];
  const spoils: Record<string, Spoil[]> = {
    [`${name} base in virtual-8086 mode`]: [both(virtual8086, set(at(FIELD.guestBases, n), 0x12341))],
    [`${name} limit in virtual-8086 mode`]: [both(virtual8086, set(at(FIELD.guestLimits, n), 0xfffff))],
    [`${name} access rights in virtual-8086 mode`]: [both(virtual8086, set(rights, 0x93))],
    [`${name} access rights: type`]: wrongTypes.map((type) => withType(n, type)),
    [`${name} access rights: S`]: [both(usable(n), noBits(rights, RIGHTS.S))],
    [`${name} access rights: DPL`]: privilege,
    [`${name} access rights: present`]: [both(usable(n), noBits(rights, RIGHTS.P))],
    [`${name} access rights: reserved bits`]: [
      both(usable(n), bits(rights, 1 << 8)),
      both(usable(n), bits(rights, 1 << 17)),
    ],
    [`${name} access rights: granularity`]: [
      both(usable(n), noBits(rights, RIGHTS.G)),
      both(usable(n), set(at(FIELD.guestLimits, n), 0xfffff000)),
    ],
  };
  const base = at(FIELD.guestBases, n);
  if (n === SEG.fs || n === SEG.gs) Object.assign(spoils, nonCanonical(base));
  else spoils[`${name} base: width`] = [both(usable(n), setHigh(base, 1))];
  return spoils;
}

function systemSpoils(name: string, n: number): Record<string, Spoil[]> {
  const rights = at(FIELD.guestRights, n);
  const canonical = Object.entries(nonCanonical(at(FIELD.guestBases, n))).map(
    ([row, spoils]) => [row, spoils.map((spoil) => both(usable(n), spoil))] as const,
  );
  return {
    ...Object.fromEntries(canonical),
    [`${name} selector: TI`]: [both(usable(n), bits(at(FIELD.guestSelectors, n), 4))],
    [`${name} access rights: type`]: [withType(n, n === SEG.tr ? 9 : 3)],
    [`${name} access rights: S`]: [both(usable(n), bits(rights, RIGHTS.S))],
    [`${name} access rights: present`]: [both(usable(n), noBits(rights, RIGHTS.P))],
    [`${name} access rights: reserved bits`]: [both(usable(n), bits(rights, 1 << 11))],
    [`${name} access rights: granularity`]: [
      both(usable(n), bits(rights, RIGHTS.G)),
      both(usable(n), set(at(FIELD.guestLimits, n), 0x100fff)),
    ],
  };
}

const GUEST_SPOILS: Record<string, Spoil[]> = {
  "CR0: fixed bits": [noBits(FIELD.guestCr0, 1 << 31), noBits(FIELD.guestCr0, 1), noBits(FIELD.guestCr0, 1 << 5)],
  "CR4: fixed bits": [noBits(FIELD.guestCr4, 1 << 13), bits(FIELD.guestCr4, 1 << 20)],
  "IA32_DEBUGCTL: reserved bits": [set(FIELD.guestDebugCtl, 1 << 13), setHigh(FIELD.guestDebugCtl, 1)],
  "CR3: width": [setHigh(FIELD.guestCr3, 16)],
  "DR7: width": [setHigh(FIELD.guestDr7, 1)],
  ...nonCanonical(FIELD.guestSysenterEsp),
  ...nonCanonical(FIELD.guestSysenterEip),
  "SS selector: RPL differs from CS": [noBits(at(FIELD.guestSelectors, SEG.ss), 1)],
  ...systemSpoils("TR", SEG.tr),
  "TR access rights: unusable": [bits(at(FIELD.guestRights, SEG.tr), RIGHTS.UNUSABLE)],
  ...systemSpoils("LDTR", SEG.ldtr),
  ...segmentSpoils("CS", SEG.cs),
  ...segmentSpoils("SS", SEG.ss),
  ...segmentSpoils("DS", SEG.ds),
  ...segmentSpoils("ES", SEG.es),
  ...segmentSpoils("FS", SEG.fs),
  ...segmentSpoils("GS", SEG.gs),
  ...nonCanonical(FIELD.guestGdtrBase),
  ...nonCanonical(FIELD.guestIdtrBase),
  "GDTR limit: width": [set(FIELD.guestGdtrLimit, 0x10000)],
  "IDTR limit: width": [set(FIELD.guestIdtrLimit, 0x10000)],
  "RIP: width": [setHigh(FIELD.guestRip, 1)],
  "RFLAGS: reserved bits": [
    noBits(FIELD.guestRflags, 2),
    ...[3, 5, 15, 22, 31].map((bit) => bits(FIELD.guestRflags, 1 << bit)),
    setHigh(FIELD.guestRflags, 1),
  ],
  "RFLAGS.IF clear with an external interrupt to inject": [both(injectExternal, noBits(FIELD.guestRflags, FLAG.IF))],
  "activity state: supported": [set(FIELD.guestActivity, 4)],
  "activity state: HLT above CPL 0": [set(FIELD.guestActivity, 1)],
  "activity state: inactive with blocking by STI or MOV SS": [
    both(hlt, set(FIELD.guestInterruptibility, BLOCKING.STI)),
    both(hlt, set(FIELD.guestInterruptibility, BLOCKING.MOV_SS)),
  ],
  "activity state: event to inject": [
    both(hlt, inject(EVENT.hardwareException, 6)),
    both(hlt, inject(EVENT.softwareInterrupt, 0x80), set(FIELD.entryInstructionLength, 2)),
    both(set(FIELD.guestActivity, 2), injectExternal),
    both(set(FIELD.guestActivity, 3), injectNmi),
  ],
  "interruptibility: reserved bits": [set(FIELD.guestInterruptibility, 0x10)],
  "interruptibility: STI and MOV SS together": [set(FIELD.guestInterruptibility, 3)],
  "interruptibility: blocking by STI with RFLAGS.IF clear": [
    both(set(FIELD.guestInterruptibility, BLOCKING.STI), noBits(FIELD.guestRflags, FLAG.IF)),
  ],
  "interruptibility: blocking with an external interrupt to inject": [
    both(injectExternal, set(FIELD.guestInterruptibility, BLOCKING.STI)),
    both(injectExternal, set(FIELD.guestInterruptibility, BLOCKING.MOV_SS)),
  ],
  "interruptibility: blocking by MOV SS with an NMI to inject": [
    both(injectNmi, set(FIELD.guestInterruptibility, BLOCKING.MOV_SS)),
  ],
  "interruptibility: blocking by SMI outside SMM": [set(FIELD.guestInterruptibility, BLOCKING.SMI)],
  "pending debug exceptions: reserved bits": [
    set(FIELD.guestPendingDebug, 1 << 4),
    set(FIELD.guestPendingDebug, 1 << 13),
    set(FIELD.guestPendingDebug, 1 << 15),
    setHigh(FIELD.guestPendingDebug, 1),
  ],
  "pending debug exceptions: BS against RFLAGS.TF": [
    both(set(FIELD.guestInterruptibility, BLOCKING.STI), bits(FIELD.guestRflags, FLAG.TF)),
    both(set(FIELD.guestInterruptibility, BLOCKING.MOV_SS), set(FIELD.guestPendingDebug, 1 << 14)),
    both(hlt, set(FIELD.guestPendingDebug, 1 << 14)),
  ],
  "VMCS link pointer": [
    setHigh(FIELD.linkPointer, 0),
    both(set(FIELD.linkPointer, VMCS)),
    both(set(FIELD.linkPointer, OTHER_VMCS), ({ write }) => write(OTHER_VMCS, 99)),
  ].map((spoil) => both(setHigh(FIELD.linkPointer, 0), spoil)),
  PDPTEs: [both(bits(FIELD.guestCr4, 1 << 5), ({ write }) => write(0xb008, 0x3))],
};

/** A processor that lets through what the real ones refuse earlier, so that the later row can be seen to refuse. */
const vmx = core2_e6700.vmx as VmxCapabilities;
const permissive: Profile = {
  ...core2_e6700,
  vmx: {
    ...vmx,
    pinBased: [vmx.pinBased[0], vmx.pinBased[1] | PIN_BASED.virtualNmis],
    processorBased: [vmx.processorBased[0], vmx.processorBased[1] | PROCESSOR_BASED.nmiWindowExiting],
    cr0Fixed: [0, 0xffffffff],
  },
};
const PERMISSIVE_CONTROL_SPOILS: Record<string, Spoil[]> = {
  "virtual NMIs without NMI exiting": [bits(FIELD.pinBased, PIN_BASED.virtualNmis)],
  "NMI-window exiting without virtual NMIs": [
    bits(FIELD.processorBased, PROCESSOR_BASED.nmiWindowExiting),
    both(bits(FIELD.processorBased, PROCESSOR_BASED.nmiWindowExiting), bits(FIELD.pinBased, PIN_BASED.nmiExiting)),
  ],
};
const PERMISSIVE_GUEST_SPOILS: Record<string, Spoil[]> = {
  "CR0: paging without protection": [noBits(FIELD.guestCr0, 1)],
  "RFLAGS.VM outside protected mode": [both(virtual8086, noBits(FIELD.guestCr0, 1), noBits(FIELD.guestCr0, 1 << 31))],
};

function refusesControls(spoils: Record<string, Spoil[]>, error: number, profile: Profile): void {
  for (const [name, cases] of Object.entries(spoils)) {
    cases.forEach((spoil, n) => {
      test(`${name} (${n + 1})`, () => {
        const machine = createHost(profile);
        spoil(machine);
        const before = machine.state.save();
        expect(machine.vmx.vmenter(true)).toBe(false);
        expect(machine.vmx.failedCheck).toBe(name);
        expect(outcomeOf(machine)).toBe(error);
        machine.state.flags = 2;
        expect(machine.state.save()).toEqual(before);
        expect(machine.vmcs.launchState).toBe(0);
        expect(machine.vmcs.get(FIELD.exitReason)).toBe(0);
      });
    });
  }
}

function refusesGuests(spoils: Record<string, Spoil[]>, profile: Profile): void {
  for (const [name, cases] of Object.entries(spoils)) {
    cases.forEach((spoil, n) => {
      test(`${name} (${n + 1})`, () => {
        const machine = createHost(profile);
        spoil(machine);
        const guestRip = machine.vmcs.get(FIELD.guestRip);
        const injected = machine.vmcs.get(FIELD.entryInterruption);
        expect(machine.vmx.vmenter(true)).toBe(true);
        expect(machine.vmx.failedCheck).toBe(name);
        expect(machine.vmx.nonRoot).toBeNull();
        expect(machine.vmcs.get(FIELD.exitReason)).toBe(0x80000021);
        const qualification = name === "PDPTEs" ? 2 : name === "VMCS link pointer" ? 4 : 0;
        expect(machine.vmcs.get(FIELD.qualification)).toBe(qualification);
        expect(machine.vmx.lastExit?.reason).toBe(0x80000021);
        expect(machine.state.eip).toBe(0xc0001000);
        // Neither guest state nor the event to inject is touched, and the VMCS stays clear.
        expect(machine.vmcs.get(FIELD.guestRip)).toBe(guestRip);
        expect(machine.vmcs.get(FIELD.entryInterruption)).toBe(injected);
        expect(machine.vmx.injection).toBeNull();
        expect(machine.vmcs.launchState).toBe(0);
        expect(machine.log).toEqual(["vmentry", "vmexit", "flush 1"]);
      });
    });
  }
}

describe("controls", () => {
  refusesControls(CONTROL_SPOILS, 7, core2_e6700);
  refusesControls(PERMISSIVE_CONTROL_SPOILS, 7, permissive);
});
describe("host state", () => refusesControls(HOST_SPOILS, 8, core2_e6700));
describe("guest state", () => {
  refusesGuests(GUEST_SPOILS, core2_e6700);
  refusesGuests(PERMISSIVE_GUEST_SPOILS, permissive);
});

test("every check there is has a case here, and names are unique", () => {
  const cases = [CONTROL_SPOILS, PERMISSIVE_CONTROL_SPOILS, HOST_SPOILS, GUEST_SPOILS, PERMISSIVE_GUEST_SPOILS];
  const names = [...CONTROL_CHECKS, ...HOST_CHECKS, ...GUEST_CHECKS].map((check) => check.name);
  expect(new Set(names).size).toBe(names.length);
  expect(cases.flatMap((spoils) => Object.keys(spoils)).sort()).toEqual([...names].sort());
});

test("the Pentium 4 refuses MSR bitmaps", () => {
  const machine = createHost(pentium4_672);
  setBits(machine, FIELD.processorBased, PROCESSOR_BASED.useMsrBitmaps);
  machine.vmx.vmenter(true);
  expect(machine.vmx.failedCheck).toBe("processor-based controls: reserved bits");
});

describe("what is admitted", () => {
  const ADMITTED: Record<string, Spoil> = {
    "a virtual-8086 guest": virtual8086,
    "a halted guest": hlt,
    "a halted guest and an external interrupt": both(hlt, injectExternal),
    "a halted guest and an NMI": both(hlt, injectNmi),
    "a halted guest and #DB": both(hlt, inject(EVENT.hardwareException, 1)),
    "a shut-down guest": set(FIELD.guestActivity, 2),
    "a shut-down guest and #MC": both(set(FIELD.guestActivity, 2), inject(EVENT.hardwareException, 18)),
    "#PF with an error code": both(
      inject(EVENT.hardwareException, 14, INTERRUPTION.ERROR_CODE),
      set(FIELD.entryErrorCode, 7),
    ),
    "a software interrupt": both(inject(EVENT.softwareInterrupt, 0x80), set(FIELD.entryInstructionLength, 2)),
    "a software interrupt of 15 bytes with interrupts off": both(
      inject(EVENT.softwareInterrupt, 0x80),
      set(FIELD.entryInstructionLength, 15),
      noBits(FIELD.guestRflags, FLAG.IF),
    ),
    "single-stepping with blocking by STI and BS pending": both(
      set(FIELD.guestInterruptibility, BLOCKING.STI),
      bits(FIELD.guestRflags, FLAG.TF),
      set(FIELD.guestPendingDebug, 1 << 14),
    ),
    "BTF instead of single-stepping, without BS": both(
      set(FIELD.guestInterruptibility, BLOCKING.STI),
      bits(FIELD.guestRflags, FLAG.TF),
      set(FIELD.guestDebugCtl, 2),
    ),
    "any CD and NW": bits(FIELD.guestCr0, 0x60000000),
    "another VMCS as link": both(set(FIELD.linkPointer, OTHER_VMCS), setHigh(FIELD.linkPointer, 0)),
    "a TPR threshold equal to the virtual TPR": both(tprShadow, set(FIELD.tprThreshold, 4), ({ write }) =>
      write(VIRTUAL_APIC + 0x80, 0x40),
    ),
    "garbage in addresses that no control uses": both(set(FIELD.ioBitmapA, 1), set(FIELD.exitMsrLoadAddress, 3)),
    "garbage in an event that is not valid": set(FIELD.entryInterruption, 0x7fffffff),
    "null host data segments": both(...[0, 3, 4, 5].map((n) => set(at(FIELD.hostSelectors, n), 0))),
    "conforming code below CPL": both(withType(SEG.cs, 0xf), noBits(at(FIELD.guestRights, SEG.cs), 0x60)),
  };
  for (const [name, prepare] of Object.entries(ADMITTED)) {
    test(name, () => {
      const machine = createHost();
      prepare(machine);
      machine.vmx.vmenter(true);
      expect(machine.vmx.failedCheck).toBeNull();
      expect(machine.vmx.nonRoot).not.toBeNull();
    });
  }
});

/**
 * The VMCS controls of the monitor: what it wants of the hardware, joined with what the profile's capability MSRs
 * demand. No code names a generation.
 */

import type { Profile } from "../../cpu/profiles/profile.ts";
import { CR0, CR4 } from "../../cpu/state.ts";
import { EXIT_CONTROL, PIN_BASED, PROCESSOR_BASED } from "../../cpu/vmx/controls.ts";
import { FIELD, type VmcsField } from "../../cpu/vmx/fields.ts";
import { GATE, HOST_SELECTOR, type HostWorld } from "./host-world.ts";

/**
 * Exceptions that exit: page faults, for the shadow page tables, and x87 errors, which a guest with CR0.NE clear wants as IRQ 13.
 * All others go straight to the guest.
 */
const EXCEPTION_BITMAP = (1 << 14) | (1 << 16);

export interface FixedControls {
  readonly pinBased: number;
  readonly processorBased: number;
  readonly exit: number;
  readonly entry: number;
}

/** What the monitor wants, within what the processor allows. */
export function fixedControls(profile: Profile): FixedControls {
  const capabilities = profile.vmx;
  if (capabilities === null) throw new Error(`processor ${profile.name} has no VT-x`);
  const allow = (wanted: number, [must, may]: readonly [must: number, may: number]): number =>
    ((wanted & may) | must) >>> 0;
  return {
    pinBased: allow(PIN_BASED.externalInterruptExiting | PIN_BASED.nmiExiting, capabilities.pinBased),
    processorBased: allow(
      PROCESSOR_BASED.hltExiting |
        PROCESSOR_BASED.invlpgExiting |
        PROCESSOR_BASED.mwaitExiting |
        PROCESSOR_BASED.monitorExiting |
        PROCESSOR_BASED.unconditionalIoExiting,
      capabilities.processorBased,
    ),
    exit: allow(EXIT_CONTROL.acknowledgeInterruptOnExit, capabilities.exit),
    entry: allow(0, capabilities.entry),
  };
}

/** Writes every field of a new VMCS but the guest's registers. */
export function writeControls(
  write: (field: VmcsField, value: number) => void,
  fixed: FixedControls,
  world: HostWorld,
): void {
  write(FIELD.pinBased, fixed.pinBased);
  write(FIELD.processorBased, fixed.processorBased);
  write(FIELD.exitControls, fixed.exit);
  write(FIELD.entryControls, fixed.entry);
  write(FIELD.exceptionBitmap, EXCEPTION_BITMAP);
  for (const field of ZERO_FIELDS) write(field, 0);
  // No shadow VMCS: the link pointer is all ones, in both halves.
  write(FIELD.linkPointer, 0xffffffff);
  write({ ...FIELD.linkPointer, encoding: FIELD.linkPointer.encoding | 1 }, 0xffffffff);
  // The guest owns no bit of CR0 and CR4: it reads the shadows, and a write that differs from them exits.
  write(FIELD.cr0Mask, 0xffffffff);
  write(FIELD.cr4Mask, 0xffffffff);

  write(FIELD.hostCr0, CR0.PE | CR0.ET | CR0.NE | CR0.WP | CR0.PG);
  write(FIELD.hostCr3, world.directory);
  write(FIELD.hostCr4, CR4.VMXE | CR4.PSE);
  write(FIELD.hostRip, world.gate(GATE.exit));
  write(FIELD.hostRsp, world.stackTop);
  write(FIELD.hostGdtrBase, world.gdt);
  write(FIELD.hostIdtrBase, world.idt);
  write(FIELD.hostTrBase, world.tss);
  for (const [n, field] of FIELD.hostSelectors.entries()) write(field, HOST_SELECTORS[n] as number);
}

/** In the order of FIELD.hostSelectors: ES, CS, SS, DS, FS, GS, TR. */
const { code, data, tss } = HOST_SELECTOR;
const HOST_SELECTORS: readonly number[] = [data, code, data, data, data, data, tss];

const ZERO_FIELDS: readonly VmcsField[] = [
  FIELD.pageFaultMask,
  FIELD.pageFaultMatch,
  FIELD.cr3TargetCount,
  FIELD.exitMsrStoreCount,
  FIELD.exitMsrLoadCount,
  FIELD.entryMsrLoadCount,
  FIELD.entryInterruption,
  FIELD.guestDebugCtl,
  FIELD.hostFsBase,
  FIELD.hostGsBase,
  FIELD.hostSysenterCs,
  FIELD.hostSysenterEsp,
  FIELD.hostSysenterEip,
];

/**
 * VMX non-root operation: which instructions cause VM exits under the controls of the current VMCS, and how those
 * that do not behave (SDM vol. 3, 26.1 to 26.3). Exceptions and interrupts are in vmx.ts.
 *
 * The controls are read once, at VM entry (software cannot change them while the guest runs); bitmaps and the
 * virtual-APIC page are read from memory when they are consulted, as they are on hardware.
 */
import type { Intercepts } from "../environment.ts";
import { type CpuState, CR0, OUTCOME } from "../state.ts";
import { PIN_BASED, PROCESSOR_BASED } from "./controls.ts";
import { FIELD, type VmcsField } from "./fields.ts";
import { REASON } from "./reasons.ts";
import type { Vmcs } from "./vmcs.ts";

/** Exit conditions of `instruction`: unconditional, or the processor-based controls of which any one suffices. */
const ALWAYS = -1;
const INSTRUCTION_EXITS: Readonly<Record<number, number>> = {
  [REASON.taskSwitch]: ALWAYS,
  [REASON.cpuid]: ALWAYS,
  [REASON.hlt]: PROCESSOR_BASED.hltExiting,
  [REASON.invd]: ALWAYS,
  [REASON.invlpg]: PROCESSOR_BASED.invlpgExiting,
  [REASON.rdpmc]: PROCESSOR_BASED.rdpmcExiting,
  [REASON.rdtsc]: PROCESSOR_BASED.rdtscExiting,
  [REASON.vmcall]: ALWAYS,
  [REASON.vmclear]: ALWAYS,
  [REASON.vmlaunch]: ALWAYS,
  [REASON.vmptrld]: ALWAYS,
  [REASON.vmptrst]: ALWAYS,
  [REASON.vmread]: ALWAYS,
  [REASON.vmresume]: ALWAYS,
  [REASON.vmwrite]: ALWAYS,
  [REASON.vmxoff]: ALWAYS,
  [REASON.vmxon]: ALWAYS,
  [REASON.mwait]: PROCESSOR_BASED.mwaitExiting,
  [REASON.monitor]: PROCESSOR_BASED.monitorExiting,
  [REASON.pause]: PROCESSOR_BASED.pauseExiting,
};

/** Access types of a control-register access, bits 5:4 of the qualification (table 28-3). */
const CR_ACCESS = { to: 0 << 4, from: 1 << 4, clts: 2 << 4, lmsw: 3 << 4 } as const;
const LMSW_MEMORY = 1 << 6;

/** Offsets in the page of MSR bitmaps (25.6.9), and the ranges that they cover. */
const MSR_BITMAP = { read: 0, write: 2048, high: 1024 } as const;
const MSR_RANGE = 0x2000;
const MSR_HIGH = 0xc0000000;

const VTPR_OFFSET = 0x80;
const PORTS = 0x10000;
const PORTS_PER_BITMAP = 0x8000;

/** The controls of the VMCS as a VM entry found them; addresses are physical, the TSC offset is in cycles. */
export interface EntryControls {
  readonly pinBased: number;
  readonly processorBased: number;
  readonly exitControls: number;
  readonly exceptionBitmap: number;
  readonly pageFaultMask: number;
  readonly pageFaultMatch: number;
  readonly cr0Mask: number;
  readonly cr0Shadow: number;
  readonly cr4Mask: number;
  readonly cr4Shadow: number;
  readonly cr3Targets: readonly number[];
  readonly tscOffset: number;
  readonly ioBitmapA: number;
  readonly ioBitmapB: number;
  readonly msrBitmaps: number;
  readonly virtualApic: number;
  readonly tprThreshold: number;
}

const NO_CONTROLS: EntryControls = {
  pinBased: 0,
  processorBased: 0,
  exitControls: 0,
  exceptionBitmap: 0,
  pageFaultMask: 0,
  pageFaultMatch: 0,
  cr0Mask: 0,
  cr0Shadow: 0,
  cr4Mask: 0,
  cr4Shadow: 0,
  cr3Targets: [],
  tscOffset: 0,
  ioBitmapA: 0,
  ioBitmapB: 0,
  msrBitmaps: 0,
  virtualApic: 0,
  tprThreshold: 0,
};

export class NonRoot implements Intercepts {
  readonly #state: CpuState;
  readonly #vmcs: Vmcs;
  /** A write of the TPR shadow went below the threshold; the exit follows the instruction. */
  tprExitPending = false;

  controls: EntryControls = NO_CONTROLS;

  constructor(state: CpuState, vmcs: Vmcs) {
    this.#state = state;
    this.#vmcs = vmcs;
  }

  /** Reads the controls of the current VMCS; at VM entry. */
  readControls(): void {
    const vmcs = this.#vmcs;
    const processorBased = vmcs.get(FIELD.processorBased);
    const count = vmcs.get(FIELD.cr3TargetCount);
    const offsets = (processorBased & PROCESSOR_BASED.useTscOffsetting) !== 0;
    this.controls = {
      pinBased: vmcs.get(FIELD.pinBased),
      processorBased,
      exitControls: vmcs.get(FIELD.exitControls),
      exceptionBitmap: vmcs.get(FIELD.exceptionBitmap),
      pageFaultMask: vmcs.get(FIELD.pageFaultMask),
      pageFaultMatch: vmcs.get(FIELD.pageFaultMatch),
      cr0Mask: vmcs.get(FIELD.cr0Mask),
      cr0Shadow: vmcs.get(FIELD.cr0Shadow),
      cr4Mask: vmcs.get(FIELD.cr4Mask),
      cr4Shadow: vmcs.get(FIELD.cr4Shadow),
      cr3Targets: FIELD.cr3Targets.slice(0, count).map((target: VmcsField) => vmcs.get(target)),
      tscOffset: offsets ? (vmcs.getHigh(FIELD.tscOffset) | 0) * 2 ** 32 + vmcs.get(FIELD.tscOffset) : 0,
      ioBitmapA: vmcs.getAddress(FIELD.ioBitmapA),
      ioBitmapB: vmcs.getAddress(FIELD.ioBitmapB),
      msrBitmaps: vmcs.getAddress(FIELD.msrBitmaps),
      virtualApic: vmcs.getAddress(FIELD.virtualApicAddress),
      tprThreshold: vmcs.get(FIELD.tprThreshold) & 0xf,
    };
  }

  #has(control: number): boolean {
    return (this.controls.processorBased & control) !== 0;
  }

  /** Signals the exit; `detail` is a guest-linear address or instruction information, 0 where there is none. */
  #exit(reason: number, qualification: number, detail = 0): true {
    const signal = this.#state.signal;
    signal.outcome = OUTCOME.EXIT;
    signal.exitReason = reason;
    signal.qualification = qualification >>> 0;
    signal.exitDetail = detail;
    return true;
  }

  instruction(basicReason: number, qualification: number, information = 0): boolean {
    const condition = INSTRUCTION_EXITS[basicReason];
    if (condition === undefined || (this.controls.processorBased & condition) === 0) return false;
    return this.#exit(basicReason, qualification, information);
  }

  invlpg(linear: number): boolean {
    return this.instruction(REASON.invlpg, linear);
  }

  portIo(
    port: number,
    bytes: number,
    input: boolean,
    string: boolean,
    rep: boolean,
    immediate: boolean,
    linear: number,
  ) {
    const exits = this.#has(PROCESSOR_BASED.useIoBitmaps)
      ? this.#ioBitmapExits(port, bytes)
      : this.#has(PROCESSOR_BASED.unconditionalIoExiting);
    if (!exits) return false;
    const qualification =
      (bytes - 1) |
      (input ? 1 << 3 : 0) |
      (string ? 1 << 4 : 0) |
      (rep ? 1 << 5 : 0) |
      (immediate ? 1 << 6 : 0) |
      (port << 16);
    return this.#exit(REASON.ioInstruction, qualification, string ? linear : 0);
  }

  /** Whether any byte's bit is set; an access that wraps around the port space exits always (26.1.3). */
  #ioBitmapExits(port: number, bytes: number): boolean {
    if (port + bytes > PORTS) return true;
    for (let n = port; n < port + bytes; n++) {
      const bitmap = n < PORTS_PER_BITMAP ? this.controls.ioBitmapA : this.controls.ioBitmapB;
      if (this.#bit(bitmap, n % PORTS_PER_BITMAP)) return true;
    }
    return false;
  }

  #bit(bitmap: number, bit: number): boolean {
    return ((this.#vmcs.memory.read32(bitmap + (bit >>> 5) * 4) >>> (bit & 31)) & 1) !== 0;
  }

  msr(index: number, write: boolean): boolean {
    index >>>= 0;
    if (this.#has(PROCESSOR_BASED.useMsrBitmaps)) {
      const bitmap = this.controls.msrBitmaps + (write ? MSR_BITMAP.write : MSR_BITMAP.read);
      if (index < MSR_RANGE && !this.#bit(bitmap, index)) return false;
      const high = index - MSR_HIGH;
      if (high >= 0 && high < MSR_RANGE && !this.#bit(bitmap + MSR_BITMAP.high, high)) return false;
    }
    return this.#exit(write ? REASON.wrmsr : REASON.rdmsr, 0);
  }

  writeCr(cr: number, value: number, gpr: number): boolean {
    if (!this.#writeCrExits(cr, value)) return false;
    return this.#exit(REASON.crAccess, cr | CR_ACCESS.to | (gpr << 8));
  }

  #writeCrExits(cr: number, value: number): boolean {
    switch (cr) {
      case 0:
        return ((value ^ this.controls.cr0Shadow) & this.controls.cr0Mask) !== 0;
      case 3:
        return this.#has(PROCESSOR_BASED.cr3LoadExiting) && !this.controls.cr3Targets.includes(value >>> 0);
      case 4:
        return ((value ^ this.controls.cr4Shadow) & this.controls.cr4Mask) !== 0;
      case 8:
        return this.#has(PROCESSOR_BASED.cr8LoadExiting);
      default:
        return false;
    }
  }

  readCr(cr: number, gpr: number): boolean {
    const control = cr === 3 ? PROCESSOR_BASED.cr3StoreExiting : cr === 8 ? PROCESSOR_BASED.cr8StoreExiting : 0;
    if (!this.#has(control)) return false;
    return this.#exit(REASON.crAccess, cr | CR_ACCESS.from | (gpr << 8));
  }

  clts(): boolean {
    if ((this.controls.cr0Mask & this.controls.cr0Shadow & CR0.TS) === 0) return false;
    return this.#exit(REASON.crAccess, CR_ACCESS.clts);
  }

  lmsw(source: number, linear: number): boolean {
    const differs = ((source ^ this.controls.cr0Shadow) & this.controls.cr0Mask & (CR0.MP | CR0.EM | CR0.TS)) !== 0;
    const setsPe = (source & ~this.controls.cr0Shadow & this.controls.cr0Mask & CR0.PE) !== 0;
    if (!differs && !setsPe) return false;
    const memory = linear >= 0;
    const qualification = CR_ACCESS.lmsw | (memory ? LMSW_MEMORY : 0) | (source << 16);
    return this.#exit(REASON.crAccess, qualification, memory ? linear : 0);
  }

  movDr(dr: number, write: boolean, gpr: number): boolean {
    if (!this.#has(PROCESSOR_BASED.movDrExiting)) return false;
    return this.#exit(REASON.movDr, dr | (write ? 0 : 1 << 4) | (gpr << 8));
  }

  taskSwitch(selector: number, source: number): boolean {
    return this.#exit(REASON.taskSwitch, (selector & 0xffff) | (source << 30));
  }

  visibleCr(cr: 0 | 4, actual: number): number {
    const mask = cr === 0 ? this.controls.cr0Mask : this.controls.cr4Mask;
    const shadow = cr === 0 ? this.controls.cr0Shadow : this.controls.cr4Shadow;
    return (actual & ~mask) | (shadow & mask);
  }

  mergeCr(cr: 0 | 4, actual: number, written: number): number {
    const mask = cr === 0 ? this.controls.cr0Mask : this.controls.cr4Mask;
    return (written & ~mask) | (actual & mask);
  }

  tscOffset(): number {
    return this.controls.tscOffset;
  }

  iretKeepsNmiBlocking(): boolean {
    const { nmiExiting, virtualNmis } = PIN_BASED;
    return (this.controls.pinBased & (nmiExiting | virtualNmis)) === nmiExiting;
  }

  readTprShadow(): number | null {
    if (!this.#has(PROCESSOR_BASED.useTprShadow)) return null;
    return (this.#vmcs.memory.read32(this.controls.virtualApic + VTPR_OFFSET) >>> 4) & 0xf;
  }

  /**
   * Unlike the others this exit is trap-like: it is not signalled but left pending for
   * `Vmx.exitTprBelowThreshold`, which the core calls when the instruction has completed.
   */
  writeTprShadow(value: number): boolean {
    if (!this.#has(PROCESSOR_BASED.useTprShadow)) return false;
    const address = this.controls.virtualApic + VTPR_OFFSET;
    const priority = value & 0xf;
    this.#vmcs.memory.write32(address, ((this.#vmcs.memory.read32(address) & ~0xff) | (priority << 4)) >>> 0);
    this.tprExitPending = priority < this.controls.tprThreshold;
    return this.tprExitPending;
  }
}

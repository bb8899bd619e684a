/**
 * The VMX hardware of one processor (SDM vol. 3, 24 to 28, 31): the VMX instructions, VM entries and VM exits. The
 * core executes `VmxInstructions` on behalf of instructions, asks the `exit...` methods at each event, and finds
 * `nonRoot` set while a guest runs. Times of everything here are charged here.
 *
 * Which exits a guest causes: non-root.ts. What is checked: entry-checks.ts, guest-checks.ts. What is loaded and
 * saved: transitions.ts. What an exit records: exits.ts, how it is performed: exit.ts.
 *
 * Simplified: no SMM, no dual-monitor treatment, no virtual NMIs, no secondary controls; 32-bit operands only. Every
 * VMLAUNCH or VMRESUME that passes its privilege checks costs a whole VM entry, also when it fails.
 */
import { type Environment, FLUSH, type VmxInstructions } from "../environment.ts";
import type { Profile, VmxCapabilities } from "../profiles/profile.ts";
import {
  ACTIVITY,
  BLOCKING,
  CELL,
  type CpuState,
  CR0,
  CR4,
  FLAG,
  NO_ERROR_CODE,
  OUTCOME,
  raise,
  SEG,
  STATUS_FLAGS,
  VECTOR,
} from "../state.ts";
import { CheckMemo } from "./check-memo.ts";
import { EVENT, EXIT_CONTROL, INTERRUPTION, PIN_BASED, PROCESSOR_BASED } from "./controls.ts";
import { allowed, CONTROL_CHECKS, type EntryContext, HOST_CHECKS, injectionOf } from "./entry-checks.ts";
import { loadMsrs, performEntryFailure, performExit, type VmxHardware } from "./exit.ts";
import {
  type ExceptionDetails,
  type ExitInformation,
  entryFailure,
  exceptionExit,
  externalInterruptExit,
  instructionExit,
  nmiExit,
  plainExit,
  type VmxEvent,
} from "./exits.ts";
import { FIELD, fieldByEncoding } from "./fields.ts";
import { GUEST_CHECKS } from "./guest-checks.ts";
import { cellMsrs, type MsrPort } from "./msr-lists.ts";
import { type EntryControls, NonRoot } from "./non-root.ts";
import { REASON, VM_ERROR } from "./reasons.ts";
import { loadGuestState, loadPdpteRegisters } from "./transitions.ts";
import { type CountedMemory, LAUNCH_STATE, NO_POINTER, Vmcs } from "./vmcs.ts";

/** IA32_FEATURE_CONTROL: lock, and VMXON outside SMX (table 34-2). */
const FEATURE_CONTROL_VMX = (1 << 0) | (1 << 2);
/** IA32_VMX_MISC bit 29: VMWRITE may write exit-information fields. */
const MISC_WRITES_ANY_FIELD = 1 << 29;

/** The last VM exit or failed VM entry, for whoever counts and traces them. */
export interface LastExit {
  /** Exit-reason field; bit 31 marks a failed VM entry. */
  readonly reason: number;
  readonly qualification: number;
  readonly interruption: number;
  /** CS:EIP of the guest at the exit. */
  readonly cs: number;
  readonly eip: number;
}

/** The hidden state of the VMX hardware as plain data; a VMCS itself is in memory. */
export interface SavedVmx {
  readonly vmxonPointer: number;
  readonly vmcsPointer: number;
  /** What the guest runs under; null outside VMX non-root operation. */
  readonly nonRoot: EntryControls | null;
  readonly tprExitPending: boolean;
  readonly injection: VmxEvent | null;
  readonly delivering: VmxEvent | null;
  readonly lastExit: LastExit | null;
  readonly exits: number;
}

export interface VmxOptions {
  readonly state: CpuState;
  readonly memory: CountedMemory;
  /** A profile with VMX capabilities. */
  readonly profile: Profile;
  readonly env: Environment;
  /** What MSR lists reach; the MSRs that are cells of `state` if absent. */
  readonly msrs?: MsrPort;
}

/** Lists of checks, in their order. */
const LIST = { controls: 0, host: 1, guest: 2 } as const;

export class Vmx implements VmxInstructions {
  /** What the guest's instructions consult; null outside VMX non-root operation. */
  nonRoot: NonRoot | null = null;
  /** The event that the last VM entry injects. The core delivers it before the first instruction and clears it. */
  injection: VmxEvent | null = null;
  lastExit: LastExit | null = null;
  /** VM exits and failed VM entries so far; a change tells that `lastExit` is new. */
  exits = 0;
  /** Name of the check that the last VM entry failed; null if it did not. */
  failedCheck: string | null = null;

  readonly #state: CpuState;
  readonly #env: Environment;
  readonly #hardware: VmxHardware;
  readonly #capabilities: VmxCapabilities;
  readonly #vmcs: Vmcs;
  readonly #controls: NonRoot;
  readonly #entry: EntryContext;
  readonly #checks: CheckMemo;
  /** Physical address of the VMXON region; NO_POINTER outside VMX operation. */
  #vmxonPointer: number = NO_POINTER;
  #delivering: VmxEvent | null = null;

  constructor(options: VmxOptions) {
    const { state, memory, profile, env } = options;
    if (profile.vmx === null) throw new Error(`processor ${profile.name} has no VMX`);
    this.#state = state;
    this.#env = env;
    this.#capabilities = profile.vmx;
    this.#vmcs = new Vmcs(memory);
    this.#hardware = { vmcs: this.#vmcs, state, memory, env, msrs: options.msrs ?? cellMsrs(state, profile) };
    this.#controls = new NonRoot(state, this.#vmcs);
    this.#entry = {
      vmcs: this.#vmcs,
      state,
      capabilities: profile.vmx,
      physicalAddressBits: profile.physicalAddressBits,
    };
    this.#checks = new CheckMemo([CONTROL_CHECKS, HOST_CHECKS, GUEST_CHECKS], this.#entry, this.#vmcs, memory);
  }

  /** Between VMXON and VMXOFF. */
  get inOperation(): boolean {
    return this.#vmxonPointer !== NO_POINTER;
  }

  /** Physical address of the current VMCS, or NO_POINTER. */
  get currentVmcs(): number {
    return this.#vmcs.pointer;
  }

  /** Whether CR0 or CR4 may hold `value` now: in VMX operation some bits are fixed, and MOV CR is #GP(0) (24.8). */
  supportsCr(cr: 0 | 4, value: number): boolean {
    if (!this.inOperation) return true;
    return allowed(value, cr === 0 ? this.#capabilities.cr0Fixed : this.#capabilities.cr4Fixed);
  }

  // ---- the instructions -------------------------------------------------------------------------------------------

  /**
   * The checks that come before an instruction's operands: #UD outside VMX operation or in virtual-8086 mode, a VM
   * exit in non-root operation at any CPL, #GP(0) above CPL 0; for VMXON outside VMX operation those of entering it.
   * False if one of them ended the instruction. The instructions call it themselves; a caller that reads memory
   * operands first calls it before it does.
   */
  permits(basicReason: number, qualification = 0, information = 0): boolean {
    const state = this.#state;
    if (basicReason === REASON.vmxon && !this.inOperation) return this.#permitsVmxon();
    // VMCALL exits in virtual-8086 mode too; for the others #UD comes first.
    if (basicReason === REASON.vmcall && this.nonRoot?.instruction(basicReason, 0) === true) return false;
    if (!this.inOperation || (state.cr0 & CR0.PE) === 0 || (state.flags & FLAG.VM) !== 0) {
      raise(state, VECTOR.UD);
      return false;
    }
    if (this.nonRoot?.instruction(basicReason, qualification, information) === true) return false;
    if (state.cpl > 0) {
      raise(state, VECTOR.GP, 0);
      return false;
    }
    return true;
  }

  #setStatus(flags: number): void {
    this.#state.flags = (this.#state.flags & ~STATUS_FLAGS) | flags;
  }

  #succeed(): void {
    this.#setStatus(0);
  }

  /** VMfailInvalid without a current VMCS, else VMfailValid with the error number (31.2). */
  #fail(error: number): void {
    if (this.#vmcs.pointer === NO_POINTER) {
      this.#setStatus(FLAG.CF);
      return;
    }
    this.#vmcs.set(FIELD.instructionError, error);
    this.#setStatus(FLAG.ZF);
  }

  #isRegionAddress(pointer: number): boolean {
    return pointer >= 0 && pointer % 4096 === 0 && pointer < 2 ** this.#entry.physicalAddressBits;
  }

  #hasRevision(pointer: number): boolean {
    return this.#hardware.memory.read32(pointer) >>> 0 === this.#capabilities.revision;
  }

  /** VMXON outside VMX operation: #UD without CR4.VMXE, #GP(0) unless CPL, CR0, CR4 and firmware allow it. */
  #permitsVmxon(): boolean {
    const state = this.#state;
    if ((state.cr4 & CR4.VMXE) === 0 || (state.cr0 & CR0.PE) === 0 || (state.flags & FLAG.VM) !== 0) {
      raise(state, VECTOR.UD);
      return false;
    }
    const { cr0Fixed, cr4Fixed } = this.#capabilities;
    const enabled = (state.get(CELL.featureControl) & FEATURE_CONTROL_VMX) === FEATURE_CONTROL_VMX;
    if (state.cpl > 0 || !allowed(state.cr0, cr0Fixed) || !allowed(state.cr4, cr4Fixed) || !enabled) {
      raise(state, VECTOR.GP, 0);
      return false;
    }
    return true;
  }

  vmxon(pointer: number): void {
    if (!this.permits(REASON.vmxon)) return;
    this.#env.charge("vmxon");
    if (this.inOperation) {
      this.#fail(VM_ERROR.vmxonInRoot);
      return;
    }
    if (!this.#isRegionAddress(pointer) || !this.#hasRevision(pointer)) {
      this.#setStatus(FLAG.CF);
      return;
    }
    this.#vmxonPointer = pointer;
    this.#vmcs.pointer = NO_POINTER;
    this.#succeed();
  }

  vmxoff(): void {
    if (!this.permits(REASON.vmxoff)) return;
    this.#env.charge("vmxon");
    this.#vmxonPointer = NO_POINTER;
    this.#vmcs.pointer = NO_POINTER;
    this.#succeed();
  }

  vmclear(pointer: number): void {
    if (!this.permits(REASON.vmclear)) return;
    this.#env.charge("vmptrld");
    if (!this.#isRegionAddress(pointer)) this.#fail(VM_ERROR.vmclearInvalidAddress);
    else if (pointer === this.#vmxonPointer) this.#fail(VM_ERROR.vmclearVmxonPointer);
    else {
      const current = this.#vmcs.pointer;
      this.#vmcs.pointer = pointer;
      this.#vmcs.launchState = LAUNCH_STATE.clear;
      this.#vmcs.pointer = current === pointer ? NO_POINTER : current;
      this.#succeed();
    }
  }

  vmptrld(pointer: number): void {
    if (!this.permits(REASON.vmptrld)) return;
    this.#env.charge("vmptrld");
    if (!this.#isRegionAddress(pointer)) this.#fail(VM_ERROR.vmptrldInvalidAddress);
    else if (pointer === this.#vmxonPointer) this.#fail(VM_ERROR.vmptrldVmxonPointer);
    else if (!this.#hasRevision(pointer)) this.#fail(VM_ERROR.vmptrldWrongRevision);
    else {
      this.#vmcs.pointer = pointer;
      this.#succeed();
    }
  }

  /** The current VMCS pointer; NO_POINTER (to be stored as 64 ones) if there is none; null on a fault or exit. */
  vmptrst(): number | null {
    if (!this.permits(REASON.vmptrst)) return null;
    this.#env.charge("vmptrld");
    this.#succeed();
    return this.#vmcs.pointer;
  }

  vmread(encoding: number): number | null {
    if (!this.permits(REASON.vmread)) return null;
    this.#env.charge("vmread");
    const field = this.#vmcs.pointer === NO_POINTER ? null : fieldByEncoding(encoding, this.#capabilities);
    if (field === null) {
      this.#fail(VM_ERROR.unsupportedField);
      return null;
    }
    this.#succeed();
    return (encoding & 1) === 0 ? this.#vmcs.get(field) : this.#vmcs.getHigh(field);
  }

  vmwrite(encoding: number, value: number): void {
    if (!this.permits(REASON.vmwrite)) return;
    this.#env.charge("vmwrite");
    const field = this.#vmcs.pointer === NO_POINTER ? null : fieldByEncoding(encoding, this.#capabilities);
    if (field === null) this.#fail(VM_ERROR.unsupportedField);
    else if (field.type === "exit-information" && (this.#capabilities.misc & MISC_WRITES_ANY_FIELD) === 0) {
      this.#fail(VM_ERROR.readOnlyField);
    } else {
      if ((encoding & 1) === 0) this.#vmcs.set(field, value);
      else this.#vmcs.setHigh(field, value);
      this.#succeed();
    }
  }

  vmcall(): void {
    if (!this.permits(REASON.vmcall)) return;
    this.#env.charge("vmread");
    this.#fail(VM_ERROR.vmcallInRoot);
  }

  /**
   * VMLAUNCH (`launch`) or VMRESUME. True if control went elsewhere: to the guest, or to the host's entry point
   * because the entry failed late. False if the instruction failed (flags are set) or faulted.
   */
  vmenter(launch: boolean): boolean {
    if (!this.permits(launch ? REASON.vmlaunch : REASON.vmresume)) return false;
    this.failedCheck = null;
    this.#env.charge("vmentry");
    const vmcs = this.#vmcs;
    const error = this.#earlyEntryError(launch);
    if (error !== 0) {
      this.#fail(error);
      return false;
    }
    const guestFailure = this.#checks.firstFailure(LIST.guest);
    if (guestFailure !== null) {
      this.failedCheck = guestFailure.name;
      this.#failEntry(entryFailure(REASON.entryFailureGuestState, guestFailure.qualification ?? 0));
      return true;
    }
    loadGuestState(vmcs, this.#state);
    loadPdpteRegisters(vmcs, this.#state, this.#entry.physicalAddressBits);
    const failed = loadMsrs(this.#hardware, FIELD.entryMsrLoadAddress, FIELD.entryMsrLoadCount);
    if (failed !== 0) {
      this.failedCheck = "VM-entry MSR-load list";
      this.#failEntry(entryFailure(REASON.entryFailureMsrLoading, failed));
      return true;
    }
    if (launch) vmcs.launchState = LAUNCH_STATE.launched;
    this.#controls.readControls();
    this.#controls.tprExitPending = false;
    this.nonRoot = this.#controls;
    this.#delivering = null;
    this.#inject();
    this.#env.flushTlb(FLUSH.ALL);
    this.#env.attention();
    return true;
  }

  /** VM-instruction error of an entry that fails before guest state is looked at; 0 if it does not. */
  #earlyEntryError(launch: boolean): number {
    // Any number will do: without a current VMCS it becomes VMfailInvalid, which has none.
    if (this.#vmcs.pointer === NO_POINTER) return VM_ERROR.invalidControls;
    if ((this.#state.get(CELL.interruptibility) & BLOCKING.MOV_SS) !== 0) return VM_ERROR.entryBlockedByMovSs;
    const launched = this.#vmcs.launchState !== LAUNCH_STATE.clear;
    if (launch && launched) return VM_ERROR.vmlaunchNonClear;
    if (!launch && !launched) return VM_ERROR.vmresumeNonLaunched;
    this.#checks.compare();
    const controls = this.#checks.firstFailure(LIST.controls);
    if (controls !== null) {
      this.failedCheck = controls.name;
      return VM_ERROR.invalidControls;
    }
    const host = this.#checks.firstFailure(LIST.host);
    if (host === null) return 0;
    this.failedCheck = host.name;
    return VM_ERROR.invalidHostState;
  }

  /** Takes the event to inject from the VMCS; whatever it is, it ends inactivity, and an NMI blocks NMIs (27.6). */
  #inject(): void {
    const state = this.#state;
    const event = injectionOf(this.#entry);
    if (event === null) {
      this.injection = null;
      return;
    }
    const hasErrorCode = (event.info & INTERRUPTION.ERROR_CODE) !== 0;
    const software = event.type >= EVENT.softwareInterrupt;
    this.injection = {
      type: event.type,
      vector: event.vector,
      errorCode: hasErrorCode ? this.#vmcs.get(FIELD.entryErrorCode) : NO_ERROR_CODE,
      instructionLength: software ? this.#vmcs.get(FIELD.entryInstructionLength) : 0,
    };
    state.set(CELL.activity, ACTIVITY.ACTIVE);
    if (event.type === EVENT.nmi) {
      state.set(CELL.interruptibility, state.get(CELL.interruptibility) | BLOCKING.NMI);
    }
  }

  // ---- events that may cause VM exits -----------------------------------------------------------------------------

  /**
   * Remembers the event whose delivery through the IDT begins (null: it ended), so that a VM exit within the
   * delivery records it. A fault within delivery is offered to `exitException` under its own vector first, and as #DF
   * only if that does not exit.
   */
  setIdtVectoring(event: VmxEvent | null): void {
    this.#delivering = event;
  }

  /** Performs the exit that `state.signal` asks for. `state.eip` is the instruction's own address. */
  exitInstruction(instructionLength: number): void {
    const signal = this.#state.signal;
    if (signal.outcome !== OUTCOME.EXIT) throw new Error("no instruction has signalled a VM exit");
    const { exitReason, qualification, exitDetail } = signal;
    signal.outcome = OUTCOME.NONE;
    this.#exit(instructionExit(exitReason, qualification, exitDetail, instructionLength));
  }

  /**
   * An exception is about to be delivered: true if the exception bitmap makes it exit, which is then done. INT n
   * does not come here. For a page fault `address` is its linear address, for #DB the conditions as the exit
   * qualification shows them; CR2, DR6 and DR7 stay as they are. Pass the signal's values; it is cleared.
   */
  exitException(vector: number, errorCode: number, address: number, details: ExceptionDetails = {}): boolean {
    const controls = this.nonRoot?.controls;
    if (controls === undefined) return false;
    let exits = ((controls.exceptionBitmap >>> vector) & 1) !== 0;
    if (vector === VECTOR.PF && (errorCode & controls.pageFaultMask) >>> 0 !== controls.pageFaultMatch) exits = !exits;
    if (!exits) return false;
    this.#state.signal.outcome = OUTCOME.NONE;
    this.#exit(exceptionExit(vector, errorCode, address, details, this.#delivering !== null));
    return true;
  }

  /**
   * An external interrupt is pending: true if it makes the guest exit, which is then done, whatever RFLAGS.IF is.
   * `acknowledge` is called for its vector only under "acknowledge interrupt on exit".
   */
  exitExternalInterrupt(acknowledge: () => number): boolean {
    const controls = this.nonRoot?.controls;
    if (controls === undefined || (controls.pinBased & PIN_BASED.externalInterruptExiting) === 0) return false;
    if (this.#blockedByInstruction()) return false;
    const acknowledges = (controls.exitControls & EXIT_CONTROL.acknowledgeInterruptOnExit) !== 0;
    this.#exit(externalInterruptExit(acknowledges ? acknowledge() : null));
    return true;
  }

  /** An NMI is pending: true if it makes the guest exit, which is then done; the host runs with NMIs blocked. */
  exitNmi(): boolean {
    const controls = this.nonRoot?.controls;
    if (controls === undefined || (controls.pinBased & PIN_BASED.nmiExiting) === 0) return false;
    if ((this.#state.get(CELL.interruptibility) & (BLOCKING.NMI | BLOCKING.MOV_SS)) !== 0) return false;
    this.#exit(nmiExit());
    this.#state.set(CELL.interruptibility, this.#state.get(CELL.interruptibility) | BLOCKING.NMI);
    return true;
  }

  /** At an instruction boundary, before external interrupts: exits if asked to as soon as the guest is open to them. */
  exitInterruptWindow(): boolean {
    const controls = this.nonRoot?.controls;
    if (controls === undefined || (controls.processorBased & PROCESSOR_BASED.interruptWindowExiting) === 0)
      return false;
    if ((this.#state.flags & FLAG.IF) === 0 || this.#blockedByInstruction()) return false;
    this.#exit(plainExit(REASON.interruptWindow));
    return true;
  }

  /** A triple fault always exits. True if a guest was running. */
  exitTripleFault(): boolean {
    if (this.nonRoot === null) return false;
    this.#exit(plainExit(REASON.tripleFault));
    return true;
  }

  /** After an instruction: exits if it wrote the TPR shadow below the threshold. */
  exitTprBelowThreshold(): boolean {
    if (this.nonRoot === null || !this.nonRoot.tprExitPending) return false;
    this.#exit(plainExit(REASON.tprBelowThreshold));
    return true;
  }

  #blockedByInstruction(): boolean {
    return (this.#state.get(CELL.interruptibility) & (BLOCKING.STI | BLOCKING.MOV_SS)) !== 0;
  }

  #exit(exit: ExitInformation): void {
    this.#leave(exit);
    performExit(this.#hardware, exit, this.#delivering);
    this.#delivering = null;
  }

  #failEntry(failure: ExitInformation): void {
    this.#leave(failure);
    performEntryFailure(this.#hardware, failure);
  }

  #leave({ reason, qualification, interruption }: ExitInformation): void {
    const state = this.#state;
    this.lastExit = { reason, qualification, interruption, cs: state.selector(SEG.cs), eip: state.eip };
    this.exits++;
    this.nonRoot = null;
    this.injection = null;
  }

  // ---- hidden state -----------------------------------------------------------------------------------------------

  save(): SavedVmx {
    return {
      vmxonPointer: this.#vmxonPointer,
      vmcsPointer: this.#vmcs.pointer,
      nonRoot: this.nonRoot?.controls ?? null,
      tprExitPending: this.#controls.tprExitPending,
      injection: this.injection,
      delivering: this.#delivering,
      lastExit: this.lastExit,
      exits: this.exits,
    };
  }

  /** A reset of the processor: VMX operation ends, and no VMCS is current. */
  reset(): void {
    this.#vmxonPointer = NO_POINTER;
    this.#vmcs.pointer = NO_POINTER;
    this.nonRoot = null;
    this.#controls.tprExitPending = false;
    this.injection = null;
    this.#delivering = null;
  }

  /** Takes up saved hidden state; memory holds the VMCS already. */
  restore(saved: SavedVmx): void {
    this.#vmxonPointer = saved.vmxonPointer;
    this.#vmcs.pointer = saved.vmcsPointer;
    this.nonRoot = saved.nonRoot === null ? null : this.#controls;
    if (saved.nonRoot !== null) this.#controls.controls = saved.nonRoot;
    this.#controls.tprExitPending = saved.tprExitPending;
    this.injection = saved.injection;
    this.#delivering = saved.delivering;
    this.lastExit = saved.lastExit;
    this.exits = saved.exits;
  }
}

/**
 * What the VT-x monitor does for each exit. Where the exit says what the instruction is (ports, control registers,
 * CPUID...) its micro-ops are made here and run by the one interpreter over the virtual processor; where it does not
 * (accesses to traced page tables and to devices) the instruction is fetched and decoded first.
 */
import { HELPER_NUMBER, type HelperName } from "../../cpu/helpers.ts";
import type { Rule } from "../../cpu/lift/rule.ts";
import { type MicroOp, type MicroOpFields, microOp, OP } from "../../cpu/micro-ops.ts";
import {
  ACTIVITY,
  CELL,
  type CpuState,
  CR0,
  FLAG,
  GPR,
  gprCell,
  NO_ERROR_CODE,
  OUTCOME,
  SEG,
  temporaryCell,
  VECTOR,
} from "../../cpu/state.ts";
import { breakpointWatches, DR6_CONDITIONS } from "../../cpu/system/breakpoints.ts";
import { combineFaults, type DeliveryEvent, deliver, type EventKind } from "../../cpu/system/delivery.ts";
import { TASK_SOURCE } from "../../cpu/system/tasks.ts";
import { EVENT, INTERRUPTION } from "../../cpu/vmx/controls.ts";
import type { VmxEvent } from "../../cpu/vmx/exits.ts";
import { REASON } from "../../cpu/vmx/reasons.ts";
import type { Shadow } from "../../memory/shadow.ts";
import type { RunEnd } from "../../result.ts";
import {
  beforeInstruction,
  completeInstruction,
  DEBUG_TRAPS,
  type Emulator,
  EVERYTHING,
  requirements,
} from "../emulate.ts";
import type { GuestMemory } from "../guest-memory.ts";
import type { PhysicalTimer } from "../physical-timer.ts";
import type { VirtualEnvironment } from "../virtual-environment.ts";
import { pushesRfClear } from "./event-injection.ts";
import type { GuestRegisters } from "./guest-registers.ts";

/** What handlers work with; the monitor makes one. */
export interface HandlerContext {
  readonly snapshot: {
    readonly reason: number;
    readonly qualification: number;
    readonly interruption: number;
    readonly errorCode: number;
    readonly idtVectoring: number;
    readonly instructionLength: number;
  };
  readonly virtual: CpuState;
  readonly guest: GuestRegisters;
  readonly memory: GuestMemory;
  readonly shadow: Shadow;
  readonly emulator: Emulator;
  readonly env: VirtualEnvironment;
  readonly timer: PhysicalTimer;
  /** VMREAD of the IDT-vectoring error code. */
  vectoringErrorCode(): number;
  /** The next entry injects this. */
  inject(event: VmxEvent): void;
  /** The guest executed HLT. */
  halt(): void;
  end(end: RunEnd): void;
  /** CS:EIP of the exit. */
  place(): { readonly cs: number; readonly eip: number };
  count(name: string): void;
  /** Set when the handler completed the event that was in delivery itself, so that it is not re-injected. */
  delivered?: boolean;
}

/** CS, to fetch by, and CPL. */
const LITTLE = { segments: 1 << SEG.cs, selectors: 0, all: false };

/** Handles the exit of the snapshot; returns its technique-neutral cause. */
export function handleExit(context: HandlerContext): string {
  const { snapshot } = context;
  if ((snapshot.reason & 0x80000000) !== 0) {
    throw new Error(`vtx monitor: VM entry failed with exit reason ${snapshot.reason & 0xffff}`);
  }
  switch (snapshot.reason & 0xffff) {
    case REASON.exceptionOrNmi:
      return exception(context);
    case REASON.externalInterrupt:
      context.timer.interrupted();
      return "physical-interrupt";
    case REASON.tripleFault:
      context.end({ ...context.place(), kind: "triple-fault", detail: "triple fault in the guest" });
      return "triple-fault";
    case REASON.interruptWindow:
      return "interrupt-window";
    case REASON.cpuid:
      context.memory.do("cpuid");
      return perform(context, "cpuid", [helper("cpuid", {})]);
    case REASON.hlt:
      perform(context, "hlt", [helper("hlt", {})]);
      if (context.virtual.get(CELL.activity) !== 0) {
        context.virtual.set(CELL.activity, 0);
        context.halt();
      }
      return "hlt";
    case REASON.invd:
      return perform(context, "invd", [helper("invd", {})]);
    case REASON.invlpg:
      return invlpg(context);
    case REASON.rdmsr:
      context.memory.do("msr");
      context.guest.requireSysenter();
      return perform(context, "rdmsr", [helper("rdmsr", {})]);
    case REASON.wrmsr:
      context.memory.do("msr");
      context.guest.requireSysenter();
      return perform(context, "wrmsr", [helper("wrmsr", {})]);
    case REASON.crAccess:
      return controlRegister(context);
    case REASON.ioInstruction:
      return portIo(context);
    case REASON.mwait:
    case REASON.monitor:
      // Hidden from the guest (guest-profile.ts).
      injectException(context, VECTOR.UD, NO_ERROR_CODE);
      return "monitor-wait";
    case REASON.taskSwitch:
      return taskSwitch(context);
    default:
      // The VMX instructions: the guest's processor has none.
      injectException(context, VECTOR.UD, NO_ERROR_CODE);
      return "vmx-instruction";
  }
}

function unmodelled(context: HandlerContext, detail: string): void {
  context.end({ ...context.place(), kind: "unmodelled", detail });
}

function helper(name: HelperName, fields: MicroOpFields): MicroOp {
  return microOp(OP.HELPER, { ...fields, imm: HELPER_NUMBER[name] });
}

// ---- instructions that the exit describes ------------------------------------------------------------------------

/**
 * Runs micro-ops as the instruction at EIP, whose length the exit gave, and completes it: EIP, interrupt shadow, RF,
 * the trap of TF; or injects the exception that it raised. Returns the cause.
 */
function perform(context: HandlerContext, cause: string, ops: readonly MicroOp[], rule: Partial<Rule> = {}): string {
  const length = context.snapshot.instructionLength;
  const instruction = [microOp(OP.BEGIN, { x: length }), ...ops, microOp(OP.END, { imm: length, w: 32 })];
  // The processor has checked privilege before the exit (SDM vol. 3, 26.1.1): no VMREAD to learn the CPL.
  context.virtual.set(CELL.cpl, 0);
  runAndComplete(context, instruction, rule);
  return cause;
}

function runAndComplete(context: HandlerContext, ops: readonly MicroOp[], rule: Partial<Rule>): void {
  const { virtual } = context;
  const before = { flags: 0, blocking: 0 };
  beforeInstruction(virtual, before);
  context.emulator.handled++;
  context.env.watches = context.guest.requireBreakpoints() ? breakpointWatches(virtual) : 0;
  virtual.set(CELL.breakpointsMet, 0);
  context.emulator.run(ops);
  context.env.watches = 0;
  const { signal } = virtual;
  const outcome = signal.outcome;
  signal.outcome = OUTCOME.NONE;
  switch (outcome) {
    case OUTCOME.NONE:
      break;
    case OUTCOME.FAULT:
      if (signal.vector === VECTOR.PF) virtual.set(CELL.cr2, signal.address);
      injectException(context, signal.vector, signal.errorCode);
      return;
    case OUTCOME.INTERRUPT:
      // The entry delivers it, with the instruction's length; RF has served its instruction.
      virtual.flags &= ~FLAG.RF;
      context.memory.do("inject");
      context.inject({
        type: TYPE_OF_SOFTWARE[signal.interruptKind] as number,
        vector: signal.vector,
        errorCode: NO_ERROR_CODE,
        instructionLength: signal.length,
      });
      return;
    case OUTCOME.WAITS:
      virtual.set(CELL.activity, ACTIVITY.ACTIVE);
      context.halt();
      return;
    default:
      unmodelled(context, signal.detail);
      return;
  }
  context.memory.do("complete");
  completeInstruction(virtual, before, rule);
  trap(context);
}

/** Injects the traps on an instruction or a task switch that the processor did not perform itself. */
function trap(context: HandlerContext): void {
  const { virtual } = context;
  const pending = virtual.get(CELL.pendingDebug);
  if ((pending & DEBUG_TRAPS) === 0) return;
  virtual.set(CELL.pendingDebug, 0);
  virtual.set(CELL.breakpointsMet, 0);
  virtual.set(CELL.dr6, virtual.get(CELL.dr6) | (pending & DR6_CONDITIONS));
  injectException(context, VECTOR.DB, NO_ERROR_CODE);
}

/** A task switch, which always exits: performed here, by the processor's own code (SDM vol. 3, 26.4.2, table 28-2). */
function taskSwitch(context: HandlerContext): string {
  const { qualification, instructionLength } = context.snapshot;
  const source = qualification >>> 30;
  context.memory.do("task-switch");
  if (source === TASK_SOURCE.TASK_GATE) {
    deliverInSoftware(context);
    if (context.delivered === true) trap(context);
    return "task-switch";
  }
  context.guest.require(EVERYTHING);
  const selector = temporaryCell(0);
  const ops = [
    microOp(OP.BEGIN, { x: instructionLength }),
    microOp(OP.CONST, { d: selector, imm: qualification & 0xffff }),
    helper("taskSwitch", { a: selector, x: source, c: instructionLength }),
    microOp(OP.END_BRANCH),
  ];
  runAndComplete(context, ops, {});
  return "task-switch";
}

function controlRegister(context: HandlerContext): string {
  const { qualification } = context.snapshot;
  context.memory.do("control-register");
  const x = qualification & 0xf;
  const gpr = (qualification >>> 8) & 0xf;
  switch ((qualification >>> 4) & 3) {
    case 0:
      return perform(context, `write-cr${x}`, [helper("writeCr", { a: gprCell(gpr), b: gpr, x })]);
    case 1:
      return perform(context, `read-cr${x}`, [helper("readCr", { d: gprCell(gpr), b: gpr, x })]);
    case 2:
      return perform(context, "clts", [helper("clts", {})]);
    default: {
      const source = temporaryCell(0);
      return perform(context, "lmsw", [
        microOp(OP.CONST, { d: source, imm: qualification >>> 16 }),
        helper("lmsw", { a: source }),
      ]);
    }
  }
}

function invlpg(context: HandlerContext): string {
  context.env.flushPage(context.snapshot.qualification);
  return perform(context, "invlpg", []);
}

function portIo(context: HandlerContext): string {
  const { qualification } = context.snapshot;
  context.memory.do("io-route");
  if ((qualification & 0x10) !== 0) {
    decodeAndRun(context);
    return "port-io-string";
  }
  const bytes = (qualification & 7) + 1;
  const input = (qualification & 8) !== 0;
  const port = temporaryCell(0);
  const ops = [microOp(OP.CONST, { d: port, imm: qualification >>> 16 })];
  if (input) {
    const value = temporaryCell(1);
    const put = bytes === 1 ? OP.PUT8 : bytes === 2 ? OP.PUT16 : OP.MOV;
    ops.push(portRead(value, port, bytes), microOp(put, { d: GPR.eax, a: value }));
  } else {
    ops.push(helper("outPermitted", { a: port, b: GPR.eax, w: bytes }));
  }
  return perform(context, "port-io", ops);
}

/** The processor has checked IOPL and the I/O permission bitmap before the exit (SDM vol. 3, 26.1.1). */
function portRead(d: number, a: number, w: number): MicroOp {
  return helper("inPermitted", { d, a, w });
}

// ---- exceptions ---------------------------------------------------------------------------------------------------

function exception(context: HandlerContext): string {
  const { interruption } = context.snapshot;
  const vector = interruption & 0xff;
  if (((interruption >>> 8) & 7) === EVENT.nmi) {
    // The machine's own: a watchdog's or a memory error's, which concerns the monitor and not its guest.
    context.memory.do("interrupt");
    return "physical-nmi";
  }
  if (vector === VECTOR.MF) return numericError(context);
  if (vector !== VECTOR.PF) throw new Error(`vtx monitor: exit for exception ${vector}, which was not asked for`);
  return pageFault(context);
}

/**
 * #MF, which VMX operation makes of every x87 error, as CR0.NE is fixed. A guest that has it clear waits at this instruction for
 * its IRQ 13, or goes on if its board asserts IGNNE#: what the emulator's x87 does by the guest's own CR0.
 */
function numericError(context: HandlerContext): string {
  if ((context.virtual.cr0 & CR0.NE) !== 0) injectException(context, VECTOR.MF, NO_ERROR_CODE);
  else decodeAndRun(context);
  return "numeric-error";
}

function pageFault(context: HandlerContext): string {
  const { snapshot, memory, virtual } = context;
  memory.do("page-fault");
  const fault = context.shadow.fault(snapshot.qualification, snapshot.errorCode);
  switch (fault.kind) {
    case "hidden":
      return "hidden-page-fault";
    case "guest":
      virtual.set(CELL.cr2, snapshot.qualification);
      context.count("fault.injected");
      injectException(context, VECTOR.PF, fault.errorCode);
      return "guest-page-fault";
    case "traced-write":
      emulateAccess(context);
      return "traced-write";
    default:
      emulateAccess(context);
      return "device-memory";
  }
}

/** The access that faulted: of an instruction, or of the delivery of an event. */
function emulateAccess(context: HandlerContext): void {
  if ((context.snapshot.idtVectoring & INTERRUPTION.VALID) !== 0) deliverInSoftware(context);
  else decodeAndRun(context);
}

/** Fetches the instruction at CS:EIP through the guest's tables and runs it. */
function decodeAndRun(context: HandlerContext): void {
  const { guest, emulator, memory, virtual } = context;
  guest.require(LITTLE);
  memory.do("decode");
  const lifted = emulator.fetch();
  if (lifted === null) {
    const { signal } = virtual;
    const outcome = signal.outcome;
    signal.outcome = OUTCOME.NONE;
    if (outcome !== OUTCOME.FAULT) {
      unmodelled(context, signal.detail);
      return;
    }
    // The guest changed its tables under the fetch: the processor will meet the same fault. But it has no way to the
    // bytes that a device gives: what is no instruction there is found here.
    if (signal.vector !== VECTOR.PF) injectException(context, signal.vector, signal.errorCode);
    return;
  }
  guest.require(requirements(lifted.ops));
  memory.do("emulate");
  runAndComplete(context, lifted.ops, lifted.rule);
}

/** Interruption types by INTERRUPT_KIND. */
const TYPE_OF_SOFTWARE: readonly number[] = [
  EVENT.softwareInterrupt,
  EVENT.softwareException,
  EVENT.privilegedSoftwareException,
];

const KIND_OF_TYPE: Readonly<Record<number, EventKind>> = {
  [EVENT.externalInterrupt]: "external",
  [EVENT.nmi]: "nmi",
  [EVENT.hardwareException]: "exception",
  [EVENT.softwareInterrupt]: "software",
  [EVENT.privilegedSoftwareException]: "privileged-software",
  [EVENT.softwareException]: "software-exception",
};

/** Completes the delivery of the event of the IDT-vectoring information, by the processor's own delivery code. */
function deliverInSoftware(context: HandlerContext): void {
  const { virtual, guest, memory, env } = context;
  guest.require(EVERYTHING);
  memory.do("emulate");
  const event = vectoredEvent(context);
  // Exits for faults save RF = 1.
  const type = (context.snapshot.idtVectoring >>> 8) & 7;
  const faulted = (context.snapshot.reason & 0xffff) === REASON.exceptionOrNmi;
  if (faulted && pushesRfClear(type, event.vector, virtual, guest)) virtual.flags &= ~FLAG.RF;
  deliver(virtual, env, event);
  const { signal } = virtual;
  const outcome = signal.outcome;
  signal.outcome = OUTCOME.NONE;
  if (outcome === OUTCOME.NONE) {
    context.delivered = true;
  } else if (outcome === OUTCOME.FAULT) {
    if (signal.vector === VECTOR.PF) virtual.set(CELL.cr2, signal.address);
    injectException(context, signal.vector, signal.errorCode);
  } else {
    unmodelled(context, signal.detail);
  }
}

/** The event that was being delivered when the exit came. */
function vectoredEvent(context: HandlerContext): DeliveryEvent {
  const { idtVectoring, instructionLength } = context.snapshot;
  const type = (idtVectoring >>> 8) & 7;
  const hasErrorCode = (idtVectoring & INTERRUPTION.ERROR_CODE) !== 0;
  const length = type >= EVENT.softwareInterrupt ? instructionLength : 0;
  return {
    vector: idtVectoring & 0xff,
    kind: KIND_OF_TYPE[type] ?? "exception",
    errorCode: hasErrorCode ? context.vectoringErrorCode() : NO_ERROR_CODE,
    returnEip: (context.virtual.eip + length) | 0,
  };
}

/**
 * Injects an exception. If one was raised by the delivery of another event the two combine as in the processor
 * (SDM vol. 3, table 6-5): the new one in its place, a double fault, or the end.
 */
function injectException(context: HandlerContext, vector: number, errorCode: number): void {
  context.memory.do("inject");
  const type = EVENT.hardwareException;
  if ((context.snapshot.idtVectoring & INTERRUPTION.VALID) !== 0 && context.delivered !== true) {
    const combination = combineFaults(vectoredEvent(context), vector);
    if (combination === "triple") {
      context.end({
        ...context.place(),
        kind: "triple-fault",
        detail: `exception ${vector} while delivering a double fault`,
      });
      return;
    }
    if (combination === "double") {
      // The exit for a fault has saved RF = 1; a double fault is none and pushes what was there (SDM vol. 3, 17.3.1.1).
      if ((context.snapshot.reason & 0xffff) === REASON.exceptionOrNmi) context.virtual.flags &= ~FLAG.RF;
      context.inject({ type, vector: VECTOR.DF, errorCode: 0, instructionLength: 0 });
      return;
    }
  }
  context.inject({ type, vector, errorCode, instructionLength: 0 });
}

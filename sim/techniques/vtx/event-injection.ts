/**
 * What the guest finds when it runs again besides its registers: the event that VM entry injects, the interrupt window,
 * and the physical timer set for the next virtual deadline (SDM vol. 3, 27.6, 28.2.4).
 */
import type { Clock } from "../../clock.ts";
import { BLOCKING, CELL, type CpuState, FLAG, NO_ERROR_CODE, VECTOR } from "../../cpu/state.ts";
import { reportsInstructionBreakpoint } from "../../cpu/system/breakpoints.ts";
import { DR6_BD } from "../../cpu/system/debug.ts";
import { EVENT, INTERRUPTION, PROCESSOR_BASED } from "../../cpu/vmx/controls.ts";
import type { VmxEvent } from "../../cpu/vmx/exits.ts";
import { FIELD } from "../../cpu/vmx/fields.ts";
import { REASON } from "../../cpu/vmx/reasons.ts";
import type { VirtualBoard } from "../monitor.ts";
import type { PhysicalTimer } from "../physical-timer.ts";
import type { MonitorStep } from "../steps.ts";
import type { GuestRegisters, VmcsPort } from "./guest-registers.ts";
import type { ProcessorControls } from "./processor-controls.ts";

/** Fields of the snapshot besides the guest registers (guest-registers.ts reads four): ten VMREADs in all. */
export interface ExitSnapshot {
  reason: number;
  qualification: number;
  interruption: number;
  errorCode: number;
  idtVectoring: number;
  instructionLength: number;
}

export interface EventInjectionParts {
  readonly vmcs: VmcsPort;
  readonly controls: ProcessorControls;
  readonly snapshot: Readonly<ExitSnapshot>;
  readonly virtual: CpuState;
  readonly guest: GuestRegisters;
  readonly board: VirtualBoard;
  readonly steps: { do(step: MonitorStep): void };
  readonly timer: PhysicalTimer;
  readonly clock: Clock;
  /** Counters `events.*`. */
  readonly counts: Record<string, number>;
}

export class EventInjection {
  /** Event that the next entry injects; null for none. */
  pending: VmxEvent | null = null;
  readonly #parts: EventInjectionParts;

  constructor(parts: EventInjectionParts) {
    this.#parts = parts;
  }

  /** After an exit in the middle of event delivery: the event is still to come, unless the handler chose another. */
  reinject(): void {
    const { snapshot, vmcs, virtual, guest } = this.#parts;
    const { idtVectoring, instructionLength } = snapshot;
    if ((idtVectoring & INTERRUPTION.VALID) === 0 || this.pending !== null) return;
    const hasErrorCode = (idtVectoring & INTERRUPTION.ERROR_CODE) !== 0;
    const type = (idtVectoring >>> 8) & 7;
    this.pending = {
      type,
      vector: idtVectoring & 0xff,
      errorCode: hasErrorCode ? vmcs.read(FIELD.idtVectoringErrorCode) : NO_ERROR_CODE,
      instructionLength: type >= EVENT.softwareInterrupt ? instructionLength : 0,
    };
    if (pushesRfClear(type, idtVectoring & 0xff, virtual, guest)) virtual.flags &= ~FLAG.RF;
    this.#count("events.reinjected");
  }

  /**
   * Lets virtual devices act, then writes the injection and the interrupt window, and sets the physical timer. False,
   * with nothing of these done, if an NMI is due.
   */
  prepareEntry(): boolean {
    const { steps, clock, board, timer } = this.#parts;
    steps.do("events");
    if (board.nextDeadline() <= clock.now) board.due(clock.now);
    if (board.nmiLine) return false;
    const waits = board.interruptLine && !this.#takeInterrupt();
    this.#setWindow(waits);
    this.#writeInjection();
    timer.arm(board.nextDeadline());
    return true;
  }

  /** Takes the waiting virtual interrupt if the guest is open to it and nothing else is injected. */
  #takeInterrupt(): boolean {
    const { snapshot, virtual, steps, board } = this.#parts;
    const blocked = (virtual.get(CELL.interruptibility) & (BLOCKING.STI | BLOCKING.MOV_SS)) !== 0;
    const pendingTrap = virtual.get(CELL.pendingDebug) !== 0;
    if (this.pending !== null || blocked || pendingTrap || (virtual.flags & FLAG.IF) === 0) return false;
    steps.do("inject");
    const vector = board.acknowledgeInterrupt();
    // An exit for a fault has saved RF = 1; the interrupt comes before the instruction that faulted and pushes 0.
    if ((snapshot.reason & 0xffff) === REASON.exceptionOrNmi) virtual.flags &= ~FLAG.RF;
    this.pending = { type: EVENT.externalInterrupt, vector, errorCode: NO_ERROR_CODE, instructionLength: 0 };
    return true;
  }

  #setWindow(open: boolean): void {
    const changed = this.#parts.controls.set(PROCESSOR_BASED.interruptWindowExiting, open);
    if (changed && open) this.#count("events.interrupt-windows");
  }

  #writeInjection(): void {
    const { vmcs, virtual } = this.#parts;
    const event = this.pending;
    if (event === null) return;
    const hasErrorCode = event.errorCode !== NO_ERROR_CODE;
    const information = event.vector | (event.type << 8) | (hasErrorCode ? INTERRUPTION.ERROR_CODE : 0);
    this.#count("events.injected");
    vmcs.write(FIELD.entryInterruption, (information | INTERRUPTION.VALID) >>> 0);
    if (hasErrorCode) vmcs.write(FIELD.entryErrorCode, event.errorCode);
    if (event.instructionLength !== 0) vmcs.write(FIELD.entryInstructionLength, event.instructionLength);
    virtual.set(CELL.activity, 0);
  }

  #count(name: string): void {
    this.#parts.counts[name] = (this.#parts.counts[name] ?? 0) + 1;
  }
}

/**
 * Whether VM entry takes the event: bits 31:15 of its error code must be 0 (27.2.1.3), which they are not in the error
 * code of a selector of 8000h or above.
 */
export function isInjectable({ errorCode }: VmxEvent): boolean {
  return errorCode === NO_ERROR_CODE || errorCode >>> 15 === 0;
}

/**
 * Whether an event whose delivery a fault interrupted pushes RF = 0. The exit has saved RF = 1, for the fault; the event
 * itself pushes 1 only if it is a fault too. #DB is one when it reports an access to debug registers or an instruction
 * breakpoint.
 *
 * Simplified: DR6 keeps what handlers do not clear, so that a trap may look like such a fault; an event between two iterations of a string instruction would push 1; the VMCS does not tell.
 */
export function pushesRfClear(type: number, vector: number, virtual: CpuState, guest: GuestRegisters): boolean {
  if (type !== EVENT.hardwareException || vector === VECTOR.DF) return true;
  if (vector !== VECTOR.DB || (virtual.get(CELL.dr6) & DR6_BD) !== 0) return false;
  return !guest.requireBreakpoints() || !reportsInstructionBreakpoint(virtual);
}

/**
 * What becomes of exceptions and interrupts: a VM exit, or delivery through the IDT; and, when delivery itself
 * faults, the next exception in its place, a double fault, or shutdown (SDM vol. 3, 6.15 and 26.2).
 */
import type { Environment } from "./environment.ts";
import { CELL, type CpuState, FLAG, INTERRUPT_KIND, NO_ERROR_CODE, OUTCOME, SEG, VECTOR } from "./state.ts";
import { DR6_CONDITIONS } from "./system/breakpoints.ts";
import { combineFaults, type DeliveryEvent, deliver, type EventKind } from "./system/delivery.ts";
import { EVENT } from "./vmx/controls.ts";
import type { VmxEvent } from "./vmx/exits.ts";
import type { Vmx } from "./vmx/vmx.ts";

/** A stop that an event can lead to. */
export type EventStop =
  | { readonly kind: "unmodelled"; readonly detail: string }
  | { readonly kind: "triple-fault"; readonly detail: string };

const EVENT_TYPES: Readonly<Record<EventKind, number>> = {
  external: EVENT.externalInterrupt,
  nmi: EVENT.nmi,
  exception: EVENT.hardwareException,
  software: EVENT.softwareInterrupt,
  "privileged-software": EVENT.privilegedSoftwareException,
  "software-exception": EVENT.softwareException,
};

const KIND_OF_TYPE = new Map(Object.entries(EVENT_TYPES).map(([kind, type]) => [type, kind as EventKind]));

export class EventDelivery {
  /** Delivers what it can as `deliver` does; the engine has one. */
  fast: { deliver(event: DeliveryEvent): boolean } | null = null;
  /** A delivery is under way: what is stored now the hardware stores. */
  delivering = false;
  readonly #state: CpuState;
  readonly #env: Environment;
  readonly #vmx: Vmx | null;
  readonly #enterDomain: () => void;

  constructor(state: CpuState, env: Environment, vmx: Vmx | null, enterDomain: () => void) {
    this.#state = state;
    this.#env = env;
    this.#vmx = vmx;
    this.#enterDomain = enterDomain;
  }

  /** A fault of the instruction at EIP. */
  fault(vector: number, errorCode: number, address: number): EventStop | null {
    // A #DB that is a fault is general detect or an instruction breakpoint; it restarts its instruction with RF = 1.
    const resume = vector === VECTOR.DB;
    return this.#raise({ vector, kind: "exception", errorCode, returnEip: this.#state.eip, resume }, address, 0);
  }

  /** INT n, INT3, INTO, INT1; "delivered" when the handler is entered and the instruction therefore retired. */
  software(kind: number, vector: number, next: number, length: number): EventStop | "delivered" | null {
    const eventKind: EventKind =
      kind === INTERRUPT_KIND.SOFTWARE
        ? "software"
        : kind === INTERRUPT_KIND.PRIVILEGED
          ? "privileged-software"
          : "software-exception";
    // RF has served its instruction, which is complete: the image has it clear (SDM vol. 3, 17.3.1.1).
    this.#state.flags &= ~FLAG.RF;
    const event: DeliveryEvent = { vector, kind: eventKind, errorCode: NO_ERROR_CODE, returnEip: next };
    const exits = this.#vmx?.exits ?? 0;
    const stop = this.#raise(event, 0, length);
    if (stop !== null) return stop;
    return (this.#vmx?.exits ?? 0) === exits ? "delivered" : null;
  }

  /** The trap of single step or a breakpoint: pending conditions become DR6, unless the exit takes them. */
  debugTrap(): EventStop | null {
    const conditions = this.#state.get(CELL.pendingDebug);
    this.#state.set(CELL.pendingDebug, 0);
    return this.#raise(
      { vector: VECTOR.DB, kind: "exception", errorCode: NO_ERROR_CODE, returnEip: this.#state.eip },
      conditions & DR6_CONDITIONS,
      0,
    );
  }

  external(vector: number): EventStop | null {
    return this.#raise({ vector, kind: "external", errorCode: NO_ERROR_CODE, returnEip: this.#state.eip }, 0, 0);
  }

  nmi(): EventStop | null {
    return this.#raise({ vector: VECTOR.NMI, kind: "nmi", errorCode: NO_ERROR_CODE, returnEip: this.#state.eip }, 0, 0);
  }

  /** Delivers what the last VM entry injects (SDM vol. 3, 27.6); injected exceptions do not consult the bitmap. */
  inject(): EventStop | null {
    const vmx = this.#vmx as Vmx;
    const injected = vmx.injection as VmxEvent;
    vmx.injection = null;
    return this.deliverInjected(injected);
  }

  /** Delivers an event that is given as VM entries inject it. */
  deliverInjected(injected: VmxEvent): EventStop | null {
    const event: DeliveryEvent = {
      vector: injected.vector,
      kind: KIND_OF_TYPE.get(injected.type) ?? "external",
      errorCode: injected.errorCode,
      returnEip: (this.#state.eip + injected.instructionLength) | 0,
    };
    return this.#deliver(event, injected.instructionLength);
  }

  /** Offers an exception to the exception bitmap, then delivers it. `detail` is CR2's value, or DR6's conditions. */
  #raise(event: DeliveryEvent, detail: number, length: number): EventStop | null {
    if (this.#exits(event, detail, length)) return null;
    if (event.kind === "exception" && event.vector === VECTOR.PF) this.#state.set(CELL.cr2, detail);
    if (event.kind === "exception" && event.vector === VECTOR.DB) {
      this.#state.set(CELL.dr6, this.#state.get(CELL.dr6) | detail);
    }
    return this.#deliver(event, length);
  }

  /** Whether the exception bitmap takes the event; the exit has then been performed. */
  #exits(event: DeliveryEvent, detail: number, length: number): boolean {
    const vmx = this.#vmx;
    if (vmx === null || vmx.nonRoot === null) return false;
    if (event.kind === "external" || event.kind === "nmi" || event.kind === "software") return false;
    const details =
      event.kind === "exception"
        ? { resume: event.resume === true }
        : { instructionLength: length, softwareKind: EVENT_TYPES[event.kind] };
    return vmx.exitException(event.vector, event.errorCode, detail, details);
  }

  #deliver(first: DeliveryEvent, length: number): EventStop | null {
    const state = this.#state;
    const signal = state.signal;
    const vmx = this.#vmx;
    let event = first;
    for (;;) {
      this.#enterDomain();
      if (vmx !== null && vmx.nonRoot !== null) {
        vmx.setIdtVectoring({
          type: EVENT_TYPES[event.kind],
          vector: event.vector,
          errorCode: event.errorCode,
          instructionLength: isFromInstruction(event.kind) ? length : 0,
        });
      }
      this.delivering = true;
      if (this.fast === null || !this.fast.deliver(event)) deliver(state, this.#env, event);
      this.delivering = false;
      const outcome = signal.outcome;
      signal.outcome = OUTCOME.NONE;
      if (outcome === OUTCOME.NONE) {
        vmx?.setIdtVectoring(null);
        this.#enterDomain();
        return null;
      }
      if (outcome === OUTCOME.EXIT) {
        signal.outcome = OUTCOME.EXIT;
        vmx?.exitInstruction(length);
        return null;
      }
      if (outcome !== OUTCOME.FAULT) return { kind: "unmodelled", detail: signal.detail };

      const second: DeliveryEvent = {
        vector: signal.vector,
        kind: "exception",
        errorCode: signal.errorCode,
        returnEip: state.eip,
      };
      if (this.#exits(second, signal.address, 0)) return null;
      if (second.vector === VECTOR.PF) state.set(CELL.cr2, signal.address);
      const combination = combineFaults(event, second.vector);
      if (combination === "triple") return this.#tripleFault(event, second);
      if (combination === "double") {
        vmx?.setIdtVectoring(null);
        event = { vector: VECTOR.DF, kind: "exception", errorCode: 0, returnEip: state.eip };
        if (this.#exits(event, 0, 0)) return null;
      } else {
        event = second;
      }
    }
  }

  #tripleFault(event: DeliveryEvent, second: DeliveryEvent): EventStop | null {
    const vmx = this.#vmx;
    vmx?.setIdtVectoring(null);
    if (vmx?.exitTripleFault() === true) return null;
    const where = `${hex(this.#state.selector(SEG.cs))}:${hex(this.#state.eip)}`;
    return {
      kind: "triple-fault",
      detail: `exception ${second.vector} while delivering exception ${event.vector} at ${where}`,
    };
  }
}

function isFromInstruction(kind: EventKind): boolean {
  return kind === "software" || kind === "software-exception" || kind === "privileged-software";
}

function hex(value: number): string {
  return value.toString(16).padStart(4, "0");
}

/**
 * One instruction of the guest, executed for it: fetched through the guest's tables, decoded, run by the one interpreter
 * over the virtual processor; what it raises is delivered through the guest's own IDT by the processor's delivery code.
 */
import type { EventStop } from "../../cpu/events.ts";
import type { Lifted } from "../../cpu/lift/lift.ts";
import { ACTIVITY, CELL, OUTCOME, SEG } from "../../cpu/state.ts";
import { beforeInstruction, completeInstruction } from "../emulate.ts";
import type { DeprivilegedParts } from "./parts.ts";

export class Completion {
  readonly #parts: DeprivilegedParts;
  readonly #before = { flags: 0, blocking: 0 };

  constructor(parts: DeprivilegedParts) {
    this.#parts = parts;
  }

  /**
   * The instruction at CS:EIP; its technique-neutral cause, or `otherwise` where it is just an instruction. `decoded`: a
   * translator has decoded it before.
   */
  instruction(otherwise: string, decoded = false): string {
    const { emulator, guestMemory, port } = this.#parts;
    guestMemory.do(decoded ? "decoded" : "decode");
    const lifted = decoded ? port.free(() => emulator.fetch()) : emulator.fetch();
    if (lifted === null) {
      this.#signalled();
      return "instruction-fetch";
    }
    const cause = emulator.cause(lifted) ?? otherwise;
    guestMemory.do("emulate");
    this.run(lifted);
    return cause;
  }

  /** Runs micro-ops as the instruction at EIP. */
  run({ ops, rule }: Pick<Lifted, "ops" | "rule">): void {
    const { virtual, emulator, guestMemory } = this.#parts;
    beforeInstruction(virtual, this.#before);
    emulator.handled++;
    virtual.set(CELL.breakpointsMet, 0);
    emulator.run(ops);
    if (virtual.signal.outcome !== OUTCOME.NONE) {
      this.#signalled();
      return;
    }
    guestMemory.do("complete");
    completeInstruction(virtual, this.#before, rule);
  }

  /** An exception of the instruction at CS:EIP goes to the guest. `detail`: CR2's value for #PF. */
  fault(vector: number, errorCode: number, detail: number): void {
    this.deliver(() => this.#parts.events.fault(vector, errorCode, detail));
  }

  /** Delivers something to the guest. */
  deliver(event: () => EventStop | "delivered" | null): void {
    const { guestMemory, counts, status, virtual } = this.#parts;
    guestMemory.do("deliver");
    counts["events.delivered"] = (counts["events.delivered"] ?? 0) + 1;
    virtual.set(CELL.activity, ACTIVITY.ACTIVE);
    const stop = event();
    if (stop === null || stop === "delivered") return;
    status.end = { ...stop, cs: virtual.selector(SEG.cs), eip: virtual.eip };
  }

  /** Acts on what an instruction left in the signal (cpu/core.ts). */
  #signalled(): void {
    const { virtual, events, status } = this.#parts;
    const { signal } = virtual;
    const outcome = signal.outcome;
    signal.outcome = OUTCOME.NONE;
    virtual.set(CELL.breakpointsMet, 0);
    switch (outcome) {
      case OUTCOME.FAULT:
        this.fault(signal.vector, signal.errorCode, signal.address);
        return;
      case OUTCOME.INTERRUPT: {
        const { interruptKind, vector, length } = signal;
        this.deliver(() => events.software(interruptKind, vector, (virtual.eip + length) | 0, length));
        return;
      }
      case OUTCOME.WAITS:
        return;
      default:
        status.end = {
          kind: "unmodelled",
          detail: signal.detail,
          cs: virtual.selector(SEG.cs),
          eip: virtual.eip,
        };
    }
  }
}

/**
 * Adaptive translation (Adams and Agesen, section 4): an instruction that keeps faulting, because it stores to a traced page or
 * reaches a memory-mapped device, is translated into a call-out, which costs less than the fault, or, if the device is the
 * task-priority register, into an access to the monitor's copy of it. When it has been harmless for a while it becomes itself
 * again. What each instruction has done is kept by its linear address.
 */
import type { Form } from "./translator.ts";

/** What an instruction faulted for. */
export type FaultKind = "pte-trace" | "mmio" | "code-write" | "beyond-limit";

/** Policy: faults after which an instruction is adapted, and harmless executions after which it is not any more. */
const ADAPT_AFTER = 3;
const REVERT_AFTER = 16;

interface Known {
  faults: number;
  /** Null: translated as usual. */
  adapted: FaultKind | null;
  /** The device was the task-priority register, the last time that it faulted. */
  taskPriority: boolean;
  harmless: number;
}

export interface SavedAdaptation {
  readonly known: readonly (readonly [linear: number, known: Known])[];
  readonly counts: Readonly<Record<string, number>>;
}

export class Adaptation {
  readonly #enabled: boolean;
  readonly #known = new Map<number, Known>();
  readonly #counts: Record<string, number> = { "bt.adapted": 0, "bt.reverted": 0 };

  constructor(enabled: boolean) {
    this.#enabled = enabled;
  }

  form(linear: number): Form | undefined {
    const known = this.#known.get(linear);
    if (known === undefined || known.adapted === null) return undefined;
    return known.taskPriority ? "task-priority" : "call-out";
  }

  /** The instruction has faulted; whether it is to be translated anew. */
  faulted(linear: number, kind: FaultKind, taskPriority = false): boolean {
    this.#count(`bt.faults.${kind}`);
    if (!this.#enabled) return false;
    const known = this.#known.get(linear) ?? { faults: 0, adapted: null, taskPriority, harmless: 0 };
    this.#known.set(linear, known);
    known.faults++;
    known.taskPriority = taskPriority;
    if (known.adapted !== null) return true;
    if (known.faults < ADAPT_AFTER) return false;
    known.adapted = kind;
    known.harmless = 0;
    this.#count("bt.adapted");
    return true;
  }

  /** The call-out that stands for the instruction was executed; whether it is to be translated as usual again. */
  executed(linear: number, wouldFault: boolean): boolean {
    const known = this.#known.get(linear);
    if (known === undefined || known.adapted === null) return true;
    if (wouldFault) {
      this.#count(`bt.faults-eliminated.${known.adapted}`);
      known.harmless = 0;
      return false;
    }
    known.harmless++;
    if (known.harmless < REVERT_AFTER) return false;
    this.#known.delete(linear);
    this.#count("bt.reverted");
    return true;
  }

  /** `inCache`: accesses to the task-priority register that needed no monitor. */
  counters(inCache: number): Readonly<Record<string, number>> {
    if (inCache === 0) return this.#counts;
    const called = this.#counts["bt.faults-eliminated.mmio"] ?? 0;
    return { ...this.#counts, "bt.faults-eliminated.mmio": called + inCache };
  }

  save(): SavedAdaptation {
    return { known: [...this.#known].map(([linear, known]) => [linear, { ...known }]), counts: { ...this.#counts } };
  }

  restore(saved: SavedAdaptation): void {
    this.#known.clear();
    for (const [linear, known] of saved.known) this.#known.set(linear, { ...known });
    for (const name of Object.keys(this.#counts)) delete this.#counts[name];
    Object.assign(this.#counts, saved.counts);
  }

  #count(name: string): void {
    this.#counts[name] = (this.#counts[name] ?? 0) + 1;
  }
}

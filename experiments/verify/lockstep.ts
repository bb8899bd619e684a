/**
 * The engine against its reference: one guest on two machines that differ in nothing but whether code is compiled, run
 * to the same boundaries and compared there (compare.ts). The first slice after which they differ is cut in half again
 * and again, both machines beginning where they were last alike, until no boundary is left between the two moments: what
 * is found is the first boundary at which they differ, and the one before it.
 *
 * A machine that is restored begins without compiled code. A difference that needs what was compiled long before may
 * then stay away: what is told is the slice. Slices are short at first, where most code is compiled.
 *
 * What is compiled, and when, does not matter to any of this: tests compile at once (EAGER_POLICY).
 *
 * A boundary is named by the clock. Of instructions that take no time at all only the first is a boundary here.
 */
import { isDeepStrictEqual } from "node:util";
import { TICKS_PER_CYCLE } from "../../sim/clock.ts";
import type { Machine } from "../../sim/machine.ts";
import type { RunEnd } from "../../sim/result.ts";
import { Disassembler, hex, linearEip, modeText, placeText, processorOf, registerLines } from "../inspect.ts";
import { alike, type Difference, differencesOf } from "./compare.ts";

/** Why a run stopped; null when it is only at the moment that was asked for. */
export type PieceEnd = RunEnd | { readonly kind: "quit" } | null;

/** A guest on a machine, with whatever sends it input: a Session, or in tests a machine alone. */
export interface Runnable {
  readonly machine: Machine;
  /** Runs to the first boundary at which the clock has reached `until` (ticks), or to an end. */
  run(until: number): PieceEnd;
  save(): unknown;
  restore(saved: unknown): void;
}

/** Where the two are not alike for the first time. */
export interface Divergence {
  /** Ticks of the clock: at the last boundary at which they are alike, and at the first at which they are not. */
  readonly alike: number;
  readonly apart: number;
  /** False when the difference was gone after both had been restored: the boundaries are the slice's. */
  readonly pinpointed: boolean;
  readonly differences: readonly Difference[];
  /** The whole story, lines of text. */
  readonly report: string;
}

/** How far the two run before they are compared, in cycles: twice as far each time. */
const FIRST_SLICE_CYCLES = 20_000;
const LONGEST_SLICE_CYCLES = 8_000_000;

export class Lockstep {
  readonly #compiled: Runnable;
  readonly #interpreted: Runnable;
  #saved: unknown;
  #at: number;
  #slice = FIRST_SLICE_CYCLES * TICKS_PER_CYCLE;
  /** Comparisons so far. */
  compared = 0;
  /** The first difference; null as long as there is none. */
  divergence: Divergence | null = null;

  /** Two machines in the same state: one with the engine and one without. */
  constructor(compiled: Runnable, interpreted: Runnable) {
    this.#compiled = compiled;
    this.#interpreted = interpreted;
    this.#saved = interpreted.save();
    this.#at = interpreted.machine.ledger.clock.now;
  }

  /** Runs both on, to the first boundary at which the clock has reached `until`, to an end, or to a difference. */
  run(until: number): PieceEnd {
    while (this.divergence === null) {
      const to = Math.min(until, this.#now() + this.#slice);
      const ends = [this.#compiled, this.#interpreted].map((each) => each.run(to)) as [PieceEnd, PieceEnd];
      this.compared++;
      if (!this.#alike(ends)) {
        this.divergence = this.#pinpoint(to, ends);
        return ends[0];
      }
      const [end] = ends;
      const now = this.#now();
      if (end !== null) return end;
      if (now - this.#at >= this.#slice) {
        this.#saved = this.#interpreted.save();
        this.#at = now;
        this.#slice = Math.min(2 * this.#slice, LONGEST_SLICE_CYCLES * TICKS_PER_CYCLE);
      }
      if (now >= until) return null;
    }
    return null;
  }

  #now(): number {
    return this.#interpreted.machine.ledger.clock.now;
  }

  #alike([left, right]: readonly [PieceEnd, PieceEnd]): boolean {
    return isDeepStrictEqual(left, right) && alike(this.#compiled.machine, this.#interpreted.machine);
  }

  /** Both to a moment, from where they were last alike. */
  #again(to: number): [PieceEnd, PieceEnd] {
    this.#compiled.restore(this.#saved);
    this.#interpreted.restore(this.#saved);
    return [this.#compiled.run(to), this.#interpreted.run(to)];
  }

  #pinpoint(to: number, ends: [PieceEnd, PieceEnd]): Divergence {
    const found = this.#describe(ends);
    // Not both need have come so far.
    const clocks = [this.#compiled, this.#interpreted].map(({ machine }) => machine.ledger.clock.now);
    let high = Math.min(to, ...clocks);
    let low = this.#at;
    if (this.#alike(this.#again(high))) {
      // Where one of the two ends early, or a boundary is missed, the difference is behind.
      high = Math.min(to, Math.max(...clocks));
      if (this.#alike(this.#again(high))) return this.#divergence(this.#at, Math.min(to, ...clocks), found, false);
    }
    while (high - low > 1) {
      const middle = low + Math.floor((high - low) / 2);
      if (this.#alike(this.#again(middle))) low = middle;
      else high = middle;
    }
    const last = this.#describe(this.#again(high));
    return this.#divergence(low, high, last, true);
  }

  #describe(ends: readonly [PieceEnd, PieceEnd]): Omit<Divergence, "alike" | "apart" | "pinpointed" | "report"> & {
    readonly places: readonly string[];
  } {
    const [left, right] = ends.map((end) => (end === null ? "runs on" : JSON.stringify(end))) as [string, string];
    const differences = [
      ...(left === right ? [] : [{ name: "end", left, right }]),
      ...differencesOf(this.#compiled.machine, this.#interpreted.machine),
    ];
    const places = [this.#compiled, this.#interpreted].flatMap(({ machine }, n) => [
      `${n === 0 ? "compiled" : "interpreted"}, at cycle ${machine.ledger.clock.now / TICKS_PER_CYCLE}:`,
      ...placeOf(machine).map((line) => `  ${line}`),
    ]);
    return { differences, places };
  }

  #divergence(
    low: number,
    high: number,
    { differences, places }: { readonly differences: readonly Difference[]; readonly places: readonly string[] },
    pinpointed: boolean,
  ): Divergence {
    this.#again(low);
    const before = placeOf(this.#interpreted.machine);
    const how = pinpointed
      ? `the next boundary is the first at which they differ`
      : `at cycle ${high / TICKS_PER_CYCLE} they differed; not so when both are run again from here, so code that was compiled before matters`;
    const report = [
      `Compiled code and the interpreter are alike up to cycle ${this.#now() / TICKS_PER_CYCLE}; ${how}.`,
      ...before.map((line) => `  ${line}`),
      ...places,
      ...tableOf(differences),
    ].join("\n");
    return { alike: low, apart: high, pinpointed, differences, report };
  }
}

/** Where a guest stands: registers and the next instruction. */
function placeOf(machine: Machine): string[] {
  const state = processorOf(machine);
  const disassembler = new Disassembler();
  const next = disassembler.next(machine, state)?.text ?? `(not readable at linear ${hex(linearEip(state))})`;
  disassembler.free();
  return [`at ${placeText(state)}, ${modeText(state)}`, ...registerLines(state), `=> ${hex(state.eip)}  ${next}`];
}

function tableOf(differences: readonly Difference[]): string[] {
  const rows = [{ name: "different", left: "compiled", right: "interpreted" }, ...differences];
  const width = (part: keyof Difference) => Math.max(...rows.map((row) => row[part].length));
  const [name, left] = [width("name"), width("left")];
  return rows.map((row) => `${row.name.padEnd(name)}  ${row.left.padEnd(left)}  ${row.right}`);
}

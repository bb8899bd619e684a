/**
 * What a run of one guest under one technique tells: plain data, JSON-serializable, times in ticks of 1/12 cycle.
 */
import type { AccountTotal } from "./ledger.ts";

/** Why a run ended. Everything but `limit` and `unmodelled` is the guest's own doing. */
export type RunEnd =
  /** The guest wrote its status to the debug-exit port. */
  | { readonly kind: "exit"; readonly status: number }
  /** The guest switched the machine off by ACPI's registers (S5). */
  | { readonly kind: "power-off" }
  | { readonly kind: "triple-fault"; readonly cs: number; readonly eip: number; readonly detail: string }
  /** HLT, and nothing can wake the processor: interrupts are off. Or it is asleep: they are on, but no device has one to
   * come; only input from outside would wake it, and another call goes on. */
  | { readonly kind: "dead-halt"; readonly cs: number; readonly eip: number; readonly asleep?: true }
  /** `maxCycles` was reached. */
  | { readonly kind: "limit"; readonly cs: number; readonly eip: number }
  /** A debugger's breakpoint: the guest is not at its end, another call goes on. */
  | { readonly kind: "breakpoint"; readonly cs: number; readonly eip: number }
  /** The simulator does not model what the guest asked for. */
  | { readonly kind: "unmodelled"; readonly cs: number; readonly eip: number; readonly detail: string };

/** A measured region of guest code between markers (observer.ts). */
export interface RegionMeasure {
  readonly region: number;
  /** Iteration markers seen in the measured region. */
  readonly iterations: number;
  /** Ticks between its begin and end markers. */
  readonly ticks: number;
  readonly baselineIterations: number;
  /** Ticks of the same loop without the operation; 0 when the region has none. */
  readonly baselineTicks: number;
  /** Guest instructions retired in the measured region. */
  readonly instructions: number;
  /** VM exits in the measured region, by cause. */
  readonly exits: Readonly<Record<string, number>>;
  /** VM exits in the baseline region, by cause. */
  readonly baselineExits: Readonly<Record<string, number>>;
  /** TLB misses (instruction and data) that walked, in the measured region and in the baseline. */
  readonly walks: number;
  readonly baselineWalks: number;
}

/** Statistics of VM exits of one (reason, cause). */
export interface ExitStatistics {
  readonly reason: string;
  readonly cause: string;
  readonly count: number;
  /** Hardware ticks: exit and the entry that followed, total. */
  readonly hardwareTicks: number;
  /** Monitor ticks between them: total, least and most; VMREAD and VMWRITE included. */
  readonly monitorTicks: number;
  readonly monitorTicksMin: number;
  readonly monitorTicksMax: number;
}

/** One line of an itemised iteration (`ringlab explain`): a named cost, how often, ticks in all. */
export interface CostItem {
  readonly name: string;
  readonly count: number;
  readonly ticks: number;
}

/** An iteration of a region, itemised. The items sum to `ticks` exactly. */
export interface Explanation {
  readonly region: number;
  readonly iteration: number;
  readonly ticks: number;
  readonly items: readonly CostItem[];
}

/** Counters of a technique in the midst of a run. */
export interface CounterSample {
  /** Ticks of the clock. */
  readonly ticks: number;
  readonly counters: Readonly<Record<string, number>>;
}

export interface RunResult {
  readonly end: RunEnd;
  /** Everything the guest wrote to its serial port. */
  readonly serial: string;
  /** Words that the guest wrote to the digest port. */
  readonly digest: readonly number[];
  readonly ticks: number;
  readonly frequencyMHz: number;
  readonly accounts: readonly AccountTotal[];
  /** Guest instructions retired (user and kernel); those that a monitor emulates in a row count too (guest-emulation.ts). */
  readonly instructions: number;
  readonly exits: readonly ExitStatistics[];
  /** Counters with dotted names: `tlb.data.misses`, `walk.references.pte`, `fault.true`, `fault.hidden`, `shadow.traced-writes`... */
  readonly counters: Readonly<Record<string, number>>;
  readonly regions: readonly RegionMeasure[];
  /** The technique's counters over time, when asked for; the last are those of the end. */
  readonly samples?: readonly CounterSample[];
  /** Present when asked for: one iteration of the measured and of the baseline region. */
  readonly explanation?: { readonly measured: Explanation; readonly baseline: Explanation | null };
  /** Virtual timer ticks that fell due while one was latched. */
  readonly ticksLost: number;
}

/**
 * What every technique is to the machine: it is attached to a guest, runs it until something ends the run, and can
 * hand the guest's whole architectural state over.
 */
import type { Timed } from "../clock.ts";
import type { Bus } from "../cpu/bus.ts";
import type { SavedState } from "../cpu/state.ts";
import type { DmaPort } from "../devices/dma.ts";
import type { LocalApic } from "../devices/lapic.ts";
import type { ExitStatistics, RunEnd } from "../result.ts";

/** The virtual machine's devices, as its monitor has them. */
export interface VirtualBoard extends Bus, Timed {
  readonly apic: Pick<LocalApic, "taskPriority" | "requested">;
}

/** Limits of one call of `run`. */
export interface TechniqueLimits {
  /** Ticks at which to stop. */
  readonly until: number;
  /** Guest instructions to execute at most, those that a monitor emulates included; for tests and single step. */
  readonly instructions?: number;
  /** Linear addresses before whose instructions to stop (RunLimits of cpu/core.ts). */
  readonly breakpoints?: ReadonlySet<number>;
}

/** A guest's architectural state, independent of the technique that runs it. Devices and memory travel beside it. */
export interface GuestCpu {
  /** All cells of the guest's processor as it believes them to be. */
  readonly cpu: SavedState;
}

export interface Technique {
  readonly name: string;
  /** Runs the guest; "limit" may be continued by another call. */
  run(limits: TechniqueLimits): RunEnd;
  /** How the guest's devices reach its memory. */
  readonly dma: DmaPort;
  /** Makes `run` return "limit" at the next instruction boundary; whoever hears the guest's output calls it. */
  pause(): void;
  /** The guest's processor as the guest would see it; runs on first to where no event waits to be injected. */
  exportCpu(): GuestCpu;
  /** The guest's processor as it is now, for debuggers: nothing is run, nothing changes. */
  inspectCpu(): GuestCpu;
  /** Gives cells of the guest's processor other values, between two runs: general registers, EIP, EFLAGS, CR2, DRn, x87. */
  changeCpu(cells: ReadonlyMap<number, number>): void;
  /** Gives the guest this processor state; before the first `run`, or between two. */
  importCpu(guest: GuestCpu): void;
  /** Reads and writes guest-physical memory for loaders and migration; free of charge. */
  readGuest(address: number, bytes: Uint8Array): void;
  writeGuest(address: number, bytes: Uint8Array): void;
  /**
   * A reset of the guest's processor: at the next instruction boundary, `atBoundary` is called and gives its state. A
   * device may call this in the middle of an instruction.
   */
  reset(atBoundary: () => GuestCpu): void;
  /** The guest's gate A20 has opened or closed: address line 20 follows at once. */
  gateA20(open: boolean): void;
  exits(): readonly ExitStatistics[];
  counters(): Readonly<Record<string, number>>;
  save(): unknown;
  restore(saved: unknown): void;
}

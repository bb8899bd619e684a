/** What the command line touches of the world outside, so that tests can stand in for it. */
import type { Executor } from "../experiments/pool.ts";
import type { StopSignal } from "./exit-codes.ts";

export interface Environment {
  /** Data: tables, serial output, documents. */
  out(text: string): void;
  /** Everything else: progress, problems. */
  err(text: string): void;
  /** Whether `err` is a terminal, where a line can be drawn over. */
  readonly isTerminal: boolean;
  /** Folder of runs and of the store of points. */
  readonly runs: string;
  /** Who runs points, with so many workers (all processors when nothing is said). */
  executor(workers: number | undefined): Promise<Executor>;
  /** Fingerprint of the simulator's code. */
  code(): Promise<string>;
  /** Calls `stop` at the first signal that asks to end; returns how to stop listening. */
  onStop(stop: (signal: StopSignal) => void): () => void;
}

/** Stopped by a signal; `told` is the line that says what was kept. */
export class Stopped extends Error {
  override readonly name = "Stopped";
  readonly signal: StopSignal;

  constructor(signal: StopSignal, told: string) {
    super(told);
    this.signal = signal;
  }
}

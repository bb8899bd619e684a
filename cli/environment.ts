/** What the command line touches of the world outside, so that tests can stand in for it. */
import type { Point } from "../experiments/point.ts";
import type { Executor } from "../experiments/pool.ts";
import type { Session } from "../experiments/session.ts";
import type { SimulationRequest } from "../experiments/simulate.ts";
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
  /** A guest that runs in this thread, piece by piece. */
  session(point: Point, request: SimulationRequest): Promise<Session>;
  readonly console: Console;
  /** Fingerprint of the simulator's code. */
  code(): Promise<string>;
  /** Calls `stop` at the first signal that asks to end; returns how to stop listening. */
  onStop(stop: (signal: StopSignal) => void): () => void;
}

/** Where the guest's serial console is. */
export interface Console {
  /** Standard input and output are a terminal: someone watches. */
  readonly interactive: boolean;
  /** Hears what is typed, byte by byte and unseen by the terminal; returns how to end that. */
  listen(heard: (bytes: Uint8Array) => void): () => void;
  /** All of standard input. */
  readAll(): Promise<Uint8Array>;
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

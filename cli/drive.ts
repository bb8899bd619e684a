/**
 * Driving a session: slices of the run with a turn of the event loop between them, so that signals, terminals and
 * sockets are heard. How long a slice is depends on this host's speed and changes nothing of the run.
 */
import type { Session } from "../experiments/session.ts";
import { TICKS_PER_CYCLE } from "../sim/clock.ts";
import type { RunEnd } from "../sim/result.ts";

/** What a drive may be interrupted by, and what it looks after between slices. */
export interface Driver {
  /** Runs to a moment of the clock at the latest; "waits" when nothing runs until someone says so. The session's by default. */
  readonly run?: (until: number) => RunEnd | { readonly kind: "quit" } | null | "waits";
  /** After each slice. Returning true ends the drive. */
  readonly between: () => boolean;
  /** Simulated time waits for real time, and a sleeping guest for input, for someone who watches. */
  readonly paced: boolean;
}

const FIRST_SLICE_TICKS = 1_000_000 * TICKS_PER_CYCLE;
const LEAST_SLICE_TICKS = 20_000 * TICKS_PER_CYCLE;
/** A slice should take so long on this host, in milliseconds. */
const SLICE_MS = { least: 10, most: 30 } as const;
/** A paced slice is no longer than this in simulated time, in seconds. */
const PACED_SECONDS = 0.02;

/** Runs to the end, or until `between` has had enough (null). */
export async function drive(session: Session, driver: Driver): Promise<RunEnd | { kind: "quit" } | null> {
  const { between, paced, run = (until) => session.run({ until }) } = driver;
  const ticksPerMs = session.machine.ledger.clock.ticksPerSecond / 1000;
  const most = paced ? PACED_SECONDS * 1000 * ticksPerMs : Number.POSITIVE_INFINITY;
  let slice = FIRST_SLICE_TICKS;
  for (;;) {
    const began = performance.now();
    const from = session.now;
    const end = run(from + Math.min(slice, most));
    const took = performance.now() - began;
    if (between()) return null;
    if (end === "waits") {
      await turn(WAITING_MS);
      continue;
    }
    if (end !== null && !(paced && end.kind === "dead-halt" && end.asleep === true)) return end;
    if (end !== null) {
      await turn(WAITING_MS);
      continue;
    }
    if (took < SLICE_MS.least) slice *= 2;
    else if (took > SLICE_MS.most) slice = Math.max(LEAST_SLICE_TICKS, slice / 2);
    const ahead = paced ? (session.now - from) / ticksPerMs - took : 0;
    await turn(ahead);
  }
}

/** How often a guest that only input or a debugger can move is looked at, in milliseconds. */
const WAITING_MS = 4;

/** A turn of the event loop, `ms` milliseconds long at least. */
export function turn(ms = 0): Promise<void> {
  return new Promise((resolve) => {
    if (ms > 1) setTimeout(resolve, ms);
    else setImmediate(resolve);
  });
}

/**
 * Simulated time. One integer clock counts ticks of 1/12 processor cycle, so that halves, thirds, quarters and
 * sixths of a cycle are exact. It is an integer-valued f64 in the machine's shared memory, so that compiled code
 * can advance it; it stays exact up to 2^53 ticks (over 54 hours at 3.8 GHz).
 *
 * Nothing reads a wall clock. What falls due is asked of `Timed` devices, in the order in which they were added.
 */

/** Ticks in one processor cycle. */
export const TICKS_PER_CYCLE = 12;

/** A device that has something due at a moment of the clock. */
export interface Timed {
  /** Absolute time in ticks of the next event; `Infinity` when none. */
  nextDeadline(): number;
  /** Called when `now >= nextDeadline()`; must move its own deadline past `now`. */
  due(now: number): void;
}

/** A set of devices that share a deadline: the machine's own, or those of one virtual machine. */
export class Alarms {
  readonly #sources: Timed[] = [];

  add(source: Timed): void {
    this.#sources.push(source);
  }

  /** The earliest deadline in ticks, `Infinity` when nothing is scheduled. */
  earliest(): number {
    let earliest = Number.POSITIVE_INFINITY;
    for (const source of this.#sources) earliest = Math.min(earliest, source.nextDeadline());
    return earliest;
  }

  /** Lets every source that is due act, in order of deadline, ties in order of addition. */
  fire(now: number): void {
    for (;;) {
      let first: Timed | undefined;
      let deadline = Number.POSITIVE_INFINITY;
      for (const source of this.#sources) {
        const at = source.nextDeadline();
        if (at < deadline) {
          deadline = at;
          first = source;
        }
      }
      if (first === undefined || deadline > now) return;
      first.due(now);
    }
  }
}

/** Cells of the time area; accounts follow (ledger.ts). */
export const NOW_CELL = 0;
export const DEADLINE_CELL = 1;

export class Clock {
  /** The shared time area: `[now, deadline, reserved..., accounts...]`. */
  readonly cells: Float64Array;
  readonly frequencyMHz: number;

  constructor(cells: Float64Array, frequencyMHz: number) {
    this.cells = cells;
    this.frequencyMHz = frequencyMHz;
    cells[DEADLINE_CELL] = Number.POSITIVE_INFINITY;
  }

  /** Ticks since reset. */
  get now(): number {
    return this.cells[NOW_CELL] as number;
  }

  /** Time-stamp counter: whole cycles since reset. */
  get timestamp(): number {
    return Math.floor(this.now / TICKS_PER_CYCLE);
  }

  /** The core leaves straight-line execution at the first instruction boundary at which `now` has reached this. */
  get deadline(): number {
    return this.cells[DEADLINE_CELL] as number;
  }

  set deadline(ticks: number) {
    this.cells[DEADLINE_CELL] = ticks;
  }

  /** Ticks in one second; exact, because profiles give whole MHz. */
  get ticksPerSecond(): number {
    return this.frequencyMHz * 1_000_000 * TICKS_PER_CYCLE;
  }
}

/** Converts a duration that the profile gives in cycles; only multiples of 1/12 cycle are exact and allowed. */
export function cyclesToTicks(cycles: number): number {
  const ticks = cycles * TICKS_PER_CYCLE;
  const rounded = Math.round(ticks);
  if (Math.abs(ticks - rounded) > 1e-6) throw new Error(`${cycles} cycles is not a multiple of 1/12 cycle`);
  return rounded;
}

/** Converts bus, chipset and DRAM time of the board file to ticks of a processor, rounded to the nearest tick. */
export function nanosecondsToTicks(nanoseconds: number, frequencyMHz: number): number {
  return Math.round((nanoseconds * frequencyMHz * TICKS_PER_CYCLE) / 1000);
}

/**
 * Which instructions make walks. Compiled code that finds no translation in the fast table leaves its region, and the
 * interpreter goes on: that costs more than a walk in compiled code, and much less where it hardly ever happens, because a
 * call in a loop, even one that is never made, takes registers from everything around it, and the host's compiler's time.
 * So an instruction makes walks in compiled code once it keeps missing, and the regions in which it does not are compiled
 * again; and so does everything that is compiled while there are many misses.
 */

/** When an instruction begins to make walks: after so many periods in each of which it has missed so often. */
export interface MissPolicy {
  readonly periods: number;
  readonly misses: number;
  /** Length of a period, in ticks. */
  readonly period: number;
  /** Misses of all instructions in such a time after which whatever is compiled makes walks. */
  readonly busy: number;
}

/** Periods without a miss after which those before count no more. */
const FORGOTTEN_AFTER = 16;
/** Instructions that are remembered at the most. */
const REMEMBERED = 1 << 14;
/** How often a region is compiled again before everything in it makes walks. */
const MOST_TIMES = 4;

export class Misses {
  readonly #policy: MissPolicy;
  /** By physical address of an instruction: its misses in the latest period in which it had any, and periods with many. */
  readonly #counts = new Map<number, { period: number; misses: number; bad: number }>();
  readonly #walking = new Set<number>();
  /** By physical address of a region's entry: how often it has been compiled again; where anchors are apart. */
  readonly #times = new Map<number, number>();
  readonly #apart = new Set<number>();
  /** Misses of all instructions at a time in ticks, and whether they were many then. */
  #total = 0;
  #since = 0;
  #busy = false;

  constructor(policy: MissPolicy) {
    this.#policy = policy;
  }

  /** Before something is compiled: how many misses there have been, at a time in ticks. */
  look(total: number, now: number): void {
    const { busy, period } = this.#policy;
    if (now - this.#since < period / 10) return;
    this.#busy = total - this.#total > (busy * (now - this.#since)) / period;
    this.#total = total;
    this.#since = now;
  }

  /** Whether the instruction at a physical address makes walks in the region that is entered at another. */
  walks(entry: number, instruction: number): boolean {
    return this.#busy || this.#walking.has(instruction) || (this.#times.get(entry) ?? 0) > MOST_TIMES;
  }

  /** Whether the bytes of anchors of the region that is entered at a physical address have been found in two pages. */
  apart(entry: number): boolean {
    return this.#apart.has(entry);
  }

  /**
   * Counts a miss of the instruction at a physical address in the region that is entered at another, at a time in ticks;
   * `apart`: of bytes of an anchor in two pages. Whether that region must be compiled again.
   */
  missed(entry: number, instruction: number, apart: boolean, now: number): boolean {
    const known = !apart && this.#walking.has(instruction);
    if (!known && !this.#isBad(instruction, now)) return false;
    const kept = apart ? this.#apart : this.#walking;
    if (kept.size >= REMEMBERED) kept.clear();
    kept.add(apart ? entry : instruction);
    if (this.#times.size >= REMEMBERED) this.#times.clear();
    this.#times.set(entry, (this.#times.get(entry) ?? 0) + 1);
    return true;
  }

  #isBad(instruction: number, now: number): boolean {
    const { periods, misses, period } = this.#policy;
    const present = Math.floor(now / period);
    let count = this.#counts.get(instruction);
    if (count === undefined) {
      if (this.#counts.size >= REMEMBERED) this.#counts.clear();
      count = { period: present, misses: 0, bad: 0 };
      this.#counts.set(instruction, count);
    } else if (count.period !== present) {
      if (present - count.period > FORGOTTEN_AFTER) count.bad = 0;
      count.period = present;
      count.misses = 0;
    }
    if (++count.misses === misses) count.bad++;
    if (count.bad < periods) return false;
    this.#counts.delete(instruction);
    return true;
  }
}

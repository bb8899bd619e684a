/**
 * Counters over the time of a run, at equal distances and at most so many: when there is no more room every other sample
 * goes and the distance doubles. So nobody has to know how long a guest will run, and the samples depend on the run alone.
 */
import { TICKS_PER_CYCLE } from "../sim/clock.ts";
import type { CounterSample } from "../sim/result.ts";

/** Distance of the first samples in ticks. */
const FIRST_PERIOD = 10_000 * TICKS_PER_CYCLE;

export class Samples {
  readonly #most: number;
  #period = FIRST_PERIOD;
  #samples: CounterSample[] = [];

  /** `most`: samples to keep, an even number. */
  constructor(most: number) {
    this.#most = most;
  }

  /** When the next sample is due, in ticks; nothing is due without room. */
  get due(): number {
    return this.#most === 0 ? Number.POSITIVE_INFINITY : this.#samples.length * this.#period;
  }

  /** Takes the sample that is due at or before `now`. */
  take(now: number, counters: () => Readonly<Record<string, number>>): void {
    if (now < this.due) return;
    this.#samples.push({ ticks: now, counters: counters() });
    if (this.#samples.length < this.#most) return;
    this.#samples = this.#samples.filter((_, index) => index % 2 === 0);
    this.#period *= 2;
  }

  /** All samples, with the counters at the end of the run as the last one. */
  ending(now: number, counters: Readonly<Record<string, number>>): readonly CounterSample[] {
    return [...this.#samples.filter(({ ticks }) => ticks < now), { ticks: now, counters }];
  }
}

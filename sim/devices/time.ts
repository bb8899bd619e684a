/**
 * A device's view of time. Devices never multiply the clock by a frequency: a crystal's pulses are related to
 * ticks by a reduced fraction of integers, and both directions are computed exactly from the quotient and the
 * remainder, so that nothing drifts however long the machine runs.
 */
import { TICKS_PER_CYCLE } from "../clock.ts";

/** The time base of a board: the machine's clock, or a virtual machine's view of it (with an offset). */
export interface TimeBase {
  /** Ticks since this board's power-on; a non-negative integer that never goes back. */
  now(): number;
  /** Ticks in one second of this time base; a positive integer. */
  readonly ticksPerSecond: number;
}

/** A frequency of `numerator / denominator` Hz; both positive integers. */
export interface Frequency {
  readonly numerator: number;
  readonly denominator: number;
}

/** Time bases count ticks of 1/12 cycle: this many in a second of a processor of so many MHz. */
export function ticksPerSecondOf(frequencyMHz: number): number {
  return frequencyMHz * 1_000_000 * TICKS_PER_CYCLE;
}

function greatestCommonDivisor(a: number, b: number): number {
  while (b !== 0) [a, b] = [b, a % b];
  return a;
}

/** The pulses of a crystal, counted from tick 0. Pulse n (from 1) happens at the first tick at or after its time. */
export class PulseClock {
  /** Pulses in `#ticks` ticks: the reduced ratio of the two frequencies. */
  readonly #pulses: number;
  readonly #ticks: number;

  constructor(frequency: Frequency, ticksPerSecond: number) {
    const { numerator, denominator } = frequency;
    const first = greatestCommonDivisor(numerator, denominator);
    const second = greatestCommonDivisor(numerator / first, ticksPerSecond);
    this.#pulses = numerator / first / second;
    this.#ticks = (denominator / first) * (ticksPerSecond / second);
    if (!Number.isSafeInteger(this.#pulses) || !Number.isSafeInteger(this.#pulses * this.#ticks)) {
      throw new Error(`${numerator}/${denominator} Hz against ${ticksPerSecond} ticks/s cannot be counted exactly`);
    }
  }

  /** How many pulses have happened up to and including `ticks`. Exact for every safe integer. */
  pulsesAt(ticks: number): number {
    const rest = ticks % this.#ticks;
    return ((ticks - rest) / this.#ticks) * this.#pulses + Math.floor((rest * this.#pulses) / this.#ticks);
  }

  /** The first tick at which `pulses` pulses have happened; `Infinity` for `Infinity`. */
  ticksOf(pulses: number): number {
    if (pulses === Number.POSITIVE_INFINITY) return pulses;
    const rest = pulses % this.#pulses;
    return ((pulses - rest) / this.#pulses) * this.#ticks + Math.ceil((rest * this.#ticks) / this.#pulses);
  }
}

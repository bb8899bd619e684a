import type { TimeBase } from "../../sim/devices/time.ts";

/** A time base that a test moves by hand. */
export class ManualTime implements TimeBase {
  ticks = 0;
  readonly ticksPerSecond: number;

  constructor(ticksPerSecond = 3_800_000_000 * 12) {
    this.ticksPerSecond = ticksPerSecond;
  }

  now(): number {
    return this.ticks;
  }
}

/** A small deterministic generator for walks through states; the tests name their seeds. */
export function sequence(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

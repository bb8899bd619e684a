/**
 * How profiles write down where a value comes from. Row ids are those of results/published/*.csv; a test checks that
 * each exists and that the value is the row's.
 */
import type { Sourced } from "./profile.ts";

type Unit = Sourced["unit"];

/** The value of a published row as it is printed there. */
export function published(value: number, row: string, note?: string, unit: Unit = "cycles"): Sourced {
  return { value, unit, mark: "published", source: `${row} (exact)${note === undefined ? "" : `: ${note}`}` };
}

/** A published row whose value is no multiple of 1/12 cycle: `printed` rounded to the nearest one. */
export function publishedRounded(printed: number, row: string, note?: string): Sourced {
  const source = `${row} (nearest 1/12 of ${printed})${note === undefined ? "" : `: ${note}`}`;
  return { value: nearestTwelfth(printed), unit: "cycles", mark: "published", source };
}

/** A value that no publication gives, with the reasoning that leads to it. */
export function derived(value: number, reasoning: string, unit: Unit = "cycles"): Sourced {
  return { value, unit, mark: "derived", source: reasoning };
}

/** A value fitted to one published cell. */
export function calibrated(value: number, cell: string, reasoning: string, unit: Unit): Sourced {
  return { value, unit, mark: "calibrated", source: reasoning, cell };
}

/** The multiple of 1/12 that is nearest to `cycles`: what the clock can count. */
export function nearestTwelfth(cycles: number): number {
  return Math.round(cycles * 12) / 12;
}

/** What differs between two runs: means of the same quantity of the same point, and what only one of them has. */
import { keyCells } from "./csv/columns.ts";
import type { Summary } from "./csv/summary.ts";
import { exactly } from "./numbers.ts";
import type { Results } from "./results-folder.ts";
import { combinationLabel } from "./techniques.ts";

export interface Difference {
  /** `in, pentium4-672, vtx+shadow: cost`. */
  readonly what: string;
  readonly unit: string;
  readonly before: number;
  readonly after: number;
}

export interface Comparison {
  /** Measurements that both runs have. */
  readonly compared: number;
  readonly differences: readonly Difference[];
  /** Points and regions that one of them has alone: `in, pentium4-672, native`. */
  readonly onlyInFirst: readonly string[];
  readonly onlyInSecond: readonly string[];
}

/** Compares two runs. Means may differ by `tolerance` percent. */
export function compare(a: Results, b: Results, tolerance: number): Comparison {
  const before = indexed(a.summary);
  const after = indexed(b.summary);
  const differences: Difference[] = [];
  let compared = 0;
  for (const [name, row] of before) {
    const other = after.get(name);
    if (other === undefined) continue;
    compared++;
    if (near(row.mean, other.mean, tolerance)) continue;
    const quantity = [row.quantity, row.detail].filter((each) => each !== "").join(" ");
    differences.push({ what: `${placeOf(row)}: ${quantity}`, unit: row.unit, before: row.mean, after: other.mean });
  }
  return { compared, differences, onlyInFirst: missing(before, after), onlyInSecond: missing(after, before) };
}

/** What has rows in `one` that `other` has not. */
function missing(one: ReadonlyMap<string, Summary>, other: ReadonlyMap<string, Summary>): readonly string[] {
  return [...new Set([...one].flatMap(([name, row]) => (other.has(name) ? [] : [placeOf(row)])))];
}

/** Whether two runs are the same within the tolerance of their comparison. */
export function isSame({ differences, onlyInFirst, onlyInSecond }: Comparison): boolean {
  return differences.length + onlyInFirst.length + onlyInSecond.length === 0;
}

/** A comparison as text, a difference a line. */
export function renderComparison({ differences, onlyInFirst, onlyInSecond }: Comparison): string {
  const changes = differences.map(({ what, unit, before, after }) => {
    const change = before === 0 ? "" : ` (${after > before ? "+" : ""}${((after / before - 1) * 100).toFixed(2)} %)`;
    return `${what}: ${exactly(before, 6)} -> ${exactly(after, 6)} ${unit}${change}`;
  });
  const lines = [
    ...changes,
    ...onlyInFirst.map((place) => `only in the first: ${place}`),
    ...onlyInSecond.map((place) => `only in the second: ${place}`),
  ];
  return lines.map((line) => `${line}\n`).join("");
}

/** Rows by what they measure. Overrides are no part of it: comparing a run with and without them is the use of diff. */
function indexed(summary: readonly Summary[]): ReadonlyMap<string, Summary> {
  return new Map(
    summary.map((row) => {
      const key = keyCells({ ...row.key, overrides: "" });
      return [JSON.stringify([...key, row.region, row.quantity, row.detail]), row];
    }),
  );
}

function placeOf({ key, regionName }: Summary): string {
  const workload = [key.workload, key.parameters].filter((each) => each !== "").join(" ");
  const of = regionName === key.workload ? workload : `${workload} ${regionName}`;
  return `${of}, ${key.profile}, ${combinationLabel(key)}`;
}

function near(a: number, b: number, tolerance: number): boolean {
  return a === b || Math.abs(a - b) <= (tolerance / 100) * Math.max(Math.abs(a), Math.abs(b));
}

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
  /** Absent where only the other run has it. */
  readonly before?: number;
  readonly after?: number;
}

/** Differences beyond `tolerance` percent, in the order of the first run, then what only the second has. */
export function differences(a: Results, b: Results, tolerance: number): readonly Difference[] {
  const before = indexed(a.summary);
  const after = indexed(b.summary);
  const found: Difference[] = [];
  for (const [name, row] of before) {
    const other = after.get(name);
    if (other === undefined) found.push({ what: nameOf(row), unit: row.unit, before: row.mean });
    else if (!near(row.mean, other.mean, tolerance)) {
      found.push({ what: nameOf(row), unit: row.unit, before: row.mean, after: other.mean });
    }
  }
  for (const [name, row] of after) {
    if (!before.has(name)) found.push({ what: nameOf(row), unit: row.unit, after: row.mean });
  }
  return found;
}

/** Differences as text, one a line; at most `most` of them. */
export function renderDifferences(found: readonly Difference[], most = 200): string {
  const lines = found.slice(0, most).map(({ what, unit, before, after }) => {
    if (before === undefined) return `only in the second: ${what}`;
    if (after === undefined) return `only in the first: ${what}`;
    const change = before === 0 ? "" : ` (${after > before ? "+" : ""}${((after / before - 1) * 100).toFixed(2)} %)`;
    return `${what}: ${exactly(before, 6)} -> ${exactly(after, 6)} ${unit}${change}`;
  });
  if (found.length > most) lines.push(`... and ${found.length - most} more`);
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

function nameOf({ key, regionName, quantity, detail }: Summary): string {
  const workload = [key.workload, key.parameters].filter((each) => each !== "").join(" ");
  const of = regionName === key.workload ? workload : `${workload} ${regionName}`;
  return `${of}, ${key.profile}, ${combinationLabel(key)}: ${[quantity, detail].filter((each) => each !== "").join(" ")}`;
}

function near(a: number, b: number, tolerance: number): boolean {
  return a === b || Math.abs(a - b) <= (tolerance / 100) * Math.max(Math.abs(a), Math.abs(b));
}

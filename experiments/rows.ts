/**
 * Rows: what a guest prints as `row: NAME: TEXT`, compared across techniques. A suite that says `rows` is about the
 * guest's own output, not about cycles: each row is the same as under the suite's first technique, or differs. The
 * output of a run that failed counts as far as it came.
 */
import { KEY_COLUMNS, type Key, keyCells, keyOf } from "./csv/columns.ts";
import type { CsvTable, NamedResult } from "./csv/tables.ts";
import type { SuiteRow } from "./suite-schema.ts";

/** `baseline`: of the technique that the others are compared with; `no baseline`: that one did not print the row. */
export type Verdict = "baseline" | "same" | "differs" | "not printed" | "no baseline";

/** One row of one run. */
export interface RowResult {
  readonly key: Key;
  readonly repetition: number;
  readonly row: string;
  /** Empty where it was not printed. */
  readonly printed: string;
  readonly verdict: Verdict;
}

/** The rows of a serial output, by name; of a name that is printed twice the last one. */
export function printedRows(serial: string): ReadonlyMap<string, string> {
  const lines = serial.matchAll(/^row: ([^\s:]+): (.*?)\r?$/gm);
  return new Map([...lines].map((match) => [match[1] as string, match[2] as string]));
}

/**
 * The suite's rows in all runs, each compared with what `baseline`, a technique with its memory model, printed on the same processor
 * for the same guest in the same repetition.
 */
export function compareRows(
  rows: readonly SuiteRow[],
  baseline: string,
  labelOf: (key: Key) => string,
  results: readonly NamedResult[],
): RowResult[] {
  const guestOf = (key: Key, repetition: number) =>
    JSON.stringify([key.profile, key.workload, key.parameters, key.overrides, repetition]);
  const runs = results.map(({ point, result }) => {
    const key = keyOf(point);
    const { repetition } = point;
    return { key, repetition, guest: guestOf(key, repetition), printed: printedRows(result.serial) };
  });
  const baselines = new Map(
    runs.filter(({ key }) => labelOf(key) === baseline).map(({ guest, printed }) => [guest, printed]),
  );
  return runs.flatMap(({ key, repetition, guest, printed }) =>
    rows.map(({ row }) => {
      const text = printed.get(row);
      const expected = baselines.get(guest)?.get(row);
      const compared = expected === undefined ? "no baseline" : text === expected ? "same" : "differs";
      const told = labelOf(key) === baseline ? "baseline" : compared;
      return { key, repetition, row, printed: text ?? "", verdict: text === undefined ? "not printed" : told };
    }),
  );
}

export function rowsTable(rows: readonly RowResult[]): CsvTable {
  return {
    columns: [...KEY_COLUMNS, "repetition", "row", "printed", "verdict"],
    rows: rows.map(({ key, repetition, row, printed, verdict }) => [
      ...keyCells(key),
      ...[repetition, row, printed, verdict],
    ]),
  };
}

/** The table of a suite's rows: what the guest printed under its first technique, and whether the others made it print the same. */
import type { Results } from "./results-folder.ts";
import type { Verdict } from "./rows.ts";
import { type Combination, combinationLabel } from "./techniques.ts";

/** A cell: the baseline's text, `same`, or `differs: ` and the text. */
function cellText(verdict: Verdict | undefined, printed: string): string {
  switch (verdict) {
    case undefined:
      return "–";
    case "baseline":
      return printed;
    case "differs":
      return `differs: ${printed}`;
    case "no baseline":
      return `alone: ${printed}`;
    default:
      return verdict;
  }
}

/** The lines of one processor's table; left-aligned, reasons last. */
export function rowsBlock(results: Results, profile: string): string[] {
  const { techniques, rows = [] } = results.run.suite;
  const of = new Map(
    results.rows
      .filter(({ key, repetition }) => key.profile === profile && repetition === 0)
      .map((each) => [`${combinationLabel(each.key)} ${each.row}`, each]),
  );
  const found = (combination: Combination, row: string) => of.get(`${combinationLabel(combination)} ${row}`);
  const reasonsOf = ({ row, same = {}, differs = {} }: (typeof rows)[number]) => {
    const reasons = new Map<string, string[]>();
    for (const each of techniques) {
      const verdict = found(each, row)?.verdict;
      const given = verdict === "same" ? same : verdict === "differs" ? differs : {};
      const reason = given[each.technique];
      if (reason !== undefined) reasons.set(reason, [...(reasons.get(reason) ?? []), each.technique]);
    }
    return [...reasons].map(([reason, names]) => `${names.join(", ")}: ${reason}`).join("; ");
  };
  const header = ["", "CPL", "scenario", ...techniques.map(combinationLabel), "why"];
  const cells = rows.map((each) => [
    each.instruction,
    each.cpl === undefined ? "" : String(each.cpl),
    each.scenario,
    ...techniques.map((combination) => {
      const cell = found(combination, each.row);
      return cellText(cell?.verdict, cell?.printed ?? "");
    }),
    reasonsOf(each),
  ]);
  const lines = cells.every((line) => line.at(-1) === "")
    ? [header, ...cells].map((line) => line.slice(0, -1))
    : [header, ...cells];
  const widths = header.map((_, index) => Math.max(...lines.map((line) => (line[index] ?? "").length)));
  return lines.map((line) =>
    line
      .map((cell, index) => cell.padEnd(widths[index] as number))
      .join("   ")
      .trimEnd(),
  );
}

/** How many rows of each technique are the same and how many differ, a line each. */
export function rowsTally(results: Results, profile: string): string[] {
  return results.run.suite.techniques.slice(1).flatMap((combination) => {
    const of = results.rows.filter(
      ({ key, repetition }) =>
        key.profile === profile && repetition === 0 && combinationLabel(key) === combinationLabel(combination),
    );
    if (of.length === 0) return [];
    const count = (verdict: Verdict) => of.filter((each) => each.verdict === verdict).length;
    const missing = count("not printed");
    const rest = missing === 0 ? "" : `, ${missing} were not printed`;
    return [
      `${combinationLabel(combination)}: ${count("same")} of ${of.length} rows are the same, ${count("differs")} differ${rest}.`,
    ];
  });
}

/**
 * The table of a run: what one iteration costs in cycles, a block per processor, a column per technique, published
 * values beside ours; or, of a suite with rows, what the guest printed (rows-table.ts). Plain text that lines up in a terminal.
 */
import { PROFILES } from "../sim/cpu/profiles/catalogue.ts";
import { type Cell, type CellRow, cellOf, exitsOf, rowsOf } from "./cells.ts";
import { grouped, ratio, readable } from "./numbers.ts";
import { type Published, readPublished, type Standing } from "./published.ts";
import type { Results } from "./results-folder.ts";
import { rowsBlock, rowsTally } from "./rows-table.ts";
import { besideEachOther, combinationLabel } from "./techniques.ts";

const NONE = "–";
const FAILS = "fails";
const MARKS: Readonly<Record<Standing, string>> = { input: "i", calibrated: "c", predicted: "p" };

interface Column {
  readonly heading: string;
  readonly cells: readonly string[];
}

/** The whole table, ending in a line feed. */
export function renderTable(results: Results, published: Published = readPublished()): string {
  const { suite, overrides } = results.run;
  const lines = [suite.title, ""];
  if (overrides !== "") lines.push(`NOT THE PROFILES AS PUBLISHED: set ${overrides}`, "");
  lines.push(...(suite.rows === undefined ? costLines(results, published) : rowLines(results)));
  lines.push(...(suite.notes ?? []));
  return `${lines.join("\n")}\n`;
}

function rowLines(results: Results): string[] {
  return results.run.suite.profiles.flatMap((profile) => {
    const block = [headingOf(profile), "", ...rowsBlock(results, profile), ""];
    const tally = rowsTally(results, profile);
    return tally.length === 0 ? block : [...block, ...tally, ""];
  });
}

function costLines(results: Results, published: Published): string[] {
  const rows = rowsOf(results);
  const { suite } = results.run;
  const lines: string[] = [];
  const footnotes = new Map<string, string>();
  const standings = new Set<Standing>();
  for (const profile of suite.profiles) {
    const columns = columnsOf(results, published, profile, rows, footnotes, standings);
    lines.push(headingOf(profile), "", ...layOut(rows, columns), "");
  }
  lines.push(
    `Cycles and VM exits per iteration: measured loop less baseline loop${repetitionsNote(suite.repetitions)}.`,
  );
  if (standings.size > 0) lines.push(...legend(standings));
  for (const [text, mark] of footnotes) lines.push(`${mark}  ${text}`);
  for (const { name, fails = {} } of suite.workloads) {
    const those = suite.techniques.filter(({ technique }) => fails[technique] !== undefined);
    for (const each of those) lines.push(`${FAILS}  ${name}, ${combinationLabel(each)}: ${fails[each.technique]}`);
  }
  return lines;
}

function headingOf(profile: string): string {
  const known = PROFILES.find((each) => each.name === profile);
  return known === undefined ? profile : `${known.title} (${profile})`;
}

function repetitionsNote(repetitions: number): string {
  return repetitions === 1 ? "" : `, mean of ${repetitions} repetitions (intervals in summary.csv)`;
}

function legend(standings: ReadonlySet<Standing>): string[] {
  const meaning: Readonly<Record<Standing, string>> = {
    input: "i  published and an input of the model",
    calibrated: "c  published, and one software number of the model is fitted to it",
    predicted: "p  published; ours is a prediction",
  };
  const told = (Object.keys(meaning) as Standing[]).filter((standing) => standings.has(standing));
  return [
    "Published values are of a 64-bit guest, ours is 32-bit (docs/VALIDATION.md).",
    ...told.map((each) => meaning[each]),
  ];
}

/** More techniques beside the first one than these have no column for the ratio to it: lines would be too long. */
const MOST_WITH_QUOTIENTS = 2;

/**
 * A column per technique, with the published one and the ratio to it where there is any; of all but the first one the ratio
 * to that and the VM exits.
 */
function columnsOf(
  results: Results,
  published: Published,
  profile: string,
  rows: readonly CellRow[],
  footnotes: Map<string, string>,
  standings: Set<Standing>,
): Column[] {
  const columns: Column[] = [];
  const { techniques } = results.run.suite;
  const headingOfColumn = besideEachOther(techniques, combinationLabel);
  const costs = techniques.map((combination) =>
    rows.map((row) => cellOf(results, published, profile, combination, row)),
  );
  costs.forEach((cells, index) => {
    const combination = techniques[index] as (typeof techniques)[number];
    columns.push({ heading: headingOfColumn(combination), cells: cells.map(costText) });
    if (cells.some((cell) => cell.published !== undefined)) {
      columns.push({ heading: "published", cells: cells.map((cell) => publishedText(cell, footnotes, standings)) });
      columns.push({ heading: "ratio", cells: cells.map(publishedRatio) });
    }
    if (index === 0) return;
    if (techniques.length - 1 <= MOST_WITH_QUOTIENTS) {
      const heading = `${combination.technique}/${(techniques[0] as (typeof techniques)[number]).technique}`;
      columns.push({ heading, cells: cells.map((cell, row) => quotient(cell, costs[0]?.[row])) });
    }
    columns.push({ heading: "exits", cells: cells.map((cell) => exitsText(exitsOf(results, cell))) });
  });
  return columns;
}

function costText(cell: Cell): string {
  if (cell.cost === undefined) return cell.fails === undefined ? NONE : FAILS;
  return readable(cell.cost.mean);
}

function publishedText(cell: Cell, footnotes: Map<string, string>, standings: Set<Standing>): string {
  if (cell.published === undefined) return "";
  const { row, standing, differs } = cell.published;
  standings.add(standing);
  let note = " ";
  if (differs !== undefined) {
    if (!footnotes.has(differs)) footnotes.set(differs, ["†", "‡", "§", "¶"][footnotes.size] ?? "*");
    note = footnotes.get(differs) as string;
  }
  return `${grouped(row.value)} ${MARKS[standing]}${note}`;
}

function publishedRatio(cell: Cell): string {
  if (cell.published === undefined || cell.cost === undefined) return "";
  return ratio(cell.cost.mean / cell.published.row.value);
}

function exitsText(perIteration: number | undefined): string {
  return perIteration === undefined ? NONE : readable(perIteration);
}

/** How many times the first technique's cost; nothing where that is next to nothing. */
function quotient(cell: Cell, base: Cell | undefined): string {
  if (cell.cost === undefined || base?.cost === undefined || base.cost.mean <= 0) return NONE;
  return ratio(cell.cost.mean / base.cost.mean);
}

/** Right-aligned columns under their headings; a blank line between kinds of workload. */
function layOut(rows: readonly CellRow[], columns: readonly Column[]): string[] {
  const first = Math.max(...rows.map((row) => row.label.length), 0);
  const widths = columns.map(({ heading, cells }) => Math.max(heading.length, ...cells.map((cell) => cell.length)));
  const line = (label: string, cells: readonly string[]) =>
    [label.padEnd(first), ...cells.map((cell, index) => cell.padStart(widths[index] as number))].join("   ").trimEnd();
  const lines = [
    line(
      "",
      columns.map((column) => column.heading),
    ),
  ];
  rows.forEach((row, index) => {
    if (index > 0 && rows[index - 1]?.kind !== row.kind) lines.push("");
    lines.push(
      line(
        row.label,
        columns.map(({ cells }) => cells[index] as string),
      ),
    );
  });
  return lines;
}

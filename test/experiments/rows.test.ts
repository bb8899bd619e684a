// Suites about what guests print: rows out of the serial output, compared with the first technique, as CSV and table.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { IMAGES_FOLDER, PUBLISHED_FOLDER, SUITES_FOLDER } from "../../experiments/paths.ts";
import { expand } from "../../experiments/point.ts";
import { readCsv, readResults, writeResults } from "../../experiments/results-folder.ts";
import { printedRows } from "../../experiments/rows.ts";
import { simulate } from "../../experiments/simulate.ts";
import { readSuite } from "../../experiments/suite.ts";
import { renderTable } from "../../experiments/table.ts";
import { runTask } from "../../experiments/task.ts";
import { combinationLabel } from "../../experiments/techniques.ts";
import type { RunEnd } from "../../sim/result.ts";
import { runSmall } from "./helpers.ts";

const folder = mkdtempSync(join(tmpdir(), "ringlab-rows-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const SUITE = `name: small
title: Small rows
profiles: [pentium4-672]
techniques: [{ technique: native }, { technique: vtx }]
workloads: [in]
rows:
  - { row: a, instruction: SGDT, cpl: 0, scenario: first, cells: [RI00-002] }
  - { row: b, instruction: JMP, cpl: 3, scenario: second, same: { vtx: it never looks } }
  - { row: c, instruction: POPF, scenario: third }
notes: [Said below.]
`;

let runs = 0;
/** The suite's results when native prints one thing and vtx another. */
async function rowsOf(native: string, vtx: string, end: RunEnd = { kind: "exit", status: 0 }) {
  return runSmall(join(folder, String(runs++)), {
    text: SUITE,
    behave: ({ technique }, result) => ({
      ...result,
      ...(technique === "vtx" ? { serial: vtx, end } : { serial: native }),
    }),
  });
}
const cellsOf = (table: string, start: string) =>
  table
    .split("\n")
    .find((line) => line.startsWith(start))
    ?.split(/ {2,}/);

test("rows are the lines of the output that say so, whatever ends a line", () => {
  const rows = printedRows(
    "boot\nrow: a-1: base 0x10: yes\r\nrow: b: \nrow: no colon\n row: c: 1\nt: row: d: 1\nrow: b: 2\nrow: cut",
  );
  expect([...rows]).toEqual([
    ["a-1", "base 0x10: yes"],
    ["b", "2"],
  ]);
});

test("a row is the same, or differs and is shown, or was not printed", async () => {
  const results = await rowsOf("row: a: 8\nrow: b: x\nrow: c: 1\n", "row: a: 9\nrow: b: x\n", {
    kind: "exit",
    status: 1,
  });
  const table = renderTable(results);
  expect(cellsOf(table, "SGDT")).toEqual(["SGDT", "0", "first", "8", "differs: 9"]);
  expect(cellsOf(table, "JMP")).toEqual(["JMP", "3", "second", "x", "same", "vtx: it never looks"]);
  expect(cellsOf(table, "POPF")).toEqual(["POPF", "third", "1", "not printed"]);
  expect(table).toContain("vtx+shadow: 1 of 3 rows are the same, 1 differ, 1 were not printed.\n");
  expect(table).toMatch(/\nSaid below\.\n$/);
  expect(
    readCsv(join(results.folder, "rows.csv")).map(({ technique, row, printed, verdict }) => [
      technique,
      row,
      printed,
      verdict,
    ]),
  ).toEqual([
    ["native", "a", "8", "baseline"],
    ["native", "b", "x", "baseline"],
    ["native", "c", "1", "baseline"],
    ["vtx", "a", "9", "differs"],
    ["vtx", "b", "x", "same"],
    ["vtx", "c", "", "not printed"],
  ]);
});

test("a row that the first technique does not print is the same as nothing", async () => {
  const results = await rowsOf("", "row: a: 9\n");
  expect(results.rows.map(({ verdict }) => verdict).slice(3)).toEqual(["no baseline", "not printed", "not printed"]);
  expect(cellsOf(renderTable(results), "SGDT")).toEqual(["SGDT", "0", "first", "not printed", "alone: 9"]);
});

test("a suite about cycles has no rows", async () => {
  const results = await runSmall(join(folder, "cycles"));
  expect(results.rows).toEqual([]);
});

// --- popek-goldberg ---

const suite = readSuite(join(SUITES_FOLDER, "popek-goldberg.yaml"));
const rows = suite.rows ?? [];

test("popek-goldberg says what each row that its guest prints is about", () => {
  const printed = printedRows(readFileSync(join(IMAGES_FOLDER, "popek-goldberg.expected"), "utf8"));
  expect(rows.map(({ row }) => row).sort()).toEqual([...printed.keys()].sort());
});

test("popek-goldberg has every instruction of the paper at CPL 0 and at CPL 3", () => {
  const listed = readCsv(join(PUBLISHED_FOLDER, "robin-irvine-2000.csv")).filter(({ unit }) => unit === "bool");
  expect(listed).toHaveLength(18);
  for (const { id, workload } of listed) {
    const about = rows.filter(({ cells }) => cells?.includes(id as string));
    expect(new Set(about.map(({ cpl }) => cpl)), workload).toEqual(new Set([0, 3]));
    for (const { instruction } of about) expect(workload).toContain(instruction === "IRET" ? "RET" : instruction);
  }
});

test("popek-goldberg finds no difference under vtx, none at CPL 0 under bt, and none at all with user code translated", () => {
  const outcomes = expand(suite).map((point) => ({
    point,
    address: "",
    cached: false,
    result: runTask({ point }, simulate),
  }));
  writeResults(join(folder, "popek"), suite, outcomes, "code");
  const results = readResults(join(folder, "popek"));
  const differing = (label: string) =>
    results.rows
      .filter(({ key, verdict }) => combinationLabel(key) === label && verdict !== "same")
      .map(({ row, verdict }) => `${row} ${verdict}`);
  expect(differing("vtx+shadow")).toEqual([]);
  expect(differing("bt+shadow,user=translate")).toEqual([]);
  // What direct execution of user code shows, each with its reason in the suite.
  const direct = rows.filter(({ differs }) => differs?.["bt"] !== undefined);
  expect(new Set(direct.map(({ cpl }) => cpl))).toEqual(new Set([3]));
  expect(differing("bt+shadow")).toEqual(direct.map(({ row }) => `${row} differs`));
  // The classical monitor shows a kernel its ring, in every instruction that the paper holds to show it.
  const told = new Set(differing("classical+shadow").map((each) => each.split(" ")[0]));
  const shown = rows.filter(({ row, cpl }) => cpl === 0 && told.has(row)).map(({ instruction }) => instruction);
  for (const each of [
    "SGDT",
    "SIDT",
    "SLDT",
    "STR",
    "SMSW",
    "PUSHF",
    "POPF",
    "LAR",
    "LSL",
    "VERR",
    "VERW",
    "PUSH",
    "MOV",
    "CALL",
  ]) {
    expect(shown).toContain(each);
  }
  // A row that is the same says why.
  for (const { row, same } of rows.filter(({ row }) => !told.has(row))) expect(same?.["classical"], row).toBeDefined();
});

// The table, the lists of explain and diff, and docs/VALIDATION.md as text.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { suiteOf } from "../../experiments/ad-hoc.ts";
import { compare, isSame, renderComparison } from "../../experiments/diff.ts";
import { breakdownOf, renderBreakdown } from "../../experiments/explain.ts";
import { exactly, ratio, readable } from "../../experiments/numbers.ts";
import { expand } from "../../experiments/point.ts";
import { readPublished } from "../../experiments/published.ts";
import type { Results } from "../../experiments/results-folder.ts";
import { renderTable } from "../../experiments/table.ts";
import { runTask } from "../../experiments/task.ts";
import { comparedResult, validationDocument } from "../../experiments/validation-document.ts";
import { fakeSimulate } from "./fake-simulator.ts";
import { runSmall, withCost } from "./helpers.ts";

let folder: string;
let results: Results;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "ringlab-table-"));
  results = await runSmall(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("numbers keep the digits that say something", () => {
  expect([15826, 1234.5, 250.5, 52.35, 11, 1.5, 0.25, 0, -3].map(readable)).toEqual([
    "15 826",
    "1 235",
    "251",
    "52.4",
    "11",
    "1.5",
    "0.25",
    "0",
    "-3",
  ]);
  expect([15826, 11.5, 0.333333, -1234.25, 1e6].map((value) => exactly(value))).toEqual([
    "15 826",
    "11.5",
    "0.33",
    "-1 234.25",
    "1 000 000",
  ]);
  expect([1, 12.34, 123.4, 12345, Number.NaN].map(ratio)).toEqual(["1.00", "12.3", "123", "12 345", "–"]);
});

test("the table has a block per processor, and published values where there are any", () => {
  const lines = renderTable(results).split("\n");
  expect(lines[0]).toBe("A small suite");
  const [pentium, core] = [
    lines.findIndex((line) => line.includes("pentium4-672")),
    lines.findIndex((line) => line.includes("core2-e6700")),
  ];
  expect(lines[pentium + 2]?.trim().split(/ {2,}/)).toEqual([
    "native",
    "published",
    "ratio",
    "vtx+shadow",
    "published",
    "ratio",
    "vtx/native",
    "exits",
  ]);
  const cells = (from: number, name: string) =>
    lines
      .slice(from)
      .find((line) => line.startsWith(name))
      ?.trim()
      .split(/ {2,}/);
  expect(cells(pentium, "in")).toEqual(["in", "3 209", "3 209 i", "1.00", "15 826", "15 826 c", "1.00", "4.93", "1"]);
  expect(cells(pentium, "callret")).toEqual(["callret", "0.25", "11 i", "0.02", "0.25", "11 p", "0.02", "1.00", "0"]);
  expect(lines[core + 2]?.trim().split(/ {2,}/)).toEqual(["native", "vtx+shadow", "vtx/native", "exits"]);
  expect(cells(core, "in")).toEqual(["in", "3 209", "15 826", "4.93", "1"]);
});

test("a value of a different instruction carries a footnote", () => {
  const table = renderTable(results);
  expect(table).toMatch(/syscall-sysenter .* 242 i† /);
  expect(table).toMatch(/\n† {2}the paper measures SYSCALL\/SYSRET, this guest executes SYSENTER\/SYSEXIT\n/);
});

test("columns line up", () => {
  const lines = renderTable(results).split("\n");
  const start = lines.findIndex((line) => line.includes("published"));
  const widths = new Set(lines.slice(start, start + 4).map((line) => line.length));
  expect(widths.size).toBe(1);
});

test("a table of changed values says so above everything", async () => {
  const other = mkdtempSync(join(tmpdir(), "ringlab-table-"));
  const changed = await runSmall(other, { settings: [{ name: "vmread", value: 100 }] });
  expect(renderTable(changed).split("\n")[2]).toBe("NOT THE PROFILES AS PUBLISHED: set vmread=100");
  rmSync(other, { recursive: true, force: true });
});

test("a failed cell is a dash, not a number", async () => {
  const other = mkdtempSync(join(tmpdir(), "ringlab-table-"));
  const failed = await runSmall(other, {
    behave: (point, result) =>
      point.technique === "vtx" && point.workload === "in"
        ? { ...result, end: { kind: "dead-halt", cs: 8, eip: 1 } }
        : withCost(point, result),
  });
  expect(renderTable(failed)).toMatch(/\nin +3 209 +3 209 i +1\.00 +– +15 826 c +– +–\n/);
  rmSync(other, { recursive: true, force: true });
});

// --- explain ---

const explanation = {
  measured: {
    ...{ region: 0, iteration: 5, ticks: 12 * 110 },
    items: [
      { name: "branch", count: 1, ticks: 12 },
      { name: "vmexit", count: 1, ticks: 12 * 99 },
      { name: "alu", count: 4, ticks: 12 * 10 },
    ],
  },
  baseline: {
    ...{ region: 0, iteration: 5, ticks: 12 * 5 },
    items: [
      { name: "branch", count: 1, ticks: 12 },
      { name: "alu", count: 2, ticks: 12 * 4 },
    ],
  },
};

test("an explanation takes the baseline off item by item and sums to the difference", () => {
  const breakdown = breakdownOf(explanation.measured, explanation.baseline);
  expect(breakdown.items).toEqual([
    { name: "vmexit", count: 1, ticks: 12 * 99 },
    { name: "alu", count: 2, ticks: 12 * 6 },
  ]);
  expect(breakdown.items.reduce((sum, item) => sum + item.ticks, 0)).toBe(breakdown.ticks);
  const text = renderBreakdown(breakdown);
  expect(text).toMatch(/\n +1 {2}vmexit +99\n +2 {2}alu +6\n +-+\n +total +105\n/);
  expect(text).toContain("110 measured less 5 of the baseline loop");
});

test("what the baseline has and the measured loop has not counts against the total", () => {
  const breakdown = breakdownOf({ ...explanation.measured, ticks: 0, items: [] }, explanation.baseline);
  expect(breakdown.ticks).toBe(-60);
  expect(breakdown.items).toContainEqual({ name: "alu", count: -2, ticks: -48 });
});

// --- diff ---

test("a run does not differ from itself", () => {
  const comparison = compare(results, results, 0);
  expect(isSame(comparison)).toBe(true);
  expect(comparison.compared).toBe(results.summary.length);
  expect(renderComparison(comparison)).toBe("");
});

test("a changed mean, and what only one run has, is told; a tolerance hides small changes", () => {
  const summary = results.summary
    .filter((row) => row.key.workload !== "callret")
    .map((row) =>
      row.key.workload === "in" && row.quantity === "cost" && row.key.technique === "vtx"
        ? { ...row, mean: row.mean * 1.01 }
        : row,
    );
  const other = { ...results, summary };
  const text = renderComparison(compare(results, other, 0));
  expect(text).toContain("in, pentium4-672, vtx+shadow: cost: 15 826 -> 15 984.26 cycles/iteration (+1.00 %)\n");
  expect(text).toContain("only in the first: callret, pentium4-672, native\n");
  expect(text.match(/only in the first: callret,/g)?.length).toBe(4);
  expect(compare(results, other, 2).differences).toEqual([]);
});

// --- validation ---

test("the validation document has every compared cell with value, ratio, breakdown and standing", () => {
  const published = readPublished();
  const compared = published.cells.map((cell) => {
    const suite = suiteOf(cell.workload, undefined, { profiles: [cell.profile], techniques: [cell.technique] });
    const point = expand(suite, { explainRegion: 0 })[0];
    if (point === undefined) throw new Error("no point");
    const result = runTask({ point }, fakeSimulate);
    const found = comparedResult(cell, { point, address: "", cached: false, result });
    if (found === undefined) throw new Error("no result");
    return found;
  });
  const text = validationDocument(published, compared);
  for (const { row, explain } of published.cells) {
    expect(text).toContain(row.id);
    expect(text).toContain(explain);
  }
  for (const { rows, reason } of published.notCompared) {
    for (const row of rows) expect(text).toContain(row.id);
    expect(text).toContain(reason);
  }
  expect(text).toMatch(/64-bit/);
  expect(text.match(/\*\*total\*\*/g)?.length).toBe(published.cells.length);
  expect(text).toMatch(/AA06T-001 +\| VM entry +\| pentium4-672 +\| +2 409 \| +2 409 \| +1\.00 \| input/);
  expect(text).not.toMatch(/\n{3}/);
});

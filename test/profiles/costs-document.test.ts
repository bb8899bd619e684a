import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, test } from "vitest";
import { costsDocument, formatValue, sections } from "../../experiments/costs-document.ts";

const root = resolve(import.meta.dirname, "../..");

test("docs/COSTS.md is what the data say (npm run docs:costs brings it up to date)", () => {
  expect(readFileSync(resolve(root, "docs/COSTS.md"), "utf8")).toBe(costsDocument());
});

test("the page has a row for every value, with its mark, and names the cell of a fitted one", () => {
  const lines = costsDocument().split("\n");
  for (const section of sections()) {
    const start = lines.indexOf(`## ${section.title}`);
    expect(start).toBeGreaterThan(0);
    const end = lines.findIndex((line, i) => i > start && line.startsWith("## "));
    const table = lines.slice(start, end < 0 ? undefined : end).filter((line) => line.startsWith("| `"));
    expect(table.length).toBe(section.rows.length);
    for (const [i, row] of section.rows.entries()) {
      expect(table[i]).toContain(`| \`${row.name}\` |`);
      expect(table[i]).toContain(`| ${row.value.mark} |`);
      if (row.value.cell !== undefined) expect(table[i]).toContain(`fitted to ${row.value.cell}`);
    }
  }
});

test("twelfths that are no short decimals print as fractions", () => {
  expect([1 / 3, 2 / 3, 81 + 2 / 3, 54 + 1 / 6, 3 + 5 / 12].map(formatValue)).toEqual([
    "1/3",
    "2/3",
    "81 2/3",
    "54 1/6",
    "3 5/12",
  ]);
  expect([0.5, 120.25, 22.75, 0, 3209].map(formatValue)).toEqual(["0.5", "120.25", "22.75", "0", "3209"]);
});

test("a bar in a text does not end its cell", () => {
  const value = { value: 1, unit: "ns", mark: "derived", source: "a|b" } as const;
  const page = costsDocument([{ title: "Board", text: [], rows: [{ name: "x", what: "c|d", value }] }]);
  expect(page).toContain("| `x` | 1 | ns | derived | a\\|b | c\\|d |");
});

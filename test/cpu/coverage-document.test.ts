import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, test } from "vitest";
import { coverageDocument, coverageRows } from "../../experiments/coverage-document.ts";
import { modelledForms } from "./forms.ts";

const root = resolve(import.meta.dirname, "../..");
const rows = coverageRows();
const page = coverageDocument(rows);

test("docs/COVERAGE.md is what the tables say (npm run docs:coverage brings it up to date)", () => {
  expect(readFileSync(resolve(root, "docs/COVERAGE.md"), "utf8")).toBe(page);
});

test("the page counts every form once, and the families add up", () => {
  const modelled = rows.filter((row) => row.modelled).length;
  expect(page).toContain(`**${modelled} of ${rows.length} forms are modelled.**`);
  const families = [...page.matchAll(/^\| [^|`]+ \| (\d+) \| (\d+) \|$/gm)];
  expect(families.reduce((sum, match) => sum + Number(match[1]), 0)).toBe(rows.length);
  expect(families.reduce((sum, match) => sum + Number(match[2]), 0)).toBe(modelled);
  expect(new Set(rows.map(({ form }) => form.code)).size).toBe(rows.length);
});

test("what the page calls modelled is what the core lifts", () => {
  const lifted = new Set(modelledForms.map(({ code }) => code));
  for (const row of rows) expect([row.form.code, row.modelled]).toEqual([row.form.code, lifted.has(row.form.code)]);
});

test("a form is described in the manual's notation", () => {
  expect(page).toContain("| `ADD r/m32, r32` | `o32 01 /r` | yes |  |  |  |  |");
  expect(page).toContain("| `HLT` | `F4` | yes | CPL 0 |  | hlt |  |");
  expect(page).toContain("| `CLI` | `FA` | yes | IOPL |  |  |  |");
  expect(page).toContain("| `SMSW r/m16` | `o16 0F 01 /4` | yes |  | yes |  |  |");
});

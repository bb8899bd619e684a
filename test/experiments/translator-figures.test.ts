// The figures about binary translation, from results that are made up: what is in them, and when there are none.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Key } from "../../experiments/csv/columns.ts";
import { categoryOf } from "../../experiments/figures/accounts.ts";
import { drawFigures } from "../../experiments/figures/draw.ts";
import { faultBars, faultsEliminatedFigure, savedCycles } from "../../experiments/figures/faults-eliminated.ts";
import { translationStatisticsFigure } from "../../experiments/figures/translation-statistics.ts";
import type { CounterRow, Results } from "../../experiments/results-folder.ts";
import { runSmall } from "./helpers.ts";

let folder: string;
let plain: Results;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "ringlab-translator-figures-"));
  plain = await runSmall(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const keyOf = (workload: string, variant: string): Key => ({
  ...{ profile: "pentium4-672", technique: "bt", memory: "shadow", variant },
  ...{ workload, parameters: "", overrides: "" },
});
const counters = (key: Key, values: Readonly<Record<string, number>>, time?: number): CounterRow[] =>
  Object.entries(values).map(([counter, value]) => ({
    ...{ key, repetition: 0, counter, value },
    ...(time === undefined ? {} : { time }),
  }));
const cycles = (key: Key, mean: number): Results["summary"][number] => ({
  ...{ key, region: "", regionName: "run", quantity: "cycles", detail: "", unit: "cycles", repetitions: 1, mean },
});

/** Two guests with adaptation on and off, a third with it on only. */
function adaptive(): Results {
  const on = keyOf("tprwr", "");
  const off = keyOf("tprwr", "adaptation=false");
  const other = keyOf("tprwr", "chaining=false");
  const alone = keyOf("in", "");
  return {
    ...plain,
    summary: [cycles(on, 3e6), cycles(off, 12e6), cycles(other, 4e6), cycles(alone, 1e6)],
    counters: [
      ...counters(on, { "bt.faults.mmio": 20, "bt.faults-eliminated.mmio": 980, "bt.faults.pte-trace": 0 }),
      ...counters(off, { "bt.faults.mmio": 1000, "tlb.data.misses": 5 }),
      ...counters(other, { "bt.faults.mmio": 7 }),
      ...counters(alone, { "bt.faults.mmio": 3 }),
    ],
  };
}

test("faults are shown taken and eliminated by kind, of guests that ran with adaptation on and off", () => {
  expect(faultBars(adaptive(), new Set(["tprwr pentium4-672"]))).toEqual([
    { row: "tprwr pentium4-672", adaptation: "on", what: "mmio taken", count: 20 },
    { row: "tprwr pentium4-672", adaptation: "on", what: "mmio eliminated", count: 980 },
    { row: "tprwr pentium4-672", adaptation: "off", what: "mmio taken", count: 1000 },
  ]);
});

test("saved cycles are the difference of the two runs", () => {
  expect(savedCycles(adaptive())).toEqual([{ row: "tprwr pentium4-672", saved: 9, share: "75.0 %" }]);
});

/** Samples of one run at three times. */
function sampled(): Results {
  const key = keyOf("compute", "");
  const at = (time: number, units: number, identical: number) =>
    counters(
      key,
      {
        ...{ "bt.units": units, "bt.instructions": 10 * units, "bt.instructions.identical": identical },
        ...{ "bt.exits.direct": 2 * units, "bt.exits.chained": units, "bt.occupancy": 1024 * units, "shadow.fills": 3 },
      },
      time,
    );
  return { ...plain, samples: [...at(0, 0, 0), ...at(1e6, 10, 90), ...at(2e6, 20, 150)] };
}

test("the translator's statistics are a panel for each quantity that was counted; no share is made of nothing", () => {
  const spec = translationStatisticsFigure(sampled()) as unknown as {
    concat: { title: { text: string[] }; data: { values: Record<string, unknown>[] } }[];
  };
  expect(spec.concat.map(({ title }) => title.text.at(-1))).toEqual([
    ...["units", "guest instructions translated", "identical instructions, share", "chained exits, share"],
    "KB of the cache in use",
  ]);
  const of = (quantity: string) =>
    spec.concat.flatMap(({ data }) => data.values).filter((each) => each["quantity"] === quantity);
  expect(of("units").map(({ time, value }) => [time, value])).toEqual([
    [0, 0],
    [1, 10],
    [2, 20],
  ]);
  expect(of("identical instructions, share").map(({ time, value }) => [time, value])).toEqual([
    [1, 0.9],
    [2, 0.75],
  ]);
});

test("a run that is not of the translator has neither figure", () => {
  expect(faultsEliminatedFigure(plain)).toBe(undefined);
  expect(translationStatisticsFigure(plain)).toBe(undefined);
});

test("both figures can be drawn", async () => {
  const { samples } = sampled();
  const paths = await drawFigures({ ...adaptive(), samples }, ["faults-eliminated", "translation-statistics"], folder);
  expect(paths).toHaveLength(6);
  expect(readFileSync(paths[1] as string, "utf8")).toContain("mmio eliminated");
  expect(readFileSync(paths[4] as string, "utf8")).toContain("chained exits, share");
});

test("the translator's classes have places in the accounts, whatever domain they are in", () => {
  expect(categoryOf("guest-kernel", "identical")).toBe("translated: identical");
  expect(categoryOf("guest-user", "control-flow")).toBe("translated: control flow");
  expect(categoryOf("monitor", "inline-emulation")).toBe("translated: inline emulation");
  expect(categoryOf("monitor", "service:translate")).toBe("translating");
  expect(categoryOf("monitor", "call-out")).toBe("call-outs");
});

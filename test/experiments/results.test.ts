// Result folders: CSV files, statistics, and what is read back from them.

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ticksPerIteration } from "../../experiments/csv/measurements.ts";
import { type Results, readCsv, readResults } from "../../experiments/results-folder.ts";
import { mulberry32, statisticsOf } from "../../experiments/statistics.ts";
import { runSmall, withCost } from "./helpers.ts";

let folder: string;
let results: Results;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "ringlab-results-"));
  results = await runSmall(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const rows = (name: string) => readCsv(join(folder, "out", `${name}.csv`));

const region = {
  ...{ region: 0, iterations: 100, ticks: 5000, baselineIterations: 100, baselineTicks: 2000, instructions: 0 },
  ...{ exits: {}, baselineExits: {}, walks: 0, baselineWalks: 0 },
};

describe("the cost of an iteration", () => {
  test("is measured less baseline over the iterations", () => {
    expect(ticksPerIteration(region)).toBe(30);
  });
  test("takes a baseline without iteration markers off as a whole", () => {
    expect(ticksPerIteration({ ...region, iterations: 10, baselineIterations: 0 })).toBe(300);
  });
  test("compares per iteration when the two loops ran differently often", () => {
    expect(ticksPerIteration({ ...region, baselineIterations: 200 })).toBe(40);
  });
});

test("every row of every file has a unit and names its point", () => {
  for (const name of ["measurements", "summary", "exits", "accounts", "counters"]) {
    const all = rows(name);
    expect(all.length, name).toBeGreaterThan(0);
    for (const row of all) {
      expect(row["unit"], name).not.toBe("");
      for (const column of ["profile", "technique", "memory", "workload"]) expect(row[column], name).not.toBe("");
    }
  }
});

test("exits are counted by reason and cause, hardware and monitor apart, and per million guest instructions", () => {
  const of = (quantity: string) =>
    rows("exits").find((row) => row["profile"] === "pentium4-672" && row["quantity"] === quantity) as Record<
      string,
      string
    >;
  expect(of("count")).toMatchObject({ reason: "io-instruction", cause: "port-io", value: "1000", unit: "exits" });
  expect(of("hardware mean")).toMatchObject({ value: "4340", unit: "cycles/exit" });
  expect(of("monitor min")["value"]).toBe(of("monitor max")["value"]);
  expect(of("rate")).toMatchObject({ value: "200000", unit: "exits/million guest instructions" });
});

test("accounts of a run sum to its cycles, and their shares to 1", () => {
  const run = (row: Record<string, string>) =>
    row["profile"] === "core2-e6700" &&
    row["technique"] === "vtx" &&
    row["workload"] === "in" &&
    row["repetition"] === "1";
  const sum = (quantity: string) =>
    rows("accounts")
      .filter((row) => run(row) && row["quantity"] === quantity)
      .reduce((total, row) => total + Number(row["value"]), 0);
  const cycles = rows("measurements").find(
    (row) => run(row) && row["region_name"] === "run" && row["quantity"] === "cycles",
  );
  expect(sum("cycles")).toBeCloseTo(Number(cycles?.["value"]), 4);
  expect(sum("share")).toBeCloseTo(1, 5);
});

test("what is read back is what was measured, with exits per iteration by cause", () => {
  const of = (quantity: string) =>
    results.summary.find(
      ({ key, ...row }) =>
        key.workload === "in" && key.technique === "vtx" && key.profile === "pentium4-672" && row.quantity === quantity,
    );
  expect(of("cost")).toMatchObject({ mean: 15826, unit: "cycles/iteration", repetitions: 3, regionName: "in" });
  expect(of("exits")).toMatchObject({ detail: "port-io", mean: 1, unit: "exits/iteration" });
});

test("equal repetitions have zero deviation and an interval of no width", () => {
  expect(statisticsOf([5, 5, 5])).toEqual({ repetitions: 3, mean: 5, standardDeviation: 0, low: 5, high: 5 });
  const cost = results.summary.find((row) => row.quantity === "cost");
  expect(cost).toMatchObject({ standardDeviation: 0 });
  expect(cost?.low).toBe(cost?.mean);
});

test("one repetition says nothing about spread", () => {
  expect(statisticsOf([5])).toEqual({ repetitions: 1, mean: 5 });
});

test("the bootstrap interval holds the mean, lies within the sample, and is always the same", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 1e6 }), { minLength: 2, maxLength: 12 }), (sample) => {
      const found = statisticsOf(sample);
      expect(found.low).toBeLessThanOrEqual(found.mean + 1e-6);
      expect(found.high).toBeGreaterThanOrEqual(found.mean - 1e-6);
      expect(found.low).toBeGreaterThanOrEqual(Math.min(...sample));
      expect(found.high).toBeLessThanOrEqual(Math.max(...sample));
      expect(statisticsOf(sample)).toEqual(found);
    }),
    { numRuns: 30 },
  );
});

test("the interval of a known sample is about the normal one", () => {
  const random = mulberry32(7);
  const sample = Array.from({ length: 200 }, () => random());
  const { mean, low, high } = statisticsOf(sample);
  // 1.96 sigma / sqrt(n) of a uniform distribution: 0.04
  expect(mean - (low as number)).toBeCloseTo(0.04, 2);
  expect((high as number) - mean).toBeCloseTo(0.04, 2);
});

test("a failed point is in run.json with its reason, and in no CSV", async () => {
  const other = mkdtempSync(join(tmpdir(), "ringlab-results-"));
  const failed = await runSmall(other, {
    behave: (point, result) =>
      point.workload === "in" ? { ...result, end: { kind: "limit", cs: 8, eip: 0x100000 } } : withCost(point, result),
  });
  expect(failed.run.points.filter((point) => /not done after/.test(point.end)).length).toBe(12);
  expect(readFileSync(join(other, "out", "measurements.csv"), "utf8")).not.toContain(",in,");
  rmSync(other, { recursive: true, force: true });
});

test("--set values stand in every row, and only where they apply", async () => {
  const other = mkdtempSync(join(tmpdir(), "ringlab-results-"));
  const changed = await runSmall(other, { settings: [{ profile: "core2-e6700", name: "vmread", value: 100 }] });
  for (const { key } of changed.summary) {
    expect(key.overrides).toBe(key.profile === "core2-e6700" ? "vmread=100" : "");
  }
  expect(changed.run.overrides).toBe("core2-e6700: vmread=100");
  rmSync(other, { recursive: true, force: true });
});

test("two runs write the same bytes", async () => {
  const other = mkdtempSync(join(tmpdir(), "ringlab-results-"));
  await runSmall(other);
  for (const name of readdirSync(join(folder, "out"))) {
    expect(readFileSync(join(other, "out", name)).equals(readFileSync(join(folder, "out", name))), name).toBe(true);
  }
  rmSync(other, { recursive: true, force: true });
});

test("a folder without results, or with those of another version, is refused in one line", () => {
  expect(() => readResults("/nowhere")).toThrow(/no results there/);
  const other = mkdtempSync(join(tmpdir(), "ringlab-results-"));
  writeFileSync(join(other, "run.json"), '{"format": 99}');
  expect(() => readResults(other)).toThrow(/another version of ringlab/);
  rmSync(other, { recursive: true, force: true });
});

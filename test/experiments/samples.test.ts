// Counters over the time of a run: which samples are kept, that taking them changes nothing, and where they are written.

import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { ROOT } from "../../experiments/paths.ts";
import { expand } from "../../experiments/point.ts";
import { readResults, writeResults } from "../../experiments/results-folder.ts";
import { Samples } from "../../experiments/samples.ts";
import { simulate } from "../../experiments/simulate.ts";
import { parseSuite } from "../../experiments/suite.ts";
import { runTask } from "../../experiments/task.ts";

const folder = mkdtempSync(join(tmpdir(), "ringlab-samples-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("samples stay at equal distances and never grow too many, however long a run is", () => {
  const samples = new Samples(8);
  for (let run = 0; run < 30; run++) samples.take(samples.due, () => ({ run }));
  const kept = samples.ending(samples.due, { end: 1 });
  expect(kept.length).toBeLessThanOrEqual(9);
  expect(kept.length).toBeGreaterThan(4);
  const times = kept.slice(0, -1).map(({ ticks }) => ticks);
  const distances = times.slice(1).map((ticks, index) => ticks - (times[index] as number));
  expect(new Set(distances).size).toBe(1);
  expect(times[0]).toBe(0);
  expect(kept.at(-1)).toEqual({ ticks: samples.due, counters: { end: 1 } });
});

test("nothing is taken before it is due, or without room", () => {
  const samples = new Samples(4);
  samples.take(0, () => ({}));
  samples.take(samples.due - 1, () => ({}));
  expect(samples.ending(5, {})).toHaveLength(2);
  expect(new Samples(0).due).toBe(Number.POSITIVE_INFINITY);
});

const suite = parseSuite(
  `name: sampled
profiles: [pentium4-672]
techniques: [{ technique: native }, { technique: vtx }]
workloads: [{ workload: in, parameters: { iterations: 50 } }]
guestMemory: 16
samples: 16
`,
  "s.yaml",
  ROOT,
);

test("a run with samples is the run without", () => {
  for (const point of expand(suite)) {
    const { samples: _, ...plain } = point;
    const { samples, ...result } = runTask({ point }, simulate);
    expect(result).toEqual(runTask({ point: plain }, simulate));
    expect(samples?.length).toBeGreaterThan(6);
    expect(samples?.at(-1)?.ticks).toBe(result.ticks);
    for (const [name, value] of Object.entries(samples?.at(-1)?.counters ?? {})) {
      expect(result.counters[name], name).toBe(value);
    }
  }
});

test("samples are a file of their own, of suites that ask for them", () => {
  const outcomes = expand(suite).map((point) => ({
    ...{ point, address: "", cached: false },
    result: runTask({ point }, simulate),
  }));
  writeResults(folder, suite, outcomes, "code");
  const { samples, counters } = readResults(folder);
  const traced = samples.filter(({ counter, key }) => counter === "shadow.fills" && key.technique === "vtx");
  expect(traced.length).toBeGreaterThan(6);
  expect(traced.at(-1)?.value).toBe(
    counters.find(({ counter, key }) => counter === "shadow.fills" && key.technique === "vtx")?.value,
  );
  const { samples: _, ...other } = suite;
  const without = join(folder, "without");
  writeResults(without, other, [], "code");
  expect(existsSync(join(without, "samples.csv"))).toBe(false);
  expect(readResults(without).samples).toEqual([]);
});

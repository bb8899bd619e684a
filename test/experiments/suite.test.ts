// Suites: what is accepted, and that everything wrong with one is said with its line and column.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { ROOT, SUITES_FOLDER } from "../../experiments/paths.ts";
import { commandLines, expand } from "../../experiments/point.ts";
import { Problem } from "../../experiments/problem.ts";
import { parseSuite, readSuite } from "../../experiments/suite.ts";
import { findSuite, suiteNames } from "../../experiments/suite-names.ts";

const good = `name: small
profiles: [pentium4-672]
techniques:
  - { technique: native }
  - { technique: vtx, memory: shadow }
workloads:
  - in
  - { workload: compute, parameters: { scale: [1, 2] } }
`;

function problem(text: string): Problem {
  try {
    parseSuite(text, "s.yaml", ROOT);
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
  throw new Error("accepted");
}

test("a suite names its defaults, and a technique without memory means the one it was built with", () => {
  const suite = parseSuite(good, "s.yaml", ROOT);
  expect(suite).toMatchObject({ name: "small", title: "small", repetitions: 1, seed: 1, guestMemoryMb: 64 });
  expect(suite.techniques).toEqual([
    { technique: "native", memory: "direct" },
    { technique: "vtx", memory: "shadow" },
  ]);
});

test("points come in the order profile, technique, workload, parameters, repetition", () => {
  const labels = expand(parseSuite(`${good}repetitions: 2\n`, "s.yaml", ROOT)).map(
    (point) => `${point.technique} ${point.workload} ${point.parameters} ${point.repetition}`,
  );
  expect(labels).toEqual([
    ...["native in  0", "native in  1", "native compute scale=1 0", "native compute scale=1 1"],
    ...["native compute scale=2 0", "native compute scale=2 1", "vtx in  0", "vtx in  1"],
    ...["vtx compute scale=1 0", "vtx compute scale=1 1", "vtx compute scale=2 0", "vtx compute scale=2 1"],
  ]);
});

test("repetitions differ in seed and timer phase, and the same suite always has the same ones", () => {
  const points = () => expand(parseSuite(`${good}repetitions: 3\n`, "s.yaml", ROOT));
  const first = points().slice(0, 3);
  expect(new Set(first.map((point) => point.seed)).size).toBe(3);
  expect(new Set(first.map((point) => point.timerPhase)).size).toBe(3);
  // less than a period of 1.193182 MHz at 3 800 MHz, in ticks of 1/12 cycle
  for (const point of first) expect(point.timerPhase).toBeLessThan(38218);
  expect(points()).toEqual(expand(parseSuite(`${good}repetitions: 3\n`, "s.yaml", ROOT)));
});

test("swept parameters make every combination, the first changing slowest", () => {
  expect(commandLines({ a: [1, 2], b: ["x", "y"] })).toEqual(["a=1 b=x", "a=1 b=y", "a=2 b=x", "a=2 b=y"]);
  expect(commandLines({})).toEqual([""]);
});

describe("what is wrong is said with file, line and column", () => {
  const cases: [name: string, text: string, kind: string, message: RegExp][] = [
    ["YAML that does not parse", "name: [", "bad-suite", /^s\.yaml:1:8: /],
    ["nothing at all", "", "bad-suite", /^s\.yaml:1:1: /],
    [
      "an unknown key",
      good.replace("workloads:", "worklods:"),
      "bad-suite",
      /^s\.yaml:6:1: unknown key "worklods"; did you mean "workloads"\?/,
    ],
    [
      "an unknown key of a row",
      `${good}rows:\n  - { row: a, instruction: SGDT, scenario: any, ring: 0 }\n`,
      "bad-suite",
      /^s\.yaml:10:49: unknown key "ring"; rows\.0 has row, instruction, cpl, scenario, cells, same/,
    ],
    [
      "a row that is listed twice",
      `${good}rows:\n  - { row: a, instruction: SGDT, scenario: any }\n  - { row: a, instruction: STR, scenario: any }\n`,
      "bad-suite",
      /^s\.yaml:11:5: listed twice/,
    ],
    [
      "a missing key",
      good.replace("profiles: [pentium4-672]\n", ""),
      "bad-suite",
      /^s\.yaml:1:1: "profiles" is missing/,
    ],
    [
      "a key of a technique",
      good.replace("memory:", "mem:"),
      "bad-suite",
      /^s\.yaml:5:23: unknown key "mem"; did you mean "memory"\?/,
    ],
    [
      "a value of the wrong type",
      `${good}repetitions: many\n`,
      "bad-suite",
      /^s\.yaml:9:14: repetitions: expected number, received string/,
    ],
    ["a value out of range", `${good}repetitions: 0\n`, "bad-suite", /^s\.yaml:9:14: repetitions: /],
    [
      "an unknown figure",
      `${good}figures: [pie]\n`,
      "bad-suite",
      /^s\.yaml:9:11: figures\.0: expected "nanobenchmarks" or "accounts"/,
    ],
    [
      "an unknown profile",
      good.replace("pentium4-672", "pentium4-762"),
      "unknown-profile",
      /^s\.yaml:2:12: no processor profile "pentium4-762"; did you mean "pentium4-672"\?/,
    ],
    [
      "an unknown technique",
      good.replace("vtx", "vtz"),
      "unknown-technique",
      /^s\.yaml:5:5: no technique "vtz"; did you mean "vtx"\?/,
    ],
    [
      "an unknown technique that a workload does not survive",
      good.replace("parameters: {", "fails: { clasical: it cannot }, parameters: {"),
      "unknown-technique",
      /^s\.yaml:\d+:\d+: no technique "clasical"; did you mean "classical"\?/,
    ],
    [
      "an unknown memory model",
      good.replace("shadow", "shadows"),
      "unknown-technique",
      /^s\.yaml:5:5: no memory model "shadows"; did you mean "shadow"\?/,
    ],
    [
      "a combination that never existed",
      good.replace("native }", "native, memory: shadow }"),
      "impossible-combination",
      /^s\.yaml:4:5: native never ran over memory model shadow: .*use direct/,
    ],
    [
      "an unknown workload",
      good.replace("- in", "- inn"),
      "unknown-workload",
      /^s\.yaml:7:5: no workload "inn"; did you mean "in"\?/,
    ],
    ["a workload listed twice", good.replace("- in", "- in\n  - in"), "bad-suite", /^s\.yaml:8:5: listed twice/],
    ["a key given twice", `${good}name: again\n`, "bad-suite", /^s\.yaml:9:1: /],
    ["a parameter with a blank", good.replace("[1, 2]", "'1 2'"), "bad-suite", /^s\.yaml:8:\d+: .*no blanks/],
  ];
  test.each(cases)("%s", (_, text, kind, message) => {
    const found = problem(text);
    expect(found.message).toMatch(message);
    expect(found.kind).toBe(kind);
    expect(found.message).not.toContain("\n");
  });
});

test("every suite of the project can be read and expanded", () => {
  expect(suiteNames()).toContain("adams-agesen-2006");
  for (const name of suiteNames()) {
    const path = findSuite(name) as string;
    expect(path).toBe(join(SUITES_FOLDER, `${name}.yaml`));
    expect(expand(readSuite(path)).length).toBeGreaterThan(0);
  }
});

test("the default suite runs both profiles and all techniques over all nanobenchmarks of the manifest", () => {
  const manifest = JSON.parse(readFileSync(join(ROOT, "workloads", "images", "MANIFEST.json"), "utf8")) as {
    images: Record<string, { kind: string }>;
  };
  const nanobenchmarks = Object.entries(manifest.images)
    .filter(([, image]) => image.kind === "nanobenchmark")
    .map(([name]) => name);
  const suite = readSuite(findSuite("adams-agesen-2006") as string);
  expect(suite.profiles).toEqual(["pentium4-672", "core2-e6700"]);
  expect(suite.techniques.map((each) => each.technique)).toEqual(["native", "classical", "bt", "vtx"]);
  expect(suite.workloads.map((each) => each.workload.name)).toEqual([...nanobenchmarks, "compute"]);
  expect(suite.workloads.flatMap(({ workload, fails }) => (fails === undefined ? [] : [workload.name]))).toEqual([
    ...["cli-sti", "pushf-popf"],
  ]);
  // The timer's phase is the only thing that repetitions differ by.
  expect(expand(suite)).toHaveLength(2 * 4 * (18 + 3));
});

test("the ablation changes one parameter of the translator at a time, after the usual one; where the cache is to overflow units are small, too", () => {
  const suite = readSuite(findSuite("ablation") as string);
  expect(suite.techniques.map(({ technique, variant = "" }) => `${technique} ${variant}`)).toEqual([
    ...["bt ", "bt chaining=false", "bt inline=false", "bt adaptation=false", "bt returnLookup=false"],
    ...["bt unitSize=1", "bt unitSize=4", "bt unitSize=1 cacheKb=16", "bt user=translate"],
  ]);
  expect(suite.samples).toBeGreaterThan(0);
});

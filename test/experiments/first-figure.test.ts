import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { breakdownOf } from "../../experiments/explain.ts";
import { readImage } from "../../experiments/images.ts";
import { simulate } from "../../experiments/simulate.ts";
import { profileNamed } from "../../sim/cpu/profiles/catalogue.ts";
import type { RunResult } from "../../sim/result.ts";

const images = new URL("../../workloads/images/", import.meta.url).pathname;
const manifest = JSON.parse(readFileSync(`${images}MANIFEST.json`, "utf8"));
const entries: { name: string; kind: string }[] = Array.isArray(manifest.images)
  ? manifest.images
  : Object.entries(manifest.images).map(([name, entry]) => ({ name, ...(entry as { kind: string }) }));
const nanobenchmarks = entries.filter((entry) => entry.kind === "nanobenchmark").map((entry) => entry.name);

const results = new Map<string, RunResult>();

function run(name: string, technique: "native" | "vtx" | "bt", profile = "pentium4-672", explain = false): RunResult {
  const key = `${name} ${technique} ${profile} ${explain}`;
  const known = results.get(key);
  if (known !== undefined) return known;
  const result = simulate({
    image: readImage(`${images}${name}.elf`),
    commandLine: name === "timer-interrupt" ? "iterations=3" : "iterations=64 warm-up=8",
    profile: profileNamed(profile),
    technique,
    memoryModel: technique === "native" ? "direct" : "shadow",
    guestMemoryBytes: 64 << 20,
    maxCycles: 2e9,
    seed: 1,
    timerPhase: 0,
    ...(explain ? { explainRegion: 0 } : {}),
  });
  results.set(key, result);
  return result;
}

function perIteration(result: RunResult): number {
  const region = result.regions[0];
  if (region === undefined) throw new Error("no region");
  return (region.ticks - region.baselineTicks) / 12 / region.iterations;
}

describe("inputs and the calibrated cell", () => {
  test.each([
    ["in", 3209],
    ["callret", 11],
    ["pgfault", 1093],
    ["divzero", 889],
    ["syscall-sysenter", 242],
    ["tprwr", 150],
  ])("native %s costs what was published, %d cycles, because the profile was made from it", (name, published) => {
    expect(Math.abs(perIteration(run(name, "native")) - published)).toBeLessThan(0.75);
  });

  test("IN under VT-x costs the 15 826 cycles that monitorCpi was fitted to", () => {
    const result = run("in", "vtx", "pentium4-672", true);
    const { measured, baseline } = result.explanation as NonNullable<RunResult["explanation"]>;
    expect(Math.abs(breakdownOf(measured, baseline).ticks / 12 - 15826)).toBeLessThan(0.5);
  });
});

describe("the additive list of an iteration", () => {
  for (const profile of ["pentium4-672", "core2-e6700"]) {
    test.each(nanobenchmarks)(`accounts for every tick of %s on ${profile} under VT-x`, (name) => {
      const { explanation } = run(name, "vtx", profile, true);
      const { measured, baseline } = explanation as NonNullable<RunResult["explanation"]>;
      for (const iteration of [measured, baseline]) {
        if (iteration === null) continue;
        expect(iteration.items.reduce((sum, item) => sum + item.ticks, 0)).toBe(iteration.ticks);
      }
    });
  }

  test("shows the hardware's prices as published: exit 1 931, ten VMREADs 1 780, entry 2 409", () => {
    const { explanation } = run("in", "vtx", "pentium4-672", true);
    const items = new Map((explanation?.measured.items ?? []).map((item) => [item.name, item]));
    expect(items.get("VM exit")).toMatchObject({ count: 1, ticks: 1931 * 12 });
    expect(items.get("VMREAD")).toMatchObject({ count: 10, ticks: 1780 * 12 });
    expect(items.get("VM entry")).toMatchObject({ count: 1, ticks: 2409 * 12 });
  });
});

describe("returns under binary translation", () => {
  const mispredictions = (name: string, technique: "native" | "bt") => {
    const { measured, baseline } = run(name, technique, "pentium4-672", true).explanation as NonNullable<
      RunResult["explanation"]
    >;
    const { items } = breakdownOf(measured, baseline);
    return items.find(({ name: item }) => item === "mispredicted branch")?.count ?? 0;
  };

  test("to one place are predicted, to two in turn never; the return stack of bare hardware foresees both", () => {
    expect(mispredictions("callret", "bt")).toBe(0);
    expect(mispredictions("callret-sites", "bt")).toBe(2);
    expect(mispredictions("callret-sites", "native")).toBe(0);
    expect(perIteration(run("callret-sites", "bt"))).toBeGreaterThan(4 * perIteration(run("callret-sites", "native")));
  });
});

describe("cells without exits", () => {
  const without = [
    "syscall-int",
    "syscall-sysenter",
    "callret",
    "callret-sites",
    "divzero",
    "cli-sti",
    "pushf-popf",
    "rdtsc",
  ];
  for (const profile of ["pentium4-672", "core2-e6700"]) {
    test.each(without)(
      `%s costs the same under VT-x as on bare hardware on ${profile}, but for TLB effects`,
      (name) => {
        const native = run(name, "native", profile);
        const vtx = run(name, "vtx", profile);
        expect(Object.keys(vtx.regions[0]?.exits ?? {})).toEqual([]);
        // What is left is walks after the last exit before the regions, spread over the iterations.
        expect(Math.abs(perIteration(vtx) - perIteration(native))).toBeLessThan(5);
      },
    );
  }
});

// A small suite run with the fake simulator, as a results folder.

import { join } from "node:path";
import { ROOT } from "../../experiments/paths.ts";
import { expand, type Point, type Setting } from "../../experiments/point.ts";
import { type Results, readResults, writeResults } from "../../experiments/results-folder.ts";
import { runPoints } from "../../experiments/runner.ts";
import { folderStore } from "../../experiments/store.ts";
import { parseSuite } from "../../experiments/suite.ts";
import type { RunResult } from "../../sim/result.ts";
import { fakeExecutor } from "./fake-simulator.ts";

export const SMALL_SUITE = `name: small
title: A small suite
profiles: [pentium4-672, core2-e6700]
techniques: [{ technique: native }, { technique: vtx }]
workloads: [syscall-sysenter, in, callret]
repetitions: 3
`;

/** Cycles per iteration that the fake results have, by technique and workload. */
export const COSTS: Readonly<Record<string, number>> = {
  "native syscall-sysenter": 250,
  "vtx syscall-sysenter": 250.5,
  "native in": 3209,
  "vtx in": 15826,
  "native callret": 0.25,
  "vtx callret": 0.25,
};

/** A result whose region costs exactly what COSTS says. */
export function withCost(point: Point, result: RunResult): RunResult {
  const region = result.regions[0] as RunResult["regions"][number];
  const cost = (COSTS[`${point.technique} ${point.workload}`] as number) * 12 * region.iterations;
  const exits: Record<string, number> = point.workload === "in" && point.technique === "vtx" ? { "port-io": 1000 } : {};
  return { ...result, regions: [{ ...region, ticks: region.baselineTicks + cost, exits }] };
}

/** Runs a suite with the fake simulator into `folder`. */
export async function runSmall(
  folder: string,
  { text = SMALL_SUITE, settings = [] as readonly Setting[], behave = withCost } = {},
): Promise<Results> {
  const suite = parseSuite(text, "small.yaml", ROOT);
  const points = expand(suite, { settings });
  const store = folderStore(join(folder, "points"));
  const outcomes = await runPoints(points, { store, executor: fakeExecutor(behave), code: "code" });
  writeResults(join(folder, "out"), suite, outcomes, "code");
  return readResults(join(folder, "out"));
}

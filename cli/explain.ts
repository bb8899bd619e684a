/** `ringlab explain`: where the cycles of one iteration go. */

import { ticksPerIteration } from "../experiments/csv/measurements.ts";
import { problemOf } from "../experiments/ends.ts";
import { breakdownOf, renderBreakdown } from "../experiments/explain.ts";
import { exactly } from "../experiments/numbers.ts";
import { singleLabel } from "../experiments/point.ts";
import { Problem } from "../experiments/problem.ts";
import { hint } from "../experiments/suggest.ts";
import { combinationLabel } from "../experiments/techniques.ts";
import { findWorkload, type Workload } from "../experiments/workloads.ts";
import { TICKS_PER_CYCLE } from "../sim/clock.ts";
import type { Environment } from "./environment.ts";
import { OK } from "./exit-codes.ts";
import { runSingle, type SingleArguments, singlePoint } from "./single.ts";

export interface ExplainArguments extends SingleArguments {
  readonly workload: string;
  readonly region?: string | undefined;
}

export async function explainCommand(options: ExplainArguments, environment: Environment): Promise<number> {
  const workload = findWorkload(options.workload);
  const region = regionOf(workload, options.region);
  const point = singlePoint(options.workload, options, region);
  const result = await runSingle(point, options.trace, environment);
  const problem = problemOf(result.end, singleLabel(point), point.maxCycles);
  if (problem !== null) throw problem;

  const measure = result.regions.find((each) => each.region === region);
  if (result.explanation === undefined || measure === undefined) {
    throw new Problem(
      "unknown-workload",
      `${workload.name}: no iteration of region ${region} was seen; does it mark its iterations?`,
    );
  }
  const { measured, baseline } = result.explanation;
  const breakdown = breakdownOf(measured, baseline);
  const set = point.overrides === "" ? "" : `, with ${point.overrides}`;
  const name = workload.regions[String(region)] ?? `region ${region}`;
  const mean = exactly(ticksPerIteration(measure) / TICKS_PER_CYCLE);
  environment.out(
    [
      `${name} on ${point.profile}, ${combinationLabel(point)}${set}: ${workload.description}`,
      "",
      renderBreakdown(breakdown),
      `The mean over ${measure.iterations} iterations is ${mean} cycles.`,
      "",
    ].join("\n"),
  );
  return OK;
}

/** The number of the region that was asked for; the first when none was. */
function regionOf(workload: Workload, asked: string | undefined): number {
  const regions = Object.entries(workload.regions);
  if (asked === undefined) return Number(regions[0]?.[0] ?? 0);
  const found = regions.find(([number, name]) => number === asked || name === asked);
  if (found !== undefined) return Number(found[0]);
  if (regions.length === 0 && /^\d+$/.test(asked)) return Number(asked);
  const names = regions.map(([, name]) => name);
  throw new Problem("unknown-workload", `${workload.name} has no region "${asked}"${hint(asked, names)}`);
}

/** Measurements of a run: per region the cost of an iteration and what it was made of, and totals of the run. */
import { TICKS_PER_CYCLE } from "../../sim/clock.ts";
import type { RegionMeasure, RunResult } from "../../sim/result.ts";
import type { PointKey } from "../point.ts";
import { keyOf, type Measurement, rounded } from "./columns.ts";

export const COST = "cost";

/** All measurements of one run; `nameOf` names its regions. */
export function measurementsOf(point: PointKey, result: RunResult, nameOf: (region: number) => string): Measurement[] {
  const common = { key: keyOf(point), repetition: point.repetition };
  const run = { ...common, region: "", regionName: "run", detail: "" };
  const cycles = result.ticks / TICKS_PER_CYCLE;
  return [
    ...result.regions.flatMap((region) => regionMeasurements(region, common, nameOf(region.region))),
    { ...run, quantity: "cycles", value: rounded(cycles), unit: "cycles" },
    { ...run, quantity: "time", value: rounded(cycles / result.frequencyMHz / 1000), unit: "ms" },
    { ...run, quantity: "instructions", value: result.instructions, unit: "instructions" },
    { ...run, quantity: "timer ticks lost", value: result.ticksLost, unit: "ticks" },
  ];
}

/**
 * What one iteration costs in ticks: the measured region less the baseline, over the iterations. A baseline whose
 * iterations are not marked (timer-interrupt: the spins between two ticks) is taken off as a whole.
 */
export function ticksPerIteration(region: RegionMeasure): number {
  return perIteration(region, region.ticks, region.baselineTicks);
}

function perIteration(region: RegionMeasure, measured: number, baseline: number): number {
  const { iterations, baselineIterations } = region;
  if (baselineIterations === 0 || baselineIterations === iterations) return (measured - baseline) / iterations;
  return measured / iterations - baseline / baselineIterations;
}

function regionMeasurements(
  region: RegionMeasure,
  common: Pick<Measurement, "key" | "repetition">,
  regionName: string,
): Measurement[] {
  const row = (quantity: string, value: number, unit: string, detail = ""): Measurement => ({
    ...common,
    ...{ region: String(region.region), regionName, quantity, detail, value: rounded(value), unit },
  });
  const totals = [
    row("measured", region.ticks / TICKS_PER_CYCLE, "cycles"),
    row("baseline", region.baselineTicks / TICKS_PER_CYCLE, "cycles"),
    row("iterations", region.iterations, "iterations"),
    row("instructions", region.instructions, "instructions"),
  ];
  if (region.iterations === 0) return totals;
  const causes = [...new Set([...Object.keys(region.exits), ...Object.keys(region.baselineExits)])].sort();
  return [
    row(COST, ticksPerIteration(region) / TICKS_PER_CYCLE, "cycles/iteration"),
    ...causes.map((cause) => {
      const count = perIteration(region, region.exits[cause] ?? 0, region.baselineExits[cause] ?? 0);
      return row("exits", count, "exits/iteration", cause);
    }),
    row("page walks", perIteration(region, region.walks, region.baselineWalks), "walks/iteration"),
    ...totals,
  ];
}

/** The cells of a run's table: what one iteration costs, by profile, technique and workload. Table and figures use them. */
import { COST } from "./csv/measurements.ts";
import type { Summary } from "./csv/summary.ts";
import { type ComparedCell, type Published, publishedFor } from "./published.ts";
import type { Results } from "./results-folder.ts";
import { type Combination, sameCombination } from "./techniques.ts";
import type { WorkloadKind } from "./workloads.ts";

/** A row of the table: one region of one workload under one command line. */
export interface CellRow {
  /** `in`, `compute scale=1: sort`. */
  readonly label: string;
  readonly workload: string;
  readonly kind: WorkloadKind;
  readonly parameters: string;
  readonly region: string;
}

export interface Cell {
  readonly profile: string;
  readonly combination: Combination;
  readonly row: CellRow;
  /** Cycles per iteration; absent when the point failed. */
  readonly cost?: Summary;
  /** Why there is no cost, where there was to be none: the guest does not survive the technique. */
  readonly fails?: string;
  readonly published?: ComparedCell;
}

/** The rows of a run, in the order of its suite. */
export function rowsOf(results: Results): readonly CellRow[] {
  return results.run.suite.workloads.flatMap(({ name, kind }) => {
    const costs = results.summary.filter((each) => each.key.workload === name && each.quantity === COST);
    const seen = new Map<string, CellRow>();
    const alone = new Set(costs.map((each) => each.region)).size === 1;
    const swept = new Set(costs.map((each) => each.key.parameters)).size > 1;
    for (const { key, region, regionName } of costs) {
      const of = [name, ...(swept ? [key.parameters] : [])].join(" ");
      const label = alone ? of : `${of}: ${regionName}`;
      seen.set(`${key.parameters}/${region}`, { label, workload: name, kind, parameters: key.parameters, region });
    }
    return [...seen.values()];
  });
}

/** The cell of a row. */
export function cellOf(
  results: Results,
  published: Published,
  profile: string,
  combination: Combination,
  row: CellRow,
): Cell {
  const cost = results.summary.find(
    ({ key, region, quantity }) =>
      quantity === COST &&
      key.profile === profile &&
      sameCombination(key, combination) &&
      key.workload === row.workload &&
      key.parameters === row.parameters &&
      region === row.region,
  );
  const { technique, variant = "" } = combination;
  const beside = publishedFor(published, { profile, technique, variant, workload: row.workload });
  const fails = results.run.suite.workloads.find(({ name }) => name === row.workload)?.fails?.[technique];
  return {
    ...{ profile, combination, row },
    ...(cost === undefined ? {} : { cost }),
    ...(cost !== undefined || fails === undefined ? {} : { fails }),
    ...(beside === undefined ? {} : { published: beside }),
  };
}

/** VM exits per iteration of a cell, all causes together; undefined when its point failed. */
export function exitsOf(results: Results, { profile, combination, row, cost }: Cell): number | undefined {
  if (cost === undefined) return undefined;
  return results.summary
    .filter(
      ({ key, region, quantity }) =>
        quantity === "exits" &&
        key.profile === profile &&
        sameCombination(key, combination) &&
        key.workload === row.workload &&
        key.parameters === row.parameters &&
        region === row.region,
    )
    .reduce((sum, { mean }) => sum + mean, 0);
}

/** `ringlab diff`: two results folders compared. Status 3 when they differ, as diff(1) has 1. */
import { compare, isSame, renderComparison } from "../experiments/diff.ts";
import { type Results, readResults } from "../experiments/results-folder.ts";
import type { Environment } from "./environment.ts";
import { DIFFERENT, OK } from "./exit-codes.ts";
import { resultsFolder } from "./table.ts";

export interface DiffArguments {
  readonly a: string;
  readonly b: string;
  readonly tolerance: number;
}

export async function diffCommand({ a, b, tolerance }: DiffArguments, environment: Environment): Promise<number> {
  const [first, second] = [a, b].map((name) => readResults(resultsFolder(name, environment))) as [Results, Results];
  const comparison = compare(first, second, tolerance);
  const overrides = [first, second].map((each) => each.run.overrides);
  if (overrides[0] !== overrides[1]) {
    environment.out(`set in the first: ${overrides[0] || "nothing"}; in the second: ${overrides[1] || "nothing"}\n`);
  }
  environment.out(renderComparison(comparison));
  const within = tolerance === 0 ? "" : ` by more than ${tolerance} %`;
  const { compared, differences } = comparison;
  environment.err(
    `ringlab: ${differences.length || "none"} of ${compared} measurements that both have differ${within}\n`,
  );
  return isSame(comparison) ? OK : DIFFERENT;
}

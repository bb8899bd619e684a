/** `ringlab table`: the table of a finished run. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { readResults } from "../experiments/results-folder.ts";
import { renderTable } from "../experiments/table.ts";
import type { Environment } from "./environment.ts";
import { OK } from "./exit-codes.ts";

const DEFAULT_SUITE = "adams-agesen-2006";

export async function tableCommand(results: string | undefined, environment: Environment): Promise<number> {
  environment.out(renderTable(readResults(resultsFolder(results, environment))));
  return OK;
}

/** The folder that an argument names: a folder, or a run in results/runs by its name. */
export function resultsFolder(name: string | undefined, environment: Environment): string {
  const run = join(environment.runs, name ?? DEFAULT_SUITE);
  return name === undefined || (existsSync(run) && !existsSync(join(name, "run.json"))) ? run : name;
}

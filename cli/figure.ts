/** `ringlab figure`: the figures of a finished run, drawn anew. */
import { join } from "node:path";
import { drawFigures } from "../experiments/figures/draw.ts";
import { shown } from "../experiments/paths.ts";
import { Problem } from "../experiments/problem.ts";
import { readResults } from "../experiments/results-folder.ts";
import { hint } from "../experiments/suggest.ts";
import { FIGURE_NAMES, type FigureName } from "../experiments/suite-schema.ts";
import type { Environment } from "./environment.ts";
import { OK } from "./exit-codes.ts";
import { resultsFolder } from "./table.ts";

export interface FigureArguments {
  readonly results?: string | undefined;
  readonly only?: readonly string[] | undefined;
  readonly out?: string | undefined;
}

export async function figureCommand(
  { results, only, out }: FigureArguments,
  environment: Environment,
): Promise<number> {
  const folder = resultsFolder(results, environment);
  const read = readResults(folder);
  const names = (only ?? read.run.suite.figures).map(checked);
  for (const path of await drawFigures(read, names, out ?? join(folder, "figures")))
    environment.out(`${shown(path)}\n`);
  return OK;
}

function checked(name: string): FigureName {
  const found = FIGURE_NAMES.find((each) => each === name);
  if (found === undefined) throw new Problem("bad-results", `no figure "${name}"${hint(name, FIGURE_NAMES)}`);
  return found;
}

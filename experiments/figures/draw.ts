/** The figures of a run, each as a Vega-Lite specification, SVG and PNG. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { TopLevelSpec } from "vega-lite";
import { type Published, readPublished } from "../published.ts";
import { type Results, writeWhole } from "../results-folder.ts";
import { accountsFigure } from "./accounts.ts";
import { faultsEliminatedFigure } from "./faults-eliminated.ts";
import { nanobenchmarksFigure } from "./nanobenchmarks.ts";
import { translationStatisticsFigure } from "./translation-statistics.ts";

const FIGURES: Readonly<Record<string, (results: Results, published: Published) => TopLevelSpec | undefined>> = {
  nanobenchmarks: nanobenchmarksFigure,
  accounts: accountsFigure,
  "faults-eliminated": faultsEliminatedFigure,
  "translation-statistics": translationStatisticsFigure,
};

/** What draws: large libraries, loaded only when there is something to draw. */
export const drawing = () => import("./render.ts");

/** Draws the named figures into a folder. A figure for which the run has no data is left away. Returns the paths. */
export async function drawFigures(results: Results, names: readonly string[], folder: string): Promise<string[]> {
  const published = readPublished();
  const written: string[] = [];
  for (const name of names) {
    const spec = FIGURES[name]?.(results, published);
    if (spec === undefined) continue;
    const { draw } = await drawing();
    const { svg, png } = await draw(spec);
    mkdirSync(folder, { recursive: true });
    written.push(writeWhole(join(folder, `${name}.vl.json`), `${JSON.stringify(spec, undefined, 2)}\n`));
    written.push(writeWhole(join(folder, `${name}.svg`), svg));
    written.push(writeWhole(join(folder, `${name}.png`), png));
  }
  return written;
}

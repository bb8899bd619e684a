/** `ringlab validation`: docs/VALIDATION.md, from fresh (or stored) runs of every compared cell. */
import { join } from "node:path";
import { suiteOf } from "../experiments/ad-hoc.ts";
import { shown } from "../experiments/paths.ts";
import { expand, type Point } from "../experiments/point.ts";
import { readPublished } from "../experiments/published.ts";
import { writeWhole } from "../experiments/results-folder.ts";
import { runPoints } from "../experiments/runner.ts";
import { folderStore } from "../experiments/store.ts";
import { comparedResult, validationDocument } from "../experiments/validation-document.ts";
import type { Environment } from "./environment.ts";
import { OK } from "./exit-codes.ts";
import { showProgress } from "./progress.ts";
import { stoppable } from "./stoppable.ts";

export async function validationCommand(out: string | undefined, environment: Environment): Promise<number> {
  const published = readPublished();
  const points = published.cells.map(({ workload, profile, technique, variant }) => {
    const written = [technique, ...(variant === "" ? [] : variant.split(" "))].join(",");
    const suite = suiteOf(workload, undefined, { profiles: [profile], techniques: [written] });
    return expand(suite, { explainRegion: 0 })[0] as Point;
  });
  const executor = await environment.executor(undefined);
  const progress = showProgress(points.length, environment);
  const store = folderStore(join(environment.runs, "points"));
  try {
    const outcomes = await stoppable(environment, async (signal) =>
      runPoints(points, {
        ...{ store, executor, signal, code: await environment.code() },
        onOutcome: (outcome) => progress.done(outcome),
      }),
    );
    progress.stop();
    const failed = outcomes.find((outcome) => outcome.problem !== undefined);
    if (failed?.problem !== undefined) throw failed.problem;
    const results = outcomes.flatMap((outcome, index) => {
      const compared = comparedResult(published.cells[index] as (typeof published.cells)[number], outcome);
      return compared === undefined ? [] : [compared];
    });
    const document = validationDocument(published, results);
    if (out === undefined) environment.out(document);
    else environment.err(`ringlab: wrote ${shown(writeWhole(out, document))}\n`);
    return OK;
  } finally {
    progress.stop();
    await executor.close();
  }
}

/** What `boot` and `explain` share: a single point from the command line, run in a worker so that Ctrl-C is heard. */

import { suiteOf } from "../experiments/ad-hoc.ts";
import { expand, type Point, singleLabel } from "../experiments/point.ts";
import { asProblem, Problem } from "../experiments/problem.ts";
import { Interrupted } from "../experiments/runner.ts";
import { PROFILE_NAMES } from "../sim/cpu/profiles/catalogue.ts";
import type { RunResult } from "../sim/result.ts";
import type { Environment } from "./environment.ts";
import { type GuestArguments, guestChoices, settingsOf } from "./options.ts";
import { stoppable } from "./stoppable.ts";

export interface SingleArguments extends GuestArguments {
  readonly profile: string;
  readonly technique: string;
  readonly "load-address"?: number | undefined;
}

/** The one point that the options name. Throws a Problem. */
export function singlePoint(target: string, options: SingleArguments, explainRegion?: number): Point {
  const choices = { ...guestChoices(options), profiles: [options.profile], techniques: [options.technique] };
  const suite = suiteOf(target, options["load-address"], choices);
  const settings = settingsOf(options.set, PROFILE_NAMES);
  const points = expand(suite, { settings, ...(explainRegion === undefined ? {} : { explainRegion }) });
  if (points.length > 1) throw new Problem("bad-override", "one value for each --param: this runs a single guest");
  return points[0] as Point;
}

/** Runs a point in a worker thread. Rejects with a Problem, or Stopped. */
export async function runSingle(
  point: Point,
  trace: string | undefined,
  environment: Environment,
  onSerial?: (text: string) => void,
): Promise<RunResult> {
  const executor = await environment.executor(1);
  try {
    return await stoppable(environment, (signal) => {
      const stopped = new Promise<never>((_, reject) => {
        signal.addEventListener("abort", () => reject(new Interrupted(0, 1)), { once: true });
      });
      const task = { point, ...(trace === undefined ? {} : { traceFile: trace }) };
      return Promise.race([executor.run(task, onSerial), stopped]);
    });
  } catch (error) {
    if (error instanceof Error && error.name === "Stopped") throw error;
    const problem = asProblem(error, "simulator-error");
    throw new Problem(problem.kind, `${singleLabel(point)}: ${problem.message}`);
  } finally {
    await executor.close();
  }
}

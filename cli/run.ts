/** `ringlab run`: a suite or one workload, into a folder of results and onto the terminal. */
import { dirname, join } from "node:path";
import { type Choices, chosen, suiteOf } from "../experiments/ad-hoc.ts";
import { shown } from "../experiments/paths.ts";
import { expand, type Point } from "../experiments/point.ts";
import type { Executor } from "../experiments/pool.ts";
import { Problem } from "../experiments/problem.ts";
import { type Outcome, runPoints } from "../experiments/runner.ts";
import { folderStore, type ResultStore, writeOnly } from "../experiments/store.ts";
import { nearest } from "../experiments/suggest.ts";
import type { Suite } from "../experiments/suite.ts";
import { findSuite, suiteNames } from "../experiments/suite-names.ts";
import { looksLikePath, workloadCatalogue } from "../experiments/workloads.ts";
import { PROFILE_NAMES } from "../sim/cpu/profiles/catalogue.ts";
import type { Environment } from "./environment.ts";
import { OK, PROBLEM_CODES } from "./exit-codes.ts";
import { type GuestArguments, guestChoices, settingsOf } from "./options.ts";
import { showProgress } from "./progress.ts";
import { stoppable } from "./stoppable.ts";

export interface RunArguments extends GuestArguments {
  readonly target: string;
  readonly profile?: readonly string[] | undefined;
  readonly technique?: readonly string[] | undefined;
  readonly repetitions?: number | undefined;
  readonly "load-address"?: number | undefined;
  readonly out?: string | undefined;
  readonly cache: boolean;
  readonly verify: boolean;
  readonly workers?: number | undefined;
}

export async function runCommand(options: RunArguments, environment: Environment): Promise<number> {
  const suite = await suiteFor(options);
  const points = expand(suite, { settings: settingsOf(options.set, PROFILE_NAMES) });
  const { outcomes, code } = await runAll(points, options, suite, environment);

  const { writeResults, readResults, writeWhole, renderTable, drawFigures } = await presentation(suite);
  const folder = options.out ?? join(environment.runs, suite.name);
  const written = writeResults(folder, suite, outcomes, code);
  const results = readResults(folder);
  const table = renderTable(results);
  written.push(writeWhole(join(folder, "table.txt"), table));
  written.push(...(await drawFigures(results, suite.figures, join(folder, "figures"))));
  environment.out(`${table}\n${writtenText(folder, written)}`);
  return reportProblems(outcomes, environment);
}

/** What shows results. It is not read before guests run. */
async function presentation(suite: Suite) {
  const { readResults, writeResults, writeWhole } = await import("../experiments/results-folder.ts");
  const { renderTable } = await import("../experiments/table.ts");
  const { drawFigures, drawing } = await import("../experiments/figures/draw.ts");
  if (suite.figures.length > 0) await drawing();
  return { readResults, writeResults, writeWhole, renderTable, drawFigures };
}

/** The suite that a target and the options name. */
async function suiteFor(options: RunArguments): Promise<Suite> {
  const { target, profile, technique, repetitions } = options;
  const choices: Choices = {
    ...guestChoices(options),
    ...(profile === undefined ? {} : { profiles: profile }),
    ...(technique === undefined ? {} : { techniques: technique }),
    ...(repetitions === undefined ? {} : { repetitions }),
  };
  const path = findSuite(target);
  if (path !== undefined) {
    const { readSuite } = await import("../experiments/suite.ts");
    return chosen(readSuite(path), choices);
  }
  if (/\.ya?ml$/.test(target)) throw new Problem("unknown-workload", `no suite file ${target}`);
  if (!looksLikePath(target)) checkTarget(target);
  return suiteOf(target, options["load-address"], choices);
}

/** A name that is neither: suggests the nearest of both. */
function checkTarget(target: string): void {
  const workloads = workloadCatalogue().map((workload) => workload.name);
  if (workloads.includes(target)) return;
  const near = nearest(target, [...suiteNames(), ...workloads]);
  const advice = near === undefined ? "ringlab list shows what there is" : `did you mean "${near}"?`;
  throw new Problem("unknown-workload", `no suite or workload "${target}"; ${advice}`);
}

async function runAll(
  points: readonly Point[],
  options: RunArguments,
  suite: Suite,
  environment: Environment,
): Promise<{ outcomes: readonly Outcome[]; code: string }> {
  const kept: ResultStore = folderStore(join(environment.runs, "points"));
  const store = options.cache ? kept : writeOnly(kept);
  // The first worker starts while the code is hashed.
  const executor = await environment.executor(options.workers);
  const progress = showProgress(points.length, environment);
  try {
    const code = await environment.code();
    const begin = performance.now();
    const outcomes = await stoppable(environment, async (signal) => {
      const running = runPoints(points, {
        ...{ store, executor, signal, code, verify: options.verify },
        onOutcome: (outcome) => progress.done(outcome),
        traceFile: (point) => traceFileFor(options.trace, point, points),
      });
      // A processor has nothing to do.
      const reading = points.length < executor.width ? presentation(suite) : undefined;
      return (await Promise.all([running, reading]))[0];
    });
    progress.stop();
    tellEffort(outcomes, executor, (performance.now() - begin) / 1e3, environment);
    return { outcomes, code };
  } finally {
    progress.stop();
    await executor.close();
  }
}

/** What the points took that were not known from before. */
function tellEffort(outcomes: readonly Outcome[], executor: Executor, seconds: number, environment: Environment): void {
  const simulated = outcomes.filter(({ cached }) => !cached).length;
  const memory = executor.memoryMb?.();
  if (simulated === 0 || memory === undefined) return;
  const workers = `${executor.width} ${executor.width === 1 ? "worker" : "workers"} of ${memory} MB at most`;
  environment.err(`ringlab: ${simulated} points in ${seconds.toFixed(1)} s, ${workers}\n`);
}

/** `exits.jsonl` for a single point; with more, the point's name goes before the extension. */
function traceFileFor(trace: string | undefined, point: Point, points: readonly Point[]): string | undefined {
  if (trace === undefined || points.length === 1) return trace;
  const { profile, technique, memory, variant, workload, parameters, repetition } = point;
  const name = [workload, parameters, profile, technique, memory, variant, repetition]
    .filter((each) => each !== "")
    .join("-")
    .replace(/[^\w.=-]+/g, "-");
  return trace.replace(/(\.[^./]*)?$/, (extension) => `-${name}${extension}`);
}

/** The paths that were written, one line a folder. */
function writtenText(folder: string, written: readonly string[]): string {
  const folders = [...new Set(written.map(dirname))];
  const lines = folders.map((each) => {
    const names = written.filter((path) => dirname(path) === each).map((path) => path.slice(each.length + 1));
    return `  ${shown(each)}/  ${names.join(" ")}`;
  });
  return `Wrote ${shown(folder)}:\n${lines.join("\n")}\n`;
}

/** Every failed point in one line, in order; the status is the first one's. */
function reportProblems(outcomes: readonly Outcome[], environment: Environment): number {
  const problems = outcomes.flatMap(({ problem }) => (problem === undefined ? [] : [problem]));
  for (const problem of problems) environment.err(`ringlab: ${problem.message}\n`);
  const [first] = problems;
  if (first === undefined) return OK;
  if (outcomes.length > 1) environment.err(`ringlab: ${problems.length} of ${outcomes.length} points failed\n`);
  return PROBLEM_CODES[first.kind].code;
}

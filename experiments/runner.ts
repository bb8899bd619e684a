/**
 * Runs points: those that the store has are read, the others go to the executor, each result is stored as it comes.
 * The answer is in the order of the points, whatever the order of finishing.
 */
import type { RunResult } from "../sim/result.ts";
import { problemOf } from "./ends.ts";
import { addressOf, type Point, pointLabel } from "./point.ts";
import type { Executor } from "./pool.ts";
import { asProblem, Problem } from "./problem.ts";
import type { ResultStore } from "./store.ts";
import type { VerifiedResult } from "./verify/sessions.ts";

/** What became of a point. */
export interface Outcome {
  readonly point: Point;
  readonly address: string;
  readonly cached: boolean;
  /** Absent when the simulator or its worker failed. */
  readonly result?: RunResult;
  /** Why the point is no success: how the guest ended, or what failed. */
  readonly problem?: Problem;
  /** How a guest ended that was not to survive. */
  readonly failure?: Problem;
}

export interface RunOptions {
  readonly store: ResultStore;
  readonly executor: Executor;
  /** Fingerprint of the simulator's code. */
  readonly code: string;
  /** Told of each point as it is done. */
  readonly onOutcome?: (outcome: Outcome) => void;
  /** Stops the run; finished points are in the store. */
  readonly signal?: AbortSignal;
  /** Compiled code is compared with the interpreter; nothing is read from the store. */
  readonly verify?: boolean;
  /** Where to trace a point's exits to; such a point is never read from the store. */
  readonly traceFile?: (point: Point) => string | undefined;
}

/** The run was stopped from outside. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
  readonly finished: number;
  readonly total: number;

  constructor(finished: number, total: number) {
    super(`interrupted: ${finished} of ${total} points finished`);
    this.finished = finished;
    this.total = total;
  }
}

/** Runs all points. Rejects with Interrupted when the signal comes first. */
export async function runPoints(points: readonly Point[], options: RunOptions): Promise<readonly Outcome[]> {
  const outcomes: (Outcome | undefined)[] = points.map(() => undefined);
  let finished = 0;
  const done = (index: number, outcome: Outcome) => {
    outcomes[index] = outcome;
    finished++;
    options.onOutcome?.(outcome);
  };
  const missing: number[] = [];
  points.forEach((point, index) => {
    const address = addressOf(point, options.code);
    const anew = options.verify === true || options.traceFile?.(point) !== undefined;
    const stored = anew ? undefined : options.store.load(address);
    if (stored === undefined) missing.push(index);
    else done(index, outcomeOf(point, address, stored, true));
  });

  const { signal, executor } = options;
  const waiting = byTechnique(missing, points);
  const aborted = new Promise<"aborted">((resolve) => {
    if (signal?.aborted) resolve("aborted");
    signal?.addEventListener("abort", () => resolve("aborted"), { once: true });
  });
  // Every other lane begins at the end: a worker keeps to few techniques, and V8 optimizes the others' code for it once less.
  const lane = async (_: unknown, number: number) => {
    const next = () => (number % 2 === 0 ? waiting.shift() : waiting.pop());
    for (let index = next(); index !== undefined; index = next()) {
      if (signal?.aborted) return;
      const outcome = await runPoint(points[index] as Point, options);
      if (signal?.aborted && outcome.result === undefined) return; // taken down with its worker
      done(index, outcome);
    }
  };
  const lanes = Promise.all(Array.from({ length: Math.min(executor.width, waiting.length) }, lane));
  if ((await Promise.race([lanes, aborted])) === "aborted") {
    await executor.close();
    await lanes;
    throw new Interrupted(finished, points.length);
  }
  return outcomes as readonly Outcome[];
}

/** Points of a technique together, in the order in which techniques come; of one technique in their own order. */
function byTechnique(indices: readonly number[], points: readonly Point[]): number[] {
  const groups = new Map<string, number[]>();
  for (const index of indices) {
    const { technique } = points[index] as Point;
    groups.set(technique, [...(groups.get(technique) ?? []), index]);
  }
  return [...groups.values()].flat();
}

async function runPoint(point: Point, options: RunOptions): Promise<Outcome> {
  const address = addressOf(point, options.code);
  const traceFile = options.traceFile?.(point);
  let verified: VerifiedResult;
  try {
    verified = await options.executor.run({
      point,
      ...(traceFile === undefined ? {} : { traceFile }),
      ...(options.verify === true ? { verify: true } : {}),
    });
  } catch (error) {
    const problem = asProblem(error, "simulator-error");
    const named = new Problem(problem.kind, `${pointLabel(point)}: ${problem.message}`);
    return { point, address, cached: false, problem: named };
  }
  const { difference, ...result } = verified;
  if (difference !== undefined) {
    const problem = new Problem("engine-differs", `${pointLabel(point)}: ${difference}`);
    return { point, address, cached: false, problem };
  }
  options.store.save(address, result);
  return outcomeOf(point, address, result, false);
}

function outcomeOf(point: Point, address: string, result: RunResult, cached: boolean): Outcome {
  const problem = problemOf(result.end, pointLabel(point), point.maxCycles);
  if (point.fails !== undefined) {
    if (problem !== null) return { point, address, cached, result, failure: problem };
    const unexpected = `${pointLabel(point)}: the guest survived, and the suite says that it does not: ${point.fails}`;
    return { point, address, cached, result, problem: new Problem("guest-survived", unexpected) };
  }
  return { point, address, cached, result, ...(problem === null ? {} : { problem }) };
}

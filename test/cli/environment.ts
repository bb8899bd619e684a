// A world for the command line in tests: what it says is kept, points run with the fake simulator in this thread.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Environment } from "../../cli/environment.ts";
import type { StopSignal } from "../../cli/exit-codes.ts";
import { ringlab } from "../../cli/ringlab.ts";
import type { Point } from "../../experiments/point.ts";
import type { RunResult } from "../../sim/result.ts";
import { fakeExecutor } from "../experiments/fake-simulator.ts";

export interface Answer {
  readonly status: number;
  readonly out: string;
  readonly err: string;
  readonly ran: readonly Point[];
}

export interface World {
  /** Changes results, or throws. */
  readonly behave?: (point: Point, result: RunResult) => RunResult | Promise<RunResult>;
  /** Gets a function that sends a signal. */
  readonly signals?: (send: (signal: StopSignal) => void) => void;
}

/** Runs a command line in this process; the store of points is made anew for each. */
export async function run(argv: readonly string[], { behave, signals }: World = {}): Promise<Answer> {
  const runs = mkdtempSync(join(tmpdir(), "ringlab-runs-"));
  try {
    return await runIn(runs, argv, { ...(behave && { behave }), ...(signals && { signals }) });
  } finally {
    rmSync(runs, { recursive: true, force: true });
  }
}

/** Runs a command line with its runs and stored points in a folder. */
export async function runIn(runs: string, argv: readonly string[], { behave, signals }: World = {}): Promise<Answer> {
  const said = { out: "", err: "" };
  const executor = fakeExecutor(behave);
  const environment: Environment = {
    out: (text) => {
      said.out += text;
    },
    err: (text) => {
      said.err += text;
    },
    isTerminal: false,
    runs,
    executor: async () => executor,
    code: async () => "code",
    onStop(stop) {
      signals?.(stop);
      return () => undefined;
    },
  };
  const status = await ringlab(argv, environment);
  return { status, ...said, ran: executor.ran };
}

// A world for the command line in tests: what it says is kept, points run with the fake simulator in this thread.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Console, Environment } from "../../cli/environment.ts";
import type { StopSignal } from "../../cli/exit-codes.ts";
import { ringlab } from "../../cli/ringlab.ts";
import type { Point } from "../../experiments/point.ts";
import { Session } from "../../experiments/session.ts";
import type { VerifiedResult } from "../../experiments/verify/sessions.ts";
import type { RunResult } from "../../sim/result.ts";
import { EndedSession, fakeExecutor, fakeSimulate } from "../experiments/fake-simulator.ts";

export interface Answer {
  readonly status: number;
  readonly out: string;
  readonly err: string;
  readonly ran: readonly Point[];
}

export interface World {
  /** Changes results, or throws. */
  readonly behave?: (point: Point, result: RunResult) => VerifiedResult | Promise<VerifiedResult>;
  /** Gets a function that sends a signal. */
  readonly signals?: (send: (signal: StopSignal) => void) => void;
  /** `boot` runs the real simulator. */
  readonly real?: boolean;
  readonly console?: Partial<Console>;
}

/** Runs a command line in this process; the store of points is made anew for each. */
export async function run(argv: readonly string[], world: World = {}): Promise<Answer> {
  const runs = mkdtempSync(join(tmpdir(), "ringlab-runs-"));
  try {
    return await runIn(runs, argv, world);
  } finally {
    rmSync(runs, { recursive: true, force: true });
  }
}

/** Runs a command line with its runs and stored points in a folder. */
export async function runIn(runs: string, argv: readonly string[], world: World = {}): Promise<Answer> {
  const { behave, signals, real, console } = world;
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
    async session(point, request) {
      if (real) return new Session(request);
      executor.ran.push(point);
      return new EndedSession(request, await (behave ?? ((_, result) => result))(point, fakeSimulate(request)));
    },
    console: { interactive: false, listen: () => () => undefined, readAll: async () => new Uint8Array(), ...console },
    code: async () => "code",
    onStop(stop) {
      signals?.(stop);
      return () => undefined;
    },
  };
  const status = await ringlab(argv, environment);
  return { status, ...said, ran: executor.ran };
}

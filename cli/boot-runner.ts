/** Who runs a booted guest: the session alone, a debugger (`--gdb`), a trace of its instructions, or `--verify`. */
import { InstructionTrace, type Moment, momentOf } from "../experiments/instruction-trace.ts";
import { grouped } from "../experiments/numbers.ts";
import { shown } from "../experiments/paths.ts";
import { Problem } from "../experiments/problem.ts";
import type { Session } from "../experiments/session.ts";
import type { SimulationRequest } from "../experiments/simulate.ts";
import { openLines } from "../experiments/task.ts";
import { lockstepOf } from "../experiments/verify/sessions.ts";
import type { Driver } from "./drive.ts";
import type { Environment } from "./environment.ts";
import { serveGdb } from "./gdb-server.ts";
import { numberOf, UsageError } from "./options.ts";

export interface RunnerOptions {
  readonly verify?: boolean | undefined;
  readonly gdb?: string | undefined;
  readonly "trace-instructions"?: string | undefined;
  readonly "trace-from"?: string | undefined;
  readonly "trace-to"?: string | undefined;
  readonly "trace-count"?: string | undefined;
}

export interface Runner {
  /** Runs to a moment at the latest; the session does when there is none. */
  readonly run?: Driver["run"];
  /** Whether someone else wants the run to end. */
  ended(): boolean;
  /** Ends its work; lines for the summary. */
  close(): readonly string[];
}

const DEFAULT_LINES = 1_000_000;

/** Rejects with a UsageError, or a Problem for a file or a port that is not to be had. */
export async function runnerFor(
  session: Session,
  request: SimulationRequest,
  options: RunnerOptions,
  environment: Environment,
): Promise<Runner> {
  const file = options["trace-instructions"];
  if (file === undefined && (options["trace-from"] ?? options["trace-to"] ?? options["trace-count"]) !== undefined) {
    throw new UsageError("--trace-from, --trace-to and --trace-count go with --trace-instructions FILE");
  }
  if (options.gdb !== undefined && file !== undefined) {
    throw new UsageError("--gdb and --trace-instructions do not go together");
  }
  if (options.verify === true) {
    if ((options.gdb ?? file) !== undefined) {
      throw new UsageError("--verify does not go together with --gdb or --trace-instructions");
    }
    return verifier(session, request);
  }
  if (options.gdb !== undefined) return debugged(session, options.gdb, environment);
  return file === undefined ? { ended: () => false, close: () => [] } : tracer(session, file, options);
}

/** Stops with a Problem where compiled code and the interpreter differ. */
function verifier(session: Session, request: SimulationRequest): Runner {
  const lockstep = lockstepOf(session, request);
  return {
    run(until) {
      const end = lockstep.run(until);
      if (lockstep.divergence !== null) throw new Problem("engine-differs", lockstep.divergence.report);
      return end;
    },
    ended: () => false,
    close: () => ["compiled code and the interpreter were alike all the time"],
  };
}

async function debugged(session: Session, address: string, environment: Environment): Promise<Runner> {
  const server = await serveGdb(session, address);
  const { stub } = server;
  environment.err(`ringlab: the guest waits for gdb: target remote ${server.address}\n`);
  return {
    run(until) {
      const end = stub.advance(until);
      return end === null && stub.waits ? "waits" : end;
    },
    ended: () => stub.killed,
    close() {
      server.close();
      return [];
    },
  };
}

function tracer(session: Session, file: string, options: RunnerOptions): Runner {
  const ticksPerSecond = session.machine.ledger.clock.ticksPerSecond;
  const moment = (name: "trace-from" | "trace-to"): Moment | undefined => {
    const text = options[name];
    if (text === undefined) return undefined;
    const found = momentOf(text, ticksPerSecond);
    if (found !== null) return found;
    throw new UsageError(`--${name} takes an address (0x100123), cycles (2e6) or a time (10ms), not "${text}"`);
  };
  const from = moment("trace-from");
  const to = moment("trace-to");
  const count = numberOf("trace-count", options["trace-count"] ?? String(DEFAULT_LINES), 1, true);
  const lines = openLines(file);
  const window = { ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }), count };
  const trace = new InstructionTrace(session, window, lines.write);
  return {
    run: (until) => trace.run(until),
    ended: () => false,
    close() {
      lines.close();
      return [`${grouped(trace.count)} instructions traced to ${shown(file)}`];
    },
  };
}

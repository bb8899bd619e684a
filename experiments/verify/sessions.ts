/** A guest of the laboratory in lockstep with itself: two sessions of one request, with compiled code and without. */
import type { RunResult } from "../../sim/result.ts";
import { Session } from "../session.ts";
import type { SimulationRequest } from "../simulate.ts";
import { Lockstep, type Runnable } from "./lockstep.ts";

/** A result, and where compiled code and the interpreter had different ones. */
export interface VerifiedResult extends RunResult {
  /** Lines of text about the first difference; absent when there was none. */
  readonly difference?: string;
}

/** `session` beside the same run by the interpreter alone, which is heard by nobody. */
export function lockstepOf(session: Session, request: SimulationRequest): Lockstep {
  const { onExit: _onExit, onSerial: _onSerial, ...silent } = request;
  return new Lockstep(runnable(session), runnable(new Session({ ...silent, engine: null })));
}

/** Runs a guest in lockstep, from reset to its end or to the first difference. */
export function simulateVerified(request: SimulationRequest): VerifiedResult {
  const session = new Session(request);
  const lockstep = lockstepOf(session, request);
  const end = lockstep.run(Number.POSITIVE_INFINITY);
  if (lockstep.divergence !== null) {
    return { ...session.result({ kind: "limit", cs: 0, eip: 0 }), difference: lockstep.divergence.report };
  }
  if (end === null || end.kind === "quit") throw new Error("a run without a script has an end of its own");
  return session.result(end);
}

function runnable(session: Session): Runnable {
  return {
    machine: session.machine,
    run: (until) => session.run({ until }),
    save: () => session.save(),
    restore: (saved) => session.restore(saved as ReturnType<Session["save"]>),
  };
}

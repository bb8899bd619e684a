/** The guests that are timed: one run from reset to the end, on the processor of the default suite. */
import { join } from "node:path";
import { readImage } from "../experiments/images.ts";
import { IMAGES_FOLDER } from "../experiments/paths.ts";
import { Session } from "../experiments/session.ts";
import type { SimulationRequest } from "../experiments/simulate.ts";
import type { TechniqueParameters } from "../experiments/technique-parameters.ts";
import { TECHNIQUES } from "../experiments/techniques.ts";
import { profileNamed } from "../sim/cpu/profiles/catalogue.ts";
import type { RunResult } from "../sim/result.ts";

export interface GuestRun {
  readonly workload: string;
  readonly technique: string;
  readonly commandLine: string;
  readonly parameters?: TechniqueParameters;
  readonly guestMb?: number;
}

export interface Ran {
  readonly result: RunResult;
  /** What the engine counted (sim/cpu/engine/engine.ts). */
  readonly engine: Readonly<Record<string, number>>;
}

/** Runs a guest. Throws unless it ends with status 0: a benchmark of what does not work measures nothing. */
export function runGuest(run: GuestRun): Ran {
  const session = new Session(requestOf(run));
  const end = session.run({ until: Number.POSITIVE_INFINITY });
  if (end === null || end.kind !== "exit" || end.status !== 0) {
    throw new Error(`${run.workload} ${run.commandLine}, ${run.technique}: ${JSON.stringify(end)}`);
  }
  return { result: session.result(end), engine: session.machine.core.engineStatistics() };
}

function requestOf({ workload, technique, commandLine, parameters, guestMb = 16 }: GuestRun): SimulationRequest {
  const info = TECHNIQUES.find(({ name }) => name === technique);
  if (info === undefined) throw new Error(`no technique ${technique}`);
  return {
    image: readImage(join(IMAGES_FOLDER, `${workload}.elf`)),
    commandLine,
    profile: profileNamed("pentium4-672"),
    technique,
    memoryModel: info.memory[0] as string,
    ...(parameters === undefined ? {} : { techniqueParameters: parameters }),
    guestMemoryBytes: guestMb * 2 ** 20,
    maxCycles: 1e12,
    seed: 1,
    timerPhase: 0,
  };
}

/** VM exits of a run, and entries of the monitor that are none: whatever it counted one by one. */
export function exitsOf({ exits }: RunResult): number {
  return exits.reduce((sum, { count }) => sum + count, 0);
}

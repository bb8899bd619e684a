/**
 * The one door from experiments to the simulator: a request that says everything that a run depends on, and a result
 * that is plain data. The same request gives the same result, whatever runs beside it.
 */
import type { EnginePolicy } from "../sim/cpu/engine/policy.ts";
import type { Profile } from "../sim/cpu/profiles/profile.ts";
import type { ExitRecord } from "../sim/observer.ts";
import type { Resources } from "../sim/resources.ts";
import type { RunResult } from "../sim/result.ts";
import type { Image } from "./images.ts";
import type { ScriptStep } from "./script.ts";
import { Session } from "./session.ts";
import type { TechniqueParameters } from "./technique-parameters.ts";

export interface SimulationRequest {
  readonly image: Image;
  /** Command line of a multiboot or Linux kernel, without the image's name. */
  readonly commandLine: string;
  /** Contents of disks beside the image. */
  readonly disks?: readonly Uint8Array[];
  /** What the BIOS prints on the screen, and programs through it, goes to the serial port, too. */
  readonly echoScreen?: boolean;
  /** The processor, with `--set` applied. */
  readonly profile: Profile;
  readonly technique: string;
  readonly memoryModel: string;
  /** What is not usual about the technique (its own parameters); checked. */
  readonly techniqueParameters?: TechniqueParameters;
  readonly guestMemoryBytes: number;
  /** The run ends with `limit` at the first instruction boundary at which this many cycles have passed. */
  readonly maxCycles: number;
  /** Seeds the replacement of TLBs that replace at random; an unsigned 32-bit number. */
  readonly seed: number;
  /** Ticks by which the timer's crystal is shifted against the clock; less than one of its periods. */
  readonly timerPhase: number;
  /** Itemise one iteration of this region (RunResult.explanation). */
  readonly explainRegion?: number;
  /** Samples of the technique's counters to keep, an even number (RunResult.samples); none when not given. */
  readonly samples?: number;
  /** Called at each VM exit, in order. */
  readonly onExit?: (record: ExitRecord) => void;
  /** Called with what the guest writes to its serial port, as it does. */
  readonly onSerial?: (text: string) => void;
  /** When code is compiled; null: never. Never changes a result. */
  readonly engine?: EnginePolicy | null;
  /** Memory and modules of the runs before. Never changes a result. */
  readonly resources?: Resources;
  /** What to wait for, send and type, in order (Session). */
  readonly script?: readonly ScriptStep[];
}

export type Simulate = (request: SimulationRequest) => RunResult;

/** Runs a guest from reset to its end. */
export function simulate(request: SimulationRequest): RunResult {
  const session = new Session(request);
  const end = session.run({ until: Number.POSITIVE_INFINITY });
  if (end === null || end.kind === "quit") throw new Error("a run without a script has an end of its own");
  return session.result(end);
}

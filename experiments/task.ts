/** What a worker is asked to do, and doing it: one point, simulated. Runs in a worker thread, or in place in tests. */
import { closeSync, mkdirSync, openSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { TICKS_PER_CYCLE } from "../sim/clock.ts";
import type { ExitRecord } from "../sim/observer.ts";
import { readImage } from "./images.ts";
import { shown } from "./paths.ts";
import { type Point, profileOf } from "./point.ts";
import { Problem } from "./problem.ts";
import type { Simulate, SimulationRequest } from "./simulate.ts";
import { parametersOfVariant } from "./technique-parameters.ts";
import type { VerifiedResult } from "./verify/sessions.ts";

export interface Task {
  readonly point: Point;
  /** File that gets a line of JSON per VM exit. */
  readonly traceFile?: string;
  /** Compiled code is compared with the interpreter all the while (verify/). */
  readonly verify?: boolean;
}

/** Simulates a point. `onSerial` hears what the guest prints as it does. */
export function runTask(task: Task, simulate: Simulate, onSerial?: (text: string) => void): VerifiedResult {
  const { point, traceFile } = task;
  const trace = traceFile === undefined ? undefined : openLines(traceFile);
  try {
    return simulate({
      ...requestOf(point),
      ...(trace === undefined ? {} : { onExit: (record) => trace.write(JSON.stringify(traceLine(record))) }),
      ...(onSerial === undefined ? {} : { onSerial }),
    });
  } finally {
    trace?.close();
  }
}

/** A point as the simulator takes it. Reads the image. Throws a Problem. */
export function requestOf(point: Point): SimulationRequest {
  return {
    image: readImage(point.imagePath, point.loadAddress),
    commandLine: point.parameters,
    profile: profileOf(point),
    technique: point.technique,
    memoryModel: point.memory,
    ...(point.variant === "" ? {} : { techniqueParameters: parametersOfVariant(point.variant) }),
    guestMemoryBytes: point.guestMemoryMb * 2 ** 20,
    maxCycles: point.maxCycles,
    seed: point.seed,
    timerPhase: point.timerPhase,
    ...(point.samples === undefined ? {} : { samples: point.samples }),
    ...(point.explainRegion === undefined ? {} : { explainRegion: point.explainRegion }),
  };
}

/** A file that gets lines, written in large pieces. */
export interface LineFile {
  write(line: string): void;
  close(): void;
}

/** Makes a file of lines, and its folder. Throws a Problem (`bad-output`). */
export function openLines(path: string): LineFile {
  let file: number;
  try {
    mkdirSync(dirname(path), { recursive: true });
    file = openSync(path, "w");
  } catch (error) {
    throw new Problem("bad-output", `${shown(path)}: cannot be written (${(error as NodeJS.ErrnoException).code})`);
  }
  let pending: string[] = [];
  const flush = () => {
    writeSync(file, pending.join(""));
    pending = [];
  };
  return {
    write(line) {
      pending.push(`${line}\n`);
      if (pending.length >= 1000) flush();
    },
    close() {
      flush();
      closeSync(file);
    },
  };
}

/** One exit as the trace shows it: times in cycles, addresses in hex. */
export function traceLine(record: ExitRecord) {
  return {
    cycle: record.time / TICKS_PER_CYCLE,
    reason: record.reason,
    cause: record.cause,
    qualification: `0x${record.qualification.toString(16)}`,
    cs: `0x${record.cs.toString(16)}`,
    eip: `0x${record.eip.toString(16)}`,
    hardwareCycles: record.hardwareTicks / TICKS_PER_CYCLE,
    monitorCycles: record.monitorTicks / TICKS_PER_CYCLE,
  };
}

/** What a worker is asked to do, and doing it: one point, simulated. Runs in a worker thread, or in place in tests. */
import { closeSync, mkdirSync, openSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { TICKS_PER_CYCLE } from "../sim/clock.ts";
import type { ExitRecord } from "../sim/observer.ts";
import type { RunResult } from "../sim/result.ts";
import { readImage } from "./images.ts";
import { type Point, profileOf } from "./point.ts";
import type { Simulate } from "./simulate.ts";

export interface Task {
  readonly point: Point;
  /** File that gets a line of JSON per VM exit. */
  readonly traceFile?: string;
}

/** Simulates a point. `onSerial` hears what the guest prints as it does. */
export function runTask(task: Task, simulate: Simulate, onSerial?: (text: string) => void): RunResult {
  const { point, traceFile } = task;
  const trace = traceFile === undefined ? undefined : openTrace(traceFile);
  try {
    return simulate({
      image: readImage(point.imagePath, point.loadAddress),
      commandLine: point.parameters,
      profile: profileOf(point),
      technique: point.technique,
      memoryModel: point.memory,
      guestMemoryBytes: point.guestMemoryMb * 2 ** 20,
      maxCycles: point.maxCycles,
      seed: point.seed,
      timerPhase: point.timerPhase,
      ...(point.explainRegion === undefined ? {} : { explainRegion: point.explainRegion }),
      ...(trace === undefined ? {} : { onExit: trace.write }),
      ...(onSerial === undefined ? {} : { onSerial }),
    });
  } finally {
    trace?.close();
  }
}

/** A trace file: one JSON object a line, times in cycles, addresses in hex. Written in large pieces. */
function openTrace(path: string): { write(record: ExitRecord): void; close(): void } {
  mkdirSync(dirname(path), { recursive: true });
  const file = openSync(path, "w");
  let pending: string[] = [];
  const flush = () => {
    writeSync(file, pending.join(""));
    pending = [];
  };
  return {
    write(record) {
      pending.push(`${JSON.stringify(traceLine(record))}\n`);
      if (pending.length >= 1000) flush();
    },
    close() {
      flush();
      closeSync(file);
    },
  };
}

/** One exit as the trace shows it. */
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

/** Who runs points: a pool of worker threads (piscina). A worker that dies takes its own point with it and no other. */
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { MessageChannel } from "node:worker_threads";
import { Piscina } from "piscina";
import { ROOT } from "./paths.ts";
import { Problem } from "./problem.ts";
import type { Task } from "./task.ts";
import type { VerifiedResult } from "./verify/sessions.ts";

/** Runs tasks; tests put another in the pool's place. */
export interface Executor {
  /** How many tasks are worth giving at once. */
  readonly width: number;
  /** Runs one task. `onSerial` hears the guest's output as it comes. Rejects with a Problem or an Error. */
  run(task: Task, onSerial?: (text: string) => void): Promise<VerifiedResult>;
  /** MB of the worker that was largest at the end of a task, its guest's memory included; absent when nobody knows. */
  memoryMb?(): number;
  /** Stops at once, whatever is running. */
  close(): Promise<void>;
}

/** MB of JavaScript heap that a worker may have, beside its guest's memory; one that needs more dies, with its point. */
const HEAP_LIMIT_MB = 512;

/** Loads the compiled worker (worker.ts). */
export const WORKER_FILE = join(ROOT, "bin", "worker.js");

/** Worker threads that a suite uses when nothing is said: one for each processor. */
export function defaultWorkers(): number {
  return availableParallelism();
}

/** A pool of `workers` threads that run `file`. */
export function workerPool(workers: number, file: string = WORKER_FILE): Executor {
  const pool = new Piscina({
    filename: file,
    name: "work",
    minThreads: Math.min(1, workers),
    maxThreads: workers,
    concurrentTasksPerWorker: 1,
    // A thread that is never idle-collected keeps its decoded code.
    idleTimeout: 60_000,
    resourceLimits: { maxOldGenerationSizeMb: HEAP_LIMIT_MB },
  });
  const memory = new Int32Array(new SharedArrayBuffer(4));
  // Thrown by a thread outside of any task (it is replaced); a task that it takes down is rejected by itself.
  pool.on("error", () => undefined);
  return {
    width: workers,
    async run(task, onSerial) {
      try {
        if (onSerial === undefined) return (await pool.run({ task, memory })) as VerifiedResult;
        const { port1, port2 } = new MessageChannel();
        const drained = new Promise<void>((resolve) => {
          port1.on("message", (text: string | null) => (text === null ? resolve() : onSerial(text)));
          port1.on("close", () => resolve());
        });
        try {
          const result = (await pool.run({ task, serial: port2, memory }, { transferList: [port2] })) as VerifiedResult;
          await drained;
          return result;
        } finally {
          port1.close();
        }
      } catch (error) {
        throw asCrash(error);
      }
    },
    memoryMb: () => Math.round(Atomics.load(memory, 0) / 1024),
    close: () => pool.destroy(),
  };
}

/** A thread that exits or dies rejects its task with an error that is not the task's own. */
function asCrash(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const code = (error as NodeJS.ErrnoException).code;
  if (code === "ERR_WORKER_OUT_OF_MEMORY") return new Problem("worker-crashed", "the worker ran out of memory");
  if (/^(Worker|worker|Terminating worker|The worker)/.test(error.message)) {
    return new Problem("worker-crashed", `the worker died (${error.message})`);
  }
  return error;
}

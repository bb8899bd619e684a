/** The worker thread of the pool (compiled: worker threads of Node 20 cannot load TypeScript). One task at a time. */
import { getHeapStatistics } from "node:v8";
import type { MessagePort } from "node:worker_threads";
import { Recycled } from "./recycled.ts";
import { type Simulate, simulate } from "./simulate.ts";
import { runTask, type Task } from "./task.ts";
import { simulateVerified, type VerifiedResult } from "./verify/sessions.ts";

export interface Work {
  readonly task: Task;
  /** Gets the guest's serial output as it comes; null says that there is no more. */
  readonly serial?: MessagePort;
  /** KB of the largest worker, shared by all. */
  readonly memory: Int32Array;
}

const recycled = new Recycled();

/** What piscina calls. */
export function work({ task, serial, memory }: Work): VerifiedResult {
  const run: Simulate = task.verify === true ? simulateVerified : simulate;
  try {
    return runTask(
      task,
      (request) => run({ ...request, resources: recycled }),
      serial && ((text) => serial.postMessage(text)),
    );
  } finally {
    serial?.postMessage(null);
    serial?.close();
    recycled.release();
    noteMemory(memory);
  }
}

/** This thread's heap and what hangs on it outside: the guest's memory above all. */
function noteMemory(memory: Int32Array): void {
  const { total_heap_size, external_memory } = getHeapStatistics();
  const kilobytes = Math.ceil((total_heap_size + external_memory) / 1024);
  // Somebody else's larger number may come between.
  for (let most = Atomics.load(memory, 0); most < kilobytes; ) {
    const found = Atomics.compareExchange(memory, 0, most, kilobytes);
    if (found === most) return;
    most = found;
  }
}

/** The worker thread of the pool (compiled: worker threads of Node 20 cannot load TypeScript). One task at a time. */
import type { MessagePort } from "node:worker_threads";
import { simulate } from "./simulate.ts";
import { runTask, type Task } from "./task.ts";
import { simulateVerified, type VerifiedResult } from "./verify/sessions.ts";

/** What piscina calls. The guest's serial output goes to `serial` as it comes; null says that there is no more. */
export function work({ task, serial }: { task: Task; serial?: MessagePort }): VerifiedResult {
  const run = task.verify === true ? simulateVerified : simulate;
  if (serial === undefined) return runTask(task, run);
  try {
    return runTask(task, run, (text) => serial.postMessage(text));
  } finally {
    serial.postMessage(null);
    serial.close();
  }
}

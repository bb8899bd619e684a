/** The command: the real world behind the command line of ringlab.ts. Imports as little as it can, to answer fast. */
import { join } from "node:path";
import { ROOT } from "../experiments/paths.ts";
import type { Environment } from "./environment.ts";
import { SIGNAL_CODES, type StopSignal } from "./exit-codes.ts";
import { ringlab } from "./ringlab.ts";

const environment: Environment = {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  isTerminal: process.stderr.isTTY === true,
  async executor(workers) {
    const { defaultWorkers, workerPool } = await import("../experiments/pool.ts");
    return workerPool(workers ?? defaultWorkers());
  },
  async code() {
    const { codeFingerprint } = await import("../experiments/fingerprint.ts");
    return codeFingerprint(join(ROOT, "dist"));
  },
  onStop(stop) {
    let asked = false;
    const listeners = (Object.keys(SIGNAL_CODES) as StopSignal[]).map((signal) => {
      const listener = () => {
        // Asked twice: do not wait for anything.
        if (asked) process.exit(SIGNAL_CODES[signal]);
        asked = true;
        stop(signal);
      };
      process.on(signal, listener);
      return () => process.off(signal, listener);
    });
    return () => listeners.forEach((remove) => void remove());
  },
};

// `ringlab table | head`: the reader has gone, and that is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(0);
});

process.exitCode = await ringlab(process.argv.slice(2), environment);

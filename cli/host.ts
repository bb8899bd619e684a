/** The real world: this process, its terminal, its signals, and worker threads. */
import { join } from "node:path";
import { DEFAULT_RUNS_FOLDER, ROOT } from "../experiments/paths.ts";
import type { Console, Environment } from "./environment.ts";
import { SIGNAL_CODES, type StopSignal } from "./exit-codes.ts";

/** The environment of a command that was started from a shell. */
export function hostEnvironment(): Environment {
  return {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    isTerminal: process.stderr.isTTY === true,
    runs: DEFAULT_RUNS_FOLDER,
    async executor(workers) {
      const { defaultWorkers, workerPool } = await import("../experiments/pool.ts");
      return workerPool(workers ?? defaultWorkers());
    },
    async session(_, request) {
      const { Session } = await import("../experiments/session.ts");
      return new Session(request);
    },
    console: hostConsole(),
    async code() {
      const { codeFingerprint } = await import("../experiments/fingerprint.ts");
      return codeFingerprint(join(ROOT, "dist"));
    },
    onStop: listenForSignals,
  };
}

function hostConsole(): Console {
  const { stdin, stdout } = process;
  return {
    interactive: stdin.isTTY === true && stdout.isTTY === true,
    listen(heard) {
      stdin.setRawMode(true);
      stdin.on("data", heard);
      stdin.resume();
      return () => {
        stdin.off("data", heard);
        stdin.pause();
        stdin.setRawMode(false);
      };
    },
    async readAll() {
      const chunks: Buffer[] = [];
      for await (const chunk of stdin) chunks.push(chunk as Buffer);
      return Buffer.concat(chunks);
    },
  };
}

function listenForSignals(stop: (signal: StopSignal) => void): () => void {
  let asked = false;
  const listeners = (Object.keys(SIGNAL_CODES) as StopSignal[]).map((signal) => {
    const listener = () => {
      // Asked twice: do not wait for anything.
      if (asked) process.exit(SIGNAL_CODES[signal]);
      asked = true;
      stop(signal);
    };
    process.on(signal, listener);
    return () => void process.off(signal, listener);
  });
  return () => {
    for (const remove of listeners) remove();
  };
}

/** Progress on stderr: a bar on a terminal, a line for each tenth otherwise. */
import { Presets, SingleBar } from "cli-progress";
import { pointLabel } from "../experiments/point.ts";
import type { Outcome } from "../experiments/runner.ts";
import type { Environment } from "./environment.ts";

export interface Progress {
  /** A point is done. */
  done(outcome: Outcome): void;
  /** No more is to come. */
  stop(): void;
}

/** So few points are done before a line about them is of use. */
const FEW = 5;

/** Shows the progress of a run of `total` points. */
export function showProgress(total: number, environment: Environment): Progress {
  if (environment.isTerminal) return bar(total);
  return total < FEW ? { done() {}, stop() {} } : lines(total, environment);
}

function bar(total: number): Progress {
  const format = "{bar} {value}/{total} points  {label}";
  const view = new SingleBar(
    { format, stream: process.stderr, clearOnComplete: true, hideCursor: true },
    Presets.shades_classic,
  );
  view.start(total, 0, { label: "" });
  return {
    done: ({ point }) => view.increment(1, { label: pointLabel(point) }),
    stop: () => view.stop(),
  };
}

function lines(total: number, environment: Environment): Progress {
  let count = 0;
  let cached = 0;
  let told = 0;
  return {
    done(outcome) {
      count++;
      if (outcome.cached) cached++;
      const tenths = Math.floor((count * 10) / total);
      if (tenths === told) return;
      told = tenths;
      const known = cached === 0 ? "" : ` (${cached} known from before)`;
      environment.err(`ringlab: ${count} of ${total} points${known}\n`);
    },
    stop() {},
  };
}

/** `ringlab boot`: one guest, its serial output as it comes, and how it ended. */

import { problemOf } from "../experiments/ends.ts";
import { exactly, grouped } from "../experiments/numbers.ts";
import { shown } from "../experiments/paths.ts";
import { type Point, singleLabel } from "../experiments/point.ts";
import { TICKS_PER_CYCLE } from "../sim/clock.ts";
import type { RunEnd, RunResult } from "../sim/result.ts";
import type { Environment } from "./environment.ts";
import { OK } from "./exit-codes.ts";
import { runSingle, type SingleArguments, singlePoint } from "./single.ts";

export interface BootArguments extends SingleArguments {
  readonly image: string;
}

export async function bootCommand(options: BootArguments, environment: Environment): Promise<number> {
  const point = singlePoint(options.image, options);
  let last = "\n";
  const result = await runSingle(point, options.trace, environment, (text) => {
    last = text;
    environment.out(text);
  });
  if (!last.endsWith("\n")) environment.out("\n");
  environment.err(exitSummary(point, result, options.trace));
  const problem = problemOf(result.end, singleLabel(point), point.maxCycles);
  if (problem !== null) throw problem;
  return OK;
}

/** How it ended, how long it took, and its exits by reason and cause. */
export function exitSummary(point: Point, result: RunResult, trace?: string): string {
  const cycles = result.ticks / TICKS_PER_CYCLE;
  const seconds = cycles / (result.frequencyMHz * 1e6);
  const set = point.overrides === "" ? "" : `, with ${point.overrides}`;
  const lines = [
    `${singleLabel(point)}${set}: ${endText(result.end)}`,
    `${grouped(Math.round(cycles))} cycles (${(seconds * 1000).toFixed(3)} ms), ${grouped(result.instructions)} guest instructions`,
  ];
  if (result.exits.length > 0) lines.push("", ...exitLines(result));
  if (trace !== undefined) lines.push("", `exits traced to ${shown(trace)}`);
  return `\n${lines.join("\n")}\n`;
}

function endText(end: RunEnd): string {
  return end.kind === "exit" ? `exit status ${end.status}` : end.kind.replace("-", " ");
}

function exitLines(result: RunResult): string[] {
  const mean = (ticks: number, count: number) => exactly(ticks / count / TICKS_PER_CYCLE, 0);
  const rows = [...result.exits]
    .sort((a, b) => b.count - a.count)
    .map((exit) => [
      ...[exit.reason, exit.cause, grouped(exit.count)],
      ...[mean(exit.hardwareTicks, exit.count), mean(exit.monitorTicks, exit.count)],
    ]);
  const all = [["exit reason", "cause", "count", "hardware", "monitor"], ...rows];
  const widths = [0, 1, 2, 3, 4].map((column) => Math.max(...all.map((row) => (row[column] as string).length)));
  const lines = all.map((row) =>
    row
      .map((cell, column) =>
        column < 2 ? cell.padEnd(widths[column] as number) : cell.padStart(widths[column] as number),
      )
      .join("  "),
  );
  return [...lines, "(hardware and monitor: mean cycles per exit)"];
}

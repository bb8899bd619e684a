/** The print-out: each quantity with its interval, beside what it was in the run before. */
import { shown } from "../experiments/paths.ts";
import type { MachineFacts, Measured, Record } from "./record.ts";
import { apart, intervalOf } from "./statistics.ts";

export const HEADING = line("", "median", "95 % interval", "unit", "before", "");

/** One quantity as a line; `before` is the same one of an earlier run. */
export function measuredLine(measured: Measured, before: Measured | undefined): string {
  const now = intervalOf(measured.samples);
  const interval = measured.samples.length === 1 ? "" : `${digits(now.low)} - ${digits(now.high)}`;
  if (before === undefined || before.unit !== measured.unit) {
    return line(measured.name, digits(now.median), interval, measured.unit, "", "");
  }
  const then = intervalOf(before.samples);
  return line(
    measured.name,
    digits(now.median),
    interval,
    measured.unit,
    digits(then.median),
    verdict(measured, now.median / then.median, apart(now, then)),
  );
}

/** The ratio to before, and whether it is more than chance. */
function verdict({ better, samples }: Measured, ratio: number, apartly: boolean): string {
  if (ratio === 1 || !Number.isFinite(ratio)) return "same";
  const times = `x ${ratio.toFixed(2)}`;
  // One sample tells nothing of chance.
  if (better === undefined || samples.length === 1) return times;
  if (!apartly) return `${times}  within the intervals`;
  return `${times}  ${ratio > 1 === (better === "more") ? "better" : "worse"}`;
}

/** What the numbers were measured on. */
export function machineLine({ processor, cores, memoryMb, system, node }: MachineFacts): string {
  return `${processor}, ${cores} cores, ${(memoryMb / 1024).toFixed(0)} GB, ${system}, Node ${node}`;
}

/** Warnings that belong above the numbers. */
export function cautions(
  { load, machine }: Pick<Record, "load" | "machine">,
  previous: { readonly path: string; readonly record: Record } | undefined,
): readonly string[] {
  const lines: string[] = [];
  if (load > 0.5) lines.push(`others are at work here (load ${load.toFixed(1)}): times are longer than they would be`);
  if (previous === undefined) return lines;
  const { path, record } = previous;
  lines.push(`before: ${record.code}, ${record.when.slice(0, 16).replace("T", " ")}, ${shown(path)}`);
  if (machineLine(record.machine) !== machineLine(machine)) {
    lines.push(`that was another machine: ${machineLine(record.machine)}`);
  }
  if (record.load > 0.5) lines.push(`others were at work then (load ${record.load.toFixed(1)})`);
  return lines;
}

function line(name: string, median: string, interval: string, unit: string, before: string, verdict: string): string {
  return [name.padEnd(38), median.padStart(9), interval.padStart(21), unit.padEnd(18), before.padStart(9), verdict]
    .join("  ")
    .trimEnd();
}

/** Three significant digits at least, no more than one decimal above 10. */
function digits(value: number): string {
  if (Number.isInteger(value)) return String(value);
  const magnitude = Math.abs(value);
  return value.toFixed(magnitude >= 100 ? 0 : magnitude >= 10 ? 1 : magnitude >= 1 ? 2 : 3);
}

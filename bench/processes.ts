/** What is measured from outside: processes of their own, by the clock on the wall. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "../experiments/paths.ts";

const LAUNCHER = join(ROOT, "bin", "ringlab.js");

/** Milliseconds of each of so many runs of a command, the first of which only warms the disk. */
export function medianMilliseconds(args: readonly string[], runs: number): readonly number[] {
  return Array.from({ length: runs + 1 }, () => run([LAUNCHER, ...args]).seconds * 1e3).slice(1);
}

export interface SuiteRun {
  readonly seconds: number;
  readonly points: number;
  /** The largest worker's memory in MB: its heap, its buffers, its guest. */
  readonly workerMb: number;
}

/** The default suite, every point simulated. */
export function suiteSeconds(workers: number): SuiteRun {
  const folder = mkdtempSync(join(tmpdir(), "ringlab-bench-"));
  try {
    const suite = ["run", "adams-agesen-2006", "--no-cache", "--workers", String(workers), "--out", folder];
    const { seconds, stderr } = run([LAUNCHER, ...suite], folder);
    const told = /(\d+) points in [\d.]+ s\b.*?(\d+) MB/.exec(stderr);
    if (told === null) throw new Error(`the suite did not say what it took: ${stderr}`);
    return { seconds, points: Number(told[1]), workerMb: Number(told[2]) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** MB of a process that runs one guest, at its largest, without the guest's own memory. */
export function peakMegabytes(workload: string, technique: string): number {
  const { stdout } = run([join(ROOT, "dist", "bench", "one-guest.js"), workload, technique]);
  return Number(stdout);
}

function run(args: readonly string[], cwd: string = ROOT): { seconds: number; stdout: string; stderr: string } {
  const start = performance.now();
  const { status, stdout, stderr, error } = spawnSync(process.execPath, args, { cwd, encoding: "utf8" });
  const seconds = (performance.now() - start) / 1e3;
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`node ${args.join(" ")}: exit ${status}\n${stderr}`);
  return { seconds, stdout, stderr };
}

/** What a run of the benchmarks leaves: every sample, on which machine, of which code. JSON below .cache/bench, one file a run. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { ROOT } from "../experiments/paths.ts";

/** One quantity, as often as it was measured. */
export interface Measured {
  readonly name: string;
  readonly unit: string;
  /** Which way is better; absent of what is only told. */
  readonly better?: "more" | "less";
  readonly samples: readonly number[];
}

export interface MachineFacts {
  readonly processor: string;
  readonly cores: number;
  readonly memoryMb: number;
  readonly system: string;
  readonly node: string;
}

export interface Record {
  readonly when: string;
  /** `git describe` of the code; `-dirty` when it was changed. */
  readonly code: string;
  readonly machine: MachineFacts;
  /** Processes that wanted a core as it began: above zero, others were at work. */
  readonly load: number;
  readonly measured: readonly Measured[];
}

const LOCAL_FOLDER = join(ROOT, ".cache", "bench");
/** Runs on a quiet machine, kept with the code: what to compare with on a fresh clone. */
const referenceOf = (kind: string) => join(ROOT, "results", "bench", `${kind}.json`);

function machineFacts(): MachineFacts {
  const processors = cpus();
  return {
    processor: processors[0]?.model.trim() ?? "unknown",
    cores: processors.length,
    memoryMb: Math.round(totalmem() / 2 ** 20),
    system: `${process.platform} ${release()} ${process.arch}`,
    node: process.version,
  };
}

/** What is true of the run before anything is measured. */
export function newRecord(): Omit<Record, "measured"> {
  const { stdout } = spawnSync("git", ["describe", "--always", "--dirty"], { cwd: ROOT, encoding: "utf8" });
  return {
    when: new Date().toISOString(),
    code: stdout?.trim() || "unknown",
    machine: machineFacts(),
    load: loadavg()[0] as number,
  };
}

/** Writes a record, to the reference or beside those of before. Returns the path. */
export function saveRecord(record: Record, kind: string, asReference: boolean): string {
  const path = asReference
    ? referenceOf(kind)
    : join(LOCAL_FOLDER, `${kind}-${record.when.replace(/[:.]/g, "-")}.json`);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify(record, undefined, 1)}\n`);
  return path;
}

/** The last record of this kind that was saved here, or else the reference. */
export function previousRecord(kind: string): { readonly path: string; readonly record: Record } | undefined {
  const local = existsSync(LOCAL_FOLDER)
    ? readdirSync(LOCAL_FOLDER).filter((name) => name.startsWith(`${kind}-`) && name.endsWith(".json"))
    : [];
  const last = local.sort().at(-1);
  const path = last === undefined ? referenceOf(kind) : join(LOCAL_FOLDER, last);
  if (!existsSync(path)) return undefined;
  return { path, record: JSON.parse(readFileSync(path, "utf8")) as Record };
}

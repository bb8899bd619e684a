/**
 * The folder that a run leaves: run.json (what was run, and how each point ended), CSV files, the table as text and
 * figures. Tables, figures and comparisons are made from the files alone, so any such folder will do, however old.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "csv-parse/sync";
import { stringify } from "csv-stringify/sync";
import { KEY_COLUMNS, type Key } from "./csv/columns.ts";
import { measurementsOf } from "./csv/measurements.ts";
import type { Summary } from "./csv/summary.ts";
import { summarize } from "./csv/summary.ts";
import {
  accountsTable,
  type CsvTable,
  countersTable,
  exitsTable,
  measurementsTable,
  type NamedResult,
  samplesTable,
  summaryTable,
} from "./csv/tables.ts";
import { shown } from "./paths.ts";
import { Problem } from "./problem.ts";
import { compareRows, type RowResult, rowsTable, type Verdict } from "./rows.ts";
import type { Outcome } from "./runner.ts";
import type { Suite } from "./suite.ts";
import type { SuiteRow } from "./suite-schema.ts";
import { type Combination, combinationLabel } from "./techniques.ts";
import { regionName, type WorkloadKind, workloadCatalogue } from "./workloads.ts";

/** run.json: plain facts, no times of the host. */
export interface RunFile {
  readonly format: 1;
  readonly suite: {
    readonly name: string;
    readonly title: string;
    readonly profiles: readonly string[];
    readonly techniques: readonly Combination[];
    readonly workloads: readonly {
      readonly name: string;
      readonly kind: WorkloadKind;
      /** By technique: why the guest does not survive it. */
      readonly fails?: Readonly<Record<string, string>>;
    }[];
    readonly repetitions: number;
    readonly seed: number;
    readonly guestMemoryMb: number;
    readonly maxCycles: number;
    readonly figures: readonly string[];
    readonly rows?: readonly SuiteRow[];
    readonly notes?: readonly string[];
  };
  /** `--set` values, empty in an unmodified run. */
  readonly overrides: string;
  readonly code: string;
  readonly points: readonly {
    readonly label: readonly (string | number)[];
    readonly address: string;
    readonly end: string;
  }[];
}

/** An account of one run (a row of accounts.csv, quantity `cycles`). */
export interface AccountRow {
  readonly key: Key;
  readonly repetition: number;
  readonly domain: string;
  readonly activity: string;
  readonly cycles: number;
}

/** A counter of a whole run (a row of counters.csv), or of its time so far (of samples.csv). */
export interface CounterRow {
  readonly key: Key;
  readonly repetition: number;
  /** Cycles; absent for the end of the run. */
  readonly time?: number;
  readonly counter: string;
  readonly value: number;
}

export interface Results {
  readonly folder: string;
  readonly run: RunFile;
  readonly summary: readonly Summary[];
  readonly accounts: readonly AccountRow[];
  readonly counters: readonly CounterRow[];
  /** Counters over time; none in a run without samples. */
  readonly samples: readonly CounterRow[];
  /** Rows of the guests' output; none in a run that is about cycles. */
  readonly rows: readonly RowResult[];
}

/** Writes run.json and the CSV files of a suite's outcomes. Returns the paths written. */
export function writeResults(folder: string, suite: Suite, outcomes: readonly Outcome[], code: string): string[] {
  const results: NamedResult[] = outcomes.flatMap(({ point, result }) =>
    result === undefined ? [] : [{ point, result }],
  );
  const good = results.filter(({ result }) => result.end.kind === "exit" && result.end.status === 0);
  const catalogue = workloadCatalogue();
  const measurements = good.flatMap(({ point, result }) =>
    measurementsOf(point, result, (region) => regionName(point.workload, region, catalogue)),
  );
  mkdirSync(folder, { recursive: true });
  const csv: [string, CsvTable][] = [
    ["measurements.csv", measurementsTable(measurements)],
    ["summary.csv", summaryTable(summarize(measurements))],
    ["exits.csv", exitsTable(good)],
    ["accounts.csv", accountsTable(good)],
    ["counters.csv", countersTable(good)],
  ];
  if (suite.samples !== undefined) csv.push(["samples.csv", samplesTable(good)]);
  if (suite.rows !== undefined) {
    const baseline = combinationLabel(suite.techniques[0] as Combination);
    csv.push(["rows.csv", rowsTable(compareRows(suite.rows, baseline, combinationLabel, results))]);
  }
  const written = [
    writeWhole(join(folder, "run.json"), `${JSON.stringify(runFile(suite, outcomes, code), undefined, 2)}\n`),
  ];
  for (const [name, { columns, rows }] of csv) {
    written.push(writeWhole(join(folder, name), stringify([columns as string[], ...(rows as (string | number)[][])])));
  }
  return written;
}

function runFile(suite: Suite, outcomes: readonly Outcome[], code: string): RunFile {
  const { name, title, profiles, techniques, repetitions, seed, guestMemoryMb, maxCycles, figures, rows, notes } =
    suite;
  return {
    format: 1,
    suite: {
      ...{ name, title, profiles, techniques },
      workloads: suite.workloads.map(({ workload: { name, kind }, fails }) => ({
        ...{ name, kind },
        ...(fails === undefined ? {} : { fails }),
      })),
      ...{ repetitions, seed, guestMemoryMb, maxCycles, figures },
      ...(rows === undefined ? {} : { rows }),
      ...(notes === undefined ? {} : { notes }),
    },
    overrides: allOverrides(outcomes),
    code,
    points: outcomes.map(({ point, address, result, problem, failure }) => ({
      label: [
        point.profile,
        point.technique,
        point.memory,
        point.variant,
        point.workload,
        point.parameters,
        point.repetition,
      ],
      address,
      end: (problem ?? failure)?.message ?? result?.end.kind ?? "failed",
    })),
  };
}

/** `--set` values of all points; with the profile's name where they do not hold for all. */
function allOverrides(outcomes: readonly Outcome[]): string {
  const texts = new Map(outcomes.map(({ point }) => [point.profile, point.overrides]));
  const different = new Set(texts.values());
  if (different.size === 1) return [...different][0] as string;
  return [...texts].flatMap(([profile, text]) => (text === "" ? [] : [`${profile}: ${text}`])).join("; ");
}

/** Writes a file under another name and renames it. Returns its path. */
export function writeWhole(path: string, content: string | Uint8Array): string {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    writeFileSync(temporary, content);
    renameSync(temporary, path);
  } finally {
    rmSync(temporary, { force: true });
  }
  return path;
}

/** Reads a results folder. Throws a Problem (`bad-results`). */
export function readResults(folder: string): Results {
  const run = readRunFile(folder);
  const summary = readCsv(join(folder, "summary.csv")).map((row) => {
    const { repetitions, mean, standard_deviation, ci95_low, ci95_high } = row;
    return {
      key: keyFrom(row),
      ...{ region: row["region"] as string, regionName: row["region_name"] as string },
      ...{ quantity: row["quantity"] as string, detail: row["detail"] as string, unit: row["unit"] as string },
      ...{ repetitions: Number(repetitions), mean: Number(mean) },
      ...(standard_deviation === ""
        ? {}
        : { standardDeviation: Number(standard_deviation), low: Number(ci95_low), high: Number(ci95_high) }),
    };
  });
  const accounts = readCsv(join(folder, "accounts.csv"))
    .filter((row) => row["quantity"] === "cycles")
    .map((row) => ({
      key: keyFrom(row),
      repetition: Number(row["repetition"]),
      ...{ domain: row["domain"] as string, activity: row["activity"] as string, cycles: Number(row["value"]) },
    }));
  const counters = readCsv(join(folder, "counters.csv")).map(counterFrom);
  const samples = readIfThere(join(folder, "samples.csv")).map((each) => ({
    ...counterFrom(each),
    time: Number(each["time"]),
  }));
  return { folder, run, summary, accounts, counters, samples, rows: readRows(folder) };
}

function counterFrom(row: Record<string, string>): CounterRow {
  const { repetition, counter, value } = row;
  return { key: keyFrom(row), repetition: Number(repetition), counter: counter as string, value: Number(value) };
}

/** Rows of a CSV file that not every run has. */
function readIfThere(path: string): Record<string, string>[] {
  return existsSync(path) ? readCsv(path) : [];
}

function readRows(folder: string): RowResult[] {
  return readIfThere(join(folder, "rows.csv")).map((each) => ({
    ...{ key: keyFrom(each), repetition: Number(each["repetition"]), row: each["row"] as string },
    ...{ printed: each["printed"] as string, verdict: each["verdict"] as Verdict },
  }));
}

function readRunFile(folder: string): RunFile {
  const path = join(folder, "run.json");
  let run: RunFile;
  try {
    run = JSON.parse(readFileSync(path, "utf8")) as RunFile;
  } catch {
    throw new Problem(
      "bad-results",
      `${shown(folder)}: no results there (run.json is missing or damaged); ringlab run makes them`,
    );
  }
  if (run.format !== 1) throw new Problem("bad-results", `${shown(path)}: written by another version of ringlab`);
  return run;
}

/** Rows of a CSV file by column name. Throws a Problem (`bad-results`). */
export function readCsv(path: string): Record<string, string>[] {
  try {
    return parse(readFileSync(path, "utf8"), { columns: true, skip_empty_lines: true }) as Record<string, string>[];
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new Problem("bad-results", `${shown(path)}: ${code === "ENOENT" ? "missing" : message}`);
  }
}

function keyFrom(row: Record<string, string>): Key {
  return Object.fromEntries(KEY_COLUMNS.map((column) => [column, row[column] ?? ""])) as Key;
}

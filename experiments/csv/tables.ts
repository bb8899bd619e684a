/** The CSV files of a run, as rows: what their columns are, and how a result becomes rows. */
import { TICKS_PER_CYCLE } from "../../sim/clock.ts";
import type { RunResult } from "../../sim/result.ts";
import type { PointKey } from "../point.ts";
import { KEY_COLUMNS, keyCells, keyOf, type Measurement, rounded } from "./columns.ts";
import type { Summary } from "./summary.ts";

type Cell = string | number;
export interface CsvTable {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly Cell[])[];
}

/** A run with what names it. */
export interface NamedResult {
  readonly point: PointKey;
  readonly result: RunResult;
}

export function measurementsTable(measurements: readonly Measurement[]): CsvTable {
  return {
    columns: [...KEY_COLUMNS, "repetition", "region", "region_name", "quantity", "detail", "value", "unit"],
    rows: measurements.map((each) => [
      ...keyCells(each.key),
      ...[each.repetition, each.region, each.regionName, each.quantity, each.detail, each.value, each.unit],
    ]),
  };
}

export function summaryTable(summaries: readonly Summary[]): CsvTable {
  const statistics = ["repetitions", "mean", "standard_deviation", "ci95_low", "ci95_high"];
  return {
    columns: [...KEY_COLUMNS, "region", "region_name", "quantity", "detail", ...statistics, "unit"],
    rows: summaries.map((each) => [
      ...keyCells(each.key),
      ...[each.region, each.regionName, each.quantity, each.detail, each.repetitions, each.mean],
      ...[each.standardDeviation ?? "", each.low ?? "", each.high ?? "", each.unit],
    ]),
  };
}

/** VM exits of whole runs by reason and cause; the cycles of hardware and of the monitor apart. */
export function exitsTable(results: readonly NamedResult[]): CsvTable {
  return {
    columns: [...KEY_COLUMNS, "repetition", "reason", "cause", "quantity", "value", "unit"],
    rows: results.flatMap(({ point, result }) =>
      result.exits.flatMap((exit) => {
        const cycles = (ticks: number) => rounded(ticks / TICKS_PER_CYCLE);
        const row = (quantity: string, value: number, unit: string): Cell[] => [
          ...keyCells(keyOf(point)),
          ...[point.repetition, exit.reason, exit.cause, quantity, value, unit],
        ];
        return [
          row("count", exit.count, "exits"),
          row("rate", rounded((exit.count / result.instructions) * 1e6), "exits/million guest instructions"),
          row("hardware mean", cycles(exit.hardwareTicks / exit.count), "cycles/exit"),
          row("hardware total", cycles(exit.hardwareTicks), "cycles"),
          row("monitor min", cycles(exit.monitorTicksMin), "cycles/exit"),
          row("monitor mean", cycles(exit.monitorTicks / exit.count), "cycles/exit"),
          row("monitor max", cycles(exit.monitorTicksMax), "cycles/exit"),
          row("monitor total", cycles(exit.monitorTicks), "cycles"),
        ];
      }),
    ),
  };
}

/** Where the cycles of whole runs went. */
export function accountsTable(results: readonly NamedResult[]): CsvTable {
  return {
    columns: [...KEY_COLUMNS, "repetition", "domain", "activity", "quantity", "value", "unit"],
    rows: results.flatMap(({ point, result }) =>
      result.accounts.flatMap(({ domain, activity, ticks, retired }) => {
        const account = [...keyCells(keyOf(point)), point.repetition, domain, activity];
        return [
          [...account, "cycles", rounded(ticks / TICKS_PER_CYCLE), "cycles"],
          [...account, "share", rounded(result.ticks === 0 ? 0 : ticks / result.ticks), "fraction of the run"],
          ...(retired === 0 ? [] : [[...account, "instructions", retired, "instructions"]]),
        ];
      }),
    ),
  };
}

/** The technique's counters over the time of whole runs. */
export function samplesTable(results: readonly NamedResult[]): CsvTable {
  return {
    columns: [...KEY_COLUMNS, "repetition", "time", "counter", "value", "unit"],
    rows: results.flatMap(({ point, result }) =>
      (result.samples ?? []).flatMap(({ ticks, counters }) =>
        Object.entries(counters)
          .sort(([a], [b]) => (a < b ? -1 : 1))
          .map(([counter, value]) => [
            ...keyCells(keyOf(point)),
            ...[point.repetition, rounded(ticks / TICKS_PER_CYCLE), counter, value, "events at cycle"],
          ]),
      ),
    ),
  };
}

/** Kinds of faults, TLB misses, page walks and whatever else was counted in whole runs. */
export function countersTable(results: readonly NamedResult[]): CsvTable {
  return {
    columns: [...KEY_COLUMNS, "repetition", "counter", "value", "unit"],
    rows: results.flatMap(({ point, result }) =>
      Object.entries(result.counters)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([counter, value]) => [...keyCells(keyOf(point)), point.repetition, counter, value, "events"]),
    ),
  };
}

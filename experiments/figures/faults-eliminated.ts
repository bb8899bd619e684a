/**
 * Figure: what adaptive translation saves. For each guest that ran with adaptation on and off: the faults that were taken
 * and those that were eliminated, by kind, and the cycles of the whole run that the one took less than the other. The
 * cycles are a measured difference; nothing is computed from counts.
 */
import type { TopLevelSpec } from "vega-lite";
import type { Key } from "../csv/columns.ts";
import type { Results } from "../results-folder.ts";
import { CONFIG, INK, subtitle } from "./style.ts";

const OFF = "adaptation=false";
const TAKEN = "bt.faults.";
const ELIMINATED = "bt.faults-eliminated.";
const MEGACYCLE = 1e6;

const GROUP_STEP = 36;
const PANEL_WIDTH = 340;
/** Taken faults in strong colours, eliminated ones pale, by kind. */
const COLOURS: Readonly<Record<string, readonly [taken: string, eliminated: string]>> = {
  "pte-trace": ["#2f5d8c", "#a9c4e0"],
  mmio: ["#b0532b", "#efc3a8"],
  "code-write": ["#5d7f4e", "#c3d9b8"],
};
const OTHER: readonly [string, string] = ["#6b7785", "#d3d9df"];

export interface FaultBar {
  readonly row: string;
  readonly adaptation: "on" | "off";
  /** `pte-trace taken`, `mmio eliminated`. */
  readonly what: string;
  readonly count: number;
}

export interface SavedCycles {
  readonly row: string;
  /** Million cycles, the mean over repetitions. */
  readonly saved: number;
  readonly share: string;
}

/** The specification; undefined when no guest ran with adaptation on and off. */
export function faultsEliminatedFigure(results: Results): TopLevelSpec | undefined {
  const { suite, overrides } = results.run;
  const compared = savedCycles(results);
  const bars = faultBars(results, new Set(compared.map(({ row }) => row)));
  if (bars.length === 0) return undefined;
  const saved = compared.filter(({ row }) => bars.some((bar) => bar.row === row));
  const rows = saved.map(({ row }) => row);
  const kinds = [...new Set(bars.map(({ what }) => what))].sort();
  const y = { field: "row", type: "nominal" as const, sort: rows, title: null, axis: { ticks: false, domain: false } };
  const scaled = { ...y, scale: { paddingInner: 0.3, paddingOuter: 0.15 } };
  const unlabelled = { ...scaled, axis: null };
  const x = (field: string, title: string) => ({
    ...{ field, type: "quantitative" as const, title },
    axis: { format: "~s", tickCount: 5, gridDash: [2, 3] },
  });
  return {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    title: {
      text: `${suite.title}: faults eliminated`,
      subtitle: subtitle(["Upper bar of each guest: adaptation on; lower bar: off. Whole runs."], overrides),
    },
    spacing: 30,
    hconcat: [
      {
        data: { values: bars as unknown as object[] },
        ...{ width: PANEL_WIDTH, height: { step: GROUP_STEP, for: "position" } as never },
        mark: { type: "bar" },
        encoding: {
          y: scaled,
          yOffset: { field: "adaptation", type: "nominal", sort: ["on", "off"] },
          x: x("count", "faults"),
          color: {
            field: "what",
            type: "nominal",
            scale: { domain: kinds, range: kinds.map(colourOf) },
            legend: { columns: 3 },
          },
        },
      },
      {
        data: { values: saved as unknown as object[] },
        ...{ width: PANEL_WIDTH / 2, height: { step: GROUP_STEP } as never },
        layer: [
          {
            mark: { type: "bar", color: "#7a9e6b", height: { band: 0.5 } },
            encoding: { y: unlabelled, x: x("saved", "million cycles saved") },
          },
          {
            mark: { type: "text", align: "left", dx: 4, fontSize: 10, color: INK },
            encoding: {
              y: unlabelled,
              x: x("saved", "million cycles saved"),
              text: { field: "share", type: "nominal" },
            },
          },
        ],
      },
    ],
    config: CONFIG,
  } as unknown as TopLevelSpec;
}

function colourOf(what: string): string {
  const [kind, fate] = what.split(" ") as [string, string];
  return (COLOURS[kind] ?? OTHER)[fate === "taken" ? 0 : 1];
}

/** A guest, with its processor where the run has several. */
function rowOf({ workload, parameters, profile }: Key, { run }: Results): string {
  const processor = run.suite.profiles.length > 1 ? profile : "";
  return [workload, parameters, processor].filter((each) => each !== "").join(" ");
}

/** Faults of whole runs by kind, the first repetition's. */
export function faultBars(results: Results, rows: ReadonlySet<string>): FaultBar[] {
  return results.counters.flatMap(({ key, repetition, counter, value }) => {
    const prefix = [TAKEN, ELIMINATED].find((each) => counter.startsWith(each));
    if (prefix === undefined || repetition !== 0 || !rows.has(rowOf(key, results)) || !isCompared(key)) return [];
    const what = `${counter.slice(prefix.length)} ${prefix === TAKEN ? "taken" : "eliminated"}`;
    return value === 0
      ? []
      : [{ row: rowOf(key, results), adaptation: key.variant === OFF ? "off" : "on", what, count: value }];
  });
}

/** The cycles that each guest's run took less with adaptation than without. */
export function savedCycles(results: Results): SavedCycles[] {
  const row = (key: Key) => rowOf(key, results);
  const runs = results.summary.filter(
    ({ key, quantity, region }) => quantity === "cycles" && region === "" && isCompared(key),
  );
  return runs.flatMap(({ key, mean: on }) => {
    if (key.variant !== "") return [];
    const off = runs.find((each) => each.key.variant === OFF && row(each.key) === row(key))?.mean;
    if (off === undefined) return [];
    const share = Math.round((1000 * (off - on)) / off) / 10;
    return [
      { row: row(key), saved: (off - on) / MEGACYCLE, share: `${Math.abs(share) === 0 ? "0" : share.toFixed(1)} %` },
    ];
  });
}

function isCompared({ technique, variant }: Key): boolean {
  return technique === "bt" && (variant === "" || variant === OFF);
}

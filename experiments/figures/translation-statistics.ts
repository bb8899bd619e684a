/**
 * Figure: what the binary translator has done, from boot to the end of each run: a panel per quantity, a line per guest and
 * variant. Made from samples.csv, so the suite must ask for samples.
 */
import type { TopLevelSpec } from "vega-lite";
import type { CounterRow, Results } from "../results-folder.ts";
import { combinationTitle } from "../techniques.ts";
import { CONFIG, subtitle } from "./style.ts";

type Counters = ReadonlyMap<string, number>;

/** A panel: its title, and its value of the counters at one time; undefined where they do not say. */
interface Quantity {
  readonly title: string;
  readonly of: (counters: Counters) => number | undefined;
  /** Of the axis; with a prefix (k, M) if not given. */
  readonly format?: string;
}

const KB = 1024;
const count =
  (name: string, unit = 1) =>
  (counters: Counters) => {
    const value = counters.get(name);
    return value === undefined ? undefined : value / unit;
  };
/** Nothing of nothing is no share. */
const share = (part: string, whole: string) => (counters: Counters) => {
  const all = counters.get(whole);
  const some = counters.get(part);
  return all === undefined || some === undefined || all === 0 ? undefined : some / all;
};

const QUANTITIES: readonly Quantity[] = [
  { title: "units", of: count("bt.units") },
  { title: "guest instructions translated", of: count("bt.instructions") },
  { title: "KB of code written", of: count("bt.bytes.out", KB) },
  { title: "identical instructions, share", of: share("bt.instructions.identical", "bt.instructions"), format: "%" },
  { title: "chained exits, share", of: share("bt.exits.chained", "bt.exits.direct"), format: "%" },
  { title: "KB of the cache in use", of: count("bt.occupancy", KB) },
  { title: "flushes of the cache", of: count("bt.flushes") },
  { title: "units invalidated", of: count("bt.invalidations") },
];

const PANEL = { width: 250, height: 130 };
const COLUMNS = 3;
const MEGACYCLE = 1e6;

interface Dot {
  readonly quantity: string;
  readonly line: string;
  readonly time: number;
  readonly value: number;
}

/** The specification; undefined when no sample is of a translator. */
export function translationStatisticsFigure(results: Results): TopLevelSpec | undefined {
  const { suite, overrides } = results.run;
  const dots = dotsOf(results.samples);
  if (dots.length === 0) return undefined;
  const lines = [...new Set(dots.map(({ line }) => line))];
  const end = Math.max(...dots.map(({ time }) => time));
  const drawn = QUANTITIES.filter(({ title }) => dots.some(({ quantity }) => quantity === title));
  return {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    title: {
      text: `${suite.title}: what was translated`,
      subtitle: subtitle(
        ["From boot to the end of each run. Shares are of all that was translated until then."],
        overrides,
      ),
    },
    data: { values: dots as unknown as object[] },
    columns: COLUMNS,
    spacing: 24,
    concat: drawn.map(({ title, format }) => ({
      ...{ title: { text: title, fontSize: 11, anchor: "start", offset: 6 }, ...PANEL },
      transform: [{ filter: { field: "quantity", equal: title } }],
      mark: { type: "line", strokeWidth: 1.6 },
      encoding: {
        x: {
          field: "time",
          type: "quantitative",
          title: "million cycles",
          scale: { domain: [0, end], nice: false },
          axis: { grid: false, tickCount: 5 },
        },
        y: { field: "value", type: "quantitative", title: null, axis: { tickCount: 4, format: format ?? "~s" } },
        color: { field: "line", type: "nominal", sort: lines },
      },
    })),
    config: CONFIG,
  } as TopLevelSpec;
}

function dotsOf(samples: readonly CounterRow[]): Dot[] {
  const moments = new Map<string, { line: string; time: number; counters: Map<string, number> }>();
  for (const { key, repetition, time, counter, value } of samples) {
    if (repetition !== 0 || time === undefined || !counter.startsWith("bt.")) continue;
    const line = [key.workload, key.parameters, key.profile, combinationTitle(key)]
      .filter((each) => each !== "")
      .join(" ");
    const name = `${line}/${time}`;
    const moment = moments.get(name) ?? { line, time, counters: new Map<string, number>() };
    moment.counters.set(counter, value);
    moments.set(name, moment);
  }
  return [...moments.values()].flatMap(({ line, time, counters }) =>
    QUANTITIES.flatMap(({ title, of }) => {
      const value = of(counters);
      return value === undefined ? [] : [{ quantity: title, line, time: time / MEGACYCLE, value }];
    }),
  );
}

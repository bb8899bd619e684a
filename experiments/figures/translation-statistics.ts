/**
 * Figure: what the binary translator has done, from boot to the end of each run: a panel per quantity and guest, a line per
 * variant. Made from samples.csv, so the suite must ask for samples.
 */
import type { TopLevelSpec } from "vega-lite";
import type { Results } from "../results-folder.ts";
import { besideEachOther, combinationTitle } from "../techniques.ts";
import { CONFIG, subtitle, techniqueColours } from "./style.ts";

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

const PANEL = { width: 230, height: 96 };
/** Guests side by side. */
const MOST_GUESTS = 4;
const MEGACYCLE = 1e6;

interface Dot {
  readonly guest: string;
  readonly quantity: string;
  readonly line: string;
  readonly time: number;
  readonly value: number;
}

/**
 * The specification: a column for each guest, whole ones if there are any, a line of panels for each quantity. Undefined
 * when no sample is of a translator.
 */
export function translationStatisticsFigure(results: Results): TopLevelSpec | undefined {
  const { suite, overrides } = results.run;
  const all = dotsOf(results);
  if (all.length === 0) return undefined;
  const guests = [...new Set(all.map(({ guest }) => guest))].slice(0, MOST_GUESTS);
  const dots = all.filter(({ guest }) => guests.includes(guest));
  const titleOf = besideEachOther(suite.techniques, combinationTitle);
  const drawnTechniques = suite.techniques.filter((each) => dots.some(({ line }) => line === titleOf(each)));
  const lines = drawnTechniques.map(titleOf);
  // What never happened anywhere is not worth a panel.
  const drawn = QUANTITIES.filter(({ title }) => dots.some(({ quantity, value }) => quantity === title && value > 0));
  const rows = drawn.map((quantity, index) =>
    guests.map((guest) => {
      const values = dots.filter((each) => each.guest === guest && each.quantity === quantity.title);
      const heading = index === 0 ? [guest, "", quantity.title] : [quantity.title];
      return panelOf(values, heading, quantity.format, index === drawn.length - 1);
    }),
  );
  const colours = techniqueColours(drawnTechniques);
  return {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    title: {
      text: `${suite.title}: what was translated`,
      subtitle: subtitle(
        ["From boot to the end of each run. Shares are of all that was translated until then."],
        overrides,
      ),
    },
    columns: guests.length,
    spacing: { row: 14, column: 30 },
    concat: rows.flat().map((panel) => ({
      ...panel,
      encoding: {
        ...panel.encoding,
        color: {
          ...{ field: "line", type: "nominal", scale: { domain: lines, range: colours } },
          legend: { columns: 3, symbolType: "stroke", symbolStrokeWidth: 2.4 },
        },
      },
    })),
    config: CONFIG,
  } as unknown as TopLevelSpec;
}

function panelOf(values: readonly Dot[], text: readonly string[], format: string | undefined, last: boolean) {
  const end = Math.max(0, ...values.map(({ time }) => time));
  const nothing = values.every(({ value }) => value === 0);
  return {
    data: { values: values as unknown as object[] },
    ...{ title: { text, fontSize: 11, anchor: "start", offset: 6 }, ...PANEL },
    // Lines that lie on each other are both to be seen.
    mark: { type: "line", strokeWidth: 1.6, strokeOpacity: 0.75 },
    encoding: {
      x: {
        field: "time",
        type: "quantitative",
        title: last ? "million cycles" : null,
        scale: { domain: [0, end], nice: false },
        axis: { grid: false, tickCount: 5 },
      },
      y: {
        ...{ field: "value", type: "quantitative", title: null, axis: { tickCount: 4, format: format ?? "~s" } },
        ...(nothing ? { scale: { domain: [0, 1] } } : {}),
      },
    },
  };
}

/** Of the first repetitions; of whole guests only, unless there are none. */
function dotsOf({ samples, run }: Results): Dot[] {
  const whole = new Set(run.suite.workloads.filter(({ kind }) => kind !== "nanobenchmark").map(({ name }) => name));
  const titleOf = besideEachOther(run.suite.techniques, combinationTitle);
  const some = samples.some(({ key, counter }) => whole.has(key.workload) && counter.startsWith("bt."));
  const moments = new Map<string, Pick<Dot, "guest" | "line" | "time"> & { counters: Map<string, number> }>();
  for (const { key, repetition, time, counter, value } of samples) {
    if (repetition !== 0 || time === undefined || !counter.startsWith("bt.")) continue;
    if (some && !whole.has(key.workload)) continue;
    const profile = run.suite.profiles.length > 1 ? key.profile : "";
    const guest = [key.workload, key.parameters, profile].filter((each) => each !== "").join(" ");
    const line = titleOf(key);
    const name = `${guest}/${line}/${time}`;
    const moment = moments.get(name) ?? { guest, line, time, counters: new Map<string, number>() };
    moment.counters.set(counter, value);
    moments.set(name, moment);
  }
  return [...moments.values()].flatMap(({ guest, line, time, counters }) =>
    QUANTITIES.flatMap(({ title, of }) => {
      const value = of(counters);
      return value === undefined ? [] : [{ guest, quantity: title, line, time: time / MEGACYCLE, value }];
    }),
  );
}

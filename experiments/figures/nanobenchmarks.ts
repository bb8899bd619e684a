/**
 * Figure: what each nanobenchmark costs, as grouped bars on a log scale, a panel per processor, a bar per technique, with
 * published points over them. A cell that something was fitted to is hatched.
 */
import type { TopLevelSpec } from "vega-lite";
import { PROFILES } from "../../sim/cpu/profiles/catalogue.ts";
import { type Cell, type CellRow, cellOf, rowsOf } from "../cells.ts";
import { readable } from "../numbers.ts";
import type { Published } from "../published.ts";
import type { Results } from "../results-folder.ts";
import { besideEachOther, combinationTitle } from "../techniques.ts";
import { CONFIG, FAINT, INK, PUBLISHED_COLOUR, subtitle, techniqueColours } from "./style.ts";

const BAR_STEP = 13;
/** With more bars than these in a group they are narrower. */
const MANY_BARS = 3;
const NARROW_STEP = 10;
/** Techniques in a line of the legend, when there are more. */
const MOST_IN_A_LINE = 4;
const PANEL_WIDTH = 400;
/** Bars begin here: less than a cycle is not told apart from nothing. */
const LEAST_CYCLES = 0.5;

/** A bar with what stands on it. */
interface Bar {
  readonly panel: string;
  readonly row: string;
  readonly technique: string;
  readonly cycles: number;
  readonly label: string;
  readonly calibrated: boolean;
  readonly published?: number;
  readonly kind?: string;
}

export const PUBLISHED_KINDS = ["published", "published, a different instruction"] as const;

/** The specification; undefined when the run has no nanobenchmark. */
export function nanobenchmarksFigure(results: Results, published: Published): TopLevelSpec | undefined {
  const rows = rowsOf(results).filter((row) => row.kind === "nanobenchmark");
  const bars = barsOf(results, published, rows);
  if (bars.length === 0) return undefined;
  const { suite, overrides } = results.run;
  const techniques = suite.techniques.map(besideEachOther(suite.techniques, combinationTitle));
  const most = Math.max(...bars.map((bar) => Math.max(bar.cycles, bar.published ?? 0)));
  // Room for the label of the longest bar.
  const domain = [LEAST_CYCLES, most * (most / LEAST_CYCLES) ** 0.16];
  const scale = { type: "log" as const, domain, nice: false };
  const step = techniques.length > MANY_BARS ? NARROW_STEP : BAR_STEP;
  const y = {
    ...{ field: "row", type: "nominal" as const, sort: rows.map((row) => row.label), title: null },
    scale: { paddingInner: 0.28, paddingOuter: 0.14 },
    axis: { ticks: false, domain: false, labelPadding: 8, grid: false },
  };
  const yOffset = { field: "technique", type: "nominal" as const, sort: techniques };
  const x = { field: "cycles", type: "quantitative" as const, scale, title: "cycles per iteration (log scale)" };
  const axis = { values: decades(domain), format: "~s", gridDash: [2, 3] };
  const kinds = PUBLISHED_KINDS.filter((kind) => bars.some((bar) => bar.kind === kind));
  return {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    title: { text: suite.title, subtitle: subtitle(notes(bars), overrides) },
    data: { values: bars.map((bar) => ({ ...bar, labelAt: labelAt(bar, domain) })) },
    facet: { column: { field: "panel", type: "nominal", sort: panels(results), header: { labelAnchor: "start" } } },
    spacing: 26,
    spec: {
      width: PANEL_WIDTH,
      height: { step, for: "offset" } as never,
      layer: [
        {
          mark: { type: "bar", cornerRadiusEnd: 1.5 },
          encoding: {
            ...{ y, yOffset, x: { ...x, axis }, x2: { datum: LEAST_CYCLES } },
            color: {
              field: "technique",
              type: "nominal",
              sort: techniques,
              scale: { domain: techniques, range: techniqueColours(suite.techniques) },
              ...(techniques.length > MOST_IN_A_LINE ? { legend: { columns: MOST_IN_A_LINE } } : {}),
            },
          },
        },
        ...bars
          .filter((bar) => bar.calibrated)
          .map((bar) => ({
            transform: [
              { filter: { and: [same("panel", bar.panel), same("row", bar.row), same("technique", bar.technique)] } },
            ],
            mark: {
              type: "bar" as const,
              color: hatching(pixelsTo(bar.cycles, domain), step) as never,
              cornerRadiusEnd: 1.5,
            },
            encoding: { y, yOffset, x, x2: { datum: LEAST_CYCLES } },
          })),
        {
          mark: {
            type: "text",
            align: "left",
            baseline: "middle",
            dx: 7,
            fontSize: step === BAR_STEP ? 10 : 9,
            color: INK,
          },
          encoding: { y, yOffset, x: { ...x, field: "labelAt" }, text: { field: "label", type: "nominal" } },
        },
        ...(kinds.length === 0
          ? []
          : [
              {
                transform: [{ filter: "isValid(datum.published)" }],
                mark: {
                  type: "point" as const,
                  filled: false,
                  size: 46,
                  stroke: PUBLISHED_COLOUR,
                  strokeWidth: 1.6,
                  fill: "white",
                  opacity: 1,
                },
                encoding: {
                  ...{ y, yOffset, x: { ...x, field: "published" } },
                  shape: {
                    ...{ field: "kind", type: "nominal" as const, sort: [...kinds] },
                    scale: {
                      domain: [...kinds],
                      range: kinds.map((kind) => (kind === "published" ? "diamond" : "triangle-up")),
                    },
                    legend: { symbolStrokeWidth: 1.6 },
                  },
                },
              },
            ]),
      ],
    },
    config: { ...CONFIG, axisX: { titleColor: FAINT, titlePadding: 8 } },
  } as TopLevelSpec;
}

function same(field: string, equal: string) {
  return { field, equal };
}

function notes(bars: readonly Bar[]): string[] {
  const lines = ["Measured loop less baseline loop, per iteration. Bars are simulated."];
  if (bars.some((bar) => bar.kind !== undefined))
    lines.push("Points are published measurements of a 64-bit guest; this guest is 32-bit.");
  if (bars.some((bar) => bar.calibrated))
    lines.push("Hatched: the one cell that the cost of monitor software was fitted to.");
  return lines;
}

function panels(results: Results): string[] {
  return results.run.suite.profiles.map(profileTitle);
}

/** A profile's title, or its name when it is of another version of ringlab. */
export function profileTitle(name: string): string {
  return PROFILES.find((profile) => profile.name === name)?.title ?? name;
}

function barsOf(results: Results, published: Published, rows: readonly CellRow[]): readonly Bar[] {
  const { profiles, techniques } = results.run.suite;
  const titleOf = besideEachOther(techniques, combinationTitle);
  return profiles.flatMap((profile) =>
    techniques.flatMap((combination) =>
      rows.flatMap((row) => barOf(cellOf(results, published, profile, combination, row), titleOf(combination))),
    ),
  );
}

function barOf({ profile, row, cost, fails, published }: Cell, technique: string): Bar[] {
  if (cost === undefined && fails === undefined) return [];
  const cycles = Math.max(cost?.mean ?? 0, LEAST_CYCLES);
  return [
    {
      ...{ panel: profileTitle(profile), row: row.label, technique, cycles },
      label: cost === undefined ? "does not survive" : readable(cost.mean),
      calibrated: published?.standing === "calibrated",
      ...(published === undefined
        ? {}
        : {
            published: published.row.value,
            kind: published.differs === undefined ? PUBLISHED_KINDS[0] : PUBLISHED_KINDS[1],
          }),
    },
  ];
}

function decades([low, high]: readonly number[]): number[] {
  const values: number[] = [];
  for (let value = 1; value <= (high as number); value *= 10) if (value >= (low as number)) values.push(value);
  return values;
}

/** Distance from the beginning of the axis. */
function pixelsTo(cycles: number, [low, high]: readonly number[]): number {
  const least = Math.log(low as number);
  return (PANEL_WIDTH * (Math.log(cycles) - least)) / (Math.log(high as number) - least);
}

/** Labels stand at the end of their bar, or behind a published point that would be in their way. */
function labelAt({ cycles, published = 0, label }: Bar, domain: readonly number[]): number {
  if (published <= cycles) return cycles;
  const room = pixelsTo(published, domain) - pixelsTo(cycles, domain);
  return room > 7 * label.length + 14 ? cycles : published;
}

/**
 * Diagonal stripes as a linear gradient with hard stops. Gradients run in the unit box of the bar, so the vector is
 * chosen such that lines of equal colour come out at 45 degrees in a bar of `width` by `height` pixels.
 */
function hatching(width: number, height: number): object {
  const period = 6;
  const slope = height / width;
  const reach = (1 + slope) / (1 + slope * slope);
  const stripes = Math.round((width + height) / period);
  const stops = Array.from({ length: stripes }, (_, index) => [
    { offset: index / stripes, color: "rgba(255,255,255,0)" },
    { offset: (index + 0.6) / stripes, color: "rgba(255,255,255,0)" },
    { offset: (index + 0.6) / stripes, color: "rgba(255,255,255,0.85)" },
    { offset: (index + 1) / stripes, color: "rgba(255,255,255,0.85)" },
  ]).flat();
  return { gradient: "linear", x1: 0, y1: 0, x2: reach, y2: reach * slope, stops };
}

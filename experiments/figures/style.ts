/** How all figures look: one typeface, quiet axes, and colours that stay apart in grey and for the colour-blind. */
import type { Config } from "vega-lite";
import type { Combination } from "../techniques.ts";

/** The typeface, bundled as files of a package (render.ts). */
export const FONT = "DejaVu Sans";

export const INK = "#1f2933";
export const FAINT = "#6b7785";
const RULE = "#e3e8ee";

/** Techniques as they usually are. */
const TECHNIQUE_COLOURS: Readonly<Record<string, string>> = {
  native: "#a9bccd",
  classical: "#c9a66b",
  bt: "#7a9e6b",
  vtx: "#2f5d8c",
};
/** Their variants, in the order of a suite's. */
const VARIANT_COLOURS = [
  "#b07aa1",
  "#4f8f8a",
  "#8c6d46",
  "#9aa5b1",
  "#d08770",
  "#5e6f9c",
  "#6b8e23",
  "#a05a6b",
] as const;

/** A colour for each of a suite's techniques. */
export function techniqueColours(combinations: readonly Combination[]): string[] {
  let variants = 0;
  return combinations.map(({ technique, variant = "" }) => {
    const usual = variant === "" ? TECHNIQUE_COLOURS[technique] : undefined;
    return usual ?? (VARIANT_COLOURS[variants++ % VARIANT_COLOURS.length] as string);
  });
}
/** Published points. */
export const PUBLISHED_COLOUR = "#c2321f";

export const CONFIG: Config = {
  font: FONT,
  background: "white",
  view: { stroke: null },
  axis: {
    ...{ labelFontSize: 11, titleFontSize: 11, labelColor: INK, titleColor: FAINT, titleFontWeight: "normal" },
    ...{ gridColor: RULE, domainColor: "#9aa5b1", tickColor: "#9aa5b1", labelLimit: 320 },
  },
  header: { labelFontSize: 12, labelFontWeight: "bold", labelColor: INK, labelLimit: 460, title: null },
  legend: {
    ...{ labelFontSize: 11, labelColor: INK, title: null, orient: "bottom", direction: "horizontal" },
    ...{ columnPadding: 18, symbolSize: 110, labelLimit: 400, offset: 14 },
  },
  title: {
    ...{ anchor: "start", fontSize: 16, fontWeight: "bold", color: INK, offset: 16, frame: "group" },
    ...{ subtitleFontSize: 11, subtitleColor: FAINT, subtitlePadding: 6, subtitleLineHeight: 15 },
  },
};

/** Lines above a figure; a run with `--set` says so first. */
export function subtitle(lines: readonly string[], overrides: string): string[] {
  return overrides === "" ? [...lines] : [`NOT THE PROFILES AS PUBLISHED: set ${overrides}`, ...lines];
}

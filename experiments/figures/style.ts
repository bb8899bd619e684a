/** How all figures look: one typeface, quiet axes, and colours that stay apart in grey and for the colour-blind. */
import type { Config } from "vega-lite";

/** The typeface, bundled as files of a package (render.ts). */
export const FONT = "DejaVu Sans";

export const INK = "#1f2933";
export const FAINT = "#6b7785";
const RULE = "#e3e8ee";

/** One hue, from quiet to strong, in the order of a suite's techniques; more than there are techniques today. */
export const TECHNIQUE_COLOURS = ["#a9bccd", "#2f5d8c", "#7a9e6b", "#b07aa1"] as const;
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

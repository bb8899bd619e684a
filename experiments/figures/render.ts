/**
 * A Vega-Lite specification as SVG and PNG, the same bytes on every machine: text is measured by the advances of the
 * fonts that it is drawn in, those are files of a package and not the system's, and nothing is random.
 */
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { Resvg } from "@resvg/resvg-js";
import * as vega from "vega";
import { compile, type TopLevelSpec } from "vega-lite";
import { type FontMetrics, readFontMetrics } from "./font-metrics.ts";
import { FONT } from "./style.ts";

/** Parts of vega that its types leave out. */
interface VegaInternals {
  readonly textMetrics: { width(item: TextItem, text: unknown): number };
  resetSVGDefIds(): void;
}
interface TextItem {
  readonly fontSize?: number;
  readonly fontWeight?: string | number;
}

const PNG_SCALE = 2;

const fonts = join(dirname(createRequire(import.meta.url).resolve("dejavu-fonts-ttf/package.json")), "ttf");
const FONT_FILES = { regular: join(fonts, "DejaVuSans.ttf"), bold: join(fonts, "DejaVuSans-Bold.ttf") };

function measure(): void {
  const metrics: Record<keyof typeof FONT_FILES, FontMetrics> = {
    regular: readFontMetrics(FONT_FILES.regular),
    bold: readFontMetrics(FONT_FILES.bold),
  };
  const { textMetrics } = vega as unknown as VegaInternals;
  textMetrics.width = ({ fontSize = 11, fontWeight }, text) => {
    const font = fontWeight === "bold" || Number(fontWeight) >= 600 ? metrics.bold : metrics.regular;
    return text === null || text === undefined ? 0 : font.widthOf(String(text)) * fontSize;
  };
}

export interface Drawing {
  readonly svg: string;
  readonly png: Uint8Array;
}

/** Draws a specification. Throws when Vega-Lite warns: a figure that is not what was asked for is a bug of ours. */
export async function draw(spec: TopLevelSpec): Promise<Drawing> {
  measure();
  (vega as unknown as VegaInternals).resetSVGDefIds();
  const warnings: string[] = [];
  const note = (...texts: readonly unknown[]) => {
    warnings.push(texts.join(" "));
    return logger;
  };
  const ignore = () => logger;
  const logger = { level: ignore, error: note, warn: note, info: ignore, debug: ignore };
  const { spec: compiled } = compile(spec, { logger: logger as never });
  const view = new vega.View(vega.parse(compiled), { renderer: "none", logger: logger as never });
  const svg = await view.toSVG();
  view.finalize();
  if (warnings.length > 0) throw new Error(`figure: ${warnings.join("; ")}`);
  return { svg: `${svg}\n`, png: rasterize(svg) };
}

function rasterize(svg: string): Uint8Array {
  const image = new Resvg(svg, {
    font: {
      loadSystemFonts: false,
      fontFiles: Object.values(FONT_FILES),
      defaultFontFamily: FONT,
      sansSerifFamily: FONT,
    },
    fitTo: { mode: "zoom", value: PNG_SCALE },
    background: "white",
  });
  return image.render().asPng();
}

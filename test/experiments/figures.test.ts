// Figures: what is in them, and that they are the same bytes each time.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { accountsFigure, categoryOf } from "../../experiments/figures/accounts.ts";
import { drawFigures } from "../../experiments/figures/draw.ts";
import { readFontMetrics } from "../../experiments/figures/font-metrics.ts";
import { nanobenchmarksFigure } from "../../experiments/figures/nanobenchmarks.ts";
import { readPublished } from "../../experiments/published.ts";
import type { Results } from "../../experiments/results-folder.ts";
import { runSmall } from "./helpers.ts";

let folder: string;
let results: Results;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "ringlab-figures-"));
  results = await runSmall(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("text is measured by the advances of the font that it is drawn in", () => {
  const fonts = dirname(createRequire(import.meta.url).resolve("dejavu-fonts-ttf/package.json"));
  const metrics = readFontMetrics(join(fonts, "ttf", "DejaVuSans.ttf"));
  // hmtx of DejaVu Sans 2.37, units of 1/2048 em
  expect(metrics.widthOf("A")).toBe(1401 / 2048);
  expect(metrics.widthOf("i")).toBe(569 / 2048);
  expect(metrics.widthOf("Ai")).toBe((1401 + 569) / 2048);
  expect(metrics.widthOf("–")).toBe(1024 / 2048);
});

test("all three files of each figure are the same bytes each time", async () => {
  const [first, second] = [join(folder, "a"), join(folder, "b")];
  const names = ["nanobenchmarks", "accounts"];
  const paths = await drawFigures(results, names, first);
  await drawFigures(results, [...names].reverse(), second);
  expect(paths.map((path) => path.slice(first.length + 1))).toEqual(
    names.flatMap((name) => [`${name}.vl.json`, `${name}.svg`, `${name}.png`]),
  );
  for (const path of paths) {
    expect(readFileSync(path).equals(readFileSync(path.replace(first, second))), path).toBe(true);
  }
  const png = readFileSync(paths[2] as string);
  expect(png.subarray(1, 4).toString()).toBe("PNG");
  // width in pixels, from the header: two panels at double resolution
  expect(png.readUInt32BE(16)).toBeGreaterThan(1600);
  const svg = readFileSync(paths[1] as string, "utf8");
  for (const text of [
    "A small suite",
    "syscall-sysenter",
    "15 826",
    "VT-x + shadow",
    "published, a different instruction",
  ]) {
    expect(svg).toContain(text);
  }
});

function values(spec: unknown): Record<string, unknown>[] {
  return (spec as { data: { values: Record<string, unknown>[] } }).data.values;
}

test("published points stand over the bars that they belong to, and nowhere else", () => {
  const bars = values(nanobenchmarksFigure(results, readPublished()));
  expect(bars.length).toBe(12);
  const withPoint = bars.filter((bar) => bar["published"] !== undefined);
  expect(withPoint.map((bar) => [bar["row"], bar["technique"], bar["published"]])).toEqual([
    ["syscall-sysenter", "native", 242],
    ["in", "native", 3209],
    ["callret", "native", 11],
    ["syscall-sysenter", "VT-x + shadow", 246],
    ["in", "VT-x + shadow", 15826],
    ["callret", "VT-x + shadow", 11],
  ]);
  expect(withPoint.every((bar) => String(bar["panel"]).includes("Pentium 4"))).toBe(true);
  expect(withPoint.filter((bar) => bar["kind"] !== "published").map((bar) => bar["row"])).toEqual([
    "syscall-sysenter",
    "syscall-sysenter",
  ]);
});

test("the calibrated bar, and no other, is hatched", () => {
  const spec = nanobenchmarksFigure(results, readPublished()) as unknown as {
    spec: {
      layer: { mark: { color?: { gradient?: string } }; transform?: { filter: { and: { equal: string }[] } }[] }[];
    };
  };
  const hatched = spec.spec.layer.filter((layer) => layer.mark.color?.gradient === "linear");
  expect(hatched.map((layer) => layer.transform?.[0]?.filter.and.map((each) => each.equal))).toEqual([
    ["Intel Pentium 4 672 (Prescott 2M), 3.8 GHz", "in", "VT-x + shadow"],
  ]);
});

test("a cost of less than half a cycle is drawn at the axis with its number", () => {
  const bar = values(nanobenchmarksFigure(results, readPublished())).find((each) => each["row"] === "callret");
  expect(bar).toMatchObject({ cycles: 0.5, label: "0.25" });
});

test("figures of changed values say so", async () => {
  const other = mkdtempSync(join(tmpdir(), "ringlab-figures-"));
  const changed = await runSmall(other, { settings: [{ name: "vmread", value: 100 }] });
  for (const spec of [nanobenchmarksFigure(changed, readPublished()), accountsFigure(changed)]) {
    expect(JSON.stringify(spec)).toContain("NOT THE PROFILES AS PUBLISHED: set vmread=100");
  }
  rmSync(other, { recursive: true, force: true });
});

test("shares of each bar of the accounts sum to 1", () => {
  const sums = new Map<string, number>();
  for (const { panel, row, share } of values(accountsFigure(results))) {
    sums.set(`${panel}/${row}`, (sums.get(`${panel}/${row}`) ?? 0) + Number(share));
  }
  expect(sums.size).toBe(12);
  for (const sum of sums.values()) expect(sum).toBeCloseTo(1, 4);
});

test("every account has a place in the figure", () => {
  expect(categoryOf("guest-user", "instructions")).toBe("guest, user code");
  expect(categoryOf("guest-kernel", "walk")).toBe("page walks");
  expect(categoryOf("monitor", "transition")).toBe("VM exits and entries");
  expect(categoryOf("monitor", "vmcs")).toBe("VMREAD and VMWRITE");
  expect(categoryOf("monitor", "service:port-io")).toBe("monitor software");
  expect(categoryOf("monitor", "device-wait")).toBe("waiting for devices");
  expect(categoryOf("idle", "halted")).toBe("idle");
});

/**
 * Figure: where the cycles of whole runs went, as stacked bars of shares, a panel per processor and technique. The label
 * at a bar's end is the run's length.
 */
import type { TopLevelSpec } from "vega-lite";
import { PROFILES } from "../../sim/cpu/profiles/catalogue.ts";
import type { AccountRow, Results } from "../results-folder.ts";
import { besideEachOther, type Combination, combinationTitle } from "../techniques.ts";
import { CONFIG, INK, subtitle } from "./style.ts";

/** What the ledger's accounts are shown as, in the order of stacking: guest in blues, hardware in the middle, monitor in reds. */
const CATEGORIES = [
  { name: "guest, user code", colour: "#1f4e79" },
  { name: "guest, kernel code", colour: "#6f9bc4" },
  { name: "translated: identical", colour: "#8faecb" },
  { name: "translated: control flow", colour: "#b9a3cf" },
  { name: "translated: inline emulation", colour: "#8a6bab" },
  { name: "page walks", colour: "#8fc1a9" },
  { name: "event delivery", colour: "#4f8f6f" },
  { name: "waiting for devices", colour: "#d9d2c3" },
  { name: "VM exits and entries", colour: "#f2b56b" },
  { name: "VMREAD and VMWRITE", colour: "#de7f3b" },
  { name: "call-outs", colour: "#e29aa0" },
  { name: "translating", colour: "#c9495a" },
  { name: "monitor software", colour: "#a93226" },
  { name: "idle", colour: "#eef1f4" },
] as const;
type Category = (typeof CATEGORIES)[number]["name"];

/** Classes that the binary translator adds to the ledger's activities. */
const TRANSLATOR: Readonly<Record<string, Category>> = {
  identical: "translated: identical",
  "control-flow": "translated: control flow",
  "inline-emulation": "translated: inline emulation",
  "call-out": "call-outs",
  translate: "translating",
};

/** The category of an account (sim/ledger.ts). */
export function categoryOf(domain: string, activity: string): Category {
  if (activity === "device-wait") return "waiting for devices";
  if (domain === "idle") return "idle";
  if (activity === "transition") return "VM exits and entries";
  if (activity === "vmcs") return "VMREAD and VMWRITE";
  const translated = TRANSLATOR[activity.replace(/^service:/, "")];
  if (translated !== undefined) return translated;
  if (domain === "monitor") return "monitor software";
  if (activity === "walk") return "page walks";
  if (activity === "delivery") return "event delivery";
  return domain === "guest-user" ? "guest, user code" : "guest, kernel code";
}

const PANEL_WIDTH = 190;
/** In a line. */
const MOST_PANELS = 4;
const BAR_STEP = 17;

/** The specification; undefined when the run has no accounts. */
export function accountsFigure(results: Results): TopLevelSpec | undefined {
  const { suite, overrides } = results.run;
  if (results.accounts.length === 0) return undefined;
  const titleOf = besideEachOther(suite.techniques, combinationTitle);
  const panelName = (profile: string, each: Combination) => `${profileName(profile)}: ${titleOf(each)}`;
  const shares = sharesOf(results.accounts, panelName);
  const used = CATEGORIES.filter(({ name }) => shares.some((share) => share.category === name));
  const rows = [...new Set(results.accounts.map(({ key }) => rowName(key.workload, key.parameters)))];
  const totals = totalsOf(results.accounts, panelName);
  const panels = suite.profiles.flatMap((profile) => suite.techniques.map((each) => panelName(profile, each)));
  const y = {
    ...{ field: "row", type: "nominal" as const, sort: rows, title: null },
    axis: { ticks: false, domain: false, labelPadding: 8 },
  };
  const x = {
    ...{
      field: "share",
      type: "quantitative" as const,
      stack: "zero" as const,
      scale: { domain: [0, 1.22], nice: false },
    },
    axis: {
      format: "%",
      values: [0, 0.25, 0.5, 0.75, 1],
      title: "share of the run's cycles",
      grid: false,
      domain: false,
      titleAnchor: "start",
    },
  };
  return {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    title: {
      text: `${suite.title}: where the cycles go`,
      subtitle: subtitle(
        ["Whole runs: boot, console output, warm-up and both loops. At the end of each bar: its length in cycles."],
        overrides,
      ),
    },
    data: {
      values: [
        ...shares.map((share) => ({ ...share, total: "" })),
        ...totals.map((total) => ({ ...total, share: 0 })),
      ] as object[],
    },
    facet: {
      ...{ field: "panel", type: "nominal", sort: panels },
      header: { labelExpr: "split(datum.label, ': ')", labelAnchor: "start", labelLineHeight: 16 },
    },
    // A line for each processor, or all in one where they fit.
    columns: panels.length <= MOST_PANELS ? panels.length : Math.min(suite.techniques.length, MOST_PANELS),
    spacing: { column: 14, row: 26 },
    spec: {
      width: PANEL_WIDTH,
      height: { step: BAR_STEP },
      layer: [
        {
          transform: [{ filter: "datum.total === ''" }],
          mark: { type: "bar", height: { band: 0.72 } },
          encoding: {
            ...{ y, x },
            color: {
              ...{ field: "category", type: "nominal" },
              scale: { domain: used.map(({ name }) => name), range: used.map(({ colour }) => colour) },
              legend: { columns: 4, symbolType: "square" },
            },
            order: { field: "order", type: "quantitative" },
          },
        },
        {
          transform: [{ filter: "datum.total !== ''" }],
          mark: { type: "text", align: "left", baseline: "middle", dx: 4, fontSize: 9, color: INK },
          encoding: { y, x: { datum: 1, type: "quantitative" }, text: { field: "total", type: "nominal" } },
        },
      ],
    },
    config: { ...CONFIG, axisX: { titlePadding: 8 } },
  } as TopLevelSpec;
}

interface Share {
  readonly panel: string;
  readonly row: string;
  readonly category: Category;
  readonly order: number;
  readonly share: number;
}

type PanelName = (profile: string, combination: Combination) => string;

function sharesOf(accounts: readonly AccountRow[], panelName: PanelName): readonly Share[] {
  const sums = new Map<string, number>();
  const cells = new Map<string, Share>();
  for (const { key, domain, activity, cycles } of accounts) {
    const panel = panelName(key.profile, key);
    const row = rowName(key.workload, key.parameters);
    const category = categoryOf(domain, activity);
    const order = CATEGORIES.findIndex(({ name }) => name === category);
    sums.set(`${panel}/${row}`, (sums.get(`${panel}/${row}`) ?? 0) + cycles);
    const cell = `${panel}/${row}/${category}`;
    cells.set(cell, { panel, row, category, order, share: (cells.get(cell)?.share ?? 0) + cycles });
  }
  return [...cells.values()].map((cell) => {
    const share = cell.share / (sums.get(`${cell.panel}/${cell.row}`) as number);
    return { ...cell, share: Number(share.toFixed(6)) };
  });
}

/** Length of each run, the mean over repetitions. */
function totalsOf(
  accounts: readonly AccountRow[],
  panelName: PanelName,
): readonly { panel: string; row: string; total: string }[] {
  const sums = new Map<string, { panel: string; row: string; cycles: number; repetitions: Set<number> }>();
  for (const { key, repetition, cycles } of accounts) {
    const panel = panelName(key.profile, key);
    const row = rowName(key.workload, key.parameters);
    const sum = sums.get(`${panel}/${row}`) ?? { panel, row, cycles: 0, repetitions: new Set<number>() };
    sum.cycles += cycles;
    sum.repetitions.add(repetition);
    sums.set(`${panel}/${row}`, sum);
  }
  return [...sums.values()].map(({ panel, row, cycles, repetitions }) => ({
    panel,
    row,
    total: short(cycles / repetitions.size),
  }));
}

/** `1.2 M`: three digits at most. */
function short(cycles: number): string {
  const units = ["", " k", " M", " G"];
  let value = cycles;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${value.toPrecision(value >= 100 ? 3 : 2)}${units[unit]}`;
}

function rowName(workload: string, parameters: string): string {
  return parameters === "" ? workload : `${workload} ${parameters}`;
}

/** `Pentium 4 672`: the title of a profile without its maker and details. */
function profileName(profile: string): string {
  const title = PROFILES.find((each) => each.name === profile)?.title ?? profile;
  return title.replace(/^(Intel|AMD) /, "").replace(/ \(.*$|,.*$/, "");
}

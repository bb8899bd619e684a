/**
 * `explain`: one iteration of a measured region as an additive list of named costs. What the baseline iteration cost is
 * taken off item by item, so that the list sums to what the operation added.
 */
import { TICKS_PER_CYCLE } from "../sim/clock.ts";
import type { CostItem, Explanation } from "../sim/result.ts";
import { exactly } from "./numbers.ts";

/** An explained iteration: items of measured less baseline, in order of first appearance; they sum to `ticks`. */
export interface Breakdown {
  readonly items: readonly CostItem[];
  readonly ticks: number;
  readonly measuredTicks: number;
  readonly baselineTicks: number;
  readonly iteration: number;
}

/** Measured less baseline, item by item. Items that cancel out are left away. */
export function breakdownOf(measured: Explanation, baseline: Explanation | null): Breakdown {
  const items = new Map<string, { count: number; ticks: number }>();
  const add = (list: readonly CostItem[], sign: 1 | -1) => {
    for (const { name, count, ticks } of list) {
      const item = items.get(name) ?? { count: 0, ticks: 0 };
      items.set(name, { count: item.count + sign * count, ticks: item.ticks + sign * ticks });
    }
  };
  add(measured.items, 1);
  if (baseline !== null) add(baseline.items, -1);
  return {
    items: [...items].filter(([, item]) => item.ticks !== 0).map(([name, item]) => ({ name, ...item })),
    ticks: measured.ticks - (baseline?.ticks ?? 0),
    measuredTicks: measured.ticks,
    baselineTicks: baseline?.ticks ?? 0,
    iteration: measured.iteration,
  };
}

/** The breakdown as a list that sums up, in cycles. */
export function renderBreakdown({ items, ticks, measuredTicks, baselineTicks, iteration }: Breakdown): string {
  const cycles = (each: number) => exactly(each / TICKS_PER_CYCLE);
  const rows = items.map((item): [string, string, string] => [
    item.count === 0 ? "" : String(item.count),
    item.name,
    cycles(item.ticks),
  ]);
  const total: [string, string, string] = ["", "total", cycles(ticks)];
  const widths = [0, 1, 2].map((column) =>
    Math.max(...[...rows, total].map((row) => (row[column] as string).length), 5),
  );
  const [counts, names, values] = widths as [number, number, number];
  const line = ([count, name, value]: [string, string, string]) =>
    `${count.padStart(counts)}  ${name.padEnd(names)}  ${value.padStart(values)}`;
  const rule = `${" ".repeat(counts)}  ${"-".repeat(names + 2 + values)}`;
  const from =
    baselineTicks === 0 ? "" : `: ${cycles(measuredTicks)} measured less ${cycles(baselineTicks)} of the baseline loop`;
  return [
    line(["count", "cost", "cycles"]),
    ...rows.map(line),
    rule,
    line(total),
    "",
    `Iteration ${iteration}${from}. Items of the baseline iteration are taken off.`,
  ].join("\n");
}

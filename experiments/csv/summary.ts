/** Measurements over repetitions: one row per point and quantity, in the order of first appearance. */
import { type Statistics, statisticsOf } from "../statistics.ts";
import { keyCells, type Measurement, rounded } from "./columns.ts";

export interface Summary extends Omit<Measurement, "repetition" | "value">, Statistics {}

/** Summaries of all measurements. */
export function summarize(measurements: readonly Measurement[]): Summary[] {
  const groups = new Map<string, Measurement[]>();
  for (const each of measurements) {
    const name = JSON.stringify([...keyCells(each.key), each.region, each.quantity, each.detail]);
    const group = groups.get(name);
    if (group === undefined) groups.set(name, [each]);
    else group.push(each);
  }
  return [...groups.values()].map((group) => {
    const { repetition: _, value: __, ...common } = group[0] as Measurement;
    const found = statisticsOf(group.map((each) => each.value));
    const numbers = Object.entries(found).map(([name, value]) => [name, rounded(value as number)]);
    return { ...common, ...(Object.fromEntries(numbers) as unknown as Statistics) };
  });
}

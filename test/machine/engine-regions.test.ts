// What the engine finds out about a region before it makes code: its loops, where it looks at the time, kinds of flags.
import { describe, expect, test } from "vitest";
import { flagKinds } from "../../sim/cpu/engine/flag-kinds.ts";
import { flagsKind, MADE_BY, UNKNOWN } from "../../sim/cpu/engine/flags-code.ts";
import type { RegionNode } from "../../sim/cpu/engine/region.ts";
import { structureOf } from "../../sim/cpu/engine/structure.ts";
import { timingOf } from "../../sim/cpu/engine/timing.ts";
import { OP } from "../../sim/cpu/micro-ops.ts";

/** 0 -> 1, a loop 1 -> (2 or 3) -> 4 -> 1, which 4 leaves for 5. */
const EDGES: Readonly<Record<number, readonly number[]>> = { 0: [1], 1: [2, 3], 2: [4], 3: [4], 4: [1, 5], 5: [] };
const successors = (place: number): readonly number[] => EDGES[place] as readonly number[];
const structure = structureOf(0, successors);

describe("looks at the time", () => {
  const timing = (ticks: Readonly<Record<number, number>>, unforeseen: readonly number[] = []) =>
    timingOf(structure, {
      successors,
      ticks: (place) => ticks[place] as number,
      unforeseen: (place) => (unforeseen.includes(place) ? successors(place) : []),
    });
  const looking = (found: ReturnType<typeof timing>): number[] => structure.order.filter(found.looks).sort();
  const TICKS = { 0: 1, 1: 10, 2: 200, 3: 100, 4: 1000, 5: 7 };

  test("stand at the entry and at the heads of loops, as long as the longest way between them", () => {
    const found = timing(TICKS);
    expect(looking(found)).toEqual([0, 1]);
    expect([0, 1, 3, 4, 5].map(found.ahead)).toEqual([1, 1217, 1107, 1007, 7]);
  });

  test("stand behind what costs more than is known", () => {
    expect(looking(timing(TICKS, [3]))).toEqual([0, 1, 4]);
  });

  test("break a way that would be too long", () => {
    const found = timing({ ...TICKS, 4: 2000 });
    expect(looking(found)).toEqual([0, 1, 4]);
    expect(found.ahead(1)).toBe(210);
  });
});

describe("flags at the beginning of a loop", () => {
  const kindOfLoop = (ops: Readonly<Record<number, number>>): number | undefined =>
    flagKinds(structure, successors, (place) => {
      const op = ops[place];
      const lifted = { ops: op === undefined ? [] : [{ op, w: 32, a: 0, b: 2, c: 0, d: 0, imm: 0, x: 0 }] };
      return { instructions: [{ native: true, lifted }] } as unknown as RegionNode;
    }).get(1);

  test("are known where the same comparison is on all ways to it", () => {
    expect(kindOfLoop({ 0: OP.SUB, 4: OP.SUB })).toBe(flagsKind(MADE_BY.SUB, 0));
    expect(kindOfLoop({ 0: OP.SUB })).toBe(flagsKind(MADE_BY.SUB, 0));
  });

  test("are not where ways differ", () => {
    expect(kindOfLoop({ 0: OP.SUB, 4: OP.AND })).toBe(UNKNOWN);
    expect(kindOfLoop({ 0: OP.SUB, 2: OP.AND })).toBe(UNKNOWN);
    expect(kindOfLoop({ 4: OP.SUB })).toBe(UNKNOWN);
  });
});

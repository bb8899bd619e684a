// Points of a unit, packed, are what was put in.
import { expect, test } from "vitest";
import { beginningOf, PointsWriter, pointAt } from "../../sim/techniques/bt/points.ts";
import type { Point, Repair } from "../../sim/techniques/bt/translation.ts";

test("points come back by offset, beginnings by EIP", () => {
  const spilled: readonly Repair[] = [{ kind: "load", register: 1, slot: 0x10 }];
  const moved: readonly Repair[] = [...spilled, { kind: "add", register: 4, delta: 4, bits: 32 }];
  const points: Point[] = [
    { offset: 0, eip: 0xc010_0000, repairs: [], shadow: false, stores: false },
    { offset: 7, eip: 0xc010_0000, repairs: spilled, shadow: true, stores: true },
    { offset: 9, eip: 0xffff_ffff, repairs: moved, shadow: false, stores: true },
    { offset: 0xfff, eip: 0xc010_0002, repairs: spilled, shadow: true, stores: false },
    { offset: 0x1003, eip: 0xc010_0000, repairs: [], shadow: false, stores: false },
  ];
  const writer = new PointsWriter();
  for (const [n, point] of points.entries()) writer.add(point, n === 0 || n === 3);
  expect(writer.repairs).toHaveLength(3);
  const saved = structuredClone({ packed: writer.packed, repairs: writer.repairs });
  for (const point of points) expect(pointAt(saved, point.offset)).toEqual(point);
  for (const offset of [1, 8, 0x1002, 0x1004]) expect(pointAt(saved, offset)).toBeUndefined();
  expect([0xc010_0000, 0xc010_0002, 0xffff_ffff].map((eip) => beginningOf(saved, eip))).toEqual([0, 0xfff, -1]);
});

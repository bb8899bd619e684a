import { describe, expect, test } from "vitest";
import { profileNamed } from "../../sim/cpu/profiles/catalogue.ts";
import { differsByMaker, loadX87Vectors, X87Rig, x87Families } from "./x87.ts";

describe("the x87 does what a real processor did", () => {
  test("in at least 50 000 vectors of six families", () => {
    const families = ["x87-arith", "x87-compare", "x87-convert", "x87-move", "x87-transcendental", "x87-unary"];
    expect(x87Families()).toEqual(families);
    const count = x87Families().reduce((sum, family) => sum + loadX87Vectors(family).vectors.length, 0);
    expect(count).toBeGreaterThanOrEqual(50_000);
  });

  for (const family of x87Families()) {
    test(`in every vector of family ${family}`, { timeout: 60_000 }, () => {
      const { names, vectors } = loadX87Vectors(family);
      const rig = new X87Rig(profileNamed("pentium4-672"));
      const failures = new Map<string, { count: number; first: string }>();
      for (const vector of vectors) {
        const name = names[vector.f]!;
        if (differsByMaker(name, vector)) continue;
        const differences = rig.run(name, vector);
        if (differences.length === 0) continue;
        const failure = failures.get(name) ?? {
          count: 0,
          first: `${JSON.stringify(vector)}: ${differences.join("; ")}`,
        };
        failure.count++;
        failures.set(name, failure);
      }
      expect(Object.fromEntries(failures)).toEqual({});
    });
  }
});

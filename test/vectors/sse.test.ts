import { describe, expect, test } from "vitest";
import { profileNamed } from "../../sim/cpu/profiles/catalogue.ts";
import { loadSimdVectors, SimdRig, simdFamilies } from "./sse.ts";

describe("MMX and SSE do what a real processor did", () => {
  test("in at least 150 000 vectors of five families", () => {
    expect(simdFamilies()).toEqual(["simd-mmx", "simd-sse", "simd-sse2", "simd-sse3", "simd-ssse3"]);
    const count = simdFamilies().reduce((sum, family) => sum + loadSimdVectors(family).vectors.length, 0);
    expect(count).toBeGreaterThanOrEqual(150_000);
  });

  for (const family of simdFamilies()) {
    test(`in every vector of family ${family}`, { timeout: 120_000 }, () => {
      const { names, vectors } = loadSimdVectors(family);
      const rig = new SimdRig(profileNamed("core2-e6700"));
      const failures = new Map<string, { count: number; first: string }>();
      for (const vector of vectors) {
        const name = names[vector.f]!;
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

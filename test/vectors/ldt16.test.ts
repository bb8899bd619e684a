import { describe, expect, test } from "vitest";
import { profileNamed } from "../../sim/cpu/profiles/catalogue.ts";
import { Ldt16Rig, ldt16Families, loadLdt16 } from "./ldt16.ts";

describe("the core does in 16-bit protected mode what a real processor did", () => {
  for (const family of ldt16Families()) {
    test(`in every vector of family ${family}`, { timeout: 120_000 }, () => {
      const { header, vectors } = loadLdt16(family);
      expect(vectors.length).toBeGreaterThan(1000);
      const rig = new Ldt16Rig(header, profileNamed("pentium4-672"));
      const failures = new Map<string, { count: number; first: string }>();
      for (const vector of vectors) {
        const differences = rig.run(vector);
        if (differences.length === 0) continue;
        const form = header.forms[vector.f];
        const name = `${form?.name} ${form?.size}`;
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

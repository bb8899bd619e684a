import { describe, expect, test } from "vitest";
import { profileNamed } from "../../sim/cpu/profiles/catalogue.ts";
import { loadVectors, vectorFamilies } from "./load.ts";
import { VectorRig } from "./rig.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

describe("the core does what a real processor did", () => {
  for (const family of vectorFamilies()) {
    test(`in every vector of family ${family}`, { timeout: 60_000 }, () => {
      const { header, vectors } = loadVectors(family);
      const rig = new VectorRig(header, profileNamed("pentium4-672"));
      const failures = new Map<string, { count: number; first: string }>();
      for (const vector of vectors) {
        const differences = rig.run(vector);
        if (differences.length === 0) continue;
        const failure = failures.get(vector.form.name) ?? {
          count: 0,
          first: `${vector.index} ${hex(vector.bytes)}: ${differences.join("; ")}`,
        };
        failure.count++;
        failures.set(vector.form.name, failure);
      }
      expect(Object.fromEntries(failures)).toEqual({});
    });
  }
});

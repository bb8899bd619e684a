// What becomes part of a region: code that has been interpreted often enough, and what is compiled itself.
import { expect, test } from "vitest";
import { EAGER_POLICY } from "../../sim/cpu/engine/policy.ts";
import { boot } from "./rig.ts";

/** inc ecx; test cl, 63; jz there; jmp; there: inc edx; inc edx; inc edx; jmp */
const CODE = Uint8Array.of(0x41, 0xf6, 0xc1, 63, 0x74, 0x02, 0xeb, 0xf8, 0x42, 0x42, 0x42, 0xeb, 0xf3);
const WHOLE = 8;
const LOOP = 4;

test.each([
  ["is left out", 20, LOOP],
  ["is part of a region", 1, WHOLE],
])("code that has run twice %s when it is warm after %i times", (_, warm, instructions) => {
  const { machine } = boot({ technique: "native", code: CODE, engine: { ...EAGER_POLICY, hot: 150, warm } });
  machine.run(100_000);
  const compiled = machine.core.engineStatistics();
  const regions = compiled["engine.regions.compiled"] as number;
  expect(regions).toBeGreaterThan(0);
  expect(compiled["engine.instructions"]).toBe(regions * instructions);
});

// Writes beside code that runs: nothing is lifted or compiled anew but what they overlap; and a binary translator, which
// writes beside its own code all the time, hardly makes the engine begin anew.
import { expect, test } from "vitest";
import { DEFAULT_POLICY, EAGER_POLICY } from "../../sim/cpu/engine/policy.ts";
import { boot, CODE_BASE, LIMIT } from "./rig.ts";

/** inc eax; add ebx, eax; jmp */
const LOOP = Uint8Array.of(0x40, 0x01, 0xc3, 0xeb, 0xfb);

test("a write to the granule of compiled code drops what has its bytes, and nothing else", () => {
  const { machine } = boot({ technique: "native", code: LOOP, engine: EAGER_POLICY });
  const { code } = machine.core;
  const invalidated = (): number => machine.core.engineStatistics()["engine.regions.invalidated"] ?? -1;
  let until = 100_000;
  machine.run(until);
  expect(machine.core.engineStatistics()["engine.regions.live"]).toBeGreaterThan(0);
  const { dropped } = code;
  for (const address of [CODE_BASE - 1, CODE_BASE + LOOP.length, CODE_BASE + 60]) {
    machine.memory.write8(address, 0x90);
    until += 10_000;
    machine.run(until);
  }
  expect(code.dropped).toBe(dropped);
  expect(invalidated()).toBe(0);
  machine.memory.write8(CODE_BASE, 0x40);
  expect(code.dropped).toBeGreaterThan(dropped);
  expect(invalidated()).toBe(1);
  // It gets hot again.
  machine.run(until + 10_000);
  expect(machine.core.engineStatistics()["engine.regions.live"]).toBeGreaterThan(0);
});

test.each(["compute", "kstorm"])("under binary translation few lifted blocks are dropped for a unit: %s", (guest) => {
  const { machine } = boot({ technique: "bt", guest, commandLine: "scale=2", engine: DEFAULT_POLICY });
  expect(machine.run(LIMIT)).toEqual({ kind: "exit", status: 0 });
  const units = machine.technique.counters()["bt.units"] ?? 0;
  expect(units).toBeGreaterThan(100);
  expect(machine.core.code.dropped).toBeLessThan(0.15 * units);
  expect(machine.core.engineStatistics()["engine.regions.invalidated"]).toBeLessThan(0.3 * units);
});

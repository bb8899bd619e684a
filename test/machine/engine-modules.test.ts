// Modules of compiled code: many functions that are called in turn, in more regions than there is room for, so that modules
// are merged, cold regions dropped and the table of functions renewed again and again; the interpreter beside it.
import { expect, test } from "vitest";
import { Lockstep } from "../../experiments/verify/lockstep.ts";
import { EAGER_POLICY, type EnginePolicy } from "../../sim/cpu/engine/policy.ts";
import { GPR } from "../../sim/cpu/state.ts";
import type { Machine } from "../../sim/machine.ts";
import { alone } from "./lockstep.ts";
import { boot, CODE_BASE } from "./rig.ts";

const FUNCTIONS = 128;
const FUNCTION_BYTES = 32;
const FIRST = CODE_BASE + 0x100;
const word = (value: number): readonly number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);

/** imul eax, eax, 1664525; add eax, ...; mov edx, eax; shr edx, 20; and edx, 127 << 5; add edx, FIRST; call edx; jmp */
const LOOP = [
  ...[0x69, 0xc0, ...word(1664525), 0x05, ...word(1013904223), 0x89, 0xc2, 0xc1, 0xea, 20],
  ...[0x81, 0xe2, ...word((FUNCTIONS - 1) * FUNCTION_BYTES), 0x81, 0xc2, ...word(FIRST), 0xff, 0xd2, 0xeb],
];

/** add ebx, n; test bl, 1; jz on; xor esi, ebx; inc ecx; on: dec edi; ret */
const functionOf = (n: number): readonly number[] => [
  ...[0x81, 0xc3, ...word(n * 77 + 1), 0xf6, 0xc3, 1, 0x74, 3, 0x31, 0xde, 0x41, 0x4f, 0xc3],
];

function program(): Uint8Array {
  const code = new Uint8Array(FIRST - CODE_BASE + FUNCTIONS * FUNCTION_BYTES);
  code.set([...LOOP, -(LOOP.length + 1) & 0xff]);
  for (let n = 0; n < FUNCTIONS; n++) code.set(functionOf(n), FIRST - CODE_BASE + n * FUNCTION_BYTES);
  return code;
}

function machines(policy: EnginePolicy): { readonly both: Lockstep; readonly compiled: Machine } {
  const [compiled, interpreted] = [policy, null].map(
    (engine) =>
      boot({
        ...{ technique: "native", code: program(), engine },
        prepare: (state) => state.set(GPR.esp, 0x90000),
      }).machine,
  ) as [Machine, Machine];
  return { both: new Lockstep(alone(compiled), alone(interpreted)), compiled };
}

test("more regions than there is room for", () => {
  const { both, compiled } = machines({ ...EAGER_POLICY, hot: 2, batch: 2, regions: 48 });
  both.run(12_000_000);
  expect(both.divergence?.report).toBe(undefined);
  const engine = compiled.core.engineStatistics();
  expect(engine["engine.sweeps"]).toBeGreaterThan(2);
  expect(engine["engine.merges"]).toBeGreaterThan(5);
  // The table has been renewed.
  expect(engine["engine.modules"]).toBeGreaterThan(64);
  expect(engine["engine.regions.live"]).toBeLessThanOrEqual(48);
});

test("what is executed settles in few modules", () => {
  const { both, compiled } = machines({ ...EAGER_POLICY, hot: 4, batch: 4, patience: 100, regions: 1024 });
  both.run(12_000_000);
  expect(both.divergence?.report).toBe(undefined);
  const engine = compiled.core.engineStatistics();
  expect(engine["engine.regions.live"]).toBeGreaterThan(FUNCTIONS);
  expect(engine["engine.regions.dropped"]).toBe(0);
  expect(engine["engine.modules.most"]).toBeLessThan(24);
  const before = engine["engine.modules"];
  both.run(18_000_000);
  expect(compiled.core.engineStatistics()["engine.modules"]).toBe(before);
});

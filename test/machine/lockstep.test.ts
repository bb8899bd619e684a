// The comparison of compiled code with the interpreter finds what is planted, and says at which instruction it is.
import { expect, test } from "vitest";
import { hex } from "../../experiments/inspect.ts";
import type { Runnable } from "../../experiments/verify/lockstep.ts";
import { TICKS_PER_CYCLE } from "../../sim/clock.ts";
import { GPR } from "../../sim/cpu/state.ts";
import type { Machine } from "../../sim/machine.ts";
import { expectAlike, lockstep } from "./lockstep.ts";
import { boot, LIMIT, type Setup } from "./rig.ts";

/** A loop: inc eax; add [108000h], eax; mov ecx, [108000h]; cmp eax, 1 << 20; jnz; and at its end ud2. */
const LOOP = Uint8Array.of(
  ...[0x40, 0x01, 0x05, 0x00, 0x80, 0x10, 0x00, 0x8b, 0x0d, 0x00, 0x80, 0x10, 0x00],
  ...[0x3d, 0x00, 0x00, 0x10, 0x00, 0x75, 0xec, 0x0f, 0x0b],
);
const SETUP: Setup = { technique: "native", code: LOOP, guestBytes: 2 << 20 };

/** As if compiled code did something wrong at the first boundary at which the clock has reached `at`. */
function spoiled(runnable: Runnable, at: number, spoil: (machine: Machine) => void): Runnable {
  const { machine } = runnable;
  return {
    ...runnable,
    run(until) {
      if (machine.ledger.clock.now >= at || until < at) return runnable.run(until);
      const end = runnable.run(at);
      spoil(machine);
      return end ?? runnable.run(until);
    },
  };
}

/** EIP at the first boundary at or after `at`, by the interpreter alone. */
function eipAt(at: number): number {
  const { machine } = boot({ ...SETUP, engine: null });
  machine.run(at);
  return machine.core.state.eip;
}

const AT = 3_123_457 * TICKS_PER_CYCLE + 5;

test("a wrong register is found at the instruction after which it is wrong", () => {
  const both = lockstep(SETUP, (runnable) =>
    spoiled(runnable, AT, ({ core }) => core.state.setNumber(GPR.esi, core.state.get(GPR.esi) ^ 0x100)),
  );
  both.run(LIMIT);
  const { divergence } = both;
  expect(divergence).toMatchObject({
    pinpointed: true,
    differences: [{ name: "esi", left: "00000100", right: "00000000" }],
  });
  // No boundary is between the two moments.
  expect(divergence?.apart).toBe(AT);
  expect(divergence?.alike).toBe(AT - 1);
  // Both states are told, and where they were alike last.
  expect(divergence?.report).toMatch(/^Compiled code and the interpreter are alike up to cycle 312345\d/);
  expect(divergence?.report).toContain(`at 0008:${hex(eipAt(AT))}`);
  expect(divergence?.report).toMatch(
    /\ncompiled, at cycle [\d.]+:\n[\s\S]*esi 00000100[\s\S]*\ninterpreted, [\s\S]*esi 00000000/,
  );
  expect(divergence?.report).toMatch(/\nesi +00000100 +00000000$/);
  // What has been found stays found.
  expect(both.run(LIMIT)).toBe(null);
});

test("a wrong byte of memory that nobody reads is found, and so is a wrong counter of a TLB's", () => {
  const memory = lockstep(SETUP, (runnable) =>
    spoiled(runnable, AT, (machine) => machine.memory.write8(0x1ff001, 0x55)),
  );
  memory.run(LIMIT);
  expect(memory.divergence?.differences).toEqual([
    { name: "host memory 001ff000", left: "00005500", right: "00000000" },
  ]);
  const counted = lockstep(SETUP, (runnable) => spoiled(runnable, AT, (machine) => machine.memory.countReference(0)));
  counted.run(LIMIT);
  expect(counted.divergence?.differences).toEqual([{ name: "references.0", left: "1", right: "0" }]);
});

test("a guest whose states are alike runs to its end, which both have", () => {
  const machine = expectAlike({ technique: "native", guest: "t-smc" });
  expect(machine.board.exit.status).toBe(0);
  expect(machine.core.engineStatistics()["engine.regions.compiled"]).toBeGreaterThan(0);
});

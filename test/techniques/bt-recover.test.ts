// Precise state: stopped before any instruction of the cache, the guest is where its own code would be.
import { describe, expect, test } from "vitest";
import type { Core } from "../../sim/cpu/core.ts";
import { CELL, FLAG, gprCell } from "../../sim/cpu/state.ts";
import { DATA } from "../../sim/techniques/bt/layout.ts";
import type { BtParameters } from "../../sim/techniques/bt/parameters.ts";
import { RandomProgram, word } from "../machine/random-program.ts";
import { boot, LIMIT } from "../machine/rig.ts";
import { type GuestCode, program16, sensitiveProgram } from "./bt-programs.ts";
import { type GuestAt, ToyMonitor } from "./bt-rig.ts";

const MACHINE_BYTES = 8 << 20;
/** Guest instructions (iterations of string instructions among them) between two looks at it, at most. */
const FAR = 400;

function guestOf({ state }: Core): GuestAt {
  const registers = Array.from({ length: 8 }, (_, n) => state.get(gprCell(n)));
  return { eip: state.eip, registers, flags: state.flags & ~FLAG.RF };
}

const same = (a: GuestAt, b: GuestAt): boolean => JSON.stringify(a) === JSON.stringify(b);

/** Runs both, one instruction at a time, `looks` looks at most; how many looks were inside of the cache. */
function follow(setup: GuestCode, options: Partial<BtParameters>, looks: number): number {
  const direct = boot({ technique: "native", guestBytes: MACHINE_BYTES, ...setup }).machine.core;
  const toy = new ToyMonitor(setup, options);
  let inside = 0;
  let expected = guestOf(direct);
  const check = (actual: GuestAt): void => {
    const before = expected;
    for (let n = 0; !same(actual, expected); n++) {
      if (n === FAR || direct.run({ until: LIMIT, instructions: 1 }).kind !== "limit") {
        expect({ address: toy.address.toString(16), ...actual }).toEqual(before);
      }
      expected = guestOf(direct);
    }
  };
  while (inside < looks && !toy.ended) {
    if (!toy.enter()) throw new Error("no translation");
    do {
      check(toy.guestAt());
      inside++;
    } while (inside < looks && toy.run(1) === "limit");
  }
  return inside;
}

describe("the guest's state can be had before every instruction of the cache", () => {
  test.each([{}, { unitSize: 2 }, { chaining: false }] as Partial<BtParameters>[])("integer code: %j", (options) => {
    for (let seed = 1; seed <= 2; seed++) {
      expect(follow({ code: new RandomProgram(seed).code }, options, 3000)).toBe(3000);
    }
  });

  test.each([16, 32] as const)("16-bit code on a stack of %d bits", (stackBits) => {
    let looks = 0;
    for (let seed = 1; seed <= 4; seed++) looks += follow(program16(seed, stackBits), {}, 2000);
    expect(looks).toBeGreaterThan(1000);
  });

  test.each([{}, { unitSize: 2 }, { inline: false }] as Partial<BtParameters>[])("sensitive code: %j", (options) => {
    let looks = 0;
    for (let seed = 1; seed <= 6; seed++) looks += follow({ code: sensitiveProgram(seed) }, options, 3000);
    expect(looks).toBeGreaterThan(1000);
  });

  test("RDTSC adds the guest's offset and changes no flag", () => {
    for (const flags of [0, FLAG.CF | FLAG.OF, FLAG.ZF | FLAG.PF | FLAG.AF, FLAG.SF | FLAG.OF | FLAG.DF]) {
      // rdtsc; ud2
      const toy = new ToyMonitor({
        code: Uint8Array.of(0x0f, 0x31, 0x0f, 0x0b),
        prepare: (state) => {
          for (let n = 0; n < 8; n++) state.set(gprCell(n), 0x1111_1111 * n);
          state.flags = flags | 2;
        },
      });
      toy.store(DATA.tscOffset, 0xffff_0000);
      toy.store(DATA.tscOffset + 4, 7);
      toy.enter();
      const before = toy.guestAt();
      let at = before;
      let steps = 0;
      while (at.eip === before.eip) {
        expect(at).toEqual(before);
        expect(toy.run(1)).toBe("limit");
        at = toy.guestAt();
        steps++;
      }
      expect(steps).toBeGreaterThan(10);
      const [eax, ecx, edx, ...others] = at.registers;
      const counter = (edx as number) * 2 ** 32 + (eax as number) - (8 * 2 ** 32 - 0x1_0000);
      expect(counter).toBeGreaterThan(0);
      expect(counter).toBeLessThan(100_000);
      expect([ecx, ...others]).toEqual([before.registers[1], ...before.registers.slice(3)]);
      expect(at.flags).toBe(before.flags);
    }
  });
});

describe("an interrupt that waits", () => {
  /** What has called the monitor when IF becomes 1, with and without an interrupt that waits. */
  function pendingAfter(code: readonly number[], pending: boolean): { count: number; flags: number } {
    const program = [0xbc, ...word(0x170000), ...code, 0x0f, 0x0b];
    const toy = new ToyMonitor({
      code: Uint8Array.from(program),
      prepare: (state) => {
        state.flags &= ~FLAG.IF;
      },
    });
    toy.store(DATA.pending, pending ? 1 : 0);
    toy.finish(100);
    expect(toy.ended).toBe(true);
    return { count: toy.counts["pending"] ?? 0, flags: toy.rig.machine.core.state.get(CELL.rflags) & FLAG.IF };
  }

  const [cli, sti, nop] = [0xfa, 0xfb, 0x90];
  const popf = (image: number): number[] => [0x68, ...word(image), 0x9d];
  test.each([
    ["STI", [cli, sti, nop], 1],
    ["POPF that sets IF", popf(FLAG.IF | FLAG.CF), 1],
    ["POPF that does not", popf(FLAG.CF), 0],
    ["CLI", [cli, nop], 0],
  ] as const)("is noticed by %s %#", (_name, code, count) => {
    expect(pendingAfter(code, true)).toEqual({ count, flags: count * FLAG.IF });
    expect(pendingAfter(code, false)).toEqual({ count: 0, flags: count * FLAG.IF });
  });
});

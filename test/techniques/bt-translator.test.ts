// Units of the translator on the core, against the guest's own code run directly.
import { describe, expect, test } from "vitest";
import { CELL, GPR, gprCell, SEG } from "../../sim/cpu/state.ts";
import type { BtParameters } from "../../sim/techniques/bt/parameters.ts";
import { RandomProgram } from "../machine/random-program.ts";
import { boot, LIMIT, type Rig } from "../machine/rig.ts";
import { type GuestCode, program16, sensitiveProgram } from "./bt-programs.ts";
import { ToyMonitor } from "./bt-rig.ts";

const GUEST_BYTES = 4 << 20;
const MACHINE_BYTES = 8 << 20;

/** Registers, flags and all of the guest's memory. */
function outcome({ machine }: Rig): { registers: number[]; memory: Uint8Array } {
  const { state } = machine.core;
  const registers = Array.from({ length: 8 }, (_, n) => state.get(gprCell(n)));
  const memory = new Uint8Array(GUEST_BYTES);
  machine.technique.readGuest(0, memory);
  return { registers: [...registers, state.eip, state.flags, state.get(CELL.cr0)], memory };
}

function sameEnd(setup: GuestCode, options: Partial<BtParameters> = {}, armed = false): ToyMonitor {
  const direct = boot({ technique: "native", guestBytes: MACHINE_BYTES, ...setup });
  expect(direct.machine.run(LIMIT).kind).toBe("triple-fault");
  const toy = new ToyMonitor(setup, options);
  let visits = 0;
  toy.finish(1_000_000, () => {
    const unit = toy.cache.find(toy.address);
    if (armed && unit !== undefined && visits++ % 3 === 0) toy.cache.arm(unit);
  });
  expect(toy.ended).toBe(true);
  const [expected, actual] = [outcome(direct), outcome(toy.rig)];
  expect(actual.registers).toEqual(expected.registers);
  // Bytes below the stack pointer excepted.
  const stack = (expected.registers[GPR.esp / 2] as number) + direct.machine.core.state.segmentBase(SEG.ss);
  for (const { memory } of [expected, actual]) memory.fill(0, stack - 256, stack);
  expect(Buffer.compare(actual.memory, expected.memory)).toBe(0);
  return toy;
}

const VARIANTS: readonly Partial<BtParameters>[] = [
  {},
  { chaining: false },
  { returnLookup: false },
  { inline: false },
  { unitSize: 1 },
  { unitSize: 3, cacheKb: 16 },
];

describe("translated code ends as the guest's own code does", () => {
  test.each(VARIANTS)("on random programs with loops, calls and self-modification: %j", (options) => {
    for (let seed = 1; seed <= 2; seed++) sameEnd({ code: new RandomProgram(seed).code }, options);
  });

  test.each(VARIANTS)("on random 16-bit programs: %j", (options) => {
    for (let seed = 1; seed <= 3; seed++) sameEnd(program16(seed, seed % 3 === 0 ? 32 : 16), options);
  });

  test.each(VARIANTS)("on random programs of sensitive instructions: %j", (options) => {
    for (let seed = 1; seed <= 4; seed++) sameEnd({ code: sensitiveProgram(seed) }, options);
  });
});

test("a unit that is armed calls the monitor where it ends, and goes on from there", () => {
  const { counts } = sameEnd({ code: new RandomProgram(21).code }, {}, true);
  expect(counts["armed"]).toBeGreaterThan(10);
});

test("a loop runs in the cache: its branches are chained, its returns are looked up", () => {
  // mov esp, 170000h; mov ecx, 1000; call next: inc eax; ret; loop; ud2
  const code = Uint8Array.of(
    0xbc,
    0,
    0,
    0x17,
    0,
    0xb9,
    0xe8,
    3,
    0,
    0,
    0xe8,
    4,
    0,
    0,
    0,
    0xe2,
    0xf9,
    0x0f,
    0x0b,
    0x40,
    0xc3,
  );
  const { counts, cache } = sameEnd({ code });
  expect(counts).toEqual({ translate: 4, lookup: 1, instruction: 1 });
  expect(cache.statistics.exitsChained).toBe(4);
});

// Compiled code against the interpreter: random programs, and events at each clock value. Guests are in verified-guests.ts.
import { describe, expect, test } from "vitest";
import { Lockstep } from "../../experiments/verify/lockstep.ts";
import { CAPACITY } from "../../sim/cpu/engine/layout.ts";
import { EAGER_POLICY, type EnginePolicy } from "../../sim/cpu/engine/policy.ts";
import { CELL, type CpuState, GPR, SEG } from "../../sim/cpu/state.ts";
import { DOMAINS } from "../../sim/ledger.ts";
import type { Machine } from "../../sim/machine.ts";
import { alone, expectAlike } from "./lockstep.ts";
import { RandomProgram } from "./random-program.ts";
import { boot, CODE_BASE, LIMIT, type Setup } from "./rig.ts";

test("random programs of arithmetic, memory, calls and branches end alike", () => {
  for (let seed = 1; seed <= 40; seed++) {
    expectAlike({ technique: "native", code: new RandomProgram(seed).code, guestBytes: 2 << 20 });
  }
});

test("an event falls due at the same instruction in compiled code", () => {
  // A loop of three instructions, left at every clock value of some iterations.
  const code = Uint8Array.of(0x40, 0x01, 0xc3, 0xeb, 0xfb);
  const at = (until: number, engine: EnginePolicy | null): readonly number[] => {
    const { machine } = boot({ technique: "native", code, engine });
    machine.run(until);
    const { state } = machine.core;
    return [machine.ledger.clock.now, state.eip, state.get(GPR.eax), state.get(GPR.ebx), state.flags];
  };
  for (let until = 20_000; until < 20_100; until++) expect(at(until, EAGER_POLICY)).toEqual(at(until, null));
});

test("a function that calls itself from two places is one region, which its returns do not leave", () => {
  // mov esp, 0x180000; start: mov eax, 12; call f; jmp start. f: test eax, eax; jnz more; ret;
  // more: dec eax; push eax; test al, 1; jz even; call f; pop eax; ret; even: call f; pop eax; ret
  const start = [0xbc, 0, 0, 0x18, 0, 0xb8, 12, 0, 0, 0, 0xe8, 2, 0, 0, 0, 0xeb, 0xf4];
  const more = [
    0x48, 0x50, 0xa8, 1, 0x74, 7, 0xe8, 0xf0, 255, 255, 255, 0x58, 0xc3, 0xe8, 0xe9, 255, 255, 255, 0x58, 0xc3,
  ];
  const f = [0x85, 0xc0, 0x75, 1, 0xc3, ...more];
  const { machine } = boot({ technique: "native", code: Uint8Array.of(...start, ...f), engine: EAGER_POLICY });
  machine.run(3_000_000);
  const entries = new Int32Array(machine.memory.buffer, machine.memory.engineArea.entries, CAPACITY);
  expect(entries.reduce((sum, each) => sum + each, 0)).toBeLessThan(1000);
  expect(machine.ledger.retiredIn(DOMAINS)).toBeGreaterThan(100_000);
});

/** Two machines of the same set-up, compiled and interpreted. */
function pair(setup: Setup): { readonly machines: readonly [Machine, Machine]; readonly both: Lockstep } {
  const compiled = boot({ ...setup, engine: EAGER_POLICY }).machine;
  const interpreted = boot({ ...setup, engine: null }).machine;
  return { machines: [compiled, interpreted], both: new Lockstep(alone(compiled), alone(interpreted)) };
}

/** Segments of a boot loader, changed. */
function changeSegments(state: CpuState, segments: readonly number[], base: number, limit: number): void {
  for (const segment of segments) state.setSegment(segment, 8, base, limit, state.segmentRights(segment));
}

const DATA = [SEG.ds, SEG.es, SEG.ss];

describe("segments with a limit", () => {
  test.each([
    ["far above what is used", 0xffbfffff],
    ["amid the memory that is used", 0x181fff],
    ["below most of it", 0x1803fe],
  ])("data segments, %s", (_, limit) => {
    let compiled = 0;
    for (let seed = 1; seed <= 12; seed++) {
      const { core } = expectAlike({
        ...{ technique: "native", code: new RandomProgram(seed).code, guestBytes: 2 << 20 },
        prepare: (state) => changeSegments(state, DATA, 0, limit),
      });
      compiled += core.engineStatistics()["engine.regions.compiled"] ?? 0;
    }
    expect(compiled).toBeGreaterThan(0);
  });

  test("a data segment with a base and a limit", () => {
    for (let seed = 1; seed <= 8; seed++) {
      expectAlike({
        ...{ technique: "native", code: new RandomProgram(seed).code, guestBytes: 2 << 20 },
        prepare: (state) => changeSegments(state, DATA, 0x1000, 0x182fff),
      });
    }
  });

  test.each([
    ["all of the code", 0],
    ["a part of it", 200],
  ])("a code segment with a base and a limit that takes in %s", (_, less) => {
    let compiled = 0;
    for (let seed = 1; seed <= 12; seed++) {
      const { code } = new RandomProgram(seed);
      const base = 0xff000;
      const { core } = expectAlike({
        ...{ technique: "native", code, guestBytes: 2 << 20 },
        prepare: (state) => {
          changeSegments(state, [SEG.cs], base, CODE_BASE - base + code.length - 1 - less);
          state.set(CELL.rip, CODE_BASE - base);
        },
      });
      compiled += core.engineStatistics()["engine.regions.compiled"] ?? 0;
    }
    expect(compiled).toBeGreaterThan(0);
  });

  test("a region that was compiled for flat segments is compiled again for what it meets later", () => {
    // A loop reads through DS: mov eax, [ebx]; inc ecx; jmp
    const code = Uint8Array.of(0x8b, 0x03, 0x41, 0xeb, 0xfb);
    const { both, machines } = pair({ technique: "native", code });
    both.run(200_000);
    for (const { core } of machines) {
      changeSegments(core.state, [SEG.ds], 0x20, 0x7fffffff);
    }
    both.run(400_000);
    expect(both.divergence?.report).toBe(undefined);
    const engine = machines[0].core.engineStatistics();
    expect(engine["engine.regions.compiled"]).toBe(2);
    expect(engine["engine.regions.dropped"]).toBe(1);
  });
});

test("a region charges each instruction to the account of its byte", () => {
  for (let seed = 1; seed <= 10; seed++) {
    const { code } = new RandomProgram(seed);
    const { both, machines } = pair({ technique: "native", code, guestBytes: 2 << 20 });
    for (const { ledger, core } of machines) {
      const accounts = ["copied", "inline"].map((name) => ledger.account("monitor", name));
      core.code.classes = {
        first: CODE_BASE,
        linear: CODE_BASE,
        classes: Uint8Array.from(code, (_, n) => (n * 7 + (n >> 3)) % 3),
        accounts: accounts.map((account) => ({ kernel: account, user: account })),
      };
    }
    both.run(LIMIT);
    expect(both.divergence?.report).toBe(undefined);
    const { ledger } = machines[0];
    expect(ledger.retired(ledger.account("monitor", "copied"))).toBeGreaterThan(0);
  }
});

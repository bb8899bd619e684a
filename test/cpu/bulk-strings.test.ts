// REP MOVS and REP STOS done at once leave what they leave one by one: at every clock value at which they may be left, with
// operands that overlap, cross pages, are one frame under two addresses, or are code that has run.
import fc from "fast-check";
import { expect, test } from "vitest";
import { DEFAULT_POLICY } from "../../sim/cpu/engine/policy.ts";
import { type CpuState, SEG } from "../../sim/cpu/state.ts";
import type { Machine } from "../../sim/machine.ts";
import { boot, CODE_BASE } from "../machine/rig.ts";

const word = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];
const BUFFER = 0x120000;

interface Case {
  readonly operation: number;
  readonly wide: boolean;
  readonly source: number;
  readonly target: number;
  readonly count: number;
  readonly value: number;
  readonly until: number;
  /** Base and limit of DS and ES; null: flat. */
  readonly segments: { readonly base: number; readonly limit: number } | null;
}

/** mov esi; mov edi; mov ecx; mov eax; rep operation; hlt, over bytes that are all different. */
function machineFor({ operation, wide, source, target, count, value, segments }: Case, bulk: boolean): Machine {
  const code = [
    ...[0xbe, ...word(source), 0xbf, ...word(target), 0xb9, ...word(count), 0xb8, ...word(value)],
    ...[...(wide ? [] : [0x66]), 0xf3, operation, 0xf4],
  ];
  const { machine } = boot({
    technique: "native",
    code: Uint8Array.from(code),
    guestBytes: 2 << 20,
    engine: bulk ? DEFAULT_POLICY : null,
    prepare: (state: CpuState) => {
      if (segments === null) return;
      const { base, limit } = segments;
      for (const segment of [SEG.ds, SEG.es]) state.setSegment(segment, 8, base, limit, state.segmentRights(segment));
    },
  });
  machine.memory.copyIn(
    BUFFER,
    Uint8Array.from({ length: 0x4000 }, (_, n) => (n * 7 + (n >> 8)) & 0xff),
  );
  return machine;
}

/** What a run up to a moment of the clock leaves. */
function after(machine: Machine, until: number): object {
  const end = machine.run(until);
  const { memory, core, ledger } = machine;
  const bytes = Buffer.from(memory.copyOut(CODE_BASE, machine.guestBytes - CODE_BASE)).toString("latin1");
  return { end, state: core.save(), ledger: ledger.save(), bytes };
}

const place = fc.oneof(
  fc.integer({ min: BUFFER, max: BUFFER + 0x2000 }),
  fc.integer({ min: BUFFER + 0xfe0, max: BUFFER + 0x1020 }),
);
const cases = fc.record({
  operation: fc.constantFrom(0xa4, 0xa5, 0xaa, 0xab),
  wide: fc.boolean(),
  source: place,
  target: fc.oneof(place, fc.integer({ min: CODE_BASE - 64, max: CODE_BASE + 40 })),
  count: fc.integer({ min: 0, max: 3000 }),
  value: fc.integer({ min: 0, max: 0xffffffff }),
  until: fc.integer({ min: 1, max: 120_000 }),
  segments: fc.option(
    fc.record({
      base: fc.constantFrom(0, 0x40),
      limit: fc.integer({ min: BUFFER + 0x1000, max: BUFFER + 0x4000 }),
    }),
  ),
});

test("iterations at once leave what iterations one by one leave, wherever they are interrupted", () => {
  fc.assert(
    fc.property(cases, (each) => {
      const [one, many] = [machineFor(each, false), machineFor(each, true)];
      expect(after(many, each.until)).toEqual(after(one, each.until));
      // And from there to the end.
      expect(after(many, 1e7)).toEqual(after(one, 1e7));
    }),
    { numRuns: 150 },
  );
});

test("they are told of to those who want to know of each", () => {
  const machine = machineFor(
    { operation: 0xab, wide: true, source: BUFFER, target: BUFFER, count: 100, value: 1, until: 0, segments: null },
    true,
  );
  let told = 0;
  machine.ledger.onCharge = (_, __, label) => {
    if (label === "stringIteration") told++;
  };
  machine.run(1e7);
  expect(told).toBe(100);
});

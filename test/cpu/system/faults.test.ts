// A system helper that faults, exits or is not modelled has changed nothing (a task switch: up to its commit): random descriptor tables, gates, stacks,
// TSS contents, page permissions and operands for every helper that loads segments or transfers control.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CELL, CR0, FLAG, GPR, NO_ERROR_CODE, RIGHTS, SEG } from "../../../sim/cpu/state.ts";
import { type DeliveryEvent, deliver } from "../../../sim/cpu/system/delivery.ts";
import { farCall, farJump, farReturn } from "../../../sim/cpu/system/far.ts";
import { interruptReturn } from "../../../sim/cpu/system/iret.ts";
import { loadLdt, loadSegment, loadTaskRegister } from "../../../sim/cpu/system/segments.ts";
import { GDTR, loadTable, storeTable } from "../../../sim/cpu/system/tables.ts";
import { AT, CODE, DATA, dplBits, Fixture, gateDescriptor, SELECTOR, segmentDescriptor } from "./fake-environment.ts";

const width = fc.constantFrom(16 as const, 32 as const);
const level = fc.integer({ min: 0, max: 3 });
/** Mostly selectors that exist, with any RPL and table; sometimes anything. */
const selector = fc.oneof(
  { weight: 8, arbitrary: fc.tuple(fc.integer({ min: 0, max: 14 }), fc.integer({ min: 0, max: 7 })) },
  { weight: 1, arbitrary: fc.tuple(fc.integer({ min: 0, max: 0x1fff }), fc.integer({ min: 0, max: 7 })) },
);
const selectorValue = selector.map(([index, low]) => (index << 3) | low);
/** A selector whose descriptor is likely to be what a transfer of this fixture wants. */
const likely = fc.oneof(
  fc.constantFrom<number>(...SELECTOR.code, ...SELECTOR.data, SELECTOR.conforming),
  selectorValue,
);
/** CS and SS of a return: those of one level, or anything. */
const codeAndStack = fc.oneof(
  level.map((n): [number, number] => [SELECTOR.code[n] as number, SELECTOR.data[n] as number]),
  fc.tuple(likely, likely),
);

const rights = fc.oneof(
  fc
    .tuple(fc.constantFrom(CODE, CODE | 4, CODE & ~2, DATA, DATA | 4, DATA & ~2), level)
    .map(([r, l]) => r | dplBits(l)),
  fc.tuple(fc.integer({ min: 0, max: 15 }), level).map(([type, l]) => type | RIGHTS.P | dplBits(l)),
  fc.integer({ min: 0, max: 0xffff }).map((r) => r & 0xf0ff),
);
const descriptor = fc.oneof(
  fc
    .tuple(rights, fc.constantFrom(0, 0, 0, 0x6000), fc.constantFrom(0xfffff, 0xfffff, 0xff, 0))
    .map(([r, base, limit]) => segmentDescriptor(r, base, limit)),
  fc
    .tuple(rights, likely, fc.integer({ min: 0, max: 0x7fff }), fc.integer({ min: 0, max: 31 }))
    .map(([r, s, o, n]) => gateDescriptor(r, s, o, n)),
);

type Run = (f: Fixture) => void;
const operation: fc.Arbitrary<[name: string, run: Run]> = fc.oneof(
  fc
    .tuple(fc.constantFrom(SEG.es, SEG.ss, SEG.ds, SEG.gs), selectorValue)
    .map(([segment, s]): [string, Run] => ["load", (f) => loadSegment(f.state, f.env, segment, s)]),
  fc
    .oneof(fc.constant<number>(SELECTOR.ldt), selectorValue)
    .map((s): [string, Run] => ["lldt", (f) => loadLdt(f.state, f.env, s)]),
  fc
    .oneof(fc.constant<number>(SELECTOR.otherTss), selectorValue)
    .map((s): [string, Run] => ["ltr", (f) => loadTaskRegister(f.state, f.env, s)]),
  width.map((w): [string, Run] => ["iret", (f) => interruptReturn(f.state, f.env, w, 0)]),
  fc
    .tuple(width, fc.integer({ min: 0, max: 64 }))
    .map(([w, n]): [string, Run] => ["ret", (f) => farReturn(f.state, f.env, w, n)]),
  fc.tuple(likely, width).map(([s, w]): [string, Run] => ["jmp", (f) => farJump(f.state, f.env, s, 0x80, w, 0)]),
  fc.tuple(likely, width).map(([s, w]): [string, Run] => ["call", (f) => farCall(f.state, f.env, s, 0x80, w, 0x77)]),
  fc
    .tuple(
      fc.constantFrom<DeliveryEvent["kind"]>("exception", "software", "external", "software-exception", "nmi"),
      fc.constantFrom(NO_ERROR_CODE, 0x18),
    )
    .map(([kind, errorCode]): [string, Run] => [
      "deliver",
      (f) => deliver(f.state, f.env, { vector: 0x20, kind, errorCode, returnEip: 0x77 }),
    ]),
  fc.constant<[string, Run]>(["lgdt", (f) => loadTable(f.state, f.env, GDTR, 0x6ffd, 32)]),
  fc.constant<[string, Run]>(["sgdt", (f) => storeTable(f.state, f.env, GDTR, 0x6ffd)]),
);

const scenario = fc.record({
  cpl: level,
  operation,
  gdt: fc.array(fc.tuple(fc.integer({ min: 1, max: 14 }), descriptor), { maxLength: 2 }),
  gate: fc
    .tuple(fc.constantFrom(14, 15, 6, 7, 5, 12), likely, level)
    .map(([type, s, l]) => gateDescriptor(type | RIGHTS.P | dplBits(l), s, 0x100)),
  frame: fc.tuple(fc.integer({ min: 0, max: 0xfff }), codeAndStack, fc.constantFrom(2, FLAG.IF | FLAG.CF, -1)),
  parametersInFrame: fc.boolean(),
  innerStacks: fc.array(likely, { minLength: 3, maxLength: 3 }),
  innerPointer: fc.constantFrom(0x1000, 0x1000, 0xffe, 0x8, 0x2),
  stackPointer: fc.constantFrom(0xf00, 0xf00, 0xffa, 0x6, 0x0),
  stackRights: fc.constantFrom(0, RIGHTS.DB),
  tss: fc.constantFrom(0x8b, 0x8b, 0x83),
  tssLimit: fc.constantFrom(0x77, 0x77, 0x67, 8),
  absent: fc.array(fc.integer({ min: 1, max: 10 }), { maxLength: 1 }),
  readOnly: fc.array(fc.integer({ min: 1, max: 10 }), { maxLength: 1 }),
  supervisorOnly: fc.array(fc.integer({ min: 1, max: 10 }), { maxLength: 1 }),
  flags: fc.constantFrom(0, FLAG.IOPL, FLAG.IF, FLAG.IF, 0, FLAG.NT),
});

function build(s: typeof scenario extends fc.Arbitrary<infer T> ? T : never): Fixture {
  const f = new Fixture(s.cpl);
  const { state, env } = f;
  for (const [index, words] of s.gdt) f.gdt(index * 8, words);
  f.ldt(0x2c, segmentDescriptor(DATA | dplBits(3)));
  f.idt(0x20, s.gate);
  state.flags |= s.flags;
  state.set(GPR.esp, (AT.stack[s.cpl] as number) + s.stackPointer);
  const stackRights = (DATA & ~RIGHTS.DB) | s.stackRights | dplBits(s.cpl);
  state.setSegment(SEG.ss, SELECTOR.data[s.cpl] as number, 0, 0xffffffff, stackRights);
  const [eip, [cs, ss], flags] = s.frame;
  const items = s.parametersInFrame ? [eip, cs, 0x6f00, ss] : [eip, cs, flags, 0x6f00, ss];
  f.stack(4, ...items);
  for (const [n, stack] of s.innerStacks.entries()) {
    env.poke(AT.tss + 4 + 8 * n, 4, (AT.stack[n] as number) + s.innerPointer);
    env.poke(AT.tss + 8 + 8 * n, 4, stack);
  }
  state.setSegment(SEG.tr, SELECTOR.tss, AT.tss, s.tssLimit, s.tss);
  for (const page of s.absent) env.absent.add(page);
  for (const page of s.readOnly) env.readOnly.add(page);
  for (const page of s.supervisorOnly) env.supervisorOnly.add(page);
  return f;
}

describe("every helper, over random machines", () => {
  test("faults without a trace, and succeeds with CPL, CS and SS in agreement", { timeout: 120_000 }, () => {
    const outcomes = new Map<string, { done: number; stopped: number }>();
    fc.assert(
      fc.property(scenario, (s) => {
        const f = build(s);
        const before = f.snapshot();
        const [name, run] = s.operation;
        run(f);
        const count = outcomes.get(name) ?? { done: 0, stopped: 0 };
        outcomes.set(name, count);
        // A task switch is the exception: beyond its commit point a fault is the new task's.
        const switched = f.env.charges.includes("taskSwitch");
        if (switched) expect(f.state.cr0 & CR0.TS).toBe(CR0.TS);
        if (f.outcome() !== "ok" && switched) return;
        if (f.outcome() !== "ok") {
          count.stopped++;
          expect(f.changes(before)).toEqual([]);
          expect(f.env.charges).toEqual([]);
          return;
        }
        count.done++;
        const { state } = f;
        if ((state.flags & FLAG.VM) !== 0) {
          expect(state.cpl).toBe(3);
          for (let segment = SEG.es; segment <= SEG.gs; segment++) {
            expect(state.segmentBase(segment)).toBe(state.selector(segment) * 16);
          }
          return;
        }
        expect(state.selector(SEG.cs) & 3).toBe(state.cpl);
        expect(state.selector(SEG.ss) & 3).toBe(state.cpl);
        expect((state.segmentRights(SEG.ss) >>> RIGHTS.DPL_SHIFT) & 3).toBe(state.cpl);
        expect(state.get(CELL.zero)).toBe(0);
        for (const segment of [SEG.cs, SEG.ss]) {
          expect(state.segmentRights(segment) & (RIGHTS.P | RIGHTS.S)).toBe(RIGHTS.P | RIGHTS.S);
        }
      }),
      { numRuns: 20_000, seed: 1 },
    );
    // The property means something only where both happen often enough.
    for (const [name, { done, stopped }] of outcomes) {
      expect(done, `${name} succeeded`).toBeGreaterThan(50);
      expect(stopped, `${name} stopped`).toBeGreaterThan(50);
    }
  });
});

// Segment loads, far transfers, IRET and interrupts in every mode against a naive processor (segmentation-oracle.ts), on
// random machines: descriptors, selectors, levels, gates, sizes, stacks, TSSs; all state and memory are compared.
import { describe, expect, test } from "vitest";
import {
  CELL,
  CR4,
  FLAG,
  GPR,
  NO_ERROR_CODE,
  OUTCOME,
  RIGHTS,
  SEG,
  SEGMENT_NAMES,
  VECTOR,
} from "../../../sim/cpu/state.ts";
import { deliver } from "../../../sim/cpu/system/delivery.ts";
import { farCall, farJump, farReturn } from "../../../sim/cpu/system/far.ts";
import { interruptReturn } from "../../../sim/cpu/system/iret.ts";
import { loadSegment } from "../../../sim/cpu/system/segments.ts";
import { SOFTWARE_INTERRUPT, softwareInterrupt8086 } from "../../../sim/cpu/system/virtual8086.ts";
import { AT, CODE, DATA, dplBits, Fixture, PRESENT, SELECTOR, segmentDescriptor } from "./fake-environment.ts";
import {
  attempt,
  Fault,
  type Machine,
  Outside,
  type Processor,
  type SegmentCache,
  TaskSwitch,
} from "./segmentation-oracle.ts";

/** A small deterministic generator: a case is its number. */
class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = (Math.imul(seed + 1, 0x9e3779b1) ^ 0x5bd1e995) >>> 0 || 1;
    for (let n = 0; n < 4; n++) this.next();
  }
  next(): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    this.#state >>>= 0;
    return this.#state;
  }
  below(n: number): number {
    return Math.floor((this.next() / 4294967296) * n);
  }
  chance(n: number): boolean {
    return this.below(n) === 0;
  }
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }
}

const MODES = ["protected", "protected", "protected", "protected", "virtual-8086", "real"] as const;
type Mode = (typeof MODES)[number];
const ENTRIES = 24;
const EVENT = 0x20;
const NEXT = 0x1236;
const TABLE_LIMIT = ENTRIES * 8 - 1;
/** Where random stacks are; their bases are 0 or this. */
const STACKS = 0x8000;

function randomDescriptor(r: Random): [number, number] {
  const present = r.chance(10) ? 0 : PRESENT;
  const level = dplBits(r.below(4));
  const size = r.pick([0, RIGHTS.DB, RIGHTS.DB | RIGHTS.G, RIGHTS.G]);
  const segment = r.below(10) < 6 ? 0x18 | r.below(8) : 0x10 | r.below(8);
  const base = r.pick([0, 0, 0x40, 0x1000]);
  // Expand-down segments have their limit below what they hold.
  const limit = (segment & 0xc) === 4 ? r.pick([0, 0x3fff, 0x8800]) : r.pick([0xffff, 0xffff, 0xbfff, 0x8fff, 0x3f, 7]);
  const raw = (size & RIGHTS.G) !== 0 ? limit >>> 12 : limit;
  return segmentDescriptor(segment | present | level | size, base, raw);
}

function randomSelector(r: Random): number {
  const kind = r.below(20);
  if (kind === 0) return r.below(4);
  if (kind === 1) return ENTRIES * 8 + r.below(32);
  if (kind < 5) return (r.below(8) * 8) | 4 | r.below(4);
  return (r.below(ENTRIES) * 8) | r.below(4);
}

/** A code or data selector that has a chance to be right for a level. */
function selectorFor(r: Random, kind: "code" | "data", level: number): number {
  return r.chance(3) ? randomSelector(r) : (SELECTOR[kind][level] as number);
}

function randomGate(r: Random, types: readonly number[], code: number): [number, number] {
  const rights = r.pick(types) | (r.chance(12) ? 0 : PRESENT) | dplBits(r.pick([3, 3, 3, r.below(4)]));
  const offset = r.pick([0x100, 0x4321, 0x9000, 0xffff, 0x10000]);
  return [
    (code << 16) | (offset & 0xffff) | 0,
    (offset & 0xffff0000) | (rights << 8) | r.pick([0, 1, 3, 31, r.below(32)]),
  ];
}

interface Case {
  readonly name: string;
  readonly fixture: Fixture;
  readonly simulate: (f: Fixture) => void;
  readonly expected: (p: Processor) => void;
}

function buildMachine(r: Random, mode: Mode): Fixture {
  const cpl = mode === "protected" ? r.below(4) : mode === "real" ? 0 : 3;
  const f = new Fixture(cpl);
  const { state, env } = f;
  state.set(CELL.gdtrLimit, TABLE_LIMIT);
  // Some of the orderly entries change, and the free ones are anything.
  for (let n = 1; n < ENTRIES; n++) {
    const orderly = n < 15;
    if (n === SELECTOR.tss >> 3 || n === SELECTOR.ldt >> 3) continue;
    if (!orderly || r.chance(6))
      f.gdt(
        n * 8,
        r.chance(5) && !orderly ? randomGate(r, [4, 12], selectorFor(r, "code", r.below(4))) : randomDescriptor(r),
      );
    else if (r.chance(3)) {
      const [low, high] = [env.peek(AT.gdt + n * 8, 4), env.peek(AT.gdt + n * 8 + 4, 4)];
      f.gdt(n * 8, [low, high ^ r.pick([0x400000, 0x8000, 0x200])]);
    }
  }
  for (let n = 0; n < 8; n++) f.ldt(n * 8 + 4, randomDescriptor(r));
  state.setSegment(SEG.ldtr, SELECTOR.ldt, AT.ldt, 8 * 8 - 1, r.chance(10) ? RIGHTS.UNUSABLE : 2 | PRESENT);
  for (let n = 0; n < 0x40; n++) {
    env.poke(AT.idt + n * 8, 4, 0);
    env.poke(AT.idt + n * 8 + 4, 4, 0);
  }
  state.set(CELL.idtrLimit, r.chance(20) ? EVENT * 8 + 6 : 0x7ff);
  randomTss(r, f);
  for (let n = 0; n < 0x200; n++) env.poke(STACKS - 0x100 + r.below(0x6000), 1, r.next());
  state.eip = NEXT - 2;
  const flags = r.next() & (0x8d5 | FLAG.DF | FLAG.TF | FLAG.IF | FLAG.IOPL | FLAG.AC | FLAG.ID | FLAG.RF);
  const nested = mode === "protected" && r.chance(20) ? FLAG.NT : 0;
  state.flags =
    flags | nested | FLAG.ONE | (mode === "virtual-8086" ? FLAG.VM | (r.next() & (FLAG.VIF | FLAG.VIP)) : 0);
  state.set(CELL.cr4, r.chance(2) ? CR4.VME : 0);
  if (mode === "real") realMode(r, f);
  else if (mode === "virtual-8086") virtualMode(r, f);
  else protectedSegments(r, f, cpl);
  return f;
}

function randomTss(r: Random, f: Fixture): void {
  const { state, env } = f;
  const wide = !r.chance(3);
  const limit = r.chance(8) ? r.below(0x30) : 0xff;
  state.setSegment(SEG.tr, SELECTOR.tss, AT.tss, limit, (wide ? 0xb : 3) | PRESENT);
  for (let n = 0; n < 0x30; n++) env.poke(AT.tss + n, 1, 0);
  for (let level = 0; level < 3; level++) {
    const pointer = r.chance(8) ? r.below(0x40) : (AT.stack[level] as number) + 0x400 + r.below(0x400);
    const selector = r.chance(4) ? randomSelector(r) : (SELECTOR.data[level] as number);
    if (wide) {
      env.poke(AT.tss + 4 + 8 * level, 4, pointer);
      env.poke(AT.tss + 8 + 8 * level, 4, selector);
    } else {
      env.poke(AT.tss + 2 + 4 * level, 2, pointer);
      env.poke(AT.tss + 4 + 4 * level, 2, selector);
    }
  }
  env.poke(AT.tss + 0x66, 2, r.pick([0x88, 0x88, 0x20, 0xf8, 0x130]));
  for (let n = 0x68; n < 0xff; n++) env.poke(AT.tss + n, 1, r.next());
}

function realMode(r: Random, f: Fixture): void {
  const { state, env } = f;
  state.set(CELL.cr0, 0x30);
  state.set(CELL.cr4, 0);
  state.set(CELL.idtrLimit, r.chance(20) ? EVENT * 4 + 2 : 0x3ff);
  const rights = RIGHTS.P | RIGHTS.S | 3;
  for (let segment = 0; segment < 6; segment++) {
    const selector = r.below(0x200);
    const limit = r.chance(4) ? 0xffffffff : 0xffff;
    const big = r.chance(6) ? RIGHTS.DB : 0;
    if (r.chance(8) && segment !== SEG.cs && segment !== SEG.ss) {
      state.setSegment(segment, 0, 0, 0, RIGHTS.UNUSABLE);
    } else {
      state.setSegment(segment, selector, selector << 4, limit, rights | big | (limit > 0xffff ? RIGHTS.G : 0));
    }
  }
  env.poke(AT.idt + EVENT * 4, 4, r.next());
  state.set(GPR.esp, r.chance(6) ? r.below(8) : 0x4000 + r.below(0x4000));
}

function virtualMode(r: Random, f: Fixture): void {
  const { state, env } = f;
  for (let segment = 0; segment < 6; segment++) {
    const selector = r.below(0x200);
    state.setSegment(segment, selector, selector << 4, 0xffff, 0xf3);
  }
  env.poke(EVENT * 4, 4, r.next());
  state.set(GPR.esp, (r.next() & 0xffff0000) | (r.chance(6) ? r.below(8) : 0x4000 + r.below(0x4000)));
}

function protectedSegments(r: Random, f: Fixture, cpl: number): void {
  const { state } = f;
  const level = dplBits(cpl);
  state.setSegment(SEG.cs, SELECTOR.code[cpl] as number, 0, 0xffffffff, CODE | 1 | level);
  const big = r.chance(2) ? RIGHTS.DB : 0;
  const kind = r.below(6);
  const data = (DATA & ~(RIGHTS.DB | RIGHTS.G)) | 1 | level | big;
  const ss = SELECTOR.data[cpl] as number;
  if (kind === 0) state.setSegment(SEG.ss, ss, 0, STACKS - 1, data | 4);
  else if (kind === 1) state.setSegment(SEG.ss, ss, STACKS, r.pick([0x3fff, 0x7f, 0xffff]), data);
  else state.setSegment(SEG.ss, ss, 0, r.pick([0xffff, 0xffffffff]), data);
  const inside = kind === 1 ? 0x20 + r.below(0x3000) : STACKS + 0x100 + r.below(0x4000);
  const pointer = r.chance(8) ? r.pick([0, 1, 4, 0xfffe, 0x7ffe, 0x8004, 0x80]) : inside;
  state.set(GPR.esp, big !== 0 ? pointer : (r.next() & 0xffff0000) | pointer);
  for (const segment of [SEG.es, SEG.ds, SEG.fs, SEG.gs]) {
    if (r.chance(6)) {
      state.setSegment(segment, r.below(4), 0, 0, RIGHTS.UNUSABLE);
    } else {
      const dpl = cpl + r.below(4 - cpl);
      const conforming = r.chance(5);
      const rights = conforming ? CODE | 5 : DATA | 1;
      state.setSegment(
        segment,
        SELECTOR.data[dpl] as number,
        0,
        0xffffffff,
        rights | dplBits(conforming ? r.below(4) : dpl),
      );
    }
  }
}

/** Writes a frame at the top of the stack, wrapping as the stack does; what lies outside of memory is left out. */
function frame(f: Fixture, bytes: number, items: readonly number[]): void {
  const { state, env } = f;
  const wide = (state.segmentRights(SEG.ss) & RIGHTS.DB) !== 0;
  for (const [n, item] of items.entries()) {
    for (let at = 0; at < bytes; at++) {
      const pointer = state.get(GPR.esp) + n * bytes + at;
      const linear = state.segmentBase(SEG.ss) + (wide ? pointer >>> 0 : pointer & 0xffff);
      if (linear < 0x10000) env.poke(linear, 1, item >>> (8 * at));
    }
  }
}

const offsetOf = (r: Random): number => r.pick([0x100, 0x100, 0x9000, 0xffff, 0x10000, 0x8fff0]);

function buildCase(seed: number): Case {
  const r = new Random(seed);
  const mode = r.pick(MODES);
  const f = buildMachine(r, mode);
  const { state } = f;
  const cpl = state.cpl;
  const size = r.pick([16, 32] as const);
  const as8086 = mode !== "protected";
  const name = (operation: string): string => `${operation} ${mode} ${size}`;
  const paragraph = (): number => r.below(0x400);
  switch (r.below(7)) {
    case 0: {
      const segment = r.pick([SEG.es, SEG.ss, SEG.ss, SEG.ds, SEG.fs, SEG.gs]);
      const selector = as8086 ? paragraph() : selectorFor(r, "data", r.chance(3) ? r.below(4) : cpl);
      return {
        name: `load ${mode} ${SEGMENT_NAMES[segment]}`,
        fixture: f,
        simulate: ({ env }) => loadSegment(state, env, segment, selector),
        expected: (p) => p.loadSegment(segment, selector),
      };
    }
    case 1:
    case 2: {
      const gated = !as8086 && r.chance(2);
      const target = r.chance(3) ? r.below(4) : cpl;
      if (gated)
        f.gdt(SELECTOR.free, randomGate(r, [4, 12, 4, 12, 12, r.below(16)], selectorFor(r, "code", r.below(cpl + 1))));
      const selector = as8086
        ? paragraph()
        : gated
          ? SELECTOR.free | r.pick([0, cpl, 3])
          : selectorFor(r, "code", target);
      const offset = offsetOf(r);
      if (r.chance(3)) {
        return {
          name: name("JMP far"),
          fixture: f,
          simulate: ({ env }) => farJump(state, env, selector, offset, size, NEXT),
          expected: (p) => p.jumpFar(selector, offset, size),
        };
      }
      return {
        name: name("CALL far"),
        fixture: f,
        simulate: ({ env }) => farCall(state, env, selector, offset, size, NEXT),
        expected: (p) => p.callFar(selector, offset, size, NEXT),
      };
    }
    case 3:
    case 4: {
      const interrupt = r.chance(2);
      const level = as8086 ? 0 : Math.min(3, cpl + r.pick([0, 0, 1, 2, 3]));
      const cs = as8086 ? paragraph() : selectorFor(r, "code", level);
      const ss = selectorFor(r, "data", level);
      const image = r.next() & 0x247fd7 & ~(r.chance(2) ? FLAG.NT : 0);
      const parameters = r.pick([0, 0, 2, 8, 0x40]);
      const bytes = size / 8;
      const esp = STACKS + r.below(0x4000);
      if (interrupt && mode === "protected" && cpl === 0 && size === 32 && r.chance(3)) {
        const virtual = image | FLAG.VM | (r.next() & (FLAG.VIF | FLAG.VIP));
        frame(f, 4, [offsetOf(r), paragraph(), virtual, esp, ...Array.from({ length: 5 }, paragraph)]);
      } else if (interrupt) {
        frame(f, bytes, [offsetOf(r), cs, image, esp, ss]);
      } else {
        frame(f, bytes, [offsetOf(r), cs]);
        const top = state.get(GPR.esp);
        state.set(GPR.esp, top + 2 * bytes + parameters);
        frame(f, bytes, [esp, ss]);
        state.set(GPR.esp, top);
      }
      return {
        name: name(interrupt ? "IRET" : "RET far"),
        fixture: f,
        simulate: ({ env }) =>
          interrupt ? interruptReturn(state, env, size, NEXT) : farReturn(state, env, size, parameters),
        expected: (p) => (interrupt ? p.interruptReturn(size) : p.returnFar(size, parameters)),
      };
    }
    default:
      return interruptCase(r, f, mode);
  }
}

function interruptCase(r: Random, f: Fixture, mode: Mode): Case {
  const { state } = f;
  const code = selectorFor(r, "code", r.chance(3) ? r.below(state.cpl + 1) : 0);
  if (mode !== "real") f.idt(EVENT, randomGate(r, [6, 7, 14, 15, 14, 15, r.below(16)], code));
  if (r.chance(3)) {
    return {
      name: `INT n ${mode}`,
      fixture: f,
      simulate: ({ env }) => {
        if (mode === "virtual-8086") {
          if (softwareInterrupt8086(state, env, EVENT, NEXT) !== SOFTWARE_INTERRUPT.TO_MONITOR) return;
        }
        deliver(state, env, { vector: EVENT, kind: "software", errorCode: NO_ERROR_CODE, returnEip: NEXT });
      },
      expected: (p) => p.softwareInterrupt(EVENT, NEXT),
    };
  }
  const software = r.chance(2);
  const errorCode = !software && r.chance(2) ? r.below(0x10000) : null;
  return {
    name: `${software ? "INT3" : "event"} ${mode}`,
    fixture: f,
    simulate: ({ env }) =>
      deliver(state, env, {
        vector: EVENT,
        kind: software ? "software-exception" : errorCode === null ? "external" : "exception",
        errorCode: errorCode ?? NO_ERROR_CODE,
        returnEip: state.eip,
      }),
    expected: (p) => p.event(EVENT, software, errorCode, p.m.eip),
  };
}

function segmentCache({ state }: Fixture, segment: number): SegmentCache {
  const rights = state.segmentRights(segment);
  return {
    selector: state.selector(segment),
    base: state.segmentBase(segment),
    limit: state.segmentLimit(segment),
    type: rights & 0xf,
    s: (rights & RIGHTS.S) !== 0,
    dpl: (rights >> RIGHTS.DPL_SHIFT) & 3,
    present: (rights & RIGHTS.P) !== 0,
    big: (rights & RIGHTS.DB) !== 0,
    other: rights & (RIGHTS.AVL | RIGHTS.L | RIGHTS.G),
    unusable: (rights & RIGHTS.UNUSABLE) !== 0,
  };
}

/** The fixture's processor and memory as the oracle has a machine. */
function machineOf(f: Fixture): Machine {
  const { state, env } = f;
  return {
    pe: (state.cr0 & 1) !== 0,
    vme: (state.cr4 & CR4.VME) !== 0,
    cpl: state.cpl,
    eip: state.eip,
    esp: state.get(GPR.esp),
    eflags: state.flags,
    seg: Array.from({ length: 8 }, (_, segment) => segmentCache(f, segment)),
    gdt: { base: state.get(CELL.gdtrBase), limit: state.get(CELL.gdtrLimit) },
    idt: { base: state.get(CELL.idtrBase), limit: state.get(CELL.idtrLimit) },
    memory: env.memory.slice(),
  };
}

function differences(actual: Machine, expected: Machine): string[] {
  const found: string[] = [];
  for (const key of ["pe", "cpl", "eip", "esp", "eflags"] as const) {
    if (actual[key] !== expected[key])
      found.push(`${key} ${actual[key].toString(16)}, not ${expected[key].toString(16)}`);
  }
  for (const [n, cache] of expected.seg.entries()) {
    const is = JSON.stringify(actual.seg[n]);
    if (is !== JSON.stringify({ ...actual.seg[n], ...cache }))
      found.push(`${SEGMENT_NAMES[n]} ${is}, not ${JSON.stringify(cache)}`);
  }
  if (Buffer.compare(actual.memory, expected.memory) !== 0) {
    for (const [at, byte] of expected.memory.entries()) {
      if (actual.memory[at] !== byte) found.push(`[${at.toString(16)}] ${actual.memory[at]}, not ${byte}`);
    }
  }
  return found;
}

/** What went differently in a case, its kind of outcome, or null where the oracle has nothing to say. */
function compare({ fixture, simulate, expected }: Case): { outcome: string; wrong: string[] } | null {
  const before = machineOf(fixture);
  const should = attempt(before, expected);
  if (should instanceof Outside || should instanceof TaskSwitch) return null;
  simulate(fixture);
  const { outcome, vector, errorCode } = fixture.state.signal;
  // Memory that is not there: which access meets it first is not a question of segmentation.
  if (outcome === OUTCOME.FAULT && vector === VECTOR.PF) return null;
  const after = machineOf(fixture);
  const said = outcome === OUTCOME.NONE ? "done" : outcome === OUTCOME.FAULT ? `#${vector}(${errorCode})` : "stopped";
  if (!(should instanceof Fault)) {
    return { outcome: "done", wrong: said === "done" ? differences(after, should) : [`${said}, not done`] };
  }
  const code = should.code ?? NO_ERROR_CODE;
  const wrong =
    said === `#${should.vector}(${code})` ? differences(after, before) : [`${said}, not #${should.vector}(${code})`];
  return { outcome: `#${should.vector}`, wrong };
}

const CASES = 40_000;

describe("segmentation and transfers agree with a naive processor", () => {
  test(`in ${CASES} random cases of all modes`, { timeout: 120_000 }, () => {
    const failures: string[] = [];
    const outcomes = new Map<string, Map<string, number>>();
    for (let seed = 0; seed < CASES; seed++) {
      const one = buildCase(seed);
      const result = compare(one);
      if (result === null) continue;
      const counts = outcomes.get(one.name) ?? new Map<string, number>();
      outcomes.set(one.name, counts);
      counts.set(result.outcome, (counts.get(result.outcome) ?? 0) + 1);
      if (result.wrong.length > 0) failures.push(`${seed} ${one.name}: ${result.wrong.slice(0, 6).join("; ")}`);
    }
    expect(failures.slice(0, 40)).toEqual([]);
    // The comparison means something only where each operation succeeds often enough, and faults where it can.
    for (const [name, counts] of outcomes) {
      expect(counts.get("done") ?? 0, `${name} succeeded`).toBeGreaterThan(30);
      if (name.includes("protected")) expect(counts.size, `${name}: kinds of outcomes`).toBeGreaterThan(2);
    }
  });
});

// Hardware task switches against SDM vol. 3, 8.2 to 8.4 and table 8-1: every route between TSSs of both sizes, what each
// check says, before the commit point and after it.
import { describe, expect, test } from "vitest";
import {
  BLOCKING,
  CELL,
  CR0,
  CR4,
  FLAG,
  GPR,
  gprCell,
  NO_ERROR_CODE,
  RIGHTS,
  SEG,
  VECTOR,
} from "../../../sim/cpu/state.ts";
import { deliver, type EventKind } from "../../../sim/cpu/system/delivery.ts";
import { farCall, farJump } from "../../../sim/cpu/system/far.ts";
import { interruptReturn } from "../../../sim/cpu/system/iret.ts";
import { DR6_BT } from "../../../sim/cpu/system/tasks.ts";
import {
  AT,
  CODE,
  DATA,
  dplBits,
  Fixture,
  gateDescriptor,
  noIntercepts,
  PRESENT,
  SELECTOR,
  segmentDescriptor,
} from "./fake-environment.ts";

type Bits = 16 | 32;
const SIZES: readonly Bits[] = [16, 32];
const NEW_TSS = 0x5000;
const NEW_SELECTOR = SELECTOR.otherTss;
const OLD_SELECTOR = SELECTOR.tss;
const TASK_GATE = 5;
const NEXT = 0x4321;
const available = (bits: Bits): number => (bits === 32 ? 9 : 1);
const busyType = (bits: Bits): number => available(bits) | 2;

/** Offsets as the figures of the two TSSs have them, written out here on their own. */
const OFFSET = {
  32: { eip: 32, flags: 36, eax: 40, ecx: 44, edx: 48, ebx: 52, esp: 56, ebp: 60, esi: 64, edi: 68 },
  16: { eip: 14, flags: 16, eax: 18, ecx: 20, edx: 22, ebx: 24, esp: 26, ebp: 28, esi: 30, edi: 32 },
} as const;
const SEGMENT_OFFSET = {
  32: { es: 72, cs: 76, ss: 80, ds: 84, fs: 88, gs: 92, ldt: 96 },
  16: { es: 34, cs: 36, ss: 38, ds: 40, ldt: 42 },
} as const;
const REGISTERS = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"] as const;

interface Task {
  readonly level?: number;
  readonly flags?: number;
  readonly eip?: number;
  readonly cs?: number;
  readonly ss?: number;
  readonly ds?: number;
  readonly gs?: number;
  readonly ldt?: number;
  readonly cr3?: number;
  readonly trap?: boolean;
}

/** Writes a task into the TSS at `NEW_TSS`: register number n holds 0x1100 * (n + 1), ESP the middle of its stack. */
function writeTask(f: Fixture, bits: Bits, task: Task = {}): void {
  const { env } = f;
  const bytes = bits / 8;
  const level = task.level ?? 0;
  const data = SELECTOR.data[level] as number;
  for (const [n, name] of REGISTERS.entries()) env.poke(NEW_TSS + OFFSET[bits][name], bytes, 0x1100 * (n + 1));
  env.poke(NEW_TSS + OFFSET[bits].esp, bytes, (AT.stack[level] as number) + 0x800);
  env.poke(NEW_TSS + OFFSET[bits].eip, bytes, task.eip ?? 0x2222);
  env.poke(NEW_TSS + OFFSET[bits].flags, bytes, task.flags ?? FLAG.IF);
  const selectors: Record<string, number> = {
    es: data,
    cs: task.cs ?? (SELECTOR.code[level] as number),
    ss: task.ss ?? data,
    ds: task.ds ?? data,
    fs: data,
    gs: task.gs ?? data,
    ldt: task.ldt ?? SELECTOR.ldt,
  };
  for (const [name, offset] of Object.entries(SEGMENT_OFFSET[bits]))
    env.poke(NEW_TSS + offset, 2, selectors[name] ?? 0);
  if (bits === 32) {
    env.poke(NEW_TSS + 28, 4, task.cr3 ?? 0);
    env.poke(NEW_TSS + 100, 2, task.trap === true ? 1 : 0);
  }
}

interface Route {
  readonly name: string;
  readonly source: number;
  readonly run: (f: Fixture) => void;
  /** CALL and events: the new task is nested in the old. */
  readonly nests: boolean;
  readonly returnEip: number;
  readonly errorCode?: number;
}

const jump: Route = {
  name: "JMP",
  source: 2,
  run: (f) => farJump(f.state, f.env, NEW_SELECTOR, 0xdead, 32, NEXT),
  nests: false,
  returnEip: NEXT,
};
const call: Route = {
  name: "CALL",
  source: 0,
  run: (f) => farCall(f.state, f.env, NEW_SELECTOR, 0xdead, 32, NEXT),
  nests: true,
  returnEip: NEXT,
};
function throughGate(route: Route, gateSelector: number): Route {
  const run = (f: Fixture): void => {
    f.gdt(SELECTOR.free, gateDescriptor(TASK_GATE | PRESENT, NEW_SELECTOR, 0));
    f.ldt(0x0c, gateDescriptor(TASK_GATE | PRESENT, NEW_SELECTOR, 0));
    if (route.source === 2) farJump(f.state, f.env, gateSelector, 0xdead, 32, NEXT);
    else farCall(f.state, f.env, gateSelector, 0xdead, 32, NEXT);
  };
  return { ...route, name: `${route.name} through a gate ${(gateSelector & 4) !== 0 ? "of the LDT" : ""}`, run };
}
function event(kind: EventKind, vector: number, errorCode?: number): Route {
  return {
    name: `${kind} ${vector}`,
    source: 3,
    run: (f) => {
      f.idt(vector, gateDescriptor(TASK_GATE | PRESENT | dplBits(3), NEW_SELECTOR, 0));
      deliver(f.state, f.env, { vector, kind, errorCode: errorCode ?? NO_ERROR_CODE, returnEip: 0x1234 });
    },
    nests: true,
    returnEip: 0x1234,
    ...(errorCode === undefined ? {} : { errorCode }),
  };
}
const taskReturn: Route = {
  name: "IRET",
  source: 1,
  run: (f) => {
    f.state.flags |= FLAG.NT;
    f.env.poke(AT.tss, 2, NEW_SELECTOR);
    interruptReturn(f.state, f.env, 32, NEXT);
  },
  nests: false,
  returnEip: NEXT,
};
const ROUTES: readonly Route[] = [
  jump,
  call,
  throughGate(jump, SELECTOR.free),
  throughGate(call, SELECTOR.free),
  throughGate(call, 0x0c),
  event("software", 0x40),
  event("external", 0x41),
  event("exception", VECTOR.GP, 0x1230),
  event("exception", VECTOR.UD),
  event("nmi", VECTOR.NMI),
  taskReturn,
];

/** A processor in a task of `oldBits`, and a task of `newBits` to switch to. */
function machine(route: Route, oldBits: Bits, newBits: Bits, task: Task = {}): Fixture {
  const f = new Fixture(0);
  const { state } = f;
  for (let n = 0; n < 8; n++) if (n !== 4) state.set(gprCell(n), (0xa0a00000 + n * 0x11) >>> 0);
  f.gdt(OLD_SELECTOR, segmentDescriptor(busyType(oldBits) | PRESENT, AT.tss, 0x77));
  state.setSegment(SEG.tr, OLD_SELECTOR, AT.tss, 0x77, busyType(oldBits) | PRESENT);
  const type = route.source === 1 ? busyType(newBits) : available(newBits);
  f.gdt(NEW_SELECTOR, segmentDescriptor(type | PRESENT, NEW_TSS, newBits === 32 ? 0x67 : 0x2b));
  f.env.poke(NEW_TSS, 4, 0x5a5a5a5a);
  writeTask(f, newBits, task);
  return f;
}

const busy = (f: Fixture, selector: number): boolean => (f.env.peek(AT.gdt + selector + 5, 1) & 2) !== 0;

const MATRIX = ROUTES.flatMap((route) =>
  SIZES.flatMap((oldBits) => SIZES.map((newBits) => [route.name, oldBits, newBits, route] as const)),
);

describe("every route between TSSs of both sizes", () => {
  test.each(MATRIX)("%s from a %i-bit to a %i-bit task", (_name, oldBits, newBits, route) => {
    const f = machine(route, oldBits, newBits);
    const { state, env } = f;
    const before = state.save();
    const flags = state.flags;
    route.run(f);
    expect(f.outcome()).toBe("ok");
    expect(env.charges).toEqual(["taskSwitch"]);

    // The old task, as its TSS keeps it.
    const keep = oldBits === 32 ? 0xffffffff : 0xffff;
    const offset = OFFSET[oldBits];
    for (const [n, name] of REGISTERS.entries()) {
      const saved = env.peek(AT.tss + offset[name], oldBits / 8) >>> 0;
      expect([name, saved]).toEqual([name, ((before[gprCell(n)] as number) & keep) >>> 0]);
    }
    expect(env.peek(AT.tss + offset.eip, oldBits / 8)).toBe(route.returnEip);
    const fault = route.name.startsWith("exception") && oldBits === 32 ? FLAG.RF : 0;
    expect(env.peek(AT.tss + offset.flags, oldBits / 8)).toBe(flags | fault);
    expect(env.peek(AT.tss + SEGMENT_OFFSET[oldBits].cs, 2)).toBe(SELECTOR.code[0]);
    expect(env.peek(AT.tss + SEGMENT_OFFSET[oldBits].ss, 2)).toBe(SELECTOR.data[0]);
    // LDT, CR3 and everything before EIP but the link are not written; neither is what lies behind the last selector.
    expect(env.peek(AT.tss + SEGMENT_OFFSET[oldBits].ldt, 2)).toBe(0);
    expect(env.peek(AT.tss + 4, 4)).toBe(AT.stack[0] + 0x1000);

    // Links and busy bits.
    expect(busy(f, OLD_SELECTOR)).toBe(route.nests);
    expect(busy(f, NEW_SELECTOR)).toBe(true);
    expect(env.peek(NEW_TSS, 4)).toBe(route.nests ? 0x5a5a0000 | OLD_SELECTOR : 0x5a5a5a5a);

    // The new task.
    expect(state.selector(SEG.tr)).toBe(NEW_SELECTOR);
    expect(state.segmentBase(SEG.tr)).toBe(NEW_TSS);
    expect(state.segmentRights(SEG.tr)).toBe(busyType(newBits) | PRESENT);
    expect(state.cr0 & CR0.TS).toBe(CR0.TS);
    expect(state.eip).toBe(0x2222);
    expect(state.flags).toBe(FLAG.ONE | FLAG.IF | (route.nests ? FLAG.NT : 0));
    expect(state.cpl).toBe(0);
    const pushed = route.errorCode === undefined ? 0 : newBits / 8;
    for (const [n, name] of REGISTERS.entries()) {
      const expected = name === "esp" ? AT.stack[0] + 0x800 - pushed : 0x1100 * (n + 1);
      expect([name, state.get(gprCell(n))]).toEqual([name, expected]);
    }
    if (route.errorCode !== undefined) expect(env.peek(state.get(GPR.esp), pushed)).toBe(route.errorCode);
    expect(state.selector(SEG.ldtr)).toBe(SELECTOR.ldt);
    for (const segment of [SEG.es, SEG.ss, SEG.ds]) {
      expect(state.selector(segment)).toBe(SELECTOR.data[0]);
      expect(state.segmentRights(segment)).toBe(DATA | 1);
    }
    const fs = newBits === 32 ? [SELECTOR.data[0], DATA | 1] : [0, RIGHTS.UNUSABLE];
    for (const segment of [SEG.fs, SEG.gs]) expect([state.selector(segment), state.segmentRights(segment)]).toEqual(fs);
    expect(state.get(CELL.interruptibility)).toBe(route.name.startsWith("nmi") ? BLOCKING.NMI : 0);
  });

  test("IRET saves the task it leaves without NT", () => {
    const f = machine(taskReturn, 32, 32);
    taskReturn.run(f);
    expect(f.env.peek(AT.tss + 36, 4) & FLAG.NT).toBe(0);
  });

  test("NT of a task that is not nested comes from its TSS", () => {
    const f = machine(jump, 32, 32, { flags: FLAG.NT });
    jump.run(f);
    expect(f.state.flags & FLAG.NT).toBe(FLAG.NT);
  });

  test("a task may have any privilege level, whatever the old one's", () => {
    const f = machine(event("external", 0x41), 32, 32, { level: 3 });
    event("external", 0x41).run(f);
    expect([f.outcome(), f.state.cpl, f.state.selector(SEG.cs)]).toEqual(["ok", 3, SELECTOR.code[3]]);
  });

  test("CR3 is loaded from a 32-bit TSS while paging is on, and flushes if it changes", () => {
    const load = (bits: Bits, cr0: number, cr3: number): [number, string[]] => {
      const f = machine(jump, 32, bits, { cr3 });
      f.state.set(CELL.cr0, f.state.cr0 | cr0);
      f.state.set(CELL.cr3, 0xa000);
      jump.run(f);
      return [f.state.get(CELL.cr3), f.env.log];
    };
    expect(load(32, CR0.PG, 0xb000)).toEqual([0xb000, ["flush 0"]]);
    expect(load(32, CR0.PG, 0xa000)).toEqual([0xa000, []]);
    expect(load(32, 0, 0xb000)).toEqual([0xa000, []]);
    expect(load(16, CR0.PG, 0xb000)).toEqual([0xa000, []]);
  });

  test("with PAE paging the PDPTE registers are loaded too, and #TS(new task) leaves CR3 alone if one is not valid", () => {
    const load = (entry: number): (number | string)[] => {
      const f = machine(jump, 32, 32, { cr3: 0xb000 });
      f.state.set(CELL.cr0, f.state.cr0 | CR0.PG);
      f.state.set(CELL.cr4, CR4.PAE);
      f.state.set(CELL.cr3, 0xa000);
      f.env.poke(0xb010, 4, entry);
      jump.run(f);
      return [f.outcome(), f.state.get(CELL.cr3), f.state.get(CELL.pdpte0 + 4)];
    };
    expect(load(0xc001)).toEqual(["ok", 0xb000, 0xc001]);
    expect(load(0xc003)).toEqual([expect.stringMatching(/^#TS/), 0xa000, 0]);
  });

  test("a 32-bit TSS with EFLAGS.VM enters virtual-8086 mode", () => {
    const f = machine(jump, 32, 32, { flags: FLAG.VM | FLAG.IF, cs: 0x123, ss: 0x456, ds: 0xfff, gs: 0 });
    jump.run(f);
    const { state } = f;
    expect([f.outcome(), state.cpl, state.flags & FLAG.VM]).toEqual(["ok", 3, FLAG.VM]);
    for (const [segment, selector] of [
      [SEG.cs, 0x123],
      [SEG.ss, 0x456],
      [SEG.ds, 0xfff],
      [SEG.gs, 0],
    ] as const) {
      const parts = [state.selector(segment), state.segmentBase(segment), state.segmentLimit(segment)];
      expect([...parts, state.segmentRights(segment)]).toEqual([selector, selector * 16, 0xffff, 0xf3]);
    }
    expect(state.selector(SEG.ldtr)).toBe(SELECTOR.ldt);
  });

  test("the T bit leaves a debug trap pending", () => {
    const f = machine(call, 32, 32, { trap: true });
    call.run(f);
    expect([f.outcome(), f.state.get(CELL.pendingDebug)]).toEqual(["ok", DR6_BT]);
  });

  test("local breakpoints are disabled, global ones stay", () => {
    const f = machine(jump, 32, 32);
    f.state.set(CELL.dr7, 0x5ff);
    jump.run(f);
    expect(f.state.get(CELL.dr7)).toBe(0x5aa);
  });

  test("in VMX non-root operation the exit comes after the checks and instead of everything else", () => {
    for (const route of ROUTES) {
      const f = machine(route, 32, 32);
      const asked: unknown[] = [];
      f.env.intercepts = noIntercepts({
        taskSwitch(selector, source) {
          asked.push(selector, source);
          f.state.signal.outcome = 2;
          return true;
        },
      });
      if (route.source === 1) f.env.poke(AT.tss, 2, NEW_SELECTOR);
      const { memory } = f.snapshot();
      route.run(f);
      expect([route.name, f.outcome(), ...asked]).toEqual([route.name, "exit", NEW_SELECTOR, route.source]);
      expect(Buffer.compare(f.snapshot().memory.subarray(AT.tss), memory.subarray(AT.tss))).toBe(0);
      expect(f.env.charges).toEqual([]);
    }
  });
});

type Change = (f: Fixture) => void;
const descriptor = (bits: Bits, rights: number, limit: number): Change => {
  return (f) => f.gdt(NEW_SELECTOR, segmentDescriptor(rights | available(bits), NEW_TSS, limit));
};
const hex = (n: number): string => n.toString(16);
const external = event("external", 0x41);

/** Faults before the commit point; the last column is the outcome. */
const BEFORE: readonly [what: string, route: Route, change: Change, outcome: string][] = [
  ["JMP: busy", jump, descriptor(32, PRESENT | 2, 0x67), `#GP(${hex(NEW_SELECTOR)})`],
  ["CALL: busy", call, descriptor(16, PRESENT | 2, 0x67), `#GP(${hex(NEW_SELECTOR)})`],
  ["event: busy", external, descriptor(32, PRESENT | 2, 0x67), `#GP(${hex(NEW_SELECTOR | 1)})`],
  ["IRET: not busy", taskReturn, descriptor(32, PRESENT, 0x67), `#TS(${hex(NEW_SELECTOR)})`],
  ["JMP: not present", jump, descriptor(32, 0, 0x67), `#NP(${hex(NEW_SELECTOR)})`],
  ["event: not present", external, descriptor(32, 0, 0x67), `#NP(${hex(NEW_SELECTOR | 1)})`],
  ["IRET: not present", taskReturn, descriptor(32, 2, 0x67), `#NP(${hex(NEW_SELECTOR)})`],
  ["JMP: limit of a 32-bit TSS", jump, descriptor(32, PRESENT, 0x66), `#TS(${hex(NEW_SELECTOR)})`],
  ["JMP: limit of a 16-bit TSS", jump, descriptor(16, PRESENT, 0x2a), `#TS(${hex(NEW_SELECTOR)})`],
  ["event: limit", external, descriptor(32, PRESENT, 0x66), `#TS(${hex(NEW_SELECTOR | 1)})`],
  [
    "JMP: DPL of the TSS",
    jump,
    (f) => {
      f.ring(3);
    },
    `#GP(${hex(NEW_SELECTOR)})`,
  ],
  [
    "the old TSS is too short",
    jump,
    (f) => f.state.setSegment(SEG.tr, OLD_SELECTOR, AT.tss, 0x5e, 11 | PRESENT),
    `#TS(${hex(OLD_SELECTOR)})`,
  ],
  [
    "the old 16-bit TSS is too short",
    external,
    (f) => f.state.setSegment(SEG.tr, OLD_SELECTOR, AT.tss, 0x28, 3 | PRESENT),
    `#TS(${hex(OLD_SELECTOR | 1)})`,
  ],
  ["the old TSS cannot be written", call, (f) => f.env.readOnly.add(4), `#PF(3) at ${hex(AT.tss + 32)}`],
  ["the new TSS is on an absent page", jump, (f) => f.env.absent.add(5), `#PF(0) at ${hex(NEW_TSS)}`],
  ["the link cannot be written", call, (f) => f.env.readOnly.add(5), `#PF(3) at ${hex(NEW_TSS)}`],
  ["the busy bit cannot be set", call, (f) => f.env.readOnly.add(1), `#PF(3) at ${hex(AT.gdt + NEW_SELECTOR + 5)}`],
  [
    "the busy bit cannot be cleared",
    taskReturn,
    (f) => f.env.readOnly.add(1),
    `#PF(3) at ${hex(AT.gdt + OLD_SELECTOR + 5)}`,
  ],
];

describe("a fault before the commit point changes nothing", () => {
  test.each(BEFORE)("%s", (_what, route, change, outcome) => {
    const f = machine(route, 32, 32);
    // What a route writes to set itself up is no change.
    if (route.source === 1) {
      f.env.poke(AT.tss, 2, NEW_SELECTOR);
      f.state.flags |= FLAG.NT;
    }
    if (route.source === 3) f.idt(0x41, gateDescriptor(TASK_GATE | PRESENT | dplBits(3), NEW_SELECTOR, 0));
    change(f);
    const before = f.snapshot();
    route.run(f);
    expect(f.outcome()).toBe(outcome);
    expect(f.changes(before)).toEqual([]);
    expect(f.env.charges).toEqual([]);
  });

  test("a new TSS that is read-only is enough for JMP", () => {
    const f = machine(jump, 32, 32);
    f.env.readOnly.add(5);
    jump.run(f);
    expect(f.outcome()).toBe("ok");
  });
});

const code0 = SELECTOR.code[0];
const code3 = SELECTOR.code[3];
const data0 = SELECTOR.data[0];
const data3 = SELECTOR.data[3];
const FREE = SELECTOR.free;
const free = (rights: number): Change => {
  return (f) => {
    f.gdt(FREE, segmentDescriptor(rights));
  };
};
const nothing: Change = () => undefined;

/** Faults of the new task, by table 8-1. */
const AFTER: readonly [what: string, task: Task, change: Change, fault: string][] = [
  ["LDT selector in the LDT", { ldt: 0x0c }, nothing, "#TS(c)"],
  ["LDT selector beyond the GDT", { ldt: 0x1000 }, nothing, "#TS(1000)"],
  ["LDT selector of another type", { ldt: code0 }, nothing, `#TS(${hex(code0)})`],
  ["LDT not present", { ldt: FREE }, free(2), `#TS(${hex(FREE)})`],
  ["CS null", { cs: 3 }, nothing, "#TS(0)"],
  ["CS beyond the GDT", { cs: 0x1000 }, nothing, "#TS(1000)"],
  ["CS is data", { cs: data0 }, nothing, `#TS(${hex(data0)})`],
  ["CS is a system segment", { cs: NEW_SELECTOR }, nothing, `#TS(${hex(NEW_SELECTOR)})`],
  ["CS: DPL above RPL", { cs: code3 & ~3 }, nothing, `#TS(${hex(code3 & ~3)})`],
  ["CS: DPL below RPL", { cs: code0 | 3 }, nothing, `#TS(${hex(code0)})`],
  ["CS conforming: DPL above RPL", { cs: FREE | 1 }, free(CODE | 4 | dplBits(2)), `#TS(${hex(FREE)})`],
  ["CS not present", { cs: FREE }, free(CODE & ~PRESENT), `#NP(${hex(FREE)})`],
  ["SS null", { ss: 0 }, nothing, "#TS(0)"],
  ["SS beyond the GDT", { ss: 0x1000 }, nothing, "#TS(1000)"],
  ["SS is code", { ss: code0 }, nothing, `#TS(${hex(code0)})`],
  ["SS read-only", { ss: FREE }, free(DATA & ~2), `#TS(${hex(FREE)})`],
  ["SS: RPL is not CPL", { ss: data0 | 3 }, nothing, `#TS(${hex(data0)})`],
  ["SS: DPL is not CPL", { ss: data3 & ~3 }, nothing, `#TS(${hex(data3 & ~3)})`],
  ["SS not present", { ss: FREE }, free(DATA & ~PRESENT), `#SS(${hex(FREE)})`],
  ["DS is a system segment", { ds: NEW_SELECTOR }, nothing, `#TS(${hex(NEW_SELECTOR)})`],
  ["DS is code that cannot be read", { ds: FREE }, free(CODE & ~2), `#TS(${hex(FREE)})`],
  ["DS: DPL below CPL", { level: 3, ds: data0 }, nothing, `#TS(${hex(data0)})`],
  ["DS: DPL below RPL", { ds: data0 | 3 }, nothing, `#TS(${hex(data0)})`],
  ["DS not present", { ds: FREE }, free(DATA & ~PRESENT), `#NP(${hex(FREE)})`],
  ["GS beyond the GDT", { gs: 0x1000 }, nothing, "#TS(1000)"],
  ["EIP beyond CS", { cs: FREE }, (f) => f.gdt(FREE, segmentDescriptor(CODE & ~RIGHTS.G, 0, 0x2221)), "#GP(0)"],
  [
    "a descriptor on an absent page",
    { cs: 0x0c },
    (f) => {
      f.gdt(SELECTOR.ldt, segmentDescriptor(2 | PRESENT, 0xb000, 0x1ff));
      f.env.absent.add(11);
    },
    `#PF(0) at b008`,
  ],
];

describe("a fault after the commit point is the new task's", () => {
  test.each(AFTER)("%s", (_what, task, change, fault) => {
    const f = machine(jump, 32, 32, task);
    change(f);
    jump.run(f);
    const { state } = f;
    expect(f.outcome()).toBe(fault);
    expect([state.selector(SEG.tr), state.eip, state.get(GPR.eax)]).toEqual([NEW_SELECTOR, 0x2222, 0x1100]);
    expect(state.cpl).toBe((task.cs ?? (SELECTOR.code[task.level ?? 0] as number)) & 3);
    expect(state.selector(SEG.ss)).toBe(task.ss ?? SELECTOR.data[task.level ?? 0]);
    expect(busy(f, NEW_SELECTOR)).toBe(true);
    expect(f.env.peek(AT.tss + 32, 4)).toBe(NEXT);
    expect(state.get(CELL.pendingDebug)).toBe(0);
  });

  test("an event external to the program has EXT in the error code", () => {
    for (const [task, fault] of [
      [{ ss: 0 }, "#TS(1)"],
      [{ ds: 0x1000 }, "#TS(1001)"],
    ] as const) {
      const f = machine(external, 32, 32, task);
      external.run(f);
      expect(f.outcome()).toBe(fault);
    }
    const software = event("software", 0x40);
    const f = machine(software, 32, 32, { ss: 0 });
    software.run(f);
    expect(f.outcome()).toBe("#TS(0)");
  });

  test("segments that were not reached are unusable", () => {
    const f = machine(jump, 32, 32, { ss: 0 });
    jump.run(f);
    expect(f.state.segmentRights(SEG.cs)).toBe(CODE | 1);
    for (const segment of [SEG.ss, SEG.ds, SEG.gs]) expect(f.state.segmentRights(segment)).toBe(RIGHTS.UNUSABLE);
  });

  test("an error code that does not fit on the new stack is #SS", () => {
    const fault = event("exception", VECTOR.GP, 0x1230);
    const f = machine(fault, 32, 32, { ss: FREE });
    f.gdt(FREE, segmentDescriptor(DATA & ~RIGHTS.G, 0, 0xff));
    fault.run(f);
    expect(f.outcome()).toBe("#SS(1)");
    expect(f.state.get(GPR.esp)).toBe(AT.stack[0] + 0x800);
  });

  test("an NMI that entered its task blocks NMIs though the task faults at once", () => {
    const nmi = event("nmi", VECTOR.NMI);
    const f = machine(nmi, 32, 32, { ss: 0 });
    nmi.run(f);
    expect([f.outcome(), f.state.get(CELL.interruptibility)]).toEqual(["#TS(1)", BLOCKING.NMI]);
  });
});

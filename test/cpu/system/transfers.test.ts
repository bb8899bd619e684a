import { describe, expect, test } from "vitest";
import { BLOCKING, CELL, CpuState, FLAG, GPR, NO_ERROR_CODE, RIGHTS, SEG } from "../../../sim/cpu/state.ts";
import { type DeliveryEvent, deliver } from "../../../sim/cpu/system/delivery.ts";
import { farCall, farJump, farReturn } from "../../../sim/cpu/system/far.ts";
import { sysenter, sysexit } from "../../../sim/cpu/system/fast-calls.ts";
import { interruptReturn } from "../../../sim/cpu/system/iret.ts";
import { PIN_BASED } from "../../../sim/cpu/vmx/controls.ts";
import { NonRoot } from "../../../sim/cpu/vmx/non-root.ts";
import type { Vmcs } from "../../../sim/cpu/vmx/vmcs.ts";
import {
  AT,
  CODE,
  CONFORMING,
  DATA,
  dplBits,
  Fixture,
  gateDescriptor,
  noIntercepts,
  PRESENT,
  SELECTOR,
  segmentDescriptor,
} from "./fake-environment.ts";

const hex = (n: number): string => n.toString(16);
const FREE = SELECTOR.free;
const OTHER = SELECTOR.other;
const [code0, code1, , code3] = SELECTOR.code;
const [data0, , , data3] = SELECTOR.data;
const GATE = OTHER;
const CALL_GATE = 12 | PRESENT;
const CALL_GATE16 = 4 | PRESENT;

/** What a return pops: EIP, CS, (EFLAGS,) ESP, SS. */
const outerFrame = (cs: number = code3, ss: number = data3): number[] => [0x4000, cs, FLAG.ONE, 0x9abc, ss];

describe("IRET", () => {
  test("to the same level pops EIP, CS and EFLAGS", () => {
    const f = new Fixture().stack(4, 0x4000, code0, 0xffffffff & ~(FLAG.VM | FLAG.NT));
    const esp = f.state.get(GPR.esp);
    interruptReturn(f.state, f.env, 32, 0);
    expect(f.outcome()).toBe("ok");
    expect(f.state.get(GPR.esp)).toBe(esp + 12);
    expect(f.state.eip).toBe(0x4000);
    const all = FLAG.CF | FLAG.PF | FLAG.AF | FLAG.ZF | FLAG.SF | FLAG.TF | FLAG.IF | FLAG.DF | FLAG.OF | FLAG.IOPL;
    const upper = FLAG.RF | FLAG.AC | FLAG.VIF | FLAG.VIP | FLAG.ID;
    expect(f.state.flags).toBe(FLAG.ONE | all | upper);
    expect(f.env.charges).toEqual(["iretSame"]);
  });

  test("above CPL 0 leaves IOPL, VIF, VIP and VM, and IF above IOPL", () => {
    const f = new Fixture(3).stack(4, 0x4000, code3, 0xffffffff);
    interruptReturn(f.state, f.env, 32, 0);
    expect(f.outcome()).toBe("ok");
    expect(f.state.flags & (FLAG.IOPL | FLAG.IF | FLAG.VIF | FLAG.VIP | FLAG.VM)).toBe(0);
    const g = new Fixture(3).stack(4, 0x4000, code3, FLAG.IF);
    g.state.flags |= FLAG.IOPL;
    interruptReturn(g.state, g.env, 32, 0);
    expect(g.state.flags & (FLAG.IOPL | FLAG.IF)).toBe(FLAG.IOPL | FLAG.IF);
  });

  test("16-bit pops words and leaves the upper half of EFLAGS", () => {
    const f = new Fixture().stack(2, 0x4000, code0, FLAG.CF);
    const esp = f.state.get(GPR.esp);
    f.state.flags |= FLAG.AC | FLAG.ID | FLAG.IF;
    interruptReturn(f.state, f.env, 16, 0);
    expect(f.outcome()).toBe("ok");
    expect(f.state.get(GPR.esp)).toBe(esp + 6);
    expect(f.state.flags).toBe(FLAG.ONE | FLAG.AC | FLAG.ID | FLAG.CF);
  });

  test("to an outer level pops SS:ESP and sets flags with the inner level's rights", () => {
    const f = new Fixture().stack(4, 0x4000, code3, FLAG.IF | FLAG.IOPL, 0x9abc, data3);
    interruptReturn(f.state, f.env, 32, 0);
    expect(f.outcome()).toBe("ok");
    expect(f.state.cpl).toBe(3);
    expect([f.state.selector(SEG.cs), f.state.selector(SEG.ss)]).toEqual([code3, data3]);
    expect(f.state.get(GPR.esp)).toBe(0x9abc);
    expect(f.state.eip).toBe(0x4000);
    expect(f.state.flags).toBe(FLAG.ONE | FLAG.IF | FLAG.IOPL);
    expect(f.env.charges).toEqual(["iretOuter"]);
  });

  test("to an outer level nulls data segments that it could not load", () => {
    const f = new Fixture().stack(4, ...outerFrame());
    f.state.setSegment(SEG.ds, data3, 0, 0xffffffff, DATA | dplBits(3));
    f.state.setSegment(SEG.fs, SELECTOR.conforming, 0, 0xffffffff, CONFORMING);
    f.state.setSegment(SEG.gs, code0, 0, 0xffffffff, CODE);
    interruptReturn(f.state, f.env, 32, 0);
    expect([SEG.es, SEG.ds, SEG.fs, SEG.gs].map((segment) => f.state.selector(segment))).toEqual([
      0,
      data3,
      SELECTOR.conforming,
      0,
    ]);
    expect(f.state.segmentRights(SEG.es)).toBe(RIGHTS.UNUSABLE);
    expect(f.state.segmentRights(SEG.gs)).toBe(RIGHTS.UNUSABLE);
  });

  test("to an outer 16-bit stack changes SP only", () => {
    const f = new Fixture().stack(4, 0x4000, code3, FLAG.ONE, 0x12345678, FREE | 3);
    f.gdt(FREE, segmentDescriptor((DATA & ~RIGHTS.DB) | dplBits(3)));
    f.state.set(GPR.esp, f.state.get(GPR.esp));
    interruptReturn(f.state, f.env, 32, 0);
    expect(f.state.get(GPR.esp)).toBe(0x5678);
  });

  test("ends blocking by NMI even when it faults, unless the controls keep it", () => {
    const f = new Fixture().stack(4, 0x4000, 0, 0);
    f.state.set(CELL.interruptibility, BLOCKING.NMI);
    interruptReturn(f.state, f.env, 32, 0);
    expect(f.outcome()).toBe("#GP(0)");
    expect(f.state.get(CELL.interruptibility)).toBe(0);
    const g = new Fixture().stack(4, 0x4000, code0, FLAG.ONE);
    g.env.intercepts = noIntercepts({ iretKeepsNmiBlocking: () => true });
    g.state.set(CELL.interruptibility, BLOCKING.NMI);
    interruptReturn(g.state, g.env, 32, 0);
    expect(g.state.get(CELL.interruptibility)).toBe(BLOCKING.NMI);
  });
});

test("NMI exiting without virtual NMIs keeps IRET from unblocking NMIs", () => {
  const nonRoot = new NonRoot(new CpuState(), {} as Vmcs);
  const keeps = [0, PIN_BASED.nmiExiting, PIN_BASED.nmiExiting | PIN_BASED.virtualNmis].map((controls) => {
    nonRoot.controls = { ...nonRoot.controls, pinBased: controls };
    return nonRoot.iretKeepsNmiBlocking();
  });
  expect(keeps).toEqual([false, true, false]);
});

/** [what, CPL, change, operation, expected]. */
type Failure = readonly [
  what: string,
  cpl: number,
  change: (f: Fixture) => unknown,
  run: (f: Fixture) => void,
  expected: string,
];
const iret = (f: Fixture): void => interruptReturn(f.state, f.env, 32, 0);
const ret = (f: Fixture): void => farReturn(f.state, f.env, 32, 8);
const jump =
  (selector: number, offset = 0x4000) =>
  (f: Fixture): void =>
    farJump(f.state, f.env, selector, offset, 32, 0);
const call =
  (selector: number, offset = 0x4000) =>
  (f: Fixture): void =>
    farCall(f.state, f.env, selector, offset, 32, 0x123b);
const free =
  (rights: number, rawLimit = 0xfffff) =>
  (f: Fixture) =>
    f.gdt(FREE, segmentDescriptor(rights, 0, rawLimit));
/** A call gate at GATE that leads to `selector`. */
const gate =
  (rights: number, selector: number, count = 0) =>
  (f: Fixture) =>
    f.gdt(GATE, gateDescriptor(rights, selector, 0x4567, count));
const all =
  (...changes: ((f: Fixture) => unknown)[]) =>
  (f: Fixture) =>
    changes.forEach((change) => {
      change(f);
    });
const none = (): void => undefined;
/** A frame for IRET and one, with its 8 bytes of parameters, for RET. */
const frames = (cs: number, ss?: number): [string, (f: Fixture) => void, (f: Fixture) => unknown][] => [
  ["IRET", iret, (f) => f.stack(4, ...outerFrame(cs, ss))],
  ["RET", ret, (f) => f.stack(4, 0x4000, cs, 0, 0, 0x9abc, ss ?? data3)],
];

const returns: Failure[] = [];
const returnCases: [string, number, number, number | undefined, (f: Fixture) => unknown, string][] = [
  ["CS null", 0, 3, undefined, none, "#GP(0)"],
  ["CS beyond the GDT", 0, 0x203, undefined, none, "#GP(200)"],
  ["CS is data", 0, data0, undefined, none, `#GP(${hex(data0)})`],
  ["CS of an inner level", 3, code1, undefined, none, "#GP(10)"],
  ["CS nonconforming with RPL other than DPL", 0, code0 | 3, undefined, none, `#GP(${hex(code0)})`],
  ["CS conforming with DPL above RPL", 0, FREE | 1, undefined, free(CONFORMING | dplBits(2)), `#GP(${hex(FREE)})`],
  ["CS not present", 0, FREE | 3, undefined, free((CODE & ~PRESENT) | dplBits(3)), `#NP(${hex(FREE)})`],
  ["EIP beyond the limit, same level", 0, FREE, undefined, free(CODE, 3), "#GP(0)"],
  ["EIP beyond the limit, outer level", 0, FREE | 3, undefined, free(CODE | dplBits(3), 3), "#GP(0)"],
  ["SS null", 0, code3, 3, none, "#GP(0)"],
  ["SS beyond the GDT", 0, code3, 0x203, none, "#GP(200)"],
  ["SS RPL other than that of CS", 0, code3, data3 & ~3, none, `#GP(${hex(data3 & ~3)})`],
  ["SS DPL other than RPL of CS", 0, code3, data0 | 3, none, `#GP(${hex(data0)})`],
  ["SS is code", 0, code3, code3, none, `#GP(${hex(code3 & ~3)})`],
  ["SS read-only", 0, code3, FREE | 3, free((DATA & ~2) | dplBits(3)), `#GP(${hex(FREE)})`],
  ["SS not present", 0, code3, FREE | 3, free((DATA & ~PRESENT) | dplBits(3)), `#SS(${hex(FREE)})`],
  ["GDT read-only", 0, code3, data3, (f) => f.env.readOnly.add(AT.gdt >>> 12), `#PF(3) at ${hex(AT.gdt + 0x45)}`],
];
for (const [what, cpl, cs, ss, change, expected] of returnCases) {
  for (const [name, run, frame] of frames(cs, ss))
    returns.push([`${name}: ${what}`, cpl, all(frame, change), run, expected]);
}

const shortStack = (limit: number) => (f: Fixture) =>
  f.state.setSegment(SEG.ss, data0, 0, AT.stack[0] + 0xf00 + limit - 1, DATA);

const FAILURES: readonly Failure[] = [
  ...returns,
  ["IRET: frame beyond the stack limit", 0, all(shortStack(11), (f) => f.stack(4, 0x4000, code0, 2)), iret, "#SS(0)"],
  [
    "IRET: outer frame beyond the stack limit",
    0,
    all(shortStack(19), (f) => f.stack(4, ...outerFrame())),
    iret,
    "#SS(0)",
  ],
  ["RET: frame beyond the stack limit", 0, all(shortStack(7), (f) => f.stack(4, 0x4000, code0)), ret, "#SS(0)"],
  [
    "IRET: stack page absent",
    0,
    (f) => f.env.absent.add(AT.stack[0] >>> 12),
    iret,
    `#PF(0) at ${hex(AT.stack[0] + 0xf00)}`,
  ],
  [
    "IRET: to virtual-8086 mode, EIP of more than 16 bits",
    0,
    (f) => f.stack(4, 0x10000, 0x1000, FLAG.VM),
    iret,
    "#GP(0)",
  ],
  [
    "IRET: nested task, link not busy",
    0,
    all(
      (f) => f.env.poke(AT.tss, 2, SELECTOR.otherTss),
      (f) => (f.state.flags |= FLAG.NT),
    ),
    iret,
    `#TS(${hex(SELECTOR.otherTss)})`,
  ],
  ["JMP: null", 0, none, jump(2), "#GP(0)"],
  ["JMP: beyond the GDT", 0, none, jump(0x200), "#GP(200)"],
  ["JMP: data", 0, none, jump(data0), `#GP(${hex(data0)})`],
  ["JMP: nonconforming, inner", 3, none, jump(code0), "#GP(8)"],
  ["JMP: nonconforming, outer", 0, none, jump(code3), "#GP(20)"],
  ["JMP: nonconforming, RPL above CPL", 0, none, jump(code0 | 1), "#GP(8)"],
  ["JMP: conforming, outer", 0, free(CONFORMING | dplBits(1)), jump(FREE), `#GP(${hex(FREE)})`],
  ["JMP: not present", 0, free(CODE & ~PRESENT), jump(FREE), `#NP(${hex(FREE)})`],
  ["JMP: beyond the code limit", 0, free(CODE, 3), jump(FREE), "#GP(0)"],
  ["JMP: gate DPL below CPL", 3, gate(CALL_GATE, code3), jump(GATE), `#GP(${hex(GATE)})`],
  ["JMP: gate DPL below RPL", 0, gate(CALL_GATE, code0), jump(GATE | 3), `#GP(${hex(GATE)})`],
  ["JMP: gate not present", 0, gate(12, code0), jump(GATE), `#NP(${hex(GATE)})`],
  ["JMP: gate to null", 0, gate(CALL_GATE, 0), jump(GATE), "#GP(0)"],
  ["JMP: gate beyond the GDT", 0, gate(CALL_GATE, 0x200), jump(GATE), "#GP(200)"],
  ["JMP: gate to data", 0, gate(CALL_GATE, data0), jump(GATE), `#GP(${hex(data0)})`],
  ["JMP: gate to an inner level", 3, gate(CALL_GATE | dplBits(3), code0), jump(GATE | 3), "#GP(8)"],
  [
    "JMP: gate to code that is not present",
    0,
    all(gate(CALL_GATE, FREE), free(CODE & ~PRESENT)),
    jump(GATE),
    `#NP(${hex(FREE)})`,
  ],
  ["JMP: interrupt gate", 0, gate(14 | PRESENT, code0), jump(GATE), `#GP(${hex(GATE)})`],
  ["JMP: busy TSS", 0, none, jump(SELECTOR.tss), `#GP(${hex(SELECTOR.tss)})`],
  ["JMP: TSS with DPL below CPL", 3, none, jump(SELECTOR.otherTss), `#GP(${hex(SELECTOR.otherTss)})`],
  [
    "JMP: TSS too short",
    0,
    (f) => f.gdt(OTHER, segmentDescriptor(9 | PRESENT, 0x5000, 0x66)),
    jump(OTHER),
    `#TS(${hex(OTHER)})`,
  ],
  ["CALL: nonconforming, inner", 3, none, call(code0), "#GP(8)"],
  ["CALL: stack limit", 0, (f) => f.state.setSegment(SEG.ss, data0, 0, 0xfff, DATA), call(code0), "#SS(0)"],
  [
    "CALL: stack not writable",
    0,
    (f) => f.env.readOnly.add(AT.stack[0] >>> 12),
    call(code0),
    `#PF(3) at ${hex(AT.stack[0] + 0xefc)}`,
  ],
  ["CALL: beyond the code limit", 0, free(CODE, 3), call(FREE), "#GP(0)"],
  ["CALL: gate to an outer level", 0, gate(CALL_GATE, code3), call(GATE), "#GP(20)"],
  [
    "CALL: gate, TSS too short",
    3,
    all(gate(CALL_GATE | dplBits(3), code0), (f) => f.state.setSegment(SEG.tr, SELECTOR.tss, AT.tss, 8, 0x8b)),
    call(GATE | 3),
    `#TS(${hex(SELECTOR.tss)})`,
  ],
  [
    "CALL: gate, inner SS null",
    3,
    all(gate(CALL_GATE | dplBits(3), code0), (f) => f.env.poke(AT.tss + 8, 2, 0)),
    call(GATE | 3),
    "#TS(0)",
  ],
  [
    "CALL: gate, inner SS of another level",
    3,
    all(gate(CALL_GATE | dplBits(3), code0), (f) => f.env.poke(AT.tss + 8, 2, data3)),
    call(GATE | 3),
    `#TS(${hex(data3 & ~3)})`,
  ],
  [
    "CALL: gate, inner stack page absent",
    3,
    all(gate(CALL_GATE | dplBits(3), code0), (f) => f.env.absent.add(6)),
    call(GATE | 3),
    `#PF(2) at ${hex(AT.stack[0] + 0xffc)}`,
  ],
  [
    "CALL: gate, parameters on an absent page",
    3,
    all(gate(CALL_GATE | dplBits(3), code0, 2), (f) => f.env.absent.add(9)),
    call(GATE | 3),
    `#PF(4) at ${hex(AT.stack[3] + 0xf00)}`,
  ],
];

describe("failures of far transfers", () => {
  test.each(FAILURES)("%s", (_what, cpl, change, run, expected) => {
    const f = new Fixture(cpl);
    change(f);
    const before = f.snapshot();
    run(f);
    expect(f.outcome()).toBe(expected);
    expect(f.changes(before)).toEqual([]);
    expect(f.env.charges).toEqual([]);
  });
});

describe("far transfers", () => {
  test("JMP takes CPL as RPL of CS", () => {
    const f = new Fixture(3);
    farJump(f.state, f.env, SELECTOR.conforming, 0x12345, 32, 0);
    expect(f.outcome()).toBe("ok");
    expect([f.state.selector(SEG.cs), f.state.eip, f.state.cpl]).toEqual([SELECTOR.conforming | 3, 0x12345, 3]);
  });

  test("JMP with a 16-bit operand takes 16 bits of the offset", () => {
    const f = new Fixture();
    farJump(f.state, f.env, code0, 0x12345, 16, 0);
    expect(f.state.eip).toBe(0x2345);
  });

  test("JMP through a gate goes to the gate's offset", () => {
    const f = new Fixture();
    gate(CALL_GATE, code0)(f);
    farJump(f.state, f.env, GATE, 0xdead, 32, 0);
    expect([f.state.selector(SEG.cs), f.state.eip]).toEqual([code0, 0x4567]);
  });

  test("CALL pushes CS and the next EIP; RET comes back and releases its bytes", () => {
    for (const width of [16, 32] as const) {
      const f = new Fixture();
      const esp = f.state.get(GPR.esp);
      farCall(f.state, f.env, SELECTOR.conforming, 0x4000, width, 0x123b);
      expect(f.state.get(GPR.esp)).toBe(esp - width / 4);
      expect([f.item(0, width / 8), f.item(1, width / 8)]).toEqual([0x123b, code0]);
      farReturn(f.state, f.env, width, 4);
      expect([f.state.selector(SEG.cs), f.state.eip, f.state.get(GPR.esp)]).toEqual([code0, 0x123b, esp + 4]);
      expect(f.env.charges).toEqual([]);
    }
  });

  test("CALL through a gate to an inner level copies parameters; RET releases them from both stacks", () => {
    const f = new Fixture(3).stack(4, 0x11111111, 0x22222222, 0x33333333);
    const esp = f.state.get(GPR.esp);
    gate(CALL_GATE | dplBits(3), code0, 2)(f);
    farCall(f.state, f.env, GATE | 3, 0xdead, 32, 0x123b);
    expect(f.outcome()).toBe("ok");
    expect(f.state.get(GPR.esp)).toBe(AT.stack[0] + 0x1000 - 24);
    expect([0, 1, 2, 3, 4, 5].map((n) => f.item(n))).toEqual([0x123b, code3, 0x11111111, 0x22222222, esp, data3]);
    expect([f.state.cpl, f.state.selector(SEG.cs), f.state.selector(SEG.ss), f.state.eip]).toEqual([
      0,
      code0,
      data0,
      0x4567,
    ]);
    farReturn(f.state, f.env, 32, 8);
    expect(f.outcome()).toBe("ok");
    expect([f.state.cpl, f.state.selector(SEG.cs), f.state.selector(SEG.ss), f.state.eip]).toEqual([
      3,
      code3,
      data3,
      0x123b,
    ]);
    expect(f.state.get(GPR.esp)).toBe(esp + 8);
    expect(f.env.charges).toEqual(["farPrivilege", "farPrivilege"]);
  });

  test("CALL through a 286 gate pushes and copies words", () => {
    const f = new Fixture(3).stack(2, 0x1111, 0x2222);
    const esp = f.state.get(GPR.esp);
    gate(CALL_GATE16 | dplBits(3), code0, 2)(f);
    farCall(f.state, f.env, GATE | 3, 0, 32, 0x123b);
    expect([0, 1, 2, 3, 4, 5].map((n) => f.item(n, 2))).toEqual([0x123b, code3, 0x1111, 0x2222, esp, data3]);
  });

  test("CALL through a gate to conforming code stays at its level", () => {
    const f = new Fixture(3);
    gate(CALL_GATE | dplBits(3), SELECTOR.conforming)(f);
    farCall(f.state, f.env, GATE | 3, 0, 32, 0x123b);
    expect([f.state.cpl, f.state.selector(SEG.cs)]).toEqual([3, SELECTOR.conforming | 3]);
    expect(f.env.charges).toEqual([]);
  });
});

describe("accessed bits", () => {
  const accessed = (f: Fixture, selector: number): number => f.env.peek(AT.gdt + (selector & 0xfff8) + 5, 1) & 1;
  const interrupt: DeliveryEvent = { vector: 0x20, kind: "external", errorCode: NO_ERROR_CODE, returnEip: 0 };

  test.each<readonly [string, number, (f: Fixture) => unknown, (f: Fixture) => void, readonly number[]]>([
    ["JMP", 0, none, jump(code0), [code0]],
    ["CALL", 0, none, call(SELECTOR.conforming), [SELECTOR.conforming]],
    ["CALL through a gate", 3, gate(CALL_GATE | dplBits(3), code0), call(GATE | 3), [code0, data0]],
    ["IRET to the same level", 0, (f) => f.stack(4, 0x4000, code0, FLAG.ONE), iret, [code0]],
    ["IRET to an outer level", 0, (f) => f.stack(4, ...outerFrame()), iret, [code3, data3]],
    ["RET to the same level", 0, (f) => f.stack(4, 0x4000, code0), ret, [code0]],
    ["RET to an outer level", 0, (f) => f.stack(4, 0x4000, code3, 0, 0, 0x9abc, data3), ret, [code3, data3]],
    [
      "delivery to the same level",
      0,
      (f) => f.idt(0x20, gateDescriptor(14 | PRESENT, code0, 0)),
      (f) => deliver(f.state, f.env, interrupt),
      [code0],
    ],
    [
      "delivery to an inner level",
      3,
      (f) => f.idt(0x20, gateDescriptor(14 | PRESENT, code0, 0)),
      (f) => deliver(f.state, f.env, interrupt),
      [code0, data0],
    ],
  ])("%s sets those of the segments that it loads", (_what, cpl, change, run, loaded) => {
    const f = new Fixture(cpl);
    change(f);
    expect(loaded.map((selector) => accessed(f, selector))).toEqual(loaded.map(() => 0));
    run(f);
    expect(f.outcome()).toBe("ok");
    expect(loaded.map((selector) => accessed(f, selector))).toEqual(loaded.map(() => 1));
    expect(f.state.segmentRights(SEG.cs) & RIGHTS.ACCESSED).toBe(1);
  });
});

describe("SYSENTER and SYSEXIT", () => {
  const prepared = (cpl: number): Fixture => {
    const f = new Fixture(cpl);
    f.state.set(CELL.sysenterCs, 0x103);
    f.state.set(CELL.sysenterEsp, 0x5555);
    f.state.set(CELL.sysenterEip, 0x6666);
    f.state.set(GPR.ecx, 0x7777);
    f.state.set(GPR.edx, 0x8888);
    f.state.flags |= FLAG.IF | FLAG.CF;
    return f;
  };
  const where = (f: Fixture): number[] => [
    f.state.selector(SEG.cs),
    f.state.selector(SEG.ss),
    f.state.eip,
    f.state.get(GPR.esp),
    f.state.cpl,
  ];

  test("SYSENTER loads flat ring 0 segments and clears IF", () => {
    const f = prepared(3);
    sysenter(f.state);
    expect(f.outcome()).toBe("ok");
    expect(where(f)).toEqual([0x100, 0x108, 0x6666, 0x5555, 0]);
    expect(f.state.flags).toBe(FLAG.ONE | FLAG.CF);
    expect([f.state.segmentRights(SEG.cs), f.state.segmentRights(SEG.ss)]).toEqual([0xc09b, 0xc093]);
    expect(f.state.segmentLimit(SEG.ss)).toBe(0xffffffff);
  });

  test("SYSEXIT goes to EDX at CPL 3 with the stack of ECX, and leaves EFLAGS", () => {
    const f = prepared(0);
    sysexit(f.state);
    expect(where(f)).toEqual([0x113, 0x11b, 0x8888, 0x7777, 3]);
    expect(f.state.flags).toBe(FLAG.ONE | FLAG.CF | FLAG.IF);
    expect([f.state.segmentRights(SEG.cs), f.state.segmentRights(SEG.ss)]).toEqual([0xc0fb, 0xc0f3]);
  });

  test("both are #GP(0) while IA32_SYSENTER_CS is null; SYSEXIT above CPL 0 too", () => {
    const cases: [Fixture, (f: Fixture) => void][] = [
      [prepared(3), (f) => sysenter(f.state)],
      [prepared(0), (f) => sysexit(f.state)],
    ];
    for (const [f, run] of cases) {
      f.state.set(CELL.sysenterCs, 3);
      const before = f.snapshot();
      run(f);
      expect(f.outcome()).toBe("#GP(0)");
      expect(f.changes(before)).toEqual([]);
    }
    const f = prepared(3);
    sysexit(f.state);
    expect(f.outcome()).toBe("#GP(0)");
  });
});

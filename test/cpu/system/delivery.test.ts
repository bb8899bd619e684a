import { describe, expect, test } from "vitest";
import { BLOCKING, CELL, FLAG, GPR, NO_ERROR_CODE, SEG } from "../../../sim/cpu/state.ts";
import { combineFaults, type DeliveryEvent, deliver } from "../../../sim/cpu/system/delivery.ts";
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

const INTERRUPT_GATE = 14 | PRESENT;
const TRAP_GATE = 15 | PRESENT;
const INTERRUPT_GATE16 = 6 | PRESENT;
const TASK_GATE = 5 | PRESENT;
const HANDLER = 0x12345;
const FREE = SELECTOR.free;
const VECTOR = 0x80;
const IDT_ERROR = VECTOR * 8 + 2;

const soft: DeliveryEvent = { vector: VECTOR, kind: "software", errorCode: NO_ERROR_CODE, returnEip: 0x4321 };
const external: DeliveryEvent = { ...soft, kind: "external" };
const fault: DeliveryEvent = { vector: 13, kind: "exception", errorCode: 0x5678, returnEip: 0x1234 };

const hex = (n: number): string => n.toString(16);

function prepared(cpl: number, gate = INTERRUPT_GATE | dplBits(3), selector: number = SELECTOR.code[0]): Fixture {
  const f = new Fixture(cpl);
  for (const vector of [13, 14, 1, 2, 3, VECTOR]) f.idt(vector, gateDescriptor(gate, selector, HANDLER));
  return f;
}

describe("delivery through an interrupt gate", () => {
  test("at the same privilege pushes EFLAGS, CS, EIP and clears IF, TF, NT, RF", () => {
    const f = prepared(0);
    const esp = f.state.get(GPR.esp);
    f.state.flags |= FLAG.IF | FLAG.NT | FLAG.CF | FLAG.IOPL | FLAG.TF | FLAG.RF;
    const flags = f.state.flags;
    deliver(f.state, f.env, soft);
    expect(f.outcome()).toBe("ok");
    expect(f.state.get(GPR.esp)).toBe(esp - 12);
    expect([f.item(0), f.item(1), f.item(2)]).toEqual([0x4321, SELECTOR.code[0], flags]);
    expect(f.state.eip).toBe(HANDLER);
    expect(f.state.flags).toBe(FLAG.ONE | FLAG.CF | FLAG.IOPL);
    expect(f.env.charges).toEqual(["intSame"]);
  });

  test("a trap gate leaves IF as it is", () => {
    const f = prepared(0, TRAP_GATE | dplBits(3));
    f.state.flags |= FLAG.IF;
    deliver(f.state, f.env, soft);
    expect(f.state.flags & FLAG.IF).toBe(FLAG.IF);
  });

  test("to an inner ring takes the stack from the TSS and pushes the old one", () => {
    const f = prepared(3);
    const esp = f.state.get(GPR.esp);
    f.state.flags |= FLAG.IF;
    deliver(f.state, f.env, soft);
    expect(f.outcome()).toBe("ok");
    expect(f.state.get(GPR.esp)).toBe(AT.stack[0] + 0x1000 - 20);
    expect([0, 1, 2, 3, 4].map((n) => f.item(n))).toEqual([
      0x4321,
      SELECTOR.code[3],
      FLAG.ONE | FLAG.IF,
      esp,
      SELECTOR.data[3],
    ]);
    expect(f.state.cpl).toBe(0);
    expect(f.state.selector(SEG.cs)).toBe(SELECTOR.code[0]);
    expect(f.state.selector(SEG.ss)).toBe(SELECTOR.data[0]);
    expect(f.state.selector(SEG.ds)).toBe(SELECTOR.data[3]);
    expect(f.env.charges).toEqual(["intInner"]);
  });

  test("from ring 3 to ring 1 uses the stack of ring 1", () => {
    const f = prepared(3, INTERRUPT_GATE | dplBits(3), SELECTOR.code[1]);
    deliver(f.state, f.env, soft);
    expect(f.state.cpl).toBe(1);
    expect(f.state.selector(SEG.ss)).toBe(SELECTOR.data[1]);
    expect(f.state.get(GPR.esp)).toBe(AT.stack[1] + 0x1000 - 20);
  });

  test("pushes the error code last", () => {
    const f = prepared(3);
    deliver(f.state, f.env, fault);
    expect(f.item(0)).toBe(0x5678);
    expect(f.item(1)).toBe(0x1234);
    expect(f.state.get(GPR.esp)).toBe(AT.stack[0] + 0x1000 - 24);
  });

  test("to conforming code stays at the current privilege on the current stack", () => {
    const f = prepared(3, INTERRUPT_GATE | dplBits(3), SELECTOR.conforming);
    const esp = f.state.get(GPR.esp);
    deliver(f.state, f.env, soft);
    expect(f.outcome()).toBe("ok");
    expect(f.state.cpl).toBe(3);
    expect(f.state.selector(SEG.cs)).toBe(SELECTOR.conforming | 3);
    expect(f.state.get(GPR.esp)).toBe(esp - 12);
  });

  test("a 286 gate pushes words and takes 16 bits of the offset", () => {
    const f = prepared(3, INTERRUPT_GATE16 | dplBits(3));
    deliver(f.state, f.env, { ...soft, returnEip: 0x54321 });
    expect(f.state.get(GPR.esp)).toBe(AT.stack[0] + 0x1000 - 10);
    expect([0, 1, 3, 4].map((n) => f.item(n, 2))).toEqual([
      0x4321,
      SELECTOR.code[3],
      AT.stack[3] + 0xf00,
      SELECTOR.data[3],
    ]);
    expect(f.state.eip).toBe(HANDLER & 0xffff);
  });

  test("a 286 TSS gives a 16-bit stack pointer", () => {
    const f = prepared(3);
    f.state.setSegment(SEG.tr, SELECTOR.tss, AT.tss, 0x2b, 3 | PRESENT);
    f.env.poke(AT.tss + 2, 2, 0x6800);
    f.env.poke(AT.tss + 4, 2, SELECTOR.data[0]);
    deliver(f.state, f.env, soft);
    expect(f.outcome()).toBe("ok");
    expect(f.state.get(GPR.esp)).toBe(0x6800 - 20);
  });

  test("on a 16-bit stack SP wraps and the upper half of ESP stays", () => {
    const f = prepared(0);
    f.state.setSegment(SEG.ss, SELECTOR.data[0], 0, 0xffff, 0x93);
    f.state.set(GPR.esp, 0xabcd0004);
    deliver(f.state, f.env, soft);
    expect(f.outcome()).toBe("ok");
    expect(f.state.get(GPR.esp)).toBe(0xabcdfff8);
    expect(f.env.peek(0, 4)).toBe(f.state.flags);
    expect(f.env.peek(0xfff8, 4)).toBe(0x4321);
  });
});

describe("the image of EFLAGS and other state", () => {
  const rf = (f: Fixture, at: number): boolean => (f.item(at) & FLAG.RF) !== 0;

  test("faults push RF = 1, traps and interrupts push it as it is", () => {
    const cases: [Partial<DeliveryEvent> & { vector: number; kind: DeliveryEvent["kind"] }, boolean][] = [
      [{ vector: 13, kind: "exception" }, true],
      [{ vector: 14, kind: "exception" }, true],
      [{ vector: 1, kind: "exception" }, false],
      [{ vector: 1, kind: "exception", resume: true }, true],
      [{ vector: 3, kind: "software-exception" }, false],
      [{ vector: 13, kind: "software" }, false],
      [{ vector: VECTOR, kind: "external" }, false],
      [{ vector: VECTOR, kind: "external", resume: true }, true],
    ];
    for (const [event, expected] of cases) {
      const f = prepared(0);
      deliver(f.state, f.env, { ...soft, ...event });
      expect(rf(f, 2), JSON.stringify(event)).toBe(expected);
      expect(f.state.flags & FLAG.RF).toBe(0);
    }
  });

  test("costs go by kind and vector", () => {
    const cost = (event: Partial<DeliveryEvent>, cpl: number): readonly string[] => {
      const f = prepared(cpl);
      deliver(f.state, f.env, { ...soft, ...event });
      expect(f.outcome()).toBe("ok");
      return f.env.charges;
    };
    expect(cost({ vector: 14, kind: "exception" }, 3)).toEqual(["pageFault"]);
    expect(cost({ vector: 13, kind: "exception" }, 3)).toEqual(["exception"]);
    expect(cost({ kind: "external" }, 0)).toEqual(["interrupt"]);
    expect(cost({ vector: 2, kind: "nmi" }, 0)).toEqual(["interrupt"]);
    expect(cost({ vector: 14, kind: "external" }, 0)).toEqual(["interrupt"]);
    expect(cost({ vector: 1, kind: "privileged-software" }, 3)).toEqual(["intInner"]);
  });

  test("an NMI blocks NMIs; every event ends HLT and blocking by STI and MOV SS", () => {
    const f = prepared(0);
    f.state.set(CELL.interruptibility, BLOCKING.STI | BLOCKING.MOV_SS);
    f.state.set(CELL.activity, 1);
    deliver(f.state, f.env, { ...soft, vector: 2, kind: "nmi" });
    expect(f.state.get(CELL.interruptibility)).toBe(BLOCKING.NMI);
    expect(f.state.get(CELL.activity)).toBe(0);
  });

  test("#DB clears DR7.GD", () => {
    const f = prepared(0);
    f.state.set(CELL.dr7, 0x2401);
    deliver(f.state, f.env, { ...soft, vector: 1, kind: "exception" });
    expect(f.state.get(CELL.dr7)).toBe(0x401);
  });
});

/** [what, event, CPL, change to the prepared fixture, expected]; the gate leads to FREE where the change sets FREE. */
type Failure = readonly [
  what: string,
  event: DeliveryEvent,
  cpl: number,
  change: (f: Fixture) => unknown,
  expected: string,
];
const toFree = (f: Fixture, rights: number, rawLimit = 0xfffff): Fixture =>
  f
    .idt(VECTOR, gateDescriptor(INTERRUPT_GATE | dplBits(3), FREE, HANDLER))
    .gdt(FREE, segmentDescriptor(rights, 0, rawLimit));
const gate =
  (rights: number, selector: number = SELECTOR.code[0]) =>
  (f: Fixture) =>
    f.idt(VECTOR, gateDescriptor(rights, selector, HANDLER));
const ring0Stack = (f: Fixture, selector: number): Fixture => {
  f.env.poke(AT.tss + 8, 2, selector);
  return f;
};
const FREE_GP = hex(FREE);

const FAILURES: readonly Failure[] = [
  [
    "vector beyond the IDT, INT n",
    soft,
    0,
    (f) => f.state.set(CELL.idtrLimit, VECTOR * 8 + 6),
    `#GP(${hex(IDT_ERROR)})`,
  ],
  [
    "vector beyond the IDT, external",
    external,
    0,
    (f) => f.state.set(CELL.idtrLimit, 0x3ff),
    `#GP(${hex(IDT_ERROR | 1)})`,
  ],
  ["descriptor is not a gate", soft, 0, gate(CODE), `#GP(${hex(IDT_ERROR)})`],
  ["descriptor is a call gate", external, 0, gate(12 | PRESENT), `#GP(${hex(IDT_ERROR | 1)})`],
  ["gate DPL below CPL, INT n", soft, 3, gate(INTERRUPT_GATE), `#GP(${hex(IDT_ERROR)})`],
  ["gate DPL below CPL and not present, INT n", soft, 3, gate(14), `#GP(${hex(IDT_ERROR)})`],
  [
    "gate DPL below CPL, INT3",
    { ...soft, kind: "software-exception" },
    3,
    gate(INTERRUPT_GATE),
    `#GP(${hex(IDT_ERROR)})`,
  ],
  ["gate DPL below CPL, INT1", { ...soft, kind: "privileged-software" }, 3, gate(INTERRUPT_GATE), "ok"],
  ["gate DPL below CPL, external", external, 3, gate(INTERRUPT_GATE), "ok"],
  ["gate not present, INT n", soft, 0, gate(14 | dplBits(3)), `#NP(${hex(IDT_ERROR)})`],
  ["gate not present, external", external, 0, gate(14), `#NP(${hex(IDT_ERROR | 1)})`],
  ["handler CS null, INT n", soft, 0, gate(INTERRUPT_GATE, 3), "#GP(0)"],
  ["handler CS null, external", external, 0, gate(INTERRUPT_GATE, 0), "#GP(1)"],
  ["handler CS beyond the GDT", external, 0, gate(INTERRUPT_GATE, 0x203), "#GP(201)"],
  ["handler is data", external, 0, (f) => toFree(f, DATA), `#GP(${hex(FREE | 1)})`],
  ["handler is in an outer ring", soft, 0, (f) => toFree(f, CODE | dplBits(3)), `#GP(${FREE_GP})`],
  ["handler is conforming in an outer ring", soft, 0, (f) => toFree(f, CONFORMING | dplBits(1)), `#GP(${FREE_GP})`],
  ["handler not present", soft, 3, (f) => toFree(f, CODE & ~PRESENT), `#NP(${FREE_GP})`],
  ["handler not present, external", external, 3, (f) => toFree(f, CODE & ~PRESENT), `#NP(${hex(FREE | 1)})`],
  ["entry point beyond the code limit", soft, 0, (f) => toFree(f, CODE, 0x11), "#GP(0)"],
  ["entry point beyond the code limit, inner, external", external, 3, (f) => toFree(f, CODE, 0x11), "#GP(1)"],
  [
    "TSS too short",
    soft,
    3,
    (f) => f.state.setSegment(SEG.tr, SELECTOR.tss, AT.tss, 8, 0x8b),
    `#TS(${hex(SELECTOR.tss)})`,
  ],
  ["TSS just long enough", soft, 3, (f) => f.state.setSegment(SEG.tr, SELECTOR.tss, AT.tss, 9, 0x8b), "ok"],
  [
    "286 TSS too short",
    external,
    3,
    (f) => f.state.setSegment(SEG.tr, SELECTOR.tss, AT.tss, 4, 0x83),
    `#TS(${hex(SELECTOR.tss | 1)})`,
  ],
  ["inner SS null, INT n", soft, 3, (f) => ring0Stack(f, 0), "#TS(0)"],
  ["inner SS null, external", external, 3, (f) => ring0Stack(f, 0), "#TS(1)"],
  ["inner SS beyond the GDT", soft, 3, (f) => ring0Stack(f, 0x200), "#TS(200)"],
  ["inner SS with the wrong RPL", soft, 3, (f) => ring0Stack(f, SELECTOR.data[0] | 3), "#TS(28)"],
  ["inner SS with the wrong DPL", external, 3, (f) => ring0Stack(f, SELECTOR.data[3] & ~3), "#TS(41)"],
  ["inner SS is code", soft, 3, (f) => ring0Stack(f, SELECTOR.code[0]), "#TS(8)"],
  [
    "inner SS read-only",
    soft,
    3,
    (f) => ring0Stack(f, FREE).gdt(FREE, segmentDescriptor(DATA & ~2)),
    `#TS(${FREE_GP})`,
  ],
  [
    "inner SS not present",
    external,
    3,
    (f) => ring0Stack(f, FREE).gdt(FREE, segmentDescriptor(DATA & ~PRESENT)),
    `#SS(${hex(FREE | 1)})`,
  ],
  [
    "inner stack too small",
    external,
    3,
    (f) => ring0Stack(f, FREE).gdt(FREE, segmentDescriptor(DATA, 0, 5)),
    `#SS(${hex(FREE | 1)})`,
  ],
  ["current stack too small, INT n", soft, 0, (f) => f.state.setSegment(SEG.ss, 0x28, 0, 0xfff, DATA), "#SS(0)"],
  ["current stack too small, external", external, 0, (f) => f.state.setSegment(SEG.ss, 0x28, 0, 0xfff, DATA), "#SS(1)"],
  ["IDT page absent", soft, 3, (f) => f.env.absent.add(AT.idt >>> 12), `#PF(0) at ${hex(AT.idt + VECTOR * 8)}`],
  ["GDT page absent", soft, 3, (f) => f.env.absent.add(AT.gdt >>> 12), `#PF(0) at ${hex(AT.gdt + 8)}`],
  ["TSS page absent", soft, 3, (f) => f.env.absent.add(AT.tss >>> 12), `#PF(0) at ${hex(AT.tss + 8)}`],
  [
    "inner stack page absent",
    soft,
    3,
    (f) => f.env.absent.add(AT.stack[0] >>> 12),
    `#PF(2) at ${hex(AT.stack[0] + 0xffc)}`,
  ],
  ["inner stack page for the supervisor only", soft, 3, (f) => f.env.supervisorOnly.add(AT.stack[0] >>> 12), "ok"],
  [
    "accessed bit of CS not writable",
    soft,
    3,
    (f) => f.env.readOnly.add(AT.gdt >>> 12),
    `#PF(3) at ${hex(AT.gdt + 0x28 + 5)}`,
  ],
  ["task gate to a busy TSS", external, 3, gate(TASK_GATE, SELECTOR.tss), `#GP(${hex(SELECTOR.tss | 1)})`],
  ["task gate to the LDT", soft, 0, gate(TASK_GATE | dplBits(3), 0x4c), "#GP(4c)"],
  [
    "real-address mode: vector beyond the table",
    external,
    0,
    (f) => {
      f.state.set(CELL.cr0, 0x10);
      f.state.set(CELL.idtrLimit, 0x20 * 4 + 2);
    },
    "#GP(0)",
  ],
];

describe("failures of a delivery", () => {
  test.each(FAILURES)("%s", (_what, event, cpl, change, expected) => {
    const f = prepared(cpl);
    change(f);
    const before = f.snapshot();
    deliver(f.state, f.env, event);
    expect(f.outcome()).toBe(expected);
    if (expected === "ok") return;
    expect(f.changes(before)).toEqual([]);
    expect(f.env.charges).toEqual([]);
  });

  test("a frame across two pages faults on the page that its first absent push touches", () => {
    const f = prepared(0);
    f.state.set(GPR.esp, AT.stack[1] + 6);
    f.env.absent.add(AT.stack[0] >>> 12);
    const before = f.snapshot();
    deliver(f.state, f.env, soft);
    expect(f.outcome()).toBe(`#PF(2) at ${hex(AT.stack[0] + 0xffe)}`);
    expect(f.changes(before)).toEqual([]);
  });

  test("the same privilege at CPL 3 pushes with the rights of the user", () => {
    const f = prepared(3, INTERRUPT_GATE | dplBits(3), SELECTOR.code[3]);
    f.env.supervisorOnly.add(AT.stack[3] >>> 12);
    deliver(f.state, f.env, soft);
    expect(f.outcome()).toBe(`#PF(7) at ${hex(AT.stack[3] + 0xefc)}`);
  });

  test("in non-root operation a task gate exits after its checks", () => {
    const f = prepared(3, TASK_GATE | dplBits(3), SELECTOR.otherTss);
    const seen: number[] = [];
    f.env.intercepts = noIntercepts({
      taskSwitch(selector, source) {
        seen.push(selector, source);
        f.state.signal.outcome = 2;
        return true;
      },
    });
    deliver(f.state, f.env, soft);
    expect(f.outcome()).toBe("exit");
    expect(seen).toEqual([SELECTOR.otherTss, 3]);
  });
});

describe("a fault during delivery", () => {
  const classes = { benign: [1, 3, 6, 7, 17], contributory: [0, 10, 11, 12, 13], page: [14] };
  const combine = (first: number, second: number) => combineFaults({ kind: "exception", vector: first }, second);
  /** SDM vol. 3, table 6-5; rows are the first exception. */
  const table: Record<string, Record<string, string>> = {
    benign: { benign: "serial", contributory: "serial", page: "serial" },
    contributory: { benign: "serial", contributory: "double", page: "serial" },
    page: { benign: "serial", contributory: "double", page: "double" },
    double: { benign: "serial", contributory: "triple", page: "triple" },
  };

  test("combines as table 6-5 says", () => {
    for (const [row, columns] of Object.entries(table)) {
      const firsts = row === "double" ? [8] : classes[row as keyof typeof classes];
      for (const [column, expected] of Object.entries(columns)) {
        for (const first of firsts) {
          for (const second of classes[column as keyof typeof classes]) {
            expect(combine(first, second), `${first} then ${second}`).toBe(expected);
          }
        }
      }
    }
  });

  test("interrupts and INT n are benign whatever their vector", () => {
    for (const kind of ["software", "external", "nmi"] as const) {
      expect(combineFaults({ kind, vector: 13 }, 13)).toBe("serial");
    }
  });
});

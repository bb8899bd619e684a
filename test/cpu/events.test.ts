// What becomes of an event whose delivery faults (SDM vol. 3, table 6-5), through the whole core.
import { describe, expect, test } from "vitest";
import { CELL, FLAG, GPR, VECTOR } from "../../sim/cpu/state.ts";
import { type Combination, combineFaults, type EventKind } from "../../sim/cpu/system/delivery.ts";
import { AT, Rig, SELECTOR } from "./rig.ts";

type Class = "benign" | "contributory" | "page-fault";
/** SDM vol. 3, table 6-4. */
const CLASS: Readonly<Record<number, Class>> = {
  [VECTOR.DE]: "contributory",
  [VECTOR.DB]: "benign",
  [VECTOR.NMI]: "benign",
  [VECTOR.BP]: "benign",
  [VECTOR.OF]: "benign",
  [VECTOR.BR]: "benign",
  [VECTOR.UD]: "benign",
  [VECTOR.NM]: "benign",
  [VECTOR.TS]: "contributory",
  [VECTOR.NP]: "contributory",
  [VECTOR.SS]: "contributory",
  [VECTOR.GP]: "contributory",
  [VECTOR.PF]: "page-fault",
  [VECTOR.MF]: "benign",
  [VECTOR.AC]: "benign",
  [VECTOR.MC]: "benign",
};
/** SDM vol. 3, table 6-5: by the class of the first and of the second. */
const TABLE: Readonly<Record<Class, Readonly<Record<Class, Combination>>>> = {
  benign: { benign: "serial", contributory: "serial", "page-fault": "serial" },
  contributory: { benign: "serial", contributory: "double", "page-fault": "serial" },
  "page-fault": { benign: "serial", contributory: "double", "page-fault": "double" },
};
const VECTORS = Object.keys(CLASS).map(Number);

describe("table 6-5", () => {
  test("for every pair of exceptions", () => {
    for (const first of VECTORS) {
      for (const second of VECTORS) {
        const kind: EventKind = first === VECTOR.NMI ? "nmi" : "exception";
        const expected = TABLE[CLASS[first] as Class][CLASS[second] as Class];
        expect([first, second, combineFaults({ kind, vector: first }, second)]).toEqual([first, second, expected]);
      }
    }
  });

  test("a contributory exception or page fault while a double fault is delivered is a shutdown", () => {
    for (const second of VECTORS) {
      const expected = CLASS[second] === "benign" ? "serial" : "triple";
      expect(combineFaults({ kind: "exception", vector: VECTOR.DF }, second)).toBe(expected);
    }
  });

  test("interrupts and INT n are benign, even with the vector of an exception", () => {
    for (const kind of ["external", "software", "software-exception", "nmi"] as const) {
      expect(combineFaults({ kind, vector: VECTOR.GP }, VECTOR.GP)).toBe("serial");
    }
  });
});

/** A rig with paging, and a first event of each class: its code, and the EIP that a handler must see. */
const FIRST: readonly [name: string, vector: number, hex: string][] = [
  ["benign #UD", VECTOR.UD, "0f 0b"],
  ["benign INT 40h", 0x40, "cd 40"],
  ["contributory #DE", VECTOR.DE, "f7 f1"],
  ["contributory #GP", VECTOR.GP, "8e da"],
  ["page fault", VECTOR.PF, "a1 00 00 30 00"],
];
/** How the gate of the first event is broken so that its delivery faults. */
const SECOND: readonly [name: string, vector: number, apply: (rig: Rig, vector: number) => void][] = [
  ["#NP of an absent gate", VECTOR.NP, (rig, vector) => rig.gate(vector, 0x0e)],
  ["#GP of a gate that is none", VECTOR.GP, (rig, vector) => rig.gate(vector, 0x82)],
  ["#GP of a gate to a null selector", VECTOR.GP, (rig, vector) => rig.gate(vector, 0x8e, 0)],
  [
    "#NP of an absent code segment",
    VECTOR.NP,
    (rig, vector) => {
      rig.memory.write32(AT.gdt + 0x40, 0xffff);
      rig.memory.write32(AT.gdt + 0x44, 0x00cf1b00);
      rig.gate(vector, 0x8e, 0x40);
    },
  ],
];

function paged(hex: string): Rig {
  const rig = new Rig().paging().code(hex);
  rig.core.state.set(GPR.edx, 0x77);
  return rig;
}

describe("an event whose delivery faults", () => {
  for (const [firstName, first, hex] of FIRST) {
    for (const [secondName, second, apply] of SECOND) {
      const isInterrupt = first === 0x40;
      const combination = isInterrupt ? "serial" : TABLE[CLASS[first] as Class][CLASS[second] as Class];
      // A gate that both events would use cannot deliver the second: the table's cell is then seen one step later.
      if (first === second) continue;
      test(`${firstName}, then ${secondName}: ${combination}`, () => {
        const rig = paged(hex);
        apply(rig, first);
        rig.run();
        if (combination === "double") {
          expect(rig.handled).toBe(VECTOR.DF);
          expect([rig.stack(0), rig.stack(1), rig.stack(2)]).toEqual([0, AT.code, SELECTOR.code]);
        } else {
          expect(rig.handled).toBe(second);
          expect([rig.stack(1), rig.stack(2)]).toEqual([AT.code, SELECTOR.code]);
          const ext = isInterrupt ? 0 : 1;
          expect(rig.stack(0) & 1).toBe(ext);
        }
      });
    }
  }

  test("a page fault while #GP is delivered is delivered in its place, with CR2 and the code of an implicit read", () => {
    const rig = paged("8e da");
    // The IDT lies at the end of a page, so that the gate of #GP is on the next one, which is absent.
    const table = 0x31000 - 13 * 8;
    rig.memory.copyIn(table, rig.memory.copyOut(AT.idt, 13 * 8));
    rig.memory.copyIn(0x60000, rig.memory.copyOut(AT.idt + 13 * 8, 0x400));
    rig.core.state.setNumber(CELL.idtrBase, table);
    rig.map(0x31000, 0);
    const stop = rig.run();
    // The gate of #PF is on the absent page too: #PF during #GP is serial, #PF during #PF a double fault (8, present).
    expect(stop.kind).toBe("dead-halt");
    expect(rig.handled).toBe(VECTOR.DF);
    expect(rig.core.state.get(CELL.cr2)).toBe(0x31000 + 8);
  });

  test("a page fault while INT n pushes is delivered, restarts INT n, and the frame of INT n is not written", () => {
    // CPL 3: INT 40h to the kernel stack, whose page is absent; #PF has a task of its own stack page below.
    const rig = paged("cd 40").user();
    rig.gate(0x40, 0xee);
    rig.map(AT.stack - 0x1000, 0);
    const stop = rig.run();
    // Without any stack to push on: #PF, then #DF, then shutdown.
    expect(stop.kind).toBe("triple-fault");
    expect(stop.kind === "triple-fault" ? stop.detail : "").toContain("001b:");
    const healed = paged("cd 40").user();
    healed.gate(0x40, 0xee);
    // At CPL 0 with a stack of its own that is present, only the IDT's page is not.
    healed.core.state.setNumber(CELL.idtrBase, 0x30000);
    healed.memory.copyIn(0x30000, healed.memory.copyOut(AT.idt, 0x800));
    healed.memory.copyIn(0x31000 - 0x800, healed.memory.copyOut(AT.idt, 0x800));
    healed.core.state.setNumber(CELL.idtrBase, 0x31000 - 0x200);
    healed.memory.copyIn(0x31000 - 0x200, healed.memory.copyOut(AT.idt, 0x200));
    healed.map(0x31000, 0);
    healed.run();
    expect(healed.handled).toBe(VECTOR.PF);
    expect(healed.core.state.get(CELL.cr2)).toBe(0x31000);
    // Error code: a supervisor read of an absent page, though the code runs at CPL 3; EIP is INT n's own.
    expect([healed.stack(0), healed.stack(1), healed.stack(2)]).toEqual([0, AT.code, SELECTOR.userCode]);
    expect(healed.stack(5)).toBe(SELECTOR.userData);
  });

  test("an external interrupt whose gate is absent is #NP with EXT, and is not asked for again", () => {
    const rig = new Rig().code("90 90 f4").gate(0x30, 0x0e);
    rig.core.state.flags |= FLAG.IF;
    rig.bus.pending.push(0x30);
    rig.run();
    expect([rig.handled, rig.stack(0), rig.stack(1)]).toEqual([VECTOR.NP, 0x30 * 8 + 3, AT.code]);
    expect(rig.bus.pending).toEqual([]);
  });
});

describe("IRET that faults", () => {
  test("is #GP with the selector, EIP of IRET, and the frame still there", () => {
    const rig = new Rig().code("6a 02 6a 77 6a 00 cf");
    rig.run();
    expect([rig.handled, rig.stack(0), rig.stack(1)]).toEqual([VECTOR.GP, 0x74, AT.code + 6]);
    expect([rig.stack(4), rig.stack(5), rig.stack(6)]).toEqual([0, 0x77, 2]);
  });

  test("on an absent stack page is a page fault that can be repaired and repeated", () => {
    const rig = new Rig().paging().code("cf");
    const { state } = rig.core;
    // The frame crosses into a page that is absent; the handler runs on the inner half of the stack.
    const frame = 0x40ffc;
    rig.memory.write32(frame, AT.code + 0x10);
    rig.memory.write32(0x50000, SELECTOR.code);
    rig.memory.write32(0x50004, 2);
    rig.code("cf").bytes(AT.code + 0x10, "40 f4");
    state.set(GPR.esp, frame);
    rig.map(0x41000, 0);
    rig.bus.onPort = () => rig.map(0x41000, 0x50007);
    rig.handler(VECTOR.PF, "e6 80 83 c4 04 cf");
    rig.run();
    expect([rig.eax, state.get(CELL.cr2)]).toEqual([1, 0x41000]);
    expect(state.get(GPR.esp)).toBe(frame + 12);
  });
});

describe("double and triple faults", () => {
  test("#DF pushes an error code of 0 and the EIP of the instruction that began it", () => {
    const rig = new Rig().code("40 f7 f1").gate(VECTOR.DE, 0x0e);
    rig.run();
    expect([rig.handled, rig.stack(0), rig.stack(1)]).toEqual([VECTOR.DF, 0, AT.code + 1]);
  });

  test("an empty IDT is a triple fault that says where, whatever began it", () => {
    for (const hex of ["0f 0b", "cd 40", "f7 f1", "a1 00 00 30 00"]) {
      const rig = new Rig().code(hex);
      rig.core.state.set(CELL.idtrLimit, 0);
      if (hex.startsWith("a1")) rig.paging();
      const stop = rig.run();
      expect(stop.kind).toBe("triple-fault");
      expect(stop.kind === "triple-fault" ? stop.detail : "").toContain("0008:10000");
    }
  });

  test("a broken #DF gate is a triple fault", () => {
    const rig = new Rig().code("f7 f1").gate(VECTOR.DE, 0x0e).gate(VECTOR.DF, 0x0e);
    expect(rig.run().kind).toBe("triple-fault");
  });
});

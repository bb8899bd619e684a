// Virtual-8086 mode on the core: ways in and out (SDM vol. 3, 21.2), what IOPL guards, ports, and the extensions of
// CR4.VME and CR4.PVI (21.3, 21.4).
import { describe, expect, test } from "vitest";
import { pentium4_672 } from "../../sim/cpu/profiles/pentium4-672.ts";
import { CELL, CR4, FLAG, GPR, RIGHTS, SEG } from "../../sim/cpu/state.ts";
import { cr4Bits } from "../../sim/cpu/system/control.ts";
import { loadVirtual8086Segment } from "../../sim/cpu/system/mode8086.ts";
import { AT, Rig, SELECTOR } from "./rig.ts";

const CODE = 0x1000;
const DATA = 0x2000;
const STACK = 0x3000;
const SP = 0x800;
const START = 0x100;
const IOPL3 = FLAG.IOPL;
const HANDLER_8086 = 0x5000;
/** TSS: the redirection bitmap, and behind it the I/O permission bitmap for the first 64 ports. */
const REDIRECTION = 0x68;
const IO_MAP = REDIRECTION + 32;

/** A core in virtual-8086 mode at CODE:START with the given flags and CR4. */
function virtual(code: string, flags = 0, cr4 = 0): Rig {
  const rig = new Rig();
  const { state } = rig.core;
  state.set(CELL.cr4, cr4);
  for (let segment = 0; segment < 6; segment++) {
    loadVirtual8086Segment(state, segment, segment === SEG.cs ? CODE : segment === SEG.ss ? STACK : DATA);
  }
  state.flags = FLAG.ONE | FLAG.VM | flags;
  state.set(CELL.cpl, 3);
  state.eip = START;
  state.set(GPR.esp, SP);
  state.setSegment(SEG.tr, SELECTOR.tss, AT.tss, IO_MAP + 8, RIGHTS.P | 0xb);
  rig.memory.write16(AT.tss + 0x66, IO_MAP);
  rig.memory.write16(AT.tss + IO_MAP, 0xfffe);
  rig.memory.write8(AT.tss + IO_MAP + 8, 0xff);
  for (let vector = 0; vector < 256; vector++) rig.gate(vector, 0xee);
  rig.memory.write32(0x20 * 4, HANDLER_8086);
  rig.bytes(HANDLER_8086, "90");
  return rig.bytes((CODE << 4) + START, code);
}

const word = (rig: Rig, n: number): number =>
  rig.memory.read16((STACK << 4) + (rig.core.state.get(GPR.esp) & 0xffff) + 2 * n);

/** "#vector" of the protected-mode handler that the program has reached, or its flags. */
function outcome(rig: Rig): string {
  const { state } = rig.core;
  return (state.flags & FLAG.VM) === 0 ? `#${rig.handled}` : "8086";
}

describe("leaving virtual-8086 mode", () => {
  test("delivery pushes GS, FS, DS, ES, SS:ESP, EFLAGS, CS:EIP on the stack of CPL 0 and nulls the data segments", () => {
    const rig = virtual("cc");
    const { state } = rig.core;
    loadVirtual8086Segment(state, SEG.gs, 0x1111);
    loadVirtual8086Segment(state, SEG.fs, 0x2222);
    loadVirtual8086Segment(state, SEG.es, 0x4444);
    rig.step();
    expect(outcome(rig)).toBe("#3");
    expect(state.cpl).toBe(0);
    expect(state.get(GPR.esp)).toBe(AT.stack - 36);
    const frame = Array.from({ length: 9 }, (_, n) => rig.stack(n));
    expect(frame).toEqual([START + 1, CODE, FLAG.ONE | FLAG.VM, SP, STACK, 0x4444, DATA, 0x2222, 0x1111]);
    for (const segment of [SEG.ds, SEG.es, SEG.fs, SEG.gs]) {
      expect(state.selector(segment)).toBe(0);
      expect(state.segmentRights(segment) & RIGHTS.UNUSABLE).not.toBe(0);
    }
    expect(state.selector(SEG.ss)).toBe(SELECTOR.data);
  });

  test("IRETD at CPL 0 with VM in the image comes back, segments and all", () => {
    const rig = virtual("cc 90", IOPL3 | FLAG.IF);
    rig.handler(3, "cf");
    rig.core.state.set(GPR.esp, 0xabcd0000 | SP);
    rig.step(2);
    const { state } = rig.core;
    expect(state.flags).toBe(FLAG.ONE | FLAG.VM | IOPL3 | FLAG.IF);
    expect([state.eip, state.selector(SEG.cs), state.cpl]).toEqual([START + 1, CODE, 3]);
    expect(state.get(GPR.esp)).toBe((0xabcd0000 | SP) >>> 0);
    for (const segment of [SEG.ds, SEG.es, SEG.fs, SEG.gs]) expect(state.segmentBase(segment)).toBe(DATA << 4);
    expect(state.segmentRights(SEG.cs)).toBe(0xf3);
  });

  test("a handler of another level than 0 is #GP of its selector", () => {
    const rig = virtual("cc");
    rig.gate(3, 0xee, SELECTOR.userCode);
    rig.step();
    expect(outcome(rig)).toBe("#13");
    expect(rig.stack(0)).toBe(SELECTOR.userCode & 0xfffc);
  });

  test("with an error code it is above the frame of nine items", () => {
    const rig = virtual("f4");
    rig.step();
    expect(outcome(rig)).toBe("#13");
    expect(rig.core.state.get(GPR.esp)).toBe(AT.stack - 40);
    expect(rig.stack(0)).toBe(0);
  });
});

describe("what is guarded", () => {
  const GUARDED: readonly [name: string, code: string][] = [
    ["CLI", "fa"],
    ["STI", "fb"],
    ["PUSHF", "9c"],
    ["PUSHFD", "66 9c"],
    ["POPF", "9d"],
    ["POPFD", "66 9d"],
    ["INT n", "cd 20"],
    ["IRET", "cf"],
    ["IRETD", "66 cf"],
  ];
  test.each(GUARDED)("%s is #GP(0) below IOPL 3", (_name, code) => {
    const rig = virtual(code, 2 << 12);
    rig.step();
    expect(outcome(rig)).toBe("#13");
    expect(rig.stack(0)).toBe(0);
    expect(rig.stack(1)).toBe(START);
  });

  test.each([
    ["INT3", "cc", 3],
    ["INTO", "ce", 4],
    ["INT1", "f1", 1],
  ])("%s is not", (_name, code, vector) => {
    const rig = virtual(code, FLAG.OF);
    rig.step();
    expect(outcome(rig)).toBe(`#${vector}`);
  });

  test("at IOPL 3 CLI, STI, PUSHF, POPF and IRET work, and POPF does not change IOPL", () => {
    const rig = virtual("fa fb 9c 58 50 25 ff cf 50 9d", IOPL3 | FLAG.IF);
    rig.step();
    expect(rig.core.state.flags & FLAG.IF).toBe(0);
    rig.step(8);
    expect(outcome(rig)).toBe("8086");
    expect(rig.core.state.flags).toBe(FLAG.ONE | FLAG.VM | IOPL3 | FLAG.IF | (rig.core.state.flags & 0xd5));
  });

  test.each([
    ["HLT", "f4", 13],
    ["MOV CR0", "0f 22 c0", 13],
    ["MOV from CR0", "0f 20 c0", 13],
    ["MOV DR7", "0f 23 f8", 13],
    ["LGDT", "0f 01 16 00 00", 13],
    ["LMSW", "0f 01 f0", 13],
    ["CLTS", "0f 06", 13],
    ["INVLPG", "0f 01 38", 13],
    ["RDMSR", "0f 32", 13],
    ["ARPL", "63 c0", 6],
    ["LAR", "0f 02 c0", 6],
    ["VERR", "0f 00 e0", 6],
    ["STR", "0f 00 c8", 6],
    ["LLDT", "0f 00 d0", 6],
  ])("%s is an exception at any IOPL", (_name, code, vector) => {
    const rig = virtual(code, IOPL3);
    rig.step();
    expect(outcome(rig)).toBe(`#${vector}`);
  });

  test("ports follow the bitmap alone", () => {
    const open = virtual("e4 00", 0);
    open.step();
    expect(outcome(open)).toBe("8086");
    const closed = virtual("e4 01", IOPL3);
    closed.step();
    expect(outcome(closed)).toBe("#13");
  });
});

describe("with CR4.VME", () => {
  const VME = CR4.VME;
  const redirectAll = (rig: Rig, vector = -1): Rig => {
    if (vector >= 0) rig.memory.write8(AT.tss + REDIRECTION + (vector >> 3), 1 << (vector & 7));
    return rig;
  };

  test("CPUID announces it, so that CR4 has it", () => {
    expect(cr4Bits(pentium4_672) & (CR4.VME | CR4.PVI)).toBe(CR4.VME | CR4.PVI);
  });

  test("CLI and STI below IOPL 3 change VIF", () => {
    const rig = virtual("fb fa", FLAG.IF, VME);
    rig.step();
    expect(rig.core.state.flags & (FLAG.VIF | FLAG.IF)).toBe(FLAG.VIF | FLAG.IF);
    rig.step();
    expect(rig.core.state.flags & (FLAG.VIF | FLAG.IF)).toBe(FLAG.IF);
  });

  test("STI is #GP(0) while VIP is set", () => {
    const rig = virtual("fb", FLAG.VIP, VME);
    rig.step();
    expect(outcome(rig)).toBe("#13");
  });

  test("PUSHF shows VIF as IF and an IOPL of 3", () => {
    const rig = virtual("9c", FLAG.VIF | FLAG.CF, VME);
    rig.step();
    expect(word(rig, 0)).toBe(FLAG.ONE | FLAG.CF | FLAG.IF | IOPL3);
    const other = virtual("9c", FLAG.IF, VME);
    other.step();
    expect(word(other, 0)).toBe(FLAG.ONE | IOPL3);
  });

  test.each([
    ["POPF", "9d", 0],
    ["IRET", "cf", 2],
  ])("%s takes IF to VIF, leaves IF and IOPL, and refuses TF, and IF while VIP is set", (_name, code, at) => {
    const run = (image: number, flags: number): Rig => {
      const rig = virtual(code, flags, VME);
      const stack = (STACK << 4) + SP;
      rig.memory.write16(stack, 0x200);
      rig.memory.write16(stack + 2, CODE);
      rig.memory.write16(stack + 2 * at, image);
      rig.step();
      return rig;
    };
    expect(run(FLAG.IF | IOPL3 | FLAG.CF, 0).core.state.flags).toBe(FLAG.ONE | FLAG.VM | FLAG.VIF | FLAG.CF);
    expect(run(0, FLAG.VIF | FLAG.IF).core.state.flags).toBe(FLAG.ONE | FLAG.VM | FLAG.IF);
    expect(outcome(run(FLAG.TF, 0))).toBe("#13");
    expect(outcome(run(FLAG.IF, FLAG.VIP))).toBe("#13");
    expect(outcome(run(0, FLAG.VIP))).toBe("8086");
  });

  test.each([
    ["PUSHFD", "66 9c"],
    ["POPFD", "66 9d"],
    ["IRETD", "66 cf"],
  ])("%s stays #GP(0) below IOPL 3", (_name, code) => {
    const rig = virtual(code, 0, VME);
    rig.step();
    expect(outcome(rig)).toBe("#13");
  });

  test("INT n whose bit is clear goes to the program's table, with virtual flags below IOPL 3", () => {
    const rig = redirectAll(virtual("cd 20", FLAG.VIF | FLAG.IF | FLAG.CF, VME));
    rig.step();
    expect(outcome(rig)).toBe("8086");
    const { state } = rig.core;
    expect([state.selector(SEG.cs), state.eip]).toEqual([0, HANDLER_8086]);
    expect([word(rig, 0), word(rig, 1)]).toEqual([START + 2, CODE]);
    expect(word(rig, 2)).toBe(FLAG.ONE | FLAG.CF | FLAG.IF | IOPL3);
    expect(state.flags).toBe(FLAG.ONE | FLAG.VM | FLAG.CF | FLAG.IF);
  });

  test("and at IOPL 3 with the real ones", () => {
    const rig = redirectAll(virtual("cd 20", FLAG.IF | IOPL3 | FLAG.VIF, VME));
    rig.step();
    expect(rig.core.state.flags).toBe(FLAG.ONE | FLAG.VM | IOPL3 | FLAG.VIF);
    expect(word(rig, 2)).toBe(FLAG.ONE | FLAG.IF | IOPL3);
  });

  test("INT n whose bit is set goes to the monitor at IOPL 3, and is #GP(0) below", () => {
    const trusted = redirectAll(virtual("cd 20", IOPL3, VME), 0x20);
    trusted.step();
    expect(outcome(trusted)).toBe("#32");
    const guarded = redirectAll(virtual("cd 20", 0, VME), 0x20);
    guarded.step();
    expect(outcome(guarded)).toBe("#13");
  });

  test("INT3 is not redirected", () => {
    const rig = redirectAll(virtual("cc", 0, VME));
    rig.step();
    expect(outcome(rig)).toBe("#3");
  });

  test("a TSS that does not hold the bitmap is #GP(0)", () => {
    const rig = virtual("cd 20", IOPL3, VME);
    rig.core.state.setSegment(SEG.tr, SELECTOR.tss, AT.tss, REDIRECTION + 3, RIGHTS.P | 0xb);
    rig.step();
    expect(outcome(rig)).toBe("#13");
  });

  test("a return of the monitor with VIF and VIP set is #GP(0) before the next instruction", () => {
    const rig = virtual("cc 90 90", FLAG.VIP, VME);
    // The monitor sets VIF in the image: OR byte [ESP+10], 8; IRETD.
    rig.handler(3, "80 4c 24 0a 08 cf");
    rig.step(4);
    expect(outcome(rig)).toBe("#13");
    expect(rig.stack(1)).toBe(START + 1);
    // The same when nothing else makes the processor stop between instructions.
    const running = virtual("cc 90 90", FLAG.VIP, VME);
    running.handler(3, "80 4c 24 0a 08 cf");
    running.run(1e6);
    expect([outcome(running), running.stack(1)]).toEqual(["#13", START + 1]);
  });
});

test("a virtual interrupt that waited before the monitor was entered is noticed without single steps", () => {
  // INT3; the monitor sets VIF and returns, then #GP(0) before the NOP, whose handler halts.
  const rig = virtual("cc 90 cc", FLAG.VIP, CR4.VME);
  rig.handler(3, "80 4c 24 0a 08 cf");
  rig.run(10_000);
  expect(outcome(rig)).toBe("#13");
  expect(rig.stack(1)).toBe(START + 1);
});

describe("with CR4.PVI", () => {
  test("CLI and STI at CPL 3 below IOPL change VIF in protected mode, and STI waits for VIP", () => {
    const rig = new Rig().user().code("fb fa fb");
    const { state } = rig.core;
    state.set(CELL.cr4, CR4.PVI);
    rig.step();
    expect(state.flags & FLAG.VIF).toBe(FLAG.VIF);
    rig.step();
    expect(state.flags & FLAG.VIF).toBe(0);
    state.flags |= FLAG.VIP;
    rig.step();
    expect(rig.handled).toBe(13);
  });

  test("not below CPL 3, and not for virtual-8086 mode", () => {
    const virtualRig = virtual("fb", 0, CR4.PVI);
    virtualRig.step();
    expect(outcome(virtualRig)).toBe("#13");
    const withVme = new Rig().user().code("fb");
    withVme.core.state.set(CELL.cr4, CR4.VME);
    withVme.step();
    expect(withVme.handled).toBe(13);
  });
});

// Real-address mode on the core: mode switches and hidden parts of segment registers (SDM vol. 3, 10.9), the interrupt
// table (21.1.4), limits, and the instructions that do not exist there. Single instructions are in test/vectors.
import { describe, expect, test } from "vitest";
import { BLOCKING, CELL, CR0, FLAG, GPR, RIGHTS, SEG } from "../../sim/cpu/state.ts";
import { cheapProfile, Rig } from "./rig.ts";

const CODE = 0x1000;
const DATA = 0x2000;
const STACK = 0x3000;
/** Offset of the code in its segment, and of a halting handler for each vector in segment 0. */
const START = 0x100;
const HANDLERS = 0x600;
const IVT = 0;
const RIGHTS_16 = RIGHTS.P | RIGHTS.S | 3;

/** A core in real-address mode at CODE:START, with a table whose entries lead to halting handlers of their own. */
function real(code: string, options: ConstructorParameters<typeof Rig>[0] = {}): Rig {
  const rig = new Rig(options);
  const { state } = rig.core;
  state.set(CELL.cr0, CR0.ET | CR0.NE);
  for (let segment = 0; segment < 6; segment++) {
    const selector = segment === SEG.cs ? CODE : segment === SEG.ss ? STACK : DATA;
    state.setSegment(segment, selector, selector << 4, 0xffff, RIGHTS_16);
  }
  state.setNumber(CELL.idtrBase, IVT);
  state.set(CELL.idtrLimit, 0x3ff);
  state.set(GPR.esp, 0x1000);
  state.eip = START;
  for (let vector = 0; vector < 256; vector++) {
    rig.memory.write32(IVT + vector * 4, HANDLERS + vector);
    rig.memory.write8(HANDLERS + vector, 0xf4);
  }
  return rig.bytes((CODE << 4) + START, code);
}

/** The vector of the handler that halted, or -1. */
function vectorOf({ core: { state } }: Rig): number {
  return state.selector(SEG.cs) === 0 ? state.eip - 1 - HANDLERS : -1;
}

const word = (rig: Rig, n: number): number =>
  rig.memory.read16((STACK << 4) + (rig.core.state.get(GPR.esp) & 0xffff) + 2 * n);

describe("segment registers", () => {
  test("are paragraphs: MOV DS sets the base and leaves limit and rights", () => {
    const rig = real("b8 34 12 8e d8 f4");
    rig.run();
    const { state } = rig.core;
    expect(state.segmentBase(SEG.ds)).toBe(0x12340);
    expect(state.segmentLimit(SEG.ds)).toBe(0xffff);
    expect(state.segmentRights(SEG.ds)).toBe(RIGHTS_16);
  });

  test("keep a limit of 4 GB that protected mode has loaded: big real mode", () => {
    // PE:=1, DS:=flat, PE:=0, DS:=0, then a store above 64 KB.
    const rig = real("0f 20 c0 0c 01 0f 22 c0 bb 10 00 8e db 24 fe 0f 22 c0 31 db 8e db 67 c7 05 00 00 09 00 ad de f4");
    rig.run();
    expect(vectorOf(rig)).toBe(-1);
    expect(rig.memory.read16(0x90000)).toBe(0xdead);
    expect(rig.core.state.segmentLimit(SEG.ds)).toBe(0xffffffff);
    expect(rig.core.state.cpl).toBe(0);
  });

  test("that protected mode left null become usable again with the next load", () => {
    const rig = real("0f 20 c0 0c 01 0f 22 c0 31 db 8e db 24 fe 0f 22 c0 b8 00 20 8e d8 a1 00 00 f4");
    rig.run();
    expect(vectorOf(rig)).toBe(-1);
    expect(rig.core.state.segmentLimit(SEG.ds)).toBe(0xffff);
  });

  test("of a null register not loaded again fault", () => {
    const rig = real("0f 20 c0 0c 01 0f 22 c0 31 db 8e db 24 fe 0f 22 c0 a1 00 00 f4");
    rig.run();
    expect(vectorOf(rig)).toBe(13);
  });
});

describe("mode switches", () => {
  test("code goes on in its 16-bit segment after PE:=1 until a far jump, and then is 32-bit", () => {
    // MOV CR0; JMP 08:00021000; MOV EAX, imm32; HLT
    const rig = real("0f 20 c0 0c 01 0f 22 c0 66 ea 00 10 02 00 08 00");
    rig.bytes(0x21000, "b8 78 56 34 12 f4");
    rig.run();
    expect(rig.eax).toBe(0x12345678);
    expect(rig.core.state.selector(SEG.cs)).toBe(8);
  });

  test("code stays 32-bit after PE:=0 until a far jump, which makes it 16-bit", () => {
    const rig = new Rig();
    const { state } = rig.core;
    state.setNumber(CELL.idtrBase, 0);
    // MOV EAX, CR0; AND AL, FE; MOV CR0, EAX; MOV EAX, imm32; JMP 2000:0000 (ptr16:32)
    rig.code("0f 20 c0 24 fe 0f 22 c0 b8 78 56 34 12 ea 00 00 00 00 00 20");
    rig.bytes(0x20000, "b9 34 12 f4");
    rig.run();
    expect(rig.eax).toBe(0x12345678);
    expect(state.get(GPR.ecx)).toBe(0x1234);
    expect(state.eip).toBe(4);
    expect(state.segmentRights(SEG.cs) & RIGHTS.DB).toBe(0);
    // The limit is what protected mode left.
    expect(state.segmentLimit(SEG.cs)).toBe(0xffffffff);
  });

  test("LMSW sets PE and cannot clear it", () => {
    const rig = real("b8 01 00 0f 01 f0 b8 00 00 0f 01 f0 0f 01 e3 f4");
    rig.run();
    expect(rig.core.state.get(GPR.ebx) & 1).toBe(1);
  });
});

describe("interrupts", () => {
  test("INT n pushes FLAGS, CS and IP, clears IF, TF and AC, and takes its pointer from the table", () => {
    const rig = real("cd 42");
    rig.core.state.flags = FLAG.ONE | FLAG.IF | FLAG.AC | FLAG.CF;
    rig.run();
    expect(vectorOf(rig)).toBe(0x42);
    expect([word(rig, 0), word(rig, 1), word(rig, 2)]).toEqual([START + 2, CODE, FLAG.ONE | FLAG.IF | FLAG.CF]);
    expect(rig.core.state.flags).toBe(FLAG.ONE | FLAG.CF);
    expect(rig.core.state.get(GPR.esp)).toBe(0x1000 - 6);
  });

  test("IRET comes back", () => {
    const rig = real("cd 42 f4");
    rig.bytes(0x5000, "cf");
    rig.memory.write32(0x42 * 4, 0x5000);
    rig.core.state.flags = FLAG.ONE | FLAG.IF;
    rig.run(1000);
    expect(rig.core.state.eip).toBe(START + 3);
    expect(rig.core.state.flags).toBe(FLAG.ONE | FLAG.IF);
    expect(rig.core.state.get(GPR.esp)).toBe(0x1000);
  });

  test("IRETD pops 32-bit items and loads RF, AC and ID but not VM, VIF and VIP", () => {
    const rig = real("66 cf");
    const at = (STACK << 4) + 0x1000;
    rig.memory.write32(at, 0x200);
    rig.memory.write32(at + 4, 0xabcd0000 | CODE);
    rig.memory.write32(at + 8, -1);
    rig.step();
    const { state } = rig.core;
    expect([state.eip, state.selector(SEG.cs), state.get(GPR.esp)]).toEqual([0x200, CODE, 0x100c]);
    expect(state.flags).toBe(0x257fd7);
  });

  test.each([
    ["a word at offset FFFFh through DS", "a1 ff ff", 13],
    ["a word at offset FFFFh through SS", "36 a1 ff ff", 12],
    ["an undefined instruction", "0f 0b", 6],
    ["a division by zero", "31 c9 f7 f1", 0],
    ["a 32-bit jump beyond the limit", "66 e9 00 00 01 00", 13],
    ["an I/O instruction is permitted", "e4 10 cc", 3],
    ["CLI and HLT are permitted", "fa cc", 3],
    ["SYSENTER", "0f 34", 13],
    ["ARPL", "63 c0", 6],
    ["LAR, before its operand", "0f 02 06 ff ff", 6],
    ["LSL", "0f 03 c0", 6],
    ["VERR", "0f 00 e0", 6],
    ["VERW", "0f 00 e8", 6],
    ["SLDT", "0f 00 c0", 6],
    ["STR, before its operand", "0f 00 0e ff ff", 6],
    ["LLDT", "0f 00 d0", 6],
    ["LTR", "0f 00 d8", 6],
    ["VMXOFF", "0f 01 c4", 6],
  ])("%s", (_name, code, vector) => {
    const rig = real(code);
    rig.run();
    expect(vectorOf(rig)).toBe(vector);
    // No error code.
    expect(rig.core.state.get(GPR.esp)).toBe(0x1000 - 6);
  });

  test("execution that runs past FFFFh is #GP at 10000h, whose low 16 bits are pushed", () => {
    const rig = real("ea ff ff 00 10");
    rig.bytes(0x1ffff, "90");
    rig.run();
    expect(vectorOf(rig)).toBe(13);
    expect(word(rig, 0)).toBe(0);
  });

  test("16-bit branches cut EIP, so that a jump wraps around the segment", () => {
    const rig = real("e9 00 80");
    rig.bytes(0x10000 + START + 3 + 0x8000, "e9 fa 7e");
    rig.bytes(0x10000, "f4");
    rig.run();
    expect(rig.core.state.eip).toBe(1);
  });

  test("a vector beyond IDTR's limit is #GP, then #DF, then shutdown", () => {
    const rig = real("cd 42");
    rig.core.state.set(CELL.idtrLimit, 13 * 4 + 3);
    rig.run();
    expect(vectorOf(rig)).toBe(13);
    const second = real("0f 0b");
    second.core.state.set(CELL.idtrLimit, 8 * 4 + 3);
    second.core.state.set(GPR.esp, 1);
    expect(second.run().kind).toBe("triple-fault");
    // #GP is beyond the table, #DF is not.
    const third = real("a1 ff ff");
    third.core.state.set(CELL.idtrLimit, 8 * 4 + 3);
    third.run();
    expect(vectorOf(third)).toBe(8);
  });

  test("IDTR moves the table", () => {
    const rig = real("0f 01 1e 00 00 cd 42");
    rig.bytes(0x20000, "ff 03 00 70 00 00");
    rig.memory.write32(0x7000 + 0x42 * 4, HANDLERS + 0x99);
    rig.run();
    expect(vectorOf(rig)).toBe(0x99);
  });

  test("an external interrupt and NMI go through the table, NMI blocked until IRET", () => {
    const rig = real("fb 90 90 f4", { profile: cheapProfile() });
    rig.bus.pending.push(0x21);
    rig.bus.nmiLine = true;
    rig.run(1000);
    expect(vectorOf(rig)).toBe(2);
    expect(rig.core.state.get(CELL.interruptibility)).toBe(BLOCKING.NMI);
  });

  test("single step traps after each instruction", () => {
    const rig = real("90 90 f4");
    rig.core.state.flags = FLAG.ONE | FLAG.TF;
    rig.run();
    expect(vectorOf(rig)).toBe(1);
    expect(word(rig, 0)).toBe(START + 1);
  });
});

// Bytes become the instruction that the profile's processor knows, at its length, in its place.
import { describe, expect, test } from "vitest";
import { pentium4_672 } from "../../sim/cpu/profiles/pentium4-672.ts";
import { CELL, CR0, GPR, RIGHTS, SEG } from "../../sim/cpu/state.ts";
import { AT, Rig, SELECTOR } from "./rig.ts";

/** Runs one instruction; the vector of its exception, or -1. */
function vectorOf(hex: string, rig = new Rig()): number {
  rig.code(hex);
  rig.step();
  return rig.handled;
}

const UD = 6;
const GP = 13;
const PF = 14;

describe("encodings that are newer than the processor mean what they meant before", () => {
  test("F3 0F BD is BSR, not LZCNT", () => {
    const rig = new Rig().code("f3 0f bd c1");
    rig.core.state.set(GPR.ecx, 0x00010000);
    rig.step();
    expect(rig.eax).toBe(16);
    expect(rig.core.state.eip).toBe(AT.code + 4);
  });

  test("F3 0F BC is BSF, not TZCNT: a zero source leaves the destination", () => {
    const rig = new Rig().code("f3 0f bc c1");
    rig.core.state.set(GPR.eax, 77);
    rig.step();
    expect(rig.eax).toBe(77);
  });

  test("F3 0F 09 is WBINVD, F3 C3 is RET, F3 90 is PAUSE", () => {
    for (const hex of ["f3 0f 09", "f3 c3", "f3 90"]) expect(vectorOf(hex)).toBe(-1);
  });

  test.each(["f3 0f 1e fa", "f3 0f 1e fb", "0f 0d 08", "0f 19 c0", "0f 1c 00", "66 0f 1e 00"])(
    "%s (ENDBR, PREFETCHW, hints) is a reserved NOP",
    (hex) => {
      const rig = new Rig();
      const before = rig.core.state.save().slice(0, CELL.rip);
      expect(vectorOf(hex, rig)).toBe(-1);
      expect(rig.core.state.eip).toBe(AT.code + hex.split(" ").length);
      expect(rig.core.state.save().slice(0, CELL.rip)).toEqual(before);
    },
  );
});

describe("instructions that the processor lacks raise #UD", () => {
  test.each([
    ["POPCNT", "f3 0f b8 c1"],
    ["CRC32", "f2 0f 38 f0 c1"],
    ["MOVBE", "0f 38 f0 01"],
    ["PSHUFB of SSSE3", "0f 38 00 c1"],
    ["PTEST of SSE4.1", "66 0f 38 17 c1"],
    ["XGETBV", "0f 01 d0"],
    ["VZEROUPPER", "c5 f8 77"],
    ["LES with a register", "c4 c0 00"],
    ["RDTSCP", "0f 01 f9"],
    ["RDRAND", "0f c7 f0"],
    ["INVEPT", "66 0f 38 80 01"],
    ["VMFUNC", "0f 01 d4"],
    ["SYSCALL outside 64-bit mode", "0f 05"],
    ["SYSRET outside 64-bit mode", "0f 07"],
    ["RSM outside SMM", "0f aa"],
    ["UD2", "0f 0b"],
    ["JMPE", "0f b8 00 00 00 00"],
    ["MOV to CS", "8e c8"],
    ["MOV CR1", "0f 22 c8"],
    ["LEA of a register", "8d c0"],
    ["POP m with /1", "8f c8"],
  ])("%s", (_name, hex) => {
    expect(vectorOf(hex)).toBe(UD);
  });

  test("but SSSE3 is Core's", async () => {
    const { profileNamed } = await import("../../sim/cpu/profiles/catalogue.ts");
    const rig = new Rig({ profile: profileNamed("core2-e6700") }).code("0f 38 00 c1");
    rig.step();
    expect(rig.core.state.eip).toBe(AT.code + 4);
  });
});

describe("LOCK", () => {
  test.each([
    ["ADD with a register destination", "f0 01 c1"],
    ["MOV", "f0 89 03"],
    ["MOV CR0 (CR8 of other vendors)", "f0 0f 22 c0"],
    ["NOP", "f0 90"],
    ["CMP", "f0 39 03"],
    ["a repeated string instruction", "f0 f3 a5"],
    ["BT", "f0 0f a3 03"],
    ["JMP", "f0 eb 00"],
  ])("on %s is #UD", (_name, hex) => {
    expect(vectorOf(hex)).toBe(UD);
  });

  test.each([
    ["ADD", "f0 01 03"],
    ["XCHG", "f0 87 03"],
    ["CMPXCHG8B", "f0 0f c7 0b"],
    ["BTS", "f0 0f ab 03"],
    ["NOT", "f0 f7 13"],
    ["DEC", "f0 fe 0b"],
  ])("on %s of memory is allowed", (_name, hex) => {
    const rig = new Rig();
    rig.core.state.set(GPR.ebx, AT.data);
    expect(vectorOf(hex, rig)).toBe(-1);
  });
});

describe("what the processor has and the simulator has not stops the run", () => {
  test("an extension without rules: `unmodelled` with bytes, mode and address, and nothing done", () => {
    const hex = "66 0f 38 17 c1";
    const profile = { ...pentium4_672, features: [...pentium4_672.features, "sse4_1"] };
    const rig = new Rig({ profile }).code(hex);
    const before = rig.core.state.save();
    const stop = rig.run();
    expect(stop.kind).toBe("unmodelled");
    const detail = stop.kind === "unmodelled" ? stop.detail : "";
    expect(detail).toContain(hex);
    expect(detail).toContain("32-bit protected mode, CPL 0");
    expect(detail).toContain("0008:00010000");
    expect(rig.core.state.save().slice(0, 96)).toEqual(before.slice(0, 96));
    expect(rig.cycles).toBe(0);
  });
});

describe("length", () => {
  test("15 bytes are an instruction, 16 are #GP(0)", () => {
    const prefixes = (n: number): string => "26 ".repeat(n);
    expect(vectorOf(`${prefixes(14)}90`)).toBe(-1);
    const rig = new Rig();
    expect(vectorOf(`${prefixes(15)}90`, rig)).toBe(GP);
    expect(rig.stack(0)).toBe(0);
    expect(vectorOf(`${prefixes(9)} 81 83 00 00 00 00 00`)).toBe(GP);
  });

  test("an instruction on two pages runs, with the second page's bytes", () => {
    const rig = new Rig().paging();
    rig.bytes(AT.code + 0xffd, "b8 78 56 34 12 f4");
    rig.core.state.eip = AT.code + 0xffd;
    rig.map(AT.code + 0x1000, 0x50007).bytes(0x50000, "cc aa f4");
    rig.run();
    expect(rig.eax).toBe(0xaacc5678);
  });

  test("one whose second page is absent faults there, as a fetch, with EIP at its start", () => {
    const rig = new Rig().paging();
    rig.bytes(AT.code + 0xffe, "b8 78 56 34 12");
    rig.core.state.eip = AT.code + 0xffe;
    rig.map(AT.code + 0x1000, 0);
    rig.step();
    expect(rig.handled).toBe(PF);
    expect(rig.core.state.get(CELL.cr2)).toBe(AT.code + 0x1000);
    expect(rig.stack(0)).toBe(0);
    expect(rig.stack(1)).toBe(AT.code + 0xffe);
  });

  test("one that ends with its page does not need the next", () => {
    const rig = new Rig().paging();
    rig.bytes(AT.code + 0xffb, "b8 78 56 34 12");
    rig.core.state.eip = AT.code + 0xffb;
    rig.map(AT.code + 0x1000, 0);
    rig.step();
    expect(rig.eax).toBe(0x12345678);
    rig.step();
    expect(rig.handled).toBe(PF);
    expect(rig.stack(1)).toBe(AT.code + 0x1000);
  });

  test("an instruction that runs past the limit of CS is #GP(0); those before it run", () => {
    for (const maxBlock of [1, 32]) {
      const rig = new Rig({ maxBlock }).code("40 40 b8 78 56 34 12");
      const { state } = rig.core;
      state.setSegment(SEG.cs, SELECTOR.code, 0, AT.code + 5, state.segmentRights(SEG.cs) & ~RIGHTS.G);
      rig.run();
      expect(rig.handled).toBe(GP);
      expect(rig.eax).toBe(2);
      expect(rig.stack(1)).toBe(AT.code + 2);
    }
  });

  test("a jump to beyond the limit of CS faults at the jump", () => {
    const rig = new Rig().code("eb 10");
    const { state } = rig.core;
    state.setSegment(SEG.cs, SELECTOR.code, 0, AT.code + 0x11, state.segmentRights(SEG.cs) & ~RIGHTS.G);
    rig.step();
    expect(rig.handled).toBe(GP);
    expect(rig.stack(1)).toBe(AT.code);
  });

  test("a 16-bit code segment decodes 16-bit operands and addresses", () => {
    const rig = new Rig().code("b8 34 12 66 b8 78 56 34 12 8a 07");
    const { state } = rig.core;
    state.setSegment(SEG.cs, SELECTOR.code16, 0, 0xfffff, state.segmentRights(SEG.cs) & ~RIGHTS.DB);
    state.set(GPR.ebx, 0xffff0000 + 0x8000);
    rig.bytes(0x8000, "99");
    rig.step();
    expect(rig.eax).toBe(0x1234);
    rig.step(2);
    expect(rig.eax).toBe(0x12345699);
  });

  test("CR0 plays no part in decoding: MOV to CR0 takes effect at the next instruction", () => {
    const rig = new Rig().code("0f 20 c0 83 c8 08 0f 22 c0 0f 20 c3 f4");
    rig.run();
    expect(rig.core.state.get(GPR.ebx) & CR0.TS).toBe(CR0.TS);
  });
});

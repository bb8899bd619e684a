// MMX and SSE around their results, which test/vectors/sse.test.ts compares with a real processor: when they are available, how
// their memory operands fault, what unmasked exceptions do, and the images of their state.
import { describe, expect, test } from "vitest";
import { profileNamed } from "../../sim/cpu/profiles/catalogue.ts";
import { CELL, CR0, CR4, FLAG, GPR, MXCSR, X87, x87RegisterCell, xmmCell } from "../../sim/cpu/state.ts";
import { AT, cheapProfile, Rig } from "./rig.ts";

const [UD, NM, GP, PF, MF, AC, XM] = [6, 7, 13, 14, 16, 17, 19];
const PAGE = 0x1000;
/** A page boundary in the data, and what is behind it. */
const EDGE = AT.data + PAGE;

/** A core on which SSE is enabled, all of XMM2 is 11111111, and EDI is at the data. */
function ready(code: string, profile = cheapProfile()): Rig {
  const rig = new Rig({ profile }).code(`${code} f4`);
  const { state } = rig.core;
  state.set(CELL.cr4, CR4.OSFXSR | CR4.OSXMMEXCPT);
  state.set(MXCSR, 0x1f80);
  state.set(X87.control, 0x37f);
  state.set(GPR.edi, AT.data);
  state.i32.fill(0x1111_1111, xmmCell(2), xmmCell(2) + 4);
  return rig;
}

function vectorOf(rig: Rig): number {
  rig.step();
  return rig.handled;
}

const xmm = (rig: Rig, n: number): number[] => Array.from(rig.core.state.i32.slice(xmmCell(n), xmmCell(n) + 4));

const MOVAPS = "0f 28 ca";
const PADDB_MM = "0f fc ca";
const PSHUFW = "0f 70 ca 00";
const FXSAVE = "0f ae 07";
const FXRSTOR = "0f ae 0f";

describe("availability", () => {
  test.each([
    ["MOVAPS", MOVAPS, UD, UD],
    ["LDMXCSR", "0f ae 17", UD, UD],
    ["PADDB mm", PADDB_MM, UD, -1],
    ["PSHUFW of SSE on MMX registers", PSHUFW, UD, -1],
    ["MOVQ2DQ", "f3 0f d6 ca", UD, UD],
    ["FXSAVE", FXSAVE, NM, -1],
    ["MOVNTI", "0f c3 0f", -1, -1],
    ["PREFETCHNTA", "0f 18 07", -1, -1],
    ["SFENCE", "0f ae f8", -1, -1],
    ["CLFLUSH", "0f ae 3f", -1, -1],
  ])("%s with CR0.EM, and with CR4.OSFXSR clear", (_name, code, withEm, withoutFxsr) => {
    const emulated = ready(code);
    emulated.core.state.set(CELL.cr0, emulated.core.state.cr0 | CR0.EM);
    expect(vectorOf(emulated)).toBe(withEm);
    const disabled = ready(code);
    disabled.core.state.set(CELL.cr4, 0);
    expect(vectorOf(disabled)).toBe(withoutFxsr);
  });

  test.each([MOVAPS, PADDB_MM, PSHUFW, FXSAVE, FXRSTOR, "0f 77"])("%s is #NM with CR0.TS", (code) => {
    const rig = ready(code);
    rig.core.state.set(CELL.cr0, rig.core.state.cr0 | CR0.TS);
    expect(vectorOf(rig)).toBe(NM);
  });

  test("a pending x87 error is #MF for MMX instructions and those that convert from MMX registers, not for others", () => {
    for (const [code, vector] of [
      [PADDB_MM, MF],
      ["0f 77", MF],
      ["0f 2a ca", MF],
      ["66 0f 2a 0f", -1],
      [MOVAPS, -1],
      [FXSAVE, -1],
    ] as const) {
      const rig = ready(code);
      rig.core.state.set(X87.control, 0x37e);
      rig.core.state.set(X87.status, 0x8081);
      expect(vectorOf(rig)).toBe(vector);
    }
  });

  test("SSSE3 is #UD on a Pentium 4", () => {
    expect(vectorOf(ready("66 0f 38 00 ca"))).toBe(UD);
    expect(vectorOf(ready("66 0f 38 00 ca", profileNamed("core2-e6700")))).toBe(-1);
  });
});

describe("operands in memory", () => {
  test.each([
    ["MOVAPS load", "0f 28 0f", GP],
    ["MOVDQA store", "66 0f 7f 17", GP],
    ["PADDB", "66 0f fc 0f", GP],
    ["MOVNTPS", "0f 2b 17", GP],
    ["ADDPS", "0f 58 0f", GP],
    ["FXSAVE", FXSAVE, GP],
    ["MOVUPS load", "0f 10 0f", -1],
    ["MOVDQU store", "f3 0f 7f 17", -1],
    ["LDDQU", "f2 0f f0 0f", -1],
    ["ADDSD", "f2 0f 58 0f", -1],
    ["MOVQ mm", "0f 6f 0f", -1],
  ])("%s off a 16-byte boundary", (_name, code, vector) => {
    const rig = ready(code);
    rig.core.state.set(GPR.edi, AT.data + 1);
    expect(vectorOf(rig)).toBe(vector);
  });

  test.each([
    ["MOVUPS", "0f 10 0f", 8, -1],
    ["MOVUPS", "0f 10 0f", 4, AC],
    ["MOVUPS store", "0f 11 17", 4, AC],
    ["MOVSD", "f2 0f 10 0f", 4, AC],
    ["MOVSS", "f3 0f 10 0f", 4, -1],
    ["MOVSS", "f3 0f 10 0f", 2, AC],
    ["MOVAPS", "0f 28 0f", 4, GP],
    ["MASKMOVDQU", "66 0f f7 d2", 1, -1],
  ])("%s %s at an offset of %i with alignment checks is %i", (_name, code, offset, vector) => {
    const rig = ready(code).user().paging();
    rig.core.state.set(CELL.cr0, rig.core.state.cr0 | CR0.AM);
    rig.core.state.flags |= FLAG.AC;
    rig.core.state.set(GPR.edi, AT.data + offset);
    expect(vectorOf(rig)).toBe(vector);
  });

  test.each([
    ["MOVUPS", "0f 11 17", 16],
    ["MOVQ", "66 0f d6 17", 8],
    ["MASKMOVDQU", "66 0f f7 d2", 16],
  ])("%s to two pages of which the second is absent writes nothing", (_name, code, bytes) => {
    const rig = ready(code).paging().map(EDGE, 0);
    rig.core.state.i32.fill(-1, xmmCell(2), xmmCell(2) + 4);
    rig.core.state.set(GPR.edi, EDGE - bytes / 2);
    expect(vectorOf(rig)).toBe(PF);
    expect(rig.core.state.get(CELL.cr2)).toBe(EDGE);
    expect(rig.memory.read32(EDGE - 4)).toBe(0);
  });

  test("an operand over two pages is read and written whole", () => {
    const rig = ready("0f 10 0f 0f 11 4f 20").paging();
    for (let n = 0; n < 4; n++) rig.memory.write32(EDGE - 6 + 4 * n, n + 1);
    rig.core.state.set(GPR.edi, EDGE - 6);
    rig.step(2);
    expect(xmm(rig, 1)).toEqual([1, 2, 3, 4]);
    expect(rig.memory.read32(EDGE - 6 + 0x20 + 12)).toBe(4);
    const written = ready("0f 11 17").paging();
    written.core.state.set(GPR.edi, EDGE - 6);
    written.step();
    expect(written.memory.read32(EDGE + 6)).toBe(0x1111_1111);
    expect(written.memory.read32(EDGE - 6)).toBe(0x1111_1111);
  });

  test("a crossing of pages costs once, wherever it lies in the operand", () => {
    for (const offset of [1, 4, 8, 12, 15]) {
      const rig = ready("0f 10 0f", cheapProfile({ pageCross: 7 })).paging();
      rig.core.state.set(GPR.edi, EDGE - offset);
      rig.step();
      expect(rig.cycles).toBe(7);
    }
  });

  test("MASKMOVQ writes the chosen bytes at its segment's EDI", () => {
    const rig = ready("0f f7 ca");
    const { state } = rig.core;
    state.u64[x87RegisterCell(1) >> 1] = 0x8877_6655_4433_2211n;
    state.u64[x87RegisterCell(2) >> 1] = 0x8000_0000_0000_80ffn;
    rig.step();
    expect(rig.memory.read32(AT.data) >>> 0).toBe(0x2211);
    expect(rig.memory.read32(AT.data + 4) >>> 0).toBe(0x8800_0000);
  });
});

describe("exceptions of results", () => {
  /** 1 / 0 with the exception unmasked: DIVSS XMM1, XMM3 with XMM1 = 1. */
  function divide(cr4: number): Rig {
    const rig = ready("f3 0f 5e cb");
    rig.core.state.set(CELL.cr4, cr4);
    rig.core.state.set(MXCSR, 0x1d80);
    rig.core.state.set(xmmCell(1), 0x3f80_0000);
    return rig;
  }

  test("an unmasked one is #XM, with the flag set and the destination as it was", () => {
    const rig = divide(CR4.OSFXSR | CR4.OSXMMEXCPT);
    expect(vectorOf(rig)).toBe(XM);
    expect(rig.stack(0)).toBe(AT.code);
    expect(rig.core.state.get(MXCSR)).toBe(0x1d84);
    expect(xmm(rig, 1)[0]).toBe(0x3f80_0000);
  });

  test("and #UD while CR4.OSXMMEXCPT is clear", () => {
    expect(vectorOf(divide(CR4.OSFXSR))).toBe(UD);
  });

  test("a reserved bit of MXCSR is #GP(0) for LDMXCSR and FXRSTOR, and nothing is loaded", () => {
    const rig = ready("0f ae 17");
    rig.memory.write32(AT.data, 0x1_1f80);
    expect(vectorOf(rig)).toBe(GP);
    expect(rig.core.state.get(MXCSR)).toBe(0x1f80);
    const image = ready(FXRSTOR);
    image.memory.write32(AT.data + 24, 0x1_0000);
    image.memory.write32(AT.data, 0x40);
    expect(vectorOf(image)).toBe(GP);
    expect(image.core.state.get(X87.control)).toBe(0x37f);
  });
});

describe("FXSAVE and FXRSTOR", () => {
  /** FLD1, FLDZ; XMM2 is set. */
  function saved(cr4: number): Rig {
    const rig = ready(`d9 e8 d9 ee ${FXSAVE}`);
    rig.core.state.set(CELL.cr4, cr4);
    for (let n = 0; n < 128; n++) rig.memory.write32(AT.data + 4 * n, -1);
    rig.step(3);
    return rig;
  }

  test("the image has the manual's layout", () => {
    const { memory } = saved(CR4.OSFXSR);
    const word = (offset: number): number => memory.read32(AT.data + offset) >>> 0;
    expect(word(0)).toBe(0x3000_037f);
    expect(memory.read8(AT.data + 4)).toBe(0xc0);
    expect(word(8)).toBe(AT.code + 2);
    expect([word(24), word(28)]).toEqual([0x1f80, 0xffff]);
    // ST(0) is zero, ST(1) one.
    expect([word(32), word(36), word(40), word(44)]).toEqual([0, 0, 0, 0]);
    expect([word(48), word(52), word(56), word(60)]).toEqual([0, 0x8000_0000, 0x3fff, 0]);
    expect(word(160 + 32)).toBe(0x1111_1111);
    // XMM8 and beyond, and the bytes that are software's, are not written.
    for (let offset = 288; offset < 512; offset += 4) expect(word(offset)).toBe(0xffff_ffff);
  });

  test("with CR4.OSFXSR clear, MXCSR and the XMM registers are left out", () => {
    const { memory } = saved(0);
    for (const offset of [24, 28, 160, 192, 284]) expect(memory.read32(AT.data + offset)).toBe(-1);
  });

  test("what FXSAVE has stored FXRSTOR brings back", () => {
    const rig = saved(CR4.OSFXSR | CR4.OSXMMEXCPT);
    const { state } = rig.core;
    const before = state.i32.slice(x87RegisterCell(0), xmmCell(8));
    state.i32.fill(0x77, x87RegisterCell(0), X87.instructionOffset);
    state.i32.fill(0x77, xmmCell(0), xmmCell(8));
    state.set(MXCSR, 0);
    rig.code(FXRSTOR);
    state.eip = AT.code;
    rig.step();
    expect(state.get(MXCSR)).toBe(0x1f80);
    expect(Array.from(state.i32.slice(xmmCell(0), xmmCell(8)))).toEqual(
      Array.from(before.slice(xmmCell(0) - x87RegisterCell(0))),
    );
    for (let n = 6; n < 8; n++) {
      const at = x87RegisterCell(n);
      const from = at - x87RegisterCell(0);
      expect(Array.from(state.i32.slice(at, at + 4))).toEqual(Array.from(before.slice(from, from + 4)));
    }
    expect(state.get(X87.valid)).toBe(0xc0);
  });
});

describe("RCPPS and RSQRTPS", () => {
  const run = (code: string, bits: number): number => {
    const rig = ready(code);
    rig.core.state.set(xmmCell(2), bits);
    rig.step();
    return xmm(rig, 1)[0]!;
  };
  test("are within 1.5 x 2^-12, and raise nothing", () => {
    const f32 = new Float32Array(1);
    const i32 = new Int32Array(f32.buffer);
    for (let n = 1; n < 400; n++) {
      f32[0] = (n * n * 0.37) / 100;
      const x = f32[0] as number;
      i32[0] = run("f3 0f 53 ca", i32[0] as number);
      expect(Math.abs((f32[0] as number) * x - 1)).toBeLessThanOrEqual(1.5 * 2 ** -12);
      f32[0] = x;
      i32[0] = run("f3 0f 52 ca", i32[0] as number);
      expect(Math.abs((f32[0] as number) * Math.sqrt(x) - 1)).toBeLessThanOrEqual(1.5 * 2 ** -12);
    }
  });

  test("have the manual's results for special operands", () => {
    for (const [bits, reciprocal, root] of [
      [0, 0x7f80_0000, 0x7f80_0000],
      [0x8000_0001 | 0, 0xff80_0000 | 0, 0xff80_0000 | 0],
      [0x7f80_0000, 0, 0],
      [0xff80_0000 | 0, 0x8000_0000 | 0, 0xffc0_0000 | 0],
      [0x7f80_0001, 0x7fc0_0001, 0x7fc0_0001],
      [0x7f7f_ffff, 0, 0x1f80_0000],
    ] as const) {
      expect(run("f3 0f 53 ca", bits)).toBe(reciprocal);
      expect(run("f3 0f 52 ca", bits)).toBe(root);
    }
  });
});

describe("MONITOR and MWAIT", () => {
  test("are #UD above CPL 0 and #GP(0) with extensions in ECX", () => {
    for (const code of ["0f 01 c8", "0f 01 c9"]) {
      expect(vectorOf(ready(code).user())).toBe(UD);
      const rig = ready(code);
      rig.core.state.set(GPR.ecx, 1);
      expect(vectorOf(rig)).toBe(GP);
      const good = ready(code);
      good.core.state.set(GPR.ecx, 0);
      expect(vectorOf(good)).toBe(-1);
    }
  });

  test("MWAIT takes the extension that the processor announces", () => {
    for (const [name, ecx, vector] of [
      ["core2-e6700", 1, -1],
      ["core2-e6700", 2, GP],
      ["pentium4-672", 1, GP],
    ] as const) {
      const rig = ready("0f 01 c9", profileNamed(name));
      rig.core.state.set(GPR.ecx, ecx);
      expect(vectorOf(rig)).toBe(vector);
    }
  });

  test("MONITOR reads its byte", () => {
    const rig = ready("0f 01 c8").paging().map(EDGE, 0);
    rig.core.state.set(GPR.eax, EDGE + 5);
    expect(vectorOf(rig)).toBe(PF);
    expect(rig.core.state.get(CELL.cr2)).toBe(EDGE + 5);
  });
});

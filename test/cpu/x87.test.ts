// The x87 around its arithmetic, which test/vectors/x87.test.ts compares with a real processor: when it is available, how
// exceptions are reported, and the images of its state in memory.
import { describe, expect, test } from "vitest";
import { CELL, CR0, FLAG, GPR, X87, X87_CELLS, x87RegisterCell } from "../../sim/cpu/state.ts";
import { AT, cheapProfile, Rig } from "./rig.ts";

const NM = 7;
const MF = 16;
const DATA = "00 00 02 00";
const IP = AT.code;

/** FNINIT and FLD1 have been executed; EIP is at `code`. */
function ready(code: string): Rig {
  const rig = new Rig({ profile: cheapProfile() }).code(`db e3 d9 e8 ${code}`);
  rig.step(2);
  return rig;
}

function setCr0(rig: Rig, set: number, clear = 0): Rig {
  rig.core.state.set(CELL.cr0, (rig.core.state.cr0 | set) & ~clear);
  return rig;
}

/** Divides 1 by 0 with the exception unmasked: FLDCW [data], FLDZ, FDIVP ST(1), ST. */
function divideByZero(next: string): Rig {
  const rig = ready(`d9 2d ${DATA} d9 ee de f9 ${next}`);
  rig.memory.write32(AT.data, 0x37b);
  rig.step(3);
  return rig;
}

describe("whether the x87 is available", () => {
  test("an instruction is #NM with CR0.EM or CR0.TS, and the processor has not changed", () => {
    for (const bit of [CR0.EM, CR0.TS]) {
      const rig = setCr0(ready("d8 c0"), bit);
      rig.run();
      expect(rig.handled).toBe(NM);
      expect(rig.core.state.get(x87RegisterCell(7) + 2)).toBe(0x3fff);
    }
  });

  test("FWAIT is #NM only with both CR0.MP and CR0.TS", () => {
    for (const [bits, faults] of [
      [CR0.TS, false],
      [CR0.MP, false],
      [CR0.EM, false],
      [CR0.MP | CR0.TS, true],
    ] as const) {
      const rig = setCr0(ready("9b f4"), bits, CR0.MP & ~bits);
      rig.run();
      expect(rig.handled).toBe(faults ? NM : -1);
    }
  });
});

describe("an unmasked exception", () => {
  test("is reported by the next waiting instruction, and leaves the operands of its own", () => {
    const rig = divideByZero("d9 e8 f4");
    expect(rig.core.state.get(X87.status) & 0x8084).toBe(0x8084);
    expect(rig.core.state.get(X87.status) >>> 11).toBe(0x10 | 6);
    rig.run();
    expect(rig.handled).toBe(MF);
    expect(rig.stack(0)).toBe(IP + 14);
  });

  test("is not seen by FNSTSW, FNCLEX and FNINIT; FNCLEX ends it", () => {
    const rig = divideByZero("df e0 db e2 d9 e8 f4");
    rig.run();
    expect(rig.handled).toBe(-1);
    expect(rig.eax & 0xffff).toBe(0xb084);
    expect(rig.core.state.get(X87.status) & 0x80ff).toBe(0);
  });

  test("becomes pending when FLDCW unmasks one that was flagged before", () => {
    const rig = ready(`d9 ee de f9 d9 2d ${DATA} 9b f4`);
    rig.memory.write32(AT.data, 0x37b);
    rig.run();
    expect(rig.handled).toBe(MF);
  });

  test("is what the last opcode is kept for, unless IA32_MISC_ENABLE wants it always", () => {
    expect(divideByZero("f4").core.state.get(X87.opcode)).toBe(0x6f9);
    const always = ready("d8 c1 f4");
    always.core.state.set(CELL.miscEnable, 1 << 2);
    always.run();
    expect(always.core.state.get(X87.opcode)).toBe(0x0c1);
    expect(ready("d8 c0 f4").core.state.get(X87.opcode)).toBe(0);
  });
});

describe("images in memory", () => {
  test("FNSTENV stores seven words with pointers and tags, and masks all exceptions", () => {
    // FLD dword [data + 40h]; FNSTENV [data]
    const rig = divideByZero(`db e2 d9 05 40 00 02 00 d9 35 ${DATA} f4`);
    rig.run();
    const words = [0, 1, 2, 3, 4, 5, 6].map((n) => rig.memory.read32(AT.data + 4 * n) >>> 0);
    expect(words).toEqual([
      0xffff037b,
      0xffff2800,
      // R7 1.0 valid, R6 and R5 zero.
      0xffff17ff,
      IP + 16,
      0x06f9_0008,
      AT.data + 0x40,
      0xffff0010,
    ]);
    expect(rig.core.state.get(X87.control)).toBe(0x37f);
  });

  test("the 16-bit layout has seven words of 16 bits", () => {
    const rig = ready(`66 d9 35 ${DATA} f4`);
    rig.run();
    const words = [0, 1, 2, 3, 4].map((n) => rig.memory.read32(AT.data + 4 * n) >>> 0);
    expect(words.slice(0, 3)).toEqual([0x3800_037f, (((IP + 2) << 16) >>> 0) | 0x3fff, 0x0000_0008]);
    expect(words[3]! & 0xffff).toBe(0);
  });

  test("FRSTOR brings back what FNSAVE took, and FNSAVE leaves the state of FNINIT", () => {
    // FLDPI, FCHS, FLDZ, FNSAVE [data], FRSTOR [data]
    const rig = ready(`d9 eb d9 e0 d9 ee dd 35 ${DATA} dd 25 ${DATA} f4`);
    rig.step(3);
    const before = Array.from(rig.core.state.i32.slice(X87.control - 32, X87.opcode));
    rig.step();
    expect(rig.core.state.get(X87.valid)).toBe(0);
    expect(rig.core.state.get(X87.control)).toBe(0x37f);
    rig.run();
    expect(Array.from(rig.core.state.i32.slice(X87.control - 32, X87.opcode))).toEqual(before);
  });

  test("what FLDENV loads as tags is only which registers are empty", () => {
    // FNSTENV [data]; FLDENV [data]; FNSTENV [data]
    const rig = ready(`d9 35 ${DATA} d9 25 ${DATA} d9 35 ${DATA} f4`);
    rig.step();
    rig.memory.write32(AT.data + 8, 0x0000_bffe);
    rig.run();
    // R7 is 1.0 and valid whatever was said; R0 holds zero.
    expect(rig.memory.read32(AT.data + 8) & 0xffff).toBe(0x3ffd);
  });
});

describe("alignment checks", () => {
  /** At CPL 3 with CR0.AM and EFLAGS.AC. */
  function checked(code: string): Rig {
    const rig = ready("");
    rig.code(code).user();
    rig.core.state.flags |= FLAG.AC;
    return setCr0(rig, CR0.AM);
  }

  test("a ten-byte store off an 8-byte boundary is #AC and has changed nothing", () => {
    const rig = checked("db 3d 04 00 02 00");
    const before = Array.from(rig.core.state.i32.slice(X87_CELLS.first, X87_CELLS.end));
    rig.run();
    expect(rig.handled).toBe(17);
    expect(Array.from(rig.core.state.i32.slice(X87_CELLS.first, X87_CELLS.end))).toEqual(before);
    expect(rig.memory.read32(AT.data + 4)).toBe(0);
  });

  test("a state image needs an alignment of 4 bytes and no more", () => {
    // FNSAVE and FRSTOR; then UD2
    const aligned = checked("dd 35 04 00 02 00 dd 25 04 00 02 00 0f 0b");
    aligned.run();
    expect(aligned.handled).toBe(6);
    const odd = checked("dd 35 02 00 02 00");
    odd.run();
    expect(odd.handled).toBe(17);
    expect(odd.core.state.get(X87.valid)).toBe(0x80);
  });
});

describe("the last instruction pointer", () => {
  test("is that of the last instruction that computes, not of a control instruction", () => {
    const rig = ready("d8 c0 d9 f7 9b f4");
    rig.run();
    expect(rig.core.state.get(X87.instructionOffset)).toBe(IP + 4);
    expect(rig.core.state.get(X87.instructionSelector)).toBe(8);
  });
});

test("FCOMI sets ZF, PF and CF and clears the other status flags", () => {
  const rig = ready("d9 ee df f1 f4");
  rig.core.state.flags |= 0x8d5;
  rig.run();
  expect(rig.core.state.flags & 0x8d5).toBe(1);
  expect(rig.core.state.get(GPR.eax)).toBe(0);
});

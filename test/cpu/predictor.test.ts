// Prediction of returns and indirect branches, and the prices of branches, through the core.
import { describe, expect, test } from "vitest";
import { BRANCH } from "../../sim/cpu/micro-ops.ts";
import { Predictor } from "../../sim/cpu/predictor.ts";
import { GPR } from "../../sim/cpu/state.ts";
import { AT, cheapProfile, Rig } from "./rig.ts";

const small = cheapProfile(
  { call: 1, ret: 10, jump: 100, jumpIndirect: 1000, mispredict: 1e6 },
  { returnStackEntries: 4, indirectTargets: 8 },
);

/** Calls `depth` deep, then returns; whether each return was mispredicted, innermost first. */
function nest(predictor: Predictor, depth: number): boolean[] {
  for (let n = 0; n < depth; n++) predictor.follow(BRANCH.CALL, n, 0x1000, 100 + n);
  return Array.from({ length: depth }, (_, n) => predictor.follow(BRANCH.RETURN, 0x1000, 100 + depth - 1 - n, 0));
}

describe("the return stack", () => {
  test("predicts returns of calls as deep as it is", () => {
    expect(nest(new Predictor(small), 4)).toEqual([false, false, false, false]);
  });

  test("loses the oldest when it overflows", () => {
    expect(nest(new Predictor(small), 6)).toEqual([false, false, false, false, true, true]);
  });

  test("mispredicts a return without a call, and recovers", () => {
    const predictor = new Predictor(small);
    expect(predictor.follow(BRANCH.RETURN, 0, 5, 0)).toBe(true);
    expect(nest(predictor, 2)).toEqual([false, false]);
  });

  test("forgets an entry that it has used", () => {
    const predictor = new Predictor(small);
    nest(predictor, 4);
    const again = [103, 102, 101, 100].map((target) => predictor.follow(BRANCH.RETURN, 0x1000, target, 0));
    expect(again).toEqual([true, true, true, true]);
  });

  test("mispredicts a return to elsewhere", () => {
    const predictor = new Predictor(small);
    predictor.follow(BRANCH.CALL, 0, 0x1000, 100);
    expect(predictor.follow(BRANCH.RETURN, 0x1000, 101, 0)).toBe(true);
  });

  test("is saved and restored", () => {
    const predictor = new Predictor(small);
    predictor.follow(BRANCH.CALL, 0, 0x1000, 100);
    const other = new Predictor(small);
    other.restore(predictor.save());
    expect(other.follow(BRANCH.RETURN, 0x1000, 100, 0)).toBe(false);
  });
});

describe("indirect branches", () => {
  test("are predicted to go where they went last", () => {
    const predictor = new Predictor(small);
    const jump = (source: number, target: number): boolean => predictor.follow(BRANCH.INDIRECT, source, target, 0);
    expect([jump(3, 7), jump(3, 7), jump(3, 9), jump(3, 7)]).toEqual([true, false, true, true]);
  });

  test("share an entry with those a table's size away", () => {
    const predictor = new Predictor(small);
    const jump = (source: number): boolean => predictor.follow(BRANCH.INDIRECT, source, 7, 0);
    expect([jump(3), jump(4), jump(3), jump(11), jump(3)]).toEqual([true, true, false, true, true]);
  });

  test("that call push a return as well", () => {
    const predictor = new Predictor(small);
    expect(predictor.follow(BRANCH.CALL_INDIRECT, 3, 7, 100)).toBe(true);
    expect(predictor.follow(BRANCH.RETURN, 7, 100, 0)).toBe(false);
  });
});

describe("what branches cost", () => {
  const cycles = (hex: string, instructions: number, prepare: (rig: Rig) => void = () => undefined): number => {
    const rig = new Rig({ profile: small }).code(hex);
    prepare(rig);
    rig.step(instructions);
    return rig.cycles;
  };

  test("CALL and RET; a return address that was changed costs the misprediction", () => {
    // CALL +1; HLT; RET
    expect(cycles("e8 01 00 00 00 f4 c3", 2)).toBe(11);
    // CALL +1; NOP; ADD [ESP],1; RET
    expect(cycles("e8 01 00 00 00 90 83 04 24 01 c3", 3)).toBe(1e6 + 11);
  });

  test("JMP, JMP and CALL through a register: first, again, and elsewhere", () => {
    expect(cycles("eb 00", 1)).toBe(100);
    const toSelf = (rig: Rig): unknown => rig.core.state.set(GPR.eax, AT.code);
    expect(cycles("ff e0", 1, toSelf)).toBe(1e6 + 1000);
    expect(cycles("ff e0", 3, toSelf)).toBe(1e6 + 3000);
    expect(cycles("ff d0", 2, toSelf)).toBe(1e6 + 2 * 1001);
  });

  test("shifts by CL, bit strings and far transfers have prices of their own", () => {
    const priced = (name: string, hex: string): number => {
      const rig = new Rig({ profile: cheapProfile({ [name]: 7 }) }).code(hex);
      rig.core.state.set(GPR.ebx, AT.data);
      rig.step();
      return rig.cycles;
    };
    expect([priced("shiftByCl", "d3 e0"), priced("shift", "d3 e0"), priced("shift", "c1 e0 03")]).toEqual([7, 0, 7]);
    expect([priced("bitString", "0f a3 03"), priced("bitString", "0f ba 23 01")]).toEqual([7, 0]);
    expect([priced("farJump", "ea 00 00 01 00 08 00"), priced("jump", "ea 00 00 01 00 08 00")]).toEqual([7, 0]);
    expect([priced("farCall", "9a 00 00 01 00 08 00"), priced("call", "9a 00 00 01 00 08 00")]).toEqual([7, 0]);
    expect([priced("locked", "f0 01 03"), priced("locked", "87 03"), priced("locked", "87 c3")]).toEqual([7, 7, 0]);
  });
});

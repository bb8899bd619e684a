// What is modelled in 32-bit code is modelled in 16-bit code, and is lifted for it: sizes of addresses, stack and branches.
import { describe, expect, test } from "vitest";
import { HELPER_NAMES } from "../../sim/cpu/helpers.ts";
import { OP } from "../../sim/cpu/micro-ops.ts";
import { GPR, SEG } from "../../sim/cpu/state.ts";
import { type ModelledForm, modelledForms, modelledForms16 } from "./forms.ts";

const isStackAddress = (form: ModelledForm, cell: number): boolean =>
  form.lifted.ops.some((u) => u.op === OP.ADDRESS && u.d === cell && u.w === 16);

describe("in 16-bit code", () => {
  test("every form is modelled that is in 32-bit code", () => {
    const codes = new Set(modelledForms16.map(({ code, memory }) => `${code} ${memory}`));
    // Address-size forms of their own: JECXZ and LOOP count by ECX in 32-bit code, MOV moffs has the code's size.
    const missing = modelledForms.filter(({ code, memory }) => !codes.has(`${code} ${memory}`));
    expect(missing.map(({ name }) => name)).toEqual([]);
    expect(modelledForms16.length).toBeGreaterThanOrEqual(modelledForms.length);
  });

  test("memory operands have 16-bit offsets", () => {
    const wide = modelledForms16.filter(
      ({ lifted, memory }) => memory && lifted.ops.some((u) => u.op === OP.ADDRESS && u.a === GPR.ebx && u.w !== 16),
    );
    expect(wide.map(({ name }) => name)).toEqual([]);
  });

  test("implicit accesses to the stack use SP", () => {
    const helpers = ["pushAll", "popAll", "enter"].map((name) => HELPER_NAMES.indexOf(name as "enter"));
    for (const form of modelledForms16) {
      for (const u of form.lifted.ops) {
        if (u.op === OP.HELPER && helpers.includes(u.imm)) expect(u.x, form.name).toBe(16);
        if ((u.op !== OP.STORE && u.op !== OP.LOAD) || u.x !== SEG.ss) continue;
        expect(isStackAddress(form, u.a), form.name).toBe(true);
      }
    }
  });

  test("near branches of 16 bits cut EIP", () => {
    const branches = modelledForms16.filter(({ code }) =>
      /^(J\w+_rel16|J\w+_rel8_16|Call_rel16|Retnw|Jmp_rm16|Call_rm16)/.test(code),
    );
    expect(branches.length).toBeGreaterThan(30);
    for (const { lifted, name } of branches) {
      const jumps = lifted.ops.filter((u) => u.op === OP.JUMP || u.op === OP.JUMP_IF || u.op === OP.JUMP_TO);
      const loops = lifted.ops.filter((u) => u.op === OP.LOOP);
      expect(jumps.length + loops.length, name).toBe(1);
      for (const u of jumps) expect(u.w, name).toBe(16);
      for (const u of loops) expect(u.c, name).toBe(16);
    }
  });
});

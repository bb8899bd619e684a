import { Decoder, DecoderOptions, Instruction } from "iced-x86";
import { describe, expect, test } from "vitest";
import {
  backgroundByte,
  type InstructionVector,
  initialSegments,
  loadVectors,
  mismatches,
  pageSize,
  statusFlags,
  vectorFamilies,
} from "./load.ts";
import { expected, memoryByte, operandValue } from "./oracle.ts";

const families = vectorFamilies();
const files = families.map((family) => loadVectors(family));
const file = (family: string) => files[families.indexOf(family)]!;
const describeVector = (v: InstructionVector): string =>
  `${v.form.name} #${v.index} ${Buffer.from(v.bytes).toString("hex")}`;

describe("recorded instruction vectors", () => {
  test("there are at least 50 000, in fifteen families", () => {
    expect(families).toEqual(
      "alu atomic bit branch branch16 cond fault misc mov muldiv segment shift stack string unary".split(" "),
    );
    expect(files.reduce((sum, f) => sum + f.vectors.length, 0)).toBeGreaterThanOrEqual(50_000);
  });

  test("every form of every family has vectors, as many as random operands need unless only its exception matters", () => {
    for (const { header, forms, vectors } of files) {
      const counts = new Array<number>(forms.length).fill(0);
      for (const v of vectors) counts[v.form.index]!++;
      const least = header.family === "fault" || header.family === "misc" ? 5 : header.family === "segment" ? 15 : 30;
      forms.forEach((form, i) => {
        expect(counts[i], `${header.family}: ${form.name}`).toBeGreaterThanOrEqual(least);
      });
    }
  });

  test("every condition code, and every shift count from 0 to 255 of each shift, occurs", () => {
    const conditions = new Map<number, Set<number>>();
    for (const family of ["cond", "branch"]) {
      for (const v of file(family).vectors) {
        if (!v.form.encoding.includes("+cc")) continue;
        const start = v.bytes.indexOf(0x0f) < 0 ? 0 : v.bytes.indexOf(0x0f) + 1;
        const key = families.indexOf(family) * 1000 + v.form.index;
        const set = conditions.get(key) ?? new Set<number>();
        conditions.set(key, set.add(v.bytes[start]! & 15));
      }
    }
    expect(conditions.size).toBe(8);
    for (const set of conditions.values()) expect(set.size).toBe(16);

    const counts = new Map<string, Set<number>>();
    for (const v of file("shift").vectors) {
      if (!/Eb,|Ev,Ib|Ev,CL/.test(v.form.name) || v.form.memory || v.form.name.endsWith(",1")) continue;
      const key = `${v.form.name}.${v.form.size}`;
      const count = v.form.name.endsWith("CL") ? v.before.gpr[1]! & 255 : v.bytes.at(-1)!;
      counts.set(key, (counts.get(key) ?? new Set<number>()).add(count));
    }
    expect(counts.size).toBe(48);
    for (const [key, set] of counts) expect(set.size, key).toBe(256);
  });

  test("every exception that a user-mode instruction can raise, and every kind of page fault, occurs", () => {
    const kinds = new Map<string, number>();
    for (const f of files) {
      for (const v of f.vectors) {
        const x = v.after.exception;
        const kind = x === null ? "none" : x.vector === 14 ? `14.${x.errorCode! & 7}` : String(x.vector);
        kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
      }
    }
    /* #PF codes: 4 absent read, 6 absent write, 7 write to a read-only page */
    expect([...kinds.keys()].sort()).toEqual(["0", "13", "14.4", "14.6", "14.7", "3", "4", "5", "6", "none"]);
    for (const [kind, n] of kinds) expect(n, `exception ${kind}`).toBeGreaterThanOrEqual(20);
  });

  test("an exception that is a fault leaves all state as it was, except in mid-run of a repeated string instruction", () => {
    let partial = 0;
    for (const { vectors } of files) {
      for (const v of vectors) {
        const x = v.after.exception;
        if (x === null || x.vector === 3 || x.vector === 4) continue;
        if (v.after.eip !== v.address) expect.fail(`${describeVector(v)}: EIP`);
        const same = v.before.gpr.every((r, i) => r === v.after.gpr[i]) && v.before.eflags === v.after.eflags;
        if (same && v.after.memory.length === 0) continue;
        expect(v.form.name, describeVector(v)).toMatch(/^REP/);
        partial++;
      }
    }
    expect(partial).toBeGreaterThan(100);
  });

  test("only status and control flags that a user program can change ever change, and reserved bits stay", () => {
    for (const { vectors } of files) {
      for (const v of vectors) {
        const changed = v.before.eflags ^ v.after.eflags;
        /* POPF and IRET: AC, ID and NT besides */
        const allowed = /^(POPF|IRET)/.test(v.form.name) ? statusFlags | 0x244400 : statusFlags | 0x400;
        if ((changed & ~allowed) !== 0) expect.fail(`${describeVector(v)}: changes ${changed.toString(16)}`);
        if ((v.undefinedFlags & ~statusFlags) !== 0) expect.fail(`${describeVector(v)}: mask`);
      }
    }
  });

  test("memory is only ever set or changed in writable data pages", () => {
    for (const { header, vectors } of files) {
      const writable = new Set(header.pages.filter((p) => p.kind === "rw").map((p) => p.base));
      for (const v of vectors) {
        for (const run of [...v.before.memory, ...v.after.memory]) {
          const last = run.address + run.bytes.length - 1;
          if (!writable.has(run.address & -pageSize) || !writable.has(last & -pageSize)) expect.fail(describeVector(v));
        }
      }
    }
  });

  test("a decoder agrees with the recorded length of every instruction", () => {
    const instruction = new Instruction();
    for (const { vectors } of files) {
      for (const v of vectors) {
        if (v.bytes.length > 15) continue; /* too long: #GP */
        const decoder = new Decoder(32, v.bytes, DecoderOptions.None);
        decoder.decodeOut(instruction);
        decoder.free();
        if (instruction.isInvalid ? v.after.exception?.vector !== 6 : instruction.length !== v.bytes.length) {
          expect.fail(describeVector(v));
        }
      }
    }
    instruction.free();
  });

  test.each(["alu", "shift"])("an independent model agrees with every completed vector of family %s", (family) => {
    let checked = 0;
    let total = 0;
    for (const v of file(family).vectors) {
      if (v.after.exception !== null) continue;
      total++;
      const e = expected(v);
      if (e === null) continue;
      checked++;
      const mask = statusFlags & ~v.undefinedFlags;
      const context = describeVector(v);
      if (((v.after.eflags ^ e.flags) & mask) !== 0) expect.fail(`${context}: flags`);
      const should = e.result ?? operandValue(v, e.target, false);
      if (operandValue(v, e.target, true) !== should) expect.fail(`${context}: result`);
      v.before.gpr.forEach((r, i) => {
        if (!("register" in e.target && e.target.register === i) && v.after.gpr[i] !== r)
          expect.fail(`${context}: register ${i}`);
      });
    }
    /* all of alu; of shift all but SHLD and SHRD */
    expect(checked).toBeGreaterThanOrEqual(family === "alu" ? total : 17_000);
  });
});

describe("mismatches", () => {
  const vectors = file("bit").vectors;
  const zeroSource = vectors.find((v) => v.undefinedRegister !== null)!;
  const outcomeOf = (v: InstructionVector) => ({ ...v.after, gpr: v.after.gpr.slice() });

  test("finds none when the outcome is the recorded one", () => {
    for (const f of files) {
      for (const v of f.vectors.slice(0, 500)) {
        expect(mismatches(v, v.after, (address) => memoryByte(v, address, true))).toEqual([]);
      }
    }
  });

  test("names a register, flag, segment, EIP, exception or byte that differs, and only defined ones", () => {
    const read = (address: number) => memoryByte(zeroSource, address, true);
    const index = zeroSource.undefinedRegister!.index;
    const undefinedOnes = outcomeOf(zeroSource);
    undefinedOnes.gpr[index] = ~undefinedOnes.gpr[index]!;
    undefinedOnes.eflags ^= zeroSource.undefinedFlags;
    expect(mismatches(zeroSource, undefinedOnes, read)).toEqual([]);

    const wrong = outcomeOf(zeroSource);
    wrong.gpr[(index + 1) % 8]!++;
    expect(mismatches(zeroSource, wrong, read)).toHaveLength(1);
    expect(mismatches(zeroSource, { ...zeroSource.after, eflags: zeroSource.after.eflags ^ 0x40 }, read)).toHaveLength(
      1,
    );
    expect(mismatches(zeroSource, { ...zeroSource.after, eip: 0 }, read)).toHaveLength(1);
    expect(
      mismatches(zeroSource, { ...zeroSource.after, segments: initialSegments.map((s) => s ^ 8) }, read),
    ).toHaveLength(6);
    const fault = { vector: 14, errorCode: 4, cr2: 0 };
    expect(mismatches(zeroSource, { ...zeroSource.after, exception: fault }, read)).toHaveLength(1);

    const store = file("mov").vectors.find((v) => v.after.memory.length > 0)!;
    expect(mismatches(store, store.after, (address) => memoryByte(store, address, false)).length).toBeGreaterThan(0);
    const stray = (address: number) => (address === 0x21000000 ? 0 : memoryByte(store, address, true));
    expect(mismatches(store, store.after, stray, [0x21000000])).toEqual([
      `byte at 0x21000000 is 0x0, recorded 0x${backgroundByte(0x21000000).toString(16)}`,
    ]);
  });
});

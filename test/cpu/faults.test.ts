// Every modelled instruction form, with every memory access that it makes faulting in turn: a fault leaves the processor
// and memory as they were, and after the first store nothing can fault. INT n and exceptions are deliveries, which
// test/cpu/system/faults.test.ts does the same to.
import { describe, expect, test } from "vitest";
import { OP, STRING_KIND } from "../../sim/cpu/micro-ops.ts";
import { baseCell, CELL, FLAG, GPR, OUTCOME, RIGHTS, SEG, VECTOR } from "../../sim/cpu/state.ts";
import { type FormRun, type ModelledForm, modelledForms, modelledForms16, prepare, run } from "./forms.ts";
import { SELECTOR } from "./system/fake-environment.ts";

const LEVELS = [0, 3];
/** In 32-bit code and in 16-bit code. */
const EVERY_FORM = [...modelledForms, ...modelledForms16];

/** Runs the form with its n-th access faulting; null when it makes fewer. */
function runWithFault(form: ModelledForm, cpl: number, n: number): FormRun | null {
  const prepared = prepare(form, cpl);
  prepared.env.faultAt = n;
  run(form, prepared);
  return prepared.env.accesses < n ? null : prepared;
}

describe("an instruction whose memory access faults", () => {
  test("is a page fault that has changed nothing, whichever access it is", () => {
    const wrong: string[] = [];
    let faults = 0;
    const formsWithAccess = new Set<string>();
    for (const form of EVERY_FORM) {
      for (const cpl of LEVELS) {
        for (let n = 1; ; n++) {
          const outcome = runWithFault(form, cpl, n);
          if (outcome === null) break;
          faults++;
          formsWithAccess.add(form.name);
          const said = outcome.fixture.outcome();
          const changes = outcome.changes();
          if (!said.startsWith("#PF")) wrong.push(`${form.name} CPL ${cpl}, access ${n}: ${said}`);
          if (changes.length > 0) wrong.push(`${form.name} CPL ${cpl}, access ${n}: ${changes.join(", ")}`);
        }
      }
    }
    expect(wrong).toEqual([]);
    expect(formsWithAccess.size).toBeGreaterThan(900);
    expect(faults).toBeGreaterThan(2000);
  });

  test("cannot fault after its first store", () => {
    const late: string[] = [];
    for (const form of EVERY_FORM) {
      for (const cpl of LEVELS) {
        const prepared = prepare(form, cpl);
        run(form, prepared);
        if (prepared.env.late.length > 0) late.push(`${form.name}: ${prepared.env.late.join(" ")}`);
      }
    }
    expect(late).toEqual([]);
  });

  test("that is beyond a limit or in an unusable segment is #GP(0) or #SS(0) and has changed nothing", () => {
    const wrong: string[] = [];
    let faults = 0;
    for (const form of EVERY_FORM) {
      for (const broken of ["data", "stack"] as const) {
        const prepared = prepare(form, 0);
        const { state } = prepared.fixture;
        if (broken === "data") {
          for (const segment of [SEG.ds, SEG.es]) state.setSegment(segment, 0, 0, 0, RIGHTS.UNUSABLE);
        } else {
          state.setSegment(SEG.ss, SELECTOR.data[0] as number, 0, 0x0fff, state.segmentRights(SEG.ss));
        }
        const before = state.save();
        run(form, prepared);
        const said = prepared.fixture.outcome();
        const expected = broken === "data" ? "#GP(0)" : "#SS(0)";
        if (said !== expected) continue;
        faults++;
        const after = state.save();
        const changed = after.some((word, n) => word !== before[n] && !isTemporary(n));
        if (changed || prepared.env.late.length > 0) wrong.push(`${form.name}, ${broken}`);
      }
    }
    expect(wrong).toEqual([]);
    expect(faults).toBeGreaterThan(900);
  });
});

function isTemporary(cell: number): boolean {
  return cell > baseCell(SEG.tr) + 6;
}

describe("a repeated string instruction that faults in an iteration", () => {
  const strings = modelledForms.filter((form) => form.lifted.ops.some((op) => op.op === OP.STRING));
  test("has kept the iterations before it, stays at its EIP, and is finished by running it again", () => {
    expect(strings.length).toBe(21);
    for (const form of strings) {
      const op = form.lifted.ops[1];
      if (op === undefined) throw new Error("no string operation");
      const repeated = { ...form, lifted: { ...form.lifted, ops: [{ ...op, b: 1 }] } };
      const perIteration = op.x === STRING_KIND.MOVS || op.x === STRING_KIND.CMPS ? 2 : 1;
      for (let n = 1; n <= 3 * perIteration; n++) {
        const prepared = prepare(form, 0);
        const { state } = prepared.fixture;
        state.set(GPR.ecx, 3);
        // Comparisons go on while equal.
        state.set(GPR.eax, 0);
        prepared.env.memory.fill(0, 0xb000, 0xd000);
        prepared.env.probesCoverPages = false;
        prepared.env.faultAt = n;
        run(repeated, prepared);
        const done = Math.floor((n - 1) / perIteration);
        expect(prepared.fixture.outcome(), `${form.name} ${n}`).toMatch(/^#PF/);
        expect(state.get(GPR.ecx)).toBe(3 - done);
        expect(state.eip).toBe(0x1234);
        const moved = (state.get(GPR.esi) - 0xb000 || state.get(GPR.edi) - 0xc000) / op.w;
        expect(moved).toBe(done);
        state.signal.outcome = OUTCOME.NONE;
        run(repeated, prepared);
        expect(prepared.fixture.outcome()).toBe("ok");
        expect(state.get(GPR.ecx)).toBe(0);
        expect(state.eip).toBe(0x1234 + op.imm);
      }
    }
  });

  test("commits no flags of the iteration that faults", () => {
    const form = modelledForms.find((f) => f.code === "Cmpsd_m32_m32") as ModelledForm;
    const prepared = prepare(form, 0, FLAG.CF | FLAG.OF);
    prepared.env.faultAt = 2;
    run(form, prepared);
    expect(prepared.fixture.state.signal.vector).toBe(VECTOR.PF);
    expect(prepared.fixture.state.get(CELL.rflags)).toBe(FLAG.ONE | FLAG.CF | FLAG.OF);
  });
});

// The facts in the instruction tables, from which monitors and documents derive what they say, against what the
// instructions do, against iced-x86's own tables, and against the published list of sensitive instructions.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { parse } from "csv-parse/sync";
import { Code, CodeExt, Decoder, DecoderOptions, RflagsBits } from "iced-x86";
import { describe, expect, test } from "vitest";
import type { Intercepts } from "../../sim/cpu/environment.ts";
import { INSTRUCTIONS } from "../../sim/cpu/lift/lift.ts";
import { CELL, CR4, FLAG, OUTCOME } from "../../sim/cpu/state.ts";
import { REASON } from "../../sim/cpu/vmx/reasons.ts";
import { allForms, iopl, type ModelledForm, modelledForms, prepare, run, willingVmx } from "./forms.ts";
import { AT, noIntercepts, SELECTOR } from "./system/fake-environment.ts";

const isVmx = (form: ModelledForm): boolean => form.features.includes("vmx");
const plainForms = modelledForms.filter((form) => !isVmx(form));

/** Runs at CPL 3 with an I/O permission bitmap that denies everything; whether #GP(0) came, before any access. */
function refused(form: ModelledForm, flags: number, cr4: number): boolean {
  const prepared = prepare(form, 3, flags);
  prepared.env.memory.fill(0xff, AT.tss + 0x68, AT.tss + 0x78);
  prepared.fixture.state.set(CELL.cr4, cr4);
  run(form, prepared);
  const { signal } = prepared.fixture.state;
  return signal.outcome === OUTCOME.FAULT && signal.vector === 13 && signal.errorCode === 0;
}

describe("privilege", () => {
  test("an instruction is #GP(0) at CPL 3 exactly if its rule says what it needs", () => {
    const wrong: string[] = [];
    for (const form of plainForms) {
      const said = form.lifted.rule.privileged;
      const is = refused(form, 0, CR4.TSD) ? (refused(form, iopl(3), CR4.TSD) ? "always" : "iopl") : undefined;
      const open = is === "always" && !refused(form, 0, CR4.PCE) ? "cr4" : is === "always" ? "cpl0" : is;
      if (said !== open) wrong.push(`${form.name}: ${said}, but ${open}`);
    }
    expect(wrong).toEqual([]);
  });

  test("agrees with iced-x86's tables", () => {
    const wrong: string[] = [];
    for (const form of modelledForms) {
      const info = CodeExt.opCode(Code[form.code as keyof typeof Code]);
      const { privileged } = form.lifted.rule;
      // Above CPL 0 they are #UD, not #GP(0).
      if (/^(Monitor|Mwait)/.test(form.mnemonic)) continue;
      // SMSW and its kin need CPL 0 only with UMIP, INVLPG and others as we say; VMCALL and SYSEXIT likewise.
      if (info.mustBeCpl0 && privileged !== "cpl0" && form.mnemonic !== "Rsm" && !/^Sysret/.test(form.mnemonic)) {
        wrong.push(`${form.name}: ${privileged}, iced-x86 says CPL 0`);
      }
      info.free();
    }
    expect(wrong).toEqual([]);
  });
});

describe("VM exits", () => {
  /** Exits whenever it is asked, and tells for what reason. */
  function everythingExits(form: ModelledForm): string {
    const prepared = prepare(form, 0);
    const { state } = prepared.fixture;
    let reason = "";
    const exit = (name: string): boolean => {
      state.signal.outcome = OUTCOME.EXIT;
      reason = name;
      return true;
    };
    const nameOf = (basic: number): string => Object.entries(REASON).find(([, n]) => n === basic)?.[0] ?? "?";
    const intercepts: Intercepts = {
      instruction: (basic) => exit(nameOf(basic)),
      invlpg: () => exit("invlpg"),
      portIo: () => exit("ioInstruction"),
      msr: (_index, write) => exit(write ? "wrmsr" : "rdmsr"),
      writeCr: () => exit("crAccess"),
      readCr: () => exit("crAccess"),
      clts: () => exit("crAccess"),
      lmsw: () => exit("crAccess"),
      movDr: () => exit("movDr"),
      taskSwitch: () => exit("taskSwitch"),
      visibleCr: (_cr, actual) => actual,
      mergeCr: (_cr, _actual, written) => written,
      tscOffset: () => 0,
      readTprShadow: () => null,
      writeTprShadow: () => false,
    };
    prepared.env.intercepts = intercepts;
    prepared.env.vmx = {
      ...willingVmx,
      permits: (basic) => !exit(nameOf(basic)),
      vmxon: () => void exit("vmxon"),
    };
    run(form, prepared);
    return state.signal.outcome === OUTCOME.EXIT ? reason : "";
  }
  const camel = (name: string): string => name.replace(/-(.)/g, (_all, letter: string) => letter.toUpperCase());

  test("an instruction exits exactly if its rule says so, for the reason that it says", () => {
    const wrong: string[] = [];
    for (const form of modelledForms) {
      const said = camel(form.lifted.rule.exits ?? "");
      // Task switches need a task gate, a TSS or EFLAGS.NT; MOV from CR0 reads the shadow (CR3 and CR8 exit).
      if (said === "taskSwitch" || form.code === "Mov_r32_cr") continue;
      const is = everythingExits(form);
      if (is !== said) wrong.push(`${form.name}: "${said}", but "${is}"`);
    }
    expect(wrong).toEqual([]);
  });

  test("IRET with EFLAGS.NT is a task switch", () => {
    const form = modelledForms.find(({ code }) => code === "Iretd") as ModelledForm;
    const prepared = prepare(form, 0, FLAG.NT);
    let asked = 0;
    prepared.env.intercepts = noIntercepts({
      taskSwitch: (selector) => {
        asked = selector;
        prepared.fixture.state.signal.outcome = OUTCOME.EXIT;
        return true;
      },
    });
    // The link of the current task names a busy one.
    prepared.env.poke(AT.tss, 2, SELECTOR.otherTss);
    prepared.env.poke(AT.gdt + SELECTOR.otherTss + 5, 1, 0x8b);
    run(form, prepared);
    expect(asked).toBe(SELECTOR.otherTss);
  });

  test("every reason named in the tables exists", () => {
    for (const rule of Object.values(INSTRUCTIONS)) {
      if (rule.exits !== undefined) expect(Object.keys(REASON)).toContain(camel(rule.exits));
    }
  });
});

describe("undefined flags", () => {
  const BITS: readonly (readonly [number, number])[] = [
    [RflagsBits.OF, FLAG.OF],
    [RflagsBits.SF, FLAG.SF],
    [RflagsBits.ZF, FLAG.ZF],
    [RflagsBits.AF, FLAG.AF],
    [RflagsBits.CF, FLAG.CF],
    [RflagsBits.PF, FLAG.PF],
  ];

  test("are those of iced-x86's tables, form by form", () => {
    const wrong: string[] = [];
    for (const form of modelledForms) {
      const decoder = new Decoder(32, form.bytes, DecoderOptions.NoMPFX_0FBC | DecoderOptions.NoMPFX_0FBD);
      const instruction = decoder.decode();
      const theirs = BITS.reduce((set, [bit, flag]) => set | (instruction.rflagsUndefined & bit ? flag : 0), 0);
      const ours = form.lifted.rule.undefinedFlags ?? 0;
      if (ours !== theirs) wrong.push(`${form.name}: ${ours.toString(16)}, iced-x86 ${theirs.toString(16)}`);
      instruction.free();
      decoder.free();
    }
    expect(wrong).toEqual([]);
  });
});

describe("sensitive instructions", () => {
  /** Forms that the published row means, by pattern of iced-x86's code. */
  const ROWS: Readonly<Record<string, RegExp>> = {
    SGDT: /^Sgdt/,
    SIDT: /^Sidt/,
    SLDT: /^Sldt/,
    SMSW: /^Smsw/,
    "PUSHF(D)": /^Pushf/,
    "POPF(D)": /^Popf/,
    LAR: /^Lar/,
    LSL: /^Lsl/,
    VERR: /^Verr/,
    VERW: /^Verw/,
    POP: /^Pop[wd]_[A-Z]S/,
    PUSH: /^Push[wd]_[A-Z]S/,
    CALL: /^Call_(ptr|m16)/,
    JMP: /^Jmp_(ptr|m16)/,
    "INT n": /^Int_imm8/,
    "RET (IRET same)": /^(Retf|Iret)/,
    STR: /^Str/,
    "MOV (sr load/store)": /^Mov_(Sreg|.*_Sreg)/,
  };
  /** What the paper's criterion (sensitive, and does not trap) holds for as well, though the paper does not list it. */
  const BESIDE: readonly [RegExp, string][] = [
    [/^L[defgs]s_/, "loads a segment register, as MOV and POP do"],
    [/^(Int1|Int3|Into)/, "interrupts as INT n does"],
    [/^Arpl/, "its result depends on the RPL that de-privileging changes"],
  ];

  test("are those of Robin & Irvine 2000, and a few of the same kinds", () => {
    const csv = readFileSync(resolve(import.meta.dirname, "../../results/published/robin-irvine-2000.csv"), "utf8");
    const rows = parse(csv, { columns: true }) as { workload?: string; metric: string }[];
    const listed = rows.filter(({ metric }) => metric === "listed as sensitive & unprivileged");
    expect(listed.map((row) => row.workload)).toEqual(Object.keys(ROWS).sort(byRow(listed)));
    for (const form of modelledForms) {
      const isListed = Object.values(ROWS).some((pattern) => pattern.test(form.code));
      const isBeside = BESIDE.some(([pattern]) => pattern.test(form.code));
      expect([form.name, form.lifted.rule.sensitive === true]).toEqual([form.name, isListed || isBeside]);
    }
    for (const pattern of Object.values(ROWS)) expect(modelledForms.some(({ code }) => pattern.test(code))).toBe(true);
  });

  test("do not trap: none of them needs privilege", () => {
    for (const form of modelledForms) {
      if (form.lifted.rule.sensitive === true) expect(form.lifted.rule.privileged).toBeUndefined();
    }
  });
});

function byRow(rows: readonly { workload?: string }[]): (a: string, b: string) => number {
  const place = (name: string): number => rows.findIndex((row) => row.workload === name);
  return (a, b) => place(a) - place(b);
}

test("every form of both processors is modelled", () => {
  const modelled = new Set(modelledForms.map(({ code }) => code));
  expect(allForms.filter(({ code }) => !modelled.has(code)).map(({ code }) => code)).toEqual([]);
});

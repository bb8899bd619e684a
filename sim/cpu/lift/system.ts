/**
 * System instructions (SDM vol. 1, 5.20-5.22), flags, ports and VMX. Their meaning is in the numbered helpers
 * (helpers.ts, system/), here stand operands, cost and the facts that every monitor derives its behaviour from.
 * Memory operands go to the helper as an offset and a segment, because privilege is checked before memory.
 */
import { Code, OpKind, Register } from "iced-x86";
import { MARKER_MAGIC } from "../../observer.ts";
import { byForm } from "../by-form.ts";
import type { HelperName } from "../helpers.ts";
import { OP } from "../micro-ops.ts";
import type { CostName } from "../profiles/profile.ts";
import { BLOCKING, GPR } from "../state.ts";
import { liftMov } from "./arithmetic.ts";
import { liftCall, liftJump, liftPop, liftPush, operandBits } from "./control-flow.ts";
import { type Lifter, registerCell, registerWidth } from "./lifter.ts";
import { type Rule, type RuleTable, UNDEFINED } from "./rule.ts";
import { vmxInformation } from "./vmx-information.ts";

/** A helper without operands. */
function plain(helper: HelperName, cost: CostName | null, facts: Partial<Rule> = {}): Rule {
  return { cost, ...facts, lift: (l) => l.helper(helper, { c: l.length }) };
}

/** A helper with one memory operand (a pseudo-descriptor, a VMCS pointer, INVLPG's page). */
function onMemory(helper: HelperName, cost: CostName | null, facts: Partial<Rule> = {}): Rule {
  return {
    cost,
    memoryIncluded: true,
    ...facts,
    lift: (l) => l.helper(helper, { a: l.address(), x: l.segment(), c: l.length, w: pseudoDescriptorBits(l) }),
  };
}

/** Operand size of LGDT and LIDT: 24 bits of base with a 16-bit operand size. */
function pseudoDescriptorBits(l: Lifter): number {
  return (Code[l.instruction.code] as string).endsWith("_16") ? 16 : 32;
}

/** A helper that reads a 16-bit register or memory operand (LLDT, LTR, LMSW, VERR, VERW). */
function onSelector(helper: HelperName, cost: CostName | null, facts: Partial<Rule> = {}): Rule {
  return {
    cost,
    memoryIncluded: true,
    ...facts,
    lift(l) {
      if (l.isMemory(0)) l.helper(helper, { a: l.address(), x: l.segment(), d: 1, c: l.length });
      else l.helper(helper, { a: l.read(0), c: l.length });
    },
  };
}

/** The rule of an instruction that exists in protected mode only. */
function protectedOnly(rule: Rule): Rule {
  return {
    ...rule,
    lift(l) {
      l.helper("protectedOnly");
      rule.lift(l);
    },
  };
}

/** A helper that yields a value for operand 0 (SLDT, STR, SMSW); memory is always 16 bits wide. */
function storing(helper: HelperName, cost: CostName | null, facts: Partial<Rule> = {}): Rule {
  return {
    cost,
    ...facts,
    lift(l) {
      const d = l.temporary();
      l.helper(helper, { d });
      if (l.isMemory(0)) l.store(16, l.address(), l.segment(), d);
      else l.write(0, d);
    },
  };
}

/** LAR, LSL: selector in, value and ZF out; the destination is written only on success. */
function descriptorQuery(helper: HelperName): Rule {
  return {
    cost: "lar",
    sensitive: true,
    lift(l) {
      const selector = l.read(1, 16);
      const d = l.temporary();
      l.helper(helper, { d, a: selector, b: l.read(0), w: l.width(0) });
      l.write(0, d);
    },
  };
}

function liftMovToOrFromControl(l: Lifter): void {
  const { op0Register: target, op1Register: source } = l.instruction;
  const write = target >= Register.CR0;
  const special = write ? target : source;
  const isDebug = special >= Register.DR0;
  const x = special - (isDebug ? Register.DR0 : Register.CR0);
  if (write) {
    l.helper(isDebug ? "writeDr" : "writeCr", { a: registerCell(source), b: gprNumber(source), x, c: l.length });
    return;
  }
  const d = l.temporary();
  l.helper(isDebug ? "readDr" : "readCr", { d, b: gprNumber(target), x, c: l.length });
  l.emit(OP.MOV, { d: registerCell(target), a: d });
}

function gprNumber(register: number): number {
  return registerCell(register) / 2;
}

/** MOV to and from CRn and DRn: its rule depends on the register. */
function controlMove(l: Lifter, family: "cr" | "dr", write: boolean): Rule {
  const register = write ? l.instruction.op0Register : l.instruction.op1Register;
  const number = register - (family === "cr" ? Register.CR0 : Register.DR0);
  let cost: CostName = write ? "writeDr" : "readDr";
  if (family === "cr") cost = !write ? "readCr" : number === 3 ? "writeCr3" : number === 4 ? "writeCr4" : "writeCr0";
  return {
    cost,
    privileged: "cpl0",
    exits: family === "cr" ? "cr-access" : "mov-dr",
    undefinedFlags: UNDEFINED.ALL,
    endsBlock: true,
    lift: liftMovToOrFromControl,
  };
}

/** Loads of SS by MOV and POP: they begin an interrupt shadow. Other segments share the plain rules' facts. */
const LOAD_SS: Partial<Rule> = { endsBlock: true, setsShadow: BLOCKING.MOV_SS };

/** Far transfers see and change CPL, and may switch tasks. */
const FAR: Partial<Rule> = { sensitive: true, endsBlock: true, exits: "task-switch" };

/** What makes the rule of an instruction whose form has one of its own. */
type Form = (l: Lifter) => Rule;

/** What makes the rule of an instruction's form; null: it has that of its mnemonic. */
const formOf = byForm(({ code }) => formNamed(Code[code] as string));

/** Forms of MOV, PUSH, POP, JMP and CALL whose cost or facts differ from those of their mnemonic; null for all others. */
export function specialForm(l: Lifter): Rule | null {
  return formOf(l.instruction)?.(l) ?? null;
}

function formNamed(code: string): Form | null {
  const write = /^Mov_(cr|dr)_/.exec(code);
  const read = /^Mov_.*_(cr|dr)$/.exec(code);
  const family = (write ?? read)?.[1];
  if (family !== undefined) return (l) => controlMove(l, family as "cr" | "dr", write !== null);
  if (code.startsWith("Mov_Sreg_")) {
    return (l) => {
      const facts = l.instruction.op0Register === Register.SS ? LOAD_SS : {};
      return { cost: "segmentLoad", sensitive: true, ...facts, lift: liftMov };
    };
  }
  const always =
    (rule: Rule): Form =>
    () =>
      rule;
  if (/^Mov_.*_Sreg$/.test(code)) return always({ cost: "segmentStore", sensitive: true, lift: liftMov });
  if (/^Pop[wdq]_[C-G]S$/.test(code)) return always({ cost: "segmentPop", sensitive: true, lift: liftPop });
  if (/^Pop[wdq]_SS$/.test(code)) return always({ cost: "segmentPop", sensitive: true, ...LOAD_SS, lift: liftPop });
  if (/^Push[wdq]_[C-GS]S$/.test(code)) return always({ cost: "segmentStore", sensitive: true, lift: liftPush });
  if (/^Jmp_(ptr|m16(16|32))/.test(code)) return always({ cost: "farJump", ...FAR, lift: liftJump });
  if (/^Call_(ptr|m16(16|32))/.test(code)) return always({ cost: "farCall", ...FAR, lift: liftCall });
  return null;
}

/** IN and OUT: accumulator width, port in DX or an immediate. */
function liftIn(l: Lifter): void {
  const immediate = l.instruction.op1Kind === OpKind.Immediate8;
  const w = registerWidth(l.instruction.op0Register);
  const d = l.temporary();
  const a = immediate ? l.constant(l.instruction.immediate8) : GPR.edx;
  l.helper("in", { d, a, w: w / 8, x: immediate ? 1 : 0, c: l.length });
  l.write(0, d);
}

function liftOut(l: Lifter): void {
  const immediate = l.instruction.op0Kind === OpKind.Immediate8;
  const w = registerWidth(l.instruction.op1Register);
  const a = immediate ? l.constant(l.instruction.immediate8) : GPR.edx;
  l.helper("out", { a, b: GPR.eax, w: w / 8, x: immediate ? 1 : 0, c: l.length });
}

/** NOP in all its forms; a long NOP with the magic displacement is a measuring marker (observer.ts). */
function liftNop(l: Lifter): void {
  const instruction = l.instruction;
  if (!hasMemoryOperand(l)) return;
  const displacement = Number(BigInt.asUintN(32, instruction.memoryDisplacement));
  if (displacement >>> 16 !== MARKER_MAGIC) return;
  l.free = true;
  l.emit(OP.MARKER, { imm: (displacement >>> 8) & 0xff, x: displacement & 0xff });
}

function hasMemoryOperand(l: Lifter): boolean {
  return l.instruction.opCount > 0 && l.isMemory(0);
}

function softwareInterrupt(vector: (l: Lifter) => number, helper: HelperName): Rule {
  return {
    cost: null,
    sensitive: true,
    endsBlock: true,
    lift(l) {
      l.branches = true;
      l.helper(helper, { x: vector(l), c: l.length });
    },
  };
}

const UNDEFINED_INSTRUCTION: Rule = {
  cost: null,
  raisesUndefined: true,
  endsBlock: true,
  lift: (l) => l.helper("undefined"),
};

const pushFlags: Rule = {
  cost: "pushFlags",
  sensitive: true,
  lift(l) {
    const d = l.temporary();
    const w = operandBits(l);
    l.helper("flagsForPush", { d, w });
    l.push(w, d);
  },
};
const popFlags: Rule = {
  cost: "popFlags",
  sensitive: true,
  endsBlock: true,
  lift(l) {
    const w = operandBits(l);
    const value = l.top(w);
    const moved = l.stackPointer(w / 8);
    l.helper("popFlags", { a: value, w });
    l.commitStack(moved);
  },
};

/** Facts that VMX instructions share: outside VMX operation #UD, in non-root operation an exit. */
const vmx = (exits: string): Partial<Rule> => ({ privileged: "cpl0", exits, endsBlock: true });

/** A VMX instruction whose operand is a pointer in memory. */
function vmxPointer(helper: HelperName, exits: string): Rule {
  return {
    cost: null,
    memoryIncluded: true,
    ...vmx(exits),
    lift: (l) => l.helper(helper, { w: vmxInformation(l, 0, -1), a: l.address(), x: l.segment(), c: l.length }),
  };
}

export const SYSTEM: RuleTable = {
  Nop: { cost: "nop", lift: liftNop },
  Reservednop: { cost: "nop", lift: () => undefined },
  // Hints: they fault on nothing and change nothing; what they would do to caches and TLBs is not modelled.
  Prefetchnta: { cost: "nop", lift: () => undefined },
  Prefetcht0: { cost: "nop", lift: () => undefined },
  Prefetcht1: { cost: "nop", lift: () => undefined },
  Prefetcht2: { cost: "nop", lift: () => undefined },
  Pause: { cost: "pause", lift: (l) => l.helper("pause"), exits: "pause" },
  Lfence: { cost: "fence", lift: () => undefined },
  Mfence: { cost: "fence", lift: () => undefined },
  Sfence: { cost: "fence", lift: () => undefined },
  Ud0: UNDEFINED_INSTRUCTION,
  Ud1: UNDEFINED_INSTRUCTION,
  Ud2: UNDEFINED_INSTRUCTION,
  Rsm: UNDEFINED_INSTRUCTION,
  // Intel has them in 64-bit mode only (SDM vol. 2, SYSCALL).
  Syscall: UNDEFINED_INSTRUCTION,
  Sysret: UNDEFINED_INSTRUCTION,
  // Newer than both processors, although iced-x86 counts it to plain VMX.
  Vmfunc: UNDEFINED_INSTRUCTION,
  Pushf: pushFlags,
  Pushfd: pushFlags,
  Popf: popFlags,
  Popfd: popFlags,
  Cli: plain("cli", "cli", { privileged: "iopl" }),
  Sti: plain("sti", "sti", { privileged: "iopl", endsBlock: true, setsShadow: BLOCKING.STI }),
  In: { cost: "portCore", exits: "io-instruction", privileged: "iopl", lift: liftIn },
  Out: { cost: "portCore", exits: "io-instruction", privileged: "iopl", endsBlock: true, lift: liftOut },
  Hlt: {
    cost: "hlt",
    privileged: "cpl0",
    exits: "hlt",
    endsBlock: true,
    lift: (l) => l.helper("hlt"),
  },
  Int: softwareInterrupt((l) => l.instruction.immediate8, "softwareInterrupt"),
  Int3: softwareInterrupt(() => 3, "softwareException"),
  Int1: softwareInterrupt(() => 1, "privilegedSoftwareException"),
  Into: {
    cost: "bound",
    sensitive: true,
    endsBlock: true,
    lift(l) {
      l.branches = true;
      l.helper("overflowInterrupt", { c: l.length });
    },
  },
  Cpuid: plain("cpuid", "cpuid", { exits: "cpuid" }),
  Rdtsc: plain("rdtsc", "rdtsc", { exits: "rdtsc", privileged: "cr4" }),
  Rdpmc: plain("rdpmc", "rdpmc", { exits: "rdpmc", privileged: "cr4" }),
  Rdmsr: plain("rdmsr", "rdmsr", { privileged: "cpl0", exits: "rdmsr" }),
  Wrmsr: plain("wrmsr", "wrmsr", { privileged: "cpl0", exits: "wrmsr", endsBlock: true }),
  Clts: plain("clts", "clts", { privileged: "cpl0", exits: "cr-access" }),
  Lmsw: onSelector("lmsw", "writeCr0", { privileged: "cpl0", exits: "cr-access", endsBlock: true }),
  Smsw: storing("smsw", "readCr", { sensitive: true }),
  Lgdt: onMemory("lgdt", "descriptorTableLoad", { privileged: "cpl0", endsBlock: true }),
  Lidt: onMemory("lidt", "descriptorTableLoad", { privileged: "cpl0", endsBlock: true }),
  Sgdt: onMemory("sgdt", "descriptorTableStore", { sensitive: true }),
  Sidt: onMemory("sidt", "descriptorTableStore", { sensitive: true }),
  Sldt: protectedOnly(storing("sldt", "descriptorTableStore", { sensitive: true })),
  Str: protectedOnly(storing("str", "descriptorTableStore", { sensitive: true })),
  Lldt: protectedOnly(onSelector("lldt", "lldt", { privileged: "cpl0" })),
  Ltr: protectedOnly(onSelector("ltr", "ltr", { privileged: "cpl0" })),
  Verr: protectedOnly(onSelector("verr", "lar", { sensitive: true })),
  Verw: protectedOnly(onSelector("verw", "lar", { sensitive: true })),
  Lar: protectedOnly(descriptorQuery("lar")),
  Lsl: protectedOnly(descriptorQuery("lsl")),
  Arpl: protectedOnly({
    cost: "lar",
    sensitive: true,
    lift(l) {
      const old = l.readForUpdate(0);
      const d = l.temporary();
      l.helper("arpl", { d, a: old, b: l.read(1) });
      l.write(0, d);
    },
  }),
  Invlpg: onMemory("invlpg", "invlpg", { privileged: "cpl0", exits: "invlpg", endsBlock: true }),
  Invd: plain("invd", "cacheControl", { privileged: "cpl0", exits: "invd" }),
  Wbinvd: plain("wbinvd", "cacheControl", { privileged: "cpl0" }),
  Sysenter: {
    cost: "sysenter",
    endsBlock: true,
    lift(l) {
      l.branches = true;
      l.helper("sysenter");
    },
  },
  Sysexit: {
    cost: "sysexit",
    privileged: "cpl0",
    endsBlock: true,
    lift(l) {
      l.branches = true;
      l.helper("sysexit");
    },
  },
  Vmxon: vmxPointer("vmxon", "vmxon"),
  Vmxoff: plain("vmxoff", null, vmx("vmxoff")),
  Vmclear: vmxPointer("vmclear", "vmclear"),
  Vmptrld: vmxPointer("vmptrld", "vmptrld"),
  Vmptrst: vmxPointer("vmptrst", "vmptrst"),
  Vmread: {
    cost: null,
    ...vmx("vmread"),
    lift(l) {
      // The destination is written by the helper: on VMfail it stays as it was.
      const a = l.read(1);
      const w = vmxInformation(l, 0, 1);
      if (l.isMemory(0)) l.helper("vmread", { w, d: l.address(), a, x: l.segment(), b: 1, c: l.length });
      else l.helper("vmread", { w, d: registerCell(l.instruction.op0Register), a, b: 0, c: l.length });
    },
  },
  Vmwrite: {
    cost: null,
    ...vmx("vmwrite"),
    lift(l) {
      const d = registerCell(l.instruction.op0Register);
      const w = vmxInformation(l, 1, 0);
      if (l.isMemory(1)) l.helper("vmwrite", { w, d, a: l.address(), x: l.segment(), b: 1, c: l.length });
      else l.helper("vmwrite", { w, d, a: registerCell(l.instruction.op1Register), b: 0, c: l.length });
    },
  },
  Vmlaunch: {
    cost: null,
    ...vmx("vmlaunch"),
    lift(l) {
      l.branches = true;
      l.helper("vmlaunch", { c: l.length });
    },
  },
  Vmresume: {
    cost: null,
    ...vmx("vmresume"),
    lift(l) {
      l.branches = true;
      l.helper("vmresume", { c: l.length });
    },
  },
  Vmcall: plain("vmcall", null, vmx("vmcall")),
};

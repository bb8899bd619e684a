/**
 * x87 instructions (SDM vol. 1, 5.2): operands and costs; their meaning is in x87/instructions.ts. FN... forms and
 * FWAIT decode as instructions of their own, as they are.
 */
import { Code, Encoder, MemorySize, Register } from "iced-x86";
import type { CostName } from "../profiles/profile.ts";
import { FORMAT } from "../x87/conversions.ts";
import { POP_ONCE, POP_TWICE, TO_STI, type X87Operation, x87Operation } from "../x87/instructions.ts";
import type { Lifter } from "./lifter.ts";
import type { Rule, RuleTable } from "./rule.ts";

const FORMATS: Readonly<Record<number, number>> = {
  [MemorySize.Int16]: FORMAT.INT16,
  [MemorySize.UInt16]: FORMAT.INT16,
  [MemorySize.Int32]: FORMAT.INT32,
  [MemorySize.Int64]: FORMAT.INT64,
  [MemorySize.Float32]: FORMAT.FLOAT32,
  [MemorySize.Float64]: FORMAT.FLOAT64,
  [MemorySize.Float80]: FORMAT.FLOAT80,
  [MemorySize.Bcd]: FORMAT.DECIMAL,
  [MemorySize.FpuEnv14]: 16,
  [MemorySize.FpuState94]: 16,
  [MemorySize.FpuEnv28]: 32,
  [MemorySize.FpuState108]: 32,
};

/** First byte of the x87 opcodes D8 to DF. */
const ESCAPE = 0xd8;

function hasMemory(l: Lifter): boolean {
  return l.instruction.opCount > 0 && l.isMemory(0);
}

/** The ST register that is named beside ST(0), and whether it is the destination; ST(1) where none is named. */
function stackRegister(l: Lifter, defaultRegister: number): number {
  const { op0Register, op1Register, opCount } = l.instruction;
  if (opCount === 0) return defaultRegister;
  if (opCount === 1) return op0Register - Register.ST0;
  const text = Code[l.instruction.code] as string;
  return text.includes("_st0_sti") ? op1Register - Register.ST0 : (op0Register - Register.ST0) | TO_STI;
}

/** Opcode bits 10:0 as FOP keeps them: low three bits of the first byte, and the ModRM byte (SDM vol. 1, figure 8-8). */
function opcode(l: Lifter): number {
  const encoder = new Encoder(l.mode.bits);
  try {
    encoder.encode(l.instruction, 0n);
    const bytes = encoder.takeBuffer();
    const first = bytes.findIndex((byte) => byte >>> 3 === ESCAPE >>> 3);
    return ((bytes[first]! & 7) << 8) | bytes[first + 1]!;
  } finally {
    encoder.free();
  }
}

function emit(l: Lifter, operation: X87Operation, flags: number, defaultRegister: number): void {
  const b = x87Operation(operation);
  const d = l.instruction.code === Code.Wait ? 0 : opcode(l);
  if (!hasMemory(l)) {
    l.helper("x87", { b, c: stackRegister(l, defaultRegister) | flags, d });
    return;
  }
  const w = FORMATS[l.instruction.memorySize] ?? FORMAT.NONE;
  l.helper("x87", { b, a: l.address(), x: l.segment(), w, c: flags, d });
}

function rule(cost: CostName, operation: X87Operation, flags = 0, defaultRegister = 1): Rule {
  return { cost, memoryIncluded: true, lift: (l) => emit(l, operation, flags, defaultRegister) };
}

/** Arithmetic in its forms: plain, with pop, and on an integer in memory. */
function arithmetic(suffix: string, cost: CostName, operation: X87Operation): Record<string, Rule> {
  return {
    [`F${suffix}`]: rule(cost, operation),
    [`F${suffix}p`]: rule(cost, operation, POP_ONCE),
    [`Fi${suffix}`]: rule(cost, operation),
  };
}

function fst(flags: number): Rule {
  return {
    cost: "x87Store",
    memoryIncluded: true,
    lift: (l) => emit(l, hasMemory(l) ? "store" : "storeToRegister", flags, 1),
  };
}

export const X87_INSTRUCTIONS: RuleTable = {
  ...arithmetic("add", "x87Add", "add"),
  ...arithmetic("mul", "x87Multiply", "multiply"),
  ...arithmetic("sub", "x87Add", "subtract"),
  ...arithmetic("subr", "x87Add", "subtractReversed"),
  ...arithmetic("div", "x87Divide", "divide"),
  ...arithmetic("divr", "x87Divide", "divideReversed"),
  Fcom: rule("x87Compare", "compare"),
  Fcomp: rule("x87Compare", "compare", POP_ONCE),
  Fcompp: rule("x87Compare", "compare", POP_TWICE),
  Ficom: rule("x87Compare", "compare"),
  Ficomp: rule("x87Compare", "compare", POP_ONCE),
  Fucom: rule("x87Compare", "compareQuietly"),
  Fucomp: rule("x87Compare", "compareQuietly", POP_ONCE),
  Fucompp: rule("x87Compare", "compareQuietly", POP_TWICE),
  Fcomi: rule("x87Compare", "compareFlags"),
  Fcomip: rule("x87Compare", "compareFlags", POP_ONCE),
  Fucomi: rule("x87Compare", "compareFlagsQuietly"),
  Fucomip: rule("x87Compare", "compareFlagsQuietly", POP_ONCE),
  Ftst: rule("x87Compare", "ftst"),
  Fxam: rule("x87Compare", "fxam"),
  Fld: rule("x87Load", "load"),
  Fild: rule("x87LoadInteger", "load"),
  Fbld: rule("x87LoadDecimal", "load"),
  Fst: fst(0),
  Fstp: fst(POP_ONCE),
  Fstpnce: fst(POP_ONCE),
  Fist: rule("x87StoreInteger", "store"),
  Fistp: rule("x87StoreInteger", "store", POP_ONCE),
  Fisttp: rule("x87StoreInteger", "storeTruncated", POP_ONCE),
  Fbstp: rule("x87StoreDecimal", "store", POP_ONCE),
  Fxch: rule("x87Exchange", "exchange"),
  Fchs: rule("x87Sign", "fchs"),
  Fabs: rule("x87Sign", "fabs"),
  Fsqrt: rule("x87SquareRoot", "fsqrt"),
  Frndint: rule("x87Round", "frndint"),
  Fscale: rule("x87Scale", "fscale"),
  Fxtract: rule("x87Extract", "fxtract"),
  Fprem: rule("x87Remainder", "fprem"),
  Fprem1: rule("x87Remainder", "fprem1"),
  Fsin: rule("x87Sine", "fsin"),
  Fcos: rule("x87Sine", "fcos"),
  Fsincos: rule("x87SineCosine", "fsincos"),
  Fptan: rule("x87Tangent", "fptan"),
  Fpatan: rule("x87Arctangent", "fpatan"),
  F2xm1: rule("x87Exponential", "f2xm1"),
  Fyl2x: rule("x87Logarithm", "fyl2x"),
  Fyl2xp1: rule("x87Logarithm", "fyl2xp1"),
  Fldz: rule("x87Constant", "fldz"),
  Fld1: rule("x87Constant", "fld1"),
  Fldpi: rule("x87Constant", "fldpi"),
  Fldl2t: rule("x87Constant", "fldl2t"),
  Fldl2e: rule("x87Constant", "fldl2e"),
  Fldlg2: rule("x87Constant", "fldlg2"),
  Fldln2: rule("x87Constant", "fldln2"),
  Fcmovb: rule("x87ConditionalMove", "moveBelow"),
  Fcmove: rule("x87ConditionalMove", "moveEqual"),
  Fcmovbe: rule("x87ConditionalMove", "moveBelowOrEqual"),
  Fcmovu: rule("x87ConditionalMove", "moveUnordered"),
  Fcmovnb: rule("x87ConditionalMove", "moveNotBelow"),
  Fcmovne: rule("x87ConditionalMove", "moveNotEqual"),
  Fcmovnbe: rule("x87ConditionalMove", "moveAbove"),
  Fcmovnu: rule("x87ConditionalMove", "moveOrdered"),
  Fincstp: rule("x87Exchange", "fincstp"),
  Fdecstp: rule("x87Exchange", "fdecstp"),
  Ffree: rule("x87Exchange", "ffree"),
  Ffreep: rule("x87Exchange", "ffree", POP_ONCE),
  Fnop: rule("x87Exchange", "fnop"),
  Wait: rule("x87Wait", "fwait"),
  Fneni: rule("x87Exchange", "ignored"),
  Fndisi: rule("x87Exchange", "ignored"),
  Fnsetpm: rule("x87Exchange", "ignored"),
  Fninit: rule("x87Initialize", "fninit"),
  Fnclex: rule("x87Initialize", "fnclex"),
  Fnstcw: rule("x87StoreControl", "fnstcw"),
  Fldcw: rule("x87LoadControl", "fldcw"),
  Fnstsw: rule("x87StoreStatus", "fnstsw"),
  Fnstenv: rule("x87Environment", "fnstenv"),
  Fldenv: rule("x87Environment", "fldenv"),
  Fnsave: rule("x87State", "fnsave"),
  Frstor: rule("x87State", "frstor"),
};

/** SSE to SSE3 instructions on XMM registers other than packed integers (SDM vol. 1, 5.5 to 5.7), and the state's image. */

import { Register } from "iced-x86";
import type { HelperName } from "../helpers.ts";
import { OP } from "../micro-ops.ts";
import type { CostName } from "../profiles/profile.ts";
import { OPERAND } from "../sse/operands.ts";
import { CELL, GPR, SEG } from "../state.ts";
import { type Lifter, segmentNumber } from "./lifter.ts";
import type { Rule, RuleTable } from "./rule.ts";
import { move, rules, simd, store } from "./simd.ts";

/** FXSAVE, FXRSTOR. */
function image(helper: HelperName, cost: CostName): Rule {
  return {
    cost,
    memoryIncluded: true,
    lift: (l) => l.helper(helper, { a: l.address(), x: l.segment() | OPERAND.ALIGNED }),
  };
}

/** Segment of MONITOR's implicit operand. */
function segmentOverride(l: Lifter): number {
  const prefix = l.instruction.segmentPrefix;
  return prefix === Register.None ? SEG.ds : segmentNumber(prefix);
}

/** MOVSD and CMPSD, which share their mnemonics with string instructions, by iced-x86's code. */
export const SSE_NAMESAKES: RuleTable = {
  Movsd_xmm_xmmm64: move("movsd"),
  Movsd_xmmm64_xmm: move("movsd"),
  Cmpsd_xmm_xmmm64_imm8: simd("cmpsd", "sseAdd"),
};

export const SSE: RuleTable = {
  Movaps: move("moveVector"),
  Movapd: move("moveVector"),
  Movups: move("moveVector"),
  Movupd: move("moveVector"),
  Movdqa: move("moveVector"),
  Movdqu: move("moveVector"),
  Lddqu: move("moveVector"),
  Movss: move("movss"),
  Movlps: move("moveLow"),
  Movlpd: move("moveLow"),
  Movhps: move("moveToHigh", 2),
  Movhpd: move("moveToHigh", 2),
  Movlhps: move("moveToHigh"),
  Movhlps: move("movhlps"),
  Movq2dq: move("moveQuadword"),
  Movdq2q: move("moveLow"),
  Movntps: store("simdStore"),
  Movntpd: store("simdStore"),
  Movntdq: store("simdStore"),
  Movnti: {
    cost: "simdStore",
    lift: (l) => l.store(32, l.address(), l.segment(), l.read(1)),
  },
  Clflush: {
    cost: "fence",
    lift: (l) => void l.load(8, l.address(), l.segment()),
  },
  Movmskps: simd("movmskps", "simdToGeneral"),
  Movmskpd: simd("movmskpd", "simdToGeneral"),
  Andps: simd("and", "sseLogic"),
  Andpd: simd("and", "sseLogic"),
  Andnps: simd("andNot", "sseLogic"),
  Andnpd: simd("andNot", "sseLogic"),
  Orps: simd("or", "sseLogic"),
  Orpd: simd("or", "sseLogic"),
  Xorps: simd("xor", "sseLogic"),
  Xorpd: simd("xor", "sseLogic"),
  Unpcklps: simd("punpckldq", "sseShuffle"),
  Unpckhps: simd("punpckhdq", "sseShuffle"),
  Unpcklpd: simd("punpcklqdq", "sseShuffle"),
  Unpckhpd: simd("punpckhqdq", "sseShuffle"),
  Shufps: simd("shufps", "sseShuffle"),
  Shufpd: simd("shufpd", "sseShuffle"),
  Movddup: simd("movddup", "sseShuffle"),
  Movsldup: simd("movsldup", "sseShuffle"),
  Movshdup: simd("movshdup", "sseShuffle"),
  ...rules("sseAdd", ["addps", "addss", "addpd", "addsd", "subps", "subss", "subpd", "subsd"]),
  ...rules("sseAdd", ["minps", "minss", "minpd", "minsd", "maxps", "maxss", "maxpd", "maxsd"]),
  ...rules("sseAdd", ["cmpps", "cmpss", "cmppd", "addsubps", "addsubpd"]),
  ...rules("sseMultiply", ["mulps", "mulss", "mulpd", "mulsd"]),
  Divss: simd("divss", "sseDivideSingle"),
  Divsd: simd("divsd", "sseDivideDouble"),
  Divps: simd("divps", "sseDividePackedSingle"),
  Divpd: simd("divpd", "sseDividePackedDouble"),
  Sqrtss: simd("sqrtss", "sseRootSingle"),
  Sqrtsd: simd("sqrtsd", "sseRootDouble"),
  Sqrtps: simd("sqrtps", "sseRootPackedSingle"),
  Sqrtpd: simd("sqrtpd", "sseRootPackedDouble"),
  ...rules("sseReciprocal", ["rcpps", "rcpss", "rsqrtps", "rsqrtss"]),
  ...rules("sseCompareFlags", ["comiss", "comisd", "ucomiss", "ucomisd"]),
  ...rules("sseHorizontal", ["haddps", "haddpd", "hsubps", "hsubpd"]),
  ...rules("sseConvert", ["cvtsi2ss", "cvtdq2ps", "cvtpi2pd", "cvtsi2sd", "cvtdq2pd", "cvtps2pi", "cvtss2si"]),
  ...rules("sseConvert", ["cvtps2dq", "cvttps2pi", "cvttss2si", "cvttps2dq", "cvtpd2pi", "cvtsd2si", "cvtpd2dq"]),
  ...rules("sseConvert", ["cvttpd2pi", "cvttsd2si", "cvttpd2dq", "cvtps2pd", "cvtss2sd", "cvtpd2ps", "cvtsd2ss"]),
  // Goes over to MMX state even with its source in memory; CVTPI2PD does not (SDM vol. 2).
  Cvtpi2ps: simd("cvtpi2ps", "sseConvert", OPERAND.MMX),
  Ldmxcsr: simd("ldmxcsr", "mxcsrLoad", OPERAND.XMM),
  Stmxcsr: store("mxcsrStore"),
  Monitor: {
    cost: "monitor",
    exits: "monitor",
    lift(l) {
      const a = l.temporary();
      const w = l.codeName === "Monitorw" ? 16 : 32;
      l.emit(OP.ADDRESS, { w, d: a, a: GPR.eax, b: CELL.zero });
      l.helper("monitor", { a, x: segmentOverride(l) });
    },
  },
  Mwait: { cost: "mwait", exits: "mwait", lift: (l) => l.helper("mwait") },
  Fxsave: image("fxsave", "fxsave"),
  Fxrstor: image("fxrstor", "fxrstor"),
};

/**
 * MMX instructions, and their forms on XMM registers (SDM vol. 1, 5.4, 5.6.3, 5.7): packed integers. One rule serves both
 * register files; operands decide.
 */
import type { Rule, RuleTable } from "./rule.ts";
import { maskedStore, move, rules, simd, store } from "./simd.ts";

const LOGIC: Readonly<Record<string, Rule>> = {
  Pand: simd("and", "simdAlu"),
  Pandn: simd("andNot", "simdAlu"),
  Por: simd("or", "simdAlu"),
  Pxor: simd("xor", "simdAlu"),
};

export const MMX: RuleTable = {
  ...LOGIC,
  ...rules("simdAlu", ["paddb", "paddw", "paddd", "psubb", "psubw", "psubd"]),
  ...rules("simdAlu", ["paddsb", "paddsw", "paddusb", "paddusw", "psubsb", "psubsw", "psubusb", "psubusw"]),
  ...rules("simdAlu", ["pcmpeqb", "pcmpeqw", "pcmpeqd", "pcmpgtb", "pcmpgtw", "pcmpgtd"]),
  ...rules("simdAlu", ["pminub", "pminsw", "pmaxub", "pmaxsw", "pavgb", "pavgw"]),
  ...rules("simdAlu", ["psignb", "psignw", "psignd", "pabsb", "pabsw", "pabsd"]),
  ...rules("simdQuadword", ["paddq", "psubq"]),
  ...rules("simdMultiply", ["pmullw", "pmulhw", "pmulhuw", "pmulhrsw", "pmaddwd", "pmuludq", "pmaddubsw"]),
  ...rules("simdSumDifferences", ["psadbw"]),
  ...rules("simdShift", ["psllw", "pslld", "psllq", "psrlw", "psrld", "psrlq", "psraw", "psrad", "pslldq", "psrldq"]),
  ...rules("simdShuffle", ["punpcklbw", "punpcklwd", "punpckldq", "punpcklqdq"]),
  ...rules("simdShuffle", ["punpckhbw", "punpckhwd", "punpckhdq", "punpckhqdq"]),
  ...rules("simdShuffle", ["packsswb", "packssdw", "packuswb"]),
  ...rules("simdShuffle", ["pshufw", "pshufd", "pshuflw", "pshufhw", "pshufb", "palignr"]),
  ...rules("simdHorizontal", ["phaddw", "phaddd", "phaddsw", "phsubw", "phsubd", "phsubsw"]),
  ...rules("simdToGeneral", ["pmovmskb", "pextrw"]),
  ...rules("simdFromGeneral", ["pinsrw"]),
  Movd: {
    cost: "simdMove",
    lift(l) {
      if (/^Movd_x?mm_/.test(l.codeName)) {
        if (l.isRegister(1)) l.cost = "simdFromGeneral";
        simd("moveDoubleword", "simdMove").lift(l);
      } else {
        if (l.isRegister(0)) l.cost = "simdToGeneral";
        move("moveToGeneral").lift(l);
      }
    },
  },
  Movq: {
    cost: "simdMove",
    lift(l) {
      move(/^Movq_mm_|^Movq_mmm64_/.test(l.codeName) ? "moveLow" : "moveQuadword").lift(l);
    },
  },
  Movntq: store("simdStore"),
  Maskmovq: maskedStore("simdMaskedStore"),
  Maskmovdqu: maskedStore("simdMaskedStore"),
  Emms: { cost: "emms", lift: (l) => l.helper("emms") },
};

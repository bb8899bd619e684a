/*
 * Records what single MMX and SSE instructions do on the processor that runs this program (README.md, "MMX and SSE").
 * One vector: FXRSTOR of a chosen state, POPF, the instruction, PUSHF, FXSAVE. Register operands are MM1 or XMM1 (or ECX) in
 * ModRM.reg and MM2, XMM2 or EDX in ModRM.rm; a memory operand is at [EDI]. The encodings mean the same in 64-bit mode, in
 * which this program is compiled. An exception arrives as SIGFPE; the instruction is then skipped.
 * Usage: sse <family> [seed]   writes JSON lines to standard output.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <cpuid.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

/* Register files. */
enum { X, M, R, NO };
/* Elements of the operands, by which values are chosen. */
enum { B8, W16, D32, Q64, S, D, COUNT, CTRL };
/* bytes: a memory operand's size (0: registers only), STORE: the destination is ModRM.rm, ONLY: memory only. */
enum { STORE = 1, ONLY = 2, IMM = 4, DIGIT = 8 };
struct row { const char *family, *name, *op; int dst, src, element, bytes, flags, count; }; /* op: prefix and opcode bytes in hexadecimal; DIGIT: then /n */

/* A packed integer instruction on MMX registers in one family and on XMM registers in another. */
#define BOTH(fm, fx, name, op, e, n) {fm, name " mm", op, M, M, e, 8, 0, n * 2 / 3}, {fx, name " xmm", "66" op, X, X, e, 16, 0, n},
#define MMX2(name, op, e) BOTH("mmx", "sse2", name, op, e, 300)
#define SSE1(name, op, e) BOTH("sse", "sse2", name, op, e, 300)
#define SSSE3(name, op, e) BOTH("ssse3", "ssse3", name, op, e, 270)
#define SHIFT(name, op, group, digit, e) BOTH("mmx", "sse2", name, op, COUNT + 8 * e, 300) \
  {"mmx", name " mm, imm", group "/" digit, M, NO, e, 0, IMM | DIGIT, 90}, {"sse2", name " xmm, imm", "66" group "/" digit, X, NO, e, 0, IMM | DIGIT, 120},
#define FLOAT(name, op, n) \
  {"sse", name "PS", op, X, X, S, 16, 0, n}, {"sse", name "SS", "f3" op, X, X, S, 4, 0, n}, \
  {"sse2", name "PD", "66" op, X, X, D, 16, 0, n}, {"sse2", name "SD", "f2" op, X, X, D, 8, 0, n},
static const struct row rows[] = {
  MMX2("PADDB", "0ffc", B8) MMX2("PADDW", "0ffd", W16) MMX2("PADDD", "0ffe", D32) BOTH("sse2", "sse2", "PADDQ", "0fd4", Q64, 240)
  MMX2("PSUBB", "0ff8", B8) MMX2("PSUBW", "0ff9", W16) MMX2("PSUBD", "0ffa", D32) BOTH("sse2", "sse2", "PSUBQ", "0ffb", Q64, 240)
  MMX2("PADDSB", "0fec", B8) MMX2("PADDSW", "0fed", W16) MMX2("PADDUSB", "0fdc", B8) MMX2("PADDUSW", "0fdd", W16)
  MMX2("PSUBSB", "0fe8", B8) MMX2("PSUBSW", "0fe9", W16) MMX2("PSUBUSB", "0fd8", B8) MMX2("PSUBUSW", "0fd9", W16)
  MMX2("PCMPEQB", "0f74", B8) MMX2("PCMPEQW", "0f75", W16) MMX2("PCMPEQD", "0f76", D32)
  MMX2("PCMPGTB", "0f64", B8) MMX2("PCMPGTW", "0f65", W16) MMX2("PCMPGTD", "0f66", D32)
  MMX2("PAND", "0fdb", Q64) MMX2("PANDN", "0fdf", Q64) MMX2("POR", "0feb", Q64) MMX2("PXOR", "0fef", Q64)
  MMX2("PMULLW", "0fd5", W16) MMX2("PMULHW", "0fe5", W16) MMX2("PMADDWD", "0ff5", W16)
  MMX2("PACKSSWB", "0f63", W16) MMX2("PACKSSDW", "0f6b", D32) MMX2("PACKUSWB", "0f67", W16)
  MMX2("PUNPCKHBW", "0f68", B8) MMX2("PUNPCKHWD", "0f69", W16) MMX2("PUNPCKHDQ", "0f6a", D32)
  {"mmx", "PUNPCKLBW mm", "0f60", M, M, B8, 4, 0, 200}, {"mmx", "PUNPCKLWD mm", "0f61", M, M, W16, 4, 0, 200}, {"mmx", "PUNPCKLDQ mm", "0f62", M, M, D32, 4, 0, 200},
  {"sse2", "PUNPCKLBW xmm", "660f60", X, X, B8, 16, 0, 240}, {"sse2", "PUNPCKLWD xmm", "660f61", X, X, W16, 16, 0, 240},
  {"sse2", "PUNPCKLDQ xmm", "660f62", X, X, D32, 16, 0, 240}, {"sse2", "PUNPCKLQDQ xmm", "660f6c", X, X, Q64, 16, 0, 200}, {"sse2", "PUNPCKHQDQ xmm", "660f6d", X, X, Q64, 16, 0, 200},
  SHIFT("PSLLW", "0ff1", "0f71", "6", W16) SHIFT("PSLLD", "0ff2", "0f72", "6", D32) SHIFT("PSLLQ", "0ff3", "0f73", "6", Q64)
  SHIFT("PSRLW", "0fd1", "0f71", "2", W16) SHIFT("PSRLD", "0fd2", "0f72", "2", D32) SHIFT("PSRLQ", "0fd3", "0f73", "2", Q64)
  SHIFT("PSRAW", "0fe1", "0f71", "4", W16) SHIFT("PSRAD", "0fe2", "0f72", "4", D32)
  {"sse2", "PSLLDQ", "660f73/7", X, NO, B8, 0, IMM | DIGIT, 150}, {"sse2", "PSRLDQ", "660f73/3", X, NO, B8, 0, IMM | DIGIT, 150},
  {"mmx", "MOVD mm", "0f6e", M, R, D32, 4, 0, 150}, {"mmx", "MOVD r32, mm", "0f7e", M, R, D32, 4, STORE, 150},
  {"mmx", "MOVQ mm", "0f6f", M, M, Q64, 8, 0, 150}, {"mmx", "MOVQ mm, mm store", "0f7f", M, M, Q64, 8, STORE, 150}, {"mmx", "EMMS", "0f77", NO, NO, Q64, 0, 0, 20},
  SSE1("PAVGB", "0fe0", B8) SSE1("PAVGW", "0fe3", W16) SSE1("PMINUB", "0fda", B8) SSE1("PMINSW", "0fea", W16) SSE1("PMAXUB", "0fde", B8) SSE1("PMAXSW", "0fee", W16)
  SSE1("PMULHUW", "0fe4", W16) SSE1("PSADBW", "0ff6", B8) BOTH("sse2", "sse2", "PMULUDQ", "0ff4", D32, 300)
  {"sse", "PSHUFW", "0f70", M, M, W16, 8, IMM, 250}, {"sse", "PINSRW mm", "0fc4", M, R, W16, 2, IMM, 200}, {"sse", "PEXTRW mm", "0fc5", R, M, W16, 0, IMM, 200}, {"sse", "PMOVMSKB mm", "0fd7", R, M, B8, 0, 0, 150},
  {"sse", "MOVNTQ", "0fe7", M, M, Q64, 8, STORE | ONLY, 60}, {"sse", "MASKMOVQ", "0ff7", M, M, B8, 0, 0, 150},
  {"sse2", "PSHUFD", "660f70", X, X, D32, 16, IMM, 250}, {"sse2", "PSHUFHW", "f30f70", X, X, W16, 16, IMM, 250}, {"sse2", "PSHUFLW", "f20f70", X, X, W16, 16, IMM, 250},
  {"sse2", "PINSRW xmm", "660fc4", X, R, W16, 2, IMM, 200}, {"sse2", "PEXTRW xmm", "660fc5", R, X, W16, 0, IMM, 200}, {"sse2", "PMOVMSKB xmm", "660fd7", R, X, B8, 0, 0, 150},
  {"sse2", "MASKMOVDQU", "660ff7", X, X, B8, 0, 0, 150}, {"sse2", "MOVNTDQ", "660fe7", X, X, Q64, 16, STORE | ONLY, 50}, {"sse2", "MOVNTPD", "660f2b", X, X, Q64, 16, STORE | ONLY, 50}, {"sse", "MOVNTPS", "0f2b", X, X, Q64, 16, STORE | ONLY, 50},
  {"sse2", "MOVD xmm", "660f6e", X, R, D32, 4, 0, 120}, {"sse2", "MOVD r32, xmm", "660f7e", X, R, D32, 4, STORE, 120}, {"sse2", "MOVQ xmm", "f30f7e", X, X, Q64, 8, 0, 120}, {"sse2", "MOVQ xmm store", "660fd6", X, X, Q64, 8, STORE, 120},
  {"sse2", "MOVQ2DQ", "f30fd6", X, M, Q64, 0, 0, 80}, {"sse2", "MOVDQ2Q", "f20fd6", M, X, Q64, 0, 0, 80},
  {"sse", "MOVAPS", "0f28", X, X, S, 16, 0, 60}, {"sse", "MOVAPS store", "0f29", X, X, S, 16, STORE, 60}, {"sse", "MOVUPS", "0f10", X, X, S, 16, 0, 60}, {"sse", "MOVUPS store", "0f11", X, X, S, 16, STORE, 60},
  {"sse", "MOVSS", "f30f10", X, X, S, 4, 0, 80}, {"sse", "MOVSS store", "f30f11", X, X, S, 4, STORE, 80}, {"sse", "MOVLPS", "0f12", X, X, S, 8, 0, 80}, {"sse", "MOVLPS store", "0f13", X, X, S, 8, STORE | ONLY, 50},
  {"sse", "MOVHPS", "0f16", X, X, S, 8, 0, 80}, {"sse", "MOVHPS store", "0f17", X, X, S, 8, STORE | ONLY, 50}, {"sse", "MOVMSKPS", "0f50", R, X, S, 0, 0, 100},
  {"sse2", "MOVAPD", "660f28", X, X, D, 16, 0, 60}, {"sse2", "MOVAPD store", "660f29", X, X, D, 16, STORE, 60}, {"sse2", "MOVUPD", "660f10", X, X, D, 16, 0, 60}, {"sse2", "MOVUPD store", "660f11", X, X, D, 16, STORE, 60},
  {"sse2", "MOVDQA", "660f6f", X, X, Q64, 16, 0, 60}, {"sse2", "MOVDQA store", "660f7f", X, X, Q64, 16, STORE, 60}, {"sse2", "MOVDQU", "f30f6f", X, X, Q64, 16, 0, 60}, {"sse2", "MOVDQU store", "f30f7f", X, X, Q64, 16, STORE, 60},
  {"sse2", "MOVSD", "f20f10", X, X, D, 8, 0, 80}, {"sse2", "MOVSD store", "f20f11", X, X, D, 8, STORE, 80}, {"sse2", "MOVLPD", "660f12", X, X, D, 8, ONLY, 50}, {"sse2", "MOVLPD store", "660f13", X, X, D, 8, STORE | ONLY, 50},
  {"sse2", "MOVHPD", "660f16", X, X, D, 8, ONLY, 50}, {"sse2", "MOVHPD store", "660f17", X, X, D, 8, STORE | ONLY, 50}, {"sse2", "MOVMSKPD", "660f50", R, X, D, 0, 0, 100},
  {"sse", "ANDPS", "0f54", X, X, S, 16, 0, 80}, {"sse", "ANDNPS", "0f55", X, X, S, 16, 0, 80}, {"sse", "ORPS", "0f56", X, X, S, 16, 0, 80}, {"sse", "XORPS", "0f57", X, X, S, 16, 0, 80},
  {"sse2", "ANDPD", "660f54", X, X, D, 16, 0, 80}, {"sse2", "ANDNPD", "660f55", X, X, D, 16, 0, 80}, {"sse2", "ORPD", "660f56", X, X, D, 16, 0, 80}, {"sse2", "XORPD", "660f57", X, X, D, 16, 0, 80},
  {"sse", "UNPCKLPS", "0f14", X, X, S, 16, 0, 120}, {"sse", "UNPCKHPS", "0f15", X, X, S, 16, 0, 120}, {"sse", "SHUFPS", "0fc6", X, X, S, 16, IMM, 250},
  {"sse2", "UNPCKLPD", "660f14", X, X, D, 16, 0, 120}, {"sse2", "UNPCKHPD", "660f15", X, X, D, 16, 0, 120}, {"sse2", "SHUFPD", "660fc6", X, X, D, 16, IMM, 150},
  FLOAT("ADD", "0f58", 3600) FLOAT("SUB", "0f5c", 2700) FLOAT("MUL", "0f59", 3600) FLOAT("DIV", "0f5e", 3600) FLOAT("SQRT", "0f51", 2200) FLOAT("MIN", "0f5d", 1300) FLOAT("MAX", "0f5f", 1300)
  {"sse", "CMPPS", "0fc2", X, X, S, 16, IMM, 1700}, {"sse", "CMPSS", "f30fc2", X, X, S, 4, IMM, 1700}, {"sse2", "CMPPD", "660fc2", X, X, D, 16, IMM, 1700}, {"sse2", "CMPSD", "f20fc2", X, X, D, 8, IMM, 1700},
  {"sse", "COMISS", "0f2f", X, X, S, 4, 0, 700}, {"sse", "UCOMISS", "0f2e", X, X, S, 4, 0, 700}, {"sse2", "COMISD", "660f2f", X, X, D, 8, 0, 700}, {"sse2", "UCOMISD", "660f2e", X, X, D, 8, 0, 700},
  {"sse", "CVTPI2PS", "0f2a", X, M, D32, 8, 0, 500}, {"sse", "CVTSI2SS", "f30f2a", X, R, D32, 4, 0, 700}, {"sse2", "CVTPI2PD", "660f2a", X, M, D32, 8, 0, 300}, {"sse2", "CVTSI2SD", "f20f2a", X, R, D32, 4, 0, 400},
  {"sse", "CVTPS2PI", "0f2d", M, X, S, 8, 0, 800}, {"sse", "CVTTPS2PI", "0f2c", M, X, S, 8, 0, 800}, {"sse", "CVTSS2SI", "f30f2d", R, X, S, 4, 0, 1300}, {"sse", "CVTTSS2SI", "f30f2c", R, X, S, 4, 0, 1300},
  {"sse2", "CVTPD2PI", "660f2d", M, X, D, 16, 0, 800}, {"sse2", "CVTTPD2PI", "660f2c", M, X, D, 16, 0, 800}, {"sse2", "CVTSD2SI", "f20f2d", R, X, D, 8, 0, 1300}, {"sse2", "CVTTSD2SI", "f20f2c", R, X, D, 8, 0, 1300},
  {"sse2", "CVTPS2PD", "0f5a", X, X, S, 8, 0, 700}, {"sse2", "CVTPD2PS", "660f5a", X, X, D, 16, 0, 3000}, {"sse2", "CVTSS2SD", "f30f5a", X, X, S, 4, 0, 700}, {"sse2", "CVTSD2SS", "f20f5a", X, X, D, 8, 0, 3000},
  {"sse2", "CVTDQ2PS", "0f5b", X, X, D32, 16, 0, 600}, {"sse2", "CVTPS2DQ", "660f5b", X, X, S, 16, 0, 1300}, {"sse2", "CVTTPS2DQ", "f30f5b", X, X, S, 16, 0, 700},
  {"sse2", "CVTDQ2PD", "f30fe6", X, X, D32, 8, 0, 300}, {"sse2", "CVTPD2DQ", "f20fe6", X, X, D, 16, 0, 1300}, {"sse2", "CVTTPD2DQ", "660fe6", X, X, D, 16, 0, 700},
  {"sse", "LDMXCSR", "0fae/2", NO, X, CTRL, 4, DIGIT | ONLY, 150}, {"sse", "STMXCSR", "0fae/3", NO, X, CTRL, 4, DIGIT | STORE | ONLY, 150},
  {"sse3", "ADDSUBPS", "f20fd0", X, X, S, 16, 0, 1800}, {"sse3", "ADDSUBPD", "660fd0", X, X, D, 16, 0, 1800}, {"sse3", "HADDPS", "f20f7c", X, X, S, 16, 0, 1800}, {"sse3", "HADDPD", "660f7c", X, X, D, 16, 0, 1800},
  {"sse3", "HSUBPS", "f20f7d", X, X, S, 16, 0, 1800}, {"sse3", "HSUBPD", "660f7d", X, X, D, 16, 0, 1800}, {"sse3", "MOVDDUP", "f20f12", X, X, D, 8, 0, 100}, {"sse3", "MOVSLDUP", "f30f12", X, X, S, 16, 0, 100},
  {"sse3", "MOVSHDUP", "f30f16", X, X, S, 16, 0, 100}, {"sse3", "LDDQU", "f20ff0", X, X, Q64, 16, ONLY, 60},
  SSSE3("PSHUFB", "0f3800", B8) SSSE3("PHADDW", "0f3801", W16) SSSE3("PHADDD", "0f3802", D32) SSSE3("PHADDSW", "0f3803", W16) SSSE3("PMADDUBSW", "0f3804", B8)
  SSSE3("PHSUBW", "0f3805", W16) SSSE3("PHSUBD", "0f3806", D32) SSSE3("PHSUBSW", "0f3807", W16) SSSE3("PSIGNB", "0f3808", B8) SSSE3("PSIGNW", "0f3809", W16) SSSE3("PSIGND", "0f380a", D32)
  SSSE3("PMULHRSW", "0f380b", W16) SSSE3("PABSB", "0f381c", B8) SSSE3("PABSW", "0f381d", W16) SSSE3("PABSD", "0f381e", D32)
  {"ssse3", "PALIGNR mm", "0f3a0f", M, M, B8, 8, IMM, 250}, {"ssse3", "PALIGNR xmm", "660f3a0f", X, X, B8, 16, IMM, 350},
};
#define ROWS (int)(sizeof rows / sizeof *rows)

/* ---- Random values ---- */
static u64 rng;
static u32 rnd(void) { rng ^= rng << 13; rng ^= rng >> 7; rng ^= rng << 17; return rng >> 16; } /* xorshift64 */
static u32 below(u32 n) { return rnd() % n; }
static u64 rnd64(void) { return (u64)rnd() << 32 | rnd(); }
static u64 edges(int width) { /* an integer: edges, small numbers, or random */
  u64 top = 1ull << (width - 1);
  switch (below(8)) {
    case 0: return 0;
    case 1: return ~0ull;
    case 2: return top;
    case 3: return top - 1;
    case 4: return below(4) - 2;
    case 5: return top + below(4) - 2;
    default: return rnd64();
  }
}
/* A floating-point value with `f` fraction bits and `e` exponent bits, as bits; near: one whose exponent it may be close to. */
static u64 real(int f, int e, u64 near) {
  u64 top = (1ull << e) - 1, bias = top >> 1, fraction, sign = (u64)below(2) << (f + e), x;
  u64 all = (1ull << f) - 1;
  int nearExponent = near >> f & top;
  switch (below(5)) {
    case 0: fraction = 0; break;
    case 1: fraction = all >> below(f) << below(3); break;
    case 2: fraction = 1ull << below(f); break;
    default: fraction = rnd64(); break;
  }
  fraction &= all;
  switch (below(22)) {
    case 0: case 1: return sign;
    case 2: case 3: return sign | (fraction ? fraction : 1);                     /* denormal */
    case 4: return sign | top << f;                                             /* infinity */
    case 5: return sign | top << f | 1ull << (f - 1) | fraction;                /* QNaN */
    case 6: fraction &= all >> 1; return sign | top << f | (fraction ? fraction : 1);  /* SNaN */
    case 7: return sign | (1 + below(3)) << f | fraction;                       /* smallest and largest */
    case 8: return sign | (top - 1 - below(2)) << f | fraction;
    case 9: x = below(2) ? below(40) : rnd() >> below(31); break;              /* integers, halves and edges of int32 */
    case 10: x = 0x80000000u - 2 + below(5); break;
    case 11: return sign | bias << f | (below(2) ? fraction : all - below(2));
    case 12: return sign | (u64)below(top) << f | fraction;
    case 13: case 14: {                                                        /* products, quotients at the edges of the range */
      long n = (below(2) ? (long)bias + (below(2) ? 1 : -2) * (long)0 : 0) + (below(2) ? (long)(2 * bias) - nearExponent + (long)below(5) - 2 : (long)bias - nearExponent + (long)below(2 * f) - f);
      if (below(2)) n = nearExponent + (below(2) ? (long)bias : -(long)bias) + (long)below(5) - 2;
      if (n < 1 || n >= (long)top) n = 1 + below(top - 1);
      return sign | (u64)n << f | fraction;
    }
    default: {
      long n = below(2) ? (long)bias + (long)below(9) - 4 : nearExponent + (long)below(2 * f + 4) - f - 2;
      if (below(6) == 0) { fraction = near & all; n = nearExponent; }
      if (n < 1) n = 1;
      if (n >= (long)top) n = top - 1;
      return sign | (u64)n << f | fraction;
    }
  }
  if (!x) return sign;
  x <<= 2;
  x += below(4);  /* quarters */
  int exponent = bias + 63 - 2;
  while (!(x >> 63)) x <<= 1, exponent--;
  return sign | (u64)exponent << f | (x << 1 >> (64 - f));
}
static void operand(int element, u8 *p, const u8 *near) {
  u64 x;
  if (element >= COUNT && element != CTRL) { /* a shift count, and what it shifts in units of element >> 3 */
    memset(p, 0, 16);
    x = below(4) ? below(70) : rnd64() >> below(64);
    memcpy(p, &x, 8);
    x = rnd64();
    memcpy(p + 8, &x, 8);
    return;
  }
  for (int at = 0; at < 16;) {
    u32 single;
    switch (element) {
      case B8: p[at++] = edges(8); break;
      case W16: { u16 v = edges(16); memcpy(p + at, &v, 2); at += 2; break; }
      case D32: { u32 v = edges(32); memcpy(p + at, &v, 4); at += 4; break; }
      case Q64: x = below(6) ? rnd64() : edges(64); memcpy(p + at, &x, 8); at += 8; break;
      case S: memcpy(&single, near + at, 4); single = real(23, 8, single); memcpy(p + at, &single, 4); at += 4; break;
      case D: memcpy(&x, near + at, 8); x = real(52, 11, x); memcpy(p + at, &x, 8); at += 8; break;
      default: { u32 v = rnd() & 0xffff; memcpy(p + at, &v, 4); at += 4; } break;
    }
  }
}
static u32 control(void) {
  u32 c = 0x1f80;
  if (below(2)) return c | (below(3) ? 0 : rnd() & 0x3f);
  c |= below(4) << 13;
  if (below(4) == 0) c |= 0x40;
  if (below(4) == 0) c |= 0x8000;
  if (below(5) < 2) c = (c & ~0x1f80) | (rnd() & 0x1f80);
  if (below(3) == 0) c |= rnd() & 0x3f;
  return c;
}

/* ---- Running ---- */
struct image { u8 head[24]; u32 mxcsr, mask; struct { u8 v[10], pad[6]; } st[8]; u8 xmm[16][16]; u8 rest[96]; } __attribute__((aligned(64)));
static u8 *code, *data;
static int length, faulted;
static void onFault(int number, siginfo_t *info, void *context) {
  (void)number; (void)info;
  ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += length;
  faulted = 1;
}
static void hex(const u8 *p, int n) { for (int i = n - 1; i >= 0; i--) printf("%02x", p[i]); }
static int unhex(const char *s, u8 *out) {
  int n = 0;
  for (; *s && *s != '/'; s += 2) sscanf(s, "%2hhx", &out[n++]);
  return n;
}

static void run(int index, const struct row *r) {
  static struct image before, after;
  u8 memory[16], a[16], b[16], instruction[16];
  int element = r->element >= COUNT && r->element != CTRL ? r->element >> 3 : r->element;
  int inMemory = r->bytes && ((r->flags & ONLY) || below(4) == 0);
  int immediate = r->flags & IMM ? (r->flags & DIGIT ? (int)(below(3) ? below(70) & 255 : rnd() & 255) : strstr(r->name, "PALIGNR") && below(4) ? (int)below(34) : (int)(rnd() & 255)) : -1;
  if (strncmp(r->name, "CMP", 3) == 0) immediate &= 7;
  memset(a, 0, 16);
  operand(element, a, a);
  operand(r->element, b, a);
  u32 mxcsr = r->element == S || r->element == D || r->element == CTRL || (r->element == D32 && strncmp(r->name, "CVT", 3) == 0) ? control() : 0x1f80;

  memset(&before, 0, sizeof before);
  u16 top = below(8);
  before.head[0] = 0x7f; before.head[1] = 3; before.head[3] = top << 3; before.head[4] = rnd();
  before.mxcsr = mxcsr;
  for (int n = 0; n < 8; n++) { /* physical register n; the image is by stack position */
    u8 *v = before.st[(n - top) & 7].v;
    u16 exponent = 0x3fff + n;
    memset(v, 0, 10);
    v[7] = 0x80;
    memcpy(v + 8, &exponent, 2);
    if (n == 1) memcpy(v, a, 8);
    if (n == 2) memcpy(v, b, 8);
  }
  memcpy(before.xmm[1], a, 16);
  memcpy(before.xmm[2], b, 16);
  /* A memory operand; a store finds the fill in its place. */
  memset(data, 0x5a, 64);
  if (inMemory && !(r->flags & STORE)) memcpy(data, b, r->bytes);
  memcpy(memory, data, 16);

  u8 *c = code; /* fxrstor (%r9); push %r10; popf; <instruction>; pushf; pop %rax; fxsave (%r8); ret */
  static const u8 head[] = {0x41, 0x0f, 0xae, 0x09, 0x41, 0x52, 0x9d}, tail[] = {0x9c, 0x58, 0x41, 0x0f, 0xae, 0x00, 0xc3};
  memcpy(c, head, sizeof head); c += sizeof head;
  length = unhex(r->op, instruction);
  int reg = r->flags & DIGIT ? strchr(r->op, '/')[1] - '0' : 1;
  if (r->dst != NO || r->src != NO) instruction[length++] = inMemory ? reg << 3 | 7 : r->flags & DIGIT ? 0xc0 | reg << 3 | 1 : 0xc0 | reg << 3 | 2;
  if (immediate >= 0) instruction[length++] = immediate;
  memcpy(c, instruction, length); c += length;
  memcpy(c, tail, sizeof tail);
  u64 rcx = 0, rdx = 0, rax;
  if (!(r->flags & STORE)) memcpy(&rdx, b, 4);
  u64 edx = rdx;
  register u64 r8 __asm__("r8") = (u64)&after, r9 __asm__("r9") = (u64)&before, r10 __asm__("r10") = 0xad7;
  void *rdi = data;
  r10 = 0x202 | 0x8d5;
  faulted = 0;
  u32 normal = 0x1f80;
  __asm__ volatile("call *%[code]\n\tldmxcsr %[normal]\n\tfninit" : "=a"(rax), "+c"(rcx), "+d"(rdx), "+D"(rdi), "+r"(r8), "+r"(r9), "+r"(r10)
                   : [code] "b"(code), [normal] "m"(normal) : "memory", "cc");

  printf("{\"f\":%d,\"b\":\"", index);
  for (int n = 0; n < length; n++) printf("%02x", instruction[n]);
  printf("\"");
  if (mxcsr != 0x1f80) printf(",\"c\":\"%x\"", mxcsr);
  int isMmx = r->dst == M || r->src == M;
  if (isMmx) printf(",\"t\":\"%x\",\"v\":\"%x\"", top, before.head[4]);
  if (r->dst == X || r->dst == M) { printf(",\"p\":\""); hex(a, r->dst == X ? 16 : 8); printf("\""); }
  if ((r->flags & STORE) && (inMemory || r->src == R)) { /* register 1 goes to memory or EDX */ }
  else if (inMemory) { printf(",\"m\":\""); hex(memory, r->bytes); printf("\""); }
  else if (r->src != NO) { printf(",\"q\":\""); hex(b, r->src == X ? 16 : r->src == M ? 8 : 4); printf("\""); }
  /* After. */
  if (memcmp(after.xmm[1], before.xmm[1], 16)) { printf(",\"P\":\""); hex(after.xmm[1], 16); printf("\""); }
  if (memcmp(after.xmm[2], before.xmm[2], 16)) { printf(",\"Q\":\""); hex(after.xmm[2], 16); printf("\""); }
  int topAfter = after.head[3] >> 3 & 7;
  for (int n = 1; n <= 2 && (isMmx || r->dst == NO); n++) {
    const u8 *x = after.st[(n - topAfter) & 7].v, *y = before.st[(n - top) & 7].v;
    if (memcmp(x, y, 10)) { printf(",\"%s\":\"", n == 1 ? "U" : "V"); hex(x, 10); printf("\""); }
  }
  if (isMmx || r->dst == NO) {
    if (topAfter != top || after.head[4] != before.head[4]) printf(",\"T\":\"%x\",\"W\":\"%x\"", topAfter, after.head[4]);
  }
  if (rcx) printf(",\"G\":\"%llx\"", (unsigned long long)rcx);
  if (rdx != edx) printf(",\"H\":\"%llx\"", (unsigned long long)rdx);
  if (memcmp(data, memory, 16)) { printf(",\"M\":\""); hex(data, 16); printf("\""); }
  if ((rax & 0x8d5) != 0x8d5) printf(",\"E\":\"%x\"", (u32)rax & 0x8d5);
  if (after.mxcsr != mxcsr) printf(",\"C\":\"%x\"", after.mxcsr);
  if (faulted) printf(",\"x\":1");
  printf("}\n");
}

int main(int argc, char **argv) {
  const char *family = argc > 1 ? argv[1] : "";
  u32 seed = argc > 2 ? atoi(argv[2]) : 1, r[4], id[4] = {0};
  code = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  data = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct sigaction action = {.sa_sigaction = onFault, .sa_flags = SA_SIGINFO};
  sigaction(SIGFPE, &action, 0);
  __cpuid(0, r[0], id[0], id[2], id[1]);
  __cpuid(1, r[0], r[1], r[2], r[3]);
  u32 base = r[0] >> 8 & 15;
  printf("{\"format\":1,\"family\":\"%s\",\"seed\":%u,\"processor\":{\"vendor\":\"%s\",\"family\":%u,\"model\":%u,\"stepping\":%u},\"forms\":[",
         family, seed, (char *)id, base == 15 ? base + (r[0] >> 20 & 255) : base, (r[0] >> 4 & 15) | (base == 15 || base == 6 ? r[0] >> 12 & 0xf0 : 0), r[0] & 15);
  int any = 0;
  for (int i = 0; i < ROWS; i++) if (strcmp(rows[i].family, family) == 0) printf("%s\"%s\"", any++ ? "," : "", rows[i].name);
  printf("]}\n");
  if (!any) { fprintf(stderr, "usage: sse <family> [seed]   (families: see the table)\n"); return 1; }
  int index = 0;
  for (int i = 0; i < ROWS; i++) {
    if (strcmp(rows[i].family, family)) continue;
    rng = 0x9e3779b97f4a7c15ull ^ ((u64)seed << 32 | (i + 1) * 2654435761u);
    for (int n = 0; n < 20; n++) rnd();
    for (int n = 0; n < rows[i].count; n++) run(index, &rows[i]);
    index++;
  }
  return 0;
}

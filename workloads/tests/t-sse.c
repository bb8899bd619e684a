/*
 * MMX, SSE and SSE2: when they are available; packed integers, floating point under every rounding mode, conversions and
 * comparisons over random operands, as sums of all results; compiled arithmetic; the registers that MMX and x87 share; the image of
 * FXSAVE; and tasks at CPL 3 whose registers the kernel switches lazily, by CR0.TS and #NM. What unmasked exceptions do is not here,
 * nor the denormal flag, EMMS without an x87, and the exponents of MMX registers: QEMU has none of these.
 */
#include "test.h"

#pragma GCC target("sse2,fpmath=sse")

#define CR4_OSFXSR 0x200u
#define CR4_OSXMMEXCPT 0x400u
#define VECTOR_UD 6
#define VECTOR_NM 7
#define MXCSR_DEFAULT 0x1F80u
#define MXCSR_DE 0x02u
#define MXCSR_DAZ 0x40u
#define CPUID_EDX_SIMD (1u << 23 | 1u << 24 | 1u << 25 | 1u << 26) /* MMX, FXSR, SSE, SSE2 */
#define CPUID_EDX_FPU 1u

struct vector { u32 word[4]; } __attribute__((aligned(16)));

static struct vector a, b, result;

static void clts(void) { __asm__ volatile("clts" ::: "memory"); }
static void set_mxcsr(u32 value) { __asm__ volatile("ldmxcsr %0" ::"m"(value)); }
static u32 mxcsr(void) {
    u32 value;
    __asm__ volatile("stmxcsr %0" : "=m"(value));
    return value;
}

/* FNV-1a over words, as digest() does. */
static u32 sum;
static void add(u32 word) {
    for (u32 i = 0; i < 4; i++) sum = (sum ^ (word >> 8 * i & 0xFF)) * 16777619u;
}
static void sum_begin(void) { sum = 2166136261u; }
static void sum_end(const char *name) {
    kprintf("  %s: %08x\n", name, sum);
    digest(sum);
}

/* ---- Availability ---- */

SNIPPET(movaps, "7:\tmovaps %xmm1, %xmm2");
SNIPPET(paddb, "7:\tpaddb %mm1, %mm2");
SNIPPET(pavgb, "7:\tpavgb %mm1, %mm2");
SNIPPET(stmxcsr, "7:\tstmxcsr (%edi)");
SNIPPET(fxsave, "7:\tfxsave (%edi)");
SNIPPET(movnti, "7:\tmovnti %eax, (%edi)");
SNIPPET(unaligned, "7:\tmovaps 1(%edi), %xmm1");
SNIPPET(across, "7:\tmovups %xmm1, (%edi)");

static void availability(void) {
    static const struct { const char *name; const u8 *code, *at; u32 em, ts, fxsr; } rows[] = {
        {"MOVAPS", movaps, movaps_at, VECTOR_UD, VECTOR_NM, VECTOR_UD}, {"STMXCSR", stmxcsr, stmxcsr_at, VECTOR_UD, VECTOR_NM, VECTOR_UD},
        {"PADDB", paddb, paddb_at, VECTOR_UD, VECTOR_NM, DONE},         {"PAVGB", pavgb, pavgb_at, VECTOR_UD, VECTOR_NM, DONE},
        {"FXSAVE", fxsave, fxsave_at, VECTOR_NM, VECTOR_NM, DONE},
        {"MOVNTI", movnti, movnti_at, DONE, DONE, DONE},
    };
    group("availability");
    u32 cr0 = read_cr0(), cr4 = read_cr4();
    for (u32 i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (u32 way = 0; way < 4; way++) {
            u32 vector = way == 0 ? rows[i].em : way == 1 ? rows[i].ts : way == 2 ? rows[i].fxsr : DONE;
            write_cr0(way == 0 ? cr0 | CR0_EM : way == 1 ? cr0 | CR0_TS : cr0);
            write_cr4(way == 2 ? cr4 & ~CR4_OSFXSR : cr4);
            reset(CPL3);
            in.edi = WINDOW_AT(0);
            if (vector == DONE) expect_done(rows[i].name, rows[i].code);
            else expect_trap(rows[i].name, rows[i].code, rows[i].at, vector, 0);
            write_cr0(cr0);
            write_cr4(cr4);
        }
    }
    group("memory operands");
    reset(CPL3);
    in.edi = WINDOW_AT(0);
    EXPECT_TRAP("MOVAPS off its boundary", unaligned, VECTOR_GENERAL_PROTECTION, 0);
    __asm__ volatile("pcmpeqd %%xmm1, %%xmm1" ::: "xmm1");
    for (u32 bytes = 1; bytes < 16; bytes++) { /* the last in a page, the others in one that is absent */
        reset(CPL3);
        in.edi = WINDOW_AT(1) - bytes;
        EXPECT_TRAP("MOVUPS to an absent page", across, VECTOR_PAGE_FAULT, 6);
        expect("its address", caught.cr2, WINDOW_AT(1));
    }
}

/* ---- Operations over random operands ---- */

typedef void (*operation)(void);
#define XMM(name, code)                                                                                                \
    static void name(void) {                                                                                           \
        __asm__ volatile("movaps %1, %%xmm0\n\tmovaps %2, %%xmm1\n\t" code "\n\tmovaps %%xmm0, %0"                        \
                         : "=m"(result) : "m"(a), "m"(b) : "xmm0", "xmm1");                                             \
    }
#define MM(name, code)                                                                                                 \
    static void name(void) {                                                                                           \
        __asm__ volatile("movq %1, %%mm0\n\tmovq %2, %%mm1\n\t" code "\n\tmovq %%mm0, %0\n\temms"                         \
                         : "=m"(result) : "m"(a), "m"(b));                                                             \
    }
#define GENERAL(name, code)                                                                                            \
    static void name(void) {                                                                                           \
        __asm__ volatile("movaps %1, %%xmm0\n\tmovaps %2, %%xmm1\n\t" code "\n\tmovl %%eax, %0"                           \
                         : "=m"(result) : "m"(a), "m"(b) : "eax", "xmm0", "xmm1", "cc");                                \
    }
#define PACKED(op) XMM(x_##op, #op " %%xmm1, %%xmm0") MM(m_##op, #op " %%mm1, %%mm0")
#define EACH_PACKED(F)                                                                                                 \
    F(paddb) F(paddw) F(paddd) F(paddq) F(psubb) F(psubw) F(psubd) F(psubq) F(paddsb) F(paddsw) F(paddusb) F(paddusw) \
    F(psubsb) F(psubsw) F(psubusb) F(psubusw) F(pcmpeqb) F(pcmpeqw) F(pcmpeqd) F(pcmpgtb) F(pcmpgtw) F(pcmpgtd)        \
    F(pand) F(pandn) F(por) F(pxor) F(pmullw) F(pmulhw) F(pmulhuw) F(pmaddwd) F(pmuludq) F(psadbw) F(pavgb) F(pavgw)   \
    F(pminub) F(pminsw) F(pmaxub) F(pmaxsw) F(packsswb) F(packssdw) F(packuswb) F(punpcklbw) F(punpcklwd)              \
    F(punpckldq) F(punpckhbw) F(punpckhwd) F(punpckhdq) F(psllw) F(pslld) F(psllq) F(psrlw) F(psrld) F(psrlq)          \
    F(psraw) F(psrad)
EACH_PACKED(PACKED)
#define FLOATING(op) XMM(op, #op " %%xmm1, %%xmm0")
#define EACH_FLOATING(F)                                                                                               \
    F(addps) F(addss) F(addpd) F(addsd) F(subps) F(subss) F(subpd) F(subsd) F(mulps) F(mulss) F(mulpd) F(mulsd)        \
    F(divps) F(divss) F(divpd) F(divsd) F(sqrtps) F(sqrtss) F(sqrtpd) F(sqrtsd) F(minps) F(minss) F(minpd) F(minsd)    \
    F(maxps) F(maxss) F(maxpd) F(maxsd) F(cvtdq2ps) F(cvtps2dq) F(cvttps2dq) F(cvtdq2pd) F(cvtpd2dq) F(cvttpd2dq)      \
    F(cvtps2pd) F(cvtpd2ps) F(cvtss2sd) F(cvtsd2ss) F(cmpeqps) F(cmpltps) F(cmpleps) F(cmpunordps) F(cmpneqps)         \
    F(cmpnltps) F(cmpnleps) F(cmpordps) F(cmpltsd) F(cmpunordpd) F(cmpnlepd) F(unpcklps) F(unpckhps) F(unpcklpd)       \
    F(unpckhpd) F(andps) F(andnpd) F(orps) F(xorpd) F(movss) F(movsd) F(movlhps) F(movhlps)
EACH_FLOATING(FLOATING)
XMM(shufps, "shufps $0x6C, %%xmm1, %%xmm0") XMM(shufpd, "shufpd $1, %%xmm1, %%xmm0") XMM(pshufd, "pshufd $0x1B, %%xmm1, %%xmm0")
XMM(pshufhw, "pshufhw $0x72, %%xmm1, %%xmm0") XMM(pshuflw, "pshuflw $0x8D, %%xmm1, %%xmm0") XMM(pslldq, "pslldq $5, %%xmm0")
XMM(psrldq, "psrldq $11, %%xmm0") MM(pshufw, "pshufw $0x9C, %%mm1, %%mm0")
GENERAL(comiss, "comiss %%xmm1, %%xmm0\n\tpushfl\n\tpopl %%eax\n\tandl $0x8D5, %%eax") GENERAL(ucomisd, "ucomisd %%xmm1, %%xmm0\n\tpushfl\n\tpopl %%eax\n\tandl $0x8D5, %%eax")
GENERAL(cvtss2si, "cvtss2si %%xmm1, %%eax") GENERAL(cvttss2si, "cvttss2si %%xmm1, %%eax") GENERAL(cvtsd2si, "cvtsd2si %%xmm1, %%eax")
GENERAL(cvttsd2si, "cvttsd2si %%xmm1, %%eax") GENERAL(pmovmskb, "pmovmskb %%xmm1, %%eax") GENERAL(movmskps, "movmskps %%xmm1, %%eax")
GENERAL(pextrw, "pextrw $5, %%xmm1, %%eax")

#define X_ROW(op) x_##op,
#define M_ROW(op) m_##op,
#define ROW(op) op,
static const operation on_xmm[] = {EACH_PACKED(X_ROW) pshufd, pshufhw, pshuflw, pslldq, psrldq, pmovmskb, pextrw};
static const operation on_mmx[] = {EACH_PACKED(M_ROW) pshufw};
static const operation floating[] = {EACH_FLOATING(ROW) shufps, shufpd, comiss, ucomisd, cvtss2si, cvttss2si, cvtsd2si, cvttsd2si, movmskps};
/* MINPS to MAXSD among them. */
#define MINIMUM 20
#define MAXIMUM 27
#define COUNT(rows) (sizeof(rows) / sizeof(rows)[0])

static void random_integers(struct vector *v) {
    for (u32 i = 0; i < 4; i++) {
        u32 kind = random32() & 7, x = random32();
        v->word[i] = kind == 0 ? 0 : kind == 1 ? ~0u : kind == 2 ? 0x80008000u : kind == 3 ? 0x7FFF7FFFu : x;
    }
}
static u32 random_single(void) {
    u32 kind = random32() & 15, x = random32(), sign = x & 0x80000000u;
    switch (kind) {
        case 0: return sign;
        case 1: return sign | 0x7F800000u;
        case 2: return sign | 0x7FC00000u | (x & 0x3FFFFF);
        case 3: return sign | 0x7F800001u | (x & 0x3FFFFE);
        case 4: return sign | (x & 0x7FFFFF);
        case 5: return sign | 0x7F000000u | (x & 0x7FFFFF);
        case 6: return sign | 0x4F000000u;
        default: return sign | (((x >> 23 & 15) + 120) << 23) | (x & 0x7FFFFF);
    }
}
static void random_doubles(struct vector *v) {
    for (u32 i = 0; i < 4; i += 2) {
        u32 kind = random32() & 15, x = random32(), sign = x & 0x80000000u;
        v->word[i] = kind == 0 || kind == 1 || kind == 6 ? 0 : random32();
        switch (kind) {
            case 0: v->word[i + 1] = sign; break;
            case 1: v->word[i + 1] = sign | 0x7FF00000u; break;
            case 2: v->word[i + 1] = sign | 0x7FF80000u; break;
            case 3: v->word[i + 1] = sign | 0x7FF00000u | (x & 0x7FFFF); break;
            case 4: v->word[i + 1] = sign | (x & 0xFFFFF); break;
            case 5: v->word[i + 1] = sign | 0x7FE00000u | (x & 0xFFFFF); break;
            case 6: v->word[i + 1] = sign | 0x41E00000u; break;
            case 7: v->word[i + 1] = sign | (((x >> 20 & 63) + 1020 - 150) << 20) | (x & 0xFFFFF); break;
            default: v->word[i + 1] = sign | (((x >> 20 & 15) + 1016) << 20) | (x & 0xFFFFF);
        }
    }
}

/* No element is a NaN in both operands: between two of them QEMU chooses as the x87 does. */
static void separate_nans(void) {
    for (u32 w = 0; w < 4; w++)
        if ((a.word[w] & 0x7FFFFFFF) > 0x7F800000u && (b.word[w] & 0x7FFFFFFF) > 0x7F800000u) b.word[w] = 0x3F800000;
    for (u32 w = 1; w < 4; w += 2)
        if ((a.word[w] & 0x7FF00000) == 0x7FF00000u && (b.word[w] & 0x7FF00000) == 0x7FF00000u) b.word[w] = 0x3FF00000;
}

static void integers(const char *name, const operation *rows, u32 count, u32 words) {
    sum_begin();
    for (u32 i = 0; i < count; i++) {
        for (u32 n = 0; n < 12; n++) {
            random_integers(&a);
            random_integers(&b);
            if (n & 1) b = (struct vector){{random32() % 70, 0, 0, 0}}; /* a shift count */
            rows[i]();
            for (u32 w = 0; w < words; w++) add(result.word[w]);
        }
    }
    sum_end(name);
}

static void arithmetic(const char *name, u32 control) {
    sum_begin();
    for (u32 i = 0; i < COUNT(floating); i++) {
        if ((control & MXCSR_DAZ) && i >= MINIMUM && i <= MAXIMUM) continue; /* QEMU's results are the denormals */
        for (u32 n = 0; n < 16; n++) {
            for (u32 w = 0; w < 4; w++) a.word[w] = random_single(), b.word[w] = random_single();
            if (n & 1) random_doubles(&a), random_doubles(&b);
            separate_nans();
            result = (struct vector){{0, 0, 0, 0}};
            set_mxcsr(control);
            floating[i]();
            u32 flags = mxcsr();
            set_mxcsr(MXCSR_DEFAULT);
            for (u32 w = 0; w < 4; w++) add(result.word[w]);
            add(flags & ~MXCSR_DE);
        }
    }
    sum_end(name);
}

static void operations(void) {
    group("operations");
    integers("packed integers, XMM", on_xmm, COUNT(on_xmm), 4);
    integers("packed integers, MMX", on_mmx, COUNT(on_mmx), 2);
    arithmetic("to nearest", MXCSR_DEFAULT);
    arithmetic("down", MXCSR_DEFAULT | 0x2000);
    arithmetic("up", MXCSR_DEFAULT | 0x4000);
    arithmetic("to zero", MXCSR_DEFAULT | 0x6000);
    arithmetic("denormals are zeroes, flush to zero", MXCSR_DEFAULT | 0x8040);
}

/* ---- Compiled code ---- */

#define N 12
static double matrix[N][N], inverse[N][N];
static float coefficients[16];

/* Gauss and Jordan, with pivots. */
static void invert(void) {
    for (u32 i = 0; i < N; i++)
        for (u32 j = 0; j < N; j++) inverse[i][j] = i == j;
    for (u32 c = 0; c < N; c++) {
        u32 pivot = c;
        for (u32 r = c + 1; r < N; r++)
            if (matrix[r][c] * matrix[r][c] > matrix[pivot][c] * matrix[pivot][c]) pivot = r;
        for (u32 j = 0; j < N; j++) {
            double x = matrix[c][j], y = inverse[c][j];
            matrix[c][j] = matrix[pivot][j], matrix[pivot][j] = x;
            inverse[c][j] = inverse[pivot][j], inverse[pivot][j] = y;
        }
        double scale = 1.0 / matrix[c][c];
        for (u32 j = 0; j < N; j++) matrix[c][j] *= scale, inverse[c][j] *= scale;
        for (u32 r = 0; r < N; r++) {
            double factor = r == c ? 0.0 : matrix[r][c];
            for (u32 j = 0; j < N; j++) matrix[r][j] -= factor * matrix[c][j], inverse[r][j] -= factor * inverse[c][j];
        }
    }
}

static void add_bytes(const void *from, u32 bytes) {
    for (u32 i = 0; i < bytes / 4; i++) add(((const u32 *)from)[i]);
}

static void compiled(void) {
    group("compiled code");
    for (u32 i = 0; i < N; i++)
        for (u32 j = 0; j < N; j++) matrix[i][j] = (double)(int)random32() / 65536.0;
    invert();
    sum_begin();
    add_bytes(inverse, sizeof inverse);
    sum_end("inverse of a matrix");
    float value = 0.25f;
    for (u32 i = 0; i < 16; i++) coefficients[i] = (float)(int)(random32() & 0xFFFF) / (float)(i * i + 3);
    sum_begin();
    for (u32 step = 0; step < 60; step++) {
        float y = 0;
        for (u32 i = 0; i < 16; i++) y = y * value + coefficients[i];
        value = (float)((int)y % 1000) / 1024.0f;
        add_bytes(&value, 4);
    }
    sum_end("polynomials");
}

/* ---- State ---- */

static u8 image[512] __attribute__((aligned(16)));
static void aliasing(void) {
    group("x87 and MMX");
    a = (struct vector){{0x89ABCDEF, 0x01234567, 0, 0}};
    __asm__ volatile("fninit\n\tfld1\n\tfldz\n\tmovq %1, %%mm3\n\tfxsave %0\n\temms" : "=m"(image) : "m"(a));
    const u32 *word = (const u32 *)image;
    expect("top and status after MOVQ", word[0] >> 16, 0);
    expect("abridged tags after MOVQ", image[4], 0xFF);
    expect("MM3, low", word[8 + 4 * 3], 0x89ABCDEF);
    expect("MM3, high", word[8 + 4 * 3 + 1], 0x01234567);
    expect("R7, where FLD1 was", word[8 + 4 * 7 + 1], 0x80000000u);
    expect("its exponent", word[8 + 4 * 7 + 2] & 0xFFFF, 0x3FFF);
    __asm__ volatile("fxsave %0" : "=m"(image));
    expect("abridged tags after EMMS", image[4], 0);
    __asm__ volatile("fninit\n\tfldpi\n\tmovd %%mm7, %0\n\temms" : "=r"(a.word[0]));
    expect("pi seen as MM7", a.word[0], 0x2168C235);
}

static void fxsave_image(void) {
    group("FXSAVE and FXRSTOR");
    static struct vector all[8];
    memset(image, 0xA5, sizeof image);
    for (u32 i = 0; i < 8; i++) random_integers(&all[i]);
    set_mxcsr(0x5F80);
    __asm__ volatile("fninit\n\tfldpi\n\tmovaps (%1), %%xmm0\n\tmovaps 16(%1), %%xmm1\n\tmovaps 32(%1), %%xmm2\n\tmovaps 48(%1), %%xmm3\n\t"
                     "movaps 64(%1), %%xmm4\n\tmovaps 80(%1), %%xmm5\n\tmovaps 96(%1), %%xmm6\n\tmovaps 112(%1), %%xmm7\n\tfxsave %0\n\tfninit"
                     : "=m"(image) : "r"(all), "m"(all));
    set_mxcsr(MXCSR_DEFAULT);
    const u32 *word = (const u32 *)image;
    expect("control word", word[0] & 0xFFFF, 0x37F);
    expect("status word", word[0] >> 16, 0x3800);
    expect("tags", image[4], 0x80);
    expect("MXCSR", word[6], 0x5F80);
    expect("ST(0)", word[9], 0xC90FDAA2u);
    for (u32 i = 0; i < 8; i++) expect("XMM register", memcmp(image + 160 + 16 * i, &all[i], 16), 0);
    for (u32 i = 416; i < 512; i++) expect("a byte that is the program's", image[i], 0xA5);
    __asm__ volatile("pxor %%xmm5, %%xmm5\n\tfxrstor %1\n\tmovaps %%xmm5, %0\n\tstmxcsr %2\n\tfninit"
                     : "=m"(result), "+m"(image), "=m"(b) : : "xmm5");
    set_mxcsr(MXCSR_DEFAULT);
    expect("XMM5 again", memcmp(&result, &all[5], 16), 0);
    expect("MXCSR again", b.word[0], 0x5F80);
}

/* ---- Tasks that share the registers ---- */

#define TASKS 3
#define STEPS 150
/* A step of a task: it goes on with what it left in the registers, and never saves any. */
SNIPPET(step, "7:\tmulsd %xmm1, %xmm0\n\taddsd %xmm2, %xmm0\n\tpaddd %xmm3, %xmm4\n\tpxor %xmm4, %xmm5\n\tcvtsi2sd %ecx, %xmm6\n\taddsd %xmm6, %xmm7\n\tsqrtsd %xmm7, %xmm6\n\tfadd %st(0), %st(1)\n\tfxch");

static u8 images[TASKS][512] __attribute__((aligned(16)));

static void task_begin(u32 task) {
    u32 *word = (u32 *)images[task];
    __asm__ volatile("fninit\n\tfldpi\n\tfld1\n\tfxsave %0" : "=m"(images[task]));
    word[6] = MXCSR_DEFAULT | (task == 1 ? 0x2000 : 0);
    for (u32 i = 0; i < 32; i++) word[40 + i] = 0;
    const double start[3] = {1.0 + task, 0.999 - 0.001 * task, 0.5 * task};
    memcpy(images[task] + 160, &start[0], 8);
    memcpy(images[task] + 176, &start[1], 8);
    memcpy(images[task] + 192, &start[2], 8);
    for (u32 i = 0; i < 4; i++) word[40 + 12 + i] = 0x01010101u * (task + i);
}

static void tasks(void) {
    group("lazy switching");
    static u8 alone[TASKS][512] __attribute__((aligned(16)));
    u32 order[TASKS * STEPS], counts[TASKS] = {0, 0, 0}, traps = 0, owner = TASKS;
    /* One after the other, without any switch. */
    for (u32 task = 0; task < TASKS; task++) {
        task_begin(task);
        __asm__ volatile("fxrstor %0" ::"m"(images[task]));
        for (u32 i = 0; i < STEPS; i++) {
            reset(CPL3);
            in.ecx = i;
            expect_done("a step alone", step);
        }
        __asm__ volatile("fxsave %0" : "=m"(alone[task]));
    }
    for (u32 i = 0; i < TASKS * STEPS; i++) {
        u32 task = random32() % TASKS;
        while (counts[task] == STEPS) task = (task + 1) % TASKS;
        counts[task]++;
        order[i] = task;
    }
    for (u32 task = 0; task < TASKS; task++) task_begin(task), counts[task] = 0;
    for (u32 i = 0; i < TASKS * STEPS; i++) {
        u32 task = order[i];
        if (task != owner || (i & 7) == 0) write_cr0(read_cr0() | CR0_TS);
        reset(CPL3);
        in.ecx = counts[task]++;
        u32 vector = run(step);
        if (vector == VECTOR_NM) {
            traps++;
            expect("#NM is at the first instruction", caught.frame.eip, (u32)step_at);
            clts();
            if (owner != task) {
                if (owner < TASKS) __asm__ volatile("fxsave %0" : "=m"(images[owner]));
                __asm__ volatile("fxrstor %0" ::"m"(images[task]));
                owner = task;
            }
            reset(CPL3);
            in.ecx = counts[task] - 1;
            vector = run(step);
        }
        expect("a step", vector, DONE);
    }
    __asm__ volatile("fxsave %0\n\tfninit" : "=m"(images[owner]));
    set_mxcsr(MXCSR_DEFAULT);
    for (u32 task = 0; task < TASKS; task++) {
        sum_begin();
        add_bytes(images[task] + 32, 20); /* ST(0), ST(1), XMM0 to XMM7 */
        add_bytes(images[task] + 160, 128);
        sum_end("a task");
        expect("as alone", memcmp(images[task] + 160, alone[task] + 160, 128) | memcmp(images[task] + 32, alone[task] + 32, 10), 0);
    }
    kprintf("  %u times #NM\n", traps);
}

void program_main(void) {
    u32 eax, ebx, ecx, edx;
    test_init();
    cpuid(1, &eax, &ebx, &ecx, &edx);
    if ((edx & (CPUID_EDX_SIMD | CPUID_EDX_FPU)) != (CPUID_EDX_SIMD | CPUID_EDX_FPU)) panic("this processor has no SSE2: CPUID 1, EDX %08x", edx);
    write_cr0((read_cr0() & ~(CR0_EM | CR0_TS)) | CR0_MP | 0x20);
    write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT);
    __asm__ volatile("fninit");
    set_mxcsr(MXCSR_DEFAULT);
    window_page(0, PTE_P | PTE_W | PTE_U);
    availability();
    operations();
    compiled();
    aliasing();
    fxsave_image();
    tasks();
    groups_end();
}

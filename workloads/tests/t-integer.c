/*
 * Integer instructions on pseudo-random operands, in registers and (unaligned) memory, against models in C of results
 * and of those flags that the manual defines (SDM volume 2; a model names the flags it leaves undefined).
 */
#include "test.h"

#define ROUNDS 60

/* The operands of one instruction: EAX, EDX, ECX, EFLAGS, and three words at EBX for memory forms. */
u32 op_a, op_b, op_c, op_flags;
u8 op_bytes[16];
#define MEMORY_OPERAND (op_bytes + 3)

#define OP(name, code)                                                                                    \
    extern void name(void);                                                                               \
    __asm__(".text\n" #name ":\n\t"                                                                       \
            "pushl %ebx\n\tmovl op_a, %eax\n\tmovl op_b, %edx\n\tmovl op_c, %ecx\n\tmovl $op_bytes + 3, %ebx\n\t" \
            "pushl op_flags\n\tpopfl\n\t" code "\n\tpushfl\n\tpopl op_flags\n\t"                           \
            "movl %eax, op_a\n\tmovl %edx, op_b\n\tmovl %ecx, op_c\n\tpopl %ebx\n\tret")
#define BINARY(name)                                                                                               \
    OP(name##_b, #name "b %dl, %al"); OP(name##_w, #name "w %dx, %ax"); OP(name##_l, #name "l %edx, %eax");       \
    OP(name##_mb, #name "b %dl, (%ebx)"); OP(name##_mw, #name "w %dx, (%ebx)"); OP(name##_ml, #name "l %edx, (%ebx)")
#define UNARY(name)                                                                                       \
    OP(name##_b, #name "b %al"); OP(name##_w, #name "w %ax"); OP(name##_l, #name "l %eax");               \
    OP(name##_mb, #name "b (%ebx)"); OP(name##_mw, #name "w (%ebx)"); OP(name##_ml, #name "l (%ebx)")
#define SHIFT(name)                                                                                                  \
    OP(name##_b, #name "b %cl, %al"); OP(name##_w, #name "w %cl, %ax"); OP(name##_l, #name "l %cl, %eax");          \
    OP(name##_mb, #name "b %cl, (%ebx)"); OP(name##_mw, #name "w %cl, (%ebx)"); OP(name##_ml, #name "l %cl, (%ebx)"); \
    OP(name##1_b, #name "b $1, %al"); OP(name##1_w, #name "w $1, %ax"); OP(name##1_l, #name "l $1, %eax");          \
    OP(name##1_mb, #name "b $1, (%ebx)"); OP(name##1_mw, #name "w $1, (%ebx)"); OP(name##1_ml, #name "l $1, (%ebx)")

BINARY(add); BINARY(adc); BINARY(sub); BINARY(sbb); BINARY(cmp); BINARY(and); BINARY(or); BINARY(xor); BINARY(test);
UNARY(inc); UNARY(dec); UNARY(neg); UNARY(not);
SHIFT(shl); SHIFT(shr); SHIFT(sar); SHIFT(rol); SHIFT(ror); SHIFT(rcl); SHIFT(rcr);

/* What a model says: the result and the flags; `undefined` flags are not compared. */
static u32 result, flags, undefined;
static u32 bits, mask, sign; /* of the width at hand */

static void set(u32 flag, u32 value) { flags = value ? flags | flag : flags & ~flag; }
static void sign_zero_parity(void) {
    u32 parity = result & 0xFF;
    parity ^= parity >> 4;
    parity ^= parity >> 2;
    parity ^= parity >> 1;
    set(EFLAGS_PF, !(parity & 1));
    set(EFLAGS_ZF, result == 0);
    set(EFLAGS_SF, result & sign);
}
static void plus(u32 a, u32 b, u32 carry) {
    u64 sum = (u64)a + b + carry;
    result = (u32)sum & mask;
    set(EFLAGS_CF, (u32)(sum >> bits) & 1);
    set(EFLAGS_OF, ~(a ^ b) & (a ^ result) & sign);
    set(EFLAGS_AF, (a ^ b ^ result) & 0x10);
    sign_zero_parity();
}
static void minus(u32 a, u32 b, u32 borrow) {
    result = (a - b - borrow) & mask;
    set(EFLAGS_CF, (u64)a < (u64)b + borrow);
    set(EFLAGS_OF, (a ^ b) & (a ^ result) & sign);
    set(EFLAGS_AF, (a ^ b ^ result) & 0x10);
    sign_zero_parity();
}
static void logic(u32 value) {
    result = value & mask;
    set(EFLAGS_CF | EFLAGS_OF, 0);
    undefined = EFLAGS_AF;
    sign_zero_parity();
}

enum kind { K_ADD, K_ADC, K_SUB, K_SBB, K_CMP, K_AND, K_OR, K_XOR, K_TEST, K_INC, K_DEC, K_NEG, K_NOT,
            K_SHL, K_SHR, K_SAR, K_ROL, K_ROR, K_RCL, K_RCR };

static void model_arithmetic(enum kind kind, u32 a, u32 b) {
    u32 carry = flags & EFLAGS_CF;
    switch (kind) {
    case K_ADD: plus(a, b, 0); break;
    case K_ADC: plus(a, b, carry); break;
    case K_SUB: minus(a, b, 0); break;
    case K_SBB: minus(a, b, carry); break;
    case K_CMP: minus(a, b, 0), result = a; break;
    case K_AND: logic(a & b); break;
    case K_OR: logic(a | b); break;
    case K_XOR: logic(a ^ b); break;
    case K_TEST: logic(a & b), result = a; break;
    case K_INC: plus(a, 1, 0), set(EFLAGS_CF, carry); break;
    case K_DEC: minus(a, 1, 0), set(EFLAGS_CF, carry); break;
    case K_NEG: minus(0, a, 0); break;
    default: result = ~a & mask; /* NOT */
    }
}

/* One bit at a time, as the manual's pseudocode has it. */
static void model_shift(enum kind kind, u32 a, u32 count) {
    u32 cf = flags & EFLAGS_CF, before = a;
    count &= 31;
    result = a;
    if (count == 0) return; /* no flag changes */
    u32 turns = kind == K_RCL || kind == K_RCR ? count % (bits + 1) : count;
    for (u32 i = 0; i < turns; i++) {
        u32 top = (result & sign) != 0, bottom = result & 1;
        switch (kind) {
        case K_SHL: result = result << 1 & mask, cf = top; break;
        case K_SHR: result = result >> 1, cf = bottom; break;
        case K_SAR: result = result >> 1 | (result & sign), cf = bottom; break;
        case K_ROL: result = (result << 1 | top) & mask, cf = top; break;
        case K_ROR: result = result >> 1 | (bottom ? sign : 0), cf = bottom; break;
        case K_RCL: result = (result << 1 | cf) & mask, cf = top; break;
        default: result = result >> 1 | (cf ? sign : 0), cf = bottom; /* RCR */
        }
    }
    if (count != 1) undefined |= EFLAGS_OF;
    u32 top = (result & sign) != 0, next = (result & sign >> 1) != 0;
    set(EFLAGS_CF, cf);
    if (kind == K_SHL || kind == K_ROL || kind == K_RCL) set(EFLAGS_OF, top ^ cf);
    else if (kind == K_SHR) set(EFLAGS_OF, before & sign);
    else if (kind == K_SAR) set(EFLAGS_OF, 0);
    else set(EFLAGS_OF, top ^ next);
    if (kind > K_SAR) return; /* rotates leave the others alone */
    undefined |= EFLAGS_AF;
    if (kind != K_SAR && count >= bits) undefined |= EFLAGS_CF;
    sign_zero_parity();
}

static u32 operand(void) { /* values near the corners come often */
    static const u32 corners[] = {0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x80808080};
    u32 r = random32();
    return r & 0x300 ? random32() : corners[(r >> 10) % 12];
}
static void width(u32 log_size) {
    bits = 8u << log_size;
    mask = bits == 32 ? ~0u : (1u << bits) - 1;
    sign = 1u << (bits - 1);
}
static void begin(u32 a, u32 b, u32 c) {
    op_a = a;
    op_b = b;
    op_c = c;
    op_flags = 2 | (random32() & EFLAGS_STATUS);
    flags = op_flags & EFLAGS_STATUS;
    undefined = 0;
    memcpy(MEMORY_OPERAND, &a, 4);
}
static void check_flags(const char *name) { expect(name, op_flags & EFLAGS_STATUS & ~undefined, flags & ~undefined); }
static u32 in_memory(void) {
    u32 value;
    memcpy(&value, MEMORY_OPERAND, 4);
    return value;
}

static const struct {
    const char *name;
    enum kind kind;
    u32 by_one;
    void (*in_register[3])(void), (*in_memory[3])(void);
} table[] = {
#define ROW(name, kind, by_one) {#name, kind, by_one, {name##_b, name##_w, name##_l}, {name##_mb, name##_mw, name##_ml}}
    ROW(add, K_ADD, 0),  ROW(adc, K_ADC, 0),  ROW(sub, K_SUB, 0),  ROW(sbb, K_SBB, 0),  ROW(cmp, K_CMP, 0),
    ROW(and, K_AND, 0),  ROW(or, K_OR, 0),    ROW(xor, K_XOR, 0),  ROW(test, K_TEST, 0), ROW(inc, K_INC, 0),
    ROW(dec, K_DEC, 0),  ROW(neg, K_NEG, 0),  ROW(not, K_NOT, 0),  ROW(shl, K_SHL, 0),  ROW(shr, K_SHR, 0),
    ROW(sar, K_SAR, 0),  ROW(rol, K_ROL, 0),  ROW(ror, K_ROR, 0),  ROW(rcl, K_RCL, 0),  ROW(rcr, K_RCR, 0),
    ROW(shl1, K_SHL, 1), ROW(shr1, K_SHR, 1), ROW(sar1, K_SAR, 1), ROW(rol1, K_ROL, 1), ROW(ror1, K_ROR, 1),
    ROW(rcl1, K_RCL, 1), ROW(rcr1, K_RCR, 1)};

static void arithmetic(void) {
    for (u32 i = 0; i < sizeof table / sizeof table[0]; i++) {
        group(table[i].name);
        for (u32 n = 0; n < 6 * ROUNDS; n++) {
            u32 log_size = n % 3, memory = n / 3 & 1, a = operand(), b = operand(), c = random32();
            width(log_size);
            begin(a, b, c);
            if (table[i].kind < K_SHL) model_arithmetic(table[i].kind, a & mask, b & mask);
            else model_shift(table[i].kind, a & mask, table[i].by_one ? 1 : c);
            (memory ? table[i].in_memory : table[i].in_register)[log_size]();
            expect("result", memory ? in_memory() : op_a, (a & ~mask) | result);
            if (memory) expect("EAX", op_a, a);
            expect("EDX", op_b, b);
            expect("ECX", op_c, c);
            check_flags("flags");
        }
    }
}

OP(shld_w, "shldw %cl, %dx, %ax"); OP(shld_l, "shldl %cl, %edx, %eax"); OP(shld_m, "shldl %cl, %edx, (%ebx)");
OP(shrd_w, "shrdw %cl, %dx, %ax"); OP(shrd_l, "shrdl %cl, %edx, %eax"); OP(shrd_m, "shrdl %cl, %edx, (%ebx)");
static void double_shifts(void) {
    static void (*const forms[2][3])(void) = {{shld_w, shld_l, shld_m}, {shrd_w, shrd_l, shrd_m}};
    group("shld, shrd");
    for (u32 n = 0; n < 6 * ROUNDS; n++) {
        u32 right = n & 1, form = n / 2 % 3, a = operand(), b = operand(), c = random32(), count = c & 31;
        width(form ? 2 : 1);
        if (count > bits) continue; /* undefined */
        begin(a, b, c);
        u32 value = a & mask, fill = b & mask, cf = 0;
        for (u32 i = 0; i < count; i++)
            if (right) {
                cf = value & 1;
                value = value >> 1 | (fill & 1 ? sign : 0);
                fill >>= 1;
            } else {
                cf = (value & sign) != 0;
                value = (value << 1 | (fill & sign ? 1 : 0)) & mask;
                fill = fill << 1 & mask;
            }
        result = value;
        if (count) {
            set(EFLAGS_CF, cf);
            set(EFLAGS_OF, (a ^ value) & sign);
            undefined = EFLAGS_AF | (count == 1 ? 0 : EFLAGS_OF);
            sign_zero_parity();
        }
        forms[right][form]();
        expect("result", form == 2 ? in_memory() : op_a, (a & ~mask) | result);
        check_flags("flags");
    }
}

OP(mul_b, "mulb %dl"); OP(mul_w, "mulw %cx"); OP(mul_l, "mull %ecx"); OP(mul_m, "mull (%ebx)");
OP(imul_b, "imulb %dl"); OP(imul_w, "imulw %cx"); OP(imul_l, "imull %ecx"); OP(imul_m, "imull (%ebx)");
OP(imul2_w, "imulw %cx, %ax"); OP(imul2_l, "imull %ecx, %eax"); OP(imul3_l, "imull $-77777, %ecx, %eax"); OP(imul3_b, "imull $-77, %ecx, %eax");
static int extend(u32 value) { return (int)(value << (32 - bits)) >> (32 - bits); }
static void multiplication(void) {
    static void (*const forms[2][4])(void) = {{mul_b, mul_w, mul_l, mul_m}, {imul_b, imul_w, imul_l, imul_m}};
    static void (*const short_forms[4])(void) = {imul2_w, imul2_l, imul3_l, imul3_b};
    group("mul, imul");
    for (u32 n = 0; n < 8 * ROUNDS; n++) {
        u32 is_signed = n & 1, form = n / 2 & 3, a = operand(), b = operand(), c = operand();
        width(form > 2 ? 2 : form);
        begin(a, b, c);
        u32 factor = form == 0 ? b : form == 3 ? a : c;
        u64 product = is_signed ? (u64)((long long)extend(a) * extend(factor)) : (u64)(a & mask) * (factor & mask);
        u32 low = (u32)product & mask, high = (u32)(product >> bits) & mask;
        u32 overflow = is_signed ? high != (low & sign ? mask : 0) : high != 0;
        forms[is_signed][form]();
        if (form == 0) expect("AX", op_a, (a & 0xFFFF0000) | low | high << 8);
        else {
            expect("low", op_a, (a & ~mask) | low);
            expect("high", op_b, (b & ~mask) | high);
        }
        flags = overflow ? EFLAGS_CF | EFLAGS_OF : 0;
        undefined = EFLAGS_SF | EFLAGS_ZF | EFLAGS_AF | EFLAGS_PF;
        check_flags("flags");
        begin(a, b, c);
        width(form ? 2 : 1);
        long long exact = form < 2 ? (long long)extend(a) * extend(c) : (long long)(int)c * (form == 2 ? -77777 : -77);
        short_forms[form]();
        expect("truncated product", op_a, (a & ~mask) | ((u32)exact & mask));
        flags = exact == extend((u32)exact & mask) ? 0 : EFLAGS_CF | EFLAGS_OF;
        undefined = EFLAGS_SF | EFLAGS_ZF | EFLAGS_AF | EFLAGS_PF;
        check_flags("flags of the truncated product");
    }
}

OP(div_b, "divb %cl"); OP(div_w, "divw %cx"); OP(div_l, "divl %ecx");
OP(idiv_b, "idivb %cl"); OP(idiv_w, "idivw %cx"); OP(idiv_l, "idivl %ecx");
/* The dividend is made from quotient, divisor and remainder, so that the model needs no division. */
static void division(void) {
    static void (*const forms[2][3])(void) = {{div_b, div_w, div_l}, {idiv_b, idiv_w, idiv_l}};
    group("div, idiv");
    for (u32 n = 0; n < 6 * ROUNDS; n++) {
        u32 is_signed = n & 1, log_size = n / 2 % 3, garbage = random32();
        width(log_size);
        u32 quotient = operand() & mask, divisor = operand() & mask, remainder;
        if (divisor == 0) divisor = 1;
        u64 dividend;
        if (is_signed) {
            int q = extend(quotient), d = extend(divisor);
            u32 size = d < 0 ? 0u - (u32)d : (u32)d;
            remainder = random32() & mask;
            while (remainder >= size) remainder >>= 1;
            int negative = q < 0 ? d > 0 : q > 0 ? d < 0 : (int)(garbage & 1); /* it has the dividend's sign */
            int r = negative ? -(int)remainder : (int)remainder;
            dividend = (u64)((long long)q * d + r);
            remainder = (u32)r & mask;
        } else {
            remainder = random32() & mask;
            while (remainder >= divisor) remainder >>= 1;
            dividend = (u64)quotient * divisor + remainder;
        }
        u32 low = (u32)dividend & mask, high = (u32)(dividend >> bits) & mask;
        begin(log_size ? (garbage & ~mask) | low : (garbage & 0xFFFF0000) | high << 8 | low, (garbage & ~mask) | high, divisor);
        forms[is_signed][log_size]();
        if (log_size == 0) expect("AX", op_a, (garbage & 0xFFFF0000) | remainder << 8 | quotient);
        else {
            expect("quotient", op_a, (garbage & ~mask) | quotient);
            expect("remainder", op_b, (garbage & ~mask) | remainder);
        }
    }
}

OP(bt_w, "btw %cx, %ax"); OP(bt_l, "btl %ecx, %eax"); OP(bts_l, "btsl %ecx, %eax"); OP(btr_l, "btrl %ecx, %eax");
OP(btc_l, "btcl %ecx, %eax"); OP(btc_w, "btcw %cx, %ax"); OP(bts_i, "btsl $21, (%ebx)"); OP(btr_i, "btrl $13, (%ebx)");
OP(bsf_l, "bsfl %ecx, %eax"); OP(bsr_l, "bsrl %ecx, %eax"); OP(bsf_w, "bsfw %cx, %ax"); OP(bsr_w, "bsrw %cx, %ax");
u32 bit_string[64];
OP(bts_far, "btsl %ecx, bit_string_middle"); OP(btr_far, "lock btrl %ecx, bit_string_middle"); OP(bt_far, "btl %ecx, bit_string_middle");
OP(btc_far, "btcw %cx, bit_string_middle");
__asm__(".set bit_string_middle, bit_string + 128");
static void bit_instructions(void) {
    static const struct {
        void (*code)(void);
        u32 log_size, operation; /* 0 test, 1 set, 2 reset, 3 complement */
    } forms[] = {{bt_w, 1, 0}, {bt_l, 2, 0}, {bts_l, 2, 1}, {btr_l, 2, 2}, {btc_l, 2, 3}, {btc_w, 1, 3}};
    static void (*const far[3])(void) = {bt_far, bts_far, btr_far};
    group("bt, bts, btr, btc, bsf, bsr");
    for (u32 n = 0; n < 6 * ROUNDS; n++) {
        u32 a = operand(), c = operand(), form = n % 6;
        width(forms[form].log_size);
        u32 bit = 1u << (c & (bits - 1)), operation = forms[form].operation;
        begin(a, 0, c);
        set(EFLAGS_CF, a & bit);
        undefined = EFLAGS_OF | EFLAGS_SF | EFLAGS_AF | EFLAGS_PF;
        forms[form].code();
        expect("result", op_a, operation == 0 ? a : operation == 1 ? a | bit : operation == 2 ? a & ~bit : a ^ bit);
        check_flags("CF and ZF");
        begin(a, 0, c);
        (n & 1 ? bts_i : btr_i)();
        expect("immediate bit", in_memory(), n & 1 ? a | 1u << 21 : a & ~(1u << 13));
        expect("CF", op_flags & EFLAGS_CF, n & 1 ? a >> 21 & 1 : a >> 13 & 1);
        /* A bit of a string in memory: the offset is signed and reaches beyond the operand. */
        int offset = (int)(random32() % 2048) - 1024;
        u32 word = (u32)((offset >> 5) + 32), place = (u32)offset & 31, before = bit_string[word];
        begin(a, 0, (u32)offset);
        far[n % 3]();
        expect("CF of a bit string", op_flags & EFLAGS_CF, before >> place & 1);
        expect("bit string", bit_string[word], n % 3 == 0 ? before : n % 3 == 1 ? before | 1u << place : before & ~(1u << place));
        begin(a, 0, ((u32)offset & 0xFFFF) | (a & 0xFFFF0000)); /* 16 bits: CX alone counts */
        before = bit_string[word];
        btc_far();
        expect("bit string by words", bit_string[word], before ^ 1u << place);
        /* Scans. With a zero operand only ZF is defined. */
        width(n & 2 ? 2 : 1);
        u32 low = 0, high = 0, source = c & mask;
        for (u32 i = 0; i < bits; i++)
            if (source >> i & 1) high = i;
        for (u32 i = bits; i-- > 0;)
            if (source >> i & 1) low = i;
        begin(a, 0, c);
        (n & 1 ? n & 2 ? bsf_l : bsf_w : n & 2 ? bsr_l : bsr_w)();
        expect("ZF", op_flags & EFLAGS_ZF, source ? 0 : EFLAGS_ZF);
        if (source) expect("scan", op_a, (a & ~mask) | (n & 1 ? low : high));
    }
}

OP(xadd_b, "xaddb %dl, (%ebx)"); OP(xadd_l, "lock xaddl %edx, (%ebx)"); OP(xadd_r, "xaddw %dx, %ax");
OP(cmpxchg_b, "cmpxchgb %cl, (%ebx)"); OP(cmpxchg_l, "lock cmpxchgl %ecx, (%ebx)"); OP(cmpxchg_r, "cmpxchgl %ecx, %edx");
OP(xchg_b, "xchgb %ah, %dl"); OP(xchg_m, "xchgw %dx, (%ebx)"); OP(xchg_l, "xchgl %eax, %ecx"); OP(bswap, "bswapl %eax");
OP(cbw, "cbtw"); OP(cwde, "cwtl"); OP(cwd, "cwtd"); OP(cdq, "cltd"); OP(xlat, "xlatb"); OP(lahf, "lahf");
OP(movzx_b, "movzbl %dh, %eax"); OP(movzx_w, "movzwl (%ebx), %eax"); OP(movsx_b, "movsbl (%ebx), %eax"); OP(movsx_w, "movswl %dx, %eax");
OP(movsx_bw, "movsbw %ch, %ax"); OP(lea_sib, "leal -77(%edx,%ecx,8), %eax"); OP(lea_16, "movl %ecx, %ebx\n\tleal 5(%bx), %eax");
OP(cmpxchg8b, "pushl %esi\n\tmovl %ebx, %esi\n\tmovl op_ebx, %ebx\n\tlock cmpxchg8b (%esi)\n\tpopl %esi");
u32 op_ebx;
static void exchanges(void) {
    group("exchanges and conversions");
    for (u32 n = 0; n < 2 * ROUNDS; n++) {
        u32 a = operand(), b = operand(), c = operand();
        width(0);
        begin(a, b, c);
        plus(a & 0xFF, b & 0xFF, 0);
        xadd_b();
        expect("XADD, sum", in_memory(), (a & ~0xFFu) | result);
        expect("XADD, old", op_b, (b & ~0xFFu) | (a & 0xFF));
        check_flags("XADD");
        width(2);
        begin(a, b, c);
        plus(a, b, 0);
        xadd_l();
        expect("LOCK XADD, sum", in_memory(), a + b);
        expect("LOCK XADD, old", op_b, a);
        check_flags("LOCK XADD");
        width(1);
        begin(a, b, c);
        plus(a & mask, b & mask, 0);
        xadd_r();
        expect("XADD r16, sum", op_a, (a & ~mask) | result);
        expect("XADD r16, old", op_b, (b & ~mask) | (a & mask));
        /* CMPXCHG */
        width(2);
        u32 memory = n & 1 ? a : b;
        begin(a, b, c);
        memcpy(MEMORY_OPERAND, &memory, 4);
        minus(a, memory, 0);
        cmpxchg_l();
        expect("CMPXCHG, memory", in_memory(), a == memory ? c : memory);
        expect("CMPXCHG, EAX", op_a, memory);
        check_flags("CMPXCHG");
        begin(a, n & 2 ? a : b, c);
        memory = op_b;
        minus(a, memory, 0);
        cmpxchg_r();
        expect("CMPXCHG r32", op_b, a == memory ? c : memory);
        expect("CMPXCHG r32, EAX", op_a, memory);
        check_flags("CMPXCHG r32");
        width(0);
        begin(a, b, c);
        memory = (n & 1 ? a & 0xFF : b & 0xFF) | 0x55AA3300;
        memcpy(MEMORY_OPERAND, &memory, 4);
        minus(a & 0xFF, memory & 0xFF, 0);
        cmpxchg_b();
        expect("CMPXCHG m8", in_memory(), (a & 0xFF) == (memory & 0xFF) ? (memory & ~0xFFu) | (c & 0xFF) : memory);
        expect("CMPXCHG m8, AL", op_a, (a & ~0xFFu) | (memory & 0xFF));
        /* CMPXCHG8B */
        u32 pair[2] = {n & 1 ? a : c, n & 2 ? b : a}, equal = pair[0] == a && pair[1] == b;
        begin(a, b, c);
        op_ebx = random32();
        memcpy(MEMORY_OPERAND, pair, 8);
        set(EFLAGS_ZF, equal);
        cmpxchg8b();
        u32 after[2];
        memcpy(after, MEMORY_OPERAND, 8);
        expect("CMPXCHG8B, low", after[0], equal ? op_ebx : pair[0]);
        expect("CMPXCHG8B, high", after[1], equal ? c : pair[1]);
        expect("CMPXCHG8B, EAX", op_a, pair[0]);
        expect("CMPXCHG8B, EDX", op_b, pair[1]);
        check_flags("CMPXCHG8B");
        begin(a, b, c);
        xchg_b();
        expect("XCHG AH, DL", op_a, (a & ~0xFF00u) | (b & 0xFF) << 8);
        expect("XCHG AH, DL", op_b, (b & ~0xFFu) | (a >> 8 & 0xFF));
        begin(a, b, c);
        xchg_m();
        expect("XCHG m16", in_memory(), (a & 0xFFFF0000) | (b & 0xFFFF));
        expect("XCHG m16", op_b, (b & 0xFFFF0000) | (a & 0xFFFF));
        begin(a, b, c);
        xchg_l();
        expect("XCHG EAX, ECX", op_a ^ op_c << 1, c ^ a << 1);
        bswap();
        expect("BSWAP", op_a, c << 24 | (c & 0xFF00) << 8 | (c >> 8 & 0xFF00) | c >> 24);
        check_flags("no flags");
#define CONVERT(name, expected)                     \
    begin(a, b, c);                                 \
    name();                                         \
    expect(#name, op_a, (u32)(expected));           \
    check_flags(#name)
        CONVERT(cbw, (a & 0xFFFF0000) | ((u32)(signed char)a & 0xFFFF));
        CONVERT(cwde, (short)a);
        CONVERT(movzx_b, b >> 8 & 0xFF);
        CONVERT(movzx_w, a & 0xFFFF);
        CONVERT(movsx_b, (signed char)a);
        CONVERT(movsx_w, (short)b);
        CONVERT(movsx_bw, (a & 0xFFFF0000) | ((u32)(signed char)(c >> 8) & 0xFFFF));
        CONVERT(lea_sib, b + c * 8 - 77);
        CONVERT(lea_16, (c + 5) & 0xFFFF);
        CONVERT(lahf, (a & 0xFFFF00FF) | (flags & 0xD5) << 8 | 0x200);
        begin(a, b, c);
        cdq();
        expect("CDQ", op_b, a >> 31 ? ~0u : 0);
        begin(a, b, c);
        cwd();
        expect("CWD", op_b, (b & 0xFFFF0000) | (a >> 15 & 1 ? 0xFFFF : 0));
        begin((a & ~0xFFu) | 2, b, c);
        memcpy(MEMORY_OPERAND, &b, 4);
        xlat();
        expect("XLAT", op_a, (a & ~0xFFu) | (b >> 16 & 0xFF));
    }
}

/* SETcc, CMOVcc and Jcc of all 16 conditions, over all 32 combinations of the flags that they read. */
#define CONDITION(cc)                                                                                                    \
    OP(set##cc##_r, "set" #cc " %al"); OP(set##cc##_m, "set" #cc " (%ebx)"); OP(cmov##cc##_r, "cmov" #cc "l %edx, %eax"); \
    OP(j##cc##_s, "movl $1, %eax\n\tj" #cc " 1f\n\tmovl $0, %eax\n1:");                                                \
    OP(j##cc##_n, "movl $1, %eax\n\tj" #cc " 1f\n\tmovl $0, %eax\n\tjmp 1f\n\t.skip 200\n1:")
CONDITION(o); CONDITION(no); CONDITION(b); CONDITION(ae); CONDITION(e); CONDITION(ne); CONDITION(be); CONDITION(a);
CONDITION(s); CONDITION(ns); CONDITION(p); CONDITION(np); CONDITION(l); CONDITION(ge); CONDITION(le); CONDITION(g);
static void conditions(void) {
#define CC(cc) {set##cc##_r, set##cc##_m, cmov##cc##_r, j##cc##_s, j##cc##_n}
    static void (*const forms[16][5])(void) = {CC(o), CC(no), CC(b), CC(ae), CC(e), CC(ne), CC(be), CC(a),
                                               CC(s), CC(ns), CC(p), CC(np), CC(l), CC(ge), CC(le), CC(g)};
    group("conditions");
    for (u32 cc = 0; cc < 16; cc++)
        for (u32 n = 0; n < 32; n++) {
            u32 cf = n & 1, zf = n >> 1 & 1, sf = n >> 2 & 1, of = n >> 3 & 1, pf = n >> 4;
            u32 holds[8] = {of, cf, zf, cf | zf, sf, pf, sf ^ of, (sf ^ of) | zf}, yes = holds[cc / 2] ^ (cc & 1);
            u32 image = 2 | (cf ? EFLAGS_CF : 0) | (zf ? EFLAGS_ZF : 0) | (sf ? EFLAGS_SF : 0) | (of ? EFLAGS_OF : 0) | (pf ? EFLAGS_PF : 0);
            for (u32 form = 0; form < 5; form++) {
                begin(0xAABBCCDD, 0x11223344, 0);
                op_flags = image;
                flags = image & EFLAGS_STATUS;
                forms[cc][form]();
                u32 expected[5] = {0xAABBCC00 | yes, 0xAABBCC00 | yes, yes ? 0x11223344 : 0xAABBCCDD, yes, yes};
                expect("condition", form == 1 ? in_memory() : op_a, expected[form]);
                check_flags("flags");
            }
        }
}

OP(daa, "daa"); OP(das, "das"); OP(aaa, "aaa"); OP(aas, "aas"); OP(aam, "aam"); OP(aad, "aad"); OP(aam7, ".byte 0xD4, 7"); OP(aad7, ".byte 0xD5, 7");
static void decimal(void) {
    group("decimal");
    width(0);
    for (u32 n = 0; n < 256 * 4; n++) {
        u32 al = n & 0xFF, cf = n >> 8 & 1, af = n >> 9, image = 2 | (cf ? EFLAGS_CF : 0) | (af ? EFLAGS_AF : 0);
        u32 a = 0x5A5A0500 | al, low = (al & 15) > 9 || af, high = al > 0x99 || cf;
#define DECIMAL(name, expected, defined, new_flags)                                      \
    begin(a, 0, 0);                                                                      \
    op_flags = image;                                                                    \
    name();                                                                              \
    expect(#name, op_a, expected);                                                       \
    result = op_a & 0xFF;                                                                \
    flags = new_flags;                                                                   \
    if ((defined) & EFLAGS_ZF) sign_zero_parity();                                       \
    undefined = EFLAGS_STATUS & ~(defined);                                              \
    check_flags(#name)
        u32 carries = (low ? EFLAGS_AF : 0) | (high ? EFLAGS_CF : 0), five = EFLAGS_STATUS & ~EFLAGS_OF;
        DECIMAL(daa, (a & ~0xFFu) | ((al + (low ? 6 : 0) + (high ? 0x60 : 0)) & 0xFF), five, carries);
        /* DAS borrows out of its first step too. */
        u32 borrow = low && al < 6 ? EFLAGS_CF : 0;
        DECIMAL(das, (a & ~0xFFu) | ((al - (low ? 6 : 0) - (high ? 0x60 : 0)) & 0xFF), five, carries | borrow);
        u32 both = low ? EFLAGS_AF | EFLAGS_CF : 0;
        DECIMAL(aaa, (a & 0xFFFF0000) | ((low ? (a & 0xFFFF) + 0x106 : a & 0xFFFF) & 0xFF0F), EFLAGS_AF | EFLAGS_CF, both);
        DECIMAL(aas, (a & 0xFFFF0000) | ((low ? (a & 0xFFFF) - 0x106 : a & 0xFFFF) & 0xFF0F), EFLAGS_AF | EFLAGS_CF, both);
        u32 three = EFLAGS_SF | EFLAGS_ZF | EFLAGS_PF;
        DECIMAL(aam, (a & 0xFFFF0000) | al / 10 << 8 | al % 10, three, 0);
        DECIMAL(aam7, (a & 0xFFFF0000) | al / 7 << 8 | al % 7, three, 0);
        DECIMAL(aad, (a & 0xFFFF0000) | ((al + 50) & 0xFF), three, 0);
        DECIMAL(aad7, (a & 0xFFFF0000) | ((al + 35) & 0xFF), three, 0);
    }
}

/* Stack instructions at their odd corners. */
static void stack(void) {
    u32 pushed, before, after;
    group("stack");
    __asm__ volatile("movl %%esp, %1\n\tpushl %%esp\n\tpopl %0" : "=&r"(pushed), "=&r"(before)::"memory");
    expect("PUSH ESP pushes the old one", pushed, before);
    __asm__ volatile("movl %%esp, %2\n\tpushl $0x12345678\n\tmovl %%esp, %1\n\tpushl %%esp\n\tpopl %%esp\n\tmovl %%esp, %0\n\tmovl %2, %%esp"
                     : "=&r"(after), "=&r"(before), "=&r"(pushed)::"memory");
    expect("POP ESP", after, before);
    __asm__ volatile("pushl $0x11\n\tpushl $0x22\n\tpopl (%%esp)\n\tpopl %0" : "=r"(pushed)::"memory");
    expect("POP [ESP] addresses with the ESP after it", pushed, 0x22);
    __asm__ volatile("pushl $0x44\n\tpushl (%%esp)\n\tpopl %0\n\tpopl %1" : "=r"(pushed), "=r"(after)::"memory");
    expect("PUSH [ESP]", pushed, 0x44);
    __asm__ volatile("pushl $-2\n\tpushw $-3\n\tpopw %w0\n\tpopl %1" : "=r"(pushed), "=r"(after)::"memory");
    expect("PUSH imm8 is extended", after, (u32)-2);
    expect("PUSHW imm8 is extended", pushed & 0xFFFF, 0xFFFD);
    static u32 saved[8];
    __asm__ volatile("movl %%esp, %%eax\n\tpushal\n\tmovl (%%esp), %%ecx\n\tmovl 12(%%esp), %%edx\n\taddl $32, %%esp"
                     : "=&a"(before), "=&c"(saved[0]), "=&d"(saved[1])::"memory");
    expect("ESP in PUSHAD", saved[1], before);
    __asm__ volatile("movl %%esp, %%eax\n\tenter $24, $0\n\tmovl %%esp, %%ecx\n\tmovl %%ebp, %%edx\n\tleave\n\tsubl %%esp, %%eax"
                     : "=&a"(before), "=&c"(after), "=&d"(pushed)::"memory");
    expect("ENTER's frame", pushed - after, 24);
    expect("LEAVE", before, 0);
    __asm__ volatile("pushl %%ebp\n\tmovl %%esp, %%ebp\n\tmovl %%esp, %%eax\n\tenter $8, $3\n\tmovl %%esp, %%ecx\n\tmovl %%ebp, %%edx\n\t"
                     "movl %%eax, %%esp\n\tpopl %%ebp\n\tsubl %%ecx, %%eax\n\taddl %%eax, %%ecx\n\tsubl %%edx, %%ecx"
                     : "=&a"(before), "=&c"(after), "=&d"(pushed)::"memory");
    expect("ENTER of level 3 pushes four words", before, 4 + 3 * 4 + 8);
    expect("EBP of ENTER of level 3", after, 4);
}

void program_main(void) {
    test_init();
    arithmetic();
    double_shifts();
    multiplication();
    division();
    bit_instructions();
    exchanges();
    conditions();
    decimal();
    stack();
    groups_end();
}

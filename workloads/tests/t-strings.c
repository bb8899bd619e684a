/*
 * String instructions: every REP form, both directions, overlaps, page boundaries, zero counts, 16-bit addresses,
 * and faults in mid-string that are repaired and restarted (SDM volume 2, REP). Each is compared with a loop in C.
 */
#include "test.h"

#define PAGES 6
#define AREA WINDOW_AT(0)
#define SIZE (PAGES * PAGE_SIZE)

static u8 model[SIZE] __attribute__((aligned(4096)));

/* The instructions, by operation and log2 of the element's size. */
#define STRING(name, code) SNIPPET(name, "7:\t" code "\n\tpushfl\n\tpopl %edx")
#define SIZES(name, prefix, code) STRING(name##_b, prefix code "b"); STRING(name##_w, prefix code "w"); STRING(name##_l, prefix code "l")
SIZES(movs, "", "movs");
SIZES(rep_movs, "rep ", "movs");
SIZES(stos, "", "stos");
SIZES(rep_stos, "rep ", "stos");
SIZES(lods, "", "lods");
SIZES(rep_lods, "rep ", "lods");
SIZES(cmps, "", "cmps");
SIZES(repe_cmps, "repe ", "cmps");
SIZES(repne_cmps, "repne ", "cmps");
SIZES(scas, "", "scas");
SIZES(repe_scas, "repe ", "scas");
SIZES(repne_scas, "repne ", "scas");

enum operation { MOVS, STOS, LODS, CMPS, SCAS };
#define ROW(op, rep, name) {#name, op, rep, {name##_b, name##_w, name##_l}}
static const struct instruction {
    const char *name;
    enum operation operation;
    u32 repeat; /* 0 no, 1 REP or REPE, 2 REPNE */
    const u8 *code[3];
} instructions[] = {ROW(MOVS, 0, movs),      ROW(MOVS, 1, rep_movs),  ROW(STOS, 0, stos),       ROW(STOS, 1, rep_stos),
                    ROW(LODS, 0, lods),      ROW(LODS, 1, rep_lods),  ROW(CMPS, 0, cmps),       ROW(CMPS, 1, repe_cmps),
                    ROW(CMPS, 2, repne_cmps), ROW(SCAS, 0, scas),     ROW(SCAS, 1, repe_scas),  ROW(SCAS, 2, repne_scas)};
#define INSTRUCTIONS (sizeof instructions / sizeof instructions[0])

static u32 get(const u8 *at, u32 size) {
    u32 value = 0;
    for (u32 i = 0; i < size; i++) value |= (u32)at[i] << 8 * i;
    return value;
}
static void put(u8 *at, u32 value, u32 size) {
    for (u32 i = 0; i < size; i++) at[i] = (u8)(value >> 8 * i);
}

/* Status flags of first - second. */
static u32 subtract_flags(u32 first, u32 second, u32 size) {
    u32 bits = size * 8, mask = bits == 32 ? ~0u : (1u << bits) - 1, sign = 1u << (bits - 1);
    u32 result = (first - second) & mask, parity = result & 0xFF;
    parity ^= parity >> 4;
    parity ^= parity >> 2;
    parity ^= parity >> 1;
    return (first < second ? EFLAGS_CF : 0) | (parity & 1 ? 0 : EFLAGS_PF) |
           ((first ^ second ^ result) & 0x10 ? EFLAGS_AF : 0) | (result ? 0 : EFLAGS_ZF) | (result & sign ? EFLAGS_SF : 0) |
           ((first ^ second) & (first ^ result) & sign ? EFLAGS_OF : 0);
}

/* Runs the model on model[] and `in`; offsets of ESI and EDI are to AREA. */
static void run_model(const struct instruction *instruction, u32 log_size, struct registers *r) {
    u32 size = 1u << log_size, mask = size == 4 ? ~0u : (1u << 8 * size) - 1, step = r->eflags & EFLAGS_DF ? 0u - size : size;
    while (!instruction->repeat || r->ecx) {
        u8 *from = model + (r->esi - AREA), *to = model + (r->edi - AREA);
        u32 first = r->eax & mask;
        switch (instruction->operation) {
        case MOVS:
            put(to, get(from, size), size);
            break;
        case STOS:
            put(to, r->eax, size);
            break;
        case LODS:
            r->eax = (r->eax & ~mask) | get(from, size);
            break;
        case CMPS:
            first = get(from, size);
            /* fall through */
        case SCAS:
            r->eflags = (r->eflags & ~EFLAGS_STATUS) | subtract_flags(first, get(to, size), size);
        }
        if (instruction->operation != SCAS && instruction->operation != STOS) r->esi += step;
        if (instruction->operation != LODS) r->edi += step;
        if (!instruction->repeat) return;
        r->ecx--;
        if (instruction->operation >= CMPS && !(r->eflags & EFLAGS_ZF) == (instruction->repeat == 1)) return;
    }
}

/* Words, since the simulated machine executes all of this: bytes up to `middle` get one value, the rest another. */
static void fill_with(u8 first, u8 rest, u32 middle) {
    for (u32 i = 0; i < SIZE; i += 4) *(u32 *)(model + i) = MEMORY32(AREA + i) = (i < middle ? first : rest) * 0x01010101u;
}
static void fill(u32 mask) {
    for (u32 i = 0; i < SIZE; i += 4) *(u32 *)(model + i) = MEMORY32(AREA + i) = random32() & mask;
}
static void compare(const char *name) {
    for (u32 i = 0; i < SIZE; i += 4)
        if (*(u32 *)(model + i) != MEMORY32(AREA + i))
            panic("%s: word at 0x%x is 0x%x, not 0x%x", name, i, MEMORY32(AREA + i), *(u32 *)(model + i));
}
static void compare_registers(const char *name, const struct registers *r) {
    expect(name, caught.frame.eax, r->eax);
    expect(name, caught.frame.ecx, r->ecx);
    expect(name, caught.frame.esi, r->esi);
    expect(name, caught.frame.edi, r->edi);
    expect(name, caught.frame.edx & (EFLAGS_STATUS | EFLAGS_DF), r->eflags & (EFLAGS_STATUS | EFLAGS_DF));
}

static void prepare(u32 cpl, u32 from, u32 to, u32 count, u32 direction) {
    reset(cpl);
    in.esi = from;
    in.edi = to;
    in.ecx = count;
    in.eflags |= direction | (random32() & EFLAGS_STATUS);
    in.eax = random32() & 0x03030303;
}

/* One instruction against the model; ESI and EDI are the addresses where the string begins, or ends with DF = 1. */
static void one(const struct instruction *instruction, u32 log_size, u32 cpl, u32 from, u32 to, u32 count, u32 direction) {
    prepare(cpl, from, to, count, direction);
    struct registers r = in;
    run_model(instruction, log_size, &r);
    expect_done(instruction->name, instruction->code[log_size]);
    compare_registers(instruction->name, &r);
}

static void all_forms(void) {
    group("all forms");
    for (u32 i = 0; i < INSTRUCTIONS; i++) {
        fill(0x01010101); /* few values, so that comparisons go on for a while */
        for (u32 log_size = 0; log_size <= 2; log_size++)
            for (u32 n = 0; n < 24; n++) {
                u32 count = n < 3 ? n : random32() % 200, direction = n & 1 ? EFLAGS_DF : 0;
                u32 from = AREA + PAGE_SIZE + random32() % (2 * PAGE_SIZE), to = AREA + PAGE_SIZE + random32() % (2 * PAGE_SIZE);
                one(&instructions[i], log_size, n & 2 ? CPL3 : CPL0, from, to, count, direction);
            }
        compare(instructions[i].name);
        kprintf("%s\n", instructions[i].name);
    }
}

static void boundaries(void) {
    group("page boundaries and overlaps");
    for (u32 i = 0; i < INSTRUCTIONS; i++) {
        if (!instructions[i].repeat) continue;
        for (u32 log_size = 0; log_size <= 2; log_size++)
            for (u32 direction = 0; direction <= EFLAGS_DF; direction += EFLAGS_DF) {
                fill_with(1, 1, SIZE);
                /* A page and a bit, unaligned to the page and to the element. */
                u32 count = (PAGE_SIZE + 100) >> log_size, from = AREA + (direction ? 3 * PAGE_SIZE - 9 : 13);
                one(&instructions[i], log_size, CPL3, from, from + PAGE_SIZE + 3, count, direction);
                compare(instructions[i].name);
            }
    }
    for (int distance = -9; distance <= 9; distance++) /* overlaps, each way */
        for (u32 log_size = 0; log_size <= 2; log_size++)
            for (u32 direction = 0; direction <= EFLAGS_DF; direction += EFLAGS_DF) {
                for (u32 n = 0; n < 512; n++) model[2 * PAGE_SIZE - 256 + n] = MEMORY8(AREA + 2 * PAGE_SIZE - 256 + n) = (u8)random32();
                one(&instructions[1], log_size, CPL0, AREA + 2 * PAGE_SIZE - 20, AREA + 2 * PAGE_SIZE - 20 + (u32)distance, 30, direction);
            }
    compare("overlaps");
}

static void endings(void) {
    group("endings of REPE and REPNE");
    for (u32 at = 0; at <= 20; at++) /* the element that ends it; 20: none */
        for (u32 log_size = 0; log_size <= 2; log_size++) {
            u32 from = AREA + PAGE_SIZE - 40, to = AREA + 3 * PAGE_SIZE - 33;
            for (u32 n = 0; n < 20; n++) {
                put((u8 *)from + (n << log_size), 5, 1u << log_size);
                put((u8 *)to + (n << log_size), n == at ? 6 : 5, 1u << log_size);
            }
            u32 left = at == 20 ? 0 : 19 - at;
            prepare(CPL0, from, to, 20, 0);
            expect_done("REPE CMPS", instructions[7].code[log_size]);
            expect("ECX", caught.frame.ecx, left);
            expect("ESI", caught.frame.esi, from + ((20 - left) << log_size));
            expect("ZF", caught.frame.edx & EFLAGS_ZF, at == 20 ? EFLAGS_ZF : 0);
            prepare(CPL0, from, to, 20, 0);
            in.eax = 6;
            expect_done("REPNE SCAS", instructions[11].code[log_size]);
            expect("ECX", caught.frame.ecx, left);
            expect("EDI", caught.frame.edi, to + ((20 - left) << log_size));
            expect("ZF", caught.frame.edx & EFLAGS_ZF, at == 20 ? 0 : EFLAGS_ZF);
        }
    for (u32 i = 0; i < INSTRUCTIONS; i++) { /* no iteration: no access, no change of flags */
        if (!instructions[i].repeat) continue;
        for (u32 log_size = 0; log_size <= 2; log_size++) {
            prepare(CPL3, 0x7FFFFFF0, 0x7FFFFFF1, 0, 0);
            struct registers r = in;
            expect_done("count 0", instructions[i].code[log_size]);
            compare_registers("count 0", &r);
        }
    }
}

/* Faults: pages are taken away and come back when the handler is called. */
static u32 faults, fault_esi, fault_edi, fault_ecx, fault_eip, fault_error;
static u32 saved_ptes[PAGES];
static void repair(struct trap_frame *frame) {
    u32 page = (read_cr2() - AREA) / PAGE_SIZE;
    if (page >= PAGES) panic("fault at %08x", read_cr2());
    faults++;
    fault_esi = frame->esi;
    fault_edi = frame->edi;
    fault_ecx = frame->ecx;
    fault_eip = frame->eip;
    fault_error = frame->error_code;
    *pte_of(WINDOW_AT(page)) = saved_ptes[page];
    invlpg(WINDOW_AT(page));
}
static void take_away(u32 page) {
    saved_ptes[page] = *pte_of(WINDOW_AT(page));
    *pte_of(WINDOW_AT(page)) = 0;
    invlpg(WINDOW_AT(page));
}

static void restarts(void) {
    group("faults in mid-string");
    for (u32 i = 0; i < INSTRUCTIONS; i++) {
        if (!instructions[i].repeat) continue;
        for (u32 log_size = 0; log_size <= 2; log_size++)
            for (u32 direction = 0; direction <= EFLAGS_DF; direction += EFLAGS_DF) {
                const struct instruction *instruction = &instructions[i];
                int writes = instruction->operation <= STOS, reads_source = instruction->operation != STOS && instruction->operation != SCAS;
                int uses_target = instruction->operation != LODS;
                u32 size = 1u << log_size, equal = instruction->repeat == 2 ? 0 : 1; /* comparisons run to the end */
                fill_with(7, equal ? 7 : 8, 3 * PAGE_SIZE);
                u32 count = 64, from, to;
                if (!direction) {
                    from = AREA + PAGE_SIZE - 10 * size; /* 10 elements, then page 1 */
                    to = AREA + 4 * PAGE_SIZE - 20 * size; /* 20 elements, then page 4 */
                } else {
                    from = AREA + PAGE_SIZE + 9 * size; /* 10 elements, then page 0 */
                    to = AREA + 4 * PAGE_SIZE + 19 * size; /* 20 elements, then page 3 */
                }
                prepare(CPL3, from, to, count, direction);
                in.eax = equal ? 0x07070707 : 0x09090909;
                struct registers r = in;
                run_model(instruction, log_size, &r);
                if (reads_source) take_away(direction ? 0 : 1);
                if (uses_target) take_away(direction ? 3 : 4);
                set_trap_handler(VECTOR_PAGE_FAULT, repair);
                faults = 0;
                expect_done(instruction->name, instruction->code[log_size]);
                set_trap_handler(VECTOR_PAGE_FAULT, catch_trap);
                compare_registers(instruction->name, &r);
                expect("faults", faults, (u32)(reads_source + uses_target));
                u32 done = uses_target ? 20 : 10, moved = direction ? 0u - done * size : done * size;
                expect("ECX at the last fault", fault_ecx, count - done);
                if (reads_source) expect("ESI at the last fault", fault_esi, from + moved);
                if (uses_target) expect("EDI at the last fault", fault_edi, to + moved);
                expect("EIP at the last fault", fault_eip, (u32)instruction->code[log_size]);
                expect("error code", fault_error, uses_target && writes ? 6 : 4);
                compare(instruction->name);
            }
    }
    /* An element across two pages, of which the second is missing: nothing of it is moved before the fault. */
    fill(~0u);
    take_away(2);
    prepare(CPL0, AREA + 100, AREA + 2 * PAGE_SIZE - 14, 10, 0);
    EXPECT_TRAP("element across pages", rep_movs_l, VECTOR_PAGE_FAULT, 2);
    expect("CR2", caught.cr2, AREA + 2 * PAGE_SIZE);
    expect("ECX", caught.frame.ecx, 7);
    expect("ESI", caught.frame.esi, AREA + 112);
    expect("EDI", caught.frame.edi, AREA + 2 * PAGE_SIZE - 2);
    expect("bytes before the boundary", MEMORY16(AREA + 2 * PAGE_SIZE - 2), get(model + 2 * PAGE_SIZE - 2, 2));
    *pte_of(WINDOW_AT(2)) = saved_ptes[2];
    in.ecx = caught.frame.ecx;
    in.esi = caught.frame.esi;
    in.edi = caught.frame.edi;
    expect_done("restarted", rep_movs_l);
    for (u32 n = 0; n < 40; n++) expect("moved", MEMORY8(AREA + 2 * PAGE_SIZE - 14 + n), model[100 + n]);
}

/* 16-bit addresses (67h): SI, DI and CX, and the rest of the registers stays. The first 64 KB are ordinary memory. */
#define LOW 0x9000u
STRING(movs16, "addr16 movsb");
STRING(rep_movs16, "addr16 rep movsb");
STRING(rep_stos16, "addr16 rep stosl");
STRING(rep_lods16, "addr16 rep lodsw");
STRING(repne_scas16, "addr16 repne scasb");
STRING(repe_cmps16, "addr16 repe cmpsw");

static void small_addresses(void) {
    u8 *low = (u8 *)LOW;
    group("16-bit addresses");
    for (u32 i = 0; i < 256; i++) low[i] = (u8)(i * 7 + 1);
    prepare(CPL0, 0xABCD0000 | LOW, 0x12340000 | (LOW + 0x800), 0x77770001, 0);
    expect_done("MOVSB", movs16);
    expect("moved", low[0x800], 1);
    expect("ESI", caught.frame.esi, 0xABCD0000 | (LOW + 1));
    expect("EDI", caught.frame.edi, 0x12340000 | (LOW + 0x801));
    expect("ECX", caught.frame.ecx, 0x77770001);
    prepare(CPL0, 0xABCD0000 | LOW, 0x12340000 | (LOW + 0x800), 0x77770000 | 200, 0);
    expect_done("REP MOVSB", rep_movs16);
    for (u32 i = 0; i < 200; i++) expect("moved", low[0x800 + i], (u8)(i * 7 + 1));
    expect("ESI", caught.frame.esi, 0xABCD0000 | (LOW + 200));
    expect("EDI", caught.frame.edi, 0x12340000 | (LOW + 0x800 + 200));
    expect("ECX", caught.frame.ecx, 0x77770000);
    prepare(CPL0, 0xABCD0000 | LOW, 0xFFFF0000 | (LOW + 0x400), 0x00010000 | 9, EFLAGS_DF);
    expect_done("REP STOSD, DF 1", rep_stos16);
    expect("first", MEMORY32(LOW + 0x400), in.eax);
    expect("last", MEMORY32(LOW + 0x400 - 32), in.eax);
    expect("EDI", caught.frame.edi, 0xFFFF0000 | (LOW + 0x400 - 36));
    expect("ECX", caught.frame.ecx, 0x00010000);
    prepare(CPL0, 0x7FFF0000 | LOW, 0, 0xFFFF0004, 0);
    expect_done("REP LODSW", rep_lods16);
    expect("AX", caught.frame.eax & 0xFFFF, (u32)low[6] | (u32)low[7] << 8);
    expect("ESI", caught.frame.esi, 0x7FFF0000 | (LOW + 8));
    prepare(CPL0, 0, 0x00550000 | LOW, 0x00660000 | 256, 0);
    in.eax = 10 * 7 + 1;
    expect_done("REPNE SCASB", repne_scas16);
    expect("EDI", caught.frame.edi, 0x00550000 | (LOW + 11));
    expect("ECX", caught.frame.ecx, 0x00660000 | 245);
    prepare(CPL0, 0x11110000 | LOW, 0x22220000 | (LOW + 0x800), 0x33330000 | 150, 0);
    expect_done("REPE CMPSW", repe_cmps16);
    expect("ESI", caught.frame.esi, 0x11110000 | (LOW + 202));
    expect("ECX", caught.frame.ecx, 0x33330000 | 49);
    /* SI wraps within 64 KB: from FFFFh to 0. */
    u32 bottom = 0;
    __asm__("" : "+r"(bottom)); /* the compiler takes an access of address 0 for an error */
    MEMORY16(bottom) = 0xA1A0;
    MEMORY8(LOW + 0xFFF) = 0;
    prepare(CPL0, 0x44440000, 0x55550000 | (LOW + 0x600), 0x66660002, 0);
    expect_done("from 0", rep_movs16);
    expect("moved", MEMORY16(LOW + 0x600), 0xA1A0);
    prepare(CPL0, 0x44440001, 0x55550000 | (LOW + 0x601), 0x66660002, EFLAGS_DF);
    expect_done("below 0", rep_movs16);
    expect("ESI", caught.frame.esi, 0x4444FFFF);
    expect("EDI", caught.frame.edi, 0x55550000 | (LOW + 0x5FF));
}

/* LOOP, LOOPE, LOOPNE, JECXZ, JCXZ: they count as strings do. */
SNIPPET(loop32, "xorl %eax, %eax\n1:\tincl %eax\n\tloop 1b");
SNIPPET(loop16, "xorl %eax, %eax\n1:\tincl %eax\n\t.byte 0x67, 0xE2, 0xFC");
SNIPPET(loope, "xorl %eax, %eax\n1:\tincl %eax\n\tcmpl $5, %eax\n\tsetb %dl\n\tcmpb $1, %dl\n\tloope 1b");
SNIPPET(loopne, "xorl %eax, %eax\n1:\tincl %eax\n\tcmpl $5, %eax\n\tloopne 1b");
SNIPPET(jecxz, "movl $1, %eax\n\tjecxz 1f\n\tmovl $2, %eax\n1:");
SNIPPET(jcxz, "movl $1, %eax\n\tjcxz 1f\n\tmovl $2, %eax\n1:");
static void loops(void) {
    static const struct {
        const char *name;
        const u8 *code;
        u32 ecx, eax, ecx_after;
    } table[] = {{"LOOP", loop32, 1, 1, 0},
                 {"LOOP", loop32, 77, 77, 0},
                 {"LOOP CX", loop16, 0x00050003, 3, 0x00050000},
                 {"LOOP CX of 0", loop16, 0x00050000, 0x10000, 0x00050000},
                 {"LOOPE", loope, 10, 5, 5},
                 {"LOOPE", loope, 3, 3, 0},
                 {"LOOPNE", loopne, 10, 5, 5},
                 {"LOOPNE", loopne, 4, 4, 0},
                 {"JECXZ", jecxz, 0, 1, 0},
                 {"JECXZ", jecxz, 0x10000, 2, 0x10000},
                 {"JCXZ", jcxz, 0x10000, 1, 0x10000},
                 {"JCXZ", jcxz, 1, 2, 1}};
    group("LOOP and JECXZ");
    for (u32 i = 0; i < sizeof table / sizeof table[0]; i++) {
        reset(CPL0);
        in.ecx = table[i].ecx;
        expect_done(table[i].name, table[i].code);
        expect(table[i].name, caught.frame.eax, table[i].eax);
        expect(table[i].name, caught.frame.ecx, table[i].ecx_after);
    }
}

void program_main(void) {
    test_init();
    for (u32 i = 0; i < PAGES; i++) window_page(i, PTE_U | PTE_W);
    all_forms();
    boundaries();
    endings();
    restarts();
    small_addresses();
    loops();
    groups_end();
}

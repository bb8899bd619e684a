/*
 * What t-segments-odd, t-top and t-hostile leave out because QEMU checks no limits: accesses outside of segments that end in or
 * below the top of the linear space, pages there or not; IP and SP of 16 bits at their ends; FS and GS null (SDM volume 3, 5.3).
 * A limit is checked before any page: it is #GP or #SS, never #PF.
 */
#include "code.h"
#include "top.h"

#define RIGHTS (PTE_U | PTE_W)
#define SEGMENT 8u /* entries of the GDT, made anew */
#define CODE_SEGMENT 9u
#define LAST 0xFFFFF000u
#define BELOW (TOP - PAGE_SIZE)
#define LOW WINDOW_AT(0) /* 64 KB and a page */

static u32 cpl;

#define ACCESS(s)                                                                       \
    SNIPPET(load_##s, "movw %ax, %" #s "\n7:\tmovl %" #s ":(%ebx), %edx");               \
    SNIPPET(store_##s, "movw %ax, %" #s "\n7:\tmovl %ecx, %" #s ":(%ebx)");              \
    SNIPPET(byte_##s, "movw %ax, %" #s "\n7:\tmovb %cl, %" #s ":(%ebx)");                \
    SNIPPET(modify_##s, "movw %ax, %" #s "\n7:\tlock addl %ecx, %" #s ":(%ebx)")
ACCESS(ds);
ACCESS(es);
ACCESS(fs);
ACCESS(gs);
ACCESS(ss);
#define ROW(kind) {{kind##_ds, kind##_es, kind##_fs, kind##_gs, kind##_ss}, {kind##_ds_at, kind##_es_at, kind##_fs_at, kind##_gs_at, kind##_ss_at}}
static const struct {
    const u8 *code[5], *at[5];
} kinds[4] = {ROW(load), ROW(store), ROW(byte), ROW(modify)};
static const u32 sizes[4] = {4, 4, 1, 4};

/* One access of each kind by each segment register: allowed, or #GP, or #SS by SS. At CPL 0 SS stays flat: the trap comes by it. */
static void everyone(u32 offset, u32 allowed_sizes) { /* bit n: n + 1 bytes from there are within */
    for (u32 k = 0; k < 4; k++)
        for (u32 i = 0; i < (cpl ? 5u : 4u); i++) {
            reset(cpl);
            in.eax = SEGMENT << 3 | cpl;
            in.ebx = offset;
            if (allowed_sizes >> (sizes[k] - 1) & 1) expect_done("within", kinds[k].code[i]);
            else {
                expect_trap("outside", kinds[k].code[i], kinds[k].at[i], i == 4 ? VECTOR_STACK_FAULT : VECTOR_GENERAL_PROTECTION, 0);
                expect_registers("outside");
            }
        }
}

static void limits(void) {
    static const struct {
        u32 base, limit, type, flags; /* flags: G = 8, B = 4 */
        u32 inside, outside;          /* the last (down: the first) doubleword within, and the first byte without */
    } table[] = {
        {0, 0xFFBFF, 3, 0xC, TOP - 4, TOP},                             /* ends where the top begins */
        {0, 0xFFC00, 3, 0xC, TOP + 0xFFC, TOP + 0x1000},                /* a page later */
        {0, 0xFFFFE, 3, 0xC, LAST - 4, LAST},
        {0x10000000, 0xEFBFF, 3, 0xC, 0xEFBFFFFC, 0xEFC00000},
        {TOP, 0xFFF, 3, 4, 0xFFC, 0x1000},
        {TOP - 8, 0x00F, 3, 4, 12, 16},
        {LAST, 0xFFF, 3, 4, 0xFFC, 0x1000},                             /* ends with the linear space */
        {LAST, 0xFFE, 3, 4, 0xFFB, 0xFFF},
        {0, 0xFFBFF, 7, 0xC, TOP, TOP - 1},                             /* down: from the top on */
        {0, 0xFFFFE, 7, 0xC, LAST, LAST - 1},
        {TOP, 0xFFFFE, 7, 0xC, LAST + 4, LAST - 1},                     /* from the top less a page, by wrapping */
        {LOW, 0xFFE, 7, 4, 0xFFF, 0xFFE},
        {LOW, 0xFFE, 7, 0, 0xFFF, 0xFFE}};                              /* B = 0: to FFFFh */
    group("limits");
    for (u32 pages = 0; pages < 2; pages++)
        for (u32 n = 0; n < sizeof table / sizeof table[0]; n++)
            for (cpl = CPL0; cpl <= CPL3; cpl += 3) {
                u32 down = table[n].type == 7, inside = table[n].inside, outside = table[n].outside;
                for (u32 page = 0; page < 2; page++) { /* what is outside is #GP with and without pages */
                    u32 linear = table[n].base + (page ? outside : inside) + (down && page ? -4 : 0);
                    if (linear < TOP - PAGE_SIZE) continue;
                    if (pages) top_page(linear, RIGHTS);
                    else if (page && (linear & PTE_FRAME) != ((table[n].base + inside) & PTE_FRAME)) top_none(linear);
                    else top_page(linear, RIGHTS);
                }
                test_gdt[SEGMENT] = descriptor(table[n].base, table[n].limit, 0x90 | table[n].type | cpl << 5, table[n].flags);
                if (table[n].base + inside >= BELOW || table[n].base >= LOW) everyone(inside, 0xF);
                everyone(outside, 0);
                if (down) everyone(outside - 3, 0);
                else {
                    everyone(outside - 1, 1); /* a byte, and no doubleword */
                    everyone(outside + 0x123, 0);
                    everyone(0xFFFFFFFC, 0);
                    everyone(0xFFFFFFFF, 0);
                }
                if (!(table[n].flags & 4)) {
                    everyone(0xFFFC, 0xF);
                    everyone(0xFFFD, 7);
                    everyone(0x10000, 0);
                    everyone(TOP, 0);
                }
            }
}

/* Null FS and GS, in all that uses them. */
#define NULLS(s)                                                                                                        \
    SNIPPET(null_##s##_load, "7:\tmovl %" #s ":(%ebx), %ecx");                                                           \
    SNIPPET(null_##s##_store, "7:\tmovl %ecx, %" #s ":(%ebx)");                                                          \
    SNIPPET(null_##s##_jump, "7:\tjmp *%" #s ":(%ebx)");                                                                 \
    SNIPPET(null_##s##_call, "7:\tcall *%" #s ":(%ebx)");                                                                \
    SNIPPET(null_##s##_push, "7:\tpushl %" #s ":(%ebx)");                                                                \
    SNIPPET(null_##s##_pop, "pushl %ecx\n7:\tpopl %" #s ":(%ebx)");                                                      \
    SNIPPET(null_##s##_string, "movl %ebx, %esi\n7:\tlodsl %" #s ":(%esi)");                                             \
    SNIPPET(null_##s##_far, "7:\tl" #s "l %" #s ":(%ebx), %ecx");                                                        \
    SNIPPET(null_##s##_xlat, "7:\txlat %" #s ":(%ebx)")
NULLS(fs);
NULLS(gs);
#define NULL_ROW(s, what) {null_##s##_##what, null_##s##_##what##_at}
static const struct {
    const u8 *code, *at;
} nulls[] = {
#define ALL(s)                                                                                                                        \
    NULL_ROW(s, load), NULL_ROW(s, store), NULL_ROW(s, jump), NULL_ROW(s, call), NULL_ROW(s, push), NULL_ROW(s, pop), NULL_ROW(s, string), \
        NULL_ROW(s, far), NULL_ROW(s, xlat)
    ALL(fs), ALL(gs)};

static void null_selectors(void) {
    group("null FS and GS");
    for (cpl = CPL0; cpl <= CPL3; cpl += 3)
        for (u32 null = 0; null <= 3; null++)
            for (u32 i = 0; i < sizeof nulls / sizeof nulls[0]; i++) {
                reset(cpl);
                in.fs = in.gs = null;
                in.ebx = (u32)user_stack_top - 64;
                in.eflags |= random32() & (EFLAGS_STATUS | EFLAGS_DF);
                expect_trap("null", nulls[i].code, nulls[i].at, VECTOR_GENERAL_PROTECTION, 0);
                expect("flags", caught.frame.eflags & (EFLAGS_STATUS | EFLAGS_DF), in.eflags & (EFLAGS_STATUS | EFLAGS_DF));
                if (nulls[i].code == nulls[i].at) expect_registers("null"); /* nothing was executed before it */
                expect("FS", caught.frame.fs & 0xFFFF, null);
                expect("GS", caught.frame.gs & 0xFFFF, null);
            }
}

/* Code segments: IP past FFFFh, targets outside of a limit that is below the top, instructions across it. */
static void code(void) {
    group("code limits");
    memset((void *)LOW, 0x90, 0x10000);
    for (cpl = CPL0; cpl <= CPL3; cpl += 3) {
        test_gdt[CODE_SEGMENT] = descriptor(LOW, 0xFFFF, 0x9B | cpl << 5, 0);
        reset(cpl);
        in.cs = CODE_SEGMENT << 3 | cpl;
        expect_trap("IP past FFFFh", (u8 *)0xFFF0, (u8 *)0x10000, VECTOR_GENERAL_PROTECTION, 0);
        at = (u8 *)LOW + 0xFFFE; /* JMP +10h: the target is cut to 16 bits */
        CODE_BYTES(0xEB, 0x10);
        at = (u8 *)LOW + 0x10;
        CODE_END();
        expect_done("JMP rel8 from FFFEh", (u8 *)0xFFF0);
        expect("EIP", caught.frame.eip, 0x12);
        at = (u8 *)LOW + 0xFFFE;
        CODE_BYTES(0xB8, 0x34); /* MOV AX, imm16 across the end */
        expect_trap("across FFFFh", (u8 *)0xFFF0, (u8 *)0xFFFE, VECTOR_GENERAL_PROTECTION, 0);
        at = (u8 *)LOW + 0xFFFA;
        CODE_BYTES(0x66, 0xE9, 0x10, 0, 0, 0); /* JMP rel32: its target is not cut */
        expect_trap("JMP rel32 past FFFFh", (u8 *)0xFFF0, (u8 *)0xFFFA, VECTOR_GENERAL_PROTECTION, 0);
        memset((void *)(LOW + 0xFFF0), 0x90, 16);
        at = (u8 *)LOW + 0xFFFD;
        CODE_BYTES(0xE8, 0x10, 0x00); /* CALL rel16 that ends at the end: its return address is 0 */
        expect_done("CALL rel16 from FFFDh", (u8 *)0xFFF0);
        expect("return address", MEMORY16(caught.frame.esp), 0);
        memset((void *)(LOW + 0xFFF0), 0x90, 16);
        /* A flat segment that ends where the top begins. */
        static const u8 branches[][6] = {{0xE9}, {0xE8}, {0xFF, 0xE3}, {0xFF, 0xD3}, {0x53, 0xC3}, {0x0F, 0x84}};
        test_gdt[CODE_SEGMENT] = descriptor(0, 0xFFBFF, 0x9B | cpl << 5, 0xC);
        for (u32 there = 0; there < 2; there++) {
            if (there) top_page(TOP, RIGHTS);
            else top_none(TOP);
            for (u32 i = 0; i < 6; i++)
                for (u32 k = 0; k < 3; k++) {
                    static const u32 targets[] = {TOP, TOP + 0x1000, 0xFFFFFFF0};
                    at = (u8 *)LOW + 0x100;
                    bytes(branches[i], i == 0 || i == 1 ? 1 : 2);
                    if (i < 2 || i == 5) word(targets[k] - ((u32)at + 4));
                    CODE_END();
                    reset(cpl);
                    in.cs = CODE_SEGMENT << 3 | cpl;
                    in.ebx = targets[k];
                    in.eflags |= EFLAGS_ZF;
                    expect_trap("a target outside", (u8 *)LOW + 0x100, (u8 *)LOW + 0x100 + (i == 4), VECTOR_GENERAL_PROTECTION, 0);
                    expect("ESP", in.esp - caught.frame.esp, i == 4 ? 4 : 0);
                }
            for (u32 k = 0; k < 16; k++) MEMORY8(TOP - 16 + k) = 0x40; /* INC EAX up to it */
            reset(cpl);
            in.cs = CODE_SEGMENT << 3 | cpl;
            expect_trap("running into it", (u8 *)TOP - 16, (u8 *)TOP, VECTOR_GENERAL_PROTECTION, 0);
            expect("EAX", caught.frame.eax, in.eax + 16);
            MEMORY8(TOP - 3) = 0xB9;
            reset(cpl);
            in.cs = CODE_SEGMENT << 3 | cpl;
            expect_trap("an instruction across it", (u8 *)TOP - 16, (u8 *)TOP - 3, VECTOR_GENERAL_PROTECTION, 0);
            at = (u8 *)LOW + 0x200; /* and data by CS */
            CODE_BYTES(0x2E, 0x8B, 0x0B);
            CODE_END();
            reset(cpl);
            in.cs = CODE_SEGMENT << 3 | cpl;
            in.ebx = TOP;
            expect_trap("data by CS", (u8 *)LOW + 0x200, (u8 *)LOW + 0x200, VECTOR_GENERAL_PROTECTION, 0);
            in.ebx = TOP - 3;
            expect_trap("data by CS", (u8 *)LOW + 0x200, (u8 *)LOW + 0x200, VECTOR_GENERAL_PROTECTION, 0);
            in.ebx = TOP - 4;
            expect_done("data by CS", (u8 *)LOW + 0x200);
        }
    }
}

/* Stacks at CPL 3 whose limit is met: #SS, and ESP as before. */
#define ON_STACK(name, code) SNIPPET(name, "movw %ax, %ss\n\tmovl %edi, %esp\n7:\t" code)
ON_STACK(s_push, "pushl %ecx");
ON_STACK(s_call, "call 1f\n1:");
ON_STACK(s_pushal, "pushal");
ON_STACK(s_enter, "enter $8, $0");
ON_STACK(s_pushfl, "pushfl");
ON_STACK(s_pop, "popl %ecx");
ON_STACK(s_ret, "ret");
ON_STACK(s_iret, "iret");
ON_STACK(s_far_call, "lcall $0x1B, $1f\n1:");
static void stacks(void) {
    static const u8 *const down[] = {s_push, s_call, s_pushal, s_enter, s_pushfl, s_far_call}, *const up[] = {s_pop, s_ret, s_iret};
    static const u8 *const down_at[] = {s_push_at, s_call_at, s_pushal_at, s_enter_at, s_pushfl_at, s_far_call_at}, *const up_at[] = {s_pop_at, s_ret_at, s_iret_at};
    group("stacks");
    cpl = CPL3;
    for (u32 i = 0; i < 6; i++) {
        static const u32 esps[] = {0, 0xFFFFFFFC, TOP + 4, TOP + 0x800};
        test_gdt[SEGMENT] = descriptor(0, 0xFFBFF, 0xF3, 0xC); /* ends below the top */
        for (u32 k = 0; k < 4; k++) {
            reset(CPL3);
            in.eax = SEGMENT << 3 | 3;
            in.edi = esps[k];
            expect_trap("into the top", down[i], down_at[i], VECTOR_STACK_FAULT, 0);
            expect("ESP", caught.frame.esp, in.edi);
            if (i < 3) expect("EBP", caught.frame.ebp, in.ebp);
        }
        test_gdt[SEGMENT] = descriptor(0, 0xFFBFF, 0xF7, 0xC); /* down: begins with it */
        reset(CPL3);
        in.eax = SEGMENT << 3 | 3;
        in.edi = TOP;
        expect_trap("out of the top", down[i], down_at[i], VECTOR_STACK_FAULT, 0);
        expect("ESP", caught.frame.esp, in.edi);
    }
    for (u32 i = 0; i < 3; i++) {
        test_gdt[SEGMENT] = descriptor(0, 0xFFBFF, 0xF3, 0xC);
        reset(CPL3);
        in.eax = SEGMENT << 3 | 3;
        in.edi = TOP;
        expect_trap("from the top", up[i], up_at[i], VECTOR_STACK_FAULT, 0);
        in.edi = TOP - 2;
        expect_trap("over the border", up[i], up_at[i], VECTOR_STACK_FAULT, 0);
        expect("ESP", caught.frame.esp, in.edi);
    }
}

void program_main(void) {
    test_init();
    gdt_extend();
    for (u32 n = 0; n < 17; n++) window_page(n, RIGHTS);
    top_init();
    map_page(BELOW, frame_alloc(), RIGHTS | PTE_P);
    null_selectors();
    limits();
    code();
    stacks();
    groups_end();
}

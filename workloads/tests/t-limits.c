/*
 * Segment limits and types on every access (SDM volume 3, 5.3 and 5.5): expand-up and expand-down, byte and page
 * granularity, 16-bit and 32-bit, code and stack limits, null selectors, read-only and execute-only segments. QEMU's TCG checks
 * none of these, so this guest is not for it.
 */
#include "test.h"

#define SEGMENT 0x43 /* of DPL 3, made anew for each case */
#define STACK 0x4B
#define CODE 0x53
#define BASE WINDOW_AT(16) /* 64 KB of user pages, and one page below and above them */

SNIPPET(load8, "movw %ax, %fs\n7:\tmovb %fs:(%ebx), %cl");
SNIPPET(load16, "movw %ax, %fs\n7:\tmovw %fs:(%ebx), %cx");
SNIPPET(load32, "movw %ax, %fs\n7:\tmovl %fs:(%ebx), %ecx");
SNIPPET(store8, "movw %ax, %fs\n7:\tmovb %cl, %fs:(%ebx)");
SNIPPET(store16, "movw %ax, %fs\n7:\tmovw %cx, %fs:(%ebx)");
SNIPPET(store32, "movw %ax, %fs\n7:\tmovl %ecx, %fs:(%ebx)");
SNIPPET(modify32, "movw %ax, %fs\n7:\tincl %fs:(%ebx)");
static const u8 *const accesses[7] = {load8, load16, load32, store8, store16, store32, modify32};
static const u8 *const access_at[7] = {load8_at, load16_at, load32_at, store8_at, store16_at, store32_at, modify32_at};
static const u32 sizes[7] = {1, 2, 4, 1, 2, 4, 4};

/* What the manual says of an access at an offset. */
static u32 within(u32 offset, u32 size, u32 limit, u32 type, u32 big) {
    u32 last = offset + size - 1;
    if (last < offset) return 0; /* over the end of 4 GB */
    if ((type & 0xC) == 4) return offset > limit && last <= (big ? ~0u : 0xFFFFu); /* expand-down */
    return last <= limit;
}

static void one_access(u32 i, u32 offset, u32 allowed) {
    reset(CPL3);
    in.eax = SEGMENT;
    in.ebx = offset;
    if (allowed) expect_done("within", accesses[i]);
    else {
        expect_trap("outside", accesses[i], access_at[i], VECTOR_GENERAL_PROTECTION, 0);
        expect_registers("outside");
    }
}

static void data_limits(void) {
    static const struct {
        u32 limit, flags, type; /* type 3: data, writable, up; 7: down */
    } segments[] = {{0, 4, 3},      {1, 4, 3},      {2, 4, 3},      {3, 4, 3},      {0x123, 4, 3}, {0xFFF, 0, 3},
                    {0xFFFF, 4, 3}, {0xFFFF, 0, 3}, {0, 0xC, 3},    {3, 0xC, 3},    {0x123, 4, 7}, {0x123, 0, 7},
                    {0xFFF, 0, 7},  {0xFFFE, 0, 7}, {0xFFFF, 0, 7}, {0, 4, 7},      {0, 0xC, 7},   {2, 0xC, 7}};
    group("data limits");
    for (u32 s = 0; s < sizeof segments / sizeof segments[0]; s++) {
        u32 limit = segments[s].flags & 8 ? segments[s].limit << 12 | 0xFFF : segments[s].limit, big = segments[s].flags & 4;
        test_gdt[SEGMENT >> 3] = descriptor(BASE, segments[s].limit, 0xF0 | segments[s].type, segments[s].flags);
        for (u32 i = 0; i < 7; i++) {
            for (int delta = -5; delta <= 5; delta++) {
                u32 edges[2] = {limit + (u32)delta, 0xFFFF + (u32)delta};
                for (u32 edge = 0; edge < 2; edge++) {
                    u32 offset = edges[edge], allowed = within(offset, sizes[i], limit, segments[s].type, big);
                    if (allowed && (offset > 0xFFFF + PAGE_SIZE - 8) && offset < 0xFFFFF000) continue; /* not mapped */
                    if (allowed && offset >= 0xFFFFF000) continue;
                    one_access(i, offset, allowed);
                }
            }
            one_access(i, 0x400, within(0x400, sizes[i], limit, segments[s].type, big));
            if (segments[s].type == 3) one_access(i, 0xFFFFFFFF, 0); /* with limits below 4 GB */
        }
    }
    /* A base and an offset whose sum wraps is no violation. */
    test_gdt[SEGMENT >> 3] = descriptor(BASE + 0x2000, 0xFFFFF, 0xF3, 0xC);
    for (u32 i = 0; i < 7; i++) one_access(i, 0u - 0x1000, 1);
    /* An access across 4 GB of offset is unspecified on some processors: not tested. */
}

SNIPPET(null_load, "movw %ax, %fs\n7:\tmovl %fs:(%ebx), %ecx");
SNIPPET(null_store, "movw %ax, %es\n7:\tstosl");
SNIPPET(null_movs, "movw %ax, %ds\n7:\tmovsl");
SNIPPET(cs_store, "7:\tmovl %eax, %cs:(%ebx)");
SNIPPET(cs_load, "7:\tmovl %cs:(%ebx), %eax");
static void types(void) {
    group("types and null selectors");
    for (u32 cpl = CPL0; cpl <= CPL3; cpl += 3)
        for (u32 null = 0; null <= 3; null++) {
            reset(cpl);
            in.eax = null;
            in.ebx = in.esi = in.edi = (u32)user_stack_top - 64;
            EXPECT_TRAP("load by null", null_load, VECTOR_GENERAL_PROTECTION, 0);
            EXPECT_TRAP("store by null", null_store, VECTOR_GENERAL_PROTECTION, 0);
            EXPECT_TRAP("MOVS from null", null_movs, VECTOR_GENERAL_PROTECTION, 0);
        }
    /* Read-only data and readable code may be read; nothing else. */
    static const u32 readable[] = {0xF1, 0xFB, 0xF5};
    for (u32 t = 0; t < 3; t++)
        for (u32 i = 0; i < 7; i++) {
            u32 down = readable[t] == 0xF5;
            test_gdt[SEGMENT >> 3] = descriptor(BASE, down ? 0xFF : 0xFFFF, readable[t], 4);
            one_access(i, 0x400, i < 3);
        }
    reset(CPL0);
    in.ebx = WINDOW_AT(16);
    EXPECT_TRAP("store by CS", cs_store, VECTOR_GENERAL_PROTECTION, 0);
    expect_done("load by CS", cs_load);
    test_gdt[CODE >> 3] = descriptor(0, 0xFFFFF, 0xF9, 0xC); /* execute-only */
    reset(CPL3);
    in.cs = CODE;
    in.ebx = WINDOW_AT(16);
    EXPECT_TRAP("load by an execute-only CS", cs_load, VECTOR_GENERAL_PROTECTION, 0);
}

/* ESP is EDI, SS is EAX: loaded by the snippet, so that all of ESP is as it should be. */
#define ON_STACK(name, code) SNIPPET(name, "movw %ax, %ss\n\tmovl %edi, %esp\n7:\t" code)
ON_STACK(s_push, "pushl %ecx");
ON_STACK(s_push16, "pushw %cx");
ON_STACK(s_pop, "popl %ecx");
ON_STACK(s_call, "call 1f\n1:");
ON_STACK(s_ret, "ret");
ON_STACK(s_pushal, "pushal");
ON_STACK(s_enter, "enter $0, $0");
ON_STACK(s_leave, "leave");
ON_STACK(s_load, "movl 4(%esp), %ecx");
ON_STACK(s_ebp, "movl (%ebp), %ecx");
ON_STACK(s_iret, "iret");
static void stack_limits(void) {
    static const struct {
        const char *name;
        const u8 *code, *at;
        u32 esp, vector;
    } table[] = {
#define S(name, esp, vector) {#name, s_##name, s_##name##_at, esp, vector}
        S(push, 0x1000, DONE),           S(push, 0x1004, VECTOR_STACK_FAULT), S(push, 0x1001, VECTOR_STACK_FAULT),
        S(push16, 0x1002, VECTOR_STACK_FAULT), S(push16, 0x1000, DONE),       S(push, 2, VECTOR_STACK_FAULT),
        S(push, 0, VECTOR_STACK_FAULT),  S(pop, 0xFFC, DONE),                 S(pop, 0xFFD, VECTOR_STACK_FAULT),
        S(pop, 0x1000, VECTOR_STACK_FAULT), S(call, 0x1004, VECTOR_STACK_FAULT), S(call, 2, VECTOR_STACK_FAULT),
        S(ret, 0xFFE, VECTOR_STACK_FAULT), S(pushal, 0x1000, DONE),           S(pushal, 0x1004, VECTOR_STACK_FAULT),
        S(pushal, 0x10, VECTOR_STACK_FAULT), S(enter, 0x1004, VECTOR_STACK_FAULT), S(load, 0xFF8, DONE),
        S(load, 0xFFC, VECTOR_STACK_FAULT), S(iret, 0xFFC, VECTOR_STACK_FAULT)};
    group("stack limits");
    test_gdt[STACK >> 3] = descriptor(BASE, 0xFFF, 0xF3, 4); /* up, 4 KB */
    for (u32 i = 0; i < sizeof table / sizeof table[0]; i++) {
        reset(CPL3);
        in.eax = STACK;
        in.edi = table[i].esp;
        if (table[i].vector == DONE) expect_done(table[i].name, table[i].code);
        else {
            expect_trap(table[i].name, table[i].code, table[i].at, table[i].vector, 0);
            expect("ESP", caught.frame.esp, table[i].esp);
            expect("SS", caught.frame.ss, STACK);
        }
    }
    reset(CPL3);
    in.eax = STACK;
    in.edi = 0x800;
    in.ebp = 0xFFE;
    EXPECT_TRAP("[EBP] is in SS", s_ebp, VECTOR_STACK_FAULT, 0);
    EXPECT_TRAP("LEAVE", s_leave, VECTOR_STACK_FAULT, 0);
    expect("ESP", caught.frame.esp, 0x800);
    expect("EBP", caught.frame.ebp, 0xFFE);
    /* Expand-down: 16 KB below 4 GB of offset, as a stack that can grow. */
    test_gdt[STACK >> 3] = descriptor(BASE + 0x4000, 0xFFFFB, 0xF7, 0xC);
    in.edi = 0;
    expect_done("first PUSH", s_push);
    expect("ESP", caught.frame.esp, 0xFFFFFFFC);
    expect("pushed", MEMORY32(BASE + 0x3FFC), in.ecx);
    in.edi = 0xFFFFC004;
    expect_done("last PUSH", s_push);
    expect("pushed", MEMORY32(BASE), in.ecx);
    in.edi = 0xFFFFC000;
    EXPECT_TRAP("PUSH below the limit", s_push, VECTOR_STACK_FAULT, 0);
    in.edi = 0xFFFFC002;
    EXPECT_TRAP("PUSH across the limit", s_push, VECTOR_STACK_FAULT, 0);
}

/* Code with a limit of FFFh at BASE; page BASE holds INT 82h at 800h. */
static void code_limits(void) {
    extern u8 to_limit[], to_limit_at[], to_limit_call[], to_limit_call_at[];
    group("code limits");
    test_gdt[CODE >> 3] = descriptor(BASE, 0xFFF, 0xFB, 4);
    u8 *code = (u8 *)BASE;
    memset(code, 0x90, PAGE_SIZE + 16);
    MEMORY16(code + 0x800) = 0x82CD;
    reset(CPL3);
    in.cs = CODE;
    expect_done("within", (u8 *)0x800);
    expect("EIP", caught.frame.eip, 0x802);
    reset(CPL3);
    in.cs = CODE; /* runs off the end */
    expect_trap("running off the end", (u8 *)0xFF0, (u8 *)0x1000, VECTOR_GENERAL_PROTECTION, 0);
    MEMORY8(code + 0xFFD) = 0xB8; /* MOV EAX, imm32 of which two bytes are outside */
    expect_trap("an instruction across the limit", (u8 *)0xFF0, (u8 *)0xFFD, VECTOR_GENERAL_PROTECTION, 0);
    expect("EAX", caught.frame.eax, in.eax);
    MEMORY8(code + 0xFFD) = 0x90;
    code[0x100] = 0xE9; /* JMP to 1000h */
    MEMORY32(code + 0x101) = 0x1000 - 0x105;
    expect_trap("JMP", (u8 *)0x100, (u8 *)0x100, VECTOR_GENERAL_PROTECTION, 0);
    code[0x100] = 0xE8; /* CALL */
    expect_trap("CALL", (u8 *)0x100, (u8 *)0x100, VECTOR_GENERAL_PROTECTION, 0);
    expect("ESP", caught.frame.esp, in.esp);
    code[0x100] = 0x90;
    MEMORY16(code + 0x102) = 0xE3FF; /* JMP EBX */
    in.ebx = 0x1001;
    expect_trap("JMP EBX", (u8 *)0x102, (u8 *)0x102, VECTOR_GENERAL_PROTECTION, 0);
    MEMORY16(code + 0x104) = 0xC353; /* PUSH EBX; RET */
    expect_trap("RET", (u8 *)0x104, (u8 *)0x105, VECTOR_GENERAL_PROTECTION, 0);
    expect("ESP at RET", caught.frame.esp, in.esp - 4);
    MEMORY16(code + 0x106) = 0x840F; /* JZ 1000h */
    MEMORY32(code + 0x108) = 0x1000 - 0x10C;
    in.eflags = 2 | EFLAGS_ZF;
    expect_trap("JZ taken", (u8 *)0x106, (u8 *)0x106, VECTOR_GENERAL_PROTECTION, 0);
    in.eflags = 2;
    MEMORY16(code + 0x10C) = 0x82CD;
    expect_done("JZ not taken", (u8 *)0x106);
    /* Far transfers check the target's limit before they do anything. */
    in.cs = USER_CS;
    expect_trap("far JMP", to_limit, to_limit_at, VECTOR_GENERAL_PROTECTION, 0);
    expect_trap("far CALL", to_limit_call, to_limit_call_at, VECTOR_GENERAL_PROTECTION, 0);
    expect("ESP", caught.frame.esp, in.esp);
    expect("CS", caught.frame.cs, USER_CS);
}
SNIPPET(to_limit, "ljmp $0x53, $0x1000");
SNIPPET(to_limit_call, "lcall $0x53, $0x1000");

void program_main(void) {
    test_init();
    gdt_extend();
    for (u32 i = 15; i < 34; i++) window_page(i, PTE_U | PTE_W);
    data_limits();
    types();
    stack_limits();
    code_limits();
    groups_end();
}

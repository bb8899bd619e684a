/*
 * Debug registers at work (SDM volume 3, chapter 17): breakpoints on instructions, data and ports, single step, RF, DR6.
 * t-debug runs this where QEMU agrees with the manual, t-debug-strict all of it.
 */
#include "debug.h"

static u32 cells[64] USER_DATA __attribute__((aligned(64)));
#define DATA_AT ((u32)cells + 32)

SNIPPET(straight, "nop\n\tincl %ecx\n7:\tincl %ecx\n\tincl %ecx");
SNIPPET(loop3, "movl $3, %ecx\n7:\tnop\n\tloop 7b");
SNIPPET(undefined, "7:\tud2");
static void instructions(void) {
    group("instruction breakpoints");
    for (u32 cpl = CPL0; cpl <= CPL3; cpl += 3)
        for (u32 n = 0; n < 4; n++) {
            disarm();
            arm(n, EXECUTE, (u32)straight_at, 1);
            reset(cpl);
            in.ecx = 10;
            step_through("a breakpoint", straight);
            expect("traps", trap_count, 1);
            expect_step(0, (u32)straight_at, 1u << n, 1);
            expect("ECX before", traps[0].ecx, 11);
            expect("ECX", caught.frame.ecx, 13);
            if (strict) expect("RF after", caught.frame.eflags & EFLAGS_RF, 0);
            disarm();
            reset(cpl);
            step_through("none", straight);
            expect("traps", trap_count, 0);
        }
    /* A turn of a loop each; two registers at one place; another one elsewhere. */
    arm(0, EXECUTE, (u32)loop3_at, 1);
    arm(3, EXECUTE, (u32)loop3_at, 1);
    arm(1, EXECUTE, (u32)straight_at, 1);
    reset(CPL3);
    step_through("a loop", loop3);
    expect("traps", trap_count, 3);
    for (u32 i = 0; i < 3; i++) {
        expect_step(i, (u32)loop3_at, 9, 1);
        expect("ECX", traps[i].ecx, 3 - i);
    }
    /* IRET loads RF: the first instruction does not break. */
    disarm();
    arm(0, EXECUTE, (u32)straight, 1);
    reset(CPL3);
    step_through("without RF", straight);
    expect("traps", trap_count, 1);
    reset(CPL3);
    in.eflags |= EFLAGS_RF;
    step_through("with RF", straight);
    expect("traps", trap_count, 0);
    /* The breakpoint comes before the instruction's own fault. */
    disarm();
    arm(0, EXECUTE, (u32)undefined_at, 1);
    reset(CPL3);
    trap_count = 0;
    expect_trap("UD2", undefined, undefined_at, VECTOR_INVALID_OPCODE, 0);
    expect("traps", trap_count, 1);
    expect_step(0, (u32)undefined_at, 1, 1);
    disarm();
}

SNIPPET(store8, "movb %al, (%ebx)\n7:\tnop");
SNIPPET(store16, "movw %ax, (%ebx)\n7:\tnop");
SNIPPET(store32, "movl %eax, (%ebx)\n7:\tnop");
SNIPPET(load8, "movb (%ebx), %al\n7:\tnop");
SNIPPET(load16, "movw (%ebx), %ax\n7:\tnop");
SNIPPET(load32, "movl (%ebx), %eax\n7:\tnop");
static void data(void) {
    group("data breakpoints");
    static const u8 *const codes[2][3] = {{store8, store16, store32}, {load8, load16, load32}};
    static const u8 *const behind[2][3] = {{store8_at, store16_at, store32_at}, {load8_at, load16_at, load32_at}};
    static const u32 sizes[3] = {1, 2, 4};
    for (u32 kind = WRITE; kind <= ACCESS; kind += 2)
        for (u32 length = 0; length < 3; length++)
            for (u32 offset = 0; offset < 4; offset += sizes[length])
                for (u32 load = 0; load < 2; load++)
                    for (u32 size = 0; size < 3; size++)
                        for (u32 at = 0; at < 12; at++) {
                            if (!strict && at % sizes[size]) continue; /* QEMU sees more than there is */
                            u32 first = DATA_AT + offset, address = DATA_AT - 4 + at;
                            arm(2, kind, first, sizes[length]);
                            reset(at & 1 ? CPL0 : CPL3);
                            in.ebx = address;
                            step_through("an access", codes[load][size]);
                            u32 meets = address < first + sizes[length] && first < address + sizes[size];
                            u32 traps_expected = meets && (kind == ACCESS || !load);
                            expect("traps", trap_count, traps_expected);
                            if (traps_expected) expect_step(0, (u32)behind[load][size], 4, 0);
                        }
    disarm();
}

SNIPPET(update, "incl (%ebx)\n7:\tnop");
SNIPPET(exchange, "xchgl %eax, (%ebx)\n7:\tnop");
SNIPPET(push, "pushl %eax\n7:\tnop");
SNIPPET(pop, "popl %eax\n7:\tnop");
SNIPPET(call_near, "movl %ebx, %esp\n\tcall 7f\n7:\tnop");
SNIPPET(move, "movsl\n7:\tnop");
SNIPPET(wide, "pushal\n7:\tnop");
static void kinds(void) {
    group("kinds of accesses");
    static const struct {
        const u8 *code, *behind;
        u32 kind, esp, ebx, esi, edi;
    } tests[] = {
        {update, update_at, WRITE, 0, 32, 0, 0},     {update, update_at, ACCESS, 0, 32, 0, 0},
        {exchange, exchange_at, WRITE, 0, 32, 0, 0}, {push, push_at, WRITE, 36, 0, 0, 0},
        {pop, pop_at, ACCESS, 32, 0, 0, 0},          {call_near, call_near_at, WRITE, 0, 36, 0, 0},
        {move, move_at, ACCESS, 0, 0, 32, 64},       {move, move_at, WRITE, 0, 0, 64, 32},
        {wide, wide_at, WRITE, 48, 0, 0, 0},
    };
    for (u32 i = 0; i < sizeof tests / sizeof *tests; i++) {
        arm(1, tests[i].kind, DATA_AT, 4);
        reset(CPL3);
        if (tests[i].esp) in.esp = (u32)cells + tests[i].esp;
        in.ebx = (u32)cells + tests[i].ebx;
        in.esi = (u32)cells + tests[i].esi;
        in.edi = (u32)cells + tests[i].edi;
        step_through("an access", tests[i].code);
        expect("traps", trap_count, 1);
        expect_step(0, (u32)tests[i].behind, 2, 0);
    }
    disarm();
}

SNIPPET(fault, "7:\tmovl %eax, (%ebx)\n\tnop");
static void pages(void) {
    group("pages");
    /* A breakpoint in a page that is absent: the page fault, and no trap. */
    window_page(1, PTE_W | PTE_U);
    arm(0, WRITE, WINDOW_AT(2), 4);
    reset(CPL3);
    in.ebx = WINDOW_AT(2);
    trap_count = 0;
    unmap_page(WINDOW_AT(2));
    expect_trap("an absent page", fault, fault, VECTOR_PAGE_FAULT, 6);
    expect("traps", trap_count, 0);
    window_page(2, PTE_W | PTE_U);
    step_through("a page that is there", fault);
    expect("traps", trap_count, 1);
    expect_step(0, (u32)fault + 2, 1, 0);
    /* An access across pages, the second of which holds the breakpoint. */
    in.ebx = WINDOW_AT(2) - 2;
    step_through("across pages", fault);
    expect("traps", trap_count, 1);
    /* The same frame at another linear address does not break. */
    map_page(WINDOW_AT(3), *pte_of(WINDOW_AT(2)) & PTE_FRAME, PTE_P | PTE_W | PTE_U);
    invlpg(WINDOW_AT(3));
    in.ebx = WINDOW_AT(3);
    step_through("an alias", fault);
    expect("traps", trap_count, 0);
    disarm();
}

SNIPPET(set_trap, "pushl $0x102\n\tpopfl\n7:\tnop\n\tpushl $2\n\tpopfl\n\tnop");
SNIPPET(step_int, "int3\n7:\tnop");
static u32 breakpoint_eflags;
static void on_int3(struct trap_frame *frame) { breakpoint_eflags = read_eflags() | frame->eflags << 16; }
static void single_step(void) {
    group("single step");
    for (u32 cpl = CPL0; cpl <= CPL3; cpl += 3) {
        reset(cpl);
        step_through("POPF", set_trap);
        expect("traps", trap_count, 3);
        expect_step(0, (u32)set_trap_at + 1, DR6_BS, 0); /* after NOP, PUSH, and the POPF that clears TF */
        expect_step(1, (u32)set_trap_at + 3, DR6_BS, 0);
        expect_step(2, (u32)set_trap_at + 4, DR6_BS, 0);
        /* INT3 does not trap itself: TF is clear in its handler, and set again behind it. */
        set_trap_handler(VECTOR_BREAKPOINT, on_int3);
        reset(cpl);
        in.eflags |= EFLAGS_TF;
        step_through("INT3", step_int);
        expect("TF in the handler", breakpoint_eflags & EFLAGS_TF, 0);
        expect("TF in the frame", breakpoint_eflags >> 16 & EFLAGS_TF, EFLAGS_TF);
        expect("traps", trap_count, 1);
        expect_step(0, (u32)step_int_at + 1, DR6_BS, 0);
        set_trap_handler(VECTOR_BREAKPOINT, catch_trap);
    }
}

SNIPPET(input, "inb %dx, %al\n7:\tnop");
SNIPPET(output, "outb %al, %dx\n7:\tnop");
static void port_accesses(void) {
    group("I/O breakpoints");
    for (u32 de = 0; de < 2; de++) {
        write_cr4(de ? read_cr4() | CR4_DE : read_cr4() & ~CR4_DE);
        for (u32 length = 1; length <= 4; length *= 2)
            for (u32 port = 0x7F; port <= 0x84; port++) {
                if (!de) continue; /* without CR4.DE R/W = 10 is undefined */
                arm(3, PORT, 0x80, length);
                reset(CPL0);
                in.edx = port;
                step_through("IN", input);
                u32 meets = port >= 0x80 && port < 0x80 + length;
                expect("traps", trap_count, meets);
                if (meets) expect_step(0, (u32)input_at, 8, 0);
                if (port != 0x80) continue;
                step_through("OUT", output);
                expect("traps", trap_count, meets);
                expect_step(0, (u32)output_at, 8, 0);
            }
        disarm();
    }
    write_cr4(read_cr4() & ~CR4_DE);
}

SNIPPET(read_dr, "7:\tmovl %dr0, %eax\n\tnop");
static void general_detect(void) {
    group("general detect");
    __asm__ volatile("movl %0, %%dr0\n\tmovl %1, %%dr7" ::"r"(0x12345678), "r"(DR7_CLEAR | DR7_GD));
    reset(CPL0);
    step_through("MOV from DR0", read_dr);
    expect("traps", trap_count, 1);
    expect("EIP", traps[0].eip, (u32)read_dr_at);
    expect("DR6", traps[0].dr6, DR6_CLEAR | DR6_BD);
    u32 dr7;
    __asm__ volatile("movl %%dr7, %0" : "=r"(dr7));
    expect("GD", dr7 & DR7_GD, 0);
    expect("DR0", caught.frame.eax, 0x12345678);
    disarm();
}

static void enables(void) {
    group("enables");
    for (u32 bits = 0; bits < 4; bits++) {
        __asm__ volatile("movl %0, %%dr0\n\tmovl %1, %%dr7" ::"r"(DATA_AT), "r"(DR7_CLEAR | 0x000D0000 | bits));
        reset(CPL3);
        in.ebx = DATA_AT;
        step_through("an access", store32);
        expect("traps", trap_count, bits != 0);
        disarm();
    }
}

void debug_tests(void) {
    debug_init();
    instructions();
    data();
    kinds();
    pages();
    single_step();
    port_accesses();
    if (strict) general_detect();
    enables();
}

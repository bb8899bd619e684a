/* Breakpoints and single step as the manual has them (SDM volume 3, 6.8.3 and chapter 17), with what QEMU does otherwise. */
#include "debug.h"

static u32 cells[16] USER_DATA __attribute__((aligned(64)));

SNIPPET(load_ss, "movl %ss, %eax\n\tmovw %ax, %ss\n\tnop\n7:\tnop\n\tnop");
SNIPPET(load_ss_memory, "movw (%ebx), %ss\n\tincl %ecx\n7:\tincl %ecx");
static void stack_segments(void) {
    group("MOV SS");
    arm(0, EXECUTE, (u32)load_ss_at - 1, 1); /* the instruction behind MOV SS does not break */
    arm(1, EXECUTE, (u32)load_ss_at, 1);
    reset(CPL3);
    step_through("instruction breakpoints", load_ss);
    expect("traps", trap_count, 1);
    expect_step(0, (u32)load_ss_at, 2, 1);
    disarm();
    /* A data breakpoint that MOV SS meets is reported behind the next instruction, with what that one meets. */
    for (u32 cpl = CPL0; cpl <= CPL3; cpl += 3) {
        cells[0] = cpl ? USER_DS : KERNEL_DS;
        arm(0, ACCESS, (u32)cells, 2);
        reset(cpl);
        in.ebx = (u32)cells;
        in.ecx = 0;
        step_through("a data breakpoint", load_ss_memory);
        expect("traps", trap_count, 1);
        expect_step(0, (u32)load_ss_memory_at, 1, 0);
        expect("ECX", traps[0].ecx, 1);
    }
    disarm();
}

SNIPPET(fill, "7:\trep stosb\n\tnop");
static void strings(void) {
    group("strings");
    arm(0, WRITE, (u32)cells + 2, 1);
    arm(1, WRITE, (u32)cells + 5, 1);
    reset(CPL3);
    in.ecx = 8;
    in.edi = (u32)cells;
    step_through("REP STOSB", fill);
    expect("traps", trap_count, 2);
    expect_step(0, (u32)fill_at, 1, 1);
    expect("ECX", traps[0].ecx, 5);
    expect_step(1, (u32)fill_at, 2, 1);
    expect("ECX", traps[1].ecx, 2);
    /* The last iteration's trap finds EIP behind. */
    in.ecx = 3;
    step_through("REP STOSB", fill);
    expect("traps", trap_count, 1);
    expect_step(0, (u32)fill_at + 2, 1, 0);
    disarm();
    /* A breakpoint on the instruction triggers once. */
    arm(0, EXECUTE, (u32)fill_at, 1);
    arm(1, WRITE, (u32)cells + 5, 1);
    in.ecx = 8;
    step_through("REP STOSB", fill);
    expect("traps", trap_count, 2);
    expect_step(0, (u32)fill_at, 1, 1);
    expect_step(1, (u32)fill_at, 2, 1);
    disarm();
}

SNIPPET(store, "movl %eax, (%ebx)\n7:\tnop\n\tnop");
static void together(void) {
    group("several conditions");
    arm(2, WRITE, (u32)cells, 4);
    arm(3, ACCESS, (u32)cells + 3, 1);
    reset(CPL3);
    in.ebx = (u32)cells;
    in.eflags |= EFLAGS_TF;
    step_through("data and single step", store);
    expect("traps", trap_count, 3); /* behind the store and two NOPs; INT n does not trap */
    expect_step(0, (u32)store_at, DR6_BS | 12, 0);
    expect_step(1, (u32)store_at + 1, DR6_BS, 0);
    expect_step(2, (u32)store_at + 2, DR6_BS, 0);
    disarm();
}

static void trap_and_fault(void) {
    group("a trap, then a fault");
    arm(0, WRITE, (u32)cells, 4);
    arm(1, EXECUTE, (u32)store_at, 1);
    reset(CPL3);
    in.ebx = (u32)cells;
    step_through("data, then the next instruction", store);
    expect("traps", trap_count, 2);
    expect_step(0, (u32)store_at, 1, 0);
    expect_step(1, (u32)store_at, 2, 1);
    disarm();
}

/* A delivery's own pushes: the trap comes before the handler's first instruction. */
SNIPPET(int3, "int3\n7:\tnop");
static void nothing(struct trap_frame *frame) {}
static void deliveries(void) {
    group("pushes of a delivery");
    extern u8 trap_entries[];
    set_trap_handler(VECTOR_BREAKPOINT, nothing);
    for (u32 cpl = CPL0; cpl <= CPL3; cpl += 3) {
        reset(cpl);
        arm(0, WRITE, (cpl ? tss_words()[1] : in.esp) - 4, 4);
        step_through("INT3", int3);
        u32 n = 0; /* at CPL 0 the frame of the IRET that began the snippet was stored there, too */
        while (n < trap_count && traps[n].eip != (u32)trap_entries + 16 * VECTOR_BREAKPOINT) n++;
        expect_step(n, (u32)trap_entries + 16 * VECTOR_BREAKPOINT, 1, 0);
        disarm();
    }
    set_trap_handler(VECTOR_BREAKPOINT, catch_trap);
}

void program_main(void) {
    strict = 1;
    debug_tests();
    stack_segments();
    strings();
    together();
    trap_and_fault();
    deliveries();
    groups_end();
}

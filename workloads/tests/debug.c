/* Breakpoints and their traps for t-debug and t-debug-strict. */
#include "debug.h"

struct trap traps[16];
u32 trap_count;
static u32 dr7 = DR7_CLEAR, execute_at[4];
u32 strict;

static void keep(struct trap_frame *frame) {
    u32 dr6;
    __asm__ volatile("movl %%dr6, %0" : "=r"(dr6));
    if (trap_count == 16) panic("more traps than expected, at %x:%08x, DR6 %08x", frame->cs, frame->eip, dr6);
    traps[trap_count++] = (struct trap){frame->eip, dr6, frame->eflags, frame->ecx};
    __asm__ volatile("movl %0, %%dr6" ::"r"(DR6_CLEAR));
    for (u32 n = 0; n < 4 && !strict; n++)
        if (execute_at[n] == frame->eip) frame->eflags |= EFLAGS_RF;
}

void debug_init(void) {
    test_init();
    set_trap_handler(VECTOR_DEBUG, keep);
    disarm();
}

void arm(u32 n, u32 kind, u32 address, u32 bytes) {
    switch (n) {
    case 0: __asm__ volatile("movl %0, %%dr0" ::"r"(address)); break;
    case 1: __asm__ volatile("movl %0, %%dr1" ::"r"(address)); break;
    case 2: __asm__ volatile("movl %0, %%dr2" ::"r"(address)); break;
    default: __asm__ volatile("movl %0, %%dr3" ::"r"(address));
    }
    execute_at[n] = kind == EXECUTE ? address : 0;
    dr7 = (dr7 & ~(15u << (16 + 4 * n))) | (kind | (bytes - 1) << 2) << (16 + 4 * n) | 2u << 2 * n;
    __asm__ volatile("movl %0, %%dr7" ::"r"(dr7));
}

void disarm(void) {
    dr7 = DR7_CLEAR;
    memset(execute_at, 0, sizeof execute_at);
    /* B0 to B3 of breakpoints that are not enabled may be set or not: their addresses go away. */
    __asm__ volatile("movl %0, %%dr0\n\tmovl %0, %%dr1\n\tmovl %0, %%dr2\n\tmovl %0, %%dr3" ::"r"(0));
    __asm__ volatile("movl %0, %%dr7\n\tmovl %1, %%dr6" ::"r"(dr7), "r"(DR6_CLEAR));
}

void step_through(const char *what, const u8 *code) {
    trap_count = 0;
    expect_done(what, code);
}

void expect_step(u32 n, u32 eip, u32 conditions, u32 rf) {
    if (n >= trap_count) panic("only %u traps", trap_count);
    expect("EIP", traps[n].eip, eip);
    expect("DR6", traps[n].dr6, DR6_CLEAR | conditions);
    if (strict) expect("RF", traps[n].eflags & EFLAGS_RF, rf ? EFLAGS_RF : 0);
}

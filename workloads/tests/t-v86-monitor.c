/*
 * A program in virtual-8086 mode and a monitor that gives it its machine, as memory managers and DOS boxes did (SDM volume 3,
 * 21.2.7 and 21.3): the program works for thousands of turns, and in every 256th it does what only the monitor can:
 * interrupts of its own, the interrupt flag, ports, an exception, memory above 1 MB, which is to be that at 0, single steps.
 */
#include "v86.h"

#define TURNS 8192u
#define ROUNDS (TURNS / 256)
#define STEPS 3u
#define SERVICE 0x60 /* the program's own */
#define STEP 0x61    /* the monitor's: the next STEPS instructions are stepped */
#define ABOVE_1MB 0x100000u
#define AT_0 0x5Au /* what the program finds there */

V86(program,
    "xorl %edx, %edx\n\t"
    "movw $8192, %bp\n"
    "1:\tmovw $0x1100, %ax\n\tmovw %ax, %es\n\t"
    "movw $0x100, %si\n\tmovw $0x180, %di\n\tmovw $32, %cx\n\trep movsw\n\t"
    "addw %bp, (0x100)\n\t"
    "call 3f\n\t"
    "testw $255, %bp\n\tjnz 2f\n\t"
    /* its flags, as they are and as it makes them */
    "pushfw\n\tpopw %ax\n\tandw $0x0FEF, %ax\n\taddw %ax, %dx\n\t"
    "cli\n\tpushfw\n\tpopw %ax\n\tandw $0x0200, %ax\n\tsubw %ax, %dx\n\t"
    "sti\n\tpushw $0x0297\n\tpopfw\n\tadcw $0, %dx\n\t"
    /* interrupts: its own, one that an exception is, and the monitor's */
    "int $0x60\n\t"
    "movw $0, %cx\n\tdivw %cx\n\t"
    "int $0x61\n\tincw %dx\n\tincw %dx\n\tincw %dx\n\tnop\n\t"
    /* ports, and memory beyond 1 MB */
    "movb %dl, %al\n\toutb %al, $0x80\n\tinb $0x80, %al\n\t"
    "movw $0xFFFF, %ax\n\tmovw %ax, %es\n\tmovw $0x510, %si\n\tmovb %es:(%si), %al\n\taddb %al, %dl\n\t"
    "lcallw $0x0FFF, $4f - program + 16\n"
    "2:\tdecw %bp\n\tjnz 1b\n\thlt\n"
    "3:\trorl $3, %edx\n\taddw %es:(0x180), %dx\n\tret\n"
    "4:\taddw $7, %dx\n\tlretw\n"
    /* INT 60h; and #DE, which it skips */
    ".globl service, divided\nservice:\txorw %bp, %dx\n\tiretw\n"
    "divided:\tpushw %bp\n\tmovw %sp, %bp\n\taddw $2, 2(%bp)\n\tpopw %bp\n\tincw %dx\n\tiretw");
extern u8 service[], divided[];

static struct {
    u32 protection, interrupts, divisions, above, steps;
} count;
static u32 virtual_if, stepping;

static u32 linear(u32 segment, u32 offset) { return ((segment & 0xFFFF) << 4) + (offset & 0xFFFF); }

static void push(struct trap_frame *frame, u32 word) {
    frame->esp = (frame->esp - 2) & 0xFFFF;
    MEMORY16(linear(frame->ss, frame->esp)) = (u16)word;
}

static u32 pop(struct trap_frame *frame) {
    u32 word = MEMORY16(linear(frame->ss, frame->esp));
    frame->esp = (frame->esp + 2) & 0xFFFF;
    return word;
}

static u32 flags_seen(const struct trap_frame *frame) {
    if ((frame->eflags & EFLAGS_IOPL) == EFLAGS_IOPL) return frame->eflags & 0xFFFF;
    return (frame->eflags & 0xFFFF & ~EFLAGS_IF) | (virtual_if ? EFLAGS_IF : 0);
}

static void take_flags(struct trap_frame *frame, u32 image) {
    static const u32 own = EFLAGS_STATUS | EFLAGS_DF;
    frame->eflags = (frame->eflags & ~own) | (image & own);
    virtual_if = (image & EFLAGS_IF) != 0;
}

/* To the program's own handler, behind `length` bytes of the instruction. */
static void reflect(struct trap_frame *frame, u32 vector, u32 length) {
    push(frame, flags_seen(frame));
    push(frame, frame->cs);
    push(frame, frame->eip + length);
    u32 target;
    __asm__("movl (,%1,4), %0" : "=r"(target) : "r"(vector) : "memory");
    frame->eip = target & 0xFFFF;
    frame->cs = target >> 16;
    virtual_if = 0;
}

static void interrupt(struct trap_frame *frame, u32 vector, u32 length) {
    count.interrupts++;
    if (vector != STEP) {
        reflect(frame, vector, length);
        return;
    }
    frame->eip += length;
    frame->eflags |= EFLAGS_TF;
    stepping = STEPS;
}

static void protection(struct trap_frame *frame) {
    volatile u8 *code = (volatile u8 *)linear(frame->cs, frame->eip);
    count.protection++;
    u32 length = 1;
    switch (code[0]) {
    case 0xFA: virtual_if = 0; break;
    case 0xFB: virtual_if = 1; break;
    case 0x9C: push(frame, flags_seen(frame)); break;
    case 0x9D: take_flags(frame, pop(frame)); break;
    case 0xCD: interrupt(frame, code[1], 2); return;
    case 0xCF:
        frame->eip = pop(frame);
        frame->cs = pop(frame);
        take_flags(frame, pop(frame));
        return;
    case 0xE4:
        frame->eax = (frame->eax & ~0xFFu) | inb(code[1]);
        length = 2;
        break;
    case 0xE6:
        outb(code[1], (u8)frame->eax);
        length = 2;
        break;
    default: v86_caught_trap(frame); /* HLT: it is done */
    }
    frame->eip += length;
}

static void page_fault(struct trap_frame *frame) {
    u32 address = read_cr2();
    if (address < ABOVE_1MB || address > ABOVE_1MB + 0xFFEF || frame->error_code != 5) v86_caught_trap(frame);
    count.above++;
    frame->eax = (frame->eax & ~0xFFu) | MEMORY8(address - ABOVE_1MB);
    frame->eip += 3;
}

static void division(struct trap_frame *frame) {
    count.divisions++;
    reflect(frame, 0, 0);
}

static void step(struct trap_frame *frame) {
    count.steps++;
    if (--stepping == 0) frame->eflags &= ~EFLAGS_TF;
}

static void own_service(struct trap_frame *frame) { interrupt(frame, frame->vector, 0); }

static void vector(u32 number, u32 offset) {
    __asm__ volatile("movl %0, (,%1,4)" ::"r"(CODE_SEGMENT << 16 | offset), "r"(number) : "memory");
}

/* What the program computes. */
static u32 result(void) {
    u32 edx = 0, sum = 0;
    for (u32 turn = TURNS; turn > 0; turn--) {
        u32 copied = sum & 0xFFFF;
        sum += turn;
        edx = edx >> 3 | edx << 29;
        u32 dx = edx + copied;
        edx = (edx & 0xFFFF0000) | (dx & 0xFFFF);
        if (turn & 255) continue;
        /* TEST leaves ZF and PF set, and interrupts are on. */
        dx += EFLAGS_IF | EFLAGS_ZF | EFLAGS_PF | 2;
        dx += 1; /* POPF has set CF */
        dx ^= turn;
        dx += 1 + STEPS;
        dx = (dx & 0xFF00) | ((dx + AT_0) & 0xFF);
        dx += 7;
        edx = (edx & 0xFFFF0000) | (dx & 0xFFFF);
    }
    return edx;
}

static void run_monitored(u32 iopl) {
    memset(&count, 0, sizeof count);
    memset((void *)0x11100, 0, 0x100);
    __asm__ volatile("movb %0, 0x500" ::"i"(AT_0) : "memory");
    virtual_if = 1;
    v86_reset(iopl);
    virtual.eflags |= iopl == 3 ? EFLAGS_IF : 0;
    expect("vector", v86_run(program, program_end), VECTOR_GENERAL_PROTECTION);
    expect("HLT", MEMORY8(linear(v86_caught.frame.cs, v86_caught.frame.eip)), 0xF4);
    expect("turns", v86_caught.frame.ebp & 0xFFFF, 0);
    expect("result", v86_caught.frame.edx, result());
    expect("ESP", v86_caught.frame.esp, STACK_POINTER);
    /* PUSHF twice, CLI, STI, POPF, IRET twice and INT n twice are the program's own business at IOPL 3. */
    expect("protection faults", count.protection, ROUNDS * (iopl == 3 ? 2 : 11) + 1);
    expect("interrupts", count.interrupts, ROUNDS * 2);
    expect("divisions", count.divisions, ROUNDS);
    expect("accesses above 1 MB", count.above, ROUNDS);
    expect("steps", count.steps, ROUNDS * STEPS);
}

void program_main(void) {
    v86_init();
    set_trap_handler(0, division);
    set_trap_handler(1, step);
    set_trap_handler(VECTOR_GENERAL_PROTECTION, protection);
    set_trap_handler(VECTOR_PAGE_FAULT, page_fault);
    set_trap_gate(SERVICE, 3);
    set_trap_gate(STEP, 3);
    set_trap_handler(SERVICE, own_service);
    set_trap_handler(STEP, own_service);
    vector(0, (u32)(divided - program));
    vector(SERVICE, (u32)(service - program));
    group("IOPL 0");
    run_monitored(0);
    group("IOPL 3");
    run_monitored(3);
    groups_end();
}

#include "interrupts.h"

#define LAPIC_IRR_TIMER (0x200 + TIMER / 32 * 0x10)

volatile u32 arrived USER_DATA, critical USER_DATA;
u32 cpl, seen_eip, seen_ecx, seen_edi, leave_to, in_software;

void timer(struct trap_frame *frame) {
    if (!(frame->eflags & EFLAGS_IF)) panic("an interrupt with IF clear at %08x", frame->eip);
    if (critical) panic("an interrupt in a critical section at %08x", frame->eip);
    arrived++;
    seen_eip = frame->eip;
    seen_ecx = frame->ecx;
    seen_edi = frame->edi;
    if (leave_to) frame->eip = leave_to;
    lapic_write(LAPIC_EOI, 0);
}
void software(struct trap_frame *frame) { in_software += 1 + 0x10000 * arrived; }

void arm(u32 count) {
    arrived = 0;
    lapic_timer_start(TIMER, count, 0);
}
void make_pending(void) {
    arm(1);
    while (!(lapic_read(LAPIC_IRR_TIMER) >> TIMER % 32 & 1)) {}
}
void prepare(u32 flags) {
    reset(cpl);
    in.eflags |= flags | (cpl ? IOPL3 : 0);
    in.esi = in.edi = (u32)user_stack_top - 0x400;
}

void interrupts_init(void) {
    lapic_init();
    set_trap_handler(TIMER, timer);
    set_trap_gate(SOFTWARE, 3);
    set_trap_gate(SOFTWARE_OPEN, 3);
    set_trap_handler(SOFTWARE, software);
    set_trap_handler(SOFTWARE_OPEN, software);
    idt_entries()[SOFTWARE_OPEN] |= 1ull << 40; /* a trap gate */
}

void expect_pending(const char *name, const u8 *code, const u8 *place) {
    make_pending();
    in_software = 0;
    prepare(0);
    expect_done(name, code);
    expect(name, arrived, 1);
    expect(name, seen_eip - (u32)code, place - code);
    expect("ESP", in.esp - caught.frame.esp, 0);
}

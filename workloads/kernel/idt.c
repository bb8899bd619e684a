/* The IDT: interrupt gates (IF is cleared on arrival), and the dispatch from trap.S to C handlers. */
#include "kernel.h"

extern u8 trap_entries[]; /* 256 entries of 16 bytes */
extern void user_return(void);

static u64 idt[256] __attribute__((aligned(64)));
static trap_handler handlers[256];

void set_gate(u32 vector, void (*entry)(void), u32 dpl) {
    u32 offset = (u32)entry;
    idt[vector] = (u64)(offset >> 16) << 48 | (0x8Eull | dpl << 5) << 40 | (u64)KERNEL_CS << 16 | (offset & 0xFFFF);
}

void set_trap_gate(u32 vector, u32 dpl) { set_gate(vector, (void (*)(void))(trap_entries + 16 * vector), dpl); }

void set_trap_handler(u32 vector, trap_handler handler) { handlers[vector] = handler; }

void trap_dispatch(struct trap_frame *frame) {
    if (handlers[frame->vector]) {
        handlers[frame->vector](frame);
        return;
    }
    panic("trap %u, error code 0x%x, at %x:%08x, EFLAGS %08x, CR2 %08x", frame->vector, frame->error_code, frame->cs,
          frame->eip, frame->eflags, read_cr2());
}

void idt_init(void) {
    for (u32 vector = 0; vector < 256; vector++) set_trap_gate(vector, 0);
    set_trap_gate(VECTOR_BREAKPOINT, 3);
    set_trap_gate(VECTOR_OVERFLOW, 3);
    set_gate(VECTOR_USER_RETURN, user_return, 3);
    struct {
        u16 limit;
        u32 base;
    } __attribute__((packed)) pointer = {sizeof idt - 1, (u32)idt};
    __asm__ volatile("lidt %0" ::"m"(pointer));
}

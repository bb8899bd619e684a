/*
 * A kernel that relies on POPF, as most do: a critical section saves the flags, disables interrupts, and restores the
 * flags at its end, whatever they were. Where POPF leaves IF alone without a trap, interrupts stay off from the first
 * critical section on; the kernel waits for a tick that is requested and never comes, and says so.
 */
#include "kernel.h"

#define TICKS 5
#define PIC_COMMAND 0x20
#define OCW3_READ_IRR 0x0A

static volatile u32 ticks;
static u32 shared; /* what the critical section protects */

static void tick(struct trap_frame *frame) {
    ticks++;
    shared++;
    pic_eoi(0);
}

static u32 save_and_disable(void) {
    u32 flags;
    __asm__ volatile("pushfl\n\tpopl %0\n\tcli" : "=r"(flags)::"memory");
    return flags;
}

static void restore(u32 flags) { __asm__ volatile("pushl %0\n\tpopfl" ::"r"(flags) : "memory", "cc"); }

void program_main(void) {
    set_trap_handler(VECTOR_IRQ0, tick);
    outb(PIC_COMMAND, OCW3_READ_IRR);
    timer_start(5000);
    sti();
    for (u32 expected = 1; expected <= TICKS; expected++) {
        u32 flags = save_and_disable();
        shared += 1000;
        restore(flags);
        /* A tick that is requested is taken at once, now that interrupts are on. */
        u32 requested = 0;
        while (ticks < expected && requested < 100) requested += inb(PIC_COMMAND) & 1;
        if (ticks < expected)
            panic("POPF restored EFLAGS 0x%x, a tick is requested, and no interrupt comes: %u of %u ticks", flags & 0x3200, ticks,
                  TICKS);
    }
    cli();
    timer_stop();
    kprintf("%u ticks in %u critical sections\n", TICKS, shared / 1000);
    digest(shared / 1000);
}

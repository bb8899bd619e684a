/* The 8254 interval timer: counter 0 drives IRQ 0. */
#include "kernel.h"

#define COUNTER0 0x40
#define CONTROL 0x43
#define INPUT_HZ 1193182u
#define COUNTER0_MODE2 0x34 /* rate generator, low byte then high byte */
#define COUNTER0_MODE0 0x30

void timer_start(u32 hz) {
    u32 count = (INPUT_HZ + hz / 2) / hz;
    if (count < 2 || count > 0xFFFF) panic("timer_start: %u Hz is out of range", hz);
    outb(CONTROL, COUNTER0_MODE2);
    outb(COUNTER0, (u8)count);
    outb(COUNTER0, (u8)(count >> 8));
    pic_unmask(0);
}

void timer_stop(void) {
    pic_mask(0);
    outb(CONTROL, COUNTER0_MODE0); /* no count follows, so the counter does not run */
}

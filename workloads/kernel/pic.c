/* The two 8259 interrupt controllers, cascaded through line 2. */
#include "kernel.h"

#define MASTER 0x20
#define SLAVE 0xA0
#define ICW1_CASCADE_ICW4 0x11
#define ICW4_8086 0x01
#define OCW2_EOI 0x20
#define CASCADE_LINE 2

static u32 mask = 0xFFFF & ~(1u << CASCADE_LINE);

static void write_mask(void) {
    outb(MASTER + 1, (u8)mask);
    outb(SLAVE + 1, (u8)(mask >> 8));
}

void pic_init(void) {
    outb(MASTER, ICW1_CASCADE_ICW4);
    outb(SLAVE, ICW1_CASCADE_ICW4);
    outb(MASTER + 1, VECTOR_IRQ0);
    outb(SLAVE + 1, VECTOR_IRQ0 + 8);
    outb(MASTER + 1, 1 << CASCADE_LINE);
    outb(SLAVE + 1, CASCADE_LINE);
    outb(MASTER + 1, ICW4_8086);
    outb(SLAVE + 1, ICW4_8086);
    write_mask();
}

void pic_unmask(u32 irq) {
    mask &= ~(1u << irq);
    write_mask();
}

void pic_mask(u32 irq) {
    mask |= 1u << irq;
    write_mask();
}

void pic_eoi(u32 irq) {
    if (irq >= 8) outb(SLAVE, OCW2_EOI);
    outb(MASTER, OCW2_EOI);
}

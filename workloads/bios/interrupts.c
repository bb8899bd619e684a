/* The two 8259s, and what becomes of interrupts that no driver has taken. */
#include "bios.h"

#define ICW1_CASCADED_ICW4 0x11
#define ICW4_8086 0x01
#define OCW3_READ_ISR 0x0B
#define CASCADE 2

/* Vectors 08h and 70h; the timer, the keyboard and the cascade are let through. */
void pic_init(void) {
    outb(PIC_MASTER, ICW1_CASCADED_ICW4);
    outb(PIC_SLAVE, ICW1_CASCADED_ICW4);
    outb(PIC_MASTER + 1, 0x08);
    outb(PIC_SLAVE + 1, 0x70);
    outb(PIC_MASTER + 1, 1 << CASCADE);
    outb(PIC_SLAVE + 1, CASCADE);
    outb(PIC_MASTER + 1, ICW4_8086);
    outb(PIC_SLAVE + 1, ICW4_8086);
    outb(PIC_MASTER + 1, (u8)~(1 << CASCADE));
    outb(PIC_SLAVE + 1, 0xFF);
}

void pic_enable(u8 irq) {
    u16 mask = irq < 8 ? PIC_MASTER + 1 : PIC_SLAVE + 1;
    outb(mask, inb(mask) & (u8)~(1 << (irq & 7)));
}

static u8 in_service(u16 pic) {
    outb(pic, OCW3_READ_ISR);
    return inb(pic);
}

/* IRQs 2 to 7 and 10 to 15: ended if the controller has one in service, which it has not after a spurious one. */
void master_interrupt(struct registers *r) {
    if (in_service(PIC_MASTER)) end_of_interrupt();
}

void slave_interrupt(struct registers *r) {
    if (in_service(PIC_SLAVE)) outb(PIC_SLAVE, PIC_EOI);
    end_of_interrupt();
}

/* IRQ 14. Our own transfers poll with the disk's interrupt off; this is for programs that drive the disk themselves. */
void disk_interrupt(struct registers *r) {
    BDA->disk_interrupt = 0xFF;
    end_of_slave_interrupt();
}

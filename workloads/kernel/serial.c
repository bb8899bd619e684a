/* The console: a 16550 at COM1, 115200 baud, 8 data bits, no parity, polled. */
#include "kernel.h"

#define DATA (PORT_COM1 + 0)
#define INTERRUPT_ENABLE (PORT_COM1 + 1)
#define FIFO_CONTROL (PORT_COM1 + 2)
#define LINE_CONTROL (PORT_COM1 + 3)
#define MODEM_CONTROL (PORT_COM1 + 4)
#define LINE_STATUS (PORT_COM1 + 5)

#define LINE_CONTROL_8N1 0x03
#define LINE_CONTROL_DLAB 0x80
#define LINE_STATUS_THRE 0x20

void serial_init(void) {
    outb(INTERRUPT_ENABLE, 0);
    outb(LINE_CONTROL, LINE_CONTROL_DLAB);
    outb(DATA, 1); /* divisor 1 = 115200 baud */
    outb(INTERRUPT_ENABLE, 0);
    outb(LINE_CONTROL, LINE_CONTROL_8N1);
    outb(FIFO_CONTROL, 0x07); /* enable and clear both FIFOs */
    outb(MODEM_CONTROL, 0x03);
}

void serial_put(char c) {
    while (!(inb(LINE_STATUS) & LINE_STATUS_THRE)) {
    }
    outb(DATA, (u8)c);
}

/* INT 14h: the serial ports, polled; and the echo of the screen on COM1. INT 17h: there is no printer. */
#include "bios.h"

#define DATA 0
#define INTERRUPT_ENABLE 1
#define INTERRUPT_IDENTIFICATION 2
#define LINE_CONTROL 3
#define MODEM_CONTROL 4
#define LINE_STATUS 5
#define MODEM_STATUS 6
#define LINE_CONTROL_DLAB 0x80
#define LINE_CONTROL_8N1 0x03
#define LINE_STATUS_DATA_READY 0x01
#define LINE_STATUS_THRE 0x20
#define DTR_AND_RTS 0x03
#define TIMEOUT 0x80
#define POLLS 0x8000

#define EQUIPMENT_SERIAL_SHIFT 9
#define COM1 0x3F8

ROM_TABLE u16 addresses[4] = {0x3F8, 0x2F8, 0x3E8, 0x2E8};
/* Divisors of 115200 for 110 to 9600 baud. */
ROM_TABLE u16 divisors[8] = {1047, 768, 384, 192, 96, 48, 24, 12};

static void set_line(u16 port, u16 divisor, u8 format) {
    outb(port + LINE_CONTROL, LINE_CONTROL_DLAB);
    outb(port + DATA, (u8)divisor);
    outb(port + INTERRUPT_ENABLE, divisor >> 8);
    outb(port + LINE_CONTROL, format);
}

void serial_init(void) {
    u8 found = 0;
    for (u8 i = 0; i < 4; i++) {
        u16 port = addresses[i];
        outb(port + INTERRUPT_ENABLE, 0x02);
        if (inb(port + INTERRUPT_ENABLE) != 0x02 || (inb(port + INTERRUPT_IDENTIFICATION) & 0x30)) continue;
        outb(port + INTERRUPT_ENABLE, 0);
        set_line(port, i == 0 ? 1 : 12, LINE_CONTROL_8N1);
        BDA->serial_timeout[found] = 10;
        BDA->serial_ports[found++] = port;
    }
    for (u8 i = 0; i < 3; i++) BDA->parallel_timeout[i] = 20;
    BDA->equipment |= found << EQUIPMENT_SERIAL_SHIFT;
}

/* Waits for bits of the line status; whether they came. */
static int wait_for_line(u16 port, u8 bits) {
    for (u16 i = 0; i < POLLS; i++)
        if (inb(port + LINE_STATUS) & bits) return 1;
    return 0;
}

/* What INT 10h prints goes to COM1, too, if the machine's owner wants it (BOOT_ECHO_SERIAL). */
void serial_echo(u8 character) {
    if (BDA->serial_ports[0] != COM1 || !(boot_flags() & BOOT_ECHO_SERIAL)) return;
    if (wait_for_line(COM1, LINE_STATUS_THRE)) outb(COM1 + DATA, character);
}

void serial_service(struct registers *r) {
    u16 port = r->dx < 4 ? BDA->serial_ports[r->dx] : 0;
    if (port == 0) return;
    switch (r->ah) {
        case 0x00: /* AL: baud rate in 7:5, parity in 4:3, stop bits in 2, word length in 1:0 */
            set_line(port, divisors[r->al >> 5], r->al & 0x1F);
            r->ah = inb(port + LINE_STATUS);
            r->al = inb(port + MODEM_STATUS);
            break;
        case 0x01:
            outb(port + MODEM_CONTROL, DTR_AND_RTS);
            if (wait_for_line(port, LINE_STATUS_THRE)) {
                outb(port + DATA, r->al);
                r->ah = inb(port + LINE_STATUS) & 0x7F;
            } else {
                r->ah = TIMEOUT;
            }
            break;
        case 0x02:
            outb(port + MODEM_CONTROL, DTR_AND_RTS);
            if (wait_for_line(port, LINE_STATUS_DATA_READY)) {
                r->ah = inb(port + LINE_STATUS) & 0x1E;
                r->al = inb(port + DATA);
            } else {
                r->ah = TIMEOUT;
            }
            break;
        case 0x03:
            r->ah = inb(port + LINE_STATUS);
            r->al = inb(port + MODEM_STATUS);
            break;
    }
}

#define PRINTER_TIMEOUT 0x01
void printer_service(struct registers *r) { r->ah = PRINTER_TIMEOUT; }

#include "services.h"

#define COM1 0x3F8
#define PORT_EXIT 0xF4

static void put(char c) {
    while (!(inb(COM1 + 5) & 0x20)) {
    }
    outb(COM1, (u8)c);
}

void print(const char *text) {
    while (*text) put(*text++);
}

void print_hex(u32 value, u8 digits) {
    while (digits-- > 0) put("0123456789ABCDEF"[value >> digits * 4 & 15]);
}

static void end(u8 status) {
    print(status ? "exit 1\n" : "exit 0\n");
    __asm__ volatile("outl %0, %1" ::"a"((u32)status), "Nd"((u16)PORT_EXIT));
    for (;;) halt();
}

void check(const char *what, int good) {
    print(what);
    print(good ? ": ok\n" : ": WRONG\n");
    if (!good) end(1);
}

u16 call_ax(u8 number, u16 ax, struct registers *r) {
    clear(r);
    r->ax = ax;
    call(number, r);
    return r->ax;
}

/* INT 11h, 12h, and what the data areas say of them. */
void test_data_area(void) {
    struct registers r;
    static const u8 used[] = {0x08, 0x09, 0x0E, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16,
                              0x17, 0x18, 0x19, 0x1A, 0x1B, 0x1C, 0x70, 0x75, 0x76};
    int set = 1;
    for (u8 i = 0; i < sizeof used; i++) set &= LOW_DWORD(used[i] * 4) != 0;
    check("vectors", set);
    check("11h equipment", call_ax(0x11, 0, &r) == LOW_WORD(0x410) && (r.ax & 0x32) == 0x22);
    check("12h memory", call_ax(0x12, 0, &r) == LOW_WORD(0x413) && r.ax >= 600 && r.ax <= 640);
    check("EBDA at the end of it", LOW_WORD(0x40E) * 16u == r.ax * 1024u);
    check("serial port", LOW_WORD(0x400) == COM1);
    clear(&r);
    r.eax = 0x11110300, r.ebx = 0x22223333, r.ecx = 0x44445555, r.edx = 0x66660000;
    r.esi = 0x77778888, r.edi = 0x9999AAAA, r.ebp = 0xBBBBCCCC, r.ds = 0x1234, r.es = 0x5678;
    call(0x14, &r);
    check("14h status", (r.ah & 0x60) == 0x60);
    check("registers are kept", r.eax >> 16 == 0x1111 && r.ebx == 0x22223333 && r.ecx == 0x44445555 && r.edx == 0x66660000 &&
                                    r.esi == 0x77778888 && r.edi == 0x9999AAAA && r.ebp == 0xBBBBCCCC && r.ds == 0x1234 &&
                                    r.es == 0x5678);
}

void services_main(void) {
    test_data_area();
    test_video();
    test_disk();
    test_system();
    test_keyboard();
    test_time();
    end(0);
}

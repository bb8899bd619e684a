/* INT 1Ah, 08h, 1Ch, 4Ah. */
#include "services.h"

static struct registers r;
static volatile u16 user_ticks, alarms;

__attribute__((naked)) static void on_tick(void) { __asm__ volatile("incw %cs:user_ticks\n\tiretw"); }
__attribute__((naked)) static void on_alarm(void) { __asm__ volatile("incw %cs:alarms\n\tiretw"); }

static int is_bcd(u8 value, u8 limit) { return (value & 0x0F) < 10 && value <= limit; }

static void test_clock(void) {
    call_ax(0x1A, 0x0200, &r);
    check("1Ah time", !(r.flags & CARRY) && is_bcd(r.ch, 0x23) && is_bcd(r.cl, 0x59) && is_bcd(r.dh, 0x59));
    clear(&r);
    r.ax = 0x0300, r.cx = 0x2358, r.dx = 0x4500;
    call(0x1A, &r);
    check("1Ah set time", !(r.flags & CARRY));
    call_ax(0x1A, 0x0200, &r);
    check("1Ah time as set", r.cx == 0x2358 && r.dh >= 0x45 && r.dh <= 0x46);
    call_ax(0x1A, 0x0400, &r);
    check("1Ah date", !(r.flags & CARRY) && r.ch == 0x20 && is_bcd(r.cl, 0x99) && is_bcd(r.dh, 0x12) && is_bcd(r.dl, 0x31));
    clear(&r);
    r.ax = 0x0500, r.cx = 0x2012, r.dx = 0x0229;
    call(0x1A, &r);
    call_ax(0x1A, 0x0400, &r);
    check("1Ah date as set", r.cx == 0x2012 && r.dx == 0x0229);
}

static void test_alarm(void) {
    LOW_DWORD(0x4A * 4) = (u32)on_alarm;
    clear(&r);
    r.ax = 0x0600, r.cx = 0x2358, r.dh = 0x48;
    call(0x1A, &r);
    int set = !(r.flags & CARRY);
    for (u32 before = LOW_DWORD(0x46C); LOW_DWORD(0x46C) - before < 100 && !alarms;) halt();
    check("1Ah alarm", set && alarms == 1);
    call_ax(0x1A, 0x0700, &r);
}

static void test_ticks(void) {
    LOW_DWORD(0x1C * 4) = (u32)on_tick;
    call_ax(0x1A, 0x0000, &r);
    u32 count = (u32)r.cx << 16 | r.dx;
    check("1Ah ticks", count == LOW_DWORD(0x46C) || count + 1 == LOW_DWORD(0x46C));
    for (u32 before = LOW_DWORD(0x46C); LOW_DWORD(0x46C) - before < 3;) halt();
    check("1Ch every tick", user_ticks >= 3 && user_ticks <= 4);
    clear(&r);
    r.ax = 0x0100, r.cx = 0x0018, r.dx = 0x00AE;
    call(0x1A, &r);
    while (LOW_DWORD(0x46C) > 0x1000) halt();
    call_ax(0x1A, 0x0000, &r);
    check("1Ah midnight", r.al == 1 && r.cx == 0 && LOW_BYTE(0x470) == 0);
}

static void test_pci(void) {
    call_ax(0x1A, 0xB101, &r);
    check("1Ah PCI BIOS", !(r.flags & CARRY) && r.ah == 0 && r.edx == 0x20494350 && r.bh == 2);
    clear(&r);
    r.ax = 0xB103, r.ecx = 0x060000;
    call(0x1A, &r);
    check("1Ah host bridge", !(r.flags & CARRY) && r.bx == 0);
    u32 value[3];
    for (u8 i = 0; i < 3; i++) {
        clear(&r);
        r.ax = 0xB108 + i;
        call(0x1A, &r);
        value[i] = r.ecx;
    }
    check("1Ah configuration read", (u8)value[0] == 0x86 && (u16)value[1] == 0x8086 && (u16)value[2] == 0x8086 && value[2] >> 16 != 0xFFFF);
    clear(&r);
    r.ax = 0xB102, r.cx = value[2] >> 16, r.dx = 0x8086;
    call(0x1A, &r);
    check("1Ah device found", !(r.flags & CARRY) && r.bx == 0);
    clear(&r);
    r.ax = 0xB102, r.cx = 0x1234, r.dx = 0x4321;
    call(0x1A, &r);
    check("1Ah device not found", (r.flags & CARRY) && r.ah == 0x86);
}

void test_time(void) {
    test_clock();
    test_alarm();
    test_ticks();
    test_pci();
}

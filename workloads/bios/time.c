/* INT 1Ah: the count of the 18.2 Hz timer (INT 08h in entry.S), the real-time clock, its alarm; PCI BIOS in pci.c. */
#include "bios.h"

#define TIMER_0 0x40
#define TIMER_1 0x41
#define TIMER_CONTROL 0x43

#define RTC_SECONDS 0x00
#define RTC_SECONDS_ALARM 0x01
#define RTC_MINUTES 0x02
#define RTC_MINUTES_ALARM 0x03
#define RTC_HOURS 0x04
#define RTC_HOURS_ALARM 0x05
#define RTC_DAY 0x07
#define RTC_MONTH 0x08
#define RTC_YEAR 0x09
#define RTC_A 0x0A
#define RTC_B 0x0B
#define RTC_C 0x0C
#define RTC_CENTURY 0x32
#define A_UPDATE_IN_PROGRESS 0x80
#define A_32KHZ_1024HZ 0x26
#define B_SET 0x80
#define B_ALARM 0x20
#define B_24_HOURS 0x02
#define B_DAYLIGHT_SAVING 0x01

u8 bcd(u8 value) { return value / 10 << 4 | value % 10; }
u8 from_bcd(u8 value) { return (value >> 4) * 10 + (value & 0x0F); }

/* The count that the time of day means. */
static u32 ticks_now(void) {
    u32 seconds = (from_bcd(cmos_read(RTC_HOURS)) * 60 + from_bcd(cmos_read(RTC_MINUTES))) * 60 + from_bcd(cmos_read(RTC_SECONDS));
    return seconds * 18 + seconds * 207 / 1000; /* 18.20648 Hz; within 32 bits */
}

static void wait_for_update(void) {
    for (u16 i = 0; i < 0x4000 && (cmos_read(RTC_A) & A_UPDATE_IN_PROGRESS); i++) {
    }
}

void timer_init(void) {
    outb(TIMER_CONTROL, 0x36); /* counter 0, both bytes, square wave: 1193182 / 65536 Hz */
    outb(TIMER_0, 0);
    outb(TIMER_0, 0);
    outb(TIMER_CONTROL, 0x54); /* counter 1, low byte, rate: memory refresh every 15 us */
    outb(TIMER_1, 18);
    cmos_write(RTC_A, A_32KHZ_1024HZ);
    cmos_write(RTC_B, B_24_HOURS);
    cmos_read(RTC_C);
    wait_for_update();
    BDA->ticks = ticks_now();
    pic_enable(0);
}

static void set_clock(u8 first, u8 a, u8 second, u8 b, u8 third, u8 c) {
    u8 register_b = cmos_read(RTC_B);
    cmos_write(RTC_B, register_b | B_SET);
    cmos_write(first, a);
    cmos_write(second, b);
    cmos_write(third, c);
    cmos_write(RTC_B, register_b);
}

void time_service(struct registers *r) {
    switch (r->ah) {
        case 0x00:
            r->cx = BDA->ticks >> 16;
            r->dx = (u16)BDA->ticks;
            r->al = BDA->midnight;
            r->ah = 0;
            BDA->midnight = 0;
            return succeed(r);
        case 0x01:
            BDA->ticks = (u32)r->cx << 16 | r->dx;
            BDA->midnight = 0;
            r->ah = 0;
            return succeed(r);
        case 0x02:
            wait_for_update();
            r->ch = cmos_read(RTC_HOURS);
            r->cl = cmos_read(RTC_MINUTES);
            r->dh = cmos_read(RTC_SECONDS);
            r->dl = cmos_read(RTC_B) & B_DAYLIGHT_SAVING;
            r->ax = r->ch;
            return succeed(r);
        case 0x03:
            set_clock(RTC_HOURS, r->ch, RTC_MINUTES, r->cl, RTC_SECONDS, r->dh);
            r->ah = 0;
            return succeed(r);
        case 0x04:
            wait_for_update();
            r->ch = cmos_read(RTC_CENTURY);
            r->cl = cmos_read(RTC_YEAR);
            r->dh = cmos_read(RTC_MONTH);
            r->dl = cmos_read(RTC_DAY);
            r->ax = r->ch;
            return succeed(r);
        case 0x05:
            set_clock(RTC_YEAR, r->cl, RTC_MONTH, r->dh, RTC_DAY, r->dl);
            cmos_write(RTC_CENTURY, r->ch);
            r->ah = 0;
            return succeed(r);
        case 0x06: { /* alarm: INT 4Ah */
            u8 register_b = cmos_read(RTC_B);
            if (register_b & B_ALARM) return fail(r, 0);
            cmos_write(RTC_HOURS_ALARM, r->ch);
            cmos_write(RTC_MINUTES_ALARM, r->cl);
            cmos_write(RTC_SECONDS_ALARM, r->dh);
            cmos_read(RTC_C);
            cmos_write(RTC_B, register_b | B_ALARM);
            pic_enable(8);
            return succeed(r);
        }
        case 0x07:
            cmos_write(RTC_B, cmos_read(RTC_B) & (u8)~B_ALARM);
            return succeed(r);
        case 0xB1:
            return pci_bios(r);
    }
    fail(r, r->ah);
}

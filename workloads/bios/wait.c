/*
 * Waits that the real-time clock times, as on the AT: its periodic interrupt (IRQ 8, INT 70h) comes 1024 times a second,
 * each takes 976 microseconds off a count, and the end sets bit 7 of a byte.
 */
#include "bios.h"

#define RTC_B 0x0B
#define RTC_C 0x0C
#define B_PERIODIC 0x40
#define B_ALARM 0x20
#define PERIOD 976

#define WAIT_ACTIVE 0x01
#define WAIT_OVER 0x80
#define OWN_FLAG_SEGMENT 0x40
#define OWN_FLAG_OFFSET 0xA0 /* wait_active itself */

static void periodic(int on) {
    u8 b = cmos_read(RTC_B);
    cmos_write(RTC_B, on ? b | B_PERIODIC : b & (u8)~B_PERIODIC);
}

void start_wait(u32 microseconds, u16 flag_segment, u16 flag_offset) {
    BDA->wait_flag_segment = flag_segment;
    BDA->wait_flag_offset = flag_offset;
    BDA->wait_microseconds = microseconds;
    BDA->wait_active = WAIT_ACTIVE;
    cmos_read(RTC_C);
    periodic(1);
    pic_enable(8);
}

void cancel_wait(void) {
    periodic(0);
    BDA->wait_active = 0;
}

/* Waits with interrupts open. */
void wait(u32 microseconds) {
    start_wait(microseconds, OWN_FLAG_SEGMENT, OWN_FLAG_OFFSET);
    while (!(*(volatile u8 __seg_gs *)&BDA->wait_active & WAIT_OVER)) wait_for_interrupt();
    BDA->wait_active = 0;
}

void clock_interrupt(struct registers *r) {
    u8 cause = cmos_read(RTC_C) & cmos_read(RTC_B);
    if (cause & B_PERIODIC) {
        if (BDA->wait_microseconds > PERIOD) {
            BDA->wait_microseconds -= PERIOD;
        } else {
            periodic(0);
            BDA->wait_microseconds = 0;
            BDA->wait_active = 0;
            u16 segment = BDA->wait_flag_segment, offset = BDA->wait_flag_offset;
            put_far_byte(segment, offset, far_byte(segment, offset) | WAIT_OVER);
        }
    }
    if (cause & B_ALARM) __asm__ volatile("int $0x4A" ::: "memory");
    end_of_slave_interrupt();
}

/*
 * INT 15h, system services. Left out: power management (APM, 53h: not there), the pointing device (C2h), waiting for
 * external events (41h), the cassette.
 */
#include "bios.h"

#define NOT_SUPPORTED 0x86
#define WAIT_BUSY 0x83

extern const u8 system_configuration[]; /* reset.S */

u16 block_move(u16 gdt_segment, u16 gdt_offset, u32 words); /* block-move.S */

static void a20_service(struct registers *r) {
    switch (r->al) {
        case 0x00:
        case 0x01:
            a20_set(r->al);
            r->ah = 0;
            return succeed(r);
        case 0x02:
            r->ax = a20_is_open();
            return succeed(r);
        case 0x03: /* the keyboard controller and port 92h have the gate */
            r->ah = 0;
            r->bx = 0x0003;
            return succeed(r);
    }
    fail(r, NOT_SUPPORTED);
}

/* AH=83h: set (AL=0) or cancel a wait that marks the byte at ES:BX. AH=86h: wait here. CX:DX microseconds. */
static void wait_service(struct registers *r) {
    u32 microseconds = (u32)r->cx << 16 | r->dx;
    if (r->ah == 0x83 && r->al == 1) {
        cancel_wait();
        return succeed(r);
    }
    if (BDA->wait_active) return fail(r, WAIT_BUSY);
    if (r->ah == 0x83) start_wait(microseconds, r->es, r->bx);
    else wait(microseconds);
    succeed(r);
}

/* AH=87h: CX words from one descriptor of the caller's table at ES:SI to another; AH tells how it went. */
static void move_service(struct registers *r) {
    int open = a20_is_open();
    if (r->cx > 0x8000) return fail(r, 0x02);
    a20_set(1);
    r->ah = (u8)block_move(r->es, r->si, r->cx);
    if (!open) a20_set(0);
    set_flag(r, CARRY, r->ah != 0);
    set_flag(r, ZERO, r->ah == 0);
}

void system_service(struct registers *r) {
    switch (r->ah) {
        case 0x24:
            return a20_service(r);
        case 0x4F: /* keyboard intercept: the scan code as it is, and CF as it came, set: go on with it */
            return;
        case 0x52: /* may the medium be taken out? it may */
        case 0x80: /* device open, close, program end, system request, busy, interrupt complete */
        case 0x81:
        case 0x82:
        case 0x85:
        case 0x91:
            r->ah = 0;
            return succeed(r);
        case 0x90: /* a device is busy: nothing else to do meanwhile */
            return succeed(r);
        case 0x83:
        case 0x86:
            return wait_service(r);
        case 0x87:
            return move_service(r);
        case 0x88: { /* KB from 1 MB on, what a word and old programs can take: 63 MB */
            u32 kb = extended_memory_kb();
            r->ax = kb > 63 * 1024 ? 63 * 1024 : kb;
            return succeed(r);
        }
        case 0xC0:
            r->es = BIOS_SEGMENT;
            r->bx = (u16)(u32)system_configuration;
            r->ah = 0;
            return succeed(r);
        case 0xC1:
            r->es = BDA->ebda_segment;
            return succeed(r);
        case 0xE8:
            if (r->al == 0x20) return memory_map(r);
            if (r->al == 0x01) return memory_sizes(r);
    }
    fail(r, NOT_SUPPORTED);
}

/*
 * INT 16h: keys from the ring. The functions of the first PC know nothing of the keys that came with the enhanced
 * keyboard: those are dropped there, and the grey ones look like the keypad's.
 */
#include "bios.h"

#define KEYBOARD_ID 0x41AB /* an enhanced keyboard behind a translating controller */
/* AH=09h: typematic rate can be set and not read; AH=0Ah, 10h-12h exist, 20h-22h do not. */
#define FUNCTIONALITY 0x30

static u16 peek(void) { return *(u16 __seg_gs *)(0x400 + (u32)BDA->keyboard_head); }
static int empty(void) { return BDA->keyboard_head == BDA->keyboard_tail; }
static void drop(void) { BDA->keyboard_head = ring_next(BDA->keyboard_head); }

/* As the functions 00h and 01h know a key; 0xFFFF for one that they do not. */
static u16 old_key(u16 key) {
    u8 scan = key >> 8, ascii = (u8)key;
    if (scan == 0xE0) return ascii == '/' ? 0x352F : 0x1C00 | ascii;
    if (ascii == 0xE0 && scan != 0) return scan << 8;
    if (scan > 0x84 || (ascii == 0xF0 && scan != 0)) return 0xFFFF;
    return key;
}

/* As 10h and 11h give it. */
static u16 new_key(u16 key) { return (u8)key == 0xF0 && key >> 8 != 0 ? key & 0xFF00 : key; }

/* Waits with interrupts open, whatever the caller had. */
static u16 next_key(int enhanced) {
    for (;;) {
        while (empty()) wait_for_interrupt();
        u16 key = enhanced ? new_key(peek()) : old_key(peek());
        drop();
        if (key != 0xFFFF) return key;
    }
}

static void look(struct registers *r, int enhanced) {
    while (!empty()) {
        u16 key = enhanced ? new_key(peek()) : old_key(peek());
        if (key != 0xFFFF) {
            r->ax = key;
            set_flag(r, ZERO, 0);
            return;
        }
        drop();
    }
    set_flag(r, ZERO, 1);
}

void keyboard_service(struct registers *r) {
    switch (r->ah) {
        case 0x00:
        case 0x10:
            r->ax = next_key(r->ah == 0x10);
            break;
        case 0x01:
        case 0x11:
            look(r, r->ah == 0x11);
            break;
        case 0x02:
            r->al = BDA->shift_flags;
            break;
        case 0x03: /* typematic rate: the keyboard's own is kept */
            break;
        case 0x05:
            r->al = !ring_put(r->cx);
            break;
        case 0x09:
            r->al = FUNCTIONALITY;
            break;
        case 0x0A:
            r->bx = KEYBOARD_ID;
            break;
        case 0x12: {
            u8 mode = BDA->keyboard_mode, keys = BDA->shift_keys;
            r->al = BDA->shift_flags;
            r->ah = (keys & 0x73) | (mode & 0x0C);
            if (keys & 0x04) r->ah |= 0x80; /* System Request is down */
            break;
        }
    }
}

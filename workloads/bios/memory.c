/*
 * How much memory there is, where, and the gate in address line 20. The amount stands in CMOS RAM: 34h and 35h count
 * 64 KB from 16 MB on, 30h and 31h KB from 1 MB on.
 */
#include "bios.h"

#define CMOS_EXTENDED 0x30
#define CMOS_ABOVE_16M 0x34
#define SYSTEM_CONTROL_PORT_A 0x92
#define A20_OPEN 0x02 /* in both ports */
#define FAST_RESET 0x01
#define KEYBOARD_DATA 0x60
#define KEYBOARD_COMMAND 0x64
#define INPUT_FULL 0x02
#define WRITE_OUTPUT_PORT 0xD1
#define OUTPUT_PORT 0xDD /* clocks running, no reset */
#define POLLS 0x4000
#define UNUSED_WORD 0x4AC

#define SMAP 0x534D4150
#define AVAILABLE 1
#define RESERVED 2
#define MB 0x100000u

struct range {
    u64 base, length;
    u32 type;
} PACKED;

static u32 cmos_word(u8 index) { return cmos_read(index) | (u32)cmos_read(index + 1) << 8; }

u32 extended_memory_kb(void) {
    u32 above = cmos_word(CMOS_ABOVE_16M);
    return above ? 15 * 1024 + above * 64 : cmos_word(CMOS_EXTENDED);
}

/* ---- INT 15h AX=E820h. ---- */

static int range_of(u32 index, struct range *range) {
    u32 conventional = (u32)BDA->memory_kb * 1024, extended = extended_memory_kb() * 1024;
    switch (index) {
        case 0:
            range->base = 0, range->length = conventional, range->type = AVAILABLE;
            return 1;
        case 1: /* the extended BIOS data area */
            range->base = conventional, range->length = 0xA0000 - conventional, range->type = RESERVED;
            return 1;
        case 2: /* this ROM */
            range->base = 0xF0000, range->length = 0x10000, range->type = RESERVED;
            return 1;
        case 3:
            range->base = MB, range->length = extended, range->type = AVAILABLE;
            return 1;
        case 4: /* interrupt controllers */
            range->base = 0xFEC00000u, range->length = 0x400000, range->type = RESERVED;
            return 1;
        case 5: /* this ROM at its upper place */
            range->base = 0xFFFF0000u, range->length = 0x10000, range->type = RESERVED;
            return 1;
    }
    return 0;
}

void memory_map(struct registers *r) {
    struct range range;
    if (r->edx != SMAP || r->ecx < sizeof range || !range_of(r->ebx, &range)) return fail(r, 0x86);
    far_write(r->es, r->di, &range, sizeof range);
    r->eax = SMAP;
    r->ecx = sizeof range;
    r->ebx = r->ebx < 5 ? r->ebx + 1 : 0;
    succeed(r);
}

/* AX=E801h: KB from 1 MB to 16 MB, 64 KB blocks from 16 MB on; twice. */
void memory_sizes(struct registers *r) {
    u32 kb = extended_memory_kb();
    r->ax = r->cx = kb > 15 * 1024 ? 15 * 1024 : kb;
    r->bx = r->dx = kb > 15 * 1024 ? (kb - 15 * 1024) / 64 : 0;
    succeed(r);
}

/* ---- Address line 20. ---- */

/* Two words 1 MB apart, one of them in the BIOS data area, are the same while the line is held low. */
int a20_is_open(void) {
    u16 before = far_word(0x0000, UNUSED_WORD);
    put_far_word(0x0000, UNUSED_WORD, ~far_word(0xFFFF, UNUSED_WORD + 0x10));
    int open = far_word(0x0000, UNUSED_WORD) != far_word(0xFFFF, UNUSED_WORD + 0x10);
    put_far_word(0x0000, UNUSED_WORD, before);
    return open;
}

static void keyboard_controller_accepts(void) {
    for (u16 i = 0; i < POLLS && (inb(KEYBOARD_COMMAND) & INPUT_FULL); i++) {
    }
}

/* The keyboard controller's output port and port 92h hold it open, each alone. */
void a20_set(int open) {
    u8 value = inb(SYSTEM_CONTROL_PORT_A) & (u8)~(A20_OPEN | FAST_RESET);
    outb(SYSTEM_CONTROL_PORT_A, open ? value | A20_OPEN : value);
    keyboard_controller_accepts();
    outb(KEYBOARD_COMMAND, WRITE_OUTPUT_PORT);
    keyboard_controller_accepts();
    outb(KEYBOARD_DATA, open ? OUTPUT_PORT | A20_OPEN : OUTPUT_PORT);
    keyboard_controller_accepts();
}

/*
 * Power-on: memory first, then the devices, in the order in which they need one another. Nothing is tested but what has
 * to be found. Memory outside the two data areas is left alone: a loader may have put a kernel there.
 */
#include "bios.h"

#define EQUIPMENT_COPROCESSOR 0x0002
#define EQUIPMENT_MOUSE 0x0004
#define EQUIPMENT_VIDEO_80X25_COLOUR 0x0020

#define ENTRIES(entry)                                                                                         \
    entry(0x08, timer_interrupt) entry(0x09, keyboard_interrupt) entry(0x10, video_service)                    \
    entry(0x11, equipment_service) entry(0x12, memory_service) entry(0x13, disk_service)                       \
    entry(0x14, serial_service) entry(0x15, system_service) entry(0x16, keyboard_service)                      \
    entry(0x17, printer_service) entry(0x18, no_boot_service) entry(0x19, boot_service)                        \
    entry(0x1A, time_service) entry(0x70, clock_interrupt) entry(0x71, redirected_interrupt)                   \
    entry(0x74, mouse_interrupt) entry(0x75, coprocessor_interrupt) entry(0x76, disk_interrupt)

#define DECLARE(number, name) extern const u8 entry_##name[];
ENTRIES(DECLARE)
DECLARE(0, master_interrupt)
DECLARE(0, slave_interrupt)
DECLARE(0, nothing)

static void set_vector(u8 number, const u8 *entry) {
    VECTOR[number].offset = (u32)entry;
    VECTOR[number].segment = BIOS_SEGMENT;
}

/* 60h to 67h and all from 78h on are for programs: zero. */
static void vectors_init(void) {
    for (u16 i = 0; i < 0x100; i++) VECTOR[i].offset = VECTOR[i].segment = 0;
    for (u16 i = 0; i < 0x78; i++)
        if (i < 0x60 || i >= 0x68) set_vector(i, entry_nothing);
    for (u8 i = 0x0A; i < 0x10; i++) set_vector(i, entry_master_interrupt);
    for (u8 i = 0x70; i < 0x78; i++) set_vector(i, entry_slave_interrupt);
#define SET(number, name) set_vector(number, entry_##name);
    ENTRIES(SET)
    /* Pointers to tables of which there are none: video and floppy parameters, a font. */
    for (u8 i = 0x1D; i < 0x20; i++) VECTOR[i].offset = VECTOR[i].segment = 0;
}

static void data_areas_init(void) {
    u16 warm_boot = BDA->warm_boot;
    for (u16 i = 0; i < 0x100; i++) ((u8 __seg_gs *)BDA)[i] = 0;
    BDA->warm_boot = warm_boot;
    BDA->memory_kb = CONVENTIONAL_KB;
    BDA->ebda_segment = EBDA_SEGMENT;
    for (u16 i = 0; i < EBDA_KB * 1024; i++) put_far_byte(EBDA_SEGMENT, i, 0);
    put_far_byte(EBDA_SEGMENT, EBDA_SIZE, EBDA_KB);
}

void post(void) {
    vectors_init();
    data_areas_init();
    a20_set(1);
    boot_target_init();
    pic_init();
    apic_init();
    mtrr_init();
    timer_init();
    BDA->equipment = EQUIPMENT_COPROCESSOR | EQUIPMENT_VIDEO_80X25_COLOUR | EQUIPMENT_MOUSE;
    video_init();
    keyboard_init();
    serial_init();
    disk_init();
    sti();
}

/* INT 11h and 12h: the equipment word, conventional memory in KB. */
void equipment_service(struct registers *r) { r->ax = BDA->equipment; }
void memory_service(struct registers *r) { r->ax = BDA->memory_kb; }

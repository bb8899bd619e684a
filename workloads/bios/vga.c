/*
 * The VGA's registers in the text modes (IBM PS/2 technical reference, video subsystem). No font is loaded: the display
 * has one.
 */
#include "bios.h"

#define MISC_WRITE 0x3C2
#define SEQUENCER 0x3C4
#define PEL_MASK 0x3C6
#define DAC_WRITE_INDEX 0x3C8
#define DAC_DATA 0x3C9
#define GRAPHICS 0x3CE
#define ATTRIBUTE 0x3C0
#define CRTC 0x3D4
#define INPUT_STATUS_1 0x3DA
#define VIDEO_ENABLED 0x20

#define CRTC_MAXIMUM_SCAN_LINE 0x09
#define CRTC_CURSOR_HIGH 0x0E
#define CRTC_PROTECT 0x11
#define CRTC_LAST_LINE 0x12

/* 25 rows of 9 by 16 dots at 70 Hz. Mode 1 has 40 columns, mode 3 has 80. */
struct mode_registers {
    u8 misc, sequencer[5], graphics[9], attribute[21], crtc[25];
};

#define GRAPHICS_TEXT {0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0E, 0x00, 0xFF}
#define ATTRIBUTE_TEXT                                                                                              \
    {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3A, 0x3B, 0x3C, 0x3D, 0x3E, 0x3F, 0x0C, 0x00, 0x0F, \
     0x08, 0x00}

ROM_TABLE struct mode_registers modes[] = {
    {0x67,
     {0x03, 0x08, 0x03, 0x00, 0x02},
     GRAPHICS_TEXT,
     ATTRIBUTE_TEXT,
     {0x2D, 0x27, 0x28, 0x90, 0x2B, 0xA0, 0xBF, 0x1F, 0x00, 0x4F, 0x0D, 0x0E, 0x00,
      0x00, 0x00, 0x00, 0x9C, 0x8E, 0x8F, 0x14, 0x1F, 0x96, 0xB9, 0xA3, 0xFF}},
    {0x67,
     {0x03, 0x00, 0x03, 0x00, 0x02},
     GRAPHICS_TEXT,
     ATTRIBUTE_TEXT,
     {0x5F, 0x4F, 0x50, 0x82, 0x55, 0x81, 0xBF, 0x1F, 0x00, 0x4F, 0x0D, 0x0E, 0x00,
      0x00, 0x00, 0x00, 0x9C, 0x8E, 0x8F, 0x28, 0x1F, 0x96, 0xB9, 0xA3, 0xFF}},
};

static void put(u16 port, u8 index, u8 value) { outw(port, index | (u16)value << 8); }

/* The 64 colours of the EGA: bits 5:3 add a third, bits 2:0 two thirds of red, green and blue. */
static u8 component(u8 colour, u8 bit) { return (colour >> bit & 1) * 42 + (colour >> (bit + 3) & 1) * 21; }

static void load_palette(void) {
    outb(PEL_MASK, 0xFF);
    outb(DAC_WRITE_INDEX, 0);
    for (u8 colour = 0; colour < 64; colour++)
        for (u8 part = 3; part > 0; part--) outb(DAC_DATA, component(colour, part - 1));
}

/* Modes 0 to 3; the screen is the caller's. */
void vga_set_mode(u8 mode) {
    ROM struct mode_registers *m = &modes[mode >= 2];
    inb(INPUT_STATUS_1);
    outb(ATTRIBUTE, 0); /* dark meanwhile */
    outb(MISC_WRITE, m->misc);
    put(SEQUENCER, 0, 0x01); /* synchronous reset */
    for (u8 i = 1; i < sizeof m->sequencer; i++) put(SEQUENCER, i, m->sequencer[i]);
    put(SEQUENCER, 0, m->sequencer[0]);
    put(CRTC, CRTC_PROTECT, 0x0E);
    for (u8 i = 0; i < sizeof m->crtc; i++) put(CRTC, i, m->crtc[i]);
    for (u8 i = 0; i < sizeof m->graphics; i++) put(GRAPHICS, i, m->graphics[i]);
    load_palette();
    inb(INPUT_STATUS_1);
    for (u8 i = 0; i < sizeof m->attribute; i++) {
        outb(ATTRIBUTE, i);
        outb(ATTRIBUTE, m->attribute[i]);
    }
    outb(ATTRIBUTE, VIDEO_ENABLED);
}

/* Height of a character: 400 lines hold 25 rows of 16 or 50 of 8. */
void vga_set_height(u8 scan_lines) {
    outb(CRTC, CRTC_MAXIMUM_SCAN_LINE);
    put(CRTC, CRTC_MAXIMUM_SCAN_LINE, (inb(CRTC + 1) & 0xE0) | (scan_lines - 1));
}

/* The hardware cursor, in characters from the start of the buffer. */
void vga_place_cursor(u16 offset) {
    put(CRTC, CRTC_CURSOR_HIGH, offset >> 8);
    put(CRTC, CRTC_CURSOR_HIGH + 1, (u8)offset);
}

/*
 * INT 10h, the screen in its text modes 0 to 3 (IBM PS/2 and PC BIOS interface technical reference; Ralf Brown's list).
 * Left out: graphics modes and mode 7 (a request for one changes nothing), pixels, light pen, loading fonts
 * (AH=11h sets the rows only), saving the video state (AH=1Ch), VESA BIOS extensions, which say so.
 */
#include "bios.h"

#define TEXT_SEGMENT 0xB800
#define BUFFER_BYTES 0x8000
#define PAGES 8
#define BLANK 0x0720
#define ATTRIBUTE_PORT 0x3C0
#define DAC_MASK 0x3C6
#define DAC_READ_INDEX 0x3C7
#define DAC_WRITE_INDEX 0x3C8
#define DAC_DATA 0x3C9
#define INPUT_STATUS_1 0x3DA
#define CRTC_CURSOR_START 0x0A
#define CRTC_START_HIGH 0x0C
#define VIDEO_ENABLED 0x20
#define ATTRIBUTE_MODE 0x10
#define ATTRIBUTE_BORDER 0x11

static void crtc_write_pair(u8 index, u16 value) {
    outw(BDA->crtc_port, index | (value & 0xFF00));
    outw(BDA->crtc_port, (index + 1) | (u16)(value << 8));
}

/* ---- Pages and the cursor. ---- */

static u16 cell_offset(u8 page, u8 row, u8 column) {
    return page * BDA->page_bytes + (row * BDA->columns + column) * 2;
}

static void place_cursor(u8 page, u8 row, u8 column) {
    if (page >= PAGES) return;
    BDA->cursor[page] = row << 8 | column;
    if (page == BDA->page) vga_place_cursor(cell_offset(page, row, column) / 2);
}

static void select_page(u8 page) {
    if (page >= PAGES) return;
    BDA->page = page;
    BDA->page_offset = page * BDA->page_bytes;
    crtc_write_pair(CRTC_START_HIGH, BDA->page_offset / 2);
    place_cursor(page, BDA->cursor[page] >> 8, (u8)BDA->cursor[page]);
}

static void set_cursor_shape(u16 shape) {
    BDA->cursor_shape = shape;
    /* Shapes are given for characters of 8 lines. */
    u8 start = shape >> 8 & 0x1F, end = shape & 0x1F, height = BDA->character_height;
    if (height > 8 && end < 8 && start < 8 && !(shape & 0x2000)) {
        if (end == start + 1 || end == 7) start = start * height / 8 + (end == start + 1), end = (end + 1) * height / 8 - 2;
        else start = (start + 1) * height / 8 - 1, end = (end + 1) * height / 8 - 1;
    }
    crtc_write_pair(CRTC_CURSOR_START, (shape & 0x6000) | start << 8 | end);
}

/* ---- Modes. ---- */

static void clear_buffer(void) {
    for (u16 offset = 0; offset < BUFFER_BYTES; offset += 2) put_far_word(TEXT_SEGMENT, offset, BLANK);
}

static void set_mode(u8 mode) {
    u8 keep = mode & 0x80;
    mode &= 0x7F;
    if (mode > 3) return;
    vga_set_mode(mode);
    BDA->video_mode = mode;
    BDA->columns = mode < 2 ? 40 : 80;
    BDA->page_bytes = mode < 2 ? 0x800 : 0x1000;
    BDA->crtc_port = 0x3D4;
    BDA->video_control = mode < 2 ? 0x28 | (mode == 0) << 2 : 0x29 | (mode == 2) << 2;
    BDA->video_palette = 0x30;
    BDA->last_row = 24;
    BDA->character_height = 16;
    BDA->ega_info = 0x60 | keep;
    BDA->ega_switches = 0xF9;
    BDA->vga_flags = 0x11;
    BDA->display_combination = 0x08;
    if (!keep) clear_buffer();
    for (u8 page = 0; page < PAGES; page++) BDA->cursor[page] = 0;
    BDA->cursor_shape = 0x0607;
    select_page(0);
}

void video_init(void) { set_mode(3); }

/* ---- Characters. ---- */

static void fill_row(u8 page, u8 row, u8 left, u8 right, u16 cell) {
    for (u8 column = left; column <= right; column++) put_far_word(TEXT_SEGMENT, cell_offset(page, row, column), cell);
}

static void copy_row(u8 page, u8 to, u8 from, u8 left, u8 right) {
    for (u8 column = left; column <= right; column++)
        put_far_word(TEXT_SEGMENT, cell_offset(page, to, column), far_word(TEXT_SEGMENT, cell_offset(page, from, column)));
}

/* Scrolls a window by `lines` rows, up or down; 0 clears it. New rows are blanks with the attribute. */
static void scroll(u8 page, int down, u8 lines, u8 attribute, u8 top, u8 left, u8 bottom, u8 right) {
    if (bottom > BDA->last_row) bottom = BDA->last_row;
    if (right >= BDA->columns) right = BDA->columns - 1;
    if (top > bottom || left > right) return;
    u8 rows = bottom - top + 1;
    if (lines == 0 || lines > rows) lines = rows;
    for (u8 i = 0; i < rows; i++) {
        u8 row = down ? bottom - i : top + i;
        if (i + lines < rows) copy_row(page, row, down ? row - lines : row + lines, left, right);
        else fill_row(page, row, left, right, attribute << 8 | ' ');
    }
}

/* Writes at the cursor and moves it; `attribute` of -1 leaves the one that is there. */
static void teletype(u8 page, u8 character, int attribute) {
    u8 row = BDA->cursor[page] >> 8, column = (u8)BDA->cursor[page];
    serial_echo(character);
    switch (character) {
        case '\a':
            return;
        case '\b':
            if (column > 0) column--;
            break;
        case '\r':
            column = 0;
            break;
        case '\n':
            row++;
            break;
        default: {
            u16 at = cell_offset(page, row, column);
            put_far_byte(TEXT_SEGMENT, at, character);
            if (attribute >= 0) put_far_byte(TEXT_SEGMENT, at + 1, (u8)attribute);
            column++;
        }
    }
    if (column >= BDA->columns) column = 0, row++;
    if (row > BDA->last_row) {
        row = BDA->last_row;
        u8 last = far_byte(TEXT_SEGMENT, cell_offset(page, row, column) + 1);
        scroll(page, 0, 1, last, 0, 0, row, BDA->columns - 1);
    }
    place_cursor(page, row, column);
}

/* AH=09h and 0Ah: the same character in `count` cells from the cursor on, which does not move. */
static void repeat_character(u8 page, u8 character, int attribute, u16 count) {
    if (page >= PAGES) return;
    u16 at = cell_offset(page, BDA->cursor[page] >> 8, (u8)BDA->cursor[page]);
    for (; count > 0 && at < BUFFER_BYTES; count--, at += 2) {
        put_far_byte(TEXT_SEGMENT, at, character);
        if (attribute >= 0) put_far_byte(TEXT_SEGMENT, at + 1, (u8)attribute);
    }
}

/* AH=13h. Bit 0 of AL: the cursor moves; bit 1: attributes stand between the characters. */
static void write_string(struct registers *r) {
    u8 page = r->bh < PAGES ? r->bh : 0;
    u16 cursor = BDA->cursor[page], at = r->bp;
    place_cursor(page, r->dh, r->dl);
    for (u16 i = 0; i < r->cx; i++) {
        u8 character = far_byte(r->es, at++), attribute = r->bl;
        if (r->al & 2) attribute = far_byte(r->es, at++);
        teletype(page, character, attribute);
    }
    if (!(r->al & 1)) place_cursor(page, cursor >> 8, (u8)cursor);
}

/* ---- Palette and what programs ask before they use a VGA. ---- */

static void attribute_write(u8 index, u8 value) {
    inb(INPUT_STATUS_1);
    outb(ATTRIBUTE_PORT, index);
    outb(ATTRIBUTE_PORT, value);
    outb(ATTRIBUTE_PORT, VIDEO_ENABLED);
}

static u8 attribute_read(u8 index) {
    inb(INPUT_STATUS_1);
    outb(ATTRIBUTE_PORT, index);
    u8 value = inb(ATTRIBUTE_PORT + 1);
    inb(INPUT_STATUS_1);
    outb(ATTRIBUTE_PORT, VIDEO_ENABLED);
    return value;
}

static void palette_service(struct registers *r) {
    switch (r->al) {
        case 0x00: /* one register */
            attribute_write(r->bl & 0x1F, r->bh);
            break;
        case 0x01: /* the border */
            attribute_write(ATTRIBUTE_BORDER, r->bh);
            break;
        case 0x02: /* all sixteen and the border */
            for (u8 i = 0; i < 17; i++) attribute_write(i < 16 ? i : ATTRIBUTE_BORDER, far_byte(r->es, r->dx + i));
            break;
        case 0x03: /* bit 7 of an attribute blinks, or makes the background bright */
            attribute_write(ATTRIBUTE_MODE, (attribute_read(ATTRIBUTE_MODE) & ~0x08) | (r->bl & 1) << 3);
            break;
        case 0x07:
            r->bh = attribute_read(r->bl & 0x1F);
            break;
        case 0x08:
            r->bh = attribute_read(ATTRIBUTE_BORDER);
            break;
        case 0x10: /* one colour */
            outb(DAC_WRITE_INDEX, r->bl);
            outb(DAC_DATA, r->dh), outb(DAC_DATA, r->ch), outb(DAC_DATA, r->cl);
            break;
        case 0x12: /* CX colours from BX on */
            outb(DAC_WRITE_INDEX, r->bl);
            for (u16 i = 0; i < r->cx * 3; i++) outb(DAC_DATA, far_byte(r->es, r->dx + i));
            break;
        case 0x15:
            outb(DAC_READ_INDEX, r->bl);
            r->dh = inb(DAC_DATA), r->ch = inb(DAC_DATA), r->cl = inb(DAC_DATA);
            break;
        case 0x17:
            outb(DAC_READ_INDEX, r->bl);
            for (u16 i = 0; i < r->cx * 3; i++) put_far_byte(r->es, r->dx + i, inb(DAC_DATA));
            break;
        case 0x18:
            outb(DAC_MASK, r->bl);
            break;
        case 0x19:
            r->bl = inb(DAC_MASK);
            break;
    }
}

/* AH=11h: a font's height decides how many rows there are; the dots stay what they are. */
static void font_service(struct registers *r) {
    u8 height = r->al == 0x11 || r->al == 0x01 ? 14 : r->al == 0x12 || r->al == 0x02 ? 8 : 16;
    if (r->al == 0x30) { /* information: no font is in memory */
        r->cx = BDA->character_height;
        r->dl = BDA->last_row;
        r->es = r->bp = 0;
        return;
    }
    if (r->al < 0x10 || r->al > 0x14) return;
    if (r->al == 0x10) height = r->bh;
    if (height == 0 || height > 32) return;
    vga_set_height(height);
    BDA->character_height = height;
    BDA->last_row = 400 / height - 1;
    BDA->page_bytes = (BDA->last_row + 1) * BDA->columns * 2 + 0x100;
    set_cursor_shape(0x0607);
}

/* AH=12h: "alternate select". */
static void select_service(struct registers *r) {
    switch (r->bl) {
        case 0x10: /* colour, 256 KB, switches */
            r->bx = 0x0003;
            r->cx = 0x0009;
            break;
        case 0x30: /* scan lines: 400, whatever is asked */
        case 0x31:
        case 0x32:
        case 0x33:
        case 0x34:
        case 0x36:
            r->al = 0x12;
            break;
    }
}

/* AH=1Bh: what the display can do, and how it stands. 64 bytes; ours say text modes 0 to 3. */
ROM_TABLE u8 functionality[16] = {0x0F, 0, 0, 0, 0, 0, 0, 0x04, 8, 2, 0, 0x0C, 0x0C, 0, 0, 0};

static void state_service(struct registers *r) {
    if (r->bx != 0) return;
    for (u16 i = 0; i < 64; i++) put_far_byte(r->es, r->di + i, 0);
    put_far_word(r->es, r->di, (u16)(u32)functionality);
    put_far_word(r->es, r->di + 2, BIOS_SEGMENT);
    for (u16 i = 0; i < 30; i++) put_far_byte(r->es, r->di + 4 + i, ((u8 __seg_gs *)&BDA->video_mode)[i]);
    put_far_byte(r->es, r->di + 0x22, BDA->last_row + 1);
    put_far_word(r->es, r->di + 0x23, BDA->character_height);
    put_far_byte(r->es, r->di + 0x25, BDA->display_combination);
    put_far_word(r->es, r->di + 0x27, 16);
    put_far_byte(r->es, r->di + 0x29, PAGES);
    put_far_byte(r->es, r->di + 0x2A, 2); /* 400 scan lines */
    put_far_byte(r->es, r->di + 0x31, 3); /* 256 KB */
    r->al = 0x1B;
}

void video_service(struct registers *r) {
    u8 page = r->bh < PAGES ? r->bh : 0;
    u16 cursor = BDA->cursor[page];
    switch (r->ah) {
        case 0x00:
            set_mode(r->al);
            r->al = 0x30;
            break;
        case 0x01:
            set_cursor_shape(r->cx);
            break;
        case 0x02:
            place_cursor(r->bh, r->dh, r->dl);
            break;
        case 0x03:
            r->cx = BDA->cursor_shape;
            r->dx = cursor;
            break;
        case 0x04: /* light pen: not triggered */
            r->ah = 0;
            break;
        case 0x05:
            select_page(r->al);
            break;
        case 0x06:
        case 0x07:
            scroll(BDA->page, r->ah == 0x07, r->al, r->bh, r->ch, r->cl, r->dh, r->dl);
            break;
        case 0x08:
            r->ax = far_word(TEXT_SEGMENT, cell_offset(page, cursor >> 8, (u8)cursor));
            break;
        case 0x09:
            repeat_character(r->bh, r->al, r->bl, r->cx);
            break;
        case 0x0A:
            repeat_character(r->bh, r->al, -1, r->cx);
            break;
        case 0x0E:
            teletype(BDA->page, r->al, -1);
            break;
        case 0x0F:
            r->al = BDA->video_mode | (BDA->ega_info & 0x80);
            r->ah = (u8)BDA->columns;
            r->bh = BDA->page;
            break;
        case 0x10:
            palette_service(r);
            break;
        case 0x11:
            font_service(r);
            break;
        case 0x12:
            select_service(r);
            break;
        case 0x13:
            write_string(r);
            break;
        case 0x1A: /* display combination: a VGA in colour, alone */
            if (r->al == 0) r->bx = BDA->display_combination;
            r->al = 0x1A;
            break;
        case 0x1B:
            state_service(r);
            break;
        case 0x4F: /* VESA BIOS extensions: not supported */
            r->ax = 0x0100;
            break;
    }
}

void print(ROM char *text) {
    for (; *text; text++) {
        u16 ax = 0x0E00 | (u8)*text;
        __asm__ volatile("int $0x10" : "+a"(ax) : "b"(7) : "memory");
    }
}

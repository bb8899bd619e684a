/*
 * INT 09h: scan codes of set 1 from the keyboard controller become keys (scan code in the high byte, ASCII in the low
 * one) in the ring of the BIOS data area. INT 15h AH=4Fh may change or drop a scan code first.
 * Left out: the lights on the keyboard.
 */
#include "bios.h"

#define DATA 0x60
#define STATUS 0x64
#define COMMAND 0x64
#define STATUS_OUTPUT_FULL 0x01
#define STATUS_INPUT_FULL 0x02
#define STATUS_FROM_MOUSE 0x20
#define POLLS 0x4000

#define WRITE_COMMAND_BYTE 0x60
#define DISABLE_MOUSE 0xA7
#define SELF_TEST 0xAA
#define SELF_TEST_PASSED 0x55
#define ENABLE_KEYBOARD 0xAE
/* Translated to set 1, interrupts of the keyboard, the mouse's clock off; the system has been tested. */
#define COMMAND_BYTE 0x65
#define KEYBOARD_RESET 0xFF
#define KEYBOARD_ENABLE 0xF4
#define ACKNOWLEDGE 0xFA
#define RESET_PASSED 0xAA

/* shift_flags, and the same bits in shift_keys while the key is down */
#define RIGHT_SHIFT 0x01
#define LEFT_SHIFT 0x02
#define CONTROL 0x04
#define ALT 0x08
#define SCROLL_LOCK 0x10
#define NUM_LOCK 0x20
#define CAPS_LOCK 0x40
#define INSERT 0x80
/* shift_keys */
#define LEFT_CONTROL 0x01
#define LEFT_ALT 0x02
#define PAUSED 0x08
/* keyboard_mode */
#define AFTER_E1 0x01
#define AFTER_E0 0x02
#define RIGHT_CONTROL 0x04
#define RIGHT_ALT 0x08
#define ENHANCED 0x10

#define SCAN_BACKSPACE 0x0E
#define SCAN_TAB 0x0F
#define SCAN_ENTER 0x1C
#define SCAN_CONTROL 0x1D
#define SCAN_LEFT_SHIFT 0x2A
#define SCAN_SLASH 0x35
#define SCAN_RIGHT_SHIFT 0x36
#define SCAN_STAR 0x37
#define SCAN_ALT 0x38
#define SCAN_SPACE 0x39
#define SCAN_CAPS_LOCK 0x3A
#define SCAN_F1 0x3B
#define SCAN_F10 0x44
#define SCAN_NUM_LOCK 0x45
#define SCAN_SCROLL_LOCK 0x46
#define SCAN_KEYPAD 0x47
#define SCAN_INSERT 0x52
#define SCAN_DELETE 0x53
#define SCAN_SYSTEM_REQUEST 0x54
#define SCAN_EXTRA 0x56
#define SCAN_F11 0x57
#define SCAN_F12 0x58
#define NO_KEY 0

/* ASCII by scan code, from Escape to the space bar; and of the keypad with Num Lock. */
ROM_TABLE u8 plain[] = "\0\x1B" "1234567890-=\b\tqwertyuiop[]\r\0asdfghjkl;'`\0\\zxcvbnm,./\0*\0 ";
ROM_TABLE u8 shifted[] = "\0\x1B" "!@#$%^&*()_+\b\0QWERTYUIOP{}\r\0ASDFGHJKL:\"~\0|ZXCVBNM<>?\0*\0 ";
ROM_TABLE u8 keypad[] = "789-456+1230.";
/* Scan codes of the keypad with Control and, grey keys only, with Alt. */
ROM_TABLE u8 keypad_control[] = {0x77, 0x8D, 0x84, 0x8E, 0x73, 0x8F, 0x74, 0x90, 0x75, 0x91, 0x76, 0x92, 0x93};
ROM_TABLE u8 keypad_alt[] = {0x97, 0x98, 0x99, 0x00, 0x9B, 0x00, 0x9D, 0x00, 0x9F, 0xA0, 0xA1, 0xA2, 0xA3};

/* ---- The controller. ---- */

static void send(u16 port, u8 byte) {
    for (u16 i = 0; i < POLLS && (inb(STATUS) & STATUS_INPUT_FULL); i++) {
    }
    outb(port, byte);
}

/* The next byte, or -1 when none comes. */
static int receive(void) {
    for (u16 i = 0; i < POLLS; i++)
        if (inb(STATUS) & STATUS_OUTPUT_FULL) return inb(DATA);
    return -1;
}

static void expect(u8 byte) {
    for (u8 i = 0; i < 16; i++) {
        int received = receive();
        if (received < 0 || received == byte) return;
    }
}

void keyboard_init(void) {
    BDA->keyboard_ring_start = 0x1E;
    BDA->keyboard_ring_end = 0x3E;
    BDA->keyboard_head = BDA->keyboard_tail = 0x1E;
    BDA->keyboard_mode = ENHANCED;
    while (inb(STATUS) & STATUS_OUTPUT_FULL) inb(DATA);
    send(COMMAND, DISABLE_MOUSE);
    send(COMMAND, SELF_TEST);
    expect(SELF_TEST_PASSED);
    send(COMMAND, ENABLE_KEYBOARD);
    send(DATA, KEYBOARD_RESET);
    expect(ACKNOWLEDGE);
    expect(RESET_PASSED);
    send(DATA, KEYBOARD_ENABLE);
    expect(ACKNOWLEDGE);
    send(COMMAND, WRITE_COMMAND_BYTE);
    send(DATA, COMMAND_BYTE);
    pic_enable(1);
}

/* ---- The ring. ---- */

u16 ring_next(u16 position) {
    position += 2;
    return position >= BDA->keyboard_ring_end ? BDA->keyboard_ring_start : position;
}

/* Whether there was room. */
int ring_put(u16 key) {
    u16 tail = BDA->keyboard_tail, next = ring_next(tail);
    if (next == BDA->keyboard_head) return 0;
    *(u16 __seg_gs *)(0x400 + (u32)tail) = key;
    BDA->keyboard_tail = next;
    return 1;
}

/* ---- Keys. ---- */

static u16 with_control(u8 scan, u8 ascii) {
    if (ascii >= 'a' && ascii <= 'z') return scan << 8 | (ascii & 0x1F);
    switch (scan) {
        case 0x03: /* 2: NUL */
            return 0x0300;
        case 0x07: /* 6: RS */
            return 0x071E;
        case 0x0C: /* -: US */
            return 0x0C1F;
        case SCAN_BACKSPACE:
            return 0x0E7F;
        case SCAN_TAB:
            return 0x9400;
        case 0x1A: /* [ */
        case 0x1B: /* ] */
        case 0x2B: /* \ */
            return scan << 8 | (ascii & 0x1F);
        case SCAN_ENTER:
            return 0x1C0A;
        case SCAN_STAR:
            return 0x9600;
        case 0x01:
        case SCAN_SPACE:
            return scan << 8 | ascii;
    }
    return NO_KEY;
}

static u16 with_alt(u8 scan) {
    if (scan >= 0x02 && scan <= 0x0D) return (scan + 0x76) << 8;
    if (scan == SCAN_TAB) return 0xA500;
    return scan << 8;
}

static u16 function_key(u8 scan, u8 shift) {
    if (scan >= SCAN_F11) {
        u8 step = shift & ALT ? 6 : shift & CONTROL ? 4 : shift & (LEFT_SHIFT | RIGHT_SHIFT) ? 2 : 0;
        return (scan - SCAN_F11 + 0x85 + step) << 8;
    }
    u8 step = shift & ALT ? 0x2D : shift & CONTROL ? 0x23 : shift & (LEFT_SHIFT | RIGHT_SHIFT) ? 0x19 : 0;
    return (scan + step) << 8;
}

/* The keypad, and the grey keys, whose codes are the keypad's after E0h: their ASCII is E0h. */
static u16 keypad_key(u8 scan, u8 shift, int grey) {
    u8 index = scan - SCAN_KEYPAD;
    u8 digit = keypad[index];
    if (grey) {
        if (shift & ALT) return keypad_alt[index] << 8;
        if (shift & CONTROL) return keypad_control[index] << 8 | 0xE0;
        return scan << 8 | 0xE0;
    }
    if (shift & ALT) {
        if (digit == '-' || digit == '+') return scan << 8;
        if (digit != '.') BDA->keypad_number = BDA->keypad_number * 10 + digit - '0';
        return NO_KEY;
    }
    if (shift & CONTROL) return keypad_control[index] << 8;
    int number = ((shift & NUM_LOCK) != 0) != ((shift & (LEFT_SHIFT | RIGHT_SHIFT)) != 0);
    if (number || digit == '-' || digit == '+') return scan << 8 | digit;
    return scan << 8 | (digit == '5' ? 0xF0 : 0);
}

static u16 key_of(u8 scan, int extended) {
    u8 shift = BDA->shift_flags;
    if (extended && scan == SCAN_ENTER) return shift & ALT ? 0xA600 : shift & CONTROL ? 0xE00A : 0xE00D;
    if (extended && scan == SCAN_SLASH) return shift & ALT ? 0xA400 : shift & CONTROL ? 0x9500 : 0xE02F;
    if ((scan >= SCAN_F1 && scan <= SCAN_F10) || scan == SCAN_F11 || scan == SCAN_F12) return function_key(scan, shift);
    if (scan >= SCAN_KEYPAD && scan <= SCAN_DELETE) return keypad_key(scan, shift, extended);
    if (scan == SCAN_EXTRA) return 0x5600 | (shift & (LEFT_SHIFT | RIGHT_SHIFT) ? '|' : '\\');
    if (scan > SCAN_SPACE || plain[scan] == 0) return NO_KEY;
    u8 ascii = plain[scan];
    if (shift & ALT) return with_alt(scan);
    if (shift & CONTROL) return with_control(scan, ascii);
    int letter = ascii >= 'a' && ascii <= 'z';
    int upper = (shift & (LEFT_SHIFT | RIGHT_SHIFT)) != 0;
    if (letter && (shift & CAPS_LOCK)) upper = !upper;
    return scan << 8 | (upper ? shifted[scan] : ascii);
}

/* ---- Shift keys. Both sides of Control and Alt are kept apart. ---- */

static void hold(u8 __seg_gs *flags, u8 bit, int down) { *flags = down ? *flags | bit : *flags & (u8)~bit; }

static void lock(u8 bit, int down) {
    if (down && !(BDA->shift_keys & bit)) BDA->shift_flags ^= bit;
    hold(&BDA->shift_keys, bit, down);
}

static void control_or_alt(int extended, int down, u8 flag, u8 left, u8 right) {
    if (extended) hold(&BDA->keyboard_mode, right, down);
    else hold(&BDA->shift_keys, left, down);
    hold(&BDA->shift_flags, flag, (BDA->shift_keys & left) || (BDA->keyboard_mode & right));
}

/* Whether the scan code is a shift key's. */
static int shift_key(u8 scan, int extended, int down) {
    switch (scan) {
        case SCAN_LEFT_SHIFT:
        case SCAN_RIGHT_SHIFT: /* after E0h: part of a grey key's code */
            if (!extended) hold(&BDA->shift_flags, scan == SCAN_LEFT_SHIFT ? LEFT_SHIFT : RIGHT_SHIFT, down);
            return 1;
        case SCAN_CONTROL:
            control_or_alt(extended, down, CONTROL, LEFT_CONTROL, RIGHT_CONTROL);
            return 1;
        case SCAN_ALT:
            control_or_alt(extended, down, ALT, LEFT_ALT, RIGHT_ALT);
            if (!down && BDA->keypad_number) {
                ring_put(BDA->keypad_number);
                BDA->keypad_number = 0;
            }
            return 1;
        case SCAN_CAPS_LOCK:
            lock(CAPS_LOCK, down);
            return 1;
        case SCAN_NUM_LOCK:
            if (!(BDA->shift_flags & CONTROL)) lock(NUM_LOCK, down);
            return 1;
        case SCAN_SCROLL_LOCK:
            if (BDA->shift_flags & CONTROL) return 0;
            lock(SCROLL_LOCK, down);
            return 1;
    }
    return 0;
}

/* ---- Keys that do something. ---- */

static void warm_boot(void) {
    BDA->warm_boot = 0x1234;
    __asm__ volatile("ljmp $0xFFFF, $0x0000");
}

static void break_key(void) {
    BDA->break_flag = 0x80;
    BDA->keyboard_head = BDA->keyboard_tail = BDA->keyboard_ring_start;
    __asm__ volatile("int $0x1B" ::: "memory");
    ring_put(0);
}

static void system_request(int down) {
    u16 ax = down ? 0x8500 : 0x8501;
    __asm__ volatile("sti\n\tint $0x15\n\tcli" : "+a"(ax)::"memory");
}

static void handle(u8 code) {
    if (code == 0xE0 || code == 0xE1) {
        BDA->keyboard_mode |= code == 0xE0 ? AFTER_E0 : AFTER_E1;
        return;
    }
    int extended = BDA->keyboard_mode & AFTER_E0, down = !(code & 0x80);
    u8 scan = code & 0x7F;
    if (BDA->keyboard_mode & AFTER_E1) { /* Pause: E1 1D 45 E1 9D C5 */
        if (scan == SCAN_NUM_LOCK) BDA->keyboard_mode &= (u8)~AFTER_E1;
        return;
    }
    BDA->keyboard_mode &= (u8)~AFTER_E0;
    if (shift_key(scan, extended, down)) return;
    u8 shift = BDA->shift_flags;
    if (scan == SCAN_DELETE && down && (shift & (CONTROL | ALT)) == (CONTROL | ALT)) warm_boot();
    if (scan == SCAN_SCROLL_LOCK) {
        if (down) break_key();
        return;
    }
    if (scan == SCAN_SYSTEM_REQUEST) return system_request(down);
    if (scan == SCAN_STAR && extended) { /* Print Screen */
        if (down && (shift & CONTROL)) ring_put(0x7200);
        else if (down) __asm__ volatile("int $0x05" ::: "memory");
        return;
    }
    if (!down) {
        if (scan == SCAN_INSERT) hold(&BDA->shift_keys, INSERT, 0);
        return;
    }
    if (scan == SCAN_INSERT && !(shift & (CONTROL | ALT))) lock(INSERT, 1);
    u16 key = key_of(scan, extended);
    if (key != NO_KEY) ring_put(key);
}

void keyboard_interrupt(struct registers *r) {
    u8 status = inb(STATUS);
    if ((status & (STATUS_OUTPUT_FULL | STATUS_FROM_MOUSE)) == STATUS_OUTPUT_FULL) {
        u16 ax = 0x4F00 | inb(DATA);
        u8 keep;
        __asm__ volatile("stc\n\tint $0x15\n\tsetc %1" : "+a"(ax), "=qm"(keep)::"memory");
        if (keep) handle((u8)ax);
    }
    end_of_interrupt();
}

/* IRQ 12: nobody listens to the mouse. */
void mouse_interrupt(struct registers *r) {
    if ((inb(STATUS) & (STATUS_OUTPUT_FULL | STATUS_FROM_MOUSE)) == (STATUS_OUTPUT_FULL | STATUS_FROM_MOUSE)) inb(DATA);
    end_of_slave_interrupt();
}

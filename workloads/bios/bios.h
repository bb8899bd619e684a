/*
 * The BIOS, for its own files: how C code runs in real mode, what it finds in memory, and who offers what.
 *
 * Each service is a C function that gets the caller's registers as they were pushed (entry.S) and changes them there.
 * It runs on the caller's stack, with
 *
 *     CS = FS = F000h    code and constants: this ROM
 *     DS = SS            so that a pointer to a local variable is a pointer
 *     GS = 0             interrupt vectors and BIOS data area
 *     ES = anything      the far_... functions load it; so no structure is copied or initialised as a whole, for
 *                        which the compiler might take string instructions
 *
 * so constants are declared ROM (a GCC named address space: %fs), the data area is reached through %gs, and there is
 * no other static data: .data, .bss and .rodata are empty, which bios.ld checks.
 */
#ifndef BIOS_H
#define BIOS_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define BIOS_SEGMENT 0xF000
#define EBDA_SEGMENT 0x9FC0
#define EBDA_KB 1
#define CONVENTIONAL_KB (640 - EBDA_KB)
#define ROM const __seg_fs
/* A constant table or text, where the code is. */
#define ROM_TABLE static ROM __attribute__((section(".romdata")))
#define PACKED __attribute__((packed))

/* ---- The caller's registers, in the order in which entry.S leaves them. ---- */

#define HALVES(e, x, l, h) \
    union {                \
        u32 e;             \
        u16 x;             \
        struct {           \
            u8 l, h;       \
        };                 \
    }

#define LOW(e, x) \
    union {       \
        u32 e;    \
        u16 x;    \
    }

struct registers {
    LOW(edi, di);
    LOW(esi, si);
    LOW(ebp, bp);
    u32 own_esp;
    HALVES(ebx, bx, bl, bh);
    HALVES(edx, dx, dl, dh);
    HALVES(ecx, cx, cl, ch);
    HALVES(eax, ax, al, ah);
    u16 gs, fs, es, ds;
    u32 service;
    u16 ip, cs, flags;
} PACKED;

#define CARRY 0x0001
#define ZERO 0x0040
#define INTERRUPTS 0x0200

static inline void set_flag(struct registers *r, u16 flag, int on) {
    r->flags = on ? r->flags | flag : r->flags & (u16)~flag;
}
/* The two ways in which most services end. */
static inline void succeed(struct registers *r) { set_flag(r, CARRY, 0); }
static inline void fail(struct registers *r, u8 status) {
    r->ah = status;
    set_flag(r, CARRY, 1);
}

/* ---- The BIOS data area at 0040:0000. ---- */

struct bios_data {
    u16 serial_ports[4];         /* 00 */
    u16 parallel_ports[3];       /* 08 */
    u16 ebda_segment;            /* 0E */
    u16 equipment;               /* 10 */
    u8 post_flag;                /* 12 */
    u16 memory_kb;               /* 13 */
    u16 reserved_15;             /* 15 */
    u8 shift_flags;              /* 17 */
    u8 shift_keys;               /* 18 */
    u8 keypad_number;            /* 19 */
    u16 keyboard_head;           /* 1A */
    u16 keyboard_tail;           /* 1C */
    u16 keyboard_ring[16];       /* 1E */
    u8 floppy[11];               /* 3E */
    u8 video_mode;               /* 49 */
    u16 columns;                 /* 4A */
    u16 page_bytes;              /* 4C */
    u16 page_offset;             /* 4E */
    u16 cursor[8];               /* 50: row in the high byte */
    u16 cursor_shape;            /* 60 */
    u8 page;                     /* 62 */
    u16 crtc_port;               /* 63 */
    u8 video_control;            /* 65 */
    u8 video_palette;            /* 66 */
    u16 reset_offset;            /* 67: where shutdown codes 5 and 0Ah go on */
    u16 reset_segment;           /* 69 */
    u8 reserved_6b;              /* 6B */
    u32 ticks;                   /* 6C */
    u8 midnight;                 /* 70 */
    u8 break_flag;               /* 71 */
    u16 warm_boot;               /* 72: 1234h on the way to a warm boot */
    u8 disk_status;              /* 74 */
    u8 disk_count;               /* 75 */
    u8 disk_control;             /* 76 */
    u8 reserved_77;              /* 77 */
    u8 parallel_timeout[4];      /* 78 */
    u8 serial_timeout[4];        /* 7C */
    u16 keyboard_ring_start;     /* 80 */
    u16 keyboard_ring_end;       /* 82 */
    u8 last_row;                 /* 84 */
    u16 character_height;        /* 85 */
    u8 ega_info;                 /* 87 */
    u8 ega_switches;             /* 88 */
    u8 vga_flags;                /* 89 */
    u8 display_combination;      /* 8A */
    u8 reserved_8b[3];           /* 8B */
    u8 disk_interrupt;           /* 8E */
    u8 reserved_8f[7];           /* 8F */
    u8 keyboard_mode;            /* 96 */
    u8 keyboard_leds;            /* 97 */
    u16 wait_flag_offset;        /* 98: the byte that an expired wait marks */
    u16 wait_flag_segment;       /* 9A */
    u32 wait_microseconds;       /* 9C */
    u8 wait_active;              /* A0 */
    u8 reserved_a1[7];           /* A1 */
    u32 video_save_table;        /* A8 */
} PACKED;
_Static_assert(__builtin_offsetof(struct bios_data, video_save_table) == 0xA8, "BIOS data area");

#define BDA ((struct bios_data __seg_gs *)0x400)

struct vector {
    u16 offset, segment;
};
#define VECTOR ((struct vector __seg_gs *)0)

/* The extended BIOS data area: its size in KB, then what is ours alone. */
#define EBDA_SIZE 0x00
#define EBDA_DISK_PARAMETERS 0x3D /* two tables of 16 bytes, INT 41h and 46h */
#define EBDA_BOOT_TARGET 0x80     /* struct boot_target */
#define EBDA_FLOPPY 0xC0          /* type of the drive that the first disk is shown as; 0: it is a hard disk */
#define EBDA_DISKS 0x100          /* struct disk [MAX_DISKS] */
#define EBDA_DISK_EXTENSION 0x1C0 /* the table that INT 13h AH=48h points to */

/* ---- Instructions that C cannot say. ---- */

static inline void outb(u16 port, u8 value) { __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port)); }
static inline void outw(u16 port, u16 value) { __asm__ volatile("outw %0, %1" ::"a"(value), "Nd"(port)); }
static inline void outl(u16 port, u32 value) { __asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port)); }
static inline u8 inb(u16 port) {
    u8 value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
static inline u16 inw(u16 port) {
    u16 value;
    __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
static inline u32 inl(u16 port) {
    u32 value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline void sti(void) { __asm__ volatile("sti" ::: "memory"); }
static inline void cli(void) { __asm__ volatile("cli" ::: "memory"); }
static inline void wait_for_interrupt(void) { __asm__ volatile("sti\n\thlt\n\tcli" ::: "memory"); }

/* ---- Memory anywhere below 1 MB. ---- */

static inline u8 far_byte(u16 segment, u16 offset) {
    u8 value;
    __asm__ volatile("movw %1, %%es\n\tmovb %%es:(%2), %0" : "=q"(value) : "r"(segment), "r"((u32)offset) : "memory");
    return value;
}
static inline u16 far_word(u16 segment, u16 offset) {
    u16 value;
    __asm__ volatile("movw %1, %%es\n\tmovw %%es:(%2), %0" : "=r"(value) : "r"(segment), "r"((u32)offset) : "memory");
    return value;
}
static inline void put_far_byte(u16 segment, u16 offset, u8 value) {
    __asm__ volatile("movw %1, %%es\n\tmovb %0, %%es:(%2)" ::"q"(value), "r"(segment), "r"((u32)offset) : "memory");
}
static inline void put_far_word(u16 segment, u16 offset, u16 value) {
    __asm__ volatile("movw %1, %%es\n\tmovw %0, %%es:(%2)" ::"r"(value), "r"(segment), "r"((u32)offset) : "memory");
}

/* Copies from anywhere to the stack, and from the stack to anywhere. */
static inline void far_read(void *to, u16 segment, u16 offset, u16 bytes) {
    for (u16 i = 0; i < bytes; i++) ((u8 *)to)[i] = far_byte(segment, offset + i);
}
static inline void far_write(u16 segment, u16 offset, const void *from, u16 bytes) {
    for (u16 i = 0; i < bytes; i++) put_far_byte(segment, offset + i, ((const u8 *)from)[i]);
}

/* ---- CMOS RAM and clock. ---- */

#define CMOS_PORT 0x70
#define CMOS_SHUTDOWN 0x0F

static inline u8 cmos_read(u8 index) {
    outb(CMOS_PORT, index);
    return inb(CMOS_PORT + 1);
}
static inline void cmos_write(u8 index, u8 value) {
    outb(CMOS_PORT, index);
    outb(CMOS_PORT + 1, value);
}

/* ---- The interrupt controllers. ---- */

#define PIC_MASTER 0x20
#define PIC_SLAVE 0xA0
#define PIC_EOI 0x20

static inline void end_of_interrupt(void) { outb(PIC_MASTER, PIC_EOI); }
static inline void end_of_slave_interrupt(void) {
    outb(PIC_SLAVE, PIC_EOI);
    outb(PIC_MASTER, PIC_EOI);
}
void pic_init(void);
void pic_enable(u8 irq);
u32 cpuid_features(void);                /* apic.c */
void apic_init(void);
void mtrr_init(void);                    /* mtrr.c */
void flat_write(u32 address, u32 value); /* flat.S; for POST only */

/* ---- Who does what. ---- */

void post(void);
void print(ROM char *text); /* on the screen, by INT 10h */

void video_init(void);     /* video.c, INT 10h */
void vga_set_mode(u8 mode); /* vga.c: the registers */
void vga_set_height(u8 scan_lines);
void vga_place_cursor(u16 offset);

void keyboard_init(void); /* keyboard.c, INT 09h */
u16 ring_next(u16 position);
int ring_put(u16 key);

void disk_init(void);   /* disk.c, INT 13h */
u8 boot_drive(void);
void serial_init(void); /* serial.c, INT 14h */
void serial_echo(u8 character);

void timer_init(void); /* time.c, INT 1Ah */
u8 bcd(u8 value);
u8 from_bcd(u8 value);

u32 extended_memory_kb(void); /* memory.c */
void memory_map(struct registers *r);
void memory_sizes(struct registers *r);
int a20_is_open(void);
void a20_set(int open);

void start_wait(u32 microseconds, u16 flag_segment, u16 flag_offset); /* wait.c */
void cancel_wait(void);
void wait(u32 microseconds);

void pci_bios(struct registers *r); /* pci.c */

/* What the machine's owner has asked for (boot.c): the file opt/ringlab/boot of the firmware configuration device. */
struct boot_target {
    u32 flags;
    u16 ip, cs, sp, ss, data_segment, reserved;
    u32 eax, ebx, ecx, edx, esi, edi, ebp;
} PACKED;
#define BOOT_ENTRY 1       /* enter cs:ip instead of booting the first disk */
#define BOOT_ECHO_SERIAL 2 /* what INT 10h prints goes to COM1, too */
void boot_target_init(void);
u32 boot_flags(void);

#endif

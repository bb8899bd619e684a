/*
 * t-bios: a program in real mode that calls every service of the BIOS and looks at what it does. All segments are 0, so
 * that C is C; memory beyond is reached through ES.
 */
#ifndef SERVICES_H
#define SERVICES_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

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

/* In and out of a call; call.S knows the order. */
struct registers {
    HALVES(eax, ax, al, ah);
    HALVES(ebx, bx, bl, bh);
    HALVES(ecx, cx, cl, ch);
    HALVES(edx, dx, dl, dh);
    LOW(esi, si);
    LOW(edi, di);
    LOW(ebp, bp);
    u16 ds, es, flags;
} __attribute__((packed));
#define CARRY 0x0001
#define ZERO 0x0040

void call(u8 number, struct registers *r); /* INT number */
/* A call with AX alone, and its flags. */
u16 call_ax(u8 number, u16 ax, struct registers *r);

void check(const char *what, int good);
void print(const char *text);
void print_hex(u32 value, u8 digits);

u16 far_word(u16 segment, u16 offset);
void put_far_word(u16 segment, u16 offset, u16 value);
/* The compiler takes what lies near address 0 for part of a null object, unless it does not know the address. */
static inline void *low(u32 address) {
    __asm__("" : "+r"(address));
    return (void *)address;
}
#define LOW_BYTE(address) (*(volatile u8 *)low(address))
#define LOW_WORD(address) (*(volatile u16 *)low(address))
#define LOW_DWORD(address) (*(volatile u32 *)low(address))

static inline void clear(struct registers *r) {
    for (u8 i = 0; i < sizeof *r; i++) ((u8 *)r)[i] = 0;
}
static inline void outb(u16 port, u8 value) { __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port)); }
static inline u8 inb(u16 port) {
    u8 value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
static inline void halt(void) { __asm__ volatile("sti\n\thlt" ::: "memory"); }

void test_data_area(void);
void test_video(void);
void test_disk(void);
void test_system(void);
void test_keyboard(void);
void test_time(void);

#endif

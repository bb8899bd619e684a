/*
 * Memory types (SDM vol. 3, "memory type range registers"), as firmware leaves them: RAM is write-back, the display's memory and
 * devices below 4 GB are uncacheable, ROM is write-protected. Systems that find the registers off leave page attributes
 * alone.
 */
#include "bios.h"

#define CPUID_MTRR 0x1000
#define MTRR_CAPABILITIES 0x0FE
#define MTRR_PHYSBASE0 0x200
#define MTRR_PHYSMASK0 0x201
#define MTRR_FIX64K_00000 0x250
#define MTRR_FIX16K_80000 0x258
#define MTRR_FIX16K_A0000 0x259
#define MTRR_FIX4K_C0000 0x268
#define MTRR_DEF_TYPE 0x2FF
#define FIXED_RANGES 0x100 /* in the capabilities */
#define ENABLED 0xC00      /* with fixed ranges, in the default type */
#define UNCACHEABLE 0
#define WRITE_PROTECTED 5
#define WRITE_BACK 6
#define VALID 0x800

static void write_msr(u32 number, u32 low, u32 high) { __asm__ volatile("wrmsr" ::"c"(number), "a"(low), "d"(high)); }

static void fixed(u32 number, u8 type) { write_msr(number, type * 0x01010101u, type * 0x01010101u); }

void mtrr_init(void) {
    u32 low, high;
    if (!(cpuid_features() & CPUID_MTRR)) return;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(MTRR_CAPABILITIES));
    if (!(low & FIXED_RANGES)) return;
    fixed(MTRR_FIX64K_00000, WRITE_BACK);
    fixed(MTRR_FIX16K_80000, WRITE_BACK);
    fixed(MTRR_FIX16K_A0000, UNCACHEABLE);
    for (u8 i = 0; i < 8; i++) fixed(MTRR_FIX4K_C0000 + i, i < 6 ? UNCACHEABLE : WRITE_PROTECTED); /* ROM: F0000 */
    /* From 3 GB on, with physical addresses of 36 bits. */
    write_msr(MTRR_PHYSBASE0, 0xC0000000u | UNCACHEABLE, 0);
    write_msr(MTRR_PHYSMASK0, 0xC0000000u | VALID, 0xF);
    write_msr(MTRR_DEF_TYPE, ENABLED | WRITE_BACK, 0);
}

/* Flat segments and one TSS, whose only use is the stack for traps from CPL 3. */
#include "kernel.h"

/* Descriptors of base 0 and limit 4 GB; the accessed bit is set already, so that a load does not write. */
#define CODE(dpl) (0x00CF9B000000FFFFull | (u64)(dpl) << 45)
#define DATA(dpl) (0x00CF93000000FFFFull | (u64)(dpl) << 45)

struct tss {
    u32 link, esp0, ss0, unused[22];
    u16 trap, io_map_base;
};

static struct tss tss __attribute__((aligned(128)));
static u8 trap_stack[16384] __attribute__((aligned(4096)));
static u64 gdt[6] __attribute__((aligned(64))) = {0, CODE(0), DATA(0), CODE(3), DATA(3), 0};

void set_kernel_stack(u32 esp0) { tss.esp0 = esp0; }

void gdt_init(void) {
    u32 base = (u32)&tss, limit = sizeof tss - 1;
    tss.ss0 = KERNEL_DS;
    tss.io_map_base = sizeof tss; /* no I/O permission bitmap */
    set_kernel_stack((u32)trap_stack + sizeof trap_stack);
    gdt[TSS_SELECTOR >> 3] = (u64)(base >> 24) << 56 | 0x89ull << 40 | (u64)(base & 0xFFFFFF) << 16 | limit;

    struct {
        u16 limit;
        u32 base;
    } __attribute__((packed)) pointer = {sizeof gdt - 1, (u32)gdt};
    __asm__ volatile(
        "lgdt %0\n\t"
        "ljmp %1, $1f\n"
        "1:\n\t"
        "movw %w2, %%ds\n\t"
        "movw %w2, %%es\n\t"
        "movw %w2, %%fs\n\t"
        "movw %w2, %%gs\n\t"
        "movw %w2, %%ss\n\t"
        "ltr %w3" ::"m"(pointer), "i"(KERNEL_CS), "r"(KERNEL_DS), "r"(TSS_SELECTOR)
        : "memory");
}

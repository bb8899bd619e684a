/* The 32-bit part of the kernel of the Linux boot protocol: looks at everything that the loader has handed over. */
#include "boot.h"

#define SETUP_HEADER_MAGIC 0x53726448u

static u32 field32(const u8 *page, u32 offset) { return *(const u32 *)(page + offset); }

static void check_ramdisk(const u8 *page, const struct memory_range *ranges, u32 count) {
    u32 address = field32(page, 0x218), size = field32(page, 0x21C);
    if (size == 0) {
        kprintf("initial RAM disk: none\n");
        return;
    }
    int available = 0;
    for (u32 i = 0; i < count; i++)
        if (ranges[i].type == RANGE_AVAILABLE && address >= ranges[i].base &&
            address + size <= ranges[i].base + ranges[i].length)
            available = 1;
    check("initial RAM disk: page-aligned", address % 4096 == 0);
    check("initial RAM disk: where there is RAM, below the limit", available && address + size - 1 <= field32(page, 0x22C));
    kprintf("initial RAM disk: %u bytes, hash %08x\n", size, fnv1a((const u8 *)address, size));
}

void boot_main(u32 eax, u32 ebx, u32 esi) {
    const u8 *page = (const u8 *)esi;
    const struct memory_range *ranges = (const void *)(page + 0x2D0);
    u32 count = page[0x1E8];
    serial_init();
    check("header", field32(page, 0x202) == SETUP_HEADER_MAGIC);
    check("loader type", page[0x210] != 0);
    check("heap and stack below 64 KB", field32(page, 0x1E0) > 0x8000 && *(const u16 *)(page + 0x224) > 0x8000);
    check("video mode", *(const u16 *)(page + 0x1FA) == 0xFFFF);
    kprintf("command line: %s\n", (const char *)field32(page, 0x228));
    check_memory_map(ranges, count, sizeof *ranges);
    check_ramdisk(page, ranges, count);
    *(volatile u32 *)0x00200000 = 0x12345678; /* A20: not the same as the first megabyte */
    check("address line 20", *(volatile u32 *)0x00300000 != 0x12345678);
    exit(0);
}

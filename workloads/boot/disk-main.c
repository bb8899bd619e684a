/* The kernel on the disk: it is large enough to come in several pieces, and looks whether they are in place. */
#include "boot.h"
#include "loader.h"

extern const u32 ballast[];
extern const u32 ballast_end[];

void boot_main(u32 eax, u32 ebx, u32 esi) {
    const u8 *handover = (const void *)ebx;
    serial_init();
    kprintf("started from drive %x\n", handover[HANDOVER_DRIVE]);
    check_memory_map((const void *)(handover + HANDOVER_MAP), *(const u32 *)(handover + HANDOVER_RANGES), 20);
    u32 words = (u32)(ballast_end - ballast), wrong = 0;
    for (u32 i = 0; i < words; i++)
        if (ballast[i] != i * 4) wrong++;
    check("every piece of the kernel is in its place", words > 16 * 1024 && wrong == 0);
    *(volatile u32 *)0x00200000 = 0x12345678;
    check("address line 20", *(volatile u32 *)0x00300000 != 0x12345678);
    exit(0);
}

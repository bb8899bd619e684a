/*
 * Two-level page tables of 4 KB pages. The first 16 MB are mapped to themselves: user pages (kernel.ld puts them
 * together) with U=1, all else for the kernel alone and global. The local APIC's page is mapped uncached.
 */
#include "kernel.h"

extern u8 user_text_start[], user_text_end[], user_data_start[], user_data_end[], image_end[];

u32 page_directory[1024] __attribute__((aligned(4096)));
static u32 next_frame;

u32 frame_alloc(void) {
    if (!next_frame) next_frame = (u32)image_end; /* kernel.ld aligns it */
    u32 frame = next_frame;
    next_frame += PAGE_SIZE;
    if (next_frame > FRAMES_END) panic("out of page frames");
    memset((void *)frame, 0, PAGE_SIZE);
    return frame;
}

u32 *pte_of(u32 linear) {
    u32 pde = page_directory[linear >> 22];
    return pde & PTE_P ? (u32 *)(pde & PTE_FRAME) + (linear >> 12 & 0x3FF) : 0;
}

void map_page(u32 linear, u32 physical, u32 flags) {
    if (!pte_of(linear)) page_directory[linear >> 22] = frame_alloc() | PTE_U | PTE_W | PTE_P;
    *pte_of(linear) = physical | flags;
}

void unmap_page(u32 linear) {
    *pte_of(linear) = 0;
    invlpg(linear);
}

static u32 identity_flags(u32 page) {
    if (page >= (u32)user_text_start && page < (u32)user_text_end) return PTE_U | PTE_P;
    if (page >= (u32)user_data_start && page < (u32)user_data_end) return PTE_U | PTE_W | PTE_P;
    return PTE_G | PTE_W | PTE_P;
}

void paging_init(void) {
    u32 eax, ebx, ecx, edx;
    cpuid(1, &eax, &ebx, &ecx, &edx);
    for (u32 page = 0; page < IDENTITY_END; page += PAGE_SIZE) map_page(page, page, identity_flags(page));
    map_page(LAPIC_BASE, LAPIC_BASE, PTE_G | PTE_PCD | PTE_PWT | PTE_W | PTE_P);
    write_cr3((u32)page_directory);
    write_cr0(read_cr0() | CR0_PG | CR0_WP);
    if (edx & CPUID_EDX_PGE) write_cr4(read_cr4() | CR4_PGE);
}

/* What the three ptemod nanobenchmarks share. Each PTE has a page frame of its own. */
#include "ptemod.h"

#define PRESENT (PTE_P | PTE_W | PTE_A | PTE_D) /* A and D set already, so that only stores change a PTE */

u32 *ptemod_ptes;     /* first PTE, for the loops */
u32 ptemod_value;     /* what the loops store into it; the next PTE's frame is one page further */
static u32 ptemod_frames;

void ptemod_install(void) {
    /* The bump allocator gives consecutive frames: two page tables, then the frames to map. */
    for (u32 i = 0; i < PTE_COUNT / 1024; i++) map_page(WINDOW + i * 1024 * PAGE_SIZE, 0, 0);
    ptemod_ptes = pte_of(WINDOW);
    if (pte_of(WINDOW + (PTE_COUNT - 1) * PAGE_SIZE) != ptemod_ptes + PTE_COUNT - 1) panic("page tables apart");
    ptemod_frames = frame_alloc();
    for (u32 i = 1; i < PTE_COUNT; i++)
        if (frame_alloc() != ptemod_frames + i * PAGE_SIZE) panic("page frames apart");
}

static void set_all(u32 n, u32 flags) {
    for (u32 i = 0; i < n; i++) {
        ptemod_ptes[i] = (ptemod_frames + i * PAGE_SIZE) | flags;
        invlpg(WINDOW + i * PAGE_SIZE);
    }
}

void ptemod_prepare(u32 n, u32 flags, u32 stored) {
    set_all(n, PRESENT);
    for (u32 i = 0; i < n; i++) (void)*(volatile u32 *)(WINDOW + i * PAGE_SIZE);
    if (!(flags & PTE_P)) set_all(n, PRESENT & ~PTE_P);
    ptemod_value = ptemod_frames | (PRESENT & ~PTE_P) | stored;
    ptemod_check(n, flags);
}

void ptemod_check(u32 n, u32 flags) {
    u32 wrong = 0;
    for (u32 i = 0; i < n; i++)
        wrong += ptemod_ptes[i] != ((ptemod_frames + i * PAGE_SIZE) | (PRESENT & ~PTE_P) | flags);
    expect("number of wrong PTEs", wrong, 0);
    digest(flags);
}

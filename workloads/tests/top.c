#include "top.h"

void top_init(void) { map_page(TOP, 0, 0); }

u32 top_page(u32 linear, u32 flags) {
    u32 frame = frame_alloc();
    map_page(linear & PTE_FRAME, frame, flags | PTE_P);
    invlpg(linear);
    return frame;
}

void top_none(u32 linear) { unmap_page(linear & PTE_FRAME); }

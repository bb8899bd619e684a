#include "nanobenchmark.h"

static void install(void) {
    for (u32 i = 0; i < 16; i++) map_page(WINDOW + i * PAGE_SIZE, frame_alloc(), PTE_W | PTE_P);
}
static void check(u32 n) { expect("difference in CR3", read_cr3() ^ (u32)page_directory, 0); }

const struct nanobenchmark nanobenchmark = {
    .name = "mov-cr3",
    .what = "reload of CR3 with 16 pages touched between reloads",
    .cpl = 0,
    .iterations = 1000,
    .install = install,
    .check = check,
};

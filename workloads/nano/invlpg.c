#include "nanobenchmark.h"

static void install(void) { map_page(WINDOW, frame_alloc(), PTE_W | PTE_P); }
static void prepare(u32 n) { (void)*(volatile u32 *)WINDOW; }
static void check(u32 n) { expect("a word of the page", *(volatile u32 *)WINDOW, 0); }

const struct nanobenchmark nanobenchmark = {
    .name = "invlpg",
    .what = "INVLPG of a present page that is touched before the region and not in it",
    .cpl = 0,
    .iterations = 1000,
    .install = install,
    .prepare = prepare,
    .check = check,
};

#include "ptemod.h"

static void prepare(u32 n) { ptemod_prepare(n, PTE_P, 0); }
static void check(u32 n) { ptemod_check(n, 0); }

const struct nanobenchmark nanobenchmark = {
    .name = "ptemod-p2np",
    .what = "store that makes a present PTE not present, no INVLPG",
    .cpl = 0,
    .iterations = 1000,
    .max_iterations = PTE_COUNT,
    .install = ptemod_install,
    .prepare = prepare,
    .check = check,
};

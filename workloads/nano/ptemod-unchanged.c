#include "ptemod.h"

static void prepare(u32 n) { ptemod_prepare(n, PTE_P, PTE_P); }
static void check(u32 n) { ptemod_check(n, PTE_P); }

const struct nanobenchmark nanobenchmark = {
    .name = "ptemod-unchanged",
    .what = "store of the same value to a present PTE, no INVLPG",
    .cpl = 0,
    .iterations = 1000,
    .max_iterations = PTE_COUNT,
    .install = ptemod_install,
    .prepare = prepare,
    .check = check,
};

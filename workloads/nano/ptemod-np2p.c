#include "ptemod.h"

static void prepare(u32 n) { ptemod_prepare(n, 0, PTE_P); }
static void check(u32 n) { ptemod_check(n, PTE_P); }

const struct nanobenchmark nanobenchmark = {
    .name = "ptemod-np2p",
    .what = "store that makes a not-present PTE present, no INVLPG",
    .cpl = 0,
    .iterations = 1000,
    .max_iterations = PTE_COUNT,
    .install = ptemod_install,
    .prepare = prepare,
    .check = check,
};

#include "nanobenchmark.h"

static void check(u32 n) { expect("IF", read_eflags() & EFLAGS_IF, 0); }

const struct nanobenchmark nanobenchmark = {
    .name = "pushf-popf",
    .what = "PUSHF and POPF with IF = 0",
    .cpl = 0,
    .iterations = 1000,
    .check = check,
};

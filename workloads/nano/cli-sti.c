#include "nanobenchmark.h"

static void check(u32 n) { expect("IF", read_eflags() & EFLAGS_IF, 0); }

const struct nanobenchmark nanobenchmark = {
    .name = "cli-sti",
    .what = "STI and CLI, every interrupt line masked",
    .cpl = 0,
    .iterations = 1000,
    .check = check,
};

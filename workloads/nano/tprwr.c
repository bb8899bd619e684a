#include "nanobenchmark.h"

static void prepare(u32 n) {
    lapic_write(LAPIC_TPR, 0);
    expect("TPR before", lapic_read(LAPIC_TPR), 0);
}
static void check(u32 n) { expect("TPR after", lapic_read(LAPIC_TPR), 0x20); }

const struct nanobenchmark nanobenchmark = {
    .name = "tprwr",
    .what = "write of the memory-mapped task-priority register, FEE00080h",
    .cpl = 0,
    .iterations = 1000,
    .install = lapic_init,
    .prepare = prepare,
    .check = check,
};

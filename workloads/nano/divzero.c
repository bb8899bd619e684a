#include "nanobenchmark.h"

extern void divide_handler(void);
u32 divide_count;

static void install(void) { set_gate(VECTOR_DIVIDE_ERROR, divide_handler, 0); }
static void prepare(u32 n) { divide_count = 0; }
static void check(u32 n) { expect("number of divide errors", divide_count, n); }

const struct nanobenchmark nanobenchmark = {
    .name = "divzero",
    .what = "divide error by DIV with divisor 0, handler returns past it",
    .cpl = 3,
    .iterations = 1000,
    .install = install,
    .prepare = prepare,
    .check = check,
};

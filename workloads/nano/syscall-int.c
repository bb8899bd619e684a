#include "nanobenchmark.h"

extern void minimal_handler(void);

static void install(void) { set_gate(VECTOR_SYSCALL, minimal_handler, 3); }
static void prepare(u32 n) { syscall_count = 0; }
static void check(u32 n) { expect("number of system calls", syscall_count, n); }

const struct nanobenchmark nanobenchmark = {
    .name = "syscall-int",
    .what = "INT 80h to a handler that counts and returns by IRET",
    .cpl = 3,
    .iterations = 1000,
    .install = install,
    .prepare = prepare,
    .check = check,
};

/* What every nanobenchmark has: its measurement, its t: line, and checks that panic. */
#include "nanobenchmark.h"

struct measurement measurement USER_DATA = {1, 1, 0, 0};

void expect(const char *what, u32 value, u32 expected) {
    if (value != expected) panic("%s: %s is 0x%x, not 0x%x", nanobenchmark.name, what, value, expected);
    digest(value);
}

void report(const char *unit) {
    u64 measured = measurement.measured, baseline = measurement.baseline;
    int negative = measured < baseline;
    u64 tenths = (negative ? baseline - measured : measured - baseline) * 10;
    u32 n = measurement.iterations, quotient, remainder;
    __asm__("divl %4" : "=a"(quotient), "=d"(remainder) : "a"((u32)tenths), "d"((u32)(tenths >> 32) % n), "r"(n) : "cc");
    kprintf("t: %s tsc=%llu base=%llu per-%s=%s%u.%u\n", nanobenchmark.name, measured, baseline, unit,
            negative ? "-" : "", quotient / 10, quotient % 10);
}

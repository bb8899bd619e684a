/* Runs the nanobenchmark that it is linked with: warm-up, baseline, measurement, checks, report. */
#include "nanobenchmark.h"

struct measurement measurement USER_DATA = {1, 1, 0, 0};

static void run(u32 (*loops)(void)) {
    if (nanobenchmark.cpl == 3)
        enter_user(loops, user_stack_top);
    else
        loops();
}

void expect(const char *what, u32 value, u32 expected) {
    if (value != expected) panic("%s: %s is 0x%x, not 0x%x", nanobenchmark.name, what, value, expected);
    digest(value);
}

void report(const char *unit) {
    u64 measured = measurement.measured, baseline = measurement.baseline;
    int negative = measured < baseline;
    u64 tenths = (negative ? baseline - measured : measured - baseline) * 10;
    u32 n = measurement.iterations, high = (u32)(tenths >> 32), quotient, remainder;
    __asm__("divl %4" : "=a"(quotient), "=d"(remainder) : "a"((u32)tenths), "d"(high % n), "r"(n) : "cc");
    kprintf("t: %s tsc=%llu base=%llu per-%s=%s%u.%u\n", nanobenchmark.name, measured, baseline, unit,
            negative ? "-" : "", quotient / 10, quotient % 10);
}

void program_main(void) {
    const struct nanobenchmark *b = &nanobenchmark;
    measurement.iterations = parameter("iterations", b->iterations);
    measurement.warm_up = parameter("warm-up", b->iterations < 100 ? b->iterations : 100);
    if (!measurement.iterations || !measurement.warm_up) panic("%s: iterations and warm-up begin at 1", b->name);
    if (b->max_iterations && (measurement.iterations > b->max_iterations || measurement.warm_up > b->max_iterations))
        panic("%s: at most %u iterations", b->name, b->max_iterations);
    kprintf("nanobenchmark %s: %s, at CPL %u\n", b->name, b->what, b->cpl);
    kprintf("iterations %u, warm-up %u\n", measurement.iterations, measurement.warm_up);

    if (b->install) b->install();
    if (b->prepare) b->prepare(measurement.warm_up);
    run(warm_up_loops);
    if (b->check) b->check(measurement.warm_up);
    if (b->prepare) b->prepare(measurement.iterations);
    run(measure_loops);
    if (b->check) b->check(measurement.iterations);
    digest(measurement.iterations);
    report("iteration");
}

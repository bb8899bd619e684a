/* Runs the nanobenchmark that it is linked with: warm-up, baseline, measurement, checks, report. */
#include "nanobenchmark.h"

static void run(u32 (*loops)(void)) {
    if (nanobenchmark.cpl == 3)
        enter_user(loops, user_stack_top);
    else
        loops();
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

/*
 * A periodic interrupt of the 8254 through the 8259. The measured region comes first here: it spins until a number of
 * ticks has been handled, which says how many spins the baseline, with the timer stopped, has to make.
 */
#include "nanobenchmark.h"

extern void tick_handler(void);
extern void spin_warm_up(void);
extern u32 spin_measured(u64 *tsc), spin_baseline(u64 *tsc);

#define NO_LIMIT 0u /* the count is never 0 when it is compared */

volatile u32 ticks;
u32 spin_ticks, spin_limit;
const struct nanobenchmark nanobenchmark = {.name = "timer-interrupt"};

void program_main(void) {
    u32 hz = parameter("hz", 1000);
    measurement.iterations = parameter("iterations", 10);
    if (!measurement.iterations) panic("%s: iterations begin at 1", nanobenchmark.name);
    kprintf("nanobenchmark %s: periodic 8254 interrupt with its 8259 end of interrupt, at CPL 0\n", nanobenchmark.name);
    kprintf("iterations %u, warm-up 2, %u Hz\n", measurement.iterations, hz);
    lapic_init();
    set_gate(VECTOR_IRQ0, tick_handler, 0);

    timer_start(hz);
    spin_ticks = 2;
    spin_limit = NO_LIMIT;
    spin_warm_up();

    ticks = 0;
    spin_ticks = measurement.iterations;
    u32 spins = spin_measured(&measurement.measured);
    timer_stop();
    expect("number of ticks", ticks, measurement.iterations);

    spin_ticks = ~0u;
    spin_limit = spins;
    expect("difference in spins", spin_baseline(&measurement.baseline) - spins, 0);
    expect("number of ticks", ticks, measurement.iterations);
    kprintf("t: %s spins=%u\n", nanobenchmark.name, spins);
    report("interrupt");
}

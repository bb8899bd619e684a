/*
 * A nanobenchmark is two loops that differ in one operation. nano/<name>.S describes the loops with macros and includes
 * loops.h; nano/<name>.c describes the program with one structure; nano/driver.c runs it.
 */
#ifndef NANOBENCHMARK_H
#define NANOBENCHMARK_H

/* Offsets in struct measurement, for loops.h. */
#define MEASUREMENT_ITERATIONS 0
#define MEASUREMENT_WARM_UP 4
#define MEASUREMENT_BASELINE 8
#define MEASUREMENT_MEASURED 16

#ifndef __ASSEMBLER__
#include "kernel.h"

/* In user data, since the loops may run at CPL 3. Times are TSC ticks of all iterations. */
struct measurement {
    u32 iterations, warm_up;
    u64 baseline, measured;
};
extern struct measurement measurement;

u32 warm_up_loops(void); /* loops.h: both loops, outside of regions */
u32 measure_loops(void); /* loops.h: the baseline region, then the measured region */

struct nanobenchmark {
    const char *name, *what;
    u32 cpl;                       /* of the loops: 0 or 3 */
    u32 iterations;                /* by default */
    u32 max_iterations;            /* 0: no limit */
    void (*install)(void);         /* once, at the beginning; may be 0 */
    void (*prepare)(u32 n);        /* before the warm-up and again before the measurement; may be 0 */
    void (*check)(u32 n);          /* after the warm-up and after the measurement, of n operations; panics; may be 0 */
};
extern const struct nanobenchmark nanobenchmark; /* the program's */

/* report.c */
void report(const char *unit);                          /* the t: line */
void expect(const char *what, u32 value, u32 expected); /* panics when they differ; digests the value */
#endif
#endif

#include "nanobenchmark.h"

const struct nanobenchmark nanobenchmark = {
    .name = "rdtsc",
    .what = "RDTSC",
    .cpl = 0,
    .iterations = 1000,
};

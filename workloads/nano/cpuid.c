#include "nanobenchmark.h"

const struct nanobenchmark nanobenchmark = {
    .name = "cpuid",
    .what = "CPUID with EAX = 1",
    .cpl = 0,
    .iterations = 1000,
};

#include "nanobenchmark.h"

const struct nanobenchmark nanobenchmark = {
    .name = "callret-sites",
    .what = "two near CALLs, one after the other, of a function that only returns",
    .cpl = 0,
    .iterations = 1000,
};

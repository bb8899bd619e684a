#include "nanobenchmark.h"

const struct nanobenchmark nanobenchmark = {
    .name = "callret",
    .what = "near CALL of a function that only returns",
    .cpl = 0,
    .iterations = 1000,
};

#include "nanobenchmark.h"

const struct nanobenchmark nanobenchmark = {
    .name = "in",
    .what = "IN AL, 80h, a read of the POST port",
    .cpl = 0,
    .iterations = 1000,
};

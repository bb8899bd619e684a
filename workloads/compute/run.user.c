/* Runs the parts one after the other, each in a region of its own: 1 sort ... 5 tree. */
#include "compute.h"

struct part_result part_results[PARTS];
u32 rounds = 1;

static void run(struct part_result *result, round_function one_round) {
    result->checksum = 0x811C9DC5u;
    for (u32 round = 1; round <= rounds && !result->failed_round; round++) {
        MARK(MARK_ITERATION, 0);
        if (!one_round(round, &result->checksum)) result->failed_round = round;
    }
}

u32 compute_run(void) {
    MARK(MARK_MEASURED_BEGIN, 1);
    run(&part_results[0], sort_round);
    MARK(MARK_MEASURED_END, 1);
    MARK(MARK_MEASURED_BEGIN, 2);
    run(&part_results[1], hash_round);
    MARK(MARK_MEASURED_END, 2);
    MARK(MARK_MEASURED_BEGIN, 3);
    run(&part_results[2], matrix_round);
    MARK(MARK_MEASURED_END, 3);
    MARK(MARK_MEASURED_BEGIN, 4);
    run(&part_results[3], compression_round);
    MARK(MARK_MEASURED_END, 4);
    MARK(MARK_MEASURED_BEGIN, 5);
    run(&part_results[4], tree_round);
    MARK(MARK_MEASURED_END, 5);
    return 0;
}

/* A compute program of five parts that run at CPL 3, each on its own, each checking its results. */
#ifndef COMPUTE_H
#define COMPUTE_H
#include "kernel.h"

/* One round of a part: folds its results into `checksum`, returns 0 when it finds them wrong. */
typedef int (*round_function)(u32 round, u32 *checksum);

int sort_round(u32 round, u32 *checksum);
int hash_round(u32 round, u32 *checksum);
int matrix_round(u32 round, u32 *checksum);
int compression_round(u32 round, u32 *checksum);
int tree_round(u32 round, u32 *checksum);

struct part_result {
    u32 checksum, failed_round; /* 0: none failed; rounds count from 1 */
};
#define PARTS 5
extern struct part_result part_results[PARTS];
extern u32 rounds;       /* of each part */
u32 compute_run(void);   /* at CPL 3 */

/* Marsaglia's xorshift32; the state is never 0. */
static inline u32 random_next(u32 *state) {
    u32 x = *state;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return *state = x;
}
static inline u32 random_seed(u32 part, u32 round) { return 0x9E3779B9u * part + 0x85EBCA6Bu * round + 1; }

static inline u32 fold(u32 checksum, u32 word) { return (checksum ^ word) * 0x01000193u; }
#endif

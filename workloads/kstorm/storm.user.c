/* The part of the storm at CPL 3. It knows what each answer of the kernel has to be. */
#include "kstorm.h"

struct part_result part_results[PARTS];
u32 rounds, spins;
enum part running;
volatile u32 timer_pending;

static u32 mixes;                  /* CALL_MIX so far, in all parts */
static u32 rotated;                /* remap page i shows frame (i + rotated) % REMAP_PAGES */
static u32 space, in_space[SPACES];
static u32 owned[DEMAND_PAGES];    /* 0: unmapped; 1: shows the shared page; otherwise the value in its own frame */

static inline u32 int80(u32 number, u32 a, u32 b) {
    u32 result;
    __asm__ volatile("int $0x80" : "=a"(result) : "0"(number), "b"(a), "S"(b) : "memory");
    return result;
}

/* kstorm/entry.S returns to EDX with the stack of ECX. */
static inline u32 sysenter(u32 number, u32 a, u32 b) {
    u32 result, unused;
    __asm__ volatile("movl %%esp, %%ecx\n\tmovl $1f, %%edx\n\tsysenter\n1:"
                     : "=a"(result), "=&c"(unused), "=&d"(unused)
                     : "0"(number), "b"(a), "S"(b)
                     : "memory");
    return result;
}

typedef u32 call_function(u32 number, u32 a, u32 b);

/* Each operation folds what it sees into the checksum, and is false when that is wrong. */
static inline int one_mix(struct part_result *result, call_function *call, u32 a, u32 b) {
    u32 answer = call(CALL_MIX, a, b);
    result->calls++;
    result->checksum = fold(result->checksum, answer);
    return answer == mix(a, b, ++mixes);
}

static int read_demand(struct part_result *result, u32 page) {
    u32 value = *(volatile u32 *)(DEMAND + page * PAGE_SIZE);
    if (!owned[page]) {
        owned[page] = 1;
        result->faults++;
    }
    result->checksum = fold(result->checksum, value);
    return value == (owned[page] == 1 ? SHARED_TAG : owned[page]);
}

static int write_demand(struct part_result *result, u32 page, u32 value) {
    value |= 2;
    *(volatile u32 *)(DEMAND + page * PAGE_SIZE) = value;
    if (owned[page] < 2) result->faults++;
    owned[page] = value;
    return 1;
}

static int discard(struct part_result *result, u32 first, u32 count) {
    u32 mapped = 0;
    for (u32 page = first; page < first + count; page++) {
        mapped += owned[page] != 0;
        owned[page] = 0;
    }
    result->calls++;
    result->remaps += mapped;
    return sysenter(CALL_DISCARD, first, count) == mapped;
}

static int remap(struct part_result *result, u32 rotation) {
    u32 changed = rotation % REMAP_PAGES == rotated ? 0 : REMAP_PAGES;
    rotated = rotation % REMAP_PAGES;
    result->calls++;
    result->remaps += changed;
    u32 right = sysenter(CALL_REMAP, rotation, 0) == changed;
    for (u32 page = 0; page < REMAP_PAGES; page++) {
        u32 tag = *(volatile u32 *)(REMAP + page * PAGE_SIZE);
        right &= tag == remap_tag((page + rotated) % REMAP_PAGES);
        result->checksum = fold(result->checksum, tag);
    }
    return right;
}

static int switch_space(struct part_result *result, u32 to) {
    int right = sysenter(CALL_SWITCH, to, 0) == space;
    space = to;
    result->calls++;
    result->switches++;
    u32 count = ++*(volatile u32 *)PRIVATE;
    result->checksum = fold(result->checksum, count);
    return right && count == ++in_space[to];
}

static int arm(struct part_result *result) {
    while (timer_pending) spins++;
    result->calls++;
    result->interrupts++;
    return sysenter(CALL_ARM, 0, 0) == 0;
}

static int int80_round(struct part_result *result, u32 round) {
    int right = 1;
    for (u32 i = 0; i < 64; i++) right &= one_mix(result, int80, round, i);
    return right;
}

static int sysenter_round(struct part_result *result, u32 round) {
    int right = 1;
    for (u32 i = 0; i < 128; i++) right &= one_mix(result, sysenter, round, i);
    return right;
}

static int fault_round(struct part_result *result, u32 round) {
    int right = 1;
    for (u32 i = 0; i < DEMAND_PAGES; i++) {
        u32 page = (i * 29 + round) % DEMAND_PAGES;
        if (i & 1) right &= read_demand(result, page);
        right &= write_demand(result, page, round << 16 | i << 2);
    }
    for (u32 page = 0; page < DEMAND_PAGES; page++) right &= read_demand(result, page);
    return right & discard(result, 0, DEMAND_PAGES);
}

static int pte_round(struct part_result *result, u32 round) {
    int right = 1;
    for (u32 i = 0; i < 8; i++) right &= remap(result, round * 5 + i * 3);
    return right;
}

static int switch_round(struct part_result *result, u32 round) {
    int right = 1;
    for (u32 i = 0; i < 64; i++) right &= switch_space(result, (space + 1 + (i == 33)) % SPACES);
    return right;
}

static int timer_round(struct part_result *result, u32 round) {
    int right = 1;
    for (u32 i = 0; i < 16; i++) right &= arm(result);
    while (timer_pending) spins++;
    return right;
}

/* 256 operations, in an order that Marsaglia's xorshift32 gives. */
static int storm_round(struct part_result *result, u32 round) {
    u32 x = 0x85EBCA6Bu * round + 1;
    int right = 1;
    for (u32 i = 0; i < 256; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        switch (x >> 28) {
        case 0 ... 2:
            right &= one_mix(result, int80, x, i);
            break;
        case 3 ... 6:
            right &= one_mix(result, sysenter, x, i);
            break;
        case 7 ... 8:
            right &= read_demand(result, x >> 8 & (DEMAND_PAGES - 1));
            break;
        case 9 ... 11:
            right &= write_demand(result, x >> 8 & (DEMAND_PAGES - 1), x);
            break;
        case 12:
            right &= discard(result, x >> 8 & (DEMAND_PAGES - 8), 8);
            break;
        case 13:
            right &= remap(result, x >> 8 & 0xFF);
            break;
        case 14:
            right &= switch_space(result, x >> 8 & (SPACES - 1));
            break;
        default:
            right &= arm(result);
        }
    }
    right &= discard(result, 0, DEMAND_PAGES);
    while (timer_pending) spins++;
    return right;
}

u32 kstorm_run(void) {
    static int (*const rounds_of[PARTS])(struct part_result *, u32) = {
        int80_round, sysenter_round, fault_round, pte_round, switch_round, timer_round, storm_round,
    };
    struct part_result *result = &part_results[running];
    result->checksum = 0x811C9DC5u;
    for (u32 round = 1; round <= rounds && !result->failed_round; round++) {
        MARK(MARK_ITERATION, 0);
        if (!rounds_of[running](result, round)) result->failed_round = round;
    }
    return 0;
}

/* The kernel's side: the parameter, the way to CPL 3, the report. Nothing here reads the time. */
#include "compute.h"

static const char *const names[PARTS] = {"sort", "hash", "matrix", "compression", "tree"};

void program_main(void) {
    rounds = parameter("scale", 10);
    if (!rounds) panic("compute: scale begins at 1");
    kprintf("compute: %u %s of each part, at CPL 3\n", rounds, rounds == 1 ? "round" : "rounds");
    enter_user(compute_run, user_stack_top);
    for (u32 i = 0; i < PARTS; i++) {
        if (part_results[i].failed_round) panic("%s: wrong in round %u", names[i], part_results[i].failed_round);
        kprintf("%s: checksum 0x%08x\n", names[i], part_results[i].checksum);
        digest(part_results[i].checksum);
    }
}

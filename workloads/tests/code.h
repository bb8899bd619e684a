/* Test guests that write the code they run: bytes one after another, from `at` on; and runs from there. */
#ifndef CODE_H
#define CODE_H

#include "test.h"

extern u8 *at; /* where the next byte of code goes */
void bytes(const u8 *from, u32 count);
void word(u32 value);
#define CODE_BYTES(...)                         \
    do {                                        \
        static const u8 code[] = {__VA_ARGS__}; \
        bytes(code, sizeof code);               \
    } while (0)
#define CODE_END() CODE_BYTES(0xCD, DONE) /* INT 82h, which ends a run */

void mov_eax_end(u32 address, u32 value); /* writes MOV EAX, value; INT 82h */
#define MOV_EAX_END_LENGTH 7
void serialize(void);                     /* CPUID */
u32 eax_of(u32 address, u32 cpl);         /* EAX at the end of what begins there; any other trap is a panic */

/* Status flags but AF, which the logical instructions and shifts leave undefined. */
#define EFLAGS_DEFINED (EFLAGS_STATUS & ~EFLAGS_AF)

/* General registers in the order of their numbers (ESP left out: 0), EFLAGS and the distance of ESP from `in.esp`, at a trap. */
struct outcome {
    u32 registers[8], eflags, pushed;
};
void outcome_of(const struct trap_frame *frame, u32 esp, struct outcome *outcome);
void outcome_of_trap(struct outcome *outcome); /* of the one that ended the last run */
void expect_outcome(const char *what, const struct outcome *found, const struct outcome *expected);

#endif

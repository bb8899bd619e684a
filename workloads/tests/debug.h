/* What t-debug and t-debug-strict share: breakpoints, and a handler of #DB that keeps what it finds and goes on. */
#ifndef DEBUG_H
#define DEBUG_H

#include "test.h"

#define DR6_CLEAR 0xFFFF0FF0u
#define DR6_BD 0x2000u
#define DR6_BS 0x4000u
#define DR7_CLEAR 0x400u
#define DR7_GD 0x2000u
#define CR4_DE 0x8u
enum { EXECUTE, WRITE, PORT, ACCESS }; /* R/W of DR7 */

struct trap {
    u32 eip, dr6, eflags, ecx;
};
extern struct trap traps[16]; /* of the last run */
extern u32 trap_count;
/* RF is checked, and unaligned accesses; without, the handler of #DB sets RF itself, since QEMU's TCG does not. */
extern u32 strict;

void debug_tests(void); /* debug-tests.c */
void debug_init(void);
/* Breakpoint n, enabled by its G bit, of 1, 2 or 4 bytes. */
void arm(u32 n, u32 kind, u32 address, u32 bytes);
void disarm(void);               /* all, and DR6 */
void step_through(const char *what, const u8 *code); /* run to the end, keeping the traps */
void expect_step(u32 n, u32 eip, u32 conditions, u32 rf);

#endif

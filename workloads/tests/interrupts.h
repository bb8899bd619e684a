/* Interrupts of the local APIC's one-shot timer for test guests: pending at a certain point, or at any time. */
#ifndef INTERRUPTS_H
#define INTERRUPTS_H

#include "code.h"

#define TIMER 0x40 /* vectors */
#define SOFTWARE 0x83
#define SOFTWARE_OPEN 0x84 /* by a trap gate: IF stays as it is */
#define IOPL3 0x3000u

extern u32 cpl;
extern volatile u32 arrived, critical; /* interrupts since the last arm(); whether one would be wrong. For any CPL */
extern u32 seen_eip, seen_ecx, seen_edi; /* at the last one */
extern u32 leave_to;    /* where its handler returns to; 0: where it came from */
extern u32 in_software; /* calls of SOFTWARE and SOFTWARE_OPEN; upper half: those after the interrupt */

void interrupts_init(void);
void timer(struct trap_frame *frame); /* the handler */
void software(struct trap_frame *frame);
void arm(u32 count);     /* one interrupt, in `count` times 16 bus clocks */
void make_pending(void); /* one, which waits for IF */
void prepare(u32 flags); /* `in` for `cpl`, with IOPL 3 */

/* A pending interrupt arrives at `place`, once, when `code` runs with IF clear at first. */
void expect_pending(const char *name, const u8 *code, const u8 *place);

#endif

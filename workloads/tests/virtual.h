/*
 * Virtual-8086 mode for test guests: 16-bit code runs at LOW_SEGMENT:START from `virtual_in` until a trap takes it out of
 * the mode, and `left` has what that found. INT3 ends the code.
 */
#ifndef VIRTUAL_H
#define VIRTUAL_H

#include "modes.h"
#include "test.h"

struct virtual_state { /* modes.S knows the offsets */
    u32 eax, ecx, edx, ebx, ebp, esi, edi;
    u32 eip, cs, eflags, esp, ss, es, ds, fs, gs;
};
extern struct virtual_state virtual_in;

/* What the trap that ended virtual-8086 mode found. */
struct left {
    struct trap_frame frame;
    u32 es, ds, fs, gs;
};
extern struct left left;

#define EFLAGS_VM 0x20000u
#define START 0x100 /* of code in LOW_SEGMENT */
#define ANY 0x42    /* a vector with a gate of DPL 3 */

/* CODE16(name, code): 16-bit code, which ends by INT3; name_end is behind that. */
#define CODE16(name, code)                                                                                            \
    extern u8 name[], name##_end[];                                                                                   \
    __asm__(".pushsection .rodata\n" #name ":\n\t.code16\n\t" code "\n\tint3\n" #name "_end:\n\t.code32\n\t.popsection")


void virtual_init(void); /* all traps end virtual-8086 mode from now on; INT3, INTO and ANY have gates of DPL 3 */
u32 virtual_stack(void); /* the ESP0 of these traps */
void reset16(u32 iopl);
u32 run16(const u8 *code, const u8 *end); /* the vector that ended it */
#define RUN16(name) run16(name, name##_end)
void expect_same_registers(void);
void expect_fault16(const char *what, const u8 *code, const u8 *end, u32 vector); /* at once, and nothing has changed */
void expect_done16(const char *what, const u8 *code, const u8 *end);
#define STACK16(n) MEMORY16(STACK_SEGMENT * 16 + STACK_TOP + 2 * (n))

#endif

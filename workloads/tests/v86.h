/* Virtual-8086 mode for t-v86 and t-v86-strict: pieces of 16-bit code that run until a trap. */
#ifndef V86_H
#define V86_H

#include "test.h"

#define EFLAGS_VM 0x20000u
#define EFLAGS_VIF 0x80000u
#define EFLAGS_VIP 0x100000u
#define CODE_SEGMENT 0x1000u /* a page of user memory at linear 10000h */
#define DATA_SEGMENT 0x1100u /* another at 11000h, for the stack, too */
#define STACK_POINTER 0xF00u

/*
 * V86(name, code): 16-bit code, which INT3 ends. The numeric label 7 marks what the trap should name; name_at is its
 * offset.
 */
#define V86(name, code)                                                                                               \
    extern u8 name[], name##_end[], name##_offset[];                                                                   \
    __asm__(".pushsection .rodata\n\t.code16\n" #name ":\n7:\n\t" code "\n\tint3\n" #name "_end:\n\t.set " #name       \
            "_offset, 7b - " #name "\n\t.code32\n\t.popsection")
#define AT(name) ((u32)name##_offset)

struct v86 {
    u32 eax, ecx, edx, ebx, ebp, esi, edi, unused, unused2; /* v86.S knows the offsets */
    u32 eip, cs, eflags, esp, ss, es, ds, fs, gs;
};
extern struct v86 virtual; /* what a run begins with */

/* The trap that ended the last run: the common frame, and the segments that the processor pushed above it. */
struct v86_caught {
    struct trap_frame frame;
    u32 es, ds, fs, gs;
};
extern struct v86_caught v86_caught;

void v86_init(void);
void v86_caught_trap(struct trap_frame *frame); /* the handler that v86_init() installs: ends the run, does not return */
void v86_reset(u32 iopl);                 /* marks in the registers */
u32 v86_run(const u8 *code, const u8 *end); /* copied to CODE_SEGMENT:0; the vector */
void v86_expect(const char *what, const u8 *code, const u8 *end, u32 vector, u32 error_code, u32 ip);
#define EXPECT_V86(what, name, vector, error_code, ip) v86_expect(what, name, name##_end, vector, error_code, ip)
/* It runs to its INT3. */
#define EXPECT_V86_DONE(what, name) v86_expect(what, name, name##_end, VECTOR_BREAKPOINT, 0, name##_end - name)

#endif

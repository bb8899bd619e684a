/*
 * What the self-checking test guests share: checks that panic and are folded into the digest, and snippets: pieces
 * of code that run at CPL 0 or 3 with chosen registers until they fault or end, after which `caught` has the trap.
 */
#ifndef TEST_H
#define TEST_H

#include "kernel.h"

#define CPL0 0
#define CPL3 3
#define DONE 0x82 /* the vector by which a snippet ends without having faulted */

#define EFLAGS_CF 0x001u
#define EFLAGS_PF 0x004u
#define EFLAGS_AF 0x010u
#define EFLAGS_ZF 0x040u
#define EFLAGS_SF 0x080u
#define EFLAGS_TF 0x100u
#define EFLAGS_DF 0x400u
#define EFLAGS_OF 0x800u
#define EFLAGS_IOPL 0x3000u
#define EFLAGS_NT 0x4000u
#define EFLAGS_RF 0x10000u
#define EFLAGS_AC 0x40000u
#define EFLAGS_ID 0x200000u
#define EFLAGS_STATUS (EFLAGS_CF | EFLAGS_PF | EFLAGS_AF | EFLAGS_ZF | EFLAGS_SF | EFLAGS_OF)

#define CR0_PE 0x1u
#define CR0_MP 0x2u
#define CR0_EM 0x4u
#define CR0_TS 0x8u
#define CR0_AM 0x40000u

/*
 * SNIPPET(name, code) puts code into a page that any CPL may execute. The numeric label 7 marks the instruction that
 * the trap should name, the snippet's beginning by default; name_at is its address.
 */
#define SNIPPET(name, code)                                                                                           \
    extern u8 name[], name##_at[];                                                                                    \
    __asm__(".pushsection .user.text, \"ax\"\n" #name ":\n7:\n\t" code "\n\tint $0x82\n\t.set " #name                 \
            "_at, 7b\n\t.popsection")

/* The state that run() begins with. reset() gives it marks in the general registers and flat segments. */
struct registers {
    u32 eax, ecx, edx, ebx, ebp, esi, edi; /* run.S knows the offsets */
    u32 ds, es, fs, gs;
    u32 eip, cs, eflags, esp, ss; /* SS only for CPL 3: at CPL 0 it is the kernel's */
};
extern struct registers in;

/* The trap that ended the last run. */
struct caught {
    struct trap_frame frame; /* ESP and SS are valid for both CPLs */
    u32 cr2;
};
extern struct caught caught;

void test_init(void);                  /* traps 0 to 31 and DONE are caught from now on, during runs */
void catch_trap(struct trap_frame *frame); /* the handler that test_init() installs */
void group(const char *name);          /* begins a group of checks; its summary is printed at its end */
void groups_end(void);                 /* prints the summary of the last group */
void expect(const char *what, u32 value, u32 expected);
void reset(u32 cpl);                   /* `in` for that CPL */
u32 run(const u8 *code);               /* from `in`; the vector that ended it */
u32 run_at(const u8 *code, u32 cpl);   /* reset(cpl) and run */
void expect_done(const char *what, const u8 *code);                        /* run: no fault */
void expect_trap(const char *what, const u8 *code, const u8 *at, u32 vector, u32 error_code); /* run: that trap there */
void expect_registers(const char *what); /* the last trap found the general registers and ESP as `in` has them */
#define EXPECT_TRAP(what, name, vector, error_code) expect_trap(what, name, name##_at, vector, error_code)

/* Descriptor tables: a GDT of 64 entries that begins with the kernel's, and the IDT and TSS in use. */
#define TEST_GDT_ENTRIES 64
extern u64 test_gdt[TEST_GDT_ENTRIES];
void gdt_extend(void);                                              /* use test_gdt */
u64 descriptor(u32 base, u32 limit, u32 access, u32 flags);         /* access: P, DPL, S, type; flags: G = 8, D/B = 4 */
u64 gate(u32 selector, u32 offset, u32 access, u32 parameters);
u64 *idt_entries(void);
u32 *tss_words(void); /* 1: ESP0, 2: SS0, 3: ESP1, 4: SS1 ... */
#define ACCESSED 0x0000010000000000ull

/* Reproducible operands. */
u32 random32(void);

/* A page for CPL 0 (flags without PTE_U) or 3 at WINDOW + 4096 * index on its own frame, whose address it returns. */
u32 window_page(u32 index, u32 flags);
#define WINDOW_AT(index) (WINDOW + (index) * PAGE_SIZE)
#define MEMORY32(linear) (*(volatile u32 *)(linear))
#define MEMORY16(linear) (*(volatile u16 *)(linear))
#define MEMORY8(linear) (*(volatile u8 *)(linear))

#endif

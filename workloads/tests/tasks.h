/* The two task-state segments (SDM volume 3, figures 8-2 and 8-10), and the tasks that t-tasks and t-tasks-strict switch to. */
#ifndef TASKS_H
#define TASKS_H

#include "test.h"

struct tss32 {
    u32 link, esp0, ss0, esp1, ss1, esp2, ss2, cr3;
    u32 eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi, edi;
    u32 es, cs, ss, ds, fs, gs, ldt;
    u16 trap, io_map_base;
};
struct tss16 {
    u16 link, sp0, ss0, sp1, ss1, sp2, ss2;
    u16 ip, flags, ax, cx, dx, bx, sp, bp, si, di;
    u16 es, cs, ss, ds, ldt;
};

#define TASK 0x40       /* a TSS of either size */
#define TASK_GATE 0x48
#define TASK_LDT 0x50
#define CODE16_0 0x58   /* 16-bit code and stack at the tasks' code and stack, DPL 0 */
#define STACK16_0 0x60
#define CODE16_3 0x6B   /* the same with DPL 3 */
#define STACK16_3 0x73
#define CODE_CONFORMING 0x78
#define OTHER 0x80      /* for single tests */
#define TASK_VECTOR 0x90 /* a task gate of DPL 3 */

#define TSS_AVAILABLE(bits) ((bits) == 32 ? 0x89u : 0x81u)
#define BUSY(selector) ((u32)(test_gdt[(selector) >> 3] >> 41 & 1))

extern struct tss32 *main_tss; /* the kernel's */
extern struct tss32 task32;
extern struct tss16 task16;

/* What the task that was entered found. */
struct seen {
    u32 edi, esi, ebp, esp, ebx, edx, ecx, eax, cs, ss, ds, es, fs, gs, eflags; /* tasks.S stores them in this order */
    u32 error_code, msw, tr, ldtr, entries;
};
extern struct seen seen;
extern u8 task_code[], task_body[], task_body_error[], task_body_jump[]; /* tasks.S: 32-bit tasks that leave by IRET, and by JMP */
/* 16-bit ones, the last of which calls OTHER; their offsets count from task_code. */
extern u8 task_body16[], task_body16_error[], task_body16_call[];
extern u8 task_stack_top[];                                               /* user pages */
extern u32 kernel_task_stack;                                             /* top of a stack of the kernel */

void tasks_init(void);
/* Writes the task's TSS and descriptor anew: CPL 0 or 3, 16 or 32 bits, marks in the registers. */
void task_reset(u32 bits, u32 cpl, const u8 *body);
void recover(void); /* makes the kernel's task the current one again after a fault in another */

#endif

/*
 * One entry per vector. Each makes the stack look the same (error code, or 0 where the processor pushes none,
 * then the vector) and goes on to common code that saves the rest of struct trap_frame.
 */
#include "ringlab.h"

    .text
    .p2align 4
    .globl trap_entries
trap_entries: /* 16 bytes each: idt.c computes their addresses */
    .set vector, 0
    .rept 256
    .p2align 4
    .if vector != 8 && vector != 17 && (vector < 10 || vector > 14)
    pushl $0
    .endif
    pushl $vector
    jmp trap_common
    .set vector, vector + 1
    .endr

    .p2align 4
trap_common:
    pushal
    pushl %ds
    pushl %es
    pushl %fs
    pushl %gs
    movl $KERNEL_DS, %eax
    movw %ax, %ds
    movw %ax, %es
    cld
    pushl %esp
    call trap_dispatch
    addl $4, %esp
    popl %gs
    popl %fs
    popl %es
    popl %ds
    popal
    addl $8, %esp
    iret

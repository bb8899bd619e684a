/*
 * The loop counts (ESI) until `ticks` reaches `spin_ticks` or the count reaches `spin_limit`. Its body is a divide:
 * many cycles in few instructions, so that a millisecond is not many instructions to simulate.
 */
#include "ringlab.h"

    .text
    .p2align 6
spin: /* the count in ESI */
    movl $3, %ecx
    xorl %esi, %esi
    .p2align 6
1:  movl $-1, %eax
    xorl %edx, %edx
    divl %ecx
    incl %esi
    cmpl spin_limit, %esi
    je 2f
    movl ticks, %eax
    cmpl spin_ticks, %eax
    jne 1b
2:  ret

    /* u32 name(u64 *tsc): the count; interrupts are on in the region, and off before and after it */
    .macro SPIN_REGION name, begin, end
    .p2align 6
    .globl \name
\name:
    pushl %ebp
    pushl %ebx
    pushl %esi
    pushl %edi
    movl 20(%esp), %ebp
    rdtsc
    movl %eax, (%ebp)
    movl %edx, 4(%ebp)
    MARK \begin
    sti
    call spin
    cli
    MARK \end
    rdtsc
    subl (%ebp), %eax
    sbbl 4(%ebp), %edx
    movl %eax, (%ebp)
    movl %edx, 4(%ebp)
    movl %esi, %eax
    popl %edi
    popl %esi
    popl %ebx
    popl %ebp
    ret
    .endm

    SPIN_REGION spin_measured, MARK_MEASURED_BEGIN, MARK_MEASURED_END
    SPIN_REGION spin_baseline, MARK_BASELINE_BEGIN, MARK_BASELINE_END

    .p2align 6
    .globl spin_warm_up
spin_warm_up: /* void(void), outside of regions */
    pushl %esi
    sti
    call spin
    cli
    popl %esi
    ret

    .p2align 6
    .globl tick_handler
tick_handler:
    MARK MARK_ITERATION
    pushl %eax
    incl ticks
    movb $0x20, %al
    outb %al, $0x20 /* end of interrupt, master 8259 */
    popl %eax
    iret

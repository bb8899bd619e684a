/*
 * The loops of a nanobenchmark. Include this after defining
 *   LOOP_SECTION   .text (CPL 0, the default) or .user.text (CPL 3)
 *   LOOP_BEGIN     instructions before the first iteration      (both loops; may be missing)
 *   BEFORE         instructions of an iteration, before the operation (both loops; may be missing)
 *   OPERATION      what is measured                              (the measured loop alone)
 *   AFTER          instructions of an iteration, after it        (both loops; may be missing)
 * ESI counts iterations down; EAX, EBX, ECX, EDX and EDI are free, EBP is the driver's.
 *
 * A region ends within its loop's function, where the warm-up has been: what a translator does when it first sees the
 * code behind the call is not the operation's.
 *
 * Both loops are functions whose entry and whose loop head lie at the beginning of a 64-byte line, so that the
 * instructions outside of the operation are the same, in number, kind and alignment.
 */
#include "nanobenchmark.h"
#include "ringlab.h"

#ifndef LOOP_SECTION
#define LOOP_SECTION .text
#endif
#ifndef LOOP_BEGIN
#define LOOP_BEGIN
#endif
#ifndef BEFORE
#define BEFORE
#endif
#ifndef AFTER
#define AFTER
#endif

    .section LOOP_SECTION, "ax"

    .p2align 6
baseline_loop:
    LOOP_BEGIN
    .p2align 6
1:  MARK MARK_ITERATION
    BEFORE
    AFTER
    decl %esi
    jnz 1b
    MARK MARK_BASELINE_END
    ret

    .p2align 6
measured_loop:
    LOOP_BEGIN
    .p2align 6
1:  MARK MARK_ITERATION
    BEFORE
    OPERATION
    AFTER
    decl %esi
    jnz 1b
    MARK MARK_MEASURED_END
    ret

    .p2align 6
    .globl warm_up_loops
warm_up_loops:
    pushl %ebp
    pushl %ebx
    pushl %esi
    pushl %edi
    movl $measurement, %ebp
    movl MEASUREMENT_WARM_UP(%ebp), %esi
    call baseline_loop
    movl MEASUREMENT_WARM_UP(%ebp), %esi
    call measured_loop
    popl %edi
    popl %esi
    popl %ebx
    popl %ebp
    ret

    /* RDTSC stands outside of the regions. The field holds the time of the beginning, then the difference. */
    .macro REGION loop, field, begin
    rdtsc
    movl %eax, \field(%ebp)
    movl %edx, \field + 4(%ebp)
    movl MEASUREMENT_ITERATIONS(%ebp), %esi
    MARK \begin
    call \loop
    rdtsc
    subl \field(%ebp), %eax
    sbbl \field + 4(%ebp), %edx
    movl %eax, \field(%ebp)
    movl %edx, \field + 4(%ebp)
    .endm

    .p2align 6
    .globl measure_loops
measure_loops:
    pushl %ebp
    pushl %ebx
    pushl %esi
    pushl %edi
    movl $measurement, %ebp
    REGION baseline_loop, MEASUREMENT_BASELINE, MARK_BASELINE_BEGIN
    REGION measured_loop, MEASUREMENT_MEASURED, MARK_MEASURED_BEGIN
    popl %edi
    popl %esi
    popl %ebx
    popl %ebp
    ret

/* ECX and EDX say where SYSEXIT returns to; loading them is in both loops. */
#define LOOP_SECTION .user.text
#define BEFORE movl %esp, %ecx; movl $.Lafter_sysenter, %edx
#define OPERATION sysenter; .Lafter_sysenter:
#include "loops.h"

    .text
    .p2align 6
    .globl minimal_sysenter
minimal_sysenter:
    incl syscall_count
    sysexit

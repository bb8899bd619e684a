#define LOOP_SECTION .user.text
#define LOOP_BEGIN xorl %ecx, %ecx
#define OPERATION divl %ecx
#include "loops.h"

    .text
    .p2align 6
    .globl divide_handler
divide_handler:
    incl divide_count
    addl $2, (%esp) /* past divl %ecx */
    iret

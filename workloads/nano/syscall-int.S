#define LOOP_SECTION .user.text
#define OPERATION int $VECTOR_SYSCALL
#include "loops.h"

    .text
    .p2align 6
    .globl minimal_handler
minimal_handler:
    incl syscall_count
    iret

#define FAULT_ADDRESS 0x40000124 /* in the first page of WINDOW */
#define FAULT_ERROR_CODE 0x4     /* a read at CPL 3 of a page that is not present */

#define LOOP_SECTION .user.text
#define LOOP_BEGIN movl $FAULT_ADDRESS, %edi
#define OPERATION movl (%edi), %eax
#include "loops.h"

    .text
    .p2align 6
    .globl fault_handler
fault_handler:
    movl %cr2, %eax
    xorl $FAULT_ADDRESS, %eax
    orl %eax, fault_address_differs
    popl %eax
    xorl $FAULT_ERROR_CODE, %eax
    orl %eax, fault_error_code_differs
    incl fault_count
    addl $2, (%esp) /* past movl (%edi), %eax */
    iret

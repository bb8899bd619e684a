/* Enters virtual-8086 mode from struct v86 `virtual`, and comes back when a trap's handler calls v86_over(). */
#include "ringlab.h"

    .text
    .globl run_v86, v86_over
run_v86:
    pushl %ebp
    pushl %ebx
    pushl %esi
    pushl %edi
    movl %esp, v86_esp
    movl $virtual + 68, %esi /* from GS down to EIP, as IRET wants them */
    movl $9, %ecx
1:  pushl (%esi)
    subl $4, %esi
    loop 1b
    movl virtual + 0, %eax
    movl virtual + 4, %ecx
    movl virtual + 8, %edx
    movl virtual + 12, %ebx
    movl virtual + 16, %ebp
    movl virtual + 24, %edi
    movl virtual + 20, %esi
    iret

v86_over:
    movl $KERNEL_DS, %eax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %fs
    movw %ax, %gs
    movl v86_esp, %esp
    popl %edi
    popl %esi
    popl %ebx
    popl %ebp
    pushl $2
    popfl
    ret

    .bss
    .p2align 2
v86_esp:
    .skip 4

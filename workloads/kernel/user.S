/*
 * To CPL 3 and back: u32 enter_user(u32 (*function)(void), void *stack_top).
 * The function returns to user_done, a user page, which gives its result (EAX) to the kernel by INT 0x81.
 */
#include "ringlab.h"

    .text
    .globl enter_user
enter_user:
    movl 4(%esp), %ecx
    movl 8(%esp), %edx
    pushl %ebp
    pushl %ebx
    pushl %esi
    pushl %edi
    pushfl
    movl %esp, kernel_esp
    subl $4, %edx
    movl $user_done, (%edx)
    movl $USER_DS, %eax
    movw %ax, %ds
    movw %ax, %es
    pushl $USER_DS
    pushl %edx
    pushfl /* the kernel's flags: interrupts as they are here */
    pushl $USER_CS
    pushl %ecx
    iret

    .globl user_return
user_return: /* the gate of INT 0x81; what the processor pushed on the trap stack is dropped */
    movl $KERNEL_DS, %ecx
    movw %cx, %ds
    movw %cx, %es
    movw %cx, %fs /* IRET to CPL 3 made FS and GS null */
    movw %cx, %gs
    movl kernel_esp, %esp
    popfl
    popl %edi
    popl %esi
    popl %ebx
    popl %ebp
    ret

    .section .user.text, "ax"
user_done:
    int $VECTOR_USER_RETURN

    .section .user.bss, "aw", @nobits
    .p2align 12
    .skip 16384
    .globl user_stack_top
user_stack_top:

    .bss
    .p2align 2
kernel_esp:
    .skip 4

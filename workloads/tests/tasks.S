/*
 * Tasks that say in `seen` how they found the processor and go back. Each is entered again behind its last instruction,
 * and begins anew. The 16-bit ones run with segments that begin at task_code and task_stack; what they see is stored
 * through the flat segments that their TSS gives in DS and ES.
 */
#include "ringlab.h"

    .section .user.text, "ax"
    .p2align 4
    .globl task_code, task_body, task_body_error, task_body_jump, task_body16, task_body16_error
    .globl task_body16_call
task_code:

    /* Stack: the register file of struct seen, from its end to its beginning. */
    .macro SAVE
    pushfl
    pushl %gs
    pushl %fs
    pushl %es
    pushl %ds
    pushl %ss
    pushl %cs
    pushal
    .endm

task_body_error: /* and go back behind the byte that faulted */
    popl %ss:seen + 60
    pushl %eax
    movl main_tss, %eax
    incl 32(%eax)
    popl %eax
task_body:
    SAVE
    movl %esp, %esi
    movl $seen, %edi
    movl $15, %ecx
    cld
    rep movsl %ss:(%esi), %es:(%edi)
    xorl %eax, %eax
    smsw %ax
    movl %eax, seen + 64
    xorl %eax, %eax
    str %ax
    movl %eax, seen + 68
    xorl %eax, %eax
    sldt %ax
    movl %eax, seen + 72
    incl seen + 76
    addl $60, %esp
    iret
    jmp task_body

task_body_jump: /* stores the types of its own descriptor and of the kernel's task */
    pushl %eax
    movb test_gdt + TSS_SELECTOR + 5, %al
    movb test_gdt + 0x40 + 5, %ah
    movw %ax, seen + 60
    popl %eax
    incl seen + 76
    ljmp $TSS_SELECTOR, $0
    jmp task_body_jump

    .code16
task_body16_error:
    popw %ax
    movzwl %ax, %eax
    addr32 movl %eax, seen + 60
    addr32 movl main_tss, %eax
    addr32 incl 32(%eax)
    movw $0xA3A4, %ax
task_body16:
    SAVE
    movzwl %sp, %ebp
    movl $0, %esi
1:  movl (%bp), %eax /* through SS */
    addr32 movl %eax, seen(%esi)
    addw $4, %bp
    addl $4, %esi
    cmpw $60, %si
    jb 1b
    xorl %eax, %eax
    smsw %ax
    addr32 movl %eax, seen + 64
    xorl %eax, %eax
    str %ax
    addr32 movl %eax, seen + 68
    xorl %eax, %eax
    sldt %ax
    addr32 movl %eax, seen + 72
    addr32 incl seen + 76
    addw $60, %sp
    iretw
    jmp task_body16

task_body16_call: /* calls a third task */
    lcallw $0x80, $0
    iretw
    jmp task_body16_call
    .code32

    .section .user.data
    .p2align 12
    .globl task_stack, task_stack_top
task_stack:
    .skip 4096
task_stack_top:

/* Where mbr.S jumps to, and how C calls an interrupt. */
    .code16
    .section .stage2, "ax"
    .globl stage2
stage2:
    cld
    movb %dl, drive
    movl $0x7C00, %esp
    calll services_main

    .text
/* void call(u8 number, struct registers *r); EAX, EDX. Everything goes through the structure, segments included. */
    .globl call
call:
    pushl %ebx
    pushl %esi
    pushl %edi
    pushl %ebp
    pushl %edx
    movb %al, 1f + 1
    pushw 30(%edx)
    popw %es
    pushw 28(%edx)
    popw %ds
    movl %cs:(%edx), %eax
    movl %cs:4(%edx), %ebx
    movl %cs:8(%edx), %ecx
    movl %cs:16(%edx), %esi
    movl %cs:20(%edx), %edi
    movl %cs:24(%edx), %ebp
    movl %cs:12(%edx), %edx
    jmp 1f
1:  int $0
    pushl %edx
    pushw %ds
    pushw %es
    pushfw
    pushw $0
    popw %ds
    movl %esp, %edx
    movl 10(%edx), %edx /* the structure */
    movl %eax, (%edx)
    movl %ebx, 4(%edx)
    movl %ecx, 8(%edx)
    movl %esi, 16(%edx)
    movl %edi, 20(%edx)
    movl %ebp, 24(%edx)
    popw 32(%edx)
    popw 30(%edx)
    popw 28(%edx)
    popl 12(%edx)
    pushw $0
    popw %es
    popl %edx
    popl %ebp
    popl %edi
    popl %esi
    popl %ebx
    cld
    sti
    retl

    .globl far_word
far_word:
    pushw %es
    movw %ax, %es
    movzwl %dx, %edx
    movzwl %es:(%edx), %eax
    popw %es
    retl

    .globl put_far_word
put_far_word:
    pushw %es
    movw %ax, %es
    movzwl %dx, %edx
    movw %cx, %es:(%edx)
    popw %es
    retl

    .globl drive
drive:
    .byte 0

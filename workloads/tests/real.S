/*
 * A way to real-address mode and back: real_run() goes to a copy of `real_stub` at 8000h, leaves protected mode there,
 * and begins as struct real at A000h says. Any vector below 32 ends it: the processor's state goes to A080h.
 */
#include "ringlab.h"

#define STUB 0x8000
#define IN 0xA000
#define OUT 0xA080
#define EAX 0
#define ECX 4
#define EDX 8
#define EBX 12
#define EBP 16
#define ESI 20
#define EDI 24
#define ESP 28
#define EIP 32
#define EFLAGS 36
#define CS 40
#define SS 44
#define DS 48
#define ES 52
#define FS 56
#define GS 60
#define VECTOR 64
#define CODE16 0x98
#define AT(label) (STUB + label - real_stub)

    .text
    .globl real_run
real_run:
    pushl %ebp
    pushl %ebx
    pushl %esi
    pushl %edi
    sidt kernel_idt
    movl %cr0, %eax
    movl %eax, kernel_cr0
    movl %esp, kernel_esp
    movl 20(%esp), %ecx /* the data selector: 64 KB or 4 GB */
    ljmp $CODE16, $STUB

real_back:
    movl $KERNEL_DS, %eax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %fs
    movw %ax, %gs
    movw %ax, %ss
    movl kernel_cr0, %eax
    movl %eax, %cr0
    movl kernel_esp, %esp
    lidt kernel_idt
    popl %edi
    popl %esi
    popl %ebx
    popl %ebp
    pushl $2
    popfl
    ret

    .section .rodata
    .globl real_stub, real_stub_end, real_handlers
    .code16
real_stub:
    movw %cx, %ds
    movw %cx, %es
    movw %cx, %fs
    movw %cx, %gs
    movw %cx, %ss
    movl %cr0, %eax
    andl $0x7FFFFFFE, %eax
    movl %eax, %cr0
    ljmpw $0, $AT(1f)
1:  xorw %ax, %ax
    movw %ax, %ds
    lidtw AT(real_idt)
    movw IN + SS, %ss
    movl IN + ESP, %esp
    pushw IN + EFLAGS
    pushw IN + CS
    pushw IN + EIP
    movw IN + ES, %es
    movw IN + FS, %fs
    movw IN + GS, %gs
    movl IN + EAX, %eax
    movl IN + ECX, %ecx
    movl IN + EDX, %edx
    movl IN + EBX, %ebx
    movl IN + EBP, %ebp
    movl IN + ESI, %esi
    movl IN + EDI, %edi
    movw IN + DS, %ds
    iretw

real_common:
    movl %eax, %cs:OUT + EAX
    popw %cs:OUT + VECTOR
    popw %cs:OUT + EIP
    popw %cs:OUT + CS
    popw %cs:OUT + EFLAGS
    movl %ecx, %cs:OUT + ECX
    movl %edx, %cs:OUT + EDX
    movl %ebx, %cs:OUT + EBX
    movl %ebp, %cs:OUT + EBP
    movl %esi, %cs:OUT + ESI
    movl %edi, %cs:OUT + EDI
    movl %esp, %cs:OUT + ESP
    movw %ss, %cs:OUT + SS
    movw %ds, %cs:OUT + DS
    movw %es, %cs:OUT + ES
    movw %fs, %cs:OUT + FS
    movw %gs, %cs:OUT + GS
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    ljmpl $KERNEL_CS, $real_back

    .p2align 3
real_idt:
    .word 0x3FF
    .long 0
    .p2align 3
real_handlers: /* 8 bytes each */
    .set vector, 0
    .rept 32
    .p2align 3
    pushw $vector
    jmp real_common
    .set vector, vector + 1
    .endr
real_stub_end:
    .code32

    .bss
    .p2align 2
kernel_esp:
    .skip 4
kernel_cr0:
    .skip 4
kernel_idt:
    .skip 8

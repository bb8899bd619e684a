/* Runs a snippet: struct registers `in` becomes the processor's state by IRET; the trap that ends it goes to run_over. */
#include "ringlab.h"

#define EAX 0
#define ECX 4
#define EDX 8
#define EBX 12
#define EBP 16
#define ESI 20
#define EDI 24
#define DS 28
#define ES 32
#define FS 36
#define GS 40
#define EIP 44
#define CS 48
#define EFLAGS 52
#define ESP 56
#define SS 60

    .text
    .globl run_registers
run_registers:
    pushl %ebp
    pushl %ebx
    pushl %esi
    pushl %edi
    movl %esp, run_esp
    testb $3, in + CS
    jz 1f
    pushl in + SS
    pushl in + ESP
    jmp 2f
1:  movl in + ESP, %esp /* IRET to the same CPL leaves ESP where its frame ends */
2:  pushl in + EFLAGS
    pushl in + CS
    pushl in + EIP
    movw in + GS, %gs
    movw in + FS, %fs
    movw in + ES, %es
    movl in + EAX, %eax
    movl in + ECX, %ecx
    movl in + EDX, %edx
    movl in + EBX, %ebx
    movl in + EBP, %ebp
    movl in + ESI, %esi
    movl in + EDI, %edi
    movw in + DS, %ds
    iret

    .globl run_over
run_over:
    movl $KERNEL_DS, %eax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %fs
    movw %ax, %gs
    movw %ax, %ss
    movl run_esp, %esp
    popl %edi
    popl %esi
    popl %ebx
    popl %ebp
    pushl $2 /* a gate clears IF, TF, NT and RF alone */
    popfl
    ret

    .bss
    .p2align 2
run_esp:
    .skip 4

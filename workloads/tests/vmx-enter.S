/* VM entries and where VM exits arrive, and the handlers of the guest's IDT. */
#include "ringlab.h"
#include "vmx-guest.h"

#define EFLAGS_STATUS 0x8D5 /* CF PF AF ZF SF OF */

#define EAX 0
#define ECX 4
#define EDX 8
#define EBX 12
#define EBP 16
#define ESI 20
#define EDI 24

    .text
    .globl enter_guest, enter_after_mov_ss

    /* The host's RIP and RSP are written before each entry; flags and EDX live until the entry itself. */
    .macro PREPARE
    pushl %ebp
    pushl %ebx
    pushl %esi
    pushl %edi
    movl $VMX_HOST_RSP, %eax
    vmwrite %esp, %eax
    movl $VMX_HOST_RIP, %eax
    movl $guest_exited, %ecx
    vmwrite %ecx, %eax
    cmpl $0, 20(%esp)
    movl guest + ECX, %ecx
    movl guest + EDX, %edx
    movl guest + EBX, %ebx
    movl guest + EBP, %ebp
    movl guest + ESI, %esi
    movl guest + EDI, %edi
    movl guest + EAX, %eax
    .endm

enter_guest:
    PREPARE
    je 1f
    vmlaunch
    jmp entry_failed
1:  vmresume
entry_failed:
    pushfl
    popl %eax
    andl $EFLAGS_STATUS, %eax
leave:
    popl %edi
    popl %esi
    popl %ebx
    popl %ebp
    ret

enter_after_mov_ss:
    PREPARE
    movw %ss, %ax
    je 1f
    movw %ax, %ss
    vmlaunch
    jmp entry_failed
1:  movw %ax, %ss
    vmresume
    jmp entry_failed

guest_exited:
    movl %eax, guest + EAX
    movl %ecx, guest + ECX
    movl %edx, guest + EDX
    movl %ebx, guest + EBX
    movl %ebp, guest + EBP
    movl %esi, guest + ESI
    movl %edi, guest + EDI
    pushfl
    popl host_eflags
    xorl %eax, %eax
    jmp leave

    .globl guest_handlers
    .p2align 4
guest_handlers:
    .rept 256
    vmcall /* 3 bytes */
    iret   /* 1 byte; the host has dropped the error code */
    .endr

    .bss
    .p2align 4
    .globl guest, host_eflags
guest:
    .skip 28
host_eflags:
    .skip 4

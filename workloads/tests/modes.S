/*
 * For t-modes: entry to virtual-8086 mode until the next trap, and a trip to real-address mode and back. The 16-bit code
 * of the trip is copied to LOW, where its offsets begin; it leaves words at RESULTS.
 */
#include "ringlab.h"
#include "modes.h"

    .text
/* virtual_run: `virtual_in` becomes the processor's state by IRET; a trap from there goes to virtual_over. */
    .globl virtual_run, virtual_over
virtual_run:
    pushl %ebp
    pushl %ebx
    pushl %esi
    pushl %edi
    movl %esp, saved_esp
    pushl virtual_in + IN_GS
    pushl virtual_in + IN_FS
    pushl virtual_in + IN_DS
    pushl virtual_in + IN_ES
    pushl virtual_in + IN_SS
    pushl virtual_in + IN_ESP
    pushl virtual_in + IN_EFLAGS
    pushl virtual_in + IN_CS
    pushl virtual_in + IN_EIP
    movl virtual_in + IN_EAX, %eax
    movl virtual_in + IN_ECX, %ecx
    movl virtual_in + IN_EDX, %edx
    movl virtual_in + IN_EBX, %ebx
    movl virtual_in + IN_EBP, %ebp
    movl virtual_in + IN_ESI, %esi
    movl virtual_in + IN_EDI, %edi
    iret

virtual_over:
    movl $KERNEL_DS, %eax
    movw %ax, %fs
    movw %ax, %gs
    movl saved_esp, %esp
    popl %edi
    popl %esi
    popl %ebx
    popl %ebp
    pushl $2
    popfl
    ret

/* real_trip: paging and protection off, the code at LOW, and back. FS has a limit of 4 GB all the while. */
    .globl real_trip
real_trip:
    pushl %ebp
    pushl %ebx
    pushl %esi
    pushl %edi
    movl %esp, saved_esp
    sidt saved_idtr
    movl %cr0, %eax
    movl %eax, saved_cr0 - real_code + LOW
    lidt real_idtr
    ljmp $CODE16_SELECTOR, $(leave_protected - real_code)
back:
    movl $KERNEL_DS, %eax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %fs
    movw %ax, %gs
    movw %ax, %ss
    movl saved_esp, %esp
    lidt saved_idtr
    popl %edi
    popl %esi
    popl %ebx
    popl %ebp
    pushl $2
    popfl
    ret

    .globl real_code, real_code_end
    .p2align 4
real_code:
    .code16
leave_protected:
    movw $DATA16_SELECTOR, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl %cr0, %eax
    andl $0x7FFFFFFE, %eax
    movl %eax, %cr0
    ljmp $LOW_SEGMENT, $(in_real - real_code)
in_real:
    movw $RESULTS_SEGMENT, %ax
    movw %ax, %ds
    movw %ax, %es
    movw $STACK_SEGMENT, %ax
    movw %ax, %ss
    movw $STACK_TOP, %sp
    xorl %edi, %edi
    cld
    /* 0 to 2: CS, SS; a store through ES has its base */
    movw %cs, %ax
    stosw
    movw %ss, %ax
    stosw
    movw $0xE5E5, %ax
    stosw
    /* 3: a far call with 16-bit operands, 4: with 32-bit ones; the callee stores what SP has become */
    lcall $LOW_SEGMENT, $(far16 - real_code)
    lcalll $LOW_SEGMENT, $(far32 - real_code)
    /* 5 to 9: INT 42h: its number, IP on the stack against the next one, FLAGS there and here, SP after IRET */
    stc
    sti
    int $0x42
after_int:
    cli
    movw %sp, %ax
    stosw
    /* 10, 11: #DE and its IP */
    xorw %cx, %cx
divides:
    divw %cx
    /* 12: #UD of what does not exist here */
    xorw %bp, %bp
    arpl %ax, %ax
    sldt %ax
    str %ax
    lar %ax, %ax
    lsl %ax, %ax
    verr %ax
    verw %ax
    ud2
    movw %bp, %ax
    stosw
    /* 13, 14: INTO and BOUND */
    xorw %bp, %bp
    movb $0x7F, %al
    addb $1, %al
    into
    movw %bp, %ax
    stosw
    movw $bounds - real_code, %bx
    movw $9, %ax
    xorw %bp, %bp
    bound %ax, %cs:(%bx)
    movw %bp, %ax
    stosw
    /* 15, 16: PUSHFD and POPFD: AC and ID, and IOPL */
    pushl $0x243002
    popfl
    pushfl
    popw %ax
    stosw
    popw %ax
    stosw
    pushw $2
    popfw
    pushl $2
    popfl
    /* 17, 18: IRETD with 32-bit items */
    pushl $0x40003
    pushl $LOW_SEGMENT
    pushl $(after_iretd - real_code)
    iretl
after_iretd:
    pushfl
    popw %ax
    stosw
    popw %ax
    stosw
    pushl $2
    popfl
    /* 19, 20: above 1 MB through FS, whose limit protected mode has left; the marks are the caller's */
    movl $high_mark, %ebx
    movl %fs:(%ebx), %eax
    stosl
    /* 21: SMSW */
    smsww %ax
    andw $1, %ax
    stosw
    /* 22, 23: 32-bit addresses and operands */
    movl $RESULTS_OFFSET, %ebx
    movl $0x12345678, 4(%ebx,%edi,1)
    movl 4(%ebx,%edi), %eax
    stosl
    /* 24: string instructions count by CX, and addresses wrap at 16 bits */
    movl $0x50003, %ecx
    movw %di, %dx
    addw $6, %di
    rep stosw
    movw %cx, %ax
    movw %dx, %di
    stosw
    /* 25: CR0.PE by LMSW, and back */
    movw $1, %ax
    lmsw %ax
    movl %cr0, %eax
    andb $0xFE, %al
    movl %eax, %cr0
    movw %cs, %ax
    stosw
    /* back */
    movl %cs:(saved_cr0 - real_code), %eax
    movl %eax, %cr0
    ljmpl $KERNEL_CS, $back

far16:
    movw %sp, %ax
    stosw
    lret
far32:
    movw %sp, %ax
    stosw
    lretl

int42:
    pushw %bp
    movw %sp, %bp
    movw $0x42, %ax
    stosw
    movw 2(%bp), %ax
    subw $(after_int - real_code), %ax
    stosw
    movw 6(%bp), %ax
    stosw
    pushfw
    popw %ax
    stosw
    popw %bp
    iret
divide_error:
    pushw %bp
    movw %sp, %bp
    xorw %ax, %ax
    stosw
    movw 2(%bp), %ax
    subw $(divides - real_code), %ax
    stosw
    addw $2, 2(%bp)
    popw %bp
    iret
/* All that raise #UD here have three bytes but ARPL and UD2, which have two. */
undefined:
    pushw %ds
    pushw %bx
    incw %bp
    movw %sp, %bx
    movw %ss:4(%bx), %bx
    movw %cs:(%bx), %ax
    movw %sp, %bx
    addw $2, %ss:4(%bx)
    cmpw $0x0B0F, %ax
    je 1f
    cmpb $0x63, %al
    je 1f
    incw %ss:4(%bx)
1:  popw %bx
    popw %ds
    iret
overflow:
    movw $0x0404, %bp
    iret
bound_range:
    movw $0x0505, %bp
    pushw %bx
    movw %sp, %bx
    addw $3, %ss:2(%bx)
    popw %bx
    iret

bounds:
    .word 1, 8
    .p2align 2
saved_cr0: /* written in the copy */
    .long 0
real_code_end:
    .code32

    .section .rodata
    .globl real_vectors
/* Vector and offset of its handler in LOW_SEGMENT. */
real_vectors:
    .word 0x42, int42 - real_code
    .word 0, divide_error - real_code
    .word 6, undefined - real_code
    .word 4, overflow - real_code
    .word 5, bound_range - real_code
    .word 0xFFFF
high_mark: /* above 1 MB, read from real-address mode */
    .long 0x48694D6B
real_idtr:
    .word 0x3FF
    .long REAL_TABLE

    .bss
    .p2align 2
saved_esp:
    .skip 4
saved_idtr:
    .skip 8

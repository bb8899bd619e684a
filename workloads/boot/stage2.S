/*
 * Stage 2 of the boot loader: asks for the memory map, opens A20, reads the kernel from the disk in pieces of 64 sectors
 * through a buffer, moves each above 1 MB by INT 15h AH=87h, and starts it in protected mode with EBX = struct handover.
 */
#include "loader.h"

#define SMAP 0x534D4150
#define BUFFER_SEGMENT 0x2000
#define PIECE_SECTORS 64

    .code16
    .section .stage2, "ax"
    .globl stage2
stage2:
    sti
    cld
    movb %dl, drive
    movb %dl, HANDOVER + HANDOVER_DRIVE

    /* The memory map. */
    movl $0, HANDOVER + HANDOVER_RANGES
    xorl %ebx, %ebx
    movw $(HANDOVER + HANDOVER_MAP), %di
1:  movl $0xE820, %eax
    movl $20, %ecx
    movl $SMAP, %edx
    int $0x15
    jc 2f
    incl HANDOVER + HANDOVER_RANGES
    addw $20, %di
    testl %ebx, %ebx
    jnz 1b
2:
    movw $0x2401, %ax
    int $0x15
    jc failed

    /* The kernel, piece by piece. */
    movl $kernel_sectors, %ecx
    movl $kernel_lba, packet + 8
    movl $0x100000, %edi
3:  movl $PIECE_SECTORS, %eax
    cmpl %ecx, %eax
    jbe 4f
    movl %ecx, %eax
4:  movw %ax, packet + 2
    pushl %ecx
    pushl %eax
    movb $0x42, %ah
    movb drive, %dl
    movw $packet, %si
    int $0x13
    jc failed
    movl %edi, move_to + 2 /* a base of 24 bits; the limit stands below it, the rights above */
    movb $0x93, move_to + 5
    popl %eax
    pushl %eax
    shll $8, %eax
    movw %ax, %cx
    movw $move_table, %si
    movb $0x87, %ah
    int $0x15
    jc failed
    popl %eax
    popl %ecx
    addl %eax, packet + 8
    subl %eax, %ecx
    shll $9, %eax
    addl %eax, %edi
    testl %ecx, %ecx
    jnz 3b

    cli
    lgdtl gdt_pointer
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    ljmpl $0x08, $protected
failed:
    movb $1, %al
    outb %al, $0xF4
5:  hlt
    jmp 5b

    .code32
protected:
    movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl %eax, %fs
    movl %eax, %gs
    movl $HANDOVER, %ebx
    movl $0x100000, %eax
    jmp *%eax

drive:
    .byte 0
    .p2align 3
packet:
    .byte 16, 0
    .word 0
    .word 0, BUFFER_SEGMENT
    .quad 0
move_table:
    .quad 0, 0
    .quad 0x000093020000FFFF /* the buffer */
move_to:
    .quad 0x000093000000FFFF
    .quad 0, 0
gdt:
    .quad 0
    .quad 0x00CF9B000000FFFF
    .quad 0x00CF93000000FFFF
gdt_pointer:
    .word gdt_pointer - gdt - 1
    .long gdt

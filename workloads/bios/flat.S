/*
 * void flat_write(u32 address, u32 value): memory anywhere below 4 GB, with a data segment that is loaded in protected
 * mode for the one access. For POST: interrupts are off, and the caller's GDT is not kept.
 */
#define CODE 0x08
#define FLAT 0x10
#define DATA_64K 0x18

    .code16
    .text
    .globl flat_write
flat_write:
    lgdtl %cs:gdt_pointer
    movl %cr0, %ecx
    orb $1, %cl
    movl %ecx, %cr0
    ljmp $CODE, $protected
protected: /* SS and the rest stay what they are in real mode */
    movw $FLAT, %cx
    movw %cx, %es
    movl %edx, %es:(%eax)
    movw $DATA_64K, %cx
    movw %cx, %es
    movl %cr0, %ecx
    andb $0xFE, %cl
    movl %ecx, %cr0
    ljmp $0xF000, $real
real:
    retl

    .p2align 3
gdt:
    .quad 0
    .quad 0x00009B0F0000FFFF /* this ROM */
    .quad 0x00CF93000000FFFF
    .quad 0x000093000000FFFF
gdt_pointer:
    .word . - gdt - 1
    .long 0xF0000 + gdt

/*
 * From the reset vector to POST. A processor that comes out of reset may be on its way back from protected mode: the
 * shutdown byte in CMOS RAM says where it goes on (IBM AT technical reference, BIOS, "shutdown").
 */
    .code16
    .section .reset, "ax"
    .globl reset_vector
reset_vector:
    ljmp $0xF000, $post_entry
    .ascii "11/25/26"
    .byte 0
    .byte 0xFC /* model: AT */

/* What INT 15h AH=C0h points to: a slave 8259, a real-time clock, the keyboard intercept, an EBDA. */
    .section .configuration, "ax"
    .globl system_configuration
system_configuration:
    .word 8
    .byte 0xFC, 0x01, 0x00 /* model, submodel, revision */
    .byte 0x74, 0, 0, 0, 0

    .section .post, "ax"
post_entry:
    cli
    cld
    jmp dispatch

    .text
dispatch:
    movb $0x8F, %al
    outb %al, $0x70
    inb $0x71, %al
    movb %al, %bl
    movb $0x8F, %al
    outb %al, $0x70
    xorb %al, %al
    outb %al, $0x71
    xorw %ax, %ax
    movw %ax, %ds
    cmpb $0x05, %bl
    je resume_with_eoi
    cmpb $0x0A, %bl
    je resume
    cmpb $0x09, %bl
    je resume_by_return

power_on:
    movw $0x7C00, %sp
    movw %ax, %ss
    movw %ax, %gs
    movw %cs, %cx
    movw %cx, %fs
    movl $0x7C00, %esp
    calll post
    int $0x19

/* 05h: end the interrupt, forget keys, then as 0Ah: go on where 0040:0067 points. */
resume_with_eoi:
    movb $0x20, %al
    outb %al, $0xA0
    outb %al, $0x20
    inb $0x60, %al
resume:
    ljmpw *0x467

/* 09h: a stack at 0040:0067 that ends with a return to real mode (as INT 15h AH=87h used it on a 286). */
resume_by_return:
    movw 0x469, %ss
    movzwl 0x467, %esp
    popw %ds
    popw %es
    popaw
    iretw

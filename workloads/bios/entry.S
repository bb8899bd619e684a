/*
 * Interrupts come in here and become calls of C functions (bios.h says what those find). The upper half of ESP, which
 * means nothing on a 16-bit stack, is zero for C and remains so for the caller.
 */
    .code16
    .text

    .macro SERVICE name
    .globl entry_\name
entry_\name:
    pushl $\name
    jmp enter
    .endm

    SERVICE video_service
    SERVICE equipment_service
    SERVICE memory_service
    SERVICE disk_service
    SERVICE serial_service
    SERVICE system_service
    SERVICE keyboard_service
    SERVICE printer_service
    SERVICE no_boot_service
    SERVICE boot_service
    SERVICE time_service
    SERVICE keyboard_interrupt
    SERVICE master_interrupt
    SERVICE slave_interrupt
    SERVICE mouse_interrupt
    SERVICE disk_interrupt
    SERVICE clock_interrupt

enter:
    pushw %ds
    pushw %es
    pushw %fs
    pushw %gs
    pushal
    movw %ss, %ax
    movw %ax, %ds
    movw %cs, %ax
    movw %ax, %fs
    xorw %ax, %ax
    movw %ax, %gs
    movzwl %sp, %esp
    movl %esp, %eax
    cld
    calll *40(%esp)
    popal
    popw %gs
    popw %fs
    popw %es
    popw %ds
    addw $4, %sp
    iretw

/* INT 08h, IRQ 0: counts, lets INT 1Ch know. A day has 1800B0h ticks. */
    .globl entry_timer_interrupt
entry_timer_interrupt:
    pushl %eax
    pushw %ds
    pushw %dx
    movw $0x40, %ax
    movw %ax, %ds
    movl 0x6C, %eax
    incl %eax
    cmpl $0x1800B0, %eax
    jb 1f
    xorl %eax, %eax
    movb $1, 0x70
1:  movl %eax, 0x6C
    int $0x1C
    movb $0x20, %al
    outb %al, $0x20
    popw %dx
    popw %ds
    popl %eax
    iretw

/* IRQ 13, the coprocessor's error: goes on as NMI, as on a PC. IRQ 9 goes on as IRQ 2. */
    .globl entry_coprocessor_interrupt
entry_coprocessor_interrupt:
    pushw %ax
    xorb %al, %al
    outb %al, $0xF0
    movb $0x20, %al
    outb %al, $0xA0
    outb %al, $0x20
    popw %ax
    int $0x02
    iretw

    .globl entry_redirected_interrupt
entry_redirected_interrupt:
    pushw %ax
    movb $0x20, %al
    outb %al, $0xA0
    popw %ax
    int $0x0A
    iretw

/* Vectors that nobody uses. */
    .section .iret, "ax"
    .globl entry_nothing
entry_nothing:
    iretw

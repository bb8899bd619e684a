/*
 * The smallest guest: 32-bit protected mode, paging off, flat segments, nothing else set up, no stack. It prints a line to
 * COM1 and exits. Built three times: as a raw binary that starts at its first byte (100000h), as ELF32, and, with
 * multiboot.S, for multiboot loaders.
 */
#include "ringlab.h"

#define LINE_CONTROL (PORT_COM1 + 3)
#define LINE_CONTROL_8N1 0x03
#define LINE_CONTROL_DLAB 0x80
#define LINE_STATUS (PORT_COM1 + 5)
#define LINE_STATUS_THRE 0x20

    .text
    .globl _start
_start:
    cld
    movw $LINE_CONTROL, %dx
    movb $LINE_CONTROL_DLAB, %al
    outb %al, %dx
    movw $PORT_COM1, %dx
    movb $1, %al /* 115200 baud */
    outb %al, %dx
    incl %edx
    movb $0, %al
    outb %al, %dx
    movw $LINE_CONTROL, %dx
    movb $LINE_CONTROL_8N1, %al
    outb %al, %dx
    movl $message, %esi
next:
    lodsb
    testb %al, %al
    jz done
    movb %al, %bl
    movw $LINE_STATUS, %dx
wait:
    inb %dx, %al
    testb $LINE_STATUS_THRE, %al
    jz wait
    movb %bl, %al
    movw $PORT_COM1, %dx
    outb %al, %dx
    jmp next
done:
    movw $PORT_DIGEST, %dx
    movl $0x811C9DC5, %eax /* FNV-1a of nothing */
    outl %eax, %dx
    movw $PORT_EXIT, %dx
    xorl %eax, %eax
    outl %eax, %dx
stop:
    cli
    hlt
    jmp stop

    .section .rodata
message:
    .asciz "hello from 32-bit protected mode without paging\ndigest 0x811c9dc5\nexit 0\n"

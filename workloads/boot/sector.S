/*
 * A boot sector, alone: 16-bit code at 0000:7C00 that asks the BIOS for everything, prints through INT 14h (COM1) and
 * INT 10h, reads the disk's second sector, and exits.
 */
#include "ringlab.h"

#define BUFFER 0x8000

    .code16
    .text
    .globl _start
_start:
    ljmp $0, $1f
1:  xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $0x7C00, %sp
    movb %dl, drive

    movw $hello, %si
    call print

    movw $mode, %si
    call print
    movb $0x0F, %ah
    int $0x10
    movzbw %al, %ax
    call print_hex

    movw $memory, %si
    call print
    int $0x12
    call print_hex

    movw $disks, %si
    call print
    movb $0x08, %ah
    movb drive, %dl
    int $0x13
    jc failed
    movzbw %dl, %ax
    call print_hex

    movw $sector, %si
    call print
    movw $0x0201, %ax
    movw $BUFFER, %bx
    movw $0x0002, %cx
    movb $0, %dh
    movb drive, %dl
    int $0x13
    jc failed
    movw BUFFER, %ax
    call print_hex

    movw $keys, %si
    call print
    movb $0x05, %ah /* a key into the ring, and out of it */
    movw $0x1E61, %cx
    int $0x16
    movb $0x00, %ah
    int $0x16
    call print_hex

    movw $timer, %si
    call print
    call ticks
    movw %dx, %bx
2:  hlt
    call ticks
    cmpw %dx, %bx
    je 2b
    movw $runs, %si
    call print
    xorl %eax, %eax
    jmp exit
failed:
    movl $1, %eax
exit:
    movw $PORT_EXIT, %dx
    outl %eax, %dx
3:  hlt
    jmp 3b

ticks:
    movb $0x00, %ah
    int $0x1A
    ret

/* Prints AX in hexadecimal. */
print_hex:
    movw $4, %cx
1:  rolw $4, %ax
    pushw %ax
    andb $0x0F, %al
    cmpb $10, %al
    sbbb $0x69, %al
    das
    call put
    popw %ax
    loop 1b
    ret

/* Prints the string at SI. */
print:
    lodsb
    testb %al, %al
    jz 1f
    call put
    jmp print
1:  ret

put:
    pushaw
    movb $0x0E, %ah
    movw $0x0007, %bx
    pushw %ax
    int $0x10
    popw %ax
    movb $0x01, %ah
    xorw %dx, %dx
    int $0x14
    popaw
    ret

drive:
    .byte 0
hello:
    .asciz "hello from a boot sector"
mode:
    .asciz "\r\nvideo mode "
memory:
    .asciz "\r\nconventional memory "
disks:
    .asciz "\r\nhard disks "
sector:
    .asciz "\r\nsecond sector "
keys:
    .asciz "\r\nkey "
timer:
    .asciz "\r\ntimer "
runs:
    .asciz "runs\r\nexit 0\r\n"

    .org 510
    .word 0xAA55
    .word 0x1234 /* the second sector */
    .org 1024

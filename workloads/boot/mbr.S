/*
 * Stage 1: a master boot record that reads what follows it (`stage2_sectors` sectors) to 0000:8000 by INT 13h extensions and
 * goes there, with the drive in DL.
 */
    .code16
    .section .mbr, "ax"
    .globl mbr
mbr:
    ljmp $0, $1f
1:  xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $0x7C00, %sp
    movb %dl, drive
    movb $0x41, %ah
    movw $0x55AA, %bx
    int $0x13
    jc failed
    cmpw $0xAA55, %bx
    jne failed
    testb $1, %cl
    jz failed
    movb $0x42, %ah
    movb drive, %dl
    movw $packet, %si
    int $0x13
    jc failed
    movb drive, %dl
    ljmp $0, $0x8000

failed:
    movw $message, %si
2:  lodsb
    testb %al, %al
    jz 3f
    movw $0x0007, %bx
    movb $0x0E, %ah
    int $0x10
    jmp 2b
3:  movb $1, %al
    outb %al, $0xF4
4:  hlt
    jmp 4b

drive:
    .byte 0
message:
    .asciz "no INT 13h extensions, or the disk cannot be read\r\n"
    .p2align 2
packet:
    .byte 16, 0
    .word stage2_sectors
    .word 0x8000, 0
    .quad 1

    .org 446
    .byte 0x80, 0, 2, 0, 0xDA, 0, 63, 0 /* one partition, bootable, of no file system */
    .long 1, 2047
    .org 510
    .word 0xAA55

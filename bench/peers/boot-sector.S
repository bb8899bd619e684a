/*
 * A disk's first sector that starts a multiboot kernel, for simulators whose BIOS knows only disks. bench/peers/boot-disk.ts
 * writes the numbers at `facts` and puts behind this sector one with the multiboot information (loaded at 7E00h), then
 * the kernel as it is to lie in memory.
 */
    .code16
    .globl _start
_start:
    ljmp $0, $begin
    .org 8
facts:
sectors:    .long 0     /* behind this one */
address:    .long 0     /* where the kernel lies */
length:     .long 0     /* its bytes in the file */
cleared:    .long 0     /* bytes of zeros behind them */
entry:      .long 0
begin:
    cli
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $0x7c00, %sp
    cld
    movb %dl, drive
    inb $0x92, %al
    orb $2, %al
    outb %al, $0x92
read:
    movw $packet, %si
    movb $0x42, %ah
    movb drive, %dl
    int $0x13
    jc failed
    addw $0x20, segment
    incl block
    decl sectors
    jnz read
    cli
    lgdtl gdt_register
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    ljmp $0x08, $protected
failed:
    hlt
    jmp failed

    .code32
protected:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw %ax, %fs
    movw %ax, %gs
    movl $0x8000, %esi
    movl address, %edi
    movl length, %ecx
    rep movsb
    movl cleared, %ecx
    xorl %eax, %eax
    rep stosb
    movl $0x2badb002, %eax
    movl $0x7e00, %ebx
    jmp *entry

drive:      .byte 0
    .balign 4
packet:     .byte 16, 0     /* INT 13h, AH = 42h */
count:      .word 1
offset:     .word 0
segment:    .word 0x7e0
block:      .long 1, 0
    .balign 8
gdt:        .quad 0, 0x00cf9a000000ffff, 0x00cf92000000ffff
gdt_register:
    .word 23
    .long gdt
    .org 510
    .word 0xaa55

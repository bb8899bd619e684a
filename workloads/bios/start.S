/* The last instructions before what is booted. struct boot_target is in bios.h; DS = SS here. */
#define IP 4
#define CS 6
#define SP 8
#define SS 10
#define DATA_SEGMENT 12
#define REGISTERS 16

    .code16
    .text

/* void enter_target(struct boot_target *target): all registers as it says, interrupts off. */
    .globl enter_target
enter_target:
    cli
    movl %eax, %esi
    movw SS(%esi), %ax
    movzwl SP(%esi), %esp
    movw %ax, %ss
    pushw $0x0002
    pushw CS(%esi)
    pushw IP(%esi)
    movw DATA_SEGMENT(%esi), %bx
    movl REGISTERS+24(%esi), %ebp
    movl REGISTERS+20(%esi), %edi
    pushl REGISTERS+16(%esi)
    pushl REGISTERS+12(%esi)
    pushl REGISTERS+8(%esi)
    pushl REGISTERS+4(%esi)
    pushl REGISTERS(%esi)
    movw %bx, %ds
    movw %bx, %es
    movw %bx, %fs
    movw %bx, %gs
    popl %eax
    popl %ebx
    popl %ecx
    popl %edx
    popl %esi
    iretw

/* void enter_boot_sector(u16 drive): 0000:7C00 with the drive in DL, interrupts on. */
    .globl enter_boot_sector
enter_boot_sector:
    cli
    movzwl %ax, %edx
    xorl %eax, %eax
    movl %eax, %ebx
    movl %eax, %ecx
    movl %eax, %esi
    movl %eax, %edi
    movl %eax, %ebp
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %fs
    movw %ax, %gs
    movw %ax, %ss
    movl $0x7C00, %esp
    sti
    ljmp $0, $0x7C00

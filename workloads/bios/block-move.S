/*
 * u16 block_move(u16 gdt_segment, u16 gdt_offset, u32 words): the part of INT 15h AH=87h that runs in protected mode. The
 * caller's table has the source at 10h and the destination at 18h; the BIOS fills in itself (08h, 20h, 28h).
 * Interrupts stay off. Returns 0, or 3 when the processor is in protected mode already (virtual-8086 mode), where
 * only whoever runs us can do it.
 */
#define GDT 0x08
#define SOURCE 0x10
#define DESTINATION 0x18
#define BIOS_CODE 0x20
#define STACK 0x28
#define FAILED_A20 3

    .code16
    .text
    .globl block_move
block_move:
    pushl %ebx
    pushl %esi
    pushl %edi
    pushl %ebp
    pushw %ds
    pushw %es
    pushw %fs
    pushw %gs
    pushfl
    cli
    smsw %bx
    testb $1, %bl
    jnz refused

    movw %ax, %es /* segment, offset, words: EAX, EDX, ECX */
    movw %dx, %si
    movzwl %ax, %eax
    shll $4, %eax
    movzwl %dx, %edx
    addl %edx, %eax
    /* 08h: the table itself, as data. */
    movw $0x2F, %es:GDT(%si)
    movl %eax, %es:GDT+2(%si)
    movb $0x93, %es:GDT+5(%si)
    movw $0, %es:GDT+6(%si)
    /* 20h: this ROM, as code. */
    movw $0xFFFF, %es:BIOS_CODE(%si)
    movw $0x0000, %es:BIOS_CODE+2(%si)
    movw $0x9B0F, %es:BIOS_CODE+4(%si)
    movw $0, %es:BIOS_CODE+6(%si)
    /* 28h: the stack. */
    movw %ss, %bp
    movzwl %bp, %ebx
    shll $4, %ebx
    movw $0xFFFF, %es:STACK(%si)
    movl %ebx, %es:STACK+2(%si)
    movb $0x93, %es:STACK+5(%si)
    movw $0, %es:STACK+6(%si)

    lgdtw %es:GDT(%si) /* 24 bits of base: the byte above is the descriptor's type */
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    ljmp $BIOS_CODE, $protected
protected:
    movw $STACK, %dx
    movw %dx, %ss
    movw $SOURCE, %dx
    movw %dx, %ds
    movw $DESTINATION, %dx
    movw %dx, %es
    xorw %si, %si
    xorw %di, %di
    cld
    rep movsw
    /* Limits of 64 KB for real mode. */
    movw $STACK, %dx
    movw %dx, %ds
    movw %dx, %es
    movl %cr0, %eax
    andb $0xFE, %al
    movl %eax, %cr0
    ljmp $0xF000, $real
real:
    movw %bp, %ss
    xorl %eax, %eax
    jmp done
refused:
    movl $FAILED_A20, %eax
done:
    popfl
    popw %gs
    popw %fs
    popw %es
    popw %ds
    popl %ebp
    popl %edi
    popl %esi
    popl %ebx
    retl

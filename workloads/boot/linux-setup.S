/*
 * The 16-bit part of a kernel of the Linux boot protocol (Linux, Documentation/arch/x86/boot.rst): boot sector, header, and
 * the setup code that the loader enters at its second sector. It asks the BIOS for the memory map, opens A20, enters
 * protected mode and goes to the 32-bit part at 100000h with ESI = struct boot_params, the "zero page": the header and what
 * was found. It lies in the heap.
 */
#define ZERO_PAGE 0x2000
#define HEADER 0x1F1
#define HEADER_END 0x26C
#define E820_COUNT (ZERO_PAGE + 0x1E8)
#define E820_TABLE (ZERO_PAGE + 0x2D0)
#define E820_ENTRIES 32
#define SMAP 0x534D4150
#define FOUND_STACK (ZERO_PAGE + 0x1E0) /* where the loader put the stack: this guest's own field */

#define LOADED_HIGH 0x01
#define CAN_USE_HEAP 0x80

    .code16
    .section .setup, "ax"
    .globl setup_start
setup_start:
    .org 0x1F1
    .byte setup_sectors
    .word 0
    .long kernel_paragraphs
    .word 0
    .word 0xFFFF
    .word 0
    .word 0xAA55
    /* 200h */
    .byte 0xEB, setup - 1f /* a short jump over the header */
1:  .ascii "HdrS"
    .word 0x020C
    .long 0
    .word 0x1000
    .word version - setup_start - 0x200
    .byte 0 /* type_of_loader */
    .byte LOADED_HIGH
    .word 0
    .long 0x100000 /* code32_start */
    .long 0, 0     /* ramdisk_image, ramdisk_size */
    .long 0
    .word 0 /* heap_end_ptr */
    .word 0
    .long 0          /* cmd_line_ptr */
    .long 0x3FFFFFFF /* initrd_addr_max */
    .long 0x100000   /* kernel_alignment */
    .byte 0, 0
    .word 0
    .long 255 /* cmdline_size */
    .long 0
    .quad 0
    .long 0, 0 /* payload */
    .quad 0    /* setup_data */
    .quad 0x100000
    .long kernel_memory /* init_size */
    .long 0

setup:
    /* Data segments are equal, and CS is 20h above them. */
    movw %cs, %ax
    subw $0x20, %ax
    movw %ds, %bx
    cmpw %ax, %bx
    jne wrong
    movw %es, %bx
    cmpw %ax, %bx
    jne wrong
    movw %ss, %bx
    cmpw %ax, %bx
    jne wrong
    testb $CAN_USE_HEAP, 0x211
    jz wrong
    sti
    cld
    movw $ZERO_PAGE, %di
    movw $0x1000, %cx
    xorb %al, %al
    rep stosb
    movw $HEADER, %si
    movw $ZERO_PAGE + HEADER, %di
    movw $HEADER_END - HEADER, %cx
    rep movsb
    movzwl %sp, %esp
    movl %esp, FOUND_STACK

    /* The memory map. */
    xorl %ebx, %ebx
    movw $E820_TABLE, %di
1:  movl $0xE820, %eax
    movl $20, %ecx
    movl $SMAP, %edx
    int $0x15
    jc 2f
    cmpl $SMAP, %eax
    jne wrong
    incb E820_COUNT
    addw $20, %di
    cmpb $E820_ENTRIES, E820_COUNT
    je 2f
    testl %ebx, %ebx
    jnz 1b
2:
    movw $0x2401, %ax
    int $0x15
    cli

    /* Where this segment is, for the descriptor table, the jump and the kernel. */
    xorl %ebx, %ebx
    movw %ds, %bx
    shll $4, %ebx
    leal gdt - setup_start(%ebx), %eax
    movl %eax, gdt_pointer + 2 - setup_start
    lgdtl gdt_pointer - setup_start
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    leal protected - setup_start(%ebx), %eax
    movl %eax, target - setup_start
    ljmpl *target - setup_start

wrong:
    movb $1, %al
    outb %al, $0xF4
    hlt

    .code32
protected:
    movl $0x18, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl %eax, %fs
    movl %eax, %gs
    leal ZERO_PAGE(%ebx), %esi
    movl 0x214(%esi), %eax
    jmp *%eax

    .p2align 2
target:
    .long 0
    .word 0x10
version:
    .asciz "ringlab test kernel"
    .p2align 3
gdt:
    .quad 0, 0
    .quad 0x00CF9B000000FFFF /* 10h: __BOOT_CS */
    .quad 0x00CF93000000FFFF /* 18h: __BOOT_DS */
gdt_pointer:
    .word gdt_pointer - gdt - 1
    .long 0

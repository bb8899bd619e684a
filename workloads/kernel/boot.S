/*
 * The multiboot header and the first instructions. A multiboot loader leaves the processor in 32-bit
 * protected mode with flat segments, paging off, interrupts off, EAX = 0x2BADB002 and EBX = information.
 */
#include "ringlab.h"

#define MULTIBOOT_MAGIC 0x1BADB002
#define MULTIBOOT_FLAGS 0x00000003 /* modules on page boundaries; tell the memory size */

    .section .multiboot, "a"
    .p2align 2
    .long MULTIBOOT_MAGIC
    .long MULTIBOOT_FLAGS
    .long -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)

    .text
    .globl _start
_start:
    cli
    cld
    movl $boot_stack_top, %esp
    pushl $0
    popfl
    xorl %ebp, %ebp
    pushl %ebx
    pushl %eax
    call kernel_main

    .bss
    .p2align 12
    .skip 16384
boot_stack_top:

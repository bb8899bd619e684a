/* The first instructions of a 32-bit kernel that a loader has put at 1 MB: EAX, EBX and ESI are what the loader says. */
    .section .start, "ax"
    .globl _start
_start:
    cli
    cld
    movl %eax, %edx
    movl $image_end, %edi
    movl $memory_end, %ecx
    subl %edi, %ecx
    xorl %eax, %eax
    rep stosb
    movl $stack_top, %esp
    pushl %esi
    pushl %ebx
    pushl %edx
    call boot_main

    .bss
    .p2align 4
    .skip 16384
stack_top:

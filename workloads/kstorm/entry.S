/* SYSENTER for the storm: as the kernel's own entry, but interrupts are on again at CPL 3. STI's shadow covers SYSEXIT. */
    .text
    .p2align 4
    .globl storm_sysenter
storm_sysenter:
    pushl %ecx
    pushl %edx
    pushl %esi
    pushl %ebx
    pushl %eax
    call storm_call
    addl $12, %esp
    popl %edx
    popl %ecx
    sti
    sysexit

/* A multiboot header, for a guest without the kernel. */
    .section .multiboot, "a"
    .p2align 2
    .long 0x1BADB002
    .long 0
    .long -0x1BADB002

/* A multiboot header with addresses (flag 16), so that the kernel need not be ELF. */
    .set FLAGS, 0x00010003
    .section .multiboot, "a"
    .p2align 2
header:
    .long 0x1BADB002
    .long FLAGS
    .long -(0x1BADB002 + FLAGS)
    .long header
    .long load_start
    .long image_end
    .long memory_end
    .long _start

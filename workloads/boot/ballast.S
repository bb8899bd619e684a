/* 96 KB in which every word is its own offset. */
    .section .rodata
    .globl ballast, ballast_end
    .p2align 2
ballast:
    .set offset, 0
    .rept 24 * 1024
    .long offset
    .set offset, offset + 4
    .endr
ballast_end:

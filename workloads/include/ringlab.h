/*
 * The conventions between a guest and the laboratory, for C and for assembly. On any other machine
 * they are harmless: a marker is a NOP, port 0x5E0 is empty, port 0xF4 ends QEMU (isa-debug-exit).
 */
#ifndef RINGLAB_H
#define RINGLAB_H

#define PORT_EXIT 0xF4    /* 32-bit OUT: exit status, 0 = success */
#define PORT_DIGEST 0x5E0 /* 32-bit OUT: one word of the program's result digest */
#define PORT_COM1 0x3F8   /* console, 115200 8n1; lines that begin "t:" carry all that depends on time */

/*
 * A marker is the long NOP  nopl 0x524Ckkii(%eax,%eax,1)  encoded as 0F 1F 84 00 disp32.
 * kk says what begins or ends, ii which region it is (0 for the only region of a nanobenchmark).
 */
#define MARK_MEASURED_BEGIN 0x01
#define MARK_MEASURED_END 0x02
#define MARK_BASELINE_BEGIN 0x03 /* the same loop without the operation */
#define MARK_BASELINE_END 0x04
#define MARK_ITERATION 0x05 /* one iteration of the current region begins */

/* Selectors, in the order that SYSENTER and SYSEXIT demand. */
#define KERNEL_CS 0x08
#define KERNEL_DS 0x10
#define USER_CS 0x1B
#define USER_DS 0x23
#define TSS_SELECTOR 0x28

#define VECTOR_DIVIDE_ERROR 0
#define VECTOR_DEBUG 1
#define VECTOR_BREAKPOINT 3
#define VECTOR_OVERFLOW 4
#define VECTOR_INVALID_OPCODE 6
#define VECTOR_DOUBLE_FAULT 8
#define VECTOR_INVALID_TSS 10
#define VECTOR_SEGMENT_NOT_PRESENT 11
#define VECTOR_STACK_FAULT 12
#define VECTOR_GENERAL_PROTECTION 13
#define VECTOR_PAGE_FAULT 14
#define VECTOR_ALIGNMENT_CHECK 17
#define VECTOR_IRQ0 0x20         /* the 8259s are remapped to 0x20-0x2F */
#define VECTOR_SYSCALL 0x80      /* INT 0x80, gate DPL 3 */
#define VECTOR_USER_RETURN 0x81  /* INT 0x81, gate DPL 3: ends enter_user() */

#ifdef __ASSEMBLER__

    .macro MARK kind, region=0
    .byte 0x0F, 0x1F, 0x84, 0x00
    .long 0x524C0000 | (\kind << 8) | \region
    .endm

#else

#define MARK(kind, region) \
    __asm__ volatile(".byte 0x0F, 0x1F, 0x84, 0x00\n\t.long %c0" ::"i"(0x524C0000 | ((kind) << 8) | (region)) : "memory")

#endif
#endif

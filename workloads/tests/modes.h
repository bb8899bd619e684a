/* Where t-modes has what, for C and assembly: conventional memory, which the kernel leaves alone. */
#ifndef MODES_H
#define MODES_H

#define LOW 0x60000 /* code: of virtual-8086 mode, and of the trip to real-address mode */
#define LOW_SEGMENT 0x6000
#define RESULTS 0x61000
#define RESULTS_SEGMENT 0x6100
#define RESULTS_OFFSET 0 /* of 32-bit addressing in the trip */
#define STACK_SEGMENT 0x6200
#define STACK_TOP 0x800
#define REAL_TABLE 0x63000 /* interrupt table of real-address mode */
#define CODE16_SELECTOR 0x40
#define DATA16_SELECTOR 0x48

/* Offsets in struct virtual_state. */
#define IN_EAX 0
#define IN_ECX 4
#define IN_EDX 8
#define IN_EBX 12
#define IN_EBP 16
#define IN_ESI 20
#define IN_EDI 24
#define IN_EIP 28
#define IN_CS 32
#define IN_EFLAGS 36
#define IN_ESP 40
#define IN_SS 44
#define IN_ES 48
#define IN_DS 52
#define IN_FS 56
#define IN_GS 60

#endif

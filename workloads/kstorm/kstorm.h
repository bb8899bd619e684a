/*
 * A storm of what only a kernel does, caused from CPL 3 as fast as it can be: system calls, page faults, PTE updates, address-space
 * switches, timer interrupts. Seven parts, each of one kind but the last, which has all of them in a pseudo-random order.
 */
#ifndef KSTORM_H
#define KSTORM_H
#include "kernel.h"

enum part { INT80, SYSENTER, FAULT, PTE, SWITCH, TIMER, STORM, PARTS };

/* Numbers of the storm's system calls, in EAX for INT 80h and SYSENTER alike; arguments in EBX and ESI. */
enum call {
    CALL_MIX,     /* (a, b): mixes both with the number of the call */
    CALL_REMAP,   /* (rotation): remap page i gets frame i + rotation, with INVLPG each; the number of PTEs that changed */
    CALL_DISCARD, /* (first, count): unmaps demand pages, with INVLPG each; how many were mapped */
    CALL_SWITCH,  /* (n): to address space n by MOV CR3; the one before */
    CALL_ARM,     /* (): one interrupt of the local APIC's timer, after its shortest time */
    CALLS
};

/* Demand pages are mapped by the page-fault handler: at a read to a page that all share, at a write to a frame of their own. */
#define DEMAND WINDOW
#define DEMAND_PAGES 64u
/* Remap pages always are mapped; word 0 of frame i is remap_tag(i). */
#define REMAP (WINDOW + 0x100000u)
#define REMAP_PAGES 16u
/* One page, another frame in each address space. */
#define PRIVATE (WINDOW + 0x400000u)
#define SPACES 4u

#define SHARED_TAG 0x5A4E0000u
static inline u32 remap_tag(u32 frame) { return 0xC0DE0000u + frame * 0x101u; }
static inline u32 mix(u32 a, u32 b, u32 n) { return (a ^ b << 7 ^ n) * 0x9E3779B1u; }
static inline u32 fold(u32 checksum, u32 word) { return (checksum ^ word) * 0x01000193u; }

/* What the parts at CPL 3 tell the kernel, and the other way round; in user data. */
struct part_result {
    u32 checksum, failed_round; /* 0: none failed; rounds count from 1 */
    u32 calls, faults, switches, remaps, interrupts; /* that it caused, by its own count */
};
extern struct part_result part_results[PARTS];
extern u32 rounds;                 /* of the part that runs */
extern enum part running;
extern volatile u32 timer_pending; /* 1 from CALL_ARM to the interrupt */
extern u32 spins;                  /* times that CPL 3 looked at it in vain: a matter of time */
u32 kstorm_run(void);              /* at CPL 3 */
#endif

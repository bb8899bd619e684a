/*
 * The local APIC in virtual wire mode (MP specification 1.4, 3.6.2.2): the 8259s' interrupt comes through LINT0 as ExtINT, NMI
 * through LINT1. After a reset it lets neither through.
 */
#include "bios.h"

#define CPUID_APIC 0x200
#define APIC 0xFEE00000u
#define SPURIOUS_VECTOR 0xF0
#define LVT_LINT0 0x350
#define LVT_LINT1 0x360
#define APIC_ENABLED 0x1FF
#define DELIVER_EXTINT 0x700
#define DELIVER_NMI 0x400
#define EFLAGS_ID 0x200000

/* Whether the processor has CPUID at all. */
static int has_cpuid(void) {
    u32 before, after;
    __asm__ volatile("pushfl\n\tpopl %0\n\tmovl %0, %1\n\txorl %2, %1\n\tpushl %1\n\tpopfl\n\tpushfl\n\tpopl %1\n\tpushl %0\n\tpopfl"
                     : "=&r"(before), "=&r"(after)
                     : "i"(EFLAGS_ID));
    return (before ^ after) & EFLAGS_ID;
}

/* EDX of CPUID's leaf 1; 0 on a processor without CPUID. */
u32 cpuid_features(void) {
    u32 eax = 1, ebx, ecx = 0, edx;
    if (!has_cpuid()) return 0;
    __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    return edx;
}

void apic_init(void) {
    if (!(cpuid_features() & CPUID_APIC)) return;
    flat_write(APIC + SPURIOUS_VECTOR, APIC_ENABLED);
    flat_write(APIC + LVT_LINT0, DELIVER_EXTINT);
    flat_write(APIC + LVT_LINT1, DELIVER_NMI);
}

/* The local APIC, memory-mapped: task priority, timer, and the virtual wire to the 8259s. */
#include "kernel.h"

#define APIC_BASE_ENABLE (1u << 11)
#define SPURIOUS_ENABLE (1u << 8)
#define SPURIOUS_VECTOR 0xFF
#define LVT_MASKED (1u << 16)
#define LVT_PERIODIC (1u << 17)
#define LVT_EXTINT (7u << 8)
#define LVT_NMI (4u << 8)
#define DIVIDE_BY_16 0x3

u32 lapic_read(u32 offset) { return *(volatile u32 *)(LAPIC_BASE + offset); }
void lapic_write(u32 offset, u32 value) { *(volatile u32 *)(LAPIC_BASE + offset) = value; }

void lapic_init(void) {
    u32 eax, ebx, ecx, edx;
    cpuid(1, &eax, &ebx, &ecx, &edx);
    if (!(edx & CPUID_EDX_APIC)) panic("no local APIC");
    wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | APIC_BASE_ENABLE);
    lapic_write(LAPIC_SPURIOUS, SPURIOUS_ENABLE | SPURIOUS_VECTOR);
    lapic_write(LAPIC_TPR, 0);
    lapic_write(LAPIC_LVT_TIMER, LVT_MASKED);
    lapic_write(LAPIC_LVT_LINT0, LVT_EXTINT);
    lapic_write(LAPIC_LVT_LINT1, LVT_NMI);
}

void lapic_timer_start(u32 vector, u32 count, int periodic) {
    lapic_write(LAPIC_DIVIDE, DIVIDE_BY_16);
    lapic_write(LAPIC_LVT_TIMER, vector | (periodic ? LVT_PERIODIC : 0));
    lapic_write(LAPIC_INITIAL_COUNT, count);
}

void lapic_timer_stop(void) {
    lapic_write(LAPIC_LVT_TIMER, LVT_MASKED);
    lapic_write(LAPIC_INITIAL_COUNT, 0);
}

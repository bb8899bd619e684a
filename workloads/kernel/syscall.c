/* System calls, by INT 0x80 and by SYSENTER. */
#include "kernel.h"

extern void sysenter_entry(void);
static u8 sysenter_stack[4096] __attribute__((aligned(4096)));
u32 syscall_count;

u32 syscall_dispatch(u32 number, u32 argument0, u32 argument1) {
    switch (number) {
    case SYSCALL_NULL:
        return ++syscall_count;
    case SYSCALL_WRITE:
        for (u32 i = 0; i < argument1; i++) serial_put(((const char *)argument0)[i]);
        return argument1;
    default:
        return ~0u;
    }
}

static void int80(struct trap_frame *frame) { frame->eax = syscall_dispatch(frame->eax, frame->ebx, frame->esi); }

void syscall_init(void) {
    u32 eax, ebx, ecx, edx;
    set_trap_gate(VECTOR_SYSCALL, 3);
    set_trap_handler(VECTOR_SYSCALL, int80);
    cpuid(1, &eax, &ebx, &ecx, &edx);
    if (edx & CPUID_EDX_SEP) {
        wrmsr(MSR_SYSENTER_CS, KERNEL_CS);
        wrmsr(MSR_SYSENTER_ESP, (u32)sysenter_stack + sizeof sysenter_stack);
        wrmsr(MSR_SYSENTER_EIP, (u32)sysenter_entry);
    }
}

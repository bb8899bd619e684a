/* The tasks of t-tasks and t-tasks-strict. */
#include "tasks.h"

struct tss32 *main_tss;
struct tss32 task32 __attribute__((aligned(128)));
struct tss16 task16 __attribute__((aligned(64)));
struct seen seen USER_DATA;
extern u8 task_stack[];
static u8 kernel_stack[4096] __attribute__((aligned(16)));
u32 kernel_task_stack;
static u64 task_ldt[2] __attribute__((aligned(16)));

void tasks_init(void) {
    gdt_extend();
    u32 code = (u32)task_code, stack = (u32)task_stack;
    test_gdt[CODE16_0 >> 3] = descriptor(code, 0xFFFF, 0x9B, 0);
    test_gdt[STACK16_0 >> 3] = descriptor(stack, 0xFFFF, 0x93, 0);
    test_gdt[CODE16_3 >> 3] = descriptor(code, 0xFFFF, 0xFB, 0);
    test_gdt[STACK16_3 >> 3] = descriptor(stack, 0xFFFF, 0xF3, 0);
    test_gdt[CODE_CONFORMING >> 3] = descriptor(0, 0xFFFFF, 0x9F, 0xC);
    test_gdt[TASK_LDT >> 3] = descriptor((u32)task_ldt, sizeof task_ldt - 1, 0x82, 0);
    test_gdt[TASK_GATE >> 3] = gate(TASK, 0, 0xE5, 0);
    task_ldt[1] = gate(TASK, 0, 0xE5, 0);
    idt_entries()[TASK_VECTOR] = gate(TASK, 0, 0xE5, 0);
    kernel_task_stack = (u32)kernel_stack + sizeof kernel_stack;
    main_tss = (struct tss32 *)tss_words();
    main_tss->cr3 = read_cr3(); /* no switch ever saves it */
}

void task_reset(u32 bits, u32 cpl, const u8 *body) {
    u32 data = cpl ? USER_DS : KERNEL_DS;
    memset(&seen, 0, sizeof seen);
    if (bits == 32) {
        task32 = (struct tss32){
            .link = 0xFFFF0000, .esp0 = kernel_task_stack, .ss0 = KERNEL_DS, .cr3 = read_cr3(), .eip = (u32)body,
            .eflags = 0x202 & ~0x200u, .eax = 0xA1A2A3A4, .ecx = 0xC1C2C3C4, .edx = 0xD1D2D3D4, .ebx = 0xB1B2B3B4,
            .esp = (u32)task_stack_top - 64, .ebp = 0xE1E2E3E4, .esi = 0x51525354, .edi = 0xF1F2F3F4, .es = data,
            .cs = cpl ? USER_CS : KERNEL_CS, .ss = data, .ds = data, .fs = data, .gs = data, .ldt = TASK_LDT,
            .io_map_base = sizeof task32};
        test_gdt[TASK >> 3] = descriptor((u32)&task32, sizeof task32 - 1, TSS_AVAILABLE(32) | 0x60, 0);
    } else {
        task16 = (struct tss16){
            .link = 0, .sp0 = 0, .ss0 = 0, .ip = body - task_code, .flags = 2, .ax = 0xA3A4, .cx = 0xC3C4, .dx = 0xD3D4,
            .bx = 0xB3B4, .sp = 4096 - 64, .bp = 0xE3E4, .si = 0x5354, .di = 0xF3F4, .es = data,
            .cs = cpl ? CODE16_3 : CODE16_0, .ss = cpl ? STACK16_3 : STACK16_0, .ds = data, .ldt = TASK_LDT};
        test_gdt[TASK >> 3] = descriptor((u32)&task16, sizeof task16 - 1, TSS_AVAILABLE(16) | 0x60, 0);
    }
}

void recover(void) {
    test_gdt[TSS_SELECTOR >> 3] &= ~(2ull << 40);
    __asm__ volatile("ltr %w0\n\tlldt %w1\n\tclts" ::"r"(TSS_SELECTOR), "r"(0));
}

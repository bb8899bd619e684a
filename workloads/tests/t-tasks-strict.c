/*
 * Task switches where QEMU's TCG does otherwise than the manual: faults of the task that was entered (SDM volume 3, table
 * 8-1), which QEMU reports with the old task's EIP and CPL; RF in the image of a task that faulted; the T bit; task gates
 * that name the LDT; accessed bits.
 */
#include "tasks.h"

static struct {
    u32 offset;
    u16 selector;
} pointer USER_DATA;

SNIPPET(call_task, "lcall *(%ebx)\n7:\tnop");
SNIPPET(int_task, "int $0x90\n7:\tnop");
SNIPPET(undefined, "7:\tud2\n\tnop");

static void enter(u32 selector) {
    reset(CPL0);
    in.ebx = (u32)&pointer;
    pointer.selector = selector;
    run(call_task);
}

/* The fault is the new task's: its registers, its EIP, its stack for CPL 0; the old task is saved and stays busy. */
static void expect_fault(u32 vector, u32 error_code, u32 cs, u32 ss) {
    expect("vector", caught.frame.vector, vector);
    expect("error code", caught.frame.error_code, error_code);
    expect("EIP", caught.frame.eip, task32.eip);
    expect("CS", caught.frame.cs & 0xFFFF, cs);
    expect("SS", caught.frame.ss & 0xFFFF, ss);
    expect("ESP", caught.frame.esp, (u32)task_stack_top - 64);
    expect("EAX", caught.frame.eax, 0xA1A2A3A4);
    expect("NT", caught.frame.eflags & EFLAGS_NT, EFLAGS_NT);
    expect("RF", caught.frame.eflags & EFLAGS_RF, EFLAGS_RF);
    expect("entries", seen.entries, 0);
    expect("busy", BUSY(TSS_SELECTOR) | BUSY(TASK) << 1, 3);
    expect("link", task32.link & 0xFFFF, TSS_SELECTOR);
    expect("saved EIP", main_tss->eip, (u32)call_task_at);
    expect("TS", read_cr0() & CR0_TS, CR0_TS);
    u16 tr;
    __asm__ volatile("str %0" : "=r"(tr));
    expect("TR", tr, TASK);
    recover();
}

static void data_segments(void) {
    group("data segments of a new task");
    static const u32 tests[][2] = {
        {0x93, VECTOR_INVALID_TSS}, /* DPL below CPL */
        {0x99, VECTOR_INVALID_TSS}, /* code that cannot be read */
        {0xF9, VECTOR_INVALID_TSS},
        {0xE2, VECTOR_INVALID_TSS}, /* an LDT */
        {0x73, VECTOR_SEGMENT_NOT_PRESENT},
    };
    for (u32 i = 0; i < sizeof tests / sizeof *tests; i++)
        for (u32 segment = 0; segment < 4; segment++) {
            task_reset(32, CPL3, task_body);
            test_gdt[OTHER >> 3] = descriptor(0, 0xFFFFF, tests[i][0], 0xC);
            u32 *const fields[] = {&task32.ds, &task32.es, &task32.fs, &task32.gs};
            *fields[segment] = OTHER | 3;
            enter(TASK);
            expect_fault(tests[i][1], OTHER, USER_CS, USER_DS);
        }
    task_reset(32, CPL3, task_body);
    task32.fs = 0x1FFB; /* beyond the GDT */
    enter(TASK);
    expect_fault(VECTOR_INVALID_TSS, 0x1FF8, USER_CS, USER_DS);
}

static void stacks(void) {
    group("stacks of a new task");
    static const u32 tests[][3] = {
        {0xF1, 3, VECTOR_INVALID_TSS}, /* read-only */
        {0xFB, 3, VECTOR_INVALID_TSS}, /* code */
        {0x93, 3, VECTOR_INVALID_TSS}, /* DPL */
        {0xF3, 0, VECTOR_INVALID_TSS}, /* RPL */
        {0x73, 3, VECTOR_STACK_FAULT},
    };
    for (u32 i = 0; i < sizeof tests / sizeof *tests; i++) {
        task_reset(32, CPL3, task_body);
        test_gdt[OTHER >> 3] = descriptor(0, 0xFFFFF, tests[i][0], 0xC);
        task32.ss = OTHER | tests[i][1];
        enter(TASK);
        expect_fault(tests[i][2], OTHER, USER_CS, task32.ss);
    }
    task_reset(32, CPL3, task_body);
    task32.ss = 3;
    enter(TASK);
    expect_fault(VECTOR_INVALID_TSS, 0, USER_CS, 3);
}

static void codes(void) {
    group("code of a new task");
    static const u32 tests[][2] = {
        {0x9B, VECTOR_INVALID_TSS}, /* DPL */
        {0xF3, VECTOR_INVALID_TSS}, /* data */
        {0x89, VECTOR_INVALID_TSS},
        {0x7B, VECTOR_SEGMENT_NOT_PRESENT},
    };
    for (u32 i = 0; i < sizeof tests / sizeof *tests; i++) {
        task_reset(32, CPL3, task_body);
        test_gdt[OTHER >> 3] = descriptor(0, 0xFFFFF, tests[i][0], 0xC);
        task32.cs = OTHER | 3;
        enter(TASK);
        expect_fault(tests[i][1], OTHER, task32.cs, USER_DS);
    }
    task_reset(32, CPL3, task_body);
    test_gdt[OTHER >> 3] = descriptor(0, 0xFFF, 0xFB, 0x4);
    task32.cs = OTHER | 3;
    enter(TASK);
    expect_fault(VECTOR_GENERAL_PROTECTION, 0, task32.cs, USER_DS); /* EIP beyond the limit */
}

static void ldts(void) {
    group("LDT of a new task");
    static const u32 tests[][2] = {{0x54, 0x54}, {0x1FF8, 0x1FF8}, {KERNEL_DS, KERNEL_DS}, {OTHER, OTHER}};
    for (u32 i = 0; i < 4; i++) {
        task_reset(32, CPL3, task_body);
        test_gdt[OTHER >> 3] = descriptor(0, 0xFF, 0x02, 0); /* not present */
        task32.ldt = tests[i][0];
        enter(TASK);
        expect_fault(VECTOR_INVALID_TSS, tests[i][1], USER_CS, USER_DS);
    }
}

static void accessed(void) {
    group("accessed bits");
    task_reset(32, CPL3, task_body);
    test_gdt[OTHER >> 3] = descriptor(0, 0xFFFFF, 0xF2, 0xC);
    task32.gs = OTHER | 3;
    enter(TASK);
    expect("vector", caught.frame.vector, DONE);
    expect("accessed", (u32)(test_gdt[OTHER >> 3] >> 40 & 1), 1);
}

static void gates(void) {
    group("task gates that name the LDT");
    task_reset(32, CPL0, task_body);
    u64 saved = idt_entries()[TASK_VECTOR];
    test_gdt[OTHER >> 3] = gate(0x0C, 0, 0xE5, 0);
    idt_entries()[TASK_VECTOR] = gate(0x0C, 0, 0xE5, 0);
    reset(CPL3);
    in.ebx = (u32)&pointer;
    pointer.selector = OTHER;
    expect_trap("CALL", call_task, call_task, VECTOR_GENERAL_PROTECTION, 0x0C);
    expect_trap("INT", int_task, int_task, VECTOR_GENERAL_PROTECTION, 0x0C);
    idt_entries()[TASK_VECTOR] = saved;
}

static void flags(void) {
    group("RF and T");
    u64 *entry = &idt_entries()[VECTOR_INVALID_OPCODE], saved = *entry;
    extern u8 skip[];
    task_reset(32, CPL0, skip);
    *entry = gate(TASK, 0, 0x85, 0);
    reset(CPL3);
    expect_done("UD2", undefined);
    *entry = saved;
    expect("RF of a task that faulted", seen.eax & EFLAGS_RF, EFLAGS_RF);
    expect("EIP", seen.ecx, (u32)undefined_at);
    reset(CPL3);
    task_reset(32, CPL0, skip);
    expect_done("INT", int_task);
    expect("RF of a task that called", seen.eax & EFLAGS_RF, 0);

    __asm__ volatile("movl %0, %%dr6" ::"r"(0xFFFF0FF0));
    task_reset(32, CPL3, task_body);
    task32.trap = 1;
    enter(TASK);
    u32 dr6;
    __asm__ volatile("movl %%dr6, %0\n\tmovl %1, %%dr6" : "=&r"(dr6) : "r"(0xFFFF0FF0));
    expect("vector", caught.frame.vector, VECTOR_DEBUG);
    expect("EIP", caught.frame.eip, (u32)task_body);
    expect("DR6", dr6, 0xFFFF8FF0);
    recover();
}
/* Keeps EFLAGS and EIP of the old task; goes back behind a UD2, or where it came from. */
__asm__(".pushsection .text\n"
        "skip:\n\t"
        "movl main_tss, %ebx\n\t"
        "movl 36(%ebx), %eax\n\t"
        "movl %eax, seen + 28\n\t"
        "movl 32(%ebx), %eax\n\t"
        "movl %eax, seen + 24\n\t"
        "cmpw $0x0B0F, (%eax)\n\t"
        "jne 1f\n\t"
        "addl $2, 32(%ebx)\n"
        "1:\tiret\n\t"
        ".popsection");

void program_main(void) {
    test_init();
    tasks_init();
    data_segments();
    stacks();
    codes();
    ldts();
    accessed();
    gates();
    flags();
    groups_end();
}

/*
 * Hardware task switches (SDM volume 3, chapter 8): CALL, JMP, INT, exceptions and IRET between 16-bit and 32-bit tasks;
 * what is saved and loaded, links, busy bits, NT and TS; the checks before a switch; address spaces; a double fault whose
 * task has a stack where the old one has none. Faults of the task that was entered are in t-tasks-strict.
 */
#include "tasks.h"

static struct {
    u32 offset;
    u16 selector;
} pointer USER_DATA;

SNIPPET(call_task, "lcall *(%ebx)\n7:\tnop");
SNIPPET(jump_task, "ljmp *(%ebx)\n7:\tnop");
SNIPPET(int_task, "int $0x90\n7:\tnop");
SNIPPET(pop_ds, "pushl $0x1234\n7:\tpopl %ds\n\tnop");
SNIPPET(halt, "7:\thlt\n\tnop");

/* The task that was entered found what its TSS had, and nothing of the old one. */
static void expect_entered(u32 bits, u32 cpl, u32 nested, u32 pushed) {
    u32 mask = bits == 32 ? 0xFFFFFFFF : 0xFFFF, data = cpl ? USER_DS : KERNEL_DS;
    expect("entries", seen.entries, 1);
    expect("EAX", seen.eax & mask, 0xA1A2A3A4 & mask);
    expect("ECX", seen.ecx & mask, 0xC1C2C3C4 & mask);
    expect("EDX", seen.edx & mask, 0xD1D2D3D4 & mask);
    expect("EBX", seen.ebx & mask, 0xB1B2B3B4 & mask);
    expect("EBP", seen.ebp & mask, 0xE1E2E3E4 & mask);
    expect("ESI", seen.esi & mask, 0x51525354 & mask);
    expect("EDI", seen.edi & mask, 0xF1F2F3F4 & mask);
    /* SAVE has pushed 28 bytes before PUSHA; an error code has been popped. */
    u32 esp = bits == 32 ? (u32)task_stack_top - 64 : 4096 - 64;
    expect("ESP", (seen.esp & mask) + 28, esp + pushed);
    expect("CS", seen.cs & 0xFFFF, bits == 32 ? (cpl ? USER_CS : KERNEL_CS) : cpl ? CODE16_3 : CODE16_0);
    expect("SS", seen.ss & 0xFFFF, bits == 32 ? data : cpl ? STACK16_3 : STACK16_0);
    expect("DS", seen.ds & 0xFFFF, data);
    expect("ES", seen.es & 0xFFFF, data);
    expect("FS", seen.fs & 0xFFFF, bits == 32 ? data : 0);
    expect("GS", seen.gs & 0xFFFF, bits == 32 ? data : 0);
    expect("NT", seen.eflags & EFLAGS_NT, nested);
    expect("CR0.TS", seen.msw & CR0_TS, CR0_TS);
    expect("TR", seen.tr & ~3u, TASK);
    expect("LDTR", seen.ldtr, TASK_LDT);
}

/* The kernel's task was saved as the snippet left it, and goes on as if nothing had been but CR0.TS. */
static void expect_resumed(const u8 *at) {
    expect("EIP", main_tss->eip, (u32)at);
    expect("EFLAGS", main_tss->eflags & ~EFLAGS_RF, in.eflags);
    expect("saved EAX", main_tss->eax, in.eax);
    expect("saved EBX", main_tss->ebx, in.ebx);
    expect("saved EDI", main_tss->edi, in.edi);
    expect("saved ESP", main_tss->esp, in.esp);
    expect("saved CS", main_tss->cs & 0xFFFF, in.cs);
    expect("saved SS", main_tss->ss & 0xFFFF, in.ss);
    expect("saved GS", main_tss->gs & 0xFFFF, in.gs);
    expect_registers("a task switch");
    expect("NT", caught.frame.eflags & EFLAGS_NT, 0);
    expect("TS after", read_cr0() & CR0_TS, CR0_TS);
    __asm__ volatile("clts");
    u16 tr, ldtr;
    __asm__ volatile("str %0\n\tsldt %1" : "=r"(tr), "=r"(ldtr));
    expect("TR", tr, TSS_SELECTOR);
    expect("LDTR", ldtr, 0);
    expect("busy", BUSY(TSS_SELECTOR) | BUSY(TASK) << 1, 1);
}

static void expect_left(u32 bits, u32 nested) {
    if (bits == 32) {
        expect("link", task32.link, 0xFFFF0000 | (nested ? TSS_SELECTOR : 0));
        expect("saved NT", task32.eflags & EFLAGS_NT, 0);
        expect("the static part of the TSS", task32.ldt ^ task32.cr3 ^ task32.esp0, TASK_LDT ^ read_cr3() ^ kernel_task_stack);
    } else {
        expect("link", task16.link, nested ? TSS_SELECTOR : 0);
        expect("saved NT", task16.flags & EFLAGS_NT, 0);
        expect("the static part of the TSS", task16.ldt, TASK_LDT);
    }
}

static void calls(void) {
    group("CALL, INT and IRET");
    for (u32 from = CPL0; from <= CPL3; from += 3)
        for (u32 to = CPL0; to <= CPL3; to += 3)
            for (u32 bits = 16; bits <= 32; bits += 16)
                for (u32 route = 0; route < 3; route++) {
                    const u8 *body = bits == 32 ? task_body : task_body16;
                    task_reset(bits, to, body);
                    reset(from);
                    in.eflags |= random32() & (EFLAGS_STATUS | EFLAGS_ID);
                    in.ebx = (u32)&pointer;
                    pointer.offset = 0xDEADBEEF;
                    pointer.selector = route == 1 ? TASK_GATE | 3 : TASK | 3;
                    if (route == 2) expect_done("INT", int_task);
                    else expect_done("CALL", call_task);
                    expect_entered(bits, to, EFLAGS_NT, 0);
                    expect_resumed(route == 2 ? int_task_at : call_task_at);
                    expect_left(bits, 1);
                }
    /* A task goes on behind the IRET by which it left. */
    task_reset(32, CPL0, task_body);
    reset(CPL0);
    in.ebx = (u32)&pointer;
    pointer.selector = TASK;
    for (u32 i = 1; i <= 3; i++) {
        expect_done("CALL again", call_task);
        expect("entries", seen.entries, i);
    }
    __asm__ volatile("clts");
}

static void jumps(void) {
    group("JMP");
    for (u32 route = 0; route < 2; route++) {
        task_reset(32, CPL0, task_body_jump);
        reset(CPL0);
        in.ebx = (u32)&pointer;
        pointer.selector = route == 1 ? TASK_GATE : TASK;
        expect_done("JMP", jump_task);
        expect("entries", seen.entries, 1);
        expect("types", seen.error_code, 0xEB89); /* the kernel's task available, the other busy */
        expect_resumed(jump_task_at);
        expect_left(32, 0);
    }
}

static void nested(void) {
    group("tasks of tasks");
    static struct tss16 other16 __attribute__((aligned(64)));
    static struct tss32 other32 __attribute__((aligned(128)));
    for (u32 bits = 16; bits <= 32; bits += 16) {
        task_reset(32, CPL0, task_body);
        other32 = task32;
        other32.esp -= 1024;
        task_reset(16, CPL0, task_body16);
        other16 = task16;
        other16.sp -= 1024;
        task16.ip = task_body16_call - task_code;
        u32 base = bits == 32 ? (u32)&other32 : (u32)&other16, size = bits == 32 ? sizeof other32 : sizeof other16;
        test_gdt[OTHER >> 3] = descriptor(base, size - 1, TSS_AVAILABLE(bits), 0);
        reset(CPL0);
        in.ebx = (u32)&pointer;
        pointer.selector = TASK;
        expect_done("CALL", call_task);
        expect("TR", seen.tr, OTHER);
        expect("link", (bits == 32 ? other32.link : other16.link) & 0xFFFF, TASK);
        expect("busy", BUSY(OTHER), 0);
        expect("saved AX", task16.ax, 0xA3A4);
        expect("saved DI", task16.di, 0xF3F4);
        expect("saved SP", task16.sp, 4096 - 64);
        expect("saved CS", task16.cs, CODE16_0);
        expect("saved IP", task16.ip, (u32)(task_body16_call - task_code) + 6);
        expect_resumed(call_task_at);
    }
}

/* An exception with an error code, whose task returns behind the instruction. */
static void exceptions(void) {
    group("exceptions");
    u64 *general = &idt_entries()[VECTOR_GENERAL_PROTECTION], saved = *general;
    for (u32 bits = 16; bits <= 32; bits += 16) {
        task_reset(bits, CPL0, bits == 32 ? task_body_error : task_body16_error);
        if (bits == 32) task32.eax = 0xA1A2A3A4;
        *general = gate(TASK, 0, 0x85, 0);
        reset(CPL3);
        expect_done("HLT", halt);
        *general = saved;
        expect("error code", seen.error_code, 0);
        expect_entered(bits, CPL0, EFLAGS_NT, 0);
        expect_resumed(halt_at + 1);
    }
    /* An error code that is not 0. */
    task_reset(32, CPL0, task_body_error);
    *general = gate(TASK, 0, 0x85, 0);
    reset(CPL3);
    expect_done("POP DS", pop_ds);
    *general = saved;
    expect("error code", seen.error_code, 0x1234);
    __asm__ volatile("clts");
}

/* The stack is gone: #PF cannot be delivered, nor could #DF be without a task of its own. */
SNIPPET(push, "movl %edi, %esp\n7:\tpushl %eax\n\tnop");
static void double_fault(void) {
    group("a double fault");
    u64 *entry = &idt_entries()[VECTOR_DOUBLE_FAULT], saved = *entry;
    task_reset(32, CPL0, task_body_error);
    *entry = gate(TASK, 0, 0x85, 0);
    reset(CPL0);
    window_page(9, PTE_W); /* its page table exists; the page below has none */
    in.edi = WINDOW_AT(8);
    extern u8 repair[]; /* gives the task that faulted a stack, and returns behind its PUSH */
    task32.eip = (u32)repair;
    run(push);
    *entry = saved;
    expect("vector", caught.frame.vector, DONE);
    expect("error code", seen.error_code, 0);
    expect("CR2", caught.cr2, WINDOW_AT(8) - 4);
    expect("EIP", seen.eax, (u32)push_at);
    expect("ESP", seen.ecx, WINDOW_AT(8));
    expect("link", task32.link & 0xFFFF, TSS_SELECTOR);
    __asm__ volatile("clts");
}
__asm__(".pushsection .text\n"
        "repair:\n\t"
        "popl seen + 60\n\t"
        "movl main_tss, %ebx\n\t"
        "movl 32(%ebx), %eax\n\t"
        "movl %eax, seen + 28\n\t"
        "movl 56(%ebx), %eax\n\t"
        "movl %eax, seen + 24\n\t"
        "incl 32(%ebx)\n\t"
        "movl kernel_task_stack, %eax\n\t"
        "subl $2048, %eax\n\t"
        "movl %eax, 56(%ebx)\n\t"
        "iret\n\t"
        ".popsection");

/* Faults of the old task: nothing has happened yet. */
static void refusals(void) {
    group("refusals");
    static const struct {
        u32 access, limit, selector, vector, error_code;
    } tests[] = {
        {0x89 | 0x60, 0x66, TASK, VECTOR_INVALID_TSS, TASK},                  /* too short */
        {0x81 | 0x60, 0x2A, TASK, VECTOR_INVALID_TSS, TASK},
        {0x09 | 0x60, 0x67, TASK, VECTOR_SEGMENT_NOT_PRESENT, TASK},
        {0x8B | 0x60, 0x67, TASK, VECTOR_GENERAL_PROTECTION, TASK},           /* busy */
        {0x83 | 0x60, 0x2B, TASK, VECTOR_GENERAL_PROTECTION, TASK},
        {0x89 | 0x00, 0x67, TASK | 3, VECTOR_GENERAL_PROTECTION, TASK},       /* RPL above DPL */
        {0x89 | 0x60, 0x66, TASK_GATE, VECTOR_INVALID_TSS, TASK},             /* through the gate */
        {0x09 | 0x60, 0x67, TASK_GATE, VECTOR_SEGMENT_NOT_PRESENT, TASK},
    };
    for (u32 i = 0; i < sizeof tests / sizeof *tests; i++)
        for (u32 jump = 0; jump < 2; jump++) {
            task_reset(32, CPL0, task_body);
            test_gdt[TASK >> 3] = descriptor((u32)&task32, tests[i].limit, tests[i].access, 0);
            u64 before = test_gdt[TASK >> 3];
            reset(CPL0);
            in.ebx = (u32)&pointer;
            pointer.selector = tests[i].selector;
            const u8 *code = jump ? jump_task : call_task;
            expect_trap("switch", code, code, tests[i].vector, tests[i].error_code);
            expect_registers("a refused switch");
            expect("TS", read_cr0() & CR0_TS, 0);
            expect("descriptor", test_gdt[TASK >> 3] == before && BUSY(TSS_SELECTOR), 1);
        }
    /* A gate's own DPL, for INT and CALL from CPL 3. */
    task_reset(32, CPL0, task_body);
    u64 saved_idt = idt_entries()[TASK_VECTOR], saved_gdt = test_gdt[TASK_GATE >> 3];
    idt_entries()[TASK_VECTOR] = gate(TASK, 0, 0x85, 0);
    test_gdt[TASK_GATE >> 3] = gate(TASK, 0, 0x85, 0);
    reset(CPL3);
    in.ebx = (u32)&pointer;
    pointer.selector = TASK_GATE;
    expect_trap("INT", int_task, int_task, VECTOR_GENERAL_PROTECTION, TASK_VECTOR * 8 + 2);
    expect_trap("CALL", call_task, call_task, VECTOR_GENERAL_PROTECTION, TASK_GATE);
    idt_entries()[TASK_VECTOR] = saved_idt;
    test_gdt[TASK_GATE >> 3] = saved_gdt;
}

/* IRET with NT and a link that is not a busy TSS. */
SNIPPET(iret, "7:\tiret");
static void bad_links(void) {
    group("bad links");
    static const u32 links[][2] = {{TASK, VECTOR_INVALID_TSS}, {KERNEL_DS, VECTOR_INVALID_TSS}, {0x1FF8, VECTOR_INVALID_TSS}};
    for (u32 i = 0; i < 3; i++) {
        task_reset(32, CPL0, task_body); /* available */
        main_tss->link = links[i][0];
        reset(CPL0);
        in.eflags |= EFLAGS_NT;
        EXPECT_TRAP("IRET", iret, links[i][1], links[i][0]);
        expect_registers("a refused return");
    }
    main_tss->link = 0;
}

/* What a new task may have in its data segments besides data of its level. */
static void data_segments(void) {
    group("data segments of a new task");
    static const u32 accesses[] = {0xFB, 0x9F, 0xF3};
    for (u32 i = 0; i < 3; i++)
        for (u32 segment = 0; segment < 3; segment++) {
            task_reset(32, CPL3, task_body);
            test_gdt[OTHER >> 3] = descriptor(0, 0xFFFFF, accesses[i], 0xC);
            u32 *const fields[] = {&task32.fs, &task32.gs, &task32.gs}; /* the body writes through DS and ES */
            *fields[segment] = segment == 2 ? 0 : OTHER;
            reset(CPL0);
            in.ebx = (u32)&pointer;
            pointer.selector = TASK;
            expect_done("CALL", call_task);
            expect("selector", (segment == 0 ? seen.fs : seen.gs) & 0xFFFF, segment == 2 ? 0 : OTHER);
        }
    __asm__ volatile("clts");
}

/* Another page directory, in which a window shows another frame. */
static u32 other_directory[1024] __attribute__((aligned(4096)));
static u32 other_table[1024] __attribute__((aligned(4096)));
static void address_spaces(void) {
    group("address spaces");
    MEMORY32((u32)window_page(0, PTE_W)) = 0x11111111;
    u32 other = frame_alloc();
    MEMORY32(other) = 0x22222222;
    memcpy(other_directory, page_directory, sizeof other_directory);
    other_directory[WINDOW >> 22] = (u32)other_table | PTE_P | PTE_W | PTE_U;
    other_table[WINDOW >> 12 & 1023] = other | PTE_P | PTE_W;
    extern u8 reader[];
    for (u32 i = 0; i < 4; i++) {
        task_reset(32, CPL0, reader);
        task32.cr3 = i & 1 ? (u32)other_directory : read_cr3();
        reset(CPL0);
        in.ebx = (u32)&pointer;
        pointer.selector = TASK;
        expect_done("CALL", call_task);
        expect("what the task reads", seen.error_code, i & 1 ? 0x22222222 : 0x11111111);
        expect("what the caller reads", MEMORY32(WINDOW), 0x11111111);
        expect("CR3", read_cr3() == main_tss->cr3 && (seen.eax == (u32)other_directory) == (i & 1), 1);
    }
    __asm__ volatile("clts");
}
__asm__(".pushsection .text\n"
        "reader:\n\t"
        "movl 0x40000000, %eax\n\t"
        "movl %eax, seen + 60\n\t"
        "movl %cr3, %eax\n\t"
        "movl %eax, seen + 28\n\t"
        "iret\n\t"
        ".popsection");

static void debug_registers(void) {
    group("local breakpoints");
    __asm__ volatile("movl %0, %%dr0\n\tmovl %1, %%dr7" ::"r"(0xFFFFFFF0), "r"(0x000D0703)); /* L0, G0; four bytes written */
    task_reset(32, CPL0, task_body);
    reset(CPL0);
    in.ebx = (u32)&pointer;
    pointer.selector = TASK;
    expect_done("CALL", call_task);
    u32 dr7;
    __asm__ volatile("movl %%dr7, %0" : "=r"(dr7));
    expect("DR7", dr7 & 0xFF, 2);
    __asm__ volatile("movl %0, %%dr7\n\tclts" ::"r"(0x400));
}

void program_main(void) {
    test_init();
    tasks_init();
    calls();
    jumps();
    nested();
    exceptions();
    double_fault();
    refusals();
    bad_links();
    data_segments();
    address_spaces();
    debug_registers();
    groups_end();
}

/*
 * Every exception of 32-bit protected mode that a program can raise: vector, error code, saved EIP, CR2, and that a
 * fault in the middle of an instruction leaves the registers and memory as they were (SDM volume 3, chapter 6).
 */
#include "test.h"

#define MISSING 0 /* indices of window pages */
#define KERNEL_READ 1
#define KERNEL_WRITE 2
#define USER_READ 3
#define USER_WRITE 4
#define GAP 5        /* not present, after USER_WRITE */
#define AFTER_GAP 6  /* user, writable */
#define READ_AFTER 7 /* user, read-only, after AFTER_GAP */

#define DATA_NOT_PRESENT 0x40 /* selectors in test_gdt, all DPL 0 unless they say */
#define DATA_DPL3 0x48
#define CODE_ONLY 0x50      /* execute-only */
#define DATA_READ_ONLY 0x58
#define CODE_NOT_PRESENT 0x60
#define LDT_NOT_PRESENT 0x68
#define CODE_RING1 0x70
#define DATA_RING1 0x78
#define GATE_RING1 0x80     /* call gate of DPL 3 to CODE_RING1 */
#define GATE_NOT_PRESENT 0x88
#define CODE_CONFORMING3 0x90
#define TSS_BUSY TSS_SELECTOR

/* #DE */
SNIPPET(div8, "movl $0x1234, %eax\n\txorl %ecx, %ecx\n7:\tdivb %cl");
SNIPPET(div16, "movl $5, %edx\n\tmovl $5, %ecx\n7:\tdivw %cx");
SNIPPET(div32, "movl $0x7FFFFFFF, %edx\n\tmovl $0x7FFFFFFF, %ecx\n7:\tdivl %ecx");
SNIPPET(idiv8, "movl $0x8000, %eax\n\tmovl $0xFF, %ecx\n7:\tidivb %cl");
SNIPPET(idiv32, "movl $0x80000000, %eax\n\tcltd\n\tmovl $-1, %ecx\n7:\tidivl %ecx");
SNIPPET(aam0, "7:\t.byte 0xD4, 0x00");

static void divide_errors(void) {
    static const struct {
        const char *name;
        const u8 *code, *at;
    } table[] = {{"DIV r8", div8, div8_at},     {"DIV r16", div16, div16_at},   {"DIV r32", div32, div32_at},
                 {"IDIV r8", idiv8, idiv8_at}, {"IDIV r32", idiv32, idiv32_at}, {"AAM 0", aam0, aam0_at}};
    group("divide error");
    for (u32 cpl = CPL0; cpl <= CPL3; cpl += 3)
        for (u32 i = 0; i < sizeof table / sizeof table[0]; i++) {
            reset(cpl);
            expect_trap(table[i].name, table[i].code, table[i].at, VECTOR_DIVIDE_ERROR, 0);
            expect("CS", caught.frame.cs, cpl ? USER_CS : KERNEL_CS);
            expect("SS", caught.frame.ss, cpl ? USER_DS : KERNEL_DS);
            expect("ESP", caught.frame.esp, in.esp);
        }
}

/* #DB by TF. Each STEP is an address at which a trap is to be reported, in order. */
__asm__(".pushsection .rodata.steps, \"a\"\n"
        "expected_steps:\n"
        ".popsection\n"
        ".macro STEP\n"
        ".pushsection .rodata.steps, \"a\"\n"
        ".long 77f\n"
        ".popsection\n"
        "77:\n"
        ".endm\n");
extern const u32 expected_steps[], expected_steps_end[];
SNIPPET(steps, "nop\nSTEP\n\t"
               "movl $3, %ecx\nSTEP\n\t"
               "pushfl\nSTEP\n\t"
               "popl %ebx\nSTEP\n\t"
               "call 1f\n\thlt\n"
               "1:\nSTEP\n\t"
               "popl %edx\nSTEP\n\t"
               "movl $5, %eax\nSTEP\n\t"
               "testl %eax, %eax\nSTEP\n\t"
               "jz 1f\nSTEP\n\t"
               "decl %eax\nSTEP\n"
               "1:\tjmp 2f\n\thlt\n"
               "2:\nSTEP\n\t"
               "movl %cs, %eax\nSTEP\n\t"
               "xchgl %eax, -4(%esp)\nSTEP\n\t"
               "cpuid\nSTEP\n\t"
               "lock incl -4(%esp)\nSTEP\n\t"
               "pushl $2\nSTEP\n\t"
               "popfl\nSTEP\n\t" /* clears TF: the last trap */
               "nop\n\tnop");
__asm__(".pushsection .rodata.steps, \"a\"\n"
        "expected_steps_end:\n"
        ".popsection\n");

/* POPF sets TF: the instruction after it is the first that traps. */
SNIPPET(set_trap_flag, "pushl $0x102\n\tpopfl\n\tnop\n7:\tnop");
SNIPPET(step_into_fault, "7:\tud2");
SNIPPET(int3, "int3\n7:");
SNIPPET(int_3, "int $3\n7:");
SNIPPET(into_set, "movb $0x7F, %al\n\tincb %al\n\tinto\n7:");
SNIPPET(into_clear, "xorl %eax, %eax\n\tinto");
SNIPPET(bound_below, "7:\tboundl %eax, (%ebx)");
SNIPPET(bound_word, "7:\tboundw %ax, (%ebx)");

static u32 step_count, steps_seen[64], flags_seen;
static void step(struct trap_frame *frame) {
    if (step_count < 64) steps_seen[step_count++] = frame->eip;
    flags_seen |= frame->eflags;
}
static u32 read_dr6(void) {
    u32 value;
    __asm__ volatile("movl %%dr6, %0" : "=r"(value));
    return value;
}
static void clear_dr6(void) { __asm__ volatile("movl %0, %%dr6" ::"r"(0xFFFF0FF0)); }

static void traps(void) {
    group("single step");
    for (u32 cpl = CPL0; cpl <= CPL3; cpl += 3) {
        set_trap_handler(VECTOR_DEBUG, step);
        clear_dr6();
        step_count = flags_seen = 0;
        reset(cpl);
        in.eflags |= EFLAGS_TF;
        expect_done("stepped code", steps);
        expect("number of traps", step_count, (u32)(expected_steps_end - expected_steps));
        for (u32 i = 0; i < step_count; i++) expect("address of a trap", steps_seen[i], expected_steps[i]);
        expect("first trap after IRET", steps_seen[0], expected_steps[0]);
        expect("TF or RF in the flags of traps", flags_seen & (EFLAGS_TF | EFLAGS_RF), EFLAGS_TF);
        expect("DR6.BS", read_dr6() & 0x4000, 0x4000);
        set_trap_handler(VECTOR_DEBUG, catch_trap);
        reset(cpl);
        EXPECT_TRAP("POPF sets TF", set_trap_flag, VECTOR_DEBUG, 0);
        reset(cpl);
        in.eflags |= EFLAGS_TF;
        EXPECT_TRAP("TF and a fault", step_into_fault, VECTOR_INVALID_OPCODE, 0);
        expect("TF in the image", caught.frame.eflags & EFLAGS_TF, EFLAGS_TF);
        clear_dr6();
    }

    group("INT3, INTO, BOUND");
    static const int bounds[2] USER_DATA = {-4, 9};
    static const short word_bounds[2] USER_DATA = {-4, 9};
    for (u32 cpl = CPL0; cpl <= CPL3; cpl += 3) {
        reset(cpl);
        EXPECT_TRAP("INT3", int3, VECTOR_BREAKPOINT, 0);
        expect_registers("INT3");
        reset(cpl);
        EXPECT_TRAP("INT 3", int_3, VECTOR_BREAKPOINT, 0);
        reset(cpl);
        EXPECT_TRAP("INTO with OF", into_set, VECTOR_OVERFLOW, 0);
        reset(cpl);
        expect_done("INTO without OF", into_clear);
        for (int value = -6; value <= 11; value++) {
            reset(cpl);
            in.eax = (u32)value;
            in.ebx = (u32)bounds;
            u32 vector = value < -4 || value > 9 ? 5 : DONE;
            expect("BOUND", run(bound_below), vector);
            expect("BOUND's EIP", caught.frame.eip == (u32)bound_below, vector == 5);
            in.ebx = (u32)word_bounds;
            expect("BOUND r16", run(bound_word), vector);
            expect_registers("BOUND");
        }
    }
}

/* #UD */
SNIPPET(ud2, "7:\tud2");
SNIPPET(lock_register, "7:\t.byte 0xF0, 0x01, 0xC8"); /* LOCK ADD EAX, ECX */
SNIPPET(load_cs, "7:\t.byte 0x8E, 0xC8");             /* MOV CS, EAX */
SNIPPET(segment6, "7:\t.byte 0x8E, 0xF0");            /* MOV segment register 6 */
SNIPPET(lea_register, "7:\t.byte 0x8D, 0xC0");        /* LEA EAX, EAX */
SNIPPET(group5_7, "7:\t.byte 0xFF, 0xF8");
SNIPPET(group4_2, "7:\t.byte 0xFE, 0xD0");
SNIPPET(cmpxchg8b_register, "7:\t.byte 0x0F, 0xC7, 0xC8");
SNIPPET(jmp_far_register, "7:\t.byte 0xFF, 0xE8");

static void undefined(void) {
    static const struct {
        const char *name;
        const u8 *code;
    } table[] = {{"UD2", ud2},
                 {"LOCK ADD r, r", lock_register},
                 {"MOV CS", load_cs},
                 {"MOV segment 6", segment6},
                 {"LEA r, r", lea_register},
                 {"FF /7", group5_7},
                 {"FE /2", group4_2},
                 {"CMPXCHG8B r", cmpxchg8b_register},
                 {"JMP FAR r", jmp_far_register}};
    group("invalid opcode");
    for (u32 cpl = CPL0; cpl <= CPL3; cpl += 3)
        for (u32 i = 0; i < sizeof table / sizeof table[0]; i++) {
            reset(cpl);
            in.ebx = (u32)test_gdt;
            expect_trap(table[i].name, table[i].code, table[i].code, VECTOR_INVALID_OPCODE, 0);
            expect_registers(table[i].name);
        }
}

/* #GP of privileged and I/O-sensitive instructions at CPL 3 */
#define PRIVILEGED(name, code) SNIPPET(name, "7:\t" code)
PRIVILEGED(p_cli, "cli");
PRIVILEGED(p_sti, "sti");
PRIVILEGED(p_hlt, "hlt");
PRIVILEGED(p_clts, "clts");
PRIVILEGED(p_lgdt, "lgdt (%ebx)");
PRIVILEGED(p_lidt, "lidt (%ebx)");
PRIVILEGED(p_lldt, "lldt %ax");
PRIVILEGED(p_ltr, "ltr %ax");
PRIVILEGED(p_lmsw, "lmsw %ax");
PRIVILEGED(p_invlpg, "invlpg (%ebx)");
PRIVILEGED(p_from_cr0, "movl %cr0, %eax");
PRIVILEGED(p_from_cr2, "movl %cr2, %eax");
PRIVILEGED(p_from_cr3, "movl %cr3, %eax");
PRIVILEGED(p_from_cr4, "movl %cr4, %eax");
PRIVILEGED(p_to_cr0, "movl %eax, %cr0");
PRIVILEGED(p_to_cr3, "movl %eax, %cr3");
PRIVILEGED(p_to_cr4, "movl %eax, %cr4");
PRIVILEGED(p_from_dr0, "movl %dr0, %eax");
PRIVILEGED(p_from_dr7, "movl %dr7, %eax");
PRIVILEGED(p_to_dr7, "movl %eax, %dr7");
PRIVILEGED(p_rdmsr, "rdmsr");
PRIVILEGED(p_wrmsr, "wrmsr");
PRIVILEGED(p_wbinvd, "wbinvd");
PRIVILEGED(p_sysexit, "sysexit");
PRIVILEGED(p_in8, "inb $0x80, %al");
PRIVILEGED(p_in32, "inl %dx, %eax");
PRIVILEGED(p_out8, "outb %al, %dx");
PRIVILEGED(p_out16, "outw %ax, $0x80");
PRIVILEGED(p_insb, "insb");
PRIVILEGED(p_outsl, "outsl");
PRIVILEGED(p_int, "int $0x20");     /* gates of DPL 0 */
PRIVILEGED(p_int_pf, "int $14");

static void privileged(void) {
#define ROW(name) {#name, p_##name}
    static const struct {
        const char *name;
        const u8 *code;
    } table[] = {ROW(cli),      ROW(sti),      ROW(hlt),      ROW(clts),     ROW(lgdt),    ROW(lidt),   ROW(lldt),
                 ROW(ltr),      ROW(lmsw),     ROW(invlpg),   ROW(from_cr0), ROW(from_cr2), ROW(from_cr3), ROW(from_cr4),
                 ROW(to_cr0),   ROW(to_cr3),   ROW(to_cr4),   ROW(from_dr0), ROW(from_dr7), ROW(to_dr7), ROW(rdmsr),
                 ROW(wrmsr),    ROW(wbinvd),   ROW(sysexit),  ROW(in8),      ROW(in32),    ROW(out8),   ROW(out16),
                 ROW(insb),     ROW(outsl)};
    group("privileged at CPL 3");
    for (u32 i = 0; i < sizeof table / sizeof table[0]; i++) {
        reset(CPL3);
        in.ebx = in.esi = in.edi = (u32)user_stack_top - 64;
        expect_trap(table[i].name, table[i].code, table[i].code, VECTOR_GENERAL_PROTECTION, 0);
        expect_registers(table[i].name);
    }
    reset(CPL3);
    EXPECT_TRAP("INT 20h", p_int, VECTOR_GENERAL_PROTECTION, 0x20 * 8 + 2);
    EXPECT_TRAP("INT 14", p_int_pf, VECTOR_GENERAL_PROTECTION, 14 * 8 + 2);
}

/* Descriptor loads */
SNIPPET(load_ds, "7:\tmovw %ax, %ds");
SNIPPET(load_ss, "7:\tmovw %ax, %ss");
SNIPPET(pop_es, "pushl %eax\n7:\tpopl %es");
SNIPPET(les, "movl %eax, 4(%esp)\n7:\tlesl (%esp), %ecx");
SNIPPET(lldt, "7:\tlldt %ax");
SNIPPET(ltr, "7:\tltr %ax");
SNIPPET(jump_far, "movl $1f, -16(%esp)\n\tmovl %eax, -12(%esp)\n7:\tljmpl *-16(%esp)\n1:");
SNIPPET(call_far, "movl $1f, -16(%esp)\n\tmovl %eax, -12(%esp)\n7:\tlcalll *-16(%esp)\n1:");
SNIPPET(iret_to, "pushl $2\n\tpushl %eax\n\tpushl $1f\n7:\tiret\n1:");
SNIPPET(lret_to, "pushl %eax\n\tpushl $1f\n7:\tlret\n1:");
SNIPPET(int_90, "7:\tint $0x90");
SNIPPET(int_3_plain, "7:\tint $3");

static void selector_case(const char *name, const u8 *code, const u8 *at, u32 cpl, u32 selector, u32 vector) {
    reset(cpl);
    in.esp -= 64;
    in.eax = selector;
    expect_trap(name, code, at, vector, selector & 0xFFFC);
}
#define SELECTOR(name, cpl, selector, vector) selector_case(#name, name, name##_at, cpl, selector, vector)

static void selectors(void) {
    test_gdt[DATA_NOT_PRESENT >> 3] = descriptor(0, 0xFFFFF, 0x13, 0xC);
    test_gdt[DATA_DPL3 >> 3] = descriptor(0, 0xFFFFF, 0xF3, 0xC);
    test_gdt[CODE_ONLY >> 3] = descriptor(0, 0xFFFFF, 0x99, 0xC);
    test_gdt[DATA_READ_ONLY >> 3] = descriptor(0, 0xFFFFF, 0x91, 0xC);
    test_gdt[CODE_NOT_PRESENT >> 3] = descriptor(0, 0xFFFFF, 0x1B, 0xC);
    test_gdt[LDT_NOT_PRESENT >> 3] = descriptor((u32)test_gdt, 7, 0x02, 0);
    test_gdt[CODE_RING1 >> 3] = descriptor(0, 0xFFFFF, 0xBB, 0xC);
    test_gdt[DATA_RING1 >> 3] = descriptor(0, 0xFFFFF, 0xB3, 0xC);
    test_gdt[GATE_RING1 >> 3] = gate(CODE_RING1, (u32)int3, 0xEC, 0);
    test_gdt[GATE_NOT_PRESENT >> 3] = gate(KERNEL_CS, (u32)int3, 0x6C, 0);
    test_gdt[CODE_CONFORMING3 >> 3] = descriptor(0, 0xFFFFF, 0xFF, 0xC);
    gdt_extend();
    __asm__ volatile("lldt %w0" ::"r"(0)); /* RESET leaves LDTR with base 0 and limit FFFFh */

    group("segment not present");
    SELECTOR(load_ds, CPL0, DATA_NOT_PRESENT, VECTOR_SEGMENT_NOT_PRESENT);
    SELECTOR(pop_es, CPL0, DATA_NOT_PRESENT, VECTOR_SEGMENT_NOT_PRESENT);
    SELECTOR(les, CPL0, DATA_NOT_PRESENT, VECTOR_SEGMENT_NOT_PRESENT);
    SELECTOR(jump_far, CPL0, CODE_NOT_PRESENT, VECTOR_SEGMENT_NOT_PRESENT);
    SELECTOR(call_far, CPL0, CODE_NOT_PRESENT, VECTOR_SEGMENT_NOT_PRESENT);
    SELECTOR(iret_to, CPL0, CODE_NOT_PRESENT, VECTOR_SEGMENT_NOT_PRESENT);
    SELECTOR(lret_to, CPL0, CODE_NOT_PRESENT, VECTOR_SEGMENT_NOT_PRESENT);
    SELECTOR(lldt, CPL0, LDT_NOT_PRESENT, VECTOR_SEGMENT_NOT_PRESENT);
    SELECTOR(call_far, CPL3, GATE_NOT_PRESENT | 3, VECTOR_SEGMENT_NOT_PRESENT);
    group("stack fault");
    SELECTOR(load_ss, CPL0, DATA_NOT_PRESENT, VECTOR_STACK_FAULT);

    group("general protection, selectors");
    SELECTOR(load_ds, CPL0, 0x200, VECTOR_GENERAL_PROTECTION); /* beyond the limit */
    SELECTOR(load_ds, CPL0, 0xFFF8, VECTOR_GENERAL_PROTECTION);
    SELECTOR(load_ds, CPL0, 0x0C, VECTOR_GENERAL_PROTECTION); /* LDT selector, no LDT */
    SELECTOR(load_ds, CPL0, CODE_ONLY, VECTOR_GENERAL_PROTECTION);
    SELECTOR(load_ds, CPL0, TSS_SELECTOR, VECTOR_GENERAL_PROTECTION);
    SELECTOR(load_ds, CPL0, KERNEL_DS | 3, VECTOR_GENERAL_PROTECTION); /* RPL > DPL */
    SELECTOR(load_ds, CPL3, KERNEL_DS, VECTOR_GENERAL_PROTECTION);     /* CPL > DPL */
    SELECTOR(pop_es, CPL3, KERNEL_DS, VECTOR_GENERAL_PROTECTION);
    SELECTOR(les, CPL3, KERNEL_DS, VECTOR_GENERAL_PROTECTION);
    SELECTOR(load_ss, CPL0, 0, VECTOR_GENERAL_PROTECTION);
    SELECTOR(load_ss, CPL0, DATA_READ_ONLY, VECTOR_GENERAL_PROTECTION);
    SELECTOR(load_ss, CPL0, KERNEL_CS, VECTOR_GENERAL_PROTECTION);
    SELECTOR(load_ss, CPL0, KERNEL_DS | 3, VECTOR_GENERAL_PROTECTION);
    SELECTOR(load_ss, CPL0, DATA_DPL3, VECTOR_GENERAL_PROTECTION);
    SELECTOR(load_ss, CPL3, DATA_DPL3, VECTOR_GENERAL_PROTECTION); /* RPL 0 */
    SELECTOR(lldt, CPL0, KERNEL_DS, VECTOR_GENERAL_PROTECTION);
    SELECTOR(lldt, CPL0, 0x0C, VECTOR_GENERAL_PROTECTION);
    SELECTOR(ltr, CPL0, TSS_BUSY, VECTOR_GENERAL_PROTECTION);
    SELECTOR(jump_far, CPL0, 0, VECTOR_GENERAL_PROTECTION);
    SELECTOR(jump_far, CPL0, 3, VECTOR_GENERAL_PROTECTION);
    SELECTOR(jump_far, CPL0, 0x208, VECTOR_GENERAL_PROTECTION);
    SELECTOR(jump_far, CPL0, KERNEL_DS, VECTOR_GENERAL_PROTECTION);
    SELECTOR(jump_far, CPL0, USER_CS, VECTOR_GENERAL_PROTECTION);          /* DPL != CPL */
    SELECTOR(jump_far, CPL0, KERNEL_CS | 3, VECTOR_GENERAL_PROTECTION);    /* RPL > CPL */
    SELECTOR(jump_far, CPL3, KERNEL_CS, VECTOR_GENERAL_PROTECTION);
    SELECTOR(jump_far, CPL0, CODE_CONFORMING3, VECTOR_GENERAL_PROTECTION); /* DPL > CPL */
    SELECTOR(call_far, CPL0, KERNEL_DS, VECTOR_GENERAL_PROTECTION);
    SELECTOR(call_far, CPL3, KERNEL_CS, VECTOR_GENERAL_PROTECTION);
    SELECTOR(iret_to, CPL0, 0, VECTOR_GENERAL_PROTECTION);
    SELECTOR(iret_to, CPL0, KERNEL_DS, VECTOR_GENERAL_PROTECTION);
    SELECTOR(iret_to, CPL3, KERNEL_CS, VECTOR_GENERAL_PROTECTION); /* to an inner ring */
    SELECTOR(lret_to, CPL0, 0, VECTOR_GENERAL_PROTECTION);
    SELECTOR(lret_to, CPL3, KERNEL_CS, VECTOR_GENERAL_PROTECTION);
    SELECTOR(lret_to, CPL0, KERNEL_DS, VECTOR_GENERAL_PROTECTION);
}

/* #TS, #SS: the stack of an inner ring. At ring 1 the gate's target is INT3. */
SNIPPET(call_ring1, "7:\tlcall $0x80, $0");

static void invalid_tss(void) {
    u32 *tss = tss_words();
    static const struct {
        const char *name;
        u32 ss1, vector, error_code;
    } table[] = {{"SS1 null", 0, VECTOR_INVALID_TSS, 0},
                 {"SS1 beyond the GDT", 0x201, VECTOR_INVALID_TSS, 0x200},
                 {"SS1 of RPL 0", DATA_RING1, VECTOR_INVALID_TSS, DATA_RING1},
                 {"SS1 of DPL 0", KERNEL_DS | 1, VECTOR_INVALID_TSS, KERNEL_DS},
                 {"SS1 code", CODE_RING1 | 1, VECTOR_INVALID_TSS, CODE_RING1}};
    static u8 stack1[256] __attribute__((aligned(16)));
    group("invalid TSS");
    tss[3] = (u32)stack1 + sizeof stack1;
    for (u32 i = 0; i < sizeof table / sizeof table[0]; i++) {
        tss[4] = table[i].ss1;
        reset(CPL3);
        expect_trap(table[i].name, call_ring1, call_ring1_at, table[i].vector, table[i].error_code);
        expect("CS", caught.frame.cs, USER_CS);
        expect_registers(table[i].name);
    }
    tss[4] = DATA_RING1 | 1;
    reset(CPL3); /* the gate itself is good: INT3 arrives from ring 1 (its stack is in a kernel page, as ring 1 may) */
    expect_trap("INT3 of ring 1", call_ring1, int3_at, VECTOR_BREAKPOINT, 0);
    expect("CS of ring 1", caught.frame.cs, CODE_RING1 | 1);
    expect("SS of ring 1", caught.frame.ss, DATA_RING1 | 1);
    expect("ESP of ring 1", caught.frame.esp, tss[3] - 16);
    expect("CS of the caller", MEMORY32(tss[3] - 12), USER_CS);
    expect("ESP of the caller", MEMORY32(tss[3] - 8), in.esp);
    expect("SS of the caller", MEMORY32(tss[3] - 4), USER_DS);
    tss[3] = tss[4] = 0;
}

/* Gates of the IDT that cannot be used */
SNIPPET(touch_missing, "7:\tmovl (%ebx), %eax");

static void bad_gate(const char *name, u32 entry, u64 value, const u8 *code, const u8 *at, u32 vector, u32 error_code, u32 mask) {
    u64 *idt = idt_entries(), saved = idt[entry];
    idt[entry] = value;
    reset(CPL0);
    in.ebx = WINDOW_AT(MISSING);
    in.eax = 0x7FF8; /* beyond the GDT */
    run(code);
    idt[entry] = saved;
    expect(name, caught.frame.vector, vector);
    expect("error code", caught.frame.error_code & mask, error_code);
    if (vector != VECTOR_DOUBLE_FAULT) expect("EIP", caught.frame.eip, (u32)at);
}

static void delivery(void) {
    u64 *idt = idt_entries();
    u64 good = idt[VECTOR_DOUBLE_FAULT];
    u64 absent = good & ~(1ull << 47), data = good & ~(0x1Full << 40), null_cs = good & ~(0xFFFFull << 16);
    u64 not_code = null_cs | (u64)KERNEL_DS << 16, absent_cs = null_cs | (u64)CODE_NOT_PRESENT << 16;
    group("double fault");
    bad_gate("#PF, gate not present", 14, absent, touch_missing, 0, VECTOR_DOUBLE_FAULT, 0, ~0u);
    bad_gate("#PF, no gate", 14, data, touch_missing, 0, VECTOR_DOUBLE_FAULT, 0, ~0u);
    bad_gate("#PF, CS null", 14, null_cs, touch_missing, 0, VECTOR_DOUBLE_FAULT, 0, ~0u);
    bad_gate("#GP, gate not present", 13, absent, load_ds, 0, VECTOR_DOUBLE_FAULT, 0, ~0u);
    bad_gate("#GP, no gate", 13, data, load_ds, 0, VECTOR_DOUBLE_FAULT, 0, ~0u);
    bad_gate("#DE, gate not present", 0, absent, aam0, 0, VECTOR_DOUBLE_FAULT, 0, ~0u);
    bad_gate("#DE, CS not code", 0, not_code, aam0, 0, VECTOR_DOUBLE_FAULT, 0, ~0u);
    group("faults of delivery"); /* EXT (bit 0) is not compared for exceptions: t-strict does */
    bad_gate("#UD, gate not present", 6, absent, ud2, ud2, VECTOR_SEGMENT_NOT_PRESENT, 6 * 8 + 2, ~1u);
    bad_gate("#UD, no gate", 6, data, ud2, ud2, VECTOR_GENERAL_PROTECTION, 6 * 8 + 2, ~1u);
    bad_gate("#UD, CS not present", 6, absent_cs, ud2, ud2, VECTOR_SEGMENT_NOT_PRESENT, CODE_NOT_PRESENT, ~1u);
    bad_gate("INT, gate not present", 0x90, absent, int_90, int_90, VECTOR_SEGMENT_NOT_PRESENT, 0x90 * 8 + 2, ~0u);
    bad_gate("INT, no gate", 0x90, data, int_90, int_90, VECTOR_GENERAL_PROTECTION, 0x90 * 8 + 2, ~0u);
    bad_gate("INT, CS null", 0x90, null_cs, int_90, int_90, VECTOR_GENERAL_PROTECTION, 0, ~0u);
    bad_gate("INT, CS not code", 0x90, not_code, int_90, int_90, VECTOR_GENERAL_PROTECTION, KERNEL_DS, ~0u);
    bad_gate("INT 3, gate not present", 3, absent, int_3_plain, int_3_plain, VECTOR_SEGMENT_NOT_PRESENT, 3 * 8 + 2, ~0u);
}

/* #PF */
SNIPPET(load, "7:\tmovl (%ebx), %eax");
SNIPPET(store, "7:\tmovl %eax, (%ebx)");
SNIPPET(exchange, "7:\txchgl %eax, (%ebx)");

static void page_faults(void) {
    group("page fault error codes");
    for (u32 page = MISSING; page <= USER_WRITE; page++)
        for (u32 cpl = CPL0; cpl <= CPL3; cpl += 3)
            for (u32 write = 0; write <= 2; write++) {
                u32 present = page != MISSING;
                /* An exchange with a page that cannot be read is in t-strict. */
                if (write == 2 && (!present || (cpl == 3 && page < USER_READ))) continue;
                u32 allowed = present && (cpl == 0 || page >= USER_READ) &&
                              (!write || page == KERNEL_WRITE || page == USER_WRITE); /* CR0.WP = 1 */
                u32 error_code = present | (write ? 2 : 0) | (cpl ? 4 : 0), address = WINDOW_AT(page) + 0x124 + 4 * write;
                const u8 *code = write == 2 ? exchange : write ? store : load;
                reset(cpl);
                in.ebx = address;
                if (allowed) {
                    expect_done("allowed access", code);
                    continue;
                }
                expect_trap("access", code, code, VECTOR_PAGE_FAULT, error_code);
                expect("CR2", caught.cr2, address);
                expect_registers("access");
            }
    for (u32 page = MISSING; page <= KERNEL_READ; page++) {
        const u8 *target = (const u8 *)WINDOW_AT(page);
        reset(CPL3);
        expect_trap("fetch", target, target, VECTOR_PAGE_FAULT, page == MISSING ? 4 : 5);
        expect("CR2", caught.cr2, (u32)target);
    }
    reset(CPL0);
    expect_trap("fetch at CPL 0", (u8 *)WINDOW_AT(MISSING), (u8 *)WINDOW_AT(MISSING), VECTOR_PAGE_FAULT, 0);

    /* An instruction whose second part is on a missing page: MOV EAX, imm32 two bytes before the gap. */
    u8 *end = (u8 *)WINDOW_AT(GAP) - 2;
    end[0] = 0xB8;
    for (u32 cpl = CPL0; cpl <= CPL3; cpl += 3) {
        reset(cpl);
        expect_trap("instruction across pages", end, end, VECTOR_PAGE_FAULT, cpl ? 4 : 0);
        expect("CR2", caught.cr2, WINDOW_AT(GAP));
        expect_registers("instruction across pages");
    }
}

/* Faults in the middle of an instruction, at CPL 3. ESP or EBX is what the address comes from. */
SNIPPET(m_push, "7:\tpushl %eax");
SNIPPET(m_push_mem, "7:\tpushl (%ebx)");
SNIPPET(m_pop, "7:\tpopl %eax");
SNIPPET(m_pop_mem, "7:\tpopl (%ebx)");
SNIPPET(m_call, "7:\tcall 1f\n1:");
SNIPPET(m_call_mem, "7:\tcall *(%ebx)");
SNIPPET(m_ret, "7:\tret");
SNIPPET(m_leave, "movl %ebx, %ebp\n7:\tleave");
SNIPPET(m_xchg, "7:\txchgl %eax, (%ebx)");
SNIPPET(m_cmpxchg, "7:\tcmpxchgl %ecx, (%ebx)");
SNIPPET(m_lock_cmpxchg, "7:\tlock cmpxchgl %ecx, (%ebx)");
SNIPPET(m_xadd, "7:\txaddl %ecx, (%ebx)");
SNIPPET(m_add, "7:\taddl %eax, (%ebx)");
SNIPPET(m_lock_add, "7:\tlock addl %eax, (%ebx)");
SNIPPET(m_inc, "7:\tincl (%ebx)");
SNIPPET(m_not, "7:\tnotl (%ebx)");
SNIPPET(m_shl, "7:\tshll $3, (%ebx)");
SNIPPET(m_shld, "7:\tshldl $3, %eax, (%ebx)");
SNIPPET(m_bts, "movl $0x8010, %eax\n7:\tbtsl %eax, -0x1000(%ebx)");
SNIPPET(m_setc, "7:\tsetc (%ebx)");
SNIPPET(m_sldt, "7:\tsldt (%ebx)");
SNIPPET(m_bound, "7:\tboundl %eax, (%ebx)");
SNIPPET(m_add_load, "7:\taddl (%ebx), %eax");
SNIPPET(m_store, "7:\tmovl %eax, (%ebx)");
SNIPPET(m_store16, "7:\tmovw %ax, (%ebx)");
SNIPPET(m_mul, "7:\tmull (%ebx)");
SNIPPET(m_div, "7:\tdivl (%ebx)");
SNIPPET(m_cmov, "7:\tcmovzl (%ebx), %ecx");
SNIPPET(m_pushal, "7:\tpushal");
SNIPPET(m_enter, "7:\tenter $16, $0");
SNIPPET(m_stos, "7:\tstosl");
SNIPPET(m_movs, "7:\tmovsl");
SNIPPET(m_cmps, "7:\tcmpsl");
SNIPPET(m_lods, "7:\tlodsl");

#define STACK 1   /* the address is ESP */
#define POINTER 2 /* the address is EBX, EDI and, where it reads, ESI */

static void restartable(void) {
    u32 gap = WINDOW_AT(GAP), after = WINDOW_AT(AFTER_GAP), read = WINDOW_AT(READ_AFTER);
    const struct {
        const char *name;
        const u8 *code, *at;
        u32 which, address, error_code, cr2;
    } table[] = {
#define M(name, which, address, error_code, cr2) {#name, m_##name, m_##name##_at, which, address, error_code, cr2}
        M(push, STACK, after, 6, after - 4),
        M(push, STACK, after + 2, 6, after - 2),
        M(push_mem, POINTER, gap + 4, 4, gap + 4),
        M(pop, STACK, gap, 4, gap),
        M(pop, STACK, gap - 1, 4, gap),
        M(pop_mem, POINTER, gap + 8, 6, gap + 8),
        M(pop_mem, POINTER, read + 8, 7, read + 8),
        M(call, STACK, after, 6, after - 4),
        M(call_mem, POINTER, gap, 4, gap),
        M(ret, STACK, gap, 4, gap),
        M(xchg, POINTER, read, 7, read),
        M(cmpxchg, POINTER, read, 7, read),
        M(lock_cmpxchg, POINTER, read, 7, read),
        M(xadd, POINTER, read, 7, read),
        M(add, POINTER, read, 7, read),
        M(add, POINTER, read - 2, 7, read),
        M(lock_add, POINTER, read, 7, read),
        M(inc, POINTER, read - 3, 7, read),
        M(not, POINTER, read, 7, read),
        M(shl, POINTER, read - 1, 7, read),
        M(shld, POINTER, read, 7, read),
        M(setc, POINTER, gap, 6, gap),
        M(sldt, POINTER, read + 6, 7, read + 6),
        M(bound, POINTER, gap, 4, gap),
        M(add_load, POINTER, gap - 1, 4, gap),
        M(store, POINTER, gap - 1, 6, gap),
        M(store, POINTER, gap - 3, 6, gap),
        M(store, POINTER, read - 2, 7, read),
        M(store16, POINTER, gap - 1, 6, gap),
        M(store, POINTER, after - 2, 6, after - 2),
        M(mul, POINTER, gap, 4, gap),
        M(div, POINTER, gap, 4, gap),
        M(cmov, POINTER, gap, 4, gap), /* loads even where the condition is false */
        M(enter, STACK, after, 6, after - 4),
        M(stos, POINTER, gap - 1, 6, gap),
        M(movs, POINTER, gap - 1, 4, gap),
        M(cmps, POINTER, gap, 4, gap),
        M(lods, POINTER, gap - 2, 4, gap),
    };
    group("faults within instructions");
    for (u32 i = 0; i < sizeof table / sizeof table[0]; i++) {
        for (u32 page = USER_WRITE; page <= AFTER_GAP; page += 2)
            for (u32 offset = 0; offset < PAGE_SIZE; offset += 4) MEMORY32(WINDOW_AT(page) + offset) = 0x11223344 + offset;
        reset(CPL3);
        in.eflags = table[i].which == STACK ? 0x2 : 0x2 | EFLAGS_CF | EFLAGS_OF;
        if (table[i].which == STACK) in.esp = table[i].address;
        else in.ebx = in.esi = in.edi = table[i].address;
        expect_trap(table[i].name, table[i].code, table[i].at, VECTOR_PAGE_FAULT, table[i].error_code);
        expect(table[i].name, caught.cr2, table[i].cr2);
        expect_registers(table[i].name);
        expect("status flags", caught.frame.eflags & EFLAGS_STATUS, in.eflags & EFLAGS_STATUS);
        for (u32 page = USER_WRITE; page <= AFTER_GAP; page += 2)
            for (u32 offset = 0; offset < PAGE_SIZE; offset += 4)
                if (MEMORY32(WINDOW_AT(page) + offset) != 0x11223344 + offset)
                    panic("%s wrote 0x%x before its fault", table[i].name, WINDOW_AT(page) + offset);
    }
    reset(CPL3);
    in.ebx = gap;
    run(m_leave);
    expect("LEAVE", caught.frame.vector, VECTOR_PAGE_FAULT);
    expect("LEAVE's ESP", caught.frame.esp, in.esp);
    expect("LEAVE's EBP", caught.frame.ebp, gap);
    reset(CPL3);
    in.ebx = read;
    EXPECT_TRAP("BTS with a bit offset", m_bts, VECTOR_PAGE_FAULT, 7);
    expect("CR2", caught.cr2, read);
    reset(CPL3);
    in.esp = after + 8;
    EXPECT_TRAP("PUSHA over the gap", m_pushal, VECTOR_PAGE_FAULT, 6);
    expect("page of CR2", caught.cr2 & PTE_FRAME, gap);
    expect_registers("PUSHA");
}

void program_main(void) {
    test_init();
    divide_errors();
    traps();
    undefined();
    privileged();
    map_page(WINDOW_AT(MISSING), 0, 0);
    window_page(KERNEL_READ, 0);
    window_page(KERNEL_WRITE, PTE_W);
    window_page(USER_READ, PTE_U);
    window_page(USER_WRITE, PTE_U | PTE_W);
    window_page(AFTER_GAP, PTE_U | PTE_W);
    window_page(READ_AFTER, PTE_U);
    selectors();
    invalid_tss();
    delivery();
    page_faults();
    restartable();
    groups_end();
}

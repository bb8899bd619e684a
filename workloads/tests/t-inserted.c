/*
 * Instructions in whose place a monitor puts something of its own, and memory that is not there: the operand, the stack, the second
 * page of either. The fault names the instruction and the address that the processor would, and finds all registers as they were;
 * when the page has come the instruction is done as if nothing had happened (SDM volume 3, 6.5: faults are restartable).
 */
#include "code.h"

#define BELOW WINDOW_AT(1)  /* always there: the first bytes of operands that lie across; the stack that a fault at CPL 0 pushes to */
#define ABSENT WINDOW_AT(2) /* not there until the handler has been */
#define ABOVE WINDOW_AT(3)  /* always there: the stack that pushes leave downwards, into ABSENT */
#define RIGHTS (PTE_U | PTE_W | PTE_P)

static u32 below_frame, absent_frame, above_frame;

/* What lies at the operand. */
enum content { TARGET, FLAGS, SELECTOR, FAR_DATA, NULL_SELECTOR, OTHER };

struct snippet {
    const char *what;
    const u8 *code, *at, *to; /* its beginning; the instruction that faults; where TARGET goes */
    u32 content, writes, size; /* size: bytes that it accesses first */
    u32 cpls;                  /* 1: CPL 0, 2: CPL 3 */
};
#define BOTH 3
#define KERNEL 1
#define USER 2

/* A row: the instruction, between registers that are known. A jump goes to 8. */
#define INSTRUCTION(name, code)                                                                                   \
    extern u8 name##_to[];                                                                                        \
    SNIPPET(name, "xorl %ebx, %esi\n\tstc\n7:\t" code "\n\tincl %ebx\n8:\n\t.set " #name "_to, 8b\n\t")
#define ROW(name, text, content, writes, size, cpls) {text, name, name##_at, name##_to, content, writes, size, cpls}

/* By EDI. */
INSTRUCTION(jump, "jmp *(%edi)");
INSTRUCTION(jump_indexed, "jmp *-8(%edi,%ecx,4)");
INSTRUCTION(jump_fs, "jmp *%fs:(%edi)");
INSTRUCTION(jump_gs, "jmp *%gs:(%edi)");
INSTRUCTION(call, "call *(%edi)");
INSTRUCTION(call_indexed, "call *-8(%edi,%ecx,4)");
INSTRUCTION(call_gs, "call *%gs:(%edi)");
INSTRUCTION(jump_far, "ljmp *(%edi)");
INSTRUCTION(call_far, "lcall *(%edi)");
INSTRUCTION(push, "pushl (%edi)");
INSTRUCTION(push_gs, "pushl %gs:(%edi)");
INSTRUCTION(pop, "popl (%edi)");
INSTRUCTION(load_gs, "movl %gs:(%edi), %eax");
INSTRUCTION(load_cs, "movl %cs:(%edi), %eax");
INSTRUCTION(store_gs, "movl %eax, %gs:(%edi)");
INSTRUCTION(add_gs, "adcl %eax, %gs:(%edi)");
INSTRUCTION(exchange_gs, "xchgl %edx, %gs:(%edi)");
INSTRUCTION(store_cs, "movw %cs, (%edi)");
INSTRUCTION(store_ds, "movw %ds, (%edi)");
INSTRUCTION(store_ds_indexed, "movw %ds, -8(%edi,%ecx,4)");
INSTRUCTION(store_ss, "movw %ss, %gs:(%edi)");
INSTRUCTION(smsw, "smsw (%edi)");
INSTRUCTION(smsw_indexed, "smsw -8(%edi,%ecx,4)");
INSTRUCTION(sgdt, "sgdt (%edi)");
INSTRUCTION(sidt, "sidt (%edi)");
INSTRUCTION(sldt, "sldt (%edi)");
INSTRUCTION(str, "str (%edi)");
INSTRUCTION(load_es, "movw (%edi), %es");
INSTRUCTION(load_ds, "movw (%edi), %ds");
INSTRUCTION(load_far_es, "les (%edi), %eax");
INSTRUCTION(load_far_gs, "lgs (%edi), %eax");
INSTRUCTION(lar, "lar (%edi), %eax");
INSTRUCTION(lsl, "lsl (%edi), %eax");
INSTRUCTION(verr, "verr (%edi)");
INSTRUCTION(verw, "verw (%edi)");
INSTRUCTION(lmsw, "lmsw (%edi)");
INSTRUCTION(lldt, "lldt (%edi)");
INSTRUCTION(in_string, "insb");
INSTRUCTION(out_string, "xchgl %esi, %edi\n7:\toutsb\n\txchgl %esi, %edi\n\tincl %edi\n\tdecl %esi");
static const struct snippet operands[] = {
    ROW(jump, "JMP [m]", TARGET, 0, 4, BOTH),
    ROW(jump_indexed, "JMP [m + r * 4]", TARGET, 0, 4, BOTH),
    ROW(jump_fs, "JMP fs:[m]", TARGET, 0, 4, BOTH),
    ROW(jump_gs, "JMP gs:[m]", TARGET, 0, 4, BOTH),
    ROW(call, "CALL [m]", TARGET, 0, 4, BOTH),
    ROW(call_indexed, "CALL [m + r * 4]", TARGET, 0, 4, BOTH),
    ROW(call_gs, "CALL gs:[m]", TARGET, 0, 4, BOTH),
    ROW(jump_far, "JMP far [m]", TARGET, 0, 4, BOTH),
    ROW(call_far, "CALL far [m]", TARGET, 0, 4, BOTH),
    ROW(push, "PUSH [m]", OTHER, 0, 4, BOTH),
    ROW(push_gs, "PUSH gs:[m]", OTHER, 0, 4, BOTH),
    ROW(pop, "POP [m]", OTHER, 1, 4, BOTH),
    ROW(load_gs, "MOV r, gs:[m]", OTHER, 0, 4, BOTH),
    ROW(load_cs, "MOV r, cs:[m]", OTHER, 0, 4, BOTH),
    ROW(store_gs, "MOV gs:[m], r", OTHER, 1, 4, BOTH),
    ROW(add_gs, "ADC gs:[m], r", OTHER, 2, 4, BOTH),
    ROW(exchange_gs, "XCHG gs:[m], r", OTHER, 2, 4, BOTH),
    ROW(store_cs, "MOV [m], CS", OTHER, 1, 2, BOTH),
    ROW(store_ds, "MOV [m], DS", OTHER, 1, 2, BOTH),
    ROW(store_ds_indexed, "MOV [m + r * 4], DS", OTHER, 1, 2, BOTH),
    ROW(store_ss, "MOV gs:[m], SS", OTHER, 1, 2, BOTH),
    ROW(smsw, "SMSW [m]", OTHER, 1, 2, BOTH),
    ROW(smsw_indexed, "SMSW [m + r * 4]", OTHER, 1, 2, BOTH),
    ROW(sgdt, "SGDT", OTHER, 1, 2, BOTH),
    ROW(sidt, "SIDT", OTHER, 1, 2, BOTH),
    ROW(sldt, "SLDT [m]", OTHER, 1, 2, BOTH),
    ROW(str, "STR [m]", OTHER, 1, 2, BOTH),
    ROW(load_es, "MOV ES, [m]", SELECTOR, 0, 2, BOTH),
    ROW(load_ds, "MOV DS, [m]", SELECTOR, 0, 2, BOTH),
    ROW(load_far_es, "LES", FAR_DATA, 0, 4, BOTH),
    ROW(load_far_gs, "LGS", FAR_DATA, 0, 4, BOTH),
    ROW(lar, "LAR [m]", SELECTOR, 0, 2, KERNEL),
    ROW(lsl, "LSL [m]", SELECTOR, 0, 2, KERNEL),
    ROW(verr, "VERR [m]", SELECTOR, 0, 2, BOTH),
    ROW(verw, "VERW [m]", SELECTOR, 0, 2, BOTH),
    ROW(lmsw, "LMSW [m]", NULL_SELECTOR, 0, 2, KERNEL),
    ROW(lldt, "LLDT [m]", NULL_SELECTOR, 0, 2, KERNEL),
    ROW(in_string, "INS", OTHER, 1, 1, KERNEL),
    ROW(out_string, "OUTS", OTHER, 0, 1, KERNEL),
};

/* By ESP, upwards. A fault at CPL 0 pushes its frame below. */
INSTRUCTION(ret, "ret");
INSTRUCTION(ret_n, "ret $12");
INSTRUCTION(ret_far, "lret");
INSTRUCTION(ret_far_n, "lret $8");
INSTRUCTION(return_from_interrupt, "iret");
INSTRUCTION(pop_flags, "popfl");
INSTRUCTION(pop_flags16, "popfw");
INSTRUCTION(pop_ds, "popl %ds");
INSTRUCTION(pop_es, "popw %es");
INSTRUCTION(pop_fs, "popl %fs");
INSTRUCTION(pop_gs, "popl %gs");
static const struct snippet pops[] = {
    ROW(ret, "RET", TARGET, 0, 4, BOTH),
    ROW(ret_n, "RET n", TARGET, 0, 4, BOTH),
    ROW(ret_far, "RET far", TARGET, 0, 4, BOTH),
    ROW(ret_far_n, "RET far n", TARGET, 0, 4, BOTH),
    ROW(return_from_interrupt, "IRET", TARGET, 0, 4, BOTH),
    ROW(pop_flags, "POPFD", FLAGS, 0, 4, BOTH),
    ROW(pop_flags16, "POPF", FLAGS, 0, 2, BOTH),
    ROW(pop_ds, "POP DS", SELECTOR, 0, 2, BOTH),
    ROW(pop_es, "POP ES", SELECTOR, 0, 2, BOTH),
    ROW(pop_fs, "POP FS", SELECTOR, 0, 2, BOTH),
    ROW(pop_gs, "POP GS", SELECTOR, 0, 2, BOTH),
};

/* By ESP, downwards: at CPL 3, whose faults have a stack of their own. */
INSTRUCTION(call_near, "call 8f");
INSTRUCTION(call_register, "movl $8f, %eax\n7:\tcall *%eax");
INSTRUCTION(call_memory, "call *(%edi)");
INSTRUCTION(push_flags, "pushfl");
INSTRUCTION(push_flags16, "pushfw");
INSTRUCTION(push_cs, "pushl %cs");
INSTRUCTION(push_ds, "pushl %ds");
INSTRUCTION(push_es16, "pushw %es");
INSTRUCTION(push_fs, "pushl %fs");
INSTRUCTION(push_gs_register, "pushl %gs");
static const struct snippet pushes[] = {
    ROW(call_near, "CALL", OTHER, 1, 4, USER),
    ROW(call_register, "CALL r", OTHER, 1, 4, USER),
    ROW(call_memory, "CALL [m]", TARGET, 1, 4, USER),
    ROW(push_flags, "PUSHFD", OTHER, 1, 4, USER),
    ROW(push_flags16, "PUSHF", OTHER, 1, 2, USER),
    ROW(push_cs, "PUSH CS", OTHER, 1, 4, USER),
    ROW(push_ds, "PUSH DS", OTHER, 1, 4, USER),
    ROW(push_es16, "PUSH ES", OTHER, 1, 2, USER),
    ROW(push_fs, "PUSH FS", OTHER, 1, 4, USER),
    ROW(push_gs_register, "PUSH GS", OTHER, 1, 4, USER),
};

static u32 faults;
static void present(struct trap_frame *frame) {
    faults++;
    map_page(ABSENT, absent_frame, RIGHTS);
}

/* The three pages, by their frames; ABSENT is not there. `linear`: where the operand is. */
static void prepare(const struct snippet *snippet, u32 cpl, u32 linear) {
    u32 content[3] = {0x12345678, 0x9ABCDEF0, 0x13579BDF};
    switch (snippet->content) {
    case TARGET:
        content[0] = (u32)snippet->to, content[1] = cpl ? USER_CS : KERNEL_CS, content[2] = EFLAGS_ZF | EFLAGS_OF | 2;
        break;
    case FLAGS:
        content[0] = EFLAGS_ZF | EFLAGS_SF | EFLAGS_DF | 2;
        break;
    case SELECTOR:
        content[0] = cpl ? USER_DS : KERNEL_DS;
        break;
    case FAR_DATA:
        content[1] = cpl ? USER_DS : KERNEL_DS;
        break;
    case NULL_SELECTOR:
        content[0] = 0;
    }
    for (u32 i = 0; i < PAGE_SIZE; i += 4) MEMORY32(below_frame + i) = MEMORY32(absent_frame + i) = MEMORY32(above_frame + i) = i * 0x9E3779B9u;
    for (u32 i = 0; i < sizeof content; i++) {
        u32 at = linear + i, frame = at < ABSENT ? below_frame : at < ABOVE ? absent_frame : above_frame;
        MEMORY8(frame + at % PAGE_SIZE) = ((u8 *)content)[i];
    }
    unmap_page(ABSENT);
}

/* From the beginning to the end, or to the fault. */
static u32 begin(const struct snippet *snippet, u32 cpl, u32 edi, u32 esp) {
    reset(cpl);
    in.ecx = 2;
    in.edx = 0x80; /* a port that takes everything */
    in.edi = edi;
    if (esp) in.esp = esp;
    in.eflags |= EFLAGS_SF | EFLAGS_PF;
    return run(snippet->code);
}

static u32 memory_sum(u32 frame) {
    u32 sum = 0;
    for (u32 i = 0; i < PAGE_SIZE; i += 4) sum = (sum << 5 | sum >> 27) ^ MEMORY32(frame + i);
    return sum;
}

static void one(const struct snippet *snippet, u32 cpl, u32 linear, u32 edi, u32 esp, u32 cr2) {
    struct outcome before, there, restarted;
    u32 sums[2];
    prepare(snippet, cpl, linear);
    expect(snippet->what, begin(snippet, cpl, edi, esp), VECTOR_PAGE_FAULT);
    expect(snippet->what, caught.frame.eip - (u32)snippet->code, snippet->at - snippet->code);
    expect(snippet->what, caught.cr2, cr2);
    /* What QEMU reports otherwise is left out: that a read-modify-write writes, that a far return reads for CPL 3. */
    u32 access = (cpl && snippet->content != TARGET ? 4 : 0) | (snippet->writes == 1 ? 2 : 0);
    expect(snippet->what, caught.frame.error_code & ~(snippet->content == TARGET ? 4u : 0u) & ~(snippet->writes == 2 ? 2u : 0u), access);
    outcome_of_trap(&before);
    expect("ESP", before.pushed, 0);
    expect("EFLAGS", caught.frame.eflags & ~EFLAGS_RF & ~EFLAGS_AF, (in.eflags & EFLAGS_IF) | before.eflags | 2);
    expect("CF", before.eflags & EFLAGS_CF, EFLAGS_CF);
    expect("ECX", before.registers[1], in.ecx);
    expect("EDX", before.registers[2], in.edx);
    expect("EBX", before.registers[3], in.ebx);
    expect("EBP", before.registers[5], in.ebp);
    expect("ESI and EDI", before.registers[6] ^ before.registers[7], in.esi ^ in.ebx ^ in.edi);
    expect("DS", caught.frame.ds & 0xFFFF, in.ds);
    expect("ES", caught.frame.es & 0xFFFF, in.es);
    expect("FS", caught.frame.fs & 0xFFFF, in.fs);
    expect("GS", caught.frame.gs & 0xFFFF, in.gs);
    /* All there from the beginning. */
    prepare(snippet, cpl, linear);
    map_page(ABSENT, absent_frame, RIGHTS);
    expect(snippet->what, begin(snippet, cpl, edi, esp), DONE);
    outcome_of_trap(&there);
    u32 selectors[2] = {caught.frame.ds << 16 | (caught.frame.es & 0xFFFF), caught.frame.fs << 16 | (caught.frame.gs & 0xFFFF)};
    sums[0] = memory_sum(absent_frame), sums[1] = memory_sum(above_frame);
    /* It comes when the instruction asks for it. */
    prepare(snippet, cpl, linear);
    faults = 0;
    set_trap_handler(VECTOR_PAGE_FAULT, present);
    expect(snippet->what, begin(snippet, cpl, edi, esp), DONE);
    set_trap_handler(VECTOR_PAGE_FAULT, catch_trap);
    expect("faults", faults, 1);
    outcome_of_trap(&restarted);
    expect_outcome(snippet->what, &restarted, &there);
    expect("DS and ES", caught.frame.ds << 16 | (caught.frame.es & 0xFFFF), selectors[0]);
    expect("FS and GS", caught.frame.fs << 16 | (caught.frame.gs & 0xFFFF), selectors[1]);
    expect("memory", memory_sum(absent_frame) == sums[0] && memory_sum(above_frame) == sums[1], 1);
}

#define EACH(snippet, rows) for (const struct snippet *snippet = rows; snippet < rows + sizeof rows / sizeof rows[0]; snippet++)

/* Each three times: what is put in an instruction's place may change when it has faulted often. */
static void all(u32 cpl) {
    u32 mine = cpl ? USER : KERNEL;
    EACH(snippet, operands) {
        if (!(snippet->cpls & mine)) continue;
        for (u32 again = 0; again < 3; again++) one(snippet, cpl, ABSENT + 16, ABSENT + 16, 0, ABSENT + 16);
        for (u32 first = 1; first < snippet->size; first++) one(snippet, cpl, ABSENT - first, ABSENT - first, 0, ABSENT);
    }
    EACH(snippet, pops) {
        for (u32 again = 0; again < 3; again++) one(snippet, cpl, ABSENT, 0, ABSENT, ABSENT);
        for (u32 first = 1; first < snippet->size; first++) one(snippet, cpl, ABSENT - first, 0, ABSENT - first, ABSENT);
    }
    EACH(snippet, pushes) {
        if (!(snippet->cpls & mine)) continue;
        u32 edi = ABOVE + 64;
        for (u32 again = 0; again < 3; again++) one(snippet, cpl, edi, edi, ABOVE, ABOVE - snippet->size);
        for (u32 above = 1; above < snippet->size; above++) one(snippet, cpl, edi, edi, ABOVE + above, ABOVE + above - snippet->size);
    }
}

/* Those that read more than one word of their stack or operand: the second and the third are not there. */
static void later_words(u32 cpl) {
    static const struct snippet rows[] = {
        ROW(ret_far, "RET far", TARGET, 0, 4, BOTH),   ROW(return_from_interrupt, "IRET", TARGET, 0, 4, BOTH),
        ROW(jump_far, "JMP far", TARGET, 0, 4, BOTH),  ROW(load_far_es, "LES", FAR_DATA, 0, 4, BOTH),
    };
    for (u32 i = 0; i < 4; i++) {
        u32 stack = i < 2;
        one(&rows[i], cpl, ABSENT - 4, stack ? 0 : ABSENT - 4, stack ? ABSENT - 4 : 0, ABSENT);
        if (i == 1) one(&rows[i], cpl, ABSENT - 8, 0, ABSENT - 8, ABSENT);
    }
    /* A call pushes where nothing is: its target is known by then, and is not gone to. */
    if (cpl == CPL3) {
        static const struct snippet far = ROW(call_far, "CALL far", TARGET, 1, 4, USER);
        one(&far, cpl, ABOVE + 64, ABOVE + 64, ABOVE + 4, ABSENT + PAGE_SIZE - 4);
    }
}

void program_main(void) {
    test_init();
    below_frame = window_page(1, PTE_U | PTE_W);
    absent_frame = window_page(2, PTE_U | PTE_W);
    above_frame = window_page(3, PTE_U | PTE_W);
    for (u32 cpl = CPL0; cpl <= CPL3; cpl += 3) {
        group(cpl ? "at CPL 3" : "at CPL 0");
        all(cpl);
        later_words(cpl);
    }
    groups_end();
}

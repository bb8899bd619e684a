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

/* A row: the instruction, between registers that are known; a jump goes to 8. Then what struct snippet says of it. */
#define DEFINE(name, code, ...)                                                                                   \
    extern u8 name##_to[];                                                                                        \
    SNIPPET(name, "xorl %ebx, %esi\n\tstc\n7:\t" code "\n\tincl %ebx\n8:\n\t.set " #name "_to, 8b\n\t");
#define ROW(name, code, text, ...) {text, name, name##_at, name##_to, __VA_ARGS__},

/* By EDI. */
#define OPERANDS(X) \
    X(jump, "jmp *(%edi)", "JMP [m]", TARGET, 0, 4, BOTH) \
    X(jump_indexed, "jmp *-8(%edi,%ecx,4)", "JMP [m + r * 4]", TARGET, 0, 4, BOTH) \
    X(jump_fs, "jmp *%fs:(%edi)", "JMP fs:[m]", TARGET, 0, 4, BOTH) \
    X(jump_gs, "jmp *%gs:(%edi)", "JMP gs:[m]", TARGET, 0, 4, BOTH) \
    X(call, "call *(%edi)", "CALL [m]", TARGET, 0, 4, BOTH) \
    X(call_indexed, "call *-8(%edi,%ecx,4)", "CALL [m + r * 4]", TARGET, 0, 4, BOTH) \
    X(call_gs, "call *%gs:(%edi)", "CALL gs:[m]", TARGET, 0, 4, BOTH) \
    X(jump_far, "ljmp *(%edi)", "JMP far [m]", TARGET, 0, 4, BOTH) \
    X(call_far, "lcall *(%edi)", "CALL far [m]", TARGET, 0, 4, BOTH) \
    X(push, "pushl (%edi)", "PUSH [m]", OTHER, 0, 4, BOTH) \
    X(push_gs, "pushl %gs:(%edi)", "PUSH gs:[m]", OTHER, 0, 4, BOTH) \
    X(pop, "popl (%edi)", "POP [m]", OTHER, 1, 4, BOTH) \
    X(load_gs, "movl %gs:(%edi), %eax", "MOV r, gs:[m]", OTHER, 0, 4, BOTH) \
    X(load_cs, "movl %cs:(%edi), %eax", "MOV r, cs:[m]", OTHER, 0, 4, BOTH) \
    X(store_gs, "movl %eax, %gs:(%edi)", "MOV gs:[m], r", OTHER, 1, 4, BOTH) \
    X(add_gs, "adcl %eax, %gs:(%edi)", "ADC gs:[m], r", OTHER, 2, 4, BOTH) \
    X(exchange_gs, "xchgl %edx, %gs:(%edi)", "XCHG gs:[m], r", OTHER, 2, 4, BOTH) \
    X(store_cs, "movw %cs, (%edi)", "MOV [m], CS", OTHER, 1, 2, BOTH) \
    X(store_ds, "movw %ds, (%edi)", "MOV [m], DS", OTHER, 1, 2, BOTH) \
    X(store_ds_indexed, "movw %ds, -8(%edi,%ecx,4)", "MOV [m + r * 4], DS", OTHER, 1, 2, BOTH) \
    X(store_ss, "movw %ss, %gs:(%edi)", "MOV gs:[m], SS", OTHER, 1, 2, BOTH) \
    X(smsw, "smsw (%edi)", "SMSW [m]", OTHER, 1, 2, BOTH) \
    X(smsw_indexed, "smsw -8(%edi,%ecx,4)", "SMSW [m + r * 4]", OTHER, 1, 2, BOTH) \
    X(sgdt, "sgdt (%edi)", "SGDT", OTHER, 1, 2, BOTH) \
    X(sidt, "sidt (%edi)", "SIDT", OTHER, 1, 2, BOTH) \
    X(sldt, "sldt (%edi)", "SLDT [m]", OTHER, 1, 2, BOTH) \
    X(str, "str (%edi)", "STR [m]", OTHER, 1, 2, BOTH) \
    X(load_es, "movw (%edi), %es", "MOV ES, [m]", SELECTOR, 0, 2, BOTH) \
    X(load_ds, "movw (%edi), %ds", "MOV DS, [m]", SELECTOR, 0, 2, BOTH) \
    X(load_far_es, "les (%edi), %eax", "LES", FAR_DATA, 0, 4, BOTH) \
    X(load_far_gs, "lgs (%edi), %eax", "LGS", FAR_DATA, 0, 4, BOTH) \
    X(lar, "lar (%edi), %eax", "LAR [m]", SELECTOR, 0, 2, KERNEL) \
    X(lsl, "lsl (%edi), %eax", "LSL [m]", SELECTOR, 0, 2, KERNEL) \
    X(verr, "verr (%edi)", "VERR [m]", SELECTOR, 0, 2, BOTH) \
    X(verw, "verw (%edi)", "VERW [m]", SELECTOR, 0, 2, BOTH) \
    X(lmsw, "lmsw (%edi)", "LMSW [m]", NULL_SELECTOR, 0, 2, KERNEL) \
    X(lldt, "lldt (%edi)", "LLDT [m]", NULL_SELECTOR, 0, 2, KERNEL) \
    X(in_string, "insb", "INS", OTHER, 1, 1, KERNEL) \
    X(out_string, "xchgl %esi, %edi\n7:\toutsb\n\txchgl %esi, %edi\n\tincl %edi\n\tdecl %esi", "OUTS", OTHER, 0, 1, KERNEL)
OPERANDS(DEFINE)
static const struct snippet operands[] = {OPERANDS(ROW)};

/* By ESP, upwards. A fault at CPL 0 pushes its frame below. */
#define POPS(X) \
    X(ret, "ret", "RET", TARGET, 0, 4, BOTH) \
    X(ret_n, "ret $12", "RET n", TARGET, 0, 4, BOTH) \
    X(ret_far, "lret", "RET far", TARGET, 0, 4, BOTH) \
    X(ret_far_n, "lret $8", "RET far n", TARGET, 0, 4, BOTH) \
    X(return_from_interrupt, "iret", "IRET", TARGET, 0, 4, BOTH) \
    X(pop_flags, "popfl", "POPFD", FLAGS, 0, 4, BOTH) \
    X(pop_flags16, "popfw", "POPF", FLAGS, 0, 2, BOTH) \
    X(pop_ds, "popl %ds", "POP DS", SELECTOR, 0, 2, BOTH) \
    X(pop_es, "popw %es", "POP ES", SELECTOR, 0, 2, BOTH) \
    X(pop_fs, "popl %fs", "POP FS", SELECTOR, 0, 2, BOTH) \
    X(pop_gs, "popl %gs", "POP GS", SELECTOR, 0, 2, BOTH)
POPS(DEFINE)
static const struct snippet pops[] = {POPS(ROW)};

/* By ESP, downwards: at CPL 3, whose faults have a stack of their own. */
#define PUSHES(X) \
    X(call_near, "call 8f", "CALL", OTHER, 1, 4, USER) \
    X(call_register, "movl $8f, %eax\n7:\tcall *%eax", "CALL r", OTHER, 1, 4, USER) \
    X(call_memory, "call *(%edi)", "CALL [m]", TARGET, 1, 4, USER) \
    X(push_flags, "pushfl", "PUSHFD", OTHER, 1, 4, USER) \
    X(push_flags16, "pushfw", "PUSHF", OTHER, 1, 2, USER) \
    X(push_cs, "pushl %cs", "PUSH CS", OTHER, 1, 4, USER) \
    X(push_ds, "pushl %ds", "PUSH DS", OTHER, 1, 4, USER) \
    X(push_es16, "pushw %es", "PUSH ES", OTHER, 1, 2, USER) \
    X(push_fs, "pushl %fs", "PUSH FS", OTHER, 1, 4, USER) \
    X(push_gs_register, "pushl %gs", "PUSH GS", OTHER, 1, 4, USER)
PUSHES(DEFINE)
static const struct snippet pushes[] = {PUSHES(ROW)};

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
        ROW(ret_far, , "RET far", TARGET, 0, 4, BOTH) ROW(return_from_interrupt, , "IRET", TARGET, 0, 4, BOTH)
        ROW(jump_far, , "JMP far", TARGET, 0, 4, BOTH) ROW(load_far_es, , "LES", FAR_DATA, 0, 4, BOTH)
    };
    for (u32 i = 0; i < 4; i++) {
        u32 stack = i < 2;
        one(&rows[i], cpl, ABSENT - 4, stack ? 0 : ABSENT - 4, stack ? ABSENT - 4 : 0, ABSENT);
        if (i == 1) one(&rows[i], cpl, ABSENT - 8, 0, ABSENT - 8, ABSENT);
    }
    /* A call pushes where nothing is: its target is known by then, and is not gone to. */
    if (cpl == CPL3) {
        static const struct snippet far[] = {ROW(call_far, , "CALL far", TARGET, 1, 4, USER)};
        one(far, cpl, ABOVE + 64, ABOVE + 64, ABOVE + 4, ABSENT + PAGE_SIZE - 4);
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

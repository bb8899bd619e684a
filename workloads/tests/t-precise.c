/*
 * Events in the middle of stretches of code: whatever runs the code, a fault, a breakpoint or a single step finds the
 * registers, the flags and the memory that the instructions before it have left, and nothing of those behind it. The
 * reference is the processor's own single step (SDM volume 3, 17.3.1.4): what it saw at each boundary must be there again when
 * any other event stops the same stretch at that boundary.
 */
#include "code.h"

#define CODE WINDOW_AT(0) /* two pages of code */
#define CODE_PAGES 2u
#define DATA WINDOW_AT(4) /* a page that stretches load from and store to; ABSENT has its offsets, and is never there */
#define ABSENT WINDOW_AT(5)
#define DATA_WORDS 16u
#define LENGTH 40u
#define RIGHTS (PTE_U | PTE_W | PTE_P)

/* What was there at a boundary. */
struct boundary {
    struct outcome outcome;
    u32 eip, memory;
};
static struct boundary trace[LENGTH + 2]; /* n: before instruction n */
static u32 seen;                          /* of them, but the first */

/* A stretch: where its instructions begin, and where they have the address of their operand in memory, 0 without one. */
static u32 begins[LENGTH + 1], operands[LENGTH];
static u32 cpl, data_frame;

static void look(struct boundary *boundary, const struct trap_frame *frame, u32 esp) {
    outcome_of(frame, esp, &boundary->outcome);
    boundary->eip = frame->eip;
    boundary->memory = 0;
    for (u32 i = 0; i < DATA_WORDS; i++) boundary->memory = (boundary->memory << 7 | boundary->memory >> 25) + ((u32 *)data_frame)[i];
}

/* What the last run ended with, `behind` bytes back. */
static void look_back(struct boundary *boundary, u32 behind) {
    look(boundary, &caught.frame, caught.frame.esp);
    boundary->eip -= behind;
}

static void expect_boundary(const char *what, const struct boundary *found, const struct boundary *expected) {
    expect_outcome(what, &found->outcome, &expected->outcome);
    expect(what, found->eip, expected->eip);
    expect(what, found->memory, expected->memory);
}

/* A random instruction. Memory is addressed absolutely, registers are any but ESP. */
static u32 some(void) {
    static const u8 registers[] = {0, 1, 2, 3, 5, 6, 7};
    return registers[random32() % sizeof registers];
}
static void memory_operand(u32 n, u32 digit) {
    *at++ = 0x05 | digit << 3;
    operands[n] = (u32)at;
    word(DATA + random32() % (DATA_WORDS * 4 - 4));
}
static void instruction(u32 n) {
    static const u8 flags[] = {0xF5, 0xF8, 0xF9, 0xFC, 0xFD, 0x9E, 0x98, 0x99}; /* CMC CLC STC CLD STD SAHF CWDE CDQ */
    u32 operation = (random32() & 7) << 3;
    operands[n] = 0;
    switch (random32() % 16) {
    case 0:
    case 1: /* ADD OR ADC SBB AND SUB XOR CMP */
        *at++ = operation | 3;
        *at++ = 0xC0 | some() << 3 | some();
        break;
    case 2:
        *at++ = operation | 3;
        memory_operand(n, some());
        break;
    case 3:
        *at++ = operation | 1;
        memory_operand(n, some());
        break;
    case 4: /* with an immediate */
        *at++ = 0x81;
        memory_operand(n, operation >> 3);
        word(random32());
        break;
    case 5:
        *at++ = 0x66;
        *at++ = operation | 1;
        memory_operand(n, some());
        break;
    case 6: /* XCHG, MOV to and from memory */
        *at++ = 0x87 + 2 * (random32() % 3);
        memory_operand(n, some());
        break;
    case 7: /* INC, DEC */
        *at++ = 0x40 | (random32() & 8) | some();
        break;
    case 8: /* LEA r, [r + r * 4 + disp8] */
        *at++ = 0x8D;
        *at++ = 0x44 | some() << 3;
        *at++ = 0x80 | some() << 3 | 3;
        *at++ = random32();
        break;
    case 9: /* SETcc CL */
        *at++ = 0x0F;
        *at++ = 0x90 | (random32() & 15);
        *at++ = 0xC1;
        break;
    case 10: /* CMOVcc */
        *at++ = 0x0F;
        *at++ = 0x40 | (random32() & 15);
        *at++ = 0xC0 | some() << 3 | some();
        break;
    case 11: /* ROL, SHR by 1 */
        *at++ = 0xD1;
        *at++ = (random32() & 1 ? 0xC0 : 0xE8) | some();
        break;
    case 12: /* PUSH; PUSH of memory */
        if (random32() & 1) *at++ = 0x50 | some();
        else {
            *at++ = 0xFF;
            memory_operand(n, 6);
        }
        break;
    case 13: /* BSWAP */
        *at++ = 0x0F;
        *at++ = 0xC8 | some();
        break;
    case 14: /* LOCK XADD, LOCK CMPXCHG */
        *at++ = 0xF0;
        *at++ = 0x0F;
        *at++ = random32() & 1 ? 0xC1 : 0xB1;
        memory_operand(n, some());
        break;
    default:
        *at++ = flags[random32() % sizeof flags];
    }
}

static void write_stretch(u32 start) {
    at = (u8 *)start;
    for (u32 n = 0; n < LENGTH; n++) {
        begins[n] = (u32)at;
        instruction(n);
    }
    begins[LENGTH] = (u32)at;
    CODE_END();
}

/* The stretch from its beginning, with memory as it was then; the vector that ended it. */
static u32 run_stretch(u32 flags) {
    for (u32 i = 0; i < DATA_WORDS; i++) ((u32 *)data_frame)[i] = i * 0x9E3779B9u;
    reset(cpl);
    in.eflags |= flags;
    return run((u8 *)begins[0]);
}

static void record(struct trap_frame *frame) {
    if (seen < LENGTH + 1) look(&trace[++seen], frame, frame->cs & 3 ? frame->esp : (u32)&frame->esp);
}

/* The error code is not checked: QEMU says of some read-modify-writes that they read (t-strict). */
static void expect_event(const char *what, u32 n, u32 vector, u32 behind) {
    struct boundary found;
    expect(what, run_stretch(0), vector);
    look_back(&found, behind);
    expect_boundary(what, &found, &trace[n]);
}

static void every_boundary(void) {
    static const u8 breakpoint[] = {0xCC}, undefined[] = {0x0F, 0x0B}, halt[] = {0xF4};
    u8 saved[2];
    for (u32 n = 0; n < LENGTH; n++) {
        memcpy(saved, (u8 *)begins[n], 2);
        at = (u8 *)begins[n];
        bytes(breakpoint, 1);
        expect_event("a breakpoint", n, VECTOR_BREAKPOINT, 1);
        at = (u8 *)begins[n];
        bytes(undefined, 2);
        expect_event("an invalid opcode", n, VECTOR_INVALID_OPCODE, 0);
        if (cpl == CPL3) {
            at = (u8 *)begins[n];
            bytes(halt, 1);
            expect_event("a privileged instruction", n, VECTOR_GENERAL_PROTECTION, 0);
        }
        at = (u8 *)begins[n];
        bytes(saved, 2);
        if (!operands[n]) continue;
        u32 address = MEMORY32(operands[n]);
        MEMORY32(operands[n]) = address + ABSENT - DATA;
        expect_event("an operand that is not there", n, VECTOR_PAGE_FAULT, 0);
        expect("CR2", caught.cr2, address + ABSENT - DATA);
        MEMORY32(operands[n]) = address;
    }
}

/* Each access to DATA faults: the page is there for one instruction, by TF. */
static u32 faults;
static void present_once(struct trap_frame *frame) {
    faults++;
    map_page(DATA, data_frame, RIGHTS);
    frame->eflags |= EFLAGS_TF;
}
static void absent_again(struct trap_frame *frame) {
    unmap_page(DATA);
    frame->eflags &= ~EFLAGS_TF;
}

static void stretches(void) {
    struct boundary found;
    group("faults in the middle of stretches");
    for (u32 round = 0; round < 10; round++) {
        cpl = round & 1 ? CPL3 : CPL0;
        write_stretch(round % 5 == 4 ? CODE + 64 : CODE + PAGE_SIZE - 60 - 8 * round);
        set_trap_handler(VECTOR_DEBUG, record);
        for (u32 again = 0; again < 2; again++) {
            seen = 0;
            expect("to the end", run_stretch(EFLAGS_TF), DONE);
        }
        set_trap_handler(VECTOR_DEBUG, catch_trap);
        expect("boundaries", seen, LENGTH);
        for (u32 n = 1; n <= LENGTH; n++) expect("EIP", trace[n].eip - begins[0], begins[n] - begins[0]);
        u8 first = MEMORY8(begins[0]); /* before the first instruction a single step does not stop */
        MEMORY8(begins[0]) = 0xCC;
        run_stretch(0);
        look_back(&trace[0], 1);
        MEMORY8(begins[0]) = first;
        expect("without a stop", run_stretch(0), DONE);
        look_back(&found, 2);
        expect_boundary("without a stop", &found, &trace[LENGTH]);
        every_boundary();
        set_trap_handler(VECTOR_PAGE_FAULT, present_once);
        set_trap_handler(VECTOR_DEBUG, absent_again);
        unmap_page(DATA);
        faults = 0;
        expect("a fault at each access", run_stretch(0), DONE);
        look_back(&found, 2);
        expect_boundary("a fault at each access", &found, &trace[LENGTH]);
        u32 with_operands = 0;
        for (u32 n = 0; n < LENGTH; n++) with_operands += operands[n] != 0;
        expect("faults", faults, with_operands);
        set_trap_handler(VECTOR_PAGE_FAULT, catch_trap);
        set_trap_handler(VECTOR_DEBUG, catch_trap);
        map_page(DATA, data_frame, RIGHTS);
    }
    __asm__ volatile("movl %0, %%dr6" ::"r"(0xFFFF0FF0));
}

/*
 * Single step through instructions that a monitor may have to do itself. I() marks a boundary; they are listed in
 * the order in which they stand, which is the order in which they run.
 */
#define I(code) "771:\t" code "\n\t.pushsection .rodata\n\t.long 771b\n\t.popsection\n\t"
#define STEPS(name, code)                                                                     \
    extern const u32 name##_steps[];                                                          \
    __asm__(".pushsection .rodata\n\t.p2align 2\n" #name "_steps:\n\t.popsection\n\t");       \
    SNIPPET(name, code I("") ".pushsection .rodata\n\t.long 0\n\t.popsection\n\t")

STEPS(step_flags, I("cli") I("pushfl") I("popl %ecx") I("pushl %ecx") I("popfl") I("lahf") I("sahf") I("pushfw") I("popfw") I("nop")
                      I("pushl %ecx") I("orl $0x40000, (%esp)") I("popfl") I("pushfl") I("popl %edx"));
STEPS(step_system, I("movl %cr0, %eax") I("movl %eax, %cr0") I("movl %cr3, %eax") I("movl %eax, %cr3") I("clts") I("invlpg (%esp)")
                       I("inb $0x80, %al") I("outb %al, $0x80") I("xorl %eax, %eax") I("cpuid") I("sgdt -8(%esp)") I("smsw %eax")
                       I("lmsw %ax") I("str %eax") I("movl %cr2, %eax") I("movl %eax, %cr2") I("movl %dr7, %eax") I("sldt %eax")
                       I("movl $0x174, %ecx") I("rdmsr") I("wbinvd") I("movl %cr4, %eax") I("movl %eax, %cr4") I("nop"));
STEPS(step_segments, I("movl %ds, %eax") I("lar %ax, %ecx") I("lsl %ax, %edx") I("verr %ax") I("pushl %cs") I("popl %edx")
                         I("movw %ax, %es") I("pushl %fs") I("popl %fs") I("pushl %gs") I("popl %gs") I("movw %ax, %ds") I("nop"));
STEPS(step_flow, I("call 1f\n2:\tjmp 3f\n1:") I("call 1f\n1:") I("addl $4, %esp") I("popl %eax") I("pushl $4f") I("ret $0\n3:\tint $0x82\n4:")
                     I("movl $5f, %eax") I("jmp *%eax\n5:") I("stc") I("jc 6f\n\tud2\n6:") I("jnc 6b") I("pushl %cs") I("pushl $7f")
                     I("lret\n7:") I("pushfl") I("pushl %cs") I("pushl $8f") I("iret\n8:") I("movl $3, %ecx") I("jecxz 6b") I("clc") I("jmp 9f\n9:")
                     I("pushl %cs") I("call 10f\n10:") I("movl $11f, (%esp)") I("lret\n11:") I("nop"));

static u32 steps, step_eips[64], step_flags_seen;
static void step(struct trap_frame *frame) {
    if (steps < 64) step_eips[steps] = frame->eip;
    steps++;
    step_flags_seen |= ~frame->eflags;
}

static void expect_steps(const char *what, const u8 *code, const u32 *boundaries) {
    steps = step_flags_seen = 0;
    set_trap_handler(VECTOR_DEBUG, step);
    expect_done(what, code);
    set_trap_handler(VECTOR_DEBUG, catch_trap);
    u32 n = 0;
    for (; boundaries[n + 1]; n++) {
        if (step_eips[n] != boundaries[n + 1]) panic("%s: step %u at +%u, not +%u", what, n, step_eips[n] - (u32)code, boundaries[n + 1] - (u32)code);
        expect(what, step_eips[n] - (u32)code, boundaries[n + 1] - (u32)code);
    }
    expect(what, steps, n);
    expect(what, step_flags_seen & EFLAGS_TF, 0);
}

static void single_steps(void) {
    group("single step");
    for (u32 n = 0; n < 3; n++) {
        reset(CPL0);
        in.eflags |= EFLAGS_TF;
        expect_steps("flags", step_flags, step_flags_steps);
        expect("TF in what PUSHFD stores", caught.frame.ecx & EFLAGS_TF, EFLAGS_TF);
        expect("IF in what PUSHFD stores", caught.frame.ecx & EFLAGS_IF, 0);
        expect("AC", caught.frame.edx & EFLAGS_AC, EFLAGS_AC);
        reset(CPL0);
        in.eflags |= EFLAGS_TF;
        expect_steps("system", step_system, step_system_steps);
        for (cpl = CPL0; cpl <= CPL3; cpl += 3) {
            reset(cpl);
            in.eflags |= EFLAGS_TF;
            expect_steps("segments", step_segments, step_segments_steps);
            expect("PUSH CS", caught.frame.edx & 0xFFFF, in.cs);
            reset(cpl);
            in.eflags |= EFLAGS_TF;
            expect_steps("flow", step_flow, step_flow_steps);
            expect("ESP", caught.frame.esp, in.esp);
        }
    }
    __asm__ volatile("movl %0, %%dr6" ::"r"(0xFFFF0FF0));
}

void program_main(void) {
    test_init();
    for (u32 i = 0; i < CODE_PAGES; i++) window_page(i, PTE_U | PTE_W);
    data_frame = window_page(4, PTE_U | PTE_W);
    map_page(ABSENT, 0, 0);
    stretches();
    single_steps();
    groups_end();
}

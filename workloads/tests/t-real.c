/*
 * Real-address mode (SDM volume 3, chapter 21), entered from protected mode and left again for each check: segments, the
 * interrupt table, exceptions, far transfers, prefixes, instructions that the mode does not have, and 4 GB segments that
 * protected mode has left behind. Limits of 64 KB are t-v86-strict's, the A20 gate is nobody's here.
 */
#include "test.h"

#define CODE16 0x98
#define DATA16 0xA0
#define CODE_AT 0x10000 /* where the pieces of code are copied: 1000:0000 */
#define DATA_AT 0x11000
#define STACK_POINTER 0xF00u

struct real {
    u32 eax, ecx, edx, ebx, ebp, esi, edi, esp, eip, eflags, cs, ss, ds, es, fs, gs, vector; /* real.S knows the offsets */
};
#define before ((volatile struct real *)0xA000)
#define after ((volatile struct real *)0xA080)
extern u8 real_stub[], real_stub_end[], real_handlers[];
void real_run(u32 data_selector);

#define REAL(name, code)                                                                                              \
    extern u8 name[], name##_end[], name##_offset[];                                                                   \
    __asm__(".pushsection .rodata\n\t.code16\n" #name ":\n7:\n\t" code "\n\tint3\n" #name "_end:\n\t.set " #name       \
            "_offset, 7b - " #name "\n\t.code32\n\t.popsection")
#define AT(name) ((u32)name##_offset)

/* The compiler takes small addresses for null pointers. */
static void set_vector(u32 vector, u32 far_pointer) {
    u32 at = vector * 4;
    __asm__ volatile("movl %1, (%0)" ::"r"(at), "r"(far_pointer) : "memory");
}

static void real_reset(void) {
    struct real fresh = {.eax = 0xA0A1A2A3, .ecx = 0xC0C1C2C3, .edx = 0xD0D1D2D3, .ebx = 0xB0B1B2B3, .ebp = 0xE0E1E2E3,
                         .esi = 0x50515253, .edi = 0xF0F1F2F3, .esp = STACK_POINTER, .eflags = 2, .cs = CODE_AT >> 4,
                         .ss = DATA_AT >> 4, .ds = DATA_AT >> 4, .es = 0x1111, .fs = 0xFFFF, .gs = 3};
    *before = fresh;
}

static void real_expect_in(const char *what, const u8 *code, const u8 *end, u32 vector, u32 ip, u32 selector) {
    memcpy((void *)CODE_AT, code, end - code);
    memset((void *)0xA080, 0, sizeof *after);
    real_run(selector);
    if (after->vector != vector || after->eip != ip)
        panic("%s: vector %u at %x:%x, not %u at %x", what, after->vector, after->cs, after->eip, vector, ip);
    expect(what, after->vector, vector);
}
#define EXPECT_REAL(what, name, vector, ip) real_expect_in(what, name, name##_end, vector, ip, DATA16)
#define EXPECT_REAL_DONE(what, name) EXPECT_REAL(what, name, VECTOR_BREAKPOINT, name##_end - name)

static void real_init(void) {
    test_init();
    gdt_extend();
    test_gdt[CODE16 >> 3] = descriptor(0, 0xFFFF, 0x9B, 0);
    test_gdt[DATA16 >> 3] = descriptor(0, 0xFFFF, 0x93, 0);
    memcpy((void *)0x8000, real_stub, real_stub_end - real_stub);
    for (u32 vector = 0; vector < 32; vector++) set_vector(vector, 0x8000 + (real_handlers - real_stub) + 8 * vector);
}

REAL(nothing, "nop");
static void entry(void) {
    group("entry and exit");
    for (u32 flags = 0; flags < 4; flags++) {
        real_reset();
        before->eflags = 2 | (flags & 1 ? EFLAGS_STATUS : 0) | (flags & 2 ? EFLAGS_IOPL | EFLAGS_NT | EFLAGS_DF : 0);
        EXPECT_REAL_DONE("INT3", nothing);
        expect("EAX", after->eax, before->eax);
        expect("EBP", after->ebp, before->ebp);
        expect("EDI", after->edi, before->edi);
        expect("CS", after->cs, CODE_AT >> 4);
        expect("ESP", after->esp, STACK_POINTER);
        expect("SS", after->ss, DATA_AT >> 4);
        expect("DS", after->ds, DATA_AT >> 4);
        expect("FS", after->fs, 0xFFFF);
        expect("GS", after->gs, 3);
        expect("FLAGS", after->eflags, before->eflags);
        expect("CR0", read_cr0() & 0x80000001u, 0x80000001u);
    }
}

REAL(store, "movw $0x10FF, %ax\n\tmovw %ax, %es\n\tmovl $0x12345678, %es:0x14\n\tmovw %es:(0x12), %bx\n\tmovw %es, %cx");
REAL(stacks, "pushw %ds\n\tpopw %fs\n\tpushl $0x11223344\n\tpopw %ax\n\tpopw %bx\n\tpushal\n\tpopaw\n\tpopaw\n\tpushw %sp\n\tpopw %dx");
REAL(load_far, "movw $0x200, %bx\n\tmovl $0x10FF1234, (%bx)\n\tlssw (%bx), %si\n\tlgsw (%bx), %di\n\tmovw %ss, %cx");
REAL(prefixes, "movl $0x00000300, %ebx\n\tmovl $0x00000004, %esi\n\tmovl $0xCAFEBABE, 4(%ebx, %esi, 4)\n\tmovw 0x314, %ax\n\tleal 0x12345(%ebx), %ecx");
REAL(code_write, "movb $0x42, %cs:0x80\n\tmovb %cs:0x80, %al");
static void segments(void) {
    group("segments");
    real_reset();
    MEMORY32(DATA_AT) = 0;
    EXPECT_REAL_DONE("a store", store);
    expect("memory", MEMORY32(DATA_AT + 4), 0x12345678);
    expect("ES", after->es, 0x10FF);
    expect("CX", after->ecx, 0xC0C110FF);
    real_reset();
    EXPECT_REAL_DONE("PUSH and POP", stacks);
    expect("FS", after->fs, DATA_AT >> 4);
    expect("SP", after->esp, STACK_POINTER);
    expect("DX", after->edx & 0xFFFF, STACK_POINTER);
    real_reset();
    EXPECT_REAL_DONE("LSS and LGS", load_far);
    expect("SS", after->ss, 0x10FF);
    expect("GS", after->gs, 0x10FF);
    expect("SI", after->esi, 0x50511234);
    real_reset();
    EXPECT_REAL_DONE("prefixes", prefixes);
    expect("memory", MEMORY32(DATA_AT + 0x314), 0xCAFEBABE);
    expect("AX", after->eax, 0xA0A1BABE);
    expect("ECX", after->ecx, 0x12645);
    /* Code segments can be written here. */
    real_reset();
    EXPECT_REAL_DONE("a store through CS", code_write);
    expect("AL", after->eax, 0xA0A1A242);
}

/* At 1000:0100: keeps its frame and its flags, and returns. */
static const u8 own_handler[] = {0x89, 0xE5, 0x8B, 0x46, 0x00, 0x8B, 0x5E, 0x02, 0x8B, 0x4E, 0x04, 0x9C, 0x5A, 0xCF};
REAL(do_int, "int $0x40\n\tnop");
REAL(moved_table, "lidtw 0x400\n\tint $0x40\n\tnop");
static void interrupts(void) {
    group("interrupts");
    set_vector(0x40, (CODE_AT >> 4) << 16 | 0x100);
    for (u32 moved = 0; moved < 2; moved++) {
        real_reset();
        memcpy((void *)(CODE_AT + 0x100), own_handler, sizeof own_handler);
        before->eflags = 2 | EFLAGS_CF | EFLAGS_IOPL;
        if (moved) { /* the table at another place, whose entry 40h is the handler, and 3 the one that ends this */
            MEMORY16(DATA_AT + 0x400) = 0x3FF;
            MEMORY32(DATA_AT + 0x402) = 0xB000;
            memset((void *)0xB000, 0, 0x400);
            MEMORY32(0xB100) = (CODE_AT >> 4) << 16 | 0x100;
            MEMORY32(0xB00C) = 0x8000 + (real_handlers - real_stub) + 8 * 3;
            set_vector(0x40, 0);
            EXPECT_REAL_DONE("INT with a table that was moved", moved_table);
        } else EXPECT_REAL_DONE("INT", do_int);
        expect("IP", after->eax & 0xFFFF, moved ? 7 : 2);
        expect("CS", after->ebx & 0xFFFF, CODE_AT >> 4);
        expect("FLAGS", after->ecx & 0xFFFF, 0x3003);
        expect("flags of the handler", after->edx & (EFLAGS_IF | EFLAGS_TF), 0);
        expect("flags after", after->eflags, 0x3003);
        expect("SP", after->esp, STACK_POINTER);
    }
}

REAL(divide, "xorw %cx, %cx\n7:\tdivw %cx");
REAL(divide_signed, "movw $0x8000, %ax\n\tcwd\n\tmovw $-1, %cx\n7:\tidivw %cx");
REAL(bound, "movl $0x00040001, (0x100)\n\tmovw $5, %ax\n7:\tboundw %ax, (0x100)");
REAL(overflow, "movb $0x7F, %al\n\taddb $1, %al\n\tinto\n7:\tnop");
REAL(undefined, "nop\n7:\tud2");
REAL(step, "nop\n\tnop");
static void exceptions(void) {
    group("exceptions");
    real_reset();
    EXPECT_REAL("DIV", divide, VECTOR_DIVIDE_ERROR, AT(divide));
    expect("SP: no error code", after->esp, STACK_POINTER);
    EXPECT_REAL("IDIV", divide_signed, VECTOR_DIVIDE_ERROR, AT(divide_signed));
    EXPECT_REAL("BOUND", bound, 5, AT(bound));
    EXPECT_REAL("INTO", overflow, VECTOR_OVERFLOW, AT(overflow));
    EXPECT_REAL("UD2", undefined, VECTOR_INVALID_OPCODE, AT(undefined));
    before->eflags |= EFLAGS_TF;
    EXPECT_REAL("single step", step, VECTOR_DEBUG, 1);
    expect("TF in the image", after->eflags & EFLAGS_TF, EFLAGS_TF);
    __asm__ volatile("movl %0, %%dr6" ::"r"(0xFFFF0FF0));
}

#define ONE(name, code) REAL(name, code)
ONE(u_lar, "lar %ax, %bx");
ONE(u_lsl, "lsl %ax, %bx");
ONE(u_verr, "verr %ax");
ONE(u_sldt, "sldt %ax");
ONE(u_str, "str %ax");
ONE(u_lldt, "lldt %ax");
ONE(u_ltr, "ltr %ax");
ONE(u_arpl, "arpl %ax, %bx");
static void missing(void) {
    group("instructions of protected mode");
    static const u8 *const codes[] = {u_lar, u_lsl, u_verr, u_sldt, u_str, u_lldt, u_ltr, u_arpl};
    for (u32 i = 0; i < sizeof codes / sizeof *codes; i++) {
        real_reset();
        real_expect_in("an undefined instruction", codes[i], codes[i] + 8, VECTOR_INVALID_OPCODE, 0, DATA16);
    }
}

REAL(far_call, ".byte 0x9A\n\t.word 0x100, 0x1000\n\tmovw $0x6666, %dx");
REAL(far_jump, ".byte 0xEA\n\t.word 0x110, 0x0FFF"); /* 0FFF:0110 is 1000:0100 */
REAL(system, "smsw %ax\n\tsgdtl 0x500\n\tmovl %cr0, %ecx\n\tpushfw\n\tpopw %bx\n\tclts");
static void transfers(void) {
    group("transfers and system registers");
    static const u8 returns[] = {0x89, 0xE5, 0x8B, 0x46, 0x00, 0x8B, 0x4E, 0x02, 0xCA, 0x00, 0x00}; /* lretw $0 */
    real_reset();
    memcpy((void *)(CODE_AT + 0x100), returns, sizeof returns);
    EXPECT_REAL_DONE("CALL and RET", far_call);
    expect("IP", after->eax & 0xFFFF, 5);
    expect("CS", after->ecx & 0xFFFF, CODE_AT >> 4);
    expect("DX", after->edx & 0xFFFF, 0x6666);
    expect("SP", after->esp, STACK_POINTER);
    real_reset();
    MEMORY8(CODE_AT + 0x100) = 0xCC;
    EXPECT_REAL("JMP", far_jump, VECTOR_BREAKPOINT, 0x111);
    expect("CS", after->cs, 0x0FFF);
    real_reset();
    EXPECT_REAL_DONE("system registers", system);
    expect("SMSW", after->eax & 1, 0);
    expect("CR0", after->ecx & 0x80000001u, 0);
    expect("the limit of the GDT", MEMORY16(DATA_AT + 0x500), TEST_GDT_ENTRIES * 8 - 1);
    expect("the base of the GDT", MEMORY32(DATA_AT + 0x502), (u32)test_gdt);
}

REAL(repeat, "xorw %di, %di\n\tmovw %ds, %ax\n\tmovw %ax, %es\n\tmovw $16, %cx\n\tmovw $0x1234, %ax\n\tcld\n\trep stosw\n\txorw %si, %si\n\tmovw $0x80, %di\n\tmovw $32, %cx\n\trep movsb");
REAL(big, "movl (%ebx), %eax\n\tmovl %eax, %fs:4(%ebx)\n\tmovw $0x1100, %cx\n\tmovw %cx, %ds\n\tmovl (%ebx), %edx");
static u32 high[2];
static void big_segments(void) {
    group("strings, and segments of 4 GB");
    real_reset();
    EXPECT_REAL_DONE("REP", repeat);
    for (u32 i = 0; i < 8; i++) expect("memory", MEMORY32(DATA_AT + 0x80 + 4 * i), 0x12341234);
    expect("DI", after->edi & 0xFFFF, 0xA0);
    /* Limits of 4 GB stay with the segment registers; loads change bases only. */
    real_reset();
    high[0] = 0x5EA15EA1;
    high[1] = 0;
    before->ds = before->fs = 0;
    before->ebx = (u32)high;
    real_expect_in("flat segments", big, big_end, VECTOR_BREAKPOINT, big_end - big, KERNEL_DS);
    expect("read", after->eax, 0x5EA15EA1);
    expect("written", high[1], 0x5EA15EA1);
    expect("read with another base", after->edx, MEMORY32((u32)high + 0x11000));
}

void program_main(void) {
    real_init();
    entry();
    segments();
    interrupts();
    exceptions();
    missing();
    transfers();
    big_segments();
    groups_end();
}

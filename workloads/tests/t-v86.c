/*
 * Virtual-8086 mode without CR4.VME (SDM volume 3, chapter 21): entry and exit, segments, what IOPL guards, the I/O
 * permission bitmap, exceptions, instructions that the mode does not have, and task switches from and to it.
 */
#include "tasks.h"
#include "v86.h"

static struct {
    struct tss32 tss;
    u8 ports[32];
    u8 end;
} big __attribute__((aligned(256)));
#define BIG_TSS 0x88

V86(nothing, "nop");
static void entry(void) {
    group("entry and exit");
    v86_reset(0);
    EXPECT_V86_DONE("INT3", nothing);
    const struct trap_frame *frame = &v86_caught.frame;
    expect("EAX", frame->eax, virtual.eax);
    expect("ECX", frame->ecx, virtual.ecx);
    expect("EDI", frame->edi, virtual.edi);
    expect("CS", frame->cs & 0xFFFF, CODE_SEGMENT);
    expect("EFLAGS", frame->eflags & ~EFLAGS_RF, virtual.eflags);
    expect("ESP", frame->esp, STACK_POINTER);
    expect("SS", frame->ss & 0xFFFF, DATA_SEGMENT);
    expect("ES", v86_caught.es & 0xFFFF, 0x1111);
    expect("DS", v86_caught.ds & 0xFFFF, DATA_SEGMENT);
    expect("FS", v86_caught.fs & 0xFFFF, 0xFFFF);
    expect("GS", v86_caught.gs & 0xFFFF, 0x0003);
    /* The handler found null selectors. */
    expect("DS of the handler", (frame->ds | frame->es | frame->fs | frame->gs) & 0xFFFF, 0);
}

V86(store, "movw $0x10FF, %ax\n\tmovw %ax, %es\n\tmovl $0x12345678, %es:0x14\n\tmovw %es:(0x12), %bx\n\tmovw %es, %cx");
V86(stacks, "pushw %ds\n\tpopw %fs\n\tpushl $0x11223344\n\tpopw %ax\n\tpopw %bx\n\tmovw %fs, %cx");
V86(load_far, "movw $0x200, %bx\n\tmovl $0x10FF1234, (%bx)\n\tlesw (%bx), %si\n\tmovw %es, %cx");
V86(read_msw, "smsw %ax\n\tandw $1, %ax");
static void segments(void) {
    group("segments");
    v86_reset(0);
    MEMORY32(0x11000 + 4) = 0;
    EXPECT_V86_DONE("a store", store);
    expect("memory", MEMORY32(0x11004), 0x12345678);
    expect("ES", v86_caught.es & 0xFFFF, 0x10FF);
    expect("BX", v86_caught.frame.ebx, 0xB0B10000 | MEMORY16(0x11002));
    expect("CX", v86_caught.frame.ecx, 0xC0C110FF);
    v86_reset(0);
    EXPECT_V86_DONE("PUSH and POP", stacks);
    expect("FS", v86_caught.fs & 0xFFFF, DATA_SEGMENT);
    expect("AX", v86_caught.frame.eax & 0xFFFF, 0x3344);
    expect("BX", v86_caught.frame.ebx & 0xFFFF, 0x1122);
    expect("ESP", v86_caught.frame.esp, STACK_POINTER);
    v86_reset(0);
    EXPECT_V86_DONE("LES", load_far);
    expect("SI", v86_caught.frame.esi, 0x50511234);
    expect("CX", v86_caught.frame.ecx & 0xFFFF, 0x10FF);
    v86_reset(0);
    EXPECT_V86_DONE("MOV from CR0 by SMSW", read_msw);
    expect("PE", v86_caught.frame.eax & 0xFFFF, 1);
}

V86(far_call, "movw $0xABCD, %dx\n\tpushw $0x1000\n\tpushw $0x30\n\tlretw");
V86(jump, ".byte 0xEA\n\t.word 0x10, 0x0FFF\n\tnop");
static void transfers(void) {
    group("far transfers");
    /* RET to 1000:0030, where there is INT3. */
    v86_reset(0);
    MEMORY8(0x10030) = 0xCC;
    EXPECT_V86("RET", far_call, VECTOR_BREAKPOINT, 0, 0x31);
    expect("ESP", v86_caught.frame.esp, STACK_POINTER);
    /* JMP 0FFF:0010 is 1000:0000 again: it would loop; what is there has been replaced by INT3 behind the copy. */
    v86_reset(0);
    memcpy((void *)0x10000, jump, jump_end - jump);
    virtual.eip = 0x40;
    MEMORY8(0x10040) = 0xEA;
    MEMORY16(0x10041) = 0x0060;
    MEMORY16(0x10043) = 0x0FFF;
    MEMORY8(0x10050) = 0xCC;
    EXPECT_V86("JMP", nothing, VECTOR_BREAKPOINT, 0, 0x61);
    expect("CS", v86_caught.frame.cs & 0xFFFF, 0x0FFF);
    /* CALL 0FFF:0060 from 1000:0040. */
    v86_reset(0);
    virtual.eip = 0x40;
    MEMORY8(0x10040) = 0x9A;
    EXPECT_V86("CALL", nothing, VECTOR_BREAKPOINT, 0, 0x61);
    expect("ESP", v86_caught.frame.esp, STACK_POINTER - 4);
    expect("the return address", MEMORY32(0x11000 + STACK_POINTER - 4), CODE_SEGMENT << 16 | 0x45);
}

V86(do_cli, "cli");
V86(do_sti, "sti");
V86(do_pushf, "pushfw");
V86(do_pushfd, "pushfl");
V86(do_popf, "popfw");
V86(do_popfd, "popfl");
V86(do_int, "int $0x82");
V86(do_iret, "iretw");
V86(do_iretd, "iretl");
static void sensitive(void) {
    group("IOPL");
    static const struct {
        const u8 *code, *end;
        const char *name;
    } tests[] = {{do_cli, do_cli_end, "CLI"},       {do_sti, do_sti_end, "STI"},       {do_pushf, do_pushf_end, "PUSHF"},
                 {do_pushfd, do_pushfd_end, "PUSHFD"}, {do_popf, do_popf_end, "POPF"},    {do_popfd, do_popfd_end, "POPFD"},
                 {do_int, do_int_end, "INT"},       {do_iret, do_iret_end, "IRET"},    {do_iretd, do_iretd_end, "IRETD"}};
    for (u32 i = 0; i < sizeof tests / sizeof *tests; i++)
        for (u32 iopl = 0; iopl < 3; iopl++) {
            v86_reset(iopl);
            v86_expect(tests[i].name, tests[i].code, tests[i].end, VECTOR_GENERAL_PROTECTION, 0, 0);
            expect("ESP", v86_caught.frame.esp, STACK_POINTER);
            expect("EFLAGS", v86_caught.frame.eflags & ~EFLAGS_RF, virtual.eflags);
        }
}

V86(flags, "pushfw\n\tpopw %ax\n\tpushfl\n\tpopl %ebx\n\tcli\n\tpushfw\n\tpopw %cx\n\tpushw $0x7EFF\n\tpopfw\n\tpushfw\n\tpopw %dx\n\t"
           "pushw $2\n\tpopfw");
static void trusted(void) {
    group("IOPL 3");
    v86_reset(3);
    virtual.eflags |= EFLAGS_IF | EFLAGS_CF;
    EXPECT_V86_DONE("flags", flags);
    expect("PUSHF", v86_caught.frame.eax & 0xFFFF, 0x3203);
    expect("PUSHFD", v86_caught.frame.ebx, 0x3203);
    expect("CLI", v86_caught.frame.ecx & 0xFFFF, 0x3003);
    expect("POPF", v86_caught.frame.edx & 0xFFFF & ~EFLAGS_NT, 0x3ED7);
    expect("EFLAGS", v86_caught.frame.eflags & ~EFLAGS_RF, EFLAGS_VM | 0x3002);
    /* INT n goes through the IDT, whose gate's DPL counts. */
    v86_reset(3);
    EXPECT_V86("INT 82h", do_int, DONE, 0, 2);
    set_trap_gate(DONE, 2);
    EXPECT_V86("INT 82h with a gate of DPL 2", do_int, VECTOR_GENERAL_PROTECTION, DONE * 8 + 2, 0);
    set_trap_gate(DONE, 3);
    /* IRET within the mode changes neither IOPL nor VM. */
    static const u8 iret_code[] = {0x68, 0x02, 0x02, 0x68, 0x00, 0x10, 0x68, 0x20, 0x00, 0xCF};
    v86_reset(3);
    MEMORY8(0x10020) = 0xCC;
    v86_expect("IRET", iret_code, iret_code + sizeof iret_code, VECTOR_BREAKPOINT, 0, 0x21);
    expect("EFLAGS", v86_caught.frame.eflags & ~EFLAGS_RF, EFLAGS_VM | 0x3202);
}

V86(in_port, "inb $0x80, %al");
V86(out_port, "outb %al, %dx");
V86(in_wide, "inw %dx, %ax");
static void ports(void) {
    group("ports");
    for (u32 iopl = 0; iopl <= 3; iopl += 3) {
        v86_reset(iopl);
        EXPECT_V86("IN without a bitmap", in_port, VECTOR_GENERAL_PROTECTION, 0, 0);
    }
    memcpy(&big.tss, main_tss, sizeof big.tss);
    big.tss.io_map_base = sizeof big.tss;
    big.end = 0xFF;
    test_gdt[BIG_TSS >> 3] = descriptor((u32)&big, sizeof big - 1, 0x89, 0);
    __asm__ volatile("ltr %w0" ::"r"(BIG_TSS));
    for (u32 iopl = 0; iopl <= 3; iopl += 3) {
        memset(big.ports, 0xFF, sizeof big.ports);
        v86_reset(iopl);
        virtual.edx = 0x80;
        EXPECT_V86("IN", in_port, VECTOR_GENERAL_PROTECTION, 0, 0);
        big.ports[0x80 / 8] = 0xFE;
        EXPECT_V86_DONE("IN", in_port);
        EXPECT_V86_DONE("OUT", out_port);
        EXPECT_V86("IN of two ports", in_wide, VECTOR_GENERAL_PROTECTION, 0, 0);
        big.ports[0x80 / 8] = 0xFC;
        EXPECT_V86_DONE("IN of two ports", in_wide);
    }
    test_gdt[TSS_SELECTOR >> 3] &= ~(2ull << 40);
    __asm__ volatile("ltr %w0" ::"r"(TSS_SELECTOR));
}

#define ONE(name, code) V86(name, code)
ONE(u_lar, "lar %ax, %bx");
ONE(u_lsl, "lsl %ax, %bx");
ONE(u_verr, "verr %ax");
ONE(u_verw, "verw %ax");
ONE(u_sldt, "sldt %ax");
ONE(u_str, "str %ax");
ONE(u_lldt, "lldt %ax");
ONE(u_ltr, "ltr %ax");
ONE(u_arpl, "arpl %ax, %bx");
ONE(g_hlt, "hlt");
ONE(g_lgdt, "lgdt (0x100)");
ONE(g_lidt, "lidt (0x100)");
ONE(g_lmsw, "lmsw %ax");
ONE(g_clts, "clts");
ONE(g_cr0, "movl %cr0, %eax");
ONE(g_cr3, "movl %eax, %cr3");
ONE(g_dr0, "movl %dr0, %eax");
ONE(g_invlpg, "invlpg (0x100)");
ONE(g_wbinvd, "wbinvd");
ONE(g_rdmsr, "rdmsr");
static void missing(void) {
    group("instructions");
    static const u8 *const undefined[] = {u_lar, u_lsl, u_verr, u_verw, u_sldt, u_str, u_lldt, u_ltr, u_arpl};
    static const u8 *const privileged[] = {g_hlt, g_lgdt, g_lidt, g_lmsw, g_clts, g_cr0, g_cr3, g_dr0, g_invlpg, g_wbinvd, g_rdmsr};
    for (u32 iopl = 0; iopl <= 3; iopl += 3) {
        for (u32 i = 0; i < sizeof undefined / sizeof *undefined; i++) {
            v86_reset(iopl);
            v86_expect("an undefined instruction", undefined[i], undefined[i] + 8, VECTOR_INVALID_OPCODE, 0, 0);
        }
        for (u32 i = 0; i < sizeof privileged / sizeof *privileged; i++) {
            v86_reset(iopl);
            v86_expect("a privileged instruction", privileged[i], privileged[i] + 8, VECTOR_GENERAL_PROTECTION, 0, 0);
        }
    }
}

V86(divide, "xorw %cx, %cx\n7:\tdivw %cx");
V86(bound, "movl $0x00040001, (0x100)\n\tmovw $5, %ax\n7:\tboundw %ax, (0x100)");
V86(overflow, "movb $0x7F, %al\n\taddb $1, %al\n\tinto\n7:\tnop");
V86(absent, "movw $0x2000, %ax\n\tmovw %ax, %es\n7:\tmovb %al, %es:(0x10)");
V86(kernel, "movw $0x2000, %ax\n\tmovw %ax, %es\n7:\tmovb %es:(0x10), %al");
V86(step, "nop\n\tnop");
static void exceptions(void) {
    group("exceptions");
    v86_reset(0);
    EXPECT_V86("DIV", divide, VECTOR_DIVIDE_ERROR, 0, AT(divide));
    EXPECT_V86("BOUND", bound, 5, 0, AT(bound));
    EXPECT_V86("INTO", overflow, VECTOR_OVERFLOW, 0, AT(overflow));
    EXPECT_V86("a page of the kernel", absent, VECTOR_PAGE_FAULT, 7, AT(absent));
    expect("CR2", read_cr2(), 0x20010);
    EXPECT_V86("a page of the kernel", kernel, VECTOR_PAGE_FAULT, 5, AT(kernel));
    u32 pte = *pte_of(0x20000);
    *pte_of(0x20000) = 0;
    invlpg(0x20000);
    EXPECT_V86("an absent page", absent, VECTOR_PAGE_FAULT, 6, AT(absent));
    *pte_of(0x20000) = pte;
    virtual.eflags |= EFLAGS_TF;
    EXPECT_V86("single step", step, VECTOR_DEBUG, 0, 1);
    __asm__ volatile("movl %0, %%dr6" ::"r"(0xFFFF0FF0));
}

/* A task gate from virtual-8086 mode, and the way back by IRET with NT. */
V86(call_task, "int $0x90\n\tmovw %ds, %ax");
static void tasks(void) {
    group("tasks");
    task_reset(32, CPL0, task_body); /* a 16-bit task is t-v86-strict's: QEMU leaves VM set in it */
    v86_reset(3);
    virtual.gs = 0x1234;
    EXPECT_V86_DONE("INT 90h", call_task);
    expect("entries", seen.entries, 1);
    expect("VM", seen.eflags & EFLAGS_VM, 0);
    expect("saved EFLAGS", main_tss->eflags & ~EFLAGS_RF, virtual.eflags);
    expect("saved EIP", main_tss->eip, 2);
    expect("saved CS", main_tss->cs & 0xFFFF, CODE_SEGMENT);
    expect("saved GS", main_tss->gs & 0xFFFF, 0x1234);
    expect("AX", v86_caught.frame.eax, 0xA0A10000 | DATA_SEGMENT);
    expect("EFLAGS", v86_caught.frame.eflags & ~EFLAGS_RF, virtual.eflags);
    expect("GS", v86_caught.gs & 0xFFFF, 0x1234);
    expect("busy", BUSY(TSS_SELECTOR) | BUSY(TASK) << 1, 1);
    __asm__ volatile("clts");
}

void program_main(void) {
    v86_init();
    tasks_init();
    entry();
    segments();
    transfers();
    sensitive();
    trusted();
    ports();
    missing();
    exceptions();
    tasks();
    groups_end();
}

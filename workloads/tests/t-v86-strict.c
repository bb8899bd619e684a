/*
 * Virtual-8086 mode as QEMU's TCG does not have it: limits of 64 KB, tasks of 16 bits, and the extensions of CR4.VME
 * (SDM volume 3, 21.3): redirected INT n, the virtual interrupt flag.
 */
#include "tasks.h"
#include "v86.h"

#define CR4_VME 0x1u
#define BIG_TSS 0x88

static struct {
    struct tss32 tss;
    u8 redirection[32], ports[1];
} big __attribute__((aligned(256)));

V86(word_at_end, "movw $0xFFFF, %bx\n7:\tmovw (%bx), %ax");
V86(double_at_end, "movw $0xFFFD, %bx\n7:\tmovl %eax, %es:(%bx)");
V86(byte_at_end, "movw $0xFFFF, %bx\n\tmovw $0x0100, %ax\n\tmovw %ax, %ds\n\tmovb (%bx), %al");
V86(push_wraps, "xorw %sp, %sp\n\tmovw $0x0100, %ax\n\tmovw %ax, %ss\n\tpushw %bx");
V86(push_at_1, "movw $1, %sp\n7:\tpushw %bx");
V86(beyond, "movl $0x10000, %ebx\n7:\tmovb (%ebx), %al");
V86(string_end, "movw $0xFFFF, %si\n7:\tlodsw");
static void limits(void) {
    group("limits");
    v86_reset(0);
    EXPECT_V86("a word at FFFFh", word_at_end, VECTOR_GENERAL_PROTECTION, 0, AT(word_at_end));
    EXPECT_V86("a doubleword at FFFDh", double_at_end, VECTOR_GENERAL_PROTECTION, 0, AT(double_at_end));
    EXPECT_V86("a 32-bit address", beyond, VECTOR_GENERAL_PROTECTION, 0, AT(beyond));
    EXPECT_V86("LODSW at FFFFh", string_end, VECTOR_GENERAL_PROTECTION, 0, AT(string_end));
    EXPECT_V86("PUSH at SP = 1", push_at_1, VECTOR_STACK_FAULT, 0, AT(push_at_1));
    EXPECT_V86_DONE("a byte at FFFFh", byte_at_end);
    EXPECT_V86_DONE("PUSH at SP = 0", push_wraps);
    expect("SP", v86_caught.frame.esp & 0xFFFF, 0xFFFE);
}

V86(call_task, "int $0x90\n\tmovw %ds, %ax");
static void tasks(void) {
    group("a 16-bit task");
    task_reset(16, CPL0, task_body16);
    v86_reset(3);
    virtual.gs = 0x1234;
    EXPECT_V86_DONE("INT 90h", call_task);
    expect("entries", seen.entries, 1);
    expect("VM", seen.eflags & EFLAGS_VM, 0);
    expect("saved EFLAGS", main_tss->eflags & ~EFLAGS_RF, virtual.eflags);
    expect("AX", v86_caught.frame.eax, 0xA0A10000 | DATA_SEGMENT);
    expect("EFLAGS", v86_caught.frame.eflags & ~EFLAGS_RF, virtual.eflags);
    expect("GS", v86_caught.gs & 0xFFFF, 0x1234);
    __asm__ volatile("clts");
}

static void redirect(u32 vector, u32 on) {
    big.redirection[vector >> 3] = (u8)(on ? big.redirection[vector >> 3] & ~(1u << (vector & 7)) : big.redirection[vector >> 3] | 1u << (vector & 7));
}

/* The program's own handler at 1000:0080 keeps the flags image and goes back. */
static const u8 own_handler[] = {0x89, 0xE5, 0x8B, 0x46, 0x04, 0x9C, 0x5B, 0xCF}; /* mov bp,sp; mov ax,[bp+4]; pushf; pop bx; iret */
V86(do_int, "int $0x40\n\tmovw $0x7777, %cx");
static void redirection(void) {
    group("redirection");
    /* By assembly: the compiler takes small addresses for null pointers. */
    __asm__ volatile("movl %0, 0x100" ::"r"(CODE_SEGMENT << 16 | 0x80) : "memory");
    for (u32 iopl = 0; iopl <= 3; iopl += 3)
        for (u32 on = 0; on < 2; on++)
            for (u32 virtual_if = 0; virtual_if < 2; virtual_if++) {
                redirect(0x40, on);
                memcpy((void *)0x10080, own_handler, sizeof own_handler);
                set_trap_gate(0x40, 3);
                v86_reset(iopl);
                if (iopl == 3) virtual.eflags |= virtual_if ? EFLAGS_IF : 0;
                else virtual.eflags |= virtual_if ? EFLAGS_VIF : 0;
                virtual.eflags |= EFLAGS_CF;
                if (!on && iopl < 3) {
                    EXPECT_V86("not redirected", do_int, VECTOR_GENERAL_PROTECTION, 0, 0);
                    continue;
                }
                if (!on) {
                    u32 vector = v86_run(do_int, do_int_end);
                    expect("vector", vector, 0x40);
                    continue;
                }
                EXPECT_V86_DONE("redirected", do_int);
                expect("CX", v86_caught.frame.ecx & 0xFFFF, 0x7777);
                expect("ESP", v86_caught.frame.esp, STACK_POINTER);
                /* The image shows IOPL 3 and VIF as IF; the handler runs with it clear. */
                expect("the image", v86_caught.frame.eax & 0xFFFF, 0x3003 | (virtual_if ? EFLAGS_IF : 0));
                expect("flags of the handler", v86_caught.frame.ebx & EFLAGS_IF, 0);
                expect("flags after", v86_caught.frame.eflags & ~EFLAGS_RF, virtual.eflags);
            }
}

V86(flags, "pushfw\n\tpopw %ax\n\tsti\n\tpushfw\n\tpopw %bx\n\tcli\n\tpushfw\n\tpopw %cx\n\tpushw $0x0202\n\tpopfw\n\tpushfw\n\tpopw %dx");
V86(wide_push, "7:\tpushfl");
V86(trap_popf, "pushw $0x0102\n7:\tpopfw");
V86(do_sti, "nop\n7:\tsti");
V86(nothing, "nop");
static void virtual_interrupts(void) {
    group("the virtual interrupt flag");
    v86_reset(0);
    EXPECT_V86_DONE("flags", flags);
    expect("PUSHF", v86_caught.frame.eax & 0xFFFF, 0x3002);
    expect("STI", v86_caught.frame.ebx & 0xFFFF, 0x3202);
    expect("CLI", v86_caught.frame.ecx & 0xFFFF, 0x3002);
    expect("POPF", v86_caught.frame.edx & 0xFFFF, 0x3202);
    expect("EFLAGS", v86_caught.frame.eflags & ~EFLAGS_RF, virtual.eflags | EFLAGS_VIF);
    EXPECT_V86("PUSHFD", wide_push, VECTOR_GENERAL_PROTECTION, 0, AT(wide_push));
    EXPECT_V86("POPF that sets TF", trap_popf, VECTOR_GENERAL_PROTECTION, 0, AT(trap_popf));
    v86_reset(0);
    virtual.eflags |= EFLAGS_VIP;
    EXPECT_V86("STI while VIP is set", do_sti, VECTOR_GENERAL_PROTECTION, 0, AT(do_sti));
    virtual.eflags |= EFLAGS_VIF;
    EXPECT_V86("VIF and VIP", nothing, VECTOR_GENERAL_PROTECTION, 0, 0);
}

void program_main(void) {
    v86_init();
    tasks_init();
    limits();
    tasks();
    write_cr4(read_cr4() | CR4_VME);
    memcpy(&big.tss, main_tss, sizeof big.tss);
    big.tss.io_map_base = (u8 *)big.ports - (u8 *)&big;
    memset(big.redirection, 0xFF, sizeof big.redirection);
    big.ports[0] = 0xFF;
    test_gdt[BIG_TSS >> 3] = descriptor((u32)&big, sizeof big - 1, 0x89, 0);
    __asm__ volatile("ltr %w0" ::"r"(BIG_TSS));
    redirection();
    virtual_interrupts();
    write_cr4(read_cr4() & ~CR4_VME);
    groups_end();
}

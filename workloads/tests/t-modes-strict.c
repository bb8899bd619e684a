/*
 * What QEMU's TCG does not have of virtual-8086 mode: limits of 64 KB (SDM volume 3, 21.2), and the extensions of CR4.VME
 * and CR4.PVI (21.3, 21.4): VIF and VIP, virtual flags, redirection of INT n to the program's own table.
 */
#include "virtual.h"

#define EFLAGS_VIF 0x80000u
#define EFLAGS_VIP 0x100000u
#define CR4_VME 1u
#define CR4_PVI 2u
#define HANDLER 0x300 /* of the program, in LOW_SEGMENT */

CODE16(v_load, "movw (%si), %ax");
CODE16(v_store, "movw %ax, (%si)");
CODE16(v_load32, "movl (%esi), %eax");
CODE16(v_by_bp, "movw %ax, (%bp)");
CODE16(v_by_ss, "movb %ss:(%esi), %al");
CODE16(v_push, "pushw %ax");
CODE16(v_push32, "pushl %eax");
CODE16(v_pop, "popw %ax");
CODE16(v_pusha, "pushaw");
CODE16(v_call, "call .+0x20");
CODE16(v_jump, "movl $0x10000, %eax\n\tjmpl *%eax");
CODE16(v_lds, "ldsw (%si), %ax");
static void limits(void) {
    group("limits of virtual-8086 mode");
    for (u32 delta = 0; delta < 3; delta++) {
        u32 fits2 = delta > 0, sp = delta;
        reset16(0);
        virtual_in.ds = LOW_SEGMENT;
        virtual_in.esi = 0xFFFF - delta;
        virtual_in.eax = 0;
        if (fits2) expect_done16("load", v_load, v_load_end);
        else expect_fault16("load", v_load, v_load_end, VECTOR_GENERAL_PROTECTION);
        if (fits2) expect_done16("store", v_store, v_store_end);
        else expect_fault16("store", v_store, v_store_end, VECTOR_GENERAL_PROTECTION);
        virtual_in.esi = 0x10000 + delta;
        expect_fault16("32-bit offset", v_load32, v_load32_end, VECTOR_GENERAL_PROTECTION);
        expect_fault16("by SS", v_by_ss, v_by_ss_end, VECTOR_STACK_FAULT);
        virtual_in.esi = 0xFFFC - delta;
        expect_done16("32-bit load", v_load32, v_load32_end);
        virtual_in.esi = 0xFFFF - delta;
        expect_fault16("32-bit load", v_load32, v_load32_end, VECTOR_GENERAL_PROTECTION);
        virtual_in.ebp = 0xFFFF - delta;
        if (fits2) expect_done16("by BP", v_by_bp, v_by_bp_end);
        else expect_fault16("by BP", v_by_bp, v_by_bp_end, VECTOR_STACK_FAULT);
        reset16(0);
        virtual_in.ss = LOW_SEGMENT;
        virtual_in.esp = 0xABCD0000 | sp;
        if (sp == 1) expect_fault16("PUSH", v_push, v_push_end, VECTOR_STACK_FAULT);
        else expect_done16("PUSH", v_push, v_push_end);
        if (sp == 0) expect_done16("PUSH, 32-bit", v_push32, v_push32_end);
        else expect_fault16("PUSH, 32-bit", v_push32, v_push32_end, VECTOR_STACK_FAULT);
        virtual_in.esp = 0xABCD0000 | (0xFFFF - delta);
        if (fits2) expect_done16("POP", v_pop, v_pop_end);
        else expect_fault16("POP", v_pop, v_pop_end, VECTOR_STACK_FAULT);
        virtual_in.esp = 0xABCD0000 | (2 * delta + 1);
        expect_fault16("PUSHA", v_pusha, v_pusha_end, VECTOR_STACK_FAULT);
        virtual_in.esp = 0xABCD0001;
        expect_fault16("CALL", v_call, v_call_end, VECTOR_STACK_FAULT);
        reset16(0);
        expect("jump beyond", RUN16(v_jump), VECTOR_GENERAL_PROTECTION);
        expect("at JMP", left.frame.eip, START + 6);
        reset16(0);
        virtual_in.esi = 0xFFFD - delta;
        virtual_in.ds = LOW_SEGMENT;
        if (delta > 0) expect_done16("LDS", v_lds, v_lds_end);
    }
}

CODE16(v_cli, "cli");
CODE16(v_sti, "sti");
CODE16(v_pushf, "pushfw");
CODE16(v_pushfd, "pushfl");
CODE16(v_popf, "popfw");
CODE16(v_popfd, "popfl");
CODE16(v_iret, "iretw");
CODE16(v_iretd, "iretl");
CODE16(v_int, "int $0x42");
CODE16(v_int3, "int3");

static u8 tss[104 + 32 + 1] __attribute__((aligned(256))); /* the redirection bitmap is its end */

static void virtual_flags(void) {
    group("virtual flags");
    for (u32 iopl = 0; iopl < 3; iopl++)
        for (u32 bits = 0; bits < 8; bits++) {
            u32 base = (bits & 1 ? EFLAGS_IF : 0) | (bits & 2 ? EFLAGS_VIF : 0);
            reset16(iopl);
            virtual_in.eflags |= base;
            expect_done16("CLI", v_cli, v_cli_end);
            expect("EFLAGS", left.frame.eflags & ~EFLAGS_RF, virtual_in.eflags & ~EFLAGS_VIF);
            expect_done16("STI", v_sti, v_sti_end);
            expect("EFLAGS", left.frame.eflags & ~EFLAGS_RF, virtual_in.eflags | EFLAGS_VIF);
            expect_done16("PUSHF", v_pushf, v_pushf_end);
            expect("image", STACK16(-1), 2 | EFLAGS_IOPL | (bits & 2 ? EFLAGS_IF : 0));
            expect_fault16("PUSHFD", v_pushfd, v_pushfd_end, VECTOR_GENERAL_PROTECTION);
            expect_fault16("POPFD", v_popfd, v_popfd_end, VECTOR_GENERAL_PROTECTION);
            expect_fault16("IRETD", v_iretd, v_iretd_end, VECTOR_GENERAL_PROTECTION);
            for (u32 image = 0; image < 2; image++) {
                u32 flags = EFLAGS_CF | EFLAGS_IOPL | (image ? EFLAGS_IF : 0);
                u32 expected = (virtual_in.eflags & ~EFLAGS_VIF) | EFLAGS_CF | (image ? EFLAGS_VIF : 0);
                STACK16(0) = flags;
                expect_done16("POPF", v_popf, v_popf_end);
                expect("EFLAGS", left.frame.eflags & ~EFLAGS_RF, expected);
                MEMORY8(LOW + HANDLER) = 0xCC;
                STACK16(0) = HANDLER;
                STACK16(1) = LOW_SEGMENT;
                STACK16(2) = flags;
                expect("IRET", RUN16(v_iret), VECTOR_BREAKPOINT);
                expect("EIP", left.frame.eip, HANDLER + 1);
                expect("EFLAGS", left.frame.eflags & ~EFLAGS_RF, expected);
                STACK16(2) = flags | EFLAGS_TF;
                expect_fault16("IRET with TF", v_iret, v_iret_end, VECTOR_GENERAL_PROTECTION);
                STACK16(0) = flags | EFLAGS_TF;
                expect_fault16("POPF with TF", v_popf, v_popf_end, VECTOR_GENERAL_PROTECTION);
            }
            if (bits & 2) continue; /* VIF and VIP together are #GP before the instruction */
            virtual_in.eflags |= EFLAGS_VIP;
            expect_fault16("STI with VIP", v_sti, v_sti_end, VECTOR_GENERAL_PROTECTION);
            STACK16(0) = EFLAGS_IF;
            expect_fault16("POPF with VIP", v_popf, v_popf_end, VECTOR_GENERAL_PROTECTION);
            STACK16(0) = 0;
            expect_done16("POPF with VIP", v_popf, v_popf_end);
            expect_done16("CLI with VIP", v_cli, v_cli_end);
            virtual_in.eflags |= EFLAGS_VIF;
            expect_fault16("VIF and VIP", v_cli, v_cli_end, VECTOR_GENERAL_PROTECTION);
        }
}

static void redirection(void) {
    group("redirected interrupts");
    static u32 *volatile table; /* at linear address 0 */
    table[ANY] = LOW_SEGMENT << 16 | HANDLER;
    MEMORY8(LOW + HANDLER) = 0xCC;
    u8 *bitmap = tss + 104;
    for (u32 iopl = 0; iopl <= 3; iopl++)
        for (u32 bits = 0; bits < 4; bits++) {
            reset16(iopl);
            virtual_in.eflags |= (bits & 1 ? EFLAGS_IF : 0) | (bits & 2 ? EFLAGS_VIF : 0) | EFLAGS_CF;
            memset(bitmap, 0, 32);
            expect("redirected", RUN16(v_int), VECTOR_BREAKPOINT);
            expect("EIP", left.frame.eip, HANDLER + 1);
            expect("ESP", left.frame.esp, virtual_in.esp - 6);
            expect("IP on the stack", STACK16(-3), START + 2);
            expect("CS on the stack", STACK16(-2), LOW_SEGMENT);
            u32 real = virtual_in.eflags & 0xFFFF, seen = 3 | EFLAGS_IOPL | (bits & 2 ? EFLAGS_IF : 0);
            expect("FLAGS on the stack", STACK16(-1), iopl == 3 ? real : seen);
            expect("EFLAGS", left.frame.eflags & ~EFLAGS_RF, virtual_in.eflags & ~(iopl == 3 ? EFLAGS_IF : EFLAGS_VIF));
            bitmap[ANY >> 3] = 1 << (ANY & 7);
            if (iopl == 3) expect("to the monitor", RUN16(v_int), ANY);
            else expect_fault16("to the monitor", v_int, v_int_end, VECTOR_GENERAL_PROTECTION);
            memset(bitmap, 0, 32);
            expect("INT3 is not redirected", RUN16(v_int3), VECTOR_BREAKPOINT);
            expect("EIP", left.frame.eip, START + 1);
        }
}

SNIPPET(p_cli, "cli\n\tpushfl\n\tpopl %ecx");
SNIPPET(p_sti, "sti\n\tpushfl\n\tpopl %ecx");
static void protected_mode(void) {
    group("protected-mode virtual interrupts");
    test_init();
    for (u32 iopl = 0; iopl < 3; iopl++) {
        reset(CPL3);
        in.eflags |= iopl << 12;
        EXPECT_TRAP("CLI without PVI", p_cli, VECTOR_GENERAL_PROTECTION, 0);
        write_cr4(read_cr4() | CR4_PVI);
        expect_done("STI", p_sti);
        expect("VIF", caught.frame.ecx & EFLAGS_VIF, EFLAGS_VIF);
        in.eflags |= EFLAGS_VIF;
        expect_done("CLI", p_cli);
        expect("VIF", caught.frame.ecx & EFLAGS_VIF, 0);
        write_cr4(read_cr4() & ~CR4_PVI);
    }
}

void program_main(void) {
    gdt_extend();
    virtual_init();
    limits();
    /* A TSS with a redirection bitmap; the I/O permission bitmap behind it holds no port. */
    memcpy(tss, tss_words(), 104);
    *(u16 *)(tss + 102) = 104 + 32;
    tss[104 + 32] = 0xFF;
    *(u32 *)(tss + 4) = virtual_stack();
    test_gdt[0x50 >> 3] = descriptor((u32)tss, sizeof tss - 1, 0x89, 0);
    __asm__ volatile("ltr %w0" ::"r"(0x50));
    *pte_of(0) |= PTE_U;
    write_cr4(read_cr4() | CR4_VME);
    virtual_flags();
    redirection();
    write_cr4(read_cr4() & ~CR4_VME);
    protected_mode();
    groups_end();
}

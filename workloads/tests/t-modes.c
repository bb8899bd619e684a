/*
 * Virtual-8086 and real-address mode (SDM volume 3, chapter 21): the frame on the way out of virtual-8086 mode and back,
 * what IOPL guards, privileged instructions, ports, exceptions, 16- and 32-bit forms of PUSHF, POPF and IRET; and a trip
 * to real-address mode and back, with its interrupt table, exceptions, far transfers and a segment limit that protected
 * mode has left. Limits in these modes, which QEMU does not check, are not tested here; nor is CR4.VME, which it lacks.
 */
#include "virtual.h"

void real_trip(void);
extern u8 real_code[], real_code_end[];
extern const u16 real_vectors[];

CODE16(v_nop, "nop");
static void frames(void) {
    group("entry and frame");
    for (u32 iopl = 0; iopl <= 3; iopl++)
        for (u32 bit = 0; bit < 22; bit++) {
            static const u32 loadable = EFLAGS_STATUS | EFLAGS_DF | EFLAGS_NT | EFLAGS_AC | EFLAGS_ID;
            reset16(iopl);
            virtual_in.eflags |= loadable & 1u << bit;
            expect_done16("NOP", v_nop, v_nop_end);
            expect("EFLAGS", left.frame.eflags & ~EFLAGS_RF, virtual_in.eflags);
            expect_same_registers();
            expect("DS in the handler", left.frame.ds & 0xFFFF, 0);
            expect("ES in the handler", left.frame.es & 0xFFFF, 0);
            expect("FS in the handler", left.frame.fs & 0xFFFF, 0);
            expect("GS in the handler", left.frame.gs & 0xFFFF, 0);
        }
}

CODE16(v_cli, "cli");
CODE16(v_sti, "sti");
CODE16(v_pushf, "pushfw");
CODE16(v_pushfd, "pushfl");
CODE16(v_popf, "popfw");
CODE16(v_popfd, "popfl");
CODE16(v_int, "int $0x42");
CODE16(v_iret, "iretw");
CODE16(v_iretd, "iretl");
CODE16(v_into, "into");
CODE16(v_int1, ".byte 0xF1");

static void guarded(void) {
    static const struct {
        const char *name;
        const u8 *code, *end;
    } table[] = {{"CLI", v_cli, v_cli_end},       {"STI", v_sti, v_sti_end},    {"PUSHF", v_pushf, v_pushf_end},
                 {"PUSHFD", v_pushfd, v_pushfd_end}, {"POPF", v_popf, v_popf_end}, {"POPFD", v_popfd, v_popfd_end},
                 {"INT n", v_int, v_int_end},     {"IRET", v_iret, v_iret_end}, {"IRETD", v_iretd, v_iretd_end}};
    group("guarded by IOPL");
    for (u32 iopl = 0; iopl <= 2; iopl++)
        for (u32 i = 0; i < sizeof table / sizeof table[0]; i++) {
            reset16(iopl);
            virtual_in.eflags |= random32() & EFLAGS_STATUS;
            expect_fault16(table[i].name, table[i].code, table[i].end, VECTOR_GENERAL_PROTECTION);
        }
    for (u32 iopl = 0; iopl <= 3; iopl++) {
        reset16(iopl);
        virtual_in.eflags |= EFLAGS_OF;
        expect("INTO", RUN16(v_into), 4);
        expect("behind it", left.frame.eip, START + 1);
    }
}

static void trusted(void) {
    group("at IOPL 3");
    reset16(3);
    virtual_in.eflags |= EFLAGS_IF;
    expect_done16("CLI", v_cli, v_cli_end);
    expect("IF", left.frame.eflags & EFLAGS_IF, 0);
    reset16(3);
    expect("INT n", RUN16(v_int), ANY);
    expect("behind it", left.frame.eip, START + 2);
    for (u32 n = 0; n < 64; n++) {
        u32 image = random32() & ~(EFLAGS_TF | EFLAGS_IF | EFLAGS_NT);
        reset16(3);
        virtual_in.eflags |= random32() & EFLAGS_STATUS;
        expect_done16("PUSHF", v_pushf, v_pushf_end);
        expect("image", STACK16(-1), virtual_in.eflags & 0xFFFF);
        expect("ESP", left.frame.esp, virtual_in.esp - 2);
        virtual_in.eflags |= EFLAGS_AC;
        expect_done16("PUSHFD", v_pushfd, v_pushfd_end);
        expect("image", STACK16(-2) | (u32)STACK16(-1) << 16, virtual_in.eflags & ~EFLAGS_VM);
        expect("ESP", left.frame.esp, virtual_in.esp - 4);

        static const u32 word = EFLAGS_STATUS | EFLAGS_DF;
        STACK16(0) = image;
        STACK16(1) = image >> 16;
        expect_done16("POPF", v_popf, v_popf_end);
        expect("EFLAGS", left.frame.eflags & ~EFLAGS_RF, (virtual_in.eflags & ~word) | (image & word));
        expect("ESP", left.frame.esp, virtual_in.esp + 2);
        static const u32 wide = word | EFLAGS_AC | EFLAGS_ID;
        expect_done16("POPFD", v_popfd, v_popfd_end);
        expect("EFLAGS", left.frame.eflags & ~EFLAGS_RF, (virtual_in.eflags & ~wide) | (image & wide));

        MEMORY8(LOW + 0x200) = 0xCC;
        STACK16(0) = 0x200;
        STACK16(1) = LOW_SEGMENT;
        STACK16(2) = image;
        expect("IRET", RUN16(v_iret), VECTOR_BREAKPOINT);
        expect("EIP", left.frame.eip, 0x201);
        expect("EFLAGS", left.frame.eflags & ~EFLAGS_RF, (virtual_in.eflags & ~word) | (image & word));
        expect("ESP", left.frame.esp, virtual_in.esp + 6);
        STACK16(1) = 0;
        STACK16(2) = LOW_SEGMENT;
        STACK16(3) = 0xABCD;
        STACK16(4) = image;
        STACK16(5) = image >> 16;
        expect("IRETD", RUN16(v_iretd), VECTOR_BREAKPOINT);
        expect("EIP", left.frame.eip, 0x201);
        expect("EFLAGS", left.frame.eflags & ~EFLAGS_RF, (virtual_in.eflags & ~wide) | (image & wide));
        expect("ESP", left.frame.esp, virtual_in.esp + 12);
    }
}

CODE16(v_hlt, "hlt");
CODE16(v_write_cr0, "movl %eax, %cr0");
CODE16(v_read_cr0, "movl %cr0, %eax");
CODE16(v_write_dr7, "movl %eax, %db7");
CODE16(v_lgdt, "lgdt 0");
CODE16(v_lidt, "lidt 0");
CODE16(v_lmsw, "lmsw %ax");
CODE16(v_clts, "clts");
CODE16(v_invlpg, "invlpg 0");
CODE16(v_rdmsr, "rdmsr");
CODE16(v_wrmsr, "wrmsr");
CODE16(v_arpl, "arpl %ax, %bx");
CODE16(v_lar, "lar %ax, %bx");
CODE16(v_lsl, "lsl %ax, %bx");
CODE16(v_verr, "verr %ax");
CODE16(v_verw, "verw %ax");
CODE16(v_sldt, "sldt %ax");
CODE16(v_str, "str %ax");
CODE16(v_lldt, "lldt %ax");
CODE16(v_ltr, "ltr %ax");
CODE16(v_ud2, "ud2");
CODE16(v_div, "xorw %cx, %cx\n\tdivw %cx");
CODE16(v_bound, "boundw %bx, 0");
CODE16(v_smsw, "smsw %ax");

static void privileged(void) {
#define ROW(name) {#name, v_##name, v_##name##_end}
    static const struct {
        const char *name;
        const u8 *code, *end;
    } protection[] = {ROW(hlt),  ROW(write_cr0), ROW(read_cr0), ROW(write_dr7), ROW(lgdt),  ROW(lidt),
                      ROW(lmsw), ROW(clts),      ROW(invlpg),   ROW(rdmsr),     ROW(wrmsr)},
      undefined[] = {ROW(arpl), ROW(lar), ROW(lsl), ROW(verr), ROW(verw), ROW(sldt), ROW(str), ROW(lldt), ROW(ltr), ROW(ud2)};
    group("privileged and protected-mode instructions");
    for (u32 iopl = 0; iopl <= 3; iopl += 3) {
        for (u32 i = 0; i < sizeof protection / sizeof protection[0]; i++) {
            reset16(iopl);
            expect_fault16(protection[i].name, protection[i].code, protection[i].end, VECTOR_GENERAL_PROTECTION);
        }
        for (u32 i = 0; i < sizeof undefined / sizeof undefined[0]; i++) {
            reset16(iopl);
            expect_fault16(undefined[i].name, undefined[i].code, undefined[i].end, 6);
        }
        reset16(iopl);
        expect("#DE", RUN16(v_div), 0);
        expect("at DIV", left.frame.eip, START + 2);
        MEMORY16(RESULTS) = 0x20;
        MEMORY16(RESULTS + 2) = 0x30;
        reset16(iopl);
        expect_fault16("#BR", v_bound, v_bound_end, 5);
        expect_done16("SMSW", v_smsw, v_smsw_end);
        expect("PE", left.frame.eax & 1, 1);
    }
}

CODE16(v_in, "inb $0x80, %al");
CODE16(v_in16, "inw $0x80, %ax");
static void ports(void) {
    static u8 tss[104 + 32 + 1] __attribute__((aligned(256)));
    group("ports");
    reset16(3);
    expect_fault16("no bitmap", v_in, v_in_end, VECTOR_GENERAL_PROTECTION);
    /* TSS_SELECTOR names one with a bitmap from now on; ESP0 is set in both. */
    memcpy(tss, tss_words(), 104);
    *(u16 *)(tss + 102) = 104;
    for (u32 i = 104; i < sizeof tss; i++) tss[i] = 0xFF;
    *(u32 *)(tss + 4) = virtual_stack();
    test_gdt[0x50 >> 3] = descriptor((u32)tss, sizeof tss - 1, 0x89, 0);
    __asm__ volatile("ltr %w0" ::"r"(0x50));
    for (u32 iopl = 0; iopl <= 3; iopl += 3) {
        tss[104 + 16] = 0xFF;
        reset16(iopl);
        expect_fault16("denied", v_in, v_in_end, VECTOR_GENERAL_PROTECTION);
        tss[104 + 16] = 0xFE;
        expect_done16("permitted", v_in, v_in_end);
        expect_fault16("denied in part", v_in16, v_in16_end, VECTOR_GENERAL_PROTECTION);
        tss[104 + 16] = 0xFC;
        expect_done16("permitted", v_in16, v_in16_end);
    }
}

CODE16(v_segments, "movw $0x6123, %ax\n\tmovw %ax, %ds\n\tmovw %ax, %fs\n\tmovw 0x10, %bx\n\tmovw %fs:0x12, %cx\n\tpushw %ds\n\tpopw %es\n\t"
                   "movw %es:0x14, %dx\n\tmovl $0x16, %esi\n\tmovl (%esi), %esi");
CODE16(v_far, "lcallw $0x6010, $0x0300");
CODE16(v_string, "movw $0xFFFE, %di\n\tmovl $0xABCD0002, %ecx\n\tcld\n\trep stosw");
CODE16(v_stack, "pushl $0x11223344\n\tpushw $0x5566\n\tpopl %eax\n\tpopw %bx\n\tenter $4, $0\n\tpushaw\n\tpopaw\n\tleavew");
static void code(void) {
    group("16-bit code");
    for (u32 i = 0; i < 32; i++) MEMORY16(RESULTS + 0x230 + 2 * i) = 0x8000 + i;
    reset16(0);
    expect_done16("segment registers", v_segments, v_segments_end);
    expect("DS", left.ds & 0xFFFF, 0x6123);
    expect("ES", left.es & 0xFFFF, 0x6123);
    expect("by DS", left.frame.ebx & 0xFFFF, 0x8008);
    expect("by FS", left.frame.ecx & 0xFFFF, 0x8009);
    expect("by ES", left.frame.edx & 0xFFFF, 0x800A);
    expect("32-bit address", left.frame.esi, 0x800C800B);
    reset16(0);
    MEMORY8(0x60100 + 0x300) = 0xCC;
    expect("far CALL", RUN16(v_far), VECTOR_BREAKPOINT);
    expect("CS", left.frame.cs & 0xFFFF, 0x6010);
    expect("EIP", left.frame.eip, 0x301);
    expect("return IP", STACK16(-2), START + 5);
    expect("return CS", STACK16(-1), LOW_SEGMENT);
    reset16(0);
    virtual_in.es = LOW_SEGMENT;
    virtual_in.edi = 0xF0F10FF0;
    expect_done16("stack", v_stack, v_stack_end);
    expect("POP EAX", left.frame.eax, 0x33445566);
    expect("POP BX", left.frame.ebx & 0xFFFF, 0x1122);
    expect("ESP", left.frame.esp, virtual_in.esp);
    expect("EBP", left.frame.ebp, virtual_in.ebp);
}

static void real(void) {
    u16 results[26];
    group("real-address mode and back");
    test_gdt[CODE16_SELECTOR >> 3] = descriptor(LOW, 0xFFFF, 0x9B, 0);
    test_gdt[DATA16_SELECTOR >> 3] = descriptor(LOW, 0xFFFF, 0x93, 0);
    for (u32 trip = 0; trip < 2; trip++) {
        memcpy((void *)LOW, real_code, (u32)(real_code_end - real_code));
        memset((void *)REAL_TABLE, 0, 1024);
        for (u32 i = 0; real_vectors[i] != 0xFFFF; i += 2)
            MEMORY32(REAL_TABLE + 4 * real_vectors[i]) = LOW_SEGMENT << 16 | real_vectors[i + 1];
        real_trip();
        memcpy(results, (void *)RESULTS, sizeof results);
        static const struct {
            const char *what;
            u16 mask, value;
        } expected[26] = {
            {"CS", 0xFFFF, LOW_SEGMENT}, {"SS", 0xFFFF, STACK_SEGMENT}, {"mark", 0xFFFF, 0xE5E5},
            {"SP in far CALL", 0xFFFF, STACK_TOP - 4}, {"SP in far CALL, 32-bit", 0xFFFF, STACK_TOP - 8},
            {"INT 42h", 0xFFFF, 0x42}, {"its IP", 0xFFFF, 0}, {"FLAGS pushed", 0x301, 0x201}, {"FLAGS in the handler", 0x300, 0},
            {"SP after it", 0xFFFF, STACK_TOP}, {"#DE", 0xFFFF, 0}, {"its IP", 0xFFFF, 0}, {"#UD", 0xFFFF, 8}, {"INTO", 0xFFFF, 0x0404},
            {"BOUND", 0xFFFF, 0x0505}, {"POPFD", 0xFFFF, 0x3002}, {"POPFD, upper half", 0xFFFF, 0x24}, {"IRETD", 0xFFFF, 3},
            {"IRETD, upper half", 0xFFFF, 4}, {"above 1 MB", 0xFFFF, 0x4D6B}, {"above 1 MB", 0xFFFF, 0x4869}, {"SMSW", 0xFFFF, 0},
            {"32-bit address", 0xFFFF, 0x5678}, {"32-bit address", 0xFFFF, 0x1234}, {"CX after REP", 0xFFFF, 0}, {"CS after LMSW", 0xFFFF, LOW_SEGMENT}};
        for (u32 i = 0; i < 26; i++) expect(expected[i].what, results[i] & expected[i].mask, expected[i].value);
    }
}

void program_main(void) {
    gdt_extend();
    virtual_init();
    frames();
    guarded();
    trusted();
    privileged();
    ports();
    code();
    real();
    groups_end();
}

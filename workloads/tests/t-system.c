/*
 * System registers and flags: control and debug registers, POPF and IRET at every CPL and IOPL, interrupt shadow and
 * TF, CPUID, SYSENTER and SYSEXIT, I/O by IOPL and by the permission bitmap (SDM volume 3, chapters 2, 5 and 18 of volume 1).
 */
#include "test.h"

#define CR0_NE 0x20u
#define CR0_ET 0x10u
#define CR4_TSD 0x04u
#define CR4_DE 0x08u
#define EFLAGS_VM 0x20000u

static void control_registers(void) {
    write_cr0(read_cr0() & ~(CR0_MP | CR0_EM | CR0_TS | CR0_NE | CR0_AM)); /* loaders differ */
    u32 cr0 = read_cr0(), cr3 = read_cr3(), cr4 = read_cr4();
    static const u32 cr0_bits[] = {CR0_TS, CR0_MP, CR0_EM, CR0_NE, CR0_WP, CR0_AM, CR0_TS | CR0_EM, CR0_MP | CR0_AM};
    static const u32 cr4_bits[] = {CR4_TSD, CR4_DE, CR4_PSE, CR4_PGE, CR4_TSD | CR4_PSE};
    group("control registers");
    expect("PE, ET and PG", cr0 & (CR0_PE | CR0_ET | CR0_PG), CR0_PE | CR0_ET | CR0_PG);
    for (u32 i = 0; i < sizeof cr0_bits / 4; i++) {
        write_cr0(cr0 ^ cr0_bits[i]);
        expect("CR0", read_cr0() ^ cr0, cr0_bits[i]);
        write_cr0(cr0);
        expect("CR0 again", read_cr0() ^ cr0, 0);
    }
    write_cr0(cr0 & ~CR0_ET);
    expect("ET is fixed", read_cr0() ^ cr0, 0);
    for (u32 i = 0; i < sizeof cr4_bits / 4; i++) {
        write_cr4(cr4 ^ cr4_bits[i]);
        expect("CR4", read_cr4() ^ cr4, cr4_bits[i]);
        write_cr4(cr4);
        expect("CR4 again", read_cr4() ^ cr4, 0);
    }
    for (u32 bits = 0; bits <= 0x18; bits += 8) {
        write_cr3(cr3 | bits);
        expect("PWT and PCD of CR3", read_cr3(), cr3 | bits);
    }
    write_cr3(cr3);
    for (u32 i = 0; i < 8; i++) {
        u32 value = random32();
        __asm__ volatile("movl %0, %%cr2" ::"r"(value));
        expect("CR2", read_cr2(), value);
    }
    /* CLTS, LMSW, SMSW */
    u32 low, word = 0xFFFF0000;
    write_cr0(cr0 | CR0_TS);
    __asm__ volatile("clts");
    expect("CLTS", read_cr0() ^ cr0, 0);
    __asm__ volatile("clts");
    expect("CLTS again", read_cr0() ^ cr0, 0);
    for (u32 value = 0; value < 16; value++) { /* LMSW can set PE, MP, EM and TS, and clear all but PE */
        __asm__ volatile("lmsw %w0" ::"r"(value | 0xFFF0));
        expect("LMSW", read_cr0() ^ cr0, (value | CR0_PE) ^ CR0_PE);
        __asm__ volatile("smsw %w0" : "=r"(low));
        expect("SMSW", low & 0xFFFF, read_cr0() & 0xFFFF);
    }
    __asm__ volatile("smsw %w0" : "+m"(word));
    expect("SMSW to memory", word, 0xFFFF0000 | (read_cr0() & 0xFFFF));
    word = CR0_PE | CR0_TS;
    __asm__ volatile("lmsw %w0" ::"m"(word));
    expect("LMSW from memory", read_cr0() & 0xF, CR0_PE | CR0_TS);
    write_cr0(cr0);
}

SNIPPET(smsw_user, "movl $0, %eax\n\tsmsw %ax");
SNIPPET(rdtsc_user, "7:\trdtsc");
static void at_cpl3(void) {
    u32 cr0 = read_cr0(), cr4 = read_cr4();
    group("SMSW and RDTSC at CPL 3");
    for (u32 i = 0; i < 2; i++) {
        write_cr0(i ? cr0 | CR0_TS | CR0_MP : cr0 & ~(CR0_TS | CR0_MP));
        reset(CPL3);
        expect_done("SMSW", smsw_user);
        expect("SMSW", caught.frame.eax, read_cr0() & 0xFFFF);
    }
    write_cr0(cr0);
    write_cr4(cr4 | CR4_TSD);
    reset(CPL3);
    EXPECT_TRAP("RDTSC with CR4.TSD", rdtsc_user, VECTOR_GENERAL_PROTECTION, 0);
    write_cr4(cr4);
}

#define DEBUG_REGISTER(n)                                                                          \
    static u32 read_dr##n(void) {                                                                  \
        u32 value;                                                                                 \
        __asm__ volatile("movl %%dr" #n ", %0" : "=r"(value));                                     \
        return value;                                                                              \
    }                                                                                              \
    static void write_dr##n(u32 value) { __asm__ volatile("movl %0, %%dr" #n ::"r"(value)); }
DEBUG_REGISTER(0)
DEBUG_REGISTER(1)
DEBUG_REGISTER(2)
DEBUG_REGISTER(3)
DEBUG_REGISTER(6)
DEBUG_REGISTER(7)
SNIPPET(from_dr4, "7:\t.byte 0x0F, 0x21, 0xE0");
SNIPPET(to_dr5, "7:\t.byte 0x0F, 0x23, 0xE8");

static void debug_registers(void) {
    group("debug registers");
    for (u32 i = 0; i < 8; i++) {
        u32 a = random32(), b = random32(), c = random32(), d = random32();
        write_dr0(a);
        write_dr1(b);
        write_dr2(c);
        write_dr3(d);
        expect("DR0", read_dr0(), a);
        expect("DR1", read_dr1(), b);
        expect("DR2", read_dr2(), c);
        expect("DR3", read_dr3(), d);
    }
    write_dr0(0);
    write_dr1(0);
    write_dr2(0);
    write_dr3(0);
    write_dr6(0);
    expect("DR6, fixed bits", read_dr6(), 0xFFFF0FF0);
    write_dr6(0xFFFF0FF0 | 0x600F);
    expect("DR6", read_dr6(), 0xFFFF0FF0 | 0x600F);
    write_dr6(0xFFFF0FF0);
    write_dr7(0x0000);
    expect("DR7, fixed bit", read_dr7() & 0x0000DFFF, 0x400);
    write_dr7(0xF7310400); /* types and lengths, nothing enabled */
    expect("DR7", read_dr7(), 0xF7310400);
    write_dr7(0x400);
    write_cr4(read_cr4() | CR4_DE);
    reset(CPL0);
    EXPECT_TRAP("DR4 with CR4.DE", from_dr4, VECTOR_INVALID_OPCODE, 0);
    reset(CPL0);
    EXPECT_TRAP("DR5 with CR4.DE", to_dr5, VECTOR_INVALID_OPCODE, 0);
    write_cr4(read_cr4() & ~CR4_DE);
    reset(CPL0);
    expect_done("DR4 is DR6", from_dr4);
    expect("DR4", caught.frame.eax, read_dr6());
}

/* Flags. EAX is the image; what PUSHF then pushes comes back in EBX. */
SNIPPET(popfl, "pushl %eax\n\tpopfl\n\tpushfl\n\tpopl %ebx");
SNIPPET(popfw, "pushw %ax\n\tpopfw\n\tpushfl\n\tpopl %ebx");
SNIPPET(pushfw, "movl $-1, -4(%esp)\n\tmovl $-1, -8(%esp)\n\tpushl $0\n\tpushfw\n\tpopw %bx\n\tpopl %ecx");
SNIPPET(iretl, "pushl %eax\n\tmovl %cs, %ecx\n\tpushl %ecx\n\tpushl $1f\n\tiret\n1:\tpushfl\n\tpopl %ebx");
SNIPPET(sahf, "sahf\n\tpushfl\n\tpopl %ebx\n\tlahf");
SNIPPET(sti_user, "7:\tsti");
SNIPPET(cli_user, "7:\tcli");
SNIPPET(carry, "clc\n\tpushfl\n\tpopl %eax\n\tstc\n\tpushfl\n\tpopl %ebx\n\tcmc\n\tpushfl\n\tpopl %ecx\n\tstd\n\tpushfl\n\tpopl %edx\n\tcld\n\tpushfl\n\tpopl %esi");

#define FREE (EFLAGS_STATUS | EFLAGS_DF | EFLAGS_NT | EFLAGS_AC | EFLAGS_ID)
static u32 after_pop(u32 before, u32 image, u32 cpl, u32 size) {
    u32 mask = FREE;
    if (cpl <= (before >> 12 & 3)) mask |= EFLAGS_IF;
    if (cpl == 0) mask |= EFLAGS_IOPL;
    if (size == 16) mask &= 0xFFFF;
    return (before & ~mask) | (image & mask) | 2;
}
static void flags(void) {
    group("POPF and IRET");
    for (u32 iopl = 0; iopl <= 3; iopl++)
        for (u32 cpl = CPL0; cpl <= CPL3; cpl += 3)
            for (u32 i = 0; i < 16; i++) {
                /* Every line of the 8259s is masked: IF may be set. TF and VM may not, and NT not before IRET. */
                u32 before = (random32() & (EFLAGS_STATUS | EFLAGS_DF | EFLAGS_IF | EFLAGS_AC | EFLAGS_ID)) | iopl << 12 | 2;
                u32 image = random32() & ~(EFLAGS_TF | EFLAGS_VM | 0x180000);
                if (i & 1) before |= EFLAGS_IF;
                reset(cpl);
                in.eflags = before;
                in.eax = image;
                expect_done("POPFD", popfl);
                expect("POPFD", caught.frame.ebx, after_pop(before, image, cpl, 32));
                expect("flags of the trap", caught.frame.eflags, after_pop(before, image, cpl, 32));
                expect_done("POPF", popfw);
                expect("POPF", caught.frame.ebx, after_pop(before, image, cpl, 16));
                in.eax = image &= ~EFLAGS_NT;
                expect_done("IRETD", iretl);
                expect("IRETD", caught.frame.ebx, after_pop(before, image, cpl, 32));
                in.eflags |= EFLAGS_NT;
                expect_done("PUSHF", pushfw);
                expect("PUSHF", caught.frame.ebx & 0xFFFF, in.eflags & 0xFFFF);
                expect("PUSHF pushes two bytes", caught.frame.ecx, 0);
                in.eax = image;
                expect_done("SAHF", sahf);
                expect("SAHF", caught.frame.ebx & 0xFF, (image >> 8 & 0xD5) | 2);
                expect("LAHF", caught.frame.eax, (image & 0xFFFF00FF) | (image & 0xD500) | 0x200);
            }
    group("STI and CLI by IOPL");
    for (u32 iopl = 0; iopl <= 3; iopl++)
        for (u32 set = 0; set <= EFLAGS_IF; set += EFLAGS_IF)
            for (u32 cpl = CPL0; cpl <= CPL3; cpl += 3) {
                reset(cpl);
                in.eflags = iopl << 12 | set | 2;
                if (cpl > iopl) {
                    EXPECT_TRAP("STI", sti_user, VECTOR_GENERAL_PROTECTION, 0);
                    EXPECT_TRAP("CLI", cli_user, VECTOR_GENERAL_PROTECTION, 0);
                    continue;
                }
                expect_done("STI", sti_user);
                expect("IF", caught.frame.eflags & (EFLAGS_IF | EFLAGS_IOPL), EFLAGS_IF | iopl << 12);
                expect_done("CLI", cli_user);
                expect("IF", caught.frame.eflags & (EFLAGS_IF | EFLAGS_IOPL), iopl << 12);
            }
    reset(CPL3);
    expect_done("CLC, STC, CMC, STD, CLD", carry);
    expect("CLC", caught.frame.eax & 0x401, 0);
    expect("STC", caught.frame.ebx & 0x401, 1);
    expect("CMC", caught.frame.ecx & 0x401, 0);
    expect("STD", caught.frame.edx & 0x401, 0x400);
    expect("CLD", caught.frame.esi & 0x401, 0);
}

/* Interrupt and trap gates, and what the handler sees in EFLAGS. */
extern u8 see_flags[];
__asm__(".text\nsee_flags:\n\tpushfl\n\tpopl %eax\n\tint $0x82");
SNIPPET(int_a0, "int $0xA0\n7:");
static void gates(void) {
    u64 *idt = idt_entries();
    group("interrupt and trap gates");
    for (u32 trap = 0; trap <= 1; trap++)
        for (u32 cpl = CPL0; cpl <= CPL3; cpl += 3)
            for (u32 i = 0; i < 2; i++) {
                u32 before = 2 | EFLAGS_CF | EFLAGS_AC | EFLAGS_IF * i | EFLAGS_DF;
                idt[0xA0] = gate(KERNEL_CS, (u32)see_flags, 0xEE + trap, 0);
                reset(cpl);
                in.eflags = before;
                expect_done("INT A0h", int_a0);
                expect("flags in the handler", caught.frame.eax, before & ~(trap ? 0 : EFLAGS_IF));
                expect("CS in the handler", caught.frame.cs, KERNEL_CS);
            }
    idt[0xA0] = 0;
}

static u32 flip(u32 bit) {
    u32 flipped, original = read_eflags();
    __asm__ volatile("pushl %1\n\tpopfl\n\tpushfl\n\tpopl %0\n\tpushl %2\n\tpopfl"
                     : "=&r"(flipped)
                     : "r"(original ^ bit), "r"(original)
                     : "cc", "memory");
    return (flipped ^ original) & bit;
}
static void identification(void) {
    u32 a, b, c, d, a2, b2, c2, d2;
    group("CPUID");
    expect("EFLAGS.ID can change", flip(EFLAGS_ID), EFLAGS_ID);
    cpuid(0, &a, &b, &c, &d);
    expect("leaf 0 gives a leaf 1", a >= 1, 1);
    cpuid(0, &a2, &b2, &c2, &d2);
    expect("leaf 0 is stable", a == a2 && b == b2 && c == c2 && d == d2, 1);
    cpuid(1, &a, &b, &c, &d);
    cpuid(1, &a2, &b2, &c2, &d2);
    expect("leaf 1 is stable", a == a2 && b == b2 && c == c2 && d == d2, 1);
    /* DE, PSE, TSC, MSR, CX8, SEP, PGE, CMOV */
    expect("features", d & 0xA93C, 0xA93C);
}

SNIPPET(enter, "7:\tsysenter");
SNIPPET(leave, "7:\tsysexit");
SNIPPET(landing, "nop");
static void fast_calls(void) {
    u64 cs = rdmsr(MSR_SYSENTER_CS), esp = rdmsr(MSR_SYSENTER_ESP), eip = rdmsr(MSR_SYSENTER_EIP);
    static u8 stack[256] __attribute__((aligned(16)));
    group("SYSENTER and SYSEXIT");
    for (u32 i = 0; i < 8; i++) {
        u32 value = random32();
        wrmsr(MSR_SYSENTER_ESP, value);
        expect("SYSENTER_ESP", (u32)rdmsr(MSR_SYSENTER_ESP), value);
        wrmsr(MSR_SYSENTER_EIP, ~value);
        expect("SYSENTER_EIP", (u32)rdmsr(MSR_SYSENTER_EIP), ~value);
        wrmsr(MSR_SYSENTER_CS, value & 0xFFFF);
        expect("SYSENTER_CS", (u32)rdmsr(MSR_SYSENTER_CS), value & 0xFFFF);
    }
    wrmsr(MSR_SYSENTER_ESP, (u32)(stack + sizeof stack));
    wrmsr(MSR_SYSENTER_EIP, (u32)landing);
    for (u32 rpl = 0; rpl <= 3; rpl++) { /* the RPL in the MSR does not matter */
        wrmsr(MSR_SYSENTER_CS, KERNEL_CS | rpl);
        for (u32 cpl = CPL0; cpl <= CPL3; cpl += 3) {
            reset(cpl);
            in.eflags |= EFLAGS_IF | EFLAGS_CF | EFLAGS_DF;
            expect_done("SYSENTER", enter);
            expect("CS", caught.frame.cs, KERNEL_CS);
            expect("ESP", caught.frame.esp, (u32)(stack + sizeof stack));
            expect("IF", caught.frame.eflags & (EFLAGS_IF | EFLAGS_CF | EFLAGS_DF), EFLAGS_CF | EFLAGS_DF);
            expect("EAX", caught.frame.eax, in.eax);
            expect("EDX", caught.frame.edx, in.edx);
        }
        reset(CPL0);
        in.edx = (u32)landing;
        in.ecx = (u32)user_stack_top - 16;
        expect_done("SYSEXIT", leave);
        expect("CS", caught.frame.cs, USER_CS);
        expect("SS", caught.frame.ss, USER_DS);
        expect("ESP", caught.frame.esp, (u32)user_stack_top - 16);
        expect("EIP", caught.frame.eip, (u32)landing + 3);
    }
    wrmsr(MSR_SYSENTER_CS, 0);
    reset(CPL3);
    EXPECT_TRAP("SYSENTER with CS 0", enter, VECTOR_GENERAL_PROTECTION, 0);
    reset(CPL0);
    EXPECT_TRAP("SYSEXIT with CS 0", leave, VECTOR_GENERAL_PROTECTION, 0);
    wrmsr(MSR_SYSENTER_CS, cs);
    wrmsr(MSR_SYSENTER_ESP, esp);
    wrmsr(MSR_SYSENTER_EIP, eip);
}

/* I/O at CPL 3. The port is in DX; nothing answers at 300h to 31Fh. */
#define PORT 0x300
#define BITMAP_TSS 0x40
SNIPPET(in8, "7:\tinb %dx, %al");
SNIPPET(in16, "7:\tinw %dx, %ax");
SNIPPET(in32, "7:\tinl %dx, %eax");
SNIPPET(out8, "7:\toutb %al, %dx");
SNIPPET(out16, "7:\toutw %ax, %dx");
SNIPPET(out32, "7:\toutl %eax, %dx");
SNIPPET(ins8, "7:\tinsb");
SNIPPET(outs32, "7:\toutsl");
SNIPPET(post, "7:\toutb %al, $0x80");

static void io(void) {
    static u8 tss[104 + PORT / 8 + 4 + 1] __attribute__((aligned(256)));
    static const struct {
        const u8 *code;
        u32 size;
    } table[] = {{in8, 1}, {in16, 2}, {in32, 4}, {out8, 1}, {out16, 2}, {out32, 4}, {ins8, 1}, {outs32, 4}};
    u8 *bitmap = tss + 104;
    group("I/O by IOPL");
    for (u32 iopl = 0; iopl <= 3; iopl++)
        for (u32 cpl = CPL0; cpl <= CPL3; cpl += 3)
            for (u32 i = 0; i < sizeof table / sizeof table[0]; i++) {
                reset(cpl);
                in.eflags |= iopl << 12;
                in.edx = PORT;
                in.edi = in.esi = (u32)user_stack_top - 64;
                if (cpl > iopl) {
                    expect_trap("I/O", table[i].code, table[i].code, VECTOR_GENERAL_PROTECTION, 0);
                    expect_registers("I/O");
                } else expect_done("I/O", table[i].code);
            }
    reset(CPL3);
    in.eflags |= EFLAGS_IOPL;
    in.edx = PORT;
    expect_done("IN", in8);
    expect("an empty port", caught.frame.eax & 0xFF, 0xFF);

    /* A TSS with a bitmap: ports 300h to 31Fh are at its end. */
    group("I/O permission bitmap");
    memcpy(tss, tss_words(), 104);
    *(u16 *)(tss + 102) = 104;
    for (u32 i = 0; i < sizeof tss - 104; i++) bitmap[i] = 0xFF;
    gdt_extend();
    test_gdt[BITMAP_TSS >> 3] = descriptor((u32)tss, sizeof tss - 1, 0x89, 0);
    __asm__ volatile("ltr %w0" ::"r"(BITMAP_TSS));
    for (u32 pattern = 0; pattern < 24; pattern++) {
        u32 denied = pattern < 8 ? 1u << pattern : pattern < 16 ? 0xFF00FF00 >> (pattern & 7) : random32() & random32();
        MEMORY32(bitmap + PORT / 8) = denied;
        for (u32 i = 0; i < sizeof table / sizeof table[0]; i++)
            for (u32 port = 0; port + table[i].size <= 16; port++) {
                u32 bits = ((1u << table[i].size) - 1) << port;
                reset(CPL3);
                in.edx = PORT + port;
                in.edi = in.esi = (u32)user_stack_top - 64;
                if (denied & bits) expect_trap("denied", table[i].code, table[i].code, VECTOR_GENERAL_PROTECTION, 0);
                else expect_done("allowed", table[i].code);
            }
    }
    /* Beyond the limit all is denied; the check reads two bytes, so the last port needs the byte of ones behind it. */
    MEMORY32(bitmap + PORT / 8) = 0;
    reset(CPL3);
    in.edx = PORT + 31;
    expect_done("the last port", in8);
    in.edx = PORT + 32;
    EXPECT_TRAP("the byte of ones", in8, VECTOR_GENERAL_PROTECTION, 0);
    in.edx = PORT + 40;
    EXPECT_TRAP("beyond the limit", in8, VECTOR_GENERAL_PROTECTION, 0);
    in.edx = 0xFFFF;
    EXPECT_TRAP("the last of all ports", in8, VECTOR_GENERAL_PROTECTION, 0);
    in.edx = PORT + 31;
    EXPECT_TRAP("partly denied", in16, VECTOR_GENERAL_PROTECTION, 0);
    reset(CPL3);
    EXPECT_TRAP("the POST port, denied", post, VECTOR_GENERAL_PROTECTION, 0);
    bitmap[0x80 / 8] = 0xFE;
    expect_done("the POST port, allowed", post);
    *(u16 *)(tss + 102) = sizeof tss; /* no bitmap */
    EXPECT_TRAP("no bitmap", post, VECTOR_GENERAL_PROTECTION, 0);
    in.eflags |= EFLAGS_IOPL; /* IOPL allows what the bitmap does not */
    expect_done("IOPL 3", post);
    test_gdt[TSS_SELECTOR >> 3] &= ~(2ull << 40); /* not busy */
    __asm__ volatile("ltr %w0" ::"r"(TSS_SELECTOR));
}

void program_main(void) {
    test_init();
    control_registers();
    at_cpl3();
    debug_registers();
    flags();
    gates();
    identification();
    fast_calls();
    io();
    groups_end();
}

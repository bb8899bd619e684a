/*
 * Segmentation (SDM volume 3, chapters 3 and 5): LAR, LSL, VERR, VERW over all descriptor types, bases, the accessed bit,
 * the LDT, far transfers, conforming segments, call gates to an inner ring and back, 16-bit stacks, descriptor-table
 * registers. Limits of accesses are in t-limits.
 */
#include "test.h"

#define FIRST 0x40 /* the test's selectors */
#define LDT_SELECTOR 0x48
#define STACK16 0x53
#define BASED 0x5B      /* data, DPL 3, base WINDOW */
#define WRAPPING 0x63   /* data, DPL 3, base FFFFF000h */
#define CONFORMING 0x68 /* code, DPL 0 */
#define CODE0 0x70
#define CODE3 0x7B
#define GATE0 0x83      /* call gates of DPL 3 */
#define GATE_PARAMETERS 0x8B
#define GATE_DPL0 0x98
#define DATA1 0xA1      /* DPL 1 */
#define CODE_BASED 0xAB /* code, DPL 3, base WINDOW */

SNIPPET(lar, "lar %ax, %ecx\n\tpushfl\n\tpopl %edx");
SNIPPET(lsl, "lsl %ax, %ecx\n\tpushfl\n\tpopl %edx");
SNIPPET(verr, "verr %ax\n\tpushfl\n\tpopl %edx");
SNIPPET(verw, "verw %ax\n\tpushfl\n\tpopl %edx");

static void queries_of(u32 selector, u32 access, u32 flags, u32 limit) {
    u32 cpl = in.cs & 3, rpl = selector & 3, dpl = access >> 5 & 3, type = access & 0x1F;
    u32 conforming = (type & 0x1C) == 0x1C, code = (type & 0x18) == 0x18;
    u32 visible = (conforming || (dpl >= cpl && dpl >= rpl)) && (selector & ~3u);
    static const u32 lar_systems = 1u << 1 | 1u << 2 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 9 | 1u << 11 | 1u << 12;
    static const u32 lsl_systems = 1u << 1 | 1u << 2 | 1u << 3 | 1u << 9 | 1u << 11;
    u32 segment = type & 0x10;
    u32 expected[4] = {visible && (segment || (lar_systems >> type & 1)), visible && (segment || (lsl_systems >> type & 1)),
                       visible && segment && (!code || (type & 2)), visible && segment && !code && (type & 2)};
    static const u8 *const code_of[4] = {lar, lsl, verr, verw};
    static const char *const names[4] = {"LAR", "LSL", "VERR", "VERW"};
    for (u32 i = 0; i < 4; i++) {
        in.eax = 0xAAAA0000 | selector;
        in.eflags = 2 | (random32() & EFLAGS_STATUS);
        expect_done(names[i], code_of[i]);
        expect(names[i], caught.frame.edx & EFLAGS_STATUS, (in.eflags & EFLAGS_STATUS & ~EFLAGS_ZF) | (expected[i] ? EFLAGS_ZF : 0));
        if (i == 0 && expected[i]) expect("access rights", caught.frame.ecx & 0x00F0FF00, access << 8 | flags << 20);
        else if (i == 1 && expected[i]) expect("limit", caught.frame.ecx, flags & 8 ? limit << 12 | 0xFFF : limit);
        else expect("ECX", caught.frame.ecx, in.ecx);
    }
}

static void queries(void) {
    group("LAR, LSL, VERR, VERW");
    for (u32 cpl = CPL0; cpl <= CPL3; cpl += 3) {
        reset(cpl);
        for (u32 access = 0; access < 256; access++)
            for (u32 rpl = 0; rpl <= 3; rpl += 1 + (access & 1)) {
                u32 flags = access & 1 ? 0xC : 0x4, limit = access * 0x123 + rpl;
                test_gdt[FIRST >> 3] = descriptor(0x12345678, limit, access, flags);
                queries_of(FIRST | rpl, access, flags, limit);
                if ((u32)(test_gdt[FIRST >> 3] >> 40 & 0xFF) != access) panic("access byte 0x%x has changed", access);
            }
        queries_of(0, 0, 0, 0);
        queries_of(3, 0, 0, 0);
        queries_of(0x7FF8, 0, 0, 0); /* beyond the GDT */
        queries_of(0x1FC, 0, 0, 0);  /* no LDT */
    }
}

SNIPPET(use_ds, "movw %ax, %ds\n\tmovl (%ebx), %ecx\n\tmovl %edx, 4(%ebx)");
SNIPPET(use_es, "pushl %eax\n\tpopl %es\n\tmovl %es:(%ebx), %ecx\n\tmovl %edx, %es:4(%ebx)");
SNIPPET(use_fs, "movl %eax, 4(%esp)\n\tmovl $0, (%esp)\n\tlfsl (%esp), %esi\n\tmovl %fs:(%ebx), %ecx\n\tmovl %edx, %fs:4(%ebx)");
SNIPPET(use_gs, "pushl %eax\n\tpopl %gs\n\tmovl %gs:(%ebx), %ecx\n\tmovl %edx, %gs:4(%ebx)\n\tmovl $-1, %esi\n\tmovl %gs, %esi");
SNIPPET(null_ds, "movw %ax, %ds\n\tmovw %ax, %es\n\tmovw %ax, %fs\n\tmovw %ax, %gs\n\tmovl $-1, %ecx\n\tmovl %ds, %ecx");
SNIPPET(selector_store, "movl $-1, -4(%esp)\n\tmovw %ss, -4(%esp)\n\tmovl -4(%esp), %ecx\n\tpushl %ds\n\tpopl %edx");
SNIPPET(string_based, "movw %ax, %es\n\tmovl $64, %ecx\n\tcld\n\trep stosl");

static void bases(void) {
    static const u8 *const uses[] = {use_ds, use_es, use_fs, use_gs};
    u32 frame = window_page(0, PTE_U | PTE_W);
    window_page(1, PTE_U | PTE_W);
    group("bases and the accessed bit");
    for (u32 i = 0; i < 4; i++) {
        test_gdt[BASED >> 3] = descriptor(WINDOW, 0xFFFFF, 0xF2, 0xC);
        MEMORY32(frame + 0x120) = 0x10000000 + i;
        reset(CPL3);
        in.esp -= 16;
        in.eax = BASED;
        in.ebx = 0x120;
        in.edx = 0xDADA0000 + i;
        expect_done("load and store", uses[i]);
        expect("load", caught.frame.ecx, 0x10000000 + i);
        expect("store", MEMORY32(frame + 0x124), 0xDADA0000 + i);
        expect("accessed", test_gdt[BASED >> 3] >> 40 & 0xFF, 0xF3);
        if (uses[i] == use_gs) expect("MOV r32, GS", caught.frame.esi, BASED);
        in.ebx = 0u - WINDOW + (u32)user_stack_top - 128; /* offsets wrap at 4 GB */
        MEMORY32((u32)user_stack_top - 128) = 0x31;
        expect_done("wrapping", uses[i]);
        expect("wrapped load", caught.frame.ecx, 0x31);
        test_gdt[WRAPPING >> 3] = descriptor(0xFFFFF000, 0xFFFFF, 0xF3, 0xC);
        in.eax = WRAPPING;
        in.ebx = WINDOW + 0x1120;
        expect_done("base at the top", uses[i]);
        expect("load", caught.frame.ecx, 0x10000000 + i);
    }
    reset(CPL3);
    in.eax = BASED;
    in.edi = PAGE_SIZE - 100; /* over a page boundary */
    expect_done("REP STOSD", string_based);
    expect("first", MEMORY32(WINDOW_AT(1) - 100), BASED);
    expect("last", MEMORY32(WINDOW_AT(1) - 100 + 63 * 4), BASED);
    for (u32 null = 0; null <= 3; null++) {
        reset(null & 1 ? CPL3 : CPL0);
        in.eax = null;
        expect_done("null selectors", null_ds);
        expect("DS", caught.frame.ecx, null);
    }
    reset(CPL3);
    expect_done("selectors stored", selector_store);
    expect("two bytes in memory", caught.frame.ecx, 0xFFFF0000 | USER_DS);
    expect("PUSH DS", caught.frame.edx & 0xFFFF, USER_DS);
    /* A load that faults does not set the accessed bit. */
    test_gdt[FIRST >> 3] = descriptor(0, 0xFFFFF, 0x92, 0xC);
    reset(CPL3);
    in.eax = FIRST;
    expect("load of DPL 0 at CPL 3", run(use_ds), VECTOR_GENERAL_PROTECTION);
    expect("not accessed", test_gdt[FIRST >> 3] >> 40 & 1, 0);
}

SNIPPET(load_fs, "7:\tmovw %ax, %fs\n\tmovl %fs:(%ebx), %ecx");
static void local_table(void) {
    static u64 ldt[4] __attribute__((aligned(8)));
    u32 selector = ~0u;
    group("LDT and table registers");
    ldt[1] = descriptor(WINDOW, 0xFFFFF, 0xF2, 0xC);
    ldt[2] = descriptor(WINDOW + 0x10, 0xFFFFF, 0xF2, 0xC);
    test_gdt[LDT_SELECTOR >> 3] = descriptor((u32)ldt, sizeof ldt - 1, 0x82, 0);
    __asm__ volatile("lldt %w0" ::"r"(LDT_SELECTOR));
    __asm__ volatile("sldt %0" : "=r"(selector));
    expect("SLDT", selector & 0xFFFF, LDT_SELECTOR);
    MEMORY32(WINDOW) = 0x1D700001;
    MEMORY32(WINDOW + 0x10) = 0x1D700002;
    for (u32 cpl = CPL0; cpl <= CPL3; cpl += 3) {
        reset(cpl);
        in.ebx = 0;
        in.eax = 0x0C | cpl;
        expect_done("LDT 1", load_fs);
        expect("LDT 1", caught.frame.ecx, 0x1D700001);
        in.eax = 0x14 | cpl;
        expect_done("LDT 2", load_fs);
        expect("LDT 2", caught.frame.ecx, 0x1D700002);
        in.eax = 0x1C | cpl;
        EXPECT_TRAP("LDT 3 is no segment", load_fs, VECTOR_GENERAL_PROTECTION, 0x1C);
        in.eax = 0x24 | cpl;
        EXPECT_TRAP("beyond the LDT", load_fs, VECTOR_GENERAL_PROTECTION, 0x24);
        in.eax = 4 | cpl; /* the first entry of the LDT is not the null selector, but it is no segment */
        EXPECT_TRAP("LDT 0", load_fs, VECTOR_GENERAL_PROTECTION, 4);
    }
    expect("accessed", ldt[1] >> 40 & 0xFF, 0xF3);
    __asm__ volatile("lldt %w0" ::"r"(0));
    __asm__ volatile("sldt %0" : "=r"(selector));
    expect("SLDT of none", selector & 0xFFFF, 0);
    reset(CPL3);
    in.eax = 0x0F;
    EXPECT_TRAP("no LDT", load_fs, VECTOR_GENERAL_PROTECTION, 0x0C);

    struct {
        u16 limit;
        u32 base;
    } __attribute__((packed)) saved = {0, 0}, table, again = {0, 0};
    __asm__ volatile("str %0" : "=r"(selector));
    expect("STR", selector & 0xFFFF, TSS_SELECTOR);
    __asm__ volatile("sgdt %0" : "=m"(saved));
    expect("GDT", saved.base, (u32)test_gdt);
    expect("GDT's limit", saved.limit, sizeof test_gdt - 1);
    table = saved;
    table.limit = 0x3F;
    __asm__ volatile("lgdt %1\n\tsgdt %0" : "=m"(again) : "m"(table));
    expect("limit", again.limit, 0x3F);
    reset(CPL0);
    in.eax = FIRST;
    EXPECT_TRAP("beyond the shorter GDT", load_fs, VECTOR_GENERAL_PROTECTION, FIRST);
    __asm__ volatile("lgdt %0" ::"m"(saved));
    __asm__ volatile("sidt %0" : "=m"(saved));
    expect("IDT's limit", saved.limit, 256 * 8 - 1);
    table.base = saved.base;
    table.limit = 0x90 * 8 - 1;
    __asm__ volatile("lidt %1\n\tsidt %0" : "=m"(again) : "m"(table));
    expect("IDT", again.base, saved.base);
    expect("limit", again.limit, 0x90 * 8 - 1);
    reset(CPL0);
    extern u8 int_90[];
    expect_trap("beyond the shorter IDT", int_90, int_90, VECTOR_GENERAL_PROTECTION, 0x90 * 8 + 2);
    __asm__ volatile("lidt %0" ::"m"(saved));
}
__asm__(".pushsection .user.text, \"ax\"\nint_90:\n\tint $0x90\n\t.popsection");

/* Far transfers. EAX has the selector. */
SNIPPET(jump_far, "movl %eax, -4(%esp)\n\tmovl $1f, -8(%esp)\n\tljmpl *-8(%esp)\n1:");
SNIPPET(call_far, "movl %eax, -4(%esp)\n\tmovl $1f, -8(%esp)\n\tlcalll *-8(%esp)\n2:\tjmp 3f\n"
                  "1:\tmovl %cs, %ecx\n\tpopl %ebx\n\tpopl %edx\n\tpushl %edx\n\tpushl %ebx\n\tlret\n3:");
SNIPPET(ret_far, "pushl $11\n\tpushl $22\n\tpushl %eax\n\tpushl $1f\n\tlret $8\n1:");
SNIPPET(iret_same, "pushl $0x2\n\tpushl %eax\n\tpushl $1f\n\tiret\n1:");
SNIPPET(direct, "ljmp $0x1B, $1f\n\thlt\n1:\tlcall $0x1B, $2f\n\tjmp 3f\n2:\tlret\n3:");
SNIPPET(call_gate, "lcall $0x83, $0x12345678\n\tmovl %fs, %edi\n\tmovl %gs, %esi");
SNIPPET(call_gate_parameters, "pushl $1000\n\tpushl $200\n\tpushl $30\n\tlcall $0x8B, $0");
SNIPPET(jump_gate, "7:\tljmp $0x83, $0");
SNIPPET(call_gate_dpl0, "7:\tlcall $0x98, $0");

extern u8 inner[], inner_parameters[], same_ring[];
__asm__(".text\n"
        "inner:\n\t" /* at CPL 0: FS gets a segment of DPL 0, which the return takes away; GS keeps one of DPL 3 */
        "movl $0x10, %eax\n\tmovw %ax, %fs\n\tmovl $0x23, %eax\n\tmovw %ax, %gs\n\t"
        "movl %cs, %ecx\n\tmovl %ss, %edx\n\tmovl %esp, %ebx\n\tlret\n"
        "inner_parameters:\n\t"
        "movl 8(%esp), %eax\n\taddl 12(%esp), %eax\n\taddl 16(%esp), %eax\n\t"
        "movl 20(%esp), %ecx\n\tmovl 24(%esp), %edx\n\tmovl (%esp), %ebx\n\tlret $12\n"
        ".pushsection .user.text, \"ax\"\n"
        "same_ring:\n\tmovl %cs, %ecx\n\tint $0x82\n"
        ".popsection");

static void transfers(void) {
    u32 *tss = tss_words();
    group("far transfers");
    test_gdt[CONFORMING >> 3] = descriptor(0, 0xFFFFF, 0x9E, 0xC);
    test_gdt[CODE0 >> 3] = descriptor(0, 0xFFFFF, 0x9A, 0xC);
    test_gdt[CODE3 >> 3] = descriptor(0, 0xFFFFF, 0xFA, 0xC);
    static const struct {
        u32 cpl, selector, cs;
    } table[] = {{CPL0, KERNEL_CS, KERNEL_CS}, {CPL0, CODE0, CODE0},          {CPL0, CONFORMING, CONFORMING},
                 {CPL3, USER_CS, USER_CS},     {CPL3, CODE3, CODE3},          {CPL3, CODE3 & ~3u, CODE3},
                 {CPL3, CONFORMING, CONFORMING | 3}, {CPL3, CONFORMING | 3, CONFORMING | 3}};
    for (u32 i = 0; i < sizeof table / sizeof table[0]; i++) {
        reset(table[i].cpl);
        in.eax = table[i].selector;
        expect_done("JMP", jump_far);
        expect("CS after JMP", caught.frame.cs, table[i].cs);
        expect("ESP after JMP", caught.frame.esp, in.esp);
        expect_done("CALL", call_far);
        expect("CS in the callee", caught.frame.ecx, table[i].cs);
        expect("CS pushed", caught.frame.edx & 0xFFFF, in.cs);
        expect("return address", caught.frame.ebx - (u32)call_far, 16);
        expect("CS after the return", caught.frame.cs, in.cs);
        expect("ESP after the return", caught.frame.esp, in.esp);
        in.eax = table[i].cs;
        expect_done("RET", ret_far);
        expect("CS after RET", caught.frame.cs, table[i].cs);
        expect("ESP after RET 8", caught.frame.esp, in.esp);
        expect_done("IRET", iret_same);
        expect("CS after IRET", caught.frame.cs, table[i].cs);
    }
    reset(CPL3);
    expect_done("direct", direct);
    expect("ESP", caught.frame.esp, in.esp);
    /* Code with a base. */
    test_gdt[CODE_BASED >> 3] = descriptor(WINDOW, 0xFFFFF, 0xFA, 0xC);
    MEMORY32(WINDOW + 0x200) = 0x000082CD; /* INT 82h */
    reset(CPL3);
    in.cs = CODE_BASED;
    expect_done("code with a base", (const u8 *)0x200);
    expect("EIP", caught.frame.eip, 0x202);
    expect("CS", caught.frame.cs, CODE_BASED);

    group("call gates");
    test_gdt[GATE0 >> 3] = gate(KERNEL_CS, (u32)inner, 0xEC, 0);
    test_gdt[GATE_PARAMETERS >> 3] = gate(KERNEL_CS | 3, (u32)inner_parameters, 0xEC, 3);
    test_gdt[GATE_DPL0 >> 3] = gate(KERNEL_CS, (u32)inner, 0x8C, 0);
    reset(CPL3);
    expect_done("to ring 0", call_gate);
    expect("CS", caught.frame.ecx, KERNEL_CS);
    expect("SS", caught.frame.edx, KERNEL_DS);
    expect("ESP in ring 0", caught.frame.ebx, tss[1] - 16);
    expect("ESP after the return", caught.frame.esp, in.esp);
    expect("CS after the return", caught.frame.cs, USER_CS);
    expect("SS after the return", caught.frame.ss, USER_DS);
    expect("FS of DPL 0 became null", caught.frame.edi, 0);
    expect("GS of DPL 3 stayed", caught.frame.esi, USER_DS);
    reset(CPL3);
    expect_done("parameters", call_gate_parameters);
    expect("sum of the parameters", caught.frame.eax, 1230);
    expect("ESP above them", caught.frame.ecx, in.esp - 12);
    expect("SS above them", caught.frame.edx & 0xFFFF, USER_DS);
    expect("return address", caught.frame.ebx - (u32)call_gate_parameters, 5 + 5 + 2 + 7);
    expect("RET 12 on both stacks", caught.frame.esp, in.esp);
    reset(CPL0);
    expect("gate at CPL 0", run(call_gate), DONE);
    expect("CS", caught.frame.ecx, KERNEL_CS);
    expect("ESP without a switch", caught.frame.ebx, in.esp - 8);
    reset(CPL3);
    EXPECT_TRAP("JMP to an inner ring", jump_gate, VECTOR_GENERAL_PROTECTION, KERNEL_CS);
    EXPECT_TRAP("a gate of DPL 0", call_gate_dpl0, VECTOR_GENERAL_PROTECTION, GATE_DPL0);
    test_gdt[GATE0 >> 3] = gate(0, (u32)inner, 0xEC, 0);
    expect("gate to null", run(call_gate), VECTOR_GENERAL_PROTECTION);
    expect("error code", caught.frame.error_code, 0);
    test_gdt[GATE0 >> 3] = gate(USER_CS, (u32)same_ring, 0xEC, 0); /* to the same ring */
    expect("gate to the same ring", run(call_gate), DONE);
    expect("CS", caught.frame.ecx, USER_CS);
    test_gdt[GATE0 >> 3] = gate(KERNEL_DS, (u32)inner, 0xEC, 0);
    expect("gate to data", run(call_gate), VECTOR_GENERAL_PROTECTION);
    expect("error code", caught.frame.error_code, KERNEL_DS);
}

/*
 * A stack of 16 bits, 64 KB at WINDOW + 16 pages, at CPL 3. EDI has ESP, since IRET to a
 * stack of 16 bits leaves the upper half of ESP to chance.
 */
#define SNIPPET16(name, code) SNIPPET(name, "movl $0x53, %eax\n\tmovw %ax, %ss\n\tmovl %edi, %esp\n7:\t" code)
SNIPPET16(push16, "pushl $0x11111111\n\tpushl $0x22222222\n\tmovl %esp, %ecx");
SNIPPET16(call16, "call 1f\n1:\tpopl %ecx\n\tmovl %esp, %edx\n\tpushw $0x3333\n\tmovl %esp, %ebx\n\tpopw %ax");
SNIPPET16(frame16, "movl %esp, %ecx\n\tenter $32, $0\n\tmovl %ebp, %ebx\n\tmovl %esp, %edx\n\tleave");
SNIPPET16(all16, "pushal\n\tmovl %esp, %ecx\n\taddl $32, %esp");
SNIPPET16(iret16, "pushl $2\n\tmovl %cs, %ecx\n\tpushl %ecx\n\tpushl $1f\n\tiret\n1:");
static void small_stack(void) {
    u32 base = WINDOW_AT(16);
    group("16-bit stack");
    for (u32 i = 0; i < 16; i++) window_page(16 + i, PTE_U | PTE_W);
    test_gdt[STACK16 >> 3] = descriptor(base, 0xFFFF, 0xF2, 0); /* B = 0 */
    for (u32 high = 0; high <= 0x12340000; high += 0x12340000) { /* the upper half of ESP does not matter and stays */
        reset(CPL3);
        in.edi = high | 0x100;
        expect_done("PUSH", push16);
        expect("ESP", caught.frame.ecx, high | 0xF8);
        expect("pushed", MEMORY32(base + 0xFC), 0x11111111);
        expect("pushed", MEMORY32(base + 0xF8), 0x22222222);
        expect("SS", caught.frame.ss, STACK16);
        expect("ESP in the trap's frame", caught.frame.esp, high | 0xF8);
        in.edi = high | 4;
        expect_done("PUSH below 0", push16);
        expect("ESP", caught.frame.ecx, high | 0xFFFC);
        expect("pushed at 0", MEMORY32(base), 0x11111111);
        expect("pushed at FFFCh", MEMORY32(base + 0xFFFC), 0x22222222);
        in.edi = high;
        expect_done("CALL", call16);
        expect("popped", caught.frame.ecx - (u32)call16_at, 5);
        expect("ESP wrapped again", caught.frame.edx, high);
        expect("ESP after a word", caught.frame.ebx, high | 0xFFFE);
        in.edi = high | 0x800;
        in.ebp = 0x55660000;
        expect_done("ENTER and LEAVE", frame16);
        expect("BP", caught.frame.ebx & 0xFFFF, 0x7FC);
        expect("SP", caught.frame.edx, high | (0x7FC - 32));
        expect("EBP restored", caught.frame.ebp, 0x55660000);
        expect("SP restored", caught.frame.esp & 0xFFFF, 0x800);
        in.edi = high | 0x900;
        expect_done("PUSHAD", all16);
        expect("ESP", caught.frame.ecx, high | 0x8E0);
        expect("EDI in memory", MEMORY32(base + 0x8E0), in.edi);
        in.edi = high | 0x20;
        expect_done("IRETD", iret16);
        expect("ESP", caught.frame.esp, high | 0x20);
    }
}

void program_main(void) {
    test_init();
    gdt_extend();
    __asm__ volatile("lldt %w0" ::"r"(0)); /* RESET leaves LDTR with base 0 and limit FFFFh */
    queries();
    bases();
    local_table();
    transfers();
    small_stack();
    groups_end();
}

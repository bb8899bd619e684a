/*
 * Segments that a flat kernel never has: code with a base, the same offsets in other segments, 16-bit code in protected
 * mode, stacks with a base and stacks that expand down, segments of the LDT, and FS and GS in all that may use them (SDM
 * volume 3, chapter 3). All accesses are within limits, which QEMU does not check; those outside are in t-odd-strict.
 */
#include "code.h"

#define CODE WINDOW_AT(0)  /* four pages */
#define DATA WINDOW_AT(16) /* 64 KB */
#define SCRATCH_CODE 8u    /* entries of the GDT, made anew for each use */
#define SCRATCH_DATA 9u
#define SCRATCH_STACK 10u
#define LDT_A 11u
#define LDT_B 12u
#define BIG 4u /* flags of a descriptor: D or B */
#define PAGES 0xCu

static u32 cpl;

static u32 selector(u32 entry, u32 base, u32 limit, u32 type, u32 flags) {
    test_gdt[entry] = descriptor(base, limit, 0x91 | cpl << 5 | type, flags);
    return entry << 3 | cpl;
}
static u32 code_at(u32 base, u32 flags) { return selector(SCRATCH_CODE, base, flags & 8 ? 0xFFFFF : 0xFFFF, 0xA, flags); }
static u32 data_at(u32 base) { return selector(SCRATCH_DATA, base, 0xFFFFF, 2, PAGES); }

/* Copies a snippet to `to`. */
#define COPY(to, name)                                                             \
    extern u8 name##_end[];                                                        \
    memcpy((void *)(to), name, (u32)name##_end - (u32)name)
#define SNIPPET_END(name) __asm__(".pushsection .user.text, \"ax\"\n" #name "_end:\n\t.popsection")

/* All kinds of control flow, and reading by CS. ECX gets the offset of its own second instruction. */
SNIPPET(flow, "call 1f\n1:\tpopl %ecx\n\tmovl %cs:(%ecx), %edx\n\txorl %eax, %eax\n2:\tincl %eax\n\tcmpl $5, %eax\n\tjne 2b\n\t"
              "leal 3f - 1b(%ecx), %esi\n\tjmp *%esi\n\tud2\n3:\tleal 4f - 1b(%ecx), %edi\n\tpushl %edi\n\tret\n\tud2\n"
              "4:\tpushl %cs\n\tleal 5f - 1b(%ecx), %ebx\n\tpushl %ebx\n\tlret\n\tud2\n5:\tpushfl\n\tpushl %cs\n\tleal 6f - 1b(%ecx), %ebx\n\tpushl %ebx\n\t"
              "iret\n\tud2\nflow_6:\n6:\tcall 7f\n\tjmp 8f\n7:\taddl $100, %eax\n\tret\n8:\tint3");
SNIPPET_END(flow);
extern u8 flow_6[];

static u32 breakpoint_eip, breakpoint_cs;
static void breakpoint(struct trap_frame *frame) {
    breakpoint_eip = frame->eip;
    breakpoint_cs = frame->cs;
    frame->eax += 1000;
}

static void code_with_a_base(void) {
    static const u32 bases[] = {0, 1, 0x123, 0x100000, WINDOW, CODE - 0x10, CODE, 0x80000000, 0xC0000001, 0xFFC00000, 0xFFFFF000, 0xFFFFFFFF};
    group("code with a base");
    set_trap_handler(VECTOR_BREAKPOINT, breakpoint);
    for (u32 place = 0; place < 2; place++) {
        u32 start = place ? CODE + PAGE_SIZE - 20 : CODE + 0x40;
        COPY(start, flow);
        serialize();
        for (u32 i = 0; i < 2 * sizeof bases / sizeof bases[0]; i++) {
            u32 base = bases[i >> 1];
            cpl = i & 1 ? CPL3 : CPL0;
            reset(cpl);
            in.cs = code_at(base, PAGES);
            expect_done("flow", (u8 *)(start - base));
            expect("where it is", caught.frame.ecx, start + 5 - base);
            expect("what it reads there", caught.frame.edx & 0xFFFFFF, 0x8B2E59); /* POP ECX; MOV by CS */
            expect("EAX", caught.frame.eax, 1105);
            expect("EIP in INT3's frame", breakpoint_eip, caught.frame.eip - 2);
            expect("CS in INT3's frame", breakpoint_cs, in.cs);
            expect("EBX", caught.frame.ebx - caught.frame.ecx, (u32)flow_6 - (u32)flow - 5);
            expect("EIP", caught.frame.eip - (start - base), (u32)flow_end - (u32)flow);
        }
    }
    set_trap_handler(VECTOR_BREAKPOINT, catch_trap);
    /* Four segments, the same offset: each its own code; and the same code at four offsets. */
    for (u32 n = 0; n < 4; n++) mov_eax_end(CODE + n * PAGE_SIZE + 0x800, 0xBA5E0000 + n);
    for (u32 n = 0; n < 64; n++) {
        u32 i = n * n % 7 & 3;
        cpl = n & 4 ? CPL3 : CPL0;
        reset(cpl);
        in.cs = code_at(i * PAGE_SIZE, PAGES);
        expect_done("the same offset", (u8 *)CODE + 0x800);
        expect("EAX", caught.frame.eax, 0xBA5E0000 + i);
        expect_done("the same code", (u8 *)CODE + 0x800 + (n & 3) * PAGE_SIZE - i * PAGE_SIZE);
        expect("EAX", caught.frame.eax, 0xBA5E0000 + (n & 3));
    }
    /* A fault has the offset; what it fetched has the linear address. */
    for (u32 i = 0; i < 8; i++) {
        u32 base = i * 0x11111111, linear = CODE + 4 * PAGE_SIZE;
        cpl = i & 1 ? CPL3 : CPL0;
        MEMORY8(linear - 1) = 0x40; /* INC EAX, and no page behind */
        reset(cpl);
        in.cs = code_at(base, PAGES);
        expect("running off the page", run((u8 *)(linear - 1 - base)), VECTOR_PAGE_FAULT);
        expect("EIP", caught.frame.eip, linear - base);
        expect("CR2", caught.cr2, linear);
        expect("EAX", caught.frame.eax, in.eax + 1);
    }
}

/* 16-bit code: the same bytes mean other instructions; IP, CALL, RET, LOOP, addresses are of 16 bits. */
#define SNIPPET16(name, code) SNIPPET(name, ".code16\n\t" code "\n\tint $0x82\n\t.code32"); SNIPPET_END(name)
SNIPPET16(flow16, "movw $7, %cx\n\txorw %ax, %ax\n1:\taddw $3, %ax\n\tcallw 2f\n\tloop 1b\n\tjcxz 3f\n\tud2\n2:\tpopw %bx\n\tpushw %bx\n\tincw %ax\n\tretw\n"
                  "3:\tpushfw\n\tpopw %dx\n\tcallw 4f\n4:\tpopw %si\n\taddw $5f - 4b, %si\n\tjmpw *%si\n\tud2\n5:\tpushw %cs\n\taddw $6f - 5b, %si\n\tpushw %si\n\tlretw\n\tud2\n"
                  "6:\tpushw $0\n\tpopw %di\n\tpushw %ax\n\taddw $7f - 6b, %si\n\tpushw %si\n\tretw $2\n7:\tmovl %esp, %ebp");
SNIPPET16(memory16, "movw $0x1111, (%bx,%si)\n\tmovw (%bx,%si), %ax\n\taddw $0x2222, 4(%bx,%di)\n\tmovw 4(%bx,%di), %cx\n\tmovl $0x89ABCDEF, 0x1234\n\t"
                    "movw 0x1236, %dx\n\tmovb %al, -1(%si)\n\taddr32 movl 0x1234(%edi), %ebp\n\tleaw -3(%bx,%si), %di");
SNIPPET16(wide16, "movl $0x12345678, %eax\n\tpushl %eax\n\tpopl %ebx\n\tcalll 1f\n1:\tpopl %ecx\n\tmovl $3, %edx\n2:\taddr32 loop 3f\n\tud2\n3:\tpushfl\n\tpopl %esi\n\t"
                  "cwtl\n\tshll $4, %eax\n\tjnz 4f\n\tud2\n4:\txchgl %eax, %edx");
static void sixteen_bits(void) {
    static const u32 bases[] = {CODE, CODE - 0x100, CODE - 0x8000, CODE - 0xE000};
    group("16-bit code");
    for (u32 i = 0; i < 16; i++) {
        u32 base = bases[i >> 1 & 3], start = CODE + (i & 8 ? PAGE_SIZE - 18 : 0x200), ip = start - base;
        cpl = i & 1 ? CPL3 : CPL0;
        COPY(start, flow16);
        serialize();
        reset(cpl);
        in.cs = code_at(base, 0);
        expect_done("flow", (u8 *)ip);
        expect("AX", caught.frame.eax, (in.eax & 0xFFFF0000) | 28);
        expect("IP of the CALL's successor", caught.frame.ebx & 0xFFFF, ip + 11);
        expect("upper half", caught.frame.ebx >> 16, in.ebx >> 16);
        expect("DI", caught.frame.edi, in.edi & 0xFFFF0000);
        expect("ESP", in.esp - caught.frame.ebp, 0);
        expect("CS", caught.frame.cs, in.cs);
        expect("EIP", caught.frame.eip - ip, (u32)flow16_end - (u32)flow16 - 2);
        COPY(start, memory16);
        serialize();
        reset(cpl);
        in.cs = code_at(base, 0);
        in.ds = data_at(DATA);
        in.ebx = 0x5A5A0010;
        in.esi = 0x5A5AFFF8; /* BX + SI wraps to 8 */
        in.edi = 0;
        MEMORY16(DATA + 0x14) = 0x1000;
        expect_done("addresses of 16 bits", (u8 *)ip);
        expect("[BX + SI]", MEMORY16(DATA + 8), 0x1111);
        expect("AX", caught.frame.eax & 0xFFFF, 0x1111);
        expect("CX", caught.frame.ecx & 0xFFFF, 0x3222);
        expect("DX", caught.frame.edx & 0xFFFF, 0x89AB);
        expect("[SI - 1]", MEMORY8(DATA + 0xFFF7), 0x11);
        expect("[EDI + 1234h]", caught.frame.ebp, 0x89ABCDEF);
        expect("LEA", caught.frame.edi, 5);
        COPY(start, wide16);
        serialize();
        reset(cpl);
        in.cs = code_at(base, 0);
        expect_done("operands of 32 bits", (u8 *)ip);
        expect("EBX", caught.frame.ebx, 0x12345678);
        expect("ECX", caught.frame.ecx - ip, 6 + 2 + 2 + 6 - 1); /* LOOP has counted it down */
        expect("EDX", caught.frame.edx, 0x56780);
        expect("ESP", in.esp - caught.frame.esp, 0);
        /* MOV EAX, 40401234h; or MOV AX, 1234h, INC AX twice: by turns at one place. */
        at = (u8 *)start;
        CODE_BYTES(0xB8, 0x34, 0x12, 0x40, 0x40);
        CODE_END();
        serialize();
        for (u32 turn = 0; turn < 6; turn++) {
            reset(cpl);
            in.cs = code_at(base, turn & 1 ? 0 : BIG);
            expect_done("the same bytes", (u8 *)ip);
            expect("EAX", caught.frame.eax, turn & 1 ? (in.eax & 0xFFFF0000) | 0x1236 : 0x40401234);
        }
    }
    /* A fault in it has an IP. */
    at = (u8 *)CODE + 0x200;
    CODE_BYTES(0x66, 0x40, 0xF7, 0x07, 0x34, 0x12, 0x0F, 0x0B); /* INC EAX; TEST [BX], 1234h; UD2 */
    for (cpl = CPL0; cpl <= CPL3; cpl += 3) {
        reset(cpl);
        in.cs = code_at(CODE, 0);
        in.ds = data_at(DATA);
        in.ebx = 0xFFFF0100;
        in.eip = 0x200;
        expect_trap("UD2", (u8 *)0x200, (u8 *)0x206, VECTOR_INVALID_OPCODE, 0);
        expect("EAX", caught.frame.eax, in.eax + 1);
        in.ds = data_at(0x50000000); /* where nothing is */
        expect("TEST", run((u8 *)0x200), VECTOR_PAGE_FAULT);
        expect("IP", caught.frame.eip, 0x202);
        expect("CR2", caught.cr2, 0x50000100);
    }
}

/* Stacks: EAX has SS, EDI ESP; the flat ones come back before the end. EDX = [EBP - 4] by SS, ESI the same offset by DS. */
#define ON_STACK(name, code)                                                                                              \
    SNIPPET(name, "movw %ss, %bx\n\tmovl %esp, %ecx\n\tmovw %ax, %ss\n\tmovl %edi, %esp\n\tmovl %edi, %ebp\n\t" code      \
                  "\n\tmovl %esp, %edi\n\tmovw %bx, %ss\n\tmovl %ecx, %esp")
ON_STACK(stack_plain, "pushl $0x51515151\n\tmovl -4(%ebp), %edx\n\tmovl %ds:-4(%ebp), %esi\n\tpushl %esp\n\tpopl %eax\n\tcall 1f\n1:\tpopl (%esp)");
ON_STACK(stack_frame, "pushl $0x61616161\n\tenter $16, $0\n\tmovl 4(%ebp), %edx\n\tmovl %ebp, %esi\n\tleave\n\tmovl %esp, %eax");
ON_STACK(stack_all, "pushal\n\tmovl 28(%esp), %edx\n\tmovl $0, 28(%esp)\n\tpopal\n\tleal -4(%esp), %edx\n\tpushfl\n\tpopfl");
ON_STACK(stack_word, "pushw $0x7171\n\tpushw %cs\n\tmovzwl 2(%esp), %edx\n\taddl $4, %esp\n\tpushl %ds\n\tpopl %esi\n\tnop");
static void stacks(void) {
    static const struct {
        u32 base, limit, type, flags, esp;
    } table[] = {{DATA, 0xFFFF, 2, BIG, 0x1000},          {DATA - 0x80000000, 0xFFFFF, 2, PAGES, 0x80001000},
                 {DATA + 0x4000, 0xFFFFF, 2, PAGES, 0},   {DATA + 0x8000, 0xFFF00, 6, PAGES, 0}, /* expand-down: from FFF01000h */
                 {DATA + 0x8000, 0x7FFFF, 6, PAGES, 0xFFFFFF00}, {DATA - 0x1000, 0x0FFF, 6, BIG, 0x9000}};
    group("stacks");
    for (u32 i = 0; i < 2 * sizeof table / sizeof table[0]; i++) {
        u32 n = i >> 1, top = table[n].base + table[n].esp;
        cpl = i & 1 ? CPL3 : CPL0;
        memset((void *)(top - 64), 0, 64);
        reset(cpl);
        in.eax = selector(SCRATCH_STACK, table[n].base, table[n].limit, table[n].type, table[n].flags);
        in.edi = table[n].esp;
        in.ds = data_at(DATA + 0x800 - table[n].esp); /* the same offset is elsewhere by DS */
        MEMORY32(DATA + 0x800 - 4) = 0xD5D5D5D5;
        expect_done("PUSH, POP, CALL", stack_plain);
        expect("by SS", caught.frame.edx, 0x51515151);
        expect("by DS", caught.frame.esi, 0xD5D5D5D5);
        expect("POP [ESP]", MEMORY32(top - 4) - MEMORY32(top - 8), 0); /* the return address, at ESP as it is after it */
        expect("PUSH ESP", caught.frame.eax, table[n].esp - 4);
        expect_done("ENTER and LEAVE", stack_frame);
        expect("by EBP", caught.frame.edx, 0x61616161);
        expect("EBP", caught.frame.esi, table[n].esp - 8);
        expect("ESP", caught.frame.eax, table[n].esp - 4);
        expect_done("PUSHAD and POPAD", stack_all);
        expect("EAX", caught.frame.eax, 0);
        expect("EDX", caught.frame.edx, table[n].esp - 4);
        expect("EDI in memory", MEMORY32(top - 32), in.edi);
        expect_done("words", stack_word);
        expect("a word", caught.frame.edx, 0x7171);
        expect("PUSH DS", caught.frame.esi & 0xFFFF, in.ds);
        expect("ESP", caught.frame.edi, table[n].esp);
    }
}

/* Code, data and stack of an LDT; another LDT at the same selectors; what is loaded stays as it was loaded. */
SNIPPET(by_ldt, "movw %ss, %si\n\tmovl %esp, %ebp\n\tmovw %ax, %ss\n\tmovl $0x100, %esp\n\tpushl %edx\n\tmovl (%esp), %ebx\n\tmovl %ds:0x40, %ecx\n\t"
                "addl %ecx, %ds:0x44\n\tpushl %cs\n\tpopl %edx\n\tmovw %si, %ss\n\tmovl %ebp, %esp");
SNIPPET_END(by_ldt);
SNIPPET(stays_loaded, "movw %ax, %fs\n\tmovl %fs:(%ebx), %ecx\n\tlldt %dx\n\tmovl %fs:(%ebx), %esi\n\tmovw %ax, %fs\n\tmovl %fs:(%ebx), %edi");
static u64 ldts[2][4] __attribute__((aligned(8)));
static void local(void) {
    group("LDT");
    for (u32 n = 0; n < 2; n++)
        test_gdt[LDT_A + n] = descriptor((u32)ldts[n], sizeof ldts[n] - 1, 0x82, 0);
    for (u32 i = 0; i < 16; i++) {
        u32 n = i & 1, base = DATA + n * 0x2000, start = CODE + 0x300;
        cpl = i & 2 ? CPL3 : CPL0;
        COPY(start, by_ldt);
        serialize();
        ldts[n][1] = descriptor(start - 0x77 * (n + 1), 0xFFFF, 0x9A | cpl << 5, BIG);
        ldts[n][2] = descriptor(base, 0xFFF, 0x92 | cpl << 5, BIG);
        ldts[n][3] = descriptor(base + 0x800, 0xFFF, 0x92 | cpl << 5, BIG);
        MEMORY32(base + 0x40) = 0x1DA0 + i;
        MEMORY32(base + 0x44) = 0x10000;
        __asm__ volatile("lldt %w0" ::"r"((LDT_A + n) << 3));
        reset(cpl);
        in.cs = 0x0C | cpl;
        in.ds = 0x14 | cpl;
        in.eax = 0x1C | cpl;
        expect_done("code, data, stack", (u8 *)(0x77 * (n + 1)));
        expect("pushed", caught.frame.ebx, in.edx);
        expect("in memory", MEMORY32(base + 0x8FC), in.edx);
        expect("loaded", caught.frame.ecx, 0x1DA0 + i);
        expect("stored", MEMORY32(base + 0x44), 0x11DA0 + i);
        expect("PUSH CS", caught.frame.edx & 0xFFFF, 0x0C | cpl);
        expect("accessed", (u32)(ldts[n][3] >> 40) & 1, 1);
        if (cpl) continue;
        MEMORY32(DATA + 0x40) = 0xAAAA;
        MEMORY32(DATA + 0x2040) = 0xBBBB;
        for (u32 k = 0; k < 2; k++) ldts[k][2] = descriptor(DATA + k * 0x2000, 0xFFF, 0x92, BIG);
        reset(CPL0);
        in.eax = 0x14;
        in.ebx = 0x40;
        in.edx = (LDT_B - n) << 3;
        expect_done("LLDT", stays_loaded);
        expect("before", caught.frame.ecx, n ? 0xBBBB : 0xAAAA);
        expect("as it was loaded", caught.frame.esi, n ? 0xBBBB : 0xAAAA);
        expect("loaded again", caught.frame.edi, n ? 0xAAAA : 0xBBBB);
    }
    __asm__ volatile("lldt %w0" ::"r"(0));
}

/* FS and GS: every form of access, at any CPL. EAX has the selector, EBX an offset. */
#define BY(segment)                                                                                                          \
    SNIPPET(segment##_loads, "movw %ax, %" #segment "\n\tmovl %" #segment ":(%ebx), %ecx\n\tmovzbl %" #segment ":1(%ebx), %edx\n\t"        \
                             "addl %" #segment ":4(%ebx,%edi,4), %ecx\n\tmovl %ebx, %ebp\n\tmovl %" #segment ":(%ebp), %esi\n\t"          \
                             "cmpl %esi, %" #segment ":(%ebx)\n\tsete %al\n\tpushl %" #segment ":4(%ebx)\n\tpopl %ebp");                   \
    SNIPPET(segment##_stores, "movw %ax, %" #segment "\n\tmovl %ecx, %" #segment ":(%ebx)\n\tmovb $0x77, %" #segment ":4(%ebx)\n\t"        \
                              "lock addl %edx, %" #segment ":8(%ebx)\n\txchgl %esi, %" #segment ":12(%ebx)\n\tincw %" #segment ":16(%ebx)\n\t" \
                              "pushl %edi\n\tpopl %" #segment ":20(%ebx)\n\tbtsl $40, %" #segment ":24(%ebx)\n\tnotl %" #segment ":28(%ebx)"); \
    SNIPPET(segment##_strings, "movw %ax, %" #segment "\n\tcld\n\tmovl %ebx, %esi\n\t" #segment " lodsl\n\tmovl %eax, %edx\n\t"             \
                               "movl $5, %ecx\n\trep movsl %" #segment ":(%esi), %es:(%edi)\n\tcmpsb %es:(%edi), %" #segment ":(%esi)\n\t"   \
                               "movl $2, %eax\n\txlat %" #segment ":(%ebx)");                                                             \
    SNIPPET(segment##_selector, "pushl %" #segment "\n\tmovw %ax, %" #segment "\n\tpushl %" #segment "\n\tpopl %ecx\n\tmovl $-1, %edx\n\tmovl %" #segment ", %edx\n\t" \
                                "movw %" #segment ", -2(%esp)\n\tmovw -2(%esp), %si\n\tpopl %" #segment "\n\tmovl %" #segment ", %edi\n\t"   \
                                "pushl %eax\n\tpopw %" #segment "\n\taddl $2, %esp\n\tmovl %" #segment ":(%ebx), %ebp");                     \
    SNIPPET(segment##_branches, "movw %ax, %" #segment "\n\tmovl $1f, %" #segment ":(%ebx)\n\tjmp *%" #segment ":(%ebx)\n\tud2\n"            \
                                "1:\tmovl $2f, %" #segment ":4(%ebx)\n\tcall *%" #segment ":4(%ebx)\n\tmovl $0x600D, %ecx\n\tjmp 3f\n"       \
                                "2:\taddl $5, %edx\n\tret\n3:");                                                                            \
    SNIPPET(segment##_far, "movl %eax, %" #segment ":4(%ebx)\n\tmovl $0x1357, %" #segment ":(%ebx)\n\tl" #segment "l %" #segment ":(%ebx), %ecx\n\t" \
                           "movl %" #segment ":4(%esi), %edx");
BY(fs)
BY(gs)
SNIPPET(fs_alone, "movl %fs:40(%ebx), %ecx");
SNIPPET(gs_alone, "movl %gs:40(%ebx), %ecx");
static const struct {
    const u8 *loads, *stores, *strings, *selector, *branches, *far;
} by[2] = {{fs_loads, fs_stores, fs_strings, fs_selector, fs_branches, fs_far}, {gs_loads, gs_stores, gs_strings, gs_selector, gs_branches, gs_far}};

static void fs_and_gs(void) {
    static const u32 bases[] = {0, DATA, DATA + 0x123, 0x80000000, 0xFFFFF000};
    group("FS and GS");
    for (u32 i = 0; i < 4 * sizeof bases / sizeof bases[0]; i++) {
        u32 s = i & 1, base = bases[i >> 2], offset = DATA + 0x3000 - base;
        u32 *words = (u32 *)(DATA + 0x3000);
        cpl = i & 2 ? CPL3 : CPL0;
        for (u32 n = 0; n < 16; n++) words[n] = 0x01010101 * (n + 1) + i;
        reset(cpl);
        in.eax = data_at(base);
        in.ebx = offset;
        in.edi = 1;
        expect_done("loads", by[s].loads);
        expect("ECX", caught.frame.ecx, words[0] + words[2]);
        expect("EDX", caught.frame.edx, words[0] >> 8 & 0xFF);
        expect("ESI", caught.frame.esi, words[0]);
        expect("EBP", caught.frame.ebp, words[1]);
        expect("AL", caught.frame.eax & 0xFF, 1);
        expect("selector", (s ? caught.frame.gs : caught.frame.fs) & 0xFFFF, in.eax);
        in.edi = DATA + 0x4000;
        expect_done("strings", by[s].strings);
        expect("LODSD", caught.frame.edx, words[0]);
        for (u32 n = 0; n < 5; n++) expect("MOVSD", MEMORY32(DATA + 0x4000 + 4 * n), words[n + 1]);
        expect("ESI", caught.frame.esi, offset + 25);
        expect("XLAT", caught.frame.eax, words[0] >> 16 & 0xFF);
        u32 old[8];
        memcpy(old, words, sizeof old);
        expect_done("stores", by[s].stores);
        expect("MOV", words[0], in.ecx);
        expect("MOV of a byte", words[1], (old[1] & ~0xFFu) | 0x77);
        expect("LOCK ADD", words[2], old[2] + in.edx);
        expect("XCHG", words[3], in.esi);
        expect("XCHG", caught.frame.esi, old[3]);
        expect("INC of a word", words[4], (old[4] & 0xFFFF0000) | ((old[4] + 1) & 0xFFFF));
        expect("POP", words[5], in.edi);
        expect("BTS, whose immediate is taken modulo 32", words[6], old[6] | 0x100);
        expect("NOT", words[7], ~old[7]);
        in.gs = in.fs = USER_DS;
        expect_done("selectors", by[s].selector);
        expect("PUSH", caught.frame.ecx & 0xFFFF, in.eax);
        expect("MOV", caught.frame.edx & 0xFFFF, in.eax);
        expect("MOV to memory", caught.frame.esi & 0xFFFF, in.eax);
        expect("POP", caught.frame.edi & 0xFFFF, USER_DS);
        expect("POP of a word", caught.frame.ebp, words[0]);
        expect("branches", run(by[s].branches), DONE);
        expect("ECX", caught.frame.ecx, 0x600D);
        expect("EDX", caught.frame.edx, in.edx + 5);
        /* LFS and LGS through themselves. */
        in.fs = in.gs = in.eax;
        in.esi = offset;
        expect_done("LFS, LGS", by[s].far);
        expect("ECX", caught.frame.ecx, 0x1357);
        expect("EDX", caught.frame.edx & 0xFFFF, in.eax);
        /* The kernel's own use between two of the program's: trap.S saves and restores it; other FS and GS meanwhile. */
        reset(cpl);
        in.fs = in.gs = data_at(base);
        in.ebx = offset;
        __asm__ volatile("movw %w0, %%fs\n\tmovw %w0, %%gs\n\tmovl %1, %%gs:40(%2)" ::"r"(KERNEL_DS), "r"(i), "r"(words) : "memory");
        expect_done("after the kernel's own use", s ? gs_alone : fs_alone);
        expect("stored by the kernel", caught.frame.ecx, i);
    }
    /* A descriptor that changes counts when it is loaded next. */
    for (u32 i = 0; i < 8; i++) {
        cpl = i & 1 ? CPL3 : CPL0;
        MEMORY32(DATA + 0x100 * i) = 0xDE5C0000 + i;
        reset(cpl);
        in.eax = data_at(DATA + 0x100 * i);
        in.ebx = in.edi = 0;
        expect_done("changed", i & 2 ? gs_loads : fs_loads);
        expect("ESI", caught.frame.esi, 0xDE5C0000 + i);
    }
}

void program_main(void) {
    test_init();
    gdt_extend();
    __asm__ volatile("lldt %w0" ::"r"(0));
    for (u32 i = 0; i < 4; i++) window_page(i, PTE_U | PTE_W);
    map_page(CODE + 4 * PAGE_SIZE, 0, 0);
    for (u32 i = 16; i < 33; i++) window_page(i, PTE_U | PTE_W);
    code_with_a_base();
    sixteen_bits();
    stacks();
    local();
    fs_and_gs();
    groups_end();
}

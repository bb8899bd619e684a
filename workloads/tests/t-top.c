/*
 * A kernel that uses the top 4 MB of its linear space: data, stacks and code up to the last byte, descriptor tables, TSS and the
 * stack for traps, its page tables mapped in themselves there, a 4 MB page; and what wraps around at 4 GB by a base. An
 * access whose offset wraps is not made: whether it faults is the processor's choice (SDM volume 3, 5.3).
 */
#include "code.h"
#include "top.h"

#define RIGHTS (PTE_U | PTE_W)
#define LAST 0xFFFFF000u
#define BASED 0x40 /* entry made anew for each use */

static u32 cpl;
static u32 last_frame, first_frame, middle_frame; /* of LAST, of TOP, of MIDDLE */
#define MIDDLE 0xFFE54000u

/* Every segment register and kind of access. EBX: where, ECX: what, EDX: an addend. */
#define USE(name, s)                                                                                                                     \
    SNIPPET(name, "movw %ax, %" s "\n7:\tmovl %ecx, %" s ":(%ebx)\n\tmovl %" s ":(%ebx), %esi\n\tlock addl %edx, %" s ":(%ebx)\n\t"          \
                  "movl %" s ":(%ebx), %edi\n\tmovb $0x5A, %" s ":3(%ebx)\n\tmovzwl %" s ":2(%ebx), %ebp")
USE(use_ds, "ds");
USE(use_es, "es");
USE(use_fs, "fs");
USE(use_gs, "gs");
SNIPPET(use_ss, "movw %ss, %si\n\tmovw %ax, %ss\n\tmovl %ecx, %ss:(%ebx)\n\tlock addl %edx, %ss:(%ebx)\n\tmovl %ss:(%ebx), %edi\n\t"
                "movb $0x5A, %ss:3(%ebx)\n\tmovzwl %ss:2(%ebx), %ebp\n\tmovw %si, %ss\n\tmovl %ecx, %esi");
static const u8 *const uses[] = {use_ds, use_es, use_fs, use_gs, use_ss};

static void expect_use(u32 i, u32 selector, u32 offset, u32 frame) { /* frame: where the kernel sees the doubleword */
    u32 value = random32(), addend = random32();
    reset(cpl);
    in.eax = selector;
    in.ebx = offset;
    in.ecx = value;
    in.edx = addend;
    expect_done("an access", uses[i]);
    expect("loaded", caught.frame.esi, value);
    expect("added to", caught.frame.edi, value + addend);
    expect("a byte and a word", caught.frame.ebp, 0x5A00 | ((value + addend) >> 16 & 0xFF));
    expect("in memory", MEMORY32(frame), ((value + addend) & 0xFFFFFF) | 0x5A000000);
}

static void data(void) {
    static const u32 bases[] = {0, 0xFFC00000, 0xFFFFF000, 0x80000000, WINDOW, 0xFFFFFFFC, 1};
    group("data");
    for (cpl = CPL0; cpl <= CPL3; cpl += 3)
        for (u32 i = 0; i < 5; i++) {
            u32 flat = cpl ? USER_DS : KERNEL_DS;
            for (u32 offset = 0; offset < PAGE_SIZE; offset += 0x154) {
                expect_use(i, flat, TOP + offset, first_frame + offset);
                expect_use(i, flat, LAST + offset, last_frame + offset);
                expect_use(i, flat, MIDDLE + offset, middle_frame + offset);
            }
            expect_use(i, flat, 0xFFFFFFFC, last_frame + 0xFFC);
            for (u32 b = 0; b < sizeof bases / sizeof bases[0]; b++) { /* offsets that wrap, and offsets that do not */
                test_gdt[BASED >> 3] = descriptor(bases[b], 0xFFFFF, 0x93 | cpl << 5, 0xC);
                expect_use(i, BASED | cpl, 0xFFFFFFF8 - bases[b], last_frame + 0xFF8);
                expect_use(i, BASED | cpl, MIDDLE + 8 - bases[b], middle_frame + 8);
                expect_use(i, BASED | cpl, TOP - bases[b], first_frame);
                u32 below = (u32)user_stack_top - 64; /* and from there to below */
                expect_use(i, BASED | cpl, below - bases[b], below);
            }
            for (u32 down = 0; down < 2; down++) { /* limits that end with the linear space; expand-down from below it */
                test_gdt[BASED >> 3] = down ? descriptor(0, 0xFFBFF, 0x97 | cpl << 5, 0xC) : descriptor(TOP, 0x3FF, 0x93 | cpl << 5, 0xC);
                expect_use(i, BASED | cpl, down ? TOP : 0, first_frame);
                expect_use(i, BASED | cpl, down ? 0xFFFFFFFC : 0x3FFFFC, last_frame + 0xFFC);
            }
        }
    /* Around 4 GB by a base: four bytes of which some are the last and some the first. */
    u32 zero = *pte_of(0), frame = frame_alloc();
    map_page(0, frame, RIGHTS | PTE_P);
    invlpg(0);
    for (cpl = CPL0; cpl <= CPL3; cpl += 3)
        for (u32 n = 1; n < 4; n++)
            for (u32 i = 0; i < 5; i++) {
                u32 value = random32();
                test_gdt[BASED >> 3] = descriptor(0xFFFFF000, 0xFFFFF, 0x93 | cpl << 5, 0xC);
                reset(cpl);
                in.eax = BASED | cpl;
                in.ebx = PAGE_SIZE - n;
                in.ecx = value;
                in.edx = 0x01010101;
                expect_done("around 4 GB", uses[i]);
                expect("sum", caught.frame.edi, value + 0x01010101);
                value = ((value + 0x01010101) & 0xFFFFFF) | 0x5A000000;
                for (u32 k = 0; k < 4; k++) expect("bytes", k < n ? MEMORY8(last_frame + PAGE_SIZE - n + k) : MEMORY8(frame + k - n), value >> 8 * k & 0xFF);
            }
    *pte_of(0) = zero;
    invlpg(0);
}

SNIPPET(string_up, "cld\n\trep movsb\n\tmovl %esi, %eax\n\tmovl %edi, %edx");
SNIPPET(string_down, "std\n\trep movsl\n\tcld\n\tmovl %esi, %eax\n\tmovl %edi, %edx");
SNIPPET(fill, "cld\n\trep stosl");
static void strings(void) {
    group("strings");
    for (u32 i = 0; i < 256; i++) MEMORY8((u32)user_stack_top - 512 + i) = (u8)(i * 7);
    for (cpl = CPL0; cpl <= CPL3; cpl += 3)
        for (u32 n = 1; n < 200; n = n * 2 + 1) {
            u32 low = (u32)user_stack_top - 512;
            reset(cpl);
            in.ecx = n;
            in.esi = low;
            in.edi = 0u - n; /* up to the last byte: EDI is 0 then */
            expect_done("MOVSB up", string_up);
            expect("EDI", caught.frame.edx, 0);
            expect("copied", (u32)memcmp((void *)(last_frame + PAGE_SIZE - n), (void *)low, n), 0);
            in.esi = 0u - n;
            in.edi = low + 256;
            expect_done("MOVSB from there", string_up);
            expect("ESI", caught.frame.eax, 0);
            expect("copied back", (u32)memcmp((void *)(low + 256), (void *)low, n), 0);
            in.ecx = n;
            in.esi = 0xFFFFFFFC;
            in.edi = MIDDLE + 4 * n;
            expect_done("MOVSD down", string_down);
            expect("ESI", caught.frame.eax, 0xFFFFFFFC - 4 * n);
            in.eax = n * 0x9E3779B9;
            in.edi = 0u - 4 * n;
            expect_done("STOSD", fill);
            expect("EDI", caught.frame.edi, 0);
            for (u32 k = 0; k < n; k++) expect("filled", MEMORY32(last_frame + PAGE_SIZE - 4 * n + 4 * k), in.eax);
            /* A fault in the middle: the page before is not there. */
            top_none(0xFFFFE000);
            in.eax = 0xFA;
            in.ecx = 100;
            in.edi = 0xFFFFDFF0 - n;
            top_page(0xFFFFD000, RIGHTS);
            expect("STOSD into no page", run(fill), VECTOR_PAGE_FAULT);
            expect("CR2", caught.cr2 & PTE_FRAME, 0xFFFFE000);
            expect("ECX", caught.frame.ecx, 100 - (0xFFFFE000 - in.edi) / 4);
            expect("EDI", caught.frame.edi, in.edi + 4 * (100 - caught.frame.ecx));
        }
}

/* Stacks and code. */
SNIPPET(stack_use, "movl %esp, %ebp\n\tmovl %edi, %esp\n\tpushl %ecx\n\tcall 1f\n1:\tpopl %edx\n\tsubl $1b, %edx\n\tpushal\n\tpopal\n\t"
                   "enter $32, $0\n\tleave\n\tpushfl\n\tpopfl\n\tpushl %ds\n\tpopl %ds\n\tpopl %esi\n\tmovl %esp, %eax\n\tmovl %ebp, %esp");
SNIPPET(stack_kept, "movl %edi, %esp\n\tpushl %ecx");
SNIPPET(call_there, "call *%ebx\n\tincl %edx");
SNIPPET(far_there, "pushl %cs\n\tcall 1f\n\tjmp 2f\n1:\tpushl %cs\n\tpushl %ebx\n\tlret\n2:\taddl $4, %esp\n\tincl %edx");
SNIPPET(jump_there, "movl $1f, %esi\n\tpushl $0xABCD\n\tjmp *%ebx\n1:\tincl %edx");

static void stacks_and_code(void) {
    group("stacks and code");
    for (cpl = CPL0; cpl <= CPL3; cpl += 3) {
        static const u32 tops[] = {0, 0xFFFFFFFC, LAST + 0x400, TOP + 0x800, MIDDLE + 0xFF0};
        for (u32 i = 0; i < 5; i++) {
            reset(cpl);
            in.edi = tops[i];
            expect_done("a stack", stack_use);
            expect("ESP", caught.frame.eax, tops[i]);
            expect("popped", caught.frame.esi, in.ecx);
            expect("return address", caught.frame.edx, 0);
            reset(cpl);
            in.edi = tops[i];
            in.ecx = 0x57AC0000 + i;
            expect_done("a stack at the end", stack_kept); /* at CPL 0 the trap's frame is there, too */
            expect("ESP", caught.frame.esp, tops[i] - 4);
            expect("pushed", MEMORY32(tops[i] - 4), in.ecx);
        }
        static const u32 places[] = {LAST + 0x400, 0xFFFFFFF8, TOP + 0x10, MIDDLE + 0x20, MIDDLE - 6};
        top_page(MIDDLE - PAGE_SIZE, RIGHTS);
        for (u32 i = 0; i < 5; i++) {
            at = (u8 *)places[i];
            CODE_BYTES(0xB8); /* MOV EAX, imm32; INC EDX; RET */
            word(0xC0DE0000 + i);
            CODE_BYTES(0x42, 0xC3);
            serialize();
            reset(cpl);
            in.edx = 0;
            in.ebx = places[i];
            expect_done("CALL", call_there);
            expect("EAX", caught.frame.eax, 0xC0DE0000 + i);
            expect("EDX", caught.frame.edx, 2);
            expect_done("far RET", far_there);
            expect("EAX", caught.frame.eax, 0xC0DE0000 + i);
            expect("EDX", caught.frame.edx, 2);
            MEMORY8(places[i] + 1) ^= 0xFF; /* modified code */
            serialize();
            expect_done("CALL", call_there);
            expect("EAX", caught.frame.eax, 0xC0DE0000 + (i ^ 0xFF));
            at = (u8 *)places[i];
            CODE_BYTES(0x58, 0x01, 0xC0, 0xFF, 0xE6); /* POP EAX; ADD EAX, EAX; JMP ESI */
            serialize();
            expect_done("JMP", jump_there);
            expect("EAX", caught.frame.eax, 0xABCD * 2);
        }
        /* A loop that calls down and is called from there: REL32 over the end of the linear space. */
        u32 low = WINDOW_AT(0);
        at = (u8 *)LAST + 0x100;
        CODE_BYTES(0x31, 0xC0, 0xB9, 50, 0, 0, 0, 0xE8); /* XOR EAX, EAX; MOV ECX, 50; CALL low */
        word(low - ((u32)at + 4));
        CODE_BYTES(0xE2, 0xF9); /* LOOP */
        CODE_END();
        at = (u8 *)low;
        CODE_BYTES(0x40, 0xF6, 0xC1, 0x01, 0x0F, 0x84); /* INC EAX; TEST CL, 1; JZ up */
        word(LAST + 0x180 - ((u32)at + 4));
        CODE_BYTES(0xC3);
        at = (u8 *)LAST + 0x180;
        CODE_BYTES(0x83, 0xC0, 0x0A, 0xC3); /* ADD EAX, 10; RET */
        serialize();
        expect("up and down", eax_of(LAST + 0x100, cpl), 50 + 25 * 10);
        /* Faults: no page, a page that is the kernel's, and INT3 with its EIP. */
        at = (u8 *)0xFFFFFFF0;
        CODE_BYTES(0x40, 0xCC);
        serialize();
        reset(cpl);
        expect_trap("INT3", (u8 *)0xFFFFFFF0, (u8 *)0xFFFFFFF2, VECTOR_BREAKPOINT, 0);
        top_none(0xFFFFE000);
        reset(cpl);
        in.ebx = 0xFFFFE123;
        expect("no page", run(call_there), VECTOR_PAGE_FAULT);
        expect("EIP", caught.frame.eip, 0xFFFFE123);
        expect("CR2", caught.cr2, 0xFFFFE123);
        *pte_of(LAST) = last_frame | PTE_W | PTE_P;
        invlpg(LAST);
        reset(cpl);
        in.ebx = 0xFFFFFFF0;
        expect("the kernel's page", run(call_there), cpl ? VECTOR_PAGE_FAULT : VECTOR_BREAKPOINT);
        *pte_of(LAST) = last_frame | RIGHTS | PTE_P;
        invlpg(LAST);
    }
}

/* Code that runs over the end of the linear space, by a base: linear addresses wrap, offsets do not. And a jump over it. */
static void around(void) {
    u32 zero = *pte_of(0), frame = frame_alloc();
    group("code around 4 GB");
    map_page(0, frame, RIGHTS | PTE_P);
    invlpg(0);
    for (cpl = CPL0; cpl <= CPL3; cpl += 3)
        for (u32 n = 1; n < 8; n++) {
            u8 code[] = {0x40, 0xB9, 0x11, 0x22, 0x33, 0x44, 0x40, 0x40, 0xCD, DONE}; /* INC EAX; MOV ECX, imm32; INC EAX twice */
            for (u32 k = 0; k < sizeof code; k++) MEMORY8(k < n ? last_frame + PAGE_SIZE - n + k : frame + k - n) = code[k];
            serialize();
            test_gdt[BASED >> 3] = descriptor(0xFFFFF000, 0xFFFFF, 0x9B | cpl << 5, 0xC);
            reset(cpl);
            in.cs = BASED | cpl;
            expect_done("over the end", (u8 *)PAGE_SIZE - n);
            expect("EAX", caught.frame.eax, in.eax + 3);
            expect("ECX", caught.frame.ecx, 0x44332211);
            expect("EIP", caught.frame.eip, PAGE_SIZE - n + sizeof code);
            at = (u8 *)0xFFFFFF80; /* JMP rel8 forward over 4 GB, in a flat segment: EIP is cut to 32 bits */
            CODE_BYTES(0xEB, 0x7E);
            at = (u8 *)frame;
            CODE_BYTES(0x42, 0xEB, 0x80); /* at 0: INC EDX; JMP back to FFFFFF83h */
            at = (u8 *)0xFFFFFF83;
            CODE_BYTES(0x42);
            CODE_END();
            serialize();
            reset(cpl);
            expect_done("JMP over 4 GB and back", (u8 *)0xFFFFFF80);
            expect("EDX", caught.frame.edx, in.edx + 2);
            expect("EIP", caught.frame.eip, 0xFFFFFF86);
        }
    *pte_of(0) = zero;
    invlpg(0);
}

/* The page directory as the page table of the top: every table is at TOP + 4 * page, the directory in the last page. */
static void self_map(void) {
    u32 saved = page_directory[1023], frames[4], probe = WINDOW_AT(32);
    group("page tables in themselves");
    map_page(probe, 0, 0);
    for (u32 i = 0; i < 4; i++) {
        frames[i] = frame_alloc();
        MEMORY32(frames[i]) = 0x5E1F0000 + i;
    }
    page_directory[1023] = (u32)page_directory | PTE_W | PTE_P;
    write_cr3(read_cr3());
    volatile u32 *entry = (volatile u32 *)(TOP + (probe >> 12) * 4);
    for (u32 n = 0; n < 40; n++) {
        u32 i = n * n % 7 & 3;
        *entry = frames[i] | RIGHTS | PTE_P;
        if (n) invlpg(probe);
        expect("the entry", *pte_of(probe) & (PTE_FRAME | 7), frames[i] | 7);
        reset(n & 1 ? CPL3 : CPL0);
        in.eax = in.cs & 3 ? USER_DS : KERNEL_DS;
        in.ebx = probe + 4;
        expect_done("an access", use_ds);
        expect("A and D", *entry & (PTE_A | PTE_D), PTE_A | PTE_D);
        expect("mapped", MEMORY32(probe), 0x5E1F0000 + i);
        *entry &= ~PTE_P;
        invlpg(probe);
        reset(n & 1 ? CPL3 : CPL0);
        in.eax = in.cs & 3 ? USER_DS : KERNEL_DS;
        in.ebx = probe;
        EXPECT_TRAP("not present", use_ds, VECTOR_PAGE_FAULT, 2 | (n & 1 ? 4 : 0));
        expect("CR2", caught.cr2, probe);
    }
    /* The directory by its own last page: a second linear address of a table's whole 4 MB. */
    volatile u32 *directory = (volatile u32 *)LAST;
    expect("the directory", directory[1023] & ~(PTE_A | PTE_D), (u32)page_directory | PTE_W | PTE_P);
    for (u32 n = 0; n < 8; n++) {
        directory[0x190] = n & 1 ? 0 : directory[WINDOW >> 22];
        invlpg(0x64000000);
        invlpg(TOP + 0x64000 * 4);
        reset(CPL0);
        in.eax = KERNEL_DS;
        in.ebx = 0x64000010;
        expect("by another entry", run(use_ds), n & 1 ? VECTOR_PAGE_FAULT : DONE);
        if (!(n & 1)) expect("the same page", MEMORY32(WINDOW + 0x10), MEMORY32(0x64000010));
    }
    /* At CPL 3 the tables are not to be touched. */
    reset(CPL3);
    in.eax = USER_DS;
    in.ebx = LAST + 0xFFC;
    EXPECT_TRAP("the kernel's", use_ds, VECTOR_PAGE_FAULT, 7);
    page_directory[1023] = saved;
    /* A page of 4 MB. */
    write_cr4(read_cr4() | CR4_PSE);
    page_directory[1023] = 0x00800000 | 0x80 | RIGHTS | PTE_P;
    write_cr3(read_cr3());
    for (cpl = CPL0; cpl <= CPL3; cpl += 3)
        for (u32 i = 0; i < 5; i++)
            for (u32 offset = 0x300000; offset < 0x400000; offset += 0x2FFFC) expect_use(i, cpl ? USER_DS : KERNEL_DS, TOP + offset, 0x800000 + offset);
    page_directory[1023] = saved;
    write_cr4(read_cr4() & ~CR4_PSE);
    write_cr3(read_cr3());
}

/* GDT, IDT, LDT, TSS and the stack for traps from CPL 3, all of them at the top. */
struct table {
    u16 limit;
    u32 base;
} __attribute__((packed));
SNIPPET(load_based, "movw %ax, %es\n\tmovl %es:(%ebx), %ecx\n\tpushl %es\n\tpopl %edx");
SNIPPET(stores_tables, "sgdt -8(%esp)\n\tmovl -6(%esp), %ecx\n\tsidt -8(%esp)\n\tmovl -6(%esp), %edx");
static void tables(void) {
    struct table gdt, idt, top_gdt, top_idt;
    group("descriptor tables");
    __asm__ volatile("sgdt %0\n\tsidt %1" : "=m"(gdt), "=m"(idt));
    u32 *tss = tss_words();
    u32 idt_frame = top_page(0xFFFF2000, PTE_W), stack_frame = top_page(0xFFFF7000, PTE_W);
    top_page(0xFFFF0000, PTE_W);
    top_page(0xFFFF4000, PTE_W);
    top_page(0xFFFF5000, PTE_W);
    memcpy((void *)0xFFFF0000, (void *)gdt.base, gdt.limit + 1u);
    memcpy((void *)0xFFFF2000, (void *)idt.base, 2048);
    memcpy((void *)0xFFFF4FC0, tss, 104); /* over the end of a page */
    MEMORY32(0xFFFF4FC4) = 0xFFFF8000;
    u64 *entries = (u64 *)0xFFFF0000, *ldt = (u64 *)0xFFFF0800;
    entries[TSS_SELECTOR >> 3] = descriptor(0xFFFF4FC0, 103, 0x89, 0);
    entries[0x48 >> 3] = descriptor(0xFFFF0800, 0x1F, 0x82, 0);
    top_gdt = (struct table){.limit = sizeof test_gdt - 1, .base = 0xFFFF0000};
    top_idt = (struct table){.limit = 2047, .base = 0xFFFF2000};
    __asm__ volatile("lgdt %0\n\tlidt %1\n\tltr %w2\n\tlldt %w3" ::"m"(top_gdt), "m"(top_idt), "r"(TSS_SELECTOR), "r"(0x48) : "memory");
    expect("busy", (u32)(entries[TSS_SELECTOR >> 3] >> 40) & 0xFF, 0x8B);
    for (u32 n = 0; n < 24; n++) {
        cpl = n & 1 ? CPL3 : CPL0;
        u64 segment = descriptor(MIDDLE + n * 8, 0xFFFFF, 0x92 | cpl << 5, 0xC);
        entries[BASED >> 3] = ldt[2] = segment;
        MEMORY32(MIDDLE + n * 8) = 0x7AB1E000 + n;
        reset(cpl);
        in.eax = (n & 2 ? 0x14 : BASED) | cpl;
        in.ebx = 0;
        expect_done("a segment", load_based);
        expect("loaded", caught.frame.ecx, 0x7AB1E000 + n);
        expect("accessed", (u32)((n & 2 ? ldt[2] : entries[BASED >> 3]) >> 40) & 1, 1);
        if (cpl) expect("ESP0", MEMORY32(stack_frame + PAGE_SIZE - 4), USER_DS); /* the first word that the trap pushed */
        if (!cpl) {
            reset(CPL0);
            expect_done("SGDT and SIDT", stores_tables);
            expect("GDT", caught.frame.ecx, 0xFFFF0000);
            expect("IDT", caught.frame.edx, 0xFFFF2000);
        }
        u64 old = ((u64 *)idt_frame)[3]; /* a gate that is rewritten */
        MEMORY8(0xFFFF2000 + 3 * 8 + 5) = n & 4 ? 0xEE : 0x8E;
        reset(cpl);
        in.ebx = LAST + 0x300;
        at = (u8 *)LAST + 0x300;
        CODE_BYTES(0xCD, 0x03); /* INT 3 of two bytes, which checks DPL */
        serialize();
        run((u8 *)LAST + 0x300);
        expect("vector", caught.frame.vector, cpl && !(n & 4) ? VECTOR_GENERAL_PROTECTION : VECTOR_BREAKPOINT);
        ((u64 *)idt_frame)[3] = old;
    }
    __asm__ volatile("lgdt %0\n\tlidt %1" ::"m"(gdt), "m"(idt));
    test_gdt[TSS_SELECTOR >> 3] &= ~(2ull << 40); /* not busy */
    __asm__ volatile("ltr %w0\n\tlldt %w1" ::"r"(TSS_SELECTOR), "r"(0));
}

void program_main(void) {
    test_init();
    gdt_extend();
    top_init();
    window_page(0, RIGHTS);
    last_frame = top_page(LAST, RIGHTS);
    first_frame = top_page(TOP, RIGHTS);
    middle_frame = top_page(MIDDLE, RIGHTS);
    data();
    strings();
    stacks_and_code();
    around();
    self_map();
    tables();
    groups_end();
}

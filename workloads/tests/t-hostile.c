/*
 * A guest that goes for the top 4 MB of the linear space, where a monitor may have put itself: by every segment register,
 * flat, with bases that wrap, expanding down, from GDT and LDT; by stacks, strings, gates, descriptor tables of its own.
 * Where it has no page it must get its page fault, where it has one its own bytes, and nothing else may happen. All
 * accesses are within the limits that it gave; others are in t-odd-strict.
 */
#include "code.h"
#include "top.h"

#define RIGHTS (PTE_U | PTE_W)
#define BASED 8u /* entries of the GDT, made anew */
#define LDT 9u
#define CODE_BASED 10u
#define GATE 11u
#define BELOW (TOP - PAGE_SIZE)

static u32 cpl;
static u64 ldt[2] __attribute__((aligned(8)));

/* Where to: the first 48 pages, every 64 KB, and the last page. */
#define PROBES (48u + 64u + 1u)
static u32 probe(u32 n) { return n < 48 ? TOP + n * PAGE_SIZE : n < 112 ? TOP + (n - 48) * 0x10000 : 0xFFFFF000; }
static u32 frames[1024]; /* of the pages of the top that are there */
static void map_probes(u32 there) {
    for (u32 n = 0; n < PROBES; n++) {
        u32 page = probe(n) >> 12 & 0x3FF;
        if (there && !frames[page]) frames[page] = frame_alloc();
        map_page(probe(n), frames[page], there ? RIGHTS | PTE_P : 0);
    }
    write_cr3(read_cr3());
}

/* Kinds of segment: selector for the CPL, and its base. */
#define KINDS 6u
static u32 segment(u32 kind, u32 *base) {
    static const u32 bases[KINDS] = {0, 0x80000000, TOP + 0x1234, 0xFFFFFFFF, 0, 0x20000};
    u32 access = cpl << 5 | 0x93;
    *base = bases[kind];
    if (kind == 0) return cpl ? USER_DS : KERNEL_DS;
    if (kind == 5) { /* of the LDT */
        ldt[1] = descriptor(*base, 0xFFFFF, access, 0xC);
        return 0x0C | cpl;
    }
    test_gdt[BASED] = kind == 4 ? descriptor(0, 0xFFFF, access | 4, 4) : descriptor(*base, 0xFFFFF, access, 0xC);
    return BASED << 3 | cpl;
}

#define STORE(s) SNIPPET(store_##s, "movw %ax, %" #s "\n7:\tmovl %ecx, %" #s ":(%ebx)\n\tmovl %" #s ":(%ebx), %edx")
#define LOAD(s) SNIPPET(load_##s, "movw %ax, %" #s "\n7:\tmovl %" #s ":(%ebx), %edx")
STORE(ds);
STORE(es);
STORE(fs);
STORE(gs);
STORE(ss);
LOAD(ds);
LOAD(es);
LOAD(fs);
LOAD(gs);
LOAD(ss);
static const u8 *const stores[] = {store_ds, store_es, store_fs, store_gs, store_ss}, *const loads[] = {load_ds, load_es, load_fs, load_gs, load_ss};
static const u8 *const stores_at[] = {store_ds_at, store_es_at, store_fs_at, store_gs_at, store_ss_at},
                *const loads_at[] = {load_ds_at, load_es_at, load_fs_at, load_gs_at, load_ss_at};

static void expect_fault(const char *what, const u8 *code, const u8 *code_at, u32 write, u32 cr2) {
    expect_trap(what, code, code_at, VECTOR_PAGE_FAULT, write << 1 | (cpl ? 4 : 0));
    expect("CR2", caught.cr2, cr2);
}

/* By every segment register and kind of segment. At CPL 0 SS is flat: the fault's frame is pushed by it. */
static void nothing_there(void) {
    group("where no page is");
    map_probes(0);
    for (u32 i = 0; i < 5; i++)
        for (u32 kind = 0; kind < KINDS; kind++)
            for (cpl = CPL0; cpl <= CPL3; cpl += 3) {
                if (i == 4 && !cpl && kind != 0 && kind != 4) continue;
                for (u32 n = i + kind; n < PROBES; n += 7) {
                    u32 base, address = probe(n) + (n % 5 == 4 ? 0xFFC : n % 5 * 0x204);
                    reset(cpl);
                    in.eax = segment(kind, &base);
                    in.ebx = address - base;
                    expect_fault("a store", stores[i], stores_at[i], 1, address);
                    if (n % 3) continue;
                    expect_fault("a load", loads[i], loads_at[i], 0, address);
                    expect_registers("a load");
                }
            }
}

/* Every way to store. ES, DS and (at CPL 3) SS have the segment; EBX, EDI and ESP the offset; `at` is how far from it the store is. */
#define WAY(name, code) SNIPPET(way_##name, "movw %ax, %es\n\tmovw %ax, %ds\n7:\t" code)
#define WAY_SS(name, code) SNIPPET(way_##name, "movw %ax, %ss\n\tmovl %ebx, %esp\n7:\t" code)
WAY(byte, "movb %cl, (%ebx)");
WAY(word, "movw %cx, (%ebx)");
WAY(immediate, "movl $0x12345678, 8(%ebx)");
WAY(scaled, "movl %ecx, (%ebx,%ecx,8)");
WAY(exchange, "xchgl %ecx, (%ebx)");
WAY(add, "lock addl %ecx, (%ebx)");
WAY(set_bit, "btsl %ecx, -0x100(%ebx)");
WAY(set_on, "setb (%ebx)");
WAY(shift, "rorl $3, (%ebx)");
WAY(double_shift, "shldl $3, %ecx, (%ebx)");
WAY(exchange8, "cmpxchg8b (%ebx)");
WAY(exchange_add, "xaddl %ecx, (%ebx)");
WAY(negate, "negl (%ebx)");
WAY(segment, "movw %ds, (%ebx)");
WAY(stosb, "stosb");
WAY(stosd, "rep stosl");
WAY(movsd, "movsl %cs:(%esi), %es:(%edi)");
WAY(pop, "popl (%ebx)");
WAY_SS(push, "pushl %ecx");
WAY_SS(push16, "pushw %cx");
WAY_SS(pushal, "pushal");
WAY_SS(call, "call 1f\n1:");
WAY_SS(enter, "enter $0, $0");
WAY_SS(pushfl, "pushfl");
WAY_SS(push_memory, "pushl %cs:(%edx)");
WAY_SS(far_call, "lcall *%cs:(%edx)");
SNIPPET(end_here, "");
static u32 far_pointer[2] USER_DATA;
static const struct {
    const char *name;
    const u8 *code, *at;
    int offset;   /* of the lowest byte stored, from EBX */
    u8 other_code, stack; /* other_code: QEMU says of the fault that it is a read, or the kernel's (t-strict) */
} ways[] = {
#define W(name, offset, other, stack) {#name, way_##name, way_##name##_at, offset, other, stack}
    W(byte, 0, 0, 0),   W(word, 0, 0, 0),    W(immediate, 8, 0, 0), W(scaled, 24, 0, 0),      W(exchange, 0, 1, 0),  W(add, 0, 1, 0),
    W(set_bit, -0x100, 1, 0), W(set_on, 0, 0, 0), W(shift, 0, 1, 0), W(double_shift, 0, 1, 0), W(exchange8, 0, 1, 0), W(exchange_add, 0, 1, 0),
    W(negate, 0, 1, 0), W(segment, 0, 0, 0), W(stosb, 0, 0, 0),     W(stosd, 0, 0, 0),        W(movsd, 0, 0, 0),     W(pop, 0, 0, 0),
    W(push, -4, 0, 1),  W(push16, -2, 0, 1), W(pushal, -32, 0, 1),  W(call, -4, 0, 1),        W(enter, -4, 0, 1),    W(pushfl, -4, 0, 1),
    W(push_memory, -4, 0, 1), W(far_call, -4, 1, 1)};
#define WAYS (sizeof ways / sizeof ways[0])

static void way_registers(u32 w, u32 offset) {
    reset(cpl);
    in.ebx = in.edi = offset;
    in.ecx = 3; /* BTS: a bit of the first doubleword */
    in.esi = in.edx = (u32)far_pointer;
}

static void every_way(void) {
    group("every way to store");
    far_pointer[0] = (u32)end_here;
    for (u32 there = 0; there < 2; there++) {
        map_probes(there);
        for (u32 w = 0; w < WAYS; w++)
            for (u32 kind = 0; kind < KINDS; kind++)
                for (cpl = CPL0; cpl <= CPL3; cpl += 3)
                    for (u32 n = w % 5 + kind * 4; n < PROBES; n += 41) {
                        u32 base, address = probe(n) + 0x400, frame = frames[probe(n) >> 12 & 0x3FF] + 0x400;
                        if (ways[w].stack && !cpl) continue;
                        way_registers(w, 0);
                        in.eax = segment(kind, &base);
                        in.ebx = in.edi = address - base;
                        if (ways[w].code == way_pop) in.esp = (u32)user_stack_top - 64;
                        far_pointer[1] = in.cs;
                        if (!there) {
                            expect(ways[w].name, run(ways[w].code), VECTOR_PAGE_FAULT);
                            expect("EIP", caught.frame.eip - (u32)ways[w].code, ways[w].at - ways[w].code);
                            expect("CR2", caught.cr2 & PTE_FRAME, address & PTE_FRAME);
                            if (!ways[w].other_code) expect("error code", caught.frame.error_code, 2 | (cpl ? 4 : 0));
                            if (ways[w].stack) expect("ESP", caught.frame.esp, in.ebx);
                        } else {
                            u32 old = MEMORY32(frame + ways[w].offset) = 0x01020304;
                            MEMORY32(frame + ways[w].offset + 4) = 0;
                            expect(ways[w].name, run(ways[w].code), DONE);
                            u32 found = MEMORY32(frame + ways[w].offset);
                            if (found == old && ways[w].code != way_exchange8) panic("%s has stored nothing", ways[w].name);
                            if (w < 3) digest(found);
                            if (!ways[w].stack) continue;
                            expect("as it is read there", MEMORY32(address + ways[w].offset), found);
                        }
                    }
    }
}

/* Jumps: flat, and by a code segment with a base. */
SNIPPET(jump, "jmp *%ebx");
SNIPPET(call_target, "call *%ebx");
SNIPPET(far_target, "pushl %edx\n\tpushl %ebx\n\tlret");
SNIPPET(read_code, "7:\tmovl %cs:(%ebx), %edx");
static void jumps(void) {
    group("jumps and code");
    for (u32 there = 0; there < 2; there++) {
        map_probes(there);
        for (u32 n = 0; n < PROBES; n += 1 + 2 * there)
            for (cpl = CPL0; cpl <= CPL3; cpl += 3) {
                static const u8 *const codes[] = {jump, call_target, far_target};
                static const u32 bases[] = {0, 0x10000000, 0xFFFFF001};
                u32 address = probe(n) + n % 7 * 16;
                for (u32 i = n % 2; i < 3; i += 2) {
                    u32 base = bases[(n + i) % 3];
                    test_gdt[CODE_BASED] = descriptor(base, 0xFFFFF, 0x9B | cpl << 5, 0xC);
                    if (there) mov_eax_end(frames[address >> 12 & 0x3FF] + (address & 0xFFF), n << 8 | i);
                    reset(cpl);
                    in.cs = i == 2 || !base ? in.cs : (CODE_BASED << 3 | cpl);
                    in.edx = i == 2 ? (CODE_BASED << 3 | cpl) : in.edx;
                    in.ebx = address - base;
                    u32 start = (u32)codes[i] - (i == 2 ? 0 : base);
                    if (there) {
                        expect_done("own code", (u8 *)start);
                        expect("EAX", caught.frame.eax, n << 8 | i);
                        continue;
                    }
                    expect("no code", run((u8 *)start), VECTOR_PAGE_FAULT);
                    expect("error code", caught.frame.error_code, cpl ? 4 : 0);
                    expect("CR2", caught.cr2, address);
                    expect("EIP", caught.frame.eip, address - base);
                }
                reset(cpl);
                in.ebx = address;
                if (!there) expect_fault("read as code", read_code, read_code_at, 0, address);
                else {
                    expect_done("read as code", read_code);
                    expect("its first bytes", caught.frame.edx & 0xFFFF, 0xB8 | (2 - n % 2) << 8);
                }
            }
    }
}

static void pages_there(void) {
    group("where pages are");
    map_probes(1);
    for (u32 n = 0; n < 1024; n++)
        if (frames[n]) memset((void *)frames[n], 0, PAGE_SIZE);
    for (u32 i = 0; i < 5; i++)
        for (u32 kind = 0; kind < KINDS; kind++)
            for (cpl = CPL0; cpl <= CPL3; cpl += 3) {
                if (i == 4 && !cpl && kind != 0 && kind != 4) continue;
                for (u32 n = i + kind; n < PROBES; n += 5) {
                    u32 base, offset = n % 5 == 4 ? 0xFFC : n % 5 * 0x204, address = probe(n) + offset;
                    u32 *word = (u32 *)(frames[address >> 12 & 0x3FF] + offset);
                    reset(cpl);
                    in.eax = segment(kind, &base);
                    in.ebx = address - base;
                    in.ecx = n << 16 | kind << 8 | i;
                    expect_done("a store", stores[i]);
                    expect("read back", caught.frame.edx, in.ecx);
                    expect("in its frame", *word, in.ecx);
                }
            }
    /* Nothing else in these frames has changed: each has what was stored last. */
    u32 sum = 0;
    for (u32 n = 0; n < 1024; n++)
        for (u32 k = 0; frames[n] && k < 1024; k++) sum = (sum << 1 | sum >> 31) + ((u32 *)frames[n])[k];
    digest(sum);
    /* Read-only, and the kernel's. */
    for (u32 n = 0; n < PROBES; n += 7)
        for (cpl = CPL0; cpl <= CPL3; cpl += 3)
            for (u32 i = 0; i < 5; i++) {
                u32 entry = *pte_of(probe(n));
                reset(cpl);
                in.eax = cpl ? USER_DS : KERNEL_DS;
                in.ebx = probe(n) + 0x10;
                *pte_of(probe(n)) = entry & ~PTE_W;
                invlpg(probe(n));
                expect_trap("read-only", stores[i], stores_at[i], VECTOR_PAGE_FAULT, 3 | (cpl ? 4 : 0));
                expect_done("a load", loads[i]);
                *pte_of(probe(n)) = entry & ~PTE_U;
                invlpg(probe(n));
                if (cpl) expect_trap("the kernel's", loads[i], loads_at[i], VECTOR_PAGE_FAULT, 5);
                else expect_done("the kernel's", stores[i]);
                *pte_of(probe(n)) = entry;
                invlpg(probe(n));
            }
}

/* The border: accesses and strings that begin below the top and end in it. */
SNIPPET(fill, "movw %ax, %es\n\tmovl %edx, %eax\n7:\trep stosl");
SNIPPET(fill_down, "movw %ax, %es\n\tmovl %edx, %eax\n\tstd\n7:\trep stosb\n\tcld");
static void border(void) {
    u32 below = top_page(BELOW, RIGHTS), first = frames[0];
    group("over the border");
    for (u32 there = 0; there < 4; there++) { /* bit 0: the page below, bit 1: the page above */
        map_page(BELOW, below, there & 1 ? RIGHTS | PTE_P : 0);
        map_page(TOP, first, there & 2 ? RIGHTS | PTE_P : 0);
        invlpg(BELOW);
        invlpg(TOP);
        for (u32 i = 0; i < 5; i++)
            for (u32 kind = 0; kind < KINDS; kind++)
                for (cpl = CPL0; cpl <= CPL3; cpl += 3) {
                    u32 base, high = below + PAGE_SIZE - 4, n = 1 + (i + kind) % 3;
                    if (i == 4 && !cpl && kind != 0 && kind != 4) continue;
                    MEMORY32(high) = 0;
                    MEMORY32(first) = 0;
                    reset(cpl);
                    in.eax = segment(kind, &base);
                    in.ebx = TOP - n - base;
                    if (there == 3) expect_done("a store", stores[i]);
                    else expect_fault("a store", stores[i], stores_at[i], 1, there & 1 ? TOP : TOP - n);
                    expect("below", MEMORY32(high), there == 3 ? in.ecx << (32 - 8 * n) : 0);
                    expect("above", MEMORY32(first), there == 3 ? in.ecx >> 8 * n : 0);
                }
    }
    for (u32 kind = 0; kind < KINDS; kind++)
        for (cpl = CPL0; cpl <= CPL3; cpl += 3) {
            u32 base;
            memset((void *)below, 0, PAGE_SIZE);
            reset(cpl); /* up, into what is not there */
            top_none(TOP + PAGE_SIZE);
            in.eax = segment(kind, &base);
            in.edx = 0xF111F111;
            in.ecx = 0x7FFFFFFF;
            in.edi = BELOW + 0x800 - base;
            expect_fault("REP STOSD", fill, fill_at, 1, TOP + PAGE_SIZE);
            expect("ECX", caught.frame.ecx, 0x7FFFFFFF - 0x600);
            expect("EDI", caught.frame.edi, TOP + PAGE_SIZE - base);
            expect("its last", MEMORY32(first + 0xFFC), 0xF111F111);
            in.edx = 0xD0;
            in.ecx = 0x12345678; /* down, out of it */
            in.edi = TOP + 0x7FF - base;
            expect_fault("REP STOSB", fill_down, fill_down_at, 1, BELOW - 1);
            expect("ECX", caught.frame.ecx, 0x12345678 - 0x1800);
            expect("its last", MEMORY32(below), 0xD0D0D0D0);
            map_page(TOP + PAGE_SIZE, frames[1], RIGHTS | PTE_P);
        }
}

/* A GDT of 64 KB with segments in its last entries, where a monitor may have its own; and selectors beyond a short one. */
SNIPPET(load_all, "movw %ax, %ds\n\tmovw %ax, %es\n\tmovw %ax, %fs\n\tmovw %ax, %gs\n\tmovl (%ebx), %ecx\n\taddl %es:(%ebx), %ecx\n\taddl %fs:(%ebx), %ecx\n\t"
                  "addl %gs:(%ebx), %ecx\n\tmovl %ecx, %gs:4(%ebx)");
SNIPPET(to_ds, "7:\tmovw %ax, %ds");
SNIPPET(to_es, "7:\tmovw %ax, %es");
SNIPPET(to_fs, "7:\tmovw %ax, %fs");
SNIPPET(to_gs, "7:\tmovw %ax, %gs");
SNIPPET(to_ss, "7:\tmovw %ax, %ss");
SNIPPET(to_cs, "pushl %eax\n\tpushl $1f\n7:\tlret\n1:");
SNIPPET(to_gs_by_pop, "pushl %eax\n7:\tpopl %gs");
SNIPPET(about, "lar %ax, %ecx\n\tlsl %ax, %ecx\n\tverr %ax\n\tjz 1f\n\tverw %ax\n\tjz 1f\n\tincl %edx\n1:");
struct table {
    u16 limit;
    u32 base;
} __attribute__((packed));
static void long_table(void) {
    static const u8 *const codes[] = {to_ds, to_es, to_fs, to_gs, to_ss, to_cs, to_gs_by_pop};
    static const u8 *const codes_at[] = {to_ds_at, to_es_at, to_fs_at, to_gs_at, to_ss_at, to_cs_at, to_gs_by_pop_at};
    struct table table, saved;
    group("selectors beyond the GDT, and a GDT of 64 KB");
    for (u32 selector = sizeof test_gdt; selector < 0x10000; selector += selector < 0xFF00 ? 0x3F8 : 8)
        for (cpl = CPL0; cpl <= CPL3; cpl += 3) {
            reset(cpl);
            in.eax = selector | cpl;
            for (u32 i = 0; i < 7; i++) expect_trap("beyond the GDT", codes[i], codes_at[i], VECTOR_GENERAL_PROTECTION, selector);
            if (cpl) continue;
            expect_done("LAR, LSL, VERR, VERW", about);
            expect("ECX", caught.frame.ecx, in.ecx);
            expect("EDX", caught.frame.edx, in.edx + 1);
        }
    __asm__ volatile("sgdt %0" : "=m"(saved));
    u32 copy = WINDOW_AT(64);
    for (u32 i = 0; i < 16; i++) window_page(64 + i, PTE_W);
    memcpy((void *)copy, test_gdt, sizeof test_gdt);
    table = (struct table){.limit = 0xFFFF, .base = copy};
    __asm__ volatile("lgdt %0" ::"m"(table));
    u32 data = window_page(96, RIGHTS);
    for (u32 selector = 0xFFF8; selector >= 0xFE00; selector -= 8)
        for (cpl = CPL0; cpl <= CPL3; cpl += 3) {
            ((u64 *)copy)[selector >> 3] = descriptor(WINDOW_AT(96) + (selector & 0xFF), 0xFFFFF, 0x92 | cpl << 5, 0xC);
            MEMORY32(data + 0x100 + (selector & 0xFF)) = selector;
            reset(cpl);
            in.eax = selector | cpl;
            in.ebx = 0x100;
            expect_done("the last entries", load_all);
            expect("sum", caught.frame.ecx, 4 * selector);
            expect("accessed", ((u64 *)copy)[selector >> 3] >> 40 & 0xFF, 0x93 | cpl << 5);
            ((u64 *)copy)[selector >> 3] = descriptor(0, 0xFFFFF, 0x9A | cpl << 5, 0xC);
            reset(cpl);
            in.eax = selector | cpl;
            expect_done("as code", to_cs);
            expect("CS", caught.frame.cs, selector | cpl);
        }
    __asm__ volatile("lgdt %0" ::"m"(saved));
}

/* Descriptors that are written while they are loaded, towards the top and away, and loaded again. */
SNIPPET(rewrite, "movw %ax, %fs\n\tmovl %fs:(%ebx), %ecx\n\tmovl %edx, (%esi)\n\tmovl %edi, 4(%esi)\n\tmovl %fs:(%ebx), %ebp\n\tmovw %ax, %fs\n\tmovl %fs:(%ebx), %edx");
static void own_descriptors(void) {
    group("descriptors rewritten");
    map_probes(1);
    for (u32 n = 0; n < PROBES; n++)
        for (u32 local = 0; local < 2; local++) {
            u64 *entry = local ? &ldt[1] : &test_gdt[BASED];
            u32 address = probe(n) + 0x20, other = probe((n + 37) % PROBES) + 0x24;
            u64 changed = descriptor(other, 0xFFFFF, 0x92, 0xC);
            *entry = descriptor(address, 0xFFFFF, 0x93, 0xC);
            MEMORY32(address) = n;
            MEMORY32(other) = ~n;
            reset(CPL0);
            in.eax = local ? 0x0C : BASED << 3;
            in.ebx = 0;
            in.esi = (u32)entry;
            in.edx = (u32)changed;
            in.edi = (u32)(changed >> 32);
            expect_done("rewritten", rewrite);
            expect("before", caught.frame.ecx, n);
            expect("while it is loaded", caught.frame.ebp, n);
            expect("loaded again", caught.frame.edx, ~n);
            expect("accessed", (u32)(*entry >> 40) & 0xFF, 0x93);
        }
}

SNIPPET(call_gate, "7:\tlcall $0x5B, $0");
static void gates(void) {
    u64 *idt = idt_entries();
    group("gates");
    map_probes(0);
    for (u32 n = 0; n < PROBES; n += 3) { /* a call gate and an interrupt gate whose code is not there */
        u32 target = probe(n) + 0x30;
        test_gdt[GATE] = gate(KERNEL_CS, target, 0xEC, 0);
        u64 saved = idt[0x90];
        idt[0x90] = gate(KERNEL_CS, target, 0xEE, 0);
        for (cpl = CPL0; cpl <= CPL3; cpl += 3) {
            static const u8 int_90[] = {0xCD, 0x90};
            reset(cpl);
            expect("a call gate", run(call_gate), VECTOR_PAGE_FAULT);
            expect("EIP", caught.frame.eip, target);
            expect("CS", caught.frame.cs, KERNEL_CS);
            expect("error code", caught.frame.error_code, 0);
            at = (u8 *)WINDOW_AT(0);
            bytes(int_90, 2);
            reset(cpl);
            expect("an interrupt gate", run((u8 *)WINDOW_AT(0)), VECTOR_PAGE_FAULT);
            expect("EIP", caught.frame.eip, target);
            expect("CR2", caught.cr2, target);
        }
        idt[0x90] = saved;
    }
    for (u32 vector = 0x20; vector < 0x100; vector++) { /* all of them are the guest's own, and closed to CPL 3 */
        if (vector >= 0x80 && vector <= DONE) continue;
        set_trap_handler(vector, catch_trap);
        at = (u8 *)WINDOW_AT(0);
        *at++ = 0xCD;
        *at = (u8)vector;
        reset(CPL0);
        expect("INT n at CPL 0", run((u8 *)WINDOW_AT(0)), vector);
        expect("EIP", caught.frame.eip, WINDOW_AT(0) + 2);
        reset(CPL3);
        expect_trap("INT n at CPL 3", (u8 *)WINDOW_AT(0), (u8 *)WINDOW_AT(0), VECTOR_GENERAL_PROTECTION, vector * 8 + 2);
        set_trap_handler(vector, 0);
    }
}

void program_main(void) {
    test_init();
    gdt_extend();
    test_gdt[LDT] = descriptor((u32)ldt, sizeof ldt - 1, 0x82, 0);
    __asm__ volatile("lldt %w0" ::"r"(LDT << 3));
    window_page(0, RIGHTS);
    top_init();
    map_page(BELOW, 0, 0);
    map_probes(1);
    nothing_there();
    every_way();
    jumps();
    pages_there();
    border();
    long_table();
    own_descriptors();
    gates();
    groups_end();
    __asm__ volatile("lldt %w0" ::"r"(0));
}

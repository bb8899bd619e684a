/*
 * Page tables treated as memory, in the ways that are hard for a shadow pager: tables that are directories, tables
 * mapped where they map, stores of every kind and alignment to PTEs, tables that become data and back.
 * Where a change may be cached, INVLPG or a CR3 load follows.
 */
#include "test.h"

#define SELF 0xFFC00000u /* where the last PDE, pointing to the directory, shows all page tables */
#define SELF_DIRECTORY 0xFFFFF000u
#define SELF_PTE(linear) (SELF + ((linear) >> 12) * 4)
#define AREA 0x48000000u /* 4 MB areas with tables of the test's own */
#define AREA_2 0x48400000u
#define VIEW 0x49000000u /* where tables are shown */
#define RW (PTE_W | PTE_P)
#define FRAMES 8

static u32 frames[FRAMES]; /* frames[i] holds SIGN(i) in its first word */
#define SIGN(i) (0xF0000000u + (i))

static u32 new_table(u32 linear) {
    u32 table = frame_alloc();
    page_directory[linear >> 22] = table | PTE_U | RW;
    write_cr3(read_cr3());
    return table;
}
static void show(u32 at, u32 table, u32 flags) {
    map_page(at, table, flags | PTE_P);
    invlpg(at);
}
static void expect_frame(const char *what, u32 linear, u32 i) {
    invlpg(linear);
    expect(what, MEMORY32(linear), SIGN(i));
}
SNIPPET(load, "7:\tmovl (%ebx), %eax");
SNIPPET(nothing, "nop");
SNIPPET(store, "7:\tmovl %eax, (%ebx)");
static void expect_missing(const char *what, u32 linear) {
    invlpg(linear);
    reset(CPL0);
    in.ebx = linear;
    EXPECT_TRAP(what, load, VECTOR_PAGE_FAULT, 0);
    expect("CR2", caught.cr2, linear);
}

static void recursive(void) {
    group("directory as its own page table");
    page_directory[1023] = (u32)page_directory | RW;
    write_cr3(read_cr3());
    expect("the directory through itself", MEMORY32(SELF_DIRECTORY + 4 * 1023) & PTE_FRAME, (u32)page_directory);
    expect("A and D of the recursive PDE", MEMORY32(SELF_DIRECTORY + 4 * 1023) & PTE_A, PTE_A);
    new_table(AREA);
    for (u32 i = 0; i < 64; i++) {
        u32 page = AREA + (i * 37 % 1024) * PAGE_SIZE;
        MEMORY32(SELF_PTE(page)) = frames[i % FRAMES] | RW;
        expect_frame("a PTE stored through the recursion", page, i % FRAMES);
        expect("its A", MEMORY32(SELF_PTE(page)) & (PTE_A | PTE_D), PTE_A);
    }
    /* A PDE made, changed and removed through the directory's own page. */
    u32 table = frame_alloc();
    MEMORY32(SELF_DIRECTORY + (AREA_2 >> 22) * 4) = table | PTE_U | RW;
    invlpg(SELF_PTE(AREA_2));
    expect("a new table is seen", MEMORY32(SELF_PTE(AREA_2)), 0);
    MEMORY32(SELF_PTE(AREA_2)) = frames[3] | RW;
    expect_frame("through a PDE stored through the recursion", AREA_2, 3);
    MEMORY32(SELF_DIRECTORY + (AREA_2 >> 22) * 4) = MEMORY32(SELF_DIRECTORY + (AREA >> 22) * 4);
    write_cr3(read_cr3());
    expect("another table", MEMORY32(AREA_2 + 37 * PAGE_SIZE), SIGN(1));
    MEMORY32(SELF_DIRECTORY + (AREA_2 >> 22) * 4) = 0;
    write_cr3(read_cr3());
    expect_missing("no table", AREA_2);
    reset(CPL0);
    in.ebx = SELF_PTE(AREA_2);
    EXPECT_TRAP("no table in the recursion", store, VECTOR_PAGE_FAULT, 2);
    /* The recursion taken away and given back. */
    page_directory[1023] = 0;
    write_cr3(read_cr3());
    expect_missing("no recursion", SELF_PTE(AREA));
    page_directory[1023] = (u32)page_directory | PTE_P; /* read-only */
    write_cr3(read_cr3());
    reset(CPL0);
    in.ebx = SELF_DIRECTORY;
    EXPECT_TRAP("read-only recursion", store, VECTOR_PAGE_FAULT, 3);
    page_directory[1023] = 0;
    write_cr3(read_cr3());
}

static void two_levels(void) {
    group("one page as table and directory, and twice as a table");
    /* `directory` is a second directory, and in itself the table of AREA: its PDEs are PTEs of AREA's pages. */
    u32 directory = frame_alloc();
    memcpy((void *)directory, page_directory, PAGE_SIZE);
    u32 *entries = (u32 *)directory;
    entries[AREA >> 22] = directory | PTE_U | RW;
    entries[512] = frames[2] | PTE_U | RW;
    write_cr3(directory);
    expect("PDE as PTE: data", MEMORY32(AREA + 512 * PAGE_SIZE), SIGN(2));
    expect("PDE as PTE: a table", MEMORY32(AREA + 0 * PAGE_SIZE + 0x400), MEMORY32((page_directory[0] & PTE_FRAME) + 0x400));
    expect("PDE as PTE: itself", MEMORY32(AREA + (AREA >> 22) * PAGE_SIZE + 512 * 4) & PTE_FRAME, frames[2]);
    entries[512] = frames[4] | PTE_U | RW;
    expect_frame("changed", AREA + 512 * PAGE_SIZE, 4);
    MEMORY32(AREA + (AREA >> 22) * PAGE_SIZE + 512 * 4) = frames[5] | PTE_U | RW; /* through itself */
    expect_frame("changed through itself", AREA + 512 * PAGE_SIZE, 5);
    expect("A in the entry", entries[512] & (PTE_A | PTE_D), PTE_A);
    /* frames[5] is data above and, as a table, 4 MB at 512 * 4 MB: its first entry is its first word. */
    MEMORY32(frames[5]) = frames[6] | RW;
    write_cr3(directory);
    expect("a data page as a table", MEMORY32(0x80000000), SIGN(6));
    MEMORY32(AREA + 512 * PAGE_SIZE) = frames[7] | RW; /* the same word through the data mapping */
    expect_frame("its entry stored as data", 0x80000000, 7);
    write_cr3((u32)page_directory);
    MEMORY32(frames[5]) = SIGN(5);

    /* One table for two areas, with different rights in the PDEs. */
    u32 table = new_table(AREA);
    page_directory[AREA_2 >> 22] = table | PTE_U | PTE_P; /* read-only */
    write_cr3(read_cr3());
    u32 *ptes = (u32 *)table;
    for (u32 i = 0; i < FRAMES; i++) ptes[i] = frames[i] | PTE_U | RW;
    for (u32 i = 0; i < FRAMES; i++) {
        expect_frame("first place", AREA + i * PAGE_SIZE, i);
        expect_frame("second place", AREA_2 + i * PAGE_SIZE, i);
    }
    reset(CPL3);
    in.ebx = AREA_2 + 4;
    EXPECT_TRAP("second place is read-only", store, VECTOR_PAGE_FAULT, 7);
    expect("no D", ptes[0] & PTE_D, 0);
    reset(CPL3);
    in.ebx = AREA + 4;
    expect_done("first place is writable", store);
    expect("D", ptes[0] & PTE_D, PTE_D);
    ptes[0] = frames[1] | PTE_U | RW;
    expect_frame("changed, first place", AREA, 1);
    expect_frame("changed, second place", AREA_2, 1);
    ptes[0] = 0;
    expect_missing("removed, first place", AREA);
    expect_missing("removed, second place", AREA_2);
    page_directory[AREA_2 >> 22] = 0;
    write_cr3(read_cr3());
}

static void many_views(void) {
    u32 table = new_table(AREA);
    group("a table mapped at many addresses");
    for (u32 i = 0; i < 32; i++) show(VIEW + i * PAGE_SIZE, table, PTE_W);
    for (u32 i = 0; i < 128; i++) {
        u32 page = i * 11 % 64;
        MEMORY32(VIEW + i % 32 * PAGE_SIZE + page * 4) = frames[i % FRAMES] | RW;
        expect_frame("edited through a view", AREA + page * PAGE_SIZE, i % FRAMES);
        expect("A through another view", MEMORY32(VIEW + (i + 5) % 32 * PAGE_SIZE + page * 4), frames[i % FRAMES] | RW | PTE_A);
    }
    /* A view within the area that the table maps: the table maps itself. */
    ((u32 *)table)[100] = table | RW;
    invlpg(AREA + 100 * PAGE_SIZE);
    u32 inside = AREA + 100 * PAGE_SIZE;
    for (u32 i = 0; i < FRAMES; i++) {
        MEMORY32(inside + 101 * 4) = frames[i] | RW;
        expect_frame("edited from within", AREA + 101 * PAGE_SIZE, i);
    }
    expect("A and D of the PTE that maps its own table", ((u32 *)table)[100] & 0xFFF, RW | PTE_A | PTE_D);
    MEMORY32(inside + 100 * 4) = frames[0] | RW; /* the PTE by which this store went */
    expect_frame("the table unmapped itself", inside, 0);
}

static void odd_stores(void) {
    u32 table = new_table(AREA);
    u32 view = VIEW;
    u8 *bytes = (u8 *)view;
    volatile u32 *ptes = (volatile u32 *)view;
    group("stores that are not one aligned PTE");
    show(view, table, PTE_W);
    for (u32 i = 0; i < 16; i++) ptes[i] = frames[i % FRAMES] | RW;
    for (u32 i = 0; i < 16; i++) expect_frame("before", AREA + i * PAGE_SIZE, i % FRAMES);
    /* 1 byte: P; 1 byte: part of the frame number; 2 bytes: flags; 2 bytes: frame number. */
    *(volatile u8 *)bytes = 0;
    expect_missing("P cleared by a byte store", AREA);
    *(volatile u8 *)bytes = RW;
    expect_frame("P set by a byte store", AREA, 0);
    for (u32 i = 0; i < FRAMES; i++) {
        bytes[4 + 1] = (u8)(frames[i] >> 8);
        bytes[4 + 2] = (u8)(frames[i] >> 16);
        bytes[4 + 3] = (u8)(frames[i] >> 24);
        expect_frame("frame number byte by byte", AREA + PAGE_SIZE, i);
        *(volatile u16 *)(bytes + 8) = (u16)(frames[i] & 0xF000) | RW;
        *(volatile u16 *)(bytes + 10) = (u16)(frames[i] >> 16);
        expect_frame("frame number by halves", AREA + 2 * PAGE_SIZE, i);
        *(volatile u16 *)(bytes + 12 + 1) = (u16)(frames[i] >> 8); /* unaligned, inside */
        bytes[12 + 3] = (u8)(frames[i] >> 24);
        expect_frame("frame number by an unaligned half", AREA + 3 * PAGE_SIZE, i);
    }
    /* 4 bytes over two PTEs: the upper half of one, the lower half of the next. */
    for (u32 i = 0; i + 1 < FRAMES; i++) {
        ptes[4] = frames[0] | RW;
        ptes[5] = frames[0] | RW;
        expect_frame("one of two", AREA + 4 * PAGE_SIZE, 0);
        expect_frame("two of two", AREA + 5 * PAGE_SIZE, 0);
        u32 first = frames[i] | RW, second = frames[i + 1] | RW;
        *(volatile u16 *)(bytes + 16) = (u16)first;
        MEMORY32(view + 18) = first >> 16 | second << 16;
        *(volatile u16 *)(bytes + 22) = (u16)(second >> 16);
        expect_frame("one of two after an unaligned store", AREA + 4 * PAGE_SIZE, i);
        expect_frame("two of two after an unaligned store", AREA + 5 * PAGE_SIZE, i + 1);
    }
    /* 2 bytes over two PTEs: the last byte of one, the first (P and flags) of the next. */
    ptes[7] = frames[1] | RW;
    expect_frame("before", AREA + 7 * PAGE_SIZE, 1);
    *(volatile u16 *)(bytes + 27) = (u16)(frames[6] >> 24);
    expect_missing("P of the next cleared", AREA + 7 * PAGE_SIZE);
    expect_frame("the first kept", AREA + 6 * PAGE_SIZE, 6);
    *(volatile u16 *)(bytes + 27) = (u16)(frames[6] >> 24 | RW << 8);
    expect_frame("P of the next set", AREA + 7 * PAGE_SIZE, 1);

    /* Across the end of the table's page: into data, into another table, and out of data. */
    u32 table_2 = new_table(AREA_2), data = frame_alloc();
    show(view + PAGE_SIZE, table_2, PTE_W);
    show(view + 2 * PAGE_SIZE, data, PTE_W);
    u32 last = AREA + 1023 * PAGE_SIZE;
    for (u32 i = 0; i + 1 < FRAMES; i++) {
        u32 first = frames[i] | RW, second = frames[i + 1] | RW;
        *(volatile u16 *)(bytes + 0xFFC) = (u16)first;
        MEMORY32(view + 0xFFE) = first >> 16 | second << 16;
        *(volatile u16 *)(bytes + 0x1002) = (u16)(second >> 16);
        expect_frame("last PTE of a table", last, i);
        expect_frame("first PTE of the next", AREA_2, i + 1);
        MEMORY32(view + 0x1FFC) = 0;
        MEMORY32(view + 0x2000) = 0;
        MEMORY32(view + 0x1FFD) = (first >> 8) | 0xEE000000;
        bytes[0x1FFC] = RW;
        expect_frame("last PTE, store into data behind it", AREA_2 + 1023 * PAGE_SIZE, i);
        expect("data behind it", MEMORY32(view + 0x2000), 0xEE);
    }
    show(view + 3 * PAGE_SIZE, table, PTE_W); /* data, then the table */
    MEMORY32(view + 0x2FFE) = 0x0000BEEF; /* clears the lower half of PTE 0 */
    expect_missing("PTE 0, store out of data", AREA);
    expect("data before it", MEMORY16(view + 0x2FFE), 0xBEEF);
    MEMORY32(view + 0x2FFE) = (frames[0] | RW) << 16 | 0xCAFE;
    expect_frame("PTE 0 again", AREA, 0);
    page_directory[AREA_2 >> 22] = 0;
    write_cr3(read_cr3());
}

#define PTE_ASM(instructions) __asm__ volatile(instructions ::"D"(pte) : "eax", "memory", "cc")
static void read_modify_write(void) {
    u32 table = new_table(AREA);
    volatile u32 *pte = (volatile u32 *)VIEW;
    u32 old;
    group("read-modify-write and string stores to PTEs");
    show(VIEW, table, PTE_W);
    show(VIEW + PAGE_SIZE, frame_alloc(), PTE_W);
    show(VIEW - PAGE_SIZE, frame_alloc(), PTE_W);
    *pte = frames[0] | PTE_W;
    PTE_ASM("lock orl $1, (%%edi)");
    expect_frame("LOCK OR", AREA, 0);
    PTE_ASM("andl $~1, (%%edi)");
    expect_missing("AND", AREA);
    PTE_ASM("btsl $0, (%%edi)");
    expect_frame("BTS", AREA, 0);
    PTE_ASM("lock btrl $0, (%%edi)");
    expect_missing("LOCK BTR", AREA);
    PTE_ASM("movl $32, %%eax\n\tlock btcl %%eax, -4(%%edi)");
    expect_frame("LOCK BTC beyond the operand", AREA, 0);
    PTE_ASM("xorl $1, (%%edi)");
    expect_missing("XOR", AREA);
    PTE_ASM("incl (%%edi)");
    expect_frame("INC", AREA, 0);
    *pte = frames[0] | RW;
    PTE_ASM("lock decl (%%edi)");
    expect_missing("LOCK DEC", AREA);
    PTE_ASM("addl $1, (%%edi)");
    expect_frame("ADD", AREA, 0);
    *pte = frames[0] | RW;
    for (u32 i = 1; i < FRAMES; i++) {
        old = frames[i] | RW;
        __asm__ volatile("xchgl %0, (%1)" : "+r"(old) : "r"(pte) : "memory");
        expect("XCHG's result", old & PTE_FRAME, frames[i - 1]);
        expect_frame("XCHG", AREA, i);
    }
    expect("A", *pte & 0xFFF, RW | PTE_A);
    old = *pte;
    __asm__ volatile("lock cmpxchgl %2, (%1)" : "+a"(old) : "r"(pte), "r"(frames[2] | RW) : "memory", "cc");
    expect("CMPXCHG's result", old, frames[FRAMES - 1] | RW | PTE_A);
    expect_frame("CMPXCHG", AREA, 2);
    old = 0;
    __asm__ volatile("lock cmpxchgl %2, (%1)" : "+a"(old) : "r"(pte), "r"(frames[3] | RW) : "memory", "cc");
    expect("CMPXCHG's refusal", old, frames[2] | RW | PTE_A);
    expect_frame("CMPXCHG refused", AREA, 2);
    old = frames[4] - frames[2];
    __asm__ volatile("lock xaddl %0, (%1)" : "+r"(old) : "r"(pte) : "memory", "cc");
    expect_frame("XADD", AREA, 4);
    *pte = ~(frames[5] | RW);
    PTE_ASM("notl (%%edi)");
    expect_frame("NOT", AREA, 5);
    *pte = 0u - (frames[6] | RW);
    PTE_ASM("negl (%%edi)");
    expect_frame("NEG", AREA, 6);
    *pte = (frames[1] | RW) << 4 | (frames[1] >> 28);
    PTE_ASM("rorl $4, (%%edi)");
    expect_frame("ROR", AREA, 1);
    *pte = 0;
    PTE_ASM("stc\n\tsetc (%%edi)"); /* P */
    expect("SETC", *pte & 1, 1);
    /* CMPXCHG8B: two PTEs at once. */
    pte[0] = frames[0] | RW;
    pte[1] = frames[1] | RW;
    __asm__ volatile("lock cmpxchg8b (%%edi)"
                     :
                     : "D"(pte), "a"(frames[0] | RW), "d"(frames[1] | RW), "b"(frames[6] | RW), "c"(frames[7] | RW)
                     : "memory", "cc");
    expect_frame("CMPXCHG8B, low", AREA, 6);
    expect_frame("CMPXCHG8B, high", AREA + PAGE_SIZE, 7);
    /* String instructions over a table, forwards and backwards, over its end. */
    static u32 source[32];
    u32 count = 32;
    for (u32 i = 0; i < 32; i++) source[i] = frames[i % FRAMES] | RW;
    const u32 *from = source;
    volatile u32 *to = pte + 8;
    __asm__ volatile("rep movsl" : "+S"(from), "+D"(to), "+c"(count)::"memory");
    for (u32 i = 0; i < 32; i++) expect_frame("REP MOVSD", AREA + (8 + i) * PAGE_SIZE, i % FRAMES);
    from = source + 31;
    to = pte + 8 + 31 + 1;
    count = 32;
    __asm__ volatile("std\n\trep movsl\n\tcld" : "+S"(from), "+D"(to), "+c"(count)::"memory", "cc");
    for (u32 i = 0; i < 32; i++) expect_frame("REP MOVSD, DF 1", AREA + (9 + i) * PAGE_SIZE, i % FRAMES);
    from = source;
    to = pte + 8;
    count = 128;
    __asm__ volatile("rep movsb" : "+S"(from), "+D"(to), "+c"(count)::"memory");
    for (u32 i = 0; i < 32; i++) expect_frame("REP MOVSB", AREA + (8 + i) * PAGE_SIZE, i % FRAMES);
    to = pte + 1000;
    count = 40; /* 24 PTEs and 16 words behind the table */
    __asm__ volatile("rep stosl" : "+D"(to), "+c"(count) : "a"(frames[4] | RW) : "memory");
    for (u32 i = 1000; i < 1024; i++) expect_frame("REP STOSD over the end", AREA + i * PAGE_SIZE, 4);
    expect("behind the end", pte[1039], frames[4] | RW);
    count = 1024;
    to = pte;
    __asm__ volatile("rep stosl" : "+D"(to), "+c"(count) : "a"(0) : "memory");
    for (u32 i = 0; i < 1024; i += 31) expect_missing("table cleared", AREA + i * PAGE_SIZE);
    /* Stack instructions. */
    __asm__ volatile("movl %%esp, %%ecx\n\t"
                     "leal 16(%%edi), %%esp\n\t"
                     "pushl %%eax\n\t"
                     "pushl %%edx\n\t"
                     "pushl %%eax\n\t"
                     "movl %%ecx, %%esp"
                     :
                     : "D"(pte), "a"(frames[1] | RW), "d"(frames[2] | RW)
                     : "ecx", "memory");
    expect_frame("PUSH", AREA + 3 * PAGE_SIZE, 1);
    expect_frame("PUSH", AREA + 2 * PAGE_SIZE, 2);
    expect_frame("PUSH", AREA + 1 * PAGE_SIZE, 1);
    __asm__ volatile("pushl %1\n\tpopl (%0)" ::"r"(pte), "r"(frames[3] | RW) : "memory");
    expect_frame("POP", AREA, 3);
    /* A trap's frame on a page of PTEs: what CALL and the processor push are PTEs now, none of them is used. */
    __asm__ volatile("movl %%esp, %%ecx\n\t"
                     "leal 4096(%%edi), %%esp\n\t"
                     "call 1f\n"
                     "1:\tmovl %%ecx, %%esp"
                     :
                     : "D"(pte)
                     : "ecx", "memory");
    expect("CALL pushed a return address", pte[1023] != 0, 1);
    pte[1023] = 0;
    reset(CPL0);
    in.esp = VIEW + PAGE_SIZE; /* the end of the table */
    expect_done("IRET and INT on a stack that is a page table", nothing);
    for (u32 i = 512; i < 1024; i++) pte[i] = 0;
    write_cr3(read_cr3());
}

static void tables_and_data(void) {
    u32 table = new_table(AREA), other = frame_alloc();
    group("tables become data and data becomes tables");
    show(VIEW, table, PTE_U | PTE_W);
    for (u32 round = 0; round < 4; round++) {
        volatile u32 *ptes = (volatile u32 *)VIEW;
        page_directory[AREA >> 22] = table | PTE_U | RW;
        for (u32 i = 0; i < FRAMES; i++) ptes[i] = frames[(i + round) % FRAMES] | PTE_U | RW;
        for (u32 i = 0; i < FRAMES; i++) expect_frame("as a table", AREA + i * PAGE_SIZE, (i + round) % FRAMES);
        /* Another table takes its place; this one is data. */
        ((u32 *)other)[0] = frames[round] | PTE_U | RW;
        page_directory[AREA >> 22] = other | PTE_U | RW;
        for (u32 i = 0; i < FRAMES; i++) invlpg(AREA + i * PAGE_SIZE);
        expect_frame("the other table", AREA, round);
        expect_missing("the other table has one entry", AREA + PAGE_SIZE);
        for (u32 i = 0; i < 1024; i++) ptes[i] = i * 0x01234567 + round;
        for (u32 i = 0; i < 1024; i += 77) expect("as data", ptes[i], i * 0x01234567 + round);
        expect_frame("not disturbed", AREA, round);
        for (u32 i = 0; i < 1024; i++) ptes[i] = 0;
    }
    /* A data page whose contents are PTEs already becomes a table, and a user page at that. */
    u32 data = frame_alloc();
    show(VIEW + PAGE_SIZE, data, PTE_U | PTE_W);
    for (u32 i = 0; i < FRAMES; i++) MEMORY32(VIEW + PAGE_SIZE + i * 4) = frames[FRAMES - 1 - i] | PTE_U | RW;
    page_directory[AREA_2 >> 22] = data | PTE_U | RW;
    for (u32 i = 0; i < FRAMES; i++) expect_frame("data as a table", AREA_2 + i * PAGE_SIZE, FRAMES - 1 - i);
    /* CPL 3 edits its own PTEs, by a mapping that the table under edit holds itself. */
    ((u32 *)data)[20] = data | PTE_U | RW;
    for (u32 i = 0; i < FRAMES; i++) {
        reset(CPL3);
        in.ebx = AREA_2 + 20 * PAGE_SIZE + 21 * 4;
        in.eax = frames[i] | PTE_U | RW;
        expect_done("PTE stored at CPL 3", store);
        invlpg(AREA_2 + 21 * PAGE_SIZE);
        reset(CPL3);
        in.ebx = AREA_2 + 21 * PAGE_SIZE;
        expect_done("loaded at CPL 3", load);
        expect("the page that CPL 3 mapped", caught.frame.eax, SIGN(i));
    }
    reset(CPL3);
    in.ebx = AREA_2 + 20 * PAGE_SIZE + 20 * 4;
    in.eax = data | PTE_U | PTE_P; /* makes its own mapping read-only */
    expect_done("last store", store);
    invlpg(AREA_2 + 20 * PAGE_SIZE);
    reset(CPL3);
    in.ebx = AREA_2 + 20 * PAGE_SIZE;
    EXPECT_TRAP("then read-only", store, VECTOR_PAGE_FAULT, 7);
    page_directory[AREA_2 >> 22] = 0;
    /* PDEs change from one table to another, only INVLPG of the page in use. */
    ((u32 *)table)[0] = frames[6] | RW;
    for (u32 i = 0; i < 8; i++) {
        page_directory[AREA >> 22] = (i & 1 ? table : other) | PTE_U | RW;
        expect_frame("PDE changed", AREA, i & 1 ? 6 : 3);
    }
    /* The tables' own page is remapped: the view now shows another table. */
    show(VIEW, other, PTE_W);
    MEMORY32(VIEW) = frames[2] | RW; /* `table` is in use, `other` not */
    expect_frame("not the table in use", AREA, 6);
    show(VIEW, table, PTE_W);
    MEMORY32(VIEW) = frames[1] | RW;
    expect_frame("the table in use", AREA, 1);
}

static void code_remapped(void) {
    u32 page = WINDOW_AT(200), code[4];
    group("code whose page is mapped to another frame");
    for (u32 i = 0; i < 4; i++) {
        code[i] = frame_alloc();
        MEMORY8(code[i]) = 0xB8; /* MOV EAX, 1000 + i; RET */
        MEMORY32(code[i] + 1) = 1000 + i;
        MEMORY8(code[i] + 5) = 0xC3;
    }
    for (u32 i = 0; i < 16; i++) {
        map_page(page, code[i * 3 % 4], PTE_U | PTE_P);
        invlpg(page);
        expect("result", ((u32(*)(void))page)(), 1000 + i * 3 % 4);
    }
    /* The loop below runs in a page that it remaps at each turn: at the same offset the next frame goes on. */
    u32 at = WINDOW_AT(201);
    for (u32 i = 0; i < 2; i++) {
        static const u8 image[] = {
            0x89, 0x02,       /* MOV [EDX], EAX: the PTE of this page */
            0x0F, 0x01, 0x3B, /* INVLPG [EBX] */
            0xEB, 0x00,       /* JMP to the next instruction */
            0xB9, 0, 0, 0, 0, /* MOV ECX, number of the frame */
            0xC3};
        memcpy((void *)code[i], image, sizeof image);
        MEMORY32(code[i] + 8) = 7000 + i;
    }
    map_page(at, code[0], PTE_P);
    for (u32 i = 1; i <= 8; i++) {
        u32 result;
        __asm__ volatile("call *%%ebx"
                         : "=c"(result)
                         : "b"(at), "d"(pte_of(at)), "a"(code[i & 1] | PTE_P)
                         : "memory", "cc");
        expect("frame in which the code went on", result, 7000 + (i & 1));
    }
}

void program_main(void) {
    test_init();
    for (u32 i = 0; i < FRAMES; i++) {
        frames[i] = frame_alloc();
        MEMORY32(frames[i]) = SIGN(i);
    }
    recursive();
    two_levels();
    many_views();
    odd_stores();
    read_modify_write();
    tables_and_data();
    code_remapped();
    groups_end();
}

/*
 * Paging as a well-behaved kernel uses it (SDM volume 3, chapter 4): A and D bits, CR0.WP, protection over both
 * levels, 4 MB pages, INVLPG, CR3, global pages, paging off and on. Every change that may be cached is followed by INVLPG
 * or a CR3 load, so that nothing depends on what a TLB keeps.
 */
#include "test.h"

#define PDE_PS 0x80u
#define LARGE 0x50000000u      /* linear address of a 4 MB page */
#define LARGE_FRAME 0x00800000u /* its frame: 8 to 12 MB, which the identity map shows as well */
#define LARGE_FRAME_2 0x00C00000u
#define ALLOWED 0x100u

SNIPPET(load, "7:\tmovl (%ebx), %eax");
SNIPPET(store, "7:\tmovl %eax, (%ebx)");

/* The error code of the access, or ALLOWED. A store stores `value`. */
static u32 stored_value = 0x5A5A0000;
static u32 access(u32 linear, u32 cpl, u32 write) {
    reset(cpl);
    in.ebx = linear;
    in.eax = ++stored_value;
    u32 vector = run(write ? store : load);
    if (vector == DONE) return ALLOWED;
    if (vector != VECTOR_PAGE_FAULT) panic("trap %u instead of a page fault", vector);
    expect("CR2", caught.cr2, linear);
    expect("EIP", caught.frame.eip, (u32)(write ? store_at : load_at));
    return caught.frame.error_code;
}
static u32 flags_of(u32 linear) { return *pte_of(linear) & 0xFFF; }
static u32 pde_flags(u32 linear) { return page_directory[linear >> 22] & 0xFFF; }
static void set_pte(u32 linear, u32 value) {
    *pte_of(linear) = value;
    invlpg(linear);
}
static void set_pde(u32 linear, u32 value) {
    page_directory[linear >> 22] = value;
    write_cr3(read_cr3());
    invlpg(linear);
}

static void accessed_dirty(void) {
    u32 page = WINDOW_AT(0), other = WINDOW_AT(1), frame = window_page(0, PTE_U | PTE_W), flags = PTE_U | PTE_W | PTE_P;
    window_page(1, PTE_U | PTE_W);
    group("accessed and dirty");
    for (u32 cpl = CPL0; cpl <= CPL3; cpl += 3) {
        page_directory[page >> 22] &= ~PTE_A;
        set_pte(page, frame | flags);
        set_pte(other, *pte_of(other) & ~(PTE_A | PTE_D));
        expect("a new PTE", flags_of(page), flags);
        expect("a new PDE", pde_flags(page), flags);
        expect("load", access(page, cpl, 0), ALLOWED);
        expect("PTE after a load", flags_of(page), flags | PTE_A);
        expect("PDE after a load", pde_flags(page), flags | PTE_A);
        expect("store", access(page + 8, cpl, 1), ALLOWED);
        expect("PTE after a store", flags_of(page), flags | PTE_A | PTE_D);
        expect("PDE after a store", pde_flags(page), flags | PTE_A);
        expect("the neighbour", flags_of(other), flags);
        /* Cleared with INVLPG, they come back, each when it must. */
        set_pte(page, frame | flags);
        expect("cleared", flags_of(page), flags);
        expect("load", access(page, cpl, 0), ALLOWED);
        expect("PTE after a second load", flags_of(page), flags | PTE_A);
        set_pte(page, frame | flags | PTE_A);
        expect("store", access(page, cpl, 1), ALLOWED);
        expect("A kept, D set", flags_of(page), flags | PTE_A | PTE_D);
        set_pte(page, frame | flags | PTE_D); /* D without A */
        expect("load", access(page, cpl, 0), ALLOWED);
        expect("A set, D kept", flags_of(page), flags | PTE_A | PTE_D);
        set_pte(page, frame | flags);
        expect("store first", access(page, cpl, 1), ALLOWED);
        expect("both", flags_of(page), flags | PTE_A | PTE_D);
        /* Clearing D alone, with INVLPG, after a store. */
        set_pte(page, frame | flags | PTE_A);
        expect("load", access(page, cpl, 0), ALLOWED);
        expect("no D by a load", flags_of(page), flags | PTE_A);
        expect("store", access(page, cpl, 1), ALLOWED);
        expect("D again", flags_of(page), flags | PTE_A | PTE_D);
    }
    /* An access across two pages marks both. A store that faults does not mark the page that it may not write. */
    set_pte(page, frame | flags);
    set_pte(other, *pte_of(other) & ~(PTE_A | PTE_D));
    expect("store across", access(other - 2, CPL3, 1), ALLOWED);
    expect("first page", flags_of(page), flags | PTE_A | PTE_D);
    expect("second page", flags_of(other), flags | PTE_A | PTE_D);
    set_pte(page, frame | flags);
    set_pte(other, (*pte_of(other) & PTE_FRAME) | PTE_U | PTE_P);
    expect("store across into a read-only page", access(page + 8, CPL3, 0), ALLOWED);
    reset(CPL3);
    in.ebx = other - 2;
    EXPECT_TRAP("store across", store, VECTOR_PAGE_FAULT, 7);
    expect("no D in the second page", flags_of(other) & PTE_D, 0);
    /* Software's bits and the cache bits stay. */
    set_pte(page, frame | flags | 0xE00);
    expect("store", access(page, CPL3, 1), ALLOWED);
    expect("available bits", flags_of(page), flags | 0xE00 | PTE_A | PTE_D);
    /* A fetch sets A. RET is C3h. */
    MEMORY8(page) = 0xC3;
    set_pte(page, frame | PTE_U | PTE_P);
    ((void (*)(void))page)();
    expect("A by a fetch", flags_of(page), PTE_U | PTE_P | PTE_A);
}

static void write_protect(void) {
    u32 page = WINDOW_AT(2), frame = window_page(2, 0), cr0 = read_cr0();
    group("CR0.WP");
    for (u32 user = 0; user <= PTE_U; user += PTE_U) {
        set_pte(page, frame | user | PTE_P);
        expect("load, WP 1", access(page, CPL0, 0), ALLOWED);
        expect("store, WP 1", access(page, CPL0, 1), 3);
        write_cr0(cr0 & ~CR0_WP);
        expect("load, WP 0", access(page, CPL0, 0), ALLOWED);
        expect("no D yet", flags_of(page), user | PTE_P | PTE_A);
        expect("store, WP 0", access(page, CPL0, 1), ALLOWED);
        expect("stored", MEMORY32(frame), stored_value);
        expect("D", flags_of(page), user | PTE_P | PTE_A | PTE_D);
        expect("store at CPL 3, WP 0", access(page, CPL3, 1), 7);
        expect("load at CPL 3, WP 0", access(page, CPL3, 0), user ? ALLOWED : 5);
        write_cr0(cr0);
        expect("store, WP 1 again", access(page, CPL0, 1), 3);
        expect("load, WP 1 again", access(page, CPL0, 0), ALLOWED);
    }
}

static void protection(void) {
    u32 page = WINDOW + 0x400000, frame = frame_alloc(), table = frame_alloc(), cr0 = read_cr0();
    group("protection over two levels");
    for (u32 wp = 0; wp <= 1; wp++) {
        write_cr0(wp ? cr0 : cr0 & ~CR0_WP);
        for (u32 combination = 0; combination < 64; combination++) {
            u32 pde = combination & 7, pte = combination >> 3; /* P, W, U */
            set_pde(page, table | pde);
            *(u32 *)table = frame | pte;
            invlpg(page);
            for (u32 cpl = CPL0; cpl <= CPL3; cpl += 3)
                for (u32 write = 0; write <= 1; write++) {
                    u32 both = pde & pte, present = both & PTE_P;
                    u32 allowed = present && (cpl == 0 || (both & PTE_U)) && (!write || (both & PTE_W) || (cpl == 0 && !wp));
                    expect("access", access(page, cpl, write), allowed ? ALLOWED : present | write << 1 | (cpl ? 4 : 0));
                }
        }
    }
    write_cr0(cr0);
    set_pde(page, 0);
}

static void large_pages(void) {
    u32 flags = PDE_PS | PTE_U | PTE_W | PTE_P;
    group("4 MB pages");
    write_cr4(read_cr4() | CR4_PSE);
    MEMORY32(LARGE_FRAME + 0x123454) = 0xAAAA5555;
    set_pde(LARGE, LARGE_FRAME | flags);
    expect("load", access(LARGE + 0x10, CPL3, 0), ALLOWED);
    expect("PDE after a load", pde_flags(LARGE), flags | PTE_A);
    expect("store", access(LARGE + 0x3FFFFC, CPL3, 1), ALLOWED);
    expect("PDE after a store", pde_flags(LARGE), flags | PTE_A | PTE_D);
    expect("stored in the last word", MEMORY32(LARGE_FRAME + 0x3FFFFC), stored_value);
    expect("read in the middle", MEMORY32(LARGE + 0x123454), 0xAAAA5555);
    for (u32 i = 0; i < 64; i++) MEMORY32(LARGE + i * 0xF00C) = i * 0x01010101;
    for (u32 i = 0; i < 64; i++) expect("through the identity map", MEMORY32(LARGE_FRAME + i * 0xF00C), i * 0x01010101);
    for (u32 pde = 0; pde < 8; pde++) {
        set_pde(LARGE, LARGE_FRAME | PDE_PS | pde);
        for (u32 cpl = CPL0; cpl <= CPL3; cpl += 3)
            for (u32 write = 0; write <= 1; write++) {
                u32 present = pde & PTE_P;
                u32 allowed = present && (cpl == 0 || (pde & PTE_U)) && (!write || (pde & PTE_W));
                expect("access", access(LARGE + 0x7000, cpl, write), allowed ? ALLOWED : present | write << 1 | (cpl ? 4 : 0));
            }
    }
    /* A 4 MB page becomes a table, the table a 4 MB page, and the page moves to another frame. */
    u32 table = frame_alloc(), frame = frame_alloc();
    MEMORY32(frame) = 0x11111111;
    ((u32 *)table)[5] = frame | PTE_U | PTE_W | PTE_P;
    set_pde(LARGE, LARGE_FRAME | flags);
    MEMORY32(LARGE + 5 * PAGE_SIZE) = 0x22222222;
    set_pde(LARGE, table | PTE_U | PTE_W | PTE_P);
    expect("through the table", MEMORY32(LARGE + 5 * PAGE_SIZE), 0x11111111);
    expect("beside it", access(LARGE + 6 * PAGE_SIZE, CPL0, 1), 2);
    set_pde(LARGE, LARGE_FRAME | flags);
    expect("through the 4 MB page again", MEMORY32(LARGE + 5 * PAGE_SIZE), 0x22222222);
    expect("PDE without D", pde_flags(LARGE), flags | PTE_A);
    set_pde(LARGE, LARGE_FRAME_2 | flags);
    MEMORY32(LARGE + 0x1000) = 0x33333333;
    expect("the other frame", MEMORY32(LARGE_FRAME_2 + 0x1000), 0x33333333);
    /* A and D of a 4 MB page, cleared and set again. */
    set_pde(LARGE, LARGE_FRAME_2 | flags);
    MEMORY32(LARGE) = 1;
    expect("A and D again", pde_flags(LARGE), flags | PTE_A | PTE_D);
    /* Without CR4.PSE bit 7 of a PDE means nothing. */
    write_cr4(read_cr4() & ~CR4_PSE);
    ((u32 *)table)[7] = frame | PTE_U | PTE_W | PTE_P;
    set_pde(LARGE, table | flags);
    expect("PS without CR4.PSE", MEMORY32(LARGE + 7 * PAGE_SIZE), 0x11111111);
    set_pde(LARGE, 0);
    write_cr4(read_cr4() | CR4_PSE);
    expect("unmapped", access(LARGE, CPL0, 0), 0);
    write_cr4(read_cr4() & ~CR4_PSE);
}

static void invalidation(void) {
    u32 page = WINDOW_AT(8), frame = frame_alloc(), other = frame_alloc();
    group("INVLPG and CR3");
    MEMORY32(frame) = 0x600D0001;
    MEMORY32(other) = 0x600D0002;
    map_page(page, 0, 0);
    for (u32 i = 0; i < 4; i++) {
        invlpg(page); /* never present */
        invlpg(0x70000000 + i * PAGE_SIZE); /* not even a table */
        invlpg(0xFFFFF000);
        expect("not present", access(page, CPL0, 0), 0);
    }
    *pte_of(page) = frame | PTE_P; /* from not present to present: no INVLPG needed */
    expect("present", MEMORY32(page), 0x600D0001);
    set_pte(page, other | PTE_P);
    expect("another frame", MEMORY32(page), 0x600D0002);
    *pte_of(page) = frame | PTE_P;
    write_cr3(read_cr3());
    expect("after a load of the same CR3", MEMORY32(page), 0x600D0001);
    for (u32 i = 0; i < 100; i++) {
        *pte_of(page) = (i & 1 ? frame : other) | PTE_P;
        if (i % 3) write_cr3(read_cr3());
        else invlpg(page + (i & 0xFFF));
        expect("switched", MEMORY32(page), i & 1 ? 0x600D0001 : 0x600D0002);
    }
    set_pte(page, 0);
    expect("unmapped", access(page, CPL3, 0), 4);
    expect("unmapped", access(page, CPL3, 1), 6);
    /* More permission needs no INVLPG for correctness of the retry, but less does. */
    set_pte(page, frame | PTE_P);
    expect("read-only", access(page, CPL0, 1), 3);
    set_pte(page, frame | PTE_W | PTE_P);
    expect("writable", access(page, CPL0, 1), ALLOWED);
    set_pte(page, frame | PTE_P);
    expect("read-only again", access(page, CPL0, 1), 3);
    set_pte(page, frame | PTE_U | PTE_P);
    expect("user", access(page, CPL3, 0), ALLOWED);
    set_pte(page, frame | PTE_P);
    expect("no longer", access(page, CPL3, 0), 5);
    expect("kernel's still", access(page, CPL0, 0), ALLOWED);
}

#define SPACES 3
static void address_spaces(void) {
    u32 directories[SPACES], tables[SPACES], frames[SPACES][4], page = 0x58000000;
    group("address spaces");
    for (u32 s = 0; s < SPACES; s++) {
        directories[s] = frame_alloc();
        tables[s] = frame_alloc();
        memcpy((void *)directories[s], page_directory, PAGE_SIZE);
        ((u32 *)directories[s])[page >> 22] = tables[s] | PTE_U | PTE_W | PTE_P;
        for (u32 i = 0; i < 4; i++) {
            frames[s][i] = frame_alloc();
            MEMORY32(frames[s][i]) = s << 16 | i;
            ((u32 *)tables[s])[i] = frames[s][i] | PTE_U | PTE_W | PTE_P;
        }
    }
    for (u32 round = 0; round < 12; round++) {
        u32 s = round * 7 % SPACES;
        write_cr3(directories[s]);
        expect("CR3", read_cr3(), directories[s]);
        for (u32 i = 0; i < 4; i++) {
            u32 value = MEMORY32(page + i * PAGE_SIZE);
            expect("space", value & 0xFF0000, s << 16);
            MEMORY32(page + i * PAGE_SIZE) = value + 0x100;
        }
        /* The next space is edited while it is not active: two of its pages change places. */
        u32 *table = (u32 *)tables[(s + 1) % SPACES], first = table[0];
        table[0] = table[round % 4];
        table[round % 4] = first;
    }
    for (u32 s = 0; s < SPACES; s++) {
        u32 sum = 0;
        for (u32 i = 0; i < 4; i++) {
            sum += MEMORY32(frames[s][i]);
            expect("D in each PTE", ((u32 *)tables[s])[i] & (PTE_A | PTE_D), PTE_A | PTE_D);
        }
        expect("sum of a space", sum, 4 * (s << 16) + 6 + 4 * 0x400);
    }
    /* A and D of one space are not the other's. */
    for (u32 s = 0; s < SPACES; s++)
        for (u32 i = 0; i < 4; i++) ((u32 *)tables[s])[i] &= ~(PTE_A | PTE_D);
    write_cr3(directories[1]);
    expect("store in space 1", access(page + PAGE_SIZE, CPL3, 1), ALLOWED);
    write_cr3(directories[2]);
    expect("load in space 2", access(page + PAGE_SIZE, CPL3, 0), ALLOWED);
    expect("space 0", ((u32 *)tables[0])[1] & (PTE_A | PTE_D), 0);
    expect("space 1", ((u32 *)tables[1])[1] & (PTE_A | PTE_D), PTE_A | PTE_D);
    expect("space 2", ((u32 *)tables[2])[1] & (PTE_A | PTE_D), PTE_A);
    /* One table in two spaces. */
    ((u32 *)directories[0])[page >> 22] = tables[1] | PTE_U | PTE_P; /* read-only here */
    write_cr3(directories[0]);
    expect("shared table, read-only", access(page, CPL3, 1), 7);
    expect("shared table", access(page, CPL3, 0), ALLOWED);
    write_cr3(directories[1]);
    expect("shared table, writable", access(page, CPL3, 1), ALLOWED);
    write_cr3((u32)page_directory);
    expect("the first space has nothing there", access(page, CPL0, 0), 0);
}

static void global_pages(void) {
    u32 page = WINDOW_AT(9), frame = frame_alloc(), other = frame_alloc();
    u32 directory = frame_alloc();
    memcpy((void *)directory, page_directory, PAGE_SIZE);
    group("global pages");
    MEMORY32(frame) = 0x61;
    MEMORY32(other) = 0x62;
    map_page(page, frame, PTE_G | PTE_W | PTE_P);
    invlpg(page);
    for (u32 i = 0; i < 4; i++) {
        expect("global page", MEMORY32(page), 0x61 + i);
        MEMORY32(page)++;
        write_cr3(i & 1 ? (u32)page_directory : directory);
    }
    expect("A, D and G", flags_of(page), PTE_G | PTE_D | PTE_A | PTE_W | PTE_P);
    set_pte(page, other | PTE_G | PTE_W | PTE_P);
    expect("INVLPG flushes a global page", MEMORY32(page), 0x62);
    *pte_of(page) = frame | PTE_G | PTE_W | PTE_P;
    write_cr4(read_cr4() & ~CR4_PGE);
    write_cr4(read_cr4() | CR4_PGE);
    expect("CR4.PGE flushes global pages", MEMORY32(page), 0x65);
    set_pte(page, frame | PTE_P); /* not global: CR3 is enough */
    expect("not global", MEMORY32(page), 0x65);
    *pte_of(page) = other | PTE_P;
    write_cr3(read_cr3());
    expect("not global, after CR3", MEMORY32(page), 0x62);
    write_cr4(read_cr4() & ~CR4_PGE);
    *pte_of(page) = frame | PTE_G | PTE_P;
    invlpg(page);
    expect("G without CR4.PGE", MEMORY32(page), 0x65);
    *pte_of(page) = other | PTE_G | PTE_P;
    write_cr3(read_cr3());
    expect("G without CR4.PGE, after CR3", MEMORY32(page), 0x62);
    write_cr4(read_cr4() | CR4_PGE);
}

static void paging_off(void) {
    u32 page = WINDOW_AT(10), frame = frame_alloc(), other = frame_alloc(), cr0 = read_cr0();
    u32 *pte;
    map_page(page, frame, PTE_W | PTE_P);
    invlpg(page);
    pte = pte_of(page);
    MEMORY32(frame) = 0x0FF;
    MEMORY32(other) = 0x0FE;
    group("paging off and on");
    for (u32 round = 0; round < 4; round++) {
        expect("on", MEMORY32(page), round & 1 ? 0x0FE : 0x0FF);
        write_cr0(cr0 & ~CR0_PG);
        expect("off", read_cr0() & CR0_PG, 0);
        *pte = (round & 1 ? frame : other) | PTE_W | PTE_P; /* while it is off */
        MEMORY32(0x00E00000 + round * 4) = 0xB1C00000 + round; /* any physical address, read-only pages too */
        write_cr3((u32)page_directory);
        write_cr0(cr0);
        expect("stored while off", MEMORY32(0x00E00000 + round * 4), 0xB1C00000 + round);
        expect("A and D are not touched while off", *pte & (PTE_A | PTE_D), 0);
    }
    /* At CPL 3 without paging there is no protection by page. */
    u32 kernel_page = WINDOW_AT(10);
    expect("kernel's page at CPL 3", access(kernel_page, CPL3, 0), 5);
    write_cr0(cr0 & ~CR0_PG);
    u32 result = access(0x00E00000, CPL3, 1);
    write_cr0(cr0);
    expect("paging off, CPL 3", result, ALLOWED);
    expect("stored by CPL 3", MEMORY32(0x00E00000), stored_value);
    /* Another directory is loaded while paging is off. */
    u32 directory = frame_alloc();
    memcpy((void *)directory, page_directory, PAGE_SIZE);
    ((u32 *)directory)[WINDOW >> 22] = 0;
    write_cr0(cr0 & ~CR0_PG);
    write_cr3(directory);
    write_cr0(cr0);
    expect("another directory", access(page, CPL0, 0), 0);
    write_cr3((u32)page_directory);
    expect("the first again", access(page, CPL0, 0), ALLOWED);
}

void program_main(void) {
    test_init();
    accessed_dirty();
    write_protect();
    protection();
    large_pages();
    invalidation();
    address_spaces();
    global_pages();
    paging_off();
    groups_end();
}

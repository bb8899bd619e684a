/*
 * PAE paging and execute-disable (SDM volume 3, 4.4 and 4.6): 2 MB pages, rights over both levels, reserved bits, A and
 * D, address spaces whose pointer tables share a page, INVLPG and global pages, entries that change by halves, tables
 * mapped in themselves, frames beyond 4 GB, PAE on and off. Changes that may be cached are followed by INVLPG or a CR3
 * load. What QEMU does not do as the manual says (it has no PDPTE registers) is in t-strict.
 */
#include "pae.h"

#define LARGE 0xB0000000u       /* linear address of a 2 MB page, under the third pointer entry */
#define LARGE_FRAME 0x00800000u /* 8 to 10 MB, which the identity map shows as well */
#define LARGE_FRAME_2 0x00A00000u
#define RIGHTS (PTE_U | PTE_W | PTE_P)

static u32 new_page(u32 linear, u64 flags) {
    u32 frame = frame_alloc();
    MEMORY32(frame) = FETCH_CODE;
    pae_map(linear, frame, flags);
    invlpg(linear);
    return frame;
}
static void set_pte(u32 linear, u64 value) {
    *pae_pte(linear) = value;
    invlpg(linear);
}
static void set_pde(u32 linear, u64 value) {
    *pae_pde(linear) = value;
    write_cr3(read_cr3());
    invlpg(linear);
}
static u32 flags_of(u64 *entry) { return (u32)*entry & 0xFFF; }
/* The error code of an access that a reserved bit stops. QEMU leaves P out of it, which t-strict holds against it. */
static u32 reserved(u32 linear, u32 cpl, u32 kind) { return pae_access(linear, cpl, kind) | 1; }
static u32 code(u32 present, u32 cpl, u32 kind, u32 nxe) {
    return (present ? 1 : 0) | (kind == STORE ? 2 : 0) | (cpl ? 4 : 0) | (kind == FETCH && nxe ? 16 : 0);
}

static void on_and_off(void) {
    u32 page = WINDOW + 0x5000, there = frame_alloc();
    group("PAE on and off");
    pae_build();
    for (u32 n = 0; n < 4; n++) new_page((n << 30) + 0x3F000000u, RIGHTS);
    for (u32 round = 0; round < 4; round++) {
        expect("32-bit paging", read_cr4() & CR4_PAE, 0);
        map_page(page, there, PTE_W | PTE_P);
        invlpg(page);
        MEMORY32(page) = 0x32000000 + round;
        pae_on((u32)pae_pointers);
        expect("PAE paging", read_cr4() & CR4_PAE, CR4_PAE);
        expect("CR3", read_cr3(), (u32)pae_pointers);
        expect("stored before", MEMORY32(there), 0x32000000 + round);
        expect("not in these tables", pae_access(page, CPL3, STORE), 6);
        for (u32 n = 0; n < 4; n++) MEMORY32((n << 30) + 0x3F000004u) = n + round;
        for (u32 n = 0; n < 4; n++)
            expect("a page of each gigabyte", MEMORY32((u32)(*pae_pte((n << 30) + 0x3F000000u) & PAE_FRAME) + 4), n + round);
        pae_off();
    }
    pae_on((u32)pae_pointers);
}

static void accessed_dirty(void) {
    u32 page = WINDOW, other = page + PAGE_SIZE, frame = new_page(page, RIGHTS), frame2 = new_page(other, RIGHTS);
    group("accessed and dirty");
    for (u32 cpl = CPL0; cpl <= CPL3; cpl += 3) {
        set_pde(page, *pae_pde(page) & ~(u64)PTE_A);
        set_pte(page, frame | RIGHTS);
        set_pte(other, frame2 | RIGHTS);
        expect("load", pae_access(page, cpl, LOAD), ALLOWED);
        expect("PTE after a load", flags_of(pae_pte(page)), RIGHTS | PTE_A);
        expect("PDE after a load", flags_of(pae_pde(page)), RIGHTS | PTE_A);
        expect("store", pae_access(page + 8, cpl, STORE), ALLOWED);
        expect("PTE after a store", flags_of(pae_pte(page)), RIGHTS | PTE_A | PTE_D);
        expect("PDE after a store", flags_of(pae_pde(page)), RIGHTS | PTE_A);
        expect("the neighbour", flags_of(pae_pte(other)), RIGHTS);
        set_pte(page, frame | RIGHTS | PTE_A);
        expect("load", pae_access(page, cpl, LOAD), ALLOWED);
        expect("no D by a load", flags_of(pae_pte(page)), RIGHTS | PTE_A);
        expect("store", pae_access(page + 8, cpl, STORE), ALLOWED);
        expect("D by a store", flags_of(pae_pte(page)), RIGHTS | PTE_A | PTE_D);
        set_pte(page, frame | RIGHTS | 0xE00);
        expect("fetch", pae_access(page, cpl, FETCH), ALLOWED);
        expect("A by a fetch, software's bits kept", flags_of(pae_pte(page)), RIGHTS | PTE_A | 0xE00);
    }
    set_pte(page, frame | RIGHTS);
    set_pte(other, frame2 | RIGHTS);
    expect("store across", pae_access(other - 2, CPL3, STORE), ALLOWED);
    expect("first page", flags_of(pae_pte(page)), RIGHTS | PTE_A | PTE_D);
    expect("second page", flags_of(pae_pte(other)), RIGHTS | PTE_A | PTE_D);
    MEMORY32(frame2) = FETCH_CODE;
}

static void protection(void) {
    u32 page = 0x80400000u, frame = frame_alloc(), table = frame_alloc(), cr0 = read_cr0();
    MEMORY32(frame) = FETCH_CODE;
    group("protection over two levels");
    for (u32 wp = 0; wp <= 1; wp++) {
        write_cr0(wp ? cr0 : cr0 & ~CR0_WP);
        for (u32 combination = 0; combination < 64; combination++) {
            u32 pde = combination & 7, pte = combination >> 3, both = pde & pte, present = both & PTE_P; /* P, W, U */
            set_pde(page, table | pde);
            *(u64 *)table = frame | pte;
            invlpg(page);
            for (u32 cpl = CPL0; cpl <= CPL3; cpl += 3)
                for (u32 kind = LOAD; kind <= FETCH; kind++) {
                    u32 writable = (both & PTE_W) || (cpl == 0 && !wp);
                    u32 allowed = present && (cpl == 0 || (both & PTE_U)) && (kind != STORE || writable);
                    expect("access", pae_access(page, cpl, kind), allowed ? ALLOWED : code(present, cpl, kind, 0));
                    MEMORY32(frame) = FETCH_CODE;
                }
        }
    }
    write_cr0(cr0);
    set_pde(page, 0);
}

static void large_pages(void) {
    u64 flags = PDE_PS | RIGHTS;
    group("2 MB pages");
    for (u32 pse = 0; pse <= 1; pse++) { /* CR4.PSE has no say */
        write_cr4(pse ? read_cr4() | CR4_PSE : read_cr4() & ~CR4_PSE);
        MEMORY32(LARGE_FRAME + 0x123454) = 0xAAAA5555;
        set_pde(LARGE, LARGE_FRAME | flags);
        expect("load", pae_access(LARGE + 0x10, CPL3, LOAD), ALLOWED);
        expect("PDE after a load", flags_of(pae_pde(LARGE)), flags | PTE_A);
        expect("store", pae_access(LARGE + 0x1FFFFC, CPL3, STORE), ALLOWED);
        expect("PDE after a store", flags_of(pae_pde(LARGE)), flags | PTE_A | PTE_D);
        expect("stored in the last word", MEMORY32(LARGE_FRAME + 0x1FFFFC), pae_stored);
        expect("read in the middle", MEMORY32(LARGE + 0x123454), 0xAAAA5555);
    }
    write_cr4(read_cr4() & ~CR4_PSE);
    for (u32 i = 0; i < 64; i++) MEMORY32(LARGE + i * 0x7004) = i * 0x01010101;
    for (u32 i = 0; i < 64; i++) expect("through the identity map", MEMORY32(LARGE_FRAME + i * 0x7004), i * 0x01010101);
    MEMORY32(LARGE_FRAME + 0x7000) = FETCH_CODE;
    for (u32 pde = 0; pde < 8; pde++) {
        set_pde(LARGE, LARGE_FRAME | PDE_PS | pde);
        for (u32 cpl = CPL0; cpl <= CPL3; cpl += 3)
            for (u32 kind = LOAD; kind <= FETCH; kind++) {
                u32 present = pde & PTE_P, allowed = present && (cpl == 0 || (pde & PTE_U)) && (kind != STORE || (pde & PTE_W));
                expect("access", pae_access(LARGE + 0x7000, cpl, kind), allowed ? ALLOWED : code(present, cpl, kind, 0));
                MEMORY32(LARGE_FRAME + 0x7000) = FETCH_CODE;
            }
    }
    /* A 2 MB page becomes a table, the table a 2 MB page, and the page moves to another frame. */
    u32 table = frame_alloc(), frame = frame_alloc();
    MEMORY32(frame) = 0x11111111;
    ((u64 *)table)[5] = frame | RIGHTS;
    set_pde(LARGE, LARGE_FRAME | flags);
    MEMORY32(LARGE + 5 * PAGE_SIZE) = 0x22222222;
    set_pde(LARGE, table | RIGHTS);
    expect("through the table", MEMORY32(LARGE + 5 * PAGE_SIZE), 0x11111111);
    expect("beside it", pae_access(LARGE + 6 * PAGE_SIZE, CPL0, STORE), 2);
    set_pde(LARGE, LARGE_FRAME | flags);
    expect("through the 2 MB page again", MEMORY32(LARGE + 5 * PAGE_SIZE), 0x22222222);
    expect("PDE without D", flags_of(pae_pde(LARGE)), flags | PTE_A);
    set_pde(LARGE, LARGE_FRAME_2 | flags);
    MEMORY32(LARGE + 0x1000) = 0x33333333;
    expect("the other frame", MEMORY32(LARGE_FRAME_2 + 0x1000), 0x33333333);
    set_pde(LARGE, LARGE_FRAME_2 | flags);
    MEMORY32(LARGE) = 1;
    expect("A and D again", flags_of(pae_pde(LARGE)), flags | PTE_A | PTE_D);
    set_pde(LARGE, 0);
    expect("unmapped", pae_access(LARGE, CPL0, LOAD), 0);
}

static void execute_disable(void) {
    u32 eax, ebx, ecx, edx, page = WINDOW + 0x10000, frame = new_page(page, RIGHTS);
    group("execute-disable");
    cpuid(0x80000001, &eax, &ebx, &ecx, &edx);
    expect("CPUID.80000001:EDX.XD", edx >> 20 & 1, 1);
    expect("IA32_EFER.NXE at first", (u32)rdmsr(MSR_EFER) & EFER_NXE, 0);
    for (u32 cpl = CPL0; cpl <= CPL3; cpl += 3) {
        u32 user = cpl ? 4 : 0;
        /* Without NXE the bit is reserved, and no error code says that an access was a fetch. */
        set_nxe(0);
        set_pte(page, frame | RIGHTS | XD);
        expect("XD in a PTE without NXE, load", reserved(page, cpl, LOAD), 9 | user);
        expect("store", reserved(page, cpl, STORE), 11 | user);
        expect("fetch", reserved(page, cpl, FETCH), 9 | user);
        set_pte(page, 0);
        expect("fetch, not present", pae_access(page, cpl, FETCH), user);
        /* With it fetches are denied, and nothing else. */
        set_nxe(1);
        expect("fetch, not present", pae_access(page, cpl, FETCH), 16 | user);
        expect("load, not present", pae_access(page, cpl, LOAD), user);
        set_pte(page, XD);
        expect("fetch, not present with XD", pae_access(page, cpl, FETCH), 16 | user);
        set_pte(page, frame | RIGHTS | XD);
        expect("fetch with XD in the PTE", pae_access(page, cpl, FETCH), 17 | user);
        expect("A is not set by it", flags_of(pae_pte(page)), RIGHTS);
        expect("load", pae_access(page, cpl, LOAD), ALLOWED);
        expect("fetch after a load", pae_access(page, cpl, FETCH), 17 | user);
        expect("store", pae_access(page + 8, cpl, STORE), ALLOWED);
        expect("fetch after a store", pae_access(page, cpl, FETCH), 17 | user);
        set_pte(page, frame | RIGHTS);
        expect("fetch without XD", pae_access(page, cpl, FETCH), ALLOWED);
        expect("load", pae_access(page, cpl, LOAD), ALLOWED);
        set_pde(page, *pae_pde(page) | XD);
        expect("fetch with XD in the PDE", pae_access(page, cpl, FETCH), 17 | user);
        expect("store", pae_access(page + 8, cpl, STORE), ALLOWED);
        set_pde(page, *pae_pde(page) & ~XD);
        expect("fetch without XD in the PDE", pae_access(page, cpl, FETCH), ALLOWED);
        set_pde(LARGE, LARGE_FRAME | PDE_PS | RIGHTS | XD);
        MEMORY32(LARGE + 0x7000) = FETCH_CODE;
        expect("fetch with XD in a 2 MB PDE", pae_access(LARGE + 0x7000, cpl, FETCH), 17 | user);
        expect("load", pae_access(LARGE + 0x7000, cpl, LOAD), ALLOWED);
        set_pde(LARGE, LARGE_FRAME | PDE_PS | RIGHTS);
        expect("fetch without it", pae_access(LARGE + 0x7000, cpl, FETCH), ALLOWED);
    }
    /* A supervisor page denies the user with or without XD; an instruction that runs into an XD page faults there. */
    set_pte(page, frame | PTE_W | PTE_P | XD);
    expect("fetch of the user from a supervisor page", pae_access(page, CPL3, FETCH), 21);
    set_pte(page, frame | PTE_W | PTE_P);
    expect("the same without XD", pae_access(page, CPL3, FETCH), 21);
    u32 second = page + PAGE_SIZE, frame2 = new_page(second, RIGHTS | XD);
    set_pte(page, frame | RIGHTS);
    MEMORY16(page + 0xFFE) = 0x00B8; /* MOV EAX, imm32 whose last three bytes are on the next page */
    MEMORY8(frame2) = 0;
    MEMORY16(frame2 + 3) = FETCH_CODE;
    reset(CPL3);
    expect("an instruction across", run((u8 *)page + 0xFFE), VECTOR_PAGE_FAULT);
    expect("its error code", caught.frame.error_code, 21);
    expect("its CR2", caught.cr2, second);
    expect("its EIP", caught.frame.eip, page + 0xFFE);
    set_pte(second, frame2 | RIGHTS);
    reset(CPL3);
    expect("the same without XD", run((u8 *)page + 0xFFE), DONE);
    set_nxe(0);
}

static void reserved_bits(void) {
    static const u8 bits[] = {45, 51, 52, 60, 62};
    u32 page = WINDOW + 0x20000, frame = new_page(page, RIGHTS);
    group("reserved bits");
    for (u32 nxe = 0; nxe <= 1; nxe++) {
        set_nxe(nxe);
        for (u32 i = 0; i < sizeof bits; i++)
            for (u32 cpl = CPL0; cpl <= CPL3; cpl += 3)
                for (u32 kind = LOAD; kind <= FETCH; kind++) {
                    u64 bit = 1ull << bits[i];
                    set_pte(page, frame | RIGHTS | bit);
                    expect("in a PTE", reserved(page, cpl, kind), code(1, cpl, kind, nxe) | 8);
                    set_pte(page, bit);
                    expect("in a PTE with P clear", pae_access(page, cpl, kind), code(0, cpl, kind, nxe));
                    set_pte(page, frame | RIGHTS);
                    set_pde(page, *pae_pde(page) | bit);
                    expect("in a PDE", reserved(page, cpl, kind), code(1, cpl, kind, nxe) | 8);
                    set_pde(page, *pae_pde(page) & ~bit);
                    set_pde(LARGE, LARGE_FRAME | PDE_PS | RIGHTS | bit);
                    expect("in a 2 MB PDE", reserved(LARGE + 0x7000, cpl, kind), code(1, cpl, kind, nxe) | 8);
                }
    }
    for (u32 bit = 13; bit < 21; bit++) {
        set_pde(LARGE, LARGE_FRAME | PDE_PS | RIGHTS | 1u << bit);
        expect("bits 20:13 of a 2 MB PDE", reserved(LARGE + 0x7000, CPL0, LOAD), 9);
    }
    set_pde(LARGE, LARGE_FRAME | PDE_PS | RIGHTS | 1u << 12);
    expect("PAT of a 2 MB PDE is none", pae_access(LARGE + 0x7000, CPL0, LOAD), ALLOWED);
    set_pte(page, frame | RIGHTS | 0x80);
    expect("nor is PAT of a PTE", pae_access(page, CPL0, LOAD), ALLOWED);
    set_nxe(0);
}

#define SPACES 3
static void address_spaces(void) {
    u32 page = 0x58000000, directories[SPACES], tables[SPACES], frames[SPACES][4];
    group("address spaces");
    for (u32 s = 0; s < SPACES; s++) {
        u64 *pointers = pae_pointers + 4 * (s + 3); /* 32 bytes each, in one page */
        directories[s] = frame_alloc();
        tables[s] = frame_alloc();
        for (u32 n = 0; n < 4; n++) pointers[n] = pae_pointers[n];
        pointers[page >> 30] = directories[s] | PTE_P;
        ((u64 *)directories[s])[page >> 21 & 0x1FF] = tables[s] | RIGHTS;
        for (u32 i = 0; i < 4; i++) {
            frames[s][i] = frame_alloc();
            MEMORY32(frames[s][i]) = s << 16 | i;
            ((u64 *)tables[s])[i] = frames[s][i] | RIGHTS;
        }
    }
    for (u32 round = 0; round < 12; round++) {
        u32 s = round * 7 % SPACES, cr3 = (u32)(pae_pointers + 4 * (s + 3)) | (round & 3) << 3; /* with PWT and PCD */
        write_cr3(cr3);
        expect("CR3", read_cr3(), cr3);
        for (u32 i = 0; i < 4; i++) {
            u32 value = MEMORY32(page + i * PAGE_SIZE);
            expect("space", value & 0xFF0000, s << 16);
            MEMORY32(page + i * PAGE_SIZE) = value + 0x100;
        }
        /* The next space is edited while it is not active: two of its pages change places. */
        u64 *table = (u64 *)tables[(s + 1) % SPACES], first = table[0];
        table[0] = table[round % 4];
        table[round % 4] = first;
    }
    for (u32 s = 0; s < SPACES; s++) {
        u32 sum = 0;
        for (u32 i = 0; i < 4; i++) {
            sum += MEMORY32(frames[s][i]);
            expect("D in each PTE", (u32)((u64 *)tables[s])[i] & (PTE_A | PTE_D), PTE_A | PTE_D);
        }
        expect("sum of a space", sum, 4 * (s << 16) + 6 + 4 * 0x400);
    }
    /* One table in two spaces, read-only in one of them, and one directory twice in a space. */
    ((u64 *)directories[0])[page >> 21 & 0x1FF] = tables[1] | PTE_U | PTE_P;
    write_cr3((u32)(pae_pointers + 12));
    expect("shared table, read-only", pae_access(page, CPL3, STORE), 7);
    write_cr3((u32)(pae_pointers + 16));
    expect("shared table, writable", pae_access(page, CPL3, STORE), ALLOWED);
    pae_pointers[16 + 3] = directories[1] | PTE_P;
    write_cr3((u32)(pae_pointers + 16));
    MEMORY32(page + 0x80000000u) = 0xABCD0001;
    expect("one directory at two places", MEMORY32(page), 0xABCD0001);
    pae_pointers[16 + 3] = 0;
    write_cr3((u32)(pae_pointers + 16));
    expect("a pointer entry that is not present", pae_access(page + 0x80000000u, CPL3, STORE), 6);
    write_cr3((u32)pae_pointers);
    expect("the first space has nothing there", pae_access(page, CPL0, LOAD), 0);
}

static void invalidation(void) {
    u32 page = WINDOW + 0x30000, frame = new_page(page, PTE_P), other = frame_alloc();
    group("INVLPG and global pages");
    MEMORY32(frame) = 0x600D0001;
    MEMORY32(other) = 0x600D0002;
    for (u32 n = 0; n < 4; n++) pae_pointers[4 * 8 + n] = pae_pointers[n];
    for (u32 i = 0; i < 60; i++) {
        *pae_pte(page) = (i & 1 ? frame : other) | PTE_P;
        if (i % 3) write_cr3(read_cr3());
        else invlpg(page + (i & 0xFFF));
        expect("switched", MEMORY32(page), i & 1 ? 0x600D0001 : 0x600D0002);
    }
    for (u32 i = 0; i < 8; i++) {
        invlpg(0x70000000 + i * 0x10000000);
        *pae_pde(LARGE) = (i & 1 ? LARGE_FRAME : LARGE_FRAME_2) | PDE_PS | RIGHTS;
        invlpg(LARGE + i * 0x3F004);
        MEMORY32(LARGE + 0x100 + 4 * i) = i + 0x77;
        expect("the frame of a 2 MB page", MEMORY32((i & 1 ? LARGE_FRAME : LARGE_FRAME_2) + 0x100 + 4 * i), i + 0x77);
    }
    set_pte(page, frame | PTE_G | PTE_W | PTE_P);
    set_pde(LARGE, LARGE_FRAME | PDE_PS | PTE_G | RIGHTS);
    for (u32 i = 0; i < 4; i++) {
        expect("global page", MEMORY32(page), 0x600D0001 + i);
        MEMORY32(page)++;
        MEMORY32(LARGE) = i;
        write_cr3(i & 1 ? (u32)pae_pointers : (u32)(pae_pointers + 4 * 8));
        expect("global 2 MB page", MEMORY32(LARGE), i);
    }
    set_pte(page, other | PTE_G | PTE_W | PTE_P);
    expect("INVLPG flushes a global page", MEMORY32(page), 0x600D0002);
    *pae_pte(page) = frame | PTE_G | PTE_W | PTE_P;
    write_cr4(read_cr4() & ~CR4_PGE);
    write_cr4(read_cr4() | CR4_PGE);
    expect("CR4.PGE flushes global pages", MEMORY32(page), 0x600D0005);
    set_pte(page, 0);
}

SNIPPET(exchange, "7:\tcmpxchg8b (%edi)");

static void halves(void) {
    u32 page = WINDOW + 0x40000, frame = new_page(page, RIGHTS), other = frame_alloc();
    volatile u32 *entry = (volatile u32 *)pae_pte(page);
    group("entries that change by halves");
    set_nxe(1);
    MEMORY32(other) = FETCH_CODE;
    for (u32 round = 0; round < 4; round++) {
        expect("fetch", pae_access(page, CPL3, FETCH), ALLOWED);
        entry[1] = 0x80000000; /* the upper half alone: XD */
        invlpg(page);
        expect("XD alone", pae_access(page, CPL3, FETCH), 21);
        expect("low half", (u32)*pae_pte(page) & ~(PTE_A | PTE_D), frame | RIGHTS);
        entry[1] = 0x40000000; /* reserved */
        invlpg(page);
        expect("a reserved bit alone", reserved(page, CPL3, LOAD), 13);
        entry[0] = 0;
        invlpg(page);
        expect("P clear", pae_access(page, CPL3, LOAD), 4);
        entry[1] = 0;
        entry[0] = other | RIGHTS;
        invlpg(page);
        expect("another frame", pae_access(page, CPL3, FETCH), ALLOWED);
        MEMORY32(page + 12) = round + 0x99;
        expect("stored there", MEMORY32(other + 12), round + 0x99);
        entry[0] = frame | RIGHTS;
        invlpg(page);
        /* A byte, and bytes across two entries. */
        ((volatile u8 *)entry)[7] = 0x80;
        invlpg(page);
        expect("XD by a byte", pae_access(page, CPL0, FETCH), 17);
        MEMORY32((u32)entry + 6) = 0; /* the top of this entry and the bottom of the next */
        invlpg(page);
        expect("cleared by a store across", pae_access(page, CPL0, FETCH), ALLOWED);
        /* The whole entry at once: CMPXCHG8B. */
        *(u64 *)entry = frame | RIGHTS;
        reset(CPL0);
        in.edi = (u32)entry;
        in.eax = frame | RIGHTS;
        in.edx = 0;
        in.ebx = other | PTE_U | PTE_P;
        in.ecx = 0x80000000;
        expect("CMPXCHG8B", run(exchange), DONE);
        invlpg(page);
        expect("load", pae_access(page, CPL3, LOAD), ALLOWED);
        expect("store", pae_access(page, CPL3, STORE), 7);
        expect("fetch", pae_access(page, CPL3, FETCH), 21);
        *(u64 *)entry = frame | RIGHTS;
        invlpg(page);
    }
    /* Tables through themselves: the last entry of the first directory refers to it, so that its tables are a window. */
    u64 *directory = pae_pde(0);
    directory[511] = (u32)directory | PTE_W | PTE_P;
    write_cr3(read_cr3());
    u32 low = 0x00C00000u; /* a page of the identity map */
    volatile u64 *own = (volatile u64 *)(0x3FE00000u + (low >> 9));
    expect("a PTE in the window", (u32)own[0] & PTE_FRAME, low);
    own[0] = other | PTE_W | PTE_P;
    invlpg(low);
    MEMORY32(low + 20) = 0x5E1F;
    expect("mapped through it", MEMORY32(other + 20), 0x5E1F);
    own[0] = low | PTE_W | PTE_P;
    invlpg(low);
    volatile u64 *mapped = (volatile u64 *)0x3FFFF000u;
    expect("the directory in the window", (u32)mapped[511] & PTE_FRAME, (u32)directory);
    directory[511] = 0;
    write_cr3(read_cr3());
    expect("gone", pae_access(0x3FFFF000u, CPL0, LOAD), 0);
    set_nxe(0);
}

static void beyond(void) {
    u32 page = WINDOW + 0x50000;
    group("frames beyond 4 GB");
    new_page(page, RIGHTS);
    for (u32 i = 0; i < 4; i++) { /* nothing is there; no fault says so */
        set_pte(page, (0x800000000ull + (u64)i * 0x12345000) | RIGHTS);
        expect("load", pae_access(page + 0x123 * i, CPL3, LOAD), ALLOWED);
        expect("A", flags_of(pae_pte(page)), RIGHTS | PTE_A);
        expect("store", pae_access(page + 4 * i, CPL3, STORE), ALLOWED);
        expect("D", flags_of(pae_pte(page)), RIGHTS | PTE_A | PTE_D);
        expect("the frame is kept", (u32)(*pae_pte(page) >> 32), 8);
        set_pde(LARGE, 0xC00000000ull | PDE_PS | RIGHTS);
        expect("2 MB page", pae_access(LARGE + 0x4444, CPL0, STORE), ALLOWED);
    }
    set_pte(page, 0);
    set_pde(LARGE, 0);
}

static void ending(void) {
    group("32-bit paging again");
    u32 page = WINDOW + 0x60000, frame = new_page(page, RIGHTS);
    MEMORY32(page) = 0x32;
    set_nxe(1);
    pae_off(); /* NXE means nothing without PAE */
    map_page(WINDOW, frame, PTE_U | PTE_W | PTE_P);
    invlpg(WINDOW);
    MEMORY32(frame) = FETCH_CODE;
    expect("fetch", pae_access(WINDOW, CPL3, FETCH), ALLOWED);
    unmap_page(WINDOW);
    expect("no I/D in error codes", pae_access(WINDOW, CPL3, FETCH), 4);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~(u64)EFER_NXE);
}

void program_main(void) {
    test_init();
    on_and_off();
    accessed_dirty();
    protection();
    large_pages();
    execute_disable();
    reserved_bits();
    address_spaces();
    invalidation();
    halves();
    beyond();
    ending();
    groups_end();
}

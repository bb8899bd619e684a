#include "pae.h"

u64 pae_pointers[512] __attribute__((aligned(4096)));
u32 pae_stored = 0x5A5A0000;

SNIPPET(pae_load, "7:\tmovl (%ebx), %eax");
SNIPPET(pae_store, "7:\tmovl %eax, (%ebx)");

u64 *pae_pde(u32 linear) { return (u64 *)(u32)(pae_pointers[linear >> 30] & PAE_FRAME) + (linear >> 21 & 0x1FF); }

u64 *pae_pte(u32 linear) {
    u64 pde = *pae_pde(linear);
    return (pde & PTE_P) && !(pde & PDE_PS) ? (u64 *)(u32)(pde & PAE_FRAME) + (linear >> 12 & 0x1FF) : 0;
}

void pae_map(u32 linear, u64 physical, u64 flags) {
    if (!pae_pte(linear)) *pae_pde(linear) = frame_alloc() | PTE_U | PTE_W | PTE_P;
    *pae_pte(linear) = physical | flags;
}

void pae_build(void) {
    for (u32 n = 0; n < 4; n++) pae_pointers[n] = frame_alloc() | PTE_P;
    for (u32 page = 0; page < IDENTITY_END; page += PAGE_SIZE) pae_map(page, page, *pte_of(page) & 0xFFF);
}

static void change(u32 cr3, u32 cr4) {
    u32 cr0 = read_cr0();
    write_cr0(cr0 & ~CR0_PG);
    write_cr4(cr4);
    write_cr3(cr3);
    write_cr0(cr0);
}

void pae_on(u32 cr3) { change(cr3, read_cr4() | CR4_PAE); }
void pae_off(void) { change((u32)page_directory, read_cr4() & ~CR4_PAE); }

void set_nxe(u32 on) {
    u64 efer = rdmsr(MSR_EFER);
    wrmsr(MSR_EFER, on ? efer | EFER_NXE : efer & ~(u64)EFER_NXE);
    write_cr3(read_cr3());
}

u32 pae_access(u32 linear, u32 cpl, u32 kind) {
    reset(cpl);
    in.ebx = linear;
    in.eax = ++pae_stored;
    const u8 *code = kind == LOAD ? pae_load : kind == STORE ? pae_store : (const u8 *)linear;
    const u8 *at = kind == LOAD ? pae_load_at : kind == STORE ? pae_store_at : code;
    u32 vector = run(code);
    if (vector == DONE) return ALLOWED;
    if (vector != VECTOR_PAGE_FAULT) panic("trap %u instead of a page fault", vector);
    expect("CR2", caught.cr2, linear);
    expect("EIP", caught.frame.eip, (u32)at);
    return caught.frame.error_code;
}

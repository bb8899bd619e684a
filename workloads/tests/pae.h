/* PAE page tables for test guests: four directories, in which the first 16 MB are as the kernel's own tables have them. */
#ifndef PAE_H
#define PAE_H

#include "test.h"

#define CR4_PAE 0x020u
#define MSR_EFER 0xC0000080u
#define EFER_NXE 0x800u
#define PDE_PS 0x80ull
#define XD 0x8000000000000000ull
#define PAE_FRAME 0x000FFFFFFFFFF000ull

extern u64 pae_pointers[512]; /* a page, of which the first four entries are the table in use */

void pae_build(void);                             /* the tables; paging stays as it is */
void pae_on(u32 cr3);                             /* CR0.PG off, CR3 and CR4.PAE, CR0.PG on */
void pae_off(void);                               /* back to the kernel's tables, in the same way */
u64 *pae_pde(u32 linear);                         /* the entries in the tables of pae_build */
u64 *pae_pte(u32 linear);                         /* 0 without a page table */
void pae_map(u32 linear, u64 physical, u64 flags); /* makes the page table if need be; no INVLPG */
void set_nxe(u32 on);                             /* IA32_EFER.NXE, and everything but global pages flushed */

/* What an access does: ALLOWED, or the error code of its page fault, whose CR2 and EIP are checked. */
#define LOAD 0
#define STORE 1
#define FETCH 2 /* the page must hold FETCH_CODE at the address */
#define FETCH_CODE 0x82CDu /* INT 82h, which ends a run */
#define ALLOWED 0x100u
u32 pae_access(u32 linear, u32 cpl, u32 kind);
extern u32 pae_stored; /* what the last store stored */

#endif

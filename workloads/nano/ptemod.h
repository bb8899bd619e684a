/* The three ptemod nanobenchmarks: PTE_COUNT consecutive PTEs of two page tables of the active directory. */
#ifndef PTEMOD_H
#define PTEMOD_H
#include "nanobenchmark.h"

#define PTE_COUNT 2048u

void ptemod_install(void);
/* Sets the first n PTEs present, touches their pages, then makes them `flags`; and has the loop store `stored`. */
void ptemod_prepare(u32 n, u32 flags, u32 stored);
void ptemod_check(u32 n, u32 flags); /* the first n PTEs have these flags and their own frame */
#endif

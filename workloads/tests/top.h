/* The top 4 MB of the linear space, which most kernels leave alone and a monitor may want for itself. */
#ifndef TOP_H
#define TOP_H

#include "test.h"

#define TOP 0xFFC00000u

void top_init(void);                         /* an empty page table for it */
u32 top_page(u32 linear, u32 flags);         /* a page there on a frame of its own, whose address it returns */
void top_none(u32 linear);                   /* no page there any more */

#endif

/* What the kernels of this folder share: a line of output for each check, and the memory map of INT 15h AX=E820h. */
#ifndef BOOT_H
#define BOOT_H
#include "kernel.h"

struct memory_range {
    u64 base, length;
    u32 type;
} __attribute__((packed));
#define RANGE_AVAILABLE 1

void check(const char *what, int good); /* prints "what: ok"; or ends with status 1 */
u32 fnv1a(const u8 *bytes, u32 length);
void check_memory_map(const struct memory_range *ranges, u32 count, u32 stride);

#endif

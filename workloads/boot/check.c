#include "boot.h"

void check(const char *what, int good) {
    if (!good) panic("%s: wrong", what);
    kprintf("%s: ok\n", what);
}

u32 fnv1a(const u8 *bytes, u32 length) {
    u32 hash = 0x811C9DC5u;
    while (length-- > 0) hash = (hash ^ *bytes++) * 0x01000193u;
    return hash;
}

static const struct memory_range *range(const struct memory_range *ranges, u32 index, u32 stride) {
    return (const void *)((const u8 *)ranges + index * stride);
}

/* What every PC's map has: conventional memory, extended memory, nothing twice and no RAM where the display and ROMs are. */
void check_memory_map(const struct memory_range *ranges, u32 count, u32 stride) {
    u64 conventional = 0, extended = 0;
    int apart = 1, hole = 1;
    for (u32 i = 0; i < count; i++) {
        const struct memory_range *r = range(ranges, i, stride);
        if (r->type == RANGE_AVAILABLE && r->base == 0) conventional = r->length;
        if (r->type == RANGE_AVAILABLE && r->base == 0x100000) extended = r->length;
        if (r->type == RANGE_AVAILABLE && r->base < 0x100000 && r->base + r->length > 0xA0000) hole = 0;
        for (u32 j = 0; j < i; j++) {
            const struct memory_range *other = range(ranges, j, stride);
            if (r->base < other->base + other->length && other->base < r->base + r->length) apart = 0;
        }
    }
    check("memory map: more than 600 KB from 0 on", conventional > 600 * 1024 && conventional <= 0xA0000);
    check("memory map: more than 48 MB from 1 MB on", extended > 48 * 0x100000ull);
    check("memory map: no RAM from A0000 to FFFFF", hole);
    check("memory map: no address twice", apart);
}

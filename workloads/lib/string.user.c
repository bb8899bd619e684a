/* Memory and strings. These live in user pages, which the kernel may execute as well. */
#include "kernel.h"

void *memset(void *to, int value, u32 length) {
    void *at = to;
    __asm__ volatile("rep stosb" : "+D"(at), "+c"(length) : "a"(value) : "memory");
    return to;
}

void *memcpy(void *to, const void *from, u32 length) {
    void *at = to;
    __asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(length)::"memory");
    return to;
}

void *memmove(void *to, const void *from, u32 length) {
    u8 *d = to;
    const u8 *s = from;
    if (d <= s) return memcpy(to, from, length);
    d += length - 1;
    s += length - 1;
    __asm__ volatile("std\n\trep movsb\n\tcld" : "+D"(d), "+S"(s), "+c"(length)::"memory", "cc");
    return to;
}

int memcmp(const void *a, const void *b, u32 length) {
    const u8 *x = a, *y = b;
    for (u32 i = 0; i < length; i++)
        if (x[i] != y[i]) return x[i] - y[i];
    return 0;
}

u32 strlen(const char *s) {
    u32 length = 0;
    while (s[length]) length++;
    return length;
}

/* How a guest ends, and the digest of its results. */
#include <stdarg.h>

#include "kernel.h"

#define FNV_OFFSET_BASIS 0x811C9DC5u
#define FNV_PRIME 0x01000193u

void kvprintf(const char *format, va_list arguments);

static u32 digest_state = FNV_OFFSET_BASIS;

void digest(u32 word) {
    for (int i = 0; i < 4; i++) {
        digest_state = (digest_state ^ (word & 0xFF)) * FNV_PRIME;
        word >>= 8;
    }
}

void exit(u32 status) {
    cli();
    kprintf("digest 0x%08x\n", digest_state);
    kprintf("exit %u\n", status);
    outl(PORT_DIGEST, digest_state);
    outl(PORT_EXIT, status);
    for (;;) hlt(); /* a machine without the exit port */
}

void panic(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    kprintf("panic: ");
    kvprintf(format, arguments);
    kprintf("\n");
    va_end(arguments);
    exit(1);
}

/* The multiboot command line: words of the form name=number, decimal. */
#include "kernel.h"

#define MULTIBOOT_LOADER_MAGIC 0x2BADB002u
#define INFO_MEMORY 0x1u
#define INFO_CMDLINE 0x4u
#define MEMORY_NEEDED_KB ((FRAMES_END >> 10) - 1024) /* above the first megabyte */

struct multiboot_info {
    u32 flags, mem_lower, mem_upper, boot_device, cmdline;
};

/* A copy, since the loader may have put the original where the kernel allocates frames. */
static char command_line[256];

void parameters_init(u32 multiboot_magic, u32 multiboot_info) {
    const struct multiboot_info *info = (const struct multiboot_info *)multiboot_info;
    if (multiboot_magic != MULTIBOOT_LOADER_MAGIC) return; /* a plain ELF loader: all defaults */
    if ((info->flags & INFO_MEMORY) && info->mem_upper < MEMORY_NEEDED_KB)
        panic("a machine of 16 MB is needed; %u KB above 1 MB found", info->mem_upper);
    if (info->flags & INFO_CMDLINE) {
        const char *from = (const char *)info->cmdline;
        for (u32 i = 0; i < sizeof command_line - 1 && from[i]; i++) command_line[i] = from[i];
    }
}

u32 parameter(const char *name, u32 default_value) {
    u32 length = strlen(name);
    for (const char *p = command_line; *p; p++) {
        if (p != command_line && p[-1] != ' ') continue;
        if (memcmp(p, name, length) != 0 || p[length] != '=') continue;
        p += length + 1;
        if (*p < '0' || *p > '9') panic("command line: %s needs a decimal number", name);
        u32 value = 0;
        while (*p >= '0' && *p <= '9') value = value * 10 + (u32)(*p++ - '0');
        if (*p && *p != ' ') panic("command line: %s needs a decimal number", name);
        return value;
    }
    return default_value;
}

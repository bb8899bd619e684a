/* A multiboot kernel that looks at what it is told, its modules above all. */
#include "boot.h"

#define MAGIC 0x2BADB002u
#define FLAG_MEMORY 0x001u
#define FLAG_COMMAND_LINE 0x004u
#define FLAG_MODULES 0x008u
#define FLAG_MEMORY_MAP 0x040u
#define FLAG_LOADER 0x200u

struct information {
    u32 flags, memory_lower, memory_upper, boot_device;
    const char *command_line;
    u32 modules;
    const struct module *module;
    u32 symbols[4], map_length;
    const u8 *map;
    u32 drives[2], configuration;
    const char *loader;
};

struct module {
    const u8 *start, *end;
    const char *string;
    u32 reserved;
};

extern const u8 memory_end[];

/* What follows the name of the file, which depends on who has loaded it. */
static const char *arguments(const char *line) {
    while (*line && *line != ' ') line++;
    return *line ? line + 1 : line;
}

void boot_main(u32 eax, u32 ebx, u32 esi) {
    const struct information *information = (const void *)ebx;
    serial_init();
    check("magic number", eax == MAGIC);
    check("flags", (information->flags & (FLAG_MEMORY | FLAG_COMMAND_LINE | FLAG_MEMORY_MAP | FLAG_LOADER)) ==
                       (FLAG_MEMORY | FLAG_COMMAND_LINE | FLAG_MEMORY_MAP | FLAG_LOADER));
    check("loader's name", information->loader[0] != 0);
    check("lower memory", information->memory_lower >= 600 && information->memory_lower <= 640);
    check("upper memory", information->memory_upper > 48 * 1024);
    /* An entry's size, 20, comes before it. */
    check_memory_map((const void *)(information->map + 4), information->map_length / 24, 24);
    if (!(information->flags & FLAG_MODULES)) kprintf("no modules\n");
    for (u32 i = 0; (information->flags & FLAG_MODULES) && i < information->modules; i++) {
        const struct module *module = &information->module[i];
        check("module: on a page, behind the kernel", ((u32)module->start & 4095) == 0 && module->start >= memory_end);
        kprintf("module %u: \"%s\", %u bytes, hash %08x\n", i, arguments(module->string), (u32)(module->end - module->start),
                fnv1a(module->start, (u32)(module->end - module->start)));
    }
    exit(0);
}

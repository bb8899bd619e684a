/*
 * INT 19h: what is started after POST. The firmware configuration device (the one of QEMU: ports 510h and 511h, "fw_cfg")
 * may have a file opt/ringlab/boot, a struct boot_target, that says so; without it, it is the first hard disk.
 */
#include "bios.h"

#define SELECTOR 0x510
#define DATA 0x511
#define ITEM_SIGNATURE 0x0000
#define ITEM_DIRECTORY 0x0019

#define BOOT_SECTOR 0x7C00
#define BOOT_SIGNATURE 0x7DFE

ROM_TABLE char file_name[] = "opt/ringlab/boot";
ROM_TABLE char signature[] = "QEMU";

struct directory_entry {
    u8 size[4], item[2], reserved[2], name[56]; /* big-endian */
} PACKED;

static void configuration_read(u8 *to, u16 bytes) {
    for (u16 i = 0; i < bytes; i++) to[i] = inb(DATA);
}

static int same(const u8 *bytes, ROM char *text) {
    for (; *text; text++, bytes++)
        if (*bytes != (u8)*text) return 0;
    return 1;
}

/* Selects the file; its size, 0 if there is none. */
static u32 select_file(void) {
    struct directory_entry entry;
    u8 bytes[4];
    outw(SELECTOR, ITEM_SIGNATURE);
    configuration_read(bytes, 4);
    if (!same(bytes, signature)) return 0;
    outw(SELECTOR, ITEM_DIRECTORY);
    configuration_read(bytes, 4);
    for (u16 count = bytes[2] << 8 | bytes[3]; count > 0; count--) {
        configuration_read((u8 *)&entry, sizeof entry);
        if (!same(entry.name, file_name) || entry.name[sizeof file_name - 1] != 0) continue;
        outw(SELECTOR, entry.item[0] << 8 | entry.item[1]);
        return entry.size[2] << 8 | entry.size[3];
    }
    return 0;
}

void boot_target_init(void) {
    struct boot_target target;
    u32 size = select_file();
    if (size > sizeof target) size = sizeof target;
    for (u8 i = 0; i < sizeof target; i++) ((u8 *)&target)[i] = i < size ? inb(DATA) : 0;
    far_write(EBDA_SEGMENT, EBDA_BOOT_TARGET, &target, sizeof target);
}

u32 boot_flags(void) { return far_word(EBDA_SEGMENT, EBDA_BOOT_TARGET); }

void enter_target(struct boot_target *target) __attribute__((noreturn)); /* start.S */
void enter_boot_sector(u16 drive) __attribute__((noreturn));

/* One sector, by INT 13h as a program would: whoever has hooked it sees it. */
static int read_boot_sector(u8 drive) {
    u16 ax = 0x0201, failed;
    __asm__ volatile(
        "pushw %%es\n\txorw %%bx, %%bx\n\tmovw %%bx, %%es\n\tmovw %4, %%bx\n\tint $0x13\n\tsbbw %1, %1\n\tpopw %%es"
        : "+a"(ax), "=r"(failed)
        : "c"(0x0001), "d"((u16)drive), "i"(BOOT_SECTOR)
        : "ebx", "memory");
    return !failed && *(u16 __seg_gs *)BOOT_SIGNATURE == 0xAA55;
}

void boot_service(struct registers *r) {
    struct boot_target target;
    far_read(&target, EBDA_SEGMENT, EBDA_BOOT_TARGET, sizeof target);
    if (target.flags & BOOT_ENTRY) enter_target(&target);
    if (BDA->disk_count > 0 && read_boot_sector(boot_drive())) enter_boot_sector(boot_drive());
    __asm__ volatile("int $0x18");
}

ROM_TABLE char nothing[] = "No bootable disk\r\n";

void no_boot_service(struct registers *r) {
    print(nothing);
    for (;;) wait_for_interrupt();
}

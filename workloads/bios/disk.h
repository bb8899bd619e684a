/* A hard disk on one of the two IDE channels, as disk.c keeps it in the extended BIOS data area. */
#ifndef DISK_H
#define DISK_H
#include "bios.h"

#define SECTOR_BYTES 512
#define SECTOR_DWORDS (SECTOR_BYTES / 4)
#define MAX_DISKS 4

struct disk {
    u16 port, control;
    u8 device; /* value of the device register: LBA, device 0 or 1 */
    u8 irq;
    u32 sectors;
    /* As the disk has it, and as INT 13h shows it: at most 1024 cylinders. */
    u16 physical_cylinders, cylinders;
    u8 physical_heads, heads, sectors_per_track;
} PACKED;

/* ata.c: the commands, polled. They return the status of INT 13h, 0 for success. */
int ata_identify(struct disk *disk, u16 *data);
u8 ata_transfer(struct disk *disk, int write, u32 lba, u32 count, u32 linear, u16 *done);
u8 ata_command(struct disk *disk, u8 command, u32 lba, u16 count);
void ata_reset(struct disk *disk);

#define ATA_VERIFY 0x40
#define ATA_FLUSH 0xE7

#endif

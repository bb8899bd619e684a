/*
 * ATA disks by programmed input and output, polled (ATA/ATAPI-5). While a command runs the disk's interrupt is off, so
 * that a program which has opened interrupts sees none of ours.
 * Left out: addresses of cylinder, head and sector (a disk without LBA is not found), of 48 bits, and DMA.
 */
#include "disk.h"

#define DATA 0
#define COUNT 2
#define LBA_LOW 3
#define LBA_MIDDLE 4
#define LBA_HIGH 5
#define DEVICE 6
#define COMMAND 7
#define STATUS 7

#define BUSY 0x80
#define DATA_REQUEST 0x08
#define ERROR 0x01
#define DEVICE_FAULT 0x20

#define NO_INTERRUPT 0x0A
#define INTERRUPT 0x08
#define SOFTWARE_RESET 0x0E

#define READ_SECTORS 0x20
#define WRITE_SECTORS 0x30
#define IDENTIFY 0xEC
#define POLLS 0x400000u

#define DISK_BAD_COMMAND 0x01
#define DISK_CONTROLLER_FAILED 0x20
#define DISK_TIMEOUT 0x80

static void input_sector(u16 port, u16 segment) {
    u32 di = 0, count = SECTOR_DWORDS;
    __asm__ volatile("movw %w3, %%es\n\tcld\n\trep insl" : "+D"(di), "+c"(count) : "d"(port), "r"(segment) : "memory");
}

static void output_sector(u16 port, u16 segment) {
    u32 si = 0, count = SECTOR_DWORDS;
    __asm__ volatile("movw %w3, %%es\n\tcld\n\trep outsl %%es:(%%si), %%dx" : "+S"(si), "+c"(count) : "d"(port), "r"(segment) : "memory");
}

static void delay_400ns(struct disk *disk) {
    for (u8 i = 0; i < 4; i++) inb(disk->control);
}

/* The status when the disk is no longer busy; BUSY itself if it stays so. */
static u8 settled(struct disk *disk) {
    u8 status = BUSY;
    for (u32 i = 0; i < POLLS && (status & BUSY); i++) status = inb(disk->port + STATUS);
    return status;
}

static u8 status_of(u8 status) {
    if (status & BUSY) return DISK_TIMEOUT;
    return status & (ERROR | DEVICE_FAULT) ? DISK_CONTROLLER_FAILED : 0;
}

static u8 start(struct disk *disk, u8 command, u32 lba, u8 count) {
    outb(disk->control, NO_INTERRUPT);
    outb(disk->port + DEVICE, disk->device | (lba >> 24 & 0x0F));
    delay_400ns(disk);
    u8 status = settled(disk);
    if (status & BUSY) return status;
    outb(disk->port + COUNT, count);
    outb(disk->port + LBA_LOW, (u8)lba);
    outb(disk->port + LBA_MIDDLE, lba >> 8);
    outb(disk->port + LBA_HIGH, lba >> 16);
    outb(disk->port + COMMAND, command);
    delay_400ns(disk);
    return settled(disk);
}

static void finish(struct disk *disk) {
    inb(disk->port + STATUS);
    outb(disk->control, INTERRUPT);
}

u8 ata_command(struct disk *disk, u8 command, u32 lba, u16 count) {
    u8 status = start(disk, command, lba, (u8)count);
    finish(disk);
    return status_of(status);
}

/* Moves sectors between the disk and linear addresses below 1 MB; `done` counts them. */
u8 ata_transfer(struct disk *disk, int write, u32 lba, u32 count, u32 linear, u16 *done) {
    u8 result = 0;
    *done = 0;
    while (count > 0 && result == 0) {
        u16 chunk = count > 256 ? 256 : count;
        u8 status = start(disk, write ? WRITE_SECTORS : READ_SECTORS, lba, (u8)chunk);
        for (u16 i = 0; i < chunk; i++) {
            result = status_of(status);
            if (result == 0 && !(status & DATA_REQUEST)) result = DISK_CONTROLLER_FAILED;
            if (result != 0) break;
            u16 paragraph = linear >> 4;
            u16 port = disk->port + DATA;
            if (linear & 0x0F) { /* sector buffers are hardly ever unaligned */
                for (u16 j = 0; j < SECTOR_BYTES; j += 2) {
                    u16 at = (linear & 0x0F) + j;
                    if (write) outw(port, far_word(paragraph, at));
                    else put_far_word(paragraph, at, inw(port));
                }
            } else if (write) {
                output_sector(port, paragraph);
            } else {
                input_sector(port, paragraph);
            }
            linear += SECTOR_BYTES;
            delay_400ns(disk);
            status = settled(disk);
            if (write && (result = status_of(status)) != 0) break;
            (*done)++;
        }
        lba += chunk;
        count -= chunk;
    }
    finish(disk);
    return result;
}

/* Whether there is an ATA disk; `data` gets its 256 words. */
int ata_identify(struct disk *disk, u16 *data) {
    outb(disk->control, NO_INTERRUPT);
    outb(disk->port + DEVICE, disk->device);
    delay_400ns(disk);
    u8 status = inb(disk->port + STATUS);
    if (status == 0 || status == 0xFF) return 0;
    /* Registers of a device that exists keep what is written to them. */
    outb(disk->port + COUNT, 0x55);
    outb(disk->port + LBA_LOW, 0xAA);
    if (inb(disk->port + COUNT) != 0x55 || inb(disk->port + LBA_LOW) != 0xAA) return 0;
    status = start(disk, IDENTIFY, 0, 0);
    int found = status_of(status) == 0 && (status & DATA_REQUEST);
    for (u16 i = 0; found && i < 256; i++) data[i] = inw(disk->port + DATA);
    finish(disk);
    return found;
}

void ata_reset(struct disk *disk) {
    outb(disk->control, SOFTWARE_RESET);
    delay_400ns(disk);
    outb(disk->control, INTERRUPT);
    delay_400ns(disk);
    settled(disk);
}

/*
 * INT 13h for hard disks, 80h and up, with the extensions of EDD 1.1 (fixed disk access). Disks with more than 1024
 * cylinders are shown with more heads ("LBA-assisted" translation). There are no floppy drives; but a first disk of exactly
 * a floppy's size is shown as drive 00h, too, with a floppy's geometry, and boots as that: it is the image of one.
 * Left out: formatting, long sectors, buffers at flat 64-bit addresses, device paths (EDD 3.0).
 */
#include "disk.h"

#define BAD_COMMAND 0x01
#define SECTOR_NOT_FOUND 0x04

#define HARD_DISK 0x80
#define MAX_CYLINDERS 1024
#define SECTORS_PER_TRACK 63

#define IDENTIFY_CYLINDERS 1
#define IDENTIFY_HEADS 3
#define IDENTIFY_SECTORS_PER_TRACK 6
#define IDENTIFY_CAPABILITIES 49
#define IDENTIFY_SECTORS 60
#define CAPABILITY_LBA 0x0200

#define EDD_1_1 0x21
#define EDD_FIXED_DISK_ACCESS 0x0001
#define EDD_ENHANCED_DRIVE 0x0004

struct address_packet {
    u8 size, reserved;
    u16 count, offset, segment;
    u64 lba;
} PACKED;

struct drive_parameters {
    u16 size, flags;
    u32 cylinders, heads, sectors_per_track;
    u64 sectors;
    u16 bytes_per_sector, extension_offset, extension_segment;
} PACKED;
#define PARAMETERS_WITHOUT_EXTENSION 26
#define GEOMETRY_VALID 0x0002

struct drive_extension {
    u16 port, control;
    u8 device, vendor, irq, block, dma, pio;
    u16 options, reserved;
    u8 revision, checksum;
} PACKED;
#define OPTION_TRANSLATES 0x0008
#define OPTION_LBA 0x0010

static void clear(void *at, u16 bytes) {
    for (u16 i = 0; i < bytes; i++) ((u8 *)at)[i] = 0;
}

struct floppy {
    u16 sectors;
    u8 type, cylinders, heads, sectors_per_track;
};

ROM_TABLE struct floppy floppies[] = {
    {720, 1, 40, 2, 9}, {1440, 3, 80, 2, 9}, {2400, 2, 80, 2, 15}, {2880, 4, 80, 2, 18}, {5760, 6, 80, 2, 36},
};
#define EQUIPMENT_FLOPPY 0x0001

/* What INT 1Eh points to: step rate, motor times, 512 bytes, 18 sectors, gaps, filler, settle and start times. */
ROM_TABLE u8 floppy_parameters[11] = {0xDF, 0x02, 0x25, 0x02, 18, 0x1B, 0xFF, 0x6C, 0xF6, 0x0F, 0x08};

static u8 floppy_type(void) { return far_byte(EBDA_SEGMENT, EBDA_FLOPPY); }

u8 boot_drive(void) { return floppy_type() ? 0x00 : HARD_DISK; }

static u16 where(u8 index) { return EBDA_DISKS + index * sizeof(struct disk); }

static void load(u8 index, struct disk *disk) { far_read(disk, EBDA_SEGMENT, where(index), sizeof *disk); }

/* ---- Finding them. ---- */

/* Heads double until 1024 cylinders are enough, or there are 255. */
static void translate(struct disk *disk, u16 *identity) {
    disk->physical_cylinders = identity[IDENTIFY_CYLINDERS];
    disk->physical_heads = (u8)identity[IDENTIFY_HEADS];
    disk->sectors_per_track = (u8)identity[IDENTIFY_SECTORS_PER_TRACK];
    disk->cylinders = disk->physical_cylinders;
    disk->heads = disk->physical_heads;
    if (disk->cylinders <= MAX_CYLINDERS) return;
    u32 heads = 16;
    while (heads < 255 && disk->sectors / (heads * SECTORS_PER_TRACK) > MAX_CYLINDERS) heads *= 2;
    if (heads > 255) heads = 255;
    u32 cylinders = disk->sectors / (heads * SECTORS_PER_TRACK);
    disk->heads = heads;
    disk->cylinders = cylinders > MAX_CYLINDERS ? MAX_CYLINDERS : cylinders;
    disk->sectors_per_track = SECTORS_PER_TRACK;
}

static void show_as_floppy(struct disk *disk) {
    for (u8 i = 0; i < sizeof floppies / sizeof *floppies; i++) {
        if (disk->sectors != floppies[i].sectors) continue;
        disk->cylinders = floppies[i].cylinders;
        disk->heads = floppies[i].heads;
        disk->sectors_per_track = floppies[i].sectors_per_track;
        put_far_byte(EBDA_SEGMENT, EBDA_FLOPPY, floppies[i].type);
        VECTOR[0x1E].offset = (u16)(u32)floppy_parameters;
        VECTOR[0x1E].segment = BIOS_SEGMENT;
        BDA->equipment |= EQUIPMENT_FLOPPY;
    }
}

/* The parameter table that INT 41h and 46h point to. */
static void parameter_table(u8 index, struct disk *disk) {
    u16 offset = EBDA_DISK_PARAMETERS + index * 16;
    put_far_word(EBDA_SEGMENT, offset, disk->cylinders);
    put_far_byte(EBDA_SEGMENT, offset + 2, disk->heads);
    put_far_word(EBDA_SEGMENT, offset + 5, 0xFFFF); /* no write precompensation */
    put_far_byte(EBDA_SEGMENT, offset + 8, disk->heads > 8 ? 0x08 : 0);
    put_far_word(EBDA_SEGMENT, offset + 12, disk->cylinders);
    put_far_byte(EBDA_SEGMENT, offset + 14, disk->sectors_per_track);
    u8 number = index == 0 ? 0x41 : 0x46;
    VECTOR[number].offset = offset;
    VECTOR[number].segment = EBDA_SEGMENT;
}

void disk_init(void) {
    u16 identity[256];
    for (u8 slot = 0; slot < MAX_DISKS; slot++) {
        struct disk disk;
        disk.port = slot < 2 ? 0x1F0 : 0x170;
        disk.control = disk.port + 0x206;
        disk.irq = slot < 2 ? 14 : 15;
        disk.device = slot & 1 ? 0xF0 : 0xE0;
        if (!ata_identify(&disk, identity) || !(identity[IDENTIFY_CAPABILITIES] & CAPABILITY_LBA)) continue;
        disk.sectors = identity[IDENTIFY_SECTORS] | (u32)identity[IDENTIFY_SECTORS + 1] << 16;
        translate(&disk, identity);
        u8 index = BDA->disk_count++;
        if (index == 0) show_as_floppy(&disk);
        far_write(EBDA_SEGMENT, where(index), &disk, sizeof disk);
        if (index < 2) parameter_table(index, &disk);
    }
}

/* ---- The functions of the AT: cylinder, head, sector. ---- */

static u8 transfer(struct registers *r, struct disk *disk) {
    u16 cylinder = r->ch | (r->cl & 0xC0) << 2, done;
    u8 sector = r->cl & 0x3F, count = r->al, result;
    r->al = 0;
    if (count == 0 || count > 128) return BAD_COMMAND;
    if (sector == 0 || sector > disk->sectors_per_track || r->dh >= disk->heads || cylinder >= disk->cylinders)
        return SECTOR_NOT_FOUND;
    u32 lba = (cylinder * (u32)disk->heads + r->dh) * disk->sectors_per_track + sector - 1;
    if (lba + count > disk->sectors) return SECTOR_NOT_FOUND;
    if (r->ah == 0x04) {
        r->al = count;
        return ata_command(disk, ATA_VERIFY, lba, count);
    }
    result = ata_transfer(disk, r->ah == 0x03, lba, count, (u32)r->es * 16 + r->bx, &done);
    r->al = (u8)done;
    return result;
}

static u8 parameters(struct registers *r, struct disk *disk) {
    u16 last = disk->cylinders - 1;
    r->al = 0;
    r->ch = (u8)last;
    r->cl = (last >> 2 & 0xC0) | disk->sectors_per_track;
    r->dh = disk->heads - 1;
    if (r->dl < HARD_DISK) {
        r->bx = floppy_type();
        r->dl = 1;
        r->es = BIOS_SEGMENT;
        r->di = (u16)(u32)floppy_parameters;
        return 0;
    }
    r->dl = BDA->disk_count;
    return 0;
}

/* ---- The extensions: a packet at DS:SI. ---- */

static u8 extended_transfer(struct registers *r, struct disk *disk) {
    struct address_packet packet;
    u16 done = 0;
    u8 result;
    far_read(&packet, r->ds, r->si, sizeof packet);
    u32 lba = (u32)packet.lba;
    if (packet.size < sizeof packet) return BAD_COMMAND;
    if ((u32)(packet.lba >> 32) != 0 || lba + packet.count > disk->sectors || lba + packet.count < lba) {
        result = SECTOR_NOT_FOUND;
    } else if (r->ah == 0x44) {
        result = ata_command(disk, ATA_VERIFY, lba, packet.count);
        done = result == 0 ? packet.count : 0;
    } else if (r->ah == 0x47) {
        return 0;
    } else {
        result = ata_transfer(disk, r->ah == 0x43, lba, packet.count, (u32)packet.segment * 16 + packet.offset, &done);
    }
    put_far_word(r->ds, r->si + 2, done);
    return result;
}

static void fill_extension(struct disk *disk) {
    struct drive_extension extension;
    clear(&extension, sizeof extension);
    extension.port = disk->port;
    extension.control = disk->control;
    extension.device = disk->device;
    extension.irq = disk->irq;
    extension.options = OPTION_LBA | (disk->cylinders != disk->physical_cylinders ? OPTION_TRANSLATES : 0);
    extension.revision = 0x11;
    u8 sum = 0;
    for (u8 i = 0; i < sizeof extension - 1; i++) sum += ((u8 *)&extension)[i];
    extension.checksum = -sum;
    far_write(EBDA_SEGMENT, EBDA_DISK_EXTENSION, &extension, sizeof extension);
}

static u8 extended_parameters(struct registers *r, struct disk *disk) {
    u16 size = far_word(r->ds, r->si);
    if (size < PARAMETERS_WITHOUT_EXTENSION) return BAD_COMMAND;
    struct drive_parameters parameters;
    parameters.size = size < sizeof parameters ? PARAMETERS_WITHOUT_EXTENSION : sizeof parameters;
    parameters.flags = GEOMETRY_VALID;
    parameters.cylinders = disk->physical_cylinders;
    parameters.heads = disk->physical_heads;
    parameters.sectors_per_track = disk->sectors_per_track;
    parameters.sectors = disk->sectors;
    parameters.bytes_per_sector = SECTOR_BYTES;
    parameters.extension_offset = EBDA_DISK_EXTENSION;
    parameters.extension_segment = EBDA_SEGMENT;
    fill_extension(disk);
    far_write(r->ds, r->si, &parameters, parameters.size);
    return 0;
}

/* ---- The service. ---- */

static u8 hard_disk(struct registers *r, struct disk *disk) {
    switch (r->ah) {
        case 0x00: /* reset */
        case 0x0D:
            ata_reset(disk);
            return 0;
        case 0x02: /* read, write, verify */
        case 0x03:
        case 0x04:
            return transfer(r, disk);
        case 0x08:
            return parameters(r, disk);
        case 0x09: /* set drive parameters, seek, ready?, recalibrate, diagnose: fine */
        case 0x0C:
        case 0x10:
        case 0x11:
        case 0x14:
            return 0;
        case 0x41: /* extensions? */
            if (r->bx != 0x55AA) return BAD_COMMAND;
            r->bx = 0xAA55;
            r->cx = EDD_FIXED_DISK_ACCESS | EDD_ENHANCED_DRIVE;
            return 0;
        case 0x42: /* extended read, write, verify, seek */
        case 0x43:
        case 0x44:
        case 0x47:
            return extended_transfer(r, disk);
        case 0x48:
            return extended_parameters(r, disk);
    }
    return BAD_COMMAND;
}

void disk_service(struct registers *r) {
    u8 function = r->ah;
    if (function == 0x01) { /* status of the operation before */
        u8 status = BDA->disk_status;
        set_flag(r, CARRY, status != 0);
        r->ah = status;
        BDA->disk_status = 0;
        return;
    }
    int floppy = r->dl == 0 && floppy_type() != 0;
    u8 index = floppy ? 0 : r->dl - HARD_DISK;
    if ((r->dl < HARD_DISK && !floppy) || index >= BDA->disk_count || (floppy && function >= 0x41)) {
        if (function == 0x15) { /* type: no such drive */
            r->ax = 0;
            return succeed(r);
        }
        BDA->disk_status = BAD_COMMAND;
        if (function == 0x08) r->cx = r->dx = 0;
        return fail(r, BAD_COMMAND);
    }
    struct disk disk;
    load(index, &disk);
    if (function == 0x15 && floppy) { /* type: a floppy drive that does not tell of a change */
        r->ah = 0x01;
        return succeed(r);
    }
    if (function == 0x15) { /* type: a hard disk of CX:DX sectors */
        u32 sectors = (u32)disk.cylinders * disk.heads * disk.sectors_per_track;
        r->cx = sectors >> 16;
        r->dx = (u16)sectors;
        r->ah = 0x03;
        BDA->disk_status = 0;
        return succeed(r);
    }
    u8 status = hard_disk(r, &disk);
    BDA->disk_status = status;
    set_flag(r, CARRY, status != 0);
    /* AH=41h answers with a version there. */
    r->ah = function == 0x41 && status == 0 ? EDD_1_1 : status;
}

/* INT 13h on the disk that we come from; one of its last sectors is for writing. */
#include "services.h"

#define SCRATCH 250
#define BUFFER 0xF000

extern u8 drive;

struct packet {
    u8 size, reserved;
    u16 count, offset, segment;
    u64 lba;
} __attribute__((packed));

struct parameters {
    u16 size, flags;
    u32 cylinders, heads, sectors_per_track;
    u64 sectors;
    u16 bytes_per_sector;
} __attribute__((packed));

static struct registers r;

static int classic(u16 ax, u16 cx, u16 dx, u16 buffer) {
    clear(&r);
    r.ax = ax, r.bx = buffer, r.cx = cx, r.dx = dx;
    call(0x13, &r);
    return !(r.flags & CARRY);
}

static int extended(u8 function, u32 lba, u16 count, u16 buffer) {
    static struct packet packet;
    packet.size = sizeof packet, packet.count = count, packet.offset = buffer, packet.segment = 0, packet.lba = lba;
    clear(&r);
    r.ah = function, r.dl = drive, r.si = (u16)(u32)&packet;
    call(0x13, &r);
    return !(r.flags & CARRY);
}

static void fill(u16 at, u16 value) {
    for (u16 i = 0; i < 512; i += 2) LOW_WORD(at + i) = value + i;
}

static int same(u16 a, u16 b) {
    for (u16 i = 0; i < 512; i += 2)
        if (LOW_WORD(a + i) != LOW_WORD(b + i)) return 0;
    return 1;
}

static void test_extensions(void) {
    static struct parameters parameters;
    clear(&r);
    r.ah = 0x41, r.bx = 0x55AA, r.dl = drive;
    call(0x13, &r);
    check("13h extensions", !(r.flags & CARRY) && r.bx == 0xAA55 && r.ah >= 0x21 && (r.cx & 1));
    check("13h extended read", extended(0x42, 0, 1, BUFFER) && LOW_WORD(BUFFER + 510) == 0xAA55);
    fill(BUFFER, 0x1234);
    check("13h extended write", extended(0x43, SCRATCH, 1, BUFFER) && r.ah == 0);
    check("13h extended read back", extended(0x42, SCRATCH, 1, BUFFER + 512) && same(BUFFER, BUFFER + 512));
    check("13h extended verify", extended(0x44, 0, 2, 0));
    check("13h extended seek", extended(0x47, 5, 0, 0));
    parameters.size = sizeof parameters;
    clear(&r);
    r.ah = 0x48, r.dl = drive, r.si = (u16)(u32)&parameters;
    call(0x13, &r);
    check("13h extended parameters", !(r.flags & CARRY) && parameters.size == 26 && parameters.sectors == 1152 &&
                                         parameters.bytes_per_sector == 512);
    check("13h read beyond the end", !extended(0x42, (u32)parameters.sectors, 1, BUFFER) && r.ah != 0);
}

void test_disk(void) {
    check("13h drives", LOW_BYTE(0x475) == 1 && drive == 0x80);
    test_extensions();
    check("13h reset", classic(0x0000, 0, drive, 0) && r.ah == 0);
    check("13h parameters", classic(0x0800, 0, drive, 0) && r.dl == 1);
    u16 heads = r.dh + 1, sectors = r.cl & 0x3F;
    check("13h geometry", heads == 16 && sectors == 63);
    u16 scratch = 0x0000 | (SCRATCH % 63 + 1), head = SCRATCH / 63;
    check("13h read", classic(0x0201, scratch, head << 8 | drive, BUFFER + 1024) && r.al == 1 && same(BUFFER, BUFFER + 1024));
    fill(BUFFER, 0x4321);
    check("13h write", classic(0x0301, scratch, head << 8 | drive, BUFFER) && extended(0x42, SCRATCH, 1, BUFFER + 512) && same(BUFFER, BUFFER + 512));
    check("13h verify", classic(0x0401, 1, drive, 0));
    check("13h unaligned buffer", classic(0x0201, scratch, head << 8 | drive, BUFFER + 1025) &&
                                      LOW_WORD(BUFFER + 1025) == 0x4321 && LOW_WORD(BUFFER + 1025 + 510) == 0x4321 + 510);
    check("13h type", classic(0x1500, 0, drive, 0) && r.ah == 3 && r.cx == 0 && r.dx >= 1008);
    check("13h sector 0", !classic(0x0201, 0, drive, BUFFER) && r.ah != 0);
    u8 status = r.ah;
    classic(0x0100, 0, drive, 0);
    check("13h status", r.ah == status);
    check("13h no second disk", !classic(0x0201, 1, drive + 1, BUFFER));
    check("13h no floppy", !classic(0x0201, 1, 0, BUFFER));
}

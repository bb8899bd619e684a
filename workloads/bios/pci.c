/*
 * INT 1Ah AH=B1h: PCI BIOS 2.1 in real mode, by configuration mechanism #1. Bus 0 is all there is.
 * Left out: special cycles, interrupt routing, the 32-bit entry.
 */
#include "bios.h"

#define ADDRESS 0xCF8
#define DATA 0xCFC
#define ENABLE 0x80000000u

#define SUCCESSFUL 0x00
#define NOT_SUPPORTED 0x81
#define BAD_VENDOR 0x83
#define NOT_FOUND 0x86
#define BAD_REGISTER 0x87

#define VENDOR_AND_DEVICE 0x00
#define CLASS_AND_REVISION 0x08
#define HEADER_TYPE 0x0C
#define MULTIFUNCTION 0x00800000u

static u32 read_configuration(u16 location, u8 offset) {
    outl(ADDRESS, ENABLE | (u32)location << 8 | (offset & 0xFC));
    return inl(DATA);
}

static int present(void) {
    outl(ADDRESS, ENABLE);
    return inl(ADDRESS) == ENABLE;
}

/* The index-th function whose register equals `value` after the shift, in BX; whether there is one. */
static int find(struct registers *r, u8 offset, u8 shift, u32 value) {
    u16 index = r->si;
    for (u16 location = 0; location < 0x100; location++) {
        if (read_configuration(location, VENDOR_AND_DEVICE) == 0xFFFFFFFF) {
            if ((location & 7) == 0) location |= 7;
            continue;
        }
        if (read_configuration(location, offset) >> shift == value && index-- == 0) {
            r->bx = location;
            return 1;
        }
        if ((location & 7) == 0 && !(read_configuration(location, HEADER_TYPE) & MULTIFUNCTION)) location |= 7;
    }
    return 0;
}

static void done(struct registers *r, u8 status) {
    r->ah = status;
    set_flag(r, CARRY, status != SUCCESSFUL);
}

void pci_bios(struct registers *r) {
    if (!present()) return fail(r, r->ah);
    u8 bytes = 1 << (r->al & 3);
    switch (r->al) {
        case 0x01: /* installation check: "PCI ", mechanism #1, version 2.10, last bus 0 */
            r->edx = 0x20494350;
            r->al = 0x01;
            r->bx = 0x0210;
            r->cl = 0;
            return done(r, SUCCESSFUL);
        case 0x02:
            if (r->dx == 0xFFFF) return done(r, BAD_VENDOR);
            return done(r, find(r, VENDOR_AND_DEVICE, 0, (u32)r->cx << 16 | r->dx) ? SUCCESSFUL : NOT_FOUND);
        case 0x03:
            return done(r, find(r, CLASS_AND_REVISION, 8, r->ecx & 0xFFFFFF) ? SUCCESSFUL : NOT_FOUND);
        case 0x08: /* read byte, word, dword of BX at DI */
        case 0x09:
        case 0x0A: {
            if (r->di > 0xFF || (r->di & (bytes - 1))) return done(r, BAD_REGISTER);
            u32 value = read_configuration(r->bx, (u8)r->di) >> (r->di & 3) * 8;
            if (bytes == 1) r->cl = (u8)value;
            else if (bytes == 2) r->cx = (u16)value;
            else r->ecx = value;
            return done(r, SUCCESSFUL);
        }
        case 0x0B: /* write byte, word, dword */
        case 0x0C:
        case 0x0D: {
            bytes = 1 << (r->al - 0x0B);
            if (r->di > 0xFF || (r->di & (bytes - 1))) return done(r, BAD_REGISTER);
            outl(ADDRESS, ENABLE | (u32)r->bx << 8 | (r->di & 0xFC));
            u16 port = DATA + (r->di & 3);
            if (bytes == 1) outb(port, r->cl);
            else if (bytes == 2) outw(port, r->cx);
            else outl(port, r->ecx);
            return done(r, SUCCESSFUL);
        }
    }
    done(r, NOT_SUPPORTED);
}

/* INT 15h. */
#include "services.h"

static struct registers r;

struct range {
    u64 base, length;
    u32 type;
} __attribute__((packed));

static void test_memory(void) {
    static struct range range;
    u64 extended = 0;
    u8 count = 0;
    clear(&r);
    do {
        r.eax = 0xE820, r.edx = 0x534D4150, r.ecx = sizeof range, r.di = (u16)(u32)&range, r.es = 0;
        call(0x15, &r);
        if (r.flags & CARRY) break;
        if (range.base == 0x100000 && range.type == 1) extended = range.length;
        count++;
    } while (r.ebx != 0 && count < 50 && r.eax == 0x534D4150);
    check("15h memory map", count >= 4 && extended > 48 * 1024 * 1024);
    u32 kb = (u32)(extended >> 10);
    call_ax(0x15, 0xE801, &r);
    u32 total = r.ax + r.bx * 64u;
    check("15h memory sizes", !(r.flags & CARRY) && r.ax == 15 * 1024 && total >= kb && total < kb + 1024 && r.cx == r.ax && r.dx == r.bx);
    call_ax(0x15, 0x8800, &r);
    check("15h extended memory", !(r.flags & CARRY) && r.ax > 48 * 1024 && r.ax <= total);
}

/* The byte at 500h is the one at 100500h while address line 20 is held low. */
static int open(void) {
    u16 before = far_word(0xFFFF, 0x510);
    LOW_WORD(0x500) = before + 1;
    return far_word(0xFFFF, 0x510) == before;
}

static void test_a20(void) {
    call_ax(0x15, 0x2403, &r);
    check("15h A20 support", !(r.flags & CARRY) && r.ah == 0);
    call_ax(0x15, 0x2401, &r);
    check("15h A20 opens", !(r.flags & CARRY) && open());
    call_ax(0x15, 0x2402, &r);
    check("15h A20 is open", !(r.flags & CARRY) && r.al == 1);
    call_ax(0x15, 0x2400, &r);
    check("15h A20 closes", !(r.flags & CARRY) && !open());
    call_ax(0x15, 0x2402, &r);
    check("15h A20 is closed", !(r.flags & CARRY) && r.al == 0);
    call_ax(0x15, 0x2401, &r);
    check("15h A20 opens again", open());
}

static void describe(u8 *descriptor, u32 base) {
    *(u16 *)descriptor = 0xFFFF;
    *(u32 *)(descriptor + 2) = base;
    descriptor[5] = 0x93;
    *(u16 *)(descriptor + 6) = 0;
}

static int move(u32 to, u32 from, u16 words) {
    static u8 table[48];
    describe(table + 16, from);
    describe(table + 24, to);
    clear(&r);
    r.ah = 0x87, r.cx = words, r.si = (u16)(u32)table;
    call(0x15, &r);
    return !(r.flags & CARRY) && r.ah == 0;
}

static void test_move(void) {
    static u16 there[1000], back[1000];
    for (u16 i = 0; i < 1000; i++) there[i] = i * 40503u;
    int good = move(0x345678, (u32)there, 1000) && move((u32)back, 0x345678, 1000);
    for (u16 i = 0; i < 1000; i++) good &= there[i] == back[i];
    check("15h block move", good);
}

static void test_wait(void) {
    static volatile u8 flag;
    u32 before = LOW_DWORD(0x46C);
    clear(&r);
    r.ah = 0x86, r.cx = 200000 >> 16, r.dx = (u16)200000;
    call(0x15, &r);
    u32 ticks = LOW_DWORD(0x46C) - before;
    /* Four ticks; QEMU's two clocks do not keep step while it sleeps. */
    check("15h wait of 200 ms", !(r.flags & CARRY) && ticks >= 3 && ticks <= 10);
    clear(&r);
    r.ax = 0x8300, r.dx = 50000, r.bx = (u16)(u32)&flag;
    call(0x15, &r);
    int began = !(r.flags & CARRY) && !(flag & 0x80);
    for (before = LOW_DWORD(0x46C); LOW_DWORD(0x46C) - before < 4 && !(flag & 0x80);) halt();
    check("15h event wait", began && (flag & 0x80));
}

/* What POST leaves in the processor: memory type range registers, if there are any, with write-back where nothing is said. */
static void test_memory_types(void) {
    u32 low = 1, high, b, c = 0;
    __asm__ volatile("cpuid" : "+a"(low), "=b"(b), "+c"(c), "=d"(high));
    int exist = high & 0x1000;
    if (exist) __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(0x2FF));
    check("memory types", !exist || ((low & 0x800) && (low & 0xFF) == 6));
}

void test_system(void) {
    test_memory_types();
    test_memory();
    test_a20();
    test_move();
    test_wait();
    call_ax(0x15, 0xC000, &r);
    check("15h configuration", !(r.flags & CARRY) && r.ah == 0 && far_word(r.es, r.bx) >= 8 && (far_word(r.es, r.bx + 2) & 0xFF) == 0xFC);
    call_ax(0x15, 0xC100, &r);
    check("15h EBDA", !(r.flags & CARRY) && r.es == LOW_WORD(0x40E));
    call_ax(0x15, 0xFE00, &r);
    check("15h unknown function", (r.flags & CARRY) && r.ah == 0x86);
    clear(&r);
    r.ax = 0x4F1E, r.flags = 0;
    call(0x15, &r);
    check("15h keyboard intercept", r.al == 0x1E);
}

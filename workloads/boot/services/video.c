/* INT 10h in mode 3. */
#include "services.h"

#define SCREEN 0xB800

static u16 cell(u8 row, u8 column) { return far_word(SCREEN, (row * 80 + column) * 2); }

static void teletype(const char *text) {
    struct registers r;
    while (*text) {
        clear(&r);
        r.ax = 0x0E00 | (u8)*text++;
        r.bx = 0x0007;
        call(0x10, &r);
    }
}

static u16 cursor(u8 page) {
    struct registers r;
    clear(&r);
    r.ah = 0x03, r.bh = page;
    call(0x10, &r);
    return r.dx;
}

static void place(u8 page, u8 row, u8 column) {
    struct registers r;
    clear(&r);
    r.ah = 0x02, r.bh = page, r.dh = row, r.dl = column;
    call(0x10, &r);
}

static void scroll(u8 function, u8 lines, u8 attribute, u16 from, u16 to) {
    struct registers r;
    clear(&r);
    r.ah = function, r.al = lines, r.bh = attribute, r.cx = from, r.dx = to;
    call(0x10, &r);
}

void test_video(void) {
    struct registers r;
    call_ax(0x10, 0x0003, &r);
    call_ax(0x10, 0x0F00, &r);
    check("10h mode 3", r.al == 3 && r.ah == 80 && r.bh == 0 && LOW_BYTE(0x484) == 24);
    check("10h clear screen", cell(0, 0) == 0x0720 && cell(24, 79) == 0x0720 && cursor(0) == 0);

    teletype("AB\r\nC\bD");
    check("10h teletype", cell(0, 0) == 0x0741 && cell(0, 1) == 0x0742 && cell(1, 0) == 0x0744 && cursor(0) == 0x0101);
    place(0, 24, 79);
    check("10h cursor", cursor(0) == 0x184F);
    teletype("Z");
    check("10h teletype scrolls", cell(0, 0) == 0x0744 && cell(23, 79) == 0x075A && cell(24, 79) == 0x0720 && cursor(0) == 0x1800);

    place(0, 5, 10);
    clear(&r);
    r.ax = 0x0958, r.bx = 0x001E, r.cx = 3;
    call(0x10, &r);
    check("10h character and attribute", cell(5, 10) == 0x1E58 && cell(5, 12) == 0x1E58 && cell(5, 13) == 0x0720 && cursor(0) == 0x050A);
    clear(&r);
    r.ax = 0x0A59, r.cx = 1;
    call(0x10, &r);
    check("10h character alone", cell(5, 10) == 0x1E59 && cell(5, 11) == 0x1E58);
    call_ax(0x10, 0x0800, &r);
    check("10h read character", r.ax == 0x1E59);

    scroll(0x06, 2, 0x4F, 0x0408, 0x080E);
    check("10h scroll up", cell(3, 10) == 0x0720 && cell(7, 8) == 0x4F20 && cell(8, 14) == 0x4F20 && cell(8, 15) == 0x0720 && cell(6, 10) == 0x0720);
    scroll(0x07, 1, 0x2F, 0x0408, 0x080E);
    check("10h scroll down", cell(4, 8) == 0x2F20 && cell(8, 8) == 0x4F20 && cell(7, 8) == 0x0720);
    scroll(0x06, 0, 0x07, 0x0000, 0x184F);
    check("10h scroll clears", cell(8, 8) == 0x0720);

    static const char text[] = "x\x1Fy\x2Fz\x3F";
    clear(&r);
    r.ax = 0x1303, r.cx = 3, r.dx = 0x0A05, r.bp = (u16)(u32)text;
    call(0x10, &r);
    check("10h string with attributes", cell(10, 5) == 0x1F78 && cell(10, 7) == 0x3F7A && cursor(0) == 0x0A08);
    clear(&r);
    r.ax = 0x1300, r.cx = 2, r.dx = 0x0B00, r.bl = 0x70, r.bp = (u16)(u32) "ab";
    call(0x10, &r);
    check("10h string", cell(11, 1) == 0x7062 && cursor(0) == 0x0A08);

    place(1, 3, 4);
    call_ax(0x10, 0x0501, &r);
    check("10h page", LOW_BYTE(0x462) == 1 && LOW_WORD(0x44E) == 0x1000 && cursor(1) == 0x0304 && cursor(0) == 0x0A08);
    call_ax(0x10, 0x0500, &r);

    clear(&r);
    r.ax = 0x0100, r.cx = 0x2000;
    call(0x10, &r);
    check("10h cursor shape", LOW_WORD(0x460) == 0x2000);

    call_ax(0x10, 0x1A00, &r);
    check("10h display", r.al == 0x1A && r.bx == 0x0008);
    clear(&r);
    r.ah = 0x12, r.bl = 0x10;
    call(0x10, &r);
    check("10h memory of the display", r.bx == 0x0003);
    call_ax(0x10, 0x1112, &r);
    check("10h fifty rows", LOW_BYTE(0x484) == 49 && LOW_WORD(0x485) == 8);
    call_ax(0x10, 0x0001, &r);
    call_ax(0x10, 0x0F00, &r);
    check("10h mode 1", r.al == 1 && r.ah == 40);
    call_ax(0x10, 0x0003, &r);
    check("10h mode 3 again", LOW_BYTE(0x484) == 24 && LOW_WORD(0x485) == 16);
}

/* Running pieces of code in virtual-8086 mode. */
#include "v86.h"

struct v86 virtual;
struct v86_caught v86_caught;
void run_v86(void);                            /* v86.S */
void v86_over(void) __attribute__((noreturn)); /* v86.S */
static u32 in_v86;

void v86_caught_trap(struct trap_frame *frame) {
    if (!in_v86 || !(frame->eflags & EFLAGS_VM)) {
        catch_trap(frame);
        return;
    }
    in_v86 = 0;
    memcpy(&v86_caught, frame, sizeof v86_caught);
    v86_over();
}

void v86_init(void) {
    test_init();
    for (u32 vector = 0; vector < 32; vector++) set_trap_handler(vector, v86_caught_trap);
    set_trap_handler(DONE, v86_caught_trap);
    set_trap_handler(0x40, v86_caught_trap);
    static const u32 pages[] = {0, 0x10000, 0x11000};
    for (u32 i = 0; i < 3; i++) {
        map_page(pages[i], frame_alloc(), PTE_P | PTE_W | PTE_U);
        invlpg(pages[i]);
    }
}

void v86_reset(u32 iopl) {
    virtual = (struct v86){
        .eax = 0xA0A1A2A3, .ecx = 0xC0C1C2C3, .edx = 0xD0D1D2D3, .ebx = 0xB0B1B2B3, .ebp = 0xE0E1E2E3, .esi = 0x50515253,
        .edi = 0xF0F1F2F3, .cs = CODE_SEGMENT, .eflags = 2 | EFLAGS_VM | iopl << 12, .esp = STACK_POINTER, .ss = DATA_SEGMENT,
        .es = 0x1111, .ds = DATA_SEGMENT, .fs = 0xFFFF, .gs = 0x0003};
}

u32 v86_run(const u8 *code, const u8 *end) {
    memcpy((void *)(CODE_SEGMENT << 4), code, end - code);
    in_v86 = 1;
    run_v86();
    return v86_caught.frame.vector;
}

void v86_expect(const char *what, const u8 *code, const u8 *end, u32 vector, u32 error_code, u32 ip) {
    v86_run(code, end);
    const struct trap_frame *frame = &v86_caught.frame;
    if (frame->vector != vector || frame->error_code != error_code || frame->eip != ip)
        panic("%s: trap %u (0x%x) at %x:%x, not %u (0x%x) at %x", what, frame->vector, frame->error_code, frame->cs,
              frame->eip, vector, error_code, ip);
    expect(what, vector << 16 | error_code, vector << 16 | error_code);
}

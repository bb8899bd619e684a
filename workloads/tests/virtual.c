/* Runs 16-bit code in virtual-8086 mode for the test guests. */
#include "virtual.h"

struct virtual_state virtual_in;
struct left left;
static u8 trap_stack[8192] __attribute__((aligned(4096)));

void virtual_run(void);                             /* modes.S */
void virtual_over(void) __attribute__((noreturn)); /* modes.S */

static void leave(struct trap_frame *frame) {
    if (!(frame->eflags & EFLAGS_VM)) panic("trap %u at %x:%08x", frame->vector, frame->cs, frame->eip);
    memcpy(&left, frame, sizeof left);
    virtual_over();
}

u32 run16(const u8 *code, const u8 *end) {
    memcpy((void *)(LOW + START), code, (u32)(end - code));
    set_kernel_stack(virtual_stack());
    virtual_run();
    return left.frame.vector;
}

void reset16(u32 iopl) {
    virtual_in = (struct virtual_state){
        .eax = 0xA0A1A2A3, .ecx = 0xC0C1C2C3, .edx = 0xD0D1D2D3, .ebx = 0xB0B10010, .ebp = 0xE0E10020, .esi = 0x50510030,
        .edi = 0xF0F10040, .eip = START, .cs = LOW_SEGMENT, .eflags = EFLAGS_VM | 2 | iopl << 12,
        .esp = 0x12340000 | STACK_TOP, .ss = STACK_SEGMENT, .es = RESULTS_SEGMENT, .ds = RESULTS_SEGMENT, .fs = 0x1111, .gs = 0x2222};
}

void expect_same_registers(void) {
    expect("EAX", left.frame.eax, virtual_in.eax);
    expect("ECX", left.frame.ecx, virtual_in.ecx);
    expect("EDX", left.frame.edx, virtual_in.edx);
    expect("EBX", left.frame.ebx, virtual_in.ebx);
    expect("EBP", left.frame.ebp, virtual_in.ebp);
    expect("ESI", left.frame.esi, virtual_in.esi);
    expect("EDI", left.frame.edi, virtual_in.edi);
    expect("ESP", left.frame.esp, virtual_in.esp);
    expect("SS", left.frame.ss & 0xFFFF, virtual_in.ss);
    expect("ES", left.es & 0xFFFF, virtual_in.es);
    expect("DS", left.ds & 0xFFFF, virtual_in.ds);
    expect("FS", left.fs & 0xFFFF, virtual_in.fs);
    expect("GS", left.gs & 0xFFFF, virtual_in.gs);
}

/* The code faults at its first instruction and has changed nothing. */
void expect_fault16(const char *what, const u8 *code, const u8 *end, u32 vector) {
    expect(what, run16(code, end), vector);
    expect("error code", left.frame.error_code, 0);
    expect("EIP", left.frame.eip, START);
    expect("CS", left.frame.cs & 0xFFFF, LOW_SEGMENT);
    expect("EFLAGS", left.frame.eflags & ~EFLAGS_RF, virtual_in.eflags);
    expect_same_registers();
}

void expect_done16(const char *what, const u8 *code, const u8 *end) {
    expect(what, run16(code, end), VECTOR_BREAKPOINT);
    expect("EIP", left.frame.eip, START + (u32)(end - code));
}

u32 virtual_stack(void) { return (u32)trap_stack + sizeof trap_stack; }

void virtual_init(void) {
    for (u32 vector = 0; vector < 32; vector++) set_trap_handler(vector, leave);
    set_trap_gate(VECTOR_BREAKPOINT, 3);
    set_trap_gate(4, 3);
    set_trap_gate(ANY, 3);
    set_trap_handler(ANY, leave);
    for (u32 page = LOW; page < LOW + 0x13000; page += PAGE_SIZE) {
        *pte_of(page) |= PTE_U | PTE_W;
        invlpg(page);
    }
}

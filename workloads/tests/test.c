/* Checks, snippets and descriptor tables for the test guests. */
#include "test.h"

struct registers in;
struct caught caught;
u64 test_gdt[TEST_GDT_ENTRIES] __attribute__((aligned(64)));

void run_registers(void);                            /* run.S */
void run_over(void) __attribute__((noreturn));       /* run.S */

static const char *group_name;
static u32 checks, running;
static u8 run_stack[8192] __attribute__((aligned(4096)));
static u8 user_stack[8192] USER_DATA __attribute__((aligned(4096)));

void catch_trap(struct trap_frame *frame) {
    if (!running)
        panic("%s: trap %u, error code 0x%x, at %x:%08x, EFLAGS %08x, CR2 %08x", group_name, frame->vector, frame->error_code,
              frame->cs, frame->eip, frame->eflags, read_cr2());
    running = 0;
    u32 same_ring = (frame->cs & 3) == 0;
    memcpy(&caught.frame, frame, same_ring ? sizeof *frame - 8 : sizeof *frame);
    if (same_ring) {
        caught.frame.esp = (u32)&frame->esp;
        caught.frame.ss = KERNEL_DS;
    }
    caught.cr2 = read_cr2();
    run_over();
}

void test_init(void) {
    for (u32 vector = 0; vector < 32; vector++) set_trap_handler(vector, catch_trap);
    set_trap_gate(DONE, 3);
    set_trap_handler(DONE, catch_trap);
}

void groups_end(void) {
    if (group_name) kprintf("%s: %u checks\n", group_name, checks);
    checks = 0;
}

void group(const char *name) {
    groups_end();
    group_name = name;
}

void expect(const char *what, u32 value, u32 expected) {
    if (value != expected) panic("%s: %s is 0x%x, not 0x%x", group_name, what, value, expected);
    /* Addresses in the image and of frames (1 to 16 MB) are the toolchain's: they are checked, but not digested. */
    digest(value >= 0x100000 && value < IDENTITY_END ? 0 : value);
    checks++;
}

void reset(u32 cpl) {
    u32 data = cpl ? USER_DS : KERNEL_DS;
    in = (struct registers){
        .eax = 0xA0A1A2A3, .ecx = 0xC0C1C2C3, .edx = 0xD0D1D2D3, .ebx = 0xB0B1B2B3, .ebp = 0xE0E1E2E3, .esi = 0x50515253,
        .edi = 0xF0F1F2F3, .ds = data, .es = data, .fs = data, .gs = data, .cs = cpl ? USER_CS : KERNEL_CS, .eflags = 2,
        .esp = (u32)(cpl ? user_stack + sizeof user_stack : run_stack + sizeof run_stack), .ss = data};
}

u32 run(const u8 *code) {
    in.eip = (u32)code;
    running = 1;
    run_registers();
    return caught.frame.vector;
}

u32 run_at(const u8 *code, u32 cpl) {
    reset(cpl);
    return run(code);
}

void expect_done(const char *what, const u8 *code) {
    if (run(code) != DONE)
        panic("%s: %s: trap %u, error code 0x%x, at %x:%08x, CR2 %08x", group_name, what, caught.frame.vector,
              caught.frame.error_code, caught.frame.cs, caught.frame.eip, caught.cr2);
    checks++;
}

void expect_trap(const char *what, const u8 *code, const u8 *at, u32 vector, u32 error_code) {
    run(code);
    const struct trap_frame *frame = &caught.frame;
    if (frame->vector != vector || frame->error_code != error_code || frame->eip != (u32)at)
        panic("%s: %s: trap %u (0x%x) at snippet + %d, not %u (0x%x) at snippet + %d", group_name, what, frame->vector,
              frame->error_code, frame->eip - (u32)code, vector, error_code, (u32)at - (u32)code);
    digest(vector << 16 | error_code);
    checks++;
}

void expect_registers(const char *what) {
    const struct trap_frame *frame = &caught.frame;
    const u32 found[8] = {frame->eax, frame->ecx, frame->edx, frame->ebx, frame->ebp, frame->esi, frame->edi, frame->esp};
    const u32 before[8] = {in.eax, in.ecx, in.edx, in.ebx, in.ebp, in.esi, in.edi, in.esp};
    static const char *const names[8] = {"EAX", "ECX", "EDX", "EBX", "EBP", "ESI", "EDI", "ESP"};
    for (u32 i = 0; i < 8; i++)
        if (found[i] != before[i])
            panic("%s: %s changed %s from 0x%x to 0x%x", group_name, what, names[i], before[i], found[i]);
    checks++;
}

struct table {
    u16 limit;
    u32 base;
} __attribute__((packed));

void gdt_extend(void) {
    struct table table;
    __asm__ volatile("sgdt %0" : "=m"(table));
    memcpy(test_gdt, (void *)table.base, table.limit + 1u);
    table.limit = sizeof test_gdt - 1;
    table.base = (u32)test_gdt;
    __asm__ volatile("lgdt %0" ::"m"(table));
}

u64 descriptor(u32 base, u32 limit, u32 access, u32 flags) {
    return (u64)(base >> 24) << 56 | (u64)flags << 52 | (u64)(limit >> 16 & 15) << 48 | (u64)access << 40 |
           (u64)(base & 0xFFFFFF) << 16 | (limit & 0xFFFF);
}

u64 gate(u32 selector, u32 offset, u32 access, u32 parameters) {
    return (u64)(offset >> 16) << 48 | (u64)access << 40 | (u64)parameters << 32 | (u64)selector << 16 | (offset & 0xFFFF);
}

u64 *idt_entries(void) {
    struct table table;
    __asm__ volatile("sidt %0" : "=m"(table));
    return (u64 *)table.base;
}

u32 *tss_words(void) {
    struct table table;
    __asm__ volatile("sgdt %0" : "=m"(table));
    u64 entry = ((u64 *)table.base)[TSS_SELECTOR >> 3];
    return (u32 *)((u32)(entry >> 16 & 0xFFFFFF) | (u32)(entry >> 56) << 24);
}

static u32 random_state = 0x2545F491;

u32 random32(void) { /* xorshift */
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state;
}

u32 window_page(u32 index, u32 flags) {
    u32 frame = frame_alloc();
    map_page(WINDOW_AT(index), frame, flags | PTE_P);
    invlpg(WINDOW_AT(index));
    return frame;
}

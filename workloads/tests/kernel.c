/* The kernel tested by a program that uses all of it: console, traps, system calls, page tables, interrupts. */
#include "kernel.h"

#define DEMAND_PAGE (WINDOW + 5 * PAGE_SIZE)

static volatile u32 traps, interrupts;
static struct trap_frame last;
static u32 last_cr2;

static void expect(const char *what, u32 value, u32 expected) {
    if (value != expected) panic("%s is 0x%x, not 0x%x", what, value, expected);
    digest(value);
}

/* CPL 3: system calls by both ways. */
static const char hello[] USER_DATA = "written from CPL 3\n";

USER_TEXT static u32 int80(u32 number, u32 argument0, u32 argument1) {
    u32 result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(argument0), "S"(argument1) : "memory");
    return result;
}
USER_TEXT static u32 sysenter(u32 number, u32 argument0, u32 argument1) {
    u32 result;
    __asm__ volatile("movl %%esp, %%ecx\n\tmovl $1f, %%edx\n\tsysenter\n1:"
                     : "=a"(result)
                     : "a"(number), "b"(argument0), "S"(argument1)
                     : "ecx", "edx", "memory", "cc");
    return result;
}
USER_TEXT static u32 make_system_calls(void) {
    u32 sum = int80(SYSCALL_NULL, 0, 0) + sysenter(SYSCALL_NULL, 0, 0); /* 1 + 2 */
    sum += int80(SYSCALL_WRITE, (u32)hello, sizeof hello - 1);
    sum += sysenter(SYSCALL_WRITE, (u32)hello, sizeof hello - 1);
    return sum + int80(99, 0, 0); /* no such call: -1 */
}

/* CPL 3: traps. */
static void count_and_skip(struct trap_frame *frame) {
    traps++;
    last = *frame;
    frame->eip += 2; /* UD2; CLI and a NOP */
}
static void count_trap(struct trap_frame *frame) {
    traps++;
    last = *frame;
}
static void map_on_demand(struct trap_frame *frame) {
    traps++;
    last = *frame;
    last_cr2 = read_cr2();
    map_page(last_cr2 & PTE_FRAME, frame_alloc(), PTE_U | PTE_W | PTE_P);
}
USER_TEXT static u32 undefined(void) {
    __asm__ volatile("ud2");
    return 1;
}
USER_TEXT static u32 breakpoint(void) {
    __asm__ volatile("int3");
    return 2;
}
USER_TEXT static u32 privileged(void) {
    __asm__ volatile("cli\n\tnop");
    return 3;
}
USER_TEXT static u32 touch_demand_page(void) {
    *(volatile u32 *)(DEMAND_PAGE + 8) = 0x12345678;
    return *(volatile u32 *)(DEMAND_PAGE + 8);
}

static void try_trap(const char *name, u32 vector, trap_handler handler, u32 (*function)(void), u32 result, u32 error_code) {
    traps = 0;
    set_trap_handler(vector, handler);
    expect(name, enter_user(function, user_stack_top), result);
    set_trap_handler(vector, 0);
    expect("number of traps", traps, 1);
    expect("vector", last.vector, vector);
    expect("error code", last.error_code, error_code);
    expect("CS", last.cs, USER_CS);
    expect("SS", last.ss, USER_DS);
    kprintf("%s: trap %u, error code 0x%x\n", name, last.vector, last.error_code);
}

/* Interrupts of both timers. */
static void tick(struct trap_frame *frame) {
    interrupts++;
    pic_eoi(0);
}
static void local_tick(struct trap_frame *frame) {
    interrupts++;
    lapic_write(LAPIC_EOI, 0);
}
static void wait_for(u32 count) {
    while (interrupts < count) {
        sti();
        hlt();
        cli();
    }
}

void program_main(void) {
    u32 buffer[4];
    kprintf("%s %c %u %d %x %08x %llu %%\n", "string", 'c', 4294967295u, -5, 0xABCu, 0xDEFu, 18446744073709551615ull);
    memset(buffer, 0xA5, sizeof buffer);
    buffer[0] = 1;
    memmove(buffer + 1, buffer, 12);
    expect("moved up", buffer[1], 1);
    memmove(buffer, buffer + 1, 12);
    expect("moved down", buffer[0], 1);
    expect("compared", (u32)memcmp(buffer, buffer + 1, 4) > 0, 1);

    expect("system calls", enter_user(make_system_calls, user_stack_top), 1 + 2 + 2 * (sizeof hello - 1) - 1);

    try_trap("invalid opcode", VECTOR_INVALID_OPCODE, count_and_skip, undefined, 1, 0);
    try_trap("breakpoint", VECTOR_BREAKPOINT, count_trap, breakpoint, 2, 0);
    try_trap("general protection", VECTOR_GENERAL_PROTECTION, count_and_skip, privileged, 3, 0);
    try_trap("page fault", VECTOR_PAGE_FAULT, map_on_demand, touch_demand_page, 0x12345678, 6);
    expect("CR2", last_cr2, DEMAND_PAGE + 8);
    expect("PTE flags", *pte_of(DEMAND_PAGE) & 0xFFF, PTE_P | PTE_W | PTE_U | PTE_A | PTE_D);

    lapic_init();
    interrupts = 0;
    set_trap_handler(VECTOR_IRQ0, tick);
    timer_start(1000);
    wait_for(3);
    timer_stop();
    kprintf("8254: interrupts arrive\n");

    interrupts = 0;
    set_trap_handler(0x40, local_tick);
    lapic_timer_start(0x40, 10000, 1);
    wait_for(3);
    lapic_timer_stop();
    kprintf("local APIC timer, periodic: interrupts arrive\n");

    interrupts = 0;
    lapic_timer_start(0x40, 10000, 0);
    wait_for(1);
    expect("current count after a one-shot", lapic_read(LAPIC_CURRENT_COUNT), 0);
    kprintf("local APIC timer, one-shot: %u interrupt\n", interrupts);
}

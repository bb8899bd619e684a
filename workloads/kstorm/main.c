/* The kernel's side of the storm: its system calls, its page-fault and timer handlers, what it counted against what CPL 3 counted. */
#include "kstorm.h"

#define TIMER_VECTOR 0x40
#define FAULT_PRESENT 1u
#define FAULT_WRITE 2u

extern void storm_sysenter(void);

static const char *const names[PARTS] = {"int80", "sysenter", "fault", "pte", "switch", "timer", "storm"};

static struct { u32 calls, mixes, faults, switches, remaps, interrupts; } counted;
static u32 directories[SPACES], space;
static u32 shared_frame, demand_frames[DEMAND_PAGES], remap_frames[REMAP_PAGES];

static u32 remap(u32 rotation) {
    u32 changed = 0;
    for (u32 page = 0; page < REMAP_PAGES; page++) {
        u32 linear = REMAP + page * PAGE_SIZE, *pte = pte_of(linear);
        u32 frame = remap_frames[(page + rotation) % REMAP_PAGES];
        changed += (*pte & PTE_FRAME) != frame;
        *pte = frame | PTE_U | PTE_P;
        invlpg(linear);
    }
    counted.remaps += changed;
    return changed;
}

static u32 discard(u32 first, u32 count) {
    u32 mapped = 0;
    for (u32 page = first; page < first + count; page++) {
        u32 linear = DEMAND + page * PAGE_SIZE, *pte = pte_of(linear);
        mapped += *pte & PTE_P;
        *pte = 0;
        invlpg(linear);
    }
    counted.remaps += mapped;
    return mapped;
}

u32 storm_call(u32 number, u32 a, u32 b) {
    u32 before = space;
    counted.calls++;
    switch (number) {
    case CALL_MIX:
        return mix(a, b, ++counted.mixes);
    case CALL_REMAP:
        return remap(a);
    case CALL_DISCARD:
        if (a > DEMAND_PAGES || b > DEMAND_PAGES - a) panic("discard of %u pages from %u", b, a);
        return discard(a, b);
    case CALL_SWITCH:
        if (a >= SPACES) panic("no address space %u", a);
        space = a;
        counted.switches++;
        write_cr3(directories[space]);
        return before;
    case CALL_ARM:
        timer_pending = 1;
        lapic_write(LAPIC_INITIAL_COUNT, 1);
        return 0;
    default:
        panic("no system call %u", number);
    }
}

static void int80(struct trap_frame *frame) { frame->eax = storm_call(frame->eax, frame->ebx, frame->esi); }

static void page_fault(struct trap_frame *frame) {
    u32 address = read_cr2(), page = (address - DEMAND) / PAGE_SIZE;
    if (address < DEMAND || page >= DEMAND_PAGES)
        panic("page fault at %08x, error code 0x%x, EIP %08x", address, frame->error_code, frame->eip);
    u32 linear = DEMAND + page * PAGE_SIZE, *pte = pte_of(linear);
    counted.faults++;
    if (!(frame->error_code & FAULT_WRITE)) {
        *pte = shared_frame | PTE_U | PTE_P;
    } else {
        *pte = demand_frames[page] | PTE_W | PTE_U | PTE_P;
        if (frame->error_code & FAULT_PRESENT) invlpg(linear);
    }
}

static void timer(struct trap_frame *frame) {
    timer_pending = 0;
    counted.interrupts++;
    lapic_write(LAPIC_EOI, 0);
}

static void make_pages(void) {
    shared_frame = frame_alloc();
    *(u32 *)shared_frame = SHARED_TAG;
    for (u32 i = 0; i < DEMAND_PAGES; i++) demand_frames[i] = frame_alloc();
    for (u32 i = 0; i < REMAP_PAGES; i++) {
        remap_frames[i] = frame_alloc();
        *(u32 *)remap_frames[i] = remap_tag(i);
        map_page(REMAP + i * PAGE_SIZE, remap_frames[i], PTE_U | PTE_P); /* makes the table of the demand pages, too */
    }
    for (u32 n = 0; n < SPACES; n++) {
        u32 *directory = (u32 *)(directories[n] = n == 0 ? (u32)page_directory : frame_alloc());
        u32 *table = (u32 *)frame_alloc();
        if (n) memcpy(directory, page_directory, PAGE_SIZE);
        directory[PRIVATE >> 22] = (u32)table | PTE_U | PTE_W | PTE_P;
        table[PRIVATE >> 12 & 0x3FF] = frame_alloc() | PTE_U | PTE_W | PTE_P;
    }
}

static void check(const char *name, const char *what, u32 count, u32 expected) {
    if (count != expected) panic("%s: %u %s, expected %u", name, count, what, expected);
}

static void run(enum part part) {
    struct part_result *result = &part_results[part];
    const char *name = names[part];
    counted.calls = counted.faults = counted.switches = counted.remaps = counted.interrupts = 0;
    running = part;
    sti();
    enter_user(kstorm_run, user_stack_top);
    cli();
    if (result->failed_round) panic("%s: wrong in round %u", name, result->failed_round);
    check(name, "system calls", counted.calls, result->calls);
    check(name, "page faults", counted.faults, result->faults);
    check(name, "address-space switches", counted.switches, result->switches);
    check(name, "PTEs changed", counted.remaps, result->remaps);
    check(name, "timer interrupts", counted.interrupts, result->interrupts);
    kprintf("%s: checksum 0x%08x, system calls %u, faults %u, PTEs %u, switches %u, interrupts %u\n", name, result->checksum,
            counted.calls, counted.faults, counted.remaps, counted.switches, counted.interrupts);
    digest(result->checksum);
    digest(counted.calls + counted.faults + counted.remaps + counted.switches + counted.interrupts);
}

void program_main(void) {
    u32 eax, ebx, ecx, edx;
    rounds = parameter("scale", 10);
    if (!rounds) panic("kstorm: scale begins at 1");
    cpuid(1, &eax, &ebx, &ecx, &edx);
    if (!(edx & CPUID_EDX_SEP)) panic("no SYSENTER");
    kprintf("kstorm: %u %s of each part, caused at CPL 3\n", rounds, rounds == 1 ? "round" : "rounds");
    lapic_init();
    lapic_timer_start(TIMER_VECTOR, 0, 0);
    wrmsr(MSR_SYSENTER_EIP, (u32)storm_sysenter);
    set_trap_handler(VECTOR_SYSCALL, int80);
    set_trap_handler(VECTOR_PAGE_FAULT, page_fault);
    set_trap_handler(TIMER_VECTOR, timer);
    make_pages();
#define RUN(part)                       \
    MARK(MARK_MEASURED_BEGIN, part + 1); \
    run(part);                          \
    MARK(MARK_MEASURED_END, part + 1);
    RUN(0) RUN(1) RUN(2) RUN(3) RUN(4) RUN(5) RUN(6)
    kprintf("t: spins %u\n", spins);
}

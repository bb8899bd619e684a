/*
 * Popek and Goldberg's question, put to one instruction after another: does it tell, or do, something else when a
 * monitor stands between the kernel and the processor? A line for each (instruction, CPL, scenario):
 *
 *     row: NAME: what the instruction told
 *
 * The scenarios are those of a kernel that runs at CPL 1 where it believes itself at CPL 0, on descriptor tables, with
 * flags and control registers that are not its own (J. Robin, C. Irvine, USENIX Security 2000, sections 3.1 and 3.2).
 * Nothing is checked here: what is right is what the bare processor prints. A trap that should not come ends one row only.
 */
#include "../tests/test.h"

#define LDT_SELECTOR 0x40
#define GATE_DPL0 0x83 /* a vector that only CPL 0 may name */
#define PIC_COMMAND 0x20
#define OCW3_READ_IRR 0x0A
#define CR0_NE 0x20u

/* What of a finished snippet a row prints. */
enum shown { TABLE_REGISTER, VALUE, TWO_VALUES, RIGHTS, LIMIT, ZF, ARRIVED, FLAGS };

#define DEFINED_RIGHTS 0x00F0FF00u /* LAR leaves bits 16 to 19 undefined */

struct row {
    const char *name;
    const u8 *code;
    u32 cpl;
    enum shown shown;
    u32 eflags; /* with which the snippet begins */
};

static void show(const struct row *row) {
    const struct trap_frame *frame = &caught.frame;
    reset(row->cpl);
    in.eflags = row->eflags | 2;
    u32 vector = run(row->code);
    kprintf("row: %s: ", row->name);
    if (vector != DONE && vector != GATE_DPL0) {
        kprintf("exception %u, error code 0x%x\n", vector, frame->error_code);
        return;
    }
    switch (row->shown) {
    case TABLE_REGISTER: kprintf("base 0x%08x, limit 0x%x\n", frame->ebx, frame->eax); break;
    case VALUE: kprintf("0x%x\n", frame->eax); break;
    case TWO_VALUES: kprintf("0x%x, then 0x%x\n", frame->eax, frame->ebx); break;
    case RIGHTS:
    case LIMIT:
        if (frame->eflags & EFLAGS_ZF) kprintf("ZF 1, 0x%x\n", row->shown == RIGHTS ? frame->eax & DEFINED_RIGHTS : frame->eax);
        else kprintf("ZF 0\n");
        break;
    case ZF: kprintf("ZF %u\n", frame->eflags / EFLAGS_ZF & 1); break;
    case ARRIVED: kprintf("arrives\n"); break;
    case FLAGS: kprintf("EFLAGS 0x%x in the next frame\n", frame->eflags & ~EFLAGS_STATUS); break;
    }
}

/* Sensitive registers. */
SNIPPET(store_gdt, "subl $8, %esp\n\tsgdt (%esp)\n\tmovzwl (%esp), %eax\n\tmovl 2(%esp), %ebx\n\taddl $8, %esp");
SNIPPET(store_idt, "subl $8, %esp\n\tsidt (%esp)\n\tmovzwl (%esp), %eax\n\tmovl 2(%esp), %ebx\n\taddl $8, %esp");
SNIPPET(store_ldt, "xorl %eax, %eax\n\tsldt %ax");
SNIPPET(store_task, "xorl %eax, %eax\n\tstr %ax");
SNIPPET(store_msw, "xorl %eax, %eax\n\tsmsw %ax");
SNIPPET(store_cr0, "smsw %eax");
SNIPPET(push_flags_off_on, "cli\n\tpushfl\n\tpopl %eax\n\tsti\n\tpushfl\n\tpopl %ebx\n\tcli");
SNIPPET(push_flags, "pushfl\n\tpopl %eax");
SNIPPET(pop_iopl3, "pushl $0x3002\n\tpopfl");
SNIPPET(pop_if, "pushl $0x202\n\tpopfl");
SNIPPET(pop_if_iopl3, "pushl $0x3202\n\tpopfl");

/* References to the protection system: 10h is the kernel's data segment, 11h the same with RPL 1, 23h the user's. */
SNIPPET(rights_of_data, "movl $0x10, %ecx\n\tlarl %ecx, %eax");
SNIPPET(rights_of_task, "movl $0x28, %ecx\n\tlarl %ecx, %eax");
SNIPPET(rights_rpl1, "movl $0x11, %ecx\n\tlarl %ecx, %eax");
SNIPPET(rights_of_user, "movl $0x23, %ecx\n\tlarl %ecx, %eax");
SNIPPET(limit_of_data, "movl $0x10, %ecx\n\tlsll %ecx, %eax");
SNIPPET(limit_rpl1, "movl $0x11, %ecx\n\tlsll %ecx, %eax");
SNIPPET(limit_of_user, "movl $0x23, %ecx\n\tlsll %ecx, %eax");
SNIPPET(read_rpl1, "movl $0x11, %eax\n\tverr %ax");
SNIPPET(write_rpl1, "movl $0x11, %eax\n\tverw %ax");
SNIPPET(read_kernel, "movl $0x13, %eax\n\tverr %ax");
SNIPPET(write_kernel, "movl $0x13, %eax\n\tverw %ax");

SNIPPET(push_cs, "pushl %cs\n\tpopl %eax\n\tmovzwl %ax, %eax");
SNIPPET(push_ss, "pushl %ss\n\tpopl %eax\n\tmovzwl %ax, %eax");
SNIPPET(push_ds, "pushl %ds\n\tpopl %eax\n\tmovzwl %ax, %eax");
SNIPPET(pop_ds_rpl1, "pushl $0x11\n\t7: popl %ds\n\tmovl %ds, %eax");
SNIPPET(pop_ss_rpl1, "pushl $0x11\n\t7: popl %ss\n\tmovl %ss, %eax");
SNIPPET(pop_ds_kernel, "pushl $0x13\n\t7: popl %ds\n\tmovl %ds, %eax");
SNIPPET(move_from_cs, "movl %cs, %eax");
SNIPPET(move_from_ss, "movl %ss, %eax");
SNIPPET(move_ds, "movl $0x10, %ecx\n\tmovl %ecx, %ds\n\tmovl %ds, %eax");
SNIPPET(move_ds_rpl1, "movl $0x11, %ecx\n\tmovl %ecx, %ds\n\tmovl %ds, %eax");
SNIPPET(move_ss_rpl1, "movl $0x11, %ecx\n\tmovl %ecx, %ss\n\tmovl %ss, %eax");
SNIPPET(move_ds_kernel, "movl $0x13, %ecx\n\tmovl %ecx, %ds\n\tmovl %ds, %eax");

SNIPPET(call_far, "lcall $0x08, $8f\n8:\tpopl %ecx\n\tpopl %eax\n\tmovzwl %ax, %eax");
SNIPPET(call_rpl1, "lcall $0x09, $8f\n8:");
SNIPPET(call_user, "lcall $0x1B, $8f\n8:\tpopl %ecx\n\tpopl %eax\n\tmovzwl %ax, %eax");
SNIPPET(jump_far, "ljmp $0x08, $8f\n8:");
SNIPPET(jump_rpl1, "ljmp $0x09, $8f\n8:");
SNIPPET(jump_user, "ljmp $0x1B, $8f\n8:");
SNIPPET(int_kernel, "int $0x83");
SNIPPET(int_user, "int $0x82");
SNIPPET(return_far, "pushl $0x08\n\tpushl $8f\n\tlret\n8:");
SNIPPET(return_rpl1, "pushl $0x09\n\tpushl $8f\n\tlret\n8:");
SNIPPET(return_user, "pushl $0x1B\n\tpushl $8f\n\tlret\n8:");
SNIPPET(iret_if, "pushl $0x202\n\tpushl $0x08\n\tpushl $8f\n\tiret\n8:");
SNIPPET(iret_rpl1, "pushl $0x202\n\tpushl $0x09\n\tpushl $8f\n\tiret\n8:");
SNIPPET(iret_own_frame, "pushfl\n\torl $0x200, (%esp)\n\tpushl %cs\n\tpushl $8f\n\tiret\n8:");
SNIPPET(iret_user, "pushl $0x202\n\tpushl $0x1B\n\tpushl $8f\n\tiret\n8:");

/* The rows that need nothing around their snippet. In each, the instruction of its name is the one in question. */
static const struct row at_cpl0[] = {
    {"sgdt-0", store_gdt, CPL0, TABLE_REGISTER, 0},
    {"sidt-0", store_idt, CPL0, TABLE_REGISTER, 0},
    {"sldt-0", store_ldt, CPL0, VALUE, 0},
    {"str-0", store_task, CPL0, VALUE, 0},
    {"pushf-0-if", push_flags_off_on, CPL0, TWO_VALUES, 0},
    {"pushf-0-iopl", push_flags, CPL0, VALUE, EFLAGS_IOPL},
    {"popf-0-iopl", pop_iopl3, CPL0, FLAGS, 0},
    {"lar-0", rights_of_data, CPL0, RIGHTS, 0},
    {"lar-0-tss", rights_of_task, CPL0, RIGHTS, 0},
    {"lar-0-rpl", rights_rpl1, CPL0, RIGHTS, 0},
    {"lsl-0", limit_of_data, CPL0, LIMIT, 0},
    {"lsl-0-rpl", limit_rpl1, CPL0, LIMIT, 0},
    {"verr-0-rpl", read_rpl1, CPL0, ZF, 0},
    {"verw-0-rpl", write_rpl1, CPL0, ZF, 0},
    {"push-0-cs", push_cs, CPL0, VALUE, 0},
    {"push-0-ss", push_ss, CPL0, VALUE, 0},
    {"push-0-ds", push_ds, CPL0, VALUE, 0},
    {"pop-0-ds", pop_ds_rpl1, CPL0, VALUE, 0},
    {"pop-0-ss", pop_ss_rpl1, CPL0, VALUE, 0},
    {"mov-0-cs", move_from_cs, CPL0, VALUE, 0},
    {"mov-0-ss", move_from_ss, CPL0, VALUE, 0},
    {"mov-0-load", move_ds, CPL0, VALUE, 0},
    {"mov-0-load-ds", move_ds_rpl1, CPL0, VALUE, 0},
    {"mov-0-load-ss", move_ss_rpl1, CPL0, VALUE, 0},
    {"call-0", call_far, CPL0, VALUE, 0},
    {"call-0-rpl", call_rpl1, CPL0, ARRIVED, 0},
    {"jmp-0", jump_far, CPL0, ARRIVED, 0},
    {"jmp-0-rpl", jump_rpl1, CPL0, ARRIVED, 0},
    {"int-0", int_kernel, CPL0, FLAGS, EFLAGS_IOPL},
    {"ret-0", return_far, CPL0, ARRIVED, 0},
    {"ret-0-rpl", return_rpl1, CPL0, ARRIVED, 0},
    {"iret-0", iret_if, CPL0, FLAGS, 0},
    {"iret-0-rpl", iret_rpl1, CPL0, FLAGS, 0},
    {"iret-0-own-frame", iret_own_frame, CPL0, FLAGS, 0},
};

static const struct row at_cpl3[] = {
    {"sgdt-3", store_gdt, CPL3, TABLE_REGISTER, 0},
    {"sidt-3", store_idt, CPL3, TABLE_REGISTER, 0},
    {"sldt-3", store_ldt, CPL3, VALUE, 0},
    {"str-3", store_task, CPL3, VALUE, 0},
    {"pushf-3-if", push_flags, CPL3, VALUE, 0},
    {"pushf-3-iopl", push_flags, CPL3, VALUE, EFLAGS_IOPL},
    {"popf-3", pop_if, CPL3, FLAGS, 0},
    {"popf-3-iopl", pop_if_iopl3, CPL3, FLAGS, EFLAGS_IOPL},
    {"lar-3", rights_of_user, CPL3, RIGHTS, 0},
    {"lar-3-kernel", rights_of_data, CPL3, RIGHTS, 0},
    {"lsl-3", limit_of_user, CPL3, LIMIT, 0},
    {"verr-3", read_kernel, CPL3, ZF, 0},
    {"verw-3", write_kernel, CPL3, ZF, 0},
    {"push-3-cs", push_cs, CPL3, VALUE, 0},
    {"pop-3-ds", pop_ds_kernel, CPL3, VALUE, 0},
    {"mov-3-cs", move_from_cs, CPL3, VALUE, 0},
    {"mov-3-load-ds", move_ds_kernel, CPL3, VALUE, 0},
    {"call-3", call_user, CPL3, VALUE, 0},
    {"jmp-3", jump_user, CPL3, ARRIVED, 0},
    {"int-3", int_user, CPL3, FLAGS, 0},
    {"int-3-refused", int_kernel, CPL3, FLAGS, 0},
    {"ret-3", return_user, CPL3, ARRIVED, 0},
    {"iret-3", iret_user, CPL3, FLAGS, 0},
};

/* SMSW after one bit of CR0 at a time has been set or cleared; CR0 itself is as it was afterwards. */
static u32 machine_status(u32 cr0, u32 cpl, const u8 *code) {
    u32 before = read_cr0();
    write_cr0(cr0);
    run_at(code, cpl);
    write_cr0(before);
    return caught.frame.eax;
}

static void machine_status_rows(void) {
    static const struct {
        const char *name;
        u32 cpl;
    } rows[] = {{"smsw-0", CPL0}, {"smsw-3", CPL3}};
    u32 plain = read_cr0() & ~(CR0_MP | CR0_EM | CR0_TS | CR0_NE);
    for (u32 i = 0; i < 2; i++) {
        u32 cpl = rows[i].cpl;
        kprintf("row: %s: plain 0x%x, MP 0x%x", rows[i].name, machine_status(plain, cpl, store_msw),
                machine_status(plain | CR0_MP, cpl, store_msw));
        kprintf(", TS 0x%x, NE 0x%x\n", machine_status(plain | CR0_TS, cpl, store_msw),
                machine_status(plain | CR0_NE, cpl, store_msw));
        kprintf("row: %s-wp: 0x%x\n", rows[i].name, machine_status(plain & ~CR0_WP, cpl, store_cr0));
    }
}

static volatile u32 ticks;

static void tick(struct trap_frame *frame) {
    ticks++;
    pic_eoi(0);
}

/* What a kernel relies on when it restores its flags: whether the timer's interrupt comes is what POPF left in IF. */
static void pop_interrupt_flag(const char *name, u32 flags) {
    outb(PIC_COMMAND, OCW3_READ_IRR);
    /* A request of earlier, if the timer has been running, is taken before the ticks count. */
    sti();
    timer_start(2000);
    if (flags & EFLAGS_IF) cli();
    ticks = 0;
    __asm__ volatile("pushl %0\n\tpopfl" ::"r"(flags) : "memory", "cc");
    while (!ticks && !(inb(PIC_COMMAND) & 1)) {}
    /* Requested or taken. A request that can be taken will have been after some more instructions. */
    for (u32 i = 0; i < 16; i++) (void)inb(PIC_COMMAND);
    kprintf("row: %s: the interrupt %s\n", name, ticks ? "comes" : "waits");
    sti();
    while (!ticks) {}
    cli();
    timer_stop();
}

/*
 * The kernel's descriptors again, in a table with room for more. gdt_extend() of the tests asks SGDT where the kernel's
 * is, and SGDT is what a row here is about. Nobody loads TR again.
 */
static void extend_gdt(void) {
    struct {
        u16 limit;
        u32 base;
    } __attribute__((packed)) table = {sizeof test_gdt - 1, (u32)test_gdt};
    test_gdt[KERNEL_CS >> 3] = descriptor(0, 0xFFFFF, 0x9B, 0xC);
    test_gdt[KERNEL_DS >> 3] = descriptor(0, 0xFFFFF, 0x93, 0xC);
    test_gdt[USER_CS >> 3] = descriptor(0, 0xFFFFF, 0xFB, 0xC);
    test_gdt[USER_DS >> 3] = descriptor(0, 0xFFFFF, 0xF3, 0xC);
    test_gdt[TSS_SELECTOR >> 3] = descriptor(0, 0x67, 0x8B, 0);
    __asm__ volatile("lgdt %0" ::"m"(table));
}

void program_main(void) {
    test_init();
    set_trap_gate(GATE_DPL0, 0);
    set_trap_handler(GATE_DPL0, catch_trap);
    set_trap_handler(VECTOR_IRQ0, tick);
    pic_init();
    extend_gdt();
    test_gdt[LDT_SELECTOR >> 3] = descriptor((u32)test_gdt, sizeof test_gdt - 1, 0x82, 0);
    __asm__ volatile("lldt %w0" ::"r"(LDT_SELECTOR));

    for (u32 i = 0; i < sizeof at_cpl0 / sizeof *at_cpl0; i++) show(&at_cpl0[i]);
    pop_interrupt_flag("popf-0-off", 2);
    pop_interrupt_flag("popf-0-on", 2 | EFLAGS_IF);
    for (u32 i = 0; i < sizeof at_cpl3 / sizeof *at_cpl3; i++) show(&at_cpl3[i]);
    machine_status_rows();
}

/*
 * Where interrupts arrive, instruction by instruction: never behind STI and loads of SS, at once behind POPF and IRET, behind HLT,
 * between iterations of REP; never with IF clear; and what they interrupt goes on as if nothing had been. A pending interrupt
 * makes the place certain; others come from a one-shot timer at any time, and what is printed does not depend on when.
 */
#include "interrupts.h"

static void skip_undefined(struct trap_frame *frame) {
    in_software += 1 + 0x10000 * arrived;
    frame->eip += 2;
}
static volatile u32 pit_ticks;
static void pit(struct trap_frame *frame) {
    pit_ticks++;
    pic_eoi(0);
}

/* A pending interrupt, and where it must arrive: label 7. IF is clear at first. */
SNIPPET(p_sti, "sti\n\tnop\n7:\tnop");
SNIPPET(p_sti_twice, "sti\n\tsti\n7:\tnop");
SNIPPET(p_sti_cli, "movl $50, %ecx\n1:\tsti\n\tcli\n\tloop 1b\n\tsti\n\tincl %edx\n7:\tcli");
SNIPPET(p_popf, "pushl $0x3202\n\tnop\n\tpopfl\n7:\tcli");
SNIPPET(p_popf_back, "pushl $0x3202\n\tpushfl\n\tmovl $50, %ecx\n1:\tpopfl\n\tpushfl\n\tloop 1b\n\tpopfl\n\tpopfl\n7:\tcli");
SNIPPET(p_popfw, "pushw $0x3202\n\tpopfw\n7:\tcli");
SNIPPET(p_iret, "pushl $0x3202\n\tpushl %cs\n\tpushl $7f\n\tiret\n\tud2\n7:\tcli");
SNIPPET(p_iret_closed, "movl $20, %ecx\n1:\tpushl $0x3002\n\tpushl %cs\n\tpushl $2f\n\tiret\n2:\tloop 1b\n\tsti\n\tnop\n7:\tcli");
SNIPPET(p_pushf, "sti\n\tpushfl\n7:\tpopl %eax\n\tcli");
SNIPPET(p_in, "sti\n\tinb $0x80, %al\n7:\tcli");
SNIPPET(p_out, "sti\n\toutb %al, $0x80\n7:\tcli");
SNIPPET(p_cpuid, "sti\n\tcpuid\n7:\tcli");
SNIPPET(p_store, "sti\n\tmovl %eax, (%edi)\n7:\tcli");
SNIPPET(p_movs, "sti\n\tmovsl\n7:\tcli");
SNIPPET(p_rdtsc, "sti\n\trdtsc\n7:\tcli");
SNIPPET(p_int, "sti\n\tint $0x83\n7:\tcli");
SNIPPET(p_undefined, "sti\n\tud2\n7:\tcli");
SNIPPET(p_load_ds, "movw %ds, %ax\n\tsti\n\tmovw %ax, %ds\n7:\tcli");
SNIPPET(p_load_gs, "movw %ds, %ax\n\tsti\n\tmovw %ax, %gs\n7:\tcli");
SNIPPET(p_hlt, "sti\n\thlt\n7:\tcli"); /* from here: CPL 0 alone */
SNIPPET(p_cr0, "sti\n\tmovl %cr0, %eax\n7:\tmovl %eax, %cr0\n\tcli");
SNIPPET(p_cr3, "movl %cr3, %eax\n\tsti\n\tmovl %eax, %cr3\n7:\tcli");
SNIPPET(p_clts, "sti\n\tclts\n7:\tcli");
SNIPPET(p_invlpg, "sti\n\tinvlpg (%esp)\n7:\tcli");
SNIPPET(p_sgdt, "sti\n\tsgdt -8(%esp)\n7:\tcli");
static const struct {
    const char *name;
    const u8 *code, *at;
} pending[] = {
#define P(name) {#name, p_##name, p_##name##_at}
    P(sti), P(sti_twice), P(sti_cli), P(popf), P(popf_back), P(popfw), P(iret), P(iret_closed), P(pushf),
    P(in), P(out), P(cpuid), P(store), P(movs), P(rdtsc), P(int), P(undefined), P(load_ds), P(load_gs),
#define FIRST_KERNEL 19
    P(hlt), P(cr0), P(cr3), P(clts), P(invlpg), P(sgdt)};
#define PENDING (sizeof pending / sizeof pending[0])

SNIPPET(nothing, "nop");
SNIPPET(closed, "movl $50, %ecx\n1:\tpushfl\n\tcli\n\tpopfl\n\tsti\n\tcli\n\tpushfl\n\tpopl %eax\n\tpushl $0x3002\n\tpushl %cs\n\tpushl $2f\n\tiret\n2:\tloop 1b");
SNIPPET(not_allowed, "movl $20, %ecx\n1:\tpushl $0x3202\n\tpopfl\n\tpushl $0x3202\n\tpushl %cs\n\tpushl $2f\n\tiret\n2:\tloop 1b");

static void certain(void) {
    group("pending interrupts");
    for (u32 round = 0; round < 3; round++)
        for (cpl = CPL0; cpl <= CPL3; cpl += 3) {
            for (u32 i = 0; i < (cpl ? FIRST_KERNEL : PENDING); i++) {
                expect_pending(pending[i].name, pending[i].code, pending[i].at);
                if (pending[i].code == p_int || pending[i].code == p_undefined) expect("before it", in_software, 1);
                if (pending[i].code == p_sti_cli) expect("the instruction behind STI", caught.frame.edx, in.edx + 1);
            }
            make_pending(); /* IRET of the kernel opens */
            prepare(EFLAGS_IF);
            expect_done("IF in the image", nothing);
            expect("arrived", arrived, 1);
            expect("before the first instruction", seen_eip - (u32)nothing, 0);
            make_pending(); /* no point is open */
            prepare(0);
            expect_done("closed", closed);
            expect("arrived", arrived, 0);
            if (cpl) { /* IOPL 0: neither POPF nor IRET changes IF, CLI and STI fault */
                reset(CPL3);
                expect_done("POPF at IOPL 0", not_allowed);
                expect("IF", caught.frame.eflags & (EFLAGS_IF | IOPL3), 0);
                expect("arrived", arrived, 0);
                reset(CPL3);
                expect("STI at IOPL 0", run(p_sti), VECTOR_GENERAL_PROTECTION);
                expect("arrived", arrived, 0);
            }
            prepare(0);
            expect_done("at last", p_sti);
            expect("arrived", arrived, 1);
        }
}

/* At any time: loops until it has arrived. Label 7 is where it must not arrive, or with `only`, must. EDX counts turns. */
#define UNTIL "\n\tincl %edx\n\tcmpl $0, arrived\n\tje 1b"
SNIPPET(u_sti, "1:\tcli\n\tincl critical\n\tincl %eax\n\tdecl critical\n\tsti\n7:\tnop" UNTIL);
SNIPPET(u_sti_cli, "1:\tcli\n\tsti\n7:\tcli\n\tincl critical\n\tdecl critical\n\tpushl $0x3202\n\tpopfl\n\tincl %eax" UNTIL);
SNIPPET(u_popf, "1:\tpushfl\n\tcli\n\tincl critical\n\tincl %eax\n\tdecl critical\n\tpopfl\n\tjmp 2f\n7:\tud2\n2:" UNTIL);
SNIPPET(u_mov_ss, "1:\tmovw %ss, %cx\n\tmovw %cx, %ss\n7:\tincl %eax" UNTIL);
SNIPPET(u_pop_ss, "1:\tpushl %ss\n\tpopl %ss\n7:\tincl %eax" UNTIL);
SNIPPET(u_calls, "1:\tcall 3f\n\tjmp 2f\n3:\tpushl %edx\n\tcall 4f\n\tpopl %edx\n\tret\n4:\tincl %eax\n\tret\n7:\tud2\n2:" UNTIL);
SNIPPET(u_int, "1:\tint $0x83\n\tincl %eax\n\tjmp 2f\n7:\tud2\n2:" UNTIL);
SNIPPET(u_undefined, "1:\tud2\n\tincl %eax\n\tjmp 2f\n7:\tud2\n2:" UNTIL);
SNIPPET(u_system, "1:\tinb $0x80, %al\n\toutb %al, $0x80\n\tmovl %edx, %eax\n\tjmp 2f\n7:\tud2\n2:\tincl %eax" UNTIL);
/* Registers and flags through any number of interrupts: EDX rounds of a generator in EAX, EBX, ECX and CF. */
SNIPPET(u_work, "1:\troll $5, %eax\n\taddl %ebx, %eax\n\tadcl %ecx, %ebx\n\tsbbl %eax, %ecx\n\trorl $7, %ecx\n\txorl %edx, %eax\n\tjmp 2f\n7:\tud2\n2:" UNTIL);
static void work_model(u32 rounds, u32 *eax, u32 *ebx, u32 *ecx) {
    u32 a = *eax, b = *ebx, c = *ecx;
    for (u32 n = 0; n < rounds; n++) {
        u64 sum;
        a = a << 5 | a >> 27;
        sum = (u64)a + b;
        a = (u32)sum;
        sum = (u64)b + c + (u32)(sum >> 32);
        b = (u32)sum;
        u32 borrow = (u32)(sum >> 32);
        c = c - a - borrow;
        c = c >> 7 | c << 25;
        a ^= n;
    }
    *eax = a;
    *ebx = b;
    *ecx = c;
}
/* The handler leads out of these. */
SNIPPET(o_jmp, "7:\tjmp 7b");
SNIPPET(o_loop, "movl $-1, %ecx\n7:\tloop 7b");
SNIPPET(o_jnz, "orl %esp, %esp\n7:\tjnz 7b");
SNIPPET(o_indirect, "movl $7f, %eax\n7:\tjmp *%eax");
SNIPPET(o_hlt, "sti\n\thlt\n7:\tcli");
SNIPPET(o_end, "nop");
SNIPPET(r_stos, "cld\n7:\trep stosb\n1:\tcmpl $0, arrived\n\tje 1b");
SNIPPET(r_movs, "std\n7:\trep movsb\n\tcld\n1:\tcmpl $0, arrived\n\tje 1b");
static const struct {
    const char *name;
    const u8 *code, *at;
} until[] = {
#define U(name) {#name, u_##name, u_##name##_at}
    U(sti), U(sti_cli), U(popf), U(mov_ss), U(pop_ss), U(calls), U(int), U(undefined), U(system), U(work)},
  out[] = {{"JMP", o_jmp, o_jmp_at}, {"LOOP", o_loop, o_loop_at}, {"JNZ", o_jnz, o_jnz_at}, {"JMP EAX", o_indirect, o_indirect_at}};
#define BUFFER WINDOW_AT(0)
#define BUFFER_BYTES 0x8000u

static void any_time(void) {
    group("interrupts at any time");
    set_trap_handler(VECTOR_INVALID_OPCODE, skip_undefined);
    for (u32 i = 0; i < sizeof until / sizeof until[0]; i++)
        for (u32 round = 0; round < 8; round++) {
            cpl = round & 1 ? CPL3 : CPL0;
            arm(1 + (round * 41 + i * 13) % 90);
            prepare(EFLAGS_IF);
            in.eax = in.edx = in_software = 0;
            u32 a = 0, b = in.ebx, c = in.ecx;
            expect_done(until[i].name, until[i].code);
            expect(until[i].name, arrived, 1);
            expect("where it must not", seen_eip == (u32)until[i].at, 0);
            if (until[i].code == u_work) {
                work_model(caught.frame.edx, &a, &b, &c);
                if (caught.frame.eax != a || caught.frame.ebx != b || caught.frame.ecx != c) panic("work was disturbed");
            } else if (caught.frame.eax != caught.frame.edx) panic("%s: %u turns, not %u", until[i].name, caught.frame.eax, caught.frame.edx);
            if (i == 6 || i == 7) expect("every call was taken", (in_software & 0xFFFF) - (caught.frame.edx & 0xFFFF), 0);
            expect("ESP", in.esp - caught.frame.esp, 0);
        }
    set_trap_handler(VECTOR_INVALID_OPCODE, catch_trap);
    for (u32 round = 0; round < 16; round++) {
        u32 i = round / 2 % 4;
        cpl = round & 1 ? CPL3 : CPL0;
        leave_to = (u32)o_end;
        arm(1 + round * 7);
        prepare(EFLAGS_IF);
        expect_done(out[i].name, out[i].code);
        leave_to = 0;
        expect("where", seen_eip == (u32)out[i].at || seen_eip == (u32)out[i].code, 1); /* the latter if it was due at once */
        if (i == 1) expect("LOOP has counted", caught.frame.ecx == seen_ecx && seen_ecx != 0, 1);
        cpl = CPL0;
        arm(1 + round * 11);
        prepare(0);
        expect_done("HLT", o_hlt);
        expect("behind HLT", seen_eip - (u32)o_hlt_at, 0);
    }
    for (u32 round = 0; round < 12; round++) {
        u32 down = round >> 1 & 1;
        cpl = round & 1 ? CPL3 : CPL0;
        memset((void *)BUFFER, 0, BUFFER_BYTES);
        for (u32 n = 0; n < 64; n++) MEMORY8(BUFFER + BUFFER_BYTES - 64 + n) = (u8)n;
        arm(1 + round * 5);
        prepare(EFLAGS_IF);
        in.eax = 0x11 * round;
        in.ecx = BUFFER_BYTES - 64;
        in.edi = down ? BUFFER + BUFFER_BYTES - 65 : BUFFER;
        in.esi = in.edi + 64;
        expect_done("REP", down ? r_movs : r_stos);
        expect("arrived", arrived, 1);
        expect("ECX", caught.frame.ecx, 0);
        if (seen_eip == (u32)(down ? r_movs_at : r_stos_at)) {
            u32 done = BUFFER_BYTES - 64 - seen_ecx;
            if (seen_edi != (down ? in.edi - done : in.edi + done)) panic("REP: EDI %08x with %u done", seen_edi, done);
        }
        for (u32 n = 0; n < BUFFER_BYTES - 64; n++)
            if (MEMORY8(BUFFER + n) != (down ? (u8)(n % 64) : (u8)in.eax)) panic("REP: byte %u", n);
    }
}

/* A periodic tick of the 8254 on top: interrupts within the handler of another, and work that goes on under all of them. */
static void nested_timer(struct trap_frame *frame) {
    u32 before = pit_ticks;
    arrived++;
    lapic_write(LAPIC_EOI, 0);
    sti();
    while (pit_ticks - before < 2) {}
    cli();
}
SNIPPET(work_for_ticks, "1:\troll $5, %eax\n\taddl %ebx, %eax\n\tadcl %ecx, %ebx\n\tsbbl %eax, %ecx\n\trorl $7, %ecx\n\txorl %edx, %eax\n\tincl %edx\n\tcmpl %esi, %edx\n\tjb 1b");
static void dense(void) {
    group("dense");
    set_trap_handler(VECTOR_IRQ0, pit);
    timer_start(10000);
    set_trap_handler(TIMER, nested_timer);
    for (u32 n = 0; n < 4; n++) {
        arm(5);
        sti();
        while (!arrived) {}
        cli();
        expect("one within the other", arrived, 1);
    }
    set_trap_handler(TIMER, timer);
    pit_ticks = 0;
    for (u32 n = 0; pit_ticks < 20; n++) {
        cpl = n & 1 ? CPL3 : CPL0;
        prepare(EFLAGS_IF);
        in.eax = in.edx = 0;
        in.esi = 20000;
        u32 a = 0, b = in.ebx, c = in.ecx;
        if (run(work_for_ticks) != DONE) panic("work: trap %u", caught.frame.vector);
        work_model(20000, &a, &b, &c);
        if (caught.frame.eax != a || caught.frame.ebx != b || caught.frame.ecx != c) panic("work was disturbed");
    }
    timer_stop();
    expect("IF", read_eflags() & EFLAGS_IF, 0);
}

void program_main(void) {
    test_init();
    for (u32 n = 0; n < BUFFER_BYTES / PAGE_SIZE; n++) window_page(n, PTE_U | PTE_W);
    interrupts_init();
    set_trap_handler(VECTOR_INVALID_OPCODE, skip_undefined);
    certain();
    any_time();
    dense();
    lapic_timer_stop();
    groups_end();
}

/*
 * What the manual says and QEMU's TCG does otherwise, point by point; the other test guests leave these out.
 */
#include "pae.h"

#define RING1_STACK_ABSENT 0x40
#define CODE_RING1 0x48
#define GATE_RING1 0x50
#define CONFORMING 0x58
#define GATE_CONFORMING 0x63
#define FRESH_CODE 0x68
#define CODE_ABSENT 0x70

SNIPPET(lock_load, "7:\t.byte 0xF0, 0x8B, 0x03"); /* LOCK MOV EAX, [EBX] */
SNIPPET(lock_inc, "7:\t.byte 0xF0, 0x40");        /* LOCK INC EAX */
SNIPPET(lock_cmp, "7:\t.byte 0xF0, 0x39, 0x03");  /* LOCK CMP [EBX], EAX */
SNIPPET(lock_nop, "7:\t.byte 0xF0, 0x90");
static void lock_prefix(void) {
    static const u8 *const codes[] = {lock_load, lock_inc, lock_cmp, lock_nop};
    group("LOCK where it may not be");
    for (u32 cpl = CPL0; cpl <= CPL3; cpl += 3)
        for (u32 i = 0; i < 4; i++) {
            reset(cpl);
            in.ebx = (u32)user_stack_top - 64;
            expect_trap("LOCK", codes[i], codes[i], VECTOR_INVALID_OPCODE, 0);
            expect_registers("LOCK");
        }
}

/* Single step: QEMU traps after MOV SS, and once more at the end of a REP. */
SNIPPET(mov_ss, "movl %ss, %eax\n\tpushl $0x102\n\tpopfl\n\tmovw %ax, %ss\n\tnop\n7:\tnop");
SNIPPET(pop_ss, "pushl $0x102\n\tpushl %ss\n\tpopl %eax\n\tpopfl\n\tmovl %eax, %ss\n\tmovl $5, %ecx\n7:\tnop");
SNIPPET(sti_step, "pushl $0x102\n\tpopfl\n\tsti\n7:\tnop\n\tnop");
SNIPPET(rep_step, "nop\n7:\trep movsb\n\tnop");
static u32 steps, step_eip[16], step_ecx[16];
static void step(struct trap_frame *frame) {
    if (steps < 16) {
        step_eip[steps] = frame->eip;
        step_ecx[steps] = frame->ecx;
    }
    steps++;
}
static void single_step(void) {
    group("single step");
    reset(CPL0);
    EXPECT_TRAP("no trap between MOV SS and the next instruction", mov_ss, VECTOR_DEBUG, 0);
    reset(CPL3);
    EXPECT_TRAP("MOV SS at CPL 3", pop_ss, VECTOR_DEBUG, 0);
    expect("the next instruction was executed", caught.frame.ecx, 5);
    reset(CPL0);
    EXPECT_TRAP("STI delays interrupts, not traps", sti_step, VECTOR_DEBUG, 0);
    expect("IF", caught.frame.eflags & EFLAGS_IF, EFLAGS_IF);
    /* A trap after each iteration, the last with EIP behind. */
    set_trap_handler(VECTOR_DEBUG, step);
    reset(CPL3);
    in.eflags |= EFLAGS_TF;
    in.ecx = 4;
    in.esi = in.edi = (u32)user_stack_top - 64;
    expect_done("REP MOVSB", rep_step);
    set_trap_handler(VECTOR_DEBUG, catch_trap);
    expect("traps", steps, 6); /* NOP, four iterations, NOP */
    for (u32 i = 0; i < 5; i++) {
        expect("EIP", step_eip[i], (u32)rep_step_at + (i == 4 ? 2 : 0));
        expect("ECX", step_ecx[i], 4 - i);
    }
    __asm__ volatile("movl %0, %%dr6" ::"r"(0xFFFF0FF0));
}

/* A read-modify-write reports a write, also when the page is missing or not the program's. */
SNIPPET(exchange, "7:\txchgl %eax, (%ebx)");
SNIPPET(increment, "7:\tincl (%ebx)");
SNIPPET(add_to, "7:\taddl %eax, (%ebx)");
SNIPPET(compare_exchange, "7:\tlock cmpxchgl %ecx, (%ebx)");
SNIPPET(shift, "7:\trorl $3, (%ebx)");
SNIPPET(set_bit, "7:\tbtsl $3, (%ebx)");
SNIPPET(double_shift, "7:\tshldl $3, %eax, (%ebx)");
SNIPPET(exchange_8b, "7:\tcmpxchg8b (%ebx)");
SNIPPET(far_return, "7:\tlret");
SNIPPET(interrupt_return, "7:\tiret");
SNIPPET(store, "7:\tmovl %eax, (%ebx)");
SNIPPET(load, "7:\tmovl (%ebx), %eax");
static void page_faults(void) {
    static const u8 *const codes[] = {exchange, increment, add_to, compare_exchange, shift, set_bit, double_shift, exchange_8b};
    group("page fault error codes");
    map_page(WINDOW_AT(0), 0, 0);
    window_page(1, PTE_W);
    for (u32 i = 0; i < sizeof codes / sizeof codes[0]; i++)
        for (u32 page = 0; page <= 1; page++)
            for (u32 cpl = CPL0; cpl <= CPL3; cpl += 3) {
                if (page == 1 && cpl == 0) continue;
                reset(cpl);
                in.ebx = WINDOW_AT(page) + 8;
                expect_trap("read-modify-write", codes[i], codes[i], VECTOR_PAGE_FAULT, 2 | page | (cpl ? 4 : 0));
                expect("CR2", caught.cr2, WINDOW_AT(page) + 8);
                expect_registers("read-modify-write");
            }
    reset(CPL3); /* QEMU reads these stacks as the kernel */
    in.esp = WINDOW_AT(0) + 16;
    EXPECT_TRAP("far RET", far_return, VECTOR_PAGE_FAULT, 4);
    expect("page of CR2", caught.cr2 & PTE_FRAME, WINDOW_AT(0));
    expect_registers("far RET");
    EXPECT_TRAP("IRET", interrupt_return, VECTOR_PAGE_FAULT, 4);
    expect_registers("IRET");
    in.esp = WINDOW_AT(1) + 16;
    EXPECT_TRAP("far RET on a kernel's page", far_return, VECTOR_PAGE_FAULT, 5);
    EXPECT_TRAP("IRET on a kernel's page", interrupt_return, VECTOR_PAGE_FAULT, 5);
    /* A reserved bit (21 of a 4 MB page) is reported with P. */
    write_cr4(read_cr4() | CR4_PSE);
    page_directory[0x180] = 0x00200000 | 0x80 | PTE_U | PTE_W | PTE_P;
    reset(CPL3);
    in.ebx = 0x60000010;
    EXPECT_TRAP("reserved bit", store, VECTOR_PAGE_FAULT, 0xF);
    reset(CPL0);
    in.ebx = 0x60000010;
    EXPECT_TRAP("reserved bit", load, VECTOR_PAGE_FAULT, 9);
    page_directory[0x180] = 0;
    write_cr4(read_cr4() & ~CR4_PSE);
}

/* EXT, bit 0 of the error code: the fault happened while an exception was delivered, not by INT n. */
SNIPPET(ud2, "7:\tud2");
SNIPPET(int_90, "7:\tint $0x90");
SNIPPET(int3, "7:\tint3");
SNIPPET(single, "nop\n7:\tnop");
static void external(void) {
    static const struct {
        const u8 *code, *at;
        u32 entry, ext;
    } table[] = {{ud2, ud2_at, 6, 1}, {int_90, int_90_at, 0x90, 0}, {int3, int3_at, 3, 0}, {single, single_at, 1, 1}};
    u64 *idt = idt_entries();
    group("EXT");
    for (u32 i = 0; i < sizeof table / sizeof table[0]; i++) {
        u64 saved = idt[table[i].entry], good = idt[13];
        u64 cases[4] = {good & ~(1ull << 47), good & ~(0x1Full << 40), good & ~(0xFFFFull << 16),
                        (good & ~(0xFFFFull << 16)) | (u64)CODE_ABSENT << 16};
        u32 gate_error = table[i].entry * 8 + 2 + table[i].ext;
        u32 vectors[4] = {VECTOR_SEGMENT_NOT_PRESENT, VECTOR_GENERAL_PROTECTION, VECTOR_GENERAL_PROTECTION, VECTOR_SEGMENT_NOT_PRESENT};
        u32 errors[4] = {gate_error, gate_error, table[i].ext, CODE_ABSENT + table[i].ext};
        for (u32 c = 0; c < 4; c++) {
            reset(CPL0);
            if (table[i].code == single) in.eflags |= EFLAGS_TF;
            idt[table[i].entry] = cases[c];
            run(table[i].code);
            idt[table[i].entry] = saved;
            expect("vector", caught.frame.vector, vectors[c]);
            expect("error code", caught.frame.error_code, errors[c]);
            expect("EIP", caught.frame.eip, (u32)table[i].at);
        }
    }
    __asm__ volatile("movl %0, %%dr6" ::"r"(0xFFFF0FF0));
}

SNIPPET(ltr, "7:\tltr %ax");
SNIPPET(call_ring1, "7:\tlcall $0x50, $0");
SNIPPET(call_conforming, "lcall $0x63, $0");
SNIPPET(jump_fresh, "ljmp $0x68, $1f\n1:");
extern u8 same_ring[];
__asm__(".pushsection .user.text, \"ax\"\nsame_ring:\n\tmovl %cs, %ecx\n\tint $0x82\n\t.popsection");
static void segments(void) {
    u32 *tss = tss_words();
    group("segments");
    test_gdt[RING1_STACK_ABSENT >> 3] = descriptor(0, 0xFFFFF, 0x33, 0xC);
    test_gdt[CODE_RING1 >> 3] = descriptor(0, 0xFFFFF, 0xBB, 0xC);
    test_gdt[GATE_RING1 >> 3] = gate(CODE_RING1, (u32)ud2, 0xEC, 0);
    test_gdt[CONFORMING >> 3] = descriptor(0, 0xFFFFF, 0x9F, 0xC);
    test_gdt[GATE_CONFORMING >> 3] = gate(CONFORMING, (u32)same_ring, 0xEC, 0);
    test_gdt[FRESH_CODE >> 3] = descriptor(0, 0xFFFFF, 0x9A, 0xC);
    test_gdt[CODE_ABSENT >> 3] = descriptor(0, 0xFFFFF, 0x1B, 0xC);
    gdt_extend();
    reset(CPL0);
    in.eax = 0;
    EXPECT_TRAP("LTR of null", ltr, VECTOR_GENERAL_PROTECTION, 0);
    tss[4] = RING1_STACK_ABSENT | 1;
    reset(CPL3);
    EXPECT_TRAP("SS1 not present", call_ring1, VECTOR_STACK_FAULT, RING1_STACK_ABSENT);
    tss[4] = 0;
    reset(CPL3);
    expect_done("gate to conforming code", call_conforming);
    expect("CPL stays 3", caught.frame.ecx, CONFORMING | 3);
    expect("ESP", caught.frame.esp, in.esp - 8);
    reset(CPL0);
    expect_done("far JMP", jump_fresh);
    expect("CS accessed", test_gdt[FRESH_CODE >> 3] >> 40 & 0xFF, 0x9B);
}

/* Values that control registers and MSRs refuse. */
SNIPPET(to_cr0, "7:\tmovl %eax, %cr0");
SNIPPET(to_cr4, "7:\tmovl %eax, %cr4");
SNIPPET(read_msr, "7:\trdmsr");
SNIPPET(write_msr, "7:\twrmsr");
static void refused(void) {
    u32 cr0 = read_cr0(), cr4 = read_cr4();
    group("refused values");
    reset(CPL0);
    in.eax = cr0 & ~CR0_PE;
    EXPECT_TRAP("PG without PE", to_cr0, VECTOR_GENERAL_PROTECTION, 0);
    in.eax = (cr0 | 0x20000000) & ~0x40000000u;
    EXPECT_TRAP("NW without CD", to_cr0, VECTOR_GENERAL_PROTECTION, 0);
    expect("CR0", read_cr0() ^ cr0, 0);
    in.eax = cr4 | 0x80000000;
    EXPECT_TRAP("reserved bit of CR4", to_cr4, VECTOR_GENERAL_PROTECTION, 0);
    expect("CR4", read_cr4() ^ cr4, 0);
    in.ecx = 0x0000BAD0;
    EXPECT_TRAP("no such MSR", read_msr, VECTOR_GENERAL_PROTECTION, 0);
    EXPECT_TRAP("no such MSR", write_msr, VECTOR_GENERAL_PROTECTION, 0);
    expect_registers("no such MSR");
}

/* #AC: unaligned accesses at CPL 3 with CR0.AM and EFLAGS.AC. */
SNIPPET(word, "7:\tmovw (%ebx), %ax\n\tpushl $2\n\tpopfl");
SNIPPET(doubleword, "7:\tmovl %eax, (%ebx)\n\tpushl $2\n\tpopfl");
static void alignment(void) {
    u32 cr0 = read_cr0(), address = (u32)user_stack_top - 64;
    group("alignment check");
    for (u32 n = 0; n < 64; n++) {
        u32 am = n & 1, ac = n >> 1 & 1, cpl = n & 4 ? CPL3 : CPL0, offset = n >> 3 & 3, wide = n >> 5;
        u32 checked = am && ac && cpl == 3 && (wide ? offset : offset & 1);
        write_cr0(am ? cr0 | CR0_AM : cr0 & ~CR0_AM);
        reset(cpl);
        in.eflags |= ac ? EFLAGS_AC : 0;
        in.ebx = address + offset;
        if (!checked) expect_done("aligned or not checked", wide ? doubleword : word);
        else {
            expect_trap("unaligned", wide ? doubleword : word, wide ? doubleword : word, VECTOR_ALIGNMENT_CHECK, 0);
            expect_registers("unaligned");
        }
    }
    write_cr0(cr0);
}

/* The PDPTE registers of PAE paging: when they are loaded, and what is refused. */
#define PAGE_TWO_GB 0x80001000u
#define RIGHTS (PTE_U | PTE_W | PTE_P)
#define CR0_CD 0x40000000u
SNIPPET(to_cr3, "7:\tmovl %eax, %cr3");

static u32 directory_with(u32 frame) { /* of which PAGE_TWO_GB is in `frame` */
    u32 directory = frame_alloc(), table = frame_alloc();
    *(u64 *)directory = table | RIGHTS;
    ((u64 *)table)[1] = frame | RIGHTS;
    return directory;
}
static u32 here(void) { /* the word at PAGE_TWO_GB, 0 if it is not present */
    u32 outcome = pae_access(PAGE_TWO_GB, CPL0, LOAD);
    if (outcome != ALLOWED) expect("error code", outcome, 0);
    return outcome == ALLOWED ? caught.frame.eax : 0;
}
static void load_pointer(u64 entry) { /* and see that nothing but a load of the registers takes it up */
    u32 before = here(), cr0 = read_cr0(), cr4 = read_cr4();
    pae_pointers[2] = entry;
    expect("after a store", here(), before);
    invlpg(PAGE_TWO_GB);
    invlpg((u32)pae_pointers);
    expect("after INVLPG", here(), before);
    write_cr0(cr0 ^ CR0_WP);
    write_cr0(cr0);
    write_cr4(cr4 ^ 4); /* TSD */
    write_cr4(cr4);
    expect("after MOV to CR0 and CR4 of other bits", here(), before);
}

static void pointers(void) {
    static const u8 reserved[] = {1, 2, 5, 6, 7, 8, 45, 51, 62, 63}, others[] = {3, 4, 9, 10, 11};
    u32 frames[2] = {frame_alloc(), frame_alloc()}, directories[2], cr0 = read_cr0();
    for (u32 i = 0; i < 2; i++) {
        directories[i] = directory_with(frames[i]);
        MEMORY32(frames[i]) = 0x0D1AEC70 + i;
    }
    group("PDPTE registers");
    pae_build();
    pae_pointers[2] = directories[0] | PTE_P;
    pae_on((u32)pae_pointers);
    u32 cr4 = read_cr4();
    expect("the first directory", here(), 0x0D1AEC70);
    for (u32 how = 0; how < 5; how++) { /* each of them loads the registers */
        load_pointer(how & 1 ? directories[0] | PTE_P : directories[1] | PTE_P);
        if (how == 0) write_cr3(read_cr3());
        if (how == 1) write_cr4(cr4 ^ CR4_PGE);
        if (how == 2) write_cr4(cr4 ^ CR4_PSE);
        if (how == 3) write_cr0(cr0 | CR0_CD);
        if (how == 4) pae_off(), pae_on((u32)pae_pointers);
        invlpg(PAGE_TWO_GB); /* CR0.CD flushes nothing */
        expect("loaded", here(), 0x0D1AEC71 - (how & 1));
        write_cr4(cr4);
        write_cr0(cr0);
    }
    load_pointer(0);
    write_cr3((u32)pae_pointers);
    expect("not present", here(), 0);
    load_pointer(0xFFFFFFFFFFFFFFFEull);
    write_cr3((u32)pae_pointers);
    expect("not present, all other bits set", here(), 0);
    for (u32 i = 0; i < sizeof others; i++) {
        pae_pointers[2] = directories[i & 1] | PTE_P | 1u << others[i];
        write_cr3((u32)pae_pointers);
        expect("PWT, PCD and software's bits", here(), 0x0D1AEC70 + (i & 1));
    }
    pae_pointers[2] = directories[0] | PTE_P;
    write_cr3((u32)pae_pointers);
    u64 *second = pae_pointers + 4;
    for (u32 i = 0; i < 4; i++) second[i] = pae_pointers[i];
    for (u32 i = 0; i < sizeof reserved; i++) {
        reset(CPL0);
        second[i & 3] = pae_pointers[i & 3] | PTE_P | 1ull << reserved[i];
        in.eax = (u32)second;
        EXPECT_TRAP("MOV to CR3 of a table with a reserved bit", to_cr3, VECTOR_GENERAL_PROTECTION, 0);
        expect_registers("MOV to CR3");
        expect("CR3", read_cr3(), (u32)pae_pointers);
        second[i & 3] = pae_pointers[i & 3];
        pae_pointers[2] |= 1ull << reserved[i];
        reset(CPL0);
        in.eax = cr4 ^ CR4_PGE;
        EXPECT_TRAP("MOV to CR4 that changes PGE", to_cr4, VECTOR_GENERAL_PROTECTION, 0);
        in.eax = cr4 ^ CR4_PSE;
        EXPECT_TRAP("MOV to CR4 that changes PSE", to_cr4, VECTOR_GENERAL_PROTECTION, 0);
        expect("CR4", read_cr4(), cr4);
        in.eax = cr0 | CR0_CD;
        EXPECT_TRAP("MOV to CR0 that changes CD", to_cr0, VECTOR_GENERAL_PROTECTION, 0);
        expect("CR0", read_cr0(), cr0);
        expect("the registers are as they were", here(), 0x0D1AEC70);
        write_cr0(cr0 & ~CR0_PG);
        in.eax = cr0;
        run(to_cr0);
        u32 now = read_cr0();
        pae_pointers[2] = directories[0] | PTE_P;
        write_cr0(cr0);
        expect("MOV to CR0 that sets PG", caught.frame.vector << 16 | caught.frame.error_code, VECTOR_GENERAL_PROTECTION << 16);
        expect("CR0", now, cr0 & ~CR0_PG);
    }
    for (u32 i = 0; i < 4; i++) expect("no A in pointer entries", (u32)pae_pointers[i] & PTE_A, 0);
    /* An error code of a reserved bit has P. IA32_EFER refuses what it does not have. */
    u32 *entry = (u32 *)(u32)(*(u64 *)directories[0] & PAE_FRAME) + 2;
    entry[1] = 0x40000000;
    invlpg(PAGE_TWO_GB);
    expect("RSVD with P", pae_access(PAGE_TWO_GB, CPL3, STORE), 15);
    entry[1] = 0;
    reset(CPL0);
    in.ecx = MSR_EFER;
    in.edx = 0;
    in.eax = 0x1000;
    EXPECT_TRAP("reserved bit of IA32_EFER", write_msr, VECTOR_GENERAL_PROTECTION, 0);
    in.eax = EFER_NXE;
    in.edx = 1;
    EXPECT_TRAP("upper half of IA32_EFER", write_msr, VECTOR_GENERAL_PROTECTION, 0);
    pae_off();
}

void program_main(void) {
    test_init();
    lock_prefix();
    single_step();
    page_faults();
    segments();
    external();
    refused();
    alignment();
    pointers();
    groups_end();
}

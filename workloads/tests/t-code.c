/*
 * Code as it should not be, and as processors have to run it: data that is executed, instructions that begin in the middle
 * of others, stores to the very next instruction or to the one that stores, pages of code that become other code, code that
 * reads itself. Between a store and the instruction that it changes there is no jump, as all processors since the Pentium
 * allow under the same linear address; under another one there is CPUID (SDM volume 3, 8.1.3).
 */
#include "code.h"
#include "pae.h"

#define CODE WINDOW_AT(0)  /* four pages in a row, writable, for CPL 3 */
#define ALIAS WINDOW_AT(8) /* the same frames */
#define PAGES 4u
#define OTHER WINDOW_AT(16) /* a page whose entry the tests change */
#define END (OTHER + PAGE_SIZE)
#define RIGHTS (PTE_U | PTE_W | PTE_P)

static u32 cpl; /* of the runs; every group but paging's runs at both */

/* Data, executed. */

struct mov_int {
    u8 mov;
    u32 value;
    u8 interrupt, vector;
} __attribute__((packed));
static const struct mov_int constant = {0xB8, 0xC0257A27, 0xCD, DONE};
static struct mov_int variable = {0xB8, 0, 0xCD, DONE};
static struct mov_int user_variable USER_DATA = {0xB8, 0, 0xCD, DONE};
SNIPPET(on_the_stack, "pushl $0x9082CD12\n\tpushl $0x345678B8\n\tmovb $0x12, 4(%esp)\n\tjmp *%esp");

static void data(void) {
    group("data executed");
    for (u32 i = 0; i < 32; i++) {
        variable.value = i * 0x01010101;
        user_variable.value = ~variable.value;
        expect("data of CPL 0", eax_of((u32)&variable, CPL0), i * 0x01010101);
        for (cpl = CPL0; cpl <= CPL3; cpl += 3) expect("data of CPL 3", eax_of((u32)&user_variable, cpl), ~variable.value);
    }
    expect("constants", eax_of((u32)&constant, CPL0), 0xC0257A27);
    for (cpl = CPL0; cpl <= CPL3; cpl += 3) expect("a stack", eax_of((u32)on_the_stack, cpl), 0x12345678);
    /* Decrypted first, encrypted again after. */
    for (u32 key = 1; key < 256; key += 50) {
        mov_eax_end(CODE, key << 24 | 0x5EC8E7);
        for (u32 i = 0; i < MOV_EAX_END_LENGTH; i++) MEMORY8(CODE + i) ^= key;
        for (u32 again = 0; again < 2; again++) {
            for (u32 i = 0; i < MOV_EAX_END_LENGTH; i++) MEMORY8(CODE + i) ^= key;
            expect("decrypted", eax_of(CODE, CPL3), key << 24 | 0x5EC8E7);
            for (u32 i = 0; i < MOV_EAX_END_LENGTH; i++) MEMORY8(CODE + i) ^= key;
        }
    }
    /* A page table in use: its entries for what is not mapped are INC EAX twice, INT 82h, with P clear. */
    u32 *table = pte_of(CODE);
    for (u32 entry = 0x300; entry < 0x310; entry++) {
        table[entry] = 0x82CD4040;
        expect("a page table", eax_of((u32)&table[entry], CPL0), 0xA0A1A2A5);
        table[entry] = 0x82CD4848; /* DEC EAX twice */
        expect("a page table, changed", eax_of((u32)&table[entry], CPL0), 0xA0A1A2A1);
        table[entry] = 0;
    }
    /* An entry that stores into itself: MOV BYTE [EBX], 48h; INC EAX; INT 82h, at which EBX points to INC. */
    for (u32 again = 0; again < 4; again++) {
        at = (u8 *)&table[0x320];
        CODE_BYTES(0xC6, 0x03, 0x48, 0x40, 0x40);
        CODE_END();
        reset(CPL0);
        in.ebx = (u32)&table[0x320] + 3;
        expect_done("a page table that changes itself", (u8 *)&table[0x320]);
        expect("its result", caught.frame.eax, 0xA0A1A2A3);
        table[0x320] = table[0x321] = 0;
    }
}

/*
 * Random bytes of an alphabet in which every byte begins an instruction that may run: entered at every offset, so that
 * each byte is opcode, immediate, displacement. Branches go forward, into NOPs that follow.
 */
#define JUNGLE 96
#define SLED 0x88
static const u8 alphabet[] = {0x40, 0x41, 0x42, 0x43, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x4B, 0x4D, 0x4E, 0x4F, 0x04, 0x05,
                              0x14, 0x15, 0x1C, 0x1D, 0x2C, 0x2D, 0x3C, 0x3D, 0x50, 0x53, 0x57, 0x58, 0x59, 0x5A, 0x5F, 0x60,
                              0x61, 0x68, 0x6A, 0x70, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A, 0x7C, 0x7E, 0x7F,
                              0x05, 0x15, 0x1D, 0x2D, 0x3D, 0x3E, 0x26, 0x36};
static u8 jungle_stack[2048] USER_DATA;
static u32 steps;
static void count_step(struct trap_frame *frame) { steps++; }

static void run_jungle(u32 address, u32 flags, struct outcome *outcome) {
    memset(jungle_stack, 0x5A, sizeof jungle_stack);
    reset(cpl);
    in.eflags |= flags;
    in.esp = (u32)jungle_stack + 1024;
    expect_done("the jungle", (u8 *)address);
    outcome_of_trap(outcome);
}

static void middle(void) {
    static struct outcome outcomes[JUNGLE], outcome;
    group("every byte an instruction");
    for (u32 n = 0; n < 8; n++) {
        u32 start = CODE + (n & 1 ? PAGE_SIZE - JUNGLE / 2 : 64 * n); /* half of them lie on two pages */
        at = (u8 *)start;
        for (u32 i = 0; i < JUNGLE; i++) *at++ = alphabet[random32() % sizeof alphabet];
        memset(at, 0x90, SLED);
        at += SLED;
        CODE_END();
        cpl = CPL0;
        for (u32 i = 0; i < JUNGLE; i++) run_jungle(start + i, 0, &outcomes[i]);
        cpl = CPL3;
        for (u32 i = JUNGLE; i-- > 0;) {
            run_jungle(start + i, 0, &outcome);
            expect_outcome("at CPL 3, in the other order", &outcome, &outcomes[i]);
        }
        if (n & 3) continue;
        set_trap_handler(VECTOR_DEBUG, count_step);
        for (u32 i = 0; i < JUNGLE; i += 5) {
            cpl = i % 2 ? CPL3 : CPL0;
            run_jungle(start + i, EFLAGS_TF, &outcome);
            expect_outcome("step by step", &outcome, &outcomes[i]);
        }
        set_trap_handler(VECTOR_DEBUG, catch_trap);
        digest(steps);
    }
    __asm__ volatile("movl %0, %%dr6" ::"r"(0xFFFF0FF0));
}

/* Two instructions in the same bytes, both executed. */
SNIPPET(jump_into_itself, ".byte 0xEB, 0xFF, 0xC0\n\t.byte 0x48\n\t.byte 0xEB, 0xFF, 0xC1"); /* JMP -1; INC EAX; DEC EAX; JMP -1; INC ECX */
/* ADD EAX, 2EBh, whose immediate is JMP over its own rest; by turns of ECX. */
SNIPPET(by_turns, "xorl %eax, %eax\n\tmovl $101, %ecx\n1:\t.byte 0x05, 0xEB, 0x02, 0, 0\n\tincl %edx\n\tdecl %ecx\n\t"
                  "jz 2f\n\ttestb $1, %cl\n\tjz 1b\n\tjmp 1b + 1\n2:");
/* A prefix that is jumped over: with LOCK, REP or an operand size, and without. */
SNIPPET(past_prefix, "movl $10, %ecx\n\txorl %edx, %edx\n1:\ttestb $1, %cl\n\tjz 2f + 1\n2:\tlock incl (%ebx)\n\taddl $3, %edx\n\t"
                     "testb $2, %cl\n\tjz 3f + 1\n3:\t.byte 0x66, 0xB8, 0x34, 0x12, 0x90, 0x90\n\tdecl %ecx\n\tjnz 1b");
static void overlaps(void) {
    group("two instructions in the same bytes");
    for (cpl = CPL0; cpl <= CPL3; cpl += 3) {
        reset(cpl);
        expect_done("JMP -1", jump_into_itself);
        expect("EAX", caught.frame.eax, in.eax);
        expect("ECX", caught.frame.ecx, in.ecx + 1);
        reset(cpl);
        in.edx = 0;
        expect_done("by turns", by_turns);
        expect("EAX", caught.frame.eax, 0x2EB * 51); /* begun once at ADD, then at even ECX: 100, 98 ... 2 */
        expect("EDX", caught.frame.edx, 101);
        reset(cpl);
        in.ebx = (u32)user_stack_top - 64;
        MEMORY32(in.ebx) = 0;
        expect_done("past a prefix", past_prefix);
        expect("increments", MEMORY32(in.ebx), 10);
        expect("EDX", caught.frame.edx, 30);
        expect("EAX", caught.frame.eax, 0x90901234); /* MOV EAX, imm32 without the prefix; MOV AX, imm16 with it */
    }
}

/*
 * Stores to what comes next. Each stores the low byte or all of EDX's new immediate, in `value`, where EDI points, to the
 * immediate of MOV EDX, imm32, some NOPs ahead. ESI points to a word with the value; EAX has what was there before.
 */
#define OLD 0x11223344u
static const struct way {
    const char *name;
    u8 length, code[8];
    u8 low_byte, on_stack; /* 1: what it stores, 2: what it reads */
} ways[] = {
    {"MOV", 2, {0x89, 0x0F}, 0, 0},          {"MOV of a byte", 2, {0x88, 0x0F}, 1, 0},
    {"XCHG", 2, {0x87, 0x0F}, 0, 0},         {"MOVSD", 1, {0xA5}, 0, 0},
    {"PUSH", 4, {0x8D, 0x67, 0x04, 0x51}, 0, 1},               {"POP", 2, {0x8F, 0x07}, 0, 2},
    {"LOCK CMPXCHG", 4, {0xF0, 0x0F, 0xB1, 0x0F}, 0, 0}, {"AND and OR", 5, {0x83, 0x27, 0x00, 0x09, 0x0F}, 0, 0},
    {"MOV of both halves", 8, {0x66, 0x89, 0x0F, 0x66, 0x89, 0x5F, 0x02, 0x90}, 0, 0},
    {"REP MOVSB", 7, {0xB1, 4, 0x0F, 0xB6, 0xC9, 0xF3, 0xA4}, 0, 0},
};

static void store_ahead(u32 start, const struct way *way, u32 nops, u32 elsewhere, u32 value) {
    at = (u8 *)start;
    bytes(way->code, way->length);
    if (elsewhere) CODE_BYTES(0x0F, 0xA2); /* CPUID */
    for (u32 i = 0; i < nops; i++) CODE_BYTES(0x90);
    CODE_BYTES(0xBA);
    u32 target = (u32)at + (elsewhere ? ALIAS - CODE : 0);
    word(OLD);
    if (way->on_stack == 1) CODE_BYTES(0x89, 0xEC); /* MOV ESP, EBP: a trap at CPL 0 would push its frame over the code */
    CODE_END();
    u32 source = (u32)user_stack_top - 64;
    for (u32 again = 0; again < 2; again++) {
        MEMORY32(source) = value;
        if (again) {
            MEMORY32(target) = OLD; /* by the kernel, at another place of its code */
            serialize();
        }
        reset(cpl);
        in.eax = OLD;
        in.ecx = value;
        in.ebx = value >> 16;
        in.edi = target;
        in.esi = source;
        in.ebp = source;
        if (way->on_stack == 2) in.esp = source;
        expect_done(way->name, (u8 *)start);
        expect("EDX", caught.frame.edx, way->low_byte ? (OLD & ~0xFFu) | (value & 0xFF) : value);
    }
}

static void next_instruction(void) {
    group("stores to the next instructions");
    for (u32 w = 0; w < sizeof ways / sizeof ways[0]; w++)
        for (cpl = CPL0; cpl <= CPL3; cpl += 3) {
            for (u32 nops = 0; nops < 14; nops++) store_ahead(CODE + 100 * w + nops, &ways[w], nops, 0, random32());
            for (u32 before = 1; before < 16; before++) store_ahead(CODE + PAGE_SIZE - before, &ways[w], before % 3, 0, random32());
            for (u32 before = 1; before < 16; before += 3) store_ahead(CODE + 2 * PAGE_SIZE - before, &ways[w], 1, 1, random32());
        }
}

/* Instructions that change themselves: what was read is executed, what was stored is executed next time. */
static void same_instruction(void) {
    group("stores to the same instruction");
    for (cpl = CPL0; cpl <= CPL3; cpl += 3)
        for (u32 before = 0; before < 14; before++) { /* within a page, then over its end */
            u32 start = before ? CODE + PAGE_SIZE - before : CODE + 0x40;
            at = (u8 *)start;
            CODE_BYTES(0x81, 0x05); /* ADD DWORD [its own immediate], immediate */
            word(start + 6);
            word(3);
            CODE_END();
            for (u32 n = 1; n < 8; n++) {
                reset(cpl);
                expect_done("ADD", (u8 *)start);
                expect("immediate", MEMORY32(start + 6), 3 << n);
            }
            /* MOV BYTE [opcode], 80h; then ADD BYTE [opcode], 80h; then ADD [opcode], AL with CMP CL, 41h for the rest. */
            at = (u8 *)start;
            CODE_BYTES(0xC6, 0x05);
            word(start);
            CODE_BYTES(0x80, 0xF9, 0x41); /* STC; INC ECX for the first two */
            CODE_END();
            static const u8 opcodes[] = {0x80, 0x00, 0xC6};
            for (u32 n = 0; n < 9; n++) {
                reset(cpl);
                in.eax = 0xC6;
                in.ecx = 5;
                expect_done("three in turn", (u8 *)start);
                expect("opcode", MEMORY8(start), opcodes[n % 3]);
                expect("ECX", caught.frame.ecx, n % 3 == 2 ? 5 : 6);
                expect("CF", caught.frame.eflags & EFLAGS_CF, EFLAGS_CF); /* STC; or 5 below 41h */
            }
            /* The instruction before is changed in a loop: INC EAX, DEC EAX, INC EAX ... */
            at = (u8 *)start;
            CODE_BYTES(0x40, 0x80, 0x35); /* INC EAX; XOR BYTE [it], 8 */
            word(start);
            CODE_BYTES(8, 0x01, 0xC2, 0x49, 0x75, 0xF3); /* ADD EDX, EAX; DEC ECX; JNZ it */
            CODE_END();
            reset(cpl);
            in.eax = in.edx = 0;
            in.ecx = 21;
            expect_done("behind", (u8 *)start);
            expect("EAX", caught.frame.eax, 1);
            expect("EDX", caught.frame.edx, 11);
        }
}

/* String input is a store, too: the interrupt mask of the first 8259 becomes code. */
static void from_a_port(void) {
    group("code from a port");
    for (u32 mask = 0x40; mask < 0x50; mask += 0xF) { /* INC EAX; DEC EDI */
        outb(0x21, mask);
        for (u32 before = 8; before < 14; before++) {
            at = (u8 *)CODE + PAGE_SIZE - before;
            CODE_BYTES(0xF3, 0x6C); /* REP INSB to what follows */
            for (u32 i = 0; i < 12; i++) CODE_BYTES(0xF4);
            CODE_END();
            reset(CPL0);
            in.edx = 0x21;
            in.ecx = 12;
            in.edi = CODE + PAGE_SIZE - before + 2;
            expect_done("REP INSB", (u8 *)CODE + PAGE_SIZE - before);
            expect("EAX", caught.frame.eax, in.eax + (mask == 0x40 ? 12 : 0));
            expect("EDI", caught.frame.edi, in.edi + (mask == 0x40 ? 12 : 0));
        }
    }
    outb(0x21, 0xFF);
}

/* A page of code that becomes other code: the frame filled anew, the page mapped anew. */
static void reuse(void) {
    u32 frames[4], entry;
    group("pages of code reused");
    for (u32 i = 0; i < 4; i++) {
        frames[i] = frame_alloc();
        mov_eax_end(frames[i] + 0x10, 0xF0 + i);
        mov_eax_end(frames[i] + PAGE_SIZE - MOV_EAX_END_LENGTH, 0xFF0 + i);
    }
    for (u32 n = 0; n < 40; n++) {
        u32 i = n * n % 4;
        cpl = n & 4 ? CPL3 : CPL0;
        map_page(OTHER, frames[i], RIGHTS);
        if (n & 1) invlpg(OTHER);
        else write_cr3(read_cr3());
        expect("mapped anew", eax_of(OTHER + 0x10, cpl), 0xF0 + i);
        expect("at its end", eax_of(END - MOV_EAX_END_LENGTH, cpl), 0xFF0 + i);
        *pte_of(OTHER) = 0;
        invlpg(OTHER);
        reset(cpl);
        expect("not there", run((u8 *)OTHER + 0x10), VECTOR_PAGE_FAULT);
        map_page(OTHER, frames[3 - i], RIGHTS); /* what was not present needs no INVLPG */
        expect("there again", eax_of(OTHER + 0x10, cpl), 0xF0 + 3 - i);
    }
    for (u32 n = 0; n < 24; n++) { /* the frame stays, its contents change: the kernel copies over it */
        memcpy((void *)frames[3], (void *)frames[n % 3], PAGE_SIZE);
        map_page(OTHER, frames[3], RIGHTS);
        if (n == 0) invlpg(OTHER);
        serialize();
        expect("filled anew", eax_of(OTHER + 0x10, n & 1 ? CPL3 : CPL0), 0xF0 + n % 3);
    }
    mov_eax_end(frames[3] + 0x10, 0xF3);
    /* Two address spaces with other code at the same address. */
    u32 second = frame_alloc(), *directory = (u32 *)second, table = frame_alloc();
    memcpy(directory, page_directory, PAGE_SIZE);
    memcpy((void *)table, (void *)(page_directory[OTHER >> 22] & PTE_FRAME), PAGE_SIZE);
    directory[OTHER >> 22] = table | RIGHTS;
    ((u32 *)table)[OTHER >> 12 & 0x3FF] = frames[1] | RIGHTS;
    for (u32 n = 0; n < 24; n++) {
        write_cr3(n & 1 ? second : (u32)page_directory);
        expect("address space", eax_of(OTHER + 0x10, n & 2 ? CPL3 : CPL0), n & 1 ? 0xF1 : 0xF3);
    }
    write_cr3((u32)page_directory);
    /* Code becomes a page table, and code again. */
    for (u32 n = 0; n < 6; n++) {
        expect("code", eax_of(frames[2] + 0x10, CPL0), 0xF2);
        entry = MEMORY32(frames[2] + 0x20);
        ((u32 *)frames[2])[8] = frames[n & 1] | RIGHTS; /* beside the code: page 8 of its 4 MB */
        page_directory[0x180] = frames[2] | RIGHTS;
        invlpg(0x60008000);
        expect("mapped by what is code", eax_of(0x60008010, n & 2 ? CPL3 : CPL0), 0xF0 + (n & 1));
        expect("code and a page table", eax_of(frames[2] + 0x10, CPL0), 0xF2);
        page_directory[0x180] = 0;
        invlpg(0x60008000);
        MEMORY32(frames[2] + 0x20) = entry;
    }
}

/* Instructions over the end of a page whose successor is missing, not the program's, or changed meanwhile. */
static const struct {
    u8 length, code[12];
} long_ones[] = {
    {2, {0x89, 0xD8}}, {3, {0x0F, 0xAF, 0xC3}}, {5, {0xB8, 1, 2, 3, 4}}, {6, {0x81, 0xC3, 1, 2, 3, 4}},
    {7, {0x8D, 0x84, 0x1B, 4, 3, 2, 1}}, {10, {0x3E, 0x3E, 0x3E, 0x3E, 0x81, 0xC1, 1, 2, 3, 4}},
    {2, {0x74, 0}}, {5, {0xE9, 0, 0, 0, 0}}, {6, {0x0F, 0x85, 0, 0, 0, 0}}, {5, {0xE8, 0, 0, 0, 0}}, {2, {0xE2, 0}}};

static void over_pages(void) {
    static struct outcome whole, outcome;
    group("instructions over the end of a page");
    u32 first = window_page(17, 0), second = window_page(18, 0), start = WINDOW_AT(18);
    for (u32 i = 0; i < sizeof long_ones / sizeof long_ones[0]; i++)
        for (u32 before = 1; before <= long_ones[i].length; before++)
            for (cpl = CPL0; cpl <= CPL3; cpl += 3) {
                u8 *code = (u8 *)start - before;
                map_page(WINDOW_AT(17), first, RIGHTS);
                map_page(start, second, RIGHTS);
                invlpg(WINDOW_AT(17));
                invlpg(start);
                at = code;
                bytes(long_ones[i].code, long_ones[i].length);
                CODE_END();
                reset(cpl);
                expect_done("whole", code);
                outcome_of_trap(&whole);
                u32 faulting = before == long_ones[i].length ? start : (u32)code; /* the next one, or this one */
                unmap_page(start);
                reset(cpl);
                expect("the second page is missing", run(code), VECTOR_PAGE_FAULT);
                expect("error code", caught.frame.error_code, cpl ? 4 : 0);
                expect("CR2", caught.cr2, start);
                expect("EIP", caught.frame.eip, faulting);
                if (faulting != start) expect_registers("a fetch that faults");
                else {
                    outcome_of_trap(&outcome);
                    expect_outcome("a fetch that faults after it", &outcome, &whole);
                }
                map_page(start, second, PTE_P); /* not for CPL 3 */
                invlpg(start);
                reset(cpl);
                expect("the second page is the kernel's", run(code), cpl ? VECTOR_PAGE_FAULT : DONE);
                if (cpl) expect("error code", caught.frame.error_code, 5);
                if (cpl) expect("EIP", caught.frame.eip, faulting);
                map_page(start, second, RIGHTS);
                invlpg(start);
                unmap_page(WINDOW_AT(17));
                reset(cpl);
                expect("the first page is missing", run(code), VECTOR_PAGE_FAULT);
                expect("CR2", caught.cr2, (u32)code);
                expect("EIP", caught.frame.eip, (u32)code);
            }
    map_page(WINDOW_AT(17), first, RIGHTS);
}

/* Jumps to where no code is: the transfer is done, the fetch faults. */
SNIPPET(jump, "jmp *%ebx");
SNIPPET(call, "call *%ebx");
SNIPPET(push_ret, "pushl %ebx\n\tret");
SNIPPET(far_jump, "movl %ebx, -8(%esp)\n\tmovw %cs, -4(%esp)\n\tljmpl *-8(%esp)");
SNIPPET(far_ret, "pushl %cs\n\tpushl %ebx\n\tlret");
SNIPPET(iret_there, "pushfl\n\tpushl %cs\n\tpushl %ebx\n\tiret");
static const u8 *const jumps[] = {jump, call, push_ret, far_jump, far_ret, iret_there};

static void expect_no_code(u32 target, u32 error_code) {
    for (u32 i = 0; i < 6; i++)
        for (u32 again = 0; again < 2; again++) {
            reset(cpl);
            in.ebx = target;
            expect("vector", run(jumps[i]), VECTOR_PAGE_FAULT);
            expect("error code", caught.frame.error_code, error_code | (cpl ? 4 : 0));
            expect("CR2", caught.cr2, target);
            expect("EIP", caught.frame.eip, target);
            expect("ESP", in.esp - caught.frame.esp, jumps[i] == call ? 4 : 0);
            if (jumps[i] == call) expect("return address", MEMORY32(caught.frame.esp), (u32)call + 2);
        }
}

static void nowhere(void) {
    static const u32 targets[] = {0x50000000, 0x50000FFF, 0x7FFFF123, 0xBFFFFFF0, 0xFEDC0001};
    group("jumps to where no code is");
    u32 frame = window_page(20, RIGHTS), kernel = window_page(21, 0);
    for (cpl = CPL0; cpl <= CPL3; cpl += 3) {
        for (u32 i = 0; i < sizeof targets / sizeof targets[0]; i++) expect_no_code(targets[i], 0);
        *pte_of(WINDOW_AT(20)) = frame | (RIGHTS & ~PTE_P);
        invlpg(WINDOW_AT(20));
        expect_no_code(WINDOW_AT(20) + 8, 0);
        mov_eax_end(kernel + 16, 0x600D);
        if (cpl) expect_no_code(WINDOW_AT(21) + 16, 1);
        else expect("the kernel's page", eax_of(WINDOW_AT(21) + 16, cpl), 0x600D);
    }
}

/* Execute-disable: the frame holds code that ran until a moment ago. */
static void execute_disable(void) {
    group("execute-disable");
    u32 frame = frame_alloc(), before = frame_alloc(), page = 0x50008000;
    memset((void *)frame, 0x90, PAGE_SIZE);
    memset((void *)before, 0x40, PAGE_SIZE); /* INC EAX */
    mov_eax_end(frame + 16, 0x600D);
    pae_build();
    pae_map(page, frame, RIGHTS);
    pae_map(page - PAGE_SIZE, before, RIGHTS);
    set_nxe(1);
    pae_on((u32)pae_pointers);
    for (u32 again = 0; again < 3; again++)
        for (cpl = CPL0; cpl <= CPL3; cpl += 3) {
            pae_map(page, frame, RIGHTS);
            invlpg(page);
            expect("executable", eax_of(page - 8, cpl), 0x600D);
            pae_map(page, frame, RIGHTS | XD);
            invlpg(page);
            expect_no_code(page + 16, 0x11);
            reset(cpl);
            expect("running into it", run((u8 *)page - 8), VECTOR_PAGE_FAULT);
            expect("error code", caught.frame.error_code, 0x11 | (cpl ? 4 : 0));
            expect("EIP", caught.frame.eip, page);
            expect("EAX", caught.frame.eax, in.eax + 8);
            MEMORY8(page - 2) = 0xB8; /* MOV EAX, imm32 of which three bytes may not be executed */
            reset(cpl);
            expect("an instruction half in it", run((u8 *)page - 8), VECTOR_PAGE_FAULT);
            expect("EIP", caught.frame.eip, page - 2);
            expect("CR2", caught.cr2, page);
            expect("EAX", caught.frame.eax, in.eax + 6);
            MEMORY8(page - 2) = 0x40;
            pae_map(page, 0, XD);
            invlpg(page);
            expect_no_code(page + 16, 0x10);
        }
    pae_off();
    set_nxe(0);
}

/* Code that reads itself: its bytes are what was written, whatever executes. ESI and ECX: from where, how many. */
extern u8 sum_ds[], sum_cs[], sum_lods[], sum_end[];
__asm__(".pushsection .user.text, \"ax\"\n"
        "sum_ds:\n\tcall 9f\n1:\trol $5, %eax\n\tmovzbl (%esi), %edx\n\taddl %edx, %eax\n\tincl %esi\n\tdecl %ecx\n\tjnz 1b\n\tint $0x82\n"
        "sum_cs:\n\tcall 9f\n1:\trol $5, %eax\n\tmovzbl %cs:-1(%esi,%ecx), %edx\n\txorl %edx, %eax\n\tloop 1b\n\tint $0x82\n"
        "sum_lods:\n\tcall 9f\n\txorl %edx, %edx\n1:\tmovl %eax, %edx\n\tlodsb\n\tmovzbl %al, %eax\n\troll $5, %edx\n\taddl %edx, %eax\n\tloop 1b\n\tint $0x82\n"
        "9:\txorl %eax, %eax\n\tcld\n\tret\n"
        "sum_end:\n\t.popsection");
/* Copies itself to the next place (EBX: distance, EDI: hops left) and goes on there, looking for its own address. */
extern u8 worm[], worm_end[];
__asm__(".pushsection .user.text, \"ax\"\n"
        "worm:\n\tcall 1f\n1:\tpopl %esi\n\tsubl $1b - worm, %esi\n\taddl %esi, %eax\n\tdecl %ebp\n\tjz 2f\n\t"
        "leal (%esi,%ebx), %edi\n\tmovl %edi, %edx\n\tmovl $worm_end - worm, %ecx\n\tcld\n\trep movsb\n\tjmp *%edx\n2:\tint $0x82\n"
        "worm_end:\n\t.popsection");

static void reading(void) {
    static const u8 *const sums[] = {sum_ds, sum_cs, sum_lods};
    group("code that reads itself");
    u32 length = (u32)sum_end - (u32)sum_ds;
    for (u32 n = 0; n < 3; n++)
        for (cpl = CPL0; cpl <= CPL3; cpl += 3)
            for (u32 copy = 0; copy < 2; copy++) { /* where it was linked; and a copy over two pages, a byte of which changes */
                u8 *from = copy ? (u8 *)CODE + PAGE_SIZE - 60 : sum_ds;
                if (copy) memcpy(from, sum_ds, length);
                for (u32 again = 0; again < 3; again++) {
                    u32 sum = 0;
                    if (copy) from[length - 2] = again & 1 ? 0xF8 : 0xFC; /* CLC or CLD */
                    for (u32 i = 0; i < length; i++) {
                        sum = sum << 5 | sum >> 27;
                        if (n == 1) sum ^= from[length - 1 - i];
                        else sum += from[i];
                    }
                    reset(cpl);
                    in.esi = (u32)from;
                    in.ecx = length;
                    expect_done("checksum", from + (sums[n] - sum_ds));
                    if (caught.frame.eax != sum) panic("code reads %x of itself, not %x", caught.frame.eax, sum);
                }
            }
    for (cpl = CPL0; cpl <= CPL3; cpl += 3)
        for (u32 distance = 37; distance < 2000; distance += 409) {
            u32 hops = 3 * PAGE_SIZE / distance, sum = 0;
            if (distance < (u32)worm_end - (u32)worm) hops = 1; /* it would overwrite itself on the way */
            memcpy((void *)CODE, worm, (u32)worm_end - (u32)worm);
            for (u32 i = 0; i < hops; i++) sum += CODE + i * distance;
            reset(cpl);
            in.eax = 0;
            in.ebx = distance;
            in.ebp = hops;
            expect_done("a worm", (u8 *)CODE);
            expect("the sum of where it was", caught.frame.eax, sum);
            expect("where it is", caught.frame.esi, CODE + (hops - 1) * distance);
        }
}

void program_main(void) {
    test_init();
    for (u32 i = 0; i < PAGES; i++) map_page(ALIAS + i * PAGE_SIZE, window_page(i, PTE_U | PTE_W), RIGHTS);
    map_page(OTHER, 0, 0);
    data();
    middle();
    overlaps();
    next_instruction();
    same_instruction();
    from_a_port();
    reuse();
    over_pages();
    nowhere();
    execute_disable();
    reading();
    groups_end();
}

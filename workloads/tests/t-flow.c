/*
 * Control flow that predictors and translators do not expect: returns to where nobody called from, one return address for many
 * callers, stacks that are switched, operands of 16 bits that cut EIP, jumps by tables that change, threaded code,
 * traps that return to elsewhere.
 */
#include "code.h"

#define CODE WINDOW_AT(0)  /* five pages of small routines */
#define TABLE WINDOW_AT(8) /* two pages of their addresses */
#define LOW 0x8000u        /* a page below 64 KB, mapped to a frame of its own, for EIP of 16 bits */
#define RIGHTS (PTE_U | PTE_W | PTE_P)

static u32 cpl;

static void expect_ax(const char *what, const u8 *code, u32 eax) {
    expect_done(what, code);
    expect(what, caught.frame.eax, eax);
    expect(what, in.esp - caught.frame.esp, 0);
}

/* Returns that answer no call, and calls that are not returned from. */
SNIPPET(push_ret, "xorl %eax, %eax\n\tmovl $100, %ecx\n1:\tpushl $2f\n\tret\n\tud2\n2:\tincl %eax\n\tloop 1b");
SNIPPET(pop_jump, "xorl %eax, %eax\n\tmovl $100, %ecx\n1:\tcall 2f\n\tincl %eax\n\tloop 1b\n\tjmp 3f\n2:\tpopl %edx\n\taddl $2, %eax\n\tjmp *%edx\n3:");
/* The callee skips what stands behind the call: 4 bytes of parameter. */
SNIPPET(inline_data, "xorl %eax, %eax\n\tmovl $50, %ecx\n1:\tcall 2f\n\t.long 1000\n\tcall 2f\n\t.long 0xCCCCCCCC\n\tloop 1b\n\tjmp 3f\n"
                     "2:\tmovl (%esp), %edx\n\taddl (%edx), %eax\n\taddl $4, (%esp)\n\tret\n3:");
SNIPPET(call_next, "xorl %eax, %eax\n\tmovl $200, %ecx\n1:\tcall 2f\n2:\tpopl %edx\n\tsubl $2b, %edx\n\taddl %edx, %eax\n\tincl %eax\n\tloop 1b");
SNIPPET(never_returned, "movl $400, %ecx\n\tmovl %esp, %edx\n1:\tcall 2f\n\tud2\n2:\tloop 1b\n\tmovl %edx, %eax\n\tsubl %esp, %eax\n\tmovl %edx, %esp");
SNIPPET(ret_imm, "movl $60, %ecx\n\txorl %eax, %eax\n1:\tpushl %ecx\n\tpushl $3\n\tcall 2f\n\tloop 1b\n\tjmp 3f\n"
                 "2:\tmovl 4(%esp), %edx\n\timull 8(%esp), %edx\n\taddl %edx, %eax\n\tret $8\n3:");
SNIPPET(ret_imm_large, "movl %esp, %ebp\n\tsubl $1024, %esp\n\tpushl $1f\n\tret $1000\n1:\tmovl %ebp, %eax\n\tsubl %esp, %eax\n\taddl $24, %esp");
/* One routine, called from eight places whose order changes. */
SNIPPET(many_callers, "xorl %eax, %eax\n\tmovl $64, %ecx\n\tmovl $0x12345678, %ebx\n"
                      "1:\troll $3, %ebx\n\txorl %ecx, %ebx\n\tmovl %ebx, %edx\n\tandl $7, %edx\n\tjmp *9f(,%edx,4)\n"
                      ".irpc n, 01234567\n21\\n:\n\tcall 8f\n\tleal \\n(%eax,%eax,2), %eax\n\tjmp 7f\n.endr\n"
                      "7:\tloop 1b\n\tjmp 6f\n8:\tincl %eax\n\tret\n"
                      "9:\t.long 210b, 211b, 212b, 213b, 214b, 215b, 216b, 217b\n6:");
static u32 many_callers_model(void) {
    u32 eax = 0, ebx = 0x12345678;
    for (u32 ecx = 64; ecx; ecx--) {
        ebx = (ebx << 3 | ebx >> 29) ^ ecx;
        eax = (eax + 1) * 3 + (ebx & 7);
    }
    return eax;
}
SNIPPET(fibonacci, "movl $15, %eax\n\tcall 1f\n\tjmp 3f\n1:\tcmpl $2, %eax\n\tjb 2f\n\tpushl %eax\n\tdecl %eax\n\tcall 1b\n\txchgl %eax, (%esp)\n\t"
                   "subl $2, %eax\n\tcall 1b\n\taddl (%esp), %eax\n\taddl $4, %esp\n2:\tret\n3:");
/* Two coroutines with a stack each: ESI has the other's ESP. */
SNIPPET(coroutines, "leal -1024(%esp), %esi\n\tmovl $2f, (%esi)\n\txorl %eax, %eax\n\tmovl $50, %ecx\n"
                    "1:\taddl $3, %eax\n\tcall 9f\n\tloop 1b\n\tjmp 8f\n"
                    "2:\tincl %eax\n\tcall 9f\n\taddl $10, %eax\n\tcall 9f\n\tjmp 2b\n"
                    "9:\txchgl %esp, %esi\n\tret\n8:");
/* Only returns: each address on the stack is that of INC EAX; RET or ADD EAX, EAX; RET. */
SNIPPET(only_returns, "movl %esp, %ebp\n\txorl %eax, %eax\n\tmovl $20, %ecx\n\tpushl $3f\n1:\tpushl $5f\n\tpushl $4f\n\ttestb $1, %cl\n\tjz 2f\n\t"
                      "pushl $4f\n2:\tloop 1b\n\tret\n4:\tincl %eax\n\tret\n5:\taddl %eax, %eax\n\tret\n3:");
static u32 only_returns_model(void) {
    u32 eax = 0;
    for (u32 ecx = 1; ecx <= 20; ecx++) eax = (eax + 1 + (ecx & 1)) * 2;
    return eax;
}
SNIPPET(far_returns, "xorl %eax, %eax\n\tmovl $30, %ecx\n1:\tpushl $7\n\tpushl %cs\n\tcall 2f\n\tloop 1b\n\tjmp 3f\n2:\taddl 8(%esp), %eax\n\tlret $4\n3:");
SNIPPET(iret_chain, "xorl %eax, %eax\n\tmovl $30, %ecx\n1:\tpushfl\n\tpushl %cs\n\tpushl $2f\n\tstc\n\tiret\n\tud2\n2:\tadcl $5, %eax\n\tloop 1b");

static void returns(void) {
    group("calls and returns");
    for (u32 n = 0; n < 4; n++) {
        cpl = n & 1 ? CPL3 : CPL0;
        reset(cpl);
        in.eflags |= EFLAGS_ZF; /* and CF clear */
        expect_ax("PUSH and RET", push_ret, 100);
        expect_ax("POP and JMP", pop_jump, 300);
        expect_ax("parameters behind the call", inline_data, 50u * (1000u + 0xCCCCCCCCu));
        expect_ax("CALL of the next instruction", call_next, 200);
        expect_ax("calls that are not returned from", never_returned, 1600);
        expect_ax("RET imm16", ret_imm, 3 * 60 * 61 / 2);
        expect_ax("RET 1000", ret_imm_large, 24);
        expect_ax("many callers", many_callers, many_callers_model());
        expect_ax("recursion", fibonacci, 610);
        expect_ax("coroutines", coroutines, 50 * 3 + 25 * 1 + 25 * 10);
        expect_ax("only returns", only_returns, only_returns_model());
        expect_ax("far returns of near calls", far_returns, 210);
        expect_ax("IRET to the next instruction", iret_chain, 150);
    }
}

/* Operands of 16 bits: EIP is cut to 16 bits, RET and CALL move two bytes. Code at LOW; a target is 40h * n in it. */
static void sixteen_bits(void) {
    static const u8 branches[][4] = {{0x66, 0xE9, 0, 0}, {0x66, 0xE8, 0, 0}, {0x66, 0xFF, 0xE3, 0x90}, {0x66, 0xFF, 0xD3, 0x90}};
    u32 identity = *pte_of(LOW), frame = frame_alloc();
    group("targets of 16 bits");
    map_page(LOW, frame, RIGHTS);
    invlpg(LOW);
    for (u32 n = 0; n < 8; n++) mov_eax_end(LOW + 0x40 * n, 0x16000000 + n);
    for (u32 n = 0; n < 64; n++) {
        cpl = n & 8 ? CPL3 : CPL0;
        u32 target = LOW + 0x40 * (n & 7), start = CODE + 0x600 + 16 * n + (n & 16 ? PAGE_SIZE - 0xA00 : 0);
        at = (u8 *)start;
        bytes(branches[n >> 4], 4);
        if (n < 32) *(volatile u16 *)(start + 2) = (u16)(target - (start + 4));
        reset(cpl);
        in.ebx = 0xABCD0000 | target; /* of which BX counts */
        expect_done("JMP or CALL", (u8 *)start);
        expect("EAX", caught.frame.eax, 0x16000000 + (n & 7));
        expect("ESP", in.esp - caught.frame.esp, n & 16 ? 2 : 0);
        if (n & 16) expect("return address of 16 bits", MEMORY16(caught.frame.esp), (start + (n < 32 ? 4 : 3)) & 0xFFFF);
        at = (u8 *)start; /* PUSH BX; RET */
        CODE_BYTES(0x66, 0x53, 0x66, 0xC3);
        reset(cpl);
        in.ebx = 0xABCD0000 | target;
        expect_done("RET", (u8 *)start);
        expect("EAX", caught.frame.eax, 0x16000000 + (n & 7));
        expect("ESP", in.esp - caught.frame.esp, 0);
        at = (u8 *)start;
        CODE_BYTES(0x66, 0x0F, 0x85, 0, 0);
        *(volatile u16 *)(start + 3) = (u16)(target - (start + 5));
        CODE_BYTES(0xB0, 0x77); /* MOV AL, 77h, not reached from JNZ */
        CODE_END();
        reset(cpl);
        expect_done("JNZ taken", (u8 *)start);
        expect("EAX", caught.frame.eax, 0x16000000 + (n & 7));
        reset(cpl);
        in.eflags |= EFLAGS_ZF;
        expect_done("JNZ not taken", (u8 *)start);
        expect("EAX", caught.frame.eax & 0xFF, 0x77);
    }
    *pte_of(LOW) = identity;
    invlpg(LOW);
}

/*
 * Threaded code: 64 routines of odd lengths on four pages, each of which changes EAX by its number and goes on to the next
 * address of a program, by one of four ways.
 */
#define ROUTINES 64u
#define PROGRAM 800u
static u32 routines[ROUTINES], programs[2][PROGRAM + 1] USER_DATA;

static void write_routines(u32 how) {
    static const u8 ways[4][7] = {{0xAD, 0xFF, 0xE0},                /* LODSD; JMP EAX */
                                  {0xC3},                            /* RET, with ESP in the program */
                                  {0x83, 0xC6, 0x04, 0xFF, 0x66, 0xFC}, /* ADD ESI, 4; JMP [ESI - 4] */
                                  {0x43, 0xFF, 0x24, 0x9E}};         /* INC EBX; JMP [ESI + EBX * 4] */
    static const u8 lengths[4] = {3, 1, 6, 4};
    for (u32 n = 0; n < ROUTINES; n++) {
        at = (u8 *)CODE + n * (4 * PAGE_SIZE / ROUTINES) + (n % 16 == 15 ? 250 : 16 + n % 13); /* some over the end of a page */
        routines[n] = (u32)at;
        if (n & 1) CODE_BYTES(0x81, 0xC2); /* ADD EDX, imm32 */
        else CODE_BYTES(0x81, 0xF2);       /* XOR EDX, imm32 */
        word(n * 0x01234567 + 1);
        for (u32 i = 0; i < n % 3; i++) CODE_BYTES(0xC1, 0xC2, 0x05); /* ROL EDX, 5 */
        bytes(ways[how], lengths[how]);
    }
}
static u32 after_routine(u32 edx, u32 n) {
    edx = n & 1 ? edx + n * 0x01234567 + 1 : edx ^ (n * 0x01234567 + 1);
    for (u32 i = 0; i < n % 3; i++) edx = edx << 5 | edx >> 27;
    return edx;
}
SNIPPET(start_lods, "cld\n\tlodsl\n\tjmp *%eax");
SNIPPET(start_ret, "movl %esp, %ebp\n\tmovl %esi, %esp\n\tret");
SNIPPET(start_esi, "addl $4, %esi\n\tjmp *-4(%esi)");
SNIPPET(start_index, "xorl %ebx, %ebx\n\tjmp *(%esi)");
SNIPPET(end_threaded, "nop");
SNIPPET(end_ret, "movl %ebp, %esp");

static void threaded(void) {
    static const u8 *const starts[] = {start_lods, start_ret, start_esi, start_index};
    group("threaded code");
    for (u32 how = 0; how < 4; how++) {
        write_routines(how);
        serialize();
        for (u32 round = 0; round < 4; round++) {
            u32 *program = programs[round & 1], edx = 0xD0D1D2D3;
            cpl = round & 2 ? CPL3 : CPL0;
            for (u32 i = 0; i < PROGRAM; i++) {
                u32 n = random32() % (round & 1 ? ROUTINES : 5);
                program[i] = routines[n];
                edx = after_routine(edx, n);
            }
            program[PROGRAM] = (u32)(how == 1 ? end_ret : end_threaded);
            reset(cpl);
            in.esi = (u32)program;
            expect_done("threaded code", starts[how]);
            expect("EDX", caught.frame.edx, edx);
        }
    }
}

/* Operands of indirect branches: over pages, missing, in the stack, changed by the routine that they name. */
SNIPPET(jump_memory, "7:\tjmp *(%ebx)");
SNIPPET(call_memory, "7:\tcall *(%ebx)");
SNIPPET(jump_far_memory, "7:\tljmpl *(%ebx)");
SNIPPET(call_stack, "pushl $1f\n\tpushl $2f\n\tcall *4(%esp)\n\tud2\n1:\tpopl %ecx\n\tpopl %edx\n\tpopl %ebx\n\tjmp *%edx\n\tud2\n2:\tmovl $0x57AC, %eax");
SNIPPET(jump_stack, "pushl $3f\n\tmovl $1, %ecx\n\tjmp *-4(%esp,%ecx,4)\n\tud2\n3:\tpopl %edx\n\tmovl $0x57AD, %eax");
SNIPPET(ping_pong, "movl $9f, (%ebx)\n\txorl %eax, %eax\n\tmovl $40, %ecx\n1:\tcall *(%ebx)\n\tloop 1b\n\tjmp 3f\n"
                   "9:\taddl $1, %eax\n\tmovl $8f, (%ebx)\n\tret\n8:\taddl $100, %eax\n\tmovl $9b, (%ebx)\n\tret\n3:");

static u32 fetch_eip;
static void map_table(struct trap_frame *frame) {
    fetch_eip = frame->eip;
    *pte_of(TABLE + PAGE_SIZE) |= PTE_P;
}

static void operands(void) {
    group("operands of indirect branches");
    for (u32 n = 0; n < 4; n++) mov_eax_end(CODE + 0x40 * n, 0xB0 + n);
    for (u32 n = 0; n < 32; n++) {
        cpl = n & 1 ? CPL3 : CPL0;
        u32 address = TABLE + PAGE_SIZE - n / 4, target = CODE + 0x40 * (n & 3);
        static const u8 *const codes[] = {jump_memory, call_memory, jump_far_memory};
        static const u8 *const codes_at[] = {jump_memory_at, call_memory_at, jump_far_memory_at};
        for (u32 i = 0; i < 3; i++)
            for (u32 missing = 0; missing < 3; missing++) {
                MEMORY32(address) = target;
                MEMORY16(address + 4) = cpl ? USER_CS : KERNEL_CS;
                u32 reached = address + (i == 2 ? 6 : 4) > TABLE + PAGE_SIZE; /* the second page */
                reset(cpl);
                in.ebx = address;
                if (missing) {
                    *pte_of(TABLE + PAGE_SIZE) &= ~PTE_P;
                    invlpg(TABLE + PAGE_SIZE);
                }
                if (missing == 1 && reached) {
                    in.eflags |= random32() & (EFLAGS_STATUS | EFLAGS_DF);
                    expect("missing", run(codes[i]), VECTOR_PAGE_FAULT);
                    expect("EIP", caught.frame.eip, (u32)codes_at[i]);
                    expect_registers("missing");
                    expect("flags", caught.frame.eflags & (EFLAGS_STATUS | EFLAGS_DF), in.eflags & (EFLAGS_STATUS | EFLAGS_DF));
                    *pte_of(TABLE + PAGE_SIZE) |= PTE_P;
                    continue;
                }
                fetch_eip = 0;
                set_trap_handler(VECTOR_PAGE_FAULT, map_table);
                expect_done("an indirect branch", codes[i]);
                set_trap_handler(VECTOR_PAGE_FAULT, catch_trap);
                *pte_of(TABLE + PAGE_SIZE) |= PTE_P;
                expect("EAX", caught.frame.eax, 0xB0 + (n & 3));
                expect("faulted", fetch_eip, missing && reached ? (u32)codes_at[i] : 0);
                if (i == 1) expect("return address", MEMORY32(caught.frame.esp), (u32)call_memory_at + 2);
            }
        reset(cpl);
        expect_ax("CALL by the stack", call_stack, 0x57AC);
        expect_ax("JMP by the stack", jump_stack, 0x57AD);
        in.ebx = address;
        expect_ax("two routines by turns", ping_pong, 20 * 101);
    }
}

/* A trap whose handler returns to elsewhere, with other registers and flags. */
SNIPPET(breakpoints, "movl $30, %ecx\n1:\tint3\n\tud2\n\t.fill 13, 1, 0xF4\n2:\tloop 1b");
SNIPPET(elsewhere, "adcl $0, %edx\n\tjmp *%ebp");
static u32 returns_to;
static void return_elsewhere(struct trap_frame *frame) {
    frame->ebp = returns_to;
    frame->eip = (u32)elsewhere;
    frame->eflags ^= EFLAGS_CF;
    frame->esi += frame->ecx;
}
static void trap_returns(void) {
    group("traps that return to elsewhere");
    set_trap_handler(VECTOR_BREAKPOINT, return_elsewhere);
    returns_to = (u32)breakpoints + 5 + 1 + 2 + 13;
    for (u32 n = 0; n < 4; n++) {
        reset(n & 1 ? CPL3 : CPL0);
        in.edx = in.esi = 0;
        if (n & 2) in.eflags |= EFLAGS_CF;
        expect_done("breakpoints", breakpoints);
        expect("ESI", caught.frame.esi, 30 * 31 / 2);
        /* ADC leaves CF clear: set by the handler each time but, with CF at first, the first */
        expect("EDX", caught.frame.edx, n & 2 ? 29 : 30);
        expect("ECX", caught.frame.ecx, 0);
    }
    set_trap_handler(VECTOR_BREAKPOINT, catch_trap);
}

void program_main(void) {
    test_init();
    for (u32 i = 0; i < 5; i++) window_page(i, PTE_U | PTE_W);
    for (u32 i = 8; i < 10; i++) window_page(i, PTE_U | PTE_W);
    returns();
    sixteen_bits();
    threaded();
    operands();
    trap_returns();
    groups_end();
}

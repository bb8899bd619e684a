/*
 * Self-modifying code. Between the store and the changed instruction there is always a jump, as the manual asks of code
 * that changes itself (SDM volume 3, 8.1.3); through another linear address it is CPUID, which serializes.
 */
#include "test.h"

#define CODE WINDOW_AT(0)  /* two pages in a row, writable, for CPL 3 */
#define ALIAS WINDOW_AT(4) /* the same two frames, writable, for the kernel */
#define READ_ONLY WINDOW_AT(8) /* and read-only, for CPL 3 */
#define END (CODE + PAGE_SIZE) /* between them */
#define TO_ALIAS (ALIAS - CODE)

static u8 *at; /* where the next byte of code goes */
static void bytes(const u8 *from, u32 count) {
    for (u32 i = 0; i < count; i++) *(volatile u8 *)at++ = from[i];
}
#define CODE_BYTES(...)                      \
    do {                                     \
        static const u8 code[] = {__VA_ARGS__}; \
        bytes(code, sizeof code);            \
    } while (0)
static void word(u32 value) {
    MEMORY32(at) = value;
    at += 4;
}
static void serialize(void) {
    u32 a, b, c, d;
    cpuid(0, &a, &b, &c, &d);
}
static u32 call(u32 address) {
    u32 result;
    __asm__ volatile("call *%1" : "=a"(result) : "r"(address) : "ecx", "edx", "memory", "cc");
    return result;
}
static void mov_eax_ret(u32 address, u32 value) { /* B8 imm32 C3 */
    at = (u8 *)address;
    CODE_BYTES(0xB8);
    word(value);
    CODE_BYTES(0xC3);
}

static void straight_line(void) {
    group("patch ahead in a straight line");
    for (u32 i = 0; i < 20; i++) {
        at = (u8 *)CODE + i;
        u32 patched = CODE + i + 12 + 1;
        CODE_BYTES(0xC7, 0x05); /* MOV DWORD [patched], 1000 + i */
        word(patched);
        word(1000 + i);
        CODE_BYTES(0xEB, 0x00); /* JMP to the next instruction */
        CODE_BYTES(0xB8, 0, 0, 0, 0, 0xC3);
        expect("patched immediate", call(CODE + i), 1000 + i);
    }
    /* The opcode itself, by byte stores: INC ECX becomes DEC ECX, then NOP. */
    static const u8 opcodes[] = {0x49, 0x41, 0x90, 0x41, 0x49};
    static const u32 results[] = {9, 11, 10, 11, 9};
    for (u32 i = 0; i < 5; i++) {
        at = (u8 *)CODE + 64;
        CODE_BYTES(0xB9, 10, 0, 0, 0, 0xC6, 0x05); /* MOV ECX, 10; MOV BYTE [patched], opcode */
        word(CODE + 64 + 14);
        *(volatile u8 *)at++ = opcodes[i];
        CODE_BYTES(0xEB, 0x00, 0x90, 0x89, 0xC8, 0xC3); /* JMP; patched; MOV EAX, ECX; RET */
        for (u32 again = 0; again < 3; again++) expect("patched opcode", call(CODE + 64), results[i]);
    }
    /* One-byte instructions become a longer one. */
    at = (u8 *)CODE + 128;
    CODE_BYTES(0xB8, 1, 0, 0, 0, 0x40, 0x40, 0x40, 0x40, 0x40, 0xC3); /* MOV EAX, 1; INC EAX 5 times; RET */
    expect("five INCs", call(CODE + 128), 6);
    MEMORY8(CODE + 133) = 0x05; /* ADD EAX, 40404040h */
    serialize();
    expect("an ADD in their place", call(CODE + 128), 0x40404041);
    MEMORY16(CODE + 133) = 0x03EB; /* JMP over the rest */
    serialize();
    expect("a JMP in its place", call(CODE + 128), 1);
}

static void in_a_loop(void) {
    group("patch in a loop");
    at = (u8 *)CODE + 256;
    CODE_BYTES(0x31, 0xC9, 0xBA, 100, 0, 0, 0); /* XOR ECX, ECX; MOV EDX, 100 */
    u32 loop = (u32)at, patched = loop + 8 + 1;
    CODE_BYTES(0xFF, 0x05); /* loop: INC DWORD [patched] */
    word(patched);
    CODE_BYTES(0xEB, 0x00, 0xB8, 0, 0, 0, 0, 0x01, 0xC1, 0x4A); /* JMP; MOV EAX, imm; ADD ECX, EAX; DEC EDX */
    CODE_BYTES(0x75, (u8)-18, 0x89, 0xC8, 0xC3);                /* JNZ loop; MOV EAX, ECX; RET */
    expect("sum of the immediates", call(CODE + 256), 5050);
    expect("again, from where it was", call(CODE + 256), 5050 + 100 * 100);
    /* A routine that is rewritten between calls, at another length each time. */
    for (u32 i = 0; i < 100; i++) {
        at = (u8 *)CODE + 512;
        for (u32 n = 0; n < i % 7; n++) CODE_BYTES(0x90);
        mov_eax_ret((u32)at, i * 3);
        expect("rewritten routine", call(CODE + 512), i * 3);
    }
    /* The instruction that was just executed is changed, then executed again. */
    at = (u8 *)CODE + 600;
    CODE_BYTES(0x31, 0xC0, 0xB1, 5);                            /* XOR EAX, EAX; MOV CL, 5 */
    CODE_BYTES(0x83, 0xC0, 0x01, 0xFE, 0x05);                   /* back: ADD EAX, 1; INC BYTE [that 1] */
    word(CODE + 600 + 6);
    CODE_BYTES(0xFE, 0xC9, 0x75, (u8)-13, 0xC3);                /* DEC CL; JNZ back; RET */
    expect("patched behind", call(CODE + 600), 1 + 2 + 3 + 4 + 5);
}

static void copied(void) {
    group("code copied over code");
    for (u32 i = 0; i < 8; i++) mov_eax_ret(CODE + 2048 + i * 16, 0xC0DE0000 + i);
    for (u32 i = 0; i < 64; i++) {
        u32 count = 16;
        const void *from = (void *)(CODE + 2048 + (i * 5 % 8) * 16);
        void *to = (void *)(CODE + 1024);
        if (i & 1) __asm__ volatile("rep movsb" : "+S"(from), "+D"(to), "+c"(count)::"memory");
        else {
            count = 4;
            __asm__ volatile("rep movsl" : "+S"(from), "+D"(to), "+c"(count)::"memory");
        }
        expect("copy", call(CODE + 1024), 0xC0DE0000 + i * 5 % 8);
    }
    /* REP STOSB writes over what follows it: INC EAX becomes NOP. */
    at = (u8 *)CODE + 1100;
    CODE_BYTES(0xBF); /* MOV EDI, target */
    word(CODE + 1100 + 16);
    CODE_BYTES(0xB9, 4, 0, 0, 0, 0xB0, 0x90, 0xF3, 0xAA, 0xEB, 0x00); /* MOV ECX, 4; MOV AL, NOP; REP STOSB; JMP */
    CODE_BYTES(0x40, 0x40, 0x40, 0x40, 0xC3);
    u32 result;
    __asm__ volatile("call *%1" : "=a"(result) : "r"(CODE + 1100), "0"(0) : "ecx", "edx", "edi", "memory", "cc");
    expect("overwritten by REP STOSB", result, 0x90);
    /* Data beside code, in the same line and in the same word. */
    mov_eax_ret(CODE + 1200, 77);
    for (u32 i = 0; i < 50; i++) {
        MEMORY8(CODE + 1199) = (u8)i;
        MEMORY16(CODE + 1206) = (u16)i;
        expect("data beside code", call(CODE + 1200), 77);
    }
    /* Code pushed onto the stack. */
    u32 stack_result;
    __asm__ volatile("pushl $0x90C30000\n\t" /* bytes 4 to 7: imm's last byte 0, ... C3 90 */
                     "pushl $0x005678B8\n\t"
                     "movw $0x0000, 4(%%esp)\n\t"
                     "movb $0xC3, 5(%%esp)\n\t"
                     "call *%%esp\n\t"
                     "addl $8, %%esp"
                     : "=a"(stack_result)::"ecx", "edx", "memory", "cc");
    expect("code on the stack", stack_result, 0x00005678);
}

static void aliases(void) {
    group("code changed through another mapping");
    for (u32 i = 0; i < 20; i++) {
        mov_eax_ret(ALIAS + 3000, 500 + i);
        serialize();
        expect("through the writable mapping", call(CODE + 3000), 500 + i);
        expect("through the read-only mapping", call(READ_ONLY + 3000), 500 + i);
        expect("through the alias itself", call(ALIAS + 3000), 500 + i);
        MEMORY32(CODE + 3001) = 900 + i;
        serialize();
        expect("changed through the first, run through the third", call(READ_ONLY + 3000), 900 + i);
    }
    /* The code changes itself through the alias. */
    at = (u8 *)CODE + 3100;
    CODE_BYTES(0xC7, 0x05);
    word(CODE + 3100 + 14 + 1 + TO_ALIAS);
    word(4321);
    CODE_BYTES(0x0F, 0xA2, 0xEB, 0x00, 0xB8, 0, 0, 0, 0, 0xC3); /* CPUID; JMP; MOV EAX, imm */
    u32 result;
    __asm__ volatile("call *%1" : "=a"(result) : "S"(CODE + 3100) : "ebx", "ecx", "edx", "memory", "cc");
    expect("itself, through the alias", result, 4321);
    /* At CPL 3, where the code is read-only: the kernel changes it between two runs. */
    for (u32 i = 0; i < 10; i++) {
        at = (u8 *)ALIAS + 3200;
        CODE_BYTES(0xB8);
        word(i);
        CODE_BYTES(0xCD, DONE);
        serialize();
        reset(CPL3);
        expect_done("CPL 3", (u8 *)READ_ONLY + 3200);
        expect("changed by the kernel", caught.frame.eax, i);
    }
    /* CPL 3 changes its own code. */
    at = (u8 *)CODE + 3300;
    CODE_BYTES(0xFF, 0x05);
    word(CODE + 3300 + 8 + 1);
    CODE_BYTES(0xEB, 0x00, 0xB8, 0, 0, 0, 0, 0xCD, DONE);
    for (u32 i = 1; i < 10; i++) {
        reset(CPL3);
        expect_done("CPL 3", (u8 *)CODE + 3300);
        expect("changed by CPL 3", caught.frame.eax, i);
    }
}

static void over_a_boundary(void) {
    group("code over a page boundary");
    for (u32 before = 1; before <= 5; before++) { /* bytes of MOV EAX, imm32 in the first page */
        u32 start = END - before;
        mov_eax_ret(start, 0x11223344);
        expect("first", call(start), 0x11223344);
        for (u32 n = 1; n <= 4; n++) { /* each byte of the immediate, in its page */
            MEMORY8(start + n) = (u8)(0xA0 + n);
            u32 expected = 0;
            for (u32 k = 1; k <= 4; k++) expected |= (k <= n ? 0xA0 + k : 0x55u - k * 0x11) << 8 * (k - 1);
            expect("a byte patched", call(start), expected);
        }
        MEMORY32(start + 1) = 0x12345678;
        expect("patched by a store over the boundary", call(start), 0x12345678);
        MEMORY8(start + TO_ALIAS) = 0x05; /* ADD EAX, imm32, through the alias, first page */
        serialize();
        u32 result;
        __asm__ volatile("call *%1" : "=a"(result) : "r"(start), "0"(0x10000000) : "memory", "cc");
        expect("opcode patched in the first page", result, 0x22345678);
        MEMORY8(start + 4 + TO_ALIAS) = 0; /* the last byte, through the alias, second page */
        serialize();
        __asm__ volatile("call *%1" : "=a"(result) : "r"(start), "0"(0x10000000) : "memory", "cc");
        expect("immediate patched in the second page", result, 0x10345678);
        __asm__ volatile("call *%1" : "=a"(result) : "r"(start + READ_ONLY - CODE), "0"(0x20000000) : "memory", "cc");
        expect("through the read-only mapping", result, 0x20345678);
    }
    /* The second page is mapped to another frame: the first part stays, the second changes. */
    u32 start = END - 2, second = *pte_of(END), other = frame_alloc();
    mov_eax_ret(start, 0x00AA0000 | 0x11);
    u32 first_frame_result = call(start);
    memcpy((void *)other, (void *)END, PAGE_SIZE);
    MEMORY8(other) = 0xBB;
    map_page(END, other, PTE_U | PTE_W | PTE_P);
    invlpg(END);
    expect("before", first_frame_result, 0x00AA0011);
    expect("second page remapped", call(start), 0x00AABB11);
    *pte_of(END) = second;
    invlpg(END);
    expect("and back", call(start), 0x00AA0011);
    /* A loop whose body lies on both pages, each part patched at each turn by the other. */
    at = (u8 *)END - 17;
    u32 loop = (u32)at, in_second = loop + 15 + 1, in_first = loop + 8 + 1;
    CODE_BYTES(0xFF, 0x05); /* loop: INC DWORD [in_second] */
    word(in_second);
    CODE_BYTES(0xEB, 0x00, 0xB8, 0, 0, 0, 0, 0x01, 0xC1); /* JMP; MOV EAX, imm; ADD ECX, EAX */
    CODE_BYTES(0xB8, 0, 0, 0, 0, 0x01, 0xC1);             /* MOV EAX, imm (over the boundary); ADD ECX, EAX */
    CODE_BYTES(0xFF, 0x05);                               /* INC DWORD [in_first] */
    word(in_first);
    CODE_BYTES(0x4A, 0x75, (u8)-33, 0xC3); /* DEC EDX; JNZ loop; RET */
    u32 sum = 0, turns = 10;
    __asm__ volatile("call *%2" : "+c"(sum), "+d"(turns) : "r"(loop) : "eax", "memory", "cc");
    expect("sum over both", sum, 45 + 55);
}

void program_main(void) {
    test_init();
    for (u32 i = 0; i < 2; i++) {
        u32 frame = window_page(i, PTE_U | PTE_W);
        map_page(ALIAS + i * PAGE_SIZE, frame, PTE_W | PTE_P);
        map_page(READ_ONLY + i * PAGE_SIZE, frame, PTE_U | PTE_P);
    }
    straight_line();
    in_a_loop();
    copied();
    aliases();
    over_a_boundary();
    groups_end();
}

#include "code.h"

u8 *at;

void bytes(const u8 *from, u32 count) {
    for (u32 i = 0; i < count; i++) *(volatile u8 *)at++ = from[i];
}

void word(u32 value) {
    MEMORY32(at) = value;
    at += 4;
}

void mov_eax_end(u32 address, u32 value) {
    at = (u8 *)address;
    CODE_BYTES(0xB8);
    word(value);
    CODE_END();
}

void serialize(void) {
    u32 a, b, c, d;
    cpuid(0, &a, &b, &c, &d);
}

u32 eax_of(u32 address, u32 cpl) {
    reset(cpl);
    expect_done("a run", (const u8 *)address);
    return caught.frame.eax;
}

void outcome_of(const struct trap_frame *frame, u32 esp, struct outcome *outcome) {
    *outcome = (struct outcome){
        .registers = {frame->eax, frame->ecx, frame->edx, frame->ebx, 0, frame->ebp, frame->esi, frame->edi},
        .eflags = frame->eflags & (EFLAGS_DEFINED | EFLAGS_DF),
        .pushed = in.esp - esp};
}

void outcome_of_trap(struct outcome *outcome) { outcome_of(&caught.frame, caught.frame.esp, outcome); }

void expect_outcome(const char *what, const struct outcome *found, const struct outcome *expected) {
    for (u32 i = 0; i < 8; i++) expect(what, found->registers[i], expected->registers[i]);
    expect(what, found->eflags, expected->eflags);
    expect(what, found->pushed, expected->pushed);
}

/*
 * Interrupts at the points at which QEMU is late: behind a branch in the shadow of STI, whose target it runs before it looks, and
 * at the entry of a trap gate, whose first instruction it runs.
 */
#include "interrupts.h"

SNIPPET(p_jmp, "sti\n\tjmp 7f\n\tud2\n7:\tcli");
SNIPPET(p_ret, "pushl $7f\n\tsti\n\tret\n\tud2\n7:\tcli");
SNIPPET(p_call, "sti\n\tcall 7f\n\tud2\n7:\tpopl %eax\n\tcli");
SNIPPET(p_indirect, "movl $7f, %eax\n\tsti\n\tjmp *%eax\n\tud2\n7:\tcli");
SNIPPET(p_far, "sti\n\tpushl %cs\n7:\tpushl $1f\n\tlret\n1:\tcli"); /* the shadow is that of PUSH */
SNIPPET(p_jz, "xorl %eax, %eax\n\tsti\n\tjz 7f\n\tud2\n7:\tcli");
SNIPPET(p_jnz, "xorl %eax, %eax\n\tsti\n\tjnz 1f\n7:\tcli\n1:");
SNIPPET(p_loop, "movl $2, %ecx\n\tsti\n\tloop 7f\n\tud2\n7:\tcli");
SNIPPET(p_jecxz, "xorl %ecx, %ecx\n\tsti\n\tjecxz 7f\n\tud2\n7:\tcli");
SNIPPET(p_far_jmp, "movl $7f, -8(%esp)\n\tmovw %cs, -4(%esp)\n\tsti\n\tljmpl *-8(%esp)\n\tud2\n7:\tcli");
SNIPPET(software_open, "sti\n\tint $0x84\n7:\tcli");
static const struct {
    const char *name;
    const u8 *code, *at;
} branches[] = {
#define P(name) {#name, p_##name, p_##name##_at}
    P(jmp), P(ret), P(call), P(indirect), P(far), P(jz), P(jnz), P(loop), P(jecxz), P(far_jmp)};

void program_main(void) {
    test_init();
    interrupts_init();
    group("pending interrupts");
    for (u32 round = 0; round < 6; round++) {
        cpl = round & 1 ? CPL3 : CPL0;
        for (u32 i = 0; i < sizeof branches / sizeof branches[0]; i++) expect_pending(branches[i].name, branches[i].code, branches[i].at);
        u64 gate = idt_entries()[SOFTWARE_OPEN];
        u32 entry = (u32)(gate >> 32 & 0xFFFF0000) | (gate & 0xFFFF);
        make_pending();
        in_software = 0;
        prepare(0);
        expect_done("INT by a trap gate", software_open);
        expect("arrived", arrived, 1);
        expect("at its entry", seen_eip - entry, 0);
        expect("before its handler", in_software, 0x10001);
    }
    groups_end();
}

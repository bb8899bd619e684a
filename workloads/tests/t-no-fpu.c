/*
 * #NM: floating-point instructions by which a kernel learns that a program wants the FPU (CR0.EM, TS and MP; SDM volume 3,
 * table 9-3). None of them completes, so that a machine without an FPU runs this.
 */
#include "test.h"

#define VECTOR_NO_FPU 7

SNIPPET(fninit, "7:\tfninit");
SNIPPET(fld, "7:\tfldl (%ebx)");
SNIPPET(fnstsw, "7:\tfnstsw %ax");
SNIPPET(fnop, "7:\tfnop");
SNIPPET(fwait_, "7:\tfwait");

void program_main(void) {
    static const struct {
        const char *name;
        const u8 *code;
    } table[] = {{"FNINIT", fninit}, {"FLD", fld}, {"FNSTSW", fnstsw}, {"FNOP", fnop}, {"FWAIT", fwait_}};
    static const u32 bits[] = {CR0_TS, CR0_EM, CR0_TS | CR0_EM, CR0_TS | CR0_MP, CR0_EM | CR0_MP, CR0_TS | CR0_EM | CR0_MP};
    u32 cr0 = read_cr0() & ~(CR0_TS | CR0_EM | CR0_MP);
    test_init();
    group("device not available");
    for (u32 b = 0; b < sizeof bits / sizeof bits[0]; b++)
        for (u32 i = 0; i < sizeof table / sizeof table[0]; i++)
            for (u32 cpl = CPL0; cpl <= CPL3; cpl += 3) {
                if (table[i].code == fwait_ && (bits[b] & (CR0_TS | CR0_MP)) != (CR0_TS | CR0_MP)) continue;
                write_cr0(cr0 | bits[b]);
                reset(cpl);
                in.ebx = WINDOW; /* not present, but #NM comes first */
                expect_trap(table[i].name, table[i].code, table[i].code, VECTOR_NO_FPU, 0);
                expect_registers(table[i].name);
            }
    write_cr0(cr0);
    groups_end();
}

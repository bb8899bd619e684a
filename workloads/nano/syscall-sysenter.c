#include "nanobenchmark.h"

extern void minimal_sysenter(void);

static void install(void) {
    u32 eax, ebx, ecx, edx;
    cpuid(1, &eax, &ebx, &ecx, &edx);
    if (!(edx & CPUID_EDX_SEP)) panic("no SYSENTER");
    wrmsr(MSR_SYSENTER_EIP, (u32)minimal_sysenter);
}
static void prepare(u32 n) { syscall_count = 0; }
static void check(u32 n) { expect("number of system calls", syscall_count, n); }

const struct nanobenchmark nanobenchmark = {
    .name = "syscall-sysenter",
    .what = "SYSENTER to a handler that counts and returns by SYSEXIT",
    .cpl = 3,
    .iterations = 1000,
    .install = install,
    .prepare = prepare,
    .check = check,
};

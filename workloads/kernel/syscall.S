/*
 * The SYSENTER entry. The processor has loaded CS, SS, ESP and EIP from the MSRs, cleared IF and saved nothing:
 * by convention the caller leaves its ESP in ECX and its return address in EDX, as SYSEXIT wants them.
 * IF stays clear after SYSEXIT. DS is the caller's, which is flat.
 */
    .text
    .p2align 4
    .globl sysenter_entry
sysenter_entry:
    pushl %ecx
    pushl %edx
    pushl %esi
    pushl %ebx
    pushl %eax
    call syscall_dispatch
    addl $12, %esp
    popl %edx
    popl %ecx
    sysexit

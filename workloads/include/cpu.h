/* The instructions that C cannot say, one function each. */
#ifndef CPU_H
#define CPU_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define CR0_WP 0x00010000u
#define CR0_PG 0x80000000u
#define CR4_PSE 0x010u
#define CR4_PGE 0x080u
#define EFLAGS_IF 0x200u

#define CPUID_EDX_SEP (1u << 11)
#define CPUID_EDX_PGE (1u << 13)
#define CPUID_EDX_APIC (1u << 9)

#define MSR_APIC_BASE 0x1B
#define MSR_SYSENTER_CS 0x174
#define MSR_SYSENTER_ESP 0x175
#define MSR_SYSENTER_EIP 0x176

static inline void outb(u16 port, u8 value) { __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port)); }
static inline void outl(u16 port, u32 value) { __asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port)); }
static inline u8 inb(u16 port) {
    u8 value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline u32 read_cr0(void) {
    u32 value;
    __asm__ volatile("movl %%cr0, %0" : "=r"(value));
    return value;
}
static inline u32 read_cr2(void) {
    u32 value;
    __asm__ volatile("movl %%cr2, %0" : "=r"(value));
    return value;
}
static inline u32 read_cr3(void) {
    u32 value;
    __asm__ volatile("movl %%cr3, %0" : "=r"(value));
    return value;
}
static inline u32 read_cr4(void) {
    u32 value;
    __asm__ volatile("movl %%cr4, %0" : "=r"(value));
    return value;
}
static inline void write_cr0(u32 value) { __asm__ volatile("movl %0, %%cr0" ::"r"(value) : "memory"); }
static inline void write_cr3(u32 value) { __asm__ volatile("movl %0, %%cr3" ::"r"(value) : "memory"); }
static inline void write_cr4(u32 value) { __asm__ volatile("movl %0, %%cr4" ::"r"(value) : "memory"); }
static inline void invlpg(u32 linear) { __asm__ volatile("invlpg (%0)" ::"r"(linear) : "memory"); }

static inline u32 read_eflags(void) {
    u32 value;
    __asm__ volatile("pushfl\n\tpopl %0" : "=r"(value));
    return value;
}
static inline void cli(void) { __asm__ volatile("cli" ::: "memory"); }
static inline void sti(void) { __asm__ volatile("sti" ::: "memory"); }
static inline void hlt(void) { __asm__ volatile("hlt" ::: "memory"); }

static inline void cpuid(u32 leaf, u32 *eax, u32 *ebx, u32 *ecx, u32 *edx) {
    __asm__ volatile("cpuid" : "=a"(*eax), "=b"(*ebx), "=c"(*ecx), "=d"(*edx) : "0"(leaf), "2"(0));
}
static inline u64 rdmsr(u32 msr) {
    u64 value;
    __asm__ volatile("rdmsr" : "=A"(value) : "c"(msr));
    return value;
}
static inline void wrmsr(u32 msr, u64 value) { __asm__ volatile("wrmsr" ::"c"(msr), "A"(value)); }
static inline u64 rdtsc(void) {
    u64 value;
    __asm__ volatile("rdtsc" : "=A"(value));
    return value;
}

#endif

/* VMX instructions as functions, and the VMCS of a guest that shares the kernel's world. */
#include "vmx-guest.h"

#define STATUS "pushfl\n\tpopl %0"

u32 vmxon(u32 region) {
    u64 pointer = region;
    u32 flags;
    __asm__ volatile("vmxon %1\n\t" STATUS : "=r"(flags) : "m"(pointer) : "cc", "memory");
    return flags & EFLAGS_STATUS;
}
u32 vmclear(u32 region) {
    u64 pointer = region;
    u32 flags;
    __asm__ volatile("vmclear %1\n\t" STATUS : "=r"(flags) : "m"(pointer) : "cc", "memory");
    return flags & EFLAGS_STATUS;
}
u32 vmptrld(u32 region) {
    u64 pointer = region;
    u32 flags;
    __asm__ volatile("vmptrld %1\n\t" STATUS : "=r"(flags) : "m"(pointer) : "cc", "memory");
    return flags & EFLAGS_STATUS;
}
u64 vmptrst(void) {
    u64 pointer = 0;
    __asm__ volatile("vmptrst %0" : "=m"(pointer)::"cc", "memory");
    return pointer;
}
/* One form with a register and one with memory, so that both are used. */
u32 try_vmread(u32 field, u32 *value) {
    u32 flags;
    __asm__ volatile("vmread %2, %1\n\t" STATUS : "=r"(flags), "+m"(*value) : "r"(field) : "cc", "memory");
    return flags & EFLAGS_STATUS;
}
u32 try_vmwrite(u32 field, u32 value) {
    u32 flags;
    __asm__ volatile("vmwrite %1, %2\n\t" STATUS : "=r"(flags) : "m"(value), "r"(field) : "cc", "memory");
    return flags & EFLAGS_STATUS;
}
u32 vmread(u32 field) {
    u32 flags, value = 0;
    __asm__ volatile("vmread %2, %1\n\t" STATUS : "=r"(flags), "+r"(value) : "r"(field) : "cc", "memory");
    if (flags & EFLAGS_STATUS) panic("VMREAD of field %x: EFLAGS %x", field, flags);
    return value;
}
void vmwrite(u32 field, u32 value) {
    u32 flags;
    __asm__ volatile("vmwrite %1, %2\n\t" STATUS : "=r"(flags) : "r"(value), "r"(field) : "cc", "memory");
    if (flags & EFLAGS_STATUS) panic("VMWRITE of field %x: EFLAGS %x", field, flags);
}

void expect_status(const char *what, u32 status, u32 expected) {
    expect(what, status, expected);
    kprintf("%s: %s\n", what, status == SUCCEEDED ? "VMsucceed" : status == EFLAGS_CF ? "VMfailInvalid" : "VMfailValid");
}

void expect_error(const char *what, u32 status, u32 error) {
    expect(what, status, FAILED_VALID);
    expect(what, vmread(INSTRUCTION_ERROR), error);
    kprintf("%s: error %u\n", what, error);
}

u32 vmcs_region(void) {
    u32 region = frame_alloc();
    MEMORY32(region) = (u32)rdmsr(MSR_VMX_BASIC);
    return region;
}

u32 adjusted(u32 msr, u32 wanted) {
    u64 allowed = rdmsr(msr);
    u32 must = (u32)allowed, may = (u32)(allowed >> 32);
    if (wanted & ~may) panic("MSR %x: controls %x are not there", msr, wanted & ~may);
    return wanted | must;
}

/*
 * Two pages at WINDOW of which the second is not mapped at first. The IDT lies so that vectors 0 to 2Fh are in the
 * first page and the others in the second.
 */
u64 *guest_idt = (u64 *)(GUEST_IDT_PAGE_1 - 0x30 * 8);

static u8 guest_stack[4096] __attribute__((aligned(4096)));

#define RIGHTS_CODE 0xC09B     /* execute and read, accessed; S, P; D/B, G */
#define RIGHTS_DATA 0xC093     /* read and write, accessed */
#define RIGHTS_TSS 0x008B      /* busy 32-bit TSS */
#define RIGHTS_UNUSABLE 0x10000

struct table {
    u16 limit;
    u32 base;
} __attribute__((packed));

static void fill_guest(const struct table *gdt) {
    for (u32 n = 0; n < 6; n++) { /* ES CS SS DS FS GS */
        vmwrite(GUEST_SELECTORS + 2 * n, n == 1 ? KERNEL_CS : KERNEL_DS);
        vmwrite(GUEST_BASES + 2 * n, 0);
        vmwrite(GUEST_LIMITS + 2 * n, ~0u);
        vmwrite(GUEST_RIGHTS + 2 * n, n == 1 ? RIGHTS_CODE : RIGHTS_DATA);
    }
    vmwrite(GUEST_SELECTORS + 2 * 6, 0);
    vmwrite(GUEST_BASES + 2 * 6, 0);
    vmwrite(GUEST_LIMITS + 2 * 6, 0);
    vmwrite(GUEST_LDTR_RIGHTS, RIGHTS_UNUSABLE);
    vmwrite(GUEST_TR_SELECTOR, TSS_SELECTOR);
    vmwrite(GUEST_TR_BASE, (u32)tss_words());
    vmwrite(GUEST_LIMITS + 2 * 7, 0x67);
    vmwrite(GUEST_TR_RIGHTS, RIGHTS_TSS);
    vmwrite(GUEST_GDTR_BASE, gdt->base);
    vmwrite(GUEST_GDTR_LIMIT, gdt->limit);
    vmwrite(GUEST_IDTR_BASE, (u32)guest_idt);
    vmwrite(GUEST_IDTR_LIMIT, 256 * 8 - 1);
    vmwrite(GUEST_CR0, read_cr0());
    vmwrite(GUEST_CR3, read_cr3());
    vmwrite(GUEST_CR4, read_cr4());
    vmwrite(GUEST_DR7, 0x400);
    vmwrite(GUEST_DEBUGCTL, 0);
    vmwrite(GUEST_DEBUGCTL + HIGH, 0);
    vmwrite(LINK_POINTER, ~0u);
    vmwrite(LINK_POINTER + HIGH, ~0u);
    vmwrite(GUEST_SYSENTER_CS, 0);
    vmwrite(GUEST_SYSENTER_ESP, 0);
    vmwrite(GUEST_SYSENTER_EIP, 0);
    vmwrite(GUEST_INTERRUPTIBILITY, 0);
    vmwrite(GUEST_ACTIVITY, 0);
    vmwrite(GUEST_PENDING_DEBUG, 0);
    vmwrite(GUEST_RSP, (u32)guest_stack + sizeof guest_stack);
    vmwrite(GUEST_RFLAGS, 2);
}

static void fill_host(const struct table *gdt, const struct table *idt) {
    for (u32 n = 0; n < 6; n++) vmwrite(HOST_SELECTORS + 2 * n, n == 1 ? KERNEL_CS : KERNEL_DS);
    vmwrite(HOST_TR_SELECTOR, TSS_SELECTOR);
    vmwrite(HOST_TR_BASE, (u32)tss_words());
    vmwrite(HOST_GDTR_BASE, gdt->base);
    vmwrite(HOST_IDTR_BASE, idt->base);
    vmwrite(HOST_CR0, read_cr0());
    vmwrite(HOST_CR3, read_cr3());
    vmwrite(HOST_CR4, read_cr4());
    vmwrite(HOST_SYSENTER_CS, (u32)rdmsr(MSR_SYSENTER_CS));
    vmwrite(HOST_SYSENTER_ESP, (u32)rdmsr(MSR_SYSENTER_ESP));
    vmwrite(HOST_SYSENTER_EIP, (u32)rdmsr(MSR_SYSENTER_EIP));
}

void fill_vmcs(void) {
    struct table gdt, idt;
    __asm__ volatile("sgdt %0" : "=m"(gdt));
    __asm__ volatile("sidt %0" : "=m"(idt));
    vmwrite(PIN_BASED, adjusted(MSR_VMX_PIN_BASED, 0));
    vmwrite(PROCESSOR_BASED, adjusted(MSR_VMX_PROCESSOR_BASED, PROCESSOR_HLT_EXITING | PROCESSOR_UNCONDITIONAL_IO_EXITING));
    vmwrite(EXIT_CONTROLS, adjusted(MSR_VMX_EXIT, 0));
    vmwrite(ENTRY_CONTROLS, adjusted(MSR_VMX_ENTRY, 0));
    static const u16 zero[] = {EXCEPTION_BITMAP, PAGE_FAULT_MASK, PAGE_FAULT_MATCH, CR3_TARGET_COUNT, EXIT_MSR_STORE_COUNT,
                               EXIT_MSR_LOAD_COUNT, ENTRY_MSR_LOAD_COUNT, ENTRY_INTERRUPTION, CR0_MASK, CR4_MASK,
                               CR0_SHADOW, CR4_SHADOW, TSC_OFFSET, TSC_OFFSET + HIGH};
    for (u32 n = 0; n < sizeof zero / sizeof zero[0]; n++) vmwrite(zero[n], 0);
    fill_host(&gdt, &idt);
    fill_guest(&gdt);
}

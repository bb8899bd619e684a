/*
 * What a small monitor for the first generation of VT-x needs (SDM vol. 3: fields appendix B, exit reasons appendix C,
 * controls chapter 25, capability MSRs appendix A). For C and for assembly.
 */
#ifndef VMX_GUEST_H
#define VMX_GUEST_H

#define VMX_HOST_RSP 0x6C14
#define VMX_HOST_RIP 0x6C16

#ifndef __ASSEMBLER__
#include "test.h"

#define CPUID_ECX_VMX (1u << 5)
#define CR0_NE 0x20u
#define CR4_VMXE 0x2000u

#define MSR_FEATURE_CONTROL 0x3A
#define FEATURE_CONTROL_LOCK 1u
#define FEATURE_CONTROL_VMX 4u
#define MSR_PAT 0x277
#define MSR_VMX_BASIC 0x480
#define MSR_VMX_PIN_BASED 0x481
#define MSR_VMX_PROCESSOR_BASED 0x482
#define MSR_VMX_EXIT 0x483
#define MSR_VMX_ENTRY 0x484
#define MSR_VMX_MISC 0x485
#define MSR_VMX_CR0_FIXED0 0x486
#define MSR_VMX_CR0_FIXED1 0x487
#define MSR_VMX_CR4_FIXED0 0x488
#define MSR_VMX_CR4_FIXED1 0x489
#define MSR_VMX_VMCS_ENUM 0x48A

/* Fields. Segments stand in the order ES, CS, SS, DS, FS, GS, LDTR, TR, two encodings apart. */
enum {
    GUEST_SELECTORS = 0x0800, GUEST_ES_SELECTOR = 0x0800, GUEST_CS_SELECTOR = 0x0802, GUEST_TR_SELECTOR = 0x080E,
    HOST_SELECTORS = 0x0C00, HOST_CS_SELECTOR = 0x0C02, HOST_TR_SELECTOR = 0x0C0C, /* no LDTR among the host's */
    IO_BITMAP_A = 0x2000, IO_BITMAP_B = 0x2002, MSR_BITMAPS = 0x2004, EXIT_MSR_STORE_ADDRESS = 0x2006,
    EXIT_MSR_LOAD_ADDRESS = 0x2008, ENTRY_MSR_LOAD_ADDRESS = 0x200A, TSC_OFFSET = 0x2010, EPT_POINTER = 0x201A,
    LINK_POINTER = 0x2800, GUEST_DEBUGCTL = 0x2802, HIGH = 1, /* added: bits 63:32 of a 64-bit field */
    PIN_BASED = 0x4000, PROCESSOR_BASED = 0x4002, EXCEPTION_BITMAP = 0x4004, PAGE_FAULT_MASK = 0x4006,
    PAGE_FAULT_MATCH = 0x4008, CR3_TARGET_COUNT = 0x400A, EXIT_CONTROLS = 0x400C, EXIT_MSR_STORE_COUNT = 0x400E,
    EXIT_MSR_LOAD_COUNT = 0x4010, ENTRY_CONTROLS = 0x4012, ENTRY_MSR_LOAD_COUNT = 0x4014, ENTRY_INTERRUPTION = 0x4016,
    ENTRY_ERROR_CODE = 0x4018, ENTRY_INSTRUCTION_LENGTH = 0x401A,
    INSTRUCTION_ERROR = 0x4400, EXIT_REASON = 0x4402, EXIT_INTERRUPTION = 0x4404, EXIT_ERROR_CODE = 0x4406,
    IDT_VECTORING = 0x4408, IDT_VECTORING_ERROR_CODE = 0x440A, EXIT_INSTRUCTION_LENGTH = 0x440C,
    GUEST_LIMITS = 0x4800, GUEST_GDTR_LIMIT = 0x4810, GUEST_IDTR_LIMIT = 0x4812, GUEST_RIGHTS = 0x4814,
    GUEST_CS_RIGHTS = 0x4816, GUEST_SS_RIGHTS = 0x4818, GUEST_LDTR_RIGHTS = 0x4820, GUEST_TR_RIGHTS = 0x4822,
    GUEST_INTERRUPTIBILITY = 0x4824, GUEST_ACTIVITY = 0x4826, GUEST_SYSENTER_CS = 0x482A,
    HOST_SYSENTER_CS = 0x4C00,
    CR0_MASK = 0x6000, CR4_MASK = 0x6002, CR0_SHADOW = 0x6004, CR4_SHADOW = 0x6006, CR3_TARGET_0 = 0x6008,
    EXIT_QUALIFICATION = 0x6400, GUEST_LINEAR_ADDRESS = 0x640A,
    GUEST_CR0 = 0x6800, GUEST_CR3 = 0x6802, GUEST_CR4 = 0x6804, GUEST_BASES = 0x6806, GUEST_TR_BASE = 0x6814,
    GUEST_GDTR_BASE = 0x6816, GUEST_IDTR_BASE = 0x6818, GUEST_DR7 = 0x681A, GUEST_RSP = 0x681C, GUEST_RIP = 0x681E,
    GUEST_RFLAGS = 0x6820, GUEST_PENDING_DEBUG = 0x6822, GUEST_SYSENTER_ESP = 0x6824, GUEST_SYSENTER_EIP = 0x6826,
    HOST_CR0 = 0x6C00, HOST_CR3 = 0x6C02, HOST_CR4 = 0x6C04, HOST_TR_BASE = 0x6C0A, HOST_GDTR_BASE = 0x6C0C,
    HOST_IDTR_BASE = 0x6C0E, HOST_SYSENTER_ESP = 0x6C10, HOST_SYSENTER_EIP = 0x6C12,
};

/* Controls. */
#define PIN_EXTERNAL_INTERRUPT_EXITING (1u << 0)
#define PROCESSOR_INTERRUPT_WINDOW_EXITING (1u << 2)
#define PROCESSOR_USE_TSC_OFFSETTING (1u << 3)
#define PROCESSOR_HLT_EXITING (1u << 7)
#define PROCESSOR_INVLPG_EXITING (1u << 9)
#define PROCESSOR_RDPMC_EXITING (1u << 11)
#define PROCESSOR_RDTSC_EXITING (1u << 12)
#define PROCESSOR_CR3_EXITING (3u << 15) /* load and store: always 1 on the first processors */
#define PROCESSOR_MOV_DR_EXITING (1u << 23)
#define PROCESSOR_UNCONDITIONAL_IO_EXITING (1u << 24)
#define PROCESSOR_USE_IO_BITMAPS (1u << 25)
#define PROCESSOR_USE_MSR_BITMAPS (1u << 28)
#define PROCESSOR_PAUSE_EXITING (1u << 30)
#define EXIT_HOST_ADDRESS_SPACE_SIZE (1u << 9)
#define EXIT_ACKNOWLEDGE_INTERRUPT (1u << 15)
#define ENTRY_IA32E_MODE_GUEST (1u << 9)

enum {
    REASON_EXCEPTION = 0, REASON_EXTERNAL_INTERRUPT = 1, REASON_TRIPLE_FAULT = 2, REASON_INTERRUPT_WINDOW = 7,
    REASON_CPUID = 10, REASON_HLT = 12, REASON_INVD = 13, REASON_INVLPG = 14, REASON_RDPMC = 15, REASON_RDTSC = 16,
    REASON_VMCALL = 18, REASON_VMLAUNCH = 20, REASON_VMREAD = 23, REASON_VMRESUME = 24, REASON_VMWRITE = 25,
    REASON_VMXOFF = 26, REASON_CR_ACCESS = 28, REASON_MOV_DR = 29, REASON_IO = 30, REASON_RDMSR = 31,
    REASON_WRMSR = 32, REASON_INVALID_GUEST_STATE = 33, REASON_MSR_LOADING = 34, REASON_PAUSE = 40,
};
#define ENTRY_FAILED 0x80000000u /* bit 31 of the exit reason */

/* Interruption information: what a field of that format holds. */
#define EXTERNAL_INTERRUPT(vector) (0x80000000u | (vector))
#define HARDWARE_EXCEPTION(vector) (0x80000300u | (vector))
#define HARDWARE_EXCEPTION_WITH_CODE(vector) (0x80000B00u | (vector))
#define SOFTWARE_INTERRUPT(vector) (0x80000400u | (vector))
#define SOFTWARE_EXCEPTION(vector) (0x80000600u | (vector))

/* VM-instruction errors. */
enum {
    ERROR_VMCALL_IN_ROOT = 1, ERROR_VMCLEAR_ADDRESS = 2, ERROR_VMCLEAR_VMXON_POINTER = 3, ERROR_VMLAUNCH_NOT_CLEAR = 4,
    ERROR_VMRESUME_NOT_LAUNCHED = 5, ERROR_CONTROLS = 7, ERROR_HOST_STATE = 8, ERROR_VMPTRLD_ADDRESS = 9,
    ERROR_VMPTRLD_VMXON_POINTER = 10, ERROR_VMPTRLD_REVISION = 11, ERROR_FIELD = 12, ERROR_READ_ONLY_FIELD = 13,
    ERROR_VMXON_IN_ROOT = 15, ERROR_MOV_SS = 26,
};

/* Status of a VMX instruction as flags: all clear, CF (VMfailInvalid) or ZF (VMfailValid). */
#define SUCCEEDED 0
#define FAILED_INVALID EFLAGS_CF
#define FAILED_VALID EFLAGS_ZF

/* vmx-host.c: the instructions, with their status; vmread and vmwrite panic when they fail. */
u32 vmxon(u32 region);
u32 vmclear(u32 region);
u32 vmptrld(u32 region);
u64 vmptrst(void);
u32 try_vmread(u32 field, u32 *value);
u32 try_vmwrite(u32 field, u32 value);
u32 vmread(u32 field);
void vmwrite(u32 field, u32 value);
void expect_status(const char *what, u32 status, u32 expected);
void expect_error(const char *what, u32 status, u32 error); /* VMfailValid with that VM-instruction error */

/* vmx-host.c: a VMCS for a guest that shares the kernel's address space, GDT and TSS, with an IDT of its own. */
u32 vmcs_region(void);                /* a page with the revision identifier at its beginning */
u32 adjusted(u32 msr, u32 wanted);    /* controls with what must be 1; panics if one is not there */
void fill_vmcs(void);                 /* the current VMCS */
extern u64 *guest_idt;                /* see vmx-host.c */
#define GUEST_IDT_PAGE_1 WINDOW_AT(1) /* vectors 30h and up lie here */

/* vmx-enter.S: general registers of the guest, in both directions; ESP is in the VMCS. */
struct guest_registers {
    u32 eax, ecx, edx, ebx, ebp, esi, edi;
};
extern struct guest_registers guest;
extern u32 host_eflags; /* as the last VM exit left it */
u32 enter_guest(u32 launch);       /* VMLAUNCH or VMRESUME; 0 after a VM exit, else the status */
u32 enter_after_mov_ss(u32 launch); /* the same in the shadow of MOV SS */
extern u8 guest_handlers[];        /* for vector v at 4 * v: VMCALL, IRET */

#endif
#endif

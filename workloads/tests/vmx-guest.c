/*
 * A guest that is itself a monitor. Where the processor has VT-x (bare hardware), it enters VMX operation, makes
 * every VMX instruction fail as it should and then runs pieces of code in VMX non-root operation, of which each is to
 * cause one VM exit and, resumed, a VMCALL. Where the processor has none (under a monitor that hides it, or QEMU) it
 * checks that VMX instructions are undefined, and says so. Expectations are the SDM's, vol. 3.
 */
#include "vmx-guest.h"

static u32 vmxon_region, vmcs, other_vmcs;
static u32 launched;

/* Instructions that fault outside of VMX operation or at CPL 3. EAX points to a VMCS pointer. */
SNIPPET(do_vmxon, "vmxon (%eax)");
SNIPPET(do_vmclear, "vmclear (%eax)");
SNIPPET(do_vmptrld, "vmptrld (%eax)");
SNIPPET(do_vmptrst, "vmptrst (%eax)");
SNIPPET(do_vmread, "vmread %ecx, %edx");
SNIPPET(do_vmwrite, "vmwrite %edx, %ecx");
SNIPPET(do_vmlaunch, "vmlaunch");
SNIPPET(do_vmresume, "vmresume");
SNIPPET(do_vmcall, "vmcall");
SNIPPET(do_vmxoff, "vmxoff");
SNIPPET(do_write_cr0, "movl %eax, %cr0");
SNIPPET(do_write_cr4, "movl %eax, %cr4");
SNIPPET(do_rdmsr, "rdmsr");
SNIPPET(do_wrmsr, "wrmsr");

static const struct {
    const char *name;
    const u8 *code, *at;
} vmx_instructions[] = {{"VMXON", do_vmxon, do_vmxon_at},          {"VMCLEAR", do_vmclear, do_vmclear_at},
                        {"VMPTRLD", do_vmptrld, do_vmptrld_at},    {"VMPTRST", do_vmptrst, do_vmptrst_at},
                        {"VMREAD", do_vmread, do_vmread_at},       {"VMWRITE", do_vmwrite, do_vmwrite_at},
                        {"VMLAUNCH", do_vmlaunch, do_vmlaunch_at}, {"VMRESUME", do_vmresume, do_vmresume_at},
                        {"VMCALL", do_vmcall, do_vmcall_at},       {"VMXOFF", do_vmxoff, do_vmxoff_at}};
#define VMX_INSTRUCTIONS (sizeof vmx_instructions / sizeof vmx_instructions[0])

/* Each VMX instruction faults, with an operand that would be a page fault, were it looked at. */
static void expect_faults(const char *when, u32 first, u32 cpl, u32 vector) {
    for (u32 n = first; n < VMX_INSTRUCTIONS; n++) {
        reset(cpl);
        in.eax = WINDOW;
        expect_trap(vmx_instructions[n].name, vmx_instructions[n].code, vmx_instructions[n].at, vector, 0);
    }
    kprintf("%s: vector %u\n", when, vector);
}

static void expect_general_protection(const char *what, const u8 *code, const u8 *at, u32 eax, u32 ecx, u32 edx) {
    reset(CPL0);
    in.eax = eax;
    in.ecx = ecx;
    in.edx = edx;
    expect_trap(what, code, at, VECTOR_GENERAL_PROTECTION, 0);
    kprintf("%s: vector 13\n", what);
}
#define EXPECT_GP(what, name, eax, ecx, edx) expect_general_protection(what, name, name##_at, eax, ecx, edx)

static void without_vmx(void) {
    group("no VMX");
    expect_faults("VMX instructions", 0, CPL0, VECTOR_INVALID_OPCODE);
    expect_faults("VMX instructions at CPL 3", 0, CPL3, VECTOR_INVALID_OPCODE);
    if (!parameter("strict", 0)) return; /* not all that boot us are: QEMU 8 hangs on the first, and reads any MSR */
    EXPECT_GP("setting CR4.VMXE", do_write_cr4, read_cr4() | CR4_VMXE, 0, 0);
    EXPECT_GP("RDMSR of IA32_FEATURE_CONTROL", do_rdmsr, 0, MSR_FEATURE_CONTROL, 0);
    EXPECT_GP("RDMSR of IA32_VMX_BASIC", do_rdmsr, 0, MSR_VMX_BASIC, 0);
}

/* ---- capabilities, VMXON, VMCSs ---- */

static void check_capability(const char *name, u32 msr, u32 default1) {
    u64 value = rdmsr(msr);
    u32 must = (u32)value, may = (u32)(value >> 32);
    expect("what must be 1 may be 1", must & ~may, 0);
    expect("default1 controls are 1", must & default1, default1);
    kprintf("%s: consistent\n", name);
}

static void check_capabilities(void) {
    group("capabilities");
    u32 control = (u32)rdmsr(MSR_FEATURE_CONTROL);
    if (!(control & FEATURE_CONTROL_LOCK)) {
        u32 cr0 = read_cr0(), cr4 = read_cr4();
        write_cr0(cr0 | CR0_NE);
        write_cr4(cr4 | CR4_VMXE);
        EXPECT_GP("VMXON before IA32_FEATURE_CONTROL is locked", do_vmxon, WINDOW, 0, 0);
        write_cr4(cr4);
        write_cr0(cr0);
        wrmsr(MSR_FEATURE_CONTROL, control | FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX);
    } else if (!(control & FEATURE_CONTROL_VMX)) {
        panic("firmware has locked VMX away");
    }
    EXPECT_GP("WRMSR to the locked IA32_FEATURE_CONTROL", do_wrmsr, 0, MSR_FEATURE_CONTROL, 0);
    EXPECT_GP("WRMSR to IA32_VMX_BASIC", do_wrmsr, 0, MSR_VMX_BASIC, 0);
    u32 basic = (u32)(rdmsr(MSR_VMX_BASIC) >> 32);
    expect("size of a region is 1 to 4096", (basic & 0x1FFF) - 1 < 4096, 1);
    expect("memory type write-back", basic >> 18 & 0xF, 6);
    check_capability("IA32_VMX_PINBASED_CTLS", MSR_VMX_PIN_BASED, 0x16);
    check_capability("IA32_VMX_PROCBASED_CTLS", MSR_VMX_PROCESSOR_BASED, 0x0401E172);
    check_capability("IA32_VMX_EXIT_CTLS", MSR_VMX_EXIT, 0x36DFF);
    check_capability("IA32_VMX_ENTRY_CTLS", MSR_VMX_ENTRY, 0x11FF);
    u32 fixed0 = (u32)rdmsr(MSR_VMX_CR0_FIXED0), fixed1 = (u32)rdmsr(MSR_VMX_CR0_FIXED1);
    expect("CR0 bits that must be 1 may be 1", fixed0 & ~fixed1, 0);
    expect("CR0.PE, NE and PG are fixed to 1", fixed0 & 0x80000021, 0x80000021);
    fixed0 = (u32)rdmsr(MSR_VMX_CR4_FIXED0), fixed1 = (u32)rdmsr(MSR_VMX_CR4_FIXED1);
    expect("CR4 bits that must be 1 may be 1", fixed0 & ~fixed1, 0);
    expect("CR4.VMXE is fixed to 1", fixed0 & CR4_VMXE, CR4_VMXE);
    expect("an index as high as that of guest IA32_SYSENTER_CS", (u32)rdmsr(MSR_VMX_VMCS_ENUM) >= (GUEST_SYSENTER_CS & 0x3FE), 1);
}

static void check_vmxon(void) {
    group("VMXON");
    u64 pointer = vmxon_region;
    expect_faults("VMX instructions with CR4.VMXE = 0", 0, CPL0, VECTOR_INVALID_OPCODE);
    write_cr4(read_cr4() | CR4_VMXE);
    EXPECT_GP("VMXON with CR0.NE = 0", do_vmxon, (u32)&pointer, 0, 0);
    write_cr0(read_cr0() | CR0_NE);
    expect_faults("VMX instructions outside VMX operation", 1, CPL0, VECTOR_INVALID_OPCODE);
    reset(CPL3);
    in.eax = WINDOW;
    EXPECT_TRAP("VMXON at CPL 3", do_vmxon, VECTOR_GENERAL_PROTECTION, 0);
    reset(CPL0);
    in.eax = WINDOW + 12;
    EXPECT_TRAP("VMXON of an operand that is not mapped", do_vmxon, VECTOR_PAGE_FAULT, 0);
    expect("CR2", caught.cr2, WINDOW + 12);

    expect_status("VMXON of a region that is not aligned", vmxon(vmxon_region + 16), FAILED_INVALID);
    MEMORY32(vmxon_region) ^= 1;
    expect_status("VMXON with a wrong revision", vmxon(vmxon_region), FAILED_INVALID);
    MEMORY32(vmxon_region) ^= 1;
    expect_status("VMXON", vmxon(vmxon_region), SUCCEEDED);

    expect_faults("VMX instructions at CPL 3", 0, CPL3, VECTOR_GENERAL_PROTECTION);
    EXPECT_GP("clearing CR4.VMXE", do_write_cr4, read_cr4() & ~CR4_VMXE, 0, 0);
    EXPECT_GP("clearing CR0.NE", do_write_cr0, read_cr0() & ~CR0_NE, 0, 0);
    EXPECT_GP("clearing CR0.PG", do_write_cr0, read_cr0() & ~CR0_PG, 0, 0);
}

static void check_without_vmcs(void) {
    u32 value = 0x5A5A5A5A;
    group("no current VMCS");
    expect("VMPTRST, low", (u32)vmptrst(), ~0u);
    expect("VMPTRST, high", (u32)(vmptrst() >> 32), ~0u);
    expect_status("VMREAD", try_vmread(GUEST_RIP, &value), FAILED_INVALID);
    expect("VMREAD's destination", value, 0x5A5A5A5A);
    expect_status("VMWRITE", try_vmwrite(GUEST_RIP, 0), FAILED_INVALID);
    expect_status("second VMXON", vmxon(vmxon_region), FAILED_INVALID);
    expect_status("VMPTRLD of the VMXON pointer", vmptrld(vmxon_region), FAILED_INVALID);
}

static void check_vmcs_instructions(void) {
    u32 value = 0x5A5A5A5A;
    group("VMCS");
    expect_status("VMCLEAR", vmclear(vmcs), SUCCEEDED);
    expect_status("VMCLEAR of another", vmclear(other_vmcs), SUCCEEDED);
    expect_status("VMPTRLD", vmptrld(vmcs), SUCCEEDED);
    expect("VMPTRST, low", (u32)vmptrst() == vmcs, 1);
    expect("VMPTRST, high", (u32)(vmptrst() >> 32), 0);

    expect_error("second VMXON", vmxon(vmxon_region), ERROR_VMXON_IN_ROOT);
    reset(CPL0);
    in.eax = WINDOW;
    expect_done("second VMXON, of an operand that is not mapped", do_vmxon);
    expect_error("VMPTRLD of the VMXON pointer", vmptrld(vmxon_region), ERROR_VMPTRLD_VMXON_POINTER);
    expect_error("VMPTRLD of an address that is not aligned", vmptrld(vmcs + 8), ERROR_VMPTRLD_ADDRESS);
    MEMORY32(other_vmcs) ^= 1;
    expect_error("VMPTRLD with a wrong revision", vmptrld(other_vmcs), ERROR_VMPTRLD_REVISION);
    MEMORY32(other_vmcs) ^= 1;
    expect("VMCS is still current", (u32)vmptrst() == vmcs, 1);
    expect_error("VMCLEAR of the VMXON pointer", vmclear(vmxon_region), ERROR_VMCLEAR_VMXON_POINTER);
    expect_error("VMCLEAR of an address that is not aligned", vmclear(vmcs + 1), ERROR_VMCLEAR_ADDRESS);
    u32 flags;
    __asm__ volatile("vmcall\n\tpushfl\n\tpopl %0" : "=r"(flags)::"cc", "memory");
    expect_error("VMCALL in root operation", flags & EFLAGS_STATUS, ERROR_VMCALL_IN_ROOT);

    expect_error("VMREAD of an unsupported field", try_vmread(EPT_POINTER, &value), ERROR_FIELD);
    expect_error("VMREAD of no field at all", try_vmread(0x80000000 | GUEST_RIP, &value), ERROR_FIELD);
    expect_error("VMREAD of the upper half of a 32-bit field", try_vmread(EXIT_REASON + HIGH, &value), ERROR_FIELD);
    expect("VMREAD's destination", value, 0x5A5A5A5A);
    expect_error("VMWRITE of an unsupported field", try_vmwrite(EPT_POINTER, 0), ERROR_FIELD);
    expect_error("VMWRITE of a read-only field", try_vmwrite(EXIT_REASON, 0), ERROR_READ_ONLY_FIELD);
    u32 msr_bitmaps = rdmsr(MSR_VMX_PROCESSOR_BASED) >> 32 & PROCESSOR_USE_MSR_BITMAPS ? SUCCEEDED : FAILED_VALID;
    expect("MSR bitmaps have a field if there is a control", try_vmwrite(MSR_BITMAPS, 0) == msr_bitmaps, 1);

    vmwrite(TSC_OFFSET + HIGH, 0x89ABCDEF);
    vmwrite(TSC_OFFSET, 0x01234567); /* in 32-bit mode this clears the upper half (VMWRITE) */
    expect("64-bit field, low", vmread(TSC_OFFSET), 0x01234567);
    expect("64-bit field, high", vmread(TSC_OFFSET + HIGH), 0);
    vmwrite(TSC_OFFSET + HIGH, 0x89ABCDEF);
    expect("64-bit field, low again", vmread(TSC_OFFSET), 0x01234567);
    expect("64-bit field, high again", vmread(TSC_OFFSET + HIGH), 0x89ABCDEF);
    vmwrite(GUEST_CS_SELECTOR, 0x12345678);
    expect("16-bit field", vmread(GUEST_CS_SELECTOR), 0x5678);

    expect_status("VMPTRLD of another", vmptrld(other_vmcs), SUCCEEDED);
    vmwrite(GUEST_CS_SELECTOR, 0x9ABC);
    expect("VMCLEAR of the current VMCS", vmclear(other_vmcs), SUCCEEDED);
    expect("there is none then", (u32)vmptrst(), ~0u);
    expect("VMPTRLD back", vmptrld(vmcs), SUCCEEDED);
    expect("fields of one VMCS are not another's", vmread(GUEST_CS_SELECTOR), 0x5678);
    expect("VMPTRLD", vmptrld(other_vmcs), SUCCEEDED);
    expect("VMCLEAR keeps the fields", vmread(GUEST_CS_SELECTOR), 0x9ABC);
    expect("VMPTRLD back", vmptrld(vmcs), SUCCEEDED);
}

/* ---- entries and exits ---- */

/*
 * GUEST(name, code): code for non-root operation. The numeric label 7 marks the instruction that causes the exit,
 * the beginning by default (name_at); the VMCALL behind the code is name_end.
 */
#define GUEST(name, code)                                                                                             \
    extern u8 name[], name##_at[], name##_end[];                                                                      \
    __asm__(".pushsection .text\n" #name ":\n7:\n\t" code "\n8:\n\tvmcall\n\t.set " #name "_at, 7b\n\t.set " #name  \
            "_end, 8b\n\t.popsection")

struct code {
    const u8 *begin, *at, *end;
};
#define CODE(name) ((struct code){name, name##_at, name##_end})

static void enter(void) {
    u32 status = enter_guest(!launched);
    if (status) panic("VM entry: status %x, error %u", status, vmread(INSTRUCTION_ERROR));
    if (!(vmread(EXIT_REASON) & ENTRY_FAILED)) launched = 1;
}

/* Runs code from its beginning, with marks in the general registers. */
static void start(struct code code) {
    guest = (struct guest_registers){0xA0A1A2A3, 0xC0C1C2C3, 0xD0D1D2D3, 0xB0B1B2B3, 0xE0E1E2E3, 0x50515253, 0xF0F1F2F3};
    vmwrite(GUEST_RIP, (u32)code.begin);
    enter();
}

static void expect_exit(const char *what, u32 at, const u8 *expected_at, u32 reason, u32 qualification) {
    u32 found = vmread(EXIT_REASON);
    if (found != reason || vmread(GUEST_RIP) != at + (u32)expected_at - at)
        panic("%s: exit reason %x at code + %d, not %x at code + %d; interruption %x, code %x, qualification %x", what,
              found, vmread(GUEST_RIP) - at, reason, (u32)expected_at - at, vmread(EXIT_INTERRUPTION),
              vmread(EXIT_ERROR_CODE), vmread(EXIT_QUALIFICATION));
    expect(what, found, reason);
    expect(what, vmread(EXIT_QUALIFICATION), qualification);
}

static void advance(void) { vmwrite(GUEST_RIP, vmread(GUEST_RIP) + vmread(EXIT_INSTRUCTION_LENGTH)); }

/* Resumes at `rip`; the guest is to arrive at the VMCALL that ends its code. */
static void finish(const char *what, struct code code, u32 rip) {
    vmwrite(GUEST_RIP, rip);
    enter();
    expect_exit(what, (u32)code.begin, code.end, REASON_VMCALL, 0);
    expect("length of VMCALL", vmread(EXIT_INSTRUCTION_LENGTH), 3);
}

/* Runs code that causes no exit before its VMCALL. */
static void expect_no_exit(const char *what, struct code code) {
    start(code);
    expect_exit(what, (u32)code.begin, code.end, REASON_VMCALL, 0);
    kprintf("%s: no exit\n", what);
}

/* An instruction that exits, is skipped, and leads to the VMCALL with registers as the host leaves them. */
static void expect_instruction_exit(const char *what, struct code code, u32 reason, u32 qualification, u32 length) {
    start(code);
    expect_exit(what, (u32)code.begin, code.at, reason, qualification);
    expect("instruction length", vmread(EXIT_INSTRUCTION_LENGTH), length);
    expect("interruption information", vmread(EXIT_INTERRUPTION) >> 31, 0);
    expect("IDT-vectoring information", vmread(IDT_VECTORING) >> 31, 0);
    expect("guest's EBP", guest.ebp, 0xE0E1E2E3);
    guest.ebx ^= 0x11111111;
    u32 ebx = guest.ebx;
    finish(what, code, vmread(GUEST_RIP) + length);
    expect("guest's EBX, which the host changed", guest.ebx, ebx);
    kprintf("%s: exit reason %u, qualification 0x%x, length %u\n", what, reason, qualification, length);
}

/* An exception that exits, by the exception bitmap or during delivery of `vectoring` (0: none). */
static void expect_exception_exit(const char *what, struct code code, u32 interruption, u32 error_code, u32 qualification,
                                  u32 vectoring) {
    start(code);
    expect_exit(what, (u32)code.begin, code.at, REASON_EXCEPTION, qualification);
    expect("interruption information", vmread(EXIT_INTERRUPTION) & ~0x1000u, interruption);
    if (interruption & 0x800) expect("error code", vmread(EXIT_ERROR_CODE), error_code);
    if (vectoring)
        expect("IDT-vectoring information", vmread(IDT_VECTORING) & ~0x1000u, vectoring);
    else
        expect("IDT-vectoring information", vmread(IDT_VECTORING) >> 31, 0);
    kprintf("%s: interruption 0x%x, error code 0x%x, qualification 0x%x, IDT-vectoring 0x%x\n", what, interruption, error_code,
            qualification, vectoring);
}

/*
 * The guest is in its handler of `vector`, whose VMCALL has exited: checks the frame, drops the error code (present
 * if `code` is not ~0) and lets it return to the end of its code.
 */
static void expect_handler(const char *what, u32 vector, u32 error_code, u32 return_to, struct code code) {
    u32 *stack = (u32 *)vmread(GUEST_RSP);
    expect_exit(what, (u32)guest_handlers, guest_handlers + 4 * vector, REASON_VMCALL, 0);
    if (error_code != ~0u) {
        expect("error code on the guest's stack", *stack++, error_code);
        vmwrite(GUEST_RSP, (u32)stack);
    }
    expect("EIP on the guest's stack", stack[0] - (u32)code.begin, return_to - (u32)code.begin);
    expect("CS on the guest's stack", stack[1], KERNEL_CS);
    advance();
    enter();
    expect_exit(what, (u32)code.begin, code.end, REASON_VMCALL, 0);
    kprintf("%s: handler of vector %u, and back\n", what, vector);
}

static void set_processor_based(u32 wanted) { vmwrite(PROCESSOR_BASED, adjusted(MSR_VMX_PROCESSOR_BASED, wanted)); }
static void set_pin_based(u32 wanted) { vmwrite(PIN_BASED, adjusted(MSR_VMX_PIN_BASED, wanted)); }

/* -- entries that fail -- */

GUEST(g_nothing, "nop");

/* An entry with one field spoiled, which is set right again. */
static void expect_entry_error(const char *what, u32 field, u32 spoiled, u32 error) {
    u32 good = vmread(field);
    vmwrite(field, spoiled);
    expect_error(what, enter_guest(!launched), error);
    vmwrite(field, good);
}
static void expect_entry_failure(const char *what, u32 field, u32 spoiled, u32 reason, u32 qualification) {
    u32 good = vmread(field);
    vmwrite(GUEST_RIP, (u32)g_nothing);
    vmwrite(field, spoiled);
    expect("status", enter_guest(!launched), 0);
    expect(what, vmread(EXIT_REASON), reason | ENTRY_FAILED);
    expect(what, vmread(EXIT_QUALIFICATION), qualification);
    expect("no guest state is saved", vmread(field), spoiled);
    vmwrite(field, good);
    kprintf("%s: exit reason 0x%x, qualification 0x%x\n", what, reason | ENTRY_FAILED, qualification);
}

static void check_failing_entries(void) {
    group("entries that fail");
    vmwrite(GUEST_RIP, (u32)g_nothing);
    expect_error("VMRESUME of a VMCS that is clear", enter_guest(0), ERROR_VMRESUME_NOT_LAUNCHED);
    expect_error("VMLAUNCH after MOV SS", enter_after_mov_ss(1), ERROR_MOV_SS);
    expect_entry_error("pin-based control that must be 1", PIN_BASED, vmread(PIN_BASED) & ~0x10u, ERROR_CONTROLS);
    expect_entry_error("processor-based control that must be 0", PROCESSOR_BASED, vmread(PROCESSOR_BASED) | 1, ERROR_CONTROLS);
    expect_entry_error("CR3-target count", CR3_TARGET_COUNT, (rdmsr(MSR_VMX_MISC) >> 16 & 0x1FF) + 1, ERROR_CONTROLS);
    expect_entry_error("injection of a reserved type", ENTRY_INTERRUPTION, 0x80000100, ERROR_CONTROLS);
    expect_entry_error("injection of #GP without error code", ENTRY_INTERRUPTION, HARDWARE_EXCEPTION(13), ERROR_CONTROLS);
    expect_entry_error("host CS with RPL 3", HOST_CS_SELECTOR, KERNEL_CS | 3, ERROR_HOST_STATE);
    expect_entry_error("host TR null", HOST_TR_SELECTOR, 0, ERROR_HOST_STATE);
    expect_entry_error("host CR0 without NE", HOST_CR0, read_cr0() & ~CR0_NE, ERROR_HOST_STATE);
    expect_entry_error("host CR4 without VMXE", HOST_CR4, read_cr4() & ~CR4_VMXE, ERROR_HOST_STATE);
    expect_entry_error("64-bit host", EXIT_CONTROLS, vmread(EXIT_CONTROLS) | EXIT_HOST_ADDRESS_SPACE_SIZE, ERROR_HOST_STATE);
    vmwrite(PIN_BASED, 0);
    expect_entry_error("controls are checked before host state", HOST_TR_SELECTOR, 0, ERROR_CONTROLS);
    set_pin_based(0);
    expect_entry_failure("guest RFLAGS without bit 1", GUEST_RFLAGS, 0, REASON_INVALID_GUEST_STATE, 0);
    expect_entry_failure("guest CR0 without PG", GUEST_CR0, read_cr0() & ~CR0_PG, REASON_INVALID_GUEST_STATE, 0);
    expect_entry_failure("guest CS not present", GUEST_CS_RIGHTS, 0xC01B, REASON_INVALID_GUEST_STATE, 0);
    expect_entry_failure("guest SS with another DPL", GUEST_SS_RIGHTS, 0xC0F3, REASON_INVALID_GUEST_STATE, 0);
    expect_entry_failure("guest TR not busy", GUEST_TR_RIGHTS, 0x89, REASON_INVALID_GUEST_STATE, 0);
    expect_entry_failure("blocking by STI with IF = 0", GUEST_INTERRUPTIBILITY, 1, REASON_INVALID_GUEST_STATE, 0);
    expect_entry_failure("VMCS link pointer", LINK_POINTER, 0, REASON_INVALID_GUEST_STATE, 4);
    vmwrite(LINK_POINTER + HIGH, ~0u);
    u32 *list = (u32 *)frame_alloc();
    list[0] = MSR_PAT, list[2] = 0x00070406, list[3] = 0x00070406;
    list[4] = MSR_VMX_BASIC; /* cannot be written */
    vmwrite(ENTRY_MSR_LOAD_ADDRESS, (u32)list);
    expect_entry_failure("second MSR to load", ENTRY_MSR_LOAD_COUNT, 2, REASON_MSR_LOADING, 2);
    expect("VMCS is still current", (u32)vmptrst() == vmcs, 1);
    expect_error("VMRESUME: a failed VMLAUNCH has not launched", enter_guest(0), ERROR_VMRESUME_NOT_LAUNCHED);
}

/* -- the first exit -- */

GUEST(g_cpuid, "movl $1, %eax\n7:\tcpuid");

static void check_first_exit(void) {
    group("first exit");
    u16 gdt[3], tr;
    u32 cr0 = read_cr0(), cr3 = read_cr3(), cr4 = read_cr4();
    vmwrite(GUEST_RFLAGS, 2 | EFLAGS_STATUS);
    vmwrite(GUEST_DR7, 0x402);
    start(CODE(g_cpuid));
    expect_exit("CPUID", (u32)g_cpuid, g_cpuid_at, REASON_CPUID, 0);
    expect("host's EFLAGS", host_eflags, 2);
    expect("guest's RFLAGS", vmread(GUEST_RFLAGS), 2 | EFLAGS_STATUS);
    expect("guest's DR7", vmread(GUEST_DR7), 0x402);
    expect("guest's EAX", guest.eax, 1);
    expect("guest's EDI", guest.edi, 0xF0F1F2F3);
    expect("host's control registers", (cr0 == read_cr0()) & (cr3 == read_cr3()) & (cr4 == read_cr4()), 1);
    __asm__ volatile("sgdt %0\n\tstr %1" : "=m"(gdt), "=m"(tr));
    expect("host's GDTR limit", gdt[0], 0xFFFF);
    expect("host's TR", tr, TSS_SELECTOR);
    expect_error("VMLAUNCH of a VMCS that is launched", enter_guest(1), ERROR_VMLAUNCH_NOT_CLEAR);
    expect_error("VMRESUME after MOV SS", enter_after_mov_ss(0), ERROR_MOV_SS);
    guest.eax = 0x600DCAFE;
    finish("CPUID", CODE(g_cpuid), vmread(GUEST_RIP) + 2);
    expect("guest's EAX, which the host changed", guest.eax, 0x600DCAFE);
    vmwrite(GUEST_RFLAGS, 2);
    vmwrite(GUEST_DR7, 0x400);
    kprintf("CPUID: exit reason 10, and resumed\n");
}

/* -- instructions -- */

GUEST(g_out_immediate, "outb %al, $0x80");
GUEST(g_out_dx, "movl $0x3FF, %edx\n7:\toutl %eax, %dx");
GUEST(g_in_dx, "movl $0x3FF, %edx\n7:\tinw %dx, %ax");
GUEST(g_rep_outs, "movl $0x3FF, %edx\n\tmovl $2, %ecx\n\tmovl $g_rep_outs, %esi\n7:\trep outsb");
GUEST(g_ins, "movl $0x3FF, %edx\n\tmovl $0x40000010, %edi\n7:\tinsl");
GUEST(g_rdmsr, "movl $0x174, %ecx\n7:\trdmsr");
GUEST(g_wrmsr, "movl $0x174, %ecx\n7:\twrmsr");
GUEST(g_hlt, "hlt");
GUEST(g_invd, "invd");
GUEST(g_wbinvd, "wbinvd");
GUEST(g_invlpg, "movl $0x40003004, %eax\n7:\tinvlpg (%eax)");
GUEST(g_rdtsc, "rdtsc");
GUEST(g_rdpmc, "xorl %ecx, %ecx\n7:\trdpmc");
GUEST(g_pause, "pause");
GUEST(g_vmcall, "vmcall");
GUEST(g_vmlaunch, "vmlaunch");
GUEST(g_vmresume, "vmresume");
GUEST(g_vmread, "vmread %eax, %ecx");
GUEST(g_vmwrite, "vmwrite %eax, %ecx");
GUEST(g_vmxoff, "vmxoff");
GUEST(g_mov_from_cr3, "movl %cr3, %esi");
GUEST(g_mov_to_cr3, "movl $0x1000, %edi\n7:\tmovl %edi, %cr3");
GUEST(g_target_to_cr3, "movl $page_directory, %eax\n\tmovl %eax, %cr3");
GUEST(g_mov_from_cr0, "movl %cr0, %eax\n\tsmsww %cx");
GUEST(g_same_to_cr0, "movl %cr0, %eax\n\tmovl %eax, %cr0");
GUEST(g_mov_to_cr0, "movl %cr0, %ecx\n\tandl $~8, %ecx\n7:\tmovl %ecx, %cr0");
GUEST(g_clts, "clts");
GUEST(g_lmsw, "movl $0x31, %ecx\n7:\tlmsw %cx");
GUEST(g_same_to_cr4, "movl %cr4, %ecx\n\tmovl %ecx, %cr4");
GUEST(g_mov_to_cr4, "movl %cr4, %edx\n\torl $0x2000, %edx\n7:\tmovl %edx, %cr4");
GUEST(g_clear_vmxe, "movl %cr4, %edx\n\tandl $~0x2000, %edx\n7:\tmovl %edx, %cr4");
GUEST(g_mov_to_dr, "movl %ebp, %dr0");
GUEST(g_mov_from_dr, "movl %dr7, %ebx");
GUEST(g_scratch, "movl $0x3FF, %edx\n\tmovb $0x5A, %al\n\toutb %al, %dx");

#define IO(bytes, input, string, rep, immediate, port) \
    (((bytes) - 1) | (input) << 3 | (string) << 4 | (rep) << 5 | (immediate) << 6 | (port) << 16)
#define CR_TO(cr, gpr) ((cr) | (gpr) << 8)
#define CR_FROM(cr, gpr) ((cr) | 1 << 4 | (gpr) << 8)
#define CR_CLTS (2 << 4)
#define CR_LMSW(source) (3 << 4 | (source) << 16)
enum { EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI };

static void check_instructions(void) {
    group("instructions");
    set_processor_based(PROCESSOR_HLT_EXITING | PROCESSOR_UNCONDITIONAL_IO_EXITING | PROCESSOR_INVLPG_EXITING |
                        PROCESSOR_RDTSC_EXITING | PROCESSOR_RDPMC_EXITING | PROCESSOR_PAUSE_EXITING |
                        PROCESSOR_MOV_DR_EXITING | PROCESSOR_CR3_EXITING);
    expect_instruction_exit("CPUID", CODE(g_cpuid), REASON_CPUID, 0, 2);
    expect_instruction_exit("OUT 80h, AL", CODE(g_out_immediate), REASON_IO, IO(1, 0, 0, 0, 1, 0x80), 2);
    expect_instruction_exit("OUT DX, EAX", CODE(g_out_dx), REASON_IO, IO(4, 0, 0, 0, 0, 0x3FF), 1);
    expect_instruction_exit("IN AX, DX", CODE(g_in_dx), REASON_IO, IO(2, 1, 0, 0, 0, 0x3FF), 2);
    expect_instruction_exit("REP OUTSB", CODE(g_rep_outs), REASON_IO, IO(1, 0, 1, 1, 0, 0x3FF), 2);
    expect("count is not consumed", guest.ecx, 2);
    expect_instruction_exit("INSD", CODE(g_ins), REASON_IO, IO(4, 1, 1, 0, 0, 0x3FF), 1);
    expect_instruction_exit("RDMSR", CODE(g_rdmsr), REASON_RDMSR, 0, 2);
    expect_instruction_exit("WRMSR", CODE(g_wrmsr), REASON_WRMSR, 0, 2);
    expect_instruction_exit("HLT", CODE(g_hlt), REASON_HLT, 0, 1);
    expect_instruction_exit("INVD", CODE(g_invd), REASON_INVD, 0, 2);
    expect_no_exit("WBINVD", CODE(g_wbinvd));
    expect_instruction_exit("INVLPG", CODE(g_invlpg), REASON_INVLPG, 0x40003004, 3);
    expect_instruction_exit("RDTSC", CODE(g_rdtsc), REASON_RDTSC, 0, 2);
    expect_instruction_exit("RDPMC", CODE(g_rdpmc), REASON_RDPMC, 0, 2);
    expect_instruction_exit("PAUSE", CODE(g_pause), REASON_PAUSE, 0, 2);
    expect_instruction_exit("VMCALL", CODE(g_vmcall), REASON_VMCALL, 0, 3);
    expect_instruction_exit("VMLAUNCH", CODE(g_vmlaunch), REASON_VMLAUNCH, 0, 3);
    expect_instruction_exit("VMRESUME", CODE(g_vmresume), REASON_VMRESUME, 0, 3);
    expect_instruction_exit("VMREAD", CODE(g_vmread), REASON_VMREAD, 0, 3);
    expect_instruction_exit("VMWRITE", CODE(g_vmwrite), REASON_VMWRITE, 0, 3);
    expect_instruction_exit("VMXOFF", CODE(g_vmxoff), REASON_VMXOFF, 0, 3);
    expect_instruction_exit("MOV DR0, EBP", CODE(g_mov_to_dr), REASON_MOV_DR, 0 | EBP << 8, 3);
    expect_instruction_exit("MOV EBX, DR7", CODE(g_mov_from_dr), REASON_MOV_DR, 7 | 1 << 4 | EBX << 8, 3);
    set_processor_based(0);
    expect_no_exit("INVLPG without its control", CODE(g_invlpg));
    expect_no_exit("RDTSC without its control", CODE(g_rdtsc));
    expect_no_exit("PAUSE without its control", CODE(g_pause));
    expect_no_exit("OUT without its control", CODE(g_scratch));
    expect("scratch register of COM1", inb(0x3FF), 0x5A);
}

static void check_io_bitmaps(void) {
    group("I/O bitmaps");
    u32 a = frame_alloc(), b = frame_alloc();
    MEMORY8(a + 0x80 / 8) = 1 << (0x80 % 8);
    MEMORY8(a + 0x400 / 8) = 1; /* the second byte of a word at 3FFh */
    vmwrite(IO_BITMAP_A, a);
    vmwrite(IO_BITMAP_B, b);
    set_processor_based(PROCESSOR_USE_IO_BITMAPS | PROCESSOR_UNCONDITIONAL_IO_EXITING); /* which the bitmaps replace */
    outb(0x3FF, 0);
    expect_instruction_exit("port 80h", CODE(g_out_immediate), REASON_IO, IO(1, 0, 0, 0, 1, 0x80), 2);
    expect_no_exit("port 3FFh", CODE(g_scratch));
    expect("scratch register of COM1", inb(0x3FF), 0x5A);
    expect_instruction_exit("ports 3FFh and 400h", CODE(g_in_dx), REASON_IO, IO(2, 1, 0, 0, 0, 0x3FF), 2);
    set_processor_based(0);
}

static void check_tsc_offset(void) {
    group("TSC offset");
    vmwrite(TSC_OFFSET, 0);
    vmwrite(TSC_OFFSET + HIGH, 0x100);
    set_processor_based(PROCESSOR_USE_TSC_OFFSETTING);
    u64 before = rdtsc();
    expect_no_exit("RDTSC", CODE(g_rdtsc));
    u64 inside = ((u64)guest.edx << 32 | guest.eax) - (0x100ull << 32), after = rdtsc();
    expect("between the host's before and after", before < inside && inside < after, 1);
    set_processor_based(0);
}

static void check_control_registers(void) {
    group("control registers");
    expect_instruction_exit("MOV ESI, CR3", CODE(g_mov_from_cr3), REASON_CR_ACCESS, CR_FROM(3, ESI), 3);
    expect_instruction_exit("MOV CR3, EDI", CODE(g_mov_to_cr3), REASON_CR_ACCESS, CR_TO(3, EDI), 3);
    vmwrite(CR3_TARGET_0, (u32)page_directory);
    vmwrite(CR3_TARGET_COUNT, 1);
    expect_no_exit("MOV CR3 of a CR3-target value", CODE(g_target_to_cr3));
    expect_instruction_exit("MOV CR3 of another", CODE(g_mov_to_cr3), REASON_CR_ACCESS, CR_TO(3, EDI), 3);
    vmwrite(CR3_TARGET_COUNT, 0);

    vmwrite(CR0_MASK, CR0_TS); /* the host's; the guest believes that it is 1 */
    vmwrite(CR0_SHADOW, CR0_TS);
    expect_no_exit("MOV EAX, CR0", CODE(g_mov_from_cr0));
    expect("CR0 that the guest sees", guest.eax, read_cr0() | CR0_TS);
    expect("SMSW", guest.ecx & 0xFFFF, (read_cr0() | CR0_TS) & 0xFFFF);
    expect_no_exit("MOV CR0 that changes no bit of the host's", CODE(g_same_to_cr0));
    expect("real CR0", vmread(GUEST_CR0), read_cr0());
    expect_instruction_exit("MOV CR0, ECX that does", CODE(g_mov_to_cr0), REASON_CR_ACCESS, CR_TO(0, ECX), 3);
    expect_instruction_exit("CLTS", CODE(g_clts), REASON_CR_ACCESS, CR_CLTS, 2);
    expect_instruction_exit("LMSW CX", CODE(g_lmsw), REASON_CR_ACCESS, CR_LMSW(0x31), 3);
    vmwrite(CR0_MASK, 0);
    expect_no_exit("CLTS of a bit that is the guest's", CODE(g_clts));

    vmwrite(CR4_MASK, CR4_VMXE); /* the guest believes that it is 0 */
    expect_no_exit("MOV CR4 that changes no bit of the host's", CODE(g_same_to_cr4));
    expect("CR4 that the guest sees", guest.ecx, read_cr4() & ~CR4_VMXE);
    expect("real CR4", vmread(GUEST_CR4), read_cr4());
    expect_instruction_exit("MOV CR4, EDX that does", CODE(g_mov_to_cr4), REASON_CR_ACCESS, CR_TO(4, EDX), 3);
    vmwrite(CR4_MASK, 0);
    vmwrite(EXCEPTION_BITMAP, 1u << VECTOR_GENERAL_PROTECTION);
    expect_exception_exit("clearing CR4.VMXE, which is the guest's", CODE(g_clear_vmxe), HARDWARE_EXCEPTION_WITH_CODE(13), 0, 0, 0);
    vmwrite(EXCEPTION_BITMAP, 0);
}

/* -- exceptions -- */

GUEST(g_page_fault, "movl $0x40004560, %eax\n7:\tmovl %ecx, (%eax)");
GUEST(g_breakpoint, "nop\n7:\tint3");
GUEST(g_undefined, "nop\n7:\tud2");
GUEST(g_bad_selector, "movl $0x2FC, %eax\n7:\tmovw %ax, %ds");
GUEST(g_divide, "xorl %ecx, %ecx\n7:\tdivl %ecx");
GUEST(g_int, "nop\n7:\tint $0x30");
GUEST(g_int_20, "nop\n7:\tint $0x20");

static void set_guest_gate(u32 vector, u32 access) {
    guest_idt[vector] = gate(KERNEL_CS, (u32)guest_handlers + 4 * vector, access, 0);
}
#define INTERRUPT_GATE 0x8E
#define NOT_PRESENT_GATE 0x0E

static void check_exceptions(void) {
    const u32 page_fault = HARDWARE_EXCEPTION_WITH_CODE(VECTOR_PAGE_FAULT);
    group("exceptions");
    vmwrite(EXCEPTION_BITMAP, 1u << VECTOR_PAGE_FAULT);
    __asm__ volatile("movl %0, %%cr2" ::"r"(0x1234));
    expect_exception_exit("#PF", CODE(g_page_fault), page_fault, 2, 0x40004560, 0);
    expect("CR2, which a page fault that exits leaves", read_cr2(), 0x1234);
    expect("RF", vmread(GUEST_RFLAGS) & EFLAGS_RF, EFLAGS_RF);
    vmwrite(GUEST_RFLAGS, 2);
    vmwrite(PAGE_FAULT_MASK, 2); /* exit unless the access is a write */
    vmwrite(PAGE_FAULT_MATCH, 0);
    start(CODE(g_page_fault));
    expect("RF is as the guest's handler finds it", ((u32 *)vmread(GUEST_RSP))[3] & EFLAGS_RF, EFLAGS_RF);
    expect_exit("#PF", (u32)guest_handlers, guest_handlers + 4 * VECTOR_PAGE_FAULT, REASON_VMCALL, 0);
    expect("CR2, by delivery to the guest", read_cr2(), 0x40004560);
    ((u32 *)vmread(GUEST_RSP))[1] += 2; /* past the store */
    expect_handler("#PF that does not match", VECTOR_PAGE_FAULT, 2, (u32)g_page_fault_at + 2, CODE(g_page_fault));
    vmwrite(GUEST_RFLAGS, 2);
    vmwrite(PAGE_FAULT_MATCH, 2);
    expect_exception_exit("#PF that matches", CODE(g_page_fault), page_fault, 2, 0x40004560, 0);
    vmwrite(EXCEPTION_BITMAP, 0); /* the sense is inverted */
    vmwrite(PAGE_FAULT_MATCH, 0);
    expect_exception_exit("#PF that does not match, bit 14 clear", CODE(g_page_fault), page_fault, 2, 0x40004560, 0);
    vmwrite(PAGE_FAULT_MASK, 0);
    vmwrite(GUEST_RFLAGS, 2);

    vmwrite(EXCEPTION_BITMAP, 1u << VECTOR_BREAKPOINT | 1u << VECTOR_INVALID_OPCODE | 1u << VECTOR_GENERAL_PROTECTION);
    expect_exception_exit("INT3", CODE(g_breakpoint), SOFTWARE_EXCEPTION(VECTOR_BREAKPOINT), 0, 0, 0);
    expect("length of INT3", vmread(EXIT_INSTRUCTION_LENGTH), 1);
    expect_exception_exit("UD2", CODE(g_undefined), HARDWARE_EXCEPTION(VECTOR_INVALID_OPCODE), 0, 0, 0);
    vmwrite(GUEST_RFLAGS, 2);
    expect_exception_exit("bad selector", CODE(g_bad_selector), HARDWARE_EXCEPTION_WITH_CODE(13), 0x2FC, 0, 0);
    vmwrite(GUEST_RFLAGS, 2);
    start(CODE(g_divide)); /* not in the bitmap */
    ((u32 *)vmread(GUEST_RSP))[0] += 2;
    expect_handler("divide error", VECTOR_DIVIDE_ERROR, ~0u, (u32)g_divide_at + 2, CODE(g_divide));
    vmwrite(GUEST_RFLAGS, 2);
    start(CODE(g_int_20));
    expect_handler("INT 20h", 0x20, ~0u, (u32)g_int_20_end, CODE(g_int_20));
    vmwrite(EXCEPTION_BITMAP, 0);
}

static void check_delivery(void) {
    group("delivery that exits");
    u32 rsp = vmread(GUEST_RSP);
    vmwrite(EXCEPTION_BITMAP, 1u << VECTOR_PAGE_FAULT);
    expect_exception_exit("INT 30h whose gate is not mapped", CODE(g_int), HARDWARE_EXCEPTION_WITH_CODE(VECTOR_PAGE_FAULT), 0,
                          GUEST_IDT_PAGE_1, SOFTWARE_INTERRUPT(0x30));
    expect("length of INT 30h", vmread(EXIT_INSTRUCTION_LENGTH), 2);
    expect("guest's RSP", vmread(GUEST_RSP) == rsp, 1);
    /* What a monitor does next: repair, and inject what was being delivered. */
    u32 vectoring = vmread(IDT_VECTORING), length = vmread(EXIT_INSTRUCTION_LENGTH);
    window_page(1, PTE_W);
    set_guest_gate(0x30, INTERRUPT_GATE);
    vmwrite(GUEST_RFLAGS, 2);
    vmwrite(ENTRY_INTERRUPTION, vectoring);
    vmwrite(ENTRY_INSTRUCTION_LENGTH, length);
    enter();
    expect("injection is cleared by the exit", vmread(ENTRY_INTERRUPTION) >> 31, 0);
    expect_handler("INT 30h, injected", 0x30, ~0u, (u32)g_int_end, CODE(g_int));

    vmwrite(EXCEPTION_BITMAP, 1u << VECTOR_SEGMENT_NOT_PRESENT);
    set_guest_gate(0x30, NOT_PRESENT_GATE);
    expect_exception_exit("INT 30h whose gate is not present", CODE(g_int), HARDWARE_EXCEPTION_WITH_CODE(11), 0x30 << 3 | 2, 0,
                          SOFTWARE_INTERRUPT(0x30));
    set_guest_gate(VECTOR_INVALID_OPCODE, NOT_PRESENT_GATE);
    vmwrite(GUEST_RFLAGS, 2);
    expect_exception_exit("UD2 whose gate is not present", CODE(g_undefined), HARDWARE_EXCEPTION_WITH_CODE(11),
                          VECTOR_INVALID_OPCODE << 3 | 3, 0, HARDWARE_EXCEPTION(VECTOR_INVALID_OPCODE));
    set_guest_gate(VECTOR_INVALID_OPCODE, INTERRUPT_GATE);

    set_guest_gate(VECTOR_GENERAL_PROTECTION, NOT_PRESENT_GATE);
    vmwrite(GUEST_RFLAGS, 2);
    expect_exception_exit("#GP whose gate is not present", CODE(g_bad_selector), HARDWARE_EXCEPTION_WITH_CODE(11),
                          VECTOR_GENERAL_PROTECTION << 3 | 3, 0, HARDWARE_EXCEPTION_WITH_CODE(VECTOR_GENERAL_PROTECTION));
    expect("error code of what was being delivered", vmread(IDT_VECTORING_ERROR_CODE), 0x2FC);
    vmwrite(EXCEPTION_BITMAP, 1u << VECTOR_DOUBLE_FAULT);
    vmwrite(GUEST_RFLAGS, 2);
    expect_exception_exit("double fault", CODE(g_bad_selector), HARDWARE_EXCEPTION_WITH_CODE(VECTOR_DOUBLE_FAULT), 0, 0, 0);
    vmwrite(EXCEPTION_BITMAP, 0);
    set_guest_gate(VECTOR_DOUBLE_FAULT, NOT_PRESENT_GATE);
    vmwrite(GUEST_RFLAGS, 2);
    start(CODE(g_bad_selector));
    expect_exit("triple fault", (u32)g_bad_selector, g_bad_selector_at, REASON_TRIPLE_FAULT, 0);
    kprintf("triple fault: exit reason 2\n");
    set_guest_gate(VECTOR_GENERAL_PROTECTION, INTERRUPT_GATE);
    set_guest_gate(VECTOR_DOUBLE_FAULT, INTERRUPT_GATE);
    set_guest_gate(0x30, INTERRUPT_GATE);
    vmwrite(GUEST_RFLAGS, 2);
}

/* -- injection, interrupts -- */

GUEST(g_spin, "7:\tjmp 7b");
GUEST(g_sti, "sti\n\tnop\n7:\tnop\n\tcli");
GUEST(g_sleep, "sti\n\thlt\n7:\tcli");

/* Injects into g_nothing, whose NOP the handler returns to (or past, for software interrupts). */
static void inject(const char *what, u32 interruption, u32 error_code, u32 length, u32 rflags) {
    vmwrite(ENTRY_INTERRUPTION, interruption);
    if (error_code != ~0u) vmwrite(ENTRY_ERROR_CODE, error_code);
    vmwrite(ENTRY_INSTRUCTION_LENGTH, length);
    vmwrite(GUEST_RFLAGS, rflags);
    start(CODE(g_nothing));
    expect("IF in the handler", vmread(GUEST_RFLAGS) & EFLAGS_IF, 0);
    expect_handler(what, interruption & 0xFF, error_code, (u32)g_nothing + length, CODE(g_nothing));
    expect("IF behind it", vmread(GUEST_RFLAGS) & EFLAGS_IF, rflags & EFLAGS_IF);
    vmwrite(GUEST_RFLAGS, 2);
}

static void check_injection(void) {
    group("injection");
    inject("external interrupt 40h", EXTERNAL_INTERRUPT(0x40), ~0u, 0, 2 | EFLAGS_IF);
    inject("#DE", HARDWARE_EXCEPTION(VECTOR_DIVIDE_ERROR), ~0u, 0, 2);
    vmwrite(EXCEPTION_BITMAP, ~0u); /* which injection does not consult */
    __asm__ volatile("movl %0, %%cr2" ::"r"(0x4321));
    inject("#PF", HARDWARE_EXCEPTION_WITH_CODE(VECTOR_PAGE_FAULT), 7, 0, 2);
    expect("CR2, which injection leaves", read_cr2(), 0x4321);
    inject("INT3", SOFTWARE_EXCEPTION(VECTOR_BREAKPOINT), ~0u, 1, 2);
    vmwrite(EXCEPTION_BITMAP, 0);
    expect_entry_failure("external interrupt with IF = 0", ENTRY_INTERRUPTION, EXTERNAL_INTERRUPT(0x40), REASON_INVALID_GUEST_STATE, 0);

    vmwrite(EXCEPTION_BITMAP, 1u << VECTOR_SEGMENT_NOT_PRESENT);
    set_guest_gate(0x41, NOT_PRESENT_GATE);
    vmwrite(ENTRY_INTERRUPTION, EXTERNAL_INTERRUPT(0x41));
    vmwrite(GUEST_RFLAGS, 2 | EFLAGS_IF);
    expect_exception_exit("injected interrupt whose gate is not present", CODE(g_nothing), HARDWARE_EXCEPTION_WITH_CODE(11),
                          0x41 << 3 | 3, 0, EXTERNAL_INTERRUPT(0x41));
    set_guest_gate(0x41, INTERRUPT_GATE);
    vmwrite(EXCEPTION_BITMAP, 0);
    vmwrite(GUEST_RFLAGS, 2);
}

static u32 ticks;
static void tick(struct trap_frame *frame) {
    ticks++;
    pic_eoi(0);
}
/* Lets the host take what is pending. */
static void take_interrupt(const char *what) {
    ticks = 0;
    sti();
    __asm__ volatile("nop");
    cli();
    expect(what, ticks, 1);
}
static void wait_for_pending(void) { /* the 8259's request register */
    do outb(0x20, 0x0A);
    while (!(inb(0x20) & 1));
}

static void check_interrupts(void) {
    group("interrupts");
    set_processor_based(PROCESSOR_INTERRUPT_WINDOW_EXITING);
    start(CODE(g_sti));
    expect_exit("interrupt window", (u32)g_sti, g_sti_at, REASON_INTERRUPT_WINDOW, 0);
    expect("blocking by STI has ended", vmread(GUEST_INTERRUPTIBILITY), 0);
    kprintf("interrupt window: exit reason 7, an instruction after STI\n");
    set_processor_based(0);
    finish("interrupt window", CODE(g_sti), vmread(GUEST_RIP));

    /* Nothing is printed while the timer runs, so that no interrupt is pending before the next piece starts. */
    set_trap_handler(VECTOR_IRQ0, tick);
    set_pin_based(PIN_EXTERNAL_INTERRUPT_EXITING);
    vmwrite(GUEST_RFLAGS, 2); /* the guest's IF does not matter */
    timer_start(10000);
    start(CODE(g_spin));
    expect_exit("external interrupt", (u32)g_spin, g_spin, REASON_EXTERNAL_INTERRUPT, 0);
    expect("it is not acknowledged", vmread(EXIT_INTERRUPTION) >> 31, 0);
    take_interrupt("the host takes it");

    vmwrite(EXIT_CONTROLS, adjusted(MSR_VMX_EXIT, EXIT_ACKNOWLEDGE_INTERRUPT));
    start(CODE(g_spin));
    expect_exit("acknowledged interrupt", (u32)g_spin, g_spin, REASON_EXTERNAL_INTERRUPT, 0);
    expect("its vector", vmread(EXIT_INTERRUPTION), EXTERNAL_INTERRUPT(VECTOR_IRQ0));
    pic_eoi(0);
    vmwrite(EXIT_CONTROLS, adjusted(MSR_VMX_EXIT, 0));

    start(CODE(g_sleep)); /* HLT without HLT exiting */
    expect_exit("interrupt in HLT", (u32)g_sleep, g_sleep_at, REASON_EXTERNAL_INTERRUPT, 0);
    expect("activity state", vmread(GUEST_ACTIVITY), 1);
    take_interrupt("the host takes it");

    set_pin_based(0); /* now interrupts are the guest's */
    vmwrite(GUEST_ACTIVITY, 0);
    vmwrite(GUEST_RFLAGS, 2);
    wait_for_pending();
    start(CODE(g_sleep)); /* STI holds it off until HLT has been executed */
    timer_stop();
    pic_eoi(0);
    kprintf("external interrupt: exit reason 1, taken by the host\n");
    kprintf("external interrupt, acknowledged on exit: interruption 0x%x\n", EXTERNAL_INTERRUPT(VECTOR_IRQ0));
    kprintf("external interrupt in HLT: exit reason 1, activity state 1\n");
    expect_handler("external interrupt without exiting", VECTOR_IRQ0, ~0u, (u32)g_sleep_at, CODE(g_sleep));

    vmwrite(GUEST_ACTIVITY, 1);
    vmwrite(GUEST_RFLAGS, 2 | EFLAGS_IF);
    vmwrite(ENTRY_INTERRUPTION, EXTERNAL_INTERRUPT(VECTOR_IRQ0)); /* which ends the inactivity */
    vmwrite(GUEST_RIP, (u32)g_sleep_at);
    enter();
    expect("activity state", vmread(GUEST_ACTIVITY), 0);
    expect_handler("interrupt injected into HLT", VECTOR_IRQ0, ~0u, (u32)g_sleep_at, CODE(g_sleep));
    vmwrite(GUEST_RFLAGS, 2);
}

/* -- MSR lists -- */

GUEST(g_sysenter, "pushl $g_sysenter_end\n\tsysenter");

static void check_msr_lists(void) {
    group("MSR lists");
    const u64 host_pat = rdmsr(MSR_PAT), guest_pat = 0x0007010600070106ull;
    u32 *load = (u32 *)frame_alloc(), *store = load + 64, *back = load + 128;
    load[0] = store[0] = back[0] = MSR_PAT;
    load[2] = (u32)guest_pat, load[3] = (u32)(guest_pat >> 32);
    back[2] = (u32)host_pat, back[3] = (u32)(host_pat >> 32);
    vmwrite(ENTRY_MSR_LOAD_ADDRESS, (u32)load);
    vmwrite(EXIT_MSR_STORE_ADDRESS, (u32)store);
    vmwrite(EXIT_MSR_LOAD_ADDRESS, (u32)back);
    vmwrite(ENTRY_MSR_LOAD_COUNT, 1);
    vmwrite(EXIT_MSR_STORE_COUNT, 1);
    vmwrite(EXIT_MSR_LOAD_COUNT, 1);
    expect_no_exit("IA32_PAT loaded, stored, loaded", CODE(g_nothing));
    expect("stored, low", store[2], (u32)guest_pat);
    expect("stored, high", store[3], (u32)(guest_pat >> 32));
    expect("the host's", rdmsr(MSR_PAT) == host_pat, 1);
    vmwrite(ENTRY_MSR_LOAD_COUNT, 0);
    vmwrite(EXIT_MSR_STORE_COUNT, 0);
    vmwrite(EXIT_MSR_LOAD_COUNT, 0);

    u32 rsp = vmread(GUEST_RSP);
    vmwrite(GUEST_SYSENTER_CS, KERNEL_CS);
    vmwrite(GUEST_SYSENTER_ESP, rsp - 64);
    vmwrite(GUEST_SYSENTER_EIP, (u32)g_sysenter_end);
    expect_no_exit("SYSENTER by the guest's registers", CODE(g_sysenter));
    expect("guest's RSP", vmread(GUEST_RSP) == rsp - 64, 1);
    expect("host's IA32_SYSENTER_EIP", (u32)rdmsr(MSR_SYSENTER_EIP) == vmread(HOST_SYSENTER_EIP), 1);
    vmwrite(GUEST_RSP, rsp);
}

/* -- other guests than a kernel -- */

SNIPPET(user_hlt, "hlt");

static void check_user_guest(void) {
    group("guest at CPL 3");
    vmwrite(EXCEPTION_BITMAP, 1u << VECTOR_GENERAL_PROTECTION);
    set_processor_based(PROCESSOR_HLT_EXITING);
    for (u32 n = 0; n < 6; n++) {
        vmwrite(GUEST_SELECTORS + 2 * n, n == 1 ? USER_CS : USER_DS);
        vmwrite(GUEST_RIGHTS + 2 * n, n == 1 ? 0xC0FB : 0xC0F3);
    }
    vmwrite(GUEST_RIP, (u32)user_hlt);
    enter();
    expect_exit("HLT at CPL 3", (u32)user_hlt, user_hlt, REASON_EXCEPTION, 0);
    expect("interruption information", vmread(EXIT_INTERRUPTION), HARDWARE_EXCEPTION_WITH_CODE(13));
    kprintf("HLT at CPL 3: #GP comes before the exit\n");
    vmwrite(GUEST_RIP, (u32)do_vmcall);
    vmwrite(GUEST_RFLAGS, 2);
    enter();
    expect_exit("VMCALL at CPL 3", (u32)do_vmcall, do_vmcall, REASON_VMCALL, 0);
    kprintf("VMCALL at CPL 3: exit reason 18\n");
    vmwrite(EXCEPTION_BITMAP, 0);
}

void program_main(void) {
    u32 eax, ebx, ecx, edx;
    test_init();
    cpuid(1, &eax, &ebx, &ecx, &edx);
    if (!(ecx & CPUID_ECX_VMX)) {
        kprintf("no VMX\n");
        without_vmx();
        groups_end();
        return;
    }
    kprintf("VMX\n");
    vmxon_region = vmcs_region();
    vmcs = vmcs_region();
    other_vmcs = vmcs_region();
    check_capabilities();
    check_vmxon();
    check_without_vmcs();
    check_vmcs_instructions();

    fill_vmcs();
    window_page(0, PTE_W);
    for (u32 vector = 0; vector < 0x30; vector++) set_guest_gate(vector, INTERRUPT_GATE);
    check_failing_entries();
    check_first_exit();
    check_instructions();
    check_io_bitmaps();
    check_tsc_offset();
    check_control_registers();
    check_exceptions();
    check_delivery(); /* maps the second page of the guest's IDT */
    for (u32 vector = 0x30; vector < 0x80; vector++) set_guest_gate(vector, INTERRUPT_GATE);
    check_injection();
    check_interrupts();
    check_msr_lists();
    check_user_guest();

    group("VMXOFF");
    u32 flags;
    __asm__ volatile("vmxoff\n\tpushfl\n\tpopl %0" : "=r"(flags)::"cc", "memory");
    expect_status("VMXOFF", flags & EFLAGS_STATUS, SUCCEEDED);
    expect_faults("VMX instructions behind it", 1, CPL0, VECTOR_INVALID_OPCODE);
    write_cr4(read_cr4() & ~CR4_VMXE);
    write_cr0(read_cr0() & ~CR0_NE);
    expect("CR4.VMXE", read_cr4() & CR4_VMXE, 0);
    groups_end();
}

/**
 * RDMSR and WRMSR (SDM vol. 2; vol. 4, tables of the P6, Pentium 4 and Core families). Order: privilege, VM exit, then
 * whether the register exists and takes the value: #GP(0) if not.
 *
 * Modelled: the registers below. MTRRs, PAT and IA32_MISC_ENABLE are stored and read back; memory types have no effect
 * on time here. IA32_MISC_ENABLE.XD_DISABLE (bit 34) takes execute-disable away: from CPUID, from what IA32_EFER accepts,
 * and, where NXE is set already, which the manual leaves open, by clearing it. In IA32_EFER NXE and SCE can be set; writes
 * to LMA are ignored, reserved bits are #GP(0), and setting LME stops as unmodelled: there is no long mode. A change of NXE
 * drops all translations, which the manual does not promise. No microcode update is ever loaded. The caller charges.
 */
import { type Environment, FLUSH } from "../environment.ts";
import type { Profile } from "../profiles/profile.ts";
import { CELL, type CpuState, CR0, EFER, GPR, raise, temporaryCell, unmodelled, VECTOR } from "../state.ts";
import { capabilityMsr } from "../vmx/capabilities.ts";
import { privileged } from "./checks.ts";

/** Numbers of the modelled registers. */
export const MSR = {
  TSC: 0x10,
  PLATFORM_ID: 0x17,
  APIC_BASE: 0x1b,
  FEATURE_CONTROL: 0x3a,
  BIOS_SIGN_ID: 0x8b,
  MTRRCAP: 0xfe,
  SYSENTER_CS: 0x174,
  SYSENTER_ESP: 0x175,
  SYSENTER_EIP: 0x176,
  MCG_CAP: 0x179,
  MCG_STATUS: 0x17a,
  CLOCK_MODULATION: 0x19a,
  THERM_INTERRUPT: 0x19b,
  THERM_STATUS: 0x19c,
  MISC_ENABLE: 0x1a0,
  MTRR_PHYSBASE0: 0x200,
  MTRR_FIX64K: 0x250,
  MTRR_FIX16K_80000: 0x258,
  MTRR_FIX16K_A0000: 0x259,
  MTRR_FIX4K_C0000: 0x268,
  PAT: 0x277,
  MTRR_DEF_TYPE: 0x2ff,
  EFER: 0xc0000080,
} as const;

/** IA32_APIC_BASE: BSP, global enable. */
export const APIC_BASE = { BSP: 1 << 8, ENABLE: 1 << 11 } as const;
/** IA32_FEATURE_CONTROL: lock, VMX in SMX operation, VMX outside SMX operation. */
export const FEATURE_CONTROL = { LOCK: 1, VMX_IN_SMX: 2, VMX: 4 } as const;

/** Feature flags of CPUID leaf 1 (EDX unless said otherwise). */
const EDX = {
  TSC: 1 << 4,
  APIC: 1 << 9,
  SEP: 1 << 11,
  MTRR: 1 << 12,
  MCA: 1 << 14,
  ACPI: 1 << 22,
  PAT: 1 << 16,
} as const;
const ECX_VMX = 1 << 5;
/** CPUID leaf 80000001, EDX: execute-disable and long mode, either of which brings IA32_EFER. */
export const EXTENDED_EDX = { XD: 1 << 20, LM: 1 << 29 } as const;
export const EXTENDED_LEAF = 0x80000001;
/** IA32_MISC_ENABLE bit 34, in the upper half: execute-disable is not available (SDM vol. 4, table 2-2). */
const XD_DISABLE = 1 << 2;

/** Variable-range pairs, fixed ranges and write-combining as IA32_MTRRCAP announces them. */
const VARIABLE_RANGES = 8;
const MTRR_CAPABILITIES = VARIABLE_RANGES | (1 << 8) | (1 << 10);
/** MTRRs live in the state's free slots behind the temporaries: one cell each, in the order of this list. */
const FIRST_MTRR_CELL = temporaryCell(32);
const MTRRS: readonly number[] = [
  ...Array.from({ length: 2 * VARIABLE_RANGES }, (_, n) => MSR.MTRR_PHYSBASE0 + n),
  MSR.MTRR_FIX64K,
  MSR.MTRR_FIX16K_80000,
  MSR.MTRR_FIX16K_A0000,
  ...Array.from({ length: 8 }, (_, n) => MSR.MTRR_FIX4K_C0000 + n),
  MSR.MTRR_DEF_TYPE,
];

/** Why a register cannot be accessed; the access is #GP(0). */
const GP = 0;
const OK = 1;
/** The write stops the run as unmodelled. */
const UNMODELLED = 2;

/** What a register does. Values travel in EDX:EAX as two halves; `read` leaves them in the given cell. */
interface Register {
  /** Whether this processor has it. */
  present(profile: Profile): boolean;
  read(state: CpuState, env: Environment, into: number): void;
  /** GP, OK or UNMODELLED. */
  write(state: CpuState, env: Environment, low: number, high: number): number;
}

const announced = (flag: number) => (profile: Profile) => ((profile.cpuid[1]?.edx ?? 0) & flag) !== 0;
const hasVmx = (profile: Profile) => ((profile.cpuid[1]?.ecx ?? 0) & ECX_VMX) !== 0;

function copy(state: CpuState, from: number, into: number): void {
  state.u64[into >> 1] = state.u64[from >> 1] as bigint;
}

function put(state: CpuState, cell: number, low: number, high: number): number {
  state.i32[cell] = low;
  state.i32[cell + 1] = high;
  return OK;
}

/** A register that is one cell, with a test of the value written. */
function stored(
  present: (profile: Profile) => boolean,
  cell: number,
  accepts: (low: number, high: number, profile: Profile) => boolean = () => true,
): Register {
  return {
    present,
    read: (state, _env, into) => copy(state, cell, into),
    write: (state, env, low, high) => (accepts(low, high, env.profile) ? put(state, cell, low, high) : GP),
  };
}

/** A register with a fixed value; writing it is #GP(0) unless `ignoresWrites`. */
function constant(present: (profile: Profile) => boolean, value: number, ignoresWrites = false): Register {
  return {
    present,
    read: (state, _env, into) => state.setNumber(into, value),
    write: () => (ignoresWrites ? OK : GP),
  };
}

/** Whether bits at and above the processor's physical-address width are clear. */
function withinPhysical(high: number, profile: Profile): boolean {
  return high >>> 0 < 2 ** (profile.physicalAddressBits - 32);
}

/** PAT: eight memory types, of which 2, 3 and those above 7 do not exist (SDM vol. 3, 11.12.2). */
function validPat(low: number, high: number): boolean {
  for (const half of [low, high]) {
    for (let shift = 0; shift < 32; shift += 8) {
      const type = (half >>> shift) & 0xff;
      if (type > 7 || type === 2 || type === 3) return false;
    }
  }
  return true;
}

/** SYSENTER registers hold 32 bits as far as 32-bit code can see. */
function sysenter(cell: number): Register {
  return {
    present: announced(EDX.SEP),
    read: (state, _env, into) => copy(state, cell, into),
    write: (state, _env, low) => put(state, cell, low, 0),
  };
}

const REGISTERS: ReadonlyMap<number, Register> = new Map<number, Register>([
  [
    MSR.TSC,
    {
      present: announced(EDX.TSC),
      read: timeStamp,
      write(state, env, low, high) {
        const value = (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
        state.u64[CELL.tscOffset >> 1] = BigInt.asUintN(64, value - BigInt(env.timestamp()));
        return OK;
      },
    },
  ],
  [
    MSR.APIC_BASE,
    {
      present: announced(EDX.APIC),
      read: (state, _env, into) => copy(state, CELL.apicBase, into),
      write(state, env, low, high) {
        const reserved = 0xfff & ~(APIC_BASE.BSP | APIC_BASE.ENABLE);
        if ((low & reserved) !== 0 || !withinPhysical(high, env.profile)) return GP;
        put(state, CELL.apicBase, low, high);
        env.apicBaseChanged();
        return OK;
      },
    },
  ],
  [
    MSR.FEATURE_CONTROL,
    {
      present: hasVmx,
      read: (state, _env, into) => copy(state, CELL.featureControl, into),
      write(state, _env, low, high) {
        const bits = FEATURE_CONTROL.LOCK | FEATURE_CONTROL.VMX_IN_SMX | FEATURE_CONTROL.VMX;
        const locked = (state.get(CELL.featureControl) & FEATURE_CONTROL.LOCK) !== 0;
        return locked || (low & ~bits) !== 0 || high !== 0 ? GP : put(state, CELL.featureControl, low, 0);
      },
    },
  ],
  // Machine-check architecture without banks of error registers: no machine check ever happens (SDM vol. 3, 16.3).
  [MSR.MCG_CAP, constant(announced(EDX.MCA), 0)],
  [MSR.MCG_STATUS, constant(announced(EDX.MCA), 0, true)],
  // The processor never grows hot, and its clock is not modulated.
  [MSR.CLOCK_MODULATION, constant(announced(EDX.ACPI), 0, true)],
  [MSR.THERM_INTERRUPT, constant(announced(EDX.ACPI), 0, true)],
  [MSR.THERM_STATUS, constant(announced(EDX.ACPI), 0, true)],
  [MSR.PLATFORM_ID, constant(() => true, 0)],
  [MSR.BIOS_SIGN_ID, constant(() => true, 0, true)],
  [MSR.SYSENTER_CS, sysenter(CELL.sysenterCs)],
  [MSR.SYSENTER_ESP, sysenter(CELL.sysenterEsp)],
  [MSR.SYSENTER_EIP, sysenter(CELL.sysenterEip)],
  [
    MSR.MISC_ENABLE,
    {
      present: () => true,
      read: (state, _env, into) => copy(state, CELL.miscEnable, into),
      write(state, env, low, high) {
        put(state, CELL.miscEnable, low, high);
        if (!executeDisable(state, env.profile)) changeEfer(state, env, state.get(CELL.efer) & ~EFER.NXE);
        return OK;
      },
    },
  ],
  [MSR.PAT, stored(announced(EDX.PAT), CELL.pat, validPat)],
  [MSR.MTRRCAP, constant(announced(EDX.MTRR), MTRR_CAPABILITIES)],
  ...MTRRS.map((index, n): [number, Register] => [index, stored(announced(EDX.MTRR), FIRST_MTRR_CELL + 2 * n)]),
  [
    MSR.EFER,
    {
      present: (profile) => extended(profile, EXTENDED_EDX.XD | EXTENDED_EDX.LM),
      read: (state, _env, into) => copy(state, CELL.efer, into),
      write(state, env, low, high) {
        if (!acceptsEfer(state, env.profile, low, high)) return GP;
        const before = state.get(CELL.efer);
        if (((low ^ before) & EFER.LME) !== 0) return (state.cr0 & CR0.PG) !== 0 ? GP : UNMODELLED;
        changeEfer(state, env, (low & ~EFER.LMA) | (before & EFER.LMA));
        return OK;
      },
    },
  ],
]);

function extended(profile: Profile, flags: number): boolean {
  return ((profile.cpuid[EXTENDED_LEAF]?.edx ?? 0) & flags) !== 0;
}

/** Whether the processor has execute-disable, and IA32_MISC_ENABLE has not taken it away. */
export function executeDisable(state: CpuState, profile: Profile): boolean {
  return extended(profile, EXTENDED_EDX.XD) && ((state.i32[CELL.miscEnable + 1] as number) & XD_DISABLE) === 0;
}

/** Whether no bit of a value for IA32_EFER is reserved on this processor. */
export function acceptsEfer(state: CpuState, profile: Profile, low: number, high: number): boolean {
  const longMode = extended(profile, EXTENDED_EDX.LM) ? EFER.LME | EFER.LMA | EFER.SCE : 0;
  const accepted = longMode | (executeDisable(state, profile) ? EFER.NXE : 0);
  return (low & ~accepted) === 0 && high === 0;
}

function changeEfer(state: CpuState, env: Environment, value: number): void {
  const changed = state.get(CELL.efer) ^ value;
  state.set(CELL.efer, value);
  if ((changed & EFER.NXE) !== 0) env.flushTlb(FLUSH.ALL);
}

/** Time-stamp counter as a program reads it: with the offset of WRMSR and that of VMX non-root operation. */
export function timeStamp(state: CpuState, env: Environment, into: number): void {
  const offset = env.intercepts === null ? 0 : env.intercepts.tscOffset();
  if (offset === 0 && state.i32[CELL.tscOffset] === 0 && state.i32[CELL.tscOffset + 1] === 0) {
    state.setNumber(into, env.timestamp());
    return;
  }
  const sum = BigInt(env.timestamp()) + (state.u64[CELL.tscOffset >> 1] as bigint) + BigInt(offset);
  state.u64[into >> 1] = BigInt.asUintN(64, sum);
}

/** Puts a 64-bit cell into EDX:EAX. */
export function toEdxEax(state: CpuState, cell: number): void {
  const low = state.i32[cell] as number;
  const high = state.i32[cell + 1] as number;
  state.set(GPR.eax, low);
  state.set(GPR.edx, high);
}

const VALUE = temporaryCell(31);

/** RDMSR: register ECX into EDX:EAX. */
export function readMsr(state: CpuState, env: Environment): void {
  if (!privileged(state)) return;
  const index = state.get(GPR.ecx);
  if (env.intercepts?.msr(index, false) === true) return;
  const register = REGISTERS.get(index);
  if (register?.present(env.profile) === true) {
    register.read(state, env, VALUE);
    toEdxEax(state, VALUE);
    return;
  }
  const capability = capabilityMsr(env.profile, index);
  if (capability === null) {
    raise(state, VECTOR.GP, 0);
    return;
  }
  state.set(GPR.eax, capability[0]);
  state.set(GPR.edx, capability[1]);
}

/** WRMSR: EDX:EAX into register ECX. */
export function writeMsr(state: CpuState, env: Environment): void {
  if (!privileged(state)) return;
  const index = state.get(GPR.ecx);
  if (env.intercepts?.msr(index, true) === true) return;
  const register = REGISTERS.get(index);
  let result = GP;
  if (register?.present(env.profile) === true) {
    result = register.write(state, env, state.i32[GPR.eax] as number, state.i32[GPR.edx] as number);
  }
  if (result === UNMODELLED) unmodelled(state, `WRMSR to MSR ${index.toString(16)}`);
  else if (result === GP) raise(state, VECTOR.GP, 0);
}

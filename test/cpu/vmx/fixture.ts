// A processor in VMX root operation over a small flat memory, with a VMCS that passes every entry check.
import type { Environment } from "../../../sim/cpu/environment.ts";
import { core2_e6700 } from "../../../sim/cpu/profiles/core2-e6700.ts";
import type { CostName, Profile } from "../../../sim/cpu/profiles/profile.ts";
import { CELL, CpuState, FLAG, GPR, OUTCOME, RIGHTS, SEG } from "../../../sim/cpu/state.ts";
import { FIELD, type VmcsField } from "../../../sim/cpu/vmx/fields.ts";
import { type CountedMemory, Vmcs } from "../../../sim/cpu/vmx/vmcs.ts";
import { Vmx } from "../../../sim/cpu/vmx/vmx.ts";

export const VMXON_REGION = 0x1000;
export const VMCS = 0x2000;
export const OTHER_VMCS = 0x3000;
export const BITMAP_A = 0x4000;
export const BITMAP_B = 0x5000;
export const MSR_BITMAP = 0x6000;
export const VIRTUAL_APIC = 0x7000;
export const MSR_LIST = 0x8000;
const MEMORY_BYTES = 0x10000;

export const CODE = 0xb | RIGHTS.S | RIGHTS.P | RIGHTS.DB | RIGHTS.G;
export const DATA = 0x3 | RIGHTS.S | RIGHTS.P | RIGHTS.DB | RIGHTS.G;
export const TSS = 0xb | RIGHTS.P;
export const CR0_VALUE = 0x80000031;
export const CR4_VALUE = 0x2010;

export interface Machine {
  readonly state: CpuState;
  readonly vmx: Vmx;
  /** Reads and writes fields of the region at VMCS directly, whatever the processor is doing. */
  readonly vmcs: Vmcs;
  readonly memory: CountedMemory;
  readonly read: (address: number) => number;
  readonly write: (address: number, value: number) => void;
  /** Names of costs charged, in order; TLB flushes appear as "flush <scope>". */
  readonly log: string[];
}

export function createMachine(profile: Profile = core2_e6700): Machine {
  const words = new Uint32Array(MEMORY_BYTES / 4);
  const peek = (address: number): number => words[address / 4] as number;
  const write = (address: number, value: number): void => {
    words[address / 4] = value;
  };
  const state = new CpuState();
  const log: string[] = [];
  const env = {
    profile,
    charge: (cost: CostName) => log.push(cost),
    flushTlb: (scope: number) => log.push(`flush ${scope}`),
    attention: () => undefined,
    interruptsOpened: () => undefined,
  } as unknown as Environment;
  const memory = {
    references: 0,
    view: (address: number, length: number): Int32Array => new Int32Array(words.buffer, address, length),
    read32: (address: number): number => {
      memory.references++;
      return peek(address);
    },
    write32: (address: number, value: number): void => {
      memory.references++;
      write(address, value);
    },
  };
  const vmx = new Vmx({ state, memory, profile, env });
  const vmcs = new Vmcs(memory);
  vmcs.pointer = VMCS;
  const revision = profile.vmx?.revision ?? 0;
  for (const region of [VMXON_REGION, VMCS, OTHER_VMCS]) write(region, revision);
  resetHost(state);
  return { state, vmx, vmcs, memory, read: peek, write, log };
}

/** Registers of a host at CPL 0 that may execute VMXON. */
function resetHost(state: CpuState): void {
  state.set(CELL.cr0, CR0_VALUE);
  state.set(CELL.cr4, CR4_VALUE);
  state.set(CELL.featureControl, 5);
  state.flags = 2;
  state.setSegment(SEG.cs, 0x08, 0, 0xffffffff, CODE);
  state.setSegment(SEG.ss, 0x10, 0, 0xffffffff, DATA);
  state.set(CELL.cpl, 0);
}

/** Writes a guest, host and controls that pass all checks into the region at VMCS. */
export function fillVmcs({ vmcs }: Machine, profile: Profile = core2_e6700): void {
  const capabilities = profile.vmx;
  if (capabilities === null) throw new Error("no VMX");
  const set = (field: VmcsField, value: number): void => vmcs.set(field, value);
  set(FIELD.pinBased, capabilities.pinBased[0]);
  set(FIELD.processorBased, capabilities.processorBased[0]);
  set(FIELD.exitControls, capabilities.exit[0]);
  set(FIELD.entryControls, capabilities.entry[0]);
  set(FIELD.ioBitmapA, BITMAP_A);
  set(FIELD.ioBitmapB, BITMAP_B);
  set(FIELD.msrBitmaps, MSR_BITMAP);
  set(FIELD.virtualApicAddress, VIRTUAL_APIC);
  set(FIELD.linkPointer, 0xffffffff);
  vmcs.setHigh(FIELD.linkPointer, 0xffffffff);

  set(FIELD.hostCr0, CR0_VALUE);
  set(FIELD.hostCr3, 0xa000);
  set(FIELD.hostCr4, CR4_VALUE);
  set(FIELD.hostRip, 0xc0001000);
  set(FIELD.hostRsp, 0xc0002000);
  [0x10, 0x08, 0x10, 0x10, 0x18, 0, 0x20].forEach((selector, n) => {
    set(FIELD.hostSelectors[n] as VmcsField, selector);
  });
  set(FIELD.hostFsBase, 0x1234);
  set(FIELD.hostTrBase, 0xc0003000);
  set(FIELD.hostGdtrBase, 0xc0004000);
  set(FIELD.hostIdtrBase, 0xc0005000);
  set(FIELD.hostSysenterCs, 0x08);
  set(FIELD.hostSysenterEsp, 0xc0006000);
  set(FIELD.hostSysenterEip, 0xc0007000);

  set(FIELD.guestCr0, CR0_VALUE);
  set(FIELD.guestCr3, 0xb000);
  set(FIELD.guestCr4, CR4_VALUE);
  set(FIELD.guestDr7, 0x400);
  set(FIELD.guestRip, 0x400000);
  set(FIELD.guestRsp, 0x500000);
  set(FIELD.guestRflags, 2 | FLAG.IF);
  const selectors = [0x23, 0x1b, 0x23, 0x23, 0x23, 0, 0x28, 0x30];
  const rights = [DATA, CODE, DATA, DATA, DATA, RIGHTS.UNUSABLE, RIGHTS.UNUSABLE, TSS];
  selectors.forEach((selector, n) => {
    const user = n <= SEG.fs ? 3 << RIGHTS.DPL_SHIFT : 0;
    set(FIELD.guestSelectors[n] as VmcsField, selector);
    set(FIELD.guestRights[n] as VmcsField, (rights[n] as number) | user);
    set(FIELD.guestLimits[n] as VmcsField, n <= SEG.fs ? 0xffffffff : 0x67);
    set(FIELD.guestBases[n] as VmcsField, n >= SEG.fs ? 0x600000 + n * 0x1000 : 0);
  });
  set(FIELD.guestGdtrBase, 0x700000);
  set(FIELD.guestGdtrLimit, 0x3f);
  set(FIELD.guestIdtrBase, 0x701000);
  set(FIELD.guestIdtrLimit, 0x7ff);
  set(FIELD.guestSysenterCs, 0x08);
  set(FIELD.guestSysenterEsp, 0x702000);
  set(FIELD.guestSysenterEip, 0x703000);
}

/** A machine in VMX root operation with the filled VMCS current and clear. */
export function createHost(profile: Profile = core2_e6700): Machine {
  const machine = createMachine(profile);
  machine.vmx.vmxon(VMXON_REGION);
  machine.vmx.vmclear(VMCS);
  machine.vmx.vmptrld(VMCS);
  fillVmcs(machine, profile);
  machine.log.length = 0;
  return machine;
}

/** A machine whose guest runs, after `prepare` changed the VMCS. */
export function createGuest(prepare: (machine: Machine) => void = () => undefined, profile?: Profile): Machine {
  const machine = createHost(profile);
  prepare(machine);
  if (!machine.vmx.vmenter(true) || machine.vmx.nonRoot === null) {
    throw new Error(`entry failed: ${machine.vmx.failedCheck ?? "early"}`);
  }
  machine.log.length = 0;
  return machine;
}

/** Sets bits of a field. */
export function setBits({ vmcs }: Machine, field: VmcsField, bits: number): void {
  vmcs.set(field, vmcs.get(field) | bits);
}

export function clearBits({ vmcs }: Machine, field: VmcsField, bits: number): void {
  vmcs.set(field, vmcs.get(field) & ~bits);
}

/** What an instruction left: "ok", "fail-invalid", an error number, or the exception as text. */
export function outcomeOf({ state, vmcs }: Machine): string | number {
  const { signal } = state;
  if (signal.outcome === OUTCOME.FAULT) return `fault ${signal.vector} ${signal.errorCode}`;
  if (signal.outcome === OUTCOME.EXIT) return `exit ${signal.exitReason}`;
  if ((state.flags & FLAG.CF) !== 0) return "fail-invalid";
  if ((state.flags & FLAG.ZF) !== 0) return vmcs.get(FIELD.instructionError);
  return "ok";
}

/** All guest state that VM entries load and exits save, by name. */
export function guestRegisters(state: CpuState): Record<string, number> {
  const registers: Record<string, number> = { esp: state.get(GPR.esp) };
  for (const [name, cell] of Object.entries(CELL)) registers[name] = state.getNumber(cell);
  for (const [name, segment] of Object.entries(SEG)) {
    registers[`${name} selector`] = state.selector(segment);
    registers[`${name} base`] = state.segmentBase(segment);
    registers[`${name} limit`] = state.segmentLimit(segment);
    registers[`${name} rights`] = state.segmentRights(segment);
  }
  return registers;
}

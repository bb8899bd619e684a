/**
 * What instructions need from the world outside the processor's own state. The interpreter and the system helpers
 * are functions of (micro-ops, CpuState, Environment): the physical core's environment walks the machine's page
 * tables and pays the processor's prices; a monitor's emulator gives one that translates by the guest's tables and
 * charges the monitor.
 *
 * Nothing here throws for what a guest does. On a fault a method leaves it in `state.signal` and returns; callers
 * test `state.signal.outcome` after every call that can fault.
 */
import type { CostName, Profile } from "./profiles/profile.ts";

/** Access flags. Supervisor is the default: implicit accesses to descriptor tables and the TSS pass no USER. */
export const ACCESS = {
  READ: 0,
  WRITE: 1,
  /** Made with the rights of CPL 3. */
  USER: 2,
  FETCH: 4,
  /** Implicit access to a GDT, LDT, IDT or TSS; the reason that is recorded with the physical reference. */
  DESCRIPTOR: 8,
} as const;

/** Which cached translations a system instruction makes stale (SDM vol. 3, 4.10.4). */
export const FLUSH = {
  /** MOV CR3: all but global entries. */
  NON_GLOBAL: 0,
  /** CR0.PG, CR4.PGE/PSE/PAE changes, VMX transitions: everything. */
  ALL: 1,
} as const;

export interface Environment {
  readonly profile: Profile;
  /** Null unless the processor is in VMX non-root operation. */
  readonly intercepts: Intercepts | null;
  /** The VMX hardware; null where the profile has none. */
  readonly vmx: VmxInstructions | null;

  /** Reads 1, 2 or 4 bytes at a linear address: zero-extended for 1 and 2, int32 for 4. Checks paging only. */
  load(linear: number, bytes: number, access: number): number;
  /** Writes 1, 2 or 4 bytes; checks every byte's page before the first is written. */
  store(linear: number, bytes: number, value: number, access: number): void;
  /** Reads 8 bytes into a state cell. */
  load64(linear: number, access: number, cell: number): void;
  /** Writes a state cell's 8 bytes. */
  store64(linear: number, access: number, cell: number): void;
  /** Checks that the access would succeed for all bytes (A bits and, for WRITE, D bits are set as it would). */
  probe(linear: number, bytes: number, access: number): void;

  /** A word of physical memory: of the page-directory-pointer table that is being loaded (system/pdptes.ts). */
  readPdpt(address: number): number;

  /** FERR# goes to this level (x87 errors while CR0.NE is clear); whether IGNNE# is asserted. */
  numericError?(active: boolean): boolean;

  readPort(port: number, bytes: number): number;
  writePort(port: number, bytes: number, value: number): void;

  /** Called after CR0, CR3, CR4 or EFER have changed in a way that needs `FLUSH`. */
  flushTlb(scope: number): void;
  /** CR0.WP changed, or PDPTE registers by CR0.CD or NW, which needs no flush: what was derived from them goes. */
  pagingChanged(): void;
  /** INVLPG. */
  flushPage(linear: number): void;

  /** Time-stamp counter in cycles, without any VMX offset. Exact below 2^53. */
  timestamp(): number;
  /** Charges a named cost of the profile as part of the instruction in progress. */
  charge(cost: CostName): void;
  /** IA32_APIC_BASE was written, so that the local APIC can move or go away. */
  apicBaseChanged(): void;
  /** Leave straight-line execution at the next boundary: an interrupt may have become deliverable, code may have changed. */
  attention(): void;
  /** EFLAGS.IF has been set: as `attention` if somebody may have waited for it. */
  interruptsOpened(): void;
  /** A predicted branch (all kinds but direct and conditional jumps) went to `target`; charges a misprediction. */
  branch(kind: number, source: number, target: number, next: number): void;
  /** Whether straight-line execution must end at the next boundary; string instructions ask after each iteration. */
  expired(): boolean;
  /**
   * Does up to `count` iterations of REP MOVS or REP STOS at once, if none can fault, reach the deadline before the last
   * or be noticed by anyone, and charges for them; how many: 0 when they are to be done one by one, as where this is absent.
   * Addresses are linear, elements go upward.
   */
  moveString?(source: number, target: number, bytes: number, count: number, read: number, write: number): number;
  fillString?(target: number, bytes: number, count: number, value: number, write: number): number;
  /** A marker NOP was executed (observer.ts). */
  marker(kind: number, region: number): void;
}

/**
 * VMX non-root operation as the instructions see it: cpu/vmx implements it from the VMCS. Every method that
 * returns a boolean returns true when the event causes a VM exit; it has then filled `state.signal` with outcome
 * EXIT and the instruction must stop at once. SDM vol. 3, 26.1 (which faults come before the exit is the caller's
 * duty: privilege checks first, except where 26.1.1 says otherwise).
 */
export interface Intercepts {
  /** An instruction whose exit needs only its basic exit reason (CPUID, HLT, INVD, RDTSC, RDPMC, PAUSE, VMX instructions...). */
  instruction(basicReason: number, qualification: number, information?: number): boolean;
  /** INVLPG with its linear address. */
  invlpg(linear: number): boolean;
  /** IN, OUT, INS, OUTS. `linear` is the memory operand of a string form, 0 otherwise. */
  portIo(
    port: number,
    bytes: number,
    input: boolean,
    string: boolean,
    rep: boolean,
    immediate: boolean,
    linear: number,
  ): boolean;
  msr(index: number, write: boolean): boolean;
  /** MOV to CR0, CR3, CR4, CR8. */
  writeCr(cr: number, value: number, gpr: number): boolean;
  /** MOV from CR3, CR8. */
  readCr(cr: number, gpr: number): boolean;
  /** CLTS: whether it exits; if not, `hostOwned` says that CR0.TS must not be touched. */
  clts(): boolean;
  /** LMSW with its 16-bit source and, for a memory operand, its linear address (-1 for a register). */
  lmsw(source: number, linear: number): boolean;
  /** MOV to or from DRn. */
  movDr(dr: number, write: boolean, gpr: number): boolean;
  taskSwitch(selector: number, source: number): boolean;
  /** What the guest reads of CR0 (0) or CR4 (4): real bits it owns, shadow bits it does not. */
  visibleCr(cr: 0 | 4, actual: number): number;
  /** What a guest write of CR0 or CR4 that causes no exit does: host-owned bits stay. */
  mergeCr(cr: 0 | 4, actual: number, written: number): number;
  /** TSC offset in cycles that RDTSC adds (0 when not in use). */
  tscOffset(): number;
  /** Whether IRET leaves blocking by NMI alone ("NMI exiting" without virtual NMIs; SDM vol. 3, 26.3). Default: it does not. */
  iretKeepsNmiBlocking?(): boolean;
  /** CR8 through the TPR shadow: value read, or null when no shadow is in use. */
  readTprShadow(): number | null;
  /** Writes the TPR shadow; true when this causes a TPR-below-threshold exit after the instruction. */
  writeTprShadow(value: number): boolean;
}

/** The VMX instructions (SDM vol. 3, 31). Operands are resolved by the caller; flags and faults are theirs. */
export interface VmxInstructions {
  /** VMXON, VMCLEAR, VMPTRLD with the 64-bit pointer read from memory. */
  vmxon(pointer: number): void;
  vmclear(pointer: number): void;
  vmptrld(pointer: number): void;
  /** VMPTRST: the current VMCS pointer, or null (and flags or fault set). */
  vmptrst(): number | null;
  vmxoff(): void;
  /** VMREAD: the field's low 32 bits (outside 64-bit mode), or null on VMfail or fault. */
  vmread(encoding: number): number | null;
  vmwrite(encoding: number, value: number): void;
  /** VMLAUNCH and VMRESUME: true when control went elsewhere (guest, or host after a late failure), false with flags. */
  vmenter(launch: boolean): boolean;
  vmcall(): void;
  /** Between VMXON and VMXOFF. */
  readonly inOperation: boolean;
  /**
   * Checks that come before an instruction's operands: #UD, its exit with what it records about operands, #GP(0); false
   * when one of them ended it.
   */
  permits(basicReason: number, qualification?: number, information?: number): boolean;
  /** Whether CR0 or CR4 may hold a value now: VMX operation fixes some bits, and MOV CR is #GP(0) (SDM vol. 3, 24.8). */
  supportsCr?(cr: 0 | 4, value: number): boolean;
}

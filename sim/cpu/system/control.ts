/**
 * Control registers: MOV to and from CR0, CR2, CR3, CR4, CR8, LMSW, SMSW, CLTS (SDM vol. 2; vol. 3, 2.5), with the
 * guest/host masks of VMX non-root operation (vol. 3, 26.3). Order: privilege, VM exit, then the register's own
 * checks. The caller charges.
 *
 * A change of CR0.PE takes effect with the next instruction; hidden parts of segment registers stay (vol. 3, 10.9).
 */
import { type Environment, FLUSH } from "../environment.ts";
import type { Profile } from "../profiles/profile.ts";
import { CELL, type CpuState, CR0, CR4, raise, VECTOR } from "../state.ts";
import { privileged } from "./checks.ts";
import { loadPdptes, usesPae } from "./pdptes.ts";

/** Bits of CR0 that exist; the others of the low 32 ignore writes and read 0. ET is always 1. */
const CR0_BITS = CR0.PE | CR0.MP | CR0.EM | CR0.TS | CR0.ET | CR0.NE | CR0.WP | CR0.AM | CR0.NW | CR0.CD | CR0.PG;
/** Bits of CR4 whose change makes all translations stale (SDM vol. 3, 4.10.4.1). */
const CR4_FLUSHING = CR4.PSE | CR4.PAE | CR4.PGE;
/** Bits whose change makes MOV to CR0 load the PDPTE registers, where it leaves PAE paging in use; of CR4 those above (4.4.1). */
const CR0_LOADING_PDPTES = CR0.PG | CR0.CD | CR0.NW;
/** LMSW loads these. */
const MACHINE_STATUS = CR0.PE | CR0.MP | CR0.EM | CR0.TS;

/** Bits of CR4 by the feature flag of CPUID leaf 1, EDX, that announces them (SDM vol. 3, 2.5). */
const CR4_BY_EDX: readonly [feature: number, bits: number][] = [
  [1, CR4.VME | CR4.PVI],
  [2, CR4.DE],
  [3, CR4.PSE],
  [4, CR4.TSD],
  [6, CR4.PAE],
  [7, CR4.MCE],
  [13, CR4.PGE],
  [24, CR4.OSFXSR],
  [25, CR4.OSXMMEXCPT],
];
const ECX_VMX = 1 << 5;

/** Bits that MOV to CR4 may set on a processor; any other is #GP(0). */
export function cr4Bits(profile: Profile): number {
  const features = profile.cpuid[1];
  if (features === undefined) return 0;
  let bits: number = CR4.PCE;
  for (const [feature, announced] of CR4_BY_EDX) if (((features.edx >>> feature) & 1) !== 0) bits |= announced;
  if ((features.ecx & ECX_VMX) !== 0) bits |= CR4.VMXE;
  return bits;
}

/** MOV from CRn: what the program reads, unsigned. `gpr` is the destination's number, for the exit. */
export function readControl(state: CpuState, env: Environment, cr: number, gpr: number): number {
  if (!privileged(state)) return 0;
  const intercepts = env.intercepts;
  switch (cr) {
    case 0:
      return (intercepts === null ? state.cr0 : intercepts.visibleCr(0, state.cr0)) >>> 0;
    case 2:
      return state.get(CELL.cr2);
    case 3:
      return intercepts?.readCr(3, gpr) === true ? 0 : state.get(CELL.cr3);
    case 4:
      return (intercepts === null ? state.cr4 : intercepts.visibleCr(4, state.cr4)) >>> 0;
    default:
      raise(state, VECTOR.UD);
      return 0;
  }
}

/** MOV to CRn of a 32-bit value; `gpr` is the source's number, for the exit. */
export function writeControl(state: CpuState, env: Environment, cr: number, value: number, gpr: number): void {
  if (cr !== 0 && cr !== 2 && cr !== 3 && cr !== 4) {
    raise(state, VECTOR.UD);
    return;
  }
  if (!privileged(state)) return;
  if (cr === 2) {
    state.set(CELL.cr2, value);
    return;
  }
  const intercepts = env.intercepts;
  if (intercepts?.writeCr(cr, value >>> 0, gpr) === true) return;
  if (cr === 3) {
    loadPagingBase(state, env, value);
  } else if (cr === 0) {
    writeCr0(state, env, intercepts === null ? value : intercepts.mergeCr(0, state.cr0, value));
  } else {
    writeCr4(state, env, intercepts === null ? value : intercepts.mergeCr(4, state.cr4, value));
  }
}

/**
 * Loads CR3, as MOV to it and task switches do, with the PDPTE registers if PAE paging is in use. False, with nothing
 * loaded and the fault of the given vector and error code signalled, if an entry of theirs is not valid.
 */
export function loadPagingBase(
  state: CpuState,
  env: Environment,
  value: number,
  vector: number = VECTOR.GP,
  errorCode = 0,
): boolean {
  if (!reloadPdptes(state, env, state.cr0, state.cr4, value >>> 0, vector, errorCode)) return false;
  state.set(CELL.cr3, value);
  env.flushTlb(FLUSH.NON_GLOBAL);
  return true;
}

/** Loads the PDPTE registers if these values mean PAE paging; false with the fault signalled if an entry is not valid. */
function reloadPdptes(
  state: CpuState,
  env: Environment,
  cr0: number,
  cr4: number,
  cr3: number,
  vector: number = VECTOR.GP,
  errorCode = 0,
): boolean {
  if (!usesPae(cr0, cr4, state.get(CELL.efer)) || loadPdptes(state, env, cr3)) return true;
  raise(state, vector, errorCode);
  return false;
}

function writeCr0(state: CpuState, env: Environment, value: number): void {
  const written = (value & CR0_BITS) | CR0.ET;
  const writeThroughUncached = (written & (CR0.NW | CR0.CD)) === CR0.NW;
  const pagingUnprotected = (written & (CR0.PG | CR0.PE)) === CR0.PG;
  if (writeThroughUncached || pagingUnprotected || env.vmx?.supportsCr?.(0, written) === false) {
    raise(state, VECTOR.GP, 0);
    return;
  }
  const changed = written ^ state.cr0;
  const loads = (changed & CR0_LOADING_PDPTES) !== 0;
  if (loads && !reloadPdptes(state, env, written, state.cr4, state.get(CELL.cr3))) return;
  state.set(CELL.cr0, written);
  if ((changed & CR0.PG) !== 0) env.flushTlb(FLUSH.ALL);
  else if ((changed & CR0.WP) !== 0 || (loads && usesPae(written, state.cr4, state.get(CELL.efer))))
    env.pagingChanged();
  env.attention();
}

function writeCr4(state: CpuState, env: Environment, value: number): void {
  if ((value & ~cr4Bits(env.profile)) !== 0 || env.vmx?.supportsCr?.(4, value) === false) {
    raise(state, VECTOR.GP, 0);
    return;
  }
  const changed = value ^ state.cr4;
  const loads = (changed & CR4_FLUSHING) !== 0;
  if (loads && !reloadPdptes(state, env, state.cr0, value, state.get(CELL.cr3))) return;
  state.set(CELL.cr4, value);
  if ((changed & CR4_FLUSHING) !== 0) env.flushTlb(FLUSH.ALL);
  env.attention();
}

/** LMSW: PE can be set, not cleared. `linear` is the address of a memory operand, -1 for a register (for the exit). */
export function loadMachineStatus(state: CpuState, env: Environment, source: number, linear: number): void {
  if (!privileged(state)) return;
  const intercepts = env.intercepts;
  if (intercepts?.lmsw(source & 0xffff, linear) === true) return;
  const kept = MACHINE_STATUS & ~(source & CR0.PE ? 0 : CR0.PE);
  const value = (state.cr0 & ~kept) | (source & kept);
  writeCr0(state, env, intercepts === null ? value : intercepts.mergeCr(0, state.cr0, value));
}

/** SMSW, which any privilege level may execute: CR0 as the program sees it (a 16-bit destination takes the low half). */
export function storeMachineStatus(state: CpuState, env: Environment): number {
  return (env.intercepts === null ? state.cr0 : env.intercepts.visibleCr(0, state.cr0)) >>> 0;
}

/** CLTS; a TS bit that the host owns stays. */
export function clearTaskSwitched(state: CpuState, env: Environment): void {
  if (!privileged(state)) return;
  const intercepts = env.intercepts;
  if (intercepts?.clts() === true) return;
  const value = state.cr0 & ~CR0.TS;
  state.set(CELL.cr0, intercepts === null ? value : intercepts.mergeCr(0, state.cr0, value));
}

/**
 * CPUID, RDTSC, RDPMC, HLT, INVLPG, INVD, WBINVD, ARPL (SDM vol. 2). Order: privilege, then the VM exit (vol. 3,
 * 26.1.1). The caller charges.
 *
 * Simplified: there are no performance counters to program, so RDPMC of one that the processor has reads 0; caches
 * hold no state, so INVD and WBINVD do nothing beyond their cost. CPUID reads sub-leaf 0 whatever ECX says.
 */
import type { Environment } from "../environment.ts";
import type { CpuidLeaf } from "../profiles/profile.ts";
import { ACTIVITY, CELL, type CpuState, CR4, FLAG, GPR, raise, temporaryCell, VECTOR } from "../state.ts";
import { REASON } from "../vmx/reasons.ts";
import { privileged } from "./checks.ts";
import { APIC_BASE, EXTENDED_EDX, EXTENDED_LEAF, executeDisable, timeStamp, toEdxEax } from "./msr.ts";

const EXTENDED = 0x80000000;
const APIC_FLAG = 1 << 9;
/** IA32_MISC_ENABLE bit 22: CPUID leaf 0 reports 3 (SDM vol. 4, 2.2). */
const LIMIT_CPUID = 1 << 22;
const NO_LEAF: CpuidLeaf = { eax: 0, ebx: 0, ecx: 0, edx: 0 };

/** The leaf that CPUID returns for `index`: beyond the last one, the highest basic leaf's. */
function cpuidLeaf(env: Environment, index: number): CpuidLeaf {
  const leaves = env.profile.cpuid;
  const basic = leaves[0] ?? NO_LEAF;
  const last = index >= EXTENDED ? (leaves[EXTENDED] ?? NO_LEAF).eax >>> 0 : basic.eax >>> 0;
  return leaves[index <= last ? index : basic.eax >>> 0] ?? NO_LEAF;
}

/** CPUID, at any privilege level. */
export function cpuid(state: CpuState, env: Environment): void {
  if (env.intercepts?.instruction(REASON.cpuid, 0) === true) return;
  const index = state.get(GPR.eax);
  const leaf = cpuidLeaf(env, index);
  let eax = leaf.eax;
  let edx = leaf.edx;
  if (index === 0 && (state.get(CELL.miscEnable) & LIMIT_CPUID) !== 0) eax = Math.min(eax, 3);
  if (index === EXTENDED_LEAF && !executeDisable(state, env.profile)) edx &= ~EXTENDED_EDX.XD;
  // Long mode is not modelled, so it is not announced: software that would use it stays in 32-bit mode.
  if (index === EXTENDED_LEAF) edx &= ~EXTENDED_EDX.LM;
  if (index === 1 && (state.get(CELL.apicBase) & APIC_BASE.ENABLE) === 0) edx &= ~APIC_FLAG;
  state.set(GPR.eax, eax);
  state.set(GPR.ebx, leaf.ebx);
  state.set(GPR.ecx, leaf.ecx);
  state.set(GPR.edx, edx);
}

const VALUE = temporaryCell(31);

/** RDTSC: CR4.TSD reserves it to CPL 0. */
export function readTimeStamp(state: CpuState, env: Environment): void {
  if ((state.cr4 & CR4.TSD) !== 0 && !privileged(state)) return;
  if (env.intercepts?.instruction(REASON.rdtsc, 0) === true) return;
  timeStamp(state, env, VALUE);
  toEdxEax(state, VALUE);
}

/** General counters of the Pentium 4 (18); Intel Core 2 has fewer, and fixed ones from 40000000H. */
const COUNTERS = 18;
const FAST_OR_FIXED = 0xc0000000;

/** RDPMC: CR4.PCE opens it to every privilege level. */
export function readPerformanceCounter(state: CpuState, env: Environment): void {
  if ((state.cr4 & CR4.PCE) === 0 && !privileged(state)) return;
  if (env.intercepts?.instruction(REASON.rdpmc, 0) === true) return;
  if ((state.get(GPR.ecx) & ~FAST_OR_FIXED) >= COUNTERS) {
    raise(state, VECTOR.GP, 0);
    return;
  }
  state.set(GPR.eax, 0);
  state.set(GPR.edx, 0);
}

/** HLT: the core finds the activity state at the next boundary. */
export function halt(state: CpuState, env: Environment): void {
  if (!privileged(state) || env.intercepts?.instruction(REASON.hlt, 0) === true) return;
  state.set(CELL.activity, ACTIVITY.HLT);
  env.attention();
}

/** INVLPG of the page that holds `linear`. */
export function invalidatePage(state: CpuState, env: Environment, linear: number): void {
  if (!privileged(state) || env.intercepts?.invlpg(linear) === true) return;
  env.flushPage(linear);
}

/** INVD, which always exits in non-root operation. */
export function invalidateCaches(state: CpuState, env: Environment): void {
  if (privileged(state)) env.intercepts?.instruction(REASON.invd, 0);
}

/** WBINVD, which exits only where a secondary control that the first generation lacks says so. */
export function writeBackCaches(state: CpuState): void {
  privileged(state);
}

/** ARPL: raises the RPL of `destination` to that of `source`; returns the selector and sets ZF if it changed. */
export function adjustRpl(state: CpuState, destination: number, source: number): number {
  const raised = (destination & 3) < (source & 3);
  state.flags = raised ? state.flags | FLAG.ZF : state.flags & ~FLAG.ZF;
  return raised ? (destination & ~3) | (source & 3) : destination;
}

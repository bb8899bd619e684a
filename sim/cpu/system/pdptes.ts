/**
 * The page-directory-pointer-table registers of PAE paging (SDM vol. 3, 4.4.1). They are loaded as a whole from the 32
 * bytes at CR3 by MOV to CR3, by MOV to CR0 and CR4 that change what 4.4.1 lists, by task switches that change CR3, and
 * by VMX transitions; between two loads nothing reads the table, whatever is stored to it. If a present entry has a
 * reserved bit set the load fails and changes nothing. MOV raises #GP(0), a task switch #TS, a VM entry fails.
 *
 * Reserved bits of an entry with P clear are not checked, as on most processors (4.4.1, footnote). The four entries
 * are read as eight words of the linear CR3's physical memory, charged as a walk's references.
 */
import type { Environment } from "../environment.ts";
import { CELL, type CpuState, CR0, CR4, EFER } from "../state.ts";

export const PDPTE_COUNT = 4;
const WORDS = 2 * PDPTE_COUNT;
/** Bits 2:1 and 8:5; those at and above MAXPHYADDR come from the profile. */
const RESERVED_LOW = 0x1e6;
const PRESENT = 1;

/** Physical address of the table: CR3 31:5. */
export function pdptAddress(cr3: number): number {
  return cr3 - (cr3 % 32);
}

/** Whether CR0, CR4 and IA32_EFER select PAE paging. */
export function usesPae(cr0: number, cr4: number, efer: number): boolean {
  return (cr0 & CR0.PG) !== 0 && (cr4 & CR4.PAE) !== 0 && (efer & EFER.LMA) === 0;
}

/** Whether a page-directory-pointer-table entry may be loaded. */
export function validPdpte(low: number, high: number, physicalAddressBits: number): boolean {
  if ((low & PRESENT) === 0) return true;
  return (low & RESERVED_LOW) === 0 && high >>> 0 < 2 ** (physicalAddressBits - 32);
}

/** Loads the registers by a value of CR3 (unsigned). False, with nothing changed, if an entry is not valid. */
export function loadPdptes(state: CpuState, env: Environment, cr3: number): boolean {
  const table = pdptAddress(cr3);
  const words: number[] = [];
  for (let n = 0; n < WORDS; n++) words.push(env.readPdpt(table + 4 * n));
  for (let n = 0; n < PDPTE_COUNT; n++) env.charge("walkReference");
  const width = env.profile.physicalAddressBits;
  for (let n = 0; n < WORDS; n += 2) if (!validPdpte(words[n] as number, words[n + 1] as number, width)) return false;
  state.i32.set(words, CELL.pdpte0);
  return true;
}

/**
 * The MSR lists of VM entries and exits (SDM vol. 3, 25.7.2, 25.8.2, 27.4, 28.4, 28.6). A list entry has 16 bytes:
 * index, 32 reserved bits, 64 bits of data.
 *
 * IA32_EFER is taken as by WRMSR: LME cannot change (27.4: paging is on), LMA is ignored.
 *
 * Simplified: of the model-specific registers only those with a cell in CpuState can be in a list; any other fails
 * the list as a reserved MSR does on hardware. A wider set can be passed in as an `MsrPort`.
 */
import type { Profile } from "../profiles/profile.ts";
import { CELL, type CpuState, EFER } from "../state.ts";
import { acceptsEfer, executeDisable } from "../system/msr.ts";
import type { PhysicalMemory } from "./vmcs.ts";

/** RDMSR and WRMSR as the lists use them. */
export interface MsrPort {
  /** The register's halves, or null where RDMSR would fault. */
  read(index: number): readonly [low: number, high: number] | null;
  /** False where WRMSR would fault. */
  write(index: number, low: number, high: number): boolean;
}

const BYTES_PER_ENTRY = 16;

/** IA32_FS_BASE, IA32_GS_BASE: in no load list (27.4). */
const NEVER_LOADED: readonly number[] = [0xc0000100, 0xc0000101];

const IA32_EFER = 0xc0000080;

const MSR_CELLS: ReadonlyMap<number, number> = new Map([
  [0x174, CELL.sysenterCs],
  [0x175, CELL.sysenterEsp],
  [0x176, CELL.sysenterEip],
  [0x1a0, CELL.miscEnable],
  [0x277, CELL.pat],
  [IA32_EFER, CELL.efer],
]);

/** The MSRs that are cells of CpuState; the TLB is flushed by the transition itself. */
export function cellMsrs(state: CpuState, profile: Profile): MsrPort {
  return {
    read(index) {
      const cell = MSR_CELLS.get(index);
      return cell === undefined ? null : [state.get(cell), state.get(cell + 1)];
    },
    write(index, low, high) {
      const efer = state.get(CELL.efer);
      if (index === IA32_EFER) {
        if (!acceptsEfer(state, profile, low, high) || ((low ^ efer) & EFER.LME) !== 0) return false;
        state.set(CELL.efer, (low & ~EFER.LMA) | (efer & EFER.LMA));
        return true;
      }
      const cell = MSR_CELLS.get(index);
      if (cell === undefined) return false;
      state.i32[cell] = low | 0;
      state.i32[cell + 1] = high | 0;
      if (!executeDisable(state, profile)) state.set(CELL.efer, efer & ~EFER.NXE);
      return true;
    },
  };
}

/** Loads MSRs from a list; 0, or the number of the first entry (from 1) that fails. */
export function loadMsrList(memory: PhysicalMemory, address: number, count: number, msrs: MsrPort): number {
  for (let n = 0; n < count; n++) {
    const entry = address + n * BYTES_PER_ENTRY;
    const index = memory.read32(entry) >>> 0;
    const reserved = memory.read32(entry + 4);
    if (reserved !== 0 || NEVER_LOADED.includes(index)) return n + 1;
    if (!msrs.write(index, memory.read32(entry + 8) >>> 0, memory.read32(entry + 12) >>> 0)) return n + 1;
  }
  return 0;
}

/** Stores MSRs to a list; 0, or the number of the first entry (from 1) that fails. */
export function storeMsrList(memory: PhysicalMemory, address: number, count: number, msrs: MsrPort): number {
  for (let n = 0; n < count; n++) {
    const entry = address + n * BYTES_PER_ENTRY;
    const value = memory.read32(entry + 4) === 0 ? msrs.read(memory.read32(entry) >>> 0) : null;
    if (value === null) return n + 1;
    memory.write32(entry + 8, value[0]);
    memory.write32(entry + 12, value[1]);
  }
  return 0;
}

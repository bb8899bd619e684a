/** Where compiled code finds what it shares with the rest of the machine: byte offsets in the shared memory, and costs. */
import { CODE_GRANULE_SHIFT, RAM_OFFSET } from "../../memory/physical.ts";
import type { MmuLayout } from "../mmu.ts";
import type { CostTicks } from "../profiles/profile.ts";

export interface EngineLayout extends MmuLayout {
  /** This processor's state (cpu/state.ts). */
  readonly state: number;
  /** Clock and accounts: f64 cells (clock.ts, ledger.ts). */
  readonly time: number;
  /** One byte for each CODE_GRANULE_BYTES of RAM. */
  readonly granules: number;
  /** Return stack: its top (i32) and its entries (i64); last targets: sources and targets (f64). */
  readonly returnTop: number;
  readonly returns: number;
  readonly returnEntries: number;
  readonly indirectSources: number;
  readonly indirectTargets: number;
  readonly indirectEntries: number;
  /** Regions by physical address and mode: triples of address, mode, table index; TRANSFER_SLOTS of them. */
  readonly transfers: number;
  /** How often each region has been entered (i32), by its place in the table. */
  readonly entries: number;
  /** References so far (f64), by REASON. */
  readonly references: number;
  /** Words of ACCOUNT_CELL (accounts.ts), and of CORE_CELL. */
  readonly accounts: number;
  readonly core: number;
  readonly ramBytes: number;
  /** Ticks of a misprediction. */
  readonly mispredict: number;
  readonly ticks: CostTicks;
}

/** Words by which the core tells compiled code what it may do alone. */
export const CORE_CELL = {
  /** GUARD bits. */
  guard: 0,
  /** 1: no device has asked for an interrupt since one has changed last. */
  quiet: 1,
  /** Deliveries and returns that compiled code has done. */
  transfers: 2,
  /** Bytes of an access to two pages; how many are in the lower one, and where byte 0 would be by the place of each part. */
  ...{ copy: 3, inLower: 4, lower: 5, upper: 6 },
} as const;
export const CORE_CELLS = 7;

/** What stands against it: VMX non-root operation; breakpoints, or a compilation that is due; a monitor at CPL 0. */
export const GUARD = { INTERCEPTS: 1, STOPS: 2, MONITOR: 4 } as const;

/** Where the mark of the granule at a host byte offset stands, less that offset in granules. */
export function marksByHost({ granules }: EngineLayout): number {
  return granules - (RAM_OFFSET >> CODE_GRANULE_SHIFT);
}

/** log2 of the size of an i32 cell. */
export const WORD_SHIFT = 2;
/** Regions at the most: the size of the table of functions. */
export const CAPACITY = 4096;
export const TRANSFER_SLOTS = 16384;
export const TRANSFER_BYTES = 12;

/** Slot of a region in the table of transfers. */
export function transferSlot(physical: number, modeIndex: number): number {
  return (physical ^ (modeIndex << 6)) & (TRANSFER_SLOTS - 1);
}

/** Where compiled code finds what it shares with the rest of the machine: byte offsets in the shared memory, and costs. */
export interface EngineLayout {
  /** This processor's state (cpu/state.ts). */
  readonly state: number;
  /** Clock and accounts: f64 cells (clock.ts, ledger.ts). */
  readonly time: number;
  /** One byte for each CODE_GRANULE_BYTES of RAM. */
  readonly granules: number;
  /** The MMU's fast table: bases of pages, and byte offsets of frames; one part for each kind of access (mmu.ts). */
  readonly fastTags: number;
  readonly fastFrames: number;
  readonly fastBits: number;
  /** The same for fetches: page numbers and physical page bases (i32), supervisor then user. */
  readonly fetchTags: number;
  readonly fetchBases: number;
  readonly fetchBits: number;
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
  /** References to descriptors so far (f64). */
  readonly descriptorReferences: number;
  /** Ticks of a misprediction. */
  readonly mispredict: number;
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

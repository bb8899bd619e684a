/**
 * What shadow page tables (shadow.ts) need of the monitor that keeps them. The monitor pays through this interface:
 * every reference to simulated memory and every primitive of software is one call, made when the work happens. How
 * many instructions a primitive takes stands in the monitor's own table.
 */
import type { GuestPhysical, HostPhysical } from "./address.ts";

/** Primitives of the software that keeps shadow page tables, and what one of each is. */
export const SHADOW_STEPS = {
  "guest-level": "one level of a software walk of the guest's tables: index, load, test present and reserved bits",
  "guest-flags": "a locked update that sets A or D in one guest entry",
  "find-page": "one look-up in the hash of shadow pages, or of the present root",
  "create-page": "take a frame, clear it, enter the shadow page in the hash",
  "release-page": "take a shadow page out of the hash and return its frame; its entries are zapped apart",
  fill: "compose and store one shadow entry, and note it in the reverse map or the child's list of parents",
  zap: "clear one present shadow entry and take it out of the reverse map or the child's list of parents",
  examine: "one changed guest entry compared with the shadow entry that stands for it",
  trace: "a guest page begins to be traced, or watched; its writable mappings are write-protected apart",
  untrace: "a guest page is no longer traced",
  "write-protect": "one shadow entry, found through the reverse map, loses R/W",
  "root-switch": "another root becomes the active one",
} as const;
export type ShadowStep = keyof typeof SHADOW_STEPS;

/**
 * First linear address of the region that a monitor without its own address space has in its guest's: the top 4 MB, the
 * reach of one page table, or of two with PAE paging.
 */
export const REGION_BASE = 0xffc00000;

/** Host-physical page numbers of the page tables that map the region; their entries are the monitor's business. */
export interface ShadowRegion {
  readonly table: number;
  readonly paeTables: readonly [first: number, second: number];
}

export interface ShadowHost {
  /**
   * 32 bits of guest-physical memory, from an address that is a multiple of 4. Outside RAM it reads what the guest's
   * own page walk would: a device, or all ones.
   */
  readGuest32(address: GuestPhysical): number;
  /** Writes A and D flags of a guest entry. The shadow must not be told of it through `guestWrote`. */
  writeGuest32(address: GuestPhysical, value: number): void;
  /** Host-physical page number of a guest-physical page; -1: not RAM. Must not change while a shadow exists. */
  hostFrame(guestPage: number): number;
  /** Whether stores to the page go to that host page: RAM, not ROM. Must not change while a shadow exists. */
  isWritable(guestPage: number): boolean;
  /** A word of a shadow table, which the simulated processor walks too. */
  readTable(address: HostPhysical): number;
  writeTable(address: HostPhysical, value: number): void;
  /**
   * Host-physical page number, below 2^20, of a frame of zeroes in no guest's pmap; -1: none left. A pool must hold the
   * roots (one; with PAE paging four and their pointer table) and a table for every 4 MB (2 MB) region that one
   * instruction touches, or that instruction never ends: its mappings evict each other. 32 frames are enough for any.
   */
  allocateFrame(): number;
  /** Gives back a frame whose entries have all been cleared. */
  releaseFrame(frame: number): void;
  /** Charges one primitive. */
  step(name: ShadowStep): void;
  /**
   * Bytes of a watched page were written: what was given to `guestWrote`, page by page, or an entry in which a walk set
   * A or D. May watch and unwatch pages.
   */
  watchedWrite?(address: GuestPhysical, bytes: number): void;
  /**
   * The active root does not translate linear addresses from `linear` on for `bytes` bytes any more as it did, or not
   * with all rights. Who enters the guest without flushing the TLB has to invalidate them before. Not called for roots that
   * are not active: loading CR3 flushes. `bytes` is 4096 or the reach of one page table.
   */
  lost?(linear: number, bytes: number): void;
}

/**
 * Where the translator's things are in the monitor's region at the top of the guest's linear space. Translated code reads
 * and writes virtual state in the data page, through GS; it finds the targets of returns and indirect branches in tables in
 * front of the translation cache, which it only reads, through CS.
 */
import { REGION_PAGE, regionAddress } from "../deprivileged/layout.ts";

/** Linear address of the data page: the base of GS. */
export const DATA_PAGE = regionAddress(REGION_PAGE.data);
/** Linear address of the lookup tables, which fill whole pages; code follows. */
export const CACHE_BASE = regionAddress(REGION_PAGE.cache);

/** Offsets of double words in the data page. */
export const DATA = {
  /** Added to the image of the hardware's flags, in which IF is 1 and IOPL 0: 0 or -IF; the guest's IOPL, VIF and VIP. */
  ifDelta: 0x00,
  ioplDelta: 0x04,
  /** Not 0: an interrupt waits for the guest's IF. */
  pending: 0x08,
  /** CR0.TS of the guest, 0 or 8. */
  ts: 0x0c,
  /** Eight double words for registers that a sequence borrows. */
  spill: 0x10,
  /** Address in the cache to which an indirect branch goes. */
  jumpTarget: 0x30,
  /** `ifDelta` for the two kinds of image that POPF may load without the monitor: index 1 and 2. */
  ifDeltas: 0x34,
  /** The guest's CR0 to CR4. */
  cr: 0x40,
  /** Added to the processor's time-stamp counter: low and high. */
  tscOffset: 0x58,
  /** What the guest wrote to port 80h last. */
  port80: 0x60,
  /** The guest's selectors in the order of `SEG`, zero-extended. */
  selectors: 0x64,
  /** The local APIC's task-priority register. */
  taskPriority: 0x7c,
  /** Not 0: the local APIC has interrupt requests, some of which its priorities may hold back. */
  requests: 0x80,
  /** Accesses to the task-priority register that translated code has made. */
  taskPriorityAccesses: 0x84,
  /**
   * 256 bytes, for each value of bits 15:8 of an image of the flags: what POPF at CPL 0 has to do. 0: the monitor is
   * needed (TF, or another IOPL), 1: IF becomes 1, 2: IF becomes 0.
   */
  popFlags: 0x100,
} as const;

/** Offset of a spill, of a selector, of a control register. */
export const spillSlot = (n: number): number => DATA.spill + 4 * n;
export const selectorSlot = (segment: number): number => DATA.selectors + 4 * segment;
export const controlSlot = (n: number): number => DATA.cr + 4 * n;

/**
 * A lookup table has 256 double words that hold minus a guest EIP, at the index of the EIP's lowest byte, and then 256
 * that hold addresses in the cache, at the index of the first word's lowest byte. Each indirect branch uses one of a few
 * tables, by its own address, so that branches with many targets in all do not share 256 places.
 */
export const LOOKUP = { entries: 256, bytes: 2048, targets: 1024, tablesPerPrivilege: 4 } as const;
/** Bytes in front of the code of the cache. */
export const LOOKUP_BYTES = 2 * LOOKUP.tablesPerPrivilege * LOOKUP.bytes;

/** Offset, from the beginning of the cache, of the table that an indirect branch at `eip` looks into. */
export function lookupTable(eip: number, user: boolean): number {
  const mixed = (Math.imul(eip, 0x9e37_79b1) >>> 28) % LOOKUP.tablesPerPrivilege;
  return (mixed + (user ? LOOKUP.tablesPerPrivilege : 0)) * LOOKUP.bytes;
}

/** The table of `DATA.popFlags` for a guest whose IOPL is `iopl`. */
export function popFlagsTable(iopl: number): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, image) => {
    const trap = (image & 1) !== 0;
    const level = (image >> 4) & 3;
    if (trap || level !== iopl) return 0;
    return (image & 2) !== 0 ? 1 : 2;
  });
}

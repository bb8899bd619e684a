/**
 * Where the monitor of a de-privileged guest lives: the top 4 MB of the guest's own linear space, which every root of
 * the shadow tables maps, and which no segment of the guest reaches (K. Adams and O. Agesen, ASPLOS 2006, section 3.1;
 * S. Devine, E. Bugnion, M. Rosenblum, US 6,397,242).
 */
import { REGION_BASE } from "../../memory/shadow-host.ts";

export { REGION_BASE };

/** Pages of the region, from its beginning. */
export const REGION_PAGE = {
  /** Control arrives here, at CPL 0: vector n of the monitor's IDT at byte 16 n. */
  gate: 0,
  /** A few instructions that the core executes for the monitor. */
  stubs: 1,
  /** IDT and TSS. */
  tables: 2,
  stack: 3,
  /** What translated code reaches through GS. */
  data: 4,
  gdt: 5,
  ldt: 21,
  cache: 37,
} as const;

/** Linear address of a page of the region. */
export function regionAddress(page: number): number {
  return REGION_BASE + page * 4096;
}

/** Entry points in the gate page that are no vector's, and the distance between vectors. */
export const GATE = { sysenter: 8, done: 12, bytesPerVector: 16 } as const;

/** First of the monitor's own entries in the shadow GDT, its last ones; a guest's selectors end below. */
export const FIRST_MONITOR_ENTRY = 8160;

/** Selectors of the monitor's own entries. */
export const SELECTOR = {
  code: FIRST_MONITOR_ENTRY * 8,
  data: (FIRST_MONITOR_ENTRY + 1) * 8,
  tss: (FIRST_MONITOR_ENTRY + 2) * 8,
  ldt: (FIRST_MONITOR_ENTRY + 3) * 8,
  /** The translation cache, for code at CPL 1 and at CPL 3. */
  cacheKernel: ((FIRST_MONITOR_ENTRY + 4) * 8) | 1,
  cacheUser: ((FIRST_MONITOR_ENTRY + 5) * 8) | 3,
  /** The page of translated code's data. */
  dataPage: ((FIRST_MONITOR_ENTRY + 6) * 8) | 1,
  /** The monitor's stack under a base, from which it returns to a 16-bit stack. */
  shiftedStack: (FIRST_MONITOR_ENTRY + 7) * 8,
} as const;

/** Selector of the entry that stands for what is in a segment register of the virtual processor (SEG). */
export function slotSelector(segment: number): number {
  return (FIRST_MONITOR_ENTRY + 8 + segment) * 8;
}

/** Vector of translated code's calls to the monitor. */
export const CALL_OUT_VECTOR = 0xe0;
/** INT n is CDh and its vector; prefixes before it are of no use, and not looked for. */
export const INT_BYTES = 2;
/** Vectors whose gates INT n reaches from CPL 3: a guest's own interrupts, without the detour of a #GP. */
export const OPEN_VECTORS = { first: 0x20, last: 0xee } as const;

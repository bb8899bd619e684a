/**
 * What compiled code, the engine and the core have agreed on: why a region returns, what imports answer, and where the
 * functions of a module are.
 */

/**
 * Why a region returned: another block is next; a signal is left; the interpreter has to run what is next; or it has to
 * run, before anything else, an instruction that has begun; or the region at EIP does not fit the processor's segments.
 * With the region's place in the table from bit 8 up (misses.ts): the fast table does not have an access of the instruction; or
 * the bytes of an anchor, with the place in the table, are not in one page.
 */
export const EXIT = {
  ...{ LEFT: 0, SIGNALLED: 1, INTERPRET: 2, BEGUN: 3, UNFIT: 4 },
  ...{ MISSED: 5, APART: 6 },
} as const;
/** Bit of the reasons MISSED and APART: the instruction has not begun, the boundary before it may have something to do. */
export const AT_BOUNDARY = 0x10;

/** Answers of the `translate` import besides a byte offset: a fault is signalled; not an access for compiled code. */
export const TRANSLATE = { FAULT: -1, REFUSED: -2 } as const;
/**
 * What the `translate` import is told: ACCESS bits, bytes in bits 15:8, whether the instruction has made an access before
 * this one, and from CROSSINGS_SHIFT up how often it pays if that is in two pages; 0: it may be given up after this access,
 * which must then be in one page.
 */
export const LATER_ACCESS = 1 << 16;
export const CROSSINGS_SHIFT = 17;
/** Answers of the `interpret` import. */
export const INTERPRETED = { GO_ON: 0, SIGNALLED: 1, BOUNDARY: 2 } as const;

/** Answer of the imports `leave` and `signalled` when the core's loop must go on; else the mode for `transfer`. */
export const TO_THE_CORE = -1;

/** Parts of the index of a block's mode: whose code it is, and the sizes of code and stack. */
export const MODE = { USER: 0, KERNEL: 1, MONITOR: 2, BIG: 4, BIG_STACK: 8 } as const;

/** Bit of the mode that `transfer` is given: the code runs at CPL 3. */
export const TRANSFER_USER = 1 << 8;

/** A mode as `transfer` takes it, from the index of a block's mode. */
export function transferMode(modeIndex: number, user: boolean): number {
  return user ? modeIndex | TRANSFER_USER : modeIndex;
}

/** Longest time that a region runs without coming back, in ticks: `spent` stays a small integer. */
export const LONGEST = 0x3fffffff;

/** Indices of functions in every module of regions. */
export const FUNCTION = {
  translateSlow: 0,
  interpret: 1,
  leave: 2,
  signalled: 3,
  begun: 4,
  fetchSlow: 5,
  invalidateSlow: 6,
  next: 7,
  budget: 8,
  status: 9,
  transfer: 10,
  exit: 11,
  loadSegment: 12,
  translate: 13,
  invalidate: 14,
  sysenter: 15,
  stiSysexit: 16,
  interruptReturn: 17,
  softwareInterrupt: 18,
  fetch: 19,
  writeBack: 20,
  enter: 21,
} as const;
/** Indices of function types (runtime.ts): of so many parameters where the number says no more. */
export const FUNCTION_TYPE = {
  region: 0,
  translate: 1,
  interpret: 2,
  status: 3,
  segment: 4,
  four: 5,
  five: 6,
} as const;

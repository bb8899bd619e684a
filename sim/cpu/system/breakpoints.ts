/**
 * What the debug registers say (SDM vol. 3, 17.2): which breakpoints an instruction address, a data access or an access
 * to a port meets. Who asks, and when the exception comes, is the core's (17.3).
 *
 *   DR7   31 30   29 28  ...  19 18   17 16   13  9  8   7  6  ...  1  0
 *        +-----+-------+     +-----+-------+----+--+--+----+----+ +----+----+
 *        |LEN3 | R/W3  |     |LEN0 | R/W0  | GD |GE|LE| G3 | L3 | | G0 | L0 |
 *        +-----+-------+     +-----+-------+----+--+--+----+----+ +----+----+
 *
 * A breakpoint covers LEN bytes from its address, whose low bits LEN makes it ignore; any overlap meets it. LEN = 10 is
 * eight bytes, as on the processors of both profiles.
 *
 * Simplified: a condition is reported for enabled breakpoints only (the manual leaves the others open); R/W = 10 without
 * CR4.DE, undefined there, meets nothing; so does LEN of an instruction breakpoint, which is ignored.
 */
import { CELL, type CpuState, CR4 } from "../state.ts";

const COUNT = 4;
const KIND = { EXECUTE: 0, WRITE: 1, PORT: 2, READ_WRITE: 3 } as const;
/** Bytes by LEN. */
const LENGTHS = [1, 2, 8, 4] as const;
/** L and G bits of all four. */
const ENABLED_BITS = 0xff;
/** Pending debug exceptions, bit 12: an enabled breakpoint was met (SDM vol. 3, 25.4.2). */
export const ENABLED_BREAKPOINT = 1 << 12;

/** BT, BS, BD and B3 to B0: what a debug exception sets in DR6. */
export const DR6_CONDITIONS = 0xe00f;

/** What enabled breakpoints look at, as bits. */
export const WATCHES = { CODE: 1, DATA: 2, PORTS: 4 } as const;

const address = (state: CpuState, n: number): number => state.get(CELL.dr0 + 2 * n);

/** Kind of breakpoint `n`, or -1 if it is not enabled. */
function enabledKind(dr7: number, n: number): number {
  return ((dr7 >>> (2 * n)) & 3) === 0 ? -1 : (dr7 >>> (16 + 4 * n)) & 3;
}

function overlaps(state: CpuState, dr7: number, n: number, first: number, bytes: number): boolean {
  const length = LENGTHS[(dr7 >>> (18 + 4 * n)) & 3] as number;
  const start = (address(state, n) & -length) >>> 0;
  return first < start + length && start < first + bytes;
}

/** Which of WATCHES are to be made. */
export function breakpointWatches(state: CpuState): number {
  const dr7 = state.get(CELL.dr7);
  if ((dr7 & ENABLED_BITS) === 0) return 0;
  let watches = 0;
  for (let n = 0; n < COUNT; n++) {
    const kind = enabledKind(dr7, n);
    if (kind === KIND.EXECUTE) watches |= WATCHES.CODE;
    else if (kind === KIND.WRITE || kind === KIND.READ_WRITE) watches |= WATCHES.DATA;
    else if (kind === KIND.PORT && (state.cr4 & CR4.DE) !== 0) watches |= WATCHES.PORTS;
  }
  return watches;
}

/** Linear page number of data breakpoint `n` (0 to 3), which an aligned breakpoint does not leave; -1 if there is none. */
export function dataBreakpointPage(state: CpuState, n: number): number {
  const kind = enabledKind(state.get(CELL.dr7), n);
  return kind === KIND.WRITE || kind === KIND.READ_WRITE ? address(state, n) >>> 12 : -1;
}

/** B0 to B3 of the instruction breakpoints at a linear address. */
export function instructionBreakpoints(state: CpuState, linear: number): number {
  const dr7 = state.get(CELL.dr7);
  let met = 0;
  for (let n = 0; n < COUNT; n++) {
    if (enabledKind(dr7, n) === KIND.EXECUTE && address(state, n) === linear) met |= 1 << n;
  }
  return met;
}

/** Whether DR6 reports an instruction breakpoint, so that the last debug exception was a fault. */
export function reportsInstructionBreakpoint(state: CpuState): boolean {
  const dr6 = state.get(CELL.dr6);
  const dr7 = state.get(CELL.dr7);
  for (let n = 0; n < COUNT; n++) {
    if (((dr6 >>> n) & 1) !== 0 && enabledKind(dr7, n) === KIND.EXECUTE) return true;
  }
  return false;
}

/** Whether an instruction breakpoint lies among `bytes` bytes from a linear address. */
export function instructionBreakpointWithin(state: CpuState, linear: number, bytes: number): boolean {
  const dr7 = state.get(CELL.dr7);
  for (let n = 0; n < COUNT; n++) {
    if (enabledKind(dr7, n) !== KIND.EXECUTE) continue;
    const at = address(state, n);
    if (at >= linear && at < linear + bytes) return true;
  }
  return false;
}

/** B0 to B3 of the data breakpoints that a read or write of `bytes` bytes meets. */
export function dataBreakpoints(state: CpuState, linear: number, bytes: number, write: boolean): number {
  const dr7 = state.get(CELL.dr7);
  let met = 0;
  for (let n = 0; n < COUNT; n++) {
    const kind = enabledKind(dr7, n);
    const fits = kind === KIND.READ_WRITE || (write && kind === KIND.WRITE);
    if (fits && overlaps(state, dr7, n, linear, bytes)) met |= 1 << n;
  }
  return met;
}

/** B0 to B3 of the I/O breakpoints that an access to `bytes` ports meets. */
export function portBreakpoints(state: CpuState, port: number, bytes: number): number {
  if ((state.cr4 & CR4.DE) === 0) return 0;
  const dr7 = state.get(CELL.dr7);
  let met = 0;
  for (let n = 0; n < COUNT; n++) {
    if (enabledKind(dr7, n) === KIND.PORT && overlaps(state, dr7, n, port, bytes)) met |= 1 << n;
  }
  return met;
}

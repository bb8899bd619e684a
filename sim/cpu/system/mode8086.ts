/**
 * Segments, far transfers and interrupts as on the 8086: real-address mode (SDM vol. 3, 21.1) and, where a program runs
 * without its monitor's help, virtual-8086 mode (21.2, 21.3). A far pointer is a paragraph number and an offset; an
 * interrupt goes through a table of such pointers.
 *
 * What real-address mode does to the hidden part of a segment register is not in the manual, but is how the P6 and its
 * successors behave, and programs rely on it ("big real mode"): a load changes selector and base; limit and rights stay
 * as protected mode has left them. CS alone gets the rights of a 16-bit, writable segment with each far transfer, while
 * its limit stays too. A register that protected mode has left null becomes what reset makes it. In virtual-8086 mode
 * every load gives the fixed values that the mode has.
 *
 * Simplified: transfers cost what they cost in protected mode; the manuals publish no others.
 */
import { ACCESS, type Environment } from "../environment.ts";
import { CELL, type CpuState, FLAG, GPR, RIGHTS, raise, SEG, VECTOR } from "../state.ts";
import { inVirtual8086, stopped } from "./checks.ts";
import type { DeliveryEvent } from "./delivery.ts";
import { accessibleFlags, FLAGS, returnFlags8086 } from "./flags.ts";
import { loadStack, moveStack, probeCurrentStack, setStackPointer, stackHolds, stackMask, storePush } from "./stack.ts";

/** Segment limit of an 8086 program. */
const LIMIT = 0xffff;
/** Rights after reset (SDM vol. 3, table 10-1): present, read/write data, accessed, DPL 0; CS has them too. */
const REAL_RIGHTS = RIGHTS.P | RIGHTS.S | 3;
/** Rights in virtual-8086 mode (SDM vol. 3, 27.3.1.2): the same with DPL 3. */
const VIRTUAL_RIGHTS = REAL_RIGHTS | (3 << RIGHTS.DPL_SHIFT);

/** Loads a segment register of virtual-8086 mode. */
export function loadVirtual8086Segment(state: CpuState, segment: number, selector: number): void {
  state.setSegment(segment, selector, (selector & 0xffff) << 4, LIMIT, VIRTUAL_RIGHTS);
}

/** Loads ES, SS, DS, FS or GS, which cannot fault. */
export function loadSegment8086(state: CpuState, segment: number, selector: number): void {
  if (inVirtual8086(state)) {
    loadVirtual8086Segment(state, segment, selector);
    return;
  }
  const rights = state.segmentRights(segment);
  const unusable = (rights & RIGHTS.UNUSABLE) !== 0;
  const limit = unusable ? LIMIT : state.segmentLimit(segment);
  state.setSegment(segment, selector, (selector & 0xffff) << 4, limit, unusable ? REAL_RIGHTS : rights | RIGHTS.P);
}

/** Loads CS with a far transfer. */
function loadCode(state: CpuState, selector: number): void {
  if (inVirtual8086(state)) {
    loadVirtual8086Segment(state, SEG.cs, selector);
    return;
  }
  const granularity = state.segmentRights(SEG.cs) & RIGHTS.G;
  const limit = state.segmentLimit(SEG.cs);
  state.setSegment(SEG.cs, selector, (selector & 0xffff) << 4, limit, REAL_RIGHTS | granularity);
}

/** #GP(0) unless `eip` is inside the code segment, whose limit no transfer changes. */
function targetInside(state: CpuState, eip: number): boolean {
  if (eip <= state.segmentLimit(SEG.cs)) return true;
  raise(state, VECTOR.GP, 0);
  return false;
}

/** JMP far. */
export function farJump8086(state: CpuState, selector: number, eip: number): void {
  if (!targetInside(state, eip)) return;
  loadCode(state, selector);
  state.eip = eip;
}

/** CALL far: pushes CS and `next` in items of `bytes` bytes. */
export function farCall8086(
  state: CpuState,
  env: Environment,
  selector: number,
  eip: number,
  bytes: number,
  next: number,
): void {
  if (!probeCurrentStack(state, env, bytes, 2, 0) || !targetInside(state, eip)) return;
  push(state, env, bytes, 1, state.selector(SEG.cs));
  push(state, env, bytes, 2, next);
  release(state, -2 * bytes);
  loadCode(state, selector);
  state.eip = eip;
}

/** RET far, releasing `parameters` bytes more. */
export function farReturn8086(state: CpuState, env: Environment, bytes: number, parameters: number): void {
  if (!stackHolds(state, 0, 2 * bytes, bytes)) return;
  const eip = loadStack(state, env, 0, bytes);
  if (stopped(state)) return;
  const cs = loadStack(state, env, bytes, bytes);
  if (stopped(state) || !targetInside(state, eip)) return;
  release(state, 2 * bytes + parameters);
  loadCode(state, cs);
  state.eip = eip;
}

/** IRET, which charges itself. */
export function interruptReturn8086(state: CpuState, env: Environment, width: 16 | 32): void {
  const whose = accessibleFlags(state, width);
  if (whose === FLAGS.FAULT) return;
  const bytes = width / 8;
  if (!stackHolds(state, 0, 3 * bytes, bytes)) return;
  const eip = loadStack(state, env, 0, bytes);
  if (stopped(state)) return;
  const cs = loadStack(state, env, bytes, bytes);
  if (stopped(state)) return;
  const image = loadStack(state, env, 2 * bytes, bytes);
  if (stopped(state) || !targetInside(state, eip)) return;
  if (!returnFlags8086(state, env, image, width, whose)) return;
  release(state, 3 * bytes);
  loadCode(state, cs);
  state.eip = eip;
  env.charge("iretSame");
}

/**
 * Delivery in real-address mode (SDM vol. 2, INT n, REAL-ADDRESS-MODE; vol. 3, 21.1.4): FLAGS, CS and IP of 16 bits,
 * never an error code. False with a fault signalled. Blocking and cost are the caller's.
 */
export function deliverReal(state: CpuState, env: Environment, event: DeliveryEvent): boolean {
  if (event.vector * 4 + 3 > state.get(CELL.idtrLimit)) {
    raise(state, VECTOR.GP, 0);
    return false;
  }
  const address = state.get(CELL.idtrBase) + event.vector * 4;
  return enterHandler(state, env, address, state.flags, event.returnEip, FLAG.IF | FLAG.TF | FLAG.AC | FLAG.RF);
}

/**
 * Pushes FLAGS (`image`), CS and `returnEip` and goes to the handler whose far pointer is at the linear address
 * `vector`, with the flags `cleared` clear. False with a fault signalled.
 */
export function enterHandler(
  state: CpuState,
  env: Environment,
  vector: number,
  image: number,
  returnEip: number,
  cleared: number,
): boolean {
  const ip = env.load(vector >>> 0, 2, ACCESS.READ | ACCESS.DESCRIPTOR);
  if (stopped(state)) return false;
  const cs = env.load((vector + 2) >>> 0, 2, ACCESS.READ | ACCESS.DESCRIPTOR);
  if (stopped(state)) return false;
  if (!probeCurrentStack(state, env, 2, 3, 0) || !targetInside(state, ip)) return false;
  push(state, env, 2, 1, image);
  push(state, env, 2, 2, state.selector(SEG.cs));
  push(state, env, 2, 3, returnEip);
  release(state, -6);
  loadCode(state, cs);
  state.eip = ip;
  state.flags &= ~cleared;
  return true;
}

/** Stores item number `n` (1 first) of a probed frame below the stack pointer, which stays. */
function push(state: CpuState, env: Environment, bytes: number, n: number, value: number): void {
  const base = state.segmentBase(SEG.ss);
  storePush(env, base, state.segmentRights(SEG.ss), state.get(GPR.esp), n, bytes, value, state.cpl);
}

function release(state: CpuState, bytes: number): void {
  const rights = state.segmentRights(SEG.ss);
  setStackPointer(state, rights, moveStack(state.get(GPR.esp), bytes, stackMask(rights)));
}

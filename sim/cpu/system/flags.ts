/**
 * Which bits of EFLAGS a program may see and change: PUSHF, POPF, IRET's image, CLI, STI (SDM vol. 2, POPF table
 * 4-15; IRET; vol. 3, 5.11, 6.8, 21.3, 21.4). In virtual-8086 mode below IOPL 3 with CR4.VME, and for CLI and STI at CPL 3
 * with CR4.PVI, the program's interrupt flag is VIF. The caller charges.
 */
import type { Environment } from "../environment.ts";
import { BLOCKING, CELL, type CpuState, CR4, FLAG, raise, STATUS_FLAGS, VECTOR } from "../state.ts";
import { inRealMode, inVirtual8086, ioPrivilegeLevel } from "./checks.ts";

/** Bits that POPF and IRET may change at any privilege, in the low 16. */
const ALWAYS = STATUS_FLAGS | FLAG.TF | FLAG.DF | FLAG.NT;

/** Whose flags PUSHF, POPF and IRET work on. */
export const FLAGS = {
  /** The processor's. */
  REAL: 0,
  /** In virtual-8086 mode below IOPL 3, with CR4.VME and an operand of 16 bits: VIF stands for IF. */
  VIRTUAL: 1,
  /** There without one of these: #GP(0) is signalled. */
  FAULT: 2,
} as const;

/** Whose flags PUSHF, POPF or IRET with an operand of `width` bits works on now. */
export function accessibleFlags(state: CpuState, width: 16 | 32): number {
  if (!inVirtual8086(state) || ioPrivilegeLevel(state) === 3) return FLAGS.REAL;
  if ((state.cr4 & CR4.VME) !== 0 && width === 16) return FLAGS.VIRTUAL;
  raise(state, VECTOR.GP, 0);
  return FLAGS.FAULT;
}

/** What PUSHF pushes: VM and RF read as zero; virtual flags show VIF as IF, and an IOPL of 3. */
export function flagsForPush(state: CpuState, width: 16 | 32): number {
  const flags = state.flags;
  if (accessibleFlags(state, width) !== FLAGS.VIRTUAL) return flags & ~(FLAG.VM | FLAG.RF);
  return (flags & ~FLAG.IF) | FLAG.IOPL | ((flags & FLAG.VIF) !== 0 ? FLAG.IF : 0);
}

/** The low 16 bits into virtual flags: IF goes to VIF, IF and IOPL stay. #GP(0) for TF, and for IF while VIP waits. */
function replaceVirtualFlags(state: CpuState, env: Environment, value: number): boolean {
  const refused = (value & FLAG.TF) !== 0 || ((value & FLAG.IF) !== 0 && (state.flags & FLAG.VIP) !== 0);
  if (refused) {
    raise(state, VECTOR.GP, 0);
    return false;
  }
  const virtual = (value & FLAG.IF) !== 0 ? FLAG.VIF : 0;
  replaceFlags(state, env, (value & 0xffff) | virtual, ALWAYS | FLAG.VIF | FLAG.RF);
  return true;
}

/** Bits of EFLAGS that follow CPL and IOPL: IF up to IOPL, IOPL at CPL 0. */
function privilegedFlags(state: CpuState): number {
  let mask = 0;
  if (state.cpl <= ioPrivilegeLevel(state)) mask |= FLAG.IF;
  if (state.cpl === 0) mask |= FLAG.IOPL;
  return mask;
}

function replaceFlags(state: CpuState, env: Environment, value: number, mask: number): void {
  const old = state.flags;
  state.flags = (old & ~mask) | (value & mask) | FLAG.ONE;
  // VIP matters again on each return to a virtual-8086 program, set before or not.
  const set = state.flags & (~old | FLAG.VIP);
  if ((set & (FLAG.TF | FLAG.VIP)) !== 0) env.attention();
  else if ((set & FLAG.IF) !== 0) env.interruptsOpened();
}

/** POPF with an operand of 16 or 32 bits: bits that the program may not change keep their values silently. */
export function popFlags(state: CpuState, env: Environment, value: number, width: 16 | 32): void {
  const whose = accessibleFlags(state, width);
  if (whose === FLAGS.VIRTUAL) replaceVirtualFlags(state, env, value);
  if (whose !== FLAGS.REAL) return;
  let mask = ALWAYS | privilegedFlags(state);
  if (width === 32) mask |= FLAG.AC | FLAG.ID;
  replaceFlags(state, env, value & ~FLAG.RF, mask | FLAG.RF);
}

/** EFLAGS from IRET's image, with the rights of the CPL that executed IRET: call it before CPL changes. */
export function returnFlags(state: CpuState, env: Environment, image: number, width: 16 | 32): void {
  let mask = ALWAYS | privilegedFlags(state);
  if (width === 32) {
    mask |= FLAG.RF | FLAG.AC | FLAG.ID;
    if (state.cpl === 0 && !inRealMode(state)) mask |= FLAG.VIF | FLAG.VIP;
  }
  replaceFlags(state, env, image, mask);
}

/**
 * EFLAGS from the image of an IRET in real-address and virtual-8086 mode; false with #GP(0) signalled. `whose` is what
 * `accessibleFlags` said.
 */
export function returnFlags8086(
  state: CpuState,
  env: Environment,
  image: number,
  width: 16 | 32,
  whose: number,
): boolean {
  if (whose === FLAGS.VIRTUAL) return replaceVirtualFlags(state, env, image);
  returnFlags(state, env, image, width);
  return true;
}

/** EFLAGS with which IRET at CPL 0 enters virtual-8086 mode: all of the image. */
export function enterVirtual8086Flags(state: CpuState, env: Environment, image: number): void {
  const privileged = FLAG.IF | FLAG.IOPL | FLAG.VM | FLAG.VIF | FLAG.VIP;
  replaceFlags(state, env, image, ALWAYS | privileged | FLAG.RF | FLAG.AC | FLAG.ID);
}

/** The flag that CLI and STI change: IF, VIF where interrupts are virtual, or 0 with #GP(0) signalled. */
function interruptFlag(state: CpuState): number {
  if (state.cpl <= ioPrivilegeLevel(state)) return FLAG.IF;
  const extension = inVirtual8086(state) ? CR4.VME : state.cpl === 3 ? CR4.PVI : 0;
  if ((state.cr4 & extension) !== 0) return FLAG.VIF;
  raise(state, VECTOR.GP, 0);
  return 0;
}

export function clearInterruptFlag(state: CpuState): void {
  state.flags &= ~interruptFlag(state);
}

/** STI: when it sets IF, interrupts stay blocked until after the next instruction. VIF is not set while VIP waits. */
export function setInterruptFlag(state: CpuState, env: Environment): void {
  const flag = interruptFlag(state);
  if (flag === FLAG.VIF) {
    if ((state.flags & FLAG.VIP) !== 0) raise(state, VECTOR.GP, 0);
    else state.flags |= FLAG.VIF;
    return;
  }
  if (flag === 0 || (state.flags & FLAG.IF) !== 0) return;
  state.flags |= FLAG.IF;
  state.set(CELL.interruptibility, state.get(CELL.interruptibility) | BLOCKING.STI);
  env.attention();
}

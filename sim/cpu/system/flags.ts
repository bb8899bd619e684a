/**
 * Which bits of EFLAGS a program may see and change: PUSHF, POPF, IRET's image, CLI, STI (SDM vol. 2, POPF table
 * 4-15; IRET; vol. 3, 5.11, 6.8). Virtual-8086 mode, and CLI and STI with protected-mode virtual interrupts (CR4.PVI
 * at CPL 3 below IOPL), stop as unmodelled. The caller charges.
 */
import type { Environment } from "../environment.ts";
import { BLOCKING, CELL, type CpuState, CR4, FLAG, raise, STATUS_FLAGS, unmodelled, VECTOR } from "../state.ts";
import { ioPrivilegeLevel, protectedMode } from "./checks.ts";

/** Bits that POPF and IRET may change at any privilege, in the low 16. */
const ALWAYS = STATUS_FLAGS | FLAG.TF | FLAG.DF | FLAG.NT;

/** What PUSHF pushes: VM and RF read as zero. */
export function flagsForPush(state: CpuState): number {
  if (!protectedMode(state, "PUSHF")) return 0;
  return state.flags & ~(FLAG.VM | FLAG.RF);
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
  if ((state.flags & ~old & (FLAG.IF | FLAG.TF)) !== 0) env.attention();
}

/** POPF with an operand of 16 or 32 bits: bits that the program may not change keep their values silently. */
export function popFlags(state: CpuState, env: Environment, value: number, width: 16 | 32): void {
  if (!protectedMode(state, "POPF")) return;
  let mask = ALWAYS | privilegedFlags(state);
  if (width === 32) mask |= FLAG.AC | FLAG.ID;
  replaceFlags(state, env, value & ~FLAG.RF, mask | FLAG.RF);
}

/** EFLAGS from IRET's image, with the rights of the CPL that executed IRET: call it before CPL changes. */
export function returnFlags(state: CpuState, env: Environment, image: number, width: 16 | 32): void {
  let mask = ALWAYS | privilegedFlags(state);
  if (width === 32) {
    mask |= FLAG.RF | FLAG.AC | FLAG.ID;
    if (state.cpl === 0) mask |= FLAG.VIF | FLAG.VIP;
  }
  replaceFlags(state, env, image, mask);
}

/** Whether CLI or STI may change IF; otherwise #GP(0). */
function mayChangeInterruptFlag(state: CpuState, what: string): boolean {
  if (!protectedMode(state, what)) return false;
  if (state.cpl <= ioPrivilegeLevel(state)) return true;
  if (state.cpl === 3 && (state.cr4 & CR4.PVI) !== 0) unmodelled(state, `${what} with CR4.PVI`);
  else raise(state, VECTOR.GP, 0);
  return false;
}

export function clearInterruptFlag(state: CpuState): void {
  if (mayChangeInterruptFlag(state, "CLI")) state.flags &= ~FLAG.IF;
}

/** STI: when it sets IF, interrupts stay blocked until after the next instruction. */
export function setInterruptFlag(state: CpuState, env: Environment): void {
  if (!mayChangeInterruptFlag(state, "STI") || (state.flags & FLAG.IF) !== 0) return;
  state.flags |= FLAG.IF;
  state.set(CELL.interruptibility, state.get(CELL.interruptibility) | BLOCKING.STI);
  env.attention();
}

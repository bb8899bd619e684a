/**
 * The interpreter: runs micro-ops over a processor state and an environment, without any state of its own. The core
 * runs it over the physical processor; a monitor's emulator runs the same function over a virtual one. It is the
 * readable reference for whatever else executes micro-ops.
 *
 * Time: BEGIN charges the instruction's static cost, so a slow path inside the instruction sees the clock with the
 * instruction's own time; END tests the deadline, so an event is taken at the first instruction boundary at which
 * the clock has reached it, whatever the block's shape.
 *
 * The loop has the frequent micro-ops only, the most frequent first; others are in interpreter32.ts and interpreter64.ts.
 */
import { DEADLINE_CELL, NOW_CELL } from "../clock.ts";
import type { Account, Ledger } from "../ledger.ts";
import { ACCESS, type Environment } from "./environment.ts";
import { addFlags, conditionHolds, resultFlags, subtractFlags, withStatus } from "./flags.ts";
import { executeOther } from "./interpreter32.ts";
import { BRANCH, type MicroOp, OP } from "./micro-ops.ts";
import {
  baseCell,
  CELL,
  type CpuState,
  FAST_READ,
  FAST_WRITE,
  FLAG,
  fastCell,
  OUTCOME,
  raise,
  SEG,
  VECTOR,
} from "./state.ts";
import { stringInstruction } from "./strings.ts";
import { segmentLinear } from "./system/segments.ts";

/** Linear address of an access, or -1 with a fault signalled. */
export function linearAddress(state: CpuState, segment: number, offset: number, bytes: number, write: boolean): number {
  const i32 = state.i32;
  if (((i32[fastCell(segment)] as number) & (write ? FAST_WRITE : FAST_READ)) !== 0) {
    return ((i32[baseCell(segment)] as number) + offset) >>> 0;
  }
  const linear = segmentLinear(state, segment, offset >>> 0, bytes, write);
  return state.signal.outcome === OUTCOME.NONE ? linear : -1;
}

/** Access flags of an explicit memory access at the current privilege level. */
export function dataAccess(state: CpuState, write: boolean): number {
  return (write ? ACCESS.WRITE : 0) | (state.i32[CELL.cpl] === 3 ? ACCESS.USER : 0);
}

/** Raises #GP(0) when a near branch target is outside the code segment (SDM vol. 2, JMP). */
export function targetInside(state: CpuState, target: number): boolean {
  if (target >>> 0 <= state.segmentLimit(SEG.cs)) return true;
  raise(state, VECTOR.GP, 0);
  return false;
}

/**
 * Runs `ops` from `start` until they end, an instruction signals, or a boundary has reached the deadline; the
 * outcome is in `state.signal`. With `account` null nothing is charged or counted: the caller pays in its own way.
 */
export function execute(
  ops: readonly MicroOp[],
  start: number,
  account: Account | null,
  state: CpuState,
  env: Environment,
  ledger: Ledger,
): void {
  const i32 = state.i32;
  const signal = state.signal;
  const cells = ledger.cells;
  let begin = start;

  // Cases that cannot signal `continue`; those that may `break` to the test behind the switch.
  for (let pc = start; pc < ops.length; pc++) {
    const u = ops[pc] as MicroOp;
    switch (u.op) {
      case OP.BEGIN:
        begin = pc;
        if (account !== null) ledger.charge(account, u.imm);
        continue;
      case OP.NEXT:
        i32[CELL.rip] = (i32[CELL.rip] as number) + u.imm;
        if (account !== null) ledger.retire(account);
        if ((cells[NOW_CELL] as number) >= (cells[DEADLINE_CELL] as number)) return;
        begin = pc;
        if (account !== null) ledger.charge(account, u.d);
        continue;
      case OP.LOAD: {
        const linear = linearAddress(state, u.x, i32[u.a] as number, u.w, false);
        if (linear < 0) break;
        const value = env.load(linear, u.w, i32[CELL.cpl] === 3 ? ACCESS.USER : 0);
        if (signal.outcome !== OUTCOME.NONE) break;
        i32[u.d] = value;
        i32[u.d + 1] = 0;
        continue;
      }
      case OP.STORE: {
        const linear = linearAddress(state, u.x, i32[u.a] as number, u.w, true);
        if (linear >= 0) env.store(linear, u.w, i32[u.b] as number, dataAccess(state, true));
        break;
      }
      case OP.ADDRESS: {
        const sum = (i32[u.a] as number) + ((i32[u.b] as number) << u.x) + u.imm;
        i32[u.d] = u.w === 16 ? sum & 0xffff : sum;
        i32[u.d + 1] = 0;
        continue;
      }
      case OP.MOV:
        i32[u.d] = i32[u.a] as number;
        i32[u.d + 1] = 0;
        continue;
      case OP.ADD: {
        const shift = 32 - u.w;
        const a = (i32[u.a] as number) << shift;
        const b = ((i32[u.b] as number) + u.imm) << shift;
        const result = (a + b) | 0;
        i32[CELL.rflags] = withStatus(i32[CELL.rflags] as number, addFlags(a, b, result, shift));
        i32[u.d] = result >>> shift;
        continue;
      }
      case OP.SUB: {
        const shift = 32 - u.w;
        const a = (i32[u.a] as number) << shift;
        const b = ((i32[u.b] as number) + u.imm) << shift;
        const result = (a - b) | 0;
        i32[CELL.rflags] = withStatus(i32[CELL.rflags] as number, subtractFlags(a, b, result, shift));
        i32[u.d] = result >>> shift;
        continue;
      }
      case OP.AND:
      case OP.OR:
      case OP.XOR: {
        const a = i32[u.a] as number;
        const b = (i32[u.b] as number) + u.imm;
        const shift = 32 - u.w;
        const result = (u.op === OP.AND ? a & b : u.op === OP.OR ? a | b : a ^ b) << shift;
        i32[CELL.rflags] = withStatus(i32[CELL.rflags] as number, resultFlags(result, shift));
        i32[u.d] = result >>> shift;
        continue;
      }
      case OP.JUMP_IF: {
        if (!conditionHolds(u.x, i32[CELL.rflags] as number)) continue;
        const target = (i32[CELL.rip] as number) + u.imm;
        const wrapped = u.w === 16 ? target & 0xffff : target | 0;
        if (!targetInside(state, wrapped)) break;
        i32[CELL.rip] = wrapped;
        if (account !== null) ledger.retire(account);
        if (u.c === 0 || (cells[NOW_CELL] as number) >= (cells[DEADLINE_CELL] as number)) return;
        pc = u.c - 2;
        continue;
      }
      case OP.END_BRANCH:
        if (account !== null) ledger.retire(account);
        return;
      case OP.CONST:
        i32[u.d] = u.imm;
        i32[u.d + 1] = 0;
        continue;
      case OP.LOAD_UPDATE: {
        const linear = linearAddress(state, u.x, i32[u.a] as number, u.w, true);
        if (linear < 0) break;
        const value = env.load(linear, u.w, dataAccess(state, true));
        if (signal.outcome !== OUTCOME.NONE) break;
        i32[u.d] = value;
        continue;
      }
      case OP.INC: {
        const shift = 32 - u.w;
        const a = (i32[u.a] as number) << shift;
        const one = 1 << shift;
        const result = (a + one) | 0;
        const eflags = i32[CELL.rflags] as number;
        const status = (addFlags(a, one, result, shift) & ~FLAG.CF) | (eflags & FLAG.CF);
        i32[CELL.rflags] = withStatus(eflags, status);
        i32[u.d] = result >>> shift;
        continue;
      }
      case OP.DEC: {
        const shift = 32 - u.w;
        const a = (i32[u.a] as number) << shift;
        const one = 1 << shift;
        const result = (a - one) | 0;
        const eflags = i32[CELL.rflags] as number;
        const status = (subtractFlags(a, one, result, shift) & ~FLAG.CF) | (eflags & FLAG.CF);
        i32[CELL.rflags] = withStatus(eflags, status);
        i32[u.d] = result >>> shift;
        continue;
      }
      case OP.JUMP: {
        const source = i32[CELL.rip] as number;
        const target = u.w === 16 ? (source + u.imm) & 0xffff : (source + u.imm) | 0;
        if (!targetInside(state, target)) break;
        i32[CELL.rip] = target;
        if (u.x === BRANCH.CALL) env.branch(u.x, source, target, (source + u.b) | 0);
        if (u.c === 0) continue;
        if (account !== null) ledger.retire(account);
        if ((cells[NOW_CELL] as number) >= (cells[DEADLINE_CELL] as number)) return;
        pc = u.c - 2;
        continue;
      }
      case OP.JUMP_TO: {
        const source = i32[CELL.rip] as number;
        const target = u.w === 16 ? (i32[u.a] as number) & 0xffff : (i32[u.a] as number);
        if (!targetInside(state, target)) break;
        i32[CELL.rip] = target;
        env.branch(u.x, source, target, (source + u.imm) | 0);
        break;
      }
      case OP.END:
        i32[CELL.rip] = (i32[CELL.rip] as number) + u.imm;
        if (account !== null) ledger.retire(account);
        if ((cells[NOW_CELL] as number) >= (cells[DEADLINE_CELL] as number)) return;
        continue;
      case OP.ZERO_EXTEND:
        i32[u.d] = u.w === 32 ? (i32[u.a] as number) : (i32[u.a] as number) & (u.w === 8 ? 0xff : 0xffff);
        i32[u.d + 1] = 0;
        continue;
      case OP.PUT8:
        i32[u.d] = ((i32[u.d] as number) & ~0xff) | ((i32[u.a] as number) & 0xff);
        continue;
      case OP.STRING:
        // An unfinished REP leaves EIP at the instruction and is not retired.
        if (!stringInstruction(state, env, u)) {
          signal.length = (ops[begin] as MicroOp).x;
          return;
        }
        break;
      default:
        executeOther(state, env, u);
    }
    if (signal.outcome !== OUTCOME.NONE) {
      signal.length = (ops[begin] as MicroOp).x;
      return;
    }
  }
}

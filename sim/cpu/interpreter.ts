/**
 * The interpreter: runs micro-ops over a processor state and an environment, without any state of its own. The core
 * runs it over the physical processor; a monitor's emulator runs the same function over a virtual one. It is the
 * readable reference for whatever else executes micro-ops.
 *
 * Time: BEGIN charges the instruction's static cost, so a slow path inside the instruction sees the clock with the
 * instruction's own time; END tests the deadline, so an event is taken at the first instruction boundary at which
 * the clock has reached it, whatever the block's shape.
 */

import { DEADLINE_CELL, NOW_CELL } from "../clock.ts";
import type { Account, Ledger } from "../ledger.ts";
import { divide } from "./divide.ts";
import { ACCESS, type Environment } from "./environment.ts";
import { addFlags, conditionHolds, resultFlags, subtractFlags, withStatus } from "./flags.ts";
import { HELPERS } from "./helpers.ts";
import { execute64 } from "./interpreter64.ts";
import { BRANCH, type MicroOp, OP } from "./micro-ops.ts";
import * as shifts from "./shifts.ts";
import {
  baseCell,
  CELL,
  type CpuState,
  FAST_READ,
  FAST_WRITE,
  FLAG,
  fastCell,
  GPR,
  OUTCOME,
  raise,
  SEG,
  VECTOR,
} from "./state.ts";
import { stringInstruction } from "./strings.ts";
import { segmentLinear } from "./system/segments.ts";

/** Bits 1, 3, 5 of the low flags byte are fixed: 1, 0, 0. */
const LAHF_MASK = FLAG.SF | FLAG.ZF | FLAG.AF | FLAG.PF | FLAG.CF;

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
function targetInside(state: CpuState, target: number): boolean {
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
      case OP.END:
        i32[CELL.rip] = (i32[CELL.rip] as number) + u.imm;
        if (account !== null) ledger.retire(account);
        if ((cells[NOW_CELL] as number) >= (cells[DEADLINE_CELL] as number)) return;
        continue;
      case OP.END_BRANCH:
        if (account !== null) ledger.retire(account);
        return;
      case OP.CONST:
        i32[u.d] = u.imm;
        i32[u.d + 1] = 0;
        continue;
      case OP.MOV:
        i32[u.d] = i32[u.a] as number;
        i32[u.d + 1] = 0;
        continue;
      case OP.GET8H:
        i32[u.d] = ((i32[u.a] as number) >>> 8) & 0xff;
        continue;
      case OP.PUT8:
        i32[u.d] = ((i32[u.d] as number) & ~0xff) | ((i32[u.a] as number) & 0xff);
        continue;
      case OP.PUT8H:
        i32[u.d] = ((i32[u.d] as number) & ~0xff00) | (((i32[u.a] as number) & 0xff) << 8);
        continue;
      case OP.PUT16:
        i32[u.d] = ((i32[u.d] as number) & ~0xffff) | ((i32[u.a] as number) & 0xffff);
        continue;
      case OP.ZERO_EXTEND:
        i32[u.d] = u.w === 32 ? (i32[u.a] as number) : (i32[u.a] as number) & (u.w === 8 ? 0xff : 0xffff);
        i32[u.d + 1] = 0;
        continue;
      case OP.SIGN_EXTEND: {
        const shift = 32 - u.w;
        i32[u.d] = ((i32[u.a] as number) << shift) >> shift;
        i32[u.d + 1] = 0;
        continue;
      }
      case OP.SIGN:
        i32[u.d] = (i32[u.a] as number) >> 31;
        continue;
      case OP.ADDRESS: {
        const sum = (i32[u.a] as number) + ((i32[u.b] as number) << u.x) + u.imm;
        i32[u.d] = u.w === 16 ? sum & 0xffff : sum;
        i32[u.d + 1] = 0;
        continue;
      }
      case OP.LOAD: {
        const linear = linearAddress(state, u.x, i32[u.a] as number, u.w, false);
        if (linear < 0) break;
        const value = env.load(linear, u.w, i32[CELL.cpl] === 3 ? ACCESS.USER : 0);
        if (signal.outcome !== OUTCOME.NONE) break;
        i32[u.d] = value;
        i32[u.d + 1] = 0;
        continue;
      }
      case OP.LOAD_UPDATE: {
        const linear = linearAddress(state, u.x, i32[u.a] as number, u.w, true);
        if (linear < 0) break;
        const value = env.load(linear, u.w, dataAccess(state, true));
        if (signal.outcome !== OUTCOME.NONE) break;
        i32[u.d] = value;
        continue;
      }
      case OP.STORE: {
        const linear = linearAddress(state, u.x, i32[u.a] as number, u.w, true);
        if (linear >= 0) env.store(linear, u.w, i32[u.b] as number, dataAccess(state, true));
        break;
      }
      case OP.ADD: {
        const shift = 32 - u.w;
        const a = (i32[u.a] as number) << shift;
        const b = ((i32[u.b] as number) + u.imm) << shift;
        const result = (a + b) | 0;
        i32[CELL.rflags] = withStatus(i32[CELL.rflags] as number, addFlags(a, b, result, shift));
        i32[u.d] = result >>> shift;
        continue;
      }
      case OP.ADC: {
        const shift = 32 - u.w;
        const a = (i32[u.a] as number) << shift;
        const b = ((i32[u.b] as number) + u.imm) << shift;
        const eflags = i32[CELL.rflags] as number;
        const carry = eflags & FLAG.CF;
        const result = (a + b + (carry << shift)) | 0;
        i32[CELL.rflags] = withStatus(eflags, addFlags(a, b, result, shift));
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
      case OP.SBB: {
        const shift = 32 - u.w;
        const a = (i32[u.a] as number) << shift;
        const b = ((i32[u.b] as number) + u.imm) << shift;
        const eflags = i32[CELL.rflags] as number;
        const borrow = eflags & FLAG.CF;
        const result = (a - b - (borrow << shift)) | 0;
        i32[CELL.rflags] = withStatus(eflags, subtractFlags(a, b, result, shift));
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
      case OP.NEG: {
        const shift = 32 - u.w;
        const a = (i32[u.a] as number) << shift;
        const result = -a | 0;
        i32[CELL.rflags] = withStatus(i32[CELL.rflags] as number, subtractFlags(0, a, result, shift));
        i32[u.d] = result >>> shift;
        continue;
      }
      case OP.NOT:
        i32[u.d] = ~(i32[u.a] as number);
        continue;
      case OP.SHL:
      case OP.SHR:
      case OP.SAR:
      case OP.ROL:
      case OP.ROR:
      case OP.RCL:
      case OP.RCR:
        shifts.shift(state, u);
        continue;
      case OP.SHLD:
      case OP.SHRD:
        shifts.doubleShift(state, u);
        continue;
      case OP.MUL:
      case OP.IMUL:
        multiply(state, u);
        continue;
      case OP.DIV:
      case OP.IDIV:
        divide(state, u.w, i32[u.a] as number, u.op === OP.IDIV);
        break;
      case OP.BIT: {
        const mask = 1 << ((i32[u.b] as number) & (u.w - 1));
        const a = i32[u.a] as number;
        const eflags = i32[CELL.rflags] as number;
        i32[CELL.rflags] = (a & mask) !== 0 ? eflags | FLAG.CF : eflags & ~FLAG.CF;
        i32[u.d] = u.x === 0 ? a : u.x === 1 ? a | mask : u.x === 2 ? a & ~mask : a ^ mask;
        continue;
      }
      case OP.BIT_ADDRESS: {
        const shift = 32 - u.w;
        const bit = ((i32[u.b] as number) << shift) >> shift;
        const address = (i32[u.a] as number) + (bit >> (u.w === 32 ? 5 : 4)) * (u.w / 8);
        i32[u.d] = u.x === 16 ? address & 0xffff : address;
        continue;
      }
      case OP.BSF:
      case OP.BSR: {
        const a = u.w === 16 ? (i32[u.a] as number) & 0xffff : (i32[u.a] as number);
        const eflags = i32[CELL.rflags] as number;
        if (a === 0) {
          i32[CELL.rflags] = eflags | FLAG.ZF;
          i32[u.d] = i32[u.b] as number;
        } else {
          i32[CELL.rflags] = eflags & ~FLAG.ZF;
          i32[u.d] = u.op === OP.BSF ? 31 - Math.clz32(a & -a) : 31 - Math.clz32(a);
        }
        continue;
      }
      case OP.BSWAP: {
        const a = i32[u.a] as number;
        i32[u.d] = (a << 24) | ((a & 0xff00) << 8) | ((a >>> 8) & 0xff00) | (a >>> 24);
        continue;
      }
      case OP.SETCC:
        i32[u.d] = conditionHolds(u.x, i32[CELL.rflags] as number) ? 1 : 0;
        continue;
      case OP.SELECT:
        i32[u.d] = i32[conditionHolds(u.x, i32[CELL.rflags] as number) ? u.a : u.b] as number;
        i32[u.d + 1] = 0;
        continue;
      case OP.FLAG_BIT:
        i32[CELL.rflags] = flagBit(u.x, i32[CELL.rflags] as number);
        continue;
      case OP.LAHF: {
        const low = ((i32[CELL.rflags] as number) & LAHF_MASK) | FLAG.ONE;
        i32[GPR.eax] = ((i32[GPR.eax] as number) & ~0xff00) | (low << 8);
        continue;
      }
      case OP.SAHF: {
        const ah = ((i32[GPR.eax] as number) >>> 8) & LAHF_MASK;
        i32[CELL.rflags] = ((i32[CELL.rflags] as number) & ~LAHF_MASK) | ah;
        continue;
      }
      case OP.NEXT_IP: {
        const next = (i32[CELL.rip] as number) + u.imm;
        i32[u.d] = u.w === 16 ? next & 0xffff : next;
        continue;
      }
      case OP.CHECK_RELATIVE: {
        const target = (i32[CELL.rip] as number) + u.imm;
        targetInside(state, u.w === 16 ? target & 0xffff : target);
        break;
      }
      case OP.CHECK_TARGET:
        targetInside(state, u.w === 16 ? (i32[u.a] as number) & 0xffff : (i32[u.a] as number));
        break;
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
      case OP.JUMP_TO: {
        const source = i32[CELL.rip] as number;
        const target = u.w === 16 ? (i32[u.a] as number) & 0xffff : (i32[u.a] as number);
        if (!targetInside(state, target)) break;
        i32[CELL.rip] = target;
        env.branch(u.x, source, target, (source + u.imm) | 0);
        break;
      }
      case OP.LOOP:
        loop(state, u);
        break;
      case OP.STRING:
        // An unfinished REP leaves EIP at the instruction and is not retired.
        if (!stringInstruction(state, env, u)) {
          signal.length = (ops[begin] as MicroOp).x;
          return;
        }
        break;
      case OP.HELPER:
        (HELPERS[u.imm] as (typeof HELPERS)[number])(state, env, u);
        break;
      case OP.MARKER:
        env.marker(u.imm, u.x);
        break;
      default:
        execute64(state, env, u);
    }
    if (signal.outcome !== OUTCOME.NONE) {
      signal.length = (ops[begin] as MicroOp).x;
      return;
    }
  }
}

/** MUL and IMUL: low half to d, high half to c; CF = OF = whether the high half matters. */
function multiply(state: CpuState, u: MicroOp): void {
  const i32 = state.i32;
  const signed = u.op === OP.IMUL;
  const shift = 32 - u.w;
  let low: number;
  let high: number;
  if (u.w === 32) {
    const a = i32[u.a] as number;
    const b = i32[u.b] as number;
    low = Math.imul(a, b);
    high = signed ? highSigned(a, b) : highUnsigned(a, b);
  } else {
    const a = i32[u.a] as number;
    const b = i32[u.b] as number;
    const product = signed
      ? ((a << shift) >> shift) * ((b << shift) >> shift)
      : Math.imul((a << shift) >>> shift, (b << shift) >>> shift);
    low = (product << shift) >>> shift;
    high = ((product >> u.w) << shift) >>> shift;
  }
  const insignificant = signed ? ((low << shift) >> 31) << shift : 0;
  const significant = high << shift !== insignificant;
  const status = (significant ? FLAG.CF | FLAG.OF : 0) | resultFlags(low << shift, shift);
  i32[CELL.rflags] = withStatus(i32[CELL.rflags] as number, status);
  i32[u.d] = low;
  i32[u.d + 1] = 0;
  i32[u.c] = high;
}

/** Upper 32 bits of an unsigned product. */
function highUnsigned(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + Math.floor((aLow * bLow) / 65536);
  return (aHigh * bHigh + Math.floor((middle + aLow * bHigh) / 65536)) | 0;
}

function highSigned(a: number, b: number): number {
  return (highUnsigned(a, b) - (a < 0 ? b : 0) - (b < 0 ? a : 0)) | 0;
}

/** CLC, STC, CMC, CLD, STD. */
function flagBit(kind: number, eflags: number): number {
  switch (kind) {
    case 0:
      return eflags & ~FLAG.CF;
    case 1:
      return eflags | FLAG.CF;
    case 2:
      return eflags ^ FLAG.CF;
    case 3:
      return eflags & ~FLAG.DF;
    default:
      return eflags | FLAG.DF;
  }
}

function jumpNear(state: CpuState, width: number, target: number): void {
  const wrapped = width === 16 ? target & 0xffff : target | 0;
  if (targetInside(state, wrapped)) state.i32[CELL.rip] = wrapped;
}

/** LOOPNE, LOOPE, LOOP, JECXZ; the count is committed only when the target is inside the segment. */
function loop(state: CpuState, u: MicroOp): void {
  const i32 = state.i32;
  const mask = u.w === 16 ? 0xffff : -1;
  const ecx = i32[GPR.ecx] as number;
  const rip = i32[CELL.rip] as number;
  if (u.x === 3) {
    if ((ecx & mask) === 0) jumpNear(state, u.c, rip + u.imm);
    else i32[CELL.rip] = rip + u.b;
    return;
  }
  const count = (ecx - 1) & mask;
  const zero = ((i32[CELL.rflags] as number) & FLAG.ZF) !== 0;
  const taken = count !== 0 && (u.x === 2 || zero === (u.x === 1));
  if (taken) jumpNear(state, u.c, rip + u.imm);
  else i32[CELL.rip] = rip + u.b;
  if (state.signal.outcome !== OUTCOME.NONE) return;
  i32[GPR.ecx] = (ecx & ~mask) | count;
}

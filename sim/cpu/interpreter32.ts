/**
 * The 32-bit micro-ops that are too rare for the interpreter's loop (interpreter.ts): with them in it, the host's engine
 * takes long to compile the loop and short runs are slow.
 */
import { divide } from "./divide.ts";
import type { Environment } from "./environment.ts";
import { addFlags, conditionHolds, resultFlags, subtractFlags, withStatus } from "./flags.ts";
import { HELPERS } from "./helpers.ts";
import { targetInside } from "./interpreter.ts";
import { execute64 } from "./interpreter64.ts";
import { type MicroOp, OP } from "./micro-ops.ts";
import * as shifts from "./shifts.ts";
import { CELL, type CpuState, FLAG, GPR, OUTCOME } from "./state.ts";

/** Bits 1, 3, 5 of the low flags byte are fixed: 1, 0, 0. */
const LAHF_MASK = FLAG.SF | FLAG.ZF | FLAG.AF | FLAG.PF | FLAG.CF;

/** Runs one micro-op that the loop does not know; what it signals is in the state. */
export function executeOther(state: CpuState, env: Environment, u: MicroOp): void {
  const i32 = state.i32;
  switch (u.op) {
    case OP.GET8H:
      i32[u.d] = ((i32[u.a] as number) >>> 8) & 0xff;
      break;
    case OP.PUT8H:
      i32[u.d] = ((i32[u.d] as number) & ~0xff00) | (((i32[u.a] as number) & 0xff) << 8);
      break;
    case OP.PUT16:
      i32[u.d] = ((i32[u.d] as number) & ~0xffff) | ((i32[u.a] as number) & 0xffff);
      break;
    case OP.SIGN_EXTEND: {
      const shift = 32 - u.w;
      i32[u.d] = ((i32[u.a] as number) << shift) >> shift;
      i32[u.d + 1] = 0;
      break;
    }
    case OP.SIGN:
      i32[u.d] = (i32[u.a] as number) >> 31;
      break;
    case OP.ADC: {
      const shift = 32 - u.w;
      const a = (i32[u.a] as number) << shift;
      const b = ((i32[u.b] as number) + u.imm) << shift;
      const eflags = i32[CELL.rflags] as number;
      const carry = eflags & FLAG.CF;
      const result = (a + b + (carry << shift)) | 0;
      i32[CELL.rflags] = withStatus(eflags, addFlags(a, b, result, shift));
      i32[u.d] = result >>> shift;
      break;
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
      break;
    }
    case OP.NEG: {
      const shift = 32 - u.w;
      const a = (i32[u.a] as number) << shift;
      const result = -a | 0;
      i32[CELL.rflags] = withStatus(i32[CELL.rflags] as number, subtractFlags(0, a, result, shift));
      i32[u.d] = result >>> shift;
      break;
    }
    case OP.NOT:
      i32[u.d] = ~(i32[u.a] as number);
      break;
    case OP.SHL:
    case OP.SHR:
    case OP.SAR:
    case OP.ROL:
    case OP.ROR:
    case OP.RCL:
    case OP.RCR:
      shifts.shift(state, u);
      break;
    case OP.SHLD:
    case OP.SHRD:
      shifts.doubleShift(state, u);
      break;
    case OP.MUL:
    case OP.IMUL:
      multiply(state, u);
      break;
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
      break;
    }
    case OP.BIT_ADDRESS: {
      const shift = 32 - u.w;
      const bit = ((i32[u.b] as number) << shift) >> shift;
      const address = (i32[u.a] as number) + (bit >> (u.w === 32 ? 5 : 4)) * (u.w / 8);
      i32[u.d] = u.x === 16 ? address & 0xffff : address;
      break;
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
      break;
    }
    case OP.BSWAP: {
      const a = i32[u.a] as number;
      i32[u.d] = (a << 24) | ((a & 0xff00) << 8) | ((a >>> 8) & 0xff00) | (a >>> 24);
      break;
    }
    case OP.SETCC:
      i32[u.d] = conditionHolds(u.x, i32[CELL.rflags] as number) ? 1 : 0;
      break;
    case OP.SELECT:
      i32[u.d] = i32[conditionHolds(u.x, i32[CELL.rflags] as number) ? u.a : u.b] as number;
      i32[u.d + 1] = 0;
      break;
    case OP.FLAG_BIT:
      i32[CELL.rflags] = flagBit(u.x, i32[CELL.rflags] as number);
      break;
    case OP.LAHF: {
      const low = ((i32[CELL.rflags] as number) & LAHF_MASK) | FLAG.ONE;
      i32[GPR.eax] = ((i32[GPR.eax] as number) & ~0xff00) | (low << 8);
      break;
    }
    case OP.SAHF: {
      const ah = ((i32[GPR.eax] as number) >>> 8) & LAHF_MASK;
      i32[CELL.rflags] = ((i32[CELL.rflags] as number) & ~LAHF_MASK) | ah;
      break;
    }
    case OP.NEXT_IP: {
      const next = (i32[CELL.rip] as number) + u.imm;
      i32[u.d] = u.w === 16 ? next & 0xffff : next;
      break;
    }
    case OP.CHECK_RELATIVE: {
      const target = (i32[CELL.rip] as number) + u.imm;
      targetInside(state, u.w === 16 ? target & 0xffff : target);
      break;
    }
    case OP.CHECK_TARGET:
      targetInside(state, u.w === 16 ? (i32[u.a] as number) & 0xffff : (i32[u.a] as number));
      break;
    case OP.LOOP:
      loop(state, u);
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

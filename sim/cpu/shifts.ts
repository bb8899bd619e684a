/**
 * Shifts and rotates (SDM vol. 2, RCL/RCR/ROL/ROR, SAL/SAR/SHL/SHR, SHLD, SHRD). Counts are masked to five bits; a
 * masked count of zero changes nothing. Where the manual leaves OF or AF undefined (counts other than one) the
 * one-bit formula is used for OF and AF is cleared.
 */
import { resultFlags, withStatus } from "./flags.ts";
import { type MicroOp, OP } from "./micro-ops.ts";
import { CELL, type CpuState, FLAG } from "./state.ts";

/** d = a shifted by b. */
export function shift(state: CpuState, u: MicroOp): void {
  const i32 = state.i32;
  const w = u.w;
  const top = 32 - w;
  const a = ((i32[u.a] as number) << top) >>> top;
  const count = ((i32[u.b] as number) + u.imm) & 31;
  const eflags = i32[CELL.rflags] as number;
  if (count === 0) {
    i32[u.d] = a;
    return;
  }
  switch (u.op) {
    case OP.SHL: {
      const result = count < 32 ? a << count : 0;
      const carry = count <= w ? (a >>> (w - count)) & 1 : 0;
      const sign = (result >>> (w - 1)) & 1;
      finish(state, u, result, carry, carry ^ sign);
      break;
    }
    case OP.SHR: {
      const carry = (a >>> (count - 1)) & 1;
      finish(state, u, a >>> count, carry, a >>> (w - 1));
      break;
    }
    case OP.SAR: {
      const signed = (a << top) >> top;
      finish(state, u, signed >> count, (signed >> (count - 1)) & 1, 0);
      break;
    }
    case OP.ROL: {
      const n = count & (w - 1);
      const result = n === 0 ? a : (a << n) | (a >>> (w - n));
      const carry = result & 1;
      finishRotate(state, u, eflags, result, carry, carry ^ ((result >>> (w - 1)) & 1));
      break;
    }
    case OP.ROR: {
      const n = count & (w - 1);
      const result = n === 0 ? a : (a >>> n) | (a << (w - n));
      const sign = (result >>> (w - 1)) & 1;
      finishRotate(state, u, eflags, result, sign, sign ^ ((result >>> (w - 2)) & 1));
      break;
    }
    default:
      rotateThroughCarry(state, u, a, count, eflags);
  }
}

/** RCL, RCR: one bit at a time over w + 1 bits. */
function rotateThroughCarry(state: CpuState, u: MicroOp, a: number, count: number, eflags: number): void {
  const w = u.w;
  const steps = w === 32 ? count : count % (w + 1);
  let value = a;
  let carry = eflags & FLAG.CF;
  for (let i = 0; i < steps; i++) {
    if (u.op === OP.RCL) {
      const out = (value >>> (w - 1)) & 1;
      value = (value << 1) | carry;
      carry = out;
    } else {
      const out = value & 1;
      value = ((value << (32 - w)) >>> (33 - w)) | (carry << (w - 1));
      carry = out;
    }
  }
  const sign = (value >>> (w - 1)) & 1;
  const overflow = u.op === OP.RCL ? sign ^ carry : sign ^ ((value >>> (w - 2)) & 1);
  finishRotate(state, u, eflags, value, carry, overflow);
}

/** Writes a shift's result with all status flags. */
function finish(state: CpuState, u: MicroOp, result: number, carry: number, overflow: number): void {
  const top = 32 - u.w;
  const atTop = result << top;
  const status = carry | (overflow !== 0 ? FLAG.OF : 0) | resultFlags(atTop, top);
  state.i32[CELL.rflags] = withStatus(state.i32[CELL.rflags] as number, status);
  state.i32[u.d] = atTop >>> top;
}

/** Rotates change CF and OF only. */
function finishRotate(
  state: CpuState,
  u: MicroOp,
  eflags: number,
  result: number,
  carry: number,
  overflow: number,
): void {
  const top = 32 - u.w;
  state.i32[CELL.rflags] = (eflags & ~(FLAG.CF | FLAG.OF)) | carry | (overflow !== 0 ? FLAG.OF : 0);
  state.i32[u.d] = (result << top) >>> top;
}

/** SHLD, SHRD: d = a shifted by c, filled from b. Counts above 16 of the 16-bit forms are undefined. */
export function doubleShift(state: CpuState, u: MicroOp): void {
  const i32 = state.i32;
  const w = u.w;
  const top = 32 - w;
  const a = ((i32[u.a] as number) << top) >>> top;
  const b = ((i32[u.b] as number) << top) >>> top;
  const count = (i32[u.c] as number) & 31;
  if (count === 0) {
    i32[u.d] = a;
    return;
  }
  const n = count > w ? count - w : count;
  const [first, second] = count > w ? [b, a] : [a, b];
  let result: number;
  let carry: number;
  if (u.op === OP.SHLD) {
    result = n === w ? second : (first << n) | (second >>> (w - n));
    carry = (first >>> (w - n)) & 1;
  } else {
    result = n === w ? second : (first >>> n) | (second << (w - n));
    carry = (first >>> (n - 1)) & 1;
  }
  const signChanged = ((a ^ result) >>> (w - 1)) & 1;
  finish(state, u, result, carry, signChanged);
}

/**
 * 64-bit micro-ops. Whole cells go through `BigUint64Array`, slot to slot inside one case; good enough for cold
 * code. Long mode as a processor mode comes with a later issue: these run from hand-made micro-ops.
 */
import { linear64 } from "../memory/address.ts";
import type { Environment } from "./environment.ts";
import { withStatus } from "./flags.ts";
import { dataAccess } from "./interpreter.ts";
import { type MicroOp, OP } from "./micro-ops.ts";
import { CELL, type CpuState, FLAG, raise, SEG, VECTOR } from "./state.ts";

const MASK64 = (1n << 64n) - 1n;
const SIGN64 = 1n << 63n;

/** Address in a cell after the canonical check; -1 with #GP(0), or #SS(0) through SS, signalled (SDM vol. 1, 3.3.7.1). */
function canonical(state: CpuState, cell: number, segment: number): number {
  const linear = linear64(state.i32[cell] as number, state.i32[cell + 1] as number);
  if (linear < 0) raise(state, segment === SEG.ss ? VECTOR.SS : VECTOR.GP, 0);
  return linear;
}

/** SF, ZF, PF of a 64-bit result; AF from bit 4 of `carries`. */
function flags64(result: bigint, carries: bigint): number {
  let parity = Number(result & 0xffn);
  parity ^= parity >> 4;
  parity ^= parity >> 2;
  parity ^= parity >> 1;
  return (
    (result === 0n ? FLAG.ZF : 0) |
    ((result & SIGN64) !== 0n ? FLAG.SF : 0) |
    ((parity & 1) === 0 ? FLAG.PF : 0) |
    ((carries & 16n) !== 0n ? FLAG.AF : 0)
  );
}

/** Runs one 64-bit micro-op. */
export function execute64(state: CpuState, env: Environment, u: MicroOp): void {
  const u64 = state.u64;
  const d = u.d >> 1;
  const a = u64[u.a >> 1] as bigint;
  const b = u64[u.b >> 1] as bigint;
  switch (u.op) {
    case OP.CONST64:
      u64[d] = BigInt.asUintN(64, BigInt(u.imm));
      break;
    case OP.MOV64:
      u64[d] = a;
      break;
    case OP.ADDRESS64:
      u64[d] = BigInt.asUintN(64, a + (b << BigInt(u.x)) + BigInt(u.imm));
      break;
    case OP.LOAD64: {
      const linear = canonical(state, u.a, u.x);
      if (linear >= 0) env.load64(linear, dataAccess(state, false), u.d);
      break;
    }
    case OP.STORE64: {
      const linear = canonical(state, u.a, u.x);
      if (linear >= 0) env.store64(linear, dataAccess(state, true), u.b);
      break;
    }
    case OP.ADD64: {
      const sum = a + b;
      const result = sum & MASK64;
      const carry = sum > MASK64 ? FLAG.CF : 0;
      const overflow = ((a ^ result) & (b ^ result) & SIGN64) !== 0n ? FLAG.OF : 0;
      setStatus(state, flags64(result, a ^ b ^ result) | carry | overflow);
      u64[d] = result;
      break;
    }
    case OP.SUB64: {
      const result = (a - b) & MASK64;
      const borrow = a < b ? FLAG.CF : 0;
      const overflow = ((a ^ b) & (a ^ result) & SIGN64) !== 0n ? FLAG.OF : 0;
      setStatus(state, flags64(result, a ^ b ^ result) | borrow | overflow);
      u64[d] = result;
      break;
    }
    case OP.SHLD64: {
      const count = BigInt((state.i32[u.c] as number) & 63);
      if (count === 0n) {
        u64[d] = a;
        break;
      }
      const result = ((a << count) | (b >> (64n - count))) & MASK64;
      const carry = ((a >> (64n - count)) & 1n) !== 0n ? FLAG.CF : 0;
      const overflow = ((a ^ result) & SIGN64) !== 0n ? FLAG.OF : 0;
      setStatus(state, flags64(result, 0n) | carry | overflow);
      u64[d] = result;
      break;
    }
    case OP.MUL64: {
      const product = a * b;
      const high = product >> 64n;
      setStatus(state, flags64(product & MASK64, 0n) | (high !== 0n ? FLAG.CF | FLAG.OF : 0));
      u64[d] = product & MASK64;
      u64[u.c >> 1] = high;
      break;
    }
    default:
      throw new Error(`interpreter: unknown micro-op ${u.op}`);
  }
}

function setStatus(state: CpuState, status: number): void {
  state.i32[CELL.rflags] = withStatus(state.i32[CELL.rflags] as number, status);
}

/**
 * MMX and SSE instructions as helpers: `simd` runs an operation of the table below, by number, on registers or a register and
 * memory; `simdStore` writes a register, or a part of one, to memory. Fields of the micro-op are in operands.ts.
 */
import type { Environment } from "../environment.ts";
import type { MicroOp } from "../micro-ops.ts";
import { type CpuState, OUTCOME } from "../state.ts";
import { enterMmx } from "../x87/stack.ts";
import { FLOATING } from "./floating.ts";
import { MOVES } from "./moves.ts";
import { loadMxcsr } from "./mxcsr.ts";
import { available, bytesOf, finishMmx, loadOperand, OPERAND, operandAddress, storeCells } from "./operands.ts";
import { PACKED_INTEGER, type Run } from "./packed-integer.ts";
import { SHUFFLES } from "./shuffles.ts";

const OPERATION_TABLE = {
  ...MOVES,
  ...PACKED_INTEGER,
  ...SHUFFLES,
  ...FLOATING,
  ldmxcsr: loadMxcsr,
} as const satisfies Record<string, Run>;

export type SimdOperation = keyof typeof OPERATION_TABLE;
const OPERATIONS: readonly Run[] = Object.values(OPERATION_TABLE);
const NAMES = Object.keys(OPERATION_TABLE) as SimdOperation[];
/** Number of an operation, as a micro-op carries it. */
export const simdOperation = (name: SimdOperation): number => NAMES.indexOf(name);

/** Runs one operation: availability, memory faults, its own exceptions, its result, and last the transition to MMX state. */
export function simd(state: CpuState, env: Environment, u: MicroOp): void {
  if (!available(state, env, u.x)) return;
  let source = u.a;
  if ((u.x & OPERAND.MEMORY) !== 0) {
    source = u.c;
    if (!loadOperand(state, env, u, source)) return;
  }
  (OPERATIONS[u.b] as Run)(state, u, source);
  if ((u.x & OPERAND.MMX) === 0) return;
  // A conversion that raises #XM has gone over to MMX state, too.
  if (state.signal.outcome === OUTCOME.NONE) finishMmx(state, u);
  else enterMmx(state);
}

/** Stores the bytes from cell d on. */
export function simdStore(state: CpuState, env: Environment, u: MicroOp): void {
  if (!available(state, env, u.x)) return;
  const bytes = bytesOf(u);
  const linear = operandAddress(state, env, u, bytes, true);
  if (linear < 0) return;
  storeCells(state, env, linear, bytes, u.d);
  if ((u.x & OPERAND.MMX) !== 0) finishMmx(state, u);
}

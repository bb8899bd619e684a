/** Branch prediction as predictor.ts keeps it, and the condition of LOOP. */
import type { MicroOp } from "../micro-ops.ts";
import type { RegionCode } from "./code.ts";
import { WASM } from "./wasm.ts";

/**
 * Moves the return stack's top up (`by` 1) or down (-1): the offset of the entry that was the top, or is now, goes to
 * `scratch`.
 */
function moveTop(c: RegionCode, by: number): void {
  const f = c.f;
  const { returnTop, returnEntries } = c.layout;
  const next = (by + returnEntries) % returnEntries;
  f.i32(0);
  f.i32(0);
  f.memory(WASM.i32Load, returnTop, 2);
  f.tee(c.scratch);
  f.i32(next);
  f.op(WASM.i32Add);
  if ((returnEntries & (returnEntries - 1)) === 0) {
    f.i32(returnEntries - 1);
    f.op(WASM.i32And);
  } else {
    f.i32(returnEntries);
    f.op(WASM.i32RemU);
  }
  if (by < 0) f.tee(c.scratch);
  f.memory(WASM.i32Store, returnTop, 2);
  f.get(c.scratch);
  f.i32(3);
  f.op(WASM.i32Shl);
  f.set(c.scratch);
}

/** CALL: the address of the next instruction goes on the return stack (predictor.ts). */
export function pushReturn(c: RegionCode, next: () => void): void {
  const f = c.f;
  moveTop(c, 1);
  f.get(c.scratch);
  next();
  f.op(WASM.i64ExtendI32U);
  f.memory(WASM.i64Store, c.layout.returns, 3);
}

/** RET to the EIP in its local. */
export function popReturn(c: RegionCode): void {
  const f = c.f;
  const { returns } = c.layout;
  moveTop(c, -1);
  f.get(c.scratch);
  f.memory(WASM.i64Load, returns, 3);
  f.get(c.eip);
  f.op(WASM.i64ExtendI32U);
  f.op(WASM.i64Ne);
  f.get(c.scratch);
  f.i64(-1);
  f.memory(WASM.i64Store, returns, 3);
  c.chargeMisprediction();
}

/** An indirect branch of the instruction at a place to the EIP in its local. */
export function lastTarget(c: RegionCode, delta: number): void {
  const f = c.f;
  const { indirectSources, indirectTargets, indirectEntries } = c.layout;
  const slot = c.scratch;
  c.place(delta);
  f.i32(indirectEntries);
  f.op(WASM.i32RemU);
  f.i32(3);
  f.op(WASM.i32Shl);
  f.tee(slot);
  f.memory(WASM.f64Load, indirectSources, 3);
  c.place(delta);
  f.op(WASM.f64ConvertI32U);
  f.op(WASM.f64Ne);
  f.get(slot);
  f.memory(WASM.f64Load, indirectTargets, 3);
  f.get(c.eip);
  f.op(WASM.f64ConvertI32U);
  f.op(WASM.f64Ne);
  f.op(WASM.i32Or);
  c.chargeMisprediction();
  f.get(slot);
  c.place(delta);
  f.op(WASM.f64ConvertI32U);
  f.memory(WASM.f64Store, indirectSources, 3);
  f.get(slot);
  f.get(c.eip);
  f.op(WASM.f64ConvertI32U);
  f.memory(WASM.f64Store, indirectTargets, 3);
}

/** LOOP and JECXZ: ECX is committed, and whether to jump is left on the stack. */
export function loopCondition(c: RegionCode, op: MicroOp): void {
  const f = c.f;
  const ecx = c.registers[1] as number;
  if (op.x === 3) {
    f.get(ecx);
    f.op(WASM.i32Eqz);
    return;
  }
  f.get(ecx);
  f.i32(1);
  f.op(WASM.i32Sub);
  f.tee(ecx);
  f.i32(0);
  f.op(WASM.i32Ne);
}

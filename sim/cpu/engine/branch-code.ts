/** Branch prediction as predictor.ts keeps it, and the condition of LOOP. */
import type { MicroOp } from "../micro-ops.ts";
import type { RegionCode } from "./code.ts";
import { WASM } from "./wasm.ts";

/** The return stack's top, in `scratch`. */
export function returnTop(c: RegionCode): void {
  const f = c.f;
  f.i32(0);
  f.memory(WASM.f64Load, c.layout.returnTop, 3);
  f.op(WASM.i32TruncF64S);
}

export function setReturnTop(c: RegionCode): void {
  const f = c.f;
  f.i32(0);
  f.get(c.scratch);
  f.op(WASM.f64ConvertI32S);
  f.memory(WASM.f64Store, c.layout.returnTop, 3);
}

/** CALL: the address of the next instruction goes on the return stack (predictor.ts). */
export function pushReturn(c: RegionCode, next: () => void): void {
  const f = c.f;
  const { returns, returnEntries } = c.layout;
  returnTop(c);
  f.tee(c.scratch);
  f.i32(3);
  f.op(WASM.i32Shl);
  next();
  f.op(WASM.f64ConvertI32U);
  f.memory(WASM.f64Store, returns, 3);
  f.get(c.scratch);
  f.i32(1);
  f.op(WASM.i32Add);
  f.i32(returnEntries);
  f.op(WASM.i32RemU);
  f.set(c.scratch);
  setReturnTop(c);
}

/** RET to the EIP in its local. */
export function popReturn(c: RegionCode): void {
  const f = c.f;
  const { returns, returnEntries } = c.layout;
  returnTop(c);
  f.i32(returnEntries - 1);
  f.op(WASM.i32Add);
  f.i32(returnEntries);
  f.op(WASM.i32RemU);
  f.set(c.scratch);
  setReturnTop(c);
  f.get(c.scratch);
  f.i32(3);
  f.op(WASM.i32Shl);
  f.tee(c.scratch);
  f.memory(WASM.f64Load, returns, 3);
  f.get(c.eip);
  f.op(WASM.f64ConvertI32U);
  f.op(WASM.f64Ne);
  c.chargeMisprediction();
  f.get(c.scratch);
  f.f64(-1);
  f.memory(WASM.f64Store, returns, 3);
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

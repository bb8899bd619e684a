/** RDTSC and PAUSE in regions. */
import { NOW_CELL, TICKS_PER_CYCLE } from "../../clock.ts";
import { CELL, CR4, GPR } from "../state.ts";
import type { RegionCode } from "./code.ts";
import { CORE_CELL, GUARD } from "./layout.ts";
import { WASM } from "./wasm.ts";

const WORD_BITS = 32;

/** Leaves the instruction in progress where a monitor may intercept it. */
export function notIntercepted(c: RegionCode): void {
  const { f } = c;
  f.i32(0);
  f.memory(WASM.i32Load, c.layout.core + CORE_CELL.guard * 4, 2);
  f.i32(GUARD.INTERCEPTS);
  f.op(WASM.i32And);
  c.rarely(() => c.giveUp());
}

/** RDTSC, where everybody may read the counter and it has not been written. */
export function readTimeStamp(c: RegionCode): void {
  const { f } = c;
  notIntercepted(c);
  c.loadCell(CELL.cr4);
  f.i32(CR4.TSD);
  f.op(WASM.i32And);
  c.loadCell(CELL.tscOffset);
  f.op(WASM.i32Or);
  c.loadCell(CELL.tscOffset + 1);
  f.op(WASM.i32Or);
  c.rarely(() => c.giveUp());
  f.i32(0);
  f.memory(WASM.f64Load, c.layout.time + NOW_CELL * 8, 3);
  c.spentWithThis();
  f.op(WASM.f64ConvertI32S);
  f.op(WASM.f64Add);
  // A time is a whole number of ticks.
  f.op(WASM.i64TruncF64S);
  f.i64(TICKS_PER_CYCLE);
  f.op(WASM.i64DivS);
  f.set(c.wide);
  f.get(c.wide);
  f.op(WASM.i32WrapI64);
  c.write(GPR.eax);
  f.get(c.wide);
  f.i64(WORD_BITS);
  f.op(WASM.i64ShrU);
  f.op(WASM.i32WrapI64);
  c.write(GPR.edx);
}

/** Loads and stores: through the fast table inline, else by the import `translate`. */
import { CODE_GRANULE_SHIFT, RAM_OFFSET } from "../../memory/physical.ts";
import { ACCESS } from "../environment.ts";
import type { MicroOp } from "../micro-ops.ts";
import { PLACE_TEMPORARY, type RegionCode } from "./code.ts";
import { FUNCTION, TRANSLATE } from "./contract.ts";
import { WORD_SHIFT } from "./layout.ts";
import { linearAddress } from "./segments-code.ts";
import { WASM } from "./wasm.ts";

/**
 * Host byte offset of an access at segment x : cell a, in a local of its own. Through the fast table; else JavaScript
 * translates (and charges what that costs), or the instruction is given up.
 */
export function translateAccess(c: RegionCode, op: MicroOp, write: boolean): number {
  const f = c.f;
  const { fastTags, fastFrames, fastBits } = c.layout;
  const access = (write ? ACCESS.WRITE : 0) | (c.context.user ? ACCESS.USER : 0);
  const part = (access << fastBits) * 4;
  c.read(op.a);
  linearAddress(c, op.x, op.w);
  f.i32(12 - WORD_SHIFT);
  f.op(WASM.i32ShrU);
  f.i32(((1 << fastBits) - 1) << WORD_SHIFT);
  f.op(WASM.i32And);
  f.tee(c.scratch);
  f.memory(WASM.i32Load, fastTags + part, 2);
  f.get(c.linear);
  if (op.w > 1) {
    f.i32(op.w - 1);
    f.op(WASM.i32Add);
  }
  f.i32(12);
  f.op(WASM.i32ShrU);
  f.op(WASM.i32Eq);
  c.when(
    () => {
      f.get(c.scratch);
      f.memory(WASM.i32Load, fastFrames + part, 2);
      f.get(c.linear);
      f.i32(0xfff);
      f.op(WASM.i32And);
      f.op(WASM.i32Add);
      f.set(c.host);
    },
    () => {
      f.get(c.linear);
      f.i32(access | (op.w << 8));
      f.get(c.spent);
      f.call(FUNCTION.translate);
      f.tee(c.host);
      f.i32(0);
      f.op(WASM.i32LtS);
      c.when(() => {
        f.get(c.host);
        f.i32(TRANSLATE.FAULT);
        f.op(WASM.i32Eq);
        c.when(() => c.signalled());
        c.giveUp();
      });
      c.newBudget();
    },
  );
  return c.host;
}

export function loadFrom(c: RegionCode, host: number, bytes: number): void {
  c.f.get(host);
  c.f.memory(bytes === 1 ? WASM.i32Load8U : bytes === 2 ? WASM.i32Load16U : WASM.i32Load, 0, 0);
}

/** Leaves the instruction when code was lifted from where it is about to store. */
export function checkGranule(c: RegionCode, host: number): void {
  const f = c.f;
  f.get(host);
  f.i32(CODE_GRANULE_SHIFT);
  f.op(WASM.i32ShrU);
  f.memory(WASM.i32Load8U, c.layout.granules - (RAM_OFFSET >> CODE_GRANULE_SHIFT), 0);
  c.when(() => c.giveUp());
}

export function store(c: RegionCode, op: MicroOp): void {
  const f = c.f;
  const known = c.places.get(`${op.x}:${op.a}:${op.w}`);
  const host = known ?? translateAccess(c, op, true);
  if (known === undefined) checkGranule(c, host);
  f.get(host);
  c.read(op.b);
  f.memory(op.w === 1 ? WASM.i32Store8 : op.w === 2 ? WASM.i32Store16 : WASM.i32Store, 0, 0);
}

export function loadForUpdate(c: RegionCode, op: MicroOp): void {
  const f = c.f;
  translateAccess(c, op, true);
  checkGranule(c, c.host);
  const kept = c.temporary(PLACE_TEMPORARY);
  f.get(c.host);
  f.set(kept);
  c.places.set(`${op.x}:${op.a}:${op.w}`, kept);
  loadFrom(c, kept, op.w);
  c.write(op.d);
}

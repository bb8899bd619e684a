/** Loads and stores: through the fast table inline, else by the import `translate`. */
import { PAGE_SIZE } from "../../memory/address.ts";
import { CODE_GRANULE_SHIFT, RAM_OFFSET } from "../../memory/physical.ts";
import { ACCESS } from "../environment.ts";
import type { MicroOp } from "../micro-ops.ts";
import { GPR, SEG } from "../state.ts";
import { PLACE_TEMPORARY, type RegionCode } from "./code.ts";
import { FUNCTION, LATER_ACCESS, TRANSLATE } from "./contract.ts";
import { WORD_SHIFT } from "./layout.ts";
import { linearAddress, type SegmentUse } from "./segments-code.ts";
import { WASM } from "./wasm.ts";

/**
 * Host byte offset of an access at segment x : cell a, in a local of its own. Through the fast table; else JavaScript
 * translates (and charges what that costs), or the instruction is given up.
 */
export function translateAccess(c: RegionCode, op: MicroOp, write: boolean): number {
  c.read(op.a);
  return translate(c, op.x, op.w, write);
}

/** The same for an access of `bytes` bytes at the offset on the stack. */
function translate(c: RegionCode, segment: number, bytes: number, write: boolean): number {
  const f = c.f;
  const { fastTags, fastFrames, fastBits } = c.layout;
  const access = (write ? ACCESS.WRITE : 0) | (c.context.user ? ACCESS.USER : 0);
  const part = (access << fastBits) * 4;
  const later = c.accessed;
  c.accessed = true;
  linearAddress(c, segment, bytes);
  f.i32(12 - WORD_SHIFT);
  f.op(WASM.i32ShrU);
  f.i32(((1 << fastBits) - 1) << WORD_SHIFT);
  f.op(WASM.i32And);
  f.set(c.scratch);
  // The offset from the page that the slot has: a whole access lies in it, or not.
  f.get(c.linear);
  f.get(c.scratch);
  f.memory(WASM.i32Load, fastTags + part, 2);
  f.op(WASM.i32Sub);
  f.tee(c.host);
  f.i32(PAGE_SIZE - bytes);
  f.op(WASM.i32GtU);
  c.rarely(
    () => {
      f.get(c.linear);
      f.i32(access | (bytes << 8) | (later ? LATER_ACCESS : 0));
      c.spentAhead();
      f.call(FUNCTION.translate);
      f.tee(c.host);
      f.i32(0);
      f.op(WASM.i32LtS);
      c.rarely(() => {
        f.get(c.host);
        f.i32(TRANSLATE.FAULT);
        f.op(WASM.i32Eq);
        c.rarely(() => c.signalled());
        c.giveUp();
      });
      c.newBudget();
    },
    () => {
      f.get(c.host);
      f.get(c.scratch);
      f.memory(WASM.i32Load, fastFrames + part, 2);
      f.op(WASM.i32Add);
      f.set(c.host);
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
  c.rarely(() => c.giveUp());
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

const ALL_BYTES = 32;

/** Leaves the instruction unless the 32 bytes of PUSHA and POPA lie in one page: `room` bytes from `linear` up or down. */
function onOnePage(c: RegionCode, comparison: number, room: number): void {
  const f = c.f;
  f.get(c.linear);
  f.i32(0xfff);
  f.op(WASM.i32And);
  f.i32(room);
  f.op(comparison);
  c.rarely(() => c.giveUp());
}

/** PUSHA of 32 bits. The first byte that it checks is that of EAX, the uppermost. */
export function pushAll(c: RegionCode): void {
  const f = c.f;
  const { limit } = c.segments.get(SEG.ss) as SegmentUse;
  if (limit !== null) {
    c.read(GPR.esp);
    f.i32(ALL_BYTES);
    f.op(WASM.i32LtU);
    c.rarely(() => c.giveUp());
  }
  c.read(GPR.esp);
  f.i32(4);
  f.op(WASM.i32Sub);
  translate(c, SEG.ss, 4, true);
  onOnePage(c, WASM.i32LtU, ALL_BYTES - 4);
  checkGranule(c, c.host);
  f.get(c.host);
  f.i32(ALL_BYTES - 4);
  f.op(WASM.i32Sub);
  f.set(c.host);
  checkGranule(c, c.host);
  for (let n = 0; n < 8; n++) {
    f.get(c.host);
    f.get(c.registers[n] as number);
    f.memory(WASM.i32Store, ALL_BYTES - 4 - n * 4, 0);
  }
  c.read(GPR.esp);
  f.i32(ALL_BYTES);
  f.op(WASM.i32Sub);
  c.write(GPR.esp);
}

/** POPA of 32 bits. */
export function popAll(c: RegionCode): void {
  const f = c.f;
  const { limit } = c.segments.get(SEG.ss) as SegmentUse;
  if (limit !== null) {
    f.get(limit);
    f.i32(ALL_BYTES);
    f.op(WASM.i32LtU);
    c.read(GPR.esp);
    f.get(limit);
    f.i32(ALL_BYTES - 1);
    f.op(WASM.i32Sub);
    f.op(WASM.i32GtU);
    f.op(WASM.i32Or);
    c.rarely(() => c.giveUp());
  }
  c.read(GPR.esp);
  translate(c, SEG.ss, 4, false);
  onOnePage(c, WASM.i32GtU, 0x1000 - ALL_BYTES);
  for (let n = 0; n < 8; n++) {
    if (n === GPR.esp / 2) continue;
    f.get(c.host);
    f.memory(WASM.i32Load, ALL_BYTES - 4 - n * 4, 0);
    f.set(c.registers[n] as number);
  }
  c.read(GPR.esp);
  f.i32(ALL_BYTES);
  f.op(WASM.i32Add);
  c.write(GPR.esp);
}

/**
 * Loads of DS, ES, FS and GS in compiled code (system/segments.ts says what they are): null selectors, and those of usual
 * descriptors: of the GDT, whose page the MMU's fast table has, present, accessed, of data that does not expand down or of
 * code that can be read and does not conform, and permitted. All others are left to the interpreter, with nothing done.
 */
import { REASON } from "../../memory/physical.ts";
import { ACCESS } from "../environment.ts";
import {
  baseCell,
  CELL,
  CR0,
  FAST_READ,
  FAST_WRITE,
  FLAG,
  fastCell,
  limitCell,
  RIGHTS,
  rightsCell,
  SEG,
  selectorCell,
} from "../state.ts";
import { type EngineLayout, WORD_SHIFT } from "./layout.ts";
import { FunctionBody, WASM } from "./wasm.ts";

/** Bits of a descriptor's upper word: accessed, S, P; readable or writable, expand-down or conforming, code. */
const USUAL = 0x9100;
const READABLE_OR_WRITABLE = 1 << 9;
const EXPAND_DOWN_OR_CONFORMING = 1 << 10;
const CODE = 1 << 11;
const GRANULARITY = 1 << 23;

/** Byte offset of a segment register's first cell from that of ES: what `loadSegment` takes. */
export function segmentOffset(segment: number): number {
  return (selectorCell(segment) - selectorCell(SEG.es)) * 4;
}

/** (selector, `segmentOffset`) -> 1 when the segment register is loaded; 0: nothing has been done. */
export function loadSegment(layout: EngineLayout): FunctionBody {
  const f = new FunctionBody(2);
  const [selector, segment] = [0, 1];
  const linear = f.addLocal();
  const host = f.addLocal();
  const low = f.addLocal();
  const high = f.addLocal();
  const limit = f.addLocal();
  const cell = (number: number): void => {
    f.i32(0);
    f.memory(WASM.i32Load, layout.state + number * 4, 2);
  };
  const refuseIf = (): void => {
    f.open(WASM.if);
    f.i32(0);
    f.op(WASM.return);
    f.end();
  };
  const store = (number: number, value: () => void): void => {
    f.get(segment);
    value();
    f.memory(WASM.i32Store, layout.state + number * 4, 2);
  };
  const bits = (local: number, mask: number): void => {
    f.get(local);
    f.i32(mask);
    f.op(WASM.i32And);
  };

  cell(CELL.cr0);
  f.i32(CR0.PE);
  f.op(WASM.i32And);
  f.op(WASM.i32Eqz);
  cell(CELL.rflags);
  f.i32(FLAG.VM);
  f.op(WASM.i32And);
  f.op(WASM.i32Or);
  refuseIf();
  f.get(selector);
  f.i32(0xffff);
  f.op(WASM.i32And);
  f.set(selector);

  bits(selector, 0xfffc);
  f.op(WASM.i32Eqz);
  f.open(WASM.if);
  store(selectorCell(SEG.es), () => f.get(selector));
  store(baseCell(SEG.es), () => f.i32(0));
  store(limitCell(SEG.es), () => f.i32(0));
  store(rightsCell(SEG.es), () => f.i32(RIGHTS.UNUSABLE));
  store(fastCell(SEG.es), () => f.i32(0));
  f.i32(1);
  f.op(WASM.return);
  f.end();

  bits(selector, 4);
  f.get(selector);
  f.i32(7);
  f.op(WASM.i32Or);
  cell(CELL.gdtrLimit);
  f.op(WASM.i32GtU);
  f.op(WASM.i32Or);
  refuseIf();
  cell(CELL.gdtrBase);
  bits(selector, 0xfff8);
  f.op(WASM.i32Add);
  f.tee(linear);
  f.i32(7);
  f.op(WASM.i32And);
  // The slot of the page in the fast table.
  f.get(linear);
  f.i32(12 - WORD_SHIFT);
  f.op(WASM.i32ShrU);
  f.i32(((1 << layout.fastBits) - 1) << WORD_SHIFT);
  f.op(WASM.i32And);
  f.tee(host);
  const part = (ACCESS.READ << layout.fastBits) * 4;
  f.memory(WASM.i32Load, layout.fastTags + part, 2);
  bits(linear, ~0xfff);
  f.op(WASM.i32Ne);
  f.op(WASM.i32Or);
  refuseIf();
  f.get(host);
  f.memory(WASM.i32Load, layout.fastFrames + part, 2);
  bits(linear, 0xfff);
  f.op(WASM.i32Add);
  f.tee(host);
  f.memory(WASM.i32Load, 0, 2);
  f.set(low);
  f.get(host);
  f.memory(WASM.i32Load, 4, 2);
  f.set(high);

  // Type, DPL against RPL and CPL.
  bits(high, USUAL | EXPAND_DOWN_OR_CONFORMING);
  f.i32(USUAL);
  f.op(WASM.i32Ne);
  bits(high, CODE | READABLE_OR_WRITABLE);
  f.i32(CODE);
  f.op(WASM.i32Eq);
  f.op(WASM.i32Or);
  const dpl = (): void => {
    f.get(high);
    f.i32(13);
    f.op(WASM.i32ShrU);
    f.i32(3);
    f.op(WASM.i32And);
  };
  bits(selector, 3);
  dpl();
  f.op(WASM.i32GtU);
  f.op(WASM.i32Or);
  cell(CELL.cpl);
  dpl();
  f.op(WASM.i32GtU);
  f.op(WASM.i32Or);
  refuseIf();

  bits(high, 0xf0000);
  bits(low, 0xffff);
  f.op(WASM.i32Or);
  f.set(limit);
  bits(high, GRANULARITY);
  f.open(WASM.if);
  f.get(limit);
  f.i32(12);
  f.op(WASM.i32Shl);
  f.i32(0xfff);
  f.op(WASM.i32Or);
  f.set(limit);
  f.end();
  store(selectorCell(SEG.es), () => f.get(selector));
  store(baseCell(SEG.es), () => {
    bits(high, 0xff000000 | 0);
    bits(high, 0xff);
    f.i32(16);
    f.op(WASM.i32Shl);
    f.op(WASM.i32Or);
    f.get(low);
    f.i32(16);
    f.op(WASM.i32ShrU);
    f.op(WASM.i32Or);
  });
  store(limitCell(SEG.es), () => f.get(limit));
  store(rightsCell(SEG.es), () => {
    f.get(high);
    f.i32(8);
    f.op(WASM.i32ShrU);
    f.i32(0xf0ff);
    f.op(WASM.i32And);
  });
  // With a limit of 4 GB - 1 reads need no check; writes neither, if it is writable data.
  store(fastCell(SEG.es), () => {
    f.i32(FAST_READ | FAST_WRITE);
    f.i32(FAST_READ);
    bits(high, CODE | READABLE_OR_WRITABLE);
    f.i32(READABLE_OR_WRITABLE);
    f.op(WASM.i32Eq);
    f.op(WASM.select);
    f.i32(0);
    f.get(limit);
    f.i32(-1);
    f.op(WASM.i32Eq);
    f.op(WASM.select);
  });
  f.i32(0);
  f.i32(0);
  f.memory(WASM.f64Load, layout.references + REASON.descriptor * 8, 3);
  f.f64(1);
  f.op(WASM.f64Add);
  f.memory(WASM.f64Store, layout.references + REASON.descriptor * 8, 3);
  f.i32(1);
  return f;
}

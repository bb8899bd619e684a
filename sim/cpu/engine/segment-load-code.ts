/**
 * Loads of DS, ES, FS and GS in compiled code (system/segments.ts says what they are): null selectors, and those of usual
 * descriptors: of the GDT, whose page the MMU's fast table has, present, accessed, of data that does not expand down or of
 * code that can be read and does not conform, and permitted. All others are left to the interpreter, with nothing done.
 */
import { REASON } from "../../memory/physical.ts";
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
import { DescriptorCode } from "./descriptor-code.ts";
import type { Value } from "./expressions.ts";
import type { EngineLayout } from "./layout.ts";
import { EXPAND_DOWN } from "./usual-descriptors.ts";
import type { FunctionBody } from "./wasm.ts";

/** Bits of a descriptor's upper word: accessed, S, P. */
const USUAL = 0x9100;
const READABLE_OR_WRITABLE = 1 << 9;
const IS_CODE = 1 << 11;

/** Byte offset of a segment register's first cell from that of ES: what `loadSegment` takes. */
export function segmentOffset(segment: number): number {
  return (selectorCell(segment) - selectorCell(SEG.es)) * 4;
}

/** (selector, `segmentOffset`) -> 1 when the segment register is loaded; 0: nothing has been done. */
export function loadSegment(layout: EngineLayout): FunctionBody {
  const code = new DescriptorCode(layout, 2);
  const { w } = code;
  const selector = w.variable(w.and(w.parameter(0), 0xffff));
  const set = (base: Value, limit: Value, rights: Value, fast: Value): void => {
    const cells = [selectorCell, baseCell, limitCell, rightsCell, fastCell];
    for (const [n, value] of [selector, base, limit, rights, fast].entries()) {
      w.store(w.parameter(1), value, layout.state + (cells[n] as typeof baseCell)(SEG.es) * 4);
    }
    w.return(1);
  };
  w.block((unusual) => {
    unusual(w.not(w.and(code.cell(CELL.cr0), CR0.PE)));
    unusual(w.and(code.cell(CELL.rflags), FLAG.VM));
    w.when(w.not(w.and(selector, 0xfffc)), () => set(0, 0, RIGHTS.UNUSABLE, 0));

    const descriptor = code.descriptor(selector, unusual);
    const { high } = descriptor;
    unusual(w.unequal(w.and(high, USUAL | EXPAND_DOWN), USUAL));
    unusual(w.equal(w.and(high, IS_CODE | READABLE_OR_WRITABLE), IS_CODE));
    const level = w.variable(code.levelOf(descriptor));
    unusual(w.above(w.and(selector, 3), level));
    unusual(w.above(code.cell(CELL.cpl), level));

    const limit = code.limitOf(descriptor);
    // With a limit of 4 GB - 1 reads need no check; writes neither, if it is writable data.
    const isWritable = w.equal(w.and(high, IS_CODE | READABLE_OR_WRITABLE), READABLE_OR_WRITABLE);
    const flat = w.choose(isWritable, FAST_READ | FAST_WRITE, FAST_READ);
    w.increase(0, w.float(1), layout.references + REASON.descriptor * 8);
    set(code.baseOf(descriptor), limit, code.rightsOf(descriptor), w.choose(w.equal(limit, -1), flat, 0));
  });
  w.put(0);
  return w.body;
}

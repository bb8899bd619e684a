/**
 * Accesses to two pages in compiled code: both are looked for in the fast table, and the bytes are in a copy in the meantime.
 * What crossing costs is charged at once. So nothing after the access may give the instruction up, which would begin again
 * and pay again: whoever compiles knows whether that can be (`what`, contract.ts); here the deadline is looked at.
 */
import { DEADLINE_CELL, NOW_CELL } from "../../clock.ts";
import { CODE_GRANULE_SHIFT } from "../../memory/physical.ts";
import { SMALL_SHIFT } from "../../memory/tlb.ts";
import { ACCESS } from "../environment.ts";
import { accountCell, charge } from "./account-code.ts";
import { CROSSINGS_SHIFT } from "./contract.ts";
import { FunctionWriter, type Value, type Variable } from "./expressions.ts";
import { CORE_CELL, type EngineLayout, marksByHost } from "./layout.ts";
import type { FunctionBody } from "./wasm.ts";

const PAGE_MASK = 0xfff;

/** Byte offset of the copy: where such an access finds its bytes, as far as compiled code can see. */
export function copyOf({ core }: EngineLayout): number {
  return core + CORE_CELL.copy * 4;
}

/** Of a function like `translate`: returns the copy's offset if the access can be made in two pages. */
export function copyFromTwoPages(
  w: FunctionWriter,
  layout: EngineLayout,
  linear: Variable,
  what: Variable,
  spent: Variable,
): void {
  const { fastTags, fastFrames, fastBits, time, ticks, core } = layout;
  const crossings = w.variable(w.shr(what, CROSSINGS_SHIFT));
  const part = w.variable(w.shl(w.and(what, ACCESS.USER | ACCESS.WRITE), fastBits));
  const lower = w.variable(w.and(linear, ~PAGE_MASK));
  const upper = w.variable(w.add(lower, PAGE_MASK + 1));
  const slotOf = (page: Value): Variable =>
    w.variable(w.shl(w.or(part, w.and(w.shr(page, SMALL_SHIFT), (1 << fastBits) - 1)), 2));
  const slots = [slotOf(lower), slotOf(upper)] as const;
  const isThere = w.and(w.equal(w.load(slots[0], fastTags), lower), w.equal(w.load(slots[1], fastTags), upper));
  w.when(w.and(w.unequal(crossings, 0), isThere), () => {
    const inLower = w.variable(w.sub(upper, linear));
    const first = w.variable(w.add(w.load(slots[0], fastFrames), w.and(linear, PAGE_MASK)));
    const second = w.variable(w.load(slots[1], fastFrames));
    const price = w.variable(w.multiply(crossings, ticks.pageCross));
    const after = w.addF64(w.loadF64(0, time + NOW_CELL * 8), w.toFloat(w.add(spent, price), true));
    const inTime = w.not(w.atLeastF64(after, w.loadF64(0, time + DEADLINE_CELL * 8)));
    const marks = (host: Value): Value => w.load8(w.shr(host, CODE_GRANULE_SHIFT), marksByHost(layout));
    const meetsCode = w.and(w.unequal(w.and(what, ACCESS.WRITE), 0), w.unequal(w.or(marks(first), marks(second)), 0));
    w.when(w.and(inTime, w.not(meetsCode)), () => {
      charge(w, layout, w.variable(accountCell(w, layout, "instructions")), w.toFloat(price));
      const copy = copyOf(layout);
      // From where byte n of the copy has come: n bytes from here.
      w.set(second, w.sub(second, inLower));
      w.store(0, inLower, core + CORE_CELL.inLower * 4);
      w.store(0, first, core + CORE_CELL.lower * 4);
      w.store(0, second, core + CORE_CELL.upper * 4);
      for (let n = 0; n < 4; n++)
        w.store8(0, w.load8(w.add(w.choose(w.above(inLower, n), first, second), n)), copy + n);
      w.return(copy);
    });
  });
}

/** (bytes) -> 0: writes so many bytes of the copy back to where they have come from. */
export function writeBack(layout: EngineLayout): FunctionBody {
  const w = new FunctionWriter(1);
  const bytes = w.parameter(0);
  const { core } = layout;
  const cell = (index: number): Variable => w.variable(w.load(0, core + index * 4));
  const inLower = cell(CORE_CELL.inLower);
  const first = cell(CORE_CELL.lower);
  const second = cell(CORE_CELL.upper);
  for (let n = 0; n < 4; n++) {
    w.when(w.above(bytes, n), () => {
      w.store8(w.add(w.choose(w.above(inLower, n), first, second), n), w.load8(0, copyOf(layout) + n));
    });
  }
  w.put(0);
  return w.body;
}

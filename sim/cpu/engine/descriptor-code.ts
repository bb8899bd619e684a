/** What compiled code does with the processor's state and with descriptors of the GDT (system/descriptors.ts says what they are). */
import { ACCESS } from "../environment.ts";
import { CELL } from "../state.ts";
import { FunctionWriter, type Value, type Variable } from "./expressions.ts";
import type { EngineLayout } from "./layout.ts";
import { GRANULARITY } from "./usual-descriptors.ts";

/** What is told of a condition under which a function does nothing, and another one is asked. */
export type Unusual = (condition: Value) => void;

const PAGE_MASK = 0xfff;

/** A descriptor that has been read. */
export interface Descriptor {
  readonly low: Variable;
  readonly high: Variable;
}

/** A function under construction. */
export class DescriptorCode {
  readonly w: FunctionWriter;
  readonly layout: EngineLayout;

  constructor(layout: EngineLayout, parameters: number) {
    this.w = new FunctionWriter(parameters);
    this.layout = layout;
  }

  cell(number: number): Value {
    return this.w.load(0, this.layout.state + number * 4);
  }

  setCell(number: number, value: Value): void {
    this.w.store(0, value, this.layout.state + number * 4);
  }

  /** Byte offset of a word whose page the fast table has, of `bytes` in one page; anything else is unusual. */
  word(linear: Variable, bytes: number, access: Value, unusual: Unusual): Variable {
    const { w } = this;
    const { fastTags, fastFrames, fastBits } = this.layout;
    const index = w.or(w.shl(access, fastBits), w.and(w.shr(linear, 12), (1 << fastBits) - 1));
    const slot = w.variable(w.shl(index, 2));
    unusual(w.unequal(w.load(slot, fastTags), w.and(linear, ~PAGE_MASK)));
    unusual(w.and(linear, 3));
    unusual(w.above(w.and(linear, PAGE_MASK), PAGE_MASK + 1 - bytes));
    return w.variable(w.add(w.load(slot, fastFrames), w.and(linear, PAGE_MASK)));
  }

  /** The descriptor of a selector, of the GDT and not null. */
  descriptor(selector: Value, unusual: Unusual): Descriptor {
    const { w } = this;
    unusual(w.and(selector, 4));
    unusual(w.not(w.and(selector, 0xfff8)));
    unusual(w.above(w.or(selector, 7), this.cell(CELL.gdtrLimit)));
    const linear = w.variable(w.add(this.cell(CELL.gdtrBase), w.and(selector, 0xfff8)));
    const at = this.word(linear, 8, ACCESS.READ, unusual);
    return { low: w.variable(w.load(at)), high: w.variable(w.load(at, 4)) };
  }

  levelOf({ high }: Descriptor): Value {
    return this.w.and(this.w.shr(high, 13), 3);
  }

  baseOf({ low, high }: Descriptor): Value {
    const { w } = this;
    return w.or(w.or(w.and(high, 0xff000000 | 0), w.shl(w.and(high, 0xff), 16)), w.shr(low, 16));
  }

  limitOf({ low, high }: Descriptor): Variable {
    const { w } = this;
    const limit = w.variable(w.or(w.and(high, 0xf0000), w.and(low, 0xffff)));
    w.when(w.and(high, GRANULARITY), () => w.set(limit, w.or(w.shl(limit, 12), PAGE_MASK)));
    return limit;
  }

  rightsOf({ high }: Descriptor): Value {
    return this.w.and(this.w.shr(high, 8), 0xf0ff);
  }
}

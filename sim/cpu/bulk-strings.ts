/**
 * Iterations of REP MOVS and REP STOS done at once, as far as it can be proved that doing them one by one would leave the
 * same: both operands stay on pages that the MMU's fast table has, in whole elements; nothing watches the target's bytes or
 * made code from them; the deadline is reached at the last one at the earliest; and no element is read after an earlier
 * iteration has written it. strings.ts is the reference: it goes one by one wherever this does nothing.
 *
 * Simplified: upward (DF clear), 32-bit addresses, expand-up data segments. What is left out is only slower.
 */
import type { Clock } from "../clock.ts";
import { PAGE_SIZE } from "../memory/address.ts";
import { CODE_GRANULE_SHIFT, type PhysicalMemory, RAM_OFFSET } from "../memory/physical.ts";
import type { Mmu } from "./mmu.ts";

/** Fewer iterations are not worth the preparation. */
const FEWEST = 4;

export class BulkStrings {
  readonly #memory: PhysicalMemory;
  readonly #mmu: Mmu;
  readonly #clock: Clock;
  /** Ticks of an iteration. */
  readonly #ticks: number;

  constructor(memory: PhysicalMemory, mmu: Mmu, clock: Clock, ticks: number) {
    this.#memory = memory;
    this.#mmu = mmu;
    this.#clock = clock;
    this.#ticks = ticks;
  }

  /** Copies up to `count` elements; how many: none or all that are certain. Linear addresses; ACCESS of both operands. */
  move(source: number, target: number, bytes: number, count: number, read: number, write: number): number {
    let most = this.#most(source, bytes, this.#most(target, bytes, count));
    if (most < FEWEST) return 0;
    const from = this.#mmu.fastOffset(source, read);
    const to = this.#mmu.fastOffset(target, write);
    if (from < 0 || to < 0) return 0;
    // The copy is of what was there before it.
    if (to > from && to < from + most * bytes) most = Math.floor((to - from) / bytes);
    if (most < FEWEST || this.#watched(to, most * bytes)) return 0;
    this.#memory.u8.copyWithin(to, from, from + most * bytes);
    return most;
  }

  /** The same for elements that all get `value`. */
  fill(target: number, bytes: number, count: number, value: number, write: number): number {
    const most = this.#most(target, bytes, count);
    if (most < FEWEST) return 0;
    const to = this.#mmu.fastOffset(target, write);
    if (to < 0 || (to & (bytes - 1)) !== 0 || this.#watched(to, most * bytes)) return 0;
    const { u8, u16, i32 } = this.#memory;
    if (bytes === 1) u8.fill(value, to, to + most);
    else if (bytes === 2) u16.fill(value, to >> 1, (to >> 1) + most);
    else i32.fill(value, to >> 2, (to >> 2) + most);
    return most;
  }

  /** Elements at a linear address that are on its page, of `count`, of which none but the last reaches the deadline. */
  #most(linear: number, bytes: number, count: number): number {
    const { now, deadline } = this.#clock;
    if (now >= deadline) return 0;
    const onPage = Math.floor((PAGE_SIZE - (linear & (PAGE_SIZE - 1))) / bytes);
    return Math.min(count, onPage, Math.ceil((deadline - now) / this.#ticks));
  }

  /** Whether a write would have to be told. */
  #watched(offset: number, bytes: number): boolean {
    const marks = this.#memory.codeGranules;
    const last = (offset - RAM_OFFSET + bytes - 1) >> CODE_GRANULE_SHIFT;
    for (let granule = (offset - RAM_OFFSET) >> CODE_GRANULE_SHIFT; granule <= last; granule++) {
      if (marks[granule] !== 0) return true;
    }
    return false;
  }
}

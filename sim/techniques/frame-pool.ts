/** Host frames that a monitor gives to its shadow tables and gets back; they are in no guest's pmap. */
import { PAGE_SHIFT, PAGE_SIZE } from "../memory/address.ts";
import type { PhysicalMemory } from "../memory/physical.ts";

export class FramePool {
  readonly #memory: PhysicalMemory;
  /** Host-physical page numbers of free frames, last first. */
  readonly #free: number[] = [];

  /** Host pages from `first` up to `end`. */
  constructor(memory: PhysicalMemory, first: number, end: number) {
    if (end <= first) throw new Error("a monitor needs more frames than its own: there is none for shadow tables");
    this.#memory = memory;
    for (let frame = end - 1; frame >= first; frame--) this.#free.push(frame);
  }

  /** A zeroed frame: its host-physical page number, or -1. */
  allocate(): number {
    const frame = this.#free.pop();
    if (frame === undefined) return -1;
    this.#memory.fill(frame << PAGE_SHIFT, PAGE_SIZE, 0);
    return frame;
  }

  release(frame: number): void {
    this.#free.push(frame);
  }

  save(): readonly number[] {
    return [...this.#free];
  }

  restore(free: readonly number[]): void {
    this.#free.splice(0, this.#free.length, ...free);
  }
}

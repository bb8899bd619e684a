/**
 * A virtual machine: guest-physical memory as pages of host memory (the pmap), virtual devices, and what is left for
 * its monitor: frames that are in no pmap. Its monitor instance (techniques/) owns the virtual processor.
 */
import type { HostPhysical } from "./memory/address.ts";
import { PAGE_SHIFT, PAGE_SIZE } from "./memory/address.ts";

/** How guest pages are spread over host memory. */
export type PmapLayout = "linear" | "shuffled";

/** Not RAM: a device's registers, or nothing. */
export const NO_FRAME = -1;

/** Guest-physical to host-physical pages of one VM. */
export class Pmap {
  /** Host-physical page number of each guest-physical page. */
  readonly frames: Int32Array;

  /**
   * Maps `pages` guest pages to host pages from `firstHostPage`. "shuffled" permutes them by a seeded generator, so
   * that tests notice when guest-physical and host-physical addresses are confused.
   */
  constructor(pages: number, firstHostPage: number, layout: PmapLayout, seed: number) {
    this.frames = new Int32Array(pages);
    for (let page = 0; page < pages; page++) this.frames[page] = firstHostPage + page;
    if (layout === "shuffled") this.#shuffle(seed);
  }

  get pages(): number {
    return this.frames.length;
  }

  /** Host-physical page number of a guest-physical page, or NO_FRAME. */
  frame(guestPage: number): number {
    return guestPage < this.frames.length ? (this.frames[guestPage] as number) : NO_FRAME;
  }

  /** Host-physical address of a guest-physical one, or -1 when it is not RAM. */
  translate(address: number): HostPhysical {
    const page = Math.floor(address / PAGE_SIZE);
    if (page >= this.frames.length) return -1 as HostPhysical;
    return (((this.frames[page] as number) << PAGE_SHIFT) + (address % PAGE_SIZE)) as HostPhysical;
  }

  /** Fisher-Yates with a 32-bit xorshift. */
  #shuffle(seed: number): void {
    let x = seed | 1;
    for (let i = this.frames.length - 1; i > 0; i--) {
      x ^= x << 13;
      x ^= x >>> 17;
      x ^= x << 5;
      const j = (x >>> 0) % (i + 1);
      const swapped = this.frames[i] as number;
      this.frames[i] = this.frames[j] as number;
      this.frames[j] = swapped;
    }
  }
}

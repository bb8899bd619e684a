/**
 * A virtual machine: guest-physical memory as pages of host memory (the pmap), virtual devices, and what is left for
 * its monitor: frames that are in no pmap. Its monitor instance (techniques/) owns the virtual processor.
 */
import type { HostPhysical } from "./memory/address.ts";
import { PAGE_SHIFT, PAGE_SIZE, pageNumber } from "./memory/address.ts";
import { type MemoryMap, PAGE_KIND } from "./memory/memory-map.ts";

/** How guest pages are spread over host memory. */
export type PmapLayout = "linear" | "shuffled";

/** Not RAM: a device's registers, or nothing. */
export const NO_FRAME = -1;

/** Address line 20 as a bit of a page number, and the first page number of the top megabyte below 4 GB. */
const A20_PAGE = 0x100;
const PAGES_4GB = 0x10_0000;

export interface PmapParts {
  /** What the guest's pages are. */
  readonly map: MemoryMap;
  /** Host page of the guest's page 0; a page of RAM stands at the same distance from it in the linear layout. */
  readonly firstHostPage: number;
  /** Host page of the firmware ROM's first page; the others follow. */
  readonly firstRomPage: number;
  readonly layout: PmapLayout;
  readonly seed: number;
}

/** Guest-physical to host-physical pages of one VM. */
export class Pmap {
  /** What the guest's pages are. */
  readonly map: MemoryMap;
  /** Host-physical page number of each guest-physical page below the end of its RAM. */
  readonly frames: Int32Array;
  /** Whether the guest's gate A20 is open. Who changes it must have everything dropped that was made from frames. */
  a20 = true;

  /**
   * Gives every page of RAM and ROM a host page. "shuffled" permutes those of RAM by a seeded generator, so that tests
   * notice when guest-physical and host-physical addresses are confused.
   */
  constructor(parts: PmapParts) {
    const { kinds, romBase } = parts.map;
    this.map = parts.map;
    this.frames = new Int32Array(kinds.length).fill(NO_FRAME);
    const ram: number[] = [];
    for (const [page, kind] of kinds.entries()) {
      if (kind === PAGE_KIND.RAM) ram.push(page);
      else if (kind === PAGE_KIND.ROM) this.frames[page] = parts.firstRomPage + page - pageNumber(romBase);
    }
    const targets = parts.layout === "shuffled" ? shuffled(ram, parts.seed) : ram;
    for (const [n, page] of ram.entries()) this.frames[page] = parts.firstHostPage + (targets[n] as number);
  }

  /**
   * Host-physical page number of a guest-physical page, or NO_FRAME. While gate A20 is closed, pages with line 20 set
   * have none of their own: accesses to them are to be emulated, which `translate` serves.
   */
  frame(guestPage: number): number {
    const { map, frames } = this;
    if (guestPage >= frames.length) {
      const alias = guestPage < PAGES_4GB ? pageNumber(map.unalias(guestPage * PAGE_SIZE)) : guestPage;
      return alias < guestPage ? (frames[alias] as number) : NO_FRAME;
    }
    return this.a20 || (guestPage & A20_PAGE) === 0 ? (frames[guestPage] as number) : NO_FRAME;
  }

  /** Whether a guest-physical page is RAM, at its own address. */
  isWritable(guestPage: number): boolean {
    return this.map.kind(guestPage) === PAGE_KIND.RAM && this.frame(guestPage) !== NO_FRAME;
  }

  /** What the guest's processor puts out as `address`, as its bus sees it: gate A20, and the firmware's alias. */
  locate(address: number): number {
    const located = this.map.unalias(address);
    return this.a20 || located !== address ? located : address - (address & (A20_PAGE << PAGE_SHIFT));
  }

  /** Host-physical address of a guest-physical one, or -1 when it is neither RAM nor ROM. */
  translate(address: number): HostPhysical {
    const located = this.locate(address);
    const frame = this.frames[Math.floor(located / PAGE_SIZE)] ?? NO_FRAME;
    return (frame === NO_FRAME ? -1 : (frame << PAGE_SHIFT) + (located % PAGE_SIZE)) as HostPhysical;
  }
}

/** A permutation of `pages`: Fisher-Yates with a 32-bit xorshift. */
function shuffled(pages: readonly number[], seed: number): number[] {
  const order = [...pages];
  let x = seed | 1;
  for (let i = order.length - 1; i > 0; i--) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    const j = (x >>> 0) % (i + 1);
    const swapped = order[i] as number;
    order[i] = order[j] as number;
    order[j] = swapped;
  }
  return order;
}

/**
 * A VM's guest-physical RAM and ROM without any charge: for loaders, migration and comparison, in which gate A20 has no
 * part, and for the DMA of its devices. A monitor reaches them by guest-memory.ts, and pays.
 */
import type { DmaPort } from "../devices/dma.ts";
import { type GuestPhysical, PAGE_SHIFT, PAGE_SIZE, pageNumber } from "../memory/address.ts";
import { PAGE_KIND } from "../memory/memory-map.ts";
import type { PhysicalMemory } from "../memory/physical.ts";
import type { Pmap } from "../vm.ts";
import { dmaThroughPages } from "./dma.ts";

export class GuestRam {
  readonly #memory: PhysicalMemory;
  readonly #pmap: Pmap;

  constructor(memory: PhysicalMemory, pmap: Pmap) {
    this.#memory = memory;
    this.#pmap = pmap;
  }

  /** Fills `bytes` with what is at `address`, as far as it is RAM or ROM. */
  read(address: number, bytes: Uint8Array): void {
    this.#parts(address, bytes.length, (host, at, length) => bytes.set(this.#memory.copyOut(host, length), at));
  }

  write(address: number, bytes: Uint8Array): void {
    this.#parts(address, bytes.length, (host, at, length) => {
      this.#memory.copyIn(host, bytes.subarray(at, at + length));
    });
  }

  /** `wrote` is told what devices write. */
  dma(wrote: (address: GuestPhysical, bytes: number) => void): DmaPort {
    const { frames, map } = this.#pmap;
    return dmaThroughPages(this.#memory, {
      readable: (page) => frames[page] ?? -1,
      writable: (page) => (map.kind(page) === PAGE_KIND.RAM ? (frames[page] as number) : -1),
      wrote: (address, bytes) => wrote(address as GuestPhysical, bytes),
    });
  }

  /** Calls `copy` for each part that is RAM or ROM. */
  #parts(address: number, length: number, copy: (host: number, at: number, length: number) => void): void {
    let at = 0;
    while (at < length) {
      const part = Math.min(length - at, PAGE_SIZE - ((address + at) % PAGE_SIZE));
      const frame = this.#pmap.frames[pageNumber(address + at)];
      if (frame === undefined) throw new Error(`guest-physical address ${(address + at).toString(16)} is beyond RAM`);
      if (frame >= 0) copy((frame << PAGE_SHIFT) + ((address + at) % PAGE_SIZE), at, part);
      at += part;
    }
  }
}

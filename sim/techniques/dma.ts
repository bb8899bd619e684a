/**
 * DMA of a guest's devices as copies between a buffer and the pages of memory that the guest's bus addresses stand for.
 * Code caches hear of writes through PhysicalMemory. Free of charge: the devices' own times include it; a monitor's
 * copy from the file that is its guest's disk is not counted.
 */
import type { DmaPort } from "../devices/dma.ts";
import { PAGE_SIZE, pageNumber } from "../memory/address.ts";
import type { PhysicalMemory } from "../memory/physical.ts";

interface GuestPages {
  /** Host-physical page of a guest-physical one, -1 where there is nothing that can be read, or written. */
  readable(page: number): number;
  writable(page: number): number;
  /** Bytes have been written, within one page. */
  wrote(address: number, bytes: number): void;
}

/** A DMA port over pages of `memory`. */
export function dmaThroughPages(memory: PhysicalMemory, pages: GuestPages): DmaPort {
  return {
    read(address, into) {
      into.fill(0xff);
      forPages(address, into.length, (at, part, offset) => {
        const page = pages.readable(pageNumber(at));
        if (page >= 0) into.set(memory.copyOut(page * PAGE_SIZE + (at % PAGE_SIZE), part), offset);
      });
    },
    write(address, bytes) {
      forPages(address, bytes.length, (at, part, offset) => {
        const page = pages.writable(pageNumber(at));
        if (page < 0) return;
        memory.copyIn(page * PAGE_SIZE + (at % PAGE_SIZE), bytes.subarray(offset, offset + part));
        pages.wrote(at, part);
      });
    },
  };
}

/** The parts of a range that lie in one page each: address, length, and offset from the beginning. */
function forPages(address: number, length: number, act: (at: number, part: number, offset: number) => void): void {
  for (let offset = 0; offset < length; ) {
    const at = address + offset;
    const part = Math.min(length - offset, PAGE_SIZE - (at % PAGE_SIZE));
    act(at, part, offset);
    offset += part;
  }
}

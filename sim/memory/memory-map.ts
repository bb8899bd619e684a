/**
 * What a PC's physical address space holds below 4 GB, page by page: one map, the same for a machine's own memory
 * and for a virtual machine's guest-physical space.
 *
 *     00000000  0009FFFF  RAM
 *     000A0000  000BFFFF  the display's memory (a device)
 *     000C0000  000EFFFF  option ROMs: none, nothing answers (from E0000 on the firmware, if its image has 128 KB)
 *     000F0000  000FFFFF  firmware ROM
 *     00100000  top       RAM
 *     top       ...       devices at fixed addresses; elsewhere nothing answers
 *     FFFF0000  FFFFFFFF  the firmware image again, so that the reset vector FFFFFFF0 is in it (FFFE0000 with 128 KB)
 *
 * What nothing answers reads as all ones, and writes there and to ROM vanish: that is the bus's business.
 *
 * Simplified: no shadow RAM under the ROM (PAM registers), no SMRAM behind the display; RAM ends below 2 GB, so
 * nothing is remapped above 4 GB.
 */
import { PAGE_SHIFT, PAGE_SIZE } from "./address.ts";

export const PAGE_KIND = { RAM: 0, ROM: 1, HOLE: 2 } as const;

/** Where conventional memory ends, and where extended memory begins. */
export const CONVENTIONAL_END = 0xa0000;
export const EXTENDED_BASE = 0x10_0000;
/** The alias of the firmware image ends at 4 GB as the image ends at 1 MB. */
export const FIRMWARE_ALIAS_DISTANCE = 0x1_0000_0000 - EXTENDED_BASE;
/** Sizes in bytes that a firmware image may have. */
export const FIRMWARE_SIZES: readonly number[] = [0x1_0000, 0x2_0000];

export class MemoryMap {
  /** A value of PAGE_KIND for each page below the end of RAM. */
  readonly kinds: Uint8Array;
  /** First address of the firmware ROM below 1 MB; the end of the space when there is none. */
  readonly romBase: number;

  private constructor(kinds: Uint8Array, romBase: number) {
    this.kinds = kinds;
    this.romBase = romBase;
  }

  /** RAM without holes: for parts of a machine that are tested alone. */
  static flat(bytes: number): MemoryMap {
    return new MemoryMap(new Uint8Array(bytes / PAGE_SIZE), Number.POSITIVE_INFINITY);
  }

  /**
   * The map of a PC whose RAM ends at `bytes` (a multiple of 4 KB), with a firmware image of `firmwareBytes` (one of
   * FIRMWARE_SIZES; 0: none, and holes where it would be). The image needs 1 MB of address space to stand in.
   */
  static pc(bytes: number, firmwareBytes: number): MemoryMap {
    if (firmwareBytes !== 0 && (!FIRMWARE_SIZES.includes(firmwareBytes) || bytes < EXTENDED_BASE)) {
      throw new Error(
        `firmware of ${firmwareBytes} bytes over ${bytes} bytes of RAM: an image has ${FIRMWARE_SIZES.join(" or ")} bytes, and RAM at least ${EXTENDED_BASE}`,
      );
    }
    const kinds = new Uint8Array(bytes / PAGE_SIZE);
    const romBase = EXTENDED_BASE - firmwareBytes;
    kinds.fill(PAGE_KIND.HOLE, CONVENTIONAL_END >> PAGE_SHIFT, EXTENDED_BASE >> PAGE_SHIFT);
    kinds.fill(PAGE_KIND.ROM, romBase >> PAGE_SHIFT, EXTENDED_BASE >> PAGE_SHIFT);
    return new MemoryMap(kinds, firmwareBytes === 0 ? Number.POSITIVE_INFINITY : romBase);
  }

  /** Where an address below 4 GB in the firmware's alias is below 1 MB; any other address is itself. */
  unalias(address: number): number {
    return address >= this.romBase + FIRMWARE_ALIAS_DISTANCE && address < 0x1_0000_0000
      ? address - FIRMWARE_ALIAS_DISTANCE
      : address;
  }

  /** The kind of the page with this number. */
  kind(page: number): number {
    return page < this.kinds.length ? (this.kinds[page] as number) : PAGE_KIND.HOLE;
  }
}

/**
 * A disk's contents: an image that is never modified, and over it the sectors that the guest has written. Saved state
 * has the written sectors only, so it goes with the same image; `contents` gives both together. An image whose length is no multiple of a sector
 * goes on with zeros to the end of its last one.
 */
import { fromByteString, toByteString } from "./byte-string.ts";

export const SECTOR_BYTES = 512;
/** What 28-bit addresses reach. */
const MAX_SECTORS = 2 ** 28 - 1;

/** Logical geometry in cylinders, heads and sectors a track. */
export interface Geometry {
  readonly cylinders: number;
  readonly heads: number;
  readonly sectors: number;
}

/** Written sectors in ascending order, their bytes as byte strings (byte-string.ts). */
export interface DiskImageState {
  readonly sectors: number;
  readonly written: readonly (readonly [sector: number, bytes: string])[];
}

export class DiskImage {
  readonly sectors: number;
  readonly #base: Uint8Array;
  readonly #written = new Map<number, Uint8Array>();

  /** Throws on an image that is empty or larger than 28-bit addresses reach. */
  constructor(base: Uint8Array) {
    this.#base = base;
    this.sectors = Math.ceil(base.length / SECTOR_BYTES);
    if (this.sectors === 0) throw new Error("disk image: it is empty; a disk has at least one sector of 512 bytes");
    if (this.sectors > MAX_SECTORS) throw new Error(`disk image: ${this.sectors} sectors are more than ${MAX_SECTORS}`);
  }

  /** The geometry that a disk of this size reports: 16 heads of 63 sectors. */
  get geometry(): Geometry {
    const cylinders = Math.min(Math.max(Math.floor(this.sectors / (16 * 63)), 1), 16_383);
    return { cylinders, heads: 16, sectors: 63 };
  }

  /** How many sectors the guest has written. */
  get writtenSectors(): number {
    return this.#written.size;
  }

  /** Copies a sector to `target` at `offset`. */
  read(sector: number, target: Uint8Array, offset: number): void {
    const written = this.#written.get(sector);
    if (written !== undefined) {
      target.set(written, offset);
      return;
    }
    const bytes = this.#base.subarray(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
    target.set(bytes, offset);
    target.fill(0, offset + bytes.length, offset + SECTOR_BYTES);
  }

  write(sector: number, source: Uint8Array, offset: number): void {
    this.#written.set(sector, source.slice(offset, offset + SECTOR_BYTES));
  }

  /** What the guest sees: the image with what was written to it, rounded up to whole sectors. */
  contents(): Uint8Array {
    const bytes = new Uint8Array(this.sectors * SECTOR_BYTES);
    bytes.set(this.#base);
    for (const [sector, written] of this.#written) bytes.set(written, sector * SECTOR_BYTES);
    return bytes;
  }

  save(): DiskImageState {
    const written = [...this.#written].sort(([a], [b]) => a - b);
    return { sectors: this.sectors, written: written.map(([sector, bytes]) => [sector, toByteString(bytes)]) };
  }

  restore(data: DiskImageState): void {
    if (data.sectors !== this.sectors) {
      throw new Error(`saved disk has ${data.sectors} sectors, this image has ${this.sectors}`);
    }
    this.#written.clear();
    for (const [sector, bytes] of data.written) this.#written.set(sector, fromByteString(bytes));
  }
}

/**
 * Where the guest is at each instruction of a unit, packed into two integers each: a full cache has hundreds of thousands of
 * them, of which few are ever looked at.
 */
import type { Point, Repair } from "./translation.ts";

/** Points by ascending offset; plain data. */
export interface Points {
  /** Offset and flags (PACKED), and the guest's EIP as a signed integer, in turn. */
  readonly packed: readonly number[];
  /** The repairs of points, by number; number 0 are none. */
  readonly repairs: readonly (readonly Repair[])[];
}

/** Offset in bits 15:0; the number of the repairs from `repairs` on. */
const PACKED = { offset: 0xffff, shadow: 1 << 16, stores: 1 << 17, begins: 1 << 18, repairs: 19 } as const;
const NONE: readonly Repair[] = [];

export class PointsWriter implements Points {
  readonly packed: number[] = [];
  readonly repairs: (readonly Repair[])[] = [NONE];

  /** `begins`: the translation of a guest instruction begins here. */
  add({ offset, eip, repairs, shadow, stores }: Point, begins: boolean): void {
    const flags = (shadow ? PACKED.shadow : 0) | (stores ? PACKED.stores : 0) | (begins ? PACKED.begins : 0);
    this.packed.push(offset | flags | (this.#numberOf(repairs) << PACKED.repairs), eip | 0);
  }

  #numberOf(repairs: readonly Repair[]): number {
    if (repairs.length === 0) return 0;
    const known = this.repairs.indexOf(repairs);
    return known > 0 ? known : this.repairs.push(repairs) - 1;
  }
}

/** The point at an offset of a unit; undefined in the middle of an instruction. */
export function pointAt({ packed, repairs }: Points, offset: number): Point | undefined {
  let low = 0;
  let high = packed.length / 2;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (((packed[2 * middle] as number) & PACKED.offset) < offset) low = middle + 1;
    else high = middle;
  }
  const word = packed[2 * low];
  if (word === undefined || (word & PACKED.offset) !== offset) return undefined;
  return {
    offset,
    eip: (packed[2 * low + 1] as number) >>> 0,
    repairs: repairs[word >>> PACKED.repairs] ?? NONE,
    shadow: (word & PACKED.shadow) !== 0,
    stores: (word & PACKED.stores) !== 0,
  };
}

/** Offset at which the translation of the guest's instruction at `eip` begins; -1 if it is not in the unit. */
export function beginningOf({ packed }: Points, eip: number): number {
  for (let n = 0; n < packed.length; n += 2) {
    const word = packed[n] as number;
    if ((word & PACKED.begins) !== 0 && (packed[n + 1] as number) >>> 0 === eip) return word & PACKED.offset;
  }
  return -1;
}

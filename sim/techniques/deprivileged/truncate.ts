/**
 * What a guest's segment is while the guest runs de-privileged: the same, but that it ends below the monitor's region,
 * and that what belongs to ring 0 belongs to ring 1. Access rights are in the format of cpu/state.ts.
 */
import { RIGHTS } from "../../cpu/state.ts";
import { baseOf, limitOf, packDescriptor, rightsOf } from "../../cpu/system/descriptors.ts";
import { REGION_BASE } from "./layout.ts";

export type Descriptor = readonly [low: number, high: number];

/** Nothing that can be loaded. */
export const ABSENT: Descriptor = [0, 0];

/** Largest limit field, and what it is in bytes without G. */
const LIMIT_FIELD = 0xfffff;
const DPL = 3 << RIGHTS.DPL_SHIFT;
const RING_1 = 1 << RIGHTS.DPL_SHIFT;

/** Base, limit in bytes and rights of a code or data segment. */
export interface Segment {
  readonly base: number;
  readonly limit: number;
  readonly rights: number;
}

export function descriptorSegment(low: number, high: number): Segment {
  return { base: baseOf(low, high), limit: limitOf(low, high), rights: rightsOf(high) };
}

/**
 * The descriptor by which the hardware runs a guest's segment; ABSENT where there is none: system segments, what is not
 * present or has not been accessed (so that the monitor sets A in the guest's own descriptor), segments that begin in the
 * region or grow down.
 */
export function truncatedDescriptor({ base, limit, rights }: Segment): Descriptor {
  const needed = RIGHTS.P | RIGHTS.S | RIGHTS.ACCESSED;
  if ((rights & needed) !== needed || (rights & RIGHTS.UNUSABLE) !== 0) return ABSENT;
  const code = (rights & RIGHTS.CODE) !== 0;
  if (!code && (rights & RIGHTS.EXPAND_DOWN_OR_CONFORMING) !== 0) return ABSENT;
  const level = (rights & DPL) === 0 ? rights | RING_1 : rights;
  const fine = level & ~RIGHTS.G;
  const room = REGION_BASE - base;
  if (room <= 0) return ABSENT;
  if (limit < room) {
    const paged = (rights & RIGHTS.G) !== 0;
    return packDescriptor(base, paged ? limit >>> 12 : limit, level);
  }
  if (room - 1 <= LIMIT_FIELD) return packDescriptor(base, room - 1, fine);
  return packDescriptor(base, Math.floor(room / 4096) - 1, level | RIGHTS.G);
}

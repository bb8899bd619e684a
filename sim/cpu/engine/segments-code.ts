/**
 * Segments in compiled code. A region is compiled for the segment registers as they are then: a data segment is
 *   flat      expand-up without a limit: no access is checked; the base is read only if it was not zero;
 *   limited   expand-up with a limit: each access is compared with it, and given up above it;
 *   refused   anything else (unusable, expand-down, not writable): every access is given up.
 * What it relies on is checked where the region is entered; where it no longer fits, the region is compiled again in its
 * `general` form, which has all segments limited and reads all bases. The code segment may have any base and limit: the
 * region is run only when all of it, and the targets of its direct branches, lie inside the limit.
 */
import { baseCell, FAST_READ, FAST_WRITE, fastCell, limitCell, RIGHTS, rightsCell, SEG } from "../state.ts";
import type { RegionCode } from "./code.ts";
import { EXIT } from "./contract.ts";
import { WASM } from "./wasm.ts";

/** A segment register when the region is compiled. */
export interface SegmentNow {
  readonly base: number;
  readonly fast: number;
  readonly rights: number;
}

/** How accesses through a segment are made. */
export interface SegmentUse {
  readonly form: "flat" | "limited" | "refused";
  /** FAST_READ and FAST_WRITE, as far as the region relies on them. */
  readonly fast: number;
  readonly rights: number;
  /** Locals; base null: it is 0. */
  readonly base: number | null;
  readonly limit: number | null;
}

/** Rights on which it depends whether an access is permitted. */
const DECISIVE =
  RIGHTS.UNUSABLE | RIGHTS.P | RIGHTS.S | RIGHTS.CODE | RIGHTS.EXPAND_DOWN_OR_CONFORMING | RIGHTS.WRITABLE_OR_READABLE;
/** Longest access of a native instruction, in bytes. */
const LONGEST_ACCESS = 4;

export function segmentUse(fast: number, now: SegmentNow, general: boolean, addLocal: () => number): SegmentUse {
  const flat = !general && (now.fast & fast) === fast;
  const form = flat ? "flat" : permits(now.rights, fast) ? "limited" : "refused";
  const { rights } = now;
  if (form === "refused") return { form, fast, rights, base: null, limit: null };
  const base = general || now.base !== 0 ? addLocal() : null;
  return { form, fast, rights, base, limit: form === "limited" ? addLocal() : null };
}

/** Whether rights permit the accesses inside the limit of an expand-up segment (segments.ts, segmentLinear). */
function permits(rights: number, fast: number): boolean {
  if ((rights & (RIGHTS.UNUSABLE | RIGHTS.P | RIGHTS.S)) !== (RIGHTS.P | RIGHTS.S)) return false;
  const code = (rights & RIGHTS.CODE) !== 0;
  const readOrWrite = (rights & RIGHTS.WRITABLE_OR_READABLE) !== 0;
  if (!code && (rights & RIGHTS.EXPAND_DOWN_OR_CONFORMING) !== 0) return false;
  if ((fast & FAST_WRITE) !== 0 && (code || !readOrWrite)) return false;
  return (fast & FAST_READ) === 0 || !code || readOrWrite;
}

const WITHOUT_BASE = -1;

/** Segments of one class have the same base (anchors.ts); null for one through which every access is given up. */
export function segmentClass(c: RegionCode, segment: number): number | null {
  const use = c.segments.get(segment);
  if (use === undefined || use.form === "refused") return null;
  return use.base === null ? WITHOUT_BASE : segment;
}

/** Bases and limits into their locals. */
export function loadSegments(c: RegionCode): void {
  for (const [segment, use] of c.segments) loadUse(c, segment, use);
}

function loadUse(c: RegionCode, segment: number, { base, limit }: SegmentUse): void {
  if (base !== null) {
    c.loadCell(baseCell(segment));
    c.f.set(base);
  }
  if (limit !== null) {
    c.loadCell(limitCell(segment));
    c.f.set(limit);
  }
}

/** After a load of a segment register: what the region has of it, too; leaves where it no longer fits. */
export function segmentLoaded(c: RegionCode, segment: number, leave: () => void): void {
  const use = c.segments.get(segment);
  if (use === undefined) return;
  loadUse(c, segment, use);
  checkSegment(c, segment, use, leave);
}

/** Leaves when a data segment is not what the region relies on. Bases and limits are in their locals. */
export function checkSegments(c: RegionCode, leave: () => void): void {
  for (const [segment, use] of c.segments) checkSegment(c, segment, use, leave);
}

function checkSegment(c: RegionCode, segment: number, use: SegmentUse, leave: () => void): void {
  const { f } = c;
  const { form, fast, rights, base, limit } = use;
  if (form === "refused") return;
  if (form === "flat") {
    c.loadCell(fastCell(segment));
    f.i32(fast);
    f.op(WASM.i32And);
    f.i32(fast);
    f.op(WASM.i32Ne);
  } else {
    c.loadCell(rightsCell(segment));
    f.i32(DECISIVE);
    f.op(WASM.i32And);
    f.i32(rights & DECISIVE);
    f.op(WASM.i32Ne);
    f.get(limit as number);
    f.i32(LONGEST_ACCESS);
    f.op(WASM.i32LtU);
    f.op(WASM.i32Or);
  }
  if (base === null) {
    c.loadCell(baseCell(segment));
    f.op(WASM.i32Or);
  }
  c.rarely(leave);
}

/** Leaves when not all of the region lies inside the code segment. EIP of the entry is in its local. */
export function checkCodeSegment(c: RegionCode): void {
  const { f } = c;
  const { low, high } = c.region.extent;
  c.loadCell(limitCell(SEG.cs));
  f.tee(c.scratch);
  f.i32(-1);
  f.op(WASM.i32Ne);
  f.open(WASM.if);
  f.get(c.entry);
  f.op(WASM.i64ExtendI32U);
  f.i64(high);
  f.op(WASM.i64Add);
  f.get(c.scratch);
  f.op(WASM.i64ExtendI32U);
  f.op(WASM.i64GtU);
  f.get(c.entry);
  f.i32(-low);
  f.op(WASM.i32LtU);
  f.op(WASM.i32Or);
  f.open(WASM.if);
  f.i32(EXIT.INTERPRET);
  f.op(WASM.return);
  f.end();
  f.end();
}

/** Gives up an indirect branch whose target, in a cell, is outside the code segment. */
export function checkTarget(c: RegionCode, target: number): void {
  const { f } = c;
  c.read(target);
  c.loadCell(limitCell(SEG.cs));
  f.op(WASM.i32GtU);
  c.rarely(() => c.giveUp());
}

/** The linear address of an access of `bytes` bytes: from the offset on the stack to `linear`. */
export function linearAddress(c: RegionCode, segment: number, bytes: number): void {
  const { f } = c;
  const use = c.segments.get(segment) as SegmentUse;
  if (use.form === "refused") {
    f.op(WASM.drop);
    f.i32(1);
    c.rarely(() => c.giveUp());
    f.i32(0);
  }
  if (use.limit !== null) {
    f.tee(c.linear);
    f.get(use.limit);
    if (bytes > 1) {
      f.i32(bytes - 1);
      f.op(WASM.i32Sub);
    }
    f.op(WASM.i32GtU);
    c.rarely(() => c.giveUp());
    f.get(c.linear);
  }
  if (use.base !== null) {
    f.get(use.base);
    f.op(WASM.i32Add);
  }
  f.set(c.linear);
}

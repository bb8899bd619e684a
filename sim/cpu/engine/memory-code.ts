/** Loads and stores: by an anchor or through the fast table, else by a walk. */
import { PAGE_SIZE } from "../../memory/address.ts";
import { CODE_GRANULE_SHIFT } from "../../memory/physical.ts";
import { ACCESS } from "../environment.ts";
import { type MicroOp, OP } from "../micro-ops.ts";
import { GPR, SEG } from "../state.ts";
import { copyOf } from "./across-code.ts";
import { type AccessPlan, ANCHOR_BIAS, type Span } from "./anchor-state.ts";
import type { Expected } from "./anchors.ts";
import { LINEAR_TEMPORARY, PLACE_TEMPORARY, type RegionCode } from "./code.ts";
import { AT_BOUNDARY, CROSSINGS_SHIFT, EXIT, FUNCTION, LATER_ACCESS, TRANSLATE } from "./contract.ts";
import { marksByHost, WORD_SHIFT } from "./layout.ts";
import { CAN_LEAVE, updateKey } from "./native.ts";
import { linearAddress, type SegmentUse } from "./segments-code.ts";
import { WASM } from "./wasm.ts";

/** Where an access finds its bytes: so many bytes beyond the host byte offset in a local. */
export interface HostPlace {
  readonly local: number;
  readonly beyond: number;
  /** Whether that may be the copy of bytes in two pages (across-code.ts). */
  readonly across: boolean;
}

/**
 * Where an access at segment x : cell a finds its bytes: by an anchor, or through the fast table; else the instruction is
 * given up, or a walk is made (and charged).
 */
export function translateAccess(c: RegionCode, op: MicroOp, write: boolean): HostPlace {
  const plan = c.access as AccessPlan;
  c.read(op.a);
  linearAddress(c, op.x, op.w);
  if (plan.kind === "alone") return alone(c, op.w, write, plan.walks ? crossingsPaid(c, op) : null);
  const beyond = plan.offset + ANCHOR_BIAS;
  if (plan.kind === "has") return byAnchor(c, plan.root, op.w, write, beyond);
  const before = plan.offset - plan.span.low;
  if (!c.context.apart) {
    c.accessed = true;
    findAnchor(c, plan.root, plan.span, before, () => leaveApart(c, c.instruction.delta, plan.span, 0));
    return { local: c.host, beyond: before, across: false };
  }
  const at = c.temporary(LINEAR_TEMPORARY);
  c.f.get(c.linear);
  c.f.set(at);
  findAnchor(c, plan.root, plan.span, before, () => noAnchor(c, plan.root));
  c.f.get(at);
  c.f.set(c.linear);
  return byAnchor(c, plan.root, op.w, write, beyond);
}

/** An access by an anchor that is there, or may be absent: then by itself. */
function byAnchor(c: RegionCode, root: number, bytes: number, write: boolean, beyond: number): HostPlace {
  if (!c.context.apart) {
    c.accessed = true;
    return { local: c.anchor(root), beyond, across: false };
  }
  const { f } = c;
  f.get(c.anchor(root));
  f.op(WASM.i32Eqz);
  c.rarely(
    () => {
      alone(c, bytes, write, null);
      f.get(c.host);
      f.i32(beyond);
      f.op(WASM.i32Sub);
      f.set(c.host);
    },
    () => {
      f.get(c.anchor(root));
      f.set(c.host);
    },
  );
  return { local: c.host, beyond, across: false };
}

function noAnchor(c: RegionCode, root: number): void {
  c.f.i32(0);
  c.f.set(c.anchor(root));
}

/** Leaves because the fast table does not have an anchor's bytes from `linear` on: they are in two pages, or one was missed. */
function leaveApart(c: RegionCode, delta: number, { low, high }: Span, more: number): void {
  const { f } = c;
  c.exitAt(delta, () => {
    f.i32(c.missing(EXIT.APART | more));
    f.i32(c.missing(EXIT.MISSED | more));
    f.get(c.linear);
    f.i32(0xfff);
    f.op(WASM.i32And);
    f.i32(PAGE_SIZE - (high - low));
    f.op(WASM.i32GtU);
    f.op(WASM.select);
  });
}

function accessBits(c: RegionCode, write: boolean): number {
  return (write ? ACCESS.WRITE : 0) | (c.context.user ? ACCESS.USER : 0);
}

/**
 * Looks for the `bytes` bytes from `linear` on in the fast table: `host` is where they are, unless they are not all in the
 * page of their slot.
 */
function lookUp(c: RegionCode, access: number, bytes: number, otherwise: () => void, found?: () => void): void {
  const { f, layout } = c;
  const { fastTags, fastFrames, fastBits } = layout;
  const part = (access << fastBits) << WORD_SHIFT;
  f.get(c.linear);
  f.i32(12 - WORD_SHIFT);
  f.op(WASM.i32ShrU);
  f.i32(((1 << fastBits) - 1) << WORD_SHIFT);
  f.op(WASM.i32And);
  f.set(c.scratch);
  // The offset from the page that the slot has: the whole lies in it, or not.
  f.get(c.linear);
  f.get(c.scratch);
  f.memory(WASM.i32Load, fastTags + part, 2);
  f.op(WASM.i32Sub);
  f.tee(c.host);
  f.i32(PAGE_SIZE - bytes);
  f.op(WASM.i32GtU);
  c.rarely(otherwise, () => {
    f.get(c.host);
    f.get(c.scratch);
    f.memory(WASM.i32Load, fastFrames + part, 2);
    f.op(WASM.i32Add);
    f.set(c.host);
    found?.();
  });
}

/**
 * An access of `bytes` bytes at `linear` by itself. `crossings`: null if it does not walk, else how often it pays if the
 * bytes are in two pages; 0: they must be in one.
 */
function alone(c: RegionCode, bytes: number, write: boolean, crossings: number | null): HostPlace {
  const access = accessBits(c, write);
  const later = c.accessed;
  c.accessed = true;
  lookUp(c, access, bytes, () => {
    if (crossings === null) c.missed();
    else walk(c, access | (bytes << 8) | (later ? LATER_ACCESS : 0) | (crossings << CROSSINGS_SHIFT));
  });
  return { local: c.host, beyond: 0, across: crossings !== null && crossings > 0 };
}

/** How often an access pays for crossing a page (a second time if what it loads is stored); 0 if it may be given up after. */
function crossingsPaid(c: RegionCode, op: MicroOp): number {
  if (op.w === 1) return 0;
  const { ops } = c.instruction.lifted;
  let paid = 1;
  for (let n = ops.indexOf(op) + 1; n < ops.length; n++) {
    const later = ops[n] as MicroOp;
    if (!CAN_LEAVE.has(later.op)) continue;
    if (op.op !== OP.LOAD_UPDATE || later.op !== OP.STORE || updateKey(later) !== updateKey(op)) return 0;
    paid++;
  }
  return paid;
}

/** Asks for a walk for the access at `linear`: `host` is where it is; or the instruction is given up. */
function walk(c: RegionCode, what: number): void {
  const { f } = c;
  f.get(c.linear);
  f.i32(what);
  c.spentAhead();
  f.call(FUNCTION.translate);
  f.tee(c.host);
  f.i32(0);
  f.op(WASM.i32LtS);
  c.rarely(() => {
    f.get(c.host);
    f.i32(TRANSLATE.FAULT);
    f.op(WASM.i32Eq);
    c.rarely(() => c.signalled());
    c.giveUp();
  });
  c.newBudget();
}

/** Sets an anchor from the fast table; `linear` is `before` bytes above its first byte, and `host` is where that is. */
function findAnchor(c: RegionCode, root: number, span: Span, before: number, otherwise: () => void): void {
  const { f } = c;
  if (before !== 0) {
    f.get(c.linear);
    f.i32(before);
    f.op(WASM.i32Sub);
    f.set(c.linear);
  }
  lookUp(c, accessBits(c, span.write), span.high - span.low, otherwise, () => {
    f.get(c.host);
    f.i32(ANCHOR_BIAS + span.low);
    f.op(WASM.i32Sub);
    f.set(c.anchor(root));
  });
}

/** Sets an anchor that is expected where control goes, at `delta`, which is the head of a loop. */
export function expectAnchor(c: RegionCode, { root, offset, span }: Expected, delta: number): void {
  const { f } = c;
  c.read(root * 2);
  f.i32(offset);
  f.op(WASM.i32Sub);
  if (span.through >= 0) {
    f.get(c.segments.get(span.through)?.base as number);
    f.op(WASM.i32Add);
  }
  f.set(c.linear);
  const leave = (): void => leaveApart(c, delta, span, AT_BOUNDARY);
  findAnchor(c, root, span, -span.low, c.context.apart ? () => noAnchor(c, root) : leave);
}

export function loadFrom(c: RegionCode, { local, beyond }: HostPlace, bytes: number): void {
  c.f.get(local);
  c.f.memory(bytes === 1 ? WASM.i32Load8U : bytes === 2 ? WASM.i32Load16U : WASM.i32Load, beyond, 0);
}

/** Whether a place is the copy of bytes in two pages, on the stack. */
function isCopy(c: RegionCode, { local }: HostPlace): void {
  c.f.get(local);
  c.f.i32(copyOf(c.layout));
  c.f.op(WASM.i32Eq);
}

/** Leaves the instruction when code was lifted from where it is about to store; of two pages that has been asked. */
function checkGranule(c: RegionCode, place: HostPlace): void {
  if (!place.across) {
    checkGranuleAt(c, place);
    return;
  }
  isCopy(c, place);
  c.f.op(WASM.i32Eqz);
  c.when(() => checkGranuleAt(c, place));
}

function checkGranuleAt(c: RegionCode, { local, beyond }: HostPlace): void {
  const f = c.f;
  f.get(local);
  if (beyond !== 0) {
    f.i32(beyond);
    f.op(WASM.i32Add);
  }
  f.i32(CODE_GRANULE_SHIFT);
  f.op(WASM.i32ShrU);
  f.memory(WASM.i32Load8U, marksByHost(c.layout), 0);
  c.rarely(() => c.giveUp());
}

export function store(c: RegionCode, op: MicroOp): void {
  const f = c.f;
  const known = c.places.get(updateKey(op));
  const place = known ?? translateAccess(c, op, true);
  if (known === undefined) checkGranule(c, place);
  f.get(place.local);
  c.read(op.b);
  f.memory(op.w === 1 ? WASM.i32Store8 : op.w === 2 ? WASM.i32Store16 : WASM.i32Store, place.beyond, 0);
  if (!place.across) return;
  isCopy(c, place);
  c.rarely(() => {
    f.i32(op.w);
    f.call(FUNCTION.writeBack);
    f.op(WASM.drop);
  });
}

export function loadForUpdate(c: RegionCode, op: MicroOp): void {
  const f = c.f;
  const place = translateAccess(c, op, true);
  checkGranule(c, place);
  const kept = { ...place, local: c.temporary(PLACE_TEMPORARY) };
  f.get(place.local);
  f.set(kept.local);
  c.places.set(updateKey(op), kept);
  loadFrom(c, kept, op.w);
  c.write(op.d);
}

const ALL_BYTES = 32;

/** Leaves the instruction unless the 32 bytes of PUSHA and POPA lie in one page: `room` bytes from `linear` up or down. */
function onOnePage(c: RegionCode, comparison: number, room: number): void {
  const f = c.f;
  f.get(c.linear);
  f.i32(0xfff);
  f.op(WASM.i32And);
  f.i32(room);
  f.op(comparison);
  c.rarely(() => c.giveUp());
}

/** An access of 4 bytes at the offset in the stack segment that is on the stack. */
function stackAccess(c: RegionCode, write: boolean): HostPlace {
  linearAddress(c, SEG.ss, 4);
  return alone(c, 4, write, c.walks() ? 0 : null);
}

/** PUSHA of 32 bits. The first byte that it checks is that of EAX, the uppermost. */
export function pushAll(c: RegionCode): void {
  const f = c.f;
  const { limit } = c.segments.get(SEG.ss) as SegmentUse;
  if (limit !== null) {
    c.read(GPR.esp);
    f.i32(ALL_BYTES);
    f.op(WASM.i32LtU);
    c.rarely(() => c.giveUp());
  }
  c.read(GPR.esp);
  f.i32(4);
  f.op(WASM.i32Sub);
  const place = stackAccess(c, true);
  onOnePage(c, WASM.i32LtU, ALL_BYTES - 4);
  checkGranule(c, place);
  f.get(c.host);
  f.i32(ALL_BYTES - 4);
  f.op(WASM.i32Sub);
  f.set(c.host);
  checkGranule(c, place);
  for (let n = 0; n < 8; n++) {
    f.get(c.host);
    f.get(c.registers[n] as number);
    f.memory(WASM.i32Store, ALL_BYTES - 4 - n * 4, 0);
  }
  c.read(GPR.esp);
  f.i32(ALL_BYTES);
  f.op(WASM.i32Sub);
  c.write(GPR.esp);
}

/** POPA of 32 bits. */
export function popAll(c: RegionCode): void {
  const f = c.f;
  const { limit } = c.segments.get(SEG.ss) as SegmentUse;
  if (limit !== null) {
    f.get(limit);
    f.i32(ALL_BYTES);
    f.op(WASM.i32LtU);
    c.read(GPR.esp);
    f.get(limit);
    f.i32(ALL_BYTES - 1);
    f.op(WASM.i32Sub);
    f.op(WASM.i32GtU);
    f.op(WASM.i32Or);
    c.rarely(() => c.giveUp());
  }
  c.read(GPR.esp);
  stackAccess(c, false);
  onOnePage(c, WASM.i32GtU, 0x1000 - ALL_BYTES);
  for (let n = 0; n < 8; n++) {
    if (n === GPR.esp / 2) continue;
    f.get(c.host);
    f.memory(WASM.i32Load, ALL_BYTES - 4 - n * 4, 0);
    f.set(c.registers[n] as number);
  }
  c.read(GPR.esp);
  f.i32(ALL_BYTES);
  f.op(WASM.i32Add);
  c.write(GPR.esp);
}

/** What is known of anchors (anchors.ts) at a place, and how it changes from one micro-op to the next. */
import { type Effect, REGISTERS } from "./anchor-effects.ts";

/** An anchor is so much below where its register points, so that the constants of accesses are not negative. */
export const ANCHOR_BIAS = 1024;
/** Bytes that an anchor speaks for at the most: the more, the more often they are not in one page. */
const REACH = 256;

/** Bytes relative to where a register points, from `low` up to but not `high`, through a class of segments (segments-code.ts). */
export interface Span {
  readonly low: number;
  readonly high: number;
  readonly write: boolean;
  readonly through: number;
}

/** Spans by register. */
export type Spans = readonly (Span | null)[];

/** How an access is made: by itself, and then it may walk or not; by an anchor that it sets; by one that is there. */
export type AccessPlan =
  | { readonly kind: "alone"; readonly walks: boolean }
  | { readonly kind: "sets" | "has"; readonly root: number; readonly offset: number; readonly span: Span };

/** An anchor that gets another name. */
export interface Move {
  readonly from: number;
  readonly to: number;
}

export const ALONE: AccessPlan = { kind: "alone", walks: false };
export const WALKS: AccessPlan = { kind: "alone", walks: true };
export const NO_SPANS: Spans = new Array<null>(REGISTERS).fill(null);

/** What follows an access: spans of what is accessed by a register's value, and by that of the access's own slot. */
export interface Following {
  readonly registers: Spans;
  readonly own: Span | null;
}

/** Both, if they are not too far from each other. */
export function join(a: Span, b: Span): Span | null {
  if (a.through !== b.through) return null;
  const low = Math.min(a.low, b.low);
  const high = Math.max(a.high, b.high);
  return high - low <= REACH ? { low, high, write: a.write || b.write, through: a.through } : null;
}

/** What two anchors both speak for. */
function common(a: Span | null, b: Span | null): Span | null {
  if (a === null || b === null || a.through !== b.through) return null;
  const low = Math.max(a.low, b.low);
  const high = Math.min(a.high, b.high);
  return low < high ? { low, high, write: a.write && b.write, through: a.through } : null;
}

function isNear({ low, high }: Span): boolean {
  return low > -ANCHOR_BIAS && high < ANCHOR_BIAS;
}

/** The same bytes from a point that is so much lower; null when that is too far away. */
export function shift(span: Span | null, by: number): Span | null {
  if (span === null || by === 0) return span;
  const shifted = { low: span.low + by, high: span.high + by, write: span.write, through: span.through };
  return isNear(shifted) ? shifted : null;
}

export function covers(span: Span | null, { low, high, write, through }: Span): span is Span {
  return span !== null && span.through === through && span.low <= low && span.high >= high && (span.write || !write);
}

export class AnchorState {
  /** For each general register its root and how far it is from there. A root is its own. */
  readonly roots: number[];
  readonly offsets: number[];
  /** By root: what its anchor speaks for; null: it has none. */
  readonly spans: (Span | null)[];
  /** The same of temporaries of the instruction in progress. */
  readonly #temporaries = new Map<number, { root: number; readonly offset: number }>();

  constructor(from?: AnchorState) {
    this.roots = from === undefined ? [0, 1, 2, 3, 4, 5, 6, 7] : from.roots.slice();
    this.offsets = from === undefined ? [0, 0, 0, 0, 0, 0, 0, 0] : from.offsets.slice();
    this.spans = from === undefined ? NO_SPANS.slice() : from.spans.slice();
  }

  /** Gives a slot another value: that of another and a constant. The anchor that gets another name, if one does. */
  sum(slot: number, from: number, add: number): Move | null {
    const temporary = from < REGISTERS ? undefined : this.#temporaries.get(from);
    if (from >= REGISTERS && temporary === undefined) return this.change(slot);
    const root = temporary?.root ?? (this.roots[from] as number);
    const offset = (temporary?.offset ?? (this.offsets[from] as number)) + add;
    if (Math.abs(offset) >= ANCHOR_BIAS) return this.change(slot);
    if (slot >= REGISTERS) {
      this.#temporaries.set(slot, { root, offset });
      return null;
    }
    const move = this.roots[slot] === slot && root !== slot ? this.#leave(slot) : null;
    this.roots[slot] = root;
    this.offsets[slot] = offset;
    return move;
  }

  /** Gives a slot another value of which nothing is known. */
  change(slot: number): Move | null {
    if (slot >= REGISTERS) {
      this.#temporaries.delete(slot);
      return null;
    }
    const move = this.roots[slot] === slot ? this.#leave(slot) : null;
    this.roots[slot] = slot;
    this.offsets[slot] = 0;
    return move;
  }

  /** A root's register is about to change: what else points there takes the anchor, if anything does. */
  #leave(n: number): Move | null {
    const { roots, spans } = this;
    let heir = -1;
    for (let m = 0; m < REGISTERS; m++) {
      if (m === n || roots[m] !== n) continue;
      if (heir < 0) heir = m;
      roots[m] = heir;
    }
    for (const [slot, temporary] of this.#temporaries) {
      if (temporary.root !== n) continue;
      if (heir < 0) this.#temporaries.delete(slot);
      else temporary.root = heir;
    }
    const span = spans[n] as Span | null;
    spans[n] = null;
    if (heir < 0 || span === null) return null;
    spans[heir] = span;
    return { from: n, to: heir };
  }

  /** The temporaries of one instruction mean nothing to the next. */
  beginInstruction(): void {
    if (this.#temporaries.size > 0) this.#temporaries.clear();
  }

  endAnchors(): void {
    this.spans.fill(null);
  }

  /** How an access is made that does not walk; null: by itself. */
  share(access: Effect & { readonly kind: "access" }, following: Following | null): AccessPlan | null {
    const { slot, bytes, write, through } = access;
    const temporary = this.#temporaries.get(slot);
    if (slot < 0 || (slot >= REGISTERS && temporary === undefined)) return null;
    const root = temporary?.root ?? (this.roots[slot] as number);
    const offset = temporary?.offset ?? (this.offsets[slot] as number);
    const wanted = { low: offset, high: offset + bytes, write, through };
    const present = this.spans[root] as Span | null;
    if (covers(present, wanted)) return { kind: "has", root, offset, span: present };
    if (following === null) return null;
    const own = shift(following.own, offset);
    const near = own === null ? wanted : (join(wanted, own) ?? wanted);
    const span = this.around(root, following.registers, near) as Span;
    if (span === wanted || !isNear(span)) return null;
    this.spans[root] = span;
    return { kind: "sets", root, offset, span };
  }

  /** Bytes around a root that are accessed by what points there, and `first`. */
  around(root: number, accessed: Spans, first: Span | null): Span | null {
    let all = first;
    for (let n = 0; n < REGISTERS; n++) {
      if (this.roots[n] !== root) continue;
      const span = shift(accessed[n] as Span | null, this.offsets[n] as number);
      if (span !== null) all = all === null ? span : (join(all, span) ?? all);
    }
    return all;
  }

  /** A bit for each register of which another state knows something else. */
  differences({ roots, offsets }: AnchorState): number {
    let bits = 0;
    for (let n = 0; n < REGISTERS; n++) {
      if (roots[n] !== this.roots[n] || offsets[n] !== this.offsets[n]) bits |= 1 << n;
    }
    return bits;
  }

  /** Whether one of the registers given by bits has this root. */
  dependsOn(root: number, bits: number): boolean {
    for (let n = 0; n < REGISTERS; n++) if (this.roots[n] === root && (bits & (1 << n)) !== 0) return true;
    return false;
  }

  /** Forgets what registers, given by bits, have to do with anything else. */
  forget(bits: number): void {
    let all = bits;
    for (let before = -1; before !== all; ) {
      before = all;
      for (let n = 0; n < REGISTERS; n++) if ((all & (1 << (this.roots[n] as number))) !== 0) all |= 1 << n;
    }
    for (let n = 0; n < REGISTERS; n++) {
      if ((all & (1 << n)) === 0) continue;
      this.roots[n] = n;
      this.offsets[n] = 0;
      this.spans[n] = null;
    }
  }

  /** Keeps what another state knows, too. */
  meet(other: AnchorState): void {
    const bits = this.differences(other);
    if (bits !== 0) this.forget(bits);
    for (let n = 0; n < REGISTERS; n++) {
      const span = this.spans[n] as Span | null;
      if (span !== null && span !== other.spans[n]) this.spans[n] = common(span, other.spans[n] as Span | null);
    }
  }
}

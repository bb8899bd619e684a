/**
 * Which accesses of a region share a translation. Compilers reach most memory by a register and a constant, several times
 * for one value of the register: fields of a structure, the stack. The first such access looks into the fast table for all
 * bytes that follow from there, and keeps the *anchor* in a local: where the host has what the register points to. The
 * others add their constants to that, and look at nothing. Bytes that are not all in one page are a miss (misses.ts).
 *
 * What holds at a place in the region is known before code is made: which register is a constant away from which anchor,
 * and which bytes around an anchor it speaks for. An anchor has the name of a general register that points there ("root");
 * when that register changes, another one that still does gives the name. Anchors end with whatever may walk, and put their
 * page out of the TLB. A loop is entered with anchors for what its accesses reach by registers that it does not change; the
 * ways into it set those that they do not have.
 */
import { type Effect, effectsOf, REGISTERS } from "./anchor-effects.ts";
import {
  type AccessPlan,
  ALONE,
  AnchorState,
  covers,
  type Following,
  join,
  type Move,
  NO_SPANS,
  type Span,
  type Spans,
  shift,
  WALKS,
} from "./anchor-state.ts";
import type { RegionInstruction, RegionNode } from "./region.ts";
import type { Structure } from "./structure.ts";

/** What compiled code does for an instruction, by micro-op. */
export interface InstructionPlan {
  readonly accesses: ReadonlyMap<number, AccessPlan>;
  /** After a micro-op: anchors that get another name. */
  readonly moves: ReadonlyMap<number, readonly Move[]>;
}

/** Region graph, as the compiler sees it. */
export interface AnchoredGraph {
  readonly structure: Structure;
  successors(place: number): readonly number[];
  node(place: number): RegionNode | null;
  /** Class of a segment: those of one class have the same base. Null: nothing is accessed through it. */
  through(segment: number): number | null;
  /** Whether the instruction at a place walks. */
  walks(delta: number): boolean;
}

/** An anchor that is expected where a place begins. */
export interface Expected {
  readonly root: number;
  /** How far the root's register is from the anchor. */
  readonly offset: number;
  readonly span: Span;
}

/** What the compiler asks while it makes code. */
export interface Anchors {
  plan(place: number, instruction: number): InstructionPlan;
  /** Anchors that are expected at `to` and not known at the end of `from`: they must be set on that way, into a loop. */
  missing(from: number, to: number): readonly Expected[];
}

export function anchorsOf(graph: AnchoredGraph): Anchors {
  return new AnchorAnalysis(graph);
}

/** A native instruction as the analysis sees it; null: nothing is known after it. */
interface Seen {
  readonly effects: readonly Effect[];
  readonly walks: boolean;
  /** By effect: what follows an access. */
  readonly following: (Following | null)[];
}

/** A place in the region. */
interface Place {
  readonly place: number;
  readonly instructions: readonly (Seen | null)[];
  /** Places from which control comes: from before, and from inside a loop to its head. */
  readonly forward: Place[];
  readonly back: Place[];
  /** What is accessed from here on before registers change. */
  ahead: Spans;
  before: AnchorState;
  after: AnchorState;
  plans: InstructionPlan[];
  /** Of a loop: whether anchors may be set on the ways into it; bits of registers that change in it, of roots whose anchors are lost in it. */
  readonly sets: boolean;
  changing: number;
  lost: number;
}

const NO_PLAN: InstructionPlan = { accesses: new Map(), moves: new Map() };

class AnchorAnalysis implements Anchors {
  readonly #graph: AnchoredGraph;
  readonly #places = new Map<number, Place>();

  constructor(graph: AnchoredGraph) {
    this.#graph = graph;
    const { structure } = graph;
    for (const place of structure.order) this.#places.set(place, this.#place(place));
    for (const from of this.#places.values()) {
      for (const to of new Set(graph.successors(from.place))) {
        const kind = structure.edge(from.place, to);
        const there = this.#places.get(to);
        if (kind === "leave" || there === undefined) continue;
        (kind === "back" ? there.back : there.forward).push(from);
      }
    }
    this.#lookAhead();
    while (!this.#settle()) {
      // Once more: less is expected of a loop than before.
    }
  }

  plan(place: number, instruction: number): InstructionPlan {
    return this.#at(place).plans[instruction] ?? NO_PLAN;
  }

  missing(from: number, to: number): readonly Expected[] {
    const { before: expected } = this.#at(to);
    const { after: present } = this.#at(from);
    const differences = present.differences(expected);
    const missing: Expected[] = [];
    for (let root = 0; root < REGISTERS; root++) {
      const span = expected.spans[root] as Span | null;
      if (span === null) continue;
      if (!expected.dependsOn(root, differences) && covers(present.spans[root] as Span | null, span)) continue;
      missing.push({ root, offset: expected.offsets[root] as number, span });
    }
    const { structure } = this.#graph;
    if (missing.length > 0 && (!structure.isLoop(to) || structure.edge(from, to) === "back")) {
      throw new Error(`engine: no anchors ${missing.map(({ root }) => root)} on the way from ${from} to ${to}`);
    }
    return missing;
  }

  #at(place: number): Place {
    return this.#places.get(place) as Place;
  }

  #place(place: number): Place {
    const { structure, node, walks } = this.#graph;
    const here = node(place);
    const state = new AnchorState();
    return {
      place,
      instructions: here === null ? [] : here.instructions.map((each) => this.#seen(each)),
      ...{ forward: [], back: [], ahead: NO_SPANS, before: state, after: state, plans: [] },
      sets: structure.isLoop(place) && here !== null && !walks(here.delta),
      ...{ changing: 0, lost: 0 },
    };
  }

  #seen({ lifted, native, delta }: RegionInstruction): Seen | null {
    if (!native) return null;
    const { through, walks } = this.#graph;
    const effects = effectsOf(lifted.ops, through);
    return { effects, walks: walks(delta), following: [] };
  }

  /**
   * Backwards once, without the ways from a loop's end to its head, nor those of RETs: the frames of all callers together
   * are seldom in one page.
   */
  #lookAhead(): void {
    const { structure, successors, node } = this.#graph;
    for (const place of [...structure.order].reverse()) {
      const here = this.#at(place);
      if (node(place) === null) continue;
      const ahead = new Ahead();
      for (const to of successors(place)) {
        const kind = structure.edge(place, to);
        if (kind !== "leave" && kind !== "back") ahead.or(this.#at(to).ahead);
      }
      for (let n = here.instructions.length - 1; n >= 0; n--) ahead.back(here.instructions[n] as Seen | null);
      here.ahead = ahead.registers;
    }
  }

  /** Goes through all places; whether loops kept what was expected of them. */
  #settle(): boolean {
    for (const here of this.#places.values()) {
      here.before = entering(here);
      here.after = new AnchorState(here.before);
      here.plans = here.instructions.map((each) => planned(each, here.after));
    }
    let kept = true;
    for (const here of this.#places.values()) {
      for (const { after } of here.back) {
        const changing = here.changing | here.before.differences(after);
        let { lost } = here;
        for (let root = 0; root < REGISTERS; root++) {
          const span = here.before.spans[root] as Span | null;
          if (span !== null && !covers(after.spans[root] as Span | null, span)) lost |= 1 << root;
        }
        if (changing !== here.changing || lost !== here.lost) kept = false;
        here.changing = changing;
        here.lost = lost;
      }
    }
    return kept;
  }
}

/** What holds where a place begins. */
function entering(here: Place): AnchorState {
  const [first, ...rest] = here.forward;
  const state = new AnchorState(first?.after);
  for (const { after } of rest) state.meet(after);
  if (here.changing !== 0) state.forget(here.changing);
  for (let root = 0; root < REGISTERS; root++) {
    if (((here.changing | here.lost) & (1 << root)) !== 0) state.spans[root] = null;
    else if (here.sets) {
      const wanted = state.around(root, here.ahead, null);
      if (wanted !== null && !covers(state.spans[root] as Span | null, wanted)) state.spans[root] = wanted;
    }
  }
  return state;
}

/** Takes an instruction's effects one after the other. */
function planned(seen: Seen | null, state: AnchorState): InstructionPlan {
  if (seen === null) {
    state.forget(-1);
    return NO_PLAN;
  }
  if (seen.effects.length === 0) return NO_PLAN;
  const accesses = new Map<number, AccessPlan>();
  const moves = new Map<number, Move[]>();
  state.beginInstruction();
  for (const [m, effect] of seen.effects.entries()) {
    if (effect.kind === "access") {
      const plan = state.share(effect, seen.walks ? null : (seen.following[m] as Following | null));
      if (plan === null && seen.walks) state.endAnchors();
      accesses.set(effect.n, plan ?? (seen.walks ? WALKS : ALONE));
    } else if (effect.kind === "end") state.endAnchors();
    else {
      const move = effect.kind === "sum" ? state.sum(effect.slot, effect.from, effect.add) : state.change(effect.slot);
      if (move !== null) moves.set(effect.n, [...(moves.get(effect.n) ?? []), move]);
    }
  }
  return { accesses, moves };
}

/** What follows a place: for each slot the bytes around it that are accessed before it changes, the nearest first. */
class Ahead {
  registers: (Span | null)[] = NO_SPANS.slice();
  readonly #temporaries = new Map<number, Span>();

  /** Adds what follows on another way. */
  or(other: Spans): void {
    for (const [n, span] of other.entries()) if (span !== null) this.#add(n, this.registers[n] ?? span, span);
  }

  #get(slot: number): Span | null {
    return (slot < REGISTERS ? this.registers[slot] : this.#temporaries.get(slot)) ?? null;
  }

  #set(slot: number, span: Span | null): void {
    if (slot < REGISTERS) this.registers[slot] = span;
    else if (span === null) this.#temporaries.delete(slot);
    else this.#temporaries.set(slot, span);
  }

  /** Both if they are near each other, else the first. */
  #add(slot: number, first: Span, second: Span | null): void {
    this.#set(slot, second === null ? first : (join(first, second) ?? first));
  }

  /** Goes back over an instruction. */
  back(seen: Seen | null): void {
    if (seen === null) {
      this.registers.fill(null);
      return;
    }
    const { effects, following } = seen;
    if (this.#temporaries.size > 0) this.#temporaries.clear();
    for (let n = effects.length - 1; n >= 0; n--) {
      const effect = effects[n] as Effect;
      switch (effect.kind) {
        case "sum": {
          const span = shift(this.#get(effect.slot), effect.add);
          this.#set(effect.slot, null);
          if (span !== null) this.#add(effect.from, span, this.#get(effect.from));
          break;
        }
        case "change":
          this.#set(effect.slot, null);
          break;
        case "end":
          this.registers.fill(null);
          break;
        default: {
          const { slot, bytes, write, through } = effect;
          if (slot < 0) break;
          const later = this.#get(slot);
          following[n] = { registers: this.registers.slice(), own: slot < REGISTERS ? null : later };
          this.#add(slot, { low: 0, high: bytes, write, through }, later);
        }
      }
    }
  }
}

/**
 * The translation cache: units in simulated memory, found by guest EIP and by address, chained to each other, dropped when
 * their source changes, flushed when there is no room. The same for lookup tables in front of them. It writes through a
 * port, so that whoever owns it pays; what is here beside that is the translator's own book-keeping.
 */
import { pageNumber, pageOffset } from "../../memory/address.ts";
import { CACHE_BASE, LOOKUP, LOOKUP_BYTES, lookupTable } from "./layout.ts";
import type { BtParameters } from "./parameters.ts";
import { pointAt } from "./points.ts";
import { SourceIndex } from "./source-index.ts";
import { CacheStatistics, type SavedStatistics } from "./statistics.ts";
import {
  type CallOut,
  type CodeContext,
  type DirectExit,
  type Point,
  sameContext,
  type Translation,
} from "./translation.ts";
import { CALL_OUT, word } from "./unit-writer.ts";

/** Writes bytes of the cache; `offset` counts from CACHE_BASE. */
export interface CachePort {
  /** A unit: what that costs is a part of translating it. */
  place(offset: number, bytes: Uint8Array): void;
  /** A few bytes of what is there. */
  patch(offset: number, bytes: Uint8Array): void;
}

export interface Unit {
  readonly translation: Translation;
  /** Offset in the cache, and linear address, of the first byte. */
  readonly offset: number;
  readonly address: number;
  /** Guest-physical pages of the source, from its first byte on. */
  readonly frames: readonly number[];
  /** Branches of other units (and itself) that lead here. */
  readonly incoming: Set<ChainedExit>;
  /** The same of its own, by number of the exit. */
  readonly outgoing: (ChainedExit | null)[];
  /** Where lookup tables have it: offsets of the words that hold minus its EIP. */
  readonly entries: Set<number>;
  /** Whether each exit has ever been chained. */
  readonly counted: boolean[];
  armed: boolean;
  /** Found by EIP. A unit that is not may come back when its page does. */
  attached: boolean;
  /** Its source has changed, or the cache was flushed. */
  dead: boolean;
}

interface ChainedExit {
  readonly from: Unit;
  readonly number: number;
  readonly to: Unit;
}

/** Why translated code has called the monitor. */
export type Arrival =
  | { readonly kind: "call-out"; readonly unit: Unit; readonly callOut: CallOut }
  /** The end of a unit that was armed: the guest is where `point` says. */
  | { readonly kind: "armed"; readonly unit: Unit; readonly point: Point };

export interface TranslationCacheParts {
  readonly port: CachePort;
  readonly options: BtParameters;
  /** Told when a guest-physical page begins or ends to be the source of translations. */
  readonly onSource?: (page: number, isSource: boolean) => void;
  /** Told when nothing leads to a unit any more; not when all of them are flushed. */
  readonly onDetached?: (unit: Unit) => void;
}

/** Units of one kind of code, by EIP; those that are not attached apart. */
interface UnitsOfContext {
  readonly context: CodeContext;
  readonly units: Map<number, Unit>;
  readonly detached: Map<number, Unit[]>;
}

/** The cache as plain data; its bytes are in memory. */
export interface SavedCache {
  readonly units: readonly {
    readonly translation: Translation;
    readonly offset: number;
    readonly frames: readonly number[];
    readonly outgoing: readonly number[];
    readonly counted: readonly boolean[];
    readonly armed: boolean;
    readonly attached: boolean;
    readonly dead: boolean;
  }[];
  readonly next: number;
  readonly current: readonly (CodeContext | null)[];
  readonly filled: readonly (readonly (readonly [offset: number, unit: number])[])[];
  readonly statistics: SavedStatistics;
}

/** Units begin at multiples of this. */
const ALIGNMENT = 16;
const NO_ENTRY = (index: number): number => -(index + 1);

/** Bytes of a cache and the tables in front of it. */
export function cacheBytes({ cacheKb }: BtParameters): number {
  return LOOKUP_BYTES + cacheKb * 1024;
}

export class TranslationCache {
  /** For each byte from CACHE_BASE on its class, as CodeClasses wants it. */
  readonly classes: Uint8Array;
  readonly statistics = new CacheStatistics();
  readonly #port: CachePort;
  readonly #options: BtParameters;
  readonly #source: SourceIndex<Unit>;
  readonly #onDetached: (unit: Unit) => void;
  /** What the cache holds when no unit is armed. */
  readonly #image: Uint8Array;
  #units: Unit[] = [];
  #next = LOOKUP_BYTES;
  /** Memory is as it should be already. */
  #silent = false;
  readonly #contexts: UnitsOfContext[] = [];
  /** Context whose targets are in the lookup tables, by privilege; and which words of them are in use. */
  readonly #current: (CodeContext | null)[] = [null, null];
  readonly #filled: Map<number, Unit>[] = [new Map(), new Map()];

  constructor({ port, options, onSource, onDetached }: TranslationCacheParts) {
    this.#port = port;
    this.#onDetached = onDetached ?? (() => undefined);
    this.#options = options;
    this.#image = new Uint8Array(cacheBytes(options));
    this.classes = new Uint8Array(this.#image.length);
    this.#source = new SourceIndex((page, isSource) => {
      if (!this.#silent) onSource?.(page, isSource);
    });
  }

  /** Before anything runs: lookup tables in which nothing is found. */
  begin(): void {
    this.#emptyTables();
  }

  #emptyTables(): void {
    for (let table = 0; table < LOOKUP_BYTES; table += LOOKUP.bytes) {
      const tags = Int32Array.from({ length: LOOKUP.entries }, (_, index) => NO_ENTRY(index));
      this.#place(table, new Uint8Array(tags.buffer));
    }
  }

  /** Bytes that the cache takes, lookup tables and all. */
  get size(): number {
    return this.#image.length;
  }

  #place(offset: number, bytes: Uint8Array): void {
    this.#image.set(bytes, offset);
    if (!this.#silent) this.#port.place(offset, bytes);
  }

  #writeWord(offset: number, value: number): void {
    const bytes = Uint8Array.from(word(value));
    this.#image.set(bytes, offset);
    if (!this.#silent) this.#port.patch(offset, bytes);
  }

  #unitsOf(context: CodeContext): UnitsOfContext {
    let found = this.#contexts.find((each) => sameContext(each.context, context));
    if (found === undefined) {
      found = { context, units: new Map(), detached: new Map() };
      this.#contexts.push(found);
    }
    return found;
  }

  /** The unit of the guest's code at `eip`. */
  lookup(eip: number, context: CodeContext): Unit | undefined {
    return this.#unitsOf(context).units.get(eip);
  }

  /** The unit whose bytes are at a linear address. */
  find(address: number): Unit | undefined {
    const offset = address - CACHE_BASE;
    let low = 0;
    let high = this.#units.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#units[middle] as Unit).offset <= offset) low = middle + 1;
      else high = middle;
    }
    const unit = this.#units[low - 1];
    return unit !== undefined && offset < unit.offset + unit.translation.bytes.length ? unit : undefined;
  }

  /** Where the guest is when the processor is about to execute the instruction at a linear address of the cache. */
  recover(address: number): { readonly unit: Unit; readonly point: Point } | undefined {
    const unit = this.find(address);
    const point = unit === undefined ? undefined : pointAt(unit.translation.points, address - unit.address);
    return unit === undefined || point === undefined ? undefined : { unit, point };
  }

  /** Who has executed the INT E0h at a linear address; undefined when no unit has one there. */
  arrival(address: number): Arrival | undefined {
    const unit = this.find(address);
    if (unit === undefined) return undefined;
    const { translation } = unit;
    const offset = address - unit.address;
    if (unit.armed && offset === translation.boundary) {
      return { kind: "armed", unit, point: pointAt(translation.points, offset) as Point };
    }
    const callOut = translation.callOuts.find((each) => each.offset === offset);
    return callOut === undefined ? undefined : { kind: "call-out", unit, callOut };
  }

  /** Places a unit; `frames` are the guest-physical pages of its source. Everything else may have been flushed. */
  place(translation: Translation, frames: readonly number[]): Unit {
    if (this.#next + translation.bytes.length > this.#image.length) this.flush();
    const offset = this.#next;
    this.#next = offset + Math.ceil(translation.bytes.length / ALIGNMENT) * ALIGNMENT;
    const unit = newUnit(
      translation,
      offset,
      frames,
      translation.exits.map(() => false),
    );
    this.classes.set(translation.classes, offset);
    this.#place(offset, translation.bytes);
    this.#units.push(unit);
    this.#unitsOf(translation.context).units.set(translation.eip, unit);
    this.#source.add(unit, sourceRanges(unit));
    this.statistics.placed(translation, this.#next - LOOKUP_BYTES);
    return unit;
  }

  /** Makes a direct branch go straight to its target. */
  chain(from: Unit, exit: DirectExit, to: Unit): void {
    const number = from.translation.exits.indexOf(exit);
    if (!this.#options.chaining || from.dead || to.dead || from.outgoing[number] !== null) return;
    this.#link(from, number, to);
    if (from.counted[number] === false) this.statistics.exitsChained++;
    from.counted[number] = true;
  }

  #link(from: Unit, number: number, to: Unit): void {
    const chained: ChainedExit = { from, number, to };
    from.outgoing[number] = chained;
    to.incoming.add(chained);
    this.#branch(from, from.translation.exits[number] as DirectExit, to.address);
  }

  /** The direct branch whose call-out this is. */
  exitOf({ translation }: Unit, callOut: CallOut): DirectExit | undefined {
    return translation.exits.find(({ stub }) => stub === callOut.offset);
  }

  #unchain(chained: ChainedExit): void {
    const { from, number, to } = chained;
    to.incoming.delete(chained);
    from.outgoing[number] = null;
    const exit = from.translation.exits[number] as DirectExit;
    if (!from.dead) this.#branch(from, exit, from.address + exit.stub);
  }

  #branch(from: Unit, { patch }: DirectExit, target: number): void {
    const offset = from.offset + patch;
    this.#writeWord(offset, target - (CACHE_BASE + offset + 4));
    if (from.armed) this.#overlay(from);
  }

  /** Puts the targets of this context into the lookup tables, if they hold another's; to be called before its code runs. */
  use(context: CodeContext): void {
    const privilege = privilegeOf(context);
    const current = this.#current[privilege] ?? null;
    if (current !== null && sameContext(current, context)) return;
    this.#forgetTargets(privilege);
    this.#current[privilege] = context;
  }

  #forgetTargets(privilege: number): void {
    const filled = this.#filled[privilege] as Map<number, Unit>;
    for (const [offset, unit] of filled) {
      unit.entries.delete(offset);
      this.#empty(offset);
    }
    filled.clear();
  }

  #empty(offset: number): void {
    this.#writeWord(offset, NO_ENTRY((offset % LOOKUP.targets) / 4));
  }

  /** The indirect branch at `site` has gone to a unit: the next time it finds it in its table. */
  learn(site: number, to: Unit): void {
    const { eip, context } = to.translation;
    const privilege = privilegeOf(context);
    const current = this.#current[privilege] ?? null;
    if (!this.#options.returnLookup || to.dead || !to.attached) return;
    if (current === null || !sameContext(current, context)) return;
    this.#fill(lookupTable(site, context.cpl === 3) + 4 * (eip & 0xff), to);
    this.statistics.targetsLearnt++;
  }

  /** Makes a unit the entry of a lookup table at an offset of the cache. */
  #fill(offset: number, to: Unit): void {
    const { eip, context } = to.translation;
    const filled = this.#filled[privilegeOf(context)] as Map<number, Unit>;
    filled.get(offset)?.entries.delete(offset);
    filled.set(offset, to);
    to.entries.add(offset);
    const table = offset - (offset % LOOKUP.bytes);
    this.#writeWord(table + LOOKUP.targets + 4 * (-eip & 0xff), to.address);
    this.#writeWord(offset, -eip);
  }

  /** The end of a unit calls the monitor instead, until `disarm`. */
  arm(unit: Unit): void {
    if (unit.armed) return;
    unit.armed = true;
    this.#overlay(unit);
  }

  disarm(unit: Unit): void {
    if (!unit.armed) return;
    unit.armed = false;
    const offset = unit.offset + unit.translation.boundary;
    this.#port.patch(offset, this.#image.slice(offset, offset + CALL_OUT.length));
  }

  #overlay({ offset, translation }: Unit): void {
    this.#port.patch(offset + translation.boundary, Uint8Array.from(CALL_OUT));
  }

  /** Drops the units that were made from any of `bytes` bytes at a guest-physical address; how many. */
  invalidate(address: number, bytes: number): number {
    const units = this.#source.overlapping(address, bytes);
    for (const unit of units) this.#drop(unit);
    this.statistics.invalidations += units.length;
    return units.length;
  }

  /** Drops one unit: what it was made from is to be translated in another way. */
  drop(unit: Unit): void {
    if (!unit.dead) this.#drop(unit);
  }

  #drop(unit: Unit): void {
    this.detach(unit);
    const { eip, context } = unit.translation;
    remove(this.#unitsOf(context).detached.get(eip) ?? [], unit);
    unit.dead = true;
    this.#source.remove(unit, sourceRanges(unit));
    for (const chained of unit.outgoing) if (chained !== null) this.#unchain(chained);
  }

  /** Nothing leads to the unit any more. */
  detach(unit: Unit): void {
    if (!unit.attached) return;
    unit.attached = false;
    const { eip, context } = unit.translation;
    const { units, detached } = this.#unitsOf(context);
    if (units.get(eip) === unit) units.delete(eip);
    detached.set(eip, [...(detached.get(eip) ?? []), unit]);
    for (const chained of [...unit.incoming]) this.#unchain(chained);
    const filled = this.#filled[privilegeOf(context)] as Map<number, Unit>;
    for (const offset of unit.entries) {
      filled.delete(offset);
      this.#empty(offset);
    }
    unit.entries.clear();
    this.#onDetached(unit);
  }

  /** A unit at `eip` that was detached, and whose source is where it was: `frameOf` tells the guest-physical page. */
  revive(eip: number, context: CodeContext, frameOf: (linearPage: number) => number): Unit | undefined {
    const { units, detached } = this.#unitsOf(context);
    const candidates = detached.get(eip);
    const unit = candidates?.find(({ translation, frames }) => {
      const first = pageNumber(translation.source[0]);
      return frames.every((frame, n) => frameOf(first + n) === frame);
    });
    if (candidates === undefined || unit === undefined) return undefined;
    remove(candidates, unit);
    unit.attached = true;
    units.set(eip, unit);
    return unit;
  }

  /** Drops everything. */
  flush(): void {
    for (const privilege of [0, 1]) this.#forgetTargets(privilege);
    for (const unit of this.#units) {
      unit.dead = true;
      unit.attached = false;
      unit.armed = false;
    }
    this.#units = [];
    this.#contexts.length = 0;
    this.#source.clear();
    this.#next = LOOKUP_BYTES;
    this.statistics.flushed();
  }

  /** Units by number, for who keeps them in what he saves; -1 for one that has been flushed. */
  numberOf(unit: Unit): number {
    return this.#units.indexOf(unit);
  }

  numbered(n: number): Unit | null {
    return this.#units[n] ?? null;
  }

  attached(): readonly Unit[] {
    return this.#units.filter(({ attached }) => attached);
  }

  /** Whether a guest-physical page is the source of translations. */
  isSource(page: number): boolean {
    return this.#source.has(page);
  }

  save(): SavedCache {
    const numbers = new Map(this.#units.map((unit, n) => [unit, n]));
    const numberOf = (unit: Unit | undefined): number => (unit === undefined ? -1 : (numbers.get(unit) as number));
    return {
      units: this.#units.map(({ translation, offset, frames, outgoing, counted, armed, attached, dead }) => ({
        ...{ translation, offset, frames, armed, attached, dead },
        outgoing: outgoing.map((chained) => numberOf(chained?.to)),
        counted: [...counted],
      })),
      next: this.#next,
      current: [...this.#current],
      filled: this.#filled.map((filled) => [...filled].map(([offset, unit]) => [offset, numberOf(unit)] as const)),
      statistics: this.statistics.save(),
    };
  }

  /** Takes up what `save` gave. Memory is restored by its owner, and so is what the source's pages are to others. */
  restore(saved: SavedCache): void {
    this.#silent = true;
    this.flush();
    this.#emptyTables();
    const units = saved.units.map((each) => this.#restoreUnit(each));
    for (const [n, { outgoing }] of saved.units.entries()) {
      const from = units[n] as Unit;
      for (const [number, target] of outgoing.entries()) {
        if (target >= 0) this.#link(from, number, units[target] as Unit);
      }
    }
    for (const [privilege, filled] of saved.filled.entries()) {
      this.#current[privilege] = saved.current[privilege] ?? null;
      for (const [offset, n] of filled) this.#fill(offset, units[n] as Unit);
    }
    for (const [n, { armed }] of saved.units.entries()) if (armed) (units[n] as Unit).armed = true;
    this.#next = saved.next;
    this.statistics.restore(saved.statistics);
    this.#silent = false;
  }

  #restoreUnit({ translation, offset, frames, counted, attached, dead }: SavedCache["units"][number]): Unit {
    const unit = newUnit(translation, offset, frames, [...counted]);
    unit.attached = attached;
    unit.dead = dead;
    this.classes.set(translation.classes, offset);
    this.#place(offset, translation.bytes);
    this.#units.push(unit);
    const { eip, context } = translation;
    const { units, detached } = this.#unitsOf(context);
    if (attached) units.set(eip, unit);
    else if (!dead) detached.set(eip, [...(detached.get(eip) ?? []), unit]);
    if (!dead) this.#source.add(unit, sourceRanges(unit));
    return unit;
  }
}

function newUnit(translation: Translation, offset: number, frames: readonly number[], counted: boolean[]): Unit {
  return {
    ...{ translation, offset, address: CACHE_BASE + offset, frames, counted },
    ...{ incoming: new Set(), outgoing: translation.exits.map(() => null), entries: new Set() },
    ...{ armed: false, attached: true, dead: false },
  };
}

function remove(units: Unit[], unit: Unit): void {
  const at = units.indexOf(unit);
  if (at >= 0) units.splice(at, 1);
}

function privilegeOf({ cpl }: CodeContext): number {
  return cpl === 3 ? 1 : 0;
}

/** Guest-physical ranges of a unit's source, each within a page. */
function sourceRanges({ translation, frames }: Unit): (readonly [address: number, bytes: number])[] {
  const [linear, length] = translation.source;
  const first = pageNumber(linear);
  return frames.map((frame, n) => {
    const from = n === 0 ? linear : (first + n) * 4096;
    const to = Math.min(linear + length, (first + n + 1) * 4096);
    return [frame * 4096 + pageOffset(from), to - from] as const;
  });
}

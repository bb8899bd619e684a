/**
 * A modelled TLB of one side, instruction or data: what the simulated processor looks up, and therefore what decides
 * which accesses walk. Geometry comes from the profile: separate or shared structures for small and large pages, one
 * or two levels, n-way or fully associative, FIFO (a round-robin pointer per set, moved by fills only) or
 * pseudo-random replacement (xorshift from a seed). A hit changes nothing, so that counts do not depend on how often
 * the engine skips a lookup that would have hit.
 *
 * Fully associative structures are not searched: valid entries stand in chains by page number, and flushes visit the
 * entries that they drop. This is for the simulator's speed and decides nothing. So is that all of it can stand in shared
 * memory, where compiled code looks things up as the functions here do (cpu/engine/translation-code.ts).
 *
 * Simplified: a walk fills both levels and a hit in the second level copies the entry into the first (SDM and
 * optimization manual do not say more); an eviction from the second level leaves the first alone; pages larger than
 * the mode's one large size are cached as pieces of that size.
 */

import { lowBits, pageNumberAt } from "./address.ts";

/** Geometry of one structure; the same shape as the profile's TlbGeometry. */
export interface TlbStructure {
  readonly entries: number;
  readonly ways: number;
  readonly replacement: "fifo" | "random";
}

/**
 * Structures of one side; `large` and `secondLarge` absent means that large pages share, or have no second level.
 * `large2M` is what `large` is for 2 MB pages, where it differs.
 */
export interface TlbStructures {
  readonly small: TlbStructure;
  readonly large?: TlbStructure;
  readonly large2M?: TlbStructure;
  readonly secondSmall?: TlbStructure;
  readonly secondLarge?: TlbStructure;
}

/** Attributes of an entry. */
export const TLB_ATTRIBUTE = { WRITABLE: 1, USER: 2, DIRTY: 4, GLOBAL: 8, EXECUTABLE: 16 } as const;

/** One structure's place in the shared arrays. */
export interface Bank {
  readonly first: number;
  readonly entries: number;
  readonly ways: number;
  readonly sets: number;
  readonly random: boolean;
  /** Index of the bank's first replacement pointer, and of its first `#free`. */
  readonly pointers: number;
}

/** Contents and replacement state as plain data. */
export interface SavedTlb {
  readonly keys: readonly number[];
  readonly bases: readonly number[];
  readonly shifts: readonly number[];
  readonly attributes: readonly number[];
  readonly tags: readonly number[];
  readonly pointers: readonly number[];
  readonly random: number;
  readonly currentTag: number;
  readonly largeShift: number;
}

export const EMPTY = -1;
/** Chains by the low bits of the page number. */
export const CHAINS = 256;
export const SMALL_SHIFT = 12;
const LARGE_4M = 22;

/** Page number and size class in one number, for one comparison. */
function keyOf(linear: number, shift: number): number {
  const number = linear >>> 0 === linear ? linear >>> shift : pageNumberAt(linear, shift);
  return number * 2 + (shift === SMALL_SHIFT ? 0 : 1);
}

/** The chain of a key: small and large pages of the same number share one. */
function chainOf(key: number): number {
  return (key / 2) & (CHAINS - 1);
}

/** Told when a translation leaves the first level. */
export type EvictionListener = (pageNumber: number, shift: number) => void;

/** Words that are shared beside the arrays. */
export const TLB_CELL = {
  /** Valid entries. */
  valid: 0,
  /** Whether a large page may be cached: lookups of large pages are skipped when not. */
  anyLarge: 1,
  /** Address space of lookups and fills. */
  currentTag: 2,
  /** log2 of the large page size in the current paging mode: 22 or 21. */
  largeShift: 3,
} as const;

/** Where a TLB's arrays begin, as byte offsets, and its structures for small pages. */
export interface TlbLayout {
  readonly keys: number;
  readonly bases: number;
  readonly shifts: number;
  readonly attributes: number;
  readonly tags: number;
  readonly pointers: number;
  readonly free: number;
  readonly chains: number;
  readonly next: number;
  readonly local: number;
  readonly setOf: number;
  readonly wayOf: number;
  /** Words, by TLB_CELL. */
  readonly cells: number;
  readonly firstLevelEntries: number;
  readonly small: Bank;
  readonly secondSmall: Bank | null;
}

/** Bytes that are there for a TLB. */
export const TLB_BYTES = 0x4000;

/** Memory for a TLB's arrays: TLB_BYTES of `buffer` from `byteOffset` on. */
export interface TlbStorage {
  readonly buffer: ArrayBufferLike;
  readonly byteOffset: number;
}

export class Tlb {
  /** By entry: see keyOf; EMPTY when invalid. */
  readonly #keys: Float64Array;
  /** By entry: physical address of the page's first byte. */
  readonly bases: Float64Array;
  /** By entry: log2 of the page size. */
  readonly shifts: Uint8Array;
  /** By entry: TLB_ATTRIBUTE bits. */
  readonly attributes: Uint8Array;
  /** By entry: address space (VPID or ASID). */
  readonly #tags: Uint16Array;
  readonly #pointers: Uint16Array;
  /** By set: no way below this one is invalid. */
  readonly #free: Uint16Array;
  /** First entry of each chain, and by entry the next one; -1 ends a chain. Entries of all banks are in the same chains. */
  readonly #chains: Int16Array;
  readonly #next: Int16Array;
  /** One bit for each valid entry that is not global. */
  readonly #local: Uint32Array;
  /** Index in `#free` of an entry's set, and its way. */
  readonly #setOf: Uint16Array;
  readonly #wayOf: Uint16Array;
  readonly #small: Bank;
  readonly #large4M: Bank;
  readonly #large2M: Bank;
  /** One of the two, by `largeShift`. */
  #large: Bank;
  readonly #secondSmall: Bank | null;
  readonly #secondLarge: Bank | null;
  /** Entries below this index are first-level. */
  readonly #firstLevelEntries: number;
  #random: number;
  readonly #onEvict: EvictionListener;
  /** By TLB_CELL. */
  readonly #cells: Int32Array;

  constructor(
    structures: TlbStructures,
    seed: number,
    onEvict: EvictionListener,
    storage: TlbStorage = { buffer: new ArrayBuffer(TLB_BYTES), byteOffset: 0 },
  ) {
    let entries = 0;
    let pointers = 0;
    const bank = (structure: TlbStructure): Bank => {
      const sets = structure.entries / structure.ways;
      if (!Number.isInteger(sets) || sets < 1) {
        throw new Error(`a TLB of ${structure.entries} entries cannot have ${structure.ways} ways`);
      }
      const made: Bank = {
        first: entries,
        entries: structure.entries,
        ways: structure.ways,
        sets,
        random: structure.replacement === "random",
        pointers,
      };
      entries += structure.entries;
      pointers += sets;
      return made;
    };
    this.#small = bank(structures.small);
    this.#large4M = structures.large === undefined ? this.#small : bank(structures.large);
    this.#large2M = structures.large2M === undefined ? this.#large4M : bank(structures.large2M);
    this.#large = this.#large4M;
    this.#firstLevelEntries = entries;
    this.#secondSmall = structures.secondSmall === undefined ? null : bank(structures.secondSmall);
    this.#secondLarge = structures.secondLarge === undefined ? null : bank(structures.secondLarge);
    const { buffer } = storage;
    let end = storage.byteOffset;
    const place = (bytes: number): number => {
      end += Math.ceil(bytes / 8) * 8;
      if (end > storage.byteOffset + TLB_BYTES) throw new Error(`a TLB of ${entries} entries needs more memory`);
      return end - Math.ceil(bytes / 8) * 8;
    };
    this.#cells = new Int32Array(buffer, place(16), 4).fill(0);
    this.#keys = new Float64Array(buffer, place(8 * entries), entries).fill(EMPTY);
    this.bases = new Float64Array(buffer, place(8 * entries), entries);
    this.shifts = new Uint8Array(buffer, place(entries), entries);
    this.attributes = new Uint8Array(buffer, place(entries), entries);
    this.#tags = new Uint16Array(buffer, place(2 * entries), entries);
    this.#pointers = new Uint16Array(buffer, place(2 * pointers), pointers).fill(0);
    this.#free = new Uint16Array(buffer, place(2 * pointers), pointers).fill(0);
    this.#chains = new Int16Array(buffer, place(2 * CHAINS), CHAINS).fill(EMPTY);
    this.#next = new Int16Array(buffer, place(2 * entries), entries).fill(EMPTY);
    const words = Math.ceil(entries / 32);
    this.#local = new Uint32Array(buffer, place(4 * words), words).fill(0);
    this.#setOf = new Uint16Array(buffer, place(2 * entries), entries);
    this.#wayOf = new Uint16Array(buffer, place(2 * entries), entries);
    this.#cells[TLB_CELL.largeShift] = LARGE_4M;
    for (const each of new Set([this.#small, this.#large4M, this.#large2M, this.#secondSmall, this.#secondLarge])) {
      if (each === null) continue;
      for (let entry = 0; entry < each.entries; entry++) {
        this.#setOf[each.first + entry] = each.pointers + Math.floor(entry / each.ways);
        this.#wayOf[each.first + entry] = entry % each.ways;
      }
    }
    // xorshift has no way out of zero.
    this.#random = seed >>> 0 === 0 ? 0x9e3779b9 : seed >>> 0;
    this.#onEvict = onEvict;
  }

  get largeShift(): number {
    return this.#cells[TLB_CELL.largeShift] as number;
  }

  /** Address space of lookups and fills. */
  get currentTag(): number {
    return this.#cells[TLB_CELL.currentTag] as number;
  }

  set currentTag(tag: number) {
    this.#cells[TLB_CELL.currentTag] = tag;
  }

  get #valid(): number {
    return this.#cells[TLB_CELL.valid] as number;
  }

  set #valid(entries: number) {
    this.#cells[TLB_CELL.valid] = entries;
  }

  get #anyLarge(): boolean {
    return this.#cells[TLB_CELL.anyLarge] !== 0;
  }

  set #anyLarge(any: boolean) {
    this.#cells[TLB_CELL.anyLarge] = any ? 1 : 0;
  }

  /** Where everything is, for compiled code. */
  layout(): TlbLayout {
    return {
      keys: this.#keys.byteOffset,
      bases: this.bases.byteOffset,
      shifts: this.shifts.byteOffset,
      attributes: this.attributes.byteOffset,
      tags: this.#tags.byteOffset,
      pointers: this.#pointers.byteOffset,
      free: this.#free.byteOffset,
      chains: this.#chains.byteOffset,
      next: this.#next.byteOffset,
      local: this.#local.byteOffset,
      setOf: this.#setOf.byteOffset,
      wayOf: this.#wayOf.byteOffset,
      cells: this.#cells.byteOffset,
      firstLevelEntries: this.#firstLevelEntries,
      small: this.#small,
      secondSmall: this.#secondSmall,
    };
  }

  /** Takes the TLB, which must be empty, to a paging mode with large pages of 2^22 or 2^21 bytes. */
  useLargePages(shift: number): void {
    this.#cells[TLB_CELL.largeShift] = shift;
    this.#large = shift === LARGE_4M ? this.#large4M : this.#large2M;
  }

  /** Index of the first-level entry that translates `linear`, or -1. */
  lookup(linear: number): number {
    const small = this.#find(this.#small, linear, SMALL_SHIFT);
    if (small !== EMPTY || !this.#anyLarge) return small;
    return this.#find(this.#large, linear, this.largeShift);
  }

  /** After a first-level miss: copies a second-level entry for `linear` into the first; its index there, or -1. */
  promote(linear: number): number {
    let found = EMPTY;
    if (this.#secondSmall !== null) found = this.#find(this.#secondSmall, linear, SMALL_SHIFT);
    if (found === EMPTY && this.#secondLarge !== null && this.#anyLarge)
      found = this.#find(this.#secondLarge, linear, this.largeShift);
    if (found === EMPTY) return EMPTY;
    const shift = this.shifts[found] as number;
    const bank = shift === SMALL_SHIFT ? this.#small : this.#large;
    return this.#fill(bank, linear, shift, this.bases[found] as number, this.attributes[found] as number, true);
  }

  /**
   * Caches a translation in every level that takes its size, in place if the page is already there, and returns the
   * first-level index; with `missed` the page is known to be in no level. `shift` is 12 or at least `largeShift`; `base` is the page's physical address. The caller has
   * seen to it that the address is not cached at another size (`flushPage`).
   */
  insert(linear: number, shift: number, base: number, attributes: number, missed = false): number {
    const large = shift !== SMALL_SHIFT;
    if (large && shift !== this.largeShift) {
      base += lowBits(linear, shift) - lowBits(linear, this.largeShift);
      shift = this.largeShift;
    }
    const second = large ? this.#secondLarge : this.#secondSmall;
    if (second !== null) this.#fill(second, linear, shift, base, attributes, missed);
    return this.#fill(large ? this.#large : this.#small, linear, shift, base, attributes, missed);
  }

  /** Drops every entry that translates `linear` in the current address space, global or not, of any size (INVLPG). */
  flushPage(linear: number): void {
    this.#flushKey(linear, SMALL_SHIFT);
    if (this.#anyLarge) this.#flushKey(linear, this.largeShift);
  }

  #flushKey(linear: number, shift: number): void {
    const key = keyOf(linear, shift);
    let entry = this.#chains[chainOf(key)] as number;
    while (entry !== EMPTY) {
      const next = this.#next[entry] as number;
      if (this.#keys[entry] === key && this.#tags[entry] === this.currentTag) this.#invalidate(entry);
      entry = next;
    }
  }

  /** Drops everything, without telling the listener. Replacement restarts: pointers at way 0, the seed as it stands. */
  flushAll(): void {
    this.#anyLarge = false;
    this.#pointers.fill(0);
    if (this.#valid === 0) return;
    this.#keys.fill(EMPTY);
    this.#unindex();
  }

  /** Drops entries of the current address space that are not global. */
  flushNonGlobal(): void {
    for (let word = 0; word < this.#local.length; word++) {
      for (let bits = this.#local[word] as number; bits !== 0; bits &= bits - 1) {
        const entry = word * 32 + 31 - Math.clz32(bits & -bits);
        if (this.#tags[entry] === this.currentTag) this.#invalidate(entry);
      }
    }
    if (this.#valid === 0) this.#pointers.fill(0);
  }

  /** Valid entries of the first level, for tests and displays. */
  firstLevel(): { number: number; shift: number; base: number; attributes: number }[] {
    const entries: { number: number; shift: number; base: number; attributes: number }[] = [];
    for (let entry = 0; entry < this.#firstLevelEntries; entry++) {
      const key = this.#keys[entry] as number;
      if (key === EMPTY) continue;
      const shift = this.shifts[entry] as number;
      const base = this.bases[entry] as number;
      entries.push({ number: Math.floor(key / 2), shift, base, attributes: this.attributes[entry] as number });
    }
    return entries;
  }

  save(): SavedTlb {
    return {
      keys: Array.from(this.#keys),
      bases: Array.from(this.bases),
      shifts: Array.from(this.shifts),
      attributes: Array.from(this.attributes),
      tags: Array.from(this.#tags),
      pointers: Array.from(this.#pointers),
      random: this.#random,
      currentTag: this.currentTag,
      largeShift: this.largeShift,
    };
  }

  restore(saved: SavedTlb): void {
    if (saved.keys.length !== this.#keys.length) throw new Error("saved TLB has another geometry");
    this.#keys.set(saved.keys);
    this.bases.set(saved.bases);
    this.shifts.set(saved.shifts);
    this.attributes.set(saved.attributes);
    this.#tags.set(saved.tags);
    this.#pointers.set(saved.pointers);
    this.#random = saved.random;
    this.currentTag = saved.currentTag;
    this.useLargePages(saved.largeShift);
    this.#anyLarge = true;
    this.#reindex();
  }

  /** Chains and bits of no entries. */
  #unindex(): void {
    this.#chains.fill(EMPTY);
    this.#local.fill(0);
    this.#free.fill(0);
    this.#valid = 0;
  }

  /** Makes chains and bits anew from the entries. */
  #reindex(): void {
    this.#unindex();
    for (let entry = 0; entry < this.#keys.length; entry++) {
      if (this.#keys[entry] === EMPTY) continue;
      this.#chain(entry);
      this.#mark(entry);
    }
  }

  /** Puts a valid entry into its chain. */
  #chain(entry: number): void {
    const chain = chainOf(this.#keys[entry] as number);
    this.#next[entry] = this.#chains[chain] as number;
    this.#chains[chain] = entry;
    this.#valid++;
  }

  /** Notes whether a valid entry is global. */
  #mark(entry: number): void {
    const word = entry >> 5;
    const bit = 1 << (entry & 31);
    const bits = this.#local[word] as number;
    this.#local[word] = ((this.attributes[entry] as number) & TLB_ATTRIBUTE.GLOBAL) === 0 ? bits | bit : bits & ~bit;
  }

  /** Makes a valid entry invalid, without telling the listener. */
  #drop(entry: number): void {
    const chain = chainOf(this.#keys[entry] as number);
    const after = this.#next[entry] as number;
    let at = this.#chains[chain] as number;
    if (at === entry) this.#chains[chain] = after;
    else {
      while (this.#next[at] !== entry) at = this.#next[at] as number;
      this.#next[at] = after;
    }
    this.#keys[entry] = EMPTY;
    this.#valid--;
    const word = entry >> 5;
    this.#local[word] = (this.#local[word] as number) & ~(1 << (entry & 31));
    const set = this.#setOf[entry] as number;
    const way = this.#wayOf[entry] as number;
    if (way < (this.#free[set] as number)) this.#free[set] = way;
  }

  #find(bank: Bank, linear: number, shift: number): number {
    const key = keyOf(linear, shift);
    const end = bank.first + bank.entries;
    let entry = this.#chains[chainOf(key)] as number;
    while (entry !== EMPTY) {
      if (this.#keys[entry] === key && entry >= bank.first && entry < end && this.#tags[entry] === this.currentTag)
        return entry;
      entry = this.#next[entry] as number;
    }
    return EMPTY;
  }

  /** Writes an entry: in place if the page is there, else an invalid way, else the one that replacement gives. */
  #fill(bank: Bank, linear: number, shift: number, base: number, attributes: number, missed: boolean): number {
    let entry = missed ? EMPTY : this.#find(bank, linear, shift);
    if (entry === EMPTY) {
      entry = this.#victim(bank, pageNumberAt(linear, shift) % bank.sets);
      if (this.#keys[entry] !== EMPTY) this.#invalidate(entry);
      this.#keys[entry] = keyOf(linear, shift);
      this.shifts[entry] = shift;
      this.#tags[entry] = this.currentTag;
      this.#chain(entry);
    }
    this.bases[entry] = base;
    this.attributes[entry] = attributes;
    this.#mark(entry);
    if (shift !== SMALL_SHIFT) this.#anyLarge = true;
    return entry;
  }

  #victim(bank: Bank, set: number): number {
    const first = bank.first + set * bank.ways;
    const pointer = bank.pointers + set;
    let way = this.#free[pointer] as number;
    while (way < bank.ways && this.#keys[first + way] !== EMPTY) way++;
    this.#free[pointer] = way;
    if (way === bank.ways) way = bank.random ? this.#nextRandom() % bank.ways : (this.#pointers[pointer] as number);
    if (way === this.#pointers[pointer]) this.#pointers[pointer] = (way + 1) % bank.ways;
    return first + way;
  }

  /** Marsaglia's xorshift32 (13, 17, 5). */
  #nextRandom(): number {
    let x = this.#random;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#random = x >>> 0;
    return this.#random;
  }

  #invalidate(entry: number): void {
    if (entry < this.#firstLevelEntries) {
      this.#onEvict(Math.floor((this.#keys[entry] as number) / 2), this.shifts[entry] as number);
    }
    this.#drop(entry);
  }
}

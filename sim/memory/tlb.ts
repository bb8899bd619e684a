/**
 * A modelled TLB of one side, instruction or data: what the simulated processor looks up, and therefore what decides
 * which accesses walk. Geometry comes from the profile: separate or shared structures for small and large pages, one
 * or two levels, n-way or fully associative, FIFO (a round-robin pointer per set, moved by fills only) or
 * pseudo-random replacement (xorshift from a seed). A hit changes nothing, so that counts do not depend on how often
 * the engine skips a lookup that would have hit.
 *
 * Simplified: a walk fills both levels and a hit in the second level copies the entry into the first (SDM and
 * optimization manual do not say more); an eviction from the second level leaves the first alone; pages larger than
 * the mode's one large size are cached as pieces of that size.
 */

/** Geometry of one structure; the same shape as the profile's TlbGeometry. */
export interface TlbStructure {
  readonly entries: number;
  readonly ways: number;
  readonly replacement: "fifo" | "random";
}

/** Structures of one side; `large` and `secondLarge` absent means that large pages share, or have no second level. */
export interface TlbStructures {
  readonly small: TlbStructure;
  readonly large?: TlbStructure;
  readonly secondSmall?: TlbStructure;
  readonly secondLarge?: TlbStructure;
}

/** Attributes of an entry. */
export const TLB_ATTRIBUTE = { WRITABLE: 1, USER: 2, DIRTY: 4, GLOBAL: 8, EXECUTABLE: 16 } as const;

/** One structure's place in the shared arrays. */
interface Bank {
  readonly first: number;
  readonly entries: number;
  readonly ways: number;
  readonly sets: number;
  readonly random: boolean;
  /** Index of the bank's first replacement pointer. */
  readonly pointers: number;
}

/** Contents and replacement state as plain data. */
export interface SavedTlb {
  readonly numbers: readonly number[];
  readonly bases: readonly number[];
  readonly shifts: readonly number[];
  readonly attributes: readonly number[];
  readonly tags: readonly number[];
  readonly pointers: readonly number[];
  readonly random: number;
  readonly currentTag: number;
  readonly largeShift: number;
}

const EMPTY = -1;
const SMALL_SHIFT = 12;

/** Told when a translation leaves the first level. */
export type EvictionListener = (pageNumber: number, shift: number) => void;

export class Tlb {
  /** By entry: page number (linear address >> shift), EMPTY when invalid. */
  readonly #numbers: Float64Array;
  /** By entry: physical address of the page's first byte. */
  readonly bases: Float64Array;
  /** By entry: log2 of the page size. */
  readonly shifts: Uint8Array;
  /** By entry: TLB_ATTRIBUTE bits. */
  readonly attributes: Uint8Array;
  /** By entry: address space (VPID or ASID). */
  readonly #tags: Uint16Array;
  readonly #pointers: Uint16Array;
  readonly #small: Bank;
  readonly #large: Bank;
  readonly #secondSmall: Bank | null;
  readonly #secondLarge: Bank | null;
  /** Entries below this index are first-level. */
  readonly #firstLevelEntries: number;
  readonly #seed: number;
  #random: number;
  readonly #onEvict: EvictionListener;
  /** Address space of lookups and fills. */
  currentTag = 0;
  /** log2 of the large page size in the current paging mode: 22 or 21; change it only when the TLB is empty. */
  largeShift = 22;

  constructor(structures: TlbStructures, seed: number, onEvict: EvictionListener) {
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
    this.#large = structures.large === undefined ? this.#small : bank(structures.large);
    this.#firstLevelEntries = entries;
    this.#secondSmall = structures.secondSmall === undefined ? null : bank(structures.secondSmall);
    this.#secondLarge = structures.secondLarge === undefined ? null : bank(structures.secondLarge);
    this.#numbers = new Float64Array(entries).fill(EMPTY);
    this.bases = new Float64Array(entries);
    this.shifts = new Uint8Array(entries);
    this.attributes = new Uint8Array(entries);
    this.#tags = new Uint16Array(entries);
    this.#pointers = new Uint16Array(pointers);
    // xorshift has no way out of zero.
    this.#seed = seed >>> 0 === 0 ? 0x9e3779b9 : seed >>> 0;
    this.#random = this.#seed;
    this.#onEvict = onEvict;
  }

  /** Index of the first-level entry that translates `linear`, or -1. */
  lookup(linear: number): number {
    const small = this.#find(this.#small, linear, SMALL_SHIFT);
    return small !== EMPTY ? small : this.#find(this.#large, linear, this.largeShift);
  }

  /** After a first-level miss: copies a second-level entry for `linear` into the first; its index there, or -1. */
  promote(linear: number): number {
    let found = EMPTY;
    if (this.#secondSmall !== null) found = this.#find(this.#secondSmall, linear, SMALL_SHIFT);
    if (found === EMPTY && this.#secondLarge !== null) found = this.#find(this.#secondLarge, linear, this.largeShift);
    if (found === EMPTY) return EMPTY;
    const shift = this.shifts[found] as number;
    const bank = shift === SMALL_SHIFT ? this.#small : this.#large;
    return this.#fill(bank, linear, shift, this.bases[found] as number, this.attributes[found] as number);
  }

  /**
   * Caches a translation in every level that takes its size, in place if the page is already there, and returns the
   * first-level index. `shift` is 12 or at least `largeShift`; `base` is the page's physical address. The caller has
   * seen to it that the address is not cached at another size (`flushPage`).
   */
  insert(linear: number, shift: number, base: number, attributes: number): number {
    const large = shift !== SMALL_SHIFT;
    if (large && shift !== this.largeShift) {
      const pieceBytes = 2 ** this.largeShift;
      base += (linear % 2 ** shift) - (linear % pieceBytes);
      shift = this.largeShift;
    }
    const second = large ? this.#secondLarge : this.#secondSmall;
    if (second !== null) this.#fill(second, linear, shift, base, attributes);
    return this.#fill(large ? this.#large : this.#small, linear, shift, base, attributes);
  }

  /** Drops every entry that translates `linear` in the current address space, global or not, of any size (INVLPG). */
  flushPage(linear: number): void {
    const smallNumber = Math.floor(linear / 2 ** SMALL_SHIFT);
    const largeNumber = Math.floor(linear / 2 ** this.largeShift);
    for (let entry = 0; entry < this.#numbers.length; entry++) {
      const number = this.shifts[entry] === SMALL_SHIFT ? smallNumber : largeNumber;
      if (this.#numbers[entry] === number && this.#tags[entry] === this.currentTag) this.#invalidate(entry);
    }
  }

  /** Drops everything, without telling the listener. Replacement restarts: pointers at way 0, the seed as it stands. */
  flushAll(): void {
    this.#numbers.fill(EMPTY);
    this.#pointers.fill(0);
  }

  /** Drops entries of the current address space that are not global, without telling the listener. */
  flushNonGlobal(): void {
    let left = 0;
    for (let entry = 0; entry < this.#numbers.length; entry++) {
      if (this.#numbers[entry] === EMPTY) continue;
      if (this.#isGlobal(entry) || this.#tags[entry] !== this.currentTag) left++;
      else this.#numbers[entry] = EMPTY;
    }
    if (left === 0) this.#pointers.fill(0);
  }

  /** Valid entries of the first level, for tests and displays. */
  firstLevel(): { number: number; shift: number; base: number; attributes: number }[] {
    const entries: { number: number; shift: number; base: number; attributes: number }[] = [];
    for (let entry = 0; entry < this.#firstLevelEntries; entry++) {
      const number = this.#numbers[entry] as number;
      if (number === EMPTY) continue;
      const shift = this.shifts[entry] as number;
      entries.push({ number, shift, base: this.bases[entry] as number, attributes: this.attributes[entry] as number });
    }
    return entries;
  }

  save(): SavedTlb {
    return {
      numbers: Array.from(this.#numbers),
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
    if (saved.numbers.length !== this.#numbers.length) throw new Error("saved TLB has another geometry");
    this.#numbers.set(saved.numbers);
    this.bases.set(saved.bases);
    this.shifts.set(saved.shifts);
    this.attributes.set(saved.attributes);
    this.#tags.set(saved.tags);
    this.#pointers.set(saved.pointers);
    this.#random = saved.random;
    this.currentTag = saved.currentTag;
    this.largeShift = saved.largeShift;
  }

  #isGlobal(entry: number): boolean {
    return ((this.attributes[entry] as number) & TLB_ATTRIBUTE.GLOBAL) !== 0;
  }

  #find(bank: Bank, linear: number, shift: number): number {
    const number = Math.floor(linear / 2 ** shift);
    const first = bank.first + (number % bank.sets) * bank.ways;
    const end = first + bank.ways;
    const numbers = this.#numbers;
    for (let entry = first; entry < end; entry++) {
      if (numbers[entry] !== number || this.shifts[entry] !== shift) continue;
      if (this.#tags[entry] === this.currentTag) return entry;
    }
    return EMPTY;
  }

  /** Writes an entry: in place if the page is there, else an invalid way, else the one that replacement gives. */
  #fill(bank: Bank, linear: number, shift: number, base: number, attributes: number): number {
    let entry = this.#find(bank, linear, shift);
    if (entry === EMPTY) {
      const number = Math.floor(linear / 2 ** shift);
      entry = this.#victim(bank, number % bank.sets);
      if (this.#numbers[entry] !== EMPTY) this.#invalidate(entry);
      this.#numbers[entry] = number;
      this.shifts[entry] = shift;
      this.#tags[entry] = this.currentTag;
    }
    this.bases[entry] = base;
    this.attributes[entry] = attributes;
    return entry;
  }

  #victim(bank: Bank, set: number): number {
    const first = bank.first + set * bank.ways;
    const pointer = bank.pointers + set;
    let way = 0;
    while (way < bank.ways && this.#numbers[first + way] !== EMPTY) way++;
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
    if (entry < this.#firstLevelEntries) this.#onEvict(this.#numbers[entry] as number, this.shifts[entry] as number);
    this.#numbers[entry] = EMPTY;
  }
}

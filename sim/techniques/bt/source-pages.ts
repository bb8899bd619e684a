/**
 * Where the source of translations is: for each linear page of guest code the guest-physical page behind it. When the guest's
 * translation may have changed, it is made sure of before translated code runs, and the units of pages that are elsewhere
 * are detached; they come back with their page.
 *
 * A guest that loads CR3 has another directory, in which most entries are what they were. So pages are kept by the directory
 * entry over them: as long as its words are the same, and nobody has stored to their own entries in the table that it
 * refers to (which is watched for that), they are where they were. A load of CR3 costs one comparison for each 4 MB (2 MB)
 * with translated code. Tables outside of RAM cannot be watched: what they map is looked up each time.
 *
 * Pages of data that a unit relies on (RegisterOperand) are kept in the same way.
 */
import { ACCESS } from "../../cpu/environment.ts";
import { PAGE_SHIFT, PAGE_SIZE, pageNumber, pageNumberAt, pageOffset } from "../../memory/address.ts";
import { type Level, PAGING_32, type Tables } from "../../memory/page-tables.ts";
import { entryTarget } from "../../memory/walk.ts";
import type { VirtualEnvironment } from "../virtual-environment.ts";
import type { Unit } from "./cache.ts";

export interface SourcePagesParts {
  readonly env: VirtualEnvironment;
  /** Nothing is to lead to the unit any more; `remove` is told. */
  readonly detach: (unit: Unit) => void;
  readonly isRam: (guestPage: number) => boolean;
  /** `wrote` is to hear of stores to a guest-physical page, as often as it is said. */
  readonly watch: (guestPage: number) => void;
  readonly unwatch: (guestPage: number) => void;
}

/** A linear page, as an access (ACCESS) of code of CPL 3 or of the kernel reaches it. */
interface SourcePage {
  readonly linear: number;
  readonly access: number;
  readonly frame: number;
  readonly units: Set<Unit>;
}

/** By which entry of a directory the pages below it were found. */
interface Found {
  /** Its words, without A and D. */
  low: number;
  high: number;
  /** Guest-physical page of the table that it refers to, which is watched; -1: it maps a large page. */
  table: number;
  /** Whether the same words mean that the pages are where they were. */
  trusted: boolean;
}

/** What one directory entry maps. */
interface Reach {
  found: Found | null;
  readonly pages: Map<number, SourcePage>;
  /** Linear pages whose entries in the table have been written since they were looked up. */
  readonly written: Set<number>;
}

export interface SavedSource {
  readonly doubtful: readonly number[] | null;
  /** Whether the guest's tables were still read in the way by which the pages were found. */
  readonly current: boolean;
  readonly shift: number;
  readonly reaches: readonly {
    readonly number: number;
    readonly found: Found | null;
    readonly written: readonly number[];
  }[];
}

const { present, accessed, dirty } = PAGING_32.bits;
/** log2 of the bytes in a reach where there is no directory: as with 32-bit paging. */
const UNPAGED_SHIFT = 22;
/** Combinations of READ or WRITE, USER and FETCH. */
const ACCESSES = 8;

export class SourcePages {
  readonly #parts: SourcePagesParts;
  /** By number, in linear space. */
  readonly #reaches = new Map<number, Reach>();
  /** How the guest's tables were read when pages were found: null without paging, undefined: otherwise than now. */
  #tables: Tables | null | undefined;
  /** log2 of the bytes in a reach. */
  #shift = UNPAGED_SHIFT;
  /** Linear pages to look up again; null: the guest's TLB was flushed. */
  #doubtful: Set<number> | null = new Set();

  constructor(parts: SourcePagesParts) {
    this.#parts = parts;
  }

  /** The guest-physical page of a linear page, or -1. Data must need no flag of the tables to be set. */
  find(linear: number, access: number): number {
    const { env } = this.#parts;
    const address = env.find((linear << PAGE_SHIFT) >>> 0, access);
    if (address < 0) return -1;
    if (env.tables !== null) {
      this.#foundBy(env.walkedDirectory, linear, env.tables);
      if ((access & ACCESS.FETCH) === 0 && !env.walkedAsIs((access & ACCESS.WRITE) !== 0)) return -1;
    }
    return pageNumber(address);
  }

  /** A page was found by this directory entry; the others of its reach by it as well, if they are still trusted then. */
  #foundBy(entry: readonly [low: number, high: number], linear: number, tables: Tables): void {
    const reach = this.#reachOf(linear);
    reach.written.delete(linear);
    if (reach.found !== null) {
      if (!isSame(reach.found, entry)) reach.found.trusted = false;
      return;
    }
    const [low, high] = entry;
    const level = tables.levels[tables.levels.length - 2] as Level;
    const refersTo = (low & level.large) !== 0 ? -1 : pageNumber(entryTarget(level, low, high));
    const trusted = refersTo < 0 || this.#parts.isRam(refersTo);
    const table = trusted ? refersTo : -1;
    reach.found = { low: low & ~(accessed | dirty), high, table, trusted };
    if (table >= 0) this.#parts.watch(table);
  }

  #numberOf(linear: number): number {
    return pageNumberAt(linear, this.#shift - PAGE_SHIFT);
  }

  #reachOf(linear: number): Reach {
    const number = this.#numberOf(linear);
    let reach = this.#reaches.get(number);
    if (reach === undefined) {
      reach = { found: null, pages: new Map(), written: new Set() };
      this.#reaches.set(number, reach);
    }
    return reach;
  }

  #forgetHow(reach: Reach): void {
    const table = reach.found?.table ?? -1;
    reach.found = null;
    reach.written.clear();
    if (table >= 0) this.#parts.unwatch(table);
  }

  /** A unit has come, or come back. */
  add(unit: Unit): void {
    for (const [linear, access, frame] of pagesOf(unit)) {
      const { pages } = this.#reachOf(linear);
      const page = pages.get(keyOf(linear, access));
      if (page === undefined) pages.set(keyOf(linear, access), { linear, access, frame, units: new Set([unit]) });
      else page.units.add(unit);
    }
  }

  /** A unit was detached. */
  remove(unit: Unit): void {
    for (const [linear, access] of pagesOf(unit)) {
      const reach = this.#reaches.get(this.#numberOf(linear));
      const page = reach?.pages.get(keyOf(linear, access));
      if (reach === undefined || page === undefined) continue;
      page.units.delete(unit);
      if (page.units.size === 0) reach.pages.delete(keyOf(linear, access));
      if (reach.pages.size === 0) this.#drop(linear, reach);
    }
  }

  #drop(linear: number, reach: Reach): void {
    this.#forgetHow(reach);
    this.#reaches.delete(this.#numberOf(linear));
  }

  clear(): void {
    for (const reach of this.#reaches.values()) this.#forgetHow(reach);
    this.#reaches.clear();
    this.#doubtful = new Set();
  }

  /** Bytes of a watched page have been written: what their entries map may be elsewhere once the TLB has been flushed. */
  wrote(address: number, bytes: number): void {
    const perReach = 2 ** (this.#shift - PAGE_SHIFT);
    const entryBytes = PAGE_SIZE / perReach;
    const end = pageOffset(address) + bytes;
    for (const [number, { found, written }] of this.#reaches) {
      if (found?.table !== pageNumber(address)) continue;
      for (let n = Math.floor(pageOffset(address) / entryBytes); n * entryBytes < end; n++)
        written.add(number * perReach + n);
    }
  }

  /** Any page may be elsewhere: the TLB was flushed. */
  doubtAll(): void {
    this.#doubtful = null;
  }

  /** INVLPG. */
  doubt(linear: number): void {
    this.#doubtful?.add(pageNumber(linear));
  }

  /** Detaches the units whose pages are elsewhere. */
  verify(): void {
    const { tables } = this.#parts.env;
    const doubtful = this.#doubtful;
    if (tables === this.#tables && doubtful?.size === 0) return;
    this.#doubtful = new Set();
    if (tables !== this.#tables) this.#beginAnew(tables);
    else if (doubtful !== null) for (const linear of doubtful) this.#lookUp(linear);
    else if (tables !== null) for (const [number, reach] of [...this.#reaches]) this.#compare(number, reach);
  }

  /** Tables are read in another way, or for the first time. */
  #beginAnew(tables: Tables | null): void {
    const pages = [...this.#reaches.values()].flatMap((reach) => [...reach.pages.values()]);
    this.clear();
    this.#tables = tables;
    this.#shift = tables?.levels[tables.levels.length - 2]?.indexLow ?? UNPAGED_SHIFT;
    for (const page of pages) this.#reachOf(page.linear).pages.set(keyOf(page.linear, page.access), page);
    for (const page of pages) this.#check(page);
  }

  #compare(number: number, reach: Reach): void {
    const linear = number * 2 ** (this.#shift - PAGE_SHIFT);
    const pages = [...reach.pages.values()];
    if (pages.length === 0) {
      this.#drop(linear, reach);
      return;
    }
    if (reach.found?.trusted === true) {
      const entry = this.#parts.env.directoryEntry((linear << PAGE_SHIFT) >>> 0);
      if (isSame(reach.found, entry)) {
        for (const written of [...reach.written]) this.#lookUp(written);
        return;
      }
      this.#forgetHow(reach);
      if ((entry[0] & present) === 0) for (const page of pages) this.#detach(page);
    } else {
      this.#forgetHow(reach);
    }
    for (const page of pages) this.#check(page);
  }

  #lookUp(linear: number): void {
    const reach = this.#reaches.get(this.#numberOf(linear));
    reach?.written.delete(linear);
    for (let access = 0; access < ACCESSES; access++) {
      const page = reach?.pages.get(keyOf(linear, access));
      if (page !== undefined) this.#check(page);
    }
  }

  #check(page: SourcePage): void {
    if (page.units.size > 0 && this.find(page.linear, page.access) !== page.frame) this.#detach(page);
  }

  #detach(page: SourcePage): void {
    for (const unit of [...page.units]) this.#parts.detach(unit);
  }

  save(): SavedSource {
    return {
      doubtful: this.#doubtful === null ? null : [...this.#doubtful],
      current: this.#tables === this.#parts.env.tables,
      shift: this.#shift,
      reaches: [...this.#reaches].map(([number, { found, written }]) => ({
        number,
        found: found === null ? null : { ...found },
        written: [...written],
      })),
    };
  }

  /** `units`: those that are attached. The watched pages are restored by who watches. */
  restore(saved: SavedSource, units: readonly Unit[]): void {
    this.#reaches.clear();
    this.#tables = saved.current ? this.#parts.env.tables : undefined;
    this.#shift = saved.shift;
    this.#doubtful = saved.doubtful === null ? null : new Set(saved.doubtful);
    for (const { number, found, written } of saved.reaches) {
      const reach: Reach = { found: found === null ? null : { ...found }, pages: new Map(), written: new Set(written) };
      this.#reaches.set(number, reach);
    }
    for (const unit of units) this.add(unit);
  }
}

function isSame(found: Found, [low, high]: readonly [number, number]): boolean {
  return found.low === (low & ~(accessed | dirty)) && found.high === high;
}

function keyOf(linear: number, access: number): number {
  return ACCESSES * linear + access;
}

/** How code of a CPL reaches its own bytes. */
export function fetchAccess(cpl: number): number {
  return ACCESS.FETCH | (cpl === 3 ? ACCESS.USER : 0);
}

/** The linear pages of a unit's source, and of operands that it relies on. */
function pagesOf({ translation, frames }: Unit): (readonly [linear: number, access: number, frame: number])[] {
  const first = pageNumber(translation.source[0]);
  const access = fetchAccess(translation.context.cpl);
  return [
    ...frames.map((frame, n) => [first + n, access, frame] as const),
    ...translation.operands.map((operand) => {
      return [pageNumber(operand.linear), operand.write ? ACCESS.WRITE : ACCESS.READ, operand.page] as const;
    }),
  ];
}

/**
 * The MMU as slowly and plainly as it can be said, for comparison: every access looks in TLBs that are lists, walks
 * by the oracle and moves single bytes. No fast table, no cached control bits, no shared code with sim/cpu/mmu.ts.
 * FIFO replacement only; large pages share the small structure.
 */
import { oracleWalk } from "./oracle.ts";

interface Entry {
  readonly page: number;
  readonly shift: number;
  base: number;
  writable: boolean;
  user: boolean;
  dirty: boolean;
  executable: boolean;
  global: boolean;
}

/** One n-way structure: a list of ways for each set and the way that is replaced next. */
class NaiveStructure {
  readonly sets: (Entry | null)[][];
  readonly next: number[];
  constructor(entries: number, ways: number) {
    this.sets = Array.from({ length: entries / ways }, () => Array.from({ length: ways }, () => null));
    this.next = this.sets.map(() => 0);
  }
  find(linear: number): Entry | null {
    for (const shift of [12, 21, 22]) {
      const page = Math.floor(linear / 2 ** shift);
      const set = this.sets[page % this.sets.length] as (Entry | null)[];
      const found = set.find((entry) => entry !== null && entry.page === page && entry.shift === shift);
      if (found) return found;
    }
    return null;
  }
  add(entry: Entry): void {
    const index = entry.page % this.sets.length;
    const set = this.sets[index] as (Entry | null)[];
    let way = set.findIndex((old) => old !== null && old.page === entry.page && old.shift === entry.shift);
    if (way < 0) {
      way = set.indexOf(null);
      if (way < 0) way = this.next[index] as number;
      if (way === this.next[index]) this.next[index] = (way + 1) % set.length;
    }
    set[way] = { ...entry };
  }
  remove(condition: (entry: Entry) => boolean): void {
    for (const set of this.sets) {
      set.forEach((entry, way) => {
        if (entry !== null && condition(entry)) set[way] = null;
      });
    }
    if (this.sets.every((set) => set.every((entry) => entry === null))) this.onEmpty();
  }
  /** A flush that leaves nothing restarts replacement; a page flush does not (tlb.ts). */
  restart = false;
  onEmpty(): void {
    if (this.restart) this.next.fill(0);
  }
}

export class NaiveTlb {
  readonly first: NaiveStructure;
  readonly second: NaiveStructure | null;
  misses = 0;
  secondLevelHits = 0;
  constructor(first: readonly [entries: number, ways: number], second: readonly [number, number] | null) {
    this.first = new NaiveStructure(...first);
    this.second = second === null ? null : new NaiveStructure(...second);
  }
  /** Adds to every level that holds the size. */
  add(entry: Entry): void {
    if (this.second !== null && entry.shift === 12) this.second.add(entry);
    this.first.add(entry);
  }
  flush(condition: (entry: Entry) => boolean, restart: boolean): void {
    const levels = this.second === null ? [this.first] : [this.first, this.second];
    const any = levels.some((level) => level.sets.some((set) => set.some((entry) => entry && !condition(entry))));
    for (const level of levels) {
      level.restart = restart && !any;
      level.remove(condition);
    }
  }
}

export interface NaiveControls {
  cr0Wp: boolean;
  cr4Pge: boolean;
  cr3: number;
  mode: "32-bit" | "PAE";
  nxe: boolean;
  pdptes: readonly bigint[];
}

export class NaiveMmu {
  readonly ram: Uint8Array;
  readonly data: NaiveTlb;
  readonly instruction: NaiveTlb;
  readonly controls: NaiveControls = {
    cr0Wp: true,
    cr4Pge: true,
    cr3: 0x1000,
    mode: "32-bit",
    nxe: false,
    pdptes: [],
  };
  busBytesWritten = 0;
  readonly busPattern: (address: number, bytes: number) => number;
  /** Cycles of walks and page crossings. */
  walkCycles = 0;
  crossCycles = 0;
  walks = 0;
  references = 0;
  updates = 0;
  /** Fetches from present pages that failed, as error codes say with NXE. */
  deniedFetches = 0;
  fault = "";

  constructor(ram: Uint8Array, data: NaiveTlb, instruction: NaiveTlb, busPattern: (a: number, b: number) => number) {
    this.ram = ram;
    this.data = data;
    this.instruction = instruction;
    this.busPattern = busPattern;
  }

  word(address: number): number {
    if (address + 4 > this.ram.length) return this.busPattern(address, 4);
    let value = 0;
    for (let i = 3; i >= 0; i--) value = value * 256 + (this.ram[address + i] as number);
    return value;
  }

  /** Physical address, or -1 and `fault`. */
  translate(tlb: NaiveTlb, linear: number, write: boolean, user: boolean, fetch: boolean): number {
    let entry = tlb.first.find(linear);
    if (entry === null) {
      entry = tlb.second?.find(linear) ?? null;
      if (entry !== null) {
        tlb.secondLevelHits++;
        this.walkCycles += 2;
        tlb.first.add(entry);
      } else {
        tlb.misses++;
        if (!this.walk(tlb, linear, write, user, fetch)) return -1;
      }
      entry = tlb.first.find(linear) as Entry;
    }
    const { cr0Wp, mode, nxe } = this.controls;
    const allowed =
      (!user || entry.user) && (!write || entry.writable || (!user && !cr0Wp)) && (!fetch || entry.executable);
    const described = fetch && nxe && mode === "PAE" ? 16 : 0;
    if (!allowed) return this.raise(linear, 1 | (write ? 2 : 0) | (user ? 4 : 0) | described);
    if (write && !entry.dirty) {
      if (!this.walk(tlb, linear, write, user, fetch)) return -1;
      entry = tlb.first.find(linear) as Entry;
    }
    return entry.base + (linear % 2 ** entry.shift);
  }

  walk(tlb: NaiveTlb, linear: number, write: boolean, user: boolean, fetch: boolean): boolean {
    this.walks++;
    let references = 0;
    const result = oracleWalk(
      {
        mode: this.controls.mode,
        cr3: BigInt(this.controls.cr3),
        wp: this.controls.cr0Wp,
        pse: true,
        pge: this.controls.cr4Pge,
        nxe: this.controls.nxe,
        pse36: true,
        pages1G: false,
        maxPhyAddr: 36n,
        pdptes: this.controls.pdptes,
      },
      BigInt(linear),
      { write, user, fetch },
      (address, bytes) => {
        references++;
        const low = BigInt(this.word(Number(address)));
        return bytes === 4 ? low : low | (BigInt(this.word(Number(address) + 4)) << 32n);
      },
    );
    this.references += references;
    this.walkCycles += 5 + 3 * references;
    if ("errorCode" in result) {
      this.raise(linear, result.errorCode);
      return false;
    }
    for (const [at, marked] of result.marked) {
      const address = Number(at);
      if (BigInt(this.word(address)) === (marked & 0xffffffffn)) continue;
      this.updates++;
      this.walkCycles += 20;
      if (address >= this.ram.length) this.busBytesWritten += 4;
      else for (let i = 0; i < 4; i++) this.ram[address + i] = Number((marked >> BigInt(8 * i)) & 255n);
    }
    const old = tlb.first.find(linear);
    if (old !== null && old.shift !== result.pageShift) this.drop(tlb, linear);
    const last = result.marked[result.marked.length - 1] as readonly [bigint, bigint];
    tlb.add({
      page: Math.floor(linear / 2 ** result.pageShift),
      shift: result.pageShift,
      base: Number(result.physical - (BigInt(linear) & ((1n << BigInt(result.pageShift)) - 1n))),
      writable: result.writable,
      user: result.user,
      dirty: ((last[1] >> 6n) & 1n) === 1n,
      executable: result.executable,
      global: result.global,
    });
    return true;
  }

  raise(linear: number, errorCode: number): number {
    if ((errorCode & 17) === 17) this.deniedFetches++;
    this.drop(this.data, linear);
    this.drop(this.instruction, linear);
    this.fault = `14/${errorCode}@${linear.toString(16)}`;
    return -1;
  }

  drop(tlb: NaiveTlb, linear: number): void {
    tlb.flush((entry) => entry.page === Math.floor(linear / 2 ** entry.shift), false);
  }

  /** Physical addresses of all bytes, or null and `fault`. */
  bytes(linear: number, count: number, write: boolean, user: boolean): number[] | null {
    const first = this.translate(this.data, linear, write, user, false);
    if (first < 0) return null;
    const here = Math.min(count, 4096 - (linear % 4096));
    const addresses = Array.from({ length: here }, (_, i) => first + i);
    if (here < count) {
      const second = this.translate(this.data, (linear + here) % 2 ** 32, write, user, false);
      if (second < 0) return null;
      for (let i = 0; i < count - here; i++) addresses.push(second + i);
      this.crossCycles += 10;
    }
    return addresses;
  }
}

/**
 * The core's memory management unit: linear accesses through the modelled TLBs and the page walker to RAM or the
 * bus, with alignment checks (SDM vol. 3, 4 and 6.15). Translation itself is in paging.ts.
 *
 * Two lookup structures stand one before the other. The *modelled* TLBs (memory/tlb.ts) decide what misses; the
 * engine's *fast table* is a direct-mapped cache of permitted accesses to RAM, always a subset of the first-level
 * data TLB (of identity translations while paging is off), so that it changes the speed of the simulator and nothing
 * else. It has one part for each combination of read or write and supervisor or user; parts for fetches and
 * descriptor accesses exist but are never filled, which sends these to the slow path without another test; there
 * descriptor accesses find those of supervisor accesses. Write parts hold only pages whose TLB entry has D set.
 *
 * - Outside 64-bit mode linear addresses wrap at 4 GB: only their low 32 bits are looked at.
 * - #AC comes after #PF of the same access (order of SDM vol. 3, table 6-2).
 * - An access that crosses a page translates the lower page first; neither page is written before both permit it.
 *
 * What a page of physical address space is says memory/memory-map.ts: the fast table holds RAM, and ROM for reads;
 * accesses to holes and writes to ROM go to the bus, as those beyond RAM do.
 *
 * Simplified: an APIC page that IA32_APIC_BASE puts over RAM is not seen; ROM takes no longer to read than RAM.
 */
import type { Clock } from "../clock.ts";
import { PAGE_SIZE, pageBase, pageOffset, wrap32 } from "../memory/address.ts";
import { CODE_GRANULE_SHIFT, type PhysicalMemory, RAM_OFFSET, REASON } from "../memory/physical.ts";
import { TLB_ATTRIBUTE, type Tlb, type TlbLayout } from "../memory/tlb.ts";
import type { Accounts } from "./accounts.ts";
import type { Bus } from "./bus.ts";
import { ACCESS, FLUSH } from "./environment.ts";
import { type MmuParts, Paging, type SavedMmu } from "./paging.ts";
import { CELL, type CpuState, CR0, FLAG, raise, VECTOR } from "./state.ts";
import { dataBreakpoints } from "./system/breakpoints.ts";

const FAST_BITS = 10;
const FAST_MASK = (1 << FAST_BITS) - 1;
const PAGE_BASE = ~0xfff;
/** One part for each value of the ACCESS bits (0 to 15); only the first four are ever filled. */
const FAST_PARTS = 16;
const FILLED_PARTS = 4;
const FETCH_BITS = 8;
const FETCH_MASK = (1 << FETCH_BITS) - 1;
const NO_PAGE = -1;
/**
 * Tag of a slot that holds no page: the base of a page that belongs into another slot, so that no address of this one lies
 * in the 4 KB behind it.
 */
const emptyTag = (slot: number): number => ((slot & FAST_MASK) ^ 1) << 12;
const EMPTY_TAGS = Int32Array.from({ length: 1 << FAST_BITS }, (_, slot) => emptyTag(slot));
/** No RAM is there: MAX_RAM_BYTES is below. */
const COMPILED_END = 0x7ffff000;
const FILLED_LIST = 512;
/** Where its words begin, behind those of paging.ts. */
const FILLED_OFFSET = 128;

/** Attributes of every page while paging is off. */
const UNPAGED = TLB_ATTRIBUTE.WRITABLE | TLB_ATTRIBUTE.USER | TLB_ATTRIBUTE.DIRTY;

/** Byte offsets in the shared memory of what the MMU has there, and log2 of the entries of a part of its tables. */
export interface MmuLayout {
  readonly fastTags: number;
  readonly fastFrames: number;
  readonly fastBits: number;
  /** Tags, frames (f64) and bases (i32) of fetches: supervisor, then user. */
  readonly fetchTags: number;
  readonly fetchFrames: number;
  readonly fetchBases: number;
  readonly fetchBits: number;
  /** How many slots of the fast table have been filled, and which, `filledList` of them at the most. */
  readonly filled: number;
  readonly filledList: number;
  /** Counters (COUNT, f64), and which walks are usual (USUAL_CELL). */
  readonly counts: number;
  readonly usual: number;
  readonly dataTlb: TlbLayout;
  readonly instructionTlb: TlbLayout;
}

export class Mmu {
  readonly #state: CpuState;
  readonly #memory: PhysicalMemory;
  readonly #bus: Bus;
  readonly #accounts: Accounts;
  readonly #clock: Clock;
  readonly #paging: Paging;

  /** Fast table: linear base of a page (int32), and byte offset of its frame in the shared memory. */
  readonly #tags: Int32Array;
  readonly #frames: Int32Array;
  /** Slots filled since the last clearing, so that clearing need not touch the whole table; more than fit: it does. */
  readonly #filled: Int32Array;
  /** During a flush of many pages a large one, for which whole tables are searched, is only noted. */
  #droppingMany = false;
  #droppedLarge = false;
  /** The same for fetches: supervisor, then user; the frame is a host-physical address. */
  readonly #fetchTags: Int32Array;
  readonly #fetchFrames: Float64Array;
  /** What compiled code takes for it: bases from COMPILED_END up, where no compiled code is, are all that. */
  readonly #fetchBases: Int32Array;
  readonly #u8: Uint8Array;
  readonly #u16: Uint16Array;
  readonly #i32: Int32Array;
  readonly #codeGranules: Uint8Array;

  /** Linear pages that hold data breakpoints; the fast table never has them. */
  readonly #watched = new Int32Array(4).fill(NO_PAGE);
  #watching = false;

  /** Physical address of the second page's part of an access that `#translateBytes` found to cross a page. */
  #second = 0;

  constructor(parts: MmuParts) {
    this.#state = parts.state;
    this.#memory = parts.memory;
    this.#bus = parts.bus;
    this.#accounts = parts.accounts;
    this.#clock = parts.ledger.clock;
    this.#paging = new Paging(
      parts,
      (page, shift) => this.#dropData(page, shift),
      (page, shift) => this.#dropFetch(page, shift),
    );
    const { buffer, engineArea } = parts.memory;
    this.#tags = new Int32Array(buffer, engineArea.fastTable, FAST_PARTS << FAST_BITS);
    this.#emptyParts(FAST_PARTS);
    this.#frames = new Int32Array(buffer, engineArea.fastTable + this.#tags.byteLength, FAST_PARTS << FAST_BITS);
    // The first word counts them.
    this.#filled = new Int32Array(buffer, engineArea.translation + FILLED_OFFSET, 1 + FILLED_LIST).fill(0, 0, 1);
    this.#fetchFrames = new Float64Array(buffer, engineArea.fetchTable, 2 << FETCH_BITS);
    const fetchTags = engineArea.fetchTable + this.#fetchFrames.byteLength;
    this.#fetchTags = new Int32Array(buffer, fetchTags, 2 << FETCH_BITS).fill(NO_PAGE);
    this.#fetchBases = new Int32Array(buffer, fetchTags + this.#fetchTags.byteLength, 2 << FETCH_BITS);
    this.#u8 = parts.memory.u8;
    this.#u16 = parts.memory.u16;
    this.#i32 = parts.memory.i32;
    this.#codeGranules = parts.memory.codeGranules;
  }

  /**
   * Reads 1, 2 or 4 bytes: zero-extended for 1 and 2, int32 for 4. With ACCESS.WRITE the page must permit a write
   * and is marked dirty, as for a read-modify-write. On a fault the result is 0 and the signal is set.
   */
  load(linear: number, bytes: number, access: number): number {
    const page = linear >>> 12;
    const slot = (access << FAST_BITS) | (page & FAST_MASK);
    // An aligned access neither crosses a page nor fails an alignment check.
    if (this.#tags[slot] === (linear & PAGE_BASE) && (linear & (bytes - 1)) === 0) {
      const at = (this.#frames[slot] as number) + (linear & 0xfff);
      if (bytes === 4) return this.#i32[at >> 2] as number;
      return (bytes === 1 ? this.#u8[at] : this.#u16[at >> 1]) as number;
    }
    return this.#loadSlow(linear, bytes, access);
  }

  /** Writes 1, 2 or 4 bytes; every byte's page is checked before the first is written. */
  store(linear: number, bytes: number, value: number, access: number): void {
    const page = linear >>> 12;
    const slot = ((access | ACCESS.WRITE) << FAST_BITS) | (page & FAST_MASK);
    if (this.#tags[slot] === (linear & PAGE_BASE) && (linear & (bytes - 1)) === 0) {
      const at = (this.#frames[slot] as number) + (linear & 0xfff);
      if (bytes === 4) this.#i32[at >> 2] = value;
      else if (bytes === 1) this.#u8[at] = value;
      else this.#u16[at >> 1] = value;
      const physical = at - RAM_OFFSET;
      if (this.#codeGranules[physical >> CODE_GRANULE_SHIFT] !== 0) this.#memory.onCodeWrite(physical, bytes);
      return;
    }
    this.#storeSlow(linear, bytes, value, access | ACCESS.WRITE);
  }

  /** Reads 8 bytes into a state cell, which is untouched on a fault. */
  load64(linear: number, access: number, cell: number): void {
    const page = linear >>> 12;
    const slot = ((access & ~ACCESS.DESCRIPTOR) << FAST_BITS) | (page & FAST_MASK);
    if (this.#tags[slot] === (linear & PAGE_BASE) && (linear & 7) === 0) {
      if ((access & ACCESS.DESCRIPTOR) !== 0) this.#memory.countReference(REASON.descriptor);
      const at = ((this.#frames[slot] as number) + (linear & 0xfff)) >> 2;
      this.#state.i32[cell] = this.#i32[at] as number;
      this.#state.i32[cell + 1] = this.#i32[at + 1] as number;
      return;
    }
    const first = this.#translateBytes(linear, 8, access);
    if (first < 0) return;
    const second = this.#second;
    const split = PAGE_SIZE - pageOffset(first);
    const low = this.#gather(first, second, split, 0, 4);
    const high = this.#gather(first, second, split, 4, 4);
    this.#state.i32[cell] = low;
    this.#state.i32[cell + 1] = high;
    if (this.#watching) this.#meetBreakpoints(linear, 8, false);
  }

  /** Writes a state cell's 8 bytes. */
  store64(linear: number, access: number, cell: number): void {
    const page = linear >>> 12;
    const slot = ((access | ACCESS.WRITE) << FAST_BITS) | (page & FAST_MASK);
    if (this.#tags[slot] === (linear & PAGE_BASE) && (linear & 7) === 0) {
      const at = (this.#frames[slot] as number) + (linear & 0xfff);
      this.#i32[at >> 2] = this.#state.i32[cell] as number;
      this.#i32[(at >> 2) + 1] = this.#state.i32[cell + 1] as number;
      const physical = at - RAM_OFFSET;
      if (this.#codeGranules[physical >> CODE_GRANULE_SHIFT] !== 0) this.#memory.onCodeWrite(physical, 8);
      return;
    }
    const first = this.#translateBytes(linear, 8, access | ACCESS.WRITE);
    if (first < 0) return;
    const second = this.#second;
    const split = PAGE_SIZE - pageOffset(first);
    this.#scatter(first, second, split, 0, 4, this.#state.i32[cell] as number);
    this.#scatter(first, second, split, 4, 4, this.#state.i32[cell + 1] as number);
    if (this.#watching) this.#meetBreakpoints(linear, 8, true);
  }

  /** Checks that an access to `bytes` bytes (any number) would succeed, and sets A and D flags as it would. */
  probe(linear: number, bytes: number, access: number): void {
    let left = bytes;
    let at = linear;
    while (left > 0) {
      const page = wrap32(at) >>> 12;
      const slot = ((access & ~ACCESS.DESCRIPTOR) << FAST_BITS) | (page & FAST_MASK);
      if (this.#tags[slot] !== page << 12 && this.translate(at, access) < 0) return;
      const here = PAGE_SIZE - pageOffset(wrap32(at));
      left -= here;
      at += here;
    }
    if (bytes === 2 || bytes === 4 || bytes === 8) this.#alignmentFault(linear, bytes, access);
  }

  /** Host-physical address of an instruction byte, or -1 with a fault in the signal. It may lie beyond RAM. */
  fetch(linear: number, user: boolean): number {
    const page = linear >>> 12;
    const slot = (user ? 1 << FETCH_BITS : 0) | (page & FETCH_MASK);
    if (this.#fetchTags[slot] === page) return (this.#fetchFrames[slot] as number) + (linear & 0xfff);
    return this.#fetchSlow(linear, user);
  }

  /** Host-physical address of a data access, or -1 with a fault in the signal; sets A and D flags as the access would. */
  translate(linear: number, access: number): number {
    const address = wrap32(linear);
    if (!this.#paging.enabled) {
      const located = this.#memory.locate(address);
      this.#fillFast(address, pageBase(located), UNPAGED);
      return located;
    }
    const translated = this.#paging.data(address, access);
    if (translated < 0) return translated;
    const physical = this.#memory.locate(translated);
    this.#fillFast(address, pageBase(physical), this.#paging.attributes);
    return physical;
  }

  /** Whether `translate` would find a translation of the first level as it is, and so change nothing. */
  finds(linear: number, access: number): boolean {
    return !this.#paging.enabled || this.#paging.finds(linear, access);
  }

  /** A word of physical memory, counted as a reference to a page-directory-pointer table. */
  readPdpt(address: number): number {
    return this.#paging.readTable(address, REASON.pdpte);
  }

  /** Byte offset in the shared memory of a byte whose page the fast table has for an access, or -1; nothing is looked up. */
  fastOffset(linear: number, access: number): number {
    const page = linear >>> 12;
    const slot = (access << FAST_BITS) | (page & FAST_MASK);
    return this.#tags[slot] === page << 12 ? (this.#frames[slot] as number) + (linear & 0xfff) : -1;
  }

  /** Physical base of the page of a linear address in the fast table for fetches, or -1; nothing is looked up or counted. */
  fetchBase(linear: number, user: boolean): number {
    const page = linear >>> 12;
    const slot = (user ? 1 << FETCH_BITS : 0) | (page & FETCH_MASK);
    return this.#fetchTags[slot] === page ? (this.#fetchFrames[slot] as number) : -1;
  }

  /** Where compiled code finds the fast tables and the modelled TLBs. */
  shared(): MmuLayout {
    return {
      fastTags: this.#tags.byteOffset,
      fastFrames: this.#frames.byteOffset,
      fastBits: FAST_BITS,
      fetchTags: this.#fetchTags.byteOffset,
      fetchFrames: this.#fetchFrames.byteOffset,
      fetchBases: this.#fetchBases.byteOffset,
      fetchBits: FETCH_BITS,
      filled: this.#filled.byteOffset,
      filledList: FILLED_LIST,
      ...this.#paging.sharedOffsets(),
      dataTlb: this.#paging.dataTlb.layout(),
      instructionTlb: this.#paging.instructionTlb.layout(),
    };
  }

  /** Flushes what FLUSH says; with FLUSH.ALL takes over changed control registers. */
  flushTlb(scope: number): void {
    if (scope === FLUSH.ALL) {
      this.#paging.flush(scope);
      this.pagingChanged();
      return;
    }
    this.#droppingMany = true;
    this.#droppedLarge = false;
    this.#paging.flush(scope);
    this.#droppingMany = false;
    if (this.#droppedLarge) this.pagingChanged();
  }

  /** INVLPG: entries for the page of any size that contains the address, global ones too. */
  flushPage(linear: number): void {
    this.#paging.flushPage(wrap32(linear));
  }

  /**
   * CR0 or CR4 (or the whole state) changed without a flush: what the engine derived from them goes. Needed after
   * CR0.PG and CR0.WP, and when gate A20 moves; harmless at any time.
   */
  pagingChanged(): void {
    const count = this.#filled[0] as number;
    if (count > FILLED_LIST) this.#emptyParts(FILLED_PARTS);
    else for (let i = 1; i <= count; i++) this.#emptySlot(this.#filled[i] as number);
    this.#filled[0] = 0;
    this.#fetchTags.fill(NO_PAGE);
    this.#paging.shareUsual(!this.#watching);
  }

  /** Counters with dotted names. */
  counters(): Record<string, number> {
    return this.#paging.counters();
  }

  /** TLB misses that walked, instruction and data; cheap enough to read at every marker. */
  get walksFromMisses(): number {
    return this.#paging.walksFromMisses;
  }

  /** The modelled data and instruction TLBs, for tests and displays. */
  get tlbs(): { readonly data: Tlb; readonly instruction: Tlb } {
    return { data: this.#paging.dataTlb, instruction: this.#paging.instructionTlb };
  }

  /** The modelled TLBs and the counters; the fast tables are not state. */
  save(): SavedMmu {
    return this.#paging.save();
  }

  /** Restores what `save` gave; processor state and memory are restored by their owners. */
  restore(saved: SavedMmu): void {
    this.#paging.restore(saved);
    this.pagingChanged();
  }

  // Translation of whole accesses.

  /** Translates all bytes of an access; the first one's physical address, or -1 with a fault in the signal. */
  #translateBytes(linear: number, bytes: number, access: number): number {
    const first = this.translate(linear, access);
    if (first < 0) return -1;
    const crosses = (linear & 0xfff) + bytes > PAGE_SIZE;
    if (crosses) {
      this.#second = this.translate(pageBase(wrap32(linear)) + PAGE_SIZE, access);
      if (this.#second < 0) return -1;
    }
    if ((linear & (bytes - 1)) !== 0 && this.#alignmentFault(linear, bytes, access)) return -1;
    if (crosses) this.#paging.charge(this.#accounts.current.instructions, "pageCross");
    if ((access & ACCESS.DESCRIPTOR) !== 0) this.#memory.countReference(REASON.descriptor);
    return first;
  }

  /** SDM vol. 3, 6.15, interrupt 17: user accesses only, while CR0.AM and EFLAGS.AC are set. */
  #alignmentFault(linear: number, bytes: number, access: number): boolean {
    if ((linear & (bytes - 1)) === 0 || (access & ACCESS.USER) === 0) return false;
    if ((this.#state.cr0 & CR0.AM) === 0 || (this.#state.flags & FLAG.AC) === 0) return false;
    raise(this.#state, VECTOR.AC, 0);
    return true;
  }

  #fetchSlow(linear: number, user: boolean): number {
    const address = wrap32(linear);
    const translated = this.#paging.enabled ? this.#paging.fetch(address, user) : address;
    if (translated < 0) return -1;
    const physical = this.#memory.locate(translated);
    const page = address >>> 12;
    const slot = (user ? 1 << FETCH_BITS : 0) | (page & FETCH_MASK);
    this.#fetchTags[slot] = page;
    const base = pageBase(physical);
    this.#fetchFrames[slot] = base;
    this.#fetchBases[slot] = Math.min(base, COMPILED_END);
    return physical;
  }

  // Data breakpoints.

  /** Keeps the pages that hold data breakpoints (-1 for none) on the slow path; call it when the debug registers change. */
  watch(pages: readonly number[]): void {
    this.#watched.set(pages);
    this.#watching = this.#watched.some((watched) => watched !== NO_PAGE);
    this.pagingChanged();
  }

  /** A breakpoint that an access meets is a trap at the next boundary, which is therefore the next instruction's. */
  #meetBreakpoints(linear: number, bytes: number, write: boolean): void {
    const met = dataBreakpoints(this.#state, wrap32(linear), bytes, write);
    if (met === 0) return;
    this.#state.set(CELL.breakpointsMet, this.#state.get(CELL.breakpointsMet) | met);
    this.#clock.deadline = 0;
  }

  // The fast table.

  /** Fills every part that the translation of `linear`'s page to `frame` permits. */
  #fillFast(linear: number, frame: number, attributes: number): void {
    const memory = this.#memory;
    if (!memory.stores(frame)) return;
    const page = linear >>> 12;
    if (this.#watching && this.#watched.includes(page)) return;
    const user = (attributes & TLB_ATTRIBUTE.USER) !== 0;
    const writable = (attributes & TLB_ATTRIBUTE.WRITABLE) !== 0;
    const dirty = (attributes & TLB_ATTRIBUTE.DIRTY) !== 0;
    this.#setFast(ACCESS.READ, page, frame);
    if (user) this.#setFast(ACCESS.USER, page, frame);
    if (!memory.isWritable(frame)) return;
    if (dirty && (writable || (this.#state.cr0 & CR0.WP) === 0)) this.#setFast(ACCESS.WRITE, page, frame);
    if (dirty && writable && user) this.#setFast(ACCESS.USER | ACCESS.WRITE, page, frame);
  }

  #setFast(part: number, page: number, frame: number): void {
    const slot = (part << FAST_BITS) | (page & FAST_MASK);
    if (this.#tags[slot] === emptyTag(slot)) {
      const count = (this.#filled[0] as number) + 1;
      if (count <= FILLED_LIST) this.#filled[count] = slot;
      this.#filled[0] = count;
    }
    this.#tags[slot] = page << 12;
    this.#frames[slot] = RAM_OFFSET + frame;
  }

  /** Drops fast entries of the page with this number and size. */
  #dropData(pageNumber: number, shift: number): void {
    const tags = this.#tags;
    if (shift === 12) {
      for (let part = 0; part < FILLED_PARTS; part++) {
        const slot = (part << FAST_BITS) | (pageNumber & FAST_MASK);
        if (tags[slot] === pageNumber << 12) this.#emptySlot(slot);
      }
      return;
    }
    if (this.#droppingMany) {
      this.#droppedLarge = true;
      return;
    }
    for (let slot = 0; slot < FILLED_PARTS << FAST_BITS; slot++) {
      if ((tags[slot] as number) >>> shift === pageNumber) this.#emptySlot(slot);
    }
  }

  #emptySlot(slot: number): void {
    this.#tags[slot] = emptyTag(slot);
  }

  #emptyParts(parts: number): void {
    for (let part = 0; part < parts; part++) this.#tags.set(EMPTY_TAGS, part << FAST_BITS);
  }

  #dropFetch(pageNumber: number, shift: number): void {
    const tags = this.#fetchTags;
    if (shift === 12) {
      for (let slot = pageNumber & FETCH_MASK; slot < tags.length; slot += 1 << FETCH_BITS) {
        if (tags[slot] === pageNumber) tags[slot] = NO_PAGE;
      }
      return;
    }
    if (this.#droppingMany) {
      this.#droppedLarge = true;
      return;
    }
    const pages = shift - 12;
    for (let slot = 0; slot < tags.length; slot++) {
      if ((tags[slot] as number) >> pages === pageNumber) tags[slot] = NO_PAGE;
    }
  }

  // Accesses that the fast table does not serve.

  #loadSlow(linear: number, bytes: number, access: number): number {
    const page = linear >>> 12;
    const slot = ((access & ~ACCESS.DESCRIPTOR) << FAST_BITS) | (page & FAST_MASK);
    const offset = linear & 0xfff;
    if (this.#tags[slot] === (linear & PAGE_BASE) && offset + bytes <= PAGE_SIZE) {
      if (this.#alignmentFault(linear, bytes, access)) return 0;
      if ((access & ACCESS.DESCRIPTOR) !== 0) this.#memory.countReference(REASON.descriptor);
      return this.#readPhysical((this.#frames[slot] as number) - RAM_OFFSET + offset, bytes);
    }
    const first = this.#translateBytes(linear, bytes, access);
    if (first < 0) return 0;
    if (this.#watching) this.#meetBreakpoints(linear, bytes, false);
    return this.#gather(first, this.#second, PAGE_SIZE - pageOffset(first), 0, bytes);
  }

  #storeSlow(linear: number, bytes: number, value: number, access: number): void {
    const page = linear >>> 12;
    const slot = ((access & ~ACCESS.DESCRIPTOR) << FAST_BITS) | (page & FAST_MASK);
    const offset = linear & 0xfff;
    if (this.#tags[slot] === (linear & PAGE_BASE) && offset + bytes <= PAGE_SIZE) {
      if (this.#alignmentFault(linear, bytes, access)) return;
      if ((access & ACCESS.DESCRIPTOR) !== 0) this.#memory.countReference(REASON.descriptor);
      this.#writePhysical((this.#frames[slot] as number) - RAM_OFFSET + offset, bytes, value);
      return;
    }
    const first = this.#translateBytes(linear, bytes, access);
    if (first < 0) return;
    this.#scatter(first, this.#second, PAGE_SIZE - pageOffset(first), 0, bytes, value);
    if (this.#watching) this.#meetBreakpoints(linear, bytes, true);
  }

  /** Reads bytes `offset` to `offset + bytes - 1` of an access, of which `split` lie in the page of `first`. */
  #gather(first: number, second: number, split: number, offset: number, bytes: number): number {
    if (offset + bytes <= split) return this.#readPhysical(first + offset, bytes);
    if (offset >= split) return this.#readPhysical(second + offset - split, bytes);
    let value = 0;
    for (let i = 0; i < bytes; i++) {
      const at = offset + i;
      const byte = this.#readPhysical(at < split ? first + at : second + at - split, 1);
      value |= byte << (8 * i);
    }
    return value;
  }

  #scatter(first: number, second: number, split: number, offset: number, bytes: number, value: number): void {
    if (offset + bytes <= split) this.#writePhysical(first + offset, bytes, value);
    else if (offset >= split) this.#writePhysical(second + offset - split, bytes, value);
    else {
      for (let i = 0; i < bytes; i++) {
        const at = offset + i;
        this.#writePhysical(at < split ? first + at : second + at - split, 1, value >>> (8 * i));
      }
    }
  }

  /** Reads within one page; an unaligned access to the bus goes byte by byte. */
  #readPhysical(address: number, bytes: number): number {
    if (this.#memory.stores(address)) {
      if (bytes === 4) return this.#memory.read32(address);
      return bytes === 1 ? this.#memory.read8(address) : this.#memory.read16(address);
    }
    if (address % bytes === 0) {
      const value = this.#bus.readMemory(address, bytes);
      return bytes === 4 ? value | 0 : value;
    }
    let value = 0;
    for (let i = 0; i < bytes; i++) value |= (this.#bus.readMemory(address + i, 1) & 0xff) << (8 * i);
    return value;
  }

  #writePhysical(address: number, bytes: number, value: number): void {
    if (this.#memory.isWritable(address)) {
      if (bytes === 4) this.#memory.write32(address, value);
      else if (bytes === 1) this.#memory.write8(address, value & 0xff);
      else this.#memory.write16(address, value & 0xffff);
      return;
    }
    if (address % bytes === 0) {
      const unsigned = bytes === 4 ? value >>> 0 : bytes === 2 ? value & 0xffff : value & 0xff;
      this.#bus.writeMemory(address, bytes, unsigned);
      return;
    }
    for (let i = 0; i < bytes; i++) this.#bus.writeMemory(address + i, 1, (value >>> (8 * i)) & 0xff);
  }
}

/**
 * The core's memory management unit: linear accesses through the modelled TLBs and the page walker to RAM or the
 * bus, with page faults, alignment checks and their costs (SDM vol. 3, 4 and 6.15).
 *
 * Two lookup structures stand one before the other. The *modelled* TLBs (memory/tlb.ts) decide what misses; the
 * engine's *fast table* is a direct-mapped cache of permitted accesses to RAM, always a subset of the first-level
 * data TLB (of identity translations while paging is off), so that it changes the speed of the simulator and nothing
 * else. It has one part for each combination of read or write and supervisor or user; parts for fetches and
 * descriptor accesses exist but are never filled, which sends these to the slow path without another test. Write
 * parts hold only pages whose TLB entry has D set.
 *
 * - Outside 64-bit mode linear addresses wrap at 4 GB: only their low 32 bits are looked at.
 * - A TLB hit that does not permit the access faults without a walk and drops the entry, as the SDM allows and
 *   demands (4.10.4.1: a page fault invalidates the entries for its address; 4.10.4.3: spurious faults).
 * - A write through an entry with D clear walks again.
 * - #AC comes after #PF of the same access (order of SDM vol. 3, table 6-2).
 * - An access that crosses a page translates the lower page first; neither page is written before both permit it.
 *
 * Simplified: no paging-structure caches; every physical address below the end of RAM is RAM (an APIC page moved
 * there by IA32_APIC_BASE is not seen); PAE and 4-level paging stop as unmodelled here, though the walker knows them.
 */
import type { Ledger } from "../ledger.ts";
import { lowBits, PAGE_SIZE, pageBase, pageNumberAt, pageOffset, wrap32 } from "../memory/address.ts";
import { PAGING_32, type Tables, tablesOf } from "../memory/page-tables.ts";
import { CODE_GRANULE_SHIFT, type PhysicalMemory, RAM_OFFSET, REASON } from "../memory/physical.ts";
import { type SavedTlb, TLB_ATTRIBUTE, Tlb } from "../memory/tlb.ts";
import {
  FIRST_STAGE_REASONS,
  PF,
  type TableMemory,
  WALK,
  WALK_OUTCOME,
  type WalkContext,
  WalkResult,
  walk,
} from "../memory/walk.ts";
import type { Accounts } from "./accounts.ts";
import type { Bus } from "./bus.ts";
import { ACCESS, FLUSH } from "./environment.ts";
import { type CostName, type CostTicks, costTicks, type Profile } from "./profiles/profile.ts";
import { CELL, type CpuState, CR0, CR4, FLAG, raise, raisePageFault, unmodelled, VECTOR } from "./state.ts";

/** What the MMU stands on. */
export interface MmuParts {
  readonly state: CpuState;
  readonly memory: PhysicalMemory;
  readonly bus: Bus;
  readonly ledger: Ledger;
  readonly accounts: Accounts;
  readonly profile: Profile;
  /** Seeds pseudo-random TLB replacement. */
  readonly seed: number;
}

/** The modelled TLBs and the counters; the fast tables are not state. */
export interface SavedMmu {
  readonly instruction: SavedTlb;
  readonly data: SavedTlb;
  readonly counts: readonly number[];
}

const FAST_BITS = 10;
const FAST_MASK = (1 << FAST_BITS) - 1;
/** One part for each value of the ACCESS bits (0 to 15); only the first four are ever filled. */
const FAST_PARTS = 16;
const FILLED_PARTS = 4;
const FETCH_BITS = 8;
const FETCH_MASK = (1 << FETCH_BITS) - 1;
const NO_PAGE = -1;
const FILLED_LIST = 512;

/** CPUID.1:EDX bit 17. */
const CPUID_PSE36 = 1 << 17;

const PDE_REASON = REASON.pde;
const PTE_REASON = REASON.pte;
const DESCRIPTOR_REASON = REASON.descriptor;

export class Mmu implements TableMemory {
  readonly #state: CpuState;
  readonly #memory: PhysicalMemory;
  readonly #bus: Bus;
  readonly #ledger: Ledger;
  readonly #accounts: Accounts;
  readonly #ticks: CostTicks;
  readonly #dataTlb: Tlb;
  readonly #instructionTlb: Tlb;
  readonly #pse36: boolean;
  readonly #physicalAddressBits: number;

  /** Fast table: linear page number (20 bits), and byte offset of its frame in the shared memory. */
  readonly #tags = new Int32Array(FAST_PARTS << FAST_BITS).fill(NO_PAGE);
  readonly #frames = new Int32Array(FAST_PARTS << FAST_BITS);
  /** Slots filled since the last clearing, so that clearing need not touch the whole table; more than fit: it does. */
  readonly #filled = new Int32Array(FILLED_LIST);
  #filledCount = 0;
  /** The same for fetches: supervisor, then user; the frame is a host-physical address. */
  readonly #fetchTags = new Int32Array(2 << FETCH_BITS).fill(NO_PAGE);
  readonly #fetchFrames = new Float64Array(2 << FETCH_BITS);
  readonly #u8: Uint8Array;
  readonly #u16: Uint16Array;
  readonly #i32: Int32Array;
  readonly #codeGranules: Uint8Array;
  readonly #ramBytes: number;

  /** What walks are made with; rebuilt when the control registers differ from those it was made of. */
  #tables: Tables;
  #context: WalkContext;
  #contextCr0 = 0;
  #contextCr3 = 0;
  #contextCr4 = 0;
  readonly #result = new WalkResult();

  /** Physical address of the second page's part of an access that `#translateBytes` found to cross a page. */
  #second = 0;

  #instructionMisses = 0;
  #instructionSecondLevelHits = 0;
  #dataMisses = 0;
  #dataSecondLevelHits = 0;
  #instructionWalks = 0;
  #dataWalks = 0;
  #pdeReferences = 0;
  #pteReferences = 0;
  #walkUpdates = 0;
  #flushesAll = 0;
  #flushesNonGlobal = 0;
  #flushesPage = 0;

  /** Observes each cost that the MMU charges, after the clock has moved; null in normal runs. */
  onCost: ((cost: CostName, ticks: number) => void) | null = null;

  constructor(parts: MmuParts) {
    this.#state = parts.state;
    this.#memory = parts.memory;
    this.#bus = parts.bus;
    this.#ledger = parts.ledger;
    this.#accounts = parts.accounts;
    this.#ticks = costTicks(parts.profile);
    this.#dataTlb = new Tlb(parts.profile.dataTlb, parts.seed, (page, shift) => this.#dropData(page, shift));
    // The two sides draw from different sequences.
    const instructionSeed = (parts.seed ^ 0x5bd1e995) >>> 0;
    this.#instructionTlb = new Tlb(parts.profile.instructionTlb, instructionSeed, (page, shift) =>
      this.#dropFetch(page, shift),
    );
    this.#pse36 = ((parts.profile.cpuid[1]?.edx ?? 0) & CPUID_PSE36) !== 0;
    this.#physicalAddressBits = parts.profile.physicalAddressBits;
    this.#u8 = parts.memory.u8;
    this.#u16 = parts.memory.u16;
    this.#i32 = parts.memory.i32;
    this.#codeGranules = parts.memory.codeGranules;
    this.#ramBytes = parts.memory.ramBytes;
    this.#tables = tablesOf(PAGING_32, { physicalAddressBits: this.#physicalAddressBits });
    this.#context = this.#makeContext();
  }

  /**
   * Reads 1, 2 or 4 bytes: zero-extended for 1 and 2, int32 for 4. With ACCESS.WRITE the page must permit a write
   * and is marked dirty, as for a read-modify-write. On a fault the result is 0 and the signal is set.
   */
  load(linear: number, bytes: number, access: number): number {
    const page = linear >>> 12;
    const slot = (access << FAST_BITS) | (page & FAST_MASK);
    // An aligned access neither crosses a page nor fails an alignment check.
    if (this.#tags[slot] === page && (linear & (bytes - 1)) === 0) {
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
    if (this.#tags[slot] === page && (linear & (bytes - 1)) === 0) {
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
    const first = this.#translateBytes(linear, 8, access);
    if (first < 0) return;
    const second = this.#second;
    const split = PAGE_SIZE - pageOffset(first);
    const low = this.#gather(first, second, split, 0, 4);
    const high = this.#gather(first, second, split, 4, 4);
    this.#state.i32[cell] = low;
    this.#state.i32[cell + 1] = high;
  }

  /** Writes a state cell's 8 bytes. */
  store64(linear: number, access: number, cell: number): void {
    const first = this.#translateBytes(linear, 8, access | ACCESS.WRITE);
    if (first < 0) return;
    const second = this.#second;
    const split = PAGE_SIZE - pageOffset(first);
    this.#scatter(first, second, split, 0, 4, this.#state.i32[cell] as number);
    this.#scatter(first, second, split, 4, 4, this.#state.i32[cell + 1] as number);
  }

  /** Checks that an access to `bytes` bytes (any number) would succeed, and sets A and D flags as it would. */
  probe(linear: number, bytes: number, access: number): void {
    let left = bytes;
    let at = linear;
    while (left > 0) {
      if (this.translate(at, access) < 0) return;
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
    if ((this.#state.cr0 & CR0.PG) === 0) {
      this.#fillFast(address, pageBase(address), TLB_ATTRIBUTE.WRITABLE | TLB_ATTRIBUTE.USER | TLB_ATTRIBUTE.DIRTY);
      return address;
    }
    if (!this.#pagingModelled()) return -1;
    const tlb = this.#dataTlb;
    let entry = tlb.lookup(address);
    if (entry < 0) {
      entry = tlb.promote(address);
      if (entry < 0) {
        this.#dataMisses++;
        this.#dataWalks++;
        entry = this.#walkInto(tlb, address, access, -1);
        if (entry < 0) return -1;
      } else {
        this.#dataSecondLevelHits++;
        this.#charge(this.#accounts.current.walk, "tlbSecondLevel");
      }
    }
    let attributes = tlb.attributes[entry] as number;
    if (!this.#permits(attributes, access)) return this.#fault(address, this.#errorCode(access));
    if ((access & ACCESS.WRITE) !== 0 && (attributes & TLB_ATTRIBUTE.DIRTY) === 0) {
      this.#dataWalks++;
      entry = this.#walkInto(tlb, address, access, entry);
      if (entry < 0) return -1;
      attributes = tlb.attributes[entry] as number;
    }
    const base = tlb.bases[entry] as number;
    const physical = base + lowBits(address, tlb.shifts[entry] as number);
    this.#fillFast(address, pageBase(physical), attributes);
    return physical;
  }

  /** Flushes what FLUSH says, and takes over changed control registers. */
  flushTlb(scope: number): void {
    if (scope === FLUSH.NON_GLOBAL) {
      this.#flushesNonGlobal++;
      this.#dataTlb.flushNonGlobal();
      this.#instructionTlb.flushNonGlobal();
    } else {
      this.#flushesAll++;
      this.#dataTlb.flushAll();
      this.#instructionTlb.flushAll();
    }
    this.pagingChanged();
  }

  /** INVLPG: entries for the page of any size that contains the address, global ones too. */
  flushPage(linear: number): void {
    this.#flushesPage++;
    this.#dropPage(wrap32(linear));
  }

  /**
   * CR0 or CR4 (or the whole state) changed without a flush: what the engine derived from them goes. Needed after
   * CR0.PG and CR0.WP; harmless at any time.
   */
  pagingChanged(): void {
    if (this.#filledCount > FILLED_LIST) this.#tags.fill(NO_PAGE, 0, FILLED_PARTS << FAST_BITS);
    else for (let i = 0; i < this.#filledCount; i++) this.#tags[this.#filled[i] as number] = NO_PAGE;
    this.#filledCount = 0;
    this.#fetchTags.fill(NO_PAGE);
  }

  /** Counters with dotted names. */
  counters(): Record<string, number> {
    return {
      "tlb.instruction.misses": this.#instructionMisses,
      "tlb.instruction.second-level-hits": this.#instructionSecondLevelHits,
      "tlb.data.misses": this.#dataMisses,
      "tlb.data.second-level-hits": this.#dataSecondLevelHits,
      "walk.count.instruction": this.#instructionWalks,
      "walk.count.data": this.#dataWalks,
      "walk.references.pde": this.#pdeReferences,
      "walk.references.pte": this.#pteReferences,
      "walk.updates": this.#walkUpdates,
      "tlb.flushes.all": this.#flushesAll,
      "tlb.flushes.non-global": this.#flushesNonGlobal,
      "tlb.flushes.page": this.#flushesPage,
    };
  }

  /** TLB misses that walked, instruction and data; cheap enough to read at every marker. */
  get walksFromMisses(): number {
    return this.#instructionMisses + this.#dataMisses;
  }

  /** The modelled data and instruction TLBs, for tests and displays. */
  get tlbs(): { readonly data: Tlb; readonly instruction: Tlb } {
    return { data: this.#dataTlb, instruction: this.#instructionTlb };
  }

  save(): SavedMmu {
    return {
      instruction: this.#instructionTlb.save(),
      data: this.#dataTlb.save(),
      counts: [
        this.#instructionMisses,
        this.#instructionSecondLevelHits,
        this.#dataMisses,
        this.#dataSecondLevelHits,
        this.#instructionWalks,
        this.#dataWalks,
        this.#pdeReferences,
        this.#pteReferences,
        this.#walkUpdates,
        this.#flushesAll,
        this.#flushesNonGlobal,
        this.#flushesPage,
      ],
    };
  }

  /** Restores what `save` gave; processor state and memory are restored by their owners. */
  restore(saved: SavedMmu): void {
    this.#instructionTlb.restore(saved.instruction);
    this.#dataTlb.restore(saved.data);
    const count = (index: number): number => saved.counts[index] as number;
    this.#instructionMisses = count(0);
    this.#instructionSecondLevelHits = count(1);
    this.#dataMisses = count(2);
    this.#dataSecondLevelHits = count(3);
    this.#instructionWalks = count(4);
    this.#dataWalks = count(5);
    this.#pdeReferences = count(6);
    this.#pteReferences = count(7);
    this.#walkUpdates = count(8);
    this.#flushesAll = count(9);
    this.#flushesNonGlobal = count(10);
    this.#flushesPage = count(11);
    this.pagingChanged();
  }

  /** Page-table references of the walker: one each, counted by reason; beyond RAM they go to the bus. */
  readTable(address: number, reason: number): number {
    if (reason >= 0) {
      this.#memory.countReference(reason);
      if (reason === PTE_REASON) this.#pteReferences++;
      else if (reason === PDE_REASON) this.#pdeReferences++;
    }
    if (address + 4 <= this.#ramBytes) return this.#memory.read32(address);
    return this.#bus.readMemory(address, 4) | 0;
  }

  updateTable(address: number, value: number): void {
    if (address + 4 <= this.#ramBytes) this.#memory.write32(address, value);
    else this.#bus.writeMemory(address, 4, value >>> 0);
  }

  // Translation.

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
    if (crosses) this.#charge(this.#accounts.current.instructions, "pageCross");
    if ((access & ACCESS.DESCRIPTOR) !== 0) this.#memory.countReference(DESCRIPTOR_REASON);
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
    let physical = address as number;
    if ((this.#state.cr0 & CR0.PG) !== 0) {
      if (!this.#pagingModelled()) return -1;
      const access = ACCESS.FETCH | (user ? ACCESS.USER : 0);
      const tlb = this.#instructionTlb;
      let entry = tlb.lookup(address);
      if (entry < 0) {
        entry = tlb.promote(address);
        if (entry < 0) {
          this.#instructionMisses++;
          this.#instructionWalks++;
          entry = this.#walkInto(tlb, address, access, -1);
          if (entry < 0) return -1;
        } else {
          this.#instructionSecondLevelHits++;
          this.#charge(this.#accounts.current.walk, "tlbSecondLevel");
        }
      }
      if (!this.#permits(tlb.attributes[entry] as number, access)) return this.#fault(address, this.#errorCode(access));
      physical = (tlb.bases[entry] as number) + lowBits(address, tlb.shifts[entry] as number);
    }
    const page = address >>> 12;
    const slot = (user ? 1 << FETCH_BITS : 0) | (page & FETCH_MASK);
    this.#fetchTags[slot] = page;
    this.#fetchFrames[slot] = pageBase(physical);
    return physical;
  }

  /**
   * Walks, charges, and caches the translation; its first-level index, or -1 with a fault in the signal. `known` is
   * the entry that a rewalk for D replaces, or -1.
   */
  #walkInto(tlb: Tlb, address: number, access: number, known: number): number {
    const context = this.#currentContext();
    const result = walk(this.#tables, context, address, access & (WALK.WRITE | WALK.USER | WALK.FETCH));
    const account = this.#accounts.current.walk;
    this.#charge(account, "walkStart");
    for (let i = 0; i < result.references; i++) this.#charge(account, "walkReference");
    for (let i = 0; i < result.updates; i++) this.#charge(account, "walkUpdate");
    this.#walkUpdates += result.updates;
    if (result.outcome !== WALK_OUTCOME.TRANSLATED) return this.#fault(address, result.errorCode);
    if (known >= 0) {
      // The tables may have changed since the translation was cached.
      const shift = tlb.shifts[known] as number;
      if (shift !== result.pageShift) tlb.flushPage(address);
      else this.#dropData(pageNumberAt(address, shift), shift);
    }
    const attributes =
      (result.writable ? TLB_ATTRIBUTE.WRITABLE : 0) |
      (result.user ? TLB_ATTRIBUTE.USER : 0) |
      (result.dirty ? TLB_ATTRIBUTE.DIRTY : 0) |
      (result.global ? TLB_ATTRIBUTE.GLOBAL : 0) |
      (result.executable ? TLB_ATTRIBUTE.EXECUTABLE : 0);
    return tlb.insert(address, result.pageShift, result.pageBase, attributes);
  }

  /** SDM vol. 3, 4.6, for a cached translation. */
  #permits(attributes: number, access: number): boolean {
    const user = (access & ACCESS.USER) !== 0;
    if (user && (attributes & TLB_ATTRIBUTE.USER) === 0) return false;
    if ((access & ACCESS.FETCH) !== 0 && (attributes & TLB_ATTRIBUTE.EXECUTABLE) === 0) return false;
    if ((access & ACCESS.WRITE) === 0 || (attributes & TLB_ATTRIBUTE.WRITABLE) !== 0) return true;
    return !user && (this.#state.cr0 & CR0.WP) === 0;
  }

  /** Error code of an access that a present translation does not permit. */
  #errorCode(access: number): number {
    const fetch = (access & ACCESS.FETCH) !== 0 && this.#currentContext().fetchInErrorCode;
    const write = (access & ACCESS.WRITE) !== 0;
    const user = (access & ACCESS.USER) !== 0;
    return PF.P | (write ? PF.WR : 0) | (user ? PF.US : 0) | (fetch ? PF.ID : 0);
  }

  /** Raises #PF and drops what is cached for the address (SDM vol. 3, 4.10.4.1). */
  #fault(address: number, errorCode: number): number {
    this.#dropPage(address);
    raisePageFault(this.#state, address, errorCode);
    return -1;
  }

  #dropPage(address: number): void {
    this.#dataTlb.flushPage(address);
    this.#instructionTlb.flushPage(address);
    if ((this.#state.cr0 & CR0.PG) === 0) {
      this.#dropData(address >>> 12, 12);
      this.#dropFetch(address >>> 12, 12);
    }
  }

  #pagingModelled(): boolean {
    if ((this.#state.cr4 & CR4.PAE) === 0) return true;
    unmodelled(this.#state, "PAE and 4-level paging");
    return false;
  }

  #currentContext(): WalkContext {
    const state = this.#state;
    if (state.cr0 !== this.#contextCr0 || state.cr4 !== this.#contextCr4 || state.i32[CELL.cr3] !== this.#contextCr3) {
      this.#context = this.#makeContext();
    }
    return this.#context;
  }

  #makeContext(): WalkContext {
    const state = this.#state;
    const pseBefore = this.#tables.features.pse === true;
    const pse = (state.cr4 & CR4.PSE) !== 0;
    this.#contextCr0 = state.cr0;
    this.#contextCr3 = state.i32[CELL.cr3] as number;
    this.#contextCr4 = state.cr4;
    if (pse !== pseBefore) {
      const physicalAddressBits = this.#physicalAddressBits;
      this.#tables = tablesOf(PAGING_32, { physicalAddressBits, pse, pse36: this.#pse36 });
    }
    return {
      root: pageBase(state.get(CELL.cr3)),
      writeProtect: (this.#contextCr0 & CR0.WP) !== 0,
      globalPages: (this.#contextCr4 & CR4.PGE) !== 0,
      fetchInErrorCode: false,
      memory: this,
      reasons: FIRST_STAGE_REASONS,
      secondStage: null,
      result: this.#result,
    };
  }

  // The fast table.

  /** Fills every part that the translation of `linear`'s page to `frame` permits. */
  #fillFast(linear: number, frame: number, attributes: number): void {
    if (frame + PAGE_SIZE > this.#ramBytes) return;
    const page = linear >>> 12;
    const user = (attributes & TLB_ATTRIBUTE.USER) !== 0;
    const writable = (attributes & TLB_ATTRIBUTE.WRITABLE) !== 0;
    const dirty = (attributes & TLB_ATTRIBUTE.DIRTY) !== 0;
    this.#setFast(ACCESS.READ, page, frame);
    if (user) this.#setFast(ACCESS.USER, page, frame);
    if (dirty && (writable || (this.#state.cr0 & CR0.WP) === 0)) this.#setFast(ACCESS.WRITE, page, frame);
    if (dirty && writable && user) this.#setFast(ACCESS.USER | ACCESS.WRITE, page, frame);
  }

  #setFast(part: number, page: number, frame: number): void {
    const slot = (part << FAST_BITS) | (page & FAST_MASK);
    if (this.#tags[slot] === NO_PAGE) {
      if (this.#filledCount < FILLED_LIST) this.#filled[this.#filledCount] = slot;
      this.#filledCount++;
    }
    this.#tags[slot] = page;
    this.#frames[slot] = RAM_OFFSET + frame;
  }

  /** Drops fast entries of the page with this number and size. */
  #dropData(pageNumber: number, shift: number): void {
    const tags = this.#tags;
    if (shift === 12) {
      for (let part = 0; part < FILLED_PARTS; part++) {
        const slot = (part << FAST_BITS) | (pageNumber & FAST_MASK);
        if (tags[slot] === pageNumber) tags[slot] = NO_PAGE;
      }
      return;
    }
    const pages = shift - 12;
    for (let slot = 0; slot < FILLED_PARTS << FAST_BITS; slot++) {
      if ((tags[slot] as number) >> pages === pageNumber) tags[slot] = NO_PAGE;
    }
  }

  #dropFetch(pageNumber: number, shift: number): void {
    const tags = this.#fetchTags;
    if (shift === 12) {
      for (let slot = pageNumber & FETCH_MASK; slot < tags.length; slot += 1 << FETCH_BITS) {
        if (tags[slot] === pageNumber) tags[slot] = NO_PAGE;
      }
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
    const slot = (access << FAST_BITS) | (page & FAST_MASK);
    const offset = linear & 0xfff;
    if (this.#tags[slot] === page && offset + bytes <= PAGE_SIZE) {
      if (this.#alignmentFault(linear, bytes, access)) return 0;
      return this.#readPhysical((this.#frames[slot] as number) - RAM_OFFSET + offset, bytes);
    }
    const first = this.#translateBytes(linear, bytes, access);
    if (first < 0) return 0;
    return this.#gather(first, this.#second, PAGE_SIZE - pageOffset(first), 0, bytes);
  }

  #storeSlow(linear: number, bytes: number, value: number, access: number): void {
    const page = linear >>> 12;
    const slot = (access << FAST_BITS) | (page & FAST_MASK);
    const offset = linear & 0xfff;
    if (this.#tags[slot] === page && offset + bytes <= PAGE_SIZE) {
      if (this.#alignmentFault(linear, bytes, access)) return;
      this.#writePhysical((this.#frames[slot] as number) - RAM_OFFSET + offset, bytes, value);
      return;
    }
    const first = this.#translateBytes(linear, bytes, access);
    if (first < 0) return;
    this.#scatter(first, this.#second, PAGE_SIZE - pageOffset(first), 0, bytes, value);
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
    if (address + bytes <= this.#ramBytes) {
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
    if (address + bytes <= this.#ramBytes) {
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

  #charge(account: Parameters<Ledger["charge"]>[0], cost: CostName): void {
    const ticks = this.#ticks[cost];
    this.#ledger.charge(account, ticks);
    if (this.onCost !== null) this.onCost(cost, ticks);
  }
}

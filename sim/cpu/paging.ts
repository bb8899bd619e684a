/**
 * Translation of linear addresses by the processor: modelled instruction and data TLBs before the page walker, page
 * faults, and what all this costs and counts (SDM vol. 3, 4). The MMU (mmu.ts) stands on it and moves the bytes.
 *
 * - A TLB hit that does not permit the access faults without a walk and drops the entry, as the SDM allows and
 *   demands (4.10.4.1: a page fault invalidates the entries for its address; 4.10.4.3: spurious faults).
 * - PAE paging takes the first level from the PDPTE registers in the state, not from memory (system/pdptes.ts).
 * - A write through an entry with D clear walks again, and takes over the tables as they are then.
 *
 * Simplified: no paging-structure caches; no 4-level paging, though the walker knows it.
 */
import type { Account, Ledger } from "../ledger.ts";
import { lowBits, pageBase, pageNumberAt } from "../memory/address.ts";
import { PAGING_32, PAGING_PAE, type Tables, tablesOf } from "../memory/page-tables.ts";
import { type PhysicalMemory, REASON } from "../memory/physical.ts";
import { type EvictionListener, type SavedTlb, TLB_ATTRIBUTE, Tlb, type TlbStorage } from "../memory/tlb.ts";
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
import { addressAbilities, type CostName, type CostTicks, costTicks, type Profile } from "./profiles/profile.ts";
import { CELL, type CpuState, CR0, CR4, EFER, raisePageFault } from "./state.ts";

/** What the MMU and its translation stand on. */
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

/** The modelled TLBs and the counters as plain data. */
export interface SavedMmu {
  readonly instruction: SavedTlb;
  readonly data: SavedTlb;
  readonly counters: Readonly<Record<string, number>>;
}

/** Counters, in the order in which they stand in the shared memory (f64). */
const COUNTERS = [
  "tlb.instruction.misses",
  "tlb.instruction.second-level-hits",
  "tlb.data.misses",
  "tlb.data.second-level-hits",
  "walk.count.instruction",
  "walk.count.data",
  "walk.references.pde",
  "walk.references.pte",
  "walk.updates",
  "tlb.flushes.all",
  "tlb.flushes.non-global",
  "tlb.flushes.page",
] as const;
/** Indices of counters: of each side, and of both. */
export const COUNT = {
  instruction: { misses: 0, secondLevelHits: 1, walks: 4 },
  data: { misses: 2, secondLevelHits: 3, walks: 5 },
  pde: 6,
  pte: 7,
  updates: 8,
  all: 9,
  nonGlobal: 10,
  page: 11,
} as const;
export type SideCounts = (typeof COUNT)["instruction" | "data"];

/** Words that say which walks compiled code may make: those for these registers, if they are usual. */
export const USUAL_CELL = {
  cr0: 0,
  cr4: 1,
  /** 32-bit paging, with gate A20 open. */
  usual: 2,
} as const;

/** A walk's context, whose root and PDPTEs follow the registers. */
type Context = WalkContext & { root: number; pdptes: NonNullable<WalkContext["pdptes"]> };

interface Ready {
  readonly tables: Tables;
  readonly context: Context;
}

/** Words of the PDPTE registers. */
const PDPTE_WORDS = 8;
/** log2 of the large page: of 32-bit paging, and of PAE paging. */
const LARGE_32 = 22;
const LARGE_PAE = 21;
const SMALL_SHIFT = 12;
const PAGE_MASK = 0xfff;

export class Paging implements TableMemory {
  readonly #state: CpuState;
  readonly #memory: PhysicalMemory;
  readonly #bus: Bus;
  readonly #ledger: Ledger;
  readonly #accounts: Accounts;
  readonly #ticks: CostTicks;
  readonly dataTlb: Tlb;
  readonly instructionTlb: Tlb;
  readonly #onDataEvict: EvictionListener;
  readonly #abilities: ReturnType<typeof addressAbilities>;

  /** What walks are made with, by the control bits that it depends on; a world switch goes from one to another. */
  readonly #contexts: Ready[] = [];
  /** The present one, with the registers that it was taken for. */
  #tables!: Tables;
  #context!: Context;
  #contextCr0 = 0;
  #contextCr3 = 0;
  #contextCr4 = 0;
  /** With CR4.PAE only. */
  #contextEfer = 0;
  readonly #contextPdptes = new Int32Array(PDPTE_WORDS);
  readonly #result = new WalkResult();

  /** By COUNT. */
  readonly #counts: Float64Array;
  /** By USUAL_CELL. */
  readonly #usual: Int32Array;
  #permitted = true;

  /** TLB_ATTRIBUTE bits of the last translation that `data` or `fetch` gave. */
  attributes = 0;

  /** The listeners hear what leaves or changes in the first levels, except by flushes of everything. */
  constructor(parts: MmuParts, onDataEvict: EvictionListener, onInstructionEvict: EvictionListener) {
    this.#state = parts.state;
    this.#memory = parts.memory;
    this.#bus = parts.bus;
    this.#ledger = parts.ledger;
    this.#accounts = parts.accounts;
    this.#ticks = costTicks(parts.profile);
    this.#onDataEvict = onDataEvict;
    const { buffer, engineArea } = parts.memory;
    this.#counts = new Float64Array(buffer, engineArea.translation, COUNTERS.length).fill(0);
    this.#usual = new Int32Array(buffer, engineArea.translation + this.#counts.byteLength, 3);
    const storage = (byteOffset: number): TlbStorage => ({ buffer, byteOffset });
    this.dataTlb = new Tlb(parts.profile.dataTlb, parts.seed, onDataEvict, storage(engineArea.dataTlb));
    // The two sides draw from different sequences.
    const instructionSeed = (parts.seed ^ 0x5bd1e995) >>> 0;
    this.instructionTlb = new Tlb(
      parts.profile.instructionTlb,
      instructionSeed,
      onInstructionEvict,
      storage(engineArea.instructionTlb),
    );
    this.#abilities = addressAbilities(parts.profile);
    this.#takeContext();
  }

  /** Whether CR0.PG is set; `data` and `fetch` are asked only then. */
  get enabled(): boolean {
    return (this.#state.cr0 & CR0.PG) !== 0;
  }

  /** Physical address for a data access (ACCESS bits) to a 32-bit linear address, or -1 with a fault in the signal. */
  data(address: number, access: number): number {
    const tlb = this.dataTlb;
    let entry = this.#lookup(tlb, COUNT.data, address, access);
    if (entry < 0) return -1;
    if ((access & ACCESS.WRITE) !== 0 && ((tlb.attributes[entry] as number) & TLB_ATTRIBUTE.DIRTY) === 0) {
      this.#count(COUNT.data.walks);
      entry = this.#walkInto(tlb, address, access, entry);
      if (entry < 0) return -1;
    }
    this.attributes = tlb.attributes[entry] as number;
    return (tlb.bases[entry] as number) + lowBits(address, tlb.shifts[entry] as number);
  }

  /** Whether the first level translates and permits a data access without a walk. */
  finds(address: number, access: number): boolean {
    const entry = this.dataTlb.lookup(address);
    if (entry < 0) return false;
    const attributes = this.dataTlb.attributes[entry] as number;
    const walks = (access & ACCESS.WRITE) !== 0 && (attributes & TLB_ATTRIBUTE.DIRTY) === 0;
    return !walks && this.#permits(attributes, access);
  }

  /** Physical address of an instruction byte at a 32-bit linear address, or -1 with a fault in the signal. */
  fetch(address: number, user: boolean): number {
    const tlb = this.instructionTlb;
    const entry = this.#lookup(tlb, COUNT.instruction, address, ACCESS.FETCH | (user ? ACCESS.USER : 0));
    if (entry < 0) return -1;
    this.attributes = tlb.attributes[entry] as number;
    return (tlb.bases[entry] as number) + lowBits(address, tlb.shifts[entry] as number);
  }

  /** Flushes what FLUSH says. */
  flush(scope: number): void {
    if (scope === FLUSH.NON_GLOBAL) {
      this.#count(COUNT.nonGlobal);
      this.dataTlb.flushNonGlobal();
      this.instructionTlb.flushNonGlobal();
    } else {
      this.#count(COUNT.all);
      this.#dropAll();
    }
  }

  /** Empties both TLBs, which takes them to the large page size of the paging mode. */
  #dropAll(): void {
    const shift = (this.#state.cr4 & CR4.PAE) !== 0 ? LARGE_PAE : LARGE_32;
    for (const tlb of [this.dataTlb, this.instructionTlb]) {
      tlb.flushAll();
      tlb.useLargePages(shift);
    }
  }

  /** INVLPG: entries for the page of any size that contains the address, global ones too. */
  flushPage(address: number): void {
    this.#count(COUNT.page);
    this.#dropPage(address);
  }

  /** Notes whether compiled code may walk (USUAL_CELL); `permitted`: as far as the MMU is concerned. */
  shareUsual(permitted: boolean): void {
    this.#permitted = permitted;
    this.#noteUsual();
  }

  #noteUsual(): void {
    this.#usual[USUAL_CELL.cr0] = this.#contextCr0;
    this.#usual[USUAL_CELL.cr4] = this.#contextCr4;
    const usual = this.#permitted && this.#memory.a20 && this.#tables.format === PAGING_32;
    this.#usual[USUAL_CELL.usual] = usual && (this.#contextCr0 & CR0.PG) !== 0 ? 1 : 0;
  }

  /** Byte offsets of the counters and of the words of USUAL_CELL. */
  sharedOffsets(): { readonly counts: number; readonly usual: number } {
    return { counts: this.#counts.byteOffset, usual: this.#usual.byteOffset };
  }

  #count(index: number, events = 1): void {
    this.#counts[index] = (this.#counts[index] as number) + events;
  }

  counters(): Record<string, number> {
    return Object.fromEntries(COUNTERS.map((name, index) => [name, this.#counts[index] as number]));
  }

  /** TLB misses that walked, instruction and data. */
  get walksFromMisses(): number {
    const { instruction, data } = COUNT;
    return (this.#counts[instruction.misses] as number) + (this.#counts[data.misses] as number);
  }

  save(): SavedMmu {
    return { instruction: this.instructionTlb.save(), data: this.dataTlb.save(), counters: this.counters() };
  }

  restore(saved: SavedMmu): void {
    this.instructionTlb.restore(saved.instruction);
    this.dataTlb.restore(saved.data);
    COUNTERS.forEach((name, index) => {
      this.#counts[index] = saved.counters[name] ?? 0;
    });
  }

  /** Charges a named cost of the profile. */
  charge(account: Account, cost: CostName): void {
    this.#ledger.charge(account, this.#ticks[cost], cost);
  }

  /** One sum where nobody listens, one charge for each reference and update where somebody does. */
  #chargeWalk(account: Account, references: number, updates: number): void {
    const { walkStart, walkReference, walkUpdate } = this.#ticks;
    if (this.#ledger.onCharge === null) {
      this.#ledger.charge(account, walkStart + references * walkReference + updates * walkUpdate);
      return;
    }
    this.charge(account, "walkStart");
    for (let i = 0; i < references; i++) this.charge(account, "walkReference");
    for (let i = 0; i < updates; i++) this.charge(account, "walkUpdate");
  }

  /** Page-table references of the walker: one each, counted by reason; beyond RAM they go to the bus. */
  readTable(address: number, reason: number): number {
    if (reason >= 0) {
      this.#memory.countReference(reason);
      if (reason === REASON.pte) this.#count(COUNT.pte);
      else if (reason === REASON.pde) this.#count(COUNT.pde);
    }
    const located = this.#memory.locate(address);
    if (this.#memory.stores(located)) return this.#memory.read32(located);
    return this.#bus.readMemory(located, 4) | 0;
  }

  updateTable(address: number, value: number): void {
    const located = this.#memory.locate(address);
    if (this.#memory.isWritable(located)) this.#memory.write32(located, value);
    else this.#bus.writeMemory(located, 4, value >>> 0);
  }

  /** First-level index of the entry that translates the access and permits it, or -1 with a fault in the signal. */
  #lookup(tlb: Tlb, side: SideCounts, address: number, access: number): number {
    let entry = tlb.lookup(address);
    if (entry < 0) {
      entry = tlb.promote(address);
      if (entry < 0) {
        this.#count(side.misses);
        this.#count(side.walks);
        return this.#walkInto(tlb, address, access, -1);
      }
      this.#count(side.secondLevelHits);
      this.charge(this.#accounts.current.walk, "tlbSecondLevel");
    }
    if (!this.#permits(tlb.attributes[entry] as number, access)) return this.#fault(address, this.#errorCode(access));
    return entry;
  }

  /**
   * Walks, charges, and caches the translation; its first-level index, or -1 with a fault in the signal. `known` is
   * the entry that a rewalk for D replaces, or -1.
   */
  #walkInto(tlb: Tlb, address: number, access: number, known: number): number {
    const context = this.#currentContext();
    const result = this.#usualWalk(address, access)
      ? this.#result
      : walk(this.#tables, context, address, access & (WALK.WRITE | WALK.USER | WALK.FETCH));
    const account = this.#accounts.current.walk;
    this.#chargeWalk(account, result.references, result.updates);
    this.#count(COUNT.updates, result.updates);
    if (result.outcome !== WALK_OUTCOME.TRANSLATED) return this.#fault(address, result.errorCode);
    if (known >= 0) {
      // The tables may have changed since the translation was cached.
      const shift = tlb.shifts[known] as number;
      if (shift !== result.pageShift) tlb.flushPage(address);
      else if (tlb === this.dataTlb) this.#onDataEvict(pageNumberAt(address, shift), shift);
    }
    const attributes =
      (result.writable ? TLB_ATTRIBUTE.WRITABLE : 0) |
      (result.user ? TLB_ATTRIBUTE.USER : 0) |
      (result.dirty ? TLB_ATTRIBUTE.DIRTY : 0) |
      (result.global ? TLB_ATTRIBUTE.GLOBAL : 0) |
      (result.executable ? TLB_ATTRIBUTE.EXECUTABLE : 0);
    return tlb.insert(address, result.pageShift, result.pageBase, attributes, known < 0);
  }

  /**
   * The usual walk in one piece: 32-bit paging through tables in RAM, to a 4 KB page that is there and permits the access,
   * or that is not or does not. False: nothing has been done, and `walk` says what happens. The references are counted,
   * their order is not noted.
   */
  #usualWalk(address: number, access: number): boolean {
    const memory = this.#memory;
    if (this.#tables.format !== PAGING_32 || !memory.a20) return false;
    const { present, write, user, accessed, dirty, large, global } = PAGING_32.bits;
    const pdeAddress = this.#context.root + ((address >>> 22) << 2);
    if (!memory.isWritable(pdeAddress)) return false;
    const pde = memory.read32(pdeAddress);
    if ((pde & (present | large)) !== present) return false;
    const pteAddress = ((pde & ~PAGE_MASK) >>> 0) + ((address >>> 10) & (PAGE_MASK & ~3));
    if (!memory.isWritable(pteAddress)) return false;
    const pte = memory.read32(pteAddress);
    const both = pde & pte;
    const byUser = (access & ACCESS.USER) !== 0;
    const writes = (access & ACCESS.WRITE) !== 0;

    const result = this.#result;
    memory.countReference(REASON.pde);
    memory.countReference(REASON.pte);
    this.#count(COUNT.pde);
    this.#count(COUNT.pte);
    result.references = 2;
    result.updates = 0;
    const denied =
      (byUser && (both & user) === 0) || (writes && (both & write) === 0 && (byUser || this.#context.writeProtect));
    if ((pte & present) === 0 || denied) {
      result.outcome = (pte & present) === 0 ? WALK_OUTCOME.NOT_PRESENT : WALK_OUTCOME.PROTECTION;
      result.errorCode = (pte & present ? PF.P : 0) | (writes ? PF.WR : 0) | (byUser ? PF.US : 0);
      return true;
    }
    if ((pde & accessed) === 0) {
      result.updates = 1;
      memory.write32(pdeAddress, pde | accessed);
    }
    const marks = writes ? accessed | dirty : accessed;
    const marked = pte | marks;
    if (marked !== pte) {
      result.updates++;
      memory.write32(pteAddress, marked);
    }
    result.outcome = WALK_OUTCOME.TRANSLATED;
    result.pageBase = (pte & ~PAGE_MASK) >>> 0;
    result.pageShift = SMALL_SHIFT;
    result.writable = (both & write) !== 0;
    result.user = (both & user) !== 0;
    result.executable = true;
    result.global = this.#context.globalPages && (pte & global) !== 0;
    result.dirty = (marked & dirty) !== 0;
    return true;
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
    this.dataTlb.flushPage(address);
    this.instructionTlb.flushPage(address);
  }

  #currentContext(): WalkContext {
    const state = this.#state;
    if (
      state.cr0 !== this.#contextCr0 ||
      state.cr4 !== this.#contextCr4 ||
      ((state.cr4 & CR4.PAE) !== 0 && this.#paeChanged())
    ) {
      this.#takeContext();
    } else if (state.i32[CELL.cr3] !== this.#contextCr3) {
      this.#contextCr3 = state.i32[CELL.cr3] as number;
      this.#context.root = pageBase(state.get(CELL.cr3));
    }
    return this.#context;
  }

  #paeChanged(): boolean {
    const { i32 } = this.#state;
    if (i32[CELL.efer] !== this.#contextEfer) return true;
    for (let n = 0; n < PDPTE_WORDS; n++) if (i32[CELL.pdpte0 + n] !== this.#contextPdptes[n]) return true;
    return false;
  }

  /** Takes the context that the registers ask for, made at its first use. */
  #takeContext(): void {
    const state = this.#state;
    const { cr0, cr4 } = state;
    const pae = (cr4 & CR4.PAE) !== 0;
    const pse = !pae && (cr4 & CR4.PSE) !== 0;
    const nxe = pae && (state.get(CELL.efer) & EFER.NXE) !== 0;
    const writeProtect = (cr0 & CR0.WP) !== 0;
    const globalPages = (cr4 & CR4.PGE) !== 0;
    this.#contextCr0 = cr0;
    this.#contextCr3 = state.i32[CELL.cr3] as number;
    this.#contextCr4 = cr4;
    this.#contextEfer = state.i32[CELL.efer] as number;
    if (pae) this.#contextPdptes.set(state.i32.subarray(CELL.pdpte0, CELL.pdpte0 + PDPTE_WORDS));
    const index = (pae ? 1 : 0) | (pse ? 2 : 0) | (nxe ? 4 : 0) | (writeProtect ? 8 : 0) | (globalPages ? 16 : 0);
    let known = this.#contexts[index];
    if (known === undefined) {
      const { physicalAddressBits, pse36 } = this.#abilities;
      known = {
        tables: pae
          ? tablesOf(PAGING_PAE, { physicalAddressBits, nxe })
          : tablesOf(PAGING_32, { physicalAddressBits, pse, pse36 }),
        context: {
          root: 0,
          writeProtect,
          globalPages,
          fetchInErrorCode: nxe,
          pdptes: [],
          memory: this,
          reasons: FIRST_STAGE_REASONS,
          secondStage: null,
          result: this.#result,
        },
      };
      this.#contexts[index] = known;
    }
    known.context.root = pageBase(state.get(CELL.cr3));
    if (pae) known.context.pdptes = state.pdptes();
    this.#tables = known.tables;
    this.#context = known.context;
    this.#noteUsual();
  }
}

/**
 * The environment of an instruction that a monitor executes for its guest: addresses are translated by the guest's
 * own page tables, memory is guest-physical, ports and device memory are the virtual machine's. The semantics are
 * those of the one interpreter; only what an access means, and who pays for it, differs.
 *
 * The software walk sets A and D in the guest's tables as the processor would.
 */
import { ACCESS, type Environment, FLUSH, type Intercepts, type VmxInstructions } from "../cpu/environment.ts";
import { addressAbilities, type CostName, type Profile } from "../cpu/profiles/profile.ts";
import { CELL, type CpuState, CR0, CR4, EFER, FLAG, OUTCOME, raise, raisePageFault, VECTOR } from "../cpu/state.ts";
import { dataBreakpoints, portBreakpoints } from "../cpu/system/breakpoints.ts";
import { addressBits, PAGE_SIZE, pageBase, pageOffset } from "../memory/address.ts";
import { type Level, PAGING_32, PAGING_PAE, type Tables, tablesOf } from "../memory/page-tables.ts";
import { entryTarget, FIRST_STAGE_REASONS, WALK_OUTCOME, type WalkContext, WalkResult, walk } from "../memory/walk.ts";

/** What the environment asks of the monitor that emulates. Guest-physical addresses; the monitor charges. */
export interface EmulationHost {
  /**
   * Reads 1, 2 or 4 bytes of guest-physical space within a page, RAM or device; zero-extended for 1 and 2, int32 for 4.
   */
  readGuest(address: number, bytes: number): number;
  /** Whether guest-physical space holds these bytes, within a page of RAM. Free: it stands for what a write tells. */
  holds(address: number, bytes: Uint8Array): boolean;
  /** Writes 1, 2 or 4 bytes within a page; tells the memory model when the page is traced. */
  writeGuest(address: number, bytes: number, value: number): void;
  /** One 32-bit guest page-table entry of a software walk. */
  readEntry(address: number): number;
  /** A or D is set in a guest page-table entry. */
  updateEntry(address: number, value: number): void;
  /** FERR# of the virtual processor goes to this level; whether IGNNE# is asserted. */
  numericError(active: boolean): boolean;
  readPort(port: number, bytes: number): number;
  writePort(port: number, bytes: number, value: number): void;
  /** CR0, CR3 or CR4 of the virtual processor changed in a way that flushes translations. */
  translationChanged(scope: number): void;
  /** INVLPG. */
  invalidatePage(linear: number): void;
  /** Guest time-stamp counter in cycles. */
  timestamp(): number;
  /** The machine's clock in ticks. */
  now(): number;
  /** An iteration of a string instruction, where instructions are emulated one after another. */
  iterated(): void;
  apicBaseChanged(): void;
  /** A marker NOP (observer.ts). */
  marker(kind: number, region: number): void;
}

export class VirtualEnvironment implements Environment {
  /** The processor as the guest may see it. */
  readonly profile: Profile;
  readonly intercepts: Intercepts | null = null;
  readonly vmx: VmxInstructions | null = null;
  /**
   * Ticks at which a string instruction must stop between two iterations, for whoever emulates one instruction after
   * another; infinite where a single instruction is completed for the guest, for which no time passes.
   */
  deadline = Number.POSITIVE_INFINITY;
  /**
   * What enabled breakpoints look at (WATCHES); zero while the guest's debug registers are not at hand.
   */
  watches = 0;
  /** Whether devices, flags or registers changed in a way that asks for a look at what is pending. */
  attends = false;
  readonly #state: CpuState;
  readonly #host: EmulationHost;
  readonly #result = new WalkResult();
  /** 32-bit paging by CR4.PSE, PAE paging by IA32_EFER.NXE. */
  readonly #tables: readonly [Tables, Tables];
  readonly #paeTables: readonly [Tables, Tables];
  /** Physical address of the second page's part of an access that crosses a page. */
  #second = 0;
  /** The walk's context, good while the control registers are those that it was made from; never with PAE paging. */
  #walkContext: WalkContext | null = null;
  #contextCr0 = 0;
  #contextCr3 = 0;
  #contextCr4 = 0;
  /** The walk under way leaves A and D alone. */
  #looksOnly = false;

  constructor(profile: Profile, state: CpuState, host: EmulationHost) {
    this.profile = profile;
    this.#state = state;
    this.#host = host;
    const { physicalAddressBits, pse36 } = addressAbilities(profile);
    this.#tables = [
      tablesOf(PAGING_32, { physicalAddressBits }),
      tablesOf(PAGING_32, { physicalAddressBits, pse: true, pse36 }),
    ];
    this.#paeTables = [
      tablesOf(PAGING_PAE, { physicalAddressBits }),
      tablesOf(PAGING_PAE, { physicalAddressBits, nxe: true }),
    ];
  }

  /** The guest's tables as its control registers have them read; null without paging. */
  get tables(): Tables | null {
    const state = this.#state;
    if ((state.cr0 & CR0.PG) === 0) return null;
    if ((state.cr4 & CR4.PAE) !== 0) return this.#paeTables[(state.get(CELL.efer) & EFER.NXE) !== 0 ? 1 : 0];
    return this.#tables[(state.cr4 & CR4.PSE) === 0 ? 0 : 1];
  }

  /** Guest-physical address of a linear one, or -1 with #PF signalled. */
  translate(linear: number, access: number): number {
    const { tables } = this;
    if (tables === null) return linear;
    const result = walk(tables, this.#context(tables), linear, access & 7);
    if (result.outcome !== WALK_OUTCOME.TRANSLATED) {
      raisePageFault(this.#state, linear, result.errorCode);
      return -1;
    }
    return result.pageBase + (linear % 2 ** result.pageShift);
  }

  /** The same without a trace: -1 where there is no translation or no right; no flag is set in the guest's tables. */
  find(linear: number, access: number): number {
    this.#looksOnly = true;
    const address = this.translate(linear, access);
    this.#looksOnly = false;
    if (address < 0) this.#state.signal.outcome = OUTCOME.NONE;
    return address;
  }

  /** Words of the directory entry that the last walk has used: the last level but one of `tables`. */
  get walkedDirectory(): readonly [low: number, high: number] {
    const level = (this.tables as Tables).levels.length - 2;
    return [this.#result.entryLow[level] as number, this.#result.entryHigh[level] as number];
  }

  /** Whether the last walk left A and D as they were, and for a write used only entries with R/W, whatever CR0.WP is. */
  walkedAsIs(write: boolean): boolean {
    return this.#result.updates === 0 && (!write || this.#result.writable);
  }

  /** Words of the entry over `linear` of the directory, read as a level of a walk is; not present: [0, 0]. Only with paging. */
  directoryEntry(linear: number): readonly [low: number, high: number] {
    const tables = this.tables as Tables;
    const { levels, entryBytes, bits } = tables;
    const { root, pdptes } = this.#context(tables);
    const level = levels[levels.length - 2] as Level;
    let directory = root;
    if (pdptes !== undefined) {
      const [low, high] = pdptes[linear >>> 30] as readonly [number, number];
      if ((low & bits.present) === 0) return [0, 0];
      directory = entryTarget(levels[0] as Level, low, high);
    }
    const address = directory + addressBits(linear, level.indexLow, level.indexBits) * entryBytes;
    const low = this.#host.readEntry(address);
    return (low & bits.present) === 0 ? [0, 0] : [low, entryBytes === 8 ? this.#host.readGuest(address + 4, 4) : 0];
  }

  #context({ format, executeDisable }: Tables): WalkContext {
    const pae = format === PAGING_PAE;
    const state = this.#state;
    const { cr0, cr4 } = state;
    const cr3 = state.get(CELL.cr3);
    const known = this.#walkContext;
    if (known !== null && cr0 === this.#contextCr0 && cr3 === this.#contextCr3 && cr4 === this.#contextCr4)
      return known;
    const host = this.#host;
    const context: WalkContext = {
      root: pageBase(cr3),
      writeProtect: (cr0 & CR0.WP) !== 0,
      globalPages: (cr4 & CR4.PGE) !== 0,
      fetchInErrorCode: executeDisable !== 0,
      ...(pae ? { pdptes: state.pdptes() } : {}),
      memory: {
        // The second word of an entry comes with the first.
        readTable: (address, reason) => (reason < 0 ? host.readGuest(address, 4) : host.readEntry(address)),
        updateTable: (address, value) => {
          if (!this.#looksOnly) host.updateEntry(address, value);
        },
      },
      reasons: FIRST_STAGE_REASONS,
      secondStage: null,
      result: this.#result,
    };
    this.#walkContext = pae ? null : context;
    this.#contextCr0 = cr0;
    this.#contextCr3 = cr3;
    this.#contextCr4 = cr4;
    return context;
  }

  /** Whether guest-physical RAM holds these bytes; free of charge. */
  holds(address: number, bytes: Uint8Array): boolean {
    return this.#host.holds(address, bytes);
  }

  /** Code bytes at a guest-physical address, within one page, four at a time. */
  fetchBytes(address: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    let at = 0;
    while (at < length) {
      const step = length - at >= 4 ? 4 : 1;
      const word = this.#host.readGuest(address + at, step);
      for (let i = 0; i < step; i++) bytes[at + i] = (word >>> (8 * i)) & 0xff;
      at += step;
    }
    return bytes;
  }

  load(linear: number, bytes: number, access: number): number {
    const first = this.#translateBytes(linear, bytes, access);
    if (first < 0) return 0;
    if (this.watches !== 0) this.#meetBreakpoints(linear, bytes, false);
    return this.#gather(first, 0, bytes);
  }

  store(linear: number, bytes: number, value: number, access: number): void {
    const first = this.#translateBytes(linear, bytes, access | ACCESS.WRITE);
    if (first < 0) return;
    if (this.watches !== 0) this.#meetBreakpoints(linear, bytes, true);
    this.#scatter(first, 0, bytes, value);
  }

  load64(linear: number, access: number, cell: number): void {
    const first = this.#translateBytes(linear, 8, access);
    if (first < 0) return;
    if (this.watches !== 0) this.#meetBreakpoints(linear, 8, false);
    const low = this.#gather(first, 0, 4);
    const high = this.#gather(first, 4, 4);
    this.#state.i32[cell] = low;
    this.#state.i32[cell + 1] = high;
  }

  store64(linear: number, access: number, cell: number): void {
    const first = this.#translateBytes(linear, 8, access | ACCESS.WRITE);
    if (first < 0) return;
    if (this.watches !== 0) this.#meetBreakpoints(linear, 8, true);
    this.#scatter(first, 0, 4, this.#state.i32[cell] as number);
    this.#scatter(first, 4, 4, this.#state.i32[cell + 1] as number);
  }

  probe(linear: number, bytes: number, access: number): void {
    let at = linear;
    let left = bytes;
    while (left > 0) {
      if (this.translate(at >>> 0, access) < 0) return;
      const room = PAGE_SIZE - pageOffset(at >>> 0);
      left -= room;
      at += room;
    }
    if (bytes === 2 || bytes === 4 || bytes === 8) this.#alignmentFault(linear, bytes, access);
  }

  /** Translates all bytes of an access, in the processor's order (mmu.ts): first page, second page, alignment. */
  #translateBytes(linear: number, bytes: number, access: number): number {
    const first = this.translate(linear >>> 0, access);
    if (first < 0 || (linear & (bytes - 1)) === 0) return first;
    if ((linear & 0xfff) + bytes > PAGE_SIZE) {
      this.#second = this.translate((pageBase(linear >>> 0) + PAGE_SIZE) >>> 0, access);
      if (this.#second < 0) return -1;
    }
    return this.#alignmentFault(linear, bytes, access) ? -1 : first;
  }

  /** SDM vol. 3, 6.15, interrupt 17: user accesses only, while CR0.AM and EFLAGS.AC are set. */
  #alignmentFault(linear: number, bytes: number, access: number): boolean {
    if ((linear & (bytes - 1)) === 0 || (access & ACCESS.USER) === 0) return false;
    if ((this.#state.cr0 & CR0.AM) === 0 || (this.#state.flags & FLAG.AC) === 0) return false;
    raise(this.#state, VECTOR.AC, 0);
    return true;
  }

  /** Bytes `offset` to `offset + bytes - 1` of an access at `first`, and in the second page beyond its first one. */
  #gather(first: number, offset: number, bytes: number): number {
    const split = PAGE_SIZE - pageOffset(first);
    if (offset + bytes <= split) return this.#host.readGuest(first + offset, bytes);
    if (offset >= split) return this.#host.readGuest(this.#second + offset - split, bytes);
    let value = 0;
    for (let i = 0; i < bytes; i++) {
      const at = offset + i;
      value |= this.#host.readGuest(at < split ? first + at : this.#second + at - split, 1) << (8 * i);
    }
    return value;
  }

  #scatter(first: number, offset: number, bytes: number, value: number): void {
    const split = PAGE_SIZE - pageOffset(first);
    if (offset + bytes <= split) this.#host.writeGuest(first + offset, bytes, value);
    else if (offset >= split) this.#host.writeGuest(this.#second + offset - split, bytes, value);
    else {
      for (let i = 0; i < bytes; i++) {
        const at = offset + i;
        this.#host.writeGuest(at < split ? first + at : this.#second + at - split, 1, (value >>> (8 * i)) & 0xff);
      }
    }
  }

  readPdpt(address: number): number {
    return this.#host.readGuest(address, 4);
  }

  /** Data and I/O breakpoints that are met are a trap at the next boundary. */
  #meetBreakpoints(linear: number, bytes: number, write: boolean): void {
    this.#met(dataBreakpoints(this.#state, linear >>> 0, bytes, write));
  }

  #met(breakpoints: number): void {
    if (breakpoints === 0) return;
    this.#state.set(CELL.breakpointsMet, this.#state.get(CELL.breakpointsMet) | breakpoints);
    this.attends = true;
  }

  numericError(active: boolean): boolean {
    this.attends = true;
    return this.#host.numericError(active);
  }

  readPort(port: number, bytes: number): number {
    this.attends = true;
    if (this.watches !== 0) this.#met(portBreakpoints(this.#state, port, bytes));
    return this.#host.readPort(port, bytes);
  }

  writePort(port: number, bytes: number, value: number): void {
    this.attends = true;
    if (this.watches !== 0) this.#met(portBreakpoints(this.#state, port, bytes));
    this.#host.writePort(port, bytes, value);
  }

  flushTlb(scope: number): void {
    this.#host.translationChanged(scope === FLUSH.ALL ? FLUSH.ALL : FLUSH.NON_GLOBAL);
  }

  /** CR0.WP changed. */
  pagingChanged(): void {
    this.#host.translationChanged(FLUSH.NON_GLOBAL);
  }

  flushPage(linear: number): void {
    this.#host.invalidatePage(linear);
  }

  timestamp(): number {
    return this.#host.timestamp();
  }

  /** The monitor pays for what it does in its own steps; the guest's processor is not running. */
  charge(cost: CostName): void {
    if (cost === "stringIteration" && this.deadline !== Number.POSITIVE_INFINITY) this.#host.iterated();
  }

  apicBaseChanged(): void {
    this.#host.apicBaseChanged();
  }

  interruptsOpened(): void {
    this.attention();
  }

  attention(): void {
    this.attends = true;
  }

  branch(): void {}

  /** Whether a string instruction stops: single step traps after each iteration, and something may have fallen due. */
  expired(): boolean {
    if ((this.#state.flags & FLAG.TF) !== 0) return true;
    if (this.deadline === Number.POSITIVE_INFINITY) return false;
    return this.attends || this.#host.now() >= this.deadline;
  }

  marker(kind: number, region: number): void {
    this.#host.marker(kind, region);
  }
}

/**
 * The descriptor tables that the processor uses while a guest runs de-privileged: for every entry of the guest's GDT and
 * LDT the truncated one at the same place, so that the guest's own selectors work; and slots of the monitor for what is
 * in the virtual processor's segment registers, which may differ from the tables (a register that was loaded in real
 * mode, or before its descriptor was changed).
 *
 * The guest's tables are watched: a store to one faults, is emulated, and the entry is made anew. Tables are read whole
 * when GDTR or LDTR is loaded; where they are in linear space is looked at again whenever the guest's translation changes.
 */
import { ACCESS } from "../../cpu/environment.ts";
import { CELL, type CpuState, OUTCOME, RIGHTS, SEG } from "../../cpu/state.ts";
import { PAGE_SIZE, pageNumber } from "../../memory/address.ts";
import type { Shadow } from "../../memory/shadow.ts";
import type { GuestMemory } from "../guest-memory.ts";
import type { MonitorMemory } from "../monitor-memory.ts";
import type { VirtualEnvironment } from "../virtual-environment.ts";
import { FIRST_MONITOR_ENTRY, REGION_PAGE, slotSelector } from "./layout.ts";
import type { MonitorRegion } from "./region.ts";
import { ABSENT, type Descriptor, descriptorSegment, truncatedDescriptor } from "./truncate.ts";

const ENTRIES = 8192;
const ABSENT_PAGE = -1;

export interface ShadowDescriptorParts {
  readonly region: MonitorRegion;
  readonly port: MonitorMemory;
  readonly guestMemory: GuestMemory;
  readonly env: VirtualEnvironment;
  readonly virtual: CpuState;
  readonly shadow: Shadow;
}

/** One table: the guest's entries, and the shadow of each. */
class ShadowTable {
  /** Linear address of the guest's table and number of its whole entries; none before the first load. */
  base = 0;
  entries = 0;
  /** Guest-physical page of each page that the table touches, ABSENT_PAGE where its linear page is not mapped. */
  pages: number[] = [];
  readonly guest = new Int32Array(2 * ENTRIES);
  readonly shadow = new Int32Array(2 * ENTRIES);
  /** Host-physical address of the shadow table. */
  readonly host: number;
  readonly capacity: number;

  constructor(host: number, capacity: number) {
    this.host = host;
    this.capacity = capacity;
  }
}

export interface SavedDescriptors {
  readonly tables: readonly {
    readonly base: number;
    readonly entries: number;
    readonly pages: readonly number[];
    readonly guest: readonly number[];
    readonly shadow: readonly number[];
  }[];
  readonly slots: readonly number[];
  readonly stale: boolean;
}

export class ShadowDescriptors {
  readonly #parts: ShadowDescriptorParts;
  readonly #gdt: ShadowTable;
  readonly #ldt: ShadowTable;
  /** What each slot holds, two words a segment register. */
  readonly #slots = new Int32Array(16);
  /** The guest's translation changed: tables may be elsewhere. */
  #stale = false;

  constructor(parts: ShadowDescriptorParts) {
    this.#parts = parts;
    this.#gdt = new ShadowTable(parts.region.host(REGION_PAGE.gdt), FIRST_MONITOR_ENTRY);
    this.#ldt = new ShadowTable(parts.region.host(REGION_PAGE.ldt), ENTRIES);
  }

  /** Where linear pages are may have changed. */
  translationChanged(): void {
    this.#stale = true;
  }

  /** INVLPG of a linear address. */
  invalidated(linear: number): void {
    for (const table of [this.#gdt, this.#ldt]) {
      const first = pageNumber(table.base);
      const page = pageNumber(linear);
      if (page >= first && page < first + table.pages.length) this.#stale = true;
    }
  }

  /** Brings the tables up to date with the virtual processor's GDTR and LDTR. */
  refresh(): void {
    const { virtual } = this.#parts;
    this.#place(this.#gdt, virtual.get(CELL.gdtrBase), (virtual.get(CELL.gdtrLimit) + 1) >>> 3);
    const usable = (virtual.segmentRights(SEG.ldtr) & RIGHTS.UNUSABLE) === 0 && (virtual.selector(SEG.ldtr) & ~3) !== 0;
    const entries = usable ? Math.min(ENTRIES, (virtual.segmentLimit(SEG.ldtr) + 1) >>> 3) : 0;
    this.#place(this.#ldt, usable ? virtual.segmentBase(SEG.ldtr) : 0, entries);
    this.#stale = false;
  }

  /** Bytes of guest-physical memory that is watched have been written. */
  wrote(address: number, bytes: number): void {
    for (const table of [this.#gdt, this.#ldt]) {
      for (const [n, page] of table.pages.entries()) {
        if (page !== pageNumber(address)) continue;
        const linear = (pageNumber(table.base) + n) * PAGE_SIZE + (address % PAGE_SIZE);
        const first = Math.max(0, Math.floor((linear - table.base) / 8));
        const last = Math.min(table.entries - 1, Math.floor((linear + bytes - 1 - table.base) / 8));
        for (let index = first; index <= last; index++) this.#fill(table, index);
      }
    }
  }

  /** The guest's descriptor of a selector, as it was read last; ABSENT beyond its table. */
  guestDescriptor(selector: number): Descriptor {
    const table = (selector & 4) === 0 ? this.#gdt : this.#ldt;
    const index = selector >>> 3;
    if (index >= table.entries) return ABSENT;
    return [table.guest[2 * index] as number, table.guest[2 * index + 1] as number];
  }

  /**
   * Whether the processor, loading the selector of this segment register of the virtual processor, gets what the
   * register holds: what code that uses the guest's own selectors needs.
   */
  agrees(segment: number): boolean {
    const { virtual } = this.#parts;
    const selector = virtual.selector(segment);
    const rights = virtual.segmentRights(segment);
    if ((selector & 0xfffc) === 0) return (rights & RIGHTS.UNUSABLE) !== 0;
    const table = (selector & 4) === 0 ? this.#gdt : this.#ldt;
    const index = selector >>> 3;
    if (index >= table.entries || index >= table.capacity) return false;
    const [low, high] = truncatedDescriptor(this.#held(segment));
    if (high === 0) return false;
    return table.shadow[2 * index] === low && table.shadow[2 * index + 1] === high;
  }

  /**
   * Makes the slot of a segment register hold what the register does, for code at `level`; the selector to load, or 0
   * if there is no descriptor for it.
   */
  slot(segment: number, level: number): number {
    const held = this.#held(segment);
    const conforming = (held.rights & (RIGHTS.CODE | RIGHTS.EXPAND_DOWN_OR_CONFORMING)) === 0xc;
    const dpl = 3 << RIGHTS.DPL_SHIFT;
    const rights = conforming ? held.rights : (held.rights & ~dpl) | (level << RIGHTS.DPL_SHIFT);
    const [low, high] = truncatedDescriptor({ ...held, rights });
    if (high === 0) return 0;
    const selector = slotSelector(segment);
    if (this.#slots[2 * segment] !== low || this.#slots[2 * segment + 1] !== high) {
      this.#slots[2 * segment] = low;
      this.#slots[2 * segment + 1] = high;
      this.#store(this.#gdt.host + selector, low, high);
    }
    return selector | level;
  }

  /** What the processor finds at a selector: of the tables, or of a slot. */
  shadowDescriptor(selector: number): Descriptor {
    const index = selector >>> 3;
    const slots = slotSelector(0) >>> 3;
    if ((selector & 4) === 0 && index >= slots) {
      const at = 2 * (index - slots);
      return [this.#slots[at] as number, this.#slots[at + 1] as number];
    }
    const table = (selector & 4) === 0 ? this.#gdt : this.#ldt;
    return [table.shadow[2 * index] as number, table.shadow[2 * index + 1] as number];
  }

  /** Number of whole entries of the LDT; 0 without one. */
  get ldtEntries(): number {
    return this.#ldt.entries;
  }

  save(): SavedDescriptors {
    return {
      tables: [this.#gdt, this.#ldt].map(({ base, entries, pages, guest, shadow }) => ({
        base,
        entries,
        pages: [...pages],
        guest: [...guest.subarray(0, 2 * entries)],
        shadow: [...shadow.subarray(0, 2 * entries)],
      })),
      slots: [...this.#slots],
      stale: this.#stale,
    };
  }

  restore(saved: SavedDescriptors): void {
    for (const [n, table] of [this.#gdt, this.#ldt].entries()) {
      const from = saved.tables[n] as SavedDescriptors["tables"][number];
      table.base = from.base;
      table.entries = from.entries;
      table.pages = [...from.pages];
      table.guest.fill(0);
      table.guest.set(from.guest);
      table.shadow.fill(0);
      table.shadow.set(from.shadow);
    }
    this.#slots.set(saved.slots);
    this.#stale = saved.stale;
  }

  #held(segment: number): { base: number; limit: number; rights: number } {
    const { virtual } = this.#parts;
    return {
      base: virtual.segmentBase(segment),
      limit: virtual.segmentLimit(segment),
      rights: virtual.segmentRights(segment) | (virtual.segmentRights(segment) & RIGHTS.S ? RIGHTS.ACCESSED : 0),
    };
  }

  /** The guest's table is at `base` with so many entries: read again if that, or the pages that it is in, changed. */
  #place(table: ShadowTable, base: number, entries: number): void {
    const moved = table.base !== base || table.entries !== entries;
    if (!moved && !this.#stale) return;
    const pages = this.#pagesOf(base, entries * 8);
    if (!moved && pages.length === table.pages.length && pages.every((page, n) => page === table.pages[n])) return;
    const { shadow } = this.#parts;
    for (const page of pages) if (page !== ABSENT_PAGE) shadow.watch(page);
    for (const page of table.pages) if (page !== ABSENT_PAGE) shadow.unwatch(page);
    const before = table.entries;
    table.base = base;
    table.entries = entries;
    table.pages = pages;
    for (let index = 0; index < entries; index++) this.#fill(table, index);
    for (let index = entries; index < before; index++) this.#set(table, index, 0, 0, ABSENT);
  }

  #pagesOf(base: number, bytes: number): number[] {
    if (bytes === 0) return [];
    const { env, virtual } = this.#parts;
    const pages: number[] = [];
    for (let page = pageNumber(base); page <= pageNumber(base + bytes - 1); page++) {
      const physical = env.translate((page * PAGE_SIZE) % 2 ** 32, ACCESS.READ);
      virtual.signal.outcome = OUTCOME.NONE;
      pages.push(physical < 0 ? ABSENT_PAGE : pageNumber(physical));
    }
    return pages;
  }

  #fill(table: ShadowTable, index: number): void {
    const low = this.#word(table, index * 8);
    const high = this.#word(table, index * 8 + 4);
    if (low !== 0 || high !== 0) this.#parts.guestMemory.do("shadow-descriptor");
    this.#set(table, index, low, high, truncatedDescriptor(descriptorSegment(low, high)));
  }

  #set(table: ShadowTable, index: number, low: number, high: number, [shadowLow, shadowHigh]: Descriptor): void {
    table.guest[2 * index] = low;
    table.guest[2 * index + 1] = high;
    if (index >= table.capacity) return;
    if (table.shadow[2 * index] === shadowLow && table.shadow[2 * index + 1] === shadowHigh) return;
    table.shadow[2 * index] = shadowLow;
    table.shadow[2 * index + 1] = shadowHigh;
    this.#store(table.host + index * 8, shadowLow, shadowHigh);
  }

  #store(host: number, low: number, high: number): void {
    const { port } = this.#parts;
    port.write(host, 4, low);
    port.write(host + 4, 4, high);
  }

  /** A word of the guest's table; zero where its page is not mapped. */
  #word(table: ShadowTable, offset: number): number {
    const linear = table.base + offset;
    if (linear % 4 === 0) return this.#read(table, linear, 4);
    let word = 0;
    for (let i = 0; i < 4; i++) word |= this.#read(table, linear + i, 1) << (8 * i);
    return word;
  }

  #read(table: ShadowTable, linear: number, bytes: number): number {
    const page = table.pages[pageNumber(linear) - pageNumber(table.base)] as number;
    if (page === ABSENT_PAGE) return 0;
    return this.#parts.guestMemory.readGuest(page * PAGE_SIZE + (linear % PAGE_SIZE), bytes) | 0;
  }
}

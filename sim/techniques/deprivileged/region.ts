/**
 * The monitor's region in memory: its frames, which are in no pmap, the page tables that map them, the hardware's IDT,
 * TSS and GDT entries, and the stubs. Written the way a loader would, before time starts.
 *
 * A guest's kernel runs at CPL 1, for which pages are as for CPL 0: what protects the region from it is the limit of its
 * segments. From CPL 3 page tables protect it too, but for the translation cache and its data.
 */
import { BUSY_TSS, FLAT_CODE, FLAT_DATA, RIGHTS } from "../../cpu/state.ts";
import { packDescriptor } from "../../cpu/system/descriptors.ts";
import { PAGE_SHIFT, PAGE_SIZE } from "../../memory/address.ts";
import type { PhysicalMemory } from "../../memory/physical.ts";
import { FramePool } from "../frame-pool.ts";
import { GATE, OPEN_VECTORS, REGION_BASE, REGION_PAGE, regionAddress, SELECTOR } from "./layout.ts";

const TSS_OFFSET = 0x800;
export const TSS_LIMIT = 0x67;
const STUB = { resume: 0x00, reload: 0x10, halt: 0x20 } as const;

/** Limit field of a flat segment. */
const FLAT_PAGES = 0xfffff;
const dplBits = (level: number): number => level << RIGHTS.DPL_SHIFT;

/** Page-table entry: present, accessed, dirty. */
const PTE = 0x61;
const WRITABLE = 2;
const USER = 4;
const REGION_PAGES = 1024;

export class MonitorRegion {
  readonly #memory: PhysicalMemory;
  readonly #first: number;
  readonly #cachePages: number;
  /** What shadow tables are made of. */
  readonly pool: FramePool;
  /** Host frames of the region's page tables: of 32-bit paging, and two of PAE paging. */
  readonly tables: { readonly table: number; readonly paeTables: readonly [number, number] };

  /** `frames` frames from host page `first` belong to the monitor; `cachePages` of them to the translation cache. */
  constructor(memory: PhysicalMemory, first: number, frames: number, cachePages: number) {
    this.#memory = memory;
    this.#first = first;
    this.#cachePages = cachePages;
    const tables = REGION_PAGE.cache + cachePages;
    this.tables = { table: first + tables, paeTables: [first + tables + 1, first + tables + 2] };
    this.pool = new FramePool(memory, first + tables + 3, first + frames);
  }

  /** Host-physical page number of the gate page. */
  get gatePage(): number {
    return this.#first;
  }

  /** Host-physical address of a page of the region. */
  host(page: number): number {
    return (this.#first + page) << PAGE_SHIFT;
  }

  /** Host-physical address of a linear one in the region. */
  hostOf(linear: number): number {
    return this.host(0) + (linear - REGION_BASE);
  }

  /** Pages of the region that are mapped. */
  get mappedPages(): number {
    return REGION_PAGE.cache + this.#cachePages;
  }

  get idt(): number {
    return regionAddress(REGION_PAGE.tables);
  }

  get tss(): number {
    return regionAddress(REGION_PAGE.tables) + TSS_OFFSET;
  }

  get stackTop(): number {
    return regionAddress(REGION_PAGE.stack) + PAGE_SIZE;
  }

  stub(name: keyof typeof STUB): number {
    return regionAddress(REGION_PAGE.stubs) + STUB[name];
  }

  /** Pages whose code is the monitor's own, for attribution: 1 for each. */
  attribution(): Uint8Array {
    const map = new Uint8Array(this.#memory.ramBytes >>> PAGE_SHIFT);
    map[this.#first + REGION_PAGE.gate] = 1;
    map[this.#first + REGION_PAGE.stubs] = 1;
    return map;
  }

  /** `translated`: the lowest privilege whose code runs in the translation cache; null when there is none. */
  build(translated: 1 | 3 | null): void {
    const memory = this.#memory;
    for (let page = 0; page < this.mappedPages; page++) {
      const entry = ((this.#first + page) << PAGE_SHIFT) | PTE | pageRights(page);
      memory.write32((this.tables.table << PAGE_SHIFT) + page * 4, entry);
      const [low, high] = this.tables.paeTables;
      const table = page < REGION_PAGES / 2 ? low : high;
      memory.write32((table << PAGE_SHIFT) + (page % (REGION_PAGES / 2)) * 8, entry);
    }
    const idt = this.host(REGION_PAGE.tables);
    for (let vector = 0; vector < 256; vector++) {
      const target = regionAddress(REGION_PAGE.gate) + vector * GATE.bytesPerVector;
      const open = vector >= OPEN_VECTORS.first && vector <= OPEN_VECTORS.last;
      memory.write32(idt + vector * 8, (SELECTOR.code << 16) | (target & 0xffff));
      memory.write32(idt + vector * 8 + 4, (target & 0xffff0000) | (open ? 0xee00 : 0x8e00));
    }
    memory.write32(idt + TSS_OFFSET + 4, this.stackTop);
    memory.write32(idt + TSS_OFFSET + 8, SELECTOR.data);
    // No I/O permission bitmap: every port access is #GP.
    memory.write32(idt + TSS_OFFSET + 0x64, (TSS_LIMIT + 1) << 16);
    this.#descriptor(SELECTOR.code, packDescriptor(0, FLAT_PAGES, FLAT_CODE));
    this.#descriptor(SELECTOR.data, packDescriptor(0, FLAT_PAGES, FLAT_DATA));
    this.#descriptor(SELECTOR.tss, packDescriptor(this.tss, TSS_LIMIT, BUSY_TSS));
    // Code that runs as it stands may load what it has the privilege for, so there must be nothing for it.
    if (translated !== null) {
      this.#descriptor(SELECTOR.cacheKernel, packDescriptor(0, FLAT_PAGES, FLAT_CODE | dplBits(1)));
      if (translated === 3) this.#descriptor(SELECTOR.cacheUser, packDescriptor(0, FLAT_PAGES, FLAT_CODE | dplBits(3)));
      const rights = (FLAT_DATA & ~RIGHTS.G) | dplBits(translated);
      this.#descriptor(SELECTOR.dataPage, packDescriptor(regionAddress(REGION_PAGE.data), PAGE_SIZE - 1, rights));
    }

    // iret
    this.#code(STUB.resume, [0xcf]);
    // pop gs; pop fs; pop es; pop ds; iret
    this.#code(STUB.reload, [0x0f, 0xa9, 0x0f, 0xa1, 0x07, 0x1f, 0xcf]);
    // sti; hlt; cli; jmp gate.done
    const after = this.stub("halt") + 3 + 5;
    const distance = regionAddress(REGION_PAGE.gate) + GATE.done - after;
    this.#code(STUB.halt, [0xfb, 0xf4, 0xfa, 0xe9, distance, distance >> 8, distance >> 16, distance >> 24]);
  }

  /** The monitor's stack segment for returns to 16-bit stacks. */
  shiftStack(base: number): void {
    this.#descriptor(SELECTOR.shiftedStack, packDescriptor(base, FLAT_PAGES, FLAT_DATA));
  }

  #code(offset: number, bytes: readonly number[]): void {
    this.#memory.copyIn(this.host(REGION_PAGE.stubs) + offset, Uint8Array.from(bytes));
  }

  #descriptor(selector: number, [low, high]: readonly [number, number]): void {
    const at = this.host(REGION_PAGE.gdt) + (selector & 0xfff8);
    this.#memory.write32(at, low);
    this.#memory.write32(at + 4, high);
  }
}

function pageRights(page: number): number {
  if (page === REGION_PAGE.data) return WRITABLE | USER;
  return page >= REGION_PAGE.cache ? USER : WRITABLE;
}

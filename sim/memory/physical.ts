/**
 * Physical memory of one machine, in one `WebAssembly.Memory` whose size never changes, so that views stay valid and
 * compiled code can share it:
 *
 *     0                    state of processor 0 .. 15 (CORE_STATE_BYTES each)
 *     TIME_AREA_OFFSET     clock and accounts (TIME_AREA_CELLS cells of f64)
 *     RAM_OFFSET           RAM, from host-physical address 0
 *     behind RAM           marks of code, and what compiled code shares with the rest (`engineArea`)
 *
 * RAM is little-endian; memory-map.ts says which of its pages are holes, and which are ROM whose bytes stand here too.
 * Addresses in holes and beyond RAM are not this file's business: the MMU sends them to the bus. Typed-array views
 * assume a little-endian host.
 */

import { TIME_AREA_CELLS } from "../ledger.ts";
import { FRESH, type Resources } from "../resources.ts";
import { PAGE_SHIFT, PAGE_SIZE } from "./address.ts";
import { MemoryMap, PAGE_KIND } from "./memory-map.ts";
import { TLB_BYTES } from "./tlb.ts";

/** Bytes of the control area given to each processor; equals STATE_BYTES of cpu/state.ts (a test holds this). */
export const CORE_STATE_BYTES = 2048;
export const MAX_CORES = 16;
/** Byte offset of the time area in the shared memory. */
export const TIME_AREA_OFFSET = MAX_CORES * CORE_STATE_BYTES;
/** Byte offset of RAM in the shared memory. */
export const RAM_OFFSET = 0x10000;
/** Largest RAM: byte offsets into the shared memory must stay below 2^31. */
export const MAX_RAM_BYTES = 0x7c000000 - RAM_OFFSET;

/** Marks of a granule: code is cached from it; its stores are watched. */
export const GRANULE_MARK = { CODE: 1, WATCHED: 2 } as const;
/** Bytes of RAM that one mark of `codeGranules` stands for. */
export const CODE_GRANULE_BYTES = 64;
export const CODE_GRANULE_SHIFT = 6;

const WASM_PAGE_BYTES = 0x10000;

/** Bytes of the areas behind the marks of code; their owners check that theirs suffices. */
export const ENGINE_BYTES = {
  fastTable: 0x20000,
  fetchTable: 0x2800,
  predictor: 0x20000,
  transfers: 0x30000,
  entries: 0x4000,
  references: 0x100,
  core: 0x100,
  translation: 0x1000,
  dataTlb: TLB_BYTES,
  instructionTlb: TLB_BYTES,
} as const;
/** Byte offsets in the shared memory: mmu.ts, paging.ts, tlb.ts, predictor.ts and engine/ say what is there. */
export type EngineArea = Readonly<Record<keyof typeof ENGINE_BYTES, number>>;
/** The address line that gate A20 holds at zero while it is closed. */
const A20 = 0x10_0000;

/** Why a physical reference was made. Data references that hit the engine's fast path are not counted. */
export const REFERENCE_REASONS = [
  "pml4e",
  "pdpte",
  "pde",
  "pte",
  "nested-pml4e",
  "nested-pdpte",
  "nested-pde",
  "nested-pte",
  "descriptor",
  "vmcs",
  "vmx-bitmap",
  "monitor",
  "device",
] as const;
export type ReferenceReason = (typeof REFERENCE_REASONS)[number];

/** Number of each reason. */
export const REASON = Object.fromEntries(REFERENCE_REASONS.map((reason, index) => [reason, index])) as Readonly<
  Record<ReferenceReason, number>
>;

/** RAM as plain data for save and restore; frames that hold only zeroes are left out. */
export interface SavedMemory {
  readonly ramBytes: number;
  /** Pairs of page number and the page's bytes. */
  readonly pages: readonly (readonly [page: number, bytes: Uint8Array])[];
  readonly references: readonly number[];
}

const ignoreCodeWrite = (_address: number, _bytes: number): void => {};

export class PhysicalMemory {
  readonly wasm: WebAssembly.Memory;
  readonly buffer: ArrayBuffer;
  readonly ramBytes: number;
  /** What each page below `ramBytes` is. */
  readonly map: MemoryMap;
  /** Whether gate A20 is open. Who changes it must have the MMU drop what it derived (Mmu.pagingChanged). */
  a20 = true;
  /** The whole shared memory; RAM begins at index RAM_OFFSET. */
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly i32: Int32Array;
  /** The whole shared memory, for unaligned accesses. */
  readonly view: DataView;
  /** Cells of the clock and the ledger. */
  readonly timeCells: Float64Array;
  /** Byte offsets of the areas behind RAM. */
  readonly engineArea: EngineArea;
  /**
   * Marks (GRANULE_MARK) of each CODE_GRANULE_BYTES of RAM: code has been cached from it, which the code cache sets and
   * clears; or somebody watches stores to it.
   */
  readonly codeGranules: Uint8Array;
  /** Called after a write, from wherever it comes, that touched a marked granule; `address` is host-physical. */
  onCodeWrite: (address: number, bytes: number) => void = ignoreCodeWrite;
  /** References by reason (index: REASON). */
  readonly references: Float64Array;

  /** Where compiled code, which has this memory built in, gets its modules. */
  readonly resources: Resources;

  /** `ramBytes` must be a multiple of 4 KB, at least 64 KB and at most MAX_RAM_BYTES; all is RAM if no map is given. */
  constructor(ramBytes: number, map: MemoryMap = MemoryMap.flat(ramBytes), resources: Resources = FRESH) {
    if (ramBytes % PAGE_SIZE !== 0 || ramBytes < 0x10000 || ramBytes > MAX_RAM_BYTES) {
      throw new Error(`RAM of ${ramBytes} bytes: must be a multiple of ${PAGE_SIZE} from 65536 to ${MAX_RAM_BYTES}`);
    }
    const granules = RAM_OFFSET + ramBytes;
    let end = granules + ramBytes / CODE_GRANULE_BYTES;
    const area = (bytes: number): number => {
      end += bytes;
      return end - bytes;
    };
    this.engineArea = {
      fastTable: area(ENGINE_BYTES.fastTable),
      fetchTable: area(ENGINE_BYTES.fetchTable),
      predictor: area(ENGINE_BYTES.predictor),
      transfers: area(ENGINE_BYTES.transfers),
      entries: area(ENGINE_BYTES.entries),
      references: area(ENGINE_BYTES.references),
      core: area(ENGINE_BYTES.core),
      translation: area(ENGINE_BYTES.translation),
      dataTlb: area(ENGINE_BYTES.dataTlb),
      instructionTlb: area(ENGINE_BYTES.instructionTlb),
    };
    this.resources = resources;
    this.wasm = resources.memory(Math.ceil(end / WASM_PAGE_BYTES));
    this.buffer = this.wasm.buffer;
    this.ramBytes = ramBytes;
    this.map = map;
    this.u8 = new Uint8Array(this.buffer);
    this.u16 = new Uint16Array(this.buffer);
    this.i32 = new Int32Array(this.buffer);
    this.view = new DataView(this.buffer);
    this.timeCells = new Float64Array(this.buffer, TIME_AREA_OFFSET, TIME_AREA_CELLS);
    this.references = new Float64Array(this.buffer, this.engineArea.references, REFERENCE_REASONS.length);
    this.codeGranules = new Uint8Array(this.buffer, granules, ramBytes / CODE_GRANULE_BYTES);
  }

  /** Byte offset of a processor's state in `buffer`. */
  stateOffset(core: number): number {
    if (core < 0 || core >= MAX_CORES) throw new Error(`core ${core}: a machine has at most ${MAX_CORES}`);
    return core * CORE_STATE_BYTES;
  }

  /**
   * The address at which the memory bus finds what the processor puts out as `address`: gate A20 applied, the
   * firmware's alias below 4 GB resolved (which answers whatever the gate is).
   */
  locate(address: number): number {
    const located = this.map.unalias(address);
    return this.a20 || located !== address ? located : address - (address & A20);
  }

  /** Whether the page at a located address is RAM or ROM, whose bytes stand here. */
  stores(address: number): boolean {
    return address < this.ramBytes && this.map.kinds[address >>> PAGE_SHIFT] !== PAGE_KIND.HOLE;
  }

  /** Whether the page at a located address is RAM. */
  isWritable(address: number): boolean {
    return address < this.ramBytes && this.map.kinds[address >>> PAGE_SHIFT] === PAGE_KIND.RAM;
  }

  /** Whether all of `bytes` bytes from `address` are below the end of RAM. */
  contains(address: number, bytes: number): boolean {
    return address + bytes <= this.ramBytes;
  }

  read8(address: number): number {
    return this.u8[RAM_OFFSET + address] as number;
  }

  read16(address: number): number {
    return this.view.getUint16(RAM_OFFSET + address, true);
  }

  /** Reads 32 bits as a signed integer; any alignment. */
  read32(address: number): number {
    return this.view.getInt32(RAM_OFFSET + address, true);
  }

  /** Reads 64 bits into two 32-bit words of `into`, low word first. */
  read64(address: number, into: Int32Array, index: number): void {
    into[index] = this.view.getInt32(RAM_OFFSET + address, true);
    into[index + 1] = this.view.getInt32(RAM_OFFSET + address + 4, true);
  }

  write8(address: number, value: number): void {
    this.u8[RAM_OFFSET + address] = value;
    if (this.codeGranules[address >>> CODE_GRANULE_SHIFT] !== 0) this.onCodeWrite(address, 1);
  }

  write16(address: number, value: number): void {
    this.view.setUint16(RAM_OFFSET + address, value, true);
    this.#wrote(address, 2);
  }

  write32(address: number, value: number): void {
    this.view.setInt32(RAM_OFFSET + address, value, true);
    this.#wrote(address, 4);
  }

  /** Writes two 32-bit words of `from`, low word first. */
  write64(address: number, from: Int32Array, index: number): void {
    this.view.setInt32(RAM_OFFSET + address, from[index] as number, true);
    this.view.setInt32(RAM_OFFSET + address + 4, from[index + 1] as number, true);
    this.#wrote(address, 8);
  }

  /** Copies bytes into RAM. */
  copyIn(address: number, bytes: Uint8Array): void {
    this.#mustContain(address, bytes.length);
    this.u8.set(bytes, RAM_OFFSET + address);
    this.#wroteRange(address, bytes.length);
  }

  /** A copy of `length` bytes of RAM. */
  copyOut(address: number, length: number): Uint8Array {
    this.#mustContain(address, length);
    return this.u8.slice(RAM_OFFSET + address, RAM_OFFSET + address + length);
  }

  /** Sets `length` bytes of RAM to `value`. */
  fill(address: number, length: number, value = 0): void {
    this.#mustContain(address, length);
    this.u8.fill(value, RAM_OFFSET + address, RAM_OFFSET + address + length);
    this.#wroteRange(address, length);
  }

  /** Counts one reference; `reason` is a value of REASON. */
  countReference(reason: number): void {
    this.references[reason] = (this.references[reason] as number) + 1;
  }

  /**
   * Has `listener` told of every write to the granules from one host-physical address up to another, wherever it comes
   * from; for observers, once for a machine.
   */
  watchStores(from: number, to: number, listener: (address: number, bytes: number) => void): void {
    const told = this.onCodeWrite;
    this.onCodeWrite = (address, bytes) => {
      if (address + bytes > from && address < to) listener(address, bytes);
      told(address, bytes);
    };
    for (let granule = from >>> CODE_GRANULE_SHIFT; granule * CODE_GRANULE_BYTES < to; granule++) {
      this.codeGranules[granule] = (this.codeGranules[granule] as number) | GRANULE_MARK.WATCHED;
    }
  }

  /** No code is cached from anywhere in RAM any more. */
  unmarkCode(): void {
    const granules = this.codeGranules;
    for (let n = 0; n < granules.length; n++) {
      if (granules[n] !== 0) granules[n] = (granules[n] as number) & GRANULE_MARK.WATCHED;
    }
  }

  /** References by name of their reason. */
  counters(): Record<string, number> {
    const counters: Record<string, number> = {};
    REFERENCE_REASONS.forEach((reason, index) => {
      counters[`references.${reason}`] = this.references[index] as number;
    });
    return counters;
  }

  /** RAM and reference counts; processor state and time area are saved by their owners. */
  save(): SavedMemory {
    const pages: [number, Uint8Array][] = [];
    for (let page = 0; page < this.ramBytes / PAGE_SIZE; page++) {
      const first = (RAM_OFFSET + page * PAGE_SIZE) / 4;
      const words = this.i32.subarray(first, first + PAGE_SIZE / 4);
      let used = 0;
      for (let n = 0; n < words.length && used === 0; n++) used = words[n] as number;
      if (used !== 0) pages.push([page, this.copyOut(page * PAGE_SIZE, PAGE_SIZE)]);
    }
    return { ramBytes: this.ramBytes, pages, references: Array.from(this.references) };
  }

  /** Restores what `save` gave. Code caches must be dropped by their owner: their marks are cleared. */
  restore(saved: SavedMemory): void {
    if (saved.ramBytes !== this.ramBytes) {
      throw new Error(`saved RAM has ${saved.ramBytes} bytes, this machine has ${this.ramBytes}`);
    }
    this.u8.fill(0, RAM_OFFSET, RAM_OFFSET + this.ramBytes);
    for (const [page, bytes] of saved.pages) this.u8.set(bytes, RAM_OFFSET + page * PAGE_SIZE);
    this.references.set(saved.references);
    this.unmarkCode();
  }

  #wrote(address: number, bytes: number): void {
    const granules = this.codeGranules;
    const first = granules[address >>> CODE_GRANULE_SHIFT] as number;
    const last = granules[(address + bytes - 1) >>> CODE_GRANULE_SHIFT] as number;
    if ((first | last) !== 0) this.onCodeWrite(address, bytes);
  }

  #wroteRange(address: number, bytes: number): void {
    if (bytes === 0) return;
    const last = (address + bytes - 1) >>> CODE_GRANULE_SHIFT;
    for (let granule = address >>> CODE_GRANULE_SHIFT; granule <= last; granule++) {
      if (this.codeGranules[granule] !== 0) {
        this.onCodeWrite(address, bytes);
        return;
      }
    }
  }

  #mustContain(address: number, bytes: number): void {
    if (address < 0 || !this.contains(address, bytes)) {
      throw new Error(`${bytes} bytes at 0x${address.toString(16)} are outside RAM of ${this.ramBytes} bytes`);
    }
  }
}

/**
 * A core in the situation that the instruction vectors were recorded in (README.md): CPL 3, flat segments, a few
 * mapped pages. Exceptions are delivered by the core's own IDT delivery to a kernel stack, from which they are read.
 */
import { Alarms, Clock } from "../../sim/clock.ts";
import type { Bus } from "../../sim/cpu/bus.ts";
import { Core } from "../../sim/cpu/core.ts";
import type { Profile } from "../../sim/cpu/profiles/profile.ts";
import { CELL, CR0, gprCell, RIGHTS, SEG } from "../../sim/cpu/state.ts";
import { Ledger } from "../../sim/ledger.ts";
import { PhysicalMemory, RAM_OFFSET } from "../../sim/memory/physical.ts";
import {
  backgroundByte,
  type InstructionVector,
  initialPage,
  initialSegments,
  mismatches,
  pageSize,
  type VectorException,
  type VectorHeader,
} from "./load.ts";

const DIRECTORY = 0x1000;
const GDT = 0x10000;
const IDT = 0x2000;
const TSS = 0x3000;
const KERNEL_STACK = 0x5000;
const HANDLERS = 0x6000;
const FIRST_TABLE = 0x8000;
const FIRST_DATA = 0x40000;
/** Where the kernel's identity-mapped megabyte appears in the linear space: out of the vectors' way. */
const KERNEL = 0xc0000000;
const GDT_LIMIT = 0xfff7;
const KERNEL_CODE = 0x08;
const KERNEL_DATA = 0x10;
const TSS_SELECTOR = 0x18;
const PRESENT_WRITABLE_USER = 7;
const FLAT_CODE = 0xc000 | RIGHTS.S | RIGHTS.P | 0xb;
const FLAT_DATA = 0xc000 | RIGHTS.S | RIGHTS.P | 0x3;
const USER = 3 << RIGHTS.DPL_SHIFT;
const IF = 0x200;
const ERROR_CODE_VECTORS = [8, 10, 11, 12, 13, 14, 17];

const silentBus: Bus = {
  readPort: () => 0xff,
  writePort: () => undefined,
  readMemory: () => 0xffffffff,
  writeMemory: () => undefined,
  interruptLine: false,
  acknowledgeInterrupt: () => 0,
  nmiLine: false,
  acknowledgeNmi: () => undefined,
};

export class VectorRig {
  readonly #memory = new PhysicalMemory(0x100000);
  readonly #core: Core;
  readonly #pages = new Map<number, number>();
  readonly #clean: Uint8Array;
  readonly #words: Int32Array;
  readonly #cleanWords: Int32Array;

  constructor(header: VectorHeader, profile: Profile, maxBlock = 32) {
    const memory = this.#memory;
    const ledger = new Ledger(new Clock(memory.timeCells, profile.frequencyMHz));
    this.#core = new Core({
      index: 0,
      memory,
      bus: silentBus,
      ledger,
      alarms: new Alarms(),
      profile,
      seed: 1,
      maxBlock,
    });
    this.#mapPages(header);
    this.#writeTables(header);
    this.#clean = memory.u8.slice(RAM_OFFSET, RAM_OFFSET + memory.ramBytes);
    this.#words = new Int32Array(memory.buffer, RAM_OFFSET, memory.ramBytes / 4);
    this.#cleanWords = new Int32Array(this.#clean.buffer);
  }

  /** Runs one vector and returns its differences from the recording. */
  run(vector: InstructionVector): string[] {
    const memory = this.#memory;
    const state = this.#core.state;
    memory.copyIn(0, this.#clean);
    for (const run of vector.before.memory) this.#poke(run.address, run.bytes);
    this.#poke(vector.address, vector.bytes);
    for (let n = 0; n < 8; n++) state.set(gprCell(n), vector.before.gpr[n] as number);
    state.flags = vector.before.eflags | IF | 2;
    state.eip = vector.address;
    this.#setSegments();
    this.#core.mmu.flushTlb(1);

    // A repeated string instruction stays at its EIP until it is done; everything else takes one step.
    let steps = 0;
    do {
      const stop = this.#core.run({ until: Number.POSITIVE_INFINITY, instructions: 1 });
      if (stop.kind !== "limit") return [`the core stopped: ${JSON.stringify(stop)}`];
      if (++steps > 100_000) return ["the instruction does not end"];
    } while (state.eip === vector.address && isString(vector));
    const exception = this.#exception();
    const gpr = new Uint32Array(8);
    for (let n = 0; n < 8; n++) gpr[n] = state.get(gprCell(n));
    const segments = [0, 1, 2, 3, 4, 5].map((segment) => state.selector(segment));
    let eip = state.eip;
    let eflags = state.flags;
    if (exception !== null) {
      const frame = KERNEL_STACK - 20;
      eip = memory.read32(frame) >>> 0;
      segments[SEG.cs] = memory.read32(frame + 4) & 0xffff;
      eflags = memory.read32(frame + 8);
      gpr[4] = memory.read32(frame + 12);
      segments[SEG.ss] = memory.read32(frame + 16) & 0xffff;
    }
    const outcome = { gpr, eflags, eip, segments, exception };
    return mismatches(vector, outcome, (address) => this.#peek(address), this.#touched());
  }

  #mapPages(header: VectorHeader): void {
    let frame = FIRST_DATA;
    for (const page of header.pages) {
      const content = initialPage(page);
      this.#memory.copyIn(frame, content);
      this.#map(page.base, frame, page.kind === "rw" ? 7 : 5);
      this.#pages.set(page.base, frame);
      frame += pageSize;
    }
    for (let page = 0; page < 0x100; page++) this.#map(KERNEL + page * pageSize, page * pageSize, 3);
  }

  #map(linear: number, frame: number, rights: number): void {
    const memory = this.#memory;
    const pde = DIRECTORY + (linear >>> 22) * 4;
    let table = memory.read32(pde) & ~0xfff;
    if (table === 0) {
      table = FIRST_TABLE;
      while (memory.read32(table + 0xffc) !== 0) table += pageSize;
      // The last entry of a table marks it taken; nothing here maps the top page of a 4 MB region.
      memory.write32(table + 0xffc, 0x1000000);
      memory.write32(pde, table | PRESENT_WRITABLE_USER | 0x20);
    }
    memory.write32(table + ((linear >>> 12) & 0x3ff) * 4, frame | rights | 0x60);
  }

  #writeTables(header: VectorHeader): void {
    const memory = this.#memory;
    const descriptor = (selector: number, value: bigint): void => {
      memory.write32(GDT + selector, Number(BigInt.asIntN(32, value)));
      memory.write32(GDT + selector + 4, Number(BigInt.asIntN(32, value >> 32n)));
    };
    descriptor(KERNEL_CODE, 0x00cf9b000000ffffn);
    descriptor(KERNEL_DATA, 0x00cf93000000ffffn);
    descriptor(TSS_SELECTOR, 0xc0008b0030000067n);
    for (const [selector, value] of header.descriptors) descriptor(selector, value);
    for (let vector = 0; vector < 256; vector++) {
      const handler = KERNEL + HANDLERS + vector * 4;
      const dpl = vector === 3 || vector === 4 ? 0x6000 : 0;
      memory.write32(IDT + vector * 8, (KERNEL_CODE << 16) | (handler & 0xffff));
      memory.write32(IDT + vector * 8 + 4, (handler & 0xffff0000) | 0x8f00 | dpl);
    }
    memory.write32(TSS + 4, KERNEL + KERNEL_STACK);
    memory.write32(TSS + 8, KERNEL_DATA);
    // No I/O permission bitmap: its base is beyond the TSS limit.
    memory.write32(TSS + 0x64, 0xffff0000 | 0);
  }

  #setSegments(): void {
    const state = this.#core.state;
    for (const [segment, selector] of initialSegments.entries()) {
      state.setSegment(segment, selector, 0, 0xffffffff, (segment === SEG.cs ? FLAT_CODE : FLAT_DATA) | USER);
    }
    state.setSegment(SEG.ldtr, 0, 0, 0, RIGHTS.UNUSABLE);
    state.setSegment(SEG.tr, TSS_SELECTOR, KERNEL + TSS, 0x67, RIGHTS.P | 0xb);
    state.setNumber(CELL.gdtrBase, KERNEL + GDT);
    state.set(CELL.gdtrLimit, GDT_LIMIT);
    state.setNumber(CELL.idtrBase, KERNEL + IDT);
    state.set(CELL.idtrLimit, 0x7ff);
    state.set(CELL.cpl, 3);
    state.set(CELL.cr0, CR0.PE | CR0.PG | CR0.WP | CR0.NE | CR0.ET);
    state.set(CELL.cr3, DIRECTORY);
    state.set(CELL.cr4, 0);
    state.set(CELL.interruptibility, 0);
    state.set(CELL.pendingDebug, 0);
  }

  /** The exception that was delivered, if CPL is 0 now. */
  #exception(): VectorException | null {
    const state = this.#core.state;
    if (state.cpl === 3) return null;
    const vector = (state.eip - KERNEL - HANDLERS) / 4;
    const hasError = ERROR_CODE_VECTORS.includes(vector);
    return {
      vector,
      errorCode: hasError ? this.#memory.read32(KERNEL_STACK - 24) : null,
      cr2: vector === 14 ? state.get(CELL.cr2) : null,
    };
  }

  #poke(address: number, bytes: Uint8Array): void {
    for (const [i, byte] of bytes.entries()) {
      const frame = this.#pages.get((address + i) & ~0xfff);
      if (frame !== undefined) this.#memory.write8(frame + ((address + i) & 0xfff), byte);
    }
  }

  #peek(address: number): number {
    const frame = this.#pages.get(address & ~0xfff);
    return frame === undefined ? -1 : this.#memory.read8(frame + (address & 0xfff));
  }

  /** Linear addresses of data bytes that differ from their background. */
  #touched(): number[] {
    const touched: number[] = [];
    for (const [base, frame] of this.#pages) {
      if (base === 0x20000000) continue;
      for (let word = 0; word < pageSize / 4; word++) {
        if (this.#words[frame / 4 + word] === this.#cleanWords[frame / 4 + word]) continue;
        for (let i = 0; i < 4; i++) {
          const address = base + word * 4 + i;
          if (this.#peek(address) !== backgroundByte(address)) touched.push(address);
        }
      }
    }
    return touched;
  }
}

function isString(vector: InstructionVector): boolean {
  return /MOVS|STOS|LODS|SCAS|CMPS/.test(vector.form.name) && !/MOVSX/.test(vector.form.name);
}

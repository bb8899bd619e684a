/**
 * The monitor's own world on the machine: frames that are in no pmap, page tables that map host-physical memory one
 * to one with 4 MB pages, descriptor tables, a TSS, the gate page at which the hardware hands control over, and a few
 * instructions that the core executes for the monitor (VMXON ... VMRESUME, HLT).
 *
 * The tables are written and the registers set the way firmware and a boot loader would, before time starts.
 */
import {
  BUSY_TSS,
  CELL,
  type CpuState,
  CR0,
  CR4,
  FLAT_CODE,
  FLAT_DATA,
  FLAT_LIMIT,
  GPR,
  RIGHTS,
  SEG,
} from "../../cpu/state.ts";
import { packDescriptor } from "../../cpu/system/descriptors.ts";
import { PAGE_SHIFT, PAGE_SIZE } from "../../memory/address.ts";
import type { PhysicalMemory } from "../../memory/physical.ts";
import { FramePool } from "../frame-pool.ts";

/** Frames of the monitor's region, from its first host page. */
const FRAME = { gate: 0, code: 1, tables: 2, stack: 3, directory: 4, vmxon: 5, vmcs: 6, data: 7, pool: 8 } as const;

/** Entry points in the gate page: vector n of the monitor's IDT at 16 n; exits and finished instructions between. */
export const GATE = { exit: 8, done: 12, bytesPerVector: 16 } as const;

/** Selectors of the monitor's GDT. */
export const HOST_SELECTOR = { code: 0x08, data: 0x10, tss: 0x18 } as const;

/** Offsets of the code stubs. */
const STUB = { launch: 0x00, resume: 0x20, halt: 0x40, begin: 0x60 } as const;

/** Where in the table frame: IDT first, GDT and TSS behind it. */
const GDT_OFFSET = 0x800;
const TSS_OFFSET = 0x900;
const POINTER_OFFSET = 0xa00;
const VMCS_POINTER_OFFSET = 0xa08;

export class HostWorld {
  readonly #memory: PhysicalMemory;
  readonly #first: number;
  readonly #frames: number;
  /** What shadow tables are made of. */
  readonly pool: FramePool;

  /** `frames` frames from host page `first` belong to the monitor. */
  constructor(memory: PhysicalMemory, first: number, frames: number) {
    this.#memory = memory;
    this.#first = first;
    this.#frames = frames;
    this.pool = new FramePool(memory, first + FRAME.pool, first + frames);
  }

  get gatePage(): number {
    return this.#first + FRAME.gate;
  }

  /** Host-physical address of the page of the monitor's own variables. */
  get data(): number {
    return this.#address(FRAME.data);
  }

  get vmcs(): number {
    return this.#address(FRAME.vmcs);
  }

  get directory(): number {
    return this.#address(FRAME.directory);
  }

  get gdt(): number {
    return this.#address(FRAME.tables) + GDT_OFFSET;
  }

  get idt(): number {
    return this.#address(FRAME.tables);
  }

  get tss(): number {
    return this.#address(FRAME.tables) + TSS_OFFSET;
  }

  get stackTop(): number {
    return this.#address(FRAME.stack) + PAGE_SIZE;
  }

  /** Linear (and host-physical) address of an entry point in the gate page. */
  gate(offset: number): number {
    return this.#address(FRAME.gate) + offset;
  }

  /** Address of a stub that the core executes. */
  stub(name: keyof typeof STUB): number {
    return this.#address(FRAME.code) + STUB[name];
  }

  /** Pages whose code is the monitor's, for attribution: 1 for each. */
  attribution(): Uint8Array {
    const map = new Uint8Array(this.#memory.ramBytes >>> PAGE_SHIFT);
    map.fill(1, this.#first, this.#first + this.#frames);
    return map;
  }

  /** Writes tables and stubs. `revision` goes into the VMXON and VMCS regions. */
  build(revision: number): void {
    const memory = this.#memory;
    for (let entry = 0; entry < 1024; entry++) {
      // present, writable, 4 MB, accessed, dirty; device space uncached
      const base = entry << 22;
      const uncached = base >>> 0 >= memory.ramBytes ? 0x18 : 0;
      memory.write32(this.directory + entry * 4, base | 0xe3 | uncached);
    }
    this.#descriptor(HOST_SELECTOR.code, 0, 0xfffff, FLAT_CODE);
    this.#descriptor(HOST_SELECTOR.data, 0, 0xfffff, FLAT_DATA);
    this.#descriptor(HOST_SELECTOR.tss, this.tss, 0x67, BUSY_TSS);
    for (let vector = 0; vector < 256; vector++) {
      const target = this.gate(vector * GATE.bytesPerVector);
      memory.write32(this.idt + vector * 8, (HOST_SELECTOR.code << 16) | (target & 0xffff));
      memory.write32(this.idt + vector * 8 + 4, (target & 0xffff0000) | 0x8e00);
    }
    const vmxon = this.#address(FRAME.vmxon);
    memory.write32(vmxon, revision);
    memory.write32(this.vmcs, revision);
    const pointer = this.#address(FRAME.tables) + POINTER_OFFSET;
    const vmcsPointer = this.#address(FRAME.tables) + VMCS_POINTER_OFFSET;
    memory.write32(pointer, vmxon);
    memory.write32(vmcsPointer, this.vmcs);

    const memoryOperand = (opcode: readonly number[], modrm: number, address: number): number[] => [
      ...opcode,
      modrm,
      ...littleEndian(address),
    ];
    this.#code(STUB.launch, [0x0f, 0x01, 0xc2, ...this.#jumpToDone(STUB.launch + 3)]);
    this.#code(STUB.resume, [0x0f, 0x01, 0xc3, ...this.#jumpToDone(STUB.resume + 3)]);
    // sti; hlt; cli
    this.#code(STUB.halt, [0xfb, 0xf4, 0xfa, ...this.#jumpToDone(STUB.halt + 3)]);
    const begin = [
      ...memoryOperand([0xf3, 0x0f, 0xc7], 0x35, pointer),
      ...memoryOperand([0x66, 0x0f, 0xc7], 0x35, vmcsPointer),
      ...memoryOperand([0x0f, 0xc7], 0x35, vmcsPointer),
    ];
    this.#code(STUB.begin, [...begin, ...this.#jumpToDone(STUB.begin + begin.length)]);
  }

  /** The registers with which the monitor runs; general registers are left alone but for ESP. */
  enter(state: CpuState): void {
    state.set(CELL.cr0, CR0.PE | CR0.ET | CR0.NE | CR0.WP | CR0.PG);
    state.set(CELL.cr3, this.directory);
    state.set(CELL.cr4, CR4.VMXE | CR4.PSE);
    state.set(CELL.rflags, 2);
    state.set(CELL.cpl, 0);
    state.setSegment(SEG.cs, HOST_SELECTOR.code, 0, FLAT_LIMIT, FLAT_CODE);
    for (const segment of [SEG.es, SEG.ss, SEG.ds, SEG.fs, SEG.gs]) {
      state.setSegment(segment, HOST_SELECTOR.data, 0, FLAT_LIMIT, FLAT_DATA);
    }
    state.setSegment(SEG.ldtr, 0, 0, 0, RIGHTS.UNUSABLE);
    state.setSegment(SEG.tr, HOST_SELECTOR.tss, this.tss, 0x67, BUSY_TSS);
    state.set(CELL.gdtrBase, this.gdt);
    state.set(CELL.gdtrLimit, 0xffff);
    state.set(CELL.idtrBase, this.idt);
    state.set(CELL.idtrLimit, 0xffff);
    state.set(CELL.dr7, 0x400);
    state.set(CELL.activity, 0);
    state.set(CELL.interruptibility, 0);
    state.set(CELL.pendingDebug, 0);
    state.set(GPR.esp, this.stackTop);
  }

  #address(frame: number): number {
    return (this.#first + frame) << PAGE_SHIFT;
  }

  #jumpToDone(from: number): number[] {
    const distance = this.gate(GATE.done) - (this.#address(FRAME.code) + from + 5);
    return [0xe9, ...littleEndian(distance)];
  }

  #code(offset: number, bytes: readonly number[]): void {
    this.#memory.copyIn(this.#address(FRAME.code) + offset, Uint8Array.from(bytes));
  }

  #descriptor(selector: number, base: number, limit: number, rights: number): void {
    const [low, high] = packDescriptor(base, limit, rights);
    this.#memory.write32(this.gdt + selector, low);
    this.#memory.write32(this.gdt + selector + 4, high);
  }
}

function littleEndian(value: number): number[] {
  return [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, (value >>> 24) & 0xff];
}

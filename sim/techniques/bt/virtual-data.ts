/** The data page: virtual state where translated code finds it, and where it leaves what it changes. */
import { CELL, type CpuState, CR0, FLAG, SEG } from "../../cpu/state.ts";
import type { PhysicalMemory } from "../../memory/physical.ts";
import type { MonitorMemory } from "../monitor-memory.ts";
import { controlSlot, DATA, popFlagsTable, selectorSlot } from "./layout.ts";

const SELECTORS = [SEG.es, SEG.cs, SEG.ss, SEG.ds, SEG.fs, SEG.gs] as const;
const CONTROLS = [
  [0, CELL.cr0],
  [2, CELL.cr2],
  [3, CELL.cr3],
  [4, CELL.cr4],
] as const;

export class VirtualData {
  readonly #memory: PhysicalMemory;
  readonly #port: MonitorMemory;
  /** Host-physical address of the page. */
  readonly #page: number;

  constructor(memory: PhysicalMemory, port: MonitorMemory, page: number) {
    this.#memory = memory;
    this.#port = port;
    this.#page = page;
  }

  /** Before anything runs. */
  begin(): void {
    this.#memory.write32(this.#page + DATA.ifDeltas + 4, 0);
    this.#memory.write32(this.#page + DATA.ifDeltas + 8, -FLAG.IF);
    this.#memory.copyIn(this.#page + DATA.popFlags, popFlagsTable(0));
  }

  /** A slot as it is; free of charge. */
  peek(slot: number): number {
    return this.#memory.read32(this.#page + slot) >>> 0;
  }

  /** A slot, read by the monitor. */
  read(slot: number): number {
    return this.#port.read(this.#page + slot, 4) >>> 0;
  }

  /** Stores where the page has something else. */
  write(slot: number, value: number): void {
    if (this.peek(slot) !== value >>> 0) this.#port.write(this.#page + slot, 4, value);
  }

  /** All of the virtual processor's state that translated code looks at. */
  publish(virtual: CpuState, pending: boolean): void {
    const { flags } = virtual;
    this.write(DATA.ifDelta, (flags & FLAG.IF) === 0 ? -FLAG.IF : 0);
    if (((this.peek(DATA.ioplDelta) ^ flags) & FLAG.IOPL) !== 0) this.#changeIopl((flags & FLAG.IOPL) >>> 12);
    this.write(DATA.ioplDelta, flags & (FLAG.IOPL | FLAG.VIF | FLAG.VIP));
    this.write(DATA.pending, pending ? 1 : 0);
    this.write(DATA.ts, virtual.cr0 & CR0.TS);
    for (const [n, cell] of CONTROLS) this.write(controlSlot(n), virtual.get(cell));
    this.write(DATA.tscOffset, virtual.i32[CELL.tscOffset] as number);
    this.write(DATA.tscOffset + 4, virtual.i32[CELL.tscOffset + 1] as number);
    for (const segment of SELECTORS) this.write(selectorSlot(segment), virtual.selector(segment));
  }

  #changeIopl(iopl: number): void {
    const table = new DataView(popFlagsTable(iopl).buffer);
    for (let at = 0; at < table.byteLength; at += 4) this.write(DATA.popFlags + at, table.getUint32(at, true));
  }
}

/**
 * A core in 32-bit protected mode, on its own or with paging, with devices that do what a test says. Every exception
 * and interrupt has a handler that halts with interrupts off (`handled` says which one was reached), unless a test puts
 * code of its own there.
 */
import { Alarms, Clock, TICKS_PER_CYCLE, type Timed } from "../../sim/clock.ts";
import type { Bus } from "../../sim/cpu/bus.ts";
import { Core, type Stop } from "../../sim/cpu/core.ts";
import { FLUSH } from "../../sim/cpu/environment.ts";
import { pentium4_672 } from "../../sim/cpu/profiles/pentium4-672.ts";
import type { CostName, Profile } from "../../sim/cpu/profiles/profile.ts";
import { COST_NAMES } from "../../sim/cpu/profiles/profile.ts";
import { CELL, CR0, GPR, RIGHTS, SEG } from "../../sim/cpu/state.ts";
import { Ledger } from "../../sim/ledger.ts";
import { PhysicalMemory } from "../../sim/memory/physical.ts";

/** Physical (and, unless a test maps otherwise, linear) addresses. */
export const AT = {
  gdt: 0x1000,
  idt: 0x2000,
  tss: 0x3000,
  directory: 0x4000,
  table: 0x5000,
  handlers: 0x6000,
  stack: 0x9000,
  code: 0x10000,
  data: 0x20000,
} as const;
export const SELECTOR = { code: 0x08, data: 0x10, userCode: 0x1b, userData: 0x23, tss: 0x28, code16: 0x30 } as const;
const HANDLER_BYTES = 16;
const HLT = 0xf4;

/** A profile on which each cost is 0 unless given, in cycles. */
export function cheapProfile(costs: Partial<Record<CostName, number>> = {}, changes: Partial<Profile> = {}): Profile {
  const all = Object.fromEntries(
    COST_NAMES.map((name) => [name, { value: costs[name] ?? 0, unit: "cycles", mark: "derived", source: "test" }]),
  ) as Profile["costs"];
  return { ...pentium4_672, costs: all, ...changes };
}

/** Bus of a test: interrupts by vector, NMI, and a record of ports. */
export class TestBus implements Bus {
  readonly pending: number[] = [];
  nmiLine = false;
  portValue = 0xff;
  readonly log: string[] = [];
  /** Called before a port access. */
  onPort: () => void = () => undefined;

  get interruptLine(): boolean {
    return this.pending.length > 0;
  }
  acknowledgeInterrupt(): number {
    return this.pending.shift() as number;
  }
  acknowledgeNmi(): void {
    this.nmiLine = false;
  }
  readPort(port: number): number {
    this.log.push(`in ${port.toString(16)}`);
    this.onPort();
    return this.portValue;
  }
  writePort(port: number, _bytes: number, value: number): void {
    this.log.push(`out ${port.toString(16)} ${value.toString(16)}`);
    this.onPort();
  }
  readMemory(): number {
    return 0xffffffff;
  }
  writeMemory(): void {}
}

/** Something that happens once, at a time in cycles. */
class Appointment implements Timed {
  #at: number;
  readonly #act: () => void;
  constructor(at: number, act: () => void) {
    this.#at = at;
    this.#act = act;
  }
  nextDeadline(): number {
    return this.#at;
  }
  due(): void {
    this.#at = Number.POSITIVE_INFINITY;
    this.#act();
  }
}

export interface RigOptions {
  readonly profile?: Profile;
  readonly maxBlock?: number;
}

export class Rig {
  readonly memory = new PhysicalMemory(0x100000);
  readonly bus = new TestBus();
  readonly ledger: Ledger;
  readonly core: Core;
  readonly #alarms = new Alarms();

  constructor({ profile = pentium4_672, maxBlock = 32 }: RigOptions = {}) {
    const { memory, bus } = this;
    this.ledger = new Ledger(new Clock(memory.timeCells, profile.frequencyMHz));
    const alarms = this.#alarms;
    this.core = new Core({ index: 0, memory, bus, ledger: this.ledger, alarms, profile, seed: 1, maxBlock });
    this.#writeTables();
    const { state } = this.core;
    state.flags = 2;
    state.set(CELL.cr0, CR0.PE | CR0.ET | CR0.NE);
    state.setNumber(CELL.gdtrBase, AT.gdt);
    state.set(CELL.gdtrLimit, 0xff);
    state.setNumber(CELL.idtrBase, AT.idt);
    state.set(CELL.idtrLimit, 0x7ff);
    state.setSegment(SEG.ldtr, 0, 0, 0, RIGHTS.UNUSABLE);
    state.setSegment(SEG.tr, SELECTOR.tss, AT.tss, 0x67, RIGHTS.P | 0xb);
    this.kernel();
  }

  /** CPL 0 at `AT.code`, flat segments. */
  kernel(): this {
    this.#segments(SELECTOR.code, SELECTOR.data, 0);
    this.core.state.set(GPR.esp, AT.stack);
    return this;
  }

  /** CPL 3 at `AT.code`, flat segments. */
  user(): this {
    this.#segments(SELECTOR.userCode, SELECTOR.userData, 3);
    this.core.state.set(GPR.esp, AT.data + 0x1000);
    return this;
  }

  #segments(code: number, data: number, cpl: number): void {
    const { state } = this.core;
    const rights = 0xc000 | RIGHTS.S | RIGHTS.P | (cpl << RIGHTS.DPL_SHIFT);
    for (let segment = 0; segment < 6; segment++) {
      const isCode = segment === SEG.cs;
      state.setSegment(segment, isCode ? code : data, 0, 0xffffffff, rights | (isCode ? 0xb : 0x3));
    }
    state.set(CELL.cpl, cpl);
    state.eip = AT.code;
  }

  /** Identity-maps the first megabyte for everyone and turns paging on. */
  paging(): this {
    const { memory, core } = this;
    memory.write32(AT.directory, AT.table | 7);
    for (let page = 0; page < 0x100; page++) memory.write32(AT.table + page * 4, (page << 12) | 7);
    core.state.set(CELL.cr3, AT.directory);
    core.state.set(CELL.cr0, core.state.cr0 | CR0.PG | CR0.WP);
    core.mmu.flushTlb(FLUSH.ALL);
    return this;
  }

  /** Maps a linear page of the first 4 MB; `entry` 0 takes it away. */
  map(linear: number, entry: number): this {
    this.memory.write32(AT.table + (linear >>> 12) * 4, entry);
    this.core.mmu.flushPage(linear);
    return this;
  }

  /** Puts bytes, given in hexadecimal, into memory. */
  bytes(address: number, hex: string): this {
    this.memory.copyIn(
      address,
      Uint8Array.from(hex.trim().split(/\s+/), (byte) => Number.parseInt(byte, 16)),
    );
    return this;
  }

  /** Code at `AT.code`. */
  code(hex: string): this {
    return this.bytes(AT.code, hex);
  }

  handler(vector: number, hex: string): this {
    return this.bytes(handlerAddress(vector), hex);
  }

  /** Writes a gate: type 0x8e (interrupt), 0x8f (trap), with DPL 3 0xee and 0xef; 0 for an absent one. */
  gate(vector: number, type: number, selector: number = SELECTOR.code): this {
    const address = handlerAddress(vector);
    this.memory.write32(AT.idt + vector * 8, (selector << 16) | (address & 0xffff));
    this.memory.write32(AT.idt + vector * 8 + 4, (address & 0xffff0000) | (type << 8));
    return this;
  }

  /** Something happens at `cycles` from reset. */
  at(cycles: number, act: () => void): this {
    this.#alarms.add(new Appointment(cycles * TICKS_PER_CYCLE, act));
    return this;
  }

  /** Runs until something stops it. */
  run(cycles = 1e9, instructions?: number): Stop {
    const until = cycles * TICKS_PER_CYCLE;
    return this.core.run(instructions === undefined ? { until } : { until, instructions });
  }

  /** Executes `count` instructions or event deliveries one by one. */
  step(count = 1): Stop {
    return this.run(1e9, count);
  }

  /** Cycles since reset. */
  get cycles(): number {
    return this.ledger.clock.now / TICKS_PER_CYCLE;
  }

  get eax(): number {
    return this.core.state.get(GPR.eax);
  }

  /** Vector whose halting handler the processor is in, or -1. */
  get handled(): number {
    const offset = this.core.state.eip - AT.handlers;
    return offset >= 0 && offset < 256 * HANDLER_BYTES ? Math.floor(offset / HANDLER_BYTES) : -1;
  }

  /** The item at `n` doublewords above the stack pointer. */
  stack(n: number): number {
    return this.memory.read32(this.core.state.get(GPR.esp) + n * 4) >>> 0;
  }

  #writeTables(): void {
    const { memory } = this;
    const descriptors: [number, number, number][] = [
      [SELECTOR.code, 0x0000ffff, 0x00cf9b00],
      [SELECTOR.data, 0x0000ffff, 0x00cf9300],
      [SELECTOR.userCode, 0x0000ffff, 0x00cffb00],
      [SELECTOR.userData, 0x0000ffff, 0x00cff300],
      [SELECTOR.tss, (AT.tss << 16) | 0x67, 0x00008b00],
      [SELECTOR.code16, 0x0000ffff, 0x000f9b00],
    ];
    for (const [selector, low, high] of descriptors) {
      memory.write32(AT.gdt + (selector & ~7), low);
      memory.write32(AT.gdt + (selector & ~7) + 4, high);
    }
    for (let vector = 0; vector < 256; vector++) {
      this.gate(vector, 0x8e);
      memory.write8(handlerAddress(vector), HLT);
    }
    memory.write32(AT.tss + 4, AT.stack);
    memory.write32(AT.tss + 8, SELECTOR.data);
    memory.write32(AT.tss + 0x64, 0x00680000);
  }
}

export function handlerAddress(vector: number): number {
  return AT.handlers + vector * HANDLER_BYTES;
}

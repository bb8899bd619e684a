/**
 * An environment over 64 KB of flat memory with identity paging, for the system helpers: pages can be made absent,
 * read-only or supervisor-only; costs, flushes, ports and exits are recorded. And a processor with a GDT, LDT, IDT and
 * TSS, each on a page of its own, whose contents tests change.
 */
import { ACCESS, type Environment, type Intercepts, type VmxInstructions } from "../../../sim/cpu/environment.ts";
import { pentium4_672 } from "../../../sim/cpu/profiles/pentium4-672.ts";
import type { CostName, Profile } from "../../../sim/cpu/profiles/profile.ts";
import {
  CELL,
  CpuState,
  CR0,
  FIRST_TEMPORARY,
  FLAG,
  GPR,
  NO_ERROR_CODE,
  OUTCOME,
  RIGHTS,
  raise,
  raisePageFault,
  SEG,
  TEMPORARY_COUNT,
  VECTOR,
} from "../../../sim/cpu/state.ts";

export const MEMORY_BYTES = 0x10000;

export class FakeEnvironment implements Environment {
  readonly state: CpuState;
  profile: Profile = pentium4_672;
  intercepts: Intercepts | null = null;
  vmx: VmxInstructions | null = null;
  readonly memory = new Uint8Array(MEMORY_BYTES);
  readonly absent = new Set<number>();
  readonly readOnly = new Set<number>();
  readonly supervisorOnly = new Set<number>();
  readonly charges: CostName[] = [];
  /** Everything else that was asked for, as text. */
  readonly log: string[] = [];
  time = 0;
  /** Misaligned accesses with the rights of the user are #AC(0), as with CR0.AM and EFLAGS.AC. */
  checkAlignment = false;
  portValue = 0;

  constructor(state: CpuState) {
    this.state = state;
  }

  #permits(linear: number, bytes: number, access: number): boolean {
    const write = (access & ACCESS.WRITE) !== 0;
    const user = (access & ACCESS.USER) !== 0;
    for (let at = linear; at < linear + bytes; at++) {
      const page = at >>> 12;
      const present = !this.absent.has(page) && at < MEMORY_BYTES;
      const denied = (user && this.supervisorOnly.has(page)) || (write && this.readOnly.has(page));
      if (present && !denied) continue;
      raisePageFault(this.state, at, (present ? 1 : 0) | (write ? 2 : 0) | (user ? 4 : 0));
      return false;
    }
    const misaligned = (bytes === 2 || bytes === 4) && linear % bytes !== 0;
    if (this.checkAlignment && user && misaligned) raise(this.state, VECTOR.AC, 0);
    return this.state.signal.outcome === OUTCOME.NONE;
  }

  load(linear: number, bytes: number, access: number): number {
    if (!this.#permits(linear, bytes, access)) return 0;
    return this.peek(linear, bytes);
  }

  store(linear: number, bytes: number, value: number, access: number): void {
    if (this.#permits(linear, bytes, access | ACCESS.WRITE)) this.poke(linear, bytes, value);
  }

  load64(linear: number, access: number, cell: number): void {
    if (!this.#permits(linear, 8, access)) return;
    this.state.i32[cell] = this.peek(linear, 4);
    this.state.i32[cell + 1] = this.peek(linear + 4, 4);
  }

  store64(linear: number, access: number, cell: number): void {
    if (!this.#permits(linear, 8, access | ACCESS.WRITE)) return;
    this.poke(linear, 4, this.state.i32[cell] as number);
    this.poke(linear + 4, 4, this.state.i32[cell + 1] as number);
  }

  probe(linear: number, bytes: number, access: number): void {
    this.#permits(linear, bytes, access);
  }

  /** Memory without any check: int32 for 4 bytes, unsigned otherwise. */
  peek(at: number, bytes: number): number {
    let value = 0;
    for (let n = 0; n < bytes; n++) value |= (this.memory[at + n] as number) << (8 * n);
    return value;
  }

  poke(at: number, bytes: number, value: number): void {
    for (let n = 0; n < bytes; n++) this.memory[at + n] = value >>> (8 * n);
  }

  readPdpt(address: number): number {
    return this.peek(address, 4);
  }

  readPort(port: number, bytes: number): number {
    this.log.push(`in ${port.toString(16)} ${bytes}`);
    return this.portValue;
  }

  writePort(port: number, bytes: number, value: number): void {
    this.log.push(`out ${port.toString(16)} ${bytes} ${value.toString(16)}`);
  }

  flushTlb(scope: number): void {
    this.log.push(`flush ${scope}`);
  }

  pagingChanged(): void {
    this.log.push("paging changed");
  }

  flushPage(linear: number): void {
    this.log.push(`flush page ${linear.toString(16)}`);
  }

  timestamp(): number {
    return this.time;
  }

  charge(cost: CostName): void {
    this.charges.push(cost);
  }

  apicBaseChanged(): void {
    this.log.push("apic base");
  }

  attention(): void {}
  interruptsOpened(): void {}

  marker(): void {}

  branch(): void {}

  expired(): boolean {
    return false;
  }
}

/** Intercepts that cause no exit and pass everything through; tests replace what they look at. */
export function noIntercepts(changes: Partial<Intercepts> = {}): Intercepts {
  return {
    instruction: () => false,
    invlpg: () => false,
    portIo: () => false,
    msr: () => false,
    writeCr: () => false,
    readCr: () => false,
    clts: () => false,
    lmsw: () => false,
    movDr: () => false,
    taskSwitch: () => false,
    visibleCr: (_cr, actual) => actual,
    mergeCr: (_cr, _actual, written) => written,
    tscOffset: () => 0,
    readTprShadow: () => null,
    writeTprShadow: () => false,
    ...changes,
  };
}

/** Where the tables and stacks are. */
export const AT = {
  gdt: 0x1000,
  ldt: 0x2000,
  idt: 0x3000,
  tss: 0x4000,
  stack: [0x6000, 0x7000, 0x8000, 0x9000],
} as const;
export const TABLE_LIMIT = 0x1ff;
export const TSS_LIMIT = 0x77;

export const PRESENT = RIGHTS.P;
/** Access rights: type, S, DPL, P, and G and D/B. */
export const dplBits = (level: number): number => level << RIGHTS.DPL_SHIFT;
export const DATA = 0x2 | RIGHTS.S | RIGHTS.P | RIGHTS.DB | RIGHTS.G;
export const CODE = 0xa | RIGHTS.S | RIGHTS.P | RIGHTS.DB | RIGHTS.G;
export const CONFORMING = CODE | 4;

/** Raw limit (20 bits) and rights as an 8-byte descriptor, low and high word. */
export function segmentDescriptor(rights: number, base = 0, rawLimit = 0xfffff): [low: number, high: number] {
  const low = ((base & 0xffff) << 16) | (rawLimit & 0xffff);
  const high = (base & 0xff000000) | ((rights & 0xf0ff) << 8) | (rawLimit & 0xf0000) | ((base >>> 16) & 0xff);
  return [low, high];
}

export function gateDescriptor(rights: number, selector: number, offset: number, count = 0): [number, number] {
  const low = ((selector & 0xffff) << 16) | (offset & 0xffff);
  return [low, (offset & 0xffff0000) | ((rights & 0xff) << 8) | count];
}

/** GDT entries by name; the selector of ring n has RPL n. */
export const SELECTOR = {
  code: [0x08, 0x11, 0x1a, 0x23],
  data: [0x28, 0x31, 0x3a, 0x43],
  tss: 0x48,
  ldt: 0x50,
  conforming: 0x58,
  /** Free for tests. */
  free: 0x60,
  /** Second free entry. */
  other: 0x68,
  /** Available 32-bit TSS. */
  otherTss: 0x70,
} as const;

export interface Snapshot {
  readonly cells: readonly number[];
  readonly memory: Uint8Array;
}

export class Fixture {
  readonly state = new CpuState();
  readonly env = new FakeEnvironment(this.state);

  constructor(cpl = 0) {
    const { state, env } = this;
    state.set(CELL.cr0, CR0.PE | CR0.ET | CR0.NE);
    state.flags = FLAG.ONE;
    state.eip = 0x1234;
    state.set(CELL.gdtrBase, AT.gdt);
    state.set(CELL.gdtrLimit, TABLE_LIMIT);
    state.set(CELL.idtrBase, AT.idt);
    state.set(CELL.idtrLimit, 0x7ff);
    for (let level = 0; level < 4; level++) {
      this.gdt(SELECTOR.code[level] as number, segmentDescriptor(CODE | dplBits(level)));
      this.gdt(SELECTOR.data[level] as number, segmentDescriptor(DATA | dplBits(level)));
    }
    const tssRights = 0xb | PRESENT;
    this.gdt(SELECTOR.tss, segmentDescriptor(tssRights, AT.tss, TSS_LIMIT));
    this.gdt(SELECTOR.ldt, segmentDescriptor(2 | PRESENT, AT.ldt, TABLE_LIMIT));
    this.gdt(SELECTOR.conforming, segmentDescriptor(CONFORMING));
    this.gdt(SELECTOR.otherTss, segmentDescriptor(9 | PRESENT, 0x5000, TSS_LIMIT));
    for (let level = 0; level < 3; level++) {
      env.poke(AT.tss + 4 + 8 * level, 4, (AT.stack[level] as number) + 0x1000);
      env.poke(AT.tss + 8 + 8 * level, 4, SELECTOR.data[level] as number);
    }
    env.poke(AT.tss + 0x66, 2, 0x68);
    state.setSegment(SEG.tr, SELECTOR.tss, AT.tss, TSS_LIMIT, tssRights);
    state.setSegment(SEG.ldtr, SELECTOR.ldt, AT.ldt, TABLE_LIMIT, 2 | PRESENT);
    this.ring(cpl);
  }

  /** Puts the processor at a privilege level, with flat segments of that level. */
  ring(cpl: number): this {
    const { state } = this;
    state.setSegment(SEG.cs, SELECTOR.code[cpl] as number, 0, 0xffffffff, CODE | 1 | dplBits(cpl));
    for (const segment of [SEG.es, SEG.ss, SEG.ds, SEG.fs, SEG.gs]) {
      state.setSegment(segment, SELECTOR.data[cpl] as number, 0, 0xffffffff, DATA | 1 | dplBits(cpl));
    }
    state.set(CELL.cpl, cpl);
    state.set(GPR.esp, (AT.stack[cpl] as number) + 0xf00);
    return this;
  }

  gdt(selector: number, [low, high]: readonly [number, number]): this {
    this.env.poke(AT.gdt + (selector & 0xfff8), 4, low);
    this.env.poke(AT.gdt + (selector & 0xfff8) + 4, 4, high);
    return this;
  }

  ldt(selector: number, [low, high]: readonly [number, number]): this {
    this.env.poke(AT.ldt + (selector & 0xfff8), 4, low);
    this.env.poke(AT.ldt + (selector & 0xfff8) + 4, 4, high);
    return this;
  }

  idt(vector: number, [low, high]: readonly [number, number]): this {
    this.env.poke(AT.idt + vector * 8, 4, low);
    this.env.poke(AT.idt + vector * 8 + 4, 4, high);
    return this;
  }

  /** Writes items upwards from the current stack pointer. */
  stack(bytes: number, ...items: number[]): this {
    for (const [n, item] of items.entries()) this.env.poke(this.state.get(GPR.esp) + n * bytes, bytes, item);
    return this;
  }

  /** The item at `n` items above the current stack pointer. */
  item(n: number, bytes = 4): number {
    return this.env.peek(this.state.get(GPR.esp) + n * bytes, bytes) >>> 0;
  }

  /** "ok", "exit", "unmodelled", or a fault as "#vector(code)". */
  outcome(): string {
    const { outcome, vector, errorCode, address } = this.state.signal;
    if (outcome === OUTCOME.NONE) return "ok";
    if (outcome === OUTCOME.EXIT) return "exit";
    if (outcome === OUTCOME.UNMODELLED) return "unmodelled";
    const name = NAMES[vector] ?? vector;
    if (vector === 14) return `#PF(${errorCode}) at ${address.toString(16)}`;
    return errorCode === NO_ERROR_CODE ? `#${name}` : `#${name}(${errorCode.toString(16)})`;
  }

  /** What differs from an earlier snapshot, as text: empty when a fault has left everything alone. */
  changes(before: Snapshot): string[] {
    const now = this.snapshot();
    const changes: string[] = [];
    for (const [cell, value] of now.cells.entries()) {
      if (value !== before.cells[cell]) changes.push(`cell ${cell}: ${before.cells[cell]} -> ${value}`);
    }
    for (let at = 0; at < MEMORY_BYTES; at++) {
      if (now.memory[at] !== before.memory[at]) changes.push(`byte ${at.toString(16)}`);
    }
    return changes;
  }

  /** All cells but the temporaries, and memory without accessed and busy bits of the descriptor tables. */
  snapshot(): Snapshot {
    const cells = this.state.save().slice();
    cells.fill(0, FIRST_TEMPORARY, FIRST_TEMPORARY + 2 * TEMPORARY_COUNT);
    const memory = this.env.memory.slice();
    for (const table of [AT.gdt, AT.ldt]) {
      for (let at = table + 5; at < table + TABLE_LIMIT; at += 8) {
        const segment = ((memory[at] as number) & RIGHTS.S) !== 0;
        memory[at] = (memory[at] as number) & (segment ? ~1 : ~2);
      }
    }
    return { cells, memory };
  }
}

const NAMES: Readonly<Record<number, string>> = {
  0: "DE",
  1: "DB",
  6: "UD",
  8: "DF",
  10: "TS",
  11: "NP",
  12: "SS",
  13: "GP",
  14: "PF",
  17: "AC",
};

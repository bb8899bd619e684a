/**
 * The local APIC of a one-processor machine in xAPIC mode, as the Pentium 4 and Core 2 have it (SDM vol. 3, chapter 11):
 * 4 KB of registers, each 32 bits at a multiple of 16.
 *
 * Simplifications: there is no other processor, so interrupt commands reach this processor or nobody;
 * SMI, INIT and start-up commands to oneself are ignored; the thermal and performance-counter entries are registers
 * without a source. Accesses other than aligned 32-bit ones are undefined in the manual: here narrower reads give part
 * of the register, narrower writes do nothing.
 */
import type { Timed } from "../clock.ts";
import { ApicTimer, type ApicTimerState } from "./apic-timer.ts";
import type { InterruptMessage } from "./io-apic.ts";
import type { Frequency, TimeBase } from "./time.ts";

/** Register offsets (SDM vol. 3, table 11-1). */
export const APIC = {
  id: 0x20,
  version: 0x30,
  tpr: 0x80,
  apr: 0x90,
  ppr: 0xa0,
  eoi: 0xb0,
  ldr: 0xd0,
  dfr: 0xe0,
  svr: 0xf0,
  isr: 0x100,
  tmr: 0x180,
  irr: 0x200,
  esr: 0x280,
  icrLow: 0x300,
  icrHigh: 0x310,
  lvtTimer: 0x320,
  lvtThermal: 0x330,
  lvtPerformance: 0x340,
  lvtLint0: 0x350,
  lvtLint1: 0x360,
  lvtError: 0x370,
  timerInitial: 0x380,
  timerCurrent: 0x390,
  timerDivide: 0x3e0,
} as const;

/** Integrated APIC, version 14h, six LVT entries. */
const VERSION = 0x0005_0014;

/** Writable bits of each local vector table entry, in order of offset. */
const LVT_WRITABLE = [0x300ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff] as const;
const LVT = { masked: 0x10000, periodic: 0x20000, remoteIrr: 0x4000, level: 0x8000 } as const;
const lvtIndex = (offset: number): number => (offset - APIC.lvtTimer) >> 4;
const TIMER = lvtIndex(APIC.lvtTimer);
const LINT0 = lvtIndex(APIC.lvtLint0);
const ERROR = lvtIndex(APIC.lvtError);

/** Delivery modes (bits 10:8). */
const MODE = { fixed: 0, lowestPriority: 1, nmi: 4, extInt: 7 } as const;
const modeOf = (register: number): number => (register >> 8) & 7;

const SVR_ENABLE = 0x100;
/** Error status register. */
const ESR = { sendIllegalVector: 0x20, receiveIllegalVector: 0x40, illegalRegister: 0x80 } as const;
/** Vectors 0 to 15 are illegal. */
const FIRST_LEGAL_VECTOR = 16;

/** Plain data. Registers as they are read; `irr`, `isr`, `tmr` as eight words each. */
export interface LocalApicState {
  readonly tpr: number;
  readonly ldr: number;
  readonly dfr: number;
  readonly svr: number;
  readonly esr: number;
  readonly errors: number;
  readonly icrLow: number;
  readonly icrHigh: number;
  readonly lvt: readonly number[];
  readonly irr: readonly number[];
  readonly isr: readonly number[];
  readonly tmr: readonly number[];
  readonly lint: readonly boolean[];
  readonly timer: ApicTimerState;
  readonly ticksLost: number;
}

export interface LocalApicParts {
  readonly id: number;
  readonly time: TimeBase;
  /** Clock of the timer. */
  readonly busClock: Frequency;
  /** An NMI is delivered to the processor. */
  readonly onNmi: () => void;
  /** A level-triggered interrupt has ended: the EOI message to the I/O APICs. */
  readonly onEndOfInterrupt?: (vector: number) => void;
}

/** Highest vector in a 256-bit register, -1 when it is empty. */
function highest(words: Uint32Array): number {
  for (let i = 7; i >= 0; i--) {
    const word = words[i] as number;
    if (word !== 0) return 32 * i + 31 - Math.clz32(word);
  }
  return -1;
}

const has = (words: Uint32Array, vector: number): boolean =>
  ((words[vector >> 5] as number) & (1 << (vector & 31))) !== 0;

function assign(words: Uint32Array, vector: number, value: boolean): void {
  const bit = 1 << (vector & 31);
  const word = words[vector >> 5] as number;
  words[vector >> 5] = value ? word | bit : word & ~bit;
}

export class LocalApic implements Timed {
  readonly #id: number;
  readonly #time: TimeBase;
  readonly #onNmi: () => void;
  readonly #onEndOfInterrupt: (vector: number) => void;
  readonly #timer: ApicTimer;
  readonly #irr = new Uint32Array(8);
  readonly #isr = new Uint32Array(8);
  readonly #tmr = new Uint32Array(8);
  readonly #lvt = new Uint32Array(LVT_WRITABLE.length);
  readonly #lint = [false, false];
  #tpr = 0;
  #ldr = 0;
  #dfr = 0xffffffff;
  #svr = 0xff;
  #esr = 0;
  #errors = 0;
  #icrLow = 0;
  #icrHigh = 0;
  #ticksLost = 0;

  constructor(parts: LocalApicParts) {
    this.#id = parts.id;
    this.#time = parts.time;
    this.#onNmi = parts.onNmi;
    this.#onEndOfInterrupt = parts.onEndOfInterrupt ?? (() => undefined);
    this.#timer = new ApicTimer(parts.busClock, parts.time.ticksPerSecond);
    this.#lvt.fill(LVT.masked);
  }

  /** Timer interrupts that fell due while their vector was still waiting in the IRR. */
  get ticksLost(): number {
    return this.#ticksLost;
  }

  /** State after RESET (SDM vol. 3, 11.4.7.1): software-disabled, all entries masked. The LINT pins stay as driven. */
  reset(): void {
    for (const words of [this.#irr, this.#isr, this.#tmr]) words.fill(0);
    this.#lvt.fill(LVT.masked);
    this.#timer.reset();
    this.#tpr = 0;
    this.#ldr = 0;
    this.#dfr = 0xffffffff;
    this.#svr = 0xff;
    this.#esr = 0;
    this.#errors = 0;
    this.#icrLow = 0;
    this.#icrHigh = 0;
    this.#ticksLost = 0;
  }

  save(): LocalApicState {
    return {
      tpr: this.#tpr,
      ldr: this.#ldr,
      dfr: this.#dfr,
      svr: this.#svr,
      esr: this.#esr,
      errors: this.#errors,
      icrLow: this.#icrLow,
      icrHigh: this.#icrHigh,
      lvt: [...this.#lvt],
      irr: [...this.#irr],
      isr: [...this.#isr],
      tmr: [...this.#tmr],
      lint: [...this.#lint],
      timer: this.#timer.save(),
      ticksLost: this.#ticksLost,
    };
  }

  restore(data: LocalApicState): void {
    this.#tpr = data.tpr;
    this.#ldr = data.ldr;
    this.#dfr = data.dfr;
    this.#svr = data.svr;
    this.#esr = data.esr;
    this.#errors = data.errors;
    this.#icrLow = data.icrLow;
    this.#icrHigh = data.icrHigh;
    this.#lvt.set(data.lvt);
    this.#irr.set(data.irr);
    this.#isr.set(data.isr);
    this.#tmr.set(data.tmr);
    this.#lint[0] = data.lint[0] === true;
    this.#lint[1] = data.lint[1] === true;
    this.#timer.restore(data.timer);
    this.#ticksLost = data.ticksLost;
  }

  /** The task-priority register. */
  get taskPriority(): number {
    return this.#tpr;
  }

  set taskPriority(value: number) {
    this.#tpr = value & 0xff;
  }

  /** Whether any interrupt is requested and not in service yet, delivered soon or held back by a priority. */
  get requested(): boolean {
    return highest(this.#irr) >= 0;
  }

  /** Processor priority: the higher class of TPR and the vector in service (SDM vol. 3, 11.8.3.1). */
  get ppr(): number {
    const serving = Math.max(0, highest(this.#isr));
    return this.#tpr >> 4 >= serving >> 4 ? this.#tpr : serving & 0xf0;
  }

  /** The vector that would be delivered now, -1 for none: its class must exceed the processor priority's. */
  get deliverable(): number {
    const vector = highest(this.#irr);
    return vector >> 4 > this.ppr >> 4 ? vector : -1;
  }

  /** Whether LINT0 passes the 8259's request through (virtual wire mode). */
  get externalInterrupt(): boolean {
    const entry = this.#lvt[LINT0] as number;
    return this.#lint[0] === true && (entry & LVT.masked) === 0 && modeOf(entry) === MODE.extInt;
  }

  /** The processor takes the deliverable vector: it goes in service. The spurious vector when there is none. */
  acknowledge(): number {
    const vector = this.deliverable;
    if (vector < 0) return this.#svr & 0xff;
    assign(this.#irr, vector, false);
    assign(this.#isr, vector, true);
    return vector;
  }

  /** Drives LINT0 (the 8259's INTR) or LINT1. */
  setLint(pin: 0 | 1, high: boolean): void {
    const rises = high && this.#lint[pin] !== true;
    this.#lint[pin] = high;
    if (rises) this.#lintRequest(LINT0 + pin);
  }

  /** A message of the I/O APIC; whether this processor is its destination and has accepted it. */
  receive(message: InterruptMessage): boolean {
    const { vector, mode, destination, logical, level } = message;
    if (!this.#isAddressed(destination, logical)) return false;
    if (mode === MODE.nmi) {
      this.#onNmi();
      return true;
    }
    return (mode === MODE.fixed || mode === MODE.lowestPriority) && this.#accept(vector, level);
  }

  nextDeadline(): number {
    return ((this.#lvt[TIMER] as number) & LVT.masked) === 0 ? this.#timer.nextExpiry() : Number.POSITIVE_INFINITY;
  }

  due(now: number): void {
    const entry = this.#lvt[TIMER] as number;
    const expiries = this.#timer.takeExpiries(now);
    if (expiries === 0 || (entry & LVT.masked) !== 0) return;
    const waiting = has(this.#irr, entry & 0xff);
    this.#ticksLost += waiting ? expiries : expiries - 1;
    this.#accept(entry & 0xff, false);
  }

  /** Reads 1, 2 or 4 bytes at an offset in the page of registers. */
  read(offset: number, bytes: number): number {
    const register = offset & ~0xf;
    if ((offset & 0xf) + bytes > 4) return 0;
    const value = this.#readRegister(register) >>> (8 * (offset & 3));
    return bytes === 4 ? value : value & (bytes === 2 ? 0xffff : 0xff);
  }

  /** Writes at an offset in the page of registers. */
  write(offset: number, bytes: number, value: number): void {
    if (bytes !== 4 || (offset & 0xf) !== 0) return;
    this.#writeRegister(offset, value >>> 0);
  }

  #readRegister(offset: number): number {
    if (offset >= APIC.isr && offset < APIC.esr) {
      const words = offset < APIC.tmr ? this.#isr : offset < APIC.irr ? this.#tmr : this.#irr;
      return words[(offset >> 4) & 7] as number;
    }
    if (offset >= APIC.lvtTimer && offset <= APIC.lvtError) return this.#lvt[lvtIndex(offset)] as number;
    switch (offset) {
      case APIC.id:
        return (this.#id << 24) >>> 0;
      case APIC.version:
        return VERSION;
      case APIC.tpr:
        return this.#tpr;
      case APIC.apr:
        return this.#arbitrationPriority();
      case APIC.ppr:
        return this.ppr;
      case APIC.eoi:
        return 0;
      case APIC.ldr:
        return this.#ldr;
      case APIC.dfr:
        return this.#dfr;
      case APIC.svr:
        return this.#svr;
      case APIC.esr:
        return this.#esr;
      case APIC.icrLow:
        return this.#icrLow;
      case APIC.icrHigh:
        return this.#icrHigh;
      case APIC.timerInitial:
        return this.#timer.initial;
      case APIC.timerCurrent:
        return this.#timer.current(this.#time.now());
      case APIC.timerDivide:
        return this.#timer.divideRegister;
    }
    this.#error(ESR.illegalRegister);
    return 0;
  }

  #writeRegister(offset: number, value: number): void {
    if (offset >= APIC.lvtTimer && offset <= APIC.lvtError) {
      this.#writeLvt(lvtIndex(offset), value);
      return;
    }
    switch (offset) {
      case APIC.tpr:
        this.#tpr = value & 0xff;
        return;
      case APIC.eoi:
        this.#endOfInterrupt();
        return;
      case APIC.ldr:
        this.#ldr = (value & 0xff000000) >>> 0;
        return;
      case APIC.dfr:
        this.#dfr = (value | 0x0fffffff) >>> 0;
        return;
      case APIC.svr:
        this.#svr = value & 0x3ff;
        if ((value & SVR_ENABLE) === 0) for (let i = 0; i < this.#lvt.length; i++) this.#mask(i);
        return;
      case APIC.esr:
        // A write makes the errors since the last one readable.
        this.#esr = this.#errors;
        this.#errors = 0;
        return;
      case APIC.icrLow:
        this.#icrLow = value & 0xccfff;
        this.#command();
        return;
      case APIC.icrHigh:
        this.#icrHigh = (value & 0xff000000) >>> 0;
        return;
      case APIC.timerInitial:
        this.due(this.#time.now());
        this.#timer.setInitial(value, this.#time.now());
        return;
      case APIC.timerDivide:
        this.due(this.#time.now());
        this.#timer.setDivide(value, this.#time.now());
        return;
      case APIC.id:
      case APIC.version:
      case APIC.apr:
      case APIC.ppr:
      case APIC.timerCurrent:
        // Read-only; the identifier is the board's.
        return;
    }
    if (offset >= APIC.isr && offset < APIC.esr) return;
    this.#error(ESR.illegalRegister);
  }

  #mask(index: number): void {
    this.#lvt[index] = (this.#lvt[index] as number) | LVT.masked;
  }

  #writeLvt(index: number, value: number): void {
    const now = this.#time.now();
    if (index === TIMER) this.due(now);
    const before = this.#lvt[index] as number;
    this.#lvt[index] = (value & (LVT_WRITABLE[index] as number)) | (before & LVT.remoteIrr);
    if ((this.#svr & SVR_ENABLE) === 0) this.#mask(index);
    if (index === TIMER) {
      this.#timer.setPeriodic((value & LVT.periodic) !== 0, now);
    } else if (index === LINT0 || index === LINT0 + 1) {
      // A level that is already high is a request as soon as its entry is open.
      const level = ((this.#lvt[index] as number) & LVT.level) !== 0;
      if (level && this.#lint[index - LINT0] === true) this.#lintRequest(index);
    }
  }

  #lintRequest(index: number): void {
    const entry = this.#lvt[index] as number;
    if ((entry & LVT.masked) !== 0) return;
    if (modeOf(entry) === MODE.nmi) this.#onNmi();
    if (modeOf(entry) !== MODE.fixed || (entry & LVT.remoteIrr) !== 0) return;
    const level = (entry & LVT.level) !== 0;
    if (level) this.#lvt[index] = entry | LVT.remoteIrr;
    this.#accept(entry & 0xff, level);
  }

  /** Takes a fixed interrupt into the IRR, unless its vector is illegal or the APIC software-disabled. */
  #accept(vector: number, levelTriggered: boolean): boolean {
    if ((this.#svr & SVR_ENABLE) === 0) return false;
    if (vector < FIRST_LEGAL_VECTOR) {
      this.#error(ESR.receiveIllegalVector);
      return false;
    }
    assign(this.#irr, vector, true);
    assign(this.#tmr, vector, levelTriggered);
    return true;
  }

  #endOfInterrupt(): void {
    const vector = highest(this.#isr);
    if (vector < 0) return;
    assign(this.#isr, vector, false);
    if (!has(this.#tmr, vector)) return;
    for (const pin of [0, 1] as const) {
      const entry = this.#lvt[LINT0 + pin] as number;
      if ((entry & LVT.remoteIrr) === 0 || (entry & 0xff) !== vector) continue;
      this.#lvt[LINT0 + pin] = entry & ~LVT.remoteIrr;
      if (this.#lint[pin] === true) this.#lintRequest(LINT0 + pin);
    }
    this.#onEndOfInterrupt(vector);
  }

  /** Interrupt command register (SDM vol. 3, 11.6.1). */
  #command(): void {
    const mode = modeOf(this.#icrLow);
    const vector = this.#icrLow & 0xff;
    const fixed = mode === MODE.fixed || mode === MODE.lowestPriority;
    if (fixed && vector < FIRST_LEGAL_VECTOR) {
      this.#error(ESR.sendIllegalVector);
      return;
    }
    if (!this.#isDestination()) return;
    if (fixed) this.#accept(vector, false);
    else if (mode === MODE.nmi) this.#onNmi();
  }

  #isDestination(): boolean {
    const shorthand = (this.#icrLow >> 18) & 3;
    if (shorthand !== 0) return shorthand !== 3;
    return this.#isAddressed(this.#icrHigh >>> 24, (this.#icrLow & 0x800) !== 0);
  }

  /** Message destination address (SDM vol. 3, 11.6.2). */
  #isAddressed(destination: number, logical: boolean): boolean {
    if (destination === 0xff) return true;
    if (!logical) return destination === this.#id;
    const own = this.#ldr >>> 24;
    if (this.#dfr >>> 28 === 0xf) return (own & destination) !== 0;
    return own >> 4 === destination >> 4 && (own & destination & 0xf) !== 0;
  }

  /** An error is recorded, and interrupts when its entry is open. */
  #error(bit: number): void {
    this.#errors |= bit;
    const entry = this.#lvt[ERROR] as number;
    if ((entry & LVT.masked) === 0 && (entry & 0xff) >= FIRST_LEGAL_VECTOR) this.#accept(entry & 0xff, false);
  }

  /** Arbitration priority (SDM vol. 3, 11.6.2.4), which nothing here competes with. */
  #arbitrationPriority(): number {
    const request = Math.max(0, highest(this.#irr)) >> 4;
    const serving = Math.max(0, highest(this.#isr)) >> 4;
    const task = this.#tpr >> 4;
    if (task >= request && task > serving) return this.#tpr;
    return Math.max(task, serving, request) << 4;
  }
}

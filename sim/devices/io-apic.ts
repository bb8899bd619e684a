/**
 * The I/O APIC (Intel 82093AA data sheet; ICH7 data sheet 5.9.5 and 10.5): 24 inputs, each with an entry that says which
 * vector goes to which local APIC, at FEC00000h behind an index and a data register, with an EOI register.
 *
 * Input 0 is the 8259s' request, input n ISA interrupt n, but ISA interrupt 0 is on input 2. An edge that arrives while
 * its entry is masked is lost. A level-triggered interrupt that the local APIC has accepted sets remote IRR, and is sent
 * again after its EOI if the input is still asserted.
 *
 * Left out: the arbitration bus (an interrupt message arrives at once, so delivery status reads zero), SMI and INIT
 * delivery, accesses other than aligned 32-bit ones. ExtINT is for input 0.
 */

/** Physical address of the page of registers; it cannot be moved. */
export const IO_APIC_BASE = 0xfec0_0000;
export const IO_APIC_BYTES = 0x1000;
export const IO_APIC_INPUTS = 24;
/** The identifier that firmware gives it, and that it has from the beginning here: the one after the processor's. */
export const IO_APIC_ID = 1;
/** Input of an ISA interrupt. */
export const inputOfIrq = (irq: number): number => (irq === 0 ? 2 : irq);

const OFFSET = { select: 0x00, window: 0x10, eoi: 0x40 } as const;
const REGISTER = { id: 0, version: 1, arbitration: 2, redirection: 0x10 } as const;
/** Version 20h, 24 entries. */
const VERSION = 0x0017_0020;
const ENTRY = {
  vector: 0xff,
  logical: 0x800,
  activeLow: 0x2000,
  remoteIrr: 0x4000,
  level: 0x8000,
  masked: 0x10000,
  writable: 0x1afff,
} as const;
const EXT_INT = 7;
const modeOf = (low: number): number => (low >> 8) & 7;

/** An interrupt message to the local APICs. */
export interface InterruptMessage {
  readonly vector: number;
  /** Delivery mode as in the entry's bits 10:8. */
  readonly mode: number;
  readonly logical: boolean;
  readonly destination: number;
  readonly level: boolean;
}

export interface IoApicState {
  readonly select: number;
  readonly id: number;
  readonly low: readonly number[];
  readonly high: readonly number[];
  /** Levels of the inputs, a bit each. */
  readonly inputs: number;
}

export class IoApic {
  /** Sends a message; whether a local APIC has accepted it. */
  readonly #send: (message: InterruptMessage) => boolean;
  readonly #low = new Uint32Array(IO_APIC_INPUTS);
  readonly #high = new Uint32Array(IO_APIC_INPUTS);
  #select = 0;
  #id = IO_APIC_ID << 24;
  #inputs = 0;

  constructor(send: (message: InterruptMessage) => boolean) {
    this.#send = send;
    this.reset();
  }

  /** All entries masked. The inputs stay as driven. */
  reset(): void {
    this.#low.fill(ENTRY.masked);
    this.#high.fill(0);
    this.#select = 0;
    this.#id = IO_APIC_ID << 24;
  }

  save(): IoApicState {
    const { low, high } = { low: [...this.#low], high: [...this.#high] };
    return { select: this.#select, id: this.#id, low, high, inputs: this.#inputs };
  }

  restore(data: IoApicState): void {
    this.#select = data.select;
    this.#id = data.id;
    this.#low.set(data.low);
    this.#high.set(data.high);
    this.#inputs = data.inputs;
  }

  /** Whether an input's entry lets nothing through. */
  isMasked(input: number): boolean {
    return ((this.#low[input] as number) & ENTRY.masked) !== 0;
  }

  /** Whether input 0 passes the 8259s' request on as an external interrupt. */
  get externalInterrupt(): boolean {
    const low = this.#low[0] as number;
    return (low & ENTRY.masked) === 0 && modeOf(low) === EXT_INT && (this.#inputs & 1) !== 0;
  }

  /** Drives an input high or low. */
  setInput(input: number, high: boolean): void {
    const bit = 1 << input;
    const before = this.#asserted(input);
    this.#inputs = high ? this.#inputs | bit : this.#inputs & ~bit;
    const after = this.#asserted(input);
    const low = this.#low[input] as number;
    if (!after || (low & ENTRY.masked) !== 0) return;
    if ((low & ENTRY.level) !== 0) this.#deliverLevel(input);
    else if (!before) this.#deliver(input);
  }

  /** A local APIC has ended a level-triggered interrupt. */
  endOfInterrupt(vector: number): void {
    for (let input = 0; input < IO_APIC_INPUTS; input++) {
      const low = this.#low[input] as number;
      if ((low & ENTRY.level) === 0 || (low & ENTRY.vector) !== vector) continue;
      this.#low[input] = low & ~ENTRY.remoteIrr;
      this.#deliverLevel(input);
    }
  }

  read(offset: number, bytes: number): number {
    if (bytes !== 4) return 0;
    if (offset === OFFSET.select) return this.#select;
    return offset === OFFSET.window ? this.#readRegister() : 0;
  }

  write(offset: number, bytes: number, value: number): void {
    if (offset === OFFSET.select) this.#select = value & 0xff;
    else if (bytes !== 4) return;
    else if (offset === OFFSET.window) this.#writeRegister(value);
    else if (offset === OFFSET.eoi) this.endOfInterrupt(value & 0xff);
  }

  #readRegister(): number {
    const select = this.#select;
    if (select === REGISTER.id || select === REGISTER.arbitration) return this.#id;
    if (select === REGISTER.version) return VERSION;
    const words = (select & 1) === 0 ? this.#low : this.#high;
    return words[(select - REGISTER.redirection) >> 1] ?? 0;
  }

  #writeRegister(value: number): void {
    const select = this.#select;
    const input = (select - REGISTER.redirection) >> 1;
    if (select === REGISTER.id) this.#id = value & 0x0f00_0000;
    if (input < 0 || input >= IO_APIC_INPUTS) return;
    if ((select & 1) !== 0) {
      this.#high[input] = value & 0xff00_0000;
      return;
    }
    // Remote IRR is the hardware's, and belongs to level triggering.
    const remoteIrr = (value & ENTRY.level) !== 0 ? (this.#low[input] as number) & ENTRY.remoteIrr : 0;
    this.#low[input] = (value & ENTRY.writable) | remoteIrr;
    this.#deliverLevel(input);
  }

  #asserted(input: number): boolean {
    const high = (this.#inputs & (1 << input)) !== 0;
    return high !== (((this.#low[input] as number) & ENTRY.activeLow) !== 0);
  }

  #deliverLevel(input: number): void {
    const low = this.#low[input] as number;
    if ((low & (ENTRY.level | ENTRY.masked | ENTRY.remoteIrr)) !== ENTRY.level || !this.#asserted(input)) return;
    if (this.#deliver(input)) this.#low[input] = low | ENTRY.remoteIrr;
  }

  #deliver(input: number): boolean {
    const low = this.#low[input] as number;
    if (modeOf(low) === EXT_INT) return false;
    return this.#send({
      vector: low & ENTRY.vector,
      mode: modeOf(low),
      logical: (low & ENTRY.logical) !== 0,
      destination: (this.#high[input] as number) >>> 24,
      level: (low & ENTRY.level) !== 0,
    });
  }
}

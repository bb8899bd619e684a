/**
 * Two cascaded 8259A interrupt controllers as a PC's south bridge has them: master at 20h/21h, slave at A0h/A1h on
 * the master's IR2, edge/level control registers at 4D0h/4D1h (Intel 8259A data sheet 231468; ICH7 data sheet 5.8).
 *
 * Edge mode is the data sheet's: a request is latched by a rising edge and withdrawn if the line falls before the
 * acknowledge, which then finds nothing and answers with level 7 (a spurious interrupt, nothing in service).
 *
 * Simplifications: the 8080 call mode of ICW4 (uPM = 0) and buffered mode change nothing; ICW3 is accepted but the
 * wiring is the PC's.
 */
import type { PortDevice } from "./ports.ts";

/** An interrupt input of a controller. */
export interface InterruptLine {
  /** Drives the line high or low. */
  set(level: boolean): void;
}

/** ICW1 */
const ICW1 = { needsIcw4: 0x01, single: 0x02, levelTriggered: 0x08, select: 0x10 } as const;
/** ICW4 */
const ICW4 = { autoEoi: 0x02, specialFullyNested: 0x10 } as const;
/** OCW3 */
const OCW3 = {
  select: 0x08,
  readIsr: 0x01,
  readRegister: 0x02,
  poll: 0x04,
  specialMask: 0x20,
  enableSpecialMask: 0x40,
};

const CASCADE_LEVEL = 2;
const SPURIOUS_LEVEL = 7;

/** Plain data of one controller. */
export interface I8259State {
  readonly lines: number;
  readonly latched: number;
  readonly isr: number;
  readonly imr: number;
  readonly elcr: number;
  readonly levelTriggered: boolean;
  readonly vectorBase: number;
  /** Initialization word that is expected next (2, 3, 4), 0 when operating. */
  readonly expects: number;
  readonly needsIcw4: boolean;
  readonly single: boolean;
  readonly specialFullyNested: boolean;
  readonly autoEoi: boolean;
  readonly rotateOnAutoEoi: boolean;
  readonly specialMask: boolean;
  readonly readIsr: boolean;
  readonly poll: boolean;
  /** Level of lowest priority; 7 makes IR0 the highest. */
  readonly lowest: number;
}

const RESET: I8259State = {
  lines: 0,
  latched: 0,
  isr: 0,
  imr: 0xff,
  elcr: 0,
  levelTriggered: false,
  vectorBase: 0,
  expects: 0,
  needsIcw4: false,
  single: false,
  specialFullyNested: false,
  autoEoi: false,
  rotateOnAutoEoi: false,
  specialMask: false,
  readIsr: false,
  poll: false,
  lowest: 7,
};

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** One controller. `onOutput` follows its INT pin; called on every change of anything that drives it. */
export class I8259 {
  readonly #state: Mutable<I8259State> = { ...RESET };
  readonly #isMaster: boolean;
  readonly #onOutput: (level: boolean) => void;

  constructor(isMaster: boolean, onOutput: (level: boolean) => void) {
    this.#isMaster = isMaster;
    this.#onOutput = onOutput;
  }

  /** Interrupt request register: latched edges, and the level-triggered lines that are high. */
  get irr(): number {
    const { latched, lines } = this.#state;
    const levels = this.#levels();
    return (latched & ~levels) | (lines & levels);
  }

  get isr(): number {
    return this.#state.isr;
  }

  get imr(): number {
    return this.#state.imr;
  }

  /** The INT output: a request of higher priority than everything in service. */
  get output(): boolean {
    return this.#winner() >= 0;
  }

  reset(): void {
    Object.assign(this.#state, RESET);
    this.#onOutput(this.output);
  }

  save(): I8259State {
    return { ...this.#state };
  }

  restore(data: I8259State): void {
    Object.assign(this.#state, data);
    this.#onOutput(this.output);
  }

  /** Drives input `level` (0 to 7). */
  setLine(level: number, high: boolean): void {
    const state = this.#state;
    const bit = 1 << level;
    if (high) {
      if ((state.lines & bit) === 0) state.latched |= bit;
      state.lines |= bit;
    } else {
      state.lines &= ~bit;
      state.latched &= ~bit;
    }
    this.#onOutput(this.output);
  }

  /** The first INTA pulse: the winning level goes in service. Level 7 with nothing in service when none is left. */
  acknowledge(): number {
    const state = this.#state;
    const level = this.#winner();
    if (level < 0) return SPURIOUS_LEVEL;
    const bit = 1 << level;
    state.latched &= ~bit;
    if (!state.autoEoi) state.isr |= bit;
    else if (state.rotateOnAutoEoi) state.lowest = level;
    this.#onOutput(this.output);
    return level;
  }

  /** The second INTA pulse: the vector of a level. */
  vectorOf(level: number): number {
    return this.#state.vectorBase + level;
  }

  /** Reads A0 = 0: a poll, or IRR or ISR as OCW3 chose. */
  readStatus(): number {
    const state = this.#state;
    if (!state.poll) return state.readIsr ? state.isr : this.irr;
    return this.#poll();
  }

  /** Reads A0 = 1: the mask, unless a poll command waits for its read. */
  readMask(): number {
    return this.#state.poll ? this.#poll() : this.#state.imr;
  }

  /** Writes A0 = 0: ICW1, OCW2 or OCW3. */
  writeCommand(value: number): void {
    if ((value & ICW1.select) !== 0) this.#initialize(value);
    else if ((value & OCW3.select) !== 0) this.#writeOcw3(value);
    else this.#writeOcw2(value);
    this.#onOutput(this.output);
  }

  /** Writes A0 = 1: OCW1, or the next initialization word. */
  writeData(value: number): void {
    const state = this.#state;
    switch (state.expects) {
      case 2:
        state.vectorBase = value & 0xf8;
        state.expects = !state.single ? 3 : state.needsIcw4 ? 4 : 0;
        break;
      case 3:
        state.expects = state.needsIcw4 ? 4 : 0;
        break;
      case 4:
        state.autoEoi = (value & ICW4.autoEoi) !== 0;
        state.specialFullyNested = (value & ICW4.specialFullyNested) !== 0;
        state.expects = 0;
        break;
      default:
        state.imr = value;
    }
    this.#onOutput(this.output);
  }

  get elcr(): number {
    return this.#state.elcr;
  }

  /** Edge/level control: a set bit makes the line level-triggered. */
  set elcr(value: number) {
    this.#state.elcr = value;
    this.#onOutput(this.output);
  }

  #levels(): number {
    return this.#state.levelTriggered ? 0xff : this.#state.elcr;
  }

  /** ICW1 (data sheet, "Initialization Command Words"): edge sense, mask, priorities and modes are reset. */
  #initialize(icw1: number): void {
    const { lines, elcr, vectorBase } = this.#state;
    Object.assign(this.#state, RESET, {
      lines,
      elcr,
      vectorBase,
      imr: 0,
      expects: 2,
      needsIcw4: (icw1 & ICW1.needsIcw4) !== 0,
      single: (icw1 & ICW1.single) !== 0,
      levelTriggered: (icw1 & ICW1.levelTriggered) !== 0,
    });
  }

  #writeOcw2(value: number): void {
    const state = this.#state;
    const level = value & 7;
    const rotate = (value & 0x80) !== 0;
    const specific = (value & 0x40) !== 0;
    const eoi = (value & 0x20) !== 0;
    if (!eoi) {
      // 000 and 100 clear and set rotation in automatic EOI mode, 110 sets the priority, 010 does nothing
      if (specific) {
        if (rotate) state.lowest = level;
      } else {
        state.rotateOnAutoEoi = rotate;
      }
      return;
    }
    // A non-specific EOI takes the highest level in service; in special mask mode, none that is masked.
    const ended = specific ? level : this.#highest(state.specialMask ? state.isr & ~state.imr : state.isr);
    if (ended < 0) return;
    state.isr &= ~(1 << ended);
    if (rotate) state.lowest = ended;
  }

  #writeOcw3(value: number): void {
    const state = this.#state;
    if ((value & OCW3.enableSpecialMask) !== 0) state.specialMask = (value & OCW3.specialMask) !== 0;
    if ((value & OCW3.poll) !== 0) state.poll = true;
    else if ((value & OCW3.readRegister) !== 0) state.readIsr = (value & OCW3.readIsr) !== 0;
  }

  /** The read after a poll command acknowledges: bit 7 says that there was a request, bits 2:0 which. */
  #poll(): number {
    this.#state.poll = false;
    return this.output ? 0x80 | this.acknowledge() : 0;
  }

  /** Highest-priority level among the bits, -1 for none. */
  #highest(bits: number): number {
    if (bits === 0) return -1;
    for (let n = 1; n <= 8; n++) {
      const level = (this.#state.lowest + n) & 7;
      if ((bits & (1 << level)) !== 0) return level;
    }
    return -1;
  }

  /** The level that would be acknowledged now, -1 for none. */
  #winner(): number {
    const state = this.#state;
    if (state.expects !== 0) return -1;
    const requested = this.#highest(this.irr & ~state.imr);
    if (requested < 0) return -1;
    let blocking = state.isr;
    // Special mask mode: a level in service that is masked holds nothing back.
    if (state.specialMask) blocking &= ~state.imr;
    // Special fully nested: further requests of the slave in service are its own affair.
    if (state.specialFullyNested && this.#isMaster) blocking &= ~(1 << CASCADE_LEVEL);
    const serving = this.#highest(blocking);
    if (serving < 0) return requested;
    const rank = (level: number): number => (level - state.lowest - 1) & 7;
    return rank(requested) < rank(serving) ? requested : -1;
  }
}

export interface I8259PairState {
  readonly master: I8259State;
  readonly slave: I8259State;
}

/** The pair and its ports. `onIntr` follows the master's INT pin, the processor's INTR. */
export class I8259Pair implements PortDevice {
  readonly width = 1;
  readonly master: I8259;
  readonly slave: I8259;

  constructor(onIntr: (level: boolean) => void) {
    this.master = new I8259(true, onIntr);
    this.slave = new I8259(false, (level) => this.master.setLine(CASCADE_LEVEL, level));
  }

  /** The processor's INTR. */
  get intr(): boolean {
    return this.master.output;
  }

  /** Input IRQ `irq` (0 to 15, without the cascade IRQ2). */
  line(irq: number): InterruptLine {
    const chip = irq < 8 ? this.master : this.slave;
    return { set: (level) => chip.setLine(irq & 7, level) };
  }

  /** Whether IRQ `irq` is latched and not yet acknowledged. */
  isRequested(irq: number): boolean {
    return ((irq < 8 ? this.master : this.slave).irr & (1 << (irq & 7))) !== 0;
  }

  isMasked(irq: number): boolean {
    return ((irq < 8 ? this.master : this.slave).imr & (1 << (irq & 7))) !== 0;
  }

  /** Interrupt acknowledge, both INTA pulses: the vector. */
  acknowledge(): number {
    return this.acknowledgeSecond(this.acknowledgeFirst());
  }

  /** First INTA pulse: the master's level is in service. */
  acknowledgeFirst(): number {
    return this.master.acknowledge();
  }

  /** Second INTA pulse: the master, or the slave that it selected, gives the vector. */
  acknowledgeSecond(level: number): number {
    if (level !== CASCADE_LEVEL) return this.master.vectorOf(level);
    // The slave's INT falls with the acknowledge, so that its next request is an edge for the master.
    const slaveLevel = this.slave.acknowledge();
    if (this.slave.output) {
      this.master.setLine(CASCADE_LEVEL, false);
      this.master.setLine(CASCADE_LEVEL, true);
    }
    return this.slave.vectorOf(slaveLevel);
  }

  reset(): void {
    this.slave.reset();
    this.master.reset();
  }

  save(): I8259PairState {
    return { master: this.master.save(), slave: this.slave.save() };
  }

  restore(data: I8259PairState): void {
    // The slave drives the master's input, which the master's own state then overwrites.
    this.slave.restore(data.slave);
    this.master.restore(data.master);
  }

  readPort(port: number): number {
    switch (port) {
      case 0x20:
        return this.master.readStatus();
      case 0x21:
        return this.master.readMask();
      case 0xa0:
        return this.slave.readStatus();
      case 0xa1:
        return this.slave.readMask();
      case 0x4d0:
        return this.master.elcr;
      default:
        return this.slave.elcr;
    }
  }

  writePort(port: number, _bytes: number, value: number): void {
    switch (port) {
      case 0x20:
        this.master.writeCommand(value);
        return;
      case 0x21:
        this.master.writeData(value);
        return;
      case 0xa0:
        this.slave.writeCommand(value);
        return;
      case 0xa1:
        this.slave.writeData(value);
        return;
      case 0x4d0:
        // IRQ0, IRQ1, IRQ2 cannot be level-triggered (ICH7 data sheet 10.4.5)
        this.master.elcr = value & 0xf8;
        return;
      default:
        // nor IRQ8 and IRQ13
        this.slave.elcr = value & 0xde;
    }
  }
}

/**
 * The 8254 interval timer of a PC and system control port B (82C54 data sheet 231244; ICH7 data sheet 5.8, 10.7.1):
 * counters at ports 40h to 42h, control word at 43h, port 61h. The crystal is 14.31818 MHz / 12 = 105/88 MHz.
 * Counter 0 drives IRQ0; counter 1 is the refresh timer; counter 2 is gated by port 61h and drives the speaker.
 *
 * A tick that falls due while IRQ0 is latched in the 8259 is lost and counted. While it is latched the timer has no
 * deadline: nothing that it does before the acknowledge can be seen.
 *
 * Simplification: the falling edges of OUT0 are not events. A request that has not been acknowledged by then stays
 * latched until the next rise, where the data sheet of the 8259 would withdraw it (for one pulse in mode 2, for half
 * a period in mode 3). A program that drives OUT0 low (control word of mode 0) withdraws it.
 */
import type { Timed } from "../clock.ts";
import { Counter, type CounterState } from "./i8254-counter.ts";
import type { PortDevice } from "./ports.ts";
import { type Frequency, PulseClock, type TimeBase } from "./time.ts";

/** 14.318 181 8... MHz / 12, exactly. */
export const I8254_FREQUENCY: Frequency = { numerator: 105_000_000, denominator: 88 };

/** IRQ0 as its timer sees it. */
export interface TimerLine {
  set(level: boolean): void;
  /** The request is latched and has not been acknowledged. */
  readonly requested: boolean;
  readonly masked: boolean;
}

/** Port 61h: bits that software writes, and those that it only reads. */
const PORT_B = { gate2: 0x01, writable: 0x0f, refresh: 0x10, out2: 0x20 } as const;

const CONTROL_PORT = 0x43;
const SYSTEM_PORT_B = 0x61;

export interface I8254State {
  readonly counters: readonly CounterState[];
  readonly portB: number;
  /** Pulse up to which the output of counter 0 has been acted upon. */
  readonly processed: number;
  readonly ticksLost: number;
}

export class I8254 implements PortDevice, Timed {
  readonly width = 1;
  readonly #time: TimeBase;
  readonly #pulses: PulseClock;
  readonly #phase: number;
  readonly #line: TimerLine;
  readonly #counters = [new Counter(), new Counter(), new Counter()] as const;
  #portB = 0;
  #processed = 0;
  #ticksLost = 0;

  /** `phase` in ticks shifts the crystal against the clock: what a repetition seeds. */
  constructor(time: TimeBase, line: TimerLine, phase = 0) {
    this.#time = time;
    this.#pulses = new PulseClock(I8254_FREQUENCY, time.ticksPerSecond);
    this.#phase = phase;
    this.#line = line;
  }

  /** Ticks of counter 0 that fell due while IRQ0 was latched, unmasked and not acknowledged. */
  get ticksLost(): number {
    return this.#ticksLost;
  }

  reset(): void {
    for (const counter of this.#counters) counter.reset();
    this.#counters[2].setGate(false, this.#pulse());
    this.#portB = 0;
    this.#processed = this.#pulse();
    this.#ticksLost = 0;
    this.#line.set(false);
  }

  save(): I8254State {
    const counters = this.#counters.map((counter) => counter.save());
    return { counters, portB: this.#portB, processed: this.#processed, ticksLost: this.#ticksLost };
  }

  restore(data: I8254State): void {
    for (const [index, counter] of this.#counters.entries()) counter.restore(data.counters[index] as CounterState);
    this.#portB = data.portB;
    this.#processed = data.processed;
    this.#ticksLost = data.ticksLost;
  }

  nextDeadline(): number {
    if (this.#line.requested) return Number.POSITIVE_INFINITY;
    return this.#pulses.ticksOf(this.#counters[0].nextRise(this.#processed)) - this.#phase;
  }

  due(now: number): void {
    this.synchronize(now);
  }

  /**
   * Acts upon what counter 0 has done up to `now`. Called before anything looks at IRQ0 or changes it: an access to
   * the 8259 or the 8254, and the acknowledge.
   */
  synchronize(now: number): void {
    const pulse = this.#pulses.pulsesAt(now + this.#phase);
    const counter = this.#counters[0];
    if (!this.#line.requested) {
      const rise = counter.nextRise(this.#processed);
      if (rise <= pulse) {
        this.#line.set(false);
        this.#line.set(true);
        this.#processed = rise;
      }
    }
    const more = counter.risesBetween(this.#processed, pulse);
    if (!this.#line.masked) this.#ticksLost += more;
    this.#processed = pulse;
  }

  readPort(port: number): number {
    this.synchronize(this.#time.now());
    const now = this.#pulse();
    if (port === SYSTEM_PORT_B) {
      const refresh = this.#counters[1].cycles(now) % 2 === 1 ? PORT_B.refresh : 0;
      return this.#portB | refresh | (this.#counters[2].output(now) ? PORT_B.out2 : 0);
    }
    // The control word register cannot be read: the bus floats.
    if (port === CONTROL_PORT) return 0xff;
    return (this.#counters[port & 3] as Counter).read(now);
  }

  writePort(port: number, _bytes: number, value: number): void {
    this.synchronize(this.#time.now());
    const now = this.#pulse();
    if (port === SYSTEM_PORT_B) {
      this.#portB = value & PORT_B.writable;
      this.#counters[2].setGate((value & PORT_B.gate2) !== 0, now);
      return;
    }
    const before = this.#counters[0].output(now);
    if (port === CONTROL_PORT) this.#control(value, now);
    else (this.#counters[port & 3] as Counter).write(value, now);
    this.#drive(before, this.#counters[0].output(now));
  }

  #control(word: number, now: number): void {
    const select = word >> 6;
    if (select < 3) {
      (this.#counters[select] as Counter).control(word, now);
      return;
    }
    // Read-back command: bits 5 and 4 are active low, bits 3:1 select the counters.
    for (const [index, counter] of this.#counters.entries()) {
      if ((word & (2 << index)) === 0) continue;
      if ((word & 0x20) === 0) counter.latchCount(now);
      if ((word & 0x10) === 0) counter.latchStatus(now);
    }
  }

  /** A write has changed OUT0 at once. */
  #drive(before: boolean, after: boolean): void {
    if (before === after) return;
    if (!after) this.#line.set(false);
    else if (!this.#line.requested) {
      this.#line.set(false);
      this.#line.set(true);
    } else if (!this.#line.masked) this.#ticksLost++;
  }

  #pulse(): number {
    return this.#pulses.pulsesAt(this.#time.now() + this.#phase);
  }
}

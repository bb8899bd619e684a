/**
 * A 16550 serial port (PC16550D data sheet, National Semiconductor) as a PC wires it: 1.8432 MHz crystal, OUT2 gates
 * the interrupt, a terminal at the other end that holds CTS, DSR and DCD.
 *
 * The transmitter is the board file's choice. `instant`: a byte has left when its write is complete, so that a
 * guest that polls for the empty holding register pays port accesses and no waiting. `timed`: a character takes its
 * bits at the programmed rate (87 us at 115 200 baud: some hundred polls of the line status register).
 * The receiver is fed from a queue by a sender that waits while the FIFO is full.
 *
 * Simplifications: no parity and framing errors, no break, DMA mode and OUT1 do nothing.
 */
import type { Timed } from "../clock.ts";
import type { InterruptLine } from "./i8259.ts";
import type { PortDevice } from "./ports.ts";
import { type Frequency, PulseClock, type TimeBase } from "./time.ts";

export const UART_FREQUENCY: Frequency = { numerator: 1_843_200, denominator: 1 };
/** Crystal pulses in one bit with a divisor of 1. */
const PULSES_PER_BIT = 16;
const FIFO_BYTES = 16;
/** Bytes at which the receiver FIFO interrupts (FCR bits 7:6). */
const TRIGGERS = [1, 4, 8, 14] as const;
/** Character times after which bytes below the trigger interrupt. */
const TIMEOUT_CHARACTERS = 4;

const IER = { received: 1, transmitterEmpty: 2, lineStatus: 4, modemStatus: 8 } as const;
const IIR = {
  none: 1,
  modemStatus: 0,
  transmitterEmpty: 2,
  received: 4,
  lineStatus: 6,
  timeout: 0xc,
  fifos: 0xc0,
} as const;
const FCR = { enable: 1, clearReceiver: 2, clearTransmitter: 4 } as const;
const LCR = { wordLength: 3, twoStops: 4, parity: 8, divisorLatch: 0x80 } as const;
const MCR = { dtr: 1, rts: 2, out1: 4, out2: 8, loop: 0x10, writable: 0x1f } as const;
const LSR = { ready: 1, overrun: 2, holdingEmpty: 0x20, empty: 0x40 } as const;
const MSR = { cts: 0x10, dsr: 0x20, ri: 0x40, dcd: 0x80, trailingRi: 4 } as const;
const TERMINAL = MSR.cts | MSR.dsr | MSR.dcd;

export type SerialTransmitter = "instant" | "timed";

/** Plain data; times in pulses of the crystal. */
export interface UartState {
  readonly ier: number;
  readonly lcr: number;
  readonly mcr: number;
  readonly fifos: boolean;
  readonly trigger: number;
  readonly scratch: number;
  readonly divisor: number;
  readonly overrun: boolean;
  /** Changes of the modem lines since MSR was read, bits 3:0. */
  readonly modemChanges: number;
  readonly received: readonly number[];
  /** What the other end has sent and the FIFO has not taken. */
  readonly queue: readonly number[];
  readonly holding: readonly number[];
  /** Byte in the transmitter's shift register, -1 when idle, and the pulse at which it has left. */
  readonly shifting: number;
  readonly shiftedAt: number;
  readonly emptyPending: boolean;
  /** Pulse of the receiver's last arrival or read; whether the time-out has passed since. */
  readonly activity: number;
  readonly timedOut: boolean;
}

const RESET: UartState = {
  ier: 0,
  lcr: 0,
  mcr: 0,
  fifos: false,
  trigger: 1,
  scratch: 0,
  divisor: 1,
  overrun: false,
  modemChanges: 0,
  received: [],
  queue: [],
  holding: [],
  shifting: -1,
  shiftedAt: 0,
  emptyPending: false,
  activity: 0,
  timedOut: false,
};

export interface UartParts {
  readonly time: TimeBase;
  readonly line: InterruptLine;
  readonly transmitter: SerialTransmitter;
  /** A byte has left the transmitter. */
  readonly onTransmit: (byte: number) => void;
}

type Arrays = "received" | "queue" | "holding";
type Working = { -readonly [K in Exclude<keyof UartState, Arrays>]: UartState[K] } & Record<Arrays, number[]>;
const copy = (data: UartState): Working => ({
  ...data,
  received: [...data.received],
  queue: [...data.queue],
  holding: [...data.holding],
});

export class Uart16550 implements PortDevice, Timed {
  readonly width = 1;
  readonly #parts: UartParts;
  readonly #pulses: PulseClock;
  #state: Working = copy(RESET);

  constructor(parts: UartParts) {
    this.#parts = parts;
    this.#pulses = new PulseClock(UART_FREQUENCY, parts.time.ticksPerSecond);
  }

  reset(): void {
    this.#state = copy(RESET);
    this.#update();
  }

  save(): UartState {
    return copy(this.#state);
  }

  restore(data: UartState): void {
    this.#state = copy(data);
  }

  /** Bytes arrive from the other end. */
  receive(bytes: readonly number[]): void {
    this.#state.queue.push(...bytes);
    this.#refill();
    this.#update();
  }

  nextDeadline(): number {
    return this.#pulses.ticksOf(Math.min(this.#shiftEnd(), this.#timeoutAt()));
  }

  due(now: number): void {
    const state = this.#state;
    const pulse = this.#pulses.pulsesAt(now);
    while (this.#shiftEnd() <= pulse) {
      const byte = state.shifting;
      state.shifting = -1;
      this.#deliver(byte);
      this.#shift(state.shiftedAt);
    }
    if (this.#timeoutAt() <= pulse) state.timedOut = true;
    this.#update();
  }

  readPort(port: number): number {
    const state = this.#state;
    const divisorLatch = (state.lcr & LCR.divisorLatch) !== 0;
    switch (port & 7) {
      case 0:
        return divisorLatch ? state.divisor & 0xff : this.#readReceiver();
      case 1:
        return divisorLatch ? state.divisor >> 8 : state.ier;
      case 2:
        return this.#readIdentification();
      case 3:
        return state.lcr;
      case 4:
        return state.mcr;
      case 5:
        return this.#readLineStatus();
      case 6: {
        const status = this.#modemLines() | state.modemChanges;
        state.modemChanges = 0;
        this.#update();
        return status;
      }
      default:
        return state.scratch;
    }
  }

  writePort(port: number, _bytes: number, value: number): void {
    const state = this.#state;
    const divisorLatch = (state.lcr & LCR.divisorLatch) !== 0;
    switch (port & 7) {
      case 0:
        if (divisorLatch) state.divisor = (state.divisor & 0xff00) | value;
        else this.#transmit(value);
        break;
      case 1:
        if (divisorLatch) state.divisor = (state.divisor & 0xff) | (value << 8);
        else this.#writeEnable(value);
        break;
      case 2:
        this.#writeFifoControl(value);
        break;
      case 3:
        state.lcr = value;
        break;
      case 4:
        this.#writeModemControl(value);
        break;
      case 7:
        state.scratch = value;
        break;
      default:
      // LSR and MSR are read-only outside of factory tests.
    }
    this.#update();
  }

  /** Pulses of the crystal that one character takes: start, data, parity and stop bits. */
  #characterPulses(): number {
    const { lcr, divisor } = this.#state;
    const data = 5 + (lcr & LCR.wordLength);
    const stop = (lcr & LCR.twoStops) === 0 ? 1 : data === 5 ? 1.5 : 2;
    const bits = 1 + data + ((lcr & LCR.parity) === 0 ? 0 : 1) + stop;
    return bits * PULSES_PER_BIT * (divisor === 0 ? 0x10000 : divisor);
  }

  #pulse(): number {
    return this.#pulses.pulsesAt(this.#parts.time.now());
  }

  // -- transmitter

  #transmit(byte: number): void {
    const state = this.#state;
    state.emptyPending = false;
    this.#update();
    if (this.#parts.transmitter === "instant") {
      this.#deliver(byte);
      state.emptyPending = true;
      return;
    }
    // Without FIFOs a byte in the holding register is overwritten; with them a full FIFO takes no more.
    if (!state.fifos) state.holding = [byte];
    else if (state.holding.length < FIFO_BYTES) state.holding.push(byte);
    if (state.shifting < 0) this.#shift(this.#pulse());
  }

  /** Moves the next byte to the shift register, which is idle from `pulse`. */
  #shift(pulse: number): void {
    const state = this.#state;
    const byte = state.holding.shift();
    if (byte === undefined) return;
    state.shifting = byte;
    state.shiftedAt = pulse + this.#characterPulses();
    if (state.holding.length === 0) state.emptyPending = true;
  }

  #shiftEnd(): number {
    return this.#state.shifting < 0 ? Number.POSITIVE_INFINITY : this.#state.shiftedAt;
  }

  #deliver(byte: number): void {
    if ((this.#state.mcr & MCR.loop) === 0) this.#parts.onTransmit(byte);
    else this.#arrive(byte);
  }

  // -- receiver

  #arrive(byte: number): void {
    const state = this.#state;
    if (state.received.length >= (state.fifos ? FIFO_BYTES : 1)) {
      state.overrun = true;
      if (!state.fifos) state.received = [byte];
      return;
    }
    state.received.push(byte);
    state.activity = this.#pulse();
    state.timedOut = false;
  }

  /** Takes what the other end has sent, as far as there is room. In loop mode the input is disconnected. */
  #refill(): void {
    const state = this.#state;
    if ((state.mcr & MCR.loop) !== 0) return;
    while (state.queue.length > 0 && state.received.length < (state.fifos ? FIFO_BYTES : 1)) {
      this.#arrive(state.queue.shift() as number);
    }
  }

  #readReceiver(): number {
    const state = this.#state;
    const byte = state.received.shift() ?? 0;
    state.activity = this.#pulse();
    state.timedOut = false;
    this.#update();
    this.#refill();
    this.#update();
    return byte;
  }

  /** Pulse at which bytes below the trigger are announced; `Infinity` when there are none to announce. */
  #timeoutAt(): number {
    const { fifos, received, trigger, timedOut, ier, activity } = this.#state;
    const waiting = fifos && !timedOut && received.length > 0 && received.length < trigger;
    if (!waiting || (ier & IER.received) === 0) return Number.POSITIVE_INFINITY;
    return activity + TIMEOUT_CHARACTERS * this.#characterPulses();
  }

  // -- registers

  #writeEnable(value: number): void {
    const state = this.#state;
    const opened = value & ~state.ier;
    state.ier = value & 0xf;
    if ((opened & IER.transmitterEmpty) !== 0 && state.holding.length === 0) state.emptyPending = true;
  }

  #writeFifoControl(value: number): void {
    const state = this.#state;
    const fifos = (value & FCR.enable) !== 0;
    const changes = fifos !== state.fifos;
    state.fifos = fifos;
    if (changes || (fifos && (value & FCR.clearReceiver) !== 0)) {
      state.received = [];
      state.timedOut = false;
    }
    if (changes || (fifos && (value & FCR.clearTransmitter) !== 0)) state.holding = [];
    state.trigger = fifos ? (TRIGGERS[value >> 6] as number) : 1;
    this.#refill();
  }

  #writeModemControl(value: number): void {
    const state = this.#state;
    const before = this.#modemLines();
    state.mcr = value & MCR.writable;
    const after = this.#modemLines();
    // DCTS, DDSR and DDCD tell of changes, TERI of the end of RI.
    const changed = before ^ after;
    state.modemChanges |= (changed >> 4) & 0xb;
    if ((changed & before & MSR.ri) !== 0) state.modemChanges |= MSR.trailingRi;
    this.#refill();
  }

  /** Modem lines as MSR bits; in loop mode the port's own outputs. */
  #modemLines(): number {
    const { mcr } = this.#state;
    if ((mcr & MCR.loop) === 0) return TERMINAL;
    return (
      ((mcr & MCR.rts) !== 0 ? MSR.cts : 0) |
      ((mcr & MCR.dtr) !== 0 ? MSR.dsr : 0) |
      ((mcr & MCR.out1) !== 0 ? MSR.ri : 0) |
      ((mcr & MCR.out2) !== 0 ? MSR.dcd : 0)
    );
  }

  #readLineStatus(): number {
    const state = this.#state;
    const holdingEmpty = state.holding.length === 0;
    const status =
      (state.received.length > 0 ? LSR.ready : 0) |
      (state.overrun ? LSR.overrun : 0) |
      (holdingEmpty ? LSR.holdingEmpty : 0) |
      (holdingEmpty && state.shifting < 0 ? LSR.empty : 0);
    state.overrun = false;
    this.#update();
    return status;
  }

  /** Reading IIR when it names the transmitter answers that interrupt. */
  #readIdentification(): number {
    const source = this.#source();
    if (source === IIR.transmitterEmpty) {
      this.#state.emptyPending = false;
      this.#update();
    }
    return source | (this.#state.fifos ? IIR.fifos : 0);
  }

  /** The pending interrupt of highest priority (data sheet, table IV). */
  #source(): number {
    const { ier, overrun, received, trigger, timedOut, emptyPending, modemChanges } = this.#state;
    if ((ier & IER.lineStatus) !== 0 && overrun) return IIR.lineStatus;
    if ((ier & IER.received) !== 0 && received.length >= trigger) return IIR.received;
    if ((ier & IER.received) !== 0 && timedOut && received.length > 0) return IIR.timeout;
    if ((ier & IER.transmitterEmpty) !== 0 && emptyPending) return IIR.transmitterEmpty;
    if ((ier & IER.modemStatus) !== 0 && modemChanges !== 0) return IIR.modemStatus;
    return IIR.none;
  }

  #update(): void {
    this.#parts.line.set(this.#source() !== IIR.none && (this.#state.mcr & MCR.out2) !== 0);
  }
}

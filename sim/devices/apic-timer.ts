/**
 * The local APIC's timer (SDM vol. 3, 11.5.4): a 32-bit count, decremented by the front-side bus clock divided by 1 to
 * 128. It keeps no running count: the current count, the expiries so far and the next deadline follow from when
 * the counting began.
 *
 * A change of the divider or of the mode takes effect from the count reached; the prescaler starts afresh.
 */
import { type Frequency, PulseClock } from "./time.ts";

/** Plain data of the timer; times in pulses of the bus clock. */
export interface ApicTimerState {
  readonly initial: number;
  readonly divideRegister: number;
  readonly periodic: boolean;
  /** Pulse at which the counting (or its last change) began, and the count then; 0 when stopped. */
  readonly start: number;
  readonly first: number;
  /** Expiries since `start` that have been reported. */
  readonly reported: number;
}

const RESET: ApicTimerState = {
  initial: 0,
  divideRegister: 0,
  periodic: false,
  start: 0,
  first: 0,
  reported: 0,
};

/** Divider of a divide configuration register: bits 3, 1, 0 are 2, 4, ... 128, and 1 for all ones. */
export function apicTimerDivider(register: number): number {
  const code = ((register >> 1) & 4) | (register & 3);
  return code === 7 ? 1 : 2 << code;
}

export class ApicTimer {
  readonly #pulses: PulseClock;
  #state: { -readonly [K in keyof ApicTimerState]: ApicTimerState[K] } = { ...RESET };

  constructor(busClock: Frequency, ticksPerSecond: number) {
    this.#pulses = new PulseClock(busClock, ticksPerSecond);
  }

  reset(): void {
    this.#state = { ...RESET };
  }

  save(): ApicTimerState {
    return { ...this.#state };
  }

  restore(data: ApicTimerState): void {
    this.#state = { ...data };
  }

  get initial(): number {
    return this.#state.initial;
  }

  get divideRegister(): number {
    return this.#state.divideRegister;
  }

  /** Writing the initial count starts the timer; 0 stops it. */
  setInitial(count: number, now: number): void {
    const state = this.#state;
    state.initial = count;
    state.first = count;
    state.start = this.#pulses.pulsesAt(now);
    state.reported = 0;
  }

  setDivide(register: number, now: number): void {
    this.#rebase(now);
    this.#state.divideRegister = register & 0xb;
  }

  setPeriodic(periodic: boolean, now: number): void {
    if (periodic === this.#state.periodic) return;
    this.#rebase(now);
    this.#state.periodic = periodic;
  }

  /** The current count register. */
  current(now: number): number {
    const { first, initial, periodic } = this.#state;
    const elapsed = this.#elapsed(now);
    if (elapsed < first) return first - elapsed;
    return periodic && first !== 0 ? initial - ((elapsed - first) % initial) : 0;
  }

  /** Expiries up to `now` that have not been reported; reports them. */
  takeExpiries(now: number): number {
    const state = this.#state;
    const { first, initial, periodic, reported } = state;
    const elapsed = this.#elapsed(now);
    if (first === 0 || elapsed < first) return 0;
    state.reported = periodic ? 1 + Math.floor((elapsed - first) / initial) : 1;
    return state.reported - reported;
  }

  /** Tick of the next expiry that has not been reported; `Infinity` when stopped. */
  nextExpiry(): number {
    const { first, initial, periodic, reported, start, divideRegister } = this.#state;
    if (first === 0 || (reported !== 0 && !periodic)) return Number.POSITIVE_INFINITY;
    return this.#pulses.ticksOf(start + (first + reported * initial) * apicTimerDivider(divideRegister));
  }

  #elapsed(now: number): number {
    const { start, divideRegister } = this.#state;
    return Math.floor((this.#pulses.pulsesAt(now) - start) / apicTimerDivider(divideRegister));
  }

  /** Continues from the count reached; expiries must have been taken. */
  #rebase(now: number): void {
    const state = this.#state;
    state.first = this.current(now);
    state.start = this.#pulses.pulsesAt(now);
    state.reported = 0;
  }
}

/**
 * One counter of an 8254 (Intel 82C54 data sheet 231244, "Mode Definitions"). A counter is a function of the number
 * of pulses that its CLK input has seen: nothing happens between accesses, and the counting element, the output and
 * the next rising edge of the output follow from when the count was loaded.
 *
 * A count that is written is loaded by the next CLK pulse; in modes 2 and 3 a later one is loaded at the end of the
 * cycle (half cycle in mode 3), in modes 1 and 5 by the trigger.
 *
 * Simplifications: reads before the first load return 0; a byte written to a counter that has no mode is lost.
 */

/** Plain data of a counter. Times are numbers of CLK pulses since power-on. */
export interface CounterState {
  /** 0 to 5. */
  readonly mode: number;
  readonly bcd: boolean;
  /** Read/write field: 1 least significant byte, 2 most significant, 3 both. 0 before any control word. */
  readonly access: number;
  /** Initial count in effect, 1 to 65 536; 0 before the first. */
  readonly count: number;
  /** Pulse that loaded `count`. */
  readonly start: number;
  /** Pulses counted when the gate stopped the counter, -1 when it runs. */
  readonly stopped: number;
  /** OUT between the write or trigger and the pulse that loads the count (modes 1, 4, 5). */
  readonly outBeforeLoad: boolean;
  /** A count that takes over at pulse `takeoverAt` as though loaded at `takeoverStart`; 0 for none. */
  readonly takeoverCount: number;
  readonly takeoverAt: number;
  readonly takeoverStart: number;
  /** Modes 1 and 5: a count that waits for a trigger; 0 for none. */
  readonly waiting: number;
  readonly gate: boolean;
  /** First byte of a two-byte count, -1 when none has been written. */
  readonly low: number;
  /** The next byte read of a two-byte count is the most significant one. */
  readonly readHigh: boolean;
  /** Latched count and status, -1 for none. */
  readonly latch: number;
  readonly status: number;
}

/** After power-on the data sheet leaves everything undefined: here OUT is high, and accesses are lost. */
const RESET: CounterState = {
  mode: 2,
  bcd: false,
  access: 0,
  count: 0,
  start: 0,
  stopped: -1,
  outBeforeLoad: true,
  takeoverCount: 0,
  takeoverAt: 0,
  takeoverStart: 0,
  waiting: 0,
  gate: true,
  low: -1,
  readHigh: false,
  latch: -1,
  status: -1,
};

/** Pulses of a mode 3 cycle during which the output is high. */
const highPulses = (count: number): number => Math.ceil(count / 2);

const toBcd = (value: number): number =>
  (Math.floor(value / 1000) << 12) |
  ((Math.floor(value / 100) % 10) << 8) |
  ((Math.floor(value / 10) % 10) << 4) |
  (value % 10);

const fromBcd = (value: number): number =>
  (value >> 12) * 1000 + ((value >> 8) & 15) * 100 + ((value >> 4) & 15) * 10 + (value & 15);

export class Counter {
  #state: { -readonly [K in keyof CounterState]: CounterState[K] } = { ...RESET };

  reset(): void {
    this.#state = { ...RESET };
  }

  save(): CounterState {
    return { ...this.#state };
  }

  restore(data: CounterState): void {
    this.#state = { ...data };
  }

  get gate(): boolean {
    return this.#state.gate;
  }

  /** Control word for this counter at pulse `now`; a read/write field of 0 is the latch command. */
  control(word: number, now: number): void {
    this.#advance(now);
    const access = (word >> 4) & 3;
    if (access === 0) {
      this.latchCount(now);
      return;
    }
    const { gate } = this.#state;
    const mode = (word >> 1) & 7;
    this.#state = { ...RESET, gate, access, mode: mode > 5 ? mode - 4 : mode, bcd: (word & 1) !== 0 };
  }

  /** Latches the count until it is read; a second command before that changes nothing. */
  latchCount(now: number): void {
    this.#advance(now);
    if (this.#state.latch < 0) this.#state.latch = this.#value(now);
  }

  /** Latches OUT, NULL COUNT and the mode (read-back command). */
  latchStatus(now: number): void {
    this.#advance(now);
    const { status, access, mode, bcd } = this.#state;
    if (status >= 0) return;
    const out = this.output(now) ? 0x80 : 0;
    const nullCount = this.#nullCount(now) ? 0x40 : 0;
    this.#state.status = out | nullCount | (access << 4) | (mode << 1) | (bcd ? 1 : 0);
  }

  /** One byte: the latched status, the latched count or the counting element, as the read/write field says. */
  read(now: number): number {
    this.#advance(now);
    const state = this.#state;
    if (state.status >= 0) {
      const status = state.status;
      state.status = -1;
      return status;
    }
    const value = state.latch >= 0 ? state.latch : this.#value(now);
    const high = state.access === 2 || (state.access === 3 && state.readHigh);
    if (state.access === 3) state.readHigh = !state.readHigh;
    if (state.access !== 3 || high) state.latch = -1;
    return high ? value >> 8 : value & 0xff;
  }

  /** One byte of a new count. */
  write(byte: number, now: number): void {
    this.#advance(now);
    const state = this.#state;
    switch (state.access) {
      case 1:
        this.#newCount(byte, now);
        return;
      case 2:
        this.#newCount(byte << 8, now);
        return;
      case 3:
        if (state.low < 0) {
          state.low = byte;
          // Mode 0: the first byte stops the count and OUT goes low at once.
          if (state.mode === 0) state.count = 0;
          return;
        }
        this.#newCount((byte << 8) | state.low, now);
        state.low = -1;
    }
  }

  /** Drives the GATE input. */
  setGate(level: boolean, now: number): void {
    this.#advance(now);
    const state = this.#state;
    if (level === state.gate) return;
    state.gate = level;
    switch (state.mode) {
      case 0:
      case 4:
        if (state.count === 0) return;
        if (!level) state.stopped = Math.max(0, now - state.start);
        else if (state.stopped >= 0) {
          // never before the pulse that loads a count written just now
          state.start = Math.max(state.start, now - state.stopped);
          state.stopped = -1;
        }
        return;
      case 2:
      case 3: {
        if (state.count === 0) return;
        if (!level) {
          state.stopped = Math.max(0, now - state.start);
          return;
        }
        // A rising edge starts over with the newest count.
        const count = state.takeoverCount === 0 ? state.count : state.takeoverCount;
        this.#load(count, now);
        return;
      }
      default: {
        const count = state.waiting === 0 ? state.count : state.waiting;
        if (level && count !== 0) {
          state.waiting = 0;
          this.#load(count, now);
        }
      }
    }
  }

  /** The OUT pin at pulse `now`. */
  output(now: number): boolean {
    this.#advance(now);
    const { mode, count, gate, outBeforeLoad } = this.#state;
    if (count === 0) return mode !== 0;
    const elapsed = this.#elapsed(now);
    switch (mode) {
      case 0:
        return elapsed >= count;
      case 1:
        return elapsed < 0 ? outBeforeLoad : elapsed >= count;
      case 2:
        return !gate || elapsed < 0 || elapsed % count !== count - 1;
      case 3:
        return !gate || elapsed < 0 || elapsed % count < highPulses(count);
      default:
        return elapsed < 0 ? outBeforeLoad : elapsed !== count;
    }
  }

  /** The first pulse after `now` at which OUT rises; `Infinity` when nothing but an access can make it. */
  nextRise(now: number): number {
    this.#advance(now);
    const { count, start, takeoverCount, takeoverAt, takeoverStart } = this.#state;
    const rise = this.#riseAfter(now, count, start);
    if (takeoverCount === 0 || rise <= takeoverAt) return rise;
    return this.#riseAfter(takeoverAt, takeoverCount, takeoverStart);
  }

  /** How often OUT rises after pulse `from` up to and including pulse `to`. */
  risesBetween(from: number, to: number): number {
    this.#advance(from);
    const { count, start, takeoverCount, takeoverAt, takeoverStart } = this.#state;
    if (takeoverCount === 0 || to <= takeoverAt) return this.#rises(from, to, count, start);
    return this.#rises(from, takeoverAt, count, start) + this.#rises(takeoverAt, to, takeoverCount, takeoverStart);
  }

  /** Completed cycles up to pulse `now`: what toggles the refresh bit of port 61h. */
  cycles(now: number): number {
    this.#advance(now);
    const { count } = this.#state;
    return count === 0 ? 0 : Math.max(0, Math.floor(this.#elapsed(now) / count));
  }

  /** Lets a count that waits for the end of a cycle take over. */
  #advance(now: number): void {
    const state = this.#state;
    if (state.takeoverCount === 0 || now < state.takeoverAt || state.stopped >= 0) return;
    state.count = state.takeoverCount;
    state.start = state.takeoverStart;
    state.takeoverCount = 0;
  }

  #newCount(value: number, now: number): void {
    const state = this.#state;
    const count = state.bcd ? fromBcd(value) || 10_000 : value || 0x10000;
    if (state.mode === 1 || state.mode === 5) {
      state.waiting = count;
    } else if (state.count === 0 || state.mode === 0 || state.mode === 4) {
      this.#load(count, now);
    } else if (now < state.start) {
      // A first count that no pulse has loaded yet is replaced.
      state.count = count;
    } else {
      this.#schedule(count, now);
    }
  }

  /** The next CLK pulse loads the count. */
  #load(count: number, now: number): void {
    const state = this.#state;
    state.outBeforeLoad = this.output(now);
    state.count = count;
    state.start = now + 1;
    state.takeoverCount = 0;
    // With the gate low the count is loaded all the same, and stays.
    const held = !state.gate && state.mode !== 1 && state.mode !== 5;
    state.stopped = held ? 0 : -1;
  }

  /** Modes 2 and 3: the count takes over at the end of the cycle or half cycle in progress. */
  #schedule(count: number, now: number): void {
    const state = this.#state;
    const elapsed = this.#elapsed(now);
    const phase = elapsed % state.count;
    const high = highPulses(state.count);
    state.takeoverCount = count;
    if (state.mode === 3 && phase < high) {
      state.takeoverAt = now - phase + high;
      state.takeoverStart = state.takeoverAt - highPulses(count);
    } else {
      state.takeoverAt = now - phase + state.count;
      state.takeoverStart = state.takeoverAt;
    }
  }

  /** Pulses since the load; negative before it. */
  #elapsed(now: number): number {
    const { stopped, start } = this.#state;
    return stopped >= 0 ? stopped : now - start;
  }

  #nullCount(now: number): boolean {
    const { count, waiting, takeoverCount, start } = this.#state;
    return count === 0 || waiting !== 0 || takeoverCount !== 0 || now < start;
  }

  /** The counting element as its 16 bits are read. */
  #value(now: number): number {
    const { mode, count, bcd } = this.#state;
    if (count === 0) return 0;
    const elapsed = Math.max(0, this.#elapsed(now));
    const modulus = bcd ? 10_000 : 0x10000;
    let value: number;
    if (mode === 2) {
      value = count - (elapsed % count);
    } else if (mode === 3) {
      const phase = elapsed % count;
      const high = highPulses(count);
      value = count - (count % 2) - 2 * (phase < high ? phase : phase - high);
    } else {
      value = (((count - elapsed) % modulus) + modulus) % modulus;
    }
    value %= modulus;
    return bcd ? toBcd(value) : value;
  }

  #rises(from: number, to: number, count: number, start: number): number {
    const first = this.#riseAfter(from, count, start);
    if (first > to) return 0;
    if (this.#state.mode === 2 || this.#state.mode === 3) return 1 + Math.floor((to - first) / count);
    return 1 + this.#rises(first, to, count, start);
  }

  #riseAfter(now: number, count: number, start: number): number {
    const { mode, stopped, outBeforeLoad } = this.#state;
    if (count === 0 || stopped >= 0) return Number.POSITIVE_INFINITY;
    if (mode === 2 || mode === 3) {
      // A count of 1 is illegal in both modes: the output stays as it is.
      if (count === 1) return Number.POSITIVE_INFINITY;
      return start + count * (Math.max(0, Math.floor((now - start) / count)) + 1);
    }
    // A strobe in progress ends with the load of the next count.
    if (mode >= 4 && !outBeforeLoad && now < start) return start;
    const rise = start + count + (mode >= 4 ? 1 : 0);
    return rise > now ? rise : Number.POSITIVE_INFINITY;
  }
}

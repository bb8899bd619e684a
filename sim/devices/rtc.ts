/**
 * The real-time clock and CMOS RAM of a PC at ports 70h and 71h (MC146818A data sheet; ICH7 data sheet 5.12, 10.6):
 * clock and calendar in bytes 00h-09h, registers A-D in 0Ah-0Dh, battery-backed RAM in 0Eh-7Fh. Its crystal of
 * 32.768 kHz drives a divider chain: an update each second, a periodic flag at a tap of the chain, IRQ8 while an
 * enabled flag is set in register C. Registers hold the bytes as software wrote them; they count in the format that
 * register B says at the time, and an alarm compares bytes.
 *
 * Port 70h takes the index in bits 6:0 and the NMI mask in bit 7. The mask is kept; it gates the chipset's sources of
 * NMI (SERR#, IOCHK#), of which this board has none, and not the local APIC's.
 *
 * Left out: registers stay readable during an update (the chip gives undefined values while UIP is set), bytes that
 * are no date count on as their digits say, dividers for other crystals hold the clock, daylight saving (DSE) and the
 * square wave do nothing, as on the ICH7, which has not got them either; the second bank of 128 bytes (72h, 73h) is
 * absent; the century byte is RAM, and no carry reaches it.
 */
import type { Timed } from "../clock.ts";
import type { Geometry } from "./disk-image.ts";
import type { InterruptLine } from "./i8259.ts";
import type { PortDevice } from "./ports.ts";
import { type Frequency, PulseClock, type TimeBase } from "./time.ts";

export const RTC_FREQUENCY: Frequency = { numerator: 32_768, denominator: 1 };
const PULSES_PER_SECOND = 32_768;
/** UIP rises 244 us before the update cycle, which takes 1 984 us. */
const UPDATE_PULSES = 8 + 65;

const INDEX_PORT = 0x70;
const BYTES = 128;

const REG = { seconds: 0, minutes: 2, hours: 4, weekday: 6, day: 7, month: 8, year: 9, a: 10, b: 11, c: 12, d: 13 };
const ALARM = [
  [1, REG.seconds],
  [3, REG.minutes],
  [5, REG.hours],
] as const;
const A = { updateInProgress: 0x80, divider: 0x70, running: 0x20, dividerReset: 0x60, rate: 0x0f } as const;
const B = { set: 0x80, pie: 0x40, aie: 0x20, uie: 0x10, squareWave: 8, binary: 4, hours24: 2 } as const;
/** The flags stand where register B enables them. */
const C = { irqf: 0x80, pf: 0x40, af: 0x20, uf: 0x10 } as const;
const VALID_RAM_AND_TIME = 0x80;
const PM = 0x80;
const DO_NOT_CARE = 0xc0;

/** Bytes of CMOS RAM that firmware of the AT and after fills in. */
export const CMOS = {
  floppies: 0x10,
  disks: 0x12,
  equipment: 0x14,
  baseMemory: 0x15,
  extendedMemory: 0x17,
  disk0Type: 0x19,
  disk0Geometry: 0x1b,
  checksum: 0x2e,
  extendedMemoryFound: 0x30,
  century: 0x32,
  memoryAbove16M: 0x34,
} as const;

/** A moment of the calendar, 24-hour clock. Years 2000 to 2099. */
export interface CalendarDate {
  readonly year: number;
  /** 1 to 12. */
  readonly month: number;
  readonly day: number;
  readonly hours: number;
  readonly minutes: number;
  readonly seconds: number;
}

/** Where a machine's calendar stands at power-on, unless its options say otherwise. */
export const DEFAULT_START_DATE: CalendarDate = { year: 2006, month: 10, day: 21, hours: 0, minutes: 0, seconds: 0 };

/** What the CMOS RAM tells of a machine. */
export interface CmosContents {
  /** RAM in bytes, from address 0. */
  readonly memoryBytes: number;
  /** Geometry of the first disk, null when there is none. */
  readonly disk: Geometry | null;
}

/** Plain data; times in pulses of the crystal. */
export interface RtcState {
  readonly bytes: readonly number[];
  readonly index: number;
  readonly flags: number;
  readonly nmiMasked: boolean;
  /** Whether the divider chain runs, and the pulse at which it stood at zero. */
  readonly running: boolean;
  readonly origin: number;
  /** Pulse up to which flags and calendar have been brought. */
  readonly processed: number;
}

export class Rtc implements PortDevice, Timed {
  readonly width = 1;
  readonly #time: TimeBase;
  readonly #line: InterruptLine;
  readonly #pulses: PulseClock;
  #bytes: number[] = new Array<number>(BYTES).fill(0);
  #index = 0;
  #flags = 0;
  #nmiMasked = false;
  #running = true;
  #origin: number;
  #processed: number;

  /** A clock with a good battery that shows `start` now. */
  constructor(time: TimeBase, line: InterruptLine, start: CalendarDate, contents: CmosContents) {
    this.#time = time;
    this.#line = line;
    this.#pulses = new PulseClock(RTC_FREQUENCY, time.ticksPerSecond);
    this.#origin = this.#pulse();
    this.#processed = this.#origin;
    this.#bytes[REG.a] = A.running | 6;
    this.#bytes[REG.b] = B.hours24;
    this.#bytes[REG.d] = VALID_RAM_AND_TIME;
    this.#setDate(start);
    this.#fill(contents);
  }

  /** Bit 7 of port 70h. */
  get nmiMasked(): boolean {
    return this.#nmiMasked;
  }

  /** RESET#: interrupts and flags are cleared; the battery keeps time, calendar and RAM. */
  reset(): void {
    this.synchronize();
    this.#bytes[REG.b] = this.#byte(REG.b) & ~(B.pie | B.aie | B.uie | B.squareWave);
    this.#flags = 0;
    this.#index = 0;
    this.#nmiMasked = false;
    this.#drive();
  }

  save(): RtcState {
    return {
      bytes: [...this.#bytes],
      index: this.#index,
      flags: this.#flags,
      nmiMasked: this.#nmiMasked,
      running: this.#running,
      origin: this.#origin,
      processed: this.#processed,
    };
  }

  restore(data: RtcState): void {
    this.#bytes = [...data.bytes];
    this.#index = data.index;
    this.#flags = data.flags;
    this.#nmiMasked = data.nmiMasked;
    this.#running = data.running;
    this.#origin = data.origin;
    this.#processed = data.processed;
  }

  /** The next pulse at which an enabled flag that is clear may be set. An alarm is looked for at each update. */
  nextDeadline(): number {
    if (!this.#running) return Number.POSITIVE_INFINITY;
    const wanted = this.#byte(REG.b) & ~this.#flags;
    const count = this.#processed - this.#origin;
    const next = (period: number): number => (Math.floor(count / period) + 1) * period + this.#origin;
    let pulse = Number.POSITIVE_INFINITY;
    if ((wanted & C.pf) !== 0 && this.#period() > 0) pulse = next(this.#period());
    const updates = (this.#byte(REG.b) & B.set) === 0;
    if (updates && (wanted & (C.af | C.uf)) !== 0) pulse = Math.min(pulse, next(PULSES_PER_SECOND));
    return this.#pulses.ticksOf(pulse);
  }

  due(): void {
    this.synchronize();
  }

  /** Brings flags, calendar and IRQ8 up to the clock. */
  synchronize(): void {
    const pulse = this.#pulse();
    if (this.#running) {
      const from = this.#processed - this.#origin;
      const to = pulse - this.#origin;
      const taps = (period: number): number => Math.floor(to / period) - Math.floor(from / period);
      if (this.#period() > 0 && taps(this.#period()) > 0) this.#flags |= C.pf;
      for (let seconds = taps(PULSES_PER_SECOND); seconds > 0; seconds--) this.#update();
    }
    this.#processed = pulse;
    this.#drive();
  }

  readPort(port: number): number {
    // The index register cannot be read.
    if (port === INDEX_PORT) return 0xff;
    this.synchronize();
    const index = this.#index;
    if (index === REG.a) return this.#byte(REG.a) | (this.#updating() ? A.updateInProgress : 0);
    if (index !== REG.c) return this.#byte(index);
    const flags = this.#registerC();
    this.#flags = 0;
    this.#drive();
    return flags;
  }

  writePort(port: number, _bytes: number, value: number): void {
    if (port === INDEX_PORT) {
      this.#index = value & 0x7f;
      this.#nmiMasked = (value & 0x80) !== 0;
      return;
    }
    this.synchronize();
    if (this.#index === REG.a) this.#writeA(value);
    else if (this.#index === REG.b) this.#bytes[REG.b] = (value & B.set) !== 0 ? value & ~B.uie : value;
    else if (this.#index !== REG.c && this.#index !== REG.d) this.#bytes[this.#index] = value;
    this.#drive();
  }

  /** A divider that leaves its reset makes the first update half a second later. */
  #writeA(value: number): void {
    const running = (value & A.divider) === A.running;
    if (running && !this.#running) this.#origin = this.#pulse() - PULSES_PER_SECOND / 2;
    this.#running = running;
    this.#bytes[REG.a] = value & ~A.updateInProgress;
  }

  /** Pulses between two periodic flags; 0 for none. Rates 1 and 2 are those of 8 and 9. */
  #period(): number {
    const rate = this.#byte(REG.a) & A.rate;
    if (rate === 0) return 0;
    return 1 << ((rate < 3 ? rate + 7 : rate) - 1);
  }

  #updating(): boolean {
    if (!this.#running || (this.#byte(REG.b) & B.set) !== 0) return false;
    const count = (this.#processed - this.#origin) % PULSES_PER_SECOND;
    return count >= PULSES_PER_SECOND - UPDATE_PULSES;
  }

  #registerC(): number {
    return (this.#flags & this.#byte(REG.b) & (C.pf | C.af | C.uf)) !== 0 ? this.#flags | C.irqf : this.#flags;
  }

  #drive(): void {
    this.#line.set((this.#registerC() & C.irqf) !== 0);
  }

  /** The end of one update cycle. */
  #update(): void {
    if ((this.#byte(REG.b) & B.set) !== 0) return;
    this.#flags |= C.uf;
    this.#countSecond();
    const matches = ALARM.every(([alarm, time]) => {
      const wanted = this.#byte(alarm);
      return (wanted & DO_NOT_CARE) === DO_NOT_CARE || wanted === this.#byte(time);
    });
    if (matches) this.#flags |= C.af;
  }

  #countSecond(): void {
    if (!this.#carry(REG.seconds, 0, 59)) return;
    if (!this.#carry(REG.minutes, 0, 59)) return;
    const hours = this.#hours() + 1;
    this.#setHours(hours < 24 ? hours : 0);
    if (hours < 24) return;
    this.#carry(REG.weekday, 1, 7);
    const month = this.#get(REG.month);
    if (!this.#carry(REG.day, 1, daysOf(month, this.#get(REG.year)))) return;
    if (!this.#carry(REG.month, 1, 12)) return;
    this.#carry(REG.year, 0, 99);
  }

  /** Adds one; true when the register has gone from `last` to `first`. */
  #carry(register: number, first: number, last: number): boolean {
    const value = this.#get(register) + 1;
    this.#put(register, value > last ? first : value);
    return value > last;
  }

  #hours(): number {
    if ((this.#byte(REG.b) & B.hours24) !== 0) return this.#get(REG.hours);
    const value = this.#byte(REG.hours);
    return (this.#decode(value & ~PM) % 12) + ((value & PM) !== 0 ? 12 : 0);
  }

  #setHours(hours: number): void {
    if ((this.#byte(REG.b) & B.hours24) !== 0) this.#put(REG.hours, hours);
    else this.#bytes[REG.hours] = this.#encode(hours % 12 === 0 ? 12 : hours % 12) | (hours >= 12 ? PM : 0);
  }

  #get(register: number): number {
    return this.#decode(this.#byte(register));
  }

  #put(register: number, value: number): void {
    this.#bytes[register] = this.#encode(value);
  }

  #decode(value: number): number {
    return (this.#byte(REG.b) & B.binary) !== 0 ? value : (value >> 4) * 10 + (value & 0xf);
  }

  #encode(value: number): number {
    return (this.#byte(REG.b) & B.binary) !== 0 ? value & 0xff : toBcd(value);
  }

  #byte(index: number): number {
    return this.#bytes[index] as number;
  }

  #pulse(): number {
    return this.#pulses.pulsesAt(this.#time.now());
  }

  #setDate(date: CalendarDate): void {
    const { year, month, day } = date;
    if (!(year >= 2000 && year <= 2099)) throw new Error(`start date: year ${year} is not between 2000 and 2099`);
    if (!(month >= 1 && month <= 12)) throw new Error(`start date: there is no month ${month}`);
    if (!(day >= 1 && day <= daysOf(month, year % 100)))
      throw new Error(`start date: month ${month} has no day ${day}`);
    this.#put(REG.seconds, date.seconds);
    this.#put(REG.minutes, date.minutes);
    this.#setHours(date.hours);
    this.#put(REG.weekday, weekdayOf(year, month, day));
    this.#put(REG.day, day);
    this.#put(REG.month, month);
    this.#put(REG.year, year % 100);
    this.#bytes[CMOS.century] = toBcd(20);
  }

  /** What set-up has left in the RAM: little-endian words of KB, and the AT's checksum of bytes 10h to 2Dh. */
  #fill({ memoryBytes, disk }: CmosContents): void {
    const word = (at: number, value: number): void => {
      this.#bytes[at] = value & 0xff;
      this.#bytes[at + 1] = value >> 8;
    };
    const kilobytes = Math.floor(memoryBytes / 1024);
    const extended = Math.min(Math.max(kilobytes - 1024, 0), 0xffff);
    word(CMOS.baseMemory, Math.min(kilobytes, 640));
    word(CMOS.extendedMemory, extended);
    word(CMOS.extendedMemoryFound, extended);
    word(CMOS.memoryAbove16M, Math.min(Math.max(Math.floor(kilobytes / 64) - 256, 0), 0xffff));
    // No floppy drive; a coprocessor, a PS/2 mouse, a display with its own BIOS (VGA).
    this.#bytes[CMOS.floppies] = 0;
    this.#bytes[CMOS.equipment] = 0x06;
    if (disk !== null) {
      // Type 15 says that the type is in byte 19h; type 47 that the geometry is the user's.
      this.#bytes[CMOS.disks] = 0xf0;
      this.#bytes[CMOS.disk0Type] = 47;
      const at = CMOS.disk0Geometry;
      word(at, disk.cylinders);
      this.#bytes[at + 2] = disk.heads;
      // No write precompensation; bit 3 of the control byte: more than eight heads.
      word(at + 3, 0xffff);
      this.#bytes[at + 5] = disk.heads > 8 ? 0x08 : 0;
      word(at + 6, disk.cylinders);
      this.#bytes[at + 8] = disk.sectors;
    }
    let sum = 0;
    for (let i = CMOS.floppies; i < CMOS.checksum; i++) sum += this.#byte(i);
    this.#bytes[CMOS.checksum] = (sum >> 8) & 0xff;
    this.#bytes[CMOS.checksum + 1] = sum & 0xff;
  }
}

function toBcd(value: number): number {
  return ((Math.floor(value / 10) << 4) | (value % 10)) & 0xff;
}

/** Days of a month; the chip takes every fourth year for a leap year. */
function daysOf(month: number, year: number): number {
  if (month === 2) return year % 4 === 0 ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

/** Day of the week, 1 for Sunday, of a date from 2000 to 2099; 1 January 2000 was a Saturday. */
function weekdayOf(year: number, month: number, day: number): number {
  let days = day - 1;
  for (let y = 2000; y < year; y++) days += y % 4 === 0 ? 366 : 365;
  for (let m = 1; m < month; m++) days += daysOf(m, year % 100);
  return ((days + 6) % 7) + 1;
}

/**
 * Power management registers as ACPI's fixed hardware has them (ACPI specification 2.0, 4.7.3; ICH7 data sheet 10.8): PM1a
 * event and control blocks and the 24-bit PM timer, at the base that PCI function 31.0 gives (600h from the beginning),
 * and the SCI, level-triggered on interrupt 9.
 *
 * Writing PM1a control with SLP_EN and the sleep type of S5 switches the machine off: 7 as the tables say, or 0,
 * which is what the tables of widespread virtual machines say and small kernels write unread. There is no other sleep
 * state. The machine is always in ACPI mode: SCI_EN is 1 and there is no SMI command port.
 *
 * Left out: general-purpose events, sleep and wake, the RTC as a wake source, throttling, the watchdog behind (TCO).
 */
import type { Timed } from "../clock.ts";
import type { InterruptLine } from "./i8259.ts";
import type { PortDevice } from "./ports.ts";
import { PulseClock, type TimeBase } from "./time.ts";

/** Where firmware would put the block, its size, and offsets in it. */
export const ACPI_BASE = 0x600;
export const ACPI_PORTS = 128;
export const ACPI_OFFSET = { event: 0x00, control: 0x04, timer: 0x08 } as const;
export const SCI_IRQ = 9;
/** SLP_TYP of S5, as the tables give it. */
export const SOFT_OFF_TYPE = 7;
const SOFT_OFF_UNREAD = 0;

const PM_TIMER = { numerator: 3_579_545, denominator: 1 };
const TIMER_BITS = 0xff_ffff;
/** TMROF is set when bit 23 changes. */
const HALF_TURN = 0x80_0000;

const PM1 = { timer: 0x0001, global: 0x0020, powerButton: 0x0100, rtc: 0x0400, wake: 0x8000 } as const;
const STATUS_BITS = PM1.timer | PM1.global | PM1.powerButton | PM1.rtc | PM1.wake;
const ENABLE_BITS = PM1.timer | PM1.global | PM1.powerButton | PM1.rtc;
const CONTROL = { sciEnable: 0x0001, sleepEnable: 0x2000, writable: 0x1c03 } as const;

export interface AcpiPmState {
  readonly status: number;
  readonly enable: number;
  readonly control: number;
  /** Half turns of the timer that have been looked at. */
  readonly halfTurns: number;
}

interface AcpiPmParts {
  readonly time: TimeBase;
  readonly sci: InterruptLine;
  /** The guest switches the machine off. */
  readonly onPowerOff: () => void;
}

export class AcpiPm implements PortDevice, Timed {
  readonly width = 4;
  readonly #parts: AcpiPmParts;
  readonly #pulses: PulseClock;
  #status = 0;
  #enable = 0;
  #control: number = CONTROL.sciEnable;
  #halfTurns = 0;

  constructor(parts: AcpiPmParts) {
    this.#parts = parts;
    this.#pulses = new PulseClock(PM_TIMER, parts.time.ticksPerSecond);
  }

  reset(): void {
    this.#status = 0;
    this.#enable = 0;
    this.#control = CONTROL.sciEnable;
    this.#halfTurns = this.#turned(this.#parts.time.now());
    this.#drive();
  }

  save(): AcpiPmState {
    return { status: this.#status, enable: this.#enable, control: this.#control, halfTurns: this.#halfTurns };
  }

  restore(data: AcpiPmState): void {
    this.#status = data.status;
    this.#enable = data.enable;
    this.#control = data.control;
    this.#halfTurns = data.halfTurns;
  }

  /** Somebody presses the power button: its status bit, and an SCI if the guest has asked for it. */
  pressPowerButton(): void {
    this.#status |= PM1.powerButton;
    this.#drive();
  }

  nextDeadline(): number {
    if ((this.#enable & PM1.timer) === 0) return Number.POSITIVE_INFINITY;
    return this.#pulses.ticksOf((this.#halfTurns + 1) * HALF_TURN);
  }

  due(now: number): void {
    const turned = this.#turned(now);
    if (turned === this.#halfTurns) return;
    this.#halfTurns = turned;
    this.#status |= PM1.timer;
    this.#drive();
  }

  readPort(port: number, bytes: number): number {
    const now = this.#parts.time.now();
    this.due(now);
    const offset = port & (ACPI_PORTS - 1);
    let value = 0;
    for (let i = 0; i < bytes; i++) value += this.#byte(offset + i, now) * 2 ** (8 * i);
    return value;
  }

  writePort(port: number, bytes: number, value: number): void {
    this.due(this.#parts.time.now());
    const offset = port & (ACPI_PORTS - 1);
    for (let i = 0; i < bytes; i++) this.#writeByte(offset + i, (value >>> (8 * i)) & 0xff);
    this.#drive();
  }

  #byte(offset: number, now: number): number {
    const registers = [
      this.#status | (this.#enable << 16),
      this.#control,
      this.#pulses.pulsesAt(now) % (TIMER_BITS + 1),
    ];
    return ((registers[offset >> 2] ?? 0) >>> (8 * (offset & 3))) & 0xff;
  }

  #writeByte(offset: number, value: number): void {
    const shift = 8 * (offset & 1);
    const bits = value << shift;
    const others = ~(0xff << shift);
    switch (offset & ~1) {
      case ACPI_OFFSET.event:
        this.#status &= ~(bits & STATUS_BITS);
        break;
      case ACPI_OFFSET.event + 2:
        this.#enable = ((this.#enable & others) | bits) & ENABLE_BITS;
        break;
      case ACPI_OFFSET.control:
        this.#control = (((this.#control & others) | bits) & CONTROL.writable) | CONTROL.sciEnable;
        if ((bits & CONTROL.sleepEnable) !== 0) this.#sleep((this.#control >> 10) & 7);
        break;
    }
  }

  #sleep(type: number): void {
    if (type === SOFT_OFF_TYPE || type === SOFT_OFF_UNREAD) this.#parts.onPowerOff();
  }

  #turned(now: number): number {
    return Math.floor(this.#pulses.pulsesAt(now) / HALF_TURN);
  }

  #drive(): void {
    this.#parts.sci.set((this.#status & this.#enable) !== 0);
  }
}

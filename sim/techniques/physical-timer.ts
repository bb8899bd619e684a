/**
 * The monitor's use of the machine's local APIC timer: one shot, so that a virtual device's next deadline reaches the
 * monitor as a physical interrupt while the guest runs. This generation has no preemption timer.
 */
import type { Clock } from "../clock.ts";
import { APIC_REGISTER } from "./apic-registers.ts";
import type { MonitorMemory } from "./monitor-memory.ts";
import type { MonitorStep } from "./steps.ts";

/** Vector of the timer's interrupt in the monitor's IDT. */
export const TIMER_VECTOR = 0xef;
const APIC_BASE = 0xfee00000;
/** Software enable, spurious vector FFh. */
const SVR_ENABLE = 0x1ff;
/** Divide by 1. */
const DIVIDE_BY_1 = 0xb;

export class PhysicalTimer {
  /** Virtual deadline in ticks that the timer is set for; infinite when it is off. */
  armedFor = Number.POSITIVE_INFINITY;
  readonly #memory: MonitorMemory;
  readonly #steps: { do(step: MonitorStep): void };
  readonly #clock: Clock;
  readonly #busClock: { readonly numerator: number; readonly denominator: number };

  constructor(
    memory: MonitorMemory,
    steps: { do(step: MonitorStep): void },
    clock: Clock,
    busClock: { readonly numerator: number; readonly denominator: number },
  ) {
    this.#memory = memory;
    this.#steps = steps;
    this.#clock = clock;
    this.#busClock = busClock;
  }

  /** Enables the local APIC and its timer's vector. */
  enable(): void {
    this.#write(APIC_REGISTER.svr, SVR_ENABLE);
    this.#write(APIC_REGISTER.divide, DIVIDE_BY_1);
    this.#write(APIC_REGISTER.lvtTimer, TIMER_VECTOR);
  }

  /** Sets the timer for the first bus clock at or after `deadline` (ticks), unless it is set for it already. */
  arm(deadline: number): void {
    if (deadline === this.armedFor) return;
    this.armedFor = deadline;
    this.#steps.do("timer");
    if (deadline === Number.POSITIVE_INFINITY) {
      this.#write(APIC_REGISTER.initialCount, 0);
      return;
    }
    const ticks = Math.max(0, deadline - this.#clock.now);
    const ticksPerPulse = (this.#clock.ticksPerSecond * this.#busClock.denominator) / this.#busClock.numerator;
    const count = Math.min(0xffffffff, Math.ceil(ticks / ticksPerPulse) + 1);
    this.#write(APIC_REGISTER.initialCount, count);
  }

  /** The interrupt has come: end of interrupt; the one shot is used up. */
  interrupted(): void {
    this.#steps.do("interrupt");
    this.armedFor = Number.POSITIVE_INFINITY;
    this.#write(APIC_REGISTER.eoi, 0);
  }

  #write(register: number, value: number): void {
    this.#memory.write(APIC_BASE + register, 4, value);
  }
}

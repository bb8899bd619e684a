/**
 * How the PC reports x87 errors to software that leaves CR0.NE clear (SDM vol. 1, D.1): FERR# sets a latch that requests IRQ 13;
 * a write to port F0h clears it and asserts IGNNE#, so that the handler may use the x87, until FERR# is inactive again.
 */
import type { InterruptLine } from "./i8259.ts";
import type { PortDevice } from "./ports.ts";

export const NUMERIC_ERROR_PORT = 0xf0;
export const NUMERIC_ERROR_IRQ = 13;

export interface NumericErrorState {
  readonly latched: boolean;
  readonly ignored: boolean;
}

export class NumericError implements PortDevice {
  readonly width = 1;
  readonly #line: Pick<InterruptLine, "set">;
  #latched = false;
  #ignored = false;

  constructor(line: Pick<InterruptLine, "set">) {
    this.#line = line;
  }

  reset(): void {
    this.#latched = false;
    this.#ignored = false;
    this.#line.set(false);
  }

  /** FERR# goes to this level; whether IGNNE# is asserted. */
  report(active: boolean): boolean {
    if (!active) this.#ignored = false;
    else if (!this.#ignored && !this.#latched) {
      this.#latched = true;
      this.#line.set(true);
    }
    return this.#ignored;
  }

  readPort(): number {
    return 0xff;
  }

  writePort(): void {
    if (!this.#latched) return;
    this.#latched = false;
    this.#ignored = true;
    this.#line.set(false);
  }

  save(): NumericErrorState {
    return { latched: this.#latched, ignored: this.#ignored };
  }

  /** The interrupt controllers restore their inputs themselves. */
  restore(data: NumericErrorState): void {
    this.#latched = data.latched;
    this.#ignored = data.ignored;
  }
}

/**
 * System control port A at port 92h (PS/2; ICH7 data sheet 10.7.2): bit 1 opens gate A20 beside the keyboard
 * controller's output, bit 0 resets the processor by its rise from 0 to 1. The other bits read as zero.
 */
import type { PortDevice } from "./ports.ts";

export const PORT_92 = 0x92;
const INIT_NOW = 0x01;
const ALT_A20 = 0x02;

export class Port92 implements PortDevice {
  readonly width = 1;
  #value = 0;
  readonly #onA20: () => void;
  readonly #onReset: () => void;

  /** `onA20` after a write that may have moved the gate, `onReset` when the processor is to be reset. */
  constructor(onA20: () => void, onReset: () => void) {
    this.#onA20 = onA20;
    this.#onReset = onReset;
  }

  /** Whether this port holds A20 open. */
  get a20(): boolean {
    return (this.#value & ALT_A20) !== 0;
  }

  reset(): void {
    this.#value = 0;
  }

  save(): number {
    return this.#value;
  }

  restore(data: number): void {
    this.#value = data;
  }

  readPort(): number {
    return this.#value;
  }

  writePort(_port: number, _bytes: number, value: number): void {
    const rises = (value & ~this.#value & INIT_NOW) !== 0;
    this.#value = value & (INIT_NOW | ALT_A20);
    this.#onA20();
    if (rises) this.#onReset();
  }
}

/**
 * The two 8237A DMA controllers and their page registers (Intel 8237A data sheet 231466; ICH7 data sheet 10.2), as
 * registers that software can set up and read back: addresses and counts behind a byte-pointer flip-flop, command, mode,
 * mask, status and page registers.
 *
 * Left out: transfers. No device of this board is on a DMA channel (no floppy controller, no ISA cards), so nothing
 * ever requests one; software requests and the temporary register do nothing.
 */
import type { PortDevice } from "./ports.ts";

const CHANNELS = 4;
const COMMAND = {
  status: 8,
  request: 9,
  mask: 10,
  mode: 11,
  clearPointer: 12,
  masterClear: 13,
  clearMask: 14,
  allMask: 15,
};
/** Ports of the page registers are plain storage; 80h is not among them, it is the POST code's. */
export const PAGE_FIRST_PORT = 0x81;
export const PAGE_LAST_PORT = 0x8f;

export interface I8237State {
  readonly registers: readonly number[];
  readonly mask: number;
  readonly highByte: boolean;
}

/** One controller; its registers are `spacing` ports apart. */
export class I8237 implements PortDevice {
  readonly width = 1;
  readonly #first: number;
  readonly #spacing: number;
  /** Address and count of each channel, in order of their ports. */
  readonly #registers = new Uint16Array(2 * CHANNELS);
  #mask = 0xf;
  #highByte = false;

  constructor(first: number, spacing: 1 | 2) {
    this.#first = first;
    this.#spacing = spacing;
  }

  reset(): void {
    this.#registers.fill(0);
    this.#mask = 0xf;
    this.#highByte = false;
  }

  save(): I8237State {
    return { registers: [...this.#registers], mask: this.#mask, highByte: this.#highByte };
  }

  restore(data: I8237State): void {
    this.#registers.set(data.registers);
    this.#mask = data.mask;
    this.#highByte = data.highByte;
  }

  readPort(port: number): number {
    const register = this.#registerOf(port);
    if (register < 2 * CHANNELS) {
      const value = this.#registers[register] as number;
      const byte = this.#highByte ? value >> 8 : value & 0xff;
      this.#highByte = !this.#highByte;
      return byte;
    }
    // No channel has reached its terminal count, none requests; the other registers cannot be read but for the masks.
    return register === COMMAND.allMask ? this.#mask | 0xf0 : 0;
  }

  writePort(port: number, _bytes: number, value: number): void {
    const register = this.#registerOf(port);
    if (register < 2 * CHANNELS) {
      const before = this.#registers[register] as number;
      this.#registers[register] = this.#highByte ? (before & 0xff) | (value << 8) : (before & 0xff00) | value;
      this.#highByte = !this.#highByte;
      return;
    }
    if (register === COMMAND.mask) {
      const bit = 1 << (value & 3);
      this.#mask = (value & 4) !== 0 ? this.#mask | bit : this.#mask & ~bit;
    } else if (register === COMMAND.allMask) this.#mask = value & 0xf;
    else if (register === COMMAND.clearMask) this.#mask = 0;
    else if (register === COMMAND.clearPointer) this.#highByte = false;
    else if (register === COMMAND.masterClear) {
      this.#mask = 0xf;
      this.#highByte = false;
    }
  }

  #registerOf(port: number): number {
    return Math.floor((port - this.#first) / this.#spacing);
  }
}

/** The page registers at 81h to 8Fh. */
export class DmaPages implements PortDevice {
  readonly width = 1;
  readonly #pages = new Uint8Array(PAGE_LAST_PORT - PAGE_FIRST_PORT + 1);

  reset(): void {
    this.#pages.fill(0);
  }

  save(): readonly number[] {
    return [...this.#pages];
  }

  restore(data: readonly number[]): void {
    this.#pages.set(data);
  }

  readPort(port: number): number {
    return this.#pages[port - PAGE_FIRST_PORT] as number;
  }

  writePort(port: number, _bytes: number, value: number): void {
    this.#pages[port - PAGE_FIRST_PORT] = value;
  }
}

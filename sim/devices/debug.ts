/**
 * Ports by which a guest speaks to the laboratory; none exists on a real PC. Debug-exit (F4h, as QEMU's
 * isa-debug-exit is configured by test suites, and 501h, where it is if nothing is said) ends the run with a status, the digest port (5E0h) collects 32-bit words of a
 * workload's results, the console port (E9h, as Bochs has it) collects bytes and reads E9h where it exists.
 */
import type { PortDevice } from "./ports.ts";

export const DEBUG_EXIT_PORT = 0xf4;
export const DEBUG_EXIT_DEFAULT_PORT = 0x501;
export const DIGEST_PORT = 0x5e0;
export const CONSOLE_PORT = 0xe9;

/** Port F4h, four bytes wide; at 501h it has two, which are written one by one. */
export class DebugExit implements PortDevice {
  readonly width = 4;
  /** Status of the guest's first exit, unsigned; null while the guest runs. */
  status: number | null = null;
  readonly #onExit: () => void;

  /** `onExit` is called at the write: the run must end at the next instruction boundary. */
  constructor(onExit: () => void) {
    this.#onExit = onExit;
  }

  save(): number | null {
    return this.status;
  }

  restore(data: number | null): void {
    this.status = data;
  }

  readPort(): number {
    return 0;
  }

  writePort(_port: number, _bytes: number, value: number): void {
    if (this.status === null) this.status = value >>> 0;
    this.#onExit();
  }
}

/** Port 5E0h, four bytes wide: every write appends a word. Reads give the number of words. */
export class DigestPort implements PortDevice {
  readonly width = 4;
  #words: number[] = [];

  /** Unsigned 32-bit words in order. */
  get words(): readonly number[] {
    return this.#words;
  }

  save(): readonly number[] {
    return [...this.#words];
  }

  restore(data: readonly number[]): void {
    this.#words = [...data];
  }

  readPort(): number {
    return this.#words.length;
  }

  writePort(_port: number, _bytes: number, value: number): void {
    this.#words.push(value >>> 0);
  }
}

/** Port E9h: a byte-wide console without flow control. */
export class DebugConsole implements PortDevice {
  readonly width = 1;
  #bytes: number[] = [];

  get bytes(): readonly number[] {
    return this.#bytes;
  }

  save(): readonly number[] {
    return [...this.#bytes];
  }

  restore(data: readonly number[]): void {
    this.#bytes = [...data];
  }

  readPort(): number {
    return CONSOLE_PORT;
  }

  writePort(_port: number, _bytes: number, value: number): void {
    this.#bytes.push(value);
  }
}

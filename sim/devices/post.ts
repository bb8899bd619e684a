/**
 * The POST code register at port 80h: the slow bus answers with what was last written. Boot firmware leaves its
 * last code there, and kernels write it to wait for about a microsecond.
 */
import type { PortDevice } from "./ports.ts";

export class PostRegister implements PortDevice {
  readonly width = 1;
  /** The code last written. */
  code = 0;

  reset(): void {
    this.code = 0;
  }

  save(): number {
    return this.code;
  }

  restore(data: number): void {
    this.code = data;
  }

  readPort(): number {
    return this.code;
  }

  writePort(_port: number, _bytes: number, value: number): void {
    this.code = value;
  }
}

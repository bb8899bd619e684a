/** No technique at all: the guest has the machine. The baseline that every other technique is compared with. */
import type { Core } from "../cpu/core.ts";
import { FLAG, SEG } from "../cpu/state.ts";
import type { DmaPort } from "../devices/dma.ts";
import { PAGE_SIZE } from "../memory/address.ts";
import type { PhysicalMemory } from "../memory/physical.ts";
import type { ExitStatistics, RunEnd } from "../result.ts";
import { dmaThroughPages } from "./dma.ts";
import type { GuestCpu, Technique, TechniqueLimits } from "./monitor.ts";

export class Native implements Technique {
  readonly name = "native";
  readonly dma: DmaPort;
  readonly #core: Core;
  readonly #memory: PhysicalMemory;
  #end: RunEnd | null = null;
  #reset: (() => GuestCpu) | null = null;
  #paused = false;

  constructor(core: Core, memory: PhysicalMemory) {
    this.#core = core;
    this.#memory = memory;
    const page = (number: number, present: boolean): number => (present ? number : -1);
    this.dma = dmaThroughPages(memory, {
      readable: (n) => page(n, memory.stores(n * PAGE_SIZE)),
      writable: (n) => page(n, memory.isWritable(n * PAGE_SIZE)),
      wrote: () => undefined,
    });
  }

  run(limits: TechniqueLimits): RunEnd {
    if (this.#end !== null) return this.#end;
    for (;;) {
      if (this.#reset !== null) this.#takeReset(this.#reset);
      const stop = this.#core.run(limits);
      const { state } = this.#core;
      const place = { cs: state.selector(SEG.cs), eip: state.eip };
      if (this.#end !== null) return this.#end;
      switch (stop.kind) {
        case "requested":
          if (!this.#paused) break;
          this.#paused = false;
          return { ...place, kind: "limit" };
        case "monitor-entry":
          throw new Error("native: there is no monitor to enter");
        case "unmodelled":
        case "triple-fault":
          return { ...place, kind: stop.kind, detail: stop.detail };
        case "dead-halt":
          return { ...place, kind: stop.kind, ...((state.flags & FLAG.IF) === 0 ? {} : { asleep: true }) };
        default:
          return { ...place, kind: stop.kind };
      }
    }
  }

  /** Ends the run; a device calls it (debug exit). */
  finish(end: RunEnd): void {
    this.#end = end;
    this.#core.requestStop();
  }

  pause(): void {
    this.#paused = true;
    this.#core.requestStop();
  }

  inspectCpu(): GuestCpu {
    return this.exportCpu();
  }

  changeCpu(cells: ReadonlyMap<number, number>): void {
    for (const [cell, value] of cells) this.#core.state.setNumber(cell, value);
  }

  exportCpu(): GuestCpu {
    return { cpu: this.#core.state.save() };
  }

  importCpu(guest: GuestCpu): void {
    this.#core.state.restore(guest.cpu);
    this.#core.mmu.flushTlb(1);
  }

  readGuest(address: number, bytes: Uint8Array): void {
    this.#parts(address, bytes.length, (from, at, length) => bytes.set(this.#memory.copyOut(from, length), at));
  }

  writeGuest(address: number, bytes: Uint8Array): void {
    this.#parts(address, bytes.length, (to, at, length) => this.#memory.copyIn(to, bytes.subarray(at, at + length)));
  }

  /** Calls `copy` for each part of a range within one page that is RAM or ROM. */
  #parts(address: number, length: number, copy: (address: number, at: number, length: number) => void): void {
    let at = 0;
    while (at < length) {
      const part = Math.min(length - at, PAGE_SIZE - ((address + at) % PAGE_SIZE));
      if (address + at >= this.#memory.ramBytes)
        throw new Error(`address ${(address + at).toString(16)} is beyond RAM`);
      if (this.#memory.stores(address + at)) copy(address + at, at, part);
      at += part;
    }
  }

  reset(atBoundary: () => GuestCpu): void {
    this.#reset = atBoundary;
    this.#core.requestStop();
  }

  #takeReset(atBoundary: () => GuestCpu): void {
    this.#reset = null;
    this.#core.reset(atBoundary().cpu);
  }

  gateA20(open: boolean): void {
    this.#memory.a20 = open;
    this.#core.mmu.pagingChanged();
  }

  exits(): readonly ExitStatistics[] {
    return [];
  }

  counters(): Readonly<Record<string, number>> {
    return {};
  }

  save(): unknown {
    return { end: this.#end, a20: this.#memory.a20 };
  }

  restore(saved: unknown): void {
    const { end, a20 } = saved as { end: RunEnd | null; a20: boolean };
    this.#end = end;
    this.gateA20(a20);
  }
}

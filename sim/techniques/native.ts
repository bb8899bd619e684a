/** No technique at all: the guest has the machine. The baseline that every other technique is compared with. */
import type { Core } from "../cpu/core.ts";
import { SEG } from "../cpu/state.ts";
import type { PhysicalMemory } from "../memory/physical.ts";
import type { ExitStatistics, RunEnd } from "../result.ts";
import type { GuestCpu, Technique, TechniqueLimits } from "./monitor.ts";

export class Native implements Technique {
  readonly name = "native";
  readonly #core: Core;
  readonly #memory: PhysicalMemory;
  #end: RunEnd | null = null;

  constructor(core: Core, memory: PhysicalMemory) {
    this.#core = core;
    this.#memory = memory;
  }

  run(limits: TechniqueLimits): RunEnd {
    if (this.#end !== null) return this.#end;
    for (;;) {
      const stop = this.#core.run(limits);
      const { state } = this.#core;
      const place = { cs: state.selector(SEG.cs), eip: state.eip };
      if (this.#end !== null) return this.#end;
      switch (stop.kind) {
        case "requested":
          break;
        case "monitor-entry":
          throw new Error("native: there is no monitor to enter");
        case "unmodelled":
        case "triple-fault":
          return { ...place, kind: stop.kind, detail: stop.detail };
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

  exportCpu(): GuestCpu {
    return { cpu: this.#core.state.save() };
  }

  importCpu(guest: GuestCpu): void {
    this.#core.state.restore(guest.cpu);
    this.#core.mmu.flushTlb(1);
  }

  readGuest(address: number, bytes: Uint8Array): void {
    bytes.set(this.#memory.copyOut(address, bytes.length));
  }

  writeGuest(address: number, bytes: Uint8Array): void {
    this.#memory.copyIn(address, bytes);
  }

  exits(): readonly ExitStatistics[] {
    return [];
  }

  counters(): Readonly<Record<string, number>> {
    return {};
  }

  save(): unknown {
    return { end: this.#end };
  }

  restore(saved: unknown): void {
    this.#end = (saved as { end: RunEnd | null }).end;
  }
}

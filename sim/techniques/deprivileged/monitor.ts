/**
 * The monitor of a de-privileged guest, as the machine sees it: `classical` without a translator, `bt` with one. The
 * monitor is in the top of the guest's linear space and gets control only by the hardware's delivery of an exception, an
 * interrupt or INT n (world-switch.ts).
 */
import { CELL, CpuState, type SavedState } from "../../cpu/state.ts";
import type { DmaPort } from "../../devices/dma.ts";
import type { SavedShadow, Shadow } from "../../memory/shadow.ts";
import type { ExitStatistics, RunEnd } from "../../result.ts";
import type { ExitLog } from "../exit-log.ts";
import type { SavedEmulation } from "../guest-emulation.ts";
import type { SavedAccesses } from "../guest-memory.ts";
import { GuestRam } from "../guest-ram.ts";
import type { GuestCpu, Technique, TechniqueLimits } from "../monitor.ts";
import { runningFrame, takeRegisters, takeSegments } from "./arrival.ts";
import { type DeprivilegedParts, WHERE } from "./parts.ts";
import { RegionObserver } from "./region-observer.ts";
import type { SavedDescriptors } from "./shadow-descriptors.ts";
import { type DeprivilegedOptions, wire } from "./wiring.ts";
import { WorldSwitch } from "./world-switch.ts";

interface SavedMonitor {
  readonly virtual: SavedState;
  readonly where: number;
  readonly stale: boolean;
  readonly root: number;
  readonly translated: boolean;
  readonly deviceAccesses: number;
  readonly loaded: readonly number[];
  readonly a20: boolean;
  readonly end: RunEnd | null;
  readonly free: readonly number[];
  readonly shadow: SavedShadow;
  readonly descriptors: SavedDescriptors;
  readonly hardware: { readonly lost: readonly number[] | null };
  readonly exits: readonly ExitStatistics[];
  readonly armed: number;
  readonly counts: Readonly<Record<string, number>>;
  readonly accesses: SavedAccesses;
  readonly emulation: SavedEmulation;
  readonly translator: unknown;
}

export class DeprivilegedMonitor implements Technique {
  readonly name: string;
  readonly dma: DmaPort;
  readonly log: ExitLog;
  readonly shadow: Shadow;
  readonly #ram: GuestRam;
  readonly #parts: DeprivilegedParts;
  readonly #switch: WorldSwitch;

  constructor(given: DeprivilegedOptions) {
    const parts = wire(given);
    const { memory, pmap, shadow } = parts;
    this.name = given.name;
    this.#parts = parts;
    this.#switch = new WorldSwitch(parts);
    this.log = parts.log;
    this.shadow = shadow;
    this.#ram = new GuestRam(memory, pmap);
    this.dma = this.#ram.dma((address, bytes) => shadow.guestWrote(address, bytes));
  }

  importCpu(guest: GuestCpu): void {
    this.#parts.virtual.restore(guest.cpu);
    this.#switch.bringUp();
  }

  exportCpu(): GuestCpu {
    return this.inspectCpu();
  }

  inspectCpu(): GuestCpu {
    const { virtual } = this.#parts;
    if (!this.#runs()) return { cpu: virtual.save() };
    const copy = new CpuState();
    copy.copyFrom(virtual);
    this.#take(copy);
    return { cpu: copy.save() };
  }

  /** Whether the guest's registers are in the processor. */
  #runs(): boolean {
    const { core, status } = this.#parts;
    return status.where === WHERE.RUNNING && core.state.cpl !== 0;
  }

  #take(into: CpuState): void {
    const { core, descriptors, status, translator } = this.#parts;
    const frame = runningFrame(core.state);
    takeRegisters(core.state, frame, into);
    if (status.translated) {
      translator?.recover(frame.eip, into);
      return;
    }
    takeSegments(core.state, frame, status.loaded, descriptors, into);
    for (const cell of [CELL.interruptibility, CELL.pendingDebug]) into.set(cell, core.state.get(cell));
  }

  changeCpu(cells: ReadonlyMap<number, number>): void {
    const { core, virtual } = this.#parts;
    const running = this.#runs();
    for (const [cell, value] of cells) {
      virtual.setNumber(cell, value);
      if (running && cell !== CELL.rflags) core.state.setNumber(cell, value);
    }
  }

  run(limits: TechniqueLimits): RunEnd {
    const { conditions, core, emulation, ledger, status } = this.#parts;
    conditions.breakpoints = (limits.breakpoints?.size ?? 0) > 0;
    if (status.where === WHERE.NOWHERE) this.#switch.start();
    const budget = limits.instructions ?? Number.POSITIVE_INFINITY;
    const first = budget === Number.POSITIVE_INFINITY ? 0 : this.#guestInstructions();
    for (;;) {
      if (status.end !== null) return status.end;
      if (status.resetTo !== null) this.#switch.reset(status.resetTo);
      const left = budget === Number.POSITIVE_INFINITY ? budget : budget - (this.#guestInstructions() - first);
      if (left <= 0) return this.#where("limit");
      if (emulation.active) {
        const stop = this.#switch.emulate(limits, left);
        if (stop === "breakpoint") return this.#where("breakpoint");
        if (status.paused || (stop === "limit" && ledger.clock.now >= limits.until)) {
          status.paused = false;
          return this.#where("limit");
        }
        continue;
      }
      const stop = core.run(
        budget === Number.POSITIVE_INFINITY ? { until: limits.until } : { until: limits.until, instructions: 1 },
      );
      switch (stop.kind) {
        case "limit":
          if (budget === Number.POSITIVE_INFINITY || ledger.clock.now >= limits.until) return this.#where("limit");
          break;
        case "monitor-entry":
          this.#switch.arrived(stop.offset);
          break;
        case "unmodelled":
          return { ...this.#place(), kind: "unmodelled", detail: stop.detail };
        case "requested":
          if (!status.paused) break;
          status.paused = false;
          return this.#where("limit");
        case "dead-halt":
          return { ...this.#place(), kind: "dead-halt", asleep: true };
        default:
          throw new Error(`${this.name} monitor: the host stopped: ${JSON.stringify(stop)}`);
      }
    }
  }

  /** Ends the run; a virtual device calls it (debug exit). */
  finish(end: RunEnd): void {
    this.#parts.status.end = end;
  }

  pause(): void {
    this.#parts.status.paused = true;
    this.#parts.core.requestStop();
  }

  /** Records who stores into the monitor's region from now on. */
  observeRegion(): RegionObserver {
    const { core, memory, region, translator } = this.#parts;
    const emitsStore = translator === null ? null : (address: number): boolean => translator.emitsStore(address);
    return new RegionObserver({ core, memory, region, pages: region.mappedPages, emitsStore });
  }

  /** IA32_APIC_BASE as the guest has set it. */
  get guestApicBase(): number {
    return this.#parts.virtual.get(CELL.apicBase);
  }

  exits(): readonly ExitStatistics[] {
    return this.log.statistics(this.#parts.emulation.open());
  }

  counters(): Readonly<Record<string, number>> {
    const { counts, guestMemory, translator } = this.#parts;
    return {
      ...this.shadow.counters(),
      ...counts,
      "device.accesses": guestMemory.deviceAccesses,
      ...(translator?.counters() ?? {}),
    };
  }

  readGuest(address: number, bytes: Uint8Array): void {
    this.#ram.read(address, bytes);
  }

  writeGuest(address: number, bytes: Uint8Array): void {
    this.#ram.write(address, bytes);
  }

  reset(atBoundary: () => GuestCpu): void {
    this.#parts.status.resetTo = atBoundary;
    this.#parts.core.requestStop();
  }

  /** Guest pages have other frames now: what was made from the old ones goes. */
  gateA20(open: boolean): void {
    const { descriptors, hardware, pmap, status, translator } = this.#parts;
    pmap.a20 = open;
    this.shadow.reset();
    hardware.loseAll();
    descriptors.translationChanged();
    translator?.translationChanged();
    translator?.memoryChanged();
    status.stale = true;
  }

  save(): SavedMonitor {
    const { counts, descriptors, emulation, guestMemory, hardware, pmap, region, status, timer, translator, virtual } =
      this.#parts;
    return {
      virtual: virtual.save(),
      where: status.where,
      stale: status.stale,
      root: status.root,
      translated: status.translated,
      deviceAccesses: status.deviceAccesses,
      loaded: [...status.loaded],
      a20: pmap.a20,
      end: status.end,
      free: region.pool.save(),
      shadow: this.shadow.save(),
      descriptors: descriptors.save(),
      hardware: hardware.save(),
      exits: this.log.statistics(),
      armed: timer.armedFor,
      counts: { ...counts },
      accesses: guestMemory.save(),
      emulation: emulation.save(),
      translator: translator?.save() ?? null,
    };
  }

  restore(state: unknown): void {
    const { counts, descriptors, emulation, guestMemory, hardware, pmap, region, status, timer, translator, virtual } =
      this.#parts;
    const from = state as SavedMonitor;
    virtual.restore(from.virtual);
    status.where = from.where;
    status.stale = from.stale;
    status.root = from.root;
    status.translated = from.translated;
    status.deviceAccesses = from.deviceAccesses;
    status.loaded = [...from.loaded];
    pmap.a20 = from.a20;
    status.end = from.end;
    region.pool.restore(from.free);
    this.shadow.restore(from.shadow);
    descriptors.restore(from.descriptors);
    hardware.restore(from.hardware);
    this.log.restore(from.exits);
    timer.armedFor = from.armed;
    emulation.restore(from.emulation);
    translator?.restore(from.translator);
    Object.assign(counts, from.counts);
    guestMemory.restore(from.accesses);
  }

  #guestInstructions(): number {
    const { emulator, ledger } = this.#parts;
    return ledger.retiredIn(["guest-user", "guest-kernel"]) + emulator.handled;
  }

  #place(): { readonly cs: number; readonly eip: number } {
    const state = new CpuState();
    state.restore(this.inspectCpu().cpu);
    return { cs: state.selector(1), eip: state.eip };
  }

  #where(kind: "limit" | "breakpoint"): RunEnd {
    return { ...this.#place(), kind };
  }
}

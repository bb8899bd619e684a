/**
 * The VT-x monitor of the first generation: trap and emulate in hardware, shadow page tables in software. It runs the
 * guest by VMRESUME, which the core executes, and gets control only when the core arrives in its gate page: by a VM
 * exit, or by an interrupt while it idles (world-switch.ts). What each exit means is in handlers.ts; a guest in a state
 * that VT-x cannot enter is emulated (emulation.ts). Here is what every technique is to the machine.
 */
import { CELL, CpuState, GPR, type SavedState } from "../../cpu/state.ts";
import { FIELD, type VmcsField } from "../../cpu/vmx/fields.ts";
import type { DmaPort } from "../../devices/dma.ts";
import type { SavedShadow, Shadow } from "../../memory/shadow.ts";
import type { ExitStatistics, RunEnd } from "../../result.ts";
import type { ExitLog } from "../exit-log.ts";
import type { SavedEmulation } from "../guest-emulation.ts";
import type { SavedAccesses } from "../guest-memory.ts";
import { GuestRam } from "../guest-ram.ts";
import type { GuestCpu, Technique, TechniqueLimits } from "../monitor.ts";
import { TIMER_VECTOR } from "../physical-timer.ts";
import type { SavedControlRegisters } from "./control-registers.ts";
import { GuestRegisters, type SavedRegisters } from "./guest-registers.ts";
import type { SavedProcessorControls } from "./processor-controls.ts";
import { type MonitorParts, type MonitorStatus, type VtxParts, wire } from "./wiring.ts";
import { WorldSwitch } from "./world-switch.ts";

interface SavedMonitor {
  readonly virtual: SavedState;
  readonly launched: boolean;
  readonly entries: number;
  readonly halted: boolean;
  readonly a20: boolean;
  readonly end: RunEnd | null;
  readonly known: SavedRegisters;
  readonly free: readonly number[];
  readonly shadow: SavedShadow;
  readonly exits: readonly ExitStatistics[];
  readonly processorControls: SavedProcessorControls;
  readonly armed: number;
  readonly counts: Readonly<Record<string, number>>;
  readonly accesses: SavedAccesses;
  readonly controlRegisters: SavedControlRegisters;
  readonly emulation: SavedEmulation;
}

export class VtxMonitor implements Technique {
  readonly name = "vtx";
  readonly dma: DmaPort;
  readonly log: ExitLog;
  readonly shadow: Shadow;
  readonly #ram: GuestRam;
  readonly #parts: MonitorParts;
  readonly #status: MonitorStatus;
  readonly #switch: WorldSwitch;

  constructor(given: VtxParts) {
    const parts = wire(given);
    const { memory, pmap, shadow } = parts;
    this.#parts = parts;
    this.#status = parts.status;
    this.#switch = new WorldSwitch(parts);
    this.log = parts.log;
    this.shadow = shadow;
    this.#ram = new GuestRam(memory, pmap);
    this.dma = this.#ram.dma((address, bytes) => shadow.guestWrote(address, bytes));
  }

  importCpu(guest: GuestCpu): void {
    const { virtual } = this.#parts;
    virtual.restore(guest.cpu);
    this.#status.halted = virtual.get(CELL.activity) === 1;
    this.#switch.bringUp();
  }

  exportCpu(): GuestCpu {
    this.#settle();
    return this.inspectCpu();
  }

  inspectCpu(): GuestCpu {
    const { core, emulation, guest, virtual, vmx } = this.#parts;
    if (!this.#status.launched) return { cpu: virtual.save() };
    // What neither the processor nor the VMCS holds of the guest is here alone.
    const exported = new CpuState();
    exported.copyFrom(virtual);
    if (emulation.active) {
      exported.set(CELL.activity, this.#status.halted ? 1 : 0);
    } else if (vmx.nonRoot !== null) {
      guest.copyRunning(exported);
    } else {
      const vmcs = this.#parts.vmcs.inMemory();
      new GuestRegisters(exported, core.state, { read: () => 0, write: () => undefined }).readAll({
        read: (field) => vmcs.get(field),
      });
      guest.overlay(exported);
      exported.set(CELL.pendingDebug, vmcs.get(FIELD.guestPendingDebug));
      exported.set(CELL.activity, this.#status.halted ? 1 : 0);
    }
    return { cpu: exported.save() };
  }

  changeCpu(cells: ReadonlyMap<number, number>): void {
    const { core, emulation, guest, virtual, vmx } = this.#parts;
    if (emulation.active) {
      for (const [cell, value] of cells) virtual.setNumber(cell, value);
      return;
    }
    const vmcs = this.#parts.vmcs.inMemory();
    const port = { write: (field: VmcsField, value: number): void => vmcs.set(field, value) };
    const betweenExitAndEntry = this.#status.launched && vmx.nonRoot === null;
    for (const [cell, value] of cells) {
      virtual.setNumber(cell, value);
      if (betweenExitAndEntry && guest.change(cell, value, port)) continue;
      // Before the first entry EIP is the monitor's; the guest's is still in the virtual processor.
      if (this.#status.launched || (cell !== CELL.rip && cell !== GPR.esp && cell !== CELL.rflags)) {
        core.state.setNumber(cell, value);
      }
    }
  }

  /** Runs on to a point at which no event waits to be injected, so that the guest's state is all there is. */
  #settle(): void {
    const { emulation, vmx } = this.#parts;
    for (let steps = 0; vmx.nonRoot === null || vmx.injection !== null; steps++) {
      if (this.#status.end !== null || this.#status.halted || emulation.active || steps > 1000) return;
      this.run({ until: Number.POSITIVE_INFINITY, instructions: 1 });
    }
  }

  run(limits: TechniqueLimits): RunEnd {
    const { core, emulation, ledger } = this.#parts;
    if (!this.#status.launched) this.#switch.start();
    const budget = limits.instructions ?? Number.POSITIVE_INFINITY;
    const first = budget === Number.POSITIVE_INFINITY ? 0 : this.#guestInstructions();
    for (;;) {
      if (this.#status.end !== null) return this.#status.end;
      if (this.#status.resetTo !== null && this.#isInControl()) this.#switch.reset(this.#status.resetTo);
      const left = budget === Number.POSITIVE_INFINITY ? budget : budget - (this.#guestInstructions() - first);
      if (left <= 0) return this.#where("limit");
      if (emulation.active && !this.#status.halted) {
        const stop = this.#switch.emulate(limits, left);
        if (stop === "breakpoint") return this.#where("breakpoint");
        if (this.#status.paused || (stop === "limit" && ledger.clock.now >= limits.until)) {
          this.#status.paused = false;
          return this.#where("limit");
        }
        continue;
      }
      const stop = core.run(budget === Number.POSITIVE_INFINITY ? limits : { ...limits, instructions: 1 });
      switch (stop.kind) {
        case "limit":
          if (budget === Number.POSITIVE_INFINITY || ledger.clock.now >= limits.until) return this.#where("limit");
          break;
        case "monitor-entry":
          this.#switch.entered(stop.offset);
          break;
        case "unmodelled":
          return { ...this.#parts.place(), kind: "unmodelled", detail: stop.detail };
        case "requested":
          if (!this.#status.paused) break;
          this.#status.paused = false;
          return this.#where("limit");
        case "breakpoint":
          return this.#where("breakpoint");
        case "dead-halt":
          return { ...this.#parts.place(), kind: "dead-halt", asleep: true };
        default:
          throw new Error(`vtx monitor: the host stopped: ${JSON.stringify(stop)}`);
      }
    }
  }

  /** Ends the run; a virtual device calls it (debug exit). */
  finish(end: RunEnd): void {
    this.#status.end = end;
  }

  pause(): void {
    this.#status.paused = true;
    this.#parts.core.requestStop();
  }

  /** IA32_APIC_BASE as the guest has set it. */
  get guestApicBase(): number {
    return this.#parts.virtual.get(CELL.apicBase);
  }

  exits(): readonly ExitStatistics[] {
    return this.log.statistics(this.#parts.emulation.open());
  }

  counters(): Readonly<Record<string, number>> {
    const { counts, guestMemory } = this.#parts;
    return {
      ...this.shadow.counters(),
      ...counts,
      "device.accesses": guestMemory.deviceAccesses,
    };
  }

  readGuest(address: number, bytes: Uint8Array): void {
    this.#ram.read(address, bytes);
  }

  writeGuest(address: number, bytes: Uint8Array): void {
    this.#ram.write(address, bytes);
  }

  reset(atBoundary: () => GuestCpu): void {
    this.#status.resetTo = atBoundary;
  }

  /**
   * Whether the monitor runs and not the guest. A reset from outside of the machine interrupts a running guest, unless
   * STI or MOV SS holds interrupts off for an instruction.
   */
  #isInControl(): boolean {
    const { vmx } = this.#parts;
    return vmx.nonRoot === null || vmx.exitExternalInterrupt(() => TIMER_VECTOR);
  }

  /** Guest pages have other frames now: what was made from the old ones goes, and the guest's root is made again. */
  gateA20(open: boolean): void {
    const { pmap } = this.#parts;
    pmap.a20 = open;
    this.shadow.reset();
    if (this.#status.launched) this.#parts.translationChanged();
  }

  save(): SavedMonitor {
    const { controlRegisters, controls, counts, emulation, guest, guestMemory, pmap, timer, virtual, world } =
      this.#parts;
    return {
      virtual: virtual.save(),
      launched: this.#status.launched,
      entries: this.#status.entries,
      halted: this.#status.halted,
      a20: pmap.a20,
      end: this.#status.end,
      known: guest.save(),
      free: world.pool.save(),
      shadow: this.shadow.save(),
      exits: this.log.statistics(),
      processorControls: controls.save(),
      armed: timer.armedFor,
      controlRegisters: controlRegisters.save(),
      emulation: emulation.save(),
      counts: { ...counts },
      accesses: guestMemory.save(),
    };
  }

  restore(state: unknown): void {
    const { controlRegisters, controls, counts, emulation, guest, guestMemory, pmap, timer, virtual, world } =
      this.#parts;
    const from = state as SavedMonitor;
    virtual.restore(from.virtual);
    this.#status.launched = from.launched;
    this.#status.entries = from.entries;
    this.#status.halted = from.halted;
    pmap.a20 = from.a20;
    this.#status.end = from.end;
    guest.restore(from.known);
    world.pool.restore(from.free);
    this.shadow.restore(from.shadow);
    this.log.restore(from.exits);
    controls.restore(from.processorControls);
    controlRegisters.restore(from.controlRegisters);
    emulation.restore(from.emulation);
    timer.armedFor = from.armed;
    Object.assign(counts, from.counts);
    guestMemory.restore(from.accesses);
  }

  #guestInstructions(): number {
    const { core, handlers, ledger } = this.#parts;
    const { byDomain } = core.accounts;
    const user = ledger.retired(byDomain["guest-user"].instructions);
    const kernel = ledger.retired(byDomain["guest-kernel"].instructions);
    return user + kernel + handlers.emulator.handled;
  }

  #where(kind: "limit" | "breakpoint"): RunEnd {
    return { ...this.#parts.place(), kind };
  }
}

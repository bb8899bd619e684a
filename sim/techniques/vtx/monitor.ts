/**
 * The VT-x monitor of the first generation: trap and emulate in hardware, shadow page tables in software. It runs the
 * guest by VMRESUME, which the core executes, and gets control only when the core arrives in its gate page: by a VM
 * exit, or by an interrupt while it idles. What each exit means is in handlers.ts.
 *
 * Every exit: 7 registers saved, ten fields read by VMREAD, the handler, virtual devices and interrupts looked after,
 * an event in delivery re-injected, changed fields written by VMWRITE, registers restored, VMRESUME.
 */
import type { Timed } from "../../clock.ts";
import type { Bus } from "../../cpu/bus.ts";
import type { Core } from "../../cpu/core.ts";
import { costTicks, type Profile } from "../../cpu/profiles/profile.ts";
import { CELL, CpuState, CR0, FLAG, GPR, type SavedState, SEG } from "../../cpu/state.ts";
import { FIELD, type VmcsField } from "../../cpu/vmx/fields.ts";
import { exitReasonName, REASON } from "../../cpu/vmx/reasons.ts";
import { Vmcs } from "../../cpu/vmx/vmcs.ts";
import type { Vmx } from "../../cpu/vmx/vmx.ts";
import type { DmaPort } from "../../devices/dma.ts";
import type { Ledger } from "../../ledger.ts";
import type { GuestPhysical } from "../../memory/address.ts";
import { PAGE_KIND } from "../../memory/memory-map.ts";
import type { PhysicalMemory } from "../../memory/physical.ts";
import { type SavedShadow, Shadow } from "../../memory/shadow.ts";
import type { ExitStatistics, RunEnd } from "../../result.ts";
import type { Pmap } from "../../vm.ts";
import { dmaThroughPages } from "../dma.ts";
import { Emulator, EVERYTHING } from "../emulate.ts";
import { ExitLog } from "../exit-log.ts";
import type { GuestCpu, Technique, TechniqueLimits } from "../monitor.ts";
import { MonitorMemory } from "../monitor-memory.ts";
import { VirtualEnvironment } from "../virtual-environment.ts";
import { ControlRegisters, type SavedControlRegisters } from "./control-registers.ts";
import { fixedControls, writeControls } from "./controls.ts";
import { type EmulationStop, GuestEmulation, type SavedEmulation } from "./emulation.ts";
import { EntryConditions } from "./entry-conditions.ts";
import { EventInjection, isInjectable } from "./event-injection.ts";
import { copyGuest, GuestMemory } from "./guest-memory.ts";
import { hiddenFromGuest } from "./guest-profile.ts";
import { GuestRegisters, SAVED_REGISTERS, type SavedRegisters } from "./guest-registers.ts";
import { type HandlerContext, handleExit } from "./handlers.ts";
import { GATE, HostWorld } from "./host-world.ts";
import { PhysicalTimer, TIMER_VECTOR } from "./physical-timer.ts";
import { ProcessorControls, type SavedProcessorControls } from "./processor-controls.ts";

/** The virtual machine's devices. */
export type VirtualBoard = Bus & Timed;

export interface VtxParts {
  readonly core: Core;
  readonly memory: PhysicalMemory;
  readonly ledger: Ledger;
  readonly pmap: Pmap;
  readonly board: VirtualBoard;
  /** First host page and number of pages that are the monitor's. */
  readonly firstPage: number;
  readonly pages: number;
  /** Bus clock that the local APIC's timer counts. */
  readonly busClock: { readonly numerator: number; readonly denominator: number };
  /** Never enters the guest but emulates all of it; for tests of the emulator. */
  readonly emulateAlways?: boolean;
}

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
  readonly controlRegisters: SavedControlRegisters;
  readonly emulation: SavedEmulation;
}

/** Fields of the snapshot besides the guest registers (guest-registers.ts reads four): ten VMREADs in all. */
export interface ExitSnapshot {
  reason: number;
  qualification: number;
  interruption: number;
  errorCode: number;
  idtVectoring: number;
  instructionLength: number;
}

export class VtxMonitor implements Technique {
  readonly name = "vtx";
  readonly dma: DmaPort;
  readonly log = new ExitLog();
  readonly shadow: Shadow;
  readonly #core: Core;
  readonly #vmx: Vmx;
  readonly #memory: PhysicalMemory;
  readonly #ledger: Ledger;
  readonly #pmap: Pmap;
  readonly #board: VirtualBoard;
  readonly #world: HostWorld;
  readonly #port: MonitorMemory;
  readonly #guestMemory: GuestMemory;
  readonly #guest: GuestRegisters;
  readonly #virtual: CpuState;
  readonly #timer: PhysicalTimer;
  readonly #events: EventInjection;
  readonly #controls: ProcessorControls;
  readonly #handlers: HandlerContext;
  readonly #controlRegisters: ControlRegisters;
  readonly #conditions: EntryConditions;
  readonly #emulation: GuestEmulation;
  readonly #snapshot: ExitSnapshot = {
    reason: 0,
    qualification: 0,
    interruption: 0,
    errorCode: 0,
    idtVectoring: 0,
    instructionLength: 0,
  };
  /** VMX operation has begun and the VMCS is complete. */
  #launched = false;
  #entries = 0;
  /** The guest executed HLT and waits for a virtual interrupt. */
  #halted = false;
  #end: RunEnd | null = null;
  #resetTo: (() => GuestCpu) | null = null;
  #paused = false;
  readonly #counts: Record<string, number> = {
    "events.injected": 0,
    "events.reinjected": 0,
    "events.interrupt-windows": 0,
    "fault.injected": 0,
  };

  constructor(parts: VtxParts) {
    const { core, memory, ledger, pmap, board } = parts;
    const vmx = core.vmx;
    if (vmx === null) throw new Error(`processor ${core.env.profile.name} has no VT-x`);
    this.#core = core;
    this.#vmx = vmx;
    this.#memory = memory;
    this.#ledger = ledger;
    this.#pmap = pmap;
    this.#board = board;
    this.#world = new HostWorld(memory, parts.firstPage, parts.pages);
    this.#port = new MonitorMemory(core, ledger, memory);
    this.#virtual = new CpuState();
    this.#guestMemory = new GuestMemory({
      memory: this.#port,
      pmap,
      board,
      world: this.#world,
      timestamp: () => ledger.clock.timestamp,
      translationChanged: () => this.#translationChanged(),
      apicBaseChanged: () => undefined,
      now: () => ledger.clock.now,
      marker: (kind, region) => core.env.marker(kind, region),
    });
    const guestProfile = hiddenFromGuest(core.env.profile);
    this.shadow = new Shadow(this.#guestMemory, {
      physicalAddressBits: guestProfile.physicalAddressBits,
      pse36: ((guestProfile.cpuid[1]?.edx ?? 0) & (1 << 17)) !== 0,
    });
    this.#guestMemory.shadow = this.shadow;
    const env = new VirtualEnvironment(guestProfile, this.#virtual, this.#guestMemory);
    const vmcs = {
      read: (field: VmcsField): number => this.#vmread(field),
      write: (field: VmcsField, value: number): void => this.#vmwrite(field, value),
    };
    this.#guest = new GuestRegisters(this.#virtual, core.state, vmcs);
    this.#controlRegisters = new ControlRegisters(this.#virtual, this.shadow, vmcs, (detail) => {
      this.#end = { ...this.#place(), kind: "unmodelled", detail };
    });
    this.#timer = new PhysicalTimer(this.#port, this.#guestMemory, ledger.clock, parts.busClock);
    this.#controls = new ProcessorControls(vmcs, this.#virtual);
    this.#events = new EventInjection({
      vmcs,
      controls: this.#controls,
      snapshot: this.#snapshot,
      virtual: this.#virtual,
      board,
      steps: this.#guestMemory,
      timer: this.#timer,
      clock: ledger.clock,
      counts: this.#counts,
    });
    const emulator = new Emulator(this.#virtual, env, ledger);
    this.#conditions = new EntryConditions(
      this.#virtual,
      core.env.profile.vmx as NonNullable<Profile["vmx"]>,
      core.env.profile.physicalAddressBits,
      parts.emulateAlways === true,
    );
    this.#emulation = new GuestEmulation({
      virtual: this.#virtual,
      env,
      emulator,
      memory: this.#guestMemory,
      board,
      conditions: this.#conditions,
      ledger,
      accounts: core.accounts,
      log: this.log,
      counts: this.#counts,
      ended: () => this.#end !== null || this.#resetTo !== null,
      paused: () => this.#paused,
      visit: (linear) => core.visit(linear),
      end: (end) => {
        this.#end = end;
      },
    });
    this.#handlers = {
      snapshot: this.#snapshot,
      virtual: this.#virtual,
      guest: this.#guest,
      memory: this.#guestMemory,
      shadow: this.shadow,
      emulator,
      env,
      timer: this.#timer,
      vectoringErrorCode: () => this.#vmread(FIELD.idtVectoringErrorCode),
      inject: (event) => {
        this.#events.pending = event;
      },
      halt: () => {
        this.#halted = true;
      },
      end: (end) => {
        this.#end = end;
      },
      place: () => this.#place(),
      count: (name) => {
        this.#counts[name] = (this.#counts[name] ?? 0) + 1;
      },
    };
    this.dma = dmaThroughPages(memory, {
      readable: (page) => pmap.frames[page] ?? -1,
      writable: (page) => (pmap.map.kind(page) === PAGE_KIND.RAM ? (pmap.frames[page] as number) : -1),
      wrote: (address, bytes) => this.shadow.guestWrote(address as GuestPhysical, bytes),
    });
    core.gatePage = this.#world.gatePage;
    core.attribution = this.#world.attribution();
    core.env.monitorPresent = true;
  }

  importCpu(guest: GuestCpu): void {
    this.#virtual.restore(guest.cpu);
    this.#halted = this.#virtual.get(CELL.activity) === 1;
    this.#bringUp();
  }

  exportCpu(): GuestCpu {
    this.#settle();
    return this.inspectCpu();
  }

  inspectCpu(): GuestCpu {
    if (!this.#launched) return { cpu: this.#virtual.save() };
    // What neither the processor nor the VMCS holds of the guest is here alone.
    const exported = new CpuState();
    exported.copyFrom(this.#virtual);
    if (this.#emulation.active) {
      exported.set(CELL.activity, this.#halted ? 1 : 0);
    } else if (this.#vmx.nonRoot !== null) {
      this.#guest.copyRunning(exported);
    } else {
      const vmcs = this.#vmcs();
      new GuestRegisters(exported, this.#core.state, { read: () => 0, write: () => undefined }).readAll({
        read: (field) => vmcs.get(field),
      });
      this.#guest.overlay(exported);
      exported.set(CELL.pendingDebug, vmcs.get(FIELD.guestPendingDebug));
      exported.set(CELL.activity, this.#halted ? 1 : 0);
    }
    return { cpu: exported.save() };
  }

  changeCpu(cells: ReadonlyMap<number, number>): void {
    if (this.#emulation.active) {
      for (const [cell, value] of cells) this.#virtual.setNumber(cell, value);
      return;
    }
    const vmcs = this.#vmcs();
    const port = { write: (field: VmcsField, value: number): void => vmcs.set(field, value) };
    const betweenExitAndEntry = this.#launched && this.#vmx.nonRoot === null;
    for (const [cell, value] of cells) {
      this.#virtual.setNumber(cell, value);
      if (betweenExitAndEntry && this.#guest.change(cell, value, port)) continue;
      // Before the first entry EIP is the monitor's; the guest's is still in the virtual processor.
      if (this.#launched || (cell !== CELL.rip && cell !== GPR.esp && cell !== CELL.rflags)) {
        this.#core.state.setNumber(cell, value);
      }
    }
  }

  /** Runs on to a point at which no event waits to be injected, so that the guest's state is all there is. */
  #settle(): void {
    for (let steps = 0; this.#vmx.nonRoot === null || this.#vmx.injection !== null; steps++) {
      if (this.#end !== null || this.#halted || this.#emulation.active || steps > 1000) return;
      this.run({ until: Number.POSITIVE_INFINITY, instructions: 1 });
    }
  }

  run(limits: TechniqueLimits): RunEnd {
    if (!this.#launched) this.#start();
    const budget = limits.instructions ?? Number.POSITIVE_INFINITY;
    const first = budget === Number.POSITIVE_INFINITY ? 0 : this.#guestInstructions();
    for (;;) {
      if (this.#end !== null) return this.#end;
      if (this.#resetTo !== null && this.#isInControl()) this.#takeReset(this.#resetTo);
      const left = budget === Number.POSITIVE_INFINITY ? budget : budget - (this.#guestInstructions() - first);
      if (left <= 0) return this.#where("limit");
      if (this.#emulation.active && !this.#halted) {
        const stop = this.#emulate(limits, left);
        if (stop === "breakpoint") return this.#where("breakpoint");
        if (this.#paused || (stop === "limit" && this.#ledger.clock.now >= limits.until)) {
          this.#paused = false;
          return this.#where("limit");
        }
        continue;
      }
      const stop = this.#core.run(budget === Number.POSITIVE_INFINITY ? limits : { ...limits, instructions: 1 });
      switch (stop.kind) {
        case "limit":
          if (budget === Number.POSITIVE_INFINITY || this.#ledger.clock.now >= limits.until)
            return this.#where("limit");
          break;
        case "monitor-entry":
          this.#entered(stop.offset);
          break;
        case "unmodelled":
          return { ...this.#place(), kind: "unmodelled", detail: stop.detail };
        case "requested":
          if (!this.#paused) break;
          this.#paused = false;
          return this.#where("limit");
        case "breakpoint":
          return this.#where("breakpoint");
        case "dead-halt":
          return { ...this.#place(), kind: "dead-halt", asleep: true };
        default:
          throw new Error(`vtx monitor: the host stopped: ${JSON.stringify(stop)}`);
      }
    }
  }

  /** Ends the run; a virtual device calls it (debug exit). */
  finish(end: RunEnd): void {
    this.#end = end;
  }

  pause(): void {
    this.#paused = true;
    this.#core.requestStop();
  }

  /** IA32_APIC_BASE as the guest has set it. */
  get guestApicBase(): number {
    return this.#virtual.get(CELL.apicBase);
  }

  exits(): readonly ExitStatistics[] {
    return this.log.statistics();
  }

  counters(): Readonly<Record<string, number>> {
    return { ...this.shadow.counters(), ...this.#counts, "device.accesses": this.#guestMemory.deviceAccesses };
  }

  readGuest(address: number, bytes: Uint8Array): void {
    copyGuest(this.#pmap, address, bytes.length, (host, at, length) => {
      bytes.set(this.#memory.copyOut(host, length), at);
    });
  }

  writeGuest(address: number, bytes: Uint8Array): void {
    copyGuest(this.#pmap, address, bytes.length, (host, at, length) => {
      this.#memory.copyIn(host, bytes.subarray(at, at + length));
    });
  }

  reset(atBoundary: () => GuestCpu): void {
    this.#resetTo = atBoundary;
  }

  /**
   * Whether the monitor runs and not the guest. A reset from outside of the machine interrupts a running guest, unless
   * STI or MOV SS holds interrupts off for an instruction.
   */
  #isInControl(): boolean {
    return this.#vmx.nonRoot === null || this.#vmx.exitExternalInterrupt(() => TIMER_VECTOR);
  }

  /** Whatever the guest was about to do, its processor begins again; the monitor is where it enters the guest. */
  #takeReset(atBoundary: () => GuestCpu): void {
    this.#resetTo = null;
    if (this.#emulation.active) this.#emulation.finish();
    this.#virtual.restore(atBoundary().cpu);
    this.#halted = false;
    this.#events.pending = null;
    this.#port.service = this.#ledger.account("monitor", "service:start");
    this.#guest.putProcessorRegisters();
    this.#vmwrite(FIELD.entryInterruption, 0);
    this.#enterFirst();
  }

  /** Guest pages have other frames now: what was made from the old ones goes, and the guest's root is made again. */
  gateA20(open: boolean): void {
    this.#pmap.a20 = open;
    this.shadow.reset();
    if (this.#launched) this.#translationChanged();
  }

  #translationChanged(): void {
    if (this.#emulation.active) this.#controlRegisters.translationChangedLater();
    else this.#controlRegisters.translationChanged();
  }

  save(): SavedMonitor {
    return {
      virtual: this.#virtual.save(),
      launched: this.#launched,
      entries: this.#entries,
      halted: this.#halted,
      a20: this.#pmap.a20,
      end: this.#end,
      known: this.#guest.save(),
      free: this.#world.saveFree(),
      shadow: this.shadow.save(),
      exits: this.log.statistics(),
      processorControls: this.#controls.save(),
      armed: this.#timer.armedFor,
      controlRegisters: this.#controlRegisters.save(),
      emulation: this.#emulation.save(),
      counts: { ...this.#counts, device: this.#guestMemory.deviceAccesses },
    };
  }

  restore(saved: unknown): void {
    const from = saved as SavedMonitor;
    this.#virtual.restore(from.virtual);
    this.#launched = from.launched;
    this.#entries = from.entries;
    this.#halted = from.halted;
    this.#pmap.a20 = from.a20;
    this.#end = from.end;
    this.#guest.restore(from.known);
    this.#world.restoreFree(from.free);
    this.shadow.restore(from.shadow);
    this.log.restore(from.exits);
    this.#controls.restore(from.processorControls);
    this.#controlRegisters.restore(from.controlRegisters);
    this.#emulation.restore(from.emulation);
    this.#timer.armedFor = from.armed;
    const { device = 0, ...counts } = from.counts;
    Object.assign(this.#counts, counts);
    this.#guestMemory.deviceAccesses = device;
  }

  // ---- beginning ----

  /** The machine's loader: the monitor's world, its registers, and the guest's registers in the processor. */
  #bringUp(): void {
    const capabilities = this.#core.env.profile.vmx as NonNullable<Profile["vmx"]>;
    this.#world.build(capabilities.revision);
    const state = this.#core.state;
    this.#guest.putProcessorRegisters();
    this.#world.enter(state);
    state.set(CELL.featureControl, 5);
    this.#core.mmu.pagingChanged();
  }

  /** VMXON, VMCLEAR, VMPTRLD; every field of the VMCS; VMLAUNCH stands ready. */
  #start(): void {
    this.#port.service = this.#ledger.account("monitor", "service:start");
    this.#execute("begin");
    this.#timer.enable();
    const fixed = fixedControls(this.#core.env.profile);
    this.#controls.begin(fixed.processorBased);
    writeControls((field, value) => this.#vmwrite(field, value), fixed, this.#world);
    this.#launched = true;
    this.#enterFirst();
  }

  /** All of the guest's state goes into the VMCS, and the guest runs, or sleeps. */
  #enterFirst(): void {
    this.#guest.writeAll();
    this.#vmwrite(FIELD.guestActivity, 0);
    this.#vmwrite(FIELD.guestPendingDebug, this.#virtual.get(CELL.pendingDebug));
    this.#controlRegisters.translationChanged();
    this.#controlRegisters.write();
    this.#controls.writeTscOffset();
    const obstacle = this.#conditions.obstacle();
    if (obstacle !== null) this.#beginEmulation(obstacle);
    if (this.#halted) this.#idle();
    else if (obstacle === null) this.#resume();
  }

  /** Has the core execute a stub that ends in the gate page. */
  #execute(stub: "begin"): void {
    this.#core.state.eip = this.#world.stub(stub);
    const stop = this.#core.run({ until: Number.POSITIVE_INFINITY });
    const succeeded = (this.#core.state.flags & (FLAG.CF | FLAG.ZF)) === 0;
    if (stop.kind === "monitor-entry" && stop.offset === GATE.done && succeeded) return;
    throw new Error(`vtx monitor: ${stub} failed: ${JSON.stringify(stop)}`);
  }

  // ---- the gate ----

  #entered(offset: number): void {
    if (offset === GATE.exit) {
      this.#exit();
    } else if (offset === GATE.done) {
      const error = this.#vmread(FIELD.instructionError);
      throw new Error(`vtx monitor: VM entry failed, error ${error} (${this.#vmx.failedCheck ?? "no check"})`);
    } else {
      this.#port.service = this.#ledger.account("monitor", "service:interrupt");
      this.#timer.interrupted();
      this.#world.enter(this.#core.state);
      this.#idle();
    }
  }

  #exit(): void {
    const ledger = this.#ledger;
    const time = ledger.clock.now;
    const snapshot = this.#snapshot;
    this.#port.service = ledger.account("monitor", "service:exit");
    this.#guestMemory.do("dispatch");
    for (const [n, cell] of SAVED_REGISTERS.entries()) {
      this.#port.write(this.#world.data + n * 4, 4, this.#core.state.get(cell));
    }
    this.#guestMemory.do("snapshot");
    snapshot.reason = this.#vmread(FIELD.exitReason);
    snapshot.qualification = this.#vmread(FIELD.qualification);
    snapshot.interruption = this.#vmread(FIELD.exitInterruption);
    snapshot.errorCode = this.#vmread(FIELD.exitErrorCode);
    snapshot.idtVectoring = this.#vmread(FIELD.idtVectoring);
    snapshot.instructionLength = this.#vmread(FIELD.exitInstructionLength);
    this.#events.pending = null;
    this.#guest.begin();
    const { eip } = this.#virtual;
    const cs = this.#vmx.lastExit?.cs ?? 0;

    const reason = exitReasonName(snapshot.reason);
    if (this.#vmx.failedCheck !== null) throw new Error(`vtx monitor: VM entry failed: ${this.#vmx.failedCheck}`);
    const cause = handleExit(this.#handlers);
    this.#port.service = ledger.account("monitor", "service:exit");
    if (this.#end === null) this.#afterExit();
    const hardware = costTicks(this.#core.env.profile);
    this.log.record({
      time,
      reason,
      cause,
      qualification: snapshot.qualification,
      cs,
      eip,
      hardwareTicks: hardware.vmexit + hardware.vmentry,
      monitorTicks: ledger.clock.now - time,
    });
  }

  /** Devices, interrupts, injection, and back into the guest or to sleep. */
  #afterExit(): void {
    if (this.#handlers.delivered !== true) this.#events.reinject();
    this.#handlers.delivered = false;
    // The trap of single step on HLT wakes the guest at once.
    if (this.#events.pending !== null) this.#halted = false;
    const obstacle = this.#obstacle();
    if (obstacle !== null) this.#beginEmulation(obstacle);
    if (this.#halted) this.#idle();
    else if (obstacle === null) this.#enterGuest();
  }

  /**
   * Why VT-x cannot run the guest on after an exit; null if it can. The state in which the guest was left was enterable:
   * it still is unless protected mode ended, or a handler has had all registers in its hands.
   */
  #obstacle(): string | null {
    if (this.#events.pending !== null && !isInjectable(this.#events.pending)) return "event injection: error code";
    if ((this.#virtual.cr0 & CR0.PE) !== 0 && !this.#guest.complete && !this.#conditions.always) return null;
    this.#guest.require(EVERYTHING);
    return this.#conditions.obstacle();
  }

  /** The guest is emulated from here on; an event that an entry would have injected comes first. */
  #beginEmulation(reason: string): void {
    this.#guest.require(EVERYTHING);
    this.#guest.requirePendingDebug();
    // No exit is being handled any more.
    Object.assign(this.#snapshot, { reason: REASON.interruptWindow, interruption: 0, idtVectoring: 0 });
    this.#port.service = this.#ledger.account("monitor", "service:emulation");
    const event = this.#events.pending;
    this.#events.pending = null;
    this.#emulation.begin(reason, event);
  }

  /** Emulates until something else must be done; says what ended it. */
  #emulate(limits: TechniqueLimits, instructions: number): EmulationStop {
    this.#port.service = this.#ledger.account("monitor", "service:emulation");
    const stop = this.#emulation.run(limits.until, instructions, limits.breakpoints);
    if (stop === "halt") {
      this.#halted = true;
      this.#idle();
    } else if (stop === "enter") {
      this.#emulation.finish();
      this.#enterGuest();
    }
    return stop;
  }

  /** Into the guest; or, for an NMI, whose blocking this hardware cannot track, into its emulation. */
  #enterGuest(): void {
    if (!this.#events.prepareEntry()) {
      this.#beginEmulation("an NMI to deliver");
      return;
    }
    this.#controlRegisters.catchUp();
    this.#controlRegisters.write();
    this.#controls.writeTscOffset();
    this.#guest.commit();
    this.#guestMemory.do("resume");
    for (const n of SAVED_REGISTERS.keys()) this.#port.read(this.#world.data + n * 4, 4);
    this.#resume();
  }

  /** The core goes on with VMLAUNCH the first time (a guest may begin asleep, so not always from the start), then VMRESUME. */
  #resume(): void {
    this.#core.state.eip = this.#world.stub(this.#entries === 0 ? "launch" : "resume");
    this.#entries++;
  }

  /** The guest is in HLT: wakes it when an interrupt is due, else sleeps until one may be. */
  #idle(): void {
    const board = this.#board;
    const now = this.#ledger.clock.now;
    if (board.nextDeadline() <= now) board.due(now);
    const open = (this.#virtual.flags & FLAG.IF) !== 0;
    if ((board.interruptLine && open) || board.nmiLine) {
      this.#halted = false;
      if (!this.#emulation.active) this.#enterGuest();
      return;
    }
    const next = board.nextDeadline();
    if (!open) {
      this.#end = { ...this.#place(), kind: "dead-halt" };
      return;
    }
    this.#guestMemory.do("halt");
    this.#timer.arm(next);
    this.#core.state.eip = this.#world.stub("halt");
  }

  // ---- the VMCS ----

  #vmread(field: VmcsField): number {
    const value = this.#vmx.vmread(field.encoding);
    if (value === null) throw new Error(`vtx monitor: VMREAD of ${field.name} failed`);
    return value;
  }

  #vmwrite(field: VmcsField, value: number): void {
    this.#vmx.vmwrite(field.encoding, value >>> 0);
    if ((this.#core.state.flags & (FLAG.CF | FLAG.ZF)) === 0) return;
    throw new Error(`vtx monitor: VMWRITE of ${field.name} failed`);
  }

  // ---- where the guest is ----

  #guestInstructions(): number {
    const { byDomain } = this.#core.accounts;
    const user = this.#ledger.retired(byDomain["guest-user"].instructions);
    const kernel = this.#ledger.retired(byDomain["guest-kernel"].instructions);
    return user + kernel + this.#handlers.emulator.handled;
  }

  /** The VMCS by way of memory, free of charge. */
  #vmcs(): Vmcs {
    const vmcs = new Vmcs({
      read32: (address) => this.#memory.read32(address) >>> 0,
      write32: (address, value) => this.#memory.write32(address, value),
    });
    vmcs.pointer = this.#world.vmcs;
    return vmcs;
  }

  #place(): { cs: number; eip: number } {
    if (this.#emulation.active) return { cs: this.#virtual.selector(SEG.cs), eip: this.#virtual.eip };
    if (this.#vmx.nonRoot === null) return { cs: this.#vmx.lastExit?.cs ?? 0, eip: this.#virtual.eip };
    return { cs: this.#core.state.selector(1), eip: this.#core.state.eip };
  }

  #where(kind: "limit" | "breakpoint"): RunEnd {
    return { ...this.#place(), kind };
  }
}

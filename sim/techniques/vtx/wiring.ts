/**
 * What the VT-x monitor is made of, and how the parts know each other. Read it beside sim/machine.ts.
 */
import type { Core } from "../../cpu/core.ts";
import { addressAbilities } from "../../cpu/profiles/profile.ts";
import { CpuState, SEG } from "../../cpu/state.ts";
import { FIELD } from "../../cpu/vmx/fields.ts";
import type { Vmx } from "../../cpu/vmx/vmx.ts";
import type { Ledger } from "../../ledger.ts";
import type { PhysicalMemory } from "../../memory/physical.ts";
import { Shadow } from "../../memory/shadow.ts";
import type { RunEnd } from "../../result.ts";
import type { Pmap } from "../../vm.ts";
import { Emulator } from "../emulate.ts";
import { ExitLog } from "../exit-log.ts";
import { GuestEmulation } from "../guest-emulation.ts";
import { GuestMemory } from "../guest-memory.ts";
import { hiddenFromGuest } from "../guest-profile.ts";
import type { GuestCpu, VirtualBoard } from "../monitor.ts";
import { MonitorMemory, throughIdentity } from "../monitor-memory.ts";
import { PhysicalTimer } from "../physical-timer.ts";
import { VirtualEnvironment } from "../virtual-environment.ts";
import { ControlRegisters } from "./control-registers.ts";
import { EntryConditions } from "./entry-conditions.ts";
import { EventInjection, type ExitSnapshot } from "./event-injection.ts";
import { GuestRegisters } from "./guest-registers.ts";
import type { HandlerContext } from "./handlers.ts";
import { HostWorld } from "./host-world.ts";
import { ProcessorControls } from "./processor-controls.ts";
import { VmcsAccess } from "./vmcs-access.ts";

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

/** What the monitor knows of its guest's run. */
export interface MonitorStatus {
  /** VMX operation has begun and the VMCS is complete. */
  launched: boolean;
  /** VM entries made. */
  entries: number;
  /** The guest executed HLT and waits for a virtual interrupt. */
  halted: boolean;
  /** Something ended the run. */
  end: RunEnd | null;
  /** The guest's processor is to be reset. */
  resetTo: (() => GuestCpu) | null;
  /** Somebody outside wants the run to stop. */
  paused: boolean;
}

export interface MonitorParts {
  readonly core: Core;
  readonly vmx: Vmx;
  readonly vmcs: VmcsAccess;
  readonly memory: PhysicalMemory;
  readonly ledger: Ledger;
  readonly pmap: Pmap;
  readonly board: VirtualBoard;
  readonly world: HostWorld;
  readonly port: MonitorMemory;
  readonly guestMemory: GuestMemory;
  readonly shadow: Shadow;
  readonly virtual: CpuState;
  readonly guest: GuestRegisters;
  readonly controlRegisters: ControlRegisters;
  readonly controls: ProcessorControls;
  readonly timer: PhysicalTimer;
  readonly events: EventInjection;
  readonly emulator: Emulator;
  readonly conditions: EntryConditions;
  readonly emulation: GuestEmulation;
  readonly handlers: HandlerContext;
  readonly log: ExitLog;
  readonly snapshot: ExitSnapshot;
  readonly status: MonitorStatus;
  readonly counts: Record<string, number>;
  /** CS:EIP of the guest, wherever it is. */
  place(): { readonly cs: number; readonly eip: number };
  /** The guest's translation changed: the shadow follows at once, or when the guest is no longer emulated. */
  translationChanged(): void;
}

export function wire(given: VtxParts): MonitorParts {
  const { core, memory, ledger, pmap, board } = given;
  const vmx = core.vmx;
  const { profile } = core.env;
  const capabilities = profile.vmx;
  if (vmx === null || capabilities === null) throw new Error(`processor ${profile.name} has no VT-x`);
  const status: MonitorStatus = {
    launched: false,
    entries: 0,
    halted: false,
    end: null,
    resetTo: null,
    paused: false,
  };
  const counts: Record<string, number> = {
    "events.injected": 0,
    "events.reinjected": 0,
    "events.interrupt-windows": 0,
    "fault.injected": 0,
  };
  const snapshot: ExitSnapshot = {
    reason: 0,
    qualification: 0,
    interruption: 0,
    errorCode: 0,
    idtVectoring: 0,
    instructionLength: 0,
  };
  const place = (): { cs: number; eip: number } => {
    if (emulation.active) return { cs: virtual.selector(SEG.cs), eip: virtual.eip };
    if (vmx.nonRoot === null) return { cs: vmx.lastExit?.cs ?? 0, eip: virtual.eip };
    return { cs: core.state.selector(SEG.cs), eip: core.state.eip };
  };
  const translationChanged = (): void => {
    if (emulation.active) controlRegisters.translationChangedLater();
    else controlRegisters.translationChanged();
  };
  const end = (reason: RunEnd): void => {
    status.end = reason;
  };

  const world = new HostWorld(memory, given.firstPage, given.pages);
  const port = new MonitorMemory(profile, profile.monitorCpi.value, ledger, memory, throughIdentity(core));
  const log = new ExitLog();
  const virtual = new CpuState();
  const vmcs = new VmcsAccess(vmx, core.state, memory, world.vmcs);
  const guestMemory = new GuestMemory({
    memory: port,
    pmap,
    board,
    frames: world.pool,
    timestamp: () => ledger.clock.timestamp,
    translationChanged,
    apicBaseChanged: () => undefined,
    now: () => ledger.clock.now,
    marker: (kind, region) => core.env.marker(kind, region),
  });
  const guestProfile = hiddenFromGuest(profile);
  const shadow = new Shadow(guestMemory, addressAbilities(guestProfile));
  guestMemory.shadow = shadow;
  const env = new VirtualEnvironment(guestProfile, virtual, guestMemory);
  const guest = new GuestRegisters(virtual, core.state, vmcs);
  const controlRegisters = new ControlRegisters(virtual, shadow, vmcs);
  const timer = new PhysicalTimer(port, guestMemory, ledger.clock, given.busClock);
  const controls = new ProcessorControls(vmcs, virtual);
  const events = new EventInjection({
    vmcs,
    controls,
    snapshot,
    virtual,
    guest,
    board,
    steps: guestMemory,
    timer,
    clock: ledger.clock,
    counts,
  });
  const emulator = new Emulator(virtual, env, ledger);
  const conditions = new EntryConditions(
    virtual,
    capabilities,
    profile.physicalAddressBits,
    given.emulateAlways === true,
  );
  const emulation: GuestEmulation = new GuestEmulation({
    virtual,
    env,
    emulator,
    memory: guestMemory,
    board,
    conditions,
    ledger,
    accounts: core.accounts,
    log,
    counts,
    ended: () => status.end !== null || status.resetTo !== null,
    paused: () => status.paused,
    visit: (linear) => core.visit(linear),
    end,
  });
  const handlers: HandlerContext = {
    snapshot,
    virtual,
    guest,
    memory: guestMemory,
    shadow,
    emulator,
    env,
    timer,
    vectoringErrorCode: () => vmcs.read(FIELD.idtVectoringErrorCode),
    inject: (event) => {
      events.pending = event;
    },
    halt: () => {
      status.halted = true;
    },
    end,
    place,
    count: (name) => {
      counts[name] = (counts[name] ?? 0) + 1;
    },
  };
  core.gatePage = world.gatePage;
  core.fetch.attribution = world.attribution();
  core.env.monitorPresent = true;
  return {
    core,
    vmx,
    vmcs,
    memory,
    ledger,
    pmap,
    board,
    world,
    port,
    guestMemory,
    shadow,
    virtual,
    guest,
    controlRegisters,
    controls,
    timer,
    events,
    emulator,
    conditions,
    emulation,
    handlers,
    log,
    snapshot,
    status,
    counts,
    place,
    translationChanged,
  };
}

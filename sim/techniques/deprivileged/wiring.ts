/** Puts the monitor of a de-privileged guest together. Read it beside sim/machine.ts. */
import type { Bus } from "../../cpu/bus.ts";
import type { Core } from "../../cpu/core.ts";
import { EventDelivery } from "../../cpu/events.ts";
import { addressAbilities } from "../../cpu/profiles/profile.ts";
import { CpuState } from "../../cpu/state.ts";
import type { Ledger } from "../../ledger.ts";
import type { PhysicalMemory } from "../../memory/physical.ts";
import { Shadow } from "../../memory/shadow.ts";
import type { Pmap } from "../../vm.ts";
import { Emulator } from "../emulate.ts";
import { ExitLog } from "../exit-log.ts";
import { GuestEmulation } from "../guest-emulation.ts";
import { GuestMemory } from "../guest-memory.ts";
import { hiddenFromGuest } from "../guest-profile.ts";
import type { VirtualBoard } from "../monitor.ts";
import { MonitorMemory } from "../monitor-memory.ts";
import { PhysicalTimer } from "../physical-timer.ts";
import { VirtualEnvironment } from "../virtual-environment.ts";
import { DirectConditions } from "./conditions.ts";
import { Hardware } from "./hardware.ts";
import type { Translator } from "./kernel-code.ts";
import { type DeprivilegedParts, type MonitorStatus, WHERE } from "./parts.ts";
import { throughWindows } from "./reach.ts";
import { MonitorRegion } from "./region.ts";
import { ShadowDescriptors } from "./shadow-descriptors.ts";

export interface DeprivilegedOptions {
  readonly name: "classical" | "bt";
  readonly core: Core;
  readonly memory: PhysicalMemory;
  readonly ledger: Ledger;
  readonly pmap: Pmap;
  /** The virtual machine's devices. */
  readonly board: VirtualBoard;
  /** The machine's own. */
  readonly bus: Bus;
  /** First host page and number of pages that are the monitor's. */
  readonly firstPage: number;
  readonly pages: number;
  /** Of them, for a translation cache. */
  readonly cachePages: number;
  /** RDTSC of the guest's own code traps, whatever its time-stamp counter is. */
  readonly trapsTimeStamp: boolean;
  readonly busClock: { readonly numerator: number; readonly denominator: number };
  /** Makes the translator of the kernel's code; null: the code runs as it stands. */
  readonly translator: ((parts: TranslatorParts) => Translator) | null;
}

/** What a translator works with. */
export interface TranslatorParts {
  readonly core: Core;
  readonly memory: PhysicalMemory;
  readonly ledger: Ledger;
  readonly region: MonitorRegion;
  readonly port: MonitorMemory;
  readonly guestMemory: GuestMemory;
  readonly shadow: Shadow;
  readonly virtual: CpuState;
  readonly env: VirtualEnvironment;
  readonly board: VirtualBoard;
}

export function wire(given: DeprivilegedOptions): DeprivilegedParts {
  const { core, memory, ledger, pmap, board } = given;
  const { profile } = core.env;
  const status: MonitorStatus = {
    where: WHERE.NOWHERE,
    end: null,
    resetTo: null,
    paused: false,
    stale: true,
    root: 0,
    translated: false,
    deviceAccesses: 0,
    loaded: [],
  };
  const counts: Record<string, number> = { "events.delivered": 0, "fault.injected": 0 };
  const region = new MonitorRegion(memory, given.firstPage, given.pages, given.cachePages);
  const port = new MonitorMemory(
    profile,
    profile.deprivilegedCpi.value,
    ledger,
    memory,
    throughWindows(memory, given.bus),
  );
  const virtual = new CpuState();
  const hardware = new Hardware(core, region);
  const guestMemory = new GuestMemory({
    memory: port,
    pmap,
    board,
    frames: region.pool,
    timestamp: () => ledger.clock.timestamp,
    translationChanged: () => {
      status.stale = true;
      descriptors.translationChanged();
      translator?.translationChanged();
    },
    apicBaseChanged: () => undefined,
    now: () => ledger.clock.now,
    marker: (kind, number) => core.env.marker(kind, number),
    pageInvalidated: (linear) => {
      descriptors.invalidated(linear);
      translator?.invalidated(linear);
    },
    watchedWrite: (address, bytes) => {
      descriptors.wrote(address, bytes);
      translator?.wrote(address, bytes);
    },
    lost: (linear, bytes) => hardware.lost(linear, bytes),
  });
  const guestProfile = hiddenFromGuest(profile);
  const shadow = new Shadow(guestMemory, {
    ...addressAbilities(guestProfile),
    region: region.tables,
  });
  guestMemory.shadow = shadow;
  const env = new VirtualEnvironment(guestProfile, virtual, guestMemory);
  const descriptors = new ShadowDescriptors({ region, port, guestMemory, env, virtual, shadow });
  const translator: Translator | null =
    given.translator === null
      ? null
      : given.translator({ core, memory, ledger, region, port, guestMemory, shadow, virtual, env, board });
  const conditions = new DirectConditions(virtual, descriptors, translator);
  const emulator = new Emulator(virtual, env, ledger);
  const log = new ExitLog();
  const emulation = new GuestEmulation({
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
    end: (reason) => {
      status.end = reason;
    },
  });
  const timer = new PhysicalTimer(port, guestMemory, ledger.clock, given.busClock);
  core.gatePage = region.gatePage;
  core.fetch.attribution = region.attribution();
  core.monitorAtRing0 = true;
  core.env.monitorPresent = true;
  return {
    core,
    memory,
    ledger,
    pmap,
    board,
    region,
    port,
    guestMemory,
    shadow,
    descriptors,
    hardware,
    virtual,
    env,
    emulator,
    events: new EventDelivery(virtual, env, null, () => undefined),
    conditions,
    emulation,
    timer,
    trapsTimeStamp: given.trapsTimeStamp,
    translator,
    log,
    status,
    counts,
  };
}

/** What the monitor of a de-privileged guest is made of; wiring.ts puts it together. */
import type { Core } from "../../cpu/core.ts";
import type { EventDelivery } from "../../cpu/events.ts";
import type { CpuState } from "../../cpu/state.ts";
import type { Ledger } from "../../ledger.ts";
import type { PhysicalMemory } from "../../memory/physical.ts";
import type { Shadow } from "../../memory/shadow.ts";
import type { RunEnd } from "../../result.ts";
import type { Pmap } from "../../vm.ts";
import type { Emulator } from "../emulate.ts";
import type { ExitLog } from "../exit-log.ts";
import type { GuestEmulation } from "../guest-emulation.ts";
import type { GuestMemory } from "../guest-memory.ts";
import type { GuestCpu, VirtualBoard } from "../monitor.ts";
import type { MonitorMemory } from "../monitor-memory.ts";
import type { PhysicalTimer } from "../physical-timer.ts";
import type { VirtualEnvironment } from "../virtual-environment.ts";
import type { DirectConditions } from "./conditions.ts";
import type { Hardware } from "./hardware.ts";
import type { Translator } from "./kernel-code.ts";
import type { MonitorRegion } from "./region.ts";
import type { ShadowDescriptors } from "./shadow-descriptors.ts";

/** Where the guest is. */
export const WHERE = {
  /** Nothing has run yet. */
  NOWHERE: 0,
  /** In the processor. */
  RUNNING: 1,
  /** With the monitor, in the virtual processor: emulated, or about to enter. */
  HELD: 2,
  /** In HLT; the processor sleeps in the monitor's stub. */
  ASLEEP: 3,
} as const;

export interface MonitorStatus {
  where: number;
  /** Something ended the run. */
  end: RunEnd | null;
  /** The guest's processor is to be reset. */
  resetTo: (() => GuestCpu) | null;
  /** Somebody outside wants the run to stop. */
  paused: boolean;
  /** The guest's translation changed since the shadow's root was made the active one. */
  stale: boolean;
  /** Host-physical address of the active root. */
  root: number;
  /** Translated code runs, or the guest's own. */
  translated: boolean;
  /** Accesses to devices that had been made when they were looked at last. */
  deviceAccesses: number;
  /** Selectors that the processor was given, by segment register. */
  loaded: number[];
}

export interface DeprivilegedParts {
  readonly core: Core;
  readonly memory: PhysicalMemory;
  readonly ledger: Ledger;
  readonly pmap: Pmap;
  readonly board: VirtualBoard;
  readonly region: MonitorRegion;
  readonly port: MonitorMemory;
  readonly guestMemory: GuestMemory;
  readonly shadow: Shadow;
  readonly descriptors: ShadowDescriptors;
  readonly hardware: Hardware;
  readonly virtual: CpuState;
  readonly env: VirtualEnvironment;
  readonly emulator: Emulator;
  readonly events: EventDelivery;
  readonly conditions: DirectConditions;
  readonly emulation: GuestEmulation;
  readonly timer: PhysicalTimer;
  /** RDTSC of the guest's own code traps. */
  readonly trapsTimeStamp: boolean;
  readonly translator: Translator | null;
  readonly log: ExitLog;
  readonly status: MonitorStatus;
  readonly counts: Record<string, number>;
}

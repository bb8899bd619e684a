/**
 * The one port through which a monitor's software touches memory, and the way in which it pays for instructions. The
 * monitor's linear space maps host-physical memory one to one, so a reference goes through the core's modelled TLB
 * (which VM exits flush) and its misses are walked and paid like anybody's.
 *
 * A handler is a sequence of primitive steps, each a number of instructions (the monitor's table); a step costs
 * instructions x the profile's monitorCpi, and its memory references come on top.
 */
import { TICKS_PER_CYCLE } from "../clock.ts";
import type { Core } from "../cpu/core.ts";
import { ACCESS } from "../cpu/environment.ts";
import { costTicks } from "../cpu/profiles/profile.ts";
import { OUTCOME } from "../cpu/state.ts";
import type { Account, Ledger } from "../ledger.ts";
import { type PhysicalMemory, RAM_OFFSET, REASON } from "../memory/physical.ts";

/** Instruction count of a primitive step, and how the count was arrived at. */
export interface Step {
  readonly instructions: number;
  readonly derivation: string;
}

export class MonitorMemory {
  /** Account of the service being performed; a handler sets it. */
  service: Account;
  readonly #core: Core;
  readonly #ledger: Ledger;
  readonly #memory: PhysicalMemory;
  readonly #ticksPerInstruction: number;
  readonly #loadTicks: number;
  readonly #storeTicks: number;
  readonly #steps = new Map<string, { readonly ticks: number; readonly label: string }>();

  constructor(core: Core, ledger: Ledger, memory: PhysicalMemory) {
    const profile = core.env.profile;
    this.#core = core;
    this.#ledger = ledger;
    this.#memory = memory;
    this.#ticksPerInstruction = profile.monitorCpi.value * TICKS_PER_CYCLE;
    this.#loadTicks = costTicks(profile).load;
    this.#storeTicks = costTicks(profile).store;
    this.service = ledger.account("monitor", "service:start");
  }

  /** Charges one primitive step, rounded to the nearest tick. */
  step(name: string, step: Step): void {
    let known = this.#steps.get(name);
    if (known === undefined) {
      known = { ticks: Math.round(step.instructions * this.#ticksPerInstruction), label: `step:${name}` };
      this.#steps.set(name, known);
    }
    this.#ledger.charge(this.service, known.ticks, known.label);
  }

  /** Whether RAM holds these bytes at a host-physical address; free of charge. */
  holds(address: number, bytes: Uint8Array): boolean {
    const { u8 } = this.#memory;
    const at = RAM_OFFSET + address;
    for (let i = 0; i < bytes.length; i++) if (u8[at + i] !== bytes[i]) return false;
    return true;
  }

  /** Reads 1, 2 or 4 bytes of host-physical memory (or of a device) through the monitor's own address space. */
  read(address: number, bytes: number): number {
    this.#count();
    this.#ledger.charge(this.service, this.#loadTicks, "load");
    const value = this.#core.mmu.load(address, bytes, ACCESS.READ);
    this.#check(address);
    return value;
  }

  write(address: number, bytes: number, value: number): void {
    this.#count();
    this.#ledger.charge(this.service, this.#storeTicks, "store");
    this.#core.mmu.store(address, bytes, value, ACCESS.WRITE);
    this.#check(address);
  }

  #count(): void {
    const references = this.#memory.references;
    references[REASON.monitor] = (references[REASON.monitor] as number) + 1;
  }

  /** The monitor's own references never fault: its tables are ours. */
  #check(address: number): void {
    const signal = this.#core.state.signal;
    if (signal.outcome === OUTCOME.NONE) return;
    throw new Error(`monitor: reference to ${address.toString(16)} faulted (vector ${signal.vector})`);
  }
}

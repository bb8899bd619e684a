/**
 * The one port through which a monitor's software touches memory, and the way in which it pays for instructions. How
 * host-physical memory stands in the monitor's linear space is its own business (MemoryReach).
 *
 * A handler is a sequence of primitive steps, each a number of instructions (the monitor's table); a step costs
 * instructions x cycles per instruction, which the monitor gives, and its memory references come on top.
 */
import { TICKS_PER_CYCLE } from "../clock.ts";
import type { Core } from "../cpu/core.ts";
import { ACCESS } from "../cpu/environment.ts";
import { costTicks, type Profile } from "../cpu/profiles/profile.ts";
import { OUTCOME } from "../cpu/state.ts";
import type { Account, Ledger } from "../ledger.ts";
import { type PhysicalMemory, RAM_OFFSET, REASON } from "../memory/physical.ts";

/** Instruction count of a primitive step, and how the count was arrived at. */
export interface Step {
  readonly instructions: number;
  readonly derivation: string;
}

/** References to host-physical memory, or to a device, made by whoever the monitor is. */
export interface MemoryReach {
  /** 1, 2 or 4 bytes; zero-extended for 1 and 2. */
  load(address: number, bytes: number): number;
  store(address: number, bytes: number, value: number): void;
}

/**
 * A linear space that maps host-physical memory one to one: a reference goes through the core's modelled TLB (which VM
 * exits flush), and its misses are walked and paid like anybody's.
 */
export function throughIdentity(core: Core): MemoryReach {
  const check = (address: number): void => {
    const signal = core.state.signal;
    if (signal.outcome === OUTCOME.NONE) return;
    // The monitor's own references never fault: its tables are ours.
    throw new Error(`monitor: reference to ${address.toString(16)} faulted (vector ${signal.vector})`);
  };
  return {
    load(address, bytes) {
      const value = core.mmu.load(address, bytes, ACCESS.READ);
      check(address);
      return value;
    },
    store(address, bytes, value) {
      core.mmu.store(address, bytes, value, ACCESS.WRITE);
      check(address);
    },
  };
}

export class MonitorMemory {
  /** Account of the service being performed; a handler sets it. */
  service: Account;
  readonly #reach: MemoryReach;
  readonly #ledger: Ledger;
  readonly #memory: PhysicalMemory;
  readonly #ticksPerInstruction: number;
  readonly #loadTicks: number;
  readonly #storeTicks: number;
  #free = false;
  readonly #steps = new Map<string, { readonly ticks: number; readonly label: string }>();

  /** `cpi`: cycles per instruction of the monitor's software. */
  constructor(profile: Profile, cpi: number, ledger: Ledger, memory: PhysicalMemory, reach: MemoryReach) {
    this.#reach = reach;
    this.#ledger = ledger;
    this.#memory = memory;
    this.#ticksPerInstruction = cpi * TICKS_PER_CYCLE;
    this.#loadTicks = costTicks(profile).load;
    this.#storeTicks = costTicks(profile).store;
    this.service = ledger.account("monitor", "service:start");
  }

  /** What `act` does costs nothing: it stands for something that another step has paid. */
  free<T>(act: () => T): T {
    this.#free = true;
    const result = act();
    this.#free = false;
    return result;
  }

  /** Charges one primitive step, rounded to the nearest tick. */
  step(name: string, step: Step): void {
    if (this.#free) return;
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
    if (!this.#free) {
      this.#count();
      this.#ledger.charge(this.service, this.#loadTicks, "load");
    }
    return this.#reach.load(address, bytes);
  }

  write(address: number, bytes: number, value: number): void {
    if (!this.#free) {
      this.#count();
      this.#ledger.charge(this.service, this.#storeTicks, "store");
    }
    this.#reach.store(address, bytes, value);
  }

  #count(): void {
    const references = this.#memory.references;
    references[REASON.monitor] = (references[REASON.monitor] as number) + 1;
  }
}

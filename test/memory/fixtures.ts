/** A processor's memory side on its own: memory, state, ledger, a recording bus and an MMU of a made-up profile. */
import { Clock } from "../../sim/clock.ts";
import { Accounts } from "../../sim/cpu/accounts.ts";
import type { Bus } from "../../sim/cpu/bus.ts";
import { FLUSH } from "../../sim/cpu/environment.ts";
import { Mmu } from "../../sim/cpu/mmu.ts";
import { COST_NAMES, type CostName, type Profile, type Sourced, type TlbSide } from "../../sim/cpu/profiles/profile.ts";
import { CELL, CpuState, CR0, CR4, OUTCOME } from "../../sim/cpu/state.ts";
import { Ledger } from "../../sim/ledger.ts";
import { PhysicalMemory } from "../../sim/memory/physical.ts";

const MEMORY_COSTS: Partial<Record<CostName, number>> = {
  pageCross: 10,
  tlbSecondLevel: 2,
  walkStart: 5,
  walkReference: 3,
  walkUpdate: 20,
};

const fullyAssociative = (entries: number): TlbSide => ({
  small: { entries, ways: entries, replacement: "fifo" },
  source: "test",
});

/** A profile for tests of memory: costs of the memory system are distinct, all others are 1 cycle. */
export function testProfile(options: { data?: TlbSide; instruction?: TlbSide; pse36?: boolean } = {}): Profile {
  const costs = {} as Record<CostName, Sourced>;
  for (const name of COST_NAMES) {
    costs[name] = { value: MEMORY_COSTS[name] ?? 1, unit: "cycles", mark: "derived", source: "test" };
  }
  return {
    name: "test",
    title: "test",
    year: 2000,
    frequencyMHz: 1000,
    features: [],
    cpuid: { 1: { eax: 0, ebx: 0, ecx: 0, edx: options.pse36 === false ? 0 : 1 << 17 } },
    physicalAddressBits: 36,
    linearAddressBits: 32,
    instructionTlb: options.instruction ?? fullyAssociative(8),
    dataTlb: options.data ?? fullyAssociative(8),
    returnStackEntries: 16,
    indirectTargets: 16,
    costs,
    monitorCpi: { value: 1, unit: "cycles/instruction", mark: "derived", source: "test" },
    deprivilegedCpi: { value: 1, unit: "cycles/instruction", mark: "derived", source: "test" },
    translation: { value: 1, unit: "cycles/instruction", mark: "derived", source: "test" },
    vmx: null,
  };
}

/** What the recording bus answers: bytes of a pattern over the address. */
export function busPattern(address: number, bytes: number): number {
  let value = 0;
  for (let i = bytes - 1; i >= 0; i--) value = value * 256 + (((address + i) * 37 + Math.floor(address / 4096)) % 256);
  return value;
}

export interface BusAccess {
  readonly kind: "read" | "write";
  readonly address: number;
  readonly bytes: number;
  readonly value: number;
}

export class RecordingBus implements Bus {
  readonly accesses: BusAccess[] = [];
  readonly interruptLine = false;
  readonly nmiLine = false;

  readPort(): number {
    throw new Error("no ports here");
  }
  writePort(): void {
    throw new Error("no ports here");
  }
  readMemory(address: number, bytes: number): number {
    const value = busPattern(address, bytes);
    this.accesses.push({ kind: "read", address, bytes, value });
    return value;
  }
  writeMemory(address: number, bytes: number, value: number): void {
    this.accesses.push({ kind: "write", address, bytes, value });
  }
  acknowledgeInterrupt(): number {
    throw new Error("no interrupts here");
  }
  acknowledgeNmi(): void {
    throw new Error("no interrupts here");
  }
}

export class Bench {
  readonly memory: PhysicalMemory;
  readonly state: CpuState;
  readonly ledger: Ledger;
  readonly accounts: Accounts;
  readonly bus = new RecordingBus();
  readonly profile: Profile;
  readonly seed: number;
  mmu: Mmu;

  constructor(options: { profile?: Profile; ramBytes?: number; seed?: number } = {}) {
    this.profile = options.profile ?? testProfile();
    this.seed = options.seed ?? 1;
    this.memory = new PhysicalMemory(options.ramBytes ?? 0x100000);
    this.state = new CpuState(this.memory.buffer, this.memory.stateOffset(0));
    this.ledger = new Ledger(new Clock(this.memory.timeCells, this.profile.frequencyMHz));
    this.accounts = new Accounts(this.ledger);
    this.mmu = this.newMmu();
  }

  newMmu(): Mmu {
    const { state, memory, bus, ledger, accounts, profile, seed } = this;
    return new Mmu({ state, memory, bus, ledger, accounts, profile, seed });
  }

  /** Turns 32-bit paging on with the page directory at `root`; PSE and PGE unless told otherwise. */
  pagingOn(root: number, options: { cr0?: number; cr4?: number } = {}): void {
    this.state.set(CELL.cr3, root);
    this.state.set(CELL.cr4, options.cr4 ?? CR4.PSE | CR4.PGE);
    this.state.set(CELL.cr0, options.cr0 ?? CR0.PE | CR0.PG | CR0.WP);
    this.mmu.flushTlb(FLUSH.ALL);
  }

  /** Maps a 4 KB page in the directory at `root`, making the table at `table` its own. */
  map(root: number, table: number, linear: number, entry: number): void {
    this.memory.write32(root + (linear >>> 22) * 4, table | 0x67);
    this.memory.write32(this.pteAddress(table, linear), entry);
  }

  pteAddress(table: number, linear: number): number {
    return table + ((linear >>> 12) & 1023) * 4;
  }

  /** The fault of the last access as `vector/errorCode@address`, or "" ; clears the signal. */
  takeFault(): string {
    const signal = this.state.signal;
    if (signal.outcome === OUTCOME.NONE) return "";
    signal.outcome = OUTCOME.NONE;
    const address = signal.vector === 14 ? `@${signal.address.toString(16)}` : "";
    return `${signal.vector}/${signal.errorCode}${address}`;
  }

  /** Cycles charged to an activity of the current domain. */
  cycles(activity: "walk" | "instructions"): number {
    const account = this.accounts.current[activity];
    return (this.ledger.cells[account] as number) / 12;
  }
}

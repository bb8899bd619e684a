/**
 * The environment of the physical core: memory through the modelled MMU, ports on the machine's bus, prices of the
 * profile, charged to the domain that runs.
 */
import type { Account, Ledger } from "../ledger.ts";
import type { PhysicalMemory } from "../memory/physical.ts";
import type { Observer } from "../observer.ts";
import { ACCOUNT_CELL_BYTES, type Accounts, activityOf } from "./accounts.ts";
import { BulkStrings } from "./bulk-strings.ts";
import type { Bus } from "./bus.ts";
import { CORE_CELL, CORE_CELLS } from "./engine/layout.ts";
import type { Environment, Intercepts } from "./environment.ts";
import type { Mmu } from "./mmu.ts";
import { Predictor } from "./predictor.ts";
import { type CostName, type CostTicks, costTicks, type Profile } from "./profiles/profile.ts";
import type { Vmx } from "./vmx/vmx.ts";

export interface EnvironmentParts {
  readonly memory: PhysicalMemory;
  readonly profile: Profile;
  readonly mmu: Mmu;
  readonly bus: Bus;
  readonly ledger: Ledger;
  readonly accounts: Accounts;
}

export class PhysicalEnvironment implements Environment {
  readonly profile: Profile;
  readonly predictor: Predictor;
  /** Set once by the core, which owns the VMX hardware. */
  vmx: Vmx | null = null;
  observer: Observer | null = null;
  /** A monitor owns the machine: VM exits are its business, not that of the guest that causes them. */
  monitorPresent = false;
  /** Iterations of string instructions may be done many at once. Never changes a result. */
  bulk = false;
  /** What the string instruction at EIP is charged to, which its block's account is not at hand for; set once by the core. */
  accountOfString: () => Account;
  /** Looks for I/O breakpoints; null while there are none. */
  onPort: ((port: number, bytes: number) => void) | null = null;
  /** Devices' deadlines may have moved since the core last asked for them. */
  devicesMoved = true;
  /** By CORE_CELL. */
  readonly #shared: Int32Array;
  readonly #mmu: Mmu;
  readonly #bus: Bus;
  readonly #ledger: Ledger;
  readonly #accounts: Accounts;
  readonly #ticks: CostTicks;
  readonly #strings: BulkStrings;

  constructor(parts: EnvironmentParts) {
    this.profile = parts.profile;
    const { buffer, engineArea } = parts.memory;
    this.#shared = new Int32Array(buffer, engineArea.core + ACCOUNT_CELL_BYTES, CORE_CELLS).fill(0);
    this.predictor = new Predictor(parts.profile, buffer, engineArea.predictor);
    this.#mmu = parts.mmu;
    this.#bus = parts.bus;
    this.#ledger = parts.ledger;
    this.#accounts = parts.accounts;
    this.accountOfString = () => parts.accounts.current.instructions;
    this.#ticks = costTicks(parts.profile);
    this.#strings = new BulkStrings(parts.memory, parts.mmu, parts.ledger.clock, this.#ticks.stringIteration);
  }

  get intercepts(): Intercepts | null {
    return this.vmx === null ? null : this.vmx.nonRoot;
  }

  load(linear: number, bytes: number, access: number): number {
    return this.#mmu.load(linear, bytes, access);
  }

  store(linear: number, bytes: number, value: number, access: number): void {
    this.#mmu.store(linear, bytes, value, access);
  }

  load64(linear: number, access: number, cell: number): void {
    this.#mmu.load64(linear, access, cell);
  }

  store64(linear: number, access: number, cell: number): void {
    this.#mmu.store64(linear, access, cell);
  }

  probe(linear: number, bytes: number, access: number): void {
    this.#mmu.probe(linear, bytes, access);
  }

  readPdpt(address: number): number {
    return this.#mmu.readPdpt(address);
  }

  numericError(active: boolean): boolean {
    const ignored = this.#bus.numericError?.(active) === true;
    this.devicesChanged();
    return ignored;
  }

  readPort(port: number, bytes: number): number {
    const value = this.#bus.readPort(port, bytes);
    this.onPort?.(port, bytes);
    this.devicesChanged();
    return value;
  }

  writePort(port: number, bytes: number, value: number): void {
    this.#bus.writePort(port, bytes, value);
    this.onPort?.(port, bytes);
    this.devicesChanged();
  }

  flushTlb(scope: number): void {
    this.#mmu.flushTlb(scope);
  }

  flushPage(linear: number): void {
    this.#mmu.flushPage(linear);
  }

  pagingChanged(): void {
    this.#mmu.pagingChanged();
  }

  timestamp(): number {
    return this.#ledger.clock.timestamp;
  }

  charge(cost: CostName): void {
    this.#ledger.charge(this.#accountFor(cost), this.#ticks[cost], cost);
  }

  #accountFor(cost: CostName): Account {
    if (cost === "stringStart" || cost === "stringIteration") return this.accountOfString();
    const ofMonitor = cost === "vmexit" && this.monitorPresent;
    return (ofMonitor ? this.#accounts.byDomain.monitor : this.#accounts.current)[activityOf(cost)];
  }

  apicBaseChanged(): void {
    this.devicesChanged();
  }

  /** Tells compiled code what stands against its doing things alone (GUARD). */
  guard(bits: number): void {
    this.#shared[CORE_CELL.guard] = bits;
  }

  /** A device was accessed, or has changed by itself: its deadline may have moved, and its interrupt line. */
  devicesChanged(): void {
    this.devicesMove();
    this.attention();
  }

  /** The same at a boundary, where everything is looked at anyway. */
  devicesMove(): void {
    this.devicesMoved = true;
    this.#shared[CORE_CELL.quiet] = 0;
  }

  /** Straight-line execution ends where the deadline is reached; zero is always reached. */
  attention(): void {
    this.#ledger.clock.deadline = 0;
  }

  interruptsOpened(): void {
    if (this.intercepts === null) {
      if (this.#shared[CORE_CELL.quiet] === 1) return;
      this.#shared[CORE_CELL.quiet] = this.#bus.interruptLine ? 0 : 1;
      if (this.#shared[CORE_CELL.quiet] === 1) return;
    }
    this.attention();
  }

  branch(kind: number, source: number, target: number, next: number): void {
    if (this.predictor.follow(kind, source, target, next)) this.charge("mispredict");
  }

  expired(): boolean {
    const clock = this.#ledger.clock;
    return clock.now >= clock.deadline;
  }

  moveString(source: number, target: number, bytes: number, count: number, read: number, write: number): number {
    if (!this.bulk || this.#ledger.onCharge !== null) return 0;
    return this.#iterations(this.#strings.move(source, target, bytes, count, read, write));
  }

  fillString(target: number, bytes: number, count: number, value: number, write: number): number {
    if (!this.bulk || this.#ledger.onCharge !== null) return 0;
    return this.#iterations(this.#strings.fill(target, bytes, count, value, write));
  }

  #iterations(count: number): number {
    if (count > 0) {
      this.#ledger.charge(this.accountOfString(), count * this.#ticks.stringIteration, "stringIteration");
    }
    return count;
  }

  marker(kind: number, region: number): void {
    this.observer?.marker?.(kind, region, this.#ledger.clock.now);
  }
}

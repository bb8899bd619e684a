/**
 * Guest-physical space as the monitor reaches it: RAM through the pmap and the monitor's memory port, everything else
 * through the virtual board. It is what the emulator's environment and the shadow page tables stand on.
 */
import type { Bus } from "../cpu/bus.ts";
import type { GuestPhysical, HostPhysical } from "../memory/address.ts";
import { pageNumber } from "../memory/address.ts";
import type { Shadow } from "../memory/shadow.ts";
import type { ShadowHost, ShadowStep } from "../memory/shadow-host.ts";
import type { Pmap } from "../vm.ts";
import type { FramePool } from "./frame-pool.ts";
import type { MonitorMemory } from "./monitor-memory.ts";
import { MONITOR_STEPS, type MonitorStep, SHADOW_STEP_COSTS } from "./steps.ts";
import type { EmulationHost } from "./virtual-environment.ts";

export interface GuestMemoryParts {
  readonly memory: MonitorMemory;
  readonly pmap: Pmap;
  readonly board: Bus;
  readonly frames: FramePool;
  /** Guest time-stamp counter in cycles. */
  readonly timestamp: () => number;
  /** The guest's control registers or APIC base changed under emulation. */
  readonly translationChanged: () => void;
  readonly apicBaseChanged: () => void;
  /** The machine's clock in ticks. */
  readonly now: () => number;
  readonly marker: (kind: number, region: number) => void;
  /** The guest executed INVLPG. */
  readonly pageInvalidated?: (linear: number) => void;
  /** For monitors of de-privileged guests (ShadowHost). */
  readonly watchedWrite?: (address: GuestPhysical, bytes: number) => void;
  readonly lost?: (linear: number, bytes: number) => void;
}

/** How many accesses there have been, of the kinds that are counted. */
export interface SavedAccesses {
  readonly device: number;
  readonly traced: number;
}

export class GuestMemory implements EmulationHost, ShadowHost {
  /** Set once by the monitor: the shadow stands on this object, and this object reports stores to it. */
  shadow: Shadow | null = null;
  /** Accesses to device memory and ports that were emulated. */
  deviceAccesses = 0;
  /** Stores to pages that are traced or watched. */
  tracedWrites = 0;
  readonly #parts: GuestMemoryParts;

  readonly watchedWrite?: (address: GuestPhysical, bytes: number) => void;
  readonly lost?: (linear: number, bytes: number) => void;

  constructor(parts: GuestMemoryParts) {
    this.#parts = parts;
    if (parts.watchedWrite !== undefined) this.watchedWrite = parts.watchedWrite;
    if (parts.lost !== undefined) this.lost = parts.lost;
  }

  /** Charges one step of the monitor's table. */
  do(step: MonitorStep): void {
    this.#parts.memory.step(step, MONITOR_STEPS[step]);
  }

  save(): SavedAccesses {
    return { device: this.deviceAccesses, traced: this.tracedWrites };
  }

  restore({ device, traced }: SavedAccesses): void {
    this.deviceAccesses = device;
    this.tracedWrites = traced;
  }

  // ---- for the emulator ----

  holds(address: number, bytes: Uint8Array): boolean {
    const host = this.#parts.pmap.translate(address);
    return host >= 0 && this.#parts.memory.holds(host, bytes);
  }

  readGuest(address: number, bytes: number): number {
    const host = this.#parts.pmap.translate(address);
    if (host >= 0) return this.#parts.memory.read(host, bytes);
    if (address % bytes !== 0) {
      let assembled = 0;
      for (let i = 0; i < bytes; i++) assembled |= this.readGuest(address + i, 1) << (8 * i);
      return assembled;
    }
    this.do("device");
    this.deviceAccesses++;
    const value = this.#parts.board.readMemory(this.#parts.pmap.locate(address), bytes);
    return bytes === 4 ? value | 0 : value;
  }

  writeGuest(address: number, bytes: number, value: number): void {
    const { pmap } = this.#parts;
    const located = pmap.locate(address);
    if (!pmap.isWritable(pageNumber(located))) {
      // An unaligned access to the bus goes byte by byte.
      if (address % bytes !== 0) {
        for (let i = 0; i < bytes; i++) this.writeGuest(address + i, 1, value >>> (8 * i));
        return;
      }
      this.do("device");
      this.deviceAccesses++;
      this.#parts.board.writeMemory(located, bytes, bytes === 4 ? value >>> 0 : value & (2 ** (8 * bytes) - 1));
      return;
    }
    this.#parts.memory.write(pmap.translate(located), bytes, value);
    if (this.shadow?.isTraced(pageNumber(located)) !== true) return;
    this.tracedWrites++;
    this.shadow.guestWrote(located as GuestPhysical, bytes);
  }

  readEntry(address: number): number {
    this.do("translate-level");
    return this.readGuest32(address as GuestPhysical);
  }

  updateEntry(address: number, value: number): void {
    this.writeGuest32(address as GuestPhysical, value);
    this.shadow?.marked(address as GuestPhysical);
  }

  numericError(active: boolean): boolean {
    this.do("device");
    return this.#parts.board.numericError?.(active) === true;
  }

  readPort(port: number, bytes: number): number {
    this.do("device");
    this.deviceAccesses++;
    return this.#parts.board.readPort(port, bytes);
  }

  writePort(port: number, bytes: number, value: number): void {
    this.do("device");
    this.deviceAccesses++;
    this.#parts.board.writePort(port, bytes, value);
  }

  translationChanged(): void {
    this.#parts.translationChanged();
  }

  invalidatePage(linear: number): void {
    this.shadow?.invalidate(linear);
    this.#parts.pageInvalidated?.(linear);
  }

  timestamp(): number {
    return this.#parts.timestamp();
  }

  now(): number {
    return this.#parts.now();
  }

  iterated(): void {
    this.do("string-iteration");
  }

  apicBaseChanged(): void {
    this.#parts.apicBaseChanged();
  }

  marker(kind: number, region: number): void {
    this.#parts.marker(kind, region);
  }

  // ---- for the shadow page tables ----

  readGuest32(address: GuestPhysical): number {
    const host = this.#parts.pmap.translate(address);
    if (host >= 0) return this.#parts.memory.read(host, 4);
    return this.#parts.board.readMemory(this.#parts.pmap.locate(address), 4) | 0;
  }

  writeGuest32(address: GuestPhysical, value: number): void {
    const { pmap } = this.#parts;
    const located = pmap.locate(address);
    if (pmap.isWritable(pageNumber(located))) this.#parts.memory.write(pmap.translate(located), 4, value);
  }

  hostFrame(guestPage: number): number {
    return this.#parts.pmap.frame(guestPage);
  }

  isWritable(guestPage: number): boolean {
    return this.#parts.pmap.isWritable(guestPage);
  }

  readTable(address: HostPhysical): number {
    return this.#parts.memory.read(address, 4);
  }

  writeTable(address: HostPhysical, value: number): void {
    this.#parts.memory.write(address, 4, value);
  }

  allocateFrame(): number {
    return this.#parts.frames.allocate();
  }

  releaseFrame(frame: number): void {
    this.#parts.frames.release(frame);
  }

  step(name: ShadowStep): void {
    this.#parts.memory.step(name, SHADOW_STEP_COSTS[name]);
  }
}

/**
 * The environment of an instruction that a monitor executes for its guest: addresses are translated by the guest's
 * own page tables, memory is guest-physical, ports and device memory are the virtual machine's. The semantics are
 * those of the one interpreter; only what an access means, and who pays for it, differs.
 *
 * The software walk sets A and D in the guest's tables as the processor would.
 */
import { type Environment, FLUSH, type Intercepts, type VmxInstructions } from "../cpu/environment.ts";
import type { CostName, Profile } from "../cpu/profiles/profile.ts";
import { CELL, type CpuState, CR0, CR4, FLAG, raisePageFault } from "../cpu/state.ts";
import { PAGE_SIZE, pageBase, pageOffset } from "../memory/address.ts";
import { PAGING_32, type Tables, tablesOf } from "../memory/page-tables.ts";
import { FIRST_STAGE_REASONS, WALK_OUTCOME, type WalkContext, WalkResult, walk } from "../memory/walk.ts";

/** What the environment asks of the monitor that emulates. Guest-physical addresses; the monitor charges. */
export interface EmulationHost {
  /** Reads 1, 2 or 4 bytes of guest-physical space, RAM or device; zero-extended for 1 and 2, int32 for 4. */
  readGuest(address: number, bytes: number): number;
  /** Writes 1, 2 or 4 bytes; tells the memory model when the page is traced. */
  writeGuest(address: number, bytes: number, value: number): void;
  /** One 32-bit guest page-table entry of a software walk. */
  readEntry(address: number): number;
  /** A or D is set in a guest page-table entry. */
  updateEntry(address: number, value: number): void;
  readPort(port: number, bytes: number): number;
  writePort(port: number, bytes: number, value: number): void;
  /** CR0, CR3 or CR4 of the virtual processor changed in a way that flushes translations. */
  translationChanged(scope: number): void;
  /** INVLPG. */
  invalidatePage(linear: number): void;
  /** Guest time-stamp counter in cycles. */
  timestamp(): number;
  apicBaseChanged(): void;
}

export class VirtualEnvironment implements Environment {
  /** The processor as the guest may see it. */
  readonly profile: Profile;
  readonly intercepts: Intercepts | null = null;
  readonly vmx: VmxInstructions | null = null;
  readonly #state: CpuState;
  readonly #host: EmulationHost;
  readonly #result = new WalkResult();
  readonly #tables: readonly [Tables, Tables];

  constructor(profile: Profile, state: CpuState, host: EmulationHost) {
    this.profile = profile;
    this.#state = state;
    this.#host = host;
    const physicalAddressBits = profile.physicalAddressBits;
    const pse36 = ((profile.cpuid[1]?.edx ?? 0) & (1 << 17)) !== 0;
    this.#tables = [
      tablesOf(PAGING_32, { physicalAddressBits }),
      tablesOf(PAGING_32, { physicalAddressBits, pse: true, pse36 }),
    ];
  }

  /** Guest-physical address of a linear one, or -1 with #PF signalled. */
  translate(linear: number, access: number): number {
    const state = this.#state;
    if ((state.cr0 & CR0.PG) === 0) return linear;
    const result = walk(this.#tables[(state.cr4 & CR4.PSE) === 0 ? 0 : 1], this.#context(), linear, access & 7);
    if (result.outcome !== WALK_OUTCOME.TRANSLATED) {
      raisePageFault(state, linear, result.errorCode);
      return -1;
    }
    return result.pageBase + (linear % 2 ** result.pageShift);
  }

  #context(): WalkContext {
    const state = this.#state;
    const host = this.#host;
    return {
      root: pageBase(state.get(CELL.cr3)),
      writeProtect: (state.cr0 & CR0.WP) !== 0,
      globalPages: (state.cr4 & CR4.PGE) !== 0,
      fetchInErrorCode: false,
      memory: {
        readTable: (address) => host.readEntry(address),
        updateTable: (address, value) => host.updateEntry(address, value),
      },
      reasons: FIRST_STAGE_REASONS,
      secondStage: null,
      result: this.#result,
    };
  }

  /** Code bytes at a guest-physical address, within one page, four at a time. */
  fetchBytes(address: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    let at = 0;
    while (at < length) {
      const step = length - at >= 4 ? 4 : 1;
      const word = this.#host.readGuest(address + at, step);
      for (let i = 0; i < step; i++) bytes[at + i] = (word >>> (8 * i)) & 0xff;
      at += step;
    }
    return bytes;
  }

  load(linear: number, bytes: number, access: number): number {
    const first = this.translate(linear, access);
    if (first < 0) return 0;
    const room = PAGE_SIZE - pageOffset(linear);
    if (room >= bytes) return this.#host.readGuest(first, bytes);
    const second = this.translate((linear + room) >>> 0, access);
    if (second < 0) return 0;
    let value = 0;
    for (let i = 0; i < bytes; i++) {
      value |= this.#host.readGuest(i < room ? first + i : second + i - room, 1) << (8 * i);
    }
    return value;
  }

  store(linear: number, bytes: number, value: number, access: number): void {
    const first = this.translate(linear, access);
    if (first < 0) return;
    const room = PAGE_SIZE - pageOffset(linear);
    if (room >= bytes) {
      this.#host.writeGuest(first, bytes, value);
      return;
    }
    const second = this.translate((linear + room) >>> 0, access);
    if (second < 0) return;
    for (let i = 0; i < bytes; i++) {
      this.#host.writeGuest(i < room ? first + i : second + i - room, 1, (value >>> (8 * i)) & 0xff);
    }
  }

  load64(linear: number, access: number, cell: number): void {
    const low = this.load(linear, 4, access);
    if (this.#state.signal.outcome !== 0) return;
    const high = this.load((linear + 4) >>> 0, 4, access);
    if (this.#state.signal.outcome !== 0) return;
    this.#state.i32[cell] = low;
    this.#state.i32[cell + 1] = high;
  }

  store64(linear: number, access: number, cell: number): void {
    this.probe(linear, 8, access);
    if (this.#state.signal.outcome !== 0) return;
    this.store(linear, 4, this.#state.i32[cell] as number, access);
    this.store((linear + 4) >>> 0, 4, this.#state.i32[cell + 1] as number, access);
  }

  probe(linear: number, bytes: number, access: number): void {
    let at = linear;
    let left = bytes;
    while (left > 0) {
      if (this.translate(at >>> 0, access) < 0) return;
      const room = PAGE_SIZE - pageOffset(at);
      left -= room;
      at += room;
    }
  }

  readPort(port: number, bytes: number): number {
    return this.#host.readPort(port, bytes);
  }

  writePort(port: number, bytes: number, value: number): void {
    this.#host.writePort(port, bytes, value);
  }

  flushTlb(scope: number): void {
    this.#host.translationChanged(scope === FLUSH.ALL ? FLUSH.ALL : FLUSH.NON_GLOBAL);
  }

  /** CR0.WP changed. */
  pagingChanged(): void {
    this.#host.translationChanged(FLUSH.NON_GLOBAL);
  }

  flushPage(linear: number): void {
    this.#host.invalidatePage(linear);
  }

  timestamp(): number {
    return this.#host.timestamp();
  }

  /** The monitor pays for what it does in its own steps; the guest's processor is not running. */
  charge(_cost: CostName): void {}

  apicBaseChanged(): void {
    this.#host.apicBaseChanged();
  }

  attention(): void {}

  branch(): void {}

  /** Time does not pass for the guest; but single step traps after each iteration of a string instruction. */
  expired(): boolean {
    return (this.#state.flags & FLAG.TF) !== 0;
  }

  marker(): void {}
}

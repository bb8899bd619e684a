/**
 * A guest on shadow page tables without a processor: guest RAM behind a shuffled pmap, monitor frames, and "hardware"
 * that walks the shadow tables with the project's walker, CR0.WP set, and asks the shadow about each fault. It has no TLB, or
 * (DeprivilegedGuest) one that forgets nothing by itself, under a monitor that has its region in the guest's linear space.
 */
import type { GuestPhysical, HostPhysical } from "../../sim/memory/address.ts";
import { PAGING_32, PAGING_PAE, tablesOf } from "../../sim/memory/page-tables.ts";
import { type GuestPaging, type PaePaging, Shadow, type ShadowOptions } from "../../sim/memory/shadow.ts";
import { REGION_BASE, type ShadowHost, type ShadowStep } from "../../sim/memory/shadow-host.ts";
import {
  FIRST_STAGE_REASONS,
  PF,
  WALK,
  WALK_OUTCOME,
  type WalkContext,
  WalkResult,
  walk,
} from "../../sim/memory/walk.ts";

export const P = 1;
export const W = 2;
export const U = 4;
export const A = 0x20;
export const D = 0x40;
export const PS = 0x80;

/** How an access ended, as the guest sees it. */
export type Outcome =
  | { readonly kind: "ram"; readonly frame: number; readonly offset: number }
  | { readonly kind: "device"; readonly address: number }
  | { readonly kind: "fault"; readonly errorCode: number };

export interface Access {
  readonly write?: boolean;
  readonly user?: boolean;
  readonly fetch?: boolean;
}

const FEATURES = { physicalAddressBits: 36, pse36: true };
const HARDWARE_TABLES = tablesOf(PAGING_32, { physicalAddressBits: 32 });
/** The processor has IA32_EFER.NXE set whatever the guest has there. */
const HARDWARE_PAE_TABLES = tablesOf(PAGING_PAE, { physicalAddressBits: 32, nxe: true });
const RETRIES = 20;

export class FakeGuest implements ShadowHost {
  readonly guestPages: number;
  /** Host memory, 32-bit words. */
  readonly memory: Int32Array;
  readonly pmap: number[];
  readonly free: number[] = [];
  /** Words of device memory by guest-physical address; elsewhere outside RAM is all ones. */
  readonly device = new Map<number, number>();
  /** Guest pages that are ROM. */
  readonly rom = new Set<number>();
  readonly steps: Partial<Record<ShadowStep, number>> = {};
  readonly options: ShadowOptions;
  shadow: Shadow;
  root = 0;
  paging: GuestPaging = { paging: false, cr3: 0, wp: true, pse: true, pae: null };
  /** Faults of the guest by error code, as counters. */
  readonly codes: Record<string, number> = {};
  /** Kinds of faults that the shadow handled, in order. */
  readonly faults: string[] = [];

  constructor(guestPages = 32, monitorFrames = 64, options: Partial<ShadowOptions> = {}) {
    this.guestPages = guestPages;
    const hostPages = guestPages + monitorFrames;
    this.memory = new Int32Array(hostPages * 1024);
    // A permutation that is not the identity anywhere that matters: 5 and the page counts used have no common factor.
    const order = Array.from({ length: hostPages }, (_, page) => (page * 5 + 3) % hostPages);
    if (new Set(order).size !== hostPages) throw new Error("choose page counts whose sum is no multiple of 5");
    this.pmap = order.slice(0, guestPages);
    this.free = order.slice(guestPages);
    this.options = { ...FEATURES, ...options };
    this.shadow = new Shadow(this, this.options);
  }

  /** Whether the guest's own accesses to this linear address cannot be left to the processor. */
  isRegion(_linear: number): boolean {
    return false;
  }

  // The host's side.

  hostFrame(guestPage: number): number {
    return this.pmap[guestPage] ?? -1;
  }
  isWritable(guestPage: number): boolean {
    return this.hostFrame(guestPage) !== -1 && !this.rom.has(guestPage);
  }
  readGuest32(address: GuestPhysical): number {
    return this.peek(address);
  }
  writeGuest32(address: GuestPhysical, value: number): void {
    this.poke(address, value);
  }
  readTable(address: HostPhysical): number {
    return this.memory[address / 4] as number;
  }
  writeTable(address: HostPhysical, value: number): void {
    this.memory[address / 4] = value;
  }
  allocateFrame(): number {
    return this.free.pop() ?? -1;
  }
  releaseFrame(frame: number): void {
    const words = this.memory.subarray(frame * 1024, (frame + 1) * 1024);
    if (words.some((word) => word !== 0)) throw new Error(`frame ${frame} released with entries in it`);
    this.free.push(frame);
  }
  step(name: ShadowStep): void {
    this.steps[name] = (this.steps[name] ?? 0) + 1;
  }

  // Guest memory.

  peek(address: number): number {
    const frame = this.hostFrame(Math.floor(address / 4096));
    return frame === -1
      ? (this.device.get(address) ?? -1)
      : (this.memory[frame * 1024 + ((address & 0xfff) >>> 2)] as number);
  }
  /** Writes a word of guest memory behind the shadow's back: setting up, A and D. */
  poke(address: number, value: number): void {
    const frame = this.hostFrame(Math.floor(address / 4096));
    if (frame !== -1) this.memory[frame * 1024 + ((address & 0xfff) >>> 2)] = value;
    else if (this.device.has(address)) this.device.set(address, value);
  }
  pokeByte(address: number, value: number): void {
    const at = address - (address % 4);
    const shift = (address % 4) * 8;
    this.poke(at, (this.peek(at) & ~(0xff << shift)) | ((value & 0xff) << shift));
  }
  /** A write by a device or the monitor: bytes, then the shadow is told. */
  dma(address: number, value: number, bytes: number): void {
    for (let i = 0; i < bytes; i++) this.pokeByte(address + i, value >>> (8 * i));
    this.shadow.guestWrote(address as GuestPhysical, bytes);
  }
  /** Sets entry `index` of the table in `page`, before anything was shadowed or by a device. */
  entry(page: number, index: number, value: number): void {
    this.dma(page * 4096 + index * 4, value, 4);
  }

  /** The pointer entries at an address, as MOV to CR3 loads them; null: it is #GP(0). */
  pdptes(address: number): PaePaging["pdptes"] | null {
    const words = Array.from({ length: 8 }, (_, n) => this.peek(address + 4 * n));
    const pairs = [0, 2, 4, 6].map((n) => [words[n] as number, words[n + 1] as number] as const);
    const bad = pairs.some(([low, high]) => (low & 1) !== 0 && ((low & 0x1e6) !== 0 || high >>> 4 !== 0));
    return bad ? null : pairs;
  }

  // The guest's processor.

  activate(change: Partial<GuestPaging>): void {
    this.paging = { ...this.paging, ...change };
    this.root = this.shadow.activate(this.paging);
  }

  /** One read, or a write that is not carried out. */
  access(linear: number, access: Access = {}): Outcome {
    for (let attempt = 0; attempt < RETRIES; attempt++) {
      const hardware = this.translate(linear, access);
      if (typeof hardware !== "number") return hardware;
      const fault = this.shadow.fault(linear, hardware);
      this.faults.push(fault.kind);
      if (fault.kind === "guest") {
        const name = `code.${fault.errorCode}`;
        this.codes[name] = (this.codes[name] ?? 0) + 1;
        return { kind: "fault", errorCode: fault.errorCode };
      }
      if (fault.kind === "device") return { kind: "device", address: fault.address };
      if (fault.kind !== "hidden") return this.#where(fault.address);
    }
    throw new Error(`access to 0x${linear.toString(16)} is never resolved`);
  }

  /**
   * A store of 1 to 8 bytes; if a page is traced or a device, the whole store is emulated, as a monitor does. Parts
   * that are not RAM are lost.
   */
  store(linear: number, value: number, bytes: number, access: Access = {}): Outcome {
    const split = Math.min(bytes, 4096 - (linear % 4096));
    const starts = split < bytes ? [linear, (linear + split) >>> 0] : [linear];
    for (let attempt = 0; attempt < RETRIES; attempt++) {
      const frames: Outcome[] = [];
      let emulate = false;
      for (const start of starts) {
        const hardware = this.translate(start, { ...access, write: true });
        if (typeof hardware !== "number") {
          frames.push(hardware);
          continue;
        }
        const fault = this.shadow.fault(start, hardware);
        this.faults.push(fault.kind);
        if (fault.kind === "guest") return { kind: "fault", errorCode: fault.errorCode };
        emulate = fault.kind !== "hidden";
        break;
      }
      if (emulate) return this.#emulate(starts, split, value, bytes, access);
      if (frames.length !== starts.length) continue;
      for (let i = 0; i < bytes; i++) {
        const part = frames[i < split ? 0 : 1] as { frame: number; offset: number };
        const at = part.frame * 4096 + part.offset + (i < split ? i : i - split);
        const word = Math.floor(at / 4);
        const shift = (at % 4) * 8;
        const byte = byteOf(value, i);
        this.memory[word] = ((this.memory[word] as number) & ~(0xff << shift)) | (byte << shift);
      }
      return frames[0] as Outcome;
    }
    throw new Error(`store to 0x${linear.toString(16)} is never resolved`);
  }

  #emulate(starts: readonly number[], split: number, value: number, bytes: number, access: Access): Outcome {
    const addresses: number[] = [];
    for (const start of starts) {
      const guest = this.guestWalk(start, { ...access, write: true });
      if (typeof guest !== "number") return guest;
      addresses.push(guest);
    }
    for (let i = 0; i < bytes; i++) {
      const at = i < split ? (addresses[0] as number) + i : (addresses[1] as number) + i - split;
      this.pokeByte(at, byteOf(value, i));
    }
    this.shadow.guestWrote(addresses[0] as GuestPhysical, split);
    if (addresses.length > 1) this.shadow.guestWrote(addresses[1] as GuestPhysical, bytes - split);
    return this.#where(addresses[0] as number);
  }

  #where(address: number): Outcome {
    const frame = this.hostFrame(Math.floor(address / 4096));
    return frame === -1 ? { kind: "device", address } : { kind: "ram", frame, offset: address % 4096 };
  }

  /** The processor's translation: where, or the error code of its page fault. */
  protected translate(linear: number, access: Access): number | Outcome {
    if (this.isRegion(linear)) return codeOf(access);
    return this.hardwareWalk(linear, access);
  }

  /** The emulator's translation: by the guest's own tables, A and D included. */
  guestWalk(linear: number, access: Access): number | Outcome {
    if (!this.paging.paging) return linear;
    const { cr3, wp, pse, pae } = this.paging;
    const tables =
      pae === null ? tablesOf(PAGING_32, { ...FEATURES, pse }) : tablesOf(PAGING_PAE, { ...FEATURES, nxe: pae.nxe });
    const context = this.#context(Math.floor(cr3 / 4096) * 4096, wp, true);
    const result = walk(tables, pae === null ? context : { ...context, ...fromPae(pae) }, linear, bits(access));
    if (result.outcome !== WALK_OUTCOME.TRANSLATED) return { kind: "fault", errorCode: result.errorCode };
    return result.pageBase + (linear % 2 ** result.pageShift);
  }

  /** What the processor finds in the active shadow tables. */
  hardwareWalk(linear: number, access: Access): number | Outcome {
    const context = this.#context(this.root, true, false);
    const result = this.shadow.usesPae
      ? walk(
          HARDWARE_PAE_TABLES,
          { ...context, ...fromPae({ nxe: true, pdptes: this.#hardwarePdptes() }) },
          linear,
          bits(access),
        )
      : walk(HARDWARE_TABLES, context, linear, bits(access) & ~WALK.FETCH);
    if (result.outcome !== WALK_OUTCOME.TRANSLATED) {
      if ((result.errorCode & PF.RSVD) !== 0) throw new Error("a shadow entry with reserved bits");
      return result.errorCode;
    }
    if (result.updates !== 0) throw new Error("the processor had to set A or D in a shadow entry");
    return { kind: "ram", frame: result.pageBase / 4096, offset: linear % 4096 };
  }

  /** The processor's registers, as a VM entry loads them from the pointer table at its CR3. */
  #hardwarePdptes(): PaePaging["pdptes"] {
    if (this.root % 32 !== 0) throw new Error("a pointer table that is not aligned");
    const at = this.root / 4;
    return [0, 2, 4, 6].map((n) => {
      const low = this.memory[at + n] as number;
      if ((low & 0xffe) !== 0 || this.memory[at + n + 1] !== 0) throw new Error("a VM entry would fail by its PDPTEs");
      return [low, 0] as const;
    });
  }

  #context(root: number, writeProtect: boolean, guest: boolean): WalkContext {
    const memory = guest
      ? {
          readTable: (address: number) => this.peek(address),
          updateTable: (address: number, value: number) => {
            this.poke(address, value);
            this.shadow.marked(address as GuestPhysical);
          },
        }
      : {
          readTable: (address: number) => this.memory[address / 4] as number,
          updateTable: (address: number, value: number) => {
            this.memory[address / 4] = value;
          },
        };
    return {
      root,
      writeProtect,
      globalPages: false,
      fetchInErrorCode: false,
      memory,
      reasons: FIRST_STAGE_REASONS,
      secondStage: null,
      result: new WalkResult(),
    };
  }
}

/** One more than the region's tables need: the sum of pages must be no multiple of 5. */
const REGION_FRAMES = 4;

/**
 * A guest in whose linear space the monitor lives, with a TLB that keeps every translation until `lost` or a load of
 * CR3 takes it away. The monitor's region maps its page n to host page n modulo 7, for the supervisor and read-only.
 */
export class DeprivilegedGuest extends FakeGuest {
  /** Rights (WALK) of linear pages that were used, and their frames. */
  readonly #tlb = new Map<number, { readonly frame: number; readonly rights: Set<number> }>();
  #root = -1;
  /** Copies of watched pages, to which only what was reported has been done. */
  readonly #watched = new Map<number, { watchers: number; readonly copy: Int32Array }>();

  constructor(guestPages = 32, monitorFrames = 65, options: Partial<ShadowOptions> = {}) {
    super(guestPages, monitorFrames + REGION_FRAMES, options);
    const [table, first, second] = this.free.splice(0, REGION_FRAMES) as [number, number, number, number];
    for (let n = 0; n < 1024; n++) {
      const entry = ((n % 7) << 12) | P | A | D;
      this.memory[table * 1024 + n] = entry;
      this.memory[(n < 512 ? first : second) * 1024 + (n % 512) * 2] = entry;
    }
    Object.assign(this.options, { region: { table, paeTables: [first, second] } });
    this.shadow = new Shadow(this, this.options);
  }

  override isRegion(linear: number): boolean {
    return linear >= REGION_BASE;
  }

  /** What is wrong with the monitor's region, the TLB and the copies of watched pages. */
  problems(): string[] {
    const problems: string[] = [];
    for (const n of [0, 1, 511, 512, 1023]) {
      const found = this.hardwareWalk(REGION_BASE + n * 4096, {});
      if (typeof found === "number" || found.kind !== "ram" || found.frame !== n % 7)
        problems.push(`page ${n} of the region: ${JSON.stringify(found)}`);
    }
    for (const [page, { frame, rights }] of this.#tlb) {
      for (const access of rights) {
        const found = this.hardwareWalk(page * 4096, ACCESSES[access] as Access);
        if (typeof found === "number" || found.kind !== "ram" || found.frame !== frame)
          problems.push(`the TLB still has linear page 0x${page.toString(16)} for access ${access}`);
      }
    }
    for (const [page, { copy }] of this.#watched) {
      for (let n = 0; n < 1024; n++) {
        const at = page * 4096 + n * 4;
        if (this.peek(at) !== copy[n]) problems.push(`a write to 0x${at.toString(16)} was not heard`);
      }
    }
    return problems;
  }

  watch(page: number): void {
    this.shadow.watch(page);
    const known = this.#watched.get(page);
    if (known !== undefined) known.watchers++;
    else {
      const copy = Int32Array.from({ length: 1024 }, (_, n) => this.peek(page * 4096 + n * 4));
      this.#watched.set(page, { watchers: 1, copy });
    }
  }

  /** Takes back one `watch`, if there was one. */
  unwatch(page: number): void {
    const known = this.#watched.get(page);
    if (known === undefined) return;
    this.shadow.unwatch(page);
    if (--known.watchers === 0) this.#watched.delete(page);
  }

  watchedWrite(address: GuestPhysical, bytes: number): void {
    const { copy } = this.#watched.get(Math.floor(address / 4096)) as { copy: Int32Array };
    for (let at = address - (address % 4); at < address + bytes; at += 4) copy[(at % 4096) / 4] = this.peek(at);
    this.codes["watched"] = (this.codes["watched"] ?? 0) + 1;
  }

  lost(linear: number, bytes: number): void {
    this.codes["lost"] = (this.codes["lost"] ?? 0) + 1;
    for (const page of this.#tlb.keys()) {
      if (page * 4096 >= linear && page * 4096 < linear + bytes) this.#tlb.delete(page);
    }
  }

  override activate(change: Partial<GuestPaging>): void {
    super.activate(change);
    // With PAE paging CR3 is loaded for its pointers.
    if (this.root !== this.#root || this.shadow.usesPae) this.#tlb.clear();
    this.#root = this.root;
  }

  protected override translate(linear: number, access: Access): number | Outcome {
    if (this.isRegion(linear)) return super.translate(linear, access);
    const page = Math.floor(linear / 4096);
    const known = this.#tlb.get(page);
    if (known?.rights.has(bits(access)) === true) {
      return { kind: "ram", frame: known.frame, offset: linear % 4096 };
    }
    const found = super.translate(linear, access);
    // A page fault drops the page's translations (SDM vol. 3, 4.10.4.1).
    if (typeof found === "number" || found.kind !== "ram" || (known !== undefined && known.frame !== found.frame)) {
      this.#tlb.delete(page);
    }
    if (typeof found !== "number" && found.kind === "ram") {
      const rights = this.#tlb.get(page)?.rights ?? new Set();
      this.#tlb.set(page, { frame: found.frame, rights: rights.add(bits(access)) });
    }
    return found;
  }
}

/** Accesses by their bits. */
const ACCESSES: readonly Access[] = Array.from({ length: 8 }, (_, n) => ({
  write: (n & WALK.WRITE) !== 0,
  user: (n & WALK.USER) !== 0,
  fetch: (n & WALK.FETCH) !== 0,
}));

/** Byte `i` of the value of a store; bytes beyond the fourth repeat the value. */
export function byteOf(value: number, i: number): number {
  return (value >>> (8 * (i % 4))) & 0xff;
}

/** Error code of a page fault, but for P. */
function codeOf(access: Access): number {
  return (access.write === true ? PF.WR : 0) | (access.user === true ? PF.US : 0) | (access.fetch === true ? PF.ID : 0);
}

function bits(access: Access): number {
  return (
    (access.write === true ? WALK.WRITE : 0) |
    (access.user === true ? WALK.USER : 0) |
    (access.fetch === true ? WALK.FETCH : 0)
  );
}

function fromPae({ nxe, pdptes }: PaePaging): Pick<WalkContext, "fetchInErrorCode" | "pdptes"> & object {
  return { fetchInErrorCode: nxe, pdptes };
}

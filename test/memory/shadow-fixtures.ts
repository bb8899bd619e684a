/**
 * A guest on shadow page tables without a processor: guest RAM behind a shuffled pmap, monitor frames, and "hardware"
 * that walks the shadow tables with the project's walker, CR0.WP set, no TLB, and asks the shadow about each fault.
 */
import type { GuestPhysical, HostPhysical } from "../../sim/memory/address.ts";
import { PAGING_32, PAGING_PAE, tablesOf } from "../../sim/memory/page-tables.ts";
import { type GuestPaging, type PaePaging, Shadow, type ShadowOptions } from "../../sim/memory/shadow.ts";
import type { ShadowHost, ShadowStep } from "../../sim/memory/shadow-host.ts";
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
      const hardware = this.#hardwareWalk(linear, access);
      if (typeof hardware !== "number") return hardware;
      const fault = this.shadow.fault(linear, hardware);
      this.faults.push(fault.kind);
      if (fault.kind === "guest") {
        const name = `code.${fault.errorCode}`;
        this.codes[name] = (this.codes[name] ?? 0) + 1;
        return { kind: "fault", errorCode: fault.errorCode };
      }
      if (fault.kind === "device") return { kind: "device", address: fault.address };
      if (fault.kind === "traced-write") {
        const frame = this.hostFrame(Math.floor(fault.address / 4096));
        return { kind: "ram", frame, offset: fault.address % 4096 };
      }
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
        const hardware = this.#hardwareWalk(start, { ...access, write: true });
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
    const first = addresses[0] as number;
    const frame = this.hostFrame(Math.floor(first / 4096));
    return frame === -1 ? { kind: "device", address: first } : { kind: "ram", frame, offset: first % 4096 };
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

  #hardwareWalk(linear: number, access: Access): number | Outcome {
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
          updateTable: (address: number, value: number) => this.poke(address, value),
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

/** Byte `i` of the value of a store; bytes beyond the fourth repeat the value. */
export function byteOf(value: number, i: number): number {
  return (value >>> (8 * (i % 4))) & 0xff;
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

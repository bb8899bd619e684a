/**
 * The bus master of an IDE controller (SFF-8038i, "Programming Interface for Bus Master IDE Controller" 1.0; ICH7 data
 * sheet 5.16.2 and 11.2): for each channel a command, a status and the address of a table of physical regions (PRD).
 *
 * When the command says "start" and the selected disk asks for DMA in the same direction, the transfer takes the
 * board's time, then all of it happens at once: memory is read or written region by region, and the disk interrupts.
 * A table shorter than the transfer leaves the disk waiting, as on hardware; a longer one leaves "active" set.
 *
 * Left out: bus errors and the error bit that they set (only a direction that contradicts the disk's sets it); time
 * of the single regions; what software sees of memory in the middle of a transfer.
 */
import type { Timed } from "../clock.ts";
import type { DmaPort } from "./dma.ts";
import type { IdeChannel } from "./ide.ts";
import { allOnes, type PortDevice } from "./ports.ts";

/** Ports that the function's base address register 4 places: eight for each channel. */
export const BUS_MASTER_PORTS = 16;
const REGISTER = { command: 0, status: 2, table: 4 } as const;
const COMMAND = { start: 0x01, toMemory: 0x08 } as const;
const STATUS = { active: 0x01, error: 0x02, interrupt: 0x04, capable: 0x60 } as const;
const PRD_BYTES = 8;
const END_OF_TABLE = 0x80;
/** A table may not cross 64 KB, so it has so many entries at most: what a walk of a bad one is bounded by. */
const MAX_REGIONS = 8192;

/** How long a transfer takes in ticks: the time to its first byte, and that of each sector. */
export interface TransferTimes {
  readonly access: number;
  readonly sector: number;
}

interface Channel {
  command: number;
  status: number;
  /** Address of the table. */
  table: number;
  /** Tick at which the transfer under way ends; Infinity when there is none. */
  due: number;
}

/** Both channels as plain data. A transfer under way is `due`, null when there is none. */
export type BusMasterState = readonly (Readonly<Omit<Channel, "due">> & { readonly due: number | null })[];

interface BusMasterParts {
  readonly channels: readonly IdeChannel[];
  readonly dma: DmaPort;
  readonly times: TransferTimes;
  readonly now: () => number;
  /** Whether the function may be master of the bus (PCI command, bit 2); while not, no transfer begins. */
  readonly mayMaster: () => boolean;
}

export class IdeBusMaster implements PortDevice, Timed {
  readonly width = 4;
  readonly #parts: BusMasterParts;
  readonly #channels: readonly Channel[];

  constructor(parts: BusMasterParts) {
    this.#parts = parts;
    this.#channels = parts.channels.map(() => ({ command: 0, status: 0, table: 0, due: Number.POSITIVE_INFINITY }));
  }

  reset(): void {
    for (const [n, channel] of this.#channels.entries()) {
      Object.assign(channel, { command: 0, table: 0, due: Number.POSITIVE_INFINITY });
      // Firmware says which disks can do DMA.
      const [first, second] = this.#channel(n).disks;
      channel.status = (first === undefined ? 0 : 0x20) | (second === undefined ? 0 : 0x40);
    }
  }

  save(): BusMasterState {
    return this.#channels.map((channel) => ({ ...channel, due: Number.isFinite(channel.due) ? channel.due : null }));
  }

  restore(data: BusMasterState): void {
    for (const [n, saved] of data.entries()) {
      Object.assign(this.#channels[n] as Channel, saved, { due: saved.due ?? Number.POSITIVE_INFINITY });
    }
  }

  nextDeadline(): number {
    let earliest = Number.POSITIVE_INFINITY;
    for (const { due } of this.#channels) if (due < earliest) earliest = due;
    return earliest;
  }

  due(now: number): void {
    for (const [n, channel] of this.#channels.entries()) if (channel.due <= now) this.#transfer(n, channel);
  }

  /** Something has happened on a channel: its disk may ask for a transfer, or interrupt, or have been reset. */
  activity(n: number): void {
    const channel = this.#channels[n] as Channel;
    const ide = this.#channel(n);
    if (ide.takeInterrupt()) channel.status |= STATUS.interrupt;
    const request = ide.selected?.dmaRequest ?? null;
    if (request === null || !this.#parts.mayMaster()) {
      channel.due = Number.POSITIVE_INFINITY;
      return;
    }
    if ((channel.status & STATUS.active) === 0 || channel.due !== Number.POSITIVE_INFINITY) return;
    const toMemory = (channel.command & COMMAND.toMemory) !== 0;
    if (toMemory !== (request.direction === "read")) {
      channel.status = (channel.status & ~STATUS.active) | STATUS.error;
      return;
    }
    const { times, now } = this.#parts;
    channel.due = now() + times.access + request.sectors * times.sector;
  }

  readPort(port: number, bytes: number): number {
    const channel = this.#channels[(port >> 3) & 1];
    if (channel === undefined) return allOnes(bytes);
    let value = 0;
    for (let i = 0; i < bytes; i++) value += this.#readByte(channel, (port + i) & 7) * 2 ** (8 * i);
    return value;
  }

  writePort(port: number, bytes: number, value: number): void {
    const n = (port >> 3) & 1;
    const channel = this.#channels[n];
    if (channel === undefined) return;
    for (let i = 0; i < bytes; i++) this.#writeByte(n, channel, (port + i) & 7, (value >>> (8 * i)) & 0xff);
  }

  #channel(n: number): IdeChannel {
    return this.#parts.channels[n] as IdeChannel;
  }

  #readByte(channel: Channel, register: number): number {
    if (register === REGISTER.command) return channel.command;
    if (register === REGISTER.status) return channel.status;
    return register < REGISTER.table ? 0 : (channel.table >>> (8 * (register - REGISTER.table))) & 0xff;
  }

  #writeByte(n: number, channel: Channel, register: number, value: number): void {
    if (register >= REGISTER.table) {
      const shift = 8 * (register - REGISTER.table);
      channel.table = ((channel.table & ~(0xff << shift)) | (value << shift)) & ~3;
      channel.table >>>= 0;
    } else if (register === REGISTER.status) {
      const cleared = value & (STATUS.error | STATUS.interrupt);
      channel.status = (channel.status & ~STATUS.capable & ~cleared) | (value & STATUS.capable);
    } else if (register === REGISTER.command) {
      const starts = (value & ~channel.command & COMMAND.start) !== 0;
      channel.command = value & (COMMAND.start | COMMAND.toMemory);
      if (starts) channel.status |= STATUS.active;
      if ((value & COMMAND.start) === 0) {
        channel.status &= ~STATUS.active;
        channel.due = Number.POSITIVE_INFINITY;
      }
      this.activity(n);
    }
  }

  /** Moves the bytes of the transfer whose time has come. */
  #transfer(n: number, channel: Channel): void {
    channel.due = Number.POSITIVE_INFINITY;
    const ide = this.#channel(n);
    const disk = ide.selected;
    const request = disk?.dmaRequest ?? null;
    if (disk === undefined || request === null) return;
    const { dma } = this.#parts;
    const regions = this.#regions(channel.table);
    const data = request.direction === "read" ? disk.readDma() : new Uint8Array(request.sectors * 512);
    let at = 0;
    let used = 0;
    for (const { address, bytes } of regions) {
      if (at === data.length) break;
      const part = data.subarray(at, Math.min(data.length, at + bytes));
      if (request.direction === "read") dma.write(address, part);
      else dma.read(address, part);
      at += part.length;
      // A region that is used to its end is done with.
      if (part.length === bytes) used++;
    }
    if (used === regions.length) channel.status &= ~STATUS.active;
    if (at < data.length) return;
    if (request.direction === "write") disk.writeDma(data);
    disk.finishDma();
    ide.update();
    this.activity(n);
  }

  /** The table of regions, to the entry that ends it. */
  #regions(table: number): { readonly address: number; readonly bytes: number }[] {
    const regions = [];
    const entry = new Uint8Array(PRD_BYTES);
    const view = new DataView(entry.buffer);
    for (let at = table; regions.length < MAX_REGIONS; at += PRD_BYTES) {
      this.#parts.dma.read(at, entry);
      const bytes = view.getUint16(4, true) & ~1;
      regions.push({ address: (view.getUint32(0, true) & ~1) >>> 0, bytes: bytes === 0 ? 0x10000 : bytes });
      if ((view.getUint8(7) & END_OF_TABLE) !== 0) break;
    }
    return regions;
  }
}

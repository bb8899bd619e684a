/**
 * Vectors of 16-bit protected mode, recorded by harness/ldt16.c through segments of a local descriptor table (README.md),
 * and a core in their situation: CPL 3, paging on, the recorder's descriptors.
 */
import { readdirSync, readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { Alarms, Clock } from "../../sim/clock.ts";
import type { Bus } from "../../sim/cpu/bus.ts";
import { Core } from "../../sim/cpu/core.ts";
import type { Profile } from "../../sim/cpu/profiles/profile.ts";
import { CELL, CR0, gprCell, RIGHTS, SEG } from "../../sim/cpu/state.ts";
import { Ledger } from "../../sim/ledger.ts";
import { PhysicalMemory, RAM_OFFSET } from "../../sim/memory/physical.ts";
import { backgroundByte, registerNames, segmentNames } from "./load.ts";

const dataDirectory = new URL("./data/", import.meta.url);
const PREFIX = "ldt16-";
const SUFFIX = ".jsonl.gz";

interface Header {
  readonly layout: { readonly code: string; readonly data: string; readonly bytes: number };
  /** GDT entries by selector, and LDT entries in order, as hexadecimal descriptors. */
  readonly gdt: Readonly<Record<string, string>>;
  readonly ldt: readonly string[];
  readonly forms: readonly { readonly name: string; readonly size: number; readonly undefinedFlags: number }[];
}

/** A line of a data file; README.md says what the letters are. */
export interface Ldt16Vector {
  readonly f: number;
  readonly b: string;
  readonly p: string;
  readonly s: readonly number[];
  readonly r: string;
  readonly e: string;
  readonly m: Readonly<Record<string, string>>;
  readonly i?: string;
  readonly E?: string;
  readonly R?: Readonly<Record<string, string>>;
  readonly S?: Readonly<Record<string, number>>;
  readonly M?: Readonly<Record<string, string>>;
  readonly x?: readonly [vector: number, errorCode?: number];
  readonly u?: string;
  readonly ur?: readonly [register: string, mask: string];
  readonly um?: readonly [offset: number, length: number];
}

export function ldt16Families(): string[] {
  return readdirSync(dataDirectory)
    .filter((name) => name.startsWith(PREFIX) && name.endsWith(SUFFIX))
    .map((name) => name.slice(PREFIX.length, -SUFFIX.length))
    .sort();
}

export function loadLdt16(family: string): { header: Header; vectors: Ldt16Vector[] } {
  const text = gunzipSync(readFileSync(new URL(PREFIX + family + SUFFIX, dataDirectory))).toString("latin1");
  const [header, ...lines] = text.split("\n").filter((line) => line !== "");
  if (header === undefined) throw new Error(`vector file of family ${family} is empty`);
  return { header: JSON.parse(header) as Header, vectors: lines.map((line) => JSON.parse(line) as Ldt16Vector) };
}

const hex = (text: string): number => Number.parseInt(text, 16);
const show = (value: number): string => (value >>> 0).toString(16);

const silentBus: Bus = {
  readPort: () => 0xff,
  writePort: () => undefined,
  readMemory: () => 0xffffffff,
  writeMemory: () => undefined,
  interruptLine: false,
  acknowledgeInterrupt: () => 0,
  nmiLine: false,
  acknowledgeNmi: () => undefined,
};

const PAGE = 0x1000;
/** Physical memory: tables of the kernel, which appear at KERNEL, and the frames of code and data. */
const AT = {
  directory: 0x1000,
  idt: 0x2000,
  tss: 0x3000,
  stack: 0x6000,
  ldt: 0x7000,
  gdt: 0x10000,
  firstTable: 0x8000,
  handlers: 0xe000,
  code: 0x40000,
  data: 0x60000,
} as const;
const KERNEL = 0xc0000000;
const CODE_BYTES = 0x10000;
const INT3 = 0xcc;
const KERNEL_CODE = 0x08;
const KERNEL_DATA = 0x10;
const TSS_SELECTOR = 0x18;
const LDT_SELECTOR = 0x30;
const GDT_LIMIT = 0xfff7;
const ERROR_CODE_VECTORS = [8, 10, 11, 12, 13, 14, 17];

export class Ldt16Rig {
  readonly #memory = new PhysicalMemory(0x100000);
  readonly #core: Core;
  readonly #header: Header;
  readonly #pristine: Uint8Array;

  constructor(header: Header, profile: Profile) {
    const memory = this.#memory;
    this.#header = header;
    const ledger = new Ledger(new Clock(memory.timeCells, profile.frequencyMHz));
    const alarms = new Alarms();
    this.#core = new Core({ index: 0, memory, bus: silentBus, ledger, alarms, profile, seed: 1, maxBlock: 32 });
    const data = hex(header.layout.data);
    this.#pristine = Uint8Array.from({ length: header.layout.bytes }, (_, n) => backgroundByte(data + n));
    this.#map(KERNEL, 0, 0x100000, 3);
    this.#map(hex(header.layout.code), AT.code, CODE_BYTES, 7);
    this.#map(data, AT.data, header.layout.bytes, 7);
    for (let n = 0; n < CODE_BYTES; n++) memory.write8(AT.code + n, INT3);
    this.#writeTables();
  }

  /** Runs one vector; what differs from the recording. */
  run(vector: Ldt16Vector): string[] {
    const memory = this.#memory;
    const { state } = this.#core;
    const at = hex(vector.p);
    const bytes = Uint8Array.from(vector.b.match(/../g) ?? [], hex);
    memory.copyIn(AT.data, this.#pristine);
    for (const [offset, text] of Object.entries(vector.m)) this.#poke(hex(offset), text);
    for (const [n, byte] of bytes.entries()) if (at + n < CODE_BYTES) memory.write8(AT.code + at + n, byte);
    for (let n = 0; n < 8; n++) state.set(gprCell(n), hex(vector.r.slice(8 * n, 8 * n + 8)));
    state.flags = hex(vector.e) | 2;
    state.eip = at;
    this.#setSegments(vector.s);

    let steps = 0;
    do {
      const stop = this.#core.run({ until: Number.POSITIVE_INFINITY, instructions: 1 });
      if (stop.kind !== "limit") return [`the core stopped: ${JSON.stringify(stop)}`];
    } while (state.get(CELL.repeating) !== 0 && ++steps < 100_000);
    const differences = this.#compare(vector, at + bytes.length);
    for (let n = 0; n < bytes.length; n++) if (at + n < CODE_BYTES) memory.write8(AT.code + at + n, INT3);
    return differences;
  }

  #compare(vector: Ldt16Vector, next: number): string[] {
    const memory = this.#memory;
    const { state } = this.#core;
    const found: string[] = [];
    const differ = (what: string, is: number, should: number): void => {
      if (is >>> 0 !== should >>> 0) found.push(`${what} is ${show(is)}, recorded ${show(should)}`);
    };
    const taken = state.cpl !== 3;
    const exception = taken ? (state.eip - KERNEL - AT.handlers) / 4 : -1;
    const hasCode = ERROR_CODE_VECTORS.includes(exception);
    const frame = AT.stack - 20;
    const gpr = Array.from({ length: 8 }, (_, n) => state.get(gprCell(n)));
    const segments = [0, 1, 2, 3, 4, 5].map((n) => state.selector(n));
    if (taken) {
      gpr[4] = memory.read32(frame + 12) >>> 0;
      segments[SEG.cs] = memory.read32(frame + 4) & 0xffff;
      segments[SEG.ss] = memory.read32(frame + 16) & 0xffff;
    }
    const flags = taken ? memory.read32(frame + 8) : state.flags;
    const eip = taken ? memory.read32(frame) >>> 0 : state.eip;

    differ("exception", exception, vector.x?.[0] ?? -1);
    if (hasCode && vector.x?.[0] === exception) differ("error code", memory.read32(frame - 4), vector.x[1] ?? -1);
    differ("eip", eip, vector.i === undefined ? (vector.x === undefined ? next : hex(vector.p)) : hex(vector.i));
    const form = this.#header.forms[vector.f];
    const undefinedFlags = vector.u === undefined ? (form?.undefinedFlags ?? 0) : hex(vector.u);
    const mask = ~(undefinedFlags | 0x10000);
    differ("eflags", flags & mask, (vector.E === undefined ? hex(vector.e) : hex(vector.E)) & mask);
    for (const [n, name] of registerNames.entries()) {
      const before = hex(vector.r.slice(8 * n, 8 * n + 8));
      const should = vector.R?.[name] === undefined ? before : hex(vector.R[name]);
      const compared = vector.ur?.[0] === name ? ~hex(vector.ur[1]) : -1;
      differ(name, (gpr[n] as number) & compared, should & compared);
    }
    for (const [n, name] of segmentNames.entries()) {
      differ(name, segments[n] as number, vector.S?.[name] ?? (vector.s[n] as number));
    }
    this.#compareMemory(vector, differ);
    return found;
  }

  #compareMemory(vector: Ldt16Vector, differ: (what: string, is: number, should: number) => void): void {
    const expected = this.#pristine.slice();
    for (const runs of [vector.m, vector.M ?? {}]) {
      for (const [offset, text] of Object.entries(runs)) {
        for (const [n, byte] of (text.match(/../g) ?? []).entries()) expected[hex(offset) + n] = hex(byte);
      }
    }
    const memory = this.#memory;
    const actual = memory.u8.subarray(RAM_OFFSET + AT.data, RAM_OFFSET + AT.data + expected.length);
    if (Buffer.compare(actual, expected) === 0) return;
    const [skipFrom, skip] = vector.um ?? [0, 0];
    for (const [n, byte] of expected.entries()) {
      if (n >= skipFrom && n < skipFrom + skip) continue;
      if (actual[n] !== byte) differ(`byte ${show(n)}`, actual[n] as number, byte);
    }
  }

  #poke(offset: number, text: string): void {
    for (const [n, byte] of (text.match(/../g) ?? []).entries()) this.#memory.write8(AT.data + offset + n, hex(byte));
  }

  #map(linear: number, frame: number, bytes: number, rights: number): void {
    const memory = this.#memory;
    for (let at = 0; at < bytes; at += PAGE) {
      const directoryEntry = AT.directory + ((linear + at) >>> 22) * 4;
      let table = memory.read32(directoryEntry) & ~0xfff;
      if (table === 0) {
        table = AT.firstTable;
        while (memory.read32(table + 0xffc) !== 0) table += PAGE;
        // The last entry of a table marks it taken; nothing here maps the top page of a 4 MB region.
        memory.write32(table + 0xffc, 0x1000000);
        memory.write32(directoryEntry, table | 0x27);
      }
      memory.write32(table + (((linear + at) >>> 12) & 0x3ff) * 4, (frame + at) | rights | 0x60);
    }
  }

  #writeTables(): void {
    const memory = this.#memory;
    const descriptor = (at: number, text: string): void => {
      memory.write32(at, hex(text.padStart(16, "0").slice(8)));
      memory.write32(at + 4, hex(text.padStart(16, "0").slice(0, 8)));
    };
    descriptor(AT.gdt + KERNEL_CODE, "00cf9b000000ffff");
    descriptor(AT.gdt + KERNEL_DATA, "00cf93000000ffff");
    descriptor(AT.gdt + TSS_SELECTOR, "c0008b0030000067");
    for (const [selector, text] of Object.entries(this.#header.gdt)) descriptor(AT.gdt + hex(selector), text);
    for (const [n, text] of this.#header.ldt.entries()) descriptor(AT.ldt + 8 * n, text);
    for (let vector = 0; vector < 256; vector++) {
      const handler = KERNEL + AT.handlers + vector * 4;
      const dpl = vector === 3 || vector === 4 ? 0x6000 : 0;
      memory.write32(AT.idt + vector * 8, (KERNEL_CODE << 16) | (handler & 0xffff));
      memory.write32(AT.idt + vector * 8 + 4, (handler & 0xffff0000) | 0x8f00 | dpl);
    }
    memory.write32(AT.tss + 4, KERNEL + AT.stack);
    memory.write32(AT.tss + 8, KERNEL_DATA);
    // No I/O permission bitmap: its base is beyond the TSS limit.
    memory.write32(AT.tss + 0x64, 0xffff0000 | 0);
  }

  #setSegments(selectors: readonly number[]): void {
    const { state } = this.#core;
    for (const [segment, selector] of selectors.entries()) {
      const text = (this.#header.ldt[selector >> 3] as string).padStart(16, "0");
      const high = hex(text.slice(0, 8));
      const low = hex(text.slice(8));
      const raw = (high & 0xf0000) | (low & 0xffff);
      const limit = (high & 0x800000) !== 0 ? (raw << 12) | 0xfff : raw;
      const base = ((high & 0xff000000) | ((high & 0xff) << 16) | (low >>> 16)) >>> 0;
      const rights = selector === 0 ? RIGHTS.UNUSABLE : (high >>> 8) & 0xf0ff;
      state.setSegment(segment, selector, base, limit >>> 0, rights);
    }
    const ldtLimit = 8 * this.#header.ldt.length - 1;
    state.setSegment(SEG.ldtr, LDT_SELECTOR, KERNEL + AT.ldt, ldtLimit, RIGHTS.P | 2);
    state.setSegment(SEG.tr, TSS_SELECTOR, KERNEL + AT.tss, 0x67, RIGHTS.P | 0xb);
    state.setNumber(CELL.gdtrBase, KERNEL + AT.gdt);
    state.set(CELL.gdtrLimit, GDT_LIMIT);
    state.setNumber(CELL.idtrBase, KERNEL + AT.idt);
    state.set(CELL.idtrLimit, 0x7ff);
    state.set(CELL.cpl, 3);
    state.set(CELL.cr0, CR0.PE | CR0.PG | CR0.WP | CR0.NE | CR0.ET);
    state.set(CELL.cr3, AT.directory);
    state.set(CELL.cr4, 0);
    for (const cell of [CELL.interruptibility, CELL.pendingDebug, CELL.repeating]) state.set(cell, 0);
    this.#core.mmu.flushTlb(1);
  }
}

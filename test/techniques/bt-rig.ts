// Translated code on the core at CPL 1, with the smallest monitor that can run it: a frame comes in by the hardware's own
// delivery, and whatever the translator leaves to a monitor is done by the same core at CPL 0, one instruction of the guest's
// own code at a time. Guest-physical memory is the first 4 MB, mapped to itself; the monitor's region lies behind it.

import { profileNamed } from "../../sim/cpu/profiles/catalogue.ts";
import { CELL, type CpuState, CR0, CR4, FLAG, GPR, gprCell, RIGHTS, SEG, STATUS_FLAGS } from "../../sim/cpu/state.ts";
import { type Arrival, TranslationCache, type Unit } from "../../sim/techniques/bt/cache.ts";
import {
  CACHE_BASE,
  controlSlot,
  DATA,
  DATA_PAGE,
  popFlagsTable,
  selectorSlot,
} from "../../sim/techniques/bt/layout.ts";
import { BT_USUAL, type BtParameters } from "../../sim/techniques/bt/parameters.ts";
import { type CodeContext, type Repair, repair } from "../../sim/techniques/bt/translation.ts";
import { Translator } from "../../sim/techniques/bt/translator.ts";
import { CALL_OUT } from "../../sim/techniques/bt/unit-writer.ts";
import { boot, LIMIT, PENTIUM4, type Rig, type Setup } from "../machine/rig.ts";

const MEGABYTE = 2 ** 20;
const GUEST_BYTES = 4 * MEGABYTE;
/** Monitor's frames, host-physical; the cache takes those from CACHE on. */
const PLACE = { directory: 0x400000, low: 0x401000, region: 0x402000, tables: 0x403000, gate: 0x404000 } as const;
const STACK_TOP = 0x406000;
const DATA_FRAME = 0x406000;
const CACHE = 0x410000;
const GDT = PLACE.tables;
const IDT = PLACE.tables + 0x100;
const TSS = PLACE.tables + 0x900;
const SELECTOR = { monitorCode: 0x08, monitorData: 0x10, cache: 0x19, data: 0x23 } as const;
const HIDDEN = { code: 0xc09b, data: 0xc093, dpl1: 0x20, dpl3: 0x60 } as const;
/** Last byte below the region. */
const TRUNCATED = 0xffbf_ffff;
/** Spacing of entries in the gate page. */
const GATE_BYTES = 8;
/** The gate page's linear address: the region's first page. */
const GATE = (CACHE_BASE & 0xffc0_0000) >>> 0;
const CALL_OUT_VECTOR = 0xe0;
const WITH_ERROR_CODE = [8, 10, 11, 12, 13, 14, 17];
const PRESENT = 1;
const WRITABLE = 2;
const USER = 4;

/** What the guest sees of flags that hardware does not have while its translation runs. */
const VIRTUAL_FLAGS = FLAG.IF | FLAG.IOPL;

export interface GuestAt {
  readonly eip: number;
  readonly registers: readonly number[];
  readonly flags: number;
}

interface Segment {
  readonly selector: number;
  readonly base: number;
  readonly limit: number;
  readonly rights: number;
}

/** What the guest has of its own beside registers, segments and flags. */
const GUEST_CELLS: readonly number[] = [
  ...[CELL.cr0, CELL.cr2, CELL.cr3, CELL.cr4],
  ...[CELL.gdtrBase, CELL.gdtrLimit, CELL.idtrBase, CELL.idtrLimit],
];

export class ToyMonitor {
  readonly rig: Rig;
  readonly cache: TranslationCache;
  readonly translator: Translator;
  /** Call-outs and faults by kind. */
  readonly counts: Record<string, number> = {};
  /** The guest has ended: the processor is shut down. */
  ended = false;
  readonly #state: CpuState;
  /** CS, SS and GS as the guest has them, and its flags that are virtual. */
  #code: Segment;
  #stack: Segment;
  #gs: Segment;
  #virtualFlags: number;
  readonly #guestCells: Map<number, number>;
  /** Where the unit goes on behind the instruction that it left to the monitor. */
  #resumeAt = -1;

  constructor(setup: Omit<Setup, "technique">, options: Partial<BtParameters> = {}) {
    this.rig = boot({ guestBytes: 8 * MEGABYTE, technique: "native", ...setup });
    const { machine } = this.rig;
    const state = machine.core.state;
    this.#state = state;
    const parameters = { ...BT_USUAL, cacheKb: 64, ...options };
    this.translator = new Translator(profileNamed(setup.profile ?? PENTIUM4), parameters);
    this.#code = this.#segment(SEG.cs);
    this.#stack = this.#segment(SEG.ss);
    this.#gs = this.#segment(SEG.gs);
    this.#virtualFlags = state.flags & VIRTUAL_FLAGS;
    this.#guestCells = new Map(GUEST_CELLS.map((cell) => [cell, state.get(cell)]));
    const { memory } = machine;
    this.cache = new TranslationCache({
      port: {
        place: (offset, bytes) => memory.copyIn(CACHE + offset, bytes),
        patch: (offset, bytes) => memory.copyIn(CACHE + offset, bytes),
      },
      options: parameters,
      onSource: (page, isSource) => {
        this.#word(PLACE.low + 4 * page, page * 4096 + PRESENT + USER + (isSource ? 0 : WRITABLE));
        machine.core.mmu.flushTlb(1);
      },
    });
    this.#setUp();
    this.cache.begin();
  }

  #word(address: number, value: number): void {
    const { memory } = this.rig.machine;
    memory.copyIn(address, Uint8Array.of(value, value >>> 8, value >>> 16, value >>> 24));
  }

  #setUp(): void {
    this.#word(PLACE.directory, PLACE.low + PRESENT + WRITABLE + USER);
    this.#word(PLACE.directory + 4, 0x400000 + PRESENT + WRITABLE + 0x80); // the monitor's frames
    this.#word(PLACE.directory + 4 * 0x3ff, PLACE.region + PRESENT + WRITABLE + USER);
    for (let page = 0; page < 1024; page++) {
      this.#word(PLACE.low + 4 * page, page * 4096 + PRESENT + WRITABLE + USER);
    }
    this.#word(PLACE.region, PLACE.gate + PRESENT);
    this.#word(PLACE.region + 4 * 4, DATA_FRAME + PRESENT + WRITABLE + USER);
    for (let page = 0; page < this.cache.size / 4096; page++) {
      this.#word(PLACE.region + 4 * (((CACHE_BASE >>> 12) & 0x3ff) + page), CACHE + page * 4096 + PRESENT + USER);
    }
    const descriptor = (selector: number, high: number): void => {
      this.#word(GDT + (selector & ~7), 0xffff);
      this.#word(GDT + (selector & ~7) + 4, 0xcf0000 | high);
    };
    descriptor(SELECTOR.monitorCode, 0x9b00);
    descriptor(SELECTOR.monitorData, 0x9300);
    for (let vector = 0; vector < 256; vector++) {
      const entry = GATE + vector * GATE_BYTES;
      this.#word(IDT + vector * 8, (SELECTOR.monitorCode << 16) | (entry & 0xffff));
      this.#word(IDT + vector * 8 + 4, (entry & 0xffff_0000) | (vector >= 0x20 ? 0xee00 : 0x8e00));
    }
    this.#word(TSS + 4, STACK_TOP);
    this.#word(TSS + 8, SELECTOR.monitorData);
    this.store(DATA.ifDeltas + 4, 0);
    this.store(DATA.ifDeltas + 8, -FLAG.IF);
  }

  #segment(segment: number): Segment {
    const state = this.#state;
    return {
      ...{ selector: state.selector(segment), base: state.segmentBase(segment) },
      ...{ limit: state.segmentLimit(segment), rights: state.segmentRights(segment) },
    };
  }

  #guest(cell: number): number {
    return this.#guestCells.get(cell) as number;
  }

  load(slot: number): number {
    return this.rig.machine.memory.read32(DATA_FRAME + slot) >>> 0;
  }

  store(slot: number, value: number): void {
    this.#word(DATA_FRAME + slot, value);
  }

  context(): CodeContext {
    const big = (rights: number): 16 | 32 => ((rights & RIGHTS.DB) !== 0 ? 32 : 16);
    const { base, limit, rights } = this.#code;
    return { codeBase: base, limit, bits: big(rights), stackBits: big(this.#stack.rights), cpl: 0, as8086: false };
  }

  /** The processor has the guest's state, at CPL 0 with its own code: as at the beginning. */
  #asGuest(): void {
    const state = this.#state;
    for (const [segment, { selector, base, limit, rights }] of [
      [SEG.cs, this.#code],
      [SEG.gs, this.#gs],
    ] as const) {
      state.setSegment(segment, selector, base, limit, rights);
    }
    state.set(CELL.cpl, 0);
    this.#truncate(0xffff_ffff, this.#stack.selector, this.#stack.rights);
    state.flags = (state.flags & ~VIRTUAL_FLAGS) | this.#virtualFlags;
    // The guest's memory is mapped to itself; it is the guest who writes, so WP does not protect sources of translations.
    for (const [cell, value] of this.#guestCells) state.set(cell, value);
    this.rig.machine.core.gatePage = -1;
    this.rig.machine.core.mmu.pagingChanged();
  }

  #truncate(limit: number, stackSelector: number, stackRights: number): void {
    const state = this.#state;
    for (const segment of [SEG.es, SEG.ds, SEG.fs, SEG.ss]) {
      const isStack = segment === SEG.ss;
      const rights = isStack ? stackRights : state.segmentRights(segment);
      const whole = state.segmentLimit(segment) >= TRUNCATED ? limit : state.segmentLimit(segment);
      const selector = isStack ? stackSelector : state.selector(segment);
      state.setSegment(segment, selector, state.segmentBase(segment), whole, rights);
    }
  }

  /** The processor has the hardware state in which translated code runs. */
  #asTranslated(address: number): void {
    const state = this.#state;
    this.#virtualFlags = state.flags & VIRTUAL_FLAGS;
    this.store(DATA.ifDelta, (this.#virtualFlags & FLAG.IF) === 0 ? -FLAG.IF : 0);
    this.store(DATA.ioplDelta, this.#virtualFlags & FLAG.IOPL);
    for (const [n, cell] of [CELL.cr0, CELL.cr2, CELL.cr3, CELL.cr4].entries()) {
      this.store(controlSlot(n === 0 ? 0 : n + 1), this.#guest(cell));
    }
    this.rig.machine.memory.copyIn(DATA_FRAME + DATA.popFlags, popFlagsTable((this.#virtualFlags >> 12) & 3));
    this.store(DATA.port80, this.rig.machine.board.post.code);
    this.store(DATA.ts, this.#guest(CELL.cr0) & CR0.TS);
    for (const segment of [SEG.es, SEG.ds, SEG.fs]) this.store(selectorSlot(segment), state.selector(segment));
    this.store(selectorSlot(SEG.cs), this.#code.selector);
    this.store(selectorSlot(SEG.ss), this.#stack.selector);
    this.store(selectorSlot(SEG.gs), this.#gs.selector);
    state.setSegment(SEG.cs, SELECTOR.cache, 0, 0xffff_ffff, HIDDEN.code | HIDDEN.dpl1);
    state.set(CELL.cpl, 1);
    this.#truncate(TRUNCATED, (this.#stack.selector & ~3) | 1, this.#stack.rights | HIDDEN.dpl1);
    state.setSegment(SEG.gs, SELECTOR.data, DATA_PAGE, 0xfff, HIDDEN.data | HIDDEN.dpl3);
    state.setSegment(SEG.tr, 0x28, TSS, 0x67, 0x8b);
    state.set(CELL.gdtrBase, GDT);
    state.set(CELL.gdtrLimit, 0xff);
    state.set(CELL.idtrBase, IDT);
    state.set(CELL.idtrLimit, 0x7ff);
    state.flags = (state.flags & ~VIRTUAL_FLAGS) | FLAG.IF;
    state.eip = address;
    state.set(CELL.cr3, PLACE.directory);
    state.set(CELL.cr4, this.#guest(CELL.cr4) | CR4.PSE);
    state.set(CELL.cr0, this.#guest(CELL.cr0) | CR0.PG | CR0.WP);
    const { core } = this.rig.machine;
    core.gatePage = PLACE.gate >>> 12;
    core.mmu.pagingChanged();
  }

  /** Executes the guest's instruction at CS:EIP by itself. */
  #stepGuest(): void {
    this.#asGuest();
    const state = this.#state;
    do {
      const stop = this.rig.machine.core.run({ until: LIMIT, instructions: 1 });
      if (stop.kind === "triple-fault") this.ended = true;
      else if (stop.kind !== "limit") throw new Error(`toy monitor: ${JSON.stringify(stop)}`);
    } while (!this.ended && state.get(CELL.repeating) !== 0);
    for (const cell of GUEST_CELLS) this.#guestCells.set(cell, state.get(cell));
    this.#code = this.#segment(SEG.cs);
    this.#stack = this.#segment(SEG.ss);
    this.#gs = this.#segment(SEG.gs);
    this.#virtualFlags = state.flags & VIRTUAL_FLAGS;
  }

  /** The guest's state into the processor from the middle of a unit, as `recover` says. */
  #repair(repairs: readonly Repair[]): void {
    const state = this.#state;
    repair(repairs, {
      register: (n) => state.get(gprCell(n)),
      setRegister: (n, value) => state.set(gprCell(n), value),
      setStatusFlags: (lahf, overflow) => {
        const flags = (lahf & STATUS_FLAGS & ~FLAG.OF) | (overflow ? FLAG.OF : 0);
        state.flags = (state.flags & ~STATUS_FLAGS) | flags;
      },
      load: (slot) => this.load(slot),
      store: (slot, value) => this.store(slot, value),
    });
    this.rig.machine.board.post.code = this.load(DATA.port80) & 0xff;
    this.#virtualFlags = (this.load(DATA.ifDelta) === 0 ? FLAG.IF : 0) | this.load(DATA.ioplDelta);
    state.flags = (state.flags & ~VIRTUAL_FLAGS) | this.#virtualFlags;
  }

  /** The unit at the guest's EIP, translated if need be. */
  #unitAt(eip: number): Unit | null {
    const context = this.context();
    const known = this.cache.lookup(eip, context);
    if (known !== undefined) return known;
    const { memory } = this.rig.machine;
    const fetch = (linear: number): number | null =>
      linear < GUEST_BYTES ? (memory.u8[0x10000 + linear] as number) : null;
    const translation = this.translator.translate(eip, context, fetch);
    if (translation === null) return null;
    const [linear, length] = translation.source;
    const frames: number[] = [];
    for (let page = linear >>> 12; page <= (linear + Math.max(length, 1) - 1) >>> 12; page++) frames.push(page);
    return this.cache.place(translation, frames);
  }

  /** Takes the guest into its translation; false when it has none, and `step` must go on. */
  enter(): boolean {
    const resume = this.#resumeAt;
    this.#resumeAt = -1;
    if (resume >= 0) {
      this.#asTranslated(resume);
      return true;
    }
    const unit = this.#unitAt(this.#state.eip);
    if (unit === null) return false;
    this.cache.use(unit.translation.context);
    this.#asTranslated(unit.address);
    return true;
  }

  /** Whether the processor is in translated code, at its next instruction's address. */
  get address(): number {
    return this.#state.eip;
  }

  /** Executes at most `instructions` of the cache; then the guest is either in the cache, or has arrived. */
  run(instructions?: number): "arrived" | "limit" {
    const stop = this.rig.machine.core.run({ until: LIMIT, ...(instructions === undefined ? {} : { instructions }) });
    // INT E0h, or a fault, has been the last: one more step is the arrival.
    if (stop.kind === "limit") return this.address >>> 12 === GATE >>> 12 ? this.run() : "limit";
    if (stop.kind !== "monitor-entry") throw new Error(`toy monitor: ${JSON.stringify(stop)}`);
    this.#arrived(stop.offset / GATE_BYTES);
    return "arrived";
  }

  /** From the frame on the monitor's stack back to where the guest was; then what the arrival asks for. */
  #arrived(vector: number): void {
    const state = this.#state;
    const { memory } = this.rig.machine;
    const frame = state.get(GPR.esp) + (WITH_ERROR_CODE.includes(vector) ? 4 : 0);
    const word = (n: number): number => memory.read32(frame + 4 * n) >>> 0;
    const eip = word(0);
    // Faults push RF = 1.
    state.flags = word(2) & ~FLAG.RF;
    state.set(GPR.esp, word(3));
    const { selector, base, limit, rights } = this.#stack;
    state.setSegment(SEG.ss, selector, base, limit, rights);
    if (vector !== CALL_OUT_VECTOR) {
      this.#count(`fault ${vector}`);
      this.#recover(eip);
      this.#step();
      return;
    }
    const arrival = this.cache.arrival(eip - CALL_OUT.length);
    if (arrival === undefined) throw new Error(`toy monitor: call-out from ${eip.toString(16)}`);
    this.#repair([]);
    this.#calledOut(arrival);
  }

  #recover(address: number): void {
    const recovered = this.cache.recover(address);
    if (recovered === undefined) throw new Error(`toy monitor: nothing at ${address.toString(16)}`);
    this.#repair(recovered.point.repairs);
    this.#state.eip = recovered.point.eip;
  }

  /** The guest's state is in the processor, precise; it goes on with the instruction at EIP. */
  #step(): void {
    const page = this.#state.get(CELL.cr2) >>> 12;
    this.#stepGuest();
    this.cache.invalidate(page << 12, 4096);
  }

  #calledOut(arrival: Arrival): void {
    const state = this.#state;
    if (arrival.kind === "armed") {
      this.#count("armed");
      this.cache.disarm(arrival.unit);
      state.eip = arrival.point.eip;
      this.#stepGuest();
      return;
    }
    const { unit, callOut } = arrival;
    this.#count(callOut.kind);
    state.eip = callOut.eip;
    if (callOut.kind === "translate") {
      const to = this.#unitAt(callOut.eip);
      const exit = this.cache.exitOf(unit, callOut);
      if (to !== null && exit !== undefined) this.cache.chain(unit, exit, to);
    } else if (callOut.kind === "lookup") {
      this.#stepGuest();
      const to = this.ended ? null : this.#unitAt(state.eip);
      if (to !== null) this.cache.learn(callOut.eip, to);
    } else {
      if (callOut.kind === "instruction") this.#stepGuest();
      const next = (callOut.eip + callOut.length) >>> 0;
      if (callOut.resume >= 0 && !unit.dead && !this.ended && state.eip === next) {
        this.#resumeAt = unit.address + callOut.resume;
        this.#count("resumed");
      }
    }
  }

  #count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }

  /** Runs the guest until it ends, or so many arrivals; `before` is told that it is about to run in its translation. */
  finish(arrivals: number, before?: () => void): void {
    for (let n = 0; n < arrivals && !this.ended; n++) {
      if (!this.enter()) this.#stepGuest();
      else {
        before?.();
        this.run();
      }
    }
  }

  /** Precise state of the guest, which is in the middle of its translation; the processor's is left as it is. */
  guestAt(): GuestAt {
    const state = this.#state;
    const saved = state.save();
    const slots = Array.from({ length: 64 }, (_, n) => this.load(4 * n));
    this.#recover(state.eip);
    const { flags } = state;
    const registers = Array.from({ length: 8 }, (_, n) => state.get(gprCell(n)));
    const { eip } = state;
    state.restore(saved);
    for (const [n, value] of slots.entries()) this.store(4 * n, value);
    return { eip, registers, flags };
  }
}

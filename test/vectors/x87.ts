/**
 * Reads the x87 vectors of data/x87-*.jsonl.gz (README.md, "x87") and runs them in a core: CPL 0, paging off, since nothing
 * in them depends on either. What the manual leaves undefined, and where makers differ, is left out by `comparable`.
 */
import { readdirSync, readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { Alarms, Clock } from "../../sim/clock.ts";
import type { Bus } from "../../sim/cpu/bus.ts";
import { Core } from "../../sim/cpu/core.ts";
import type { Profile } from "../../sim/cpu/profiles/profile.ts";
import { CELL, CR0, GPR, RIGHTS, SEG, X87, x87RegisterCell } from "../../sim/cpu/state.ts";
import { Ledger } from "../../sim/ledger.ts";
import { PhysicalMemory } from "../../sim/memory/physical.ts";

const directory = new URL("./data/", import.meta.url);
const suffix = ".jsonl.gz";
const CODE = 0x1000;
const DATA = 0x2000;
const FILL = 0x5a;
const STATUS_FLAGS = 0x8d5;
const C0 = 0x100;
const C1 = 0x200;
const C2 = 0x400;
const C3 = 0x4000;
const CONDITIONS = C0 | C2 | C3;
const FLAT = RIGHTS.G | RIGHTS.DB | RIGHTS.P | RIGHTS.S;

/** A line of a data file: lower case before, upper case after where it differs. Strings are hexadecimal. */
export interface X87Vector {
  readonly f: number;
  /** instruction, without a memory operand's address: that is [EDI] */
  readonly b: string;
  /** control word, status word, bit per register that is not empty, status flags of EFLAGS */
  readonly c: string;
  readonly s: string;
  readonly v: string;
  readonly e: string;
  /** ST(n), where not 2^n */
  readonly r: Readonly<Record<string, string>>;
  readonly m?: string;
  readonly C?: string;
  readonly S: string;
  /** tag word */
  readonly T: string;
  readonly E?: string;
  /** physical registers that changed */
  readonly R?: Readonly<Record<string, string>>;
  readonly M?: string;
}

export interface X87Family {
  readonly names: readonly string[];
  readonly vectors: readonly X87Vector[];
}

export function x87Families(): string[] {
  return readdirSync(directory)
    .filter((name) => name.startsWith("x87-") && name.endsWith(suffix))
    .map((name) => name.slice(0, -suffix.length))
    .sort();
}

export function loadX87Vectors(family: string): X87Family {
  const text = gunzipSync(readFileSync(new URL(family + suffix, directory))).toString("latin1");
  const [first, ...rest] = text.split("\n").filter((line) => line !== "");
  const header = JSON.parse(first!) as { forms: { name: string }[] };
  return { names: header.forms.map((form) => form.name), vectors: rest.map((line) => JSON.parse(line) as X87Vector) };
}

const bus: Bus = {
  readPort: () => 0xff,
  writePort: () => undefined,
  readMemory: () => 0xffffffff,
  writeMemory: () => undefined,
  interruptLine: false,
  acknowledgeInterrupt: () => 0,
  nmiLine: false,
  acknowledgeNmi: () => undefined,
};

const hex = (value: number): string => value.toString(16);
const number = (text: string): number => Number.parseInt(text, 16);

export class X87Rig {
  readonly #memory = new PhysicalMemory(0x10000);
  readonly #core: Core;

  constructor(profile: Profile) {
    const ledger = new Ledger(new Clock(this.#memory.timeCells, profile.frequencyMHz));
    this.#core = new Core({
      index: 0,
      memory: this.#memory,
      bus,
      ledger,
      alarms: new Alarms(),
      profile,
      seed: 1,
      maxBlock: 4,
    });
    const state = this.#core.state;
    for (const segment of [SEG.es, SEG.ss, SEG.ds, SEG.fs, SEG.gs]) {
      state.setSegment(segment, 0x10, 0, 0xffffffff, FLAT | 3);
    }
    state.setSegment(SEG.cs, 8, 0, 0xffffffff, FLAT | 0xb);
    state.set(CELL.cr0, CR0.PE | CR0.NE | CR0.ET);
  }

  /** Runs one vector; one line per difference from the recording. */
  run(name: string, vector: X87Vector): string[] {
    const state = this.#core.state;
    const top = (number(vector.s) >>> 11) & 7;
    const before: string[] = [];
    for (let i = 0; i < 8; i++) {
      const text = vector.r[i] ?? `${hex(16383 + i).padStart(4, "0")}8000000000000000`;
      before[(top + i) & 7] = text;
      const cell = x87RegisterCell((top + i) & 7);
      state.u64[cell >> 1] = BigInt(`0x${text.slice(4)}`);
      state.set(cell + 2, number(text.slice(0, 4)));
    }
    state.set(X87.control, number(vector.c));
    state.set(X87.status, number(vector.s));
    state.set(X87.valid, number(vector.v));
    state.flags = number(vector.e) | 2;
    state.set(GPR.edi, DATA);
    state.eip = CODE;
    this.#memory.copyIn(CODE, Buffer.from(vector.b, "hex"));
    this.#memory.copyIn(DATA, new Uint8Array(16).fill(FILL));
    if (vector.m !== undefined) this.#memory.copyIn(DATA, Buffer.from(vector.m, "hex").reverse());
    const stop = this.#core.run({ until: Number.POSITIVE_INFINITY, instructions: 1 });
    if (stop.kind !== "limit") return [`the core stopped: ${JSON.stringify(stop)}`];

    const found: string[] = [];
    const differ = (what: string, is: string, should: string): void => {
      if (is !== should) found.push(`${what} is ${is}, recorded ${should}`);
    };
    const mask = comparable(name, vector);
    const statusWord = state.get(X87.status);
    differ("control", hex(state.get(X87.control)), vector.C ?? vector.c);
    differ("status", hex(statusWord & mask), hex(number(vector.S) & mask));
    if (!stopped(vector)) differ("flags", hex(state.flags & STATUS_FLAGS), vector.E ?? vector.e);
    for (let n = 0; n < 8; n++) {
      const cell = x87RegisterCell(n);
      const is =
        hex(state.get(cell + 2)).padStart(4, "0") + (state.u64[cell >> 1] as bigint).toString(16).padStart(16, "0");
      const should = vector.R?.[n] ?? before[n]!;
      if (!isTranscendental(name) || !areNeighbours(is, should)) differ(`R${n}`, is, should);
      const empty = ((number(vector.T) >>> (2 * n)) & 3) === 3;
      differ(`R${n} empty`, String(((state.get(X87.valid) >>> n) & 1) === 0), String(empty));
    }
    if (vector.m !== undefined) {
      const bytes: number[] = [];
      for (let i = 0; i < vector.m.length / 2; i++) bytes.push(this.#memory.read8(DATA + i));
      differ("memory", Buffer.from(bytes.reverse()).toString("hex"), vector.M ?? vector.m);
    }
    return found;
  }
}

/** Instructions whose results processors approximate: up to one unit in the last place counts as equal. */
function isTranscendental(name: string): boolean {
  return /^F(2XM1|YL2X|YL2XP1|PTAN|PATAN|SIN|COS|SINCOS)$/.test(name);
}

function areNeighbours(a: string, b: string): boolean {
  const [x, y] = [BigInt(`0x${a}`), BigInt(`0x${b}`)];
  const distance = x - y;
  if (distance >= -1n && distance <= 1n) return true;
  // From the largest significand of one exponent to the smallest of the next.
  const top = 1n << 63n;
  return distance === top + 1n || distance === -(top + 1n);
}

/** Whether an unmasked exception kept the instruction from completing: invalid operation or denormal operand. */
function stopped(vector: X87Vector): boolean {
  return (number(vector.S) & ~number(vector.s) & ~number(vector.c) & 3) !== 0;
}

/**
 * Vectors in which the recording processor does what the SDM does not say: it loads a denormal although the exception is
 * unmasked (SDM vol. 1, 8.5.2: the stack stays).
 */
export function differsByMaker(name: string, vector: X87Vector): boolean {
  if (isUndefined(name, vector)) return true;
  return /^FLD m(32|64)/.test(name) && stopped(vector) && (number(vector.S) & 2) !== 0;
}

/** Arguments for which SDM volume 2 leaves the result undefined: F2XM1 beyond 1, FYL2XP1 outside of sqrt(1/2) - 1 to sqrt(2) - 1. */
function isUndefined(name: string, vector: X87Vector): boolean {
  if (name !== "F2XM1" && name !== "FYL2XP1") return false;
  const text = vector.r[0] ?? "3fff8000000000000000";
  const exponent = number(text.slice(0, 4)) & 0x7fff;
  const significand = BigInt(`0x${text.slice(4)}`);
  if (exponent === 0x7fff) return (significand << 1n) % (1n << 64n) === 0n;
  if (name === "F2XM1") return exponent > 0x3fff || (exponent === 0x3fff && significand > 1n << 63n);
  return (
    exponent > 0x3ffd ||
    (exponent === 0x3ffd && significand > (number(text[0]!) > 7 ? 0x95f6_1998_0c43_36f7n : 0xd413_cccf_e779_9211n))
  );
}

/**
 * Bits of the status word to compare: condition codes that are defined (SDM vol. 2, "FPU Flags Affected"). Makers differ in
 * the codes of a comparison that an unmasked exception stops, and in C1 after FCOMI and FFREE.
 */
function comparable(name: string, vector: X87Vector): number {
  const all = 0xffff;
  if (/^F(U?COMI|FREE)/.test(name)) return all & ~CONDITIONS & ~C1;
  if (/^F(U?COM|ICOM|TST)/.test(name)) return stopped(vector) ? all & ~CONDITIONS : all;
  // C1 tells in which direction an approximation was rounded.
  if (isTranscendental(name)) return all & ~(C0 | C1 | C3);
  if (/^F(XAM|NINIT|NSTCW|NSTSW)/.test(name)) return all;
  return /^FPREM/.test(name) && (number(vector.S) & 1) === 0 ? all : all & ~CONDITIONS;
}

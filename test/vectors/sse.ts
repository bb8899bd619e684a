/**
 * Reads the MMX and SSE vectors of data/simd-*.jsonl.gz (README.md, "MMX and SSE") and runs them in a core: CPL 0, paging
 * off, since nothing in them depends on either.
 */
import { readdirSync, readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import type { Profile } from "../../sim/cpu/profiles/profile.ts";
import { CELL, CR4, GPR, MXCSR, X87, x87RegisterCell, xmmCell } from "../../sim/cpu/state.ts";
import { AT, Rig } from "../cpu/rig.ts";

const directory = new URL("./data/", import.meta.url);
const prefix = "simd-";
const suffix = ".jsonl.gz";
const STATUS_FLAGS = 0x8d5;
const FILL = "5a".repeat(16);
const XM = 19;
const DEFAULT_MXCSR = "1f80";

/** A line of a data file: lower case before, upper case after where it differs. Strings are hexadecimal. */
export interface SimdVector {
  readonly f: number;
  /** the instruction; a memory operand is at [EDI] */
  readonly b: string;
  /** MXCSR where not 1f80 */
  readonly c?: string;
  /** with MMX registers: top of the x87 stack, and a bit for each register that is not empty */
  readonly t?: string;
  readonly v?: string;
  /** register 1; register 2 or EDX; memory operand (absent: filled with 5a) */
  readonly p?: string;
  readonly q?: string;
  readonly m?: string;
  readonly P?: string;
  readonly Q?: string;
  /** MM1 and MM2 with sign and exponent */
  readonly U?: string;
  readonly V?: string;
  readonly T?: string;
  readonly W?: string;
  /** ECX (0 before) and EDX */
  readonly G?: string;
  readonly H?: string;
  /** sixteen bytes of memory */
  readonly M?: string;
  /** status flags where any is clear */
  readonly E?: string;
  readonly C?: string;
  /** 1: a SIMD floating-point exception */
  readonly x?: number;
}

export interface SimdFamily {
  readonly names: readonly string[];
  readonly vectors: readonly SimdVector[];
}

export function simdFamilies(): string[] {
  return readdirSync(directory)
    .filter((name) => name.startsWith(prefix) && name.endsWith(suffix))
    .map((name) => name.slice(0, -suffix.length))
    .sort();
}

export function loadSimdVectors(family: string): SimdFamily {
  const text = gunzipSync(readFileSync(new URL(family + suffix, directory))).toString("latin1");
  const [first, ...rest] = text.split("\n").filter((line) => line !== "");
  const header = JSON.parse(first!) as { forms: string[] };
  return { names: header.forms, vectors: rest.map((line) => JSON.parse(line) as SimdVector) };
}

const number = (text: string): number => Number.parseInt(text, 16);
const reversed = (text: string): Uint8Array => Buffer.from(text, "hex").reverse();

export class SimdRig {
  readonly #rig: Rig;

  constructor(profile: Profile) {
    this.#rig = new Rig({ profile });
    this.#rig.core.state.set(CELL.cr4, CR4.OSFXSR | CR4.OSXMMEXCPT);
  }

  /** Words of a value from cell `cell` on. */
  #put(cell: number, text: string): void {
    const { i32 } = this.#rig.core.state;
    for (let at = text.length, k = 0; at > 0; at -= 8, k++)
      i32[cell + k] = number(text.slice(Math.max(at - 8, 0), at)) | 0;
  }

  #get(cell: number, words: number): string {
    const { i32 } = this.#rig.core.state;
    let text = "";
    for (let k = words - 1; k >= 0; k--) text += ((i32[cell + k] as number) >>> 0).toString(16).padStart(8, "0");
    return text;
  }

  #mmx(n: number): string {
    const cell = x87RegisterCell(n);
    return this.#get(cell + 2, 1).slice(4) + this.#get(cell, 2);
  }

  /** Runs one vector; one line per difference from the recording. */
  run(name: string, vector: SimdVector): string[] {
    const rig = this.#rig;
    const { state } = rig.core;
    const { memory } = rig;
    const top = number(vector.t ?? "0");
    for (let n = 0; n < 8; n++) {
      const cell = x87RegisterCell(n);
      this.#put(cell, "8000000000000000");
      state.set(cell + 2, 0x3fff + n);
    }
    const isMmx = vector.t !== undefined;
    const first = vector.p ?? "";
    const second = vector.q ?? "";
    const zero = "0".repeat(32);
    const before = [(first.length === 32 ? first : "").padStart(32, "0"), second.padStart(32, "0")] as const;
    this.#put(xmmCell(1), zero);
    this.#put(xmmCell(2), zero);
    if (first.length === 32) this.#put(xmmCell(1), first);
    else if (first !== "") this.#put(x87RegisterCell(1), first);
    // Without a register 1 among the fields a store's or a general register's source is in register 2.
    this.#put(xmmCell(2), before[1]);
    if (isMmx && second !== "") this.#put(x87RegisterCell(2), second.slice(-16).padStart(16, "0"));
    state.set(X87.control, 0x37f);
    state.set(X87.status, top << 11);
    state.set(X87.valid, number(vector.v ?? "ff"));
    state.set(MXCSR, number(vector.c ?? DEFAULT_MXCSR));
    state.flags = STATUS_FLAGS | 2;
    state.set(GPR.ecx, 0);
    state.set(GPR.edx, second === "" ? 0 : number(second.slice(-8)));
    state.set(GPR.edi, AT.data);
    state.set(GPR.esp, AT.stack);
    state.eip = AT.code;
    memory.copyIn(AT.code, Buffer.from(vector.b, "hex"));
    memory.copyIn(AT.data, reversed(FILL));
    if (vector.m !== undefined) memory.copyIn(AT.data, reversed(vector.m));
    const xmm = [this.#get(xmmCell(1), 4), this.#get(xmmCell(2), 4)] as const;
    const mm = [this.#mmx(1), this.#mmx(2)] as const;
    const bytes = (): string => {
      let text = "";
      for (let at = 15; at >= 0; at--)
        text += memory
          .read8(AT.data + at)
          .toString(16)
          .padStart(2, "0");
      return text;
    };
    const stored = bytes();
    const edx = state.get(GPR.edx);
    const stop = rig.step();
    const faulted = rig.handled;
    const found: string[] = [];
    if (stop.kind !== "limit") return [`the core stopped: ${JSON.stringify(stop)}`];
    const differ = (what: string, is: string, should: string): void => {
      if (is !== should) found.push(`${what} is ${is}, recorded ${should}`);
    };
    differ("exception", String(faulted), vector.x === 1 ? String(XM) : "-1");
    differ("XMM1", this.#get(xmmCell(1), 4), vector.P ?? xmm[0]);
    differ("XMM2", this.#get(xmmCell(2), 4), vector.Q ?? xmm[1]);
    if (isMmx) {
      differ("MM1", this.#mmx(1), vector.U ?? mm[0]);
      differ("MM2", this.#mmx(2), vector.V ?? mm[1]);
    }
    // CVTPI2PS from memory goes over to MMX state by Intel's manual; the recording processor leaves the x87 alone.
    if (isMmx && !(name === "CVTPI2PS" && vector.m !== undefined)) {
      differ("top", String((state.get(X87.status) >>> 11) & 7), String(number(vector.T ?? vector.t!)));
      differ("tags", state.get(X87.valid).toString(16), vector.W ?? vector.v!);
    }
    differ("ECX", state.get(GPR.ecx).toString(16), vector.G ?? "0");
    differ("EDX", state.get(GPR.edx).toString(16), vector.H ?? edx.toString(16));
    differ("memory", bytes(), vector.M ?? stored);
    if (faulted < 0) differ("flags", (state.flags & STATUS_FLAGS).toString(16), vector.E ?? "8d5");
    differ("MXCSR", state.get(MXCSR).toString(16), vector.C ?? vector.c ?? DEFAULT_MXCSR);
    return found;
  }
}

/**
 * Reads the instruction vectors of data/: what single 32-bit user-mode instructions did on a real processor.
 * How they were recorded, and what is left out, is in README.md; the record format is that of harness/harness.c.
 *
 * A vector describes the state before an instruction, and after it or at the exception that it raised. Undefined
 * flags, registers and memory bytes (Intel SDM volume 2) are marked; `mismatches` compares with them left out.
 */
import { readdirSync, readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

/** General registers in encoding order; `gpr` arrays are indexed so. */
export const registerNames = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"] as const;
/** Segment registers in encoding order; `segments` arrays are indexed so. */
export const segmentNames = ["es", "cs", "ss", "ds", "fs", "gs"] as const;
/** Selectors before every vector, in encoding order: flat segments of privilege 3. */
export const initialSegments: readonly number[] = [0x2b, 0x23, 0x2b, 0x2b, 0x2b, 0x2b];
/** CF, PF, AF, ZF, SF and OF. */
export const statusFlags = 0x8d5;

export const pageSize = 0x1000;
/** A present user page. Every other page of the first 4 GB, as far as vectors use it, is absent. */
export interface VectorPage {
  /** linear address */
  readonly base: number;
  /** `code`: filled with INT3 around the instruction; `rw`, `ro`: filled with `backgroundByte` */
  readonly kind: "code" | "rw" | "ro";
}

export interface VectorForm {
  /** place in the header's list */
  readonly index: number;
  /** mnemonic and operands in the notation of SDM volume 2, appendix A */
  readonly name: string;
  /** opcode pattern: hex bytes, /r, /digit, +r, +cc, ib iw iz immediates, cb cz relative branches, mo moffs, pf far pointer */
  readonly encoding: string;
  /** operand size in bits */
  readonly size: 8 | 16 | 32;
  /** whether the r/m operand is memory (false too where there is no ModRM byte) */
  readonly memory: boolean;
  /** status flags that the SDM leaves undefined; a vector may say otherwise (shifts, faults) */
  readonly undefinedFlags: number;
  /** bits of a page-fault error code that are comparable: not I/D, and not W for a read-modify-write */
  readonly errorCodeMask: number;
  /** the processors have it but the Intel SDM does not describe it (SALC, SAL as /6, TEST as /1) */
  readonly undocumented: boolean;
}

export interface VectorHeader {
  readonly family: string;
  /** version of the harness that recorded the file */
  readonly harness: string;
  readonly seed: number;
  /** the recording processor, from CPUID */
  readonly processor: {
    readonly vendor: string;
    readonly family: number;
    readonly model: number;
    readonly stepping: number;
  };
  readonly pages: readonly VectorPage[];
  /** GDT entries that selectors may name: selector with RPL 0 -> descriptor. Others used lie beyond the GDT limit */
  readonly descriptors: ReadonlyMap<number, bigint>;
  readonly forms: readonly VectorForm[];
}

export interface MemoryBytes {
  /** linear address */
  readonly address: number;
  readonly bytes: Uint8Array;
}

export interface VectorException {
  /** exception vector: 0 #DE, 3 #BP, 4 #OF, 5 #BR, 6 #UD, 13 #GP, 14 #PF */
  readonly vector: number;
  /** null for exceptions without an error code */
  readonly errorCode: number | null;
  /** faulting linear address of a page fault, else null */
  readonly cr2: number | null;
}

/** A whole outcome: what a processor or simulator holds after one instruction. */
export interface VectorOutcome {
  readonly gpr: Uint32Array;
  /** without RF; IF is 1 and IOPL 0 throughout */
  readonly eflags: number;
  /** next instruction; with an exception the EIP that its delivery saves */
  readonly eip: number;
  readonly segments: readonly number[];
  readonly exception: VectorException | null;
}

export interface InstructionVector {
  readonly form: VectorForm;
  /** place in its file, from 0 */
  readonly index: number;
  /** linear address of the instruction; bytes beyond the code page's end are in the absent page behind it */
  readonly address: number;
  readonly bytes: Uint8Array;
  readonly before: { readonly gpr: Uint32Array; readonly eflags: number; readonly memory: readonly MemoryBytes[] };
  /** `memory`: bytes that changed (a run may contain a few that did not) */
  readonly after: VectorOutcome & { readonly memory: readonly MemoryBytes[] };
  /** status flags to leave out of a comparison */
  readonly undefinedFlags: number;
  /** bits of one register to leave out of a comparison */
  readonly undefinedRegister: { readonly index: number; readonly mask: number } | null;
  /** memory bytes to leave out of a comparison */
  readonly undefinedMemory: { readonly address: number; readonly length: number } | null;
}

export interface VectorFile {
  readonly header: VectorHeader;
  readonly forms: readonly VectorForm[];
  readonly vectors: readonly InstructionVector[];
}

/** Content of a data page byte that no vector sets: a hash of its linear address. */
export function backgroundByte(address: number): number {
  return Math.imul(address, 0x9e3779b1) >>> 24;
}

/** Content of a page before a vector's own `before.memory` and instruction bytes are put in. */
export function initialPage(page: VectorPage): Uint8Array {
  const content = new Uint8Array(pageSize);
  for (let i = 0; i < pageSize; i++) content[i] = page.kind === "code" ? 0xcc : backgroundByte(page.base + i);
  return content;
}

const dataDirectory = new URL("./data/", import.meta.url);
const suffix = ".jsonl.gz";

/** Names of the recorded families of integer instructions, sorted (x87.ts has the others). */
export function vectorFamilies(): string[] {
  return readdirSync(dataDirectory)
    .filter((name) => name.endsWith(suffix) && !/^(x87|ldt16|simd)-/.test(name))
    .map((name) => name.slice(0, -suffix.length))
    .sort();
}

/** A line of a data file. All strings are hexadecimal; memory keys are offsets from the data base. */
interface Line {
  f: number;
  b: string;
  p?: string;
  r: string;
  e: string;
  m: Record<string, string>;
  i?: string;
  E?: string;
  R?: Record<string, string>;
  S?: Record<string, number>;
  M?: Record<string, string>;
  x?: [number, number | null, string?];
  u?: string;
  ur?: Record<string, string>;
  um?: Record<string, number>;
}

interface HeaderLine {
  format: number;
  harness: string;
  family: string;
  seed: number;
  processor: VectorHeader["processor"];
  layout: { code: string; codeAt: string; data: string; pages: Record<string, VectorPage["kind"]> };
  descriptors: Record<string, string>;
  forms: (Omit<VectorForm, "index" | "undocumented"> & { undocumented?: boolean })[];
}

const hex = (text: string): number => Number.parseInt(text, 16);

function hexBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = hex(text.slice(2 * i, 2 * i + 2));
  return bytes;
}

function toHeader(line: HeaderLine): VectorHeader {
  if (line.format !== 1) throw new Error(`vector file of family ${line.family} has format ${line.format}, expected 1`);
  return {
    family: line.family,
    harness: line.harness,
    seed: line.seed,
    processor: line.processor,
    pages: Object.entries(line.layout.pages).map(([base, kind]) => ({ base: hex(base), kind })),
    descriptors: new Map(Object.entries(line.descriptors).map(([s, d]) => [hex(s), BigInt(`0x${d}`)])),
    forms: line.forms.map((form, index) => ({ ...form, index, undocumented: form.undocumented ?? false })),
  };
}

function toVector(line: Line, index: number, header: VectorHeader, codeAt: number, data: number): InstructionVector {
  const form = header.forms[line.f];
  if (form === undefined)
    throw new Error(`vector ${index} of family ${header.family} names form ${line.f}, which is not in the header`);
  const memory = (runs: Record<string, string>): MemoryBytes[] =>
    Object.entries(runs).map(([offset, text]) => ({ address: data + hex(offset), bytes: hexBytes(text) }));
  const gpr = new Uint32Array(8);
  for (let i = 0; i < 8; i++) gpr[i] = hex(line.r.slice(8 * i, 8 * i + 8));
  const gprAfter = gpr.slice();
  for (const [name, text] of Object.entries(line.R ?? {})) gprAfter[registerNames.indexOf(name as "eax")] = hex(text);
  const segments = segmentNames.map((name, i) => line.S?.[name] ?? initialSegments[i]!);
  const bytes = hexBytes(line.b);
  const address = line.p === undefined ? codeAt : hex(line.p);
  const eflags = hex(line.e);
  const [undefinedName, undefinedMask] = Object.entries(line.ur ?? {})[0] ?? [];
  const [undefinedOffset, undefinedLength] = Object.entries(line.um ?? {})[0] ?? [];
  const x = line.x;
  const straight = x === undefined ? address + bytes.length : address;
  return {
    form,
    index,
    address,
    bytes,
    before: { gpr, eflags, memory: memory(line.m) },
    after: {
      gpr: gprAfter,
      eflags: line.E === undefined ? eflags : hex(line.E),
      eip: line.i === undefined ? straight : hex(line.i),
      segments,
      memory: memory(line.M ?? {}),
      exception: x === undefined ? null : { vector: x[0], errorCode: x[1], cr2: x[2] === undefined ? null : hex(x[2]) },
    },
    undefinedFlags: line.u === undefined ? form.undefinedFlags : hex(line.u),
    undefinedRegister:
      undefinedName === undefined || undefinedMask === undefined
        ? null
        : { index: registerNames.indexOf(undefinedName as "eax"), mask: hex(undefinedMask) },
    undefinedMemory:
      undefinedOffset === undefined || undefinedLength === undefined
        ? null
        : { address: data + hex(undefinedOffset), length: undefinedLength },
  };
}

/**
 * Reads one family.
 * @throws if there is no such family or its file has another format
 */
export function loadVectors(family: string): VectorFile {
  const text = gunzipSync(readFileSync(new URL(family + suffix, dataDirectory))).toString("latin1");
  const [first, ...rest] = text.split("\n").filter((line) => line !== "");
  if (first === undefined) throw new Error(`vector file of family ${family} is empty`);
  const raw = JSON.parse(first) as HeaderLine;
  const header = toHeader(raw);
  const codeAt = hex(raw.layout.codeAt);
  const data = hex(raw.layout.data);
  const vectors = rest.map((line, index) => toVector(JSON.parse(line) as Line, index, header, codeAt, data));
  return { header, forms: header.forms, vectors };
}

const show = (n: number): string => `0x${(n >>> 0).toString(16)}`;

/**
 * Compares an outcome with the recorded one, leaving out what is undefined. RF in `eflags` is not looked at.
 * @param actual what the subject did from the vector's `before` state
 * @param readByte the subject's memory afterwards, by linear address, for bytes of present data pages
 * @param touched linear addresses that the subject wrote; each must hold what the processor had there
 * @returns one line per difference; empty when all defined state agrees
 */
export function mismatches(
  vector: InstructionVector,
  actual: VectorOutcome,
  readByte: (address: number) => number,
  touched: Iterable<number> = [],
): string[] {
  const { after } = vector;
  const found: string[] = [];
  const differ = (what: string, is: number, should: number): void => {
    if (is >>> 0 !== should >>> 0) found.push(`${what} is ${show(is)}, recorded ${show(should)}`);
  };
  for (let i = 0; i < 8; i++) {
    const mask = vector.undefinedRegister?.index === i ? ~vector.undefinedRegister.mask : -1;
    differ(registerNames[i]!, actual.gpr[i]! & mask, after.gpr[i]! & mask);
  }
  for (let i = 0; i < 6; i++) differ(segmentNames[i]!, actual.segments[i]!, after.segments[i]!);
  const flagMask = ~(vector.undefinedFlags | 0x10000);
  differ("eflags", actual.eflags & flagMask, after.eflags & flagMask);
  differ("eip", actual.eip, after.eip);

  const is = actual.exception;
  const should = after.exception;
  differ("exception vector", is?.vector ?? -1, should?.vector ?? -1);
  if (is !== null && should !== null && is.vector === should.vector) {
    const mask = is.vector === 14 ? vector.form.errorCodeMask : -1;
    differ("error code", (is.errorCode ?? -1) & mask, (should.errorCode ?? -1) & mask);
    if (is.vector === 14) differ("cr2", is.cr2 ?? -1, should.cr2 ?? -1);
  }

  const recorded = new Map<number, number>();
  for (const runs of [vector.before.memory, after.memory]) {
    for (const run of runs) {
      for (const [i, byte] of run.bytes.entries()) recorded.set(run.address + i, byte);
    }
  }
  for (const address of touched) if (!recorded.has(address)) recorded.set(address, backgroundByte(address));
  const skip = vector.undefinedMemory;
  for (const [address, byte] of recorded) {
    if (skip !== null && address >= skip.address && address < skip.address + skip.length) continue;
    differ(`byte at ${show(address)}`, readByte(address), byte);
  }
  return found;
}

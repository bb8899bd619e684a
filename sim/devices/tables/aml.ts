/**
 * ACPI machine language as far as a small DSDT needs it (ACPI specification 2.0, chapters 17 and 6.4): names, packages,
 * scopes, devices, processors, and resource templates of small and large descriptors.
 */
import { doubleWord, word } from "./bytes.ts";

type Bytes = readonly number[];

const OPCODE = {
  name: 0x08,
  byte: 0x0a,
  word: 0x0b,
  doubleWord: 0x0c,
  scope: 0x10,
  buffer: 0x11,
  package: 0x12,
} as const;
const EXTENDED = 0x5b;
const EXTENDED_OPCODE = { device: 0x82, processor: 0x83 } as const;
const ROOT = 0x5c;

/** PkgLength (17.2.4): counts itself and the body. */
function lengthOf(body: Bytes): number[] {
  if (body.length + 1 < 0x40) return [body.length + 1];
  const bytes = body.length + 2 < 0x1000 ? 1 : 2;
  const total = body.length + 1 + bytes;
  const rest = total >> 4;
  return [(bytes << 6) | (total & 0xf), rest & 0xff, rest >> 8].slice(0, 1 + bytes);
}

function sized(opcode: Bytes, body: Bytes): number[] {
  return [...opcode, ...lengthOf(body), ...body];
}

/** A name of one segment, from the root if it begins with a backslash. */
function nameString(name: string): number[] {
  const segment = name.replace("\\", "").padEnd(4, "_");
  return [...(name.startsWith("\\") ? [ROOT] : []), ...Array.from(segment, (character) => character.charCodeAt(0))];
}

/** An integer in as few bytes as it needs. */
export function integer(value: number): number[] {
  if (value <= 1) return [value];
  if (value < 0x100) return [OPCODE.byte, value];
  return value < 0x10000 ? [OPCODE.word, ...word(value)] : [OPCODE.doubleWord, ...doubleWord(value)];
}

export function packageOf(...elements: readonly Bytes[]): number[] {
  return sized([OPCODE.package], [elements.length, ...elements.flat()]);
}

export function named(name: string, value: Bytes): number[] {
  return [OPCODE.name, ...nameString(name), ...value];
}

export function scope(name: string, ...content: readonly Bytes[]): number[] {
  return sized([OPCODE.scope], [...nameString(name), ...content.flat()]);
}

export function device(name: string, ...content: readonly Bytes[]): number[] {
  return sized([EXTENDED, EXTENDED_OPCODE.device], [...nameString(name), ...content.flat()]);
}

/** A processor without a register block. */
export function processor(name: string, id: number): number[] {
  return sized([EXTENDED, EXTENDED_OPCODE.processor], [...nameString(name), id, ...doubleWord(0), 0]);
}

/** A Plug and Play identifier such as PNP0A03, compressed as EISA does it. */
export function eisaId(id: string): number[] {
  const letters = [0, 1, 2].reduce((sum, n) => (sum << 5) | (id.charCodeAt(n) - 0x40), 0);
  const product = Number.parseInt(id.slice(3), 16);
  return [OPCODE.doubleWord, letters >> 8, letters & 0xff, product >> 8, product & 0xff];
}

/** A resource template: the descriptors and an end tag without a checksum, as a buffer. */
export function resources(...descriptors: readonly Bytes[]): number[] {
  const bytes = [...descriptors.flat(), 0x79, 0];
  return sized([OPCODE.buffer], [...integer(bytes.length), ...bytes]);
}

/** Fixed ports, 16 bits decoded (6.4.2.5). */
export function ports(first: number, count: number): number[] {
  return [0x47, 1, ...word(first), ...word(first), 1, count];
}

/** An edge-triggered interrupt of the 8259s (6.4.2.1). */
export function irq(line: number): number[] {
  return [0x22, ...word(1 << line)];
}

const RANGE = { memory: 0, io: 1, bus: 2 } as const;
/** Produced for the devices behind a bridge, both ends fixed, decoded positively. */
const FIXED = 0x0c;

function wordRange(type: number, flags: number, first: number, last: number): number[] {
  const size = last - first + 1;
  return [0x88, ...word(13), type, FIXED, flags, ...word(0), ...word(first), ...word(last), ...word(0), ...word(size)];
}

/** Address spaces that a host bridge passes on (6.4.3.5): bus numbers, ports, memory. */
export function busRange(first: number, last: number): number[] {
  return wordRange(RANGE.bus, 0, first, last);
}

export function portRange(first: number, last: number): number[] {
  return wordRange(RANGE.io, 3, first, last);
}

/** Memory, writable, not cached. */
export function memoryRange(first: number, last: number): number[] {
  const fields = [0, first, last, 0, last - first + 1].flatMap(doubleWord);
  return [0x87, ...word(23), RANGE.memory, FIXED, 1, ...fields];
}

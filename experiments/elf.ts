/**
 * ELF32 executables for the 386 (System V ABI, Intel386 supplement, chapters 4 and 5), as far as loading one needs:
 * the header and the program headers of type PT_LOAD. Symbols, relocation and dynamic linking are not read.
 */
import { Problem } from "./problem.ts";

const ELF_HEADER_BYTES = 52;
const PROGRAM_HEADER_BYTES = 32;
const ELFCLASS32 = 1;
const ELFDATA2LSB = 1;
const ET_EXEC = 2;
const EM_386 = 3;
const PT_LOAD = 1;

/** Machines that a wrong image is likely to be for, so that the message can say it. */
const MACHINES: Readonly<Record<number, string>> = {
  2: "SPARC",
  8: "MIPS",
  20: "PowerPC",
  40: "ARM",
  62: "x86-64",
  183: "AArch64",
  243: "RISC-V",
};
const TYPES: Readonly<Record<number, string>> = { 1: "a relocatable object", 3: "a shared object", 4: "a core dump" };

export interface Segment {
  readonly virtualAddress: number;
  readonly physicalAddress: number;
  readonly fileOffset: number;
  readonly fileBytes: number;
  /** At least `fileBytes`; the rest is zero. */
  readonly memoryBytes: number;
}

export interface Elf {
  /** Physical: an entry within a segment's virtual addresses has been taken to where the segment is loaded. */
  readonly entry: number;
  readonly segments: readonly Segment[];
}

/** Whether these bytes begin like an ELF file. */
export function isElf(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46;
}

/** Reads an ELF32 executable; `name` is for messages. Throws a Problem (`bad-image`). */
export function readElf(bytes: Uint8Array, name: string): Elf {
  const fail = (what: string): never => {
    throw new Problem("bad-image", `${name}: ${what}`);
  };
  if (bytes.length < ELF_HEADER_BYTES) fail(`truncated: ${bytes.length} bytes, and an ELF header alone has 52`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const machine = view.getUint16(18, true);
  if (bytes[5] !== ELFDATA2LSB) fail("a big-endian ELF file; an x86 image is little-endian (ELF32, EM_386)");
  if (machine !== EM_386)
    fail(`an image for ${MACHINES[machine] ?? `machine ${machine}`}, not for x86 (ELF32, EM_386)`);
  if (bytes[4] !== ELFCLASS32) fail("a 64-bit ELF file; build it with -m32 (ELF32, EM_386)");
  const type = view.getUint16(16, true);
  if (type !== ET_EXEC) fail(`${TYPES[type] ?? `of ELF type ${type}`}, not an executable; link it with ld`);

  const tableOffset = view.getUint32(28, true);
  const entryBytes = view.getUint16(42, true);
  const count = view.getUint16(44, true);
  if (count > 0 && entryBytes < PROGRAM_HEADER_BYTES)
    fail(`program headers of ${entryBytes} bytes, at least 32 expected`);
  if (tableOffset + count * entryBytes > bytes.length) {
    fail(`truncated: program headers end at byte ${tableOffset + count * entryBytes} of ${bytes.length}`);
  }
  const segments: Segment[] = [];
  for (let index = 0; index < count; index++) {
    const at = tableOffset + index * entryBytes;
    const memoryBytes = view.getUint32(at + 20, true);
    if (view.getUint32(at, true) !== PT_LOAD || memoryBytes === 0) continue;
    const segment = {
      virtualAddress: view.getUint32(at + 8, true),
      physicalAddress: view.getUint32(at + 12, true),
      fileOffset: view.getUint32(at + 4, true),
      fileBytes: view.getUint32(at + 16, true),
      memoryBytes,
    };
    const end = segment.fileOffset + segment.fileBytes;
    if (end > bytes.length) fail(`truncated: segment ${index} ends at byte ${end}, the file at ${bytes.length}`);
    if (segment.fileBytes > memoryBytes) fail(`segment ${index} has more bytes in the file than in memory`);
    segments.push(segment);
  }
  if (segments.length === 0) fail("no segment to load (no PT_LOAD program header)");
  checkOverlap(segments, fail);
  return { entry: physicalEntry(view.getUint32(24, true), segments), segments };
}

function physicalEntry(entry: number, segments: readonly Segment[]): number {
  const home = segments.find(
    ({ virtualAddress, fileBytes }) => entry >= virtualAddress && entry < virtualAddress + fileBytes,
  );
  return home === undefined ? entry : entry - home.virtualAddress + home.physicalAddress;
}

function checkOverlap(segments: readonly Segment[], fail: (what: string) => never): void {
  const inOrder = [...segments].sort((a, b) => a.physicalAddress - b.physicalAddress);
  for (let index = 1; index < inOrder.length; index++) {
    const before = inOrder[index - 1] as Segment;
    const next = inOrder[index] as Segment;
    if (before.physicalAddress + before.memoryBytes > next.physicalAddress) {
      fail(`segments overlap at physical address ${next.physicalAddress.toString(16)}h`);
    }
  }
}

/**
 * Guest images: what a file is, and whether it can be loaded. A multiboot kernel (Multiboot Specification 0.6.96) is an
 * ELF32 file with a multiboot header in its first 8 192 bytes; a plain ELF32 file has none; anything else is flat code
 * and needs `--load-address`.
 */
import { readFileSync } from "node:fs";
import type { GuestImage } from "../sim/boot.ts";
import { isElf, readElf } from "./elf.ts";
import { shown } from "./paths.ts";
import { Problem } from "./problem.ts";

export type ImageKind = "multiboot" | "elf32" | "flat";

export interface Image {
  readonly kind: ImageKind;
  readonly bytes: Uint8Array;
  /** Physical address of the first byte of a flat image; where it is entered, too. */
  readonly loadAddress?: number;
}

const MULTIBOOT_MAGIC = 0x1badb002;
const MULTIBOOT_SEARCH_BYTES = 8192;
/** Flags bits 0 to 15 are requirements; we meet page alignment and memory information. */
const MULTIBOOT_UNMET_FLAGS = 0xfffc;
/** Guests begin above what a PC keeps for itself below this. */
const CONVENTIONAL_TOP = 0xa0000;
const EXTENDED_BASE = 0x100000;

/** Reads an image file and says what it is. Throws a Problem (`bad-image`, or `unknown-workload` when there is none). */
export function readImage(path: string, loadAddress?: number): Image {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const reason = code === "ENOENT" ? "no such file" : code === "EISDIR" ? "a folder, not an image" : String(code);
    throw new Problem("bad-image", `${shown(path)}: ${reason}`);
  }
  return classify(bytes, shown(path), loadAddress);
}

/** What these bytes are; `name` is for messages. Throws a Problem (`bad-image`). */
export function classify(bytes: Uint8Array, name: string, loadAddress?: number): Image {
  if (bytes.length === 0) throw new Problem("bad-image", `${name}: empty`);
  if (loadAddress !== undefined) {
    if (!Number.isInteger(loadAddress) || loadAddress < 0 || loadAddress > 0xffffffff) {
      throw new Problem("bad-image", `${name}: load address ${loadAddress} is not a 32-bit address`);
    }
    return { kind: "flat", bytes, loadAddress };
  }
  const isMultiboot = hasMultibootHeader(bytes, name);
  if (isElf(bytes)) {
    readElf(bytes, name);
    return { kind: isMultiboot ? "multiboot" : "elf32", bytes };
  }
  throw new Problem(
    "bad-image",
    isMultiboot
      ? `${name}: a multiboot image that is not ELF; link it as ELF32`
      : `${name}: neither ELF nor multiboot; for flat code say where it goes: --load-address 0x100000`,
  );
}

function hasMultibootHeader(bytes: Uint8Array, name: string): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = Math.min(bytes.length, MULTIBOOT_SEARCH_BYTES) - 12;
  for (let at = 0; at <= end; at += 4) {
    if (view.getUint32(at, true) !== MULTIBOOT_MAGIC) continue;
    const flags = view.getUint32(at + 4, true);
    if ((MULTIBOOT_MAGIC + flags + view.getUint32(at + 8, true)) % 2 ** 32 !== 0) continue;
    if ((flags & MULTIBOOT_UNMET_FLAGS) !== 0) {
      throw new Problem(
        "bad-image",
        `${name}: its multiboot header asks for what we do not offer (flags ${flags.toString(16)}h)`,
      );
    }
    return true;
  }
  return false;
}

/**
 * Throws a Problem (`image-too-large`) when the image does not fit in a guest of `memoryBytes`, or (`bad-image`) when a
 * part of it lies where a PC has no RAM.
 */
export function checkFits(image: Image, name: string, memoryBytes: number): void {
  for (const [from, bytes] of extents(image, name)) {
    const end = from + bytes;
    if (end > memoryBytes) {
      throw new Problem(
        "image-too-large",
        `${name}: needs memory up to ${end.toString(16)}h, the guest has ${megabytes(memoryBytes)} MB; give it ${Math.ceil(end / 2 ** 20)} MB or more (--guest-memory)`,
      );
    }
    if (from < EXTENDED_BASE && end > CONVENTIONAL_TOP) {
      throw new Problem(
        "bad-image",
        `${name}: ${from.toString(16)}h to ${end.toString(16)}h overlaps A0000h to FFFFFh, where a PC has no RAM`,
      );
    }
  }
}

function extents(image: Image, name: string): [from: number, bytes: number][] {
  if (image.kind === "flat") return [[image.loadAddress as number, image.bytes.length]];
  return readElf(image.bytes, name).segments.map((segment) => [segment.physicalAddress, segment.memoryBytes]);
}

/** An image as the machine boots it: what to copy where, and where it begins. */
export function guestImage({ kind, bytes, loadAddress = 0 }: Image): GuestImage {
  if (kind === "flat") {
    return { kind, segments: [{ address: loadAddress, bytes }], entry: loadAddress, end: loadAddress + bytes.length };
  }
  const { entry, segments } = readElf(bytes, "image");
  return {
    kind,
    segments: segments.map(({ physicalAddress, fileOffset, fileBytes }) => ({
      address: physicalAddress,
      bytes: bytes.subarray(fileOffset, fileOffset + fileBytes),
    })),
    entry,
    end: Math.max(...segments.map(({ physicalAddress, memoryBytes }) => physicalAddress + memoryBytes)),
  };
}

function megabytes(bytes: number): number {
  return Math.round((bytes / 2 ** 20) * 100) / 100;
}

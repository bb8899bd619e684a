/**
 * Guest images: what a file is, and whether it can be loaded.
 *
 * - multiboot: a kernel with a multiboot header in its first 8 192 bytes (Multiboot Specification 0.6.96), ELF32 or with
 *   addresses in the header; it may have modules
 * - elf32: an ELF32 executable without such a header
 * - bzimage: a kernel of the Linux boot protocol (sim/boot/linux.ts); it may have an initial RAM disk
 * - disk: anything whose first sector ends with the boot signature 55AAh
 * - flat: code that `--load-address` places
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { GuestImage, Module, Segment } from "../sim/boot/image.ts";
import { isLinux, linuxHeader, ramdiskPlace } from "../sim/boot/linux.ts";
import { modulePlaces } from "../sim/boot/multiboot.ts";
import { isElf, readElf } from "./elf.ts";
import { isMultiboot2, multibootHeader } from "./multiboot-header.ts";
import { IMAGES_FOLDER, shown } from "./paths.ts";
import { Problem } from "./problem.ts";

export type ImageKind = "multiboot" | "elf32" | "flat" | "bzimage" | "disk";

export interface Image {
  readonly kind: ImageKind;
  readonly bytes: Uint8Array;
  /** Physical address of the first byte of a flat image; where it is entered, too. */
  readonly loadAddress?: number;
  /** Initial RAM disk of a bzImage. */
  readonly initrd?: Uint8Array;
  /** Modules of a multiboot kernel. */
  readonly modules?: readonly Module[];
}

const SECTOR_BYTES = 512;
const BOOT_SIGNATURE_AT = 510;
/** Guests begin above what a PC keeps for itself below this. */
const CONVENTIONAL_TOP = 0xa0000;
const EXTENDED_BASE = 0x100000;
const OLDEST_PROTOCOL = 0x200;

/** Reads an image file and says what it is. Throws a Problem (`bad-image`). */
export function readImage(path: string, loadAddress?: number): Image {
  return classify(readBytes(path), shown(path), loadAddress);
}

/** The bytes of a file that goes with an image. Throws a Problem (`bad-image`). */
export function readBytes(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const reason = code === "ENOENT" ? "no such file" : code === "EISDIR" ? "a folder, not an image" : String(code);
    throw new Problem("bad-image", `${shown(path)}: ${reason}`);
  }
}

/** The BIOS (workloads/bios), which starts disks and Linux kernels. */
export function readBios(): Uint8Array {
  return new Uint8Array(readFileSync(join(IMAGES_FOLDER, "bios.bin")));
}

/** What these bytes are; `name` is for messages. Throws a Problem (`bad-image`). */
export function classify(bytes: Uint8Array, name: string, loadAddress?: number): Image {
  const fail = (what: string): never => {
    throw new Problem("bad-image", `${name}: ${what}`);
  };
  if (bytes.length === 0) fail("empty");
  if (loadAddress !== undefined) {
    if (!Number.isInteger(loadAddress) || loadAddress < 0 || loadAddress > 0xffffffff) {
      fail(`load address ${loadAddress} is not a 32-bit address`);
    }
    return { kind: "flat", bytes, loadAddress };
  }
  if (isLinux(bytes)) {
    checkLinux(bytes, fail);
    return { kind: "bzimage", bytes };
  }
  if (isElf(bytes)) {
    const multiboot = multibootHeader(bytes, name);
    if (multiboot?.addresses == null) readElf(bytes, name);
    if (multiboot !== null) return { kind: "multiboot", bytes };
    if (isMultiboot2(bytes)) fail("a multiboot 2 kernel; only multiboot 1 is spoken here");
    return { kind: "elf32", bytes };
  }
  // Before multiboot: the boot loader on a disk may be a multiboot kernel itself, as GRUB is.
  if (bytes.length >= SECTOR_BYTES && bytes[BOOT_SIGNATURE_AT] === 0x55 && bytes[BOOT_SIGNATURE_AT + 1] === 0xaa) {
    return { kind: "disk", bytes };
  }
  const header = multibootHeader(bytes, name);
  if (header?.addresses != null) return { kind: "multiboot", bytes };
  if (header !== null) fail("a multiboot image that is not ELF and has no addresses in its header (flag 16)");
  if (isMultiboot2(bytes)) fail("a multiboot 2 kernel; only multiboot 1 is spoken here");
  return fail(
    "neither ELF nor multiboot nor a Linux kernel, and no disk (its first sector does not end with 55AAh); for flat code say where it goes: --load-address 0x100000",
  );
}

/** What is to be said of these bytes as the contents of a disk; null for nothing. Throws a Problem (`bad-image`). */
export function diskWarning(bytes: Uint8Array, name: string): string | null {
  if (bytes.length === 0) throw new Problem("bad-image", `${name}: an empty disk image`);
  const over = bytes.length % SECTOR_BYTES;
  if (over === 0) return null;
  const rest = `its last ${over} bytes are a sector that ends with zeros`;
  return `${name}: a disk image of ${bytes.length} bytes, not whole sectors of ${SECTOR_BYTES}: it may have been cut off; ${rest}`;
}

function checkLinux(bytes: Uint8Array, fail: (what: string) => never): void {
  const { version, setupBytes, loadedHigh } = linuxHeader(bytes);
  if (version < OLDEST_PROTOCOL) {
    fail(`a Linux kernel of boot protocol ${versionText(version)}; 2.00 is the oldest that is spoken here`);
  }
  if (!loadedHigh) fail("a zImage, which loads low; build it as bzImage");
  if (bytes.length <= setupBytes) {
    fail(`truncated: ${bytes.length} bytes, and its setup code alone has ${setupBytes}`);
  }
}

function versionText(version: number): string {
  return `${version >> 8}.${String(version & 0xff).padStart(2, "0")}`;
}

/** The image with an initial RAM disk. Throws a Problem (`bad-image`) when it is no Linux kernel. */
export function withInitrd(image: Image, initrd: Uint8Array, name: string): Image {
  if (image.kind !== "bzimage") {
    const instead = image.kind === "multiboot" ? "; give a multiboot kernel its files as modules" : "";
    throw new Problem("bad-image", `${name}: no Linux kernel, so it takes no initial RAM disk${instead}`);
  }
  return { ...image, initrd };
}

/** The image with modules, in order. Throws a Problem (`bad-image`) when it is no multiboot kernel. */
export function withModules(image: Image, modules: readonly Module[], name: string): Image {
  if (image.kind !== "multiboot")
    throw new Problem("bad-image", `${name}: no multiboot kernel, so it takes no modules`);
  return { ...image, modules };
}

/**
 * Throws a Problem (`image-too-large`) when the image and what goes with it do not fit in a guest of `memoryBytes`, or
 * (`bad-image`) when a part of it lies where a PC has no RAM.
 */
export function checkFits(image: Image, name: string, memoryBytes: number): void {
  for (const [from, bytes, what] of extents(image, name, memoryBytes)) {
    const end = from + bytes;
    if (end > memoryBytes) {
      throw new Problem(
        "image-too-large",
        `${name}: ${what}needs memory up to ${end.toString(16)}h, the guest has ${megabytes(memoryBytes)} MB; give it ${Math.ceil(end / 2 ** 20)} MB or more (--memory)`,
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

type Extent = readonly [from: number, bytes: number, what: string];

function extents(image: Image, name: string, memoryBytes: number): Extent[] {
  if (image.kind === "disk") return [];
  if (image.kind === "bzimage") return linuxExtents(image, name, memoryBytes);
  const { memory, end } = kernel(image, name);
  const modules = modulePlaces({ end, modules: image.modules ?? [] });
  return [
    ...memory.map(([from, bytes]) => [from, bytes, ""] as const),
    ...modules.map(({ address, bytes }) => [address, bytes.length, "its modules: "] as const),
  ];
}

function linuxExtents(image: Image, name: string, memoryBytes: number): Extent[] {
  const header = linuxHeader(image.bytes);
  const kernelExtent = [EXTENDED_BASE, header.end - EXTENDED_BASE, ""] as const;
  if (image.initrd === undefined || header.end > memoryBytes) return [kernelExtent];
  const { length } = image.initrd;
  // The disk lies above the kernel: what both need is what there has to be.
  const place = ramdiskPlace(header, length, memoryBytes);
  if (place >= header.end) return [kernelExtent, [place, length, ""]];
  if (header.end + length > header.ramdiskMax) {
    const limit = (header.ramdiskMax + 1).toString(16);
    throw new Problem("bad-image", `${name}: no room for the initial RAM disk of ${length} bytes below ${limit}h`);
  }
  return [[header.end, memoryBytes - header.end + (header.end - place), "with its initial RAM disk "]];
}

/** Throws a Problem (`bad-image`) when a Linux kernel takes no command line of this length. */
export function checkCommandLine(image: Image, name: string, commandLine: string): void {
  if (image.kind !== "bzimage") return;
  const { commandLineSize } = linuxHeader(image.bytes);
  if (commandLine.length > commandLineSize) {
    throw new Problem(
      "bad-image",
      `${name}: takes a command line of ${commandLineSize} characters, this one has ${commandLine.length}`,
    );
  }
}

/** An image as the machine boots it. */
export function guestImage(image: Image): GuestImage {
  const { kind, bytes } = image;
  if (kind === "disk") return { kind, bytes };
  if (kind === "bzimage") {
    const { setupBytes } = linuxHeader(bytes);
    const initrd = image.initrd === undefined ? {} : { initrd: image.initrd };
    return { kind, setup: bytes.subarray(0, setupBytes), kernel: bytes.subarray(setupBytes), ...initrd };
  }
  const { segments, entry, end } = kernel(image, "image");
  return { kind, segments, entry, end, ...(image.modules === undefined ? {} : { modules: image.modules }) };
}

interface LoadedKernel {
  readonly segments: readonly Segment[];
  /** What each part needs, .bss included, and where the last one ends. */
  readonly memory: readonly (readonly [from: number, bytes: number])[];
  readonly end: number;
  readonly entry: number;
}

function kernel({ kind, bytes, loadAddress = 0 }: Image, name: string): LoadedKernel {
  if (kind === "flat") {
    const address = loadAddress;
    const end = address + bytes.length;
    return { segments: [{ address, bytes }], memory: [[address, bytes.length]], end, entry: address };
  }
  const addresses = kind === "multiboot" ? multibootHeader(bytes, name)?.addresses : null;
  if (addresses != null) {
    const { load, fileOffset, fileBytes, end, entry } = addresses;
    const segment = { address: load, bytes: bytes.subarray(fileOffset, fileOffset + fileBytes) };
    return { segments: [segment], memory: [[load, end - load]], end, entry };
  }
  const { entry, segments } = readElf(bytes, name);
  return {
    segments: segments.map(({ physicalAddress, fileOffset, fileBytes }) => ({
      address: physicalAddress,
      bytes: bytes.subarray(fileOffset, fileOffset + fileBytes),
    })),
    memory: segments.map(({ physicalAddress, memoryBytes }) => [physicalAddress, memoryBytes]),
    end: Math.max(...segments.map(({ physicalAddress, memoryBytes }) => physicalAddress + memoryBytes)),
    entry,
  };
}

function megabytes(bytes: number): number {
  return Math.round((bytes / 2 ** 20) * 100) / 100;
}

// The committed guest images and a way to run one on QEMU, for the tests of workloads/.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type Image, readImage, withInitrd, withModules } from "../experiments/images.ts";

export const root = resolve(import.meta.dirname, "..");
export const imagesFolder = join(root, "workloads", "images");

export interface Manifest {
  readonly toolchain: Readonly<Record<"compiler" | "linker" | "flags" | "realModeFlags", string>>;
  readonly images: Readonly<
    Record<
      string,
      {
        readonly file: string;
        readonly sha256: string;
        readonly kind: "nanobenchmark" | "compute" | "test" | "bios";
        readonly description: string;
        /** What the file is; ELF32 without. `flat` is code that is loaded and entered at 100000h. */
        readonly format?: "flat" | "multiboot" | "bzimage" | "disk";
        /** Not for QEMU, whose behaviour differs from the manual's (or which cannot load it), as `qemuReason` says. */
        readonly qemu?: false;
        readonly qemuReason?: string;
        readonly timeless: boolean;
        readonly memoryMb: number;
        readonly parameters: Readonly<Record<string, number>>;
        readonly regions: Readonly<Record<string, string>>;
      }
    >
  >;
}

/** The names of images that a loader starts: all but the BIOS. */
export function guestNames({ images }: Manifest): string[] {
  return Object.keys(images).filter((name) => images[name]?.kind !== "bios");
}

export function readManifest(folder: string = imagesFolder): Manifest {
  return JSON.parse(readFileSync(join(folder, "MANIFEST.json"), "utf8")) as Manifest;
}

/** What goes with a guest that looks at it: a command line and files, the first word of whose strings is their name. */
export interface Company {
  readonly commandLine: string;
  readonly files: readonly { readonly bytes: Uint8Array; readonly string: string }[];
}

/** The command line and files with which `<name>.expected` was made. */
export function companyOf(name: string): Company {
  const bytes = (length: number): Uint8Array => Uint8Array.from({ length }, (_, index) => (index * index) >> 3);
  switch (name) {
    case "boot-linux":
      return { commandLine: "console=ttyS0 answer=42", files: [{ bytes: bytes(5000), string: "ramdisk" }] };
    case "boot-multiboot":
      return {
        commandLine: "some arguments",
        files: [
          { bytes: bytes(4096), string: "first of two" },
          { bytes: bytes(9999), string: "second" },
        ],
      };
    default:
      return { commandLine: "", files: [] };
  }
}

/** A guest with what goes with it. */
export function imageOf(name: string): Image {
  const image = readImage(join(imagesFolder, readManifest().images[name]?.file ?? ""));
  const { files } = companyOf(name);
  const [first] = files;
  if (first === undefined) return image;
  if (image.kind === "bzimage") return withInitrd(image, first.bytes, name);
  return withModules(
    image,
    files.map(({ bytes, string }) => ({ bytes, commandLine: string })),
    name,
  );
}

/** Our BIOS. */
export const biosPath = join(imagesFolder, "bios.bin");

const qemu = "qemu-system-i386";
const COUNTED = ["-icount", "shift=0,sleep=off"];
export const qemuVersion = spawnSync(qemu, ["--version"], { encoding: "utf8" }).stdout?.split("\n")[0] ?? "";

export interface QemuRun {
  /** Guest exit status as written to the exit port. */
  readonly status: number;
  /** Serial lines that may not depend on the machine. */
  readonly lines: string;
  /** Serial lines that begin `t:`. */
  readonly timed: readonly string[];
}

/**
 * Boots an image. QEMU's virtual time is one nanosecond per executed guest instruction (-icount shift=0), and its TSC
 * counts those, so that `t:` lines are instruction counts and a busy host cannot disturb the timer's guest.
 */
export function runOnQemu(image: string, commandLine = "", memoryMb = 64): QemuRun {
  return onQemu(image, ["-kernel", image, "-append", commandLine, "-m", String(memoryMb), "-vga", "none", ...COUNTED]);
}

/** Boots a kernel with its company. Files get names in a folder of their own, which QEMU puts before their strings. */
export function runWithCompany(image: string, { commandLine, files }: Company, memoryMb = 64): QemuRun {
  const folder = mkdtempSync(join(tmpdir(), "ringlab-company-"));
  try {
    const strings = files.map(({ bytes, string }) => {
      const [name = "", ...rest] = string.split(" ");
      writeFileSync(join(folder, name), bytes);
      return [join(folder, name), ...rest].join(" ");
    });
    const initrd = strings.length > 0 ? ["-initrd", strings.join(",")] : [];
    const machine = ["-m", String(memoryMb), "-vga", "none", ...COUNTED];
    return onQemu(image, ["-kernel", image, "-append", commandLine, ...initrd, ...machine]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * Boots a disk, by our BIOS or by QEMU's own ("SeaBIOS"). The real-time clock follows the guest's time, from a date on which
 * every month has a day: the clock is set field by field.
 */
export function bootOnQemu(disk: string, bios: "ours" | "SeaBIOS", memoryMb = 64): QemuRun {
  const drive = `file=${disk},format=raw,if=ide,snapshot=on`;
  const firmware = bios === "ours" ? ["-bios", biosPath] : [];
  return onQemu(disk, [
    ...firmware,
    "-drive",
    drive,
    "-m",
    String(memoryMb),
    "-vga",
    "std",
    ...COUNTED,
    "-rtc",
    "clock=vm,base=2005-01-15T12:00:00",
  ]);
}

function onQemu(image: string, what: readonly string[]): QemuRun {
  const result = spawnSync(
    qemu,
    [
      // Its plain 32-bit processor, with execute-disable and 36 bits of physical address.
      ...[...what, "-no-reboot", "-nodefaults", "-accel", "tcg", "-cpu", "qemu32,+nx,+pse36"],
      ...["-display", "none", "-serial", "stdio"],
      ...["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"],
    ],
    { encoding: "utf8", timeout: 50_000, stdio: ["ignore", "pipe", "pipe"] },
  );
  // isa-debug-exit ends QEMU with (status << 1) | 1; 0 is a shutdown, for instance after a triple fault.
  if (result.status === null || (result.status & 1) === 0)
    throw new Error(`${image}: QEMU ended with ${result.status ?? result.signal}: ${result.stdout}${result.stderr}`);
  const lines = result.stdout.replaceAll("\r", "").split(/(?<=\n)/);
  return {
    status: result.status >> 1,
    lines: lines.filter((line) => !line.startsWith("t:")).join(""),
    timed: lines.filter((line) => line.startsWith("t:")),
  };
}

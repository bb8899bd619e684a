// The committed guest images and a way to run one on QEMU, for the tests of workloads/.

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";

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
        /** A raw binary that is loaded and entered at 100000h, or a disk; ELF32 otherwise. */
        readonly format?: "flat" | "disk";
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

/** Our BIOS. */
export const biosPath = join(imagesFolder, "bios.bin");

const qemu = "qemu-system-i386";
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
  return onQemu(image, ["-kernel", image, "-append", commandLine, "-m", String(memoryMb), "-vga", "none"]);
}

/** Boots a disk, by our BIOS or by QEMU's own ("SeaBIOS"). */
export function bootOnQemu(disk: string, bios: "ours" | "SeaBIOS", memoryMb = 64): QemuRun {
  const drive = `file=${disk},format=raw,if=ide,snapshot=on`;
  const firmware = bios === "ours" ? ["-bios", biosPath] : [];
  return onQemu(disk, [...firmware, "-drive", drive, "-m", String(memoryMb), "-vga", "std"]);
}

function onQemu(image: string, what: readonly string[]): QemuRun {
  const result = spawnSync(
    qemu,
    [
      ...[...what, "-no-reboot", "-nodefaults", "-accel", "tcg"],
      ...["-display", "none", "-serial", "stdio", "-icount", "shift=0,sleep=off"],
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

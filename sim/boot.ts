/**
 * How a guest comes into memory and into the processor, as a value, so that it is the same under every technique. There are two
 * ways. A kernel in 32-bit protected mode (multiboot, ELF32, flat) is put into memory and entered as its boot loader
 * would have done it, the BIOS left out. A disk, or a kernel of the Linux boot protocol, is started by the BIOS, which
 * the processor begins at its reset vector; the firmware configuration device tells it what to start.
 */
import { biosDataAreas } from "./boot/bios-data.ts";
import type { GuestImage, Segment } from "./boot/image.ts";
import { linuxEntry, linuxHeader, linuxSegments } from "./boot/linux.ts";
import { multibootSegments } from "./boot/multiboot.ts";
import { kernelCpu } from "./boot/protected-mode.ts";
import type { FirmwareFile } from "./devices/firmware-config.ts";
import type { Machine } from "./machine.ts";
import type { GuestCpu } from "./techniques/monitor.ts";

export interface BootOptions {
  /** Arguments of a multiboot or Linux kernel. */
  readonly commandLine: string;
  /** RAM of the guest in bytes. */
  readonly memoryBytes: number;
  /** Disks beside the image, or before it when the image is one; two at most with it. */
  readonly disks?: readonly Uint8Array[];
  /** What the BIOS prints on the screen, and programs through it, goes to COM1, too. */
  readonly echoScreen?: boolean;
}

export interface Boot {
  /** Bytes that are in memory when the guest begins; memory is zero elsewhere. */
  readonly segments: readonly Segment[];
  /** The processor; null: as after a reset, with the BIOS in its ROM. */
  readonly cpu: GuestCpu | null;
  /** Contents of the primary IDE channel's disks. */
  readonly disks: readonly Uint8Array[];
  /** What the BIOS finds in the firmware configuration device. */
  readonly firmwareFiles: readonly FirmwareFile[];
}

/** The BIOS's file, and its layout (struct boot_target in workloads/bios/bios.h). */
const TARGET = { name: "opt/ringlab/boot", bytes: 44, flags: 0, ip: 4, cs: 6, sp: 8, ss: 10, dataSegment: 12 } as const;
const TARGET_ENTRY = 1;
const TARGET_ECHO = 2;

/** How an image is started on a machine with these options. */
export function planBoot(image: GuestImage, options: BootOptions): Boot {
  const { commandLine, memoryBytes } = options;
  const target = new DataView(new ArrayBuffer(TARGET.bytes));
  const flags = options.echoScreen === true ? TARGET_ECHO : 0;
  target.setUint32(TARGET.flags, flags, true);
  const firmwareFiles = [{ name: TARGET.name, bytes: new Uint8Array(target.buffer) }];
  const disks = options.disks ?? [];
  switch (image.kind) {
    case "disk":
      return { segments: [], cpu: null, disks: [image.bytes, ...disks], firmwareFiles };
    case "bzimage": {
      const entry = linuxEntry(linuxHeader(image.setup));
      target.setUint32(TARGET.flags, flags | TARGET_ENTRY, true);
      target.setUint16(TARGET.ip, entry.ip, true);
      target.setUint16(TARGET.cs, entry.cs, true);
      target.setUint16(TARGET.sp, entry.sp, true);
      target.setUint16(TARGET.ss, entry.segment, true);
      target.setUint16(TARGET.dataSegment, entry.segment, true);
      return { segments: linuxSegments(image, commandLine, memoryBytes), cpu: null, disks, firmwareFiles };
    }
    default: {
      const surroundings = { commandLine, memoryBytes, disks: disks.length };
      const loaded = image.kind === "multiboot" ? multibootSegments(image, surroundings) : image.segments;
      return {
        segments: [...biosDataAreas(disks.length), ...loaded],
        cpu: kernelCpu(image),
        disks,
        firmwareFiles,
      };
    }
  }
}

/** Loads a machine that was made with the boot's disks and firmware files, and with the BIOS if there is no processor. */
export function load(machine: Machine, { segments, cpu }: Pick<Boot, "segments" | "cpu">): void {
  for (const { address, bytes } of segments) machine.technique.writeGuest(address, bytes);
  if (cpu === null) return;
  machine.board.firmware();
  machine.technique.importCpu(cpu);
}

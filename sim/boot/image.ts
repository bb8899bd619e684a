/** Guest images, read and checked, as a loader takes them. */

/** Bytes that a loader puts into guest-physical memory. */
export interface Segment {
  readonly address: number;
  readonly bytes: Uint8Array;
}

/** A file that a boot loader puts into memory beside a multiboot kernel. */
export interface Module {
  readonly bytes: Uint8Array;
  /** Its name and arguments, as the kernel sees them. */
  readonly commandLine: string;
}

/** A kernel that is entered in 32-bit protected mode. */
export interface KernelImage {
  readonly kind: "multiboot" | "elf32" | "flat";
  /** What to copy; memory is zero elsewhere. */
  readonly segments: readonly Segment[];
  readonly entry: number;
  /** End of the loaded image, .bss included: what must fit into memory. */
  readonly end: number;
  /** Multiboot only. */
  readonly modules?: readonly Module[];
}

/** A kernel of the Linux boot protocol, entered in real mode at its setup code. */
export interface LinuxImage {
  readonly kind: "bzimage";
  /** Boot sector and setup code: a multiple of 512 bytes. */
  readonly setup: Uint8Array;
  /** What is loaded at 1 MB. */
  readonly kernel: Uint8Array;
  readonly initrd?: Uint8Array;
}

/** A disk whose boot sector the BIOS starts. */
export interface DiskImage {
  readonly kind: "disk";
  readonly bytes: Uint8Array;
}

export type GuestImage = KernelImage | LinuxImage | DiskImage;

/**
 * The Linux/x86 boot protocol (Linux, Documentation/arch/x86/boot.rst), versions 2.00 to 2.15, with the 16-bit entry: the kernel's
 * own setup code runs in real mode over the BIOS and goes to protected mode by itself.
 *
 *     10000  boot sector and setup code (90000 for protocol 2.01 and before)
 *     +E000  command line; below it the setup code's stack, and its heap (9800 where the setup is at 90000)
 *     100000 the kernel
 *     top    the initial RAM disk, as high as the kernel allows
 *
 * Left out: kernels that load low (zImage) and those before 2.00, the 32-bit and EFI entries, setup_data, the parameter
 * mem= (which only limits where the RAM disk goes).
 */
import type { LinuxImage, Segment } from "./image.ts";

/** Offsets into the boot sector and the setup code. */
const HEADER = {
  setupSectors: 0x1f1,
  videoMode: 0x1fa,
  bootFlag: 0x1fe,
  magic: 0x202,
  version: 0x206,
  loaderType: 0x210,
  loadFlags: 0x211,
  ramdiskAddress: 0x218,
  ramdiskSize: 0x21c,
  heapEnd: 0x224,
  commandLine: 0x228,
  ramdiskMax: 0x22c,
  commandLineSize: 0x238,
  preferredAddress: 0x258,
  initSize: 0x260,
} as const;
const BOOT_FLAG = 0xaa55;
const HDRS = 0x53726448;
const LOADED_HIGH = 0x01;
const CAN_USE_HEAP = 0x80;
/** No number has been assigned to us. */
const UNDEFINED_LOADER = 0xff;
/** Before version 2.02 the command line is found by a magic number and an offset in the boot sector. */
const OLD_COMMAND_LINE_MAGIC = { at: 0x20, value: 0xa33f };
const OLD_COMMAND_LINE_OFFSET = 0x22;
const OLD_COMMAND_LINE_SIZE = 255;
const OLD_RAMDISK_MAX = 0x37ff_ffff;
const DEFAULT_SETUP_SECTORS = 4;
const SECTOR = 512;
const KERNEL_BASE = 0x100000;
const PAGE = 0x1000;
const VIDEO_MODES: Readonly<Record<string, number>> = { normal: 0xffff, ext: 0xfffe, ask: 0xfffd };

/** What the setup header says. */
export interface LinuxHeader {
  /** Protocol version: major in the high byte. */
  readonly version: number;
  readonly setupBytes: number;
  readonly loadedHigh: boolean;
  /** Longest command line, its zero not counted. */
  readonly commandLineSize: number;
  /** Highest address that the initial RAM disk may have. */
  readonly ramdiskMax: number;
  /** End of the memory that the kernel needs before it knows of any. */
  readonly end: number;
}

/** Whether a file begins as such a kernel does. */
export function isLinux(bytes: Uint8Array): boolean {
  if (bytes.length < HEADER.loadFlags + 1) return false;
  const view = viewOf(bytes);
  return view.getUint16(HEADER.bootFlag, true) === BOOT_FLAG && view.getUint32(HEADER.magic, true) === HDRS;
}

/** Reads the setup header of a file that `isLinux`. */
export function linuxHeader(bytes: Uint8Array): LinuxHeader {
  // Kernels of old protocols may have code where later headers have fields.
  const padded = new Uint8Array(HEADER.initSize + 4);
  padded.set(bytes.subarray(0, padded.length));
  const view = viewOf(padded);
  const version = view.getUint16(HEADER.version, true);
  const setupSectors = view.getUint8(HEADER.setupSectors) || DEFAULT_SETUP_SECTORS;
  const setupBytes = (setupSectors + 1) * SECTOR;
  const loaded = KERNEL_BASE + Math.max(bytes.length - setupBytes, 0);
  const preferred = view.getUint32(HEADER.preferredAddress, true);
  const needed = version >= 0x20a ? Math.max(preferred, KERNEL_BASE) + view.getUint32(HEADER.initSize, true) : 0;
  return {
    version,
    setupBytes,
    loadedHigh: (view.getUint8(HEADER.loadFlags) & LOADED_HIGH) !== 0,
    commandLineSize: version >= 0x206 ? view.getUint32(HEADER.commandLineSize, true) : OLD_COMMAND_LINE_SIZE,
    ramdiskMax: version >= 0x203 ? view.getUint32(HEADER.ramdiskMax, true) : OLD_RAMDISK_MAX,
    end: Math.max(loaded, needed),
  };
}

/** Where an initial RAM disk goes: the highest page that memory and kernel allow. */
export function ramdiskPlace(header: LinuxHeader, ramdiskBytes: number, memoryBytes: number): number {
  const top = Math.min(header.ramdiskMax + 1, memoryBytes);
  return Math.floor((top - ramdiskBytes) / PAGE) * PAGE;
}

/** The real-mode registers with which the setup code is entered. */
export interface LinuxEntry {
  readonly cs: number;
  readonly ip: number;
  /** DS, ES, FS, GS and SS. */
  readonly segment: number;
  readonly sp: number;
}

export function linuxEntry(header: LinuxHeader): LinuxEntry {
  const { base, heapEnd } = placeOf(header);
  return { cs: (base >> 4) + 0x20, ip: 0, segment: base >> 4, sp: heapEnd };
}

/** Everything that is written into guest memory. */
export function linuxSegments(image: LinuxImage, commandLine: string, memoryBytes: number): Segment[] {
  const header = linuxHeader(image.setup);
  const { base, heapEnd } = placeOf(header);
  const setup = image.setup.slice();
  const view = viewOf(setup);
  view.setUint8(HEADER.loaderType, UNDEFINED_LOADER);
  view.setUint16(HEADER.videoMode, videoMode(commandLine), true);
  const segments: Segment[] = [{ address: KERNEL_BASE, bytes: image.kernel }];
  if (header.version >= 0x201) {
    view.setUint8(HEADER.loadFlags, view.getUint8(HEADER.loadFlags) | CAN_USE_HEAP);
    view.setUint16(HEADER.heapEnd, heapEnd - 0x200, true);
  }
  if (header.version >= 0x202) {
    view.setUint32(HEADER.commandLine, base + heapEnd, true);
  } else {
    view.setUint16(OLD_COMMAND_LINE_MAGIC.at, OLD_COMMAND_LINE_MAGIC.value, true);
    view.setUint16(OLD_COMMAND_LINE_OFFSET, heapEnd, true);
  }
  if (image.initrd !== undefined) {
    const address = ramdiskPlace(header, image.initrd.length, memoryBytes);
    view.setUint32(HEADER.ramdiskAddress, address, true);
    view.setUint32(HEADER.ramdiskSize, image.initrd.length, true);
    segments.push({ address, bytes: image.initrd });
  }
  const line = Uint8Array.from([...commandLine].map((c) => c.charCodeAt(0) & 0xff).concat(0));
  segments.push({ address: base, bytes: setup }, { address: base + heapEnd, bytes: line });
  return segments;
}

/** Where the setup code goes, and the offset at which its heap ends and the command line begins. */
function placeOf({ version }: LinuxHeader): { base: number; heapEnd: number } {
  return version >= 0x202 ? { base: 0x10000, heapEnd: 0xe000 } : { base: 0x90000, heapEnd: 0x9800 };
}

/** vga=, which is the loader's to read. */
function videoMode(commandLine: string): number {
  const value = /(?:^| )vga=(\S+)/.exec(commandLine)?.[1];
  if (value === undefined) return 0xffff;
  return VIDEO_MODES[value] ?? Number(value) & 0xffff;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

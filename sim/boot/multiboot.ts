/**
 * What a multiboot loader puts into memory for a kernel (Multiboot Specification 0.6.96, 3.3): the information structure,
 * the command line, the memory map, modules on page boundaries behind the kernel, and their list.
 *
 * Left out, and so not flagged as present: symbol tables, drives, the configuration table, APM, VBE and framebuffer.
 */
import type { KernelImage, Segment } from "./image.ts";
import { EBDA_BASE, memoryRanges } from "./memory-map.ts";

/** In EAX when the kernel is entered. */
export const MULTIBOOT_MAGIC = 0x2badb002;
/** In EBX: in conventional memory, below every image. */
export const INFORMATION = 0x9000;
const COMMAND_LINE = 0x9100;
const NAME = "ringlab";
const INFORMATION_BYTES = 120;
const FLAG = {
  memory: 1 << 0,
  bootDevice: 1 << 1,
  commandLine: 1 << 2,
  modules: 1 << 3,
  memoryMap: 1 << 6,
  loader: 1 << 9,
};
const FIELD = {
  ...{ flags: 0, memoryLower: 4, memoryUpper: 8, bootDevice: 12, commandLine: 16, modules: 20, modulesAddress: 24 },
  ...{ mapLength: 44, mapAddress: 48, loader: 64 },
} as const;
const EXTENDED_BASE = 0x100000;
const MODULE_BYTES = 16;
const MAP_ENTRY_BYTES = 24;
const PAGE = 0x1000;
/** BIOS disk 80h, no partition. */
const FIRST_DISK = 0x80ffffff;

export interface MultibootSurroundings {
  readonly commandLine: string;
  /** RAM of the guest. */
  readonly memoryBytes: number;
  readonly disks: number;
}

/** The kernel's segments and all that goes with them. */
export function multibootSegments(
  image: KernelImage,
  { commandLine, memoryBytes, disks }: MultibootSurroundings,
): Segment[] {
  const segments = [...image.segments];
  let next = COMMAND_LINE;
  const place = (bytes: Uint8Array, alignment = 4): number => {
    const address = Math.ceil(next / alignment) * alignment;
    segments.push({ address, bytes });
    next = address + bytes.length;
    return address;
  };
  const information = new DataView(new ArrayBuffer(INFORMATION_BYTES));
  const put = (field: number, value: number): void => information.setUint32(field, value, true);
  segments.push({ address: INFORMATION, bytes: new Uint8Array(information.buffer) });

  put(FIELD.memoryLower, EBDA_BASE / 1024);
  put(FIELD.memoryUpper, (memoryBytes - EXTENDED_BASE) / 1024);
  put(FIELD.commandLine, place(text(commandLine)));
  const map = memoryMap(memoryBytes);
  put(FIELD.mapAddress, place(map));
  put(FIELD.mapLength, map.length);
  put(FIELD.loader, place(text(NAME)));
  let flags = FLAG.memory | FLAG.commandLine | FLAG.memoryMap | FLAG.loader;
  if (disks > 0) {
    put(FIELD.bootDevice, FIRST_DISK);
    flags |= FLAG.bootDevice;
  }
  const modules = image.modules ?? [];
  if (modules.length > 0) {
    const list = new DataView(new ArrayBuffer(modules.length * MODULE_BYTES));
    for (const [index, { address, bytes }] of modulePlaces(image).entries()) {
      segments.push({ address, bytes });
      list.setUint32(index * MODULE_BYTES, address, true);
      list.setUint32(index * MODULE_BYTES + 4, address + bytes.length, true);
      list.setUint32(index * MODULE_BYTES + 8, place(text(modules[index]?.commandLine ?? "")), true);
    }
    put(FIELD.modules, modules.length);
    put(FIELD.modulesAddress, place(new Uint8Array(list.buffer)));
    flags |= FLAG.modules;
  }
  put(FIELD.flags, flags);
  return segments;
}

/** Where the modules go: each on a page of its own, behind the kernel. */
export function modulePlaces(image: Pick<KernelImage, "end" | "modules">): readonly Segment[] {
  let next = Math.max(image.end, EXTENDED_BASE);
  return (image.modules ?? []).map(({ bytes }) => {
    const address = Math.ceil(next / PAGE) * PAGE;
    next = address + bytes.length;
    return { address, bytes };
  });
}

function memoryMap(memoryBytes: number): Uint8Array {
  const ranges = memoryRanges(memoryBytes);
  const view = new DataView(new ArrayBuffer(ranges.length * MAP_ENTRY_BYTES));
  for (const [n, { base, length, type }] of ranges.entries()) {
    // The size of an entry does not count itself.
    view.setUint32(n * MAP_ENTRY_BYTES, MAP_ENTRY_BYTES - 4, true);
    view.setUint32(n * MAP_ENTRY_BYTES + 4, base, true);
    view.setUint32(n * MAP_ENTRY_BYTES + 12, length, true);
    view.setUint32(n * MAP_ENTRY_BYTES + 20, type, true);
  }
  return new Uint8Array(view.buffer);
}

function text(value: string): Uint8Array {
  return new Uint8Array([...value].map((c) => c.charCodeAt(0) & 0x7f).concat(0));
}

/**
 * How a guest comes into memory and into the processor: the state that a boot loader leaves (Multiboot Specification
 * 0.6.96, section 3), as a value, so that it is the same under every technique.
 */
import { CELL, CpuState, CR0, GPR, RIGHTS, SEG, X87 } from "./cpu/state.ts";
import type { GuestCpu } from "./techniques/monitor.ts";

/** Bytes that a loader puts into guest-physical memory. */
export interface Segment {
  readonly address: number;
  readonly bytes: Uint8Array;
}

/** A guest image, read and checked. */
export interface GuestImage {
  readonly kind: "multiboot" | "elf32" | "flat";
  /** What to copy; memory is zero elsewhere. */
  readonly segments: readonly Segment[];
  readonly entry: number;
  /** End of the loaded image, .bss included: what must fit into memory. */
  readonly end: number;
}

/** Multiboot: magic in EAX, and where the information structure is put: in conventional memory, below every image. */
const MULTIBOOT_MAGIC = 0x2badb002;
const INFORMATION = 0x9000;
const COMMAND_LINE = 0x9100;
const MEMORY_MAP = 0x9800;
const LOADER_NAME = 0x9900;
const NAME = "ringlab";
const FLAG_MEMORY = 1 << 0;
const FLAG_COMMAND_LINE = 1 << 2;
const FLAG_MEMORY_MAP = 1 << 6;
const FLAG_LOADER_NAME = 1 << 9;
const CONVENTIONAL_BYTES = 0xa0000;
const EXTENDED_BASE = 0x100000;

const FLAT = 0xffffffff;
const CODE_RIGHTS = RIGHTS.G | RIGHTS.DB | RIGHTS.P | RIGHTS.S | 0xb;
const DATA_RIGHTS = RIGHTS.G | RIGHTS.DB | RIGHTS.P | RIGHTS.S | 0x3;
/** IA32_APIC_BASE after reset: enabled, bootstrap processor. */
const APIC_BASE_RESET = 0xfee00900;
/** IA32_PAT after reset (SDM vol. 3, 12.12.4). */
const PAT_RESET = [0x00070406, 0x00070406] as const;
/** Boot loaders leave selectors of a GDT that is theirs; the values mean nothing to a kernel. */
const LOADER_CODE = 0x08;
const LOADER_DATA = 0x10;

/** Everything that is written into guest memory for an image and its command line. */
export function bootSegments(image: GuestImage, commandLine: string, memoryBytes: number): Segment[] {
  const segments = [...image.segments];
  if (image.kind !== "multiboot") return segments;
  const information = new Uint8Array(96);
  const view = new DataView(information.buffer);
  view.setUint32(0, FLAG_MEMORY | FLAG_COMMAND_LINE | FLAG_MEMORY_MAP | FLAG_LOADER_NAME, true);
  view.setUint32(4, CONVENTIONAL_BYTES / 1024, true);
  view.setUint32(8, (memoryBytes - EXTENDED_BASE) / 1024, true);
  view.setUint32(16, COMMAND_LINE, true);
  view.setUint32(44, 48, true);
  view.setUint32(48, MEMORY_MAP, true);
  view.setUint32(64, LOADER_NAME, true);
  segments.push({ address: INFORMATION, bytes: information });
  segments.push({ address: COMMAND_LINE, bytes: text(commandLine) });
  segments.push({ address: LOADER_NAME, bytes: text(NAME) });
  segments.push({ address: MEMORY_MAP, bytes: memoryMap(memoryBytes) });
  return segments;
}

/** Two available ranges: conventional and extended memory. */
function memoryMap(memoryBytes: number): Uint8Array {
  const map = new Uint8Array(48);
  const view = new DataView(map.buffer);
  const ranges = [
    [0, CONVENTIONAL_BYTES],
    [EXTENDED_BASE, memoryBytes - EXTENDED_BASE],
  ] as const;
  for (const [n, [base, length]] of ranges.entries()) {
    view.setUint32(n * 24, 20, true);
    view.setUint32(n * 24 + 4, base, true);
    view.setUint32(n * 24 + 12, length, true);
    view.setUint32(n * 24 + 20, 1, true);
  }
  return map;
}

function text(value: string): Uint8Array {
  return new Uint8Array([...value].map((c) => c.charCodeAt(0) & 0x7f).concat(0));
}

/** The processor as the loader leaves it: 32-bit protected mode, flat segments, paging and interrupts off. */
export function bootCpu(image: GuestImage): GuestCpu {
  const state = new CpuState();
  state.set(CELL.cr0, CR0.PE | CR0.ET);
  state.flags = 2;
  // As firmware leaves it: FNINIT.
  state.set(X87.control, 0x37f);
  state.eip = image.entry;
  state.setSegment(SEG.cs, LOADER_CODE, 0, FLAT, CODE_RIGHTS);
  for (const segment of [SEG.es, SEG.ss, SEG.ds, SEG.fs, SEG.gs]) {
    state.setSegment(segment, LOADER_DATA, 0, FLAT, DATA_RIGHTS);
  }
  state.setSegment(SEG.ldtr, 0, 0, 0xffff, RIGHTS.UNUSABLE);
  state.setSegment(SEG.tr, 0, 0, 0xffff, RIGHTS.P | 0xb);
  state.set(CELL.idtrLimit, 0xffff);
  state.set(CELL.gdtrLimit, 0xffff);
  state.set(CELL.dr6, 0xffff0ff0);
  state.set(CELL.dr7, 0x400);
  state.set(CELL.apicBase, APIC_BASE_RESET);
  state.i32[CELL.pat] = PAT_RESET[0];
  state.i32[CELL.pat + 1] = PAT_RESET[1];
  if (image.kind === "multiboot") {
    state.set(GPR.eax, MULTIBOOT_MAGIC);
    state.set(GPR.ebx, INFORMATION);
  }
  return { cpu: state.save() };
}

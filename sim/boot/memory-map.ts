/**
 * The memory map that boot loaders hand to kernels, in the terms of INT 15h AX=E820h; the BIOS (workloads/bios/memory.c)
 * answers the same from what the CMOS RAM tells.
 */
import { CONVENTIONAL_END, EXTENDED_BASE } from "../memory/memory-map.ts";

export const RANGE = { available: 1, reserved: 2 } as const;

export interface MemoryRange {
  readonly base: number;
  readonly length: number;
  readonly type: number;
}

/** Where the extended BIOS data area begins: the last KB of conventional memory. */
export const EBDA_BASE = CONVENTIONAL_END - 0x400;
const ROM_BASE = 0xf0000;
const INTERRUPT_CONTROLLERS = 0xfec0_0000;
const INTERRUPT_CONTROLLERS_BYTES = 0x40_0000;
const UPPER_ROM = 0xffff_0000;
const ROM_BYTES = 0x1_0000;

/** The ranges of a PC whose RAM ends at `memoryBytes`, in ascending order. */
export function memoryRanges(memoryBytes: number): readonly MemoryRange[] {
  const { available, reserved } = RANGE;
  return [
    { base: 0, length: EBDA_BASE, type: available },
    { base: EBDA_BASE, length: CONVENTIONAL_END - EBDA_BASE, type: reserved },
    { base: ROM_BASE, length: EXTENDED_BASE - ROM_BASE, type: reserved },
    { base: EXTENDED_BASE, length: Math.max(memoryBytes - EXTENDED_BASE, 0), type: available },
    { base: INTERRUPT_CONTROLLERS, length: INTERRUPT_CONTROLLERS_BYTES, type: reserved },
    { base: UPPER_ROM, length: ROM_BYTES, type: reserved },
  ].filter(({ length }) => length > 0);
}

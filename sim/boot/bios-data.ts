/**
 * The BIOS data area and its extension, for kernels that are entered without the BIOS having run: what kernels in
 * protected mode look up there (how much memory, which serial ports, where tables may be), not what services need.
 */

import type { Segment } from "./image.ts";
import { EBDA_BASE } from "./memory-map.ts";

const BDA = 0x400;
const BDA_BYTES = 0x100;
/** A coprocessor, 80 by 25 characters in colour, a PS/2 mouse, two serial ports. */
const EQUIPMENT = 0x0426;

export function biosDataAreas(disks: number): readonly Segment[] {
  const bytes = new Uint8Array(BDA_BYTES);
  const view = new DataView(bytes.buffer);
  const word = (at: number, value: number): void => view.setUint16(at, value, true);
  word(0x00, 0x3f8);
  word(0x02, 0x2f8);
  word(0x0e, EBDA_BASE >> 4);
  word(0x10, EQUIPMENT);
  word(0x13, EBDA_BASE >> 10);
  // An empty ring of keys.
  for (const at of [0x1a, 0x1c, 0x80]) word(at, 0x1e);
  word(0x82, 0x3e);
  // Mode 3: 80 columns, pages of 4 KB, a cursor of two lines, the colour CRT controller, 25 rows of 16 lines.
  bytes[0x49] = 3;
  word(0x4a, 80);
  word(0x4c, 0x1000);
  word(0x60, 0x0607);
  word(0x63, 0x3d4);
  bytes[0x75] = disks;
  bytes[0x84] = 24;
  word(0x85, 16);
  bytes[0x96] = 0x10;
  const extension = Uint8Array.of(1);
  return [
    { address: BDA, bytes },
    { address: EBDA_BASE, bytes: extension },
  ];
}

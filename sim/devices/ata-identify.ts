/**
 * What an ATA disk tells of itself: the data of IDENTIFY DEVICE (ATA/ATAPI-6, 8.15): LBA of 28 and 48 bits, PIO modes 0
 * to 4, multiword DMA 0 to 2, Ultra DMA 0 to 5 over a cable of 80 conductors.
 */
import { type Geometry, SECTOR_BYTES } from "./disk-image.ts";

/** Longest block of READ and WRITE MULTIPLE in sectors. */
export const MAX_MULTIPLE = 16;

interface IdentifiedDisk {
  readonly sectors: number;
  readonly geometry: Geometry;
  /** The translation that INITIALIZE DEVICE PARAMETERS has set. */
  readonly heads: number;
  readonly sectorsPerTrack: number;
  readonly multiple: number;
  readonly writeCache: boolean;
  readonly lookAhead: boolean;
  /** The DMA mode that SET FEATURES has chosen, as it codes it (20h multiword, 40h Ultra); 0: PIO. */
  readonly transferMode: number;
}

/** Sectors that 28-bit addresses reach; a larger disk says so many there. */
const LBA28_SECTORS = 0x0fff_ffff;

/** Modes 0 to `last` supported, and in the high byte the one that is selected, if it is of this family. */
function modes(last: number, family: number, selected: number): number {
  const chosen = (selected & ~7) === family ? 0x100 << (selected & 7) : 0;
  return ((2 << last) - 1) | chosen;
}

/** The 256 words of IDENTIFY DEVICE, low byte first. */
export function identifyDevice(s: IdentifiedDisk): Uint8Array {
  const sectors = Math.min(s.sectors, LBA28_SECTORS);
  const { cylinders, heads, sectors: perTrack } = s.geometry;
  const track = s.heads * s.sectorsPerTrack;
  const current = Math.min(Math.floor(sectors / track), 0xffff);
  const enabled = (s.writeCache ? 0x20 : 0) | (s.lookAhead ? 0x40 : 0);
  const words: Readonly<Record<number, number>> = {
    0: 0x0040,
    1: cylinders,
    3: heads,
    6: perTrack,
    47: 0x8000 | MAX_MULTIPLE,
    48: 1,
    // LBA, DMA, IORDY
    49: 0x0b00,
    50: 0x4000,
    51: 0x0200,
    // words 54-58, 64-70 and 88 are valid
    53: 0x0007,
    54: current,
    55: s.heads,
    56: s.sectorsPerTrack,
    57: (current * track) & 0xffff,
    58: (current * track) >>> 16,
    59: 0x0100 | s.multiple,
    60: sectors & 0xffff,
    61: sectors >>> 16,
    63: modes(2, 0x20, s.transferMode),
    // PIO modes 3 and 4, and multiword DMA, with cycles of 120 ns
    64: 0x0003,
    65: 120,
    66: 120,
    67: 120,
    68: 120,
    // ATA-1 to ATA/ATAPI-6; write cache, look-ahead; FLUSH CACHE, its 48-bit form, 48-bit addresses
    80: 0x007e,
    82: 0x0060,
    83: 0x7400,
    84: 0x4000,
    85: enabled,
    86: 0x3400,
    87: 0x4000,
    88: modes(5, 0x40, s.transferMode),
    // 80 conductors; device 0 has passed its diagnostic
    93: 0x600b,
    100: s.sectors & 0xffff,
    101: Math.floor(s.sectors / 0x10000) & 0xffff,
  };
  const bytes = new Uint8Array(SECTOR_BYTES);
  for (const [index, word] of Object.entries(words)) {
    bytes[Number(index) * 2] = word & 0xff;
    bytes[Number(index) * 2 + 1] = word >> 8;
  }
  const text = (firstWord: number, count: number, value: string): void => {
    // The first character of each word is its high byte.
    const padded = value.padEnd(count * 2);
    for (let i = 0; i < count * 2; i++) bytes[firstWord * 2 + (i ^ 1)] = padded.charCodeAt(i);
  };
  text(10, 10, "RINGLAB0001");
  text(23, 4, "1.0");
  text(27, 20, "RINGLAB DISK");
  return bytes;
}

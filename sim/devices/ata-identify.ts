/**
 * What an ATA disk tells of itself: the data of IDENTIFY DEVICE (ATA/ATAPI-5, 8.12), LBA and PIO modes 0 to 4, no DMA.
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
}

/** The 256 words of IDENTIFY DEVICE, low byte first. */
export function identifyDevice(s: IdentifiedDisk): Uint8Array {
  const { sectors } = s;
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
    // LBA, IORDY; no DMA
    49: 0x0a00,
    50: 0x4000,
    51: 0x0200,
    // words 54-58 and 64-70 are valid
    53: 0x0003,
    54: current,
    55: s.heads,
    56: s.sectorsPerTrack,
    57: (current * track) & 0xffff,
    58: (current * track) >>> 16,
    59: 0x0100 | s.multiple,
    60: sectors & 0xffff,
    61: sectors >>> 16,
    // PIO modes 3 and 4 with cycles of 120 ns
    64: 0x0003,
    67: 120,
    68: 120,
    // ATA-1 to ATA/ATAPI-5; write cache, look-ahead, FLUSH CACHE
    80: 0x003e,
    82: 0x0060,
    83: 0x5000,
    84: 0x4000,
    85: enabled,
    86: 0x1000,
    87: 0x4000,
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

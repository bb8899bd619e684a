/**
 * The tables that firmware leaves to kernels, in the part of the firmware ROM that our BIOS leaves free: F0000h to F3FFFh,
 * where searches for the RSDP and for the MP floating pointer look. They are there when no BIOS runs, too. The memory
 * map calls all of the ROM reserved, so that no RAM is taken for them.
 */
import type { Profile } from "../../cpu/profiles/profile.ts";
import { dsdt, facs, fadt, madt, rsdp, rsdt } from "./acpi.ts";
import { mpPointer, mpTable } from "./mp.ts";

const BASE = 0xf0000;
const FREE_BYTES = 0x4000;
const SEGMENT_BYTES = 0x1_0000;
/** Pointers are found on multiples of 16; the FACS stands on one of 64, and so do all tables here. */
const ALIGNMENT = 64;
const POINTER = { rsdp: 0x00, mp: 0x20 } as const;

/**
 * A firmware image (64 or 128 KB, ending at 1 MB) with the machine's tables; the image itself when the place is not
 * free, for that firmware has tables of its own.
 */
export function withTables(firmware: Uint8Array, profile: Profile, memoryBytes: number): Uint8Array {
  const start = firmware.length - SEGMENT_BYTES;
  const filler = firmware[start];
  const free = firmware.subarray(start, start + FREE_BYTES);
  if ((filler !== 0 && filler !== 0xff) || free.some((byte) => byte !== filler)) return firmware;
  const image = firmware.slice();
  let next = ALIGNMENT;
  const place = (table: readonly number[]): number => {
    const address = BASE + next;
    image.set(table, start + next);
    next = Math.ceil((next + table.length) / ALIGNMENT) * ALIGNMENT;
    if (next > FREE_BYTES) throw new Error(`firmware tables need more than ${FREE_BYTES} bytes`);
    return address;
  };
  const fixed = fadt(place(facs()), place(dsdt(memoryBytes)));
  image.set(rsdp(place(rsdt([place(fixed), place(madt())]))), start + POINTER.rsdp);
  image.set(mpPointer(place(mpTable(profile))), start + POINTER.mp);
  return image;
}

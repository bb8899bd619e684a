/** Building tables of little-endian fields, whose bytes sum to zero. */

export function word(value: number): number[] {
  return [value & 0xff, (value >> 8) & 0xff];
}

export function doubleWord(value: number): number[] {
  return [...word(value & 0xffff), ...word(value >>> 16)];
}

/** ASCII, padded with blanks to `length`. */
export function ascii(text: string, length: number): number[] {
  return Array.from(text.padEnd(length), (character) => character.charCodeAt(0)).slice(0, length);
}

export function zeros(count: number): number[] {
  return new Array<number>(count).fill(0);
}

/** The table with the byte at `at` chosen so that all of them sum to zero modulo 256. */
export function checksummed(table: readonly number[], at: number): number[] {
  const bytes = [...table];
  bytes[at] = 0;
  bytes[at] = -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff;
  return bytes;
}

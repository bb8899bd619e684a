/**
 * Advance widths of a TrueType font (OpenType 1.9: tables head, hhea, hmtx and cmap format 4), so that a figure is laid
 * out with the widths that its text will have. Kerning is left out.
 */
import { readFileSync } from "node:fs";

export interface FontMetrics {
  /** Width of one line of text in units of the font size. */
  widthOf(text: string): number;
}

/** Reads the advances of a font file. */
export function readFontMetrics(path: string): FontMetrics {
  const file = readFileSync(path);
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const tables = new Map<string, number>();
  for (let index = 0; index < view.getUint16(4); index++) {
    const at = 12 + 16 * index;
    tables.set(file.toString("latin1", at, at + 4), view.getUint32(at + 8));
  }
  const table = (tag: string): number => {
    const offset = tables.get(tag);
    if (offset === undefined) throw new Error(`${path}: no ${tag} table`);
    return offset;
  };
  const unitsPerEm = view.getUint16(table("head") + 18);
  const metricCount = view.getUint16(table("hhea") + 34);
  const advances = table("hmtx");
  const glyphOf = characterMap(view, table("cmap"), path);
  const widths = new Map<string, number>();
  const widthOfCharacter = (character: string): number => {
    let width = widths.get(character);
    if (width === undefined) {
      const glyph = Math.min(glyphOf(character.codePointAt(0) as number), metricCount - 1);
      width = view.getUint16(advances + 4 * glyph) / unitsPerEm;
      widths.set(character, width);
    }
    return width;
  };
  return {
    widthOf(text) {
      let width = 0;
      for (const character of text) width += widthOfCharacter(character);
      return width;
    },
  };
}

/** Glyph of a character by the font's Unicode map of the basic plane (platform 3, encoding 1, format 4). */
function characterMap(view: DataView, cmap: number, path: string): (code: number) => number {
  for (let index = 0; index < view.getUint16(cmap + 2); index++) {
    const record = cmap + 4 + 8 * index;
    const map = cmap + view.getUint32(record + 4);
    if (view.getUint16(record) !== 3 || view.getUint16(record + 2) !== 1 || view.getUint16(map) !== 4) continue;
    const segments = view.getUint16(map + 6) / 2;
    const [ends, starts] = [map + 14, map + 16 + 2 * segments];
    const [deltas, offsets] = [starts + 2 * segments, starts + 4 * segments];
    return (code) => {
      for (let segment = 0; segment < segments; segment++) {
        if (view.getUint16(ends + 2 * segment) < code) continue;
        const start = view.getUint16(starts + 2 * segment);
        if (start > code) return 0;
        const delta = view.getUint16(deltas + 2 * segment);
        const offset = view.getUint16(offsets + 2 * segment);
        if (offset === 0) return (code + delta) & 0xffff;
        const glyph = view.getUint16(offsets + 2 * segment + offset + 2 * (code - start));
        return glyph === 0 ? 0 : (glyph + delta) & 0xffff;
      }
      return 0;
    };
  }
  throw new Error(`${path}: no Unicode character map`);
}

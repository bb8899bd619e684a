/**
 * The display as a picture: characters of nine dots, as a VGA shows them in 720 by 400, in the colours of its palette, with
 * the cursor. The ninth dot is background, or for line graphics (C0h to DFh) the eighth again.
 *
 * Left out: blinking (characters and cursor are shown), fonts that software loads, underlining, graphics modes.
 */
import { VGA_FONT } from "./vga-font.ts";
import type { VgaText } from "./vga-text.ts";

const CELL_DOTS = 9;
const FONT_DOTS = 8;
const LINE_GRAPHICS = { first: 0xc0, last: 0xdf } as const;

/** Rows of dots from the top, three bytes each: red, green, blue. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly pixels: Uint8Array;
}

/** What is on the screen; a black picture of the usual size when no text mode is set. */
export function pictureOf(vga: VgaText): Picture {
  const cells = vga.cells();
  if (cells.length === 0) return { width: 720, height: 400, pixels: new Uint8Array(720 * 400 * 3) };
  const { rowLines, cursor, blinks } = vga;
  const width = vga.columns * CELL_DOTS;
  const height = cells.length * rowLines;
  const pixels = new Uint8Array(width * height * 3);
  const colours = Array.from({ length: 16 }, (_, index) => vga.colour(index));
  const [firstLine, lastLine] = vga.cursorLines;
  for (const [row, line] of cells.entries()) {
    for (const [column, { code, attribute }] of line.entries()) {
      const foreground = colours[attribute & 0x0f] as readonly number[];
      const background = colours[(attribute >> 4) & (blinks ? 0x07 : 0x0f)] as readonly number[];
      const here = cursor !== null && cursor.row === row && cursor.column === column;
      for (let y = 0; y < rowLines; y++) {
        const dots = here && y >= firstLine && y <= lastLine ? 0x1ff : dotsOf(code, y);
        for (let x = 0; x < CELL_DOTS; x++) {
          const colour = (dots & (0x100 >> x)) !== 0 ? foreground : background;
          pixels.set(colour, ((row * rowLines + y) * width + column * CELL_DOTS + x) * 3);
        }
      }
    }
  }
  return { width, height, pixels };
}

/** Nine dots of one line of a character, the leftmost in bit 8. */
function dotsOf(code: number, line: number): number {
  const eight = Number.parseInt((VGA_FONT[code] as string).slice(2 * line, 2 * line + 2), 16) || 0;
  const repeated = code >= LINE_GRAPHICS.first && code <= LINE_GRAPHICS.last ? eight & 1 : 0;
  return (eight << (CELL_DOTS - FONT_DOTS)) | repeated;
}

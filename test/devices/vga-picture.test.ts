import { describe, expect, test } from "vitest";
import { png } from "../../cli/png.ts";
import { VGA_FONT } from "../../sim/devices/vga-font.ts";
import { pictureOf } from "../../sim/devices/vga-picture.ts";
import { VgaText } from "../../sim/devices/vga-text.ts";
import { ManualTime } from "./fixtures.ts";

function screen(): VgaText {
  const vga = new VgaText(new ManualTime());
  vga.firmware();
  return vga;
}

/** The dots of a cell as text: a digit for each, the number of different colours seen before it. */
function cell(vga: VgaText, row: number, column: number): string[] {
  const { width, pixels } = pictureOf(vga);
  const background = "0,0,0";
  return Array.from({ length: 16 }, (_, y) =>
    Array.from({ length: 9 }, (__, x) => {
      const at = ((row * 16 + y) * width + column * 9 + x) * 3;
      return pixels.subarray(at, at + 3).join() === background ? "." : "#";
    }).join(""),
  );
}

describe("the picture", () => {
  test("has 720 by 400 dots in mode 3, and is black before a mode is set", () => {
    const { width, height, pixels } = pictureOf(screen());
    expect([width, height, pixels.length]).toEqual([720, 400, 720 * 400 * 3]);
    expect(pictureOf(new VgaText(new ManualTime())).pixels.every((part) => part === 0)).toBe(true);
  });

  test("shows characters in the colours of their attributes", () => {
    const vga = screen();
    vga.writeMemory(0xb8000 + 2 * 81, 2, 0x1edb);
    const { width, pixels } = pictureOf(vga);
    const at = (16 * width + 9) * 3;
    // A full block in yellow, its ninth dot too: DBh is line graphics.
    expect([...pixels.subarray(at, at + 3)]).toEqual([255, 255, 85]);
    expect([...pixels.subarray(at + 24, at + 27)]).toEqual([255, 255, 85]);
    vga.writeMemory(0xb8000 + 2 * 81, 2, 0x1e20);
    expect([...pictureOf(vga).pixels.subarray(at, at + 3)]).toEqual([0, 0, 170]);
  });

  test("joins lines across cells: horizontal ones reach the ninth dot, vertical ones top and bottom", () => {
    const vga = screen();
    vga.writeMemory(0xb8000 + 160, 2, 0x07c4);
    vga.writeMemory(0xb8000 + 162, 2, 0x07b3);
    expect(cell(vga, 1, 0).filter((row) => row !== ".........")).toEqual(["#########"]);
    expect(new Set(cell(vga, 1, 1))).toEqual(new Set(["...#....."]));
  });

  test("shows the cursor on the lines that the CRT controller says", () => {
    const vga = screen();
    const rows = cell(vga, 0, 0);
    expect(rows.map((row) => row === "#########").indexOf(true)).toBe(13);
    expect(rows.filter((row) => row.includes("#")).length).toBe(2);
  });
});

test("the font has 16 bytes for each code, and no two letters look alike", () => {
  expect(VGA_FONT.map((glyph) => glyph.length)).toEqual(new Array(256).fill(32));
  const letters = VGA_FONT.slice(0x21, 0x7f);
  expect(new Set(letters).size).toBe(letters.length);
  const blank = VGA_FONT.flatMap((glyph, code) => (Number.parseInt(glyph, 16) === 0 ? [code] : []));
  expect(blank).toEqual([0, 0x20, 0xff]);
});

test("a PNG begins with its signature and a header of the picture's size", () => {
  const file = png({ width: 3, height: 2, pixels: new Uint8Array(18) });
  expect([...file.subarray(0, 8)]).toEqual([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10]);
  expect([file.readUInt32BE(16), file.readUInt32BE(20), file[24], file[25]]).toEqual([3, 2, 8, 2]);
});

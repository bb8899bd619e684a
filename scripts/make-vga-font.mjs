// Makes sim/devices/vga-font.ts: 256 characters of code page 437, 8 by 16 dots each. Letters are drawn from DejaVu Sans
// Mono (a free font; its licence permits derived bitmaps) at a size at which it is eight dots wide; lines, blocks and
// shades are made here, so that they meet. `node scripts/make-vga-font.mjs`, after `node scripts/setup.mjs`.
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Resvg } from "@resvg/resvg-js";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const { CODE_PAGE_437 } = await import("../dist/sim/devices/code-page-437.js");
const fonts = dirname(createRequire(import.meta.url).resolve("dejavu-fonts-ttf/ttf/DejaVuSansMono.ttf"));
const fontFiles = [join(fonts, "DejaVuSansMono.ttf"), join(fonts, "DejaVuSans.ttf")];
const WIDTH = 8;
const HEIGHT = 16;
const SCALE = 8;

/** A letter as 16 bytes: a dot is set where most of its area is inked. */
function letter(character) {
  const escaped = character.replace(/[&<>]/g, (c) => `&#${c.charCodeAt(0)};`);
  const svg =
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH * SCALE}" height="${HEIGHT * SCALE}" viewBox="0 0 ${WIDTH} ${HEIGHT}">` +
    `<text x="4" y="12" text-anchor="middle" font-family="DejaVu Sans Mono" font-size="13" xml:space="preserve">${escaped}</text></svg>`;
  const options = { font: { loadSystemFonts: false, fontFiles, defaultFontFamily: "DejaVu Sans Mono" } };
  const { pixels } = new Resvg(svg, options).render();
  return Array.from({ length: HEIGHT }, (_, y) => {
    let bits = 0;
    for (let x = 0; x < WIDTH; x++) {
      let ink = 0;
      for (let dy = 0; dy < SCALE; dy++) {
        for (let dx = 0; dx < SCALE; dx++) ink += pixels[((y * SCALE + dy) * WIDTH * SCALE + x * SCALE + dx) * 4 + 3];
      }
      bits = (bits << 1) | (ink > 255 * SCALE * SCALE * 0.45 ? 1 : 0);
    }
    return bits;
  });
}

/** Arms of box characters, up, down, left, right: 1 a single line, 2 a double one. In order of their codes, B3h to DAh. */
const BOXES =
  "1100 1110 1120 2210 0210 0120 2220 2200 0220 2020 2010 1020 0110 1001 1011 0111 1101 0011 1111 1102 2201 2002 0202 2022 0222 2202 0022 2222 1022 2011 0122 0211 2001 1002 0102 0201 2211 1122 1010 0101".split(
    " ",
  );
const COLUMNS = { 1: [3], 2: [2, 4] };
const ROWS = { 1: [7], 2: [6, 8] };

function box(arms) {
  const [up, down, left, right] = [...arms].map(Number);
  const dots = Array.from({ length: HEIGHT }, () => new Array(WIDTH).fill(0));
  const paint = (x0, x1, y0, y1) => {
    for (let y = y0; y <= y1; y++) for (let x = x0; x <= x1; x++) dots[y][x] = 1;
  };
  // Each line runs from its edge to the farthest line of the other direction that it meets, on its own side first.
  const ends = (near, far, across, lines, low) => {
    const own = low ? lines[near]?.[0] : lines[near]?.at(-1);
    const other = low ? lines[far]?.at(-1) : lines[far]?.[0];
    return own ?? other ?? across;
  };
  const columns = COLUMNS[up || down] ?? [];
  for (const [n, x] of columns.entries()) {
    const side = columns.length === 1 ? [left, right] : n === 0 ? [left, right] : [right, left];
    const meets = columns.length === 1 ? Math.max(left, right) : 0;
    const inner = columns.length === 2 && side[0] === 2;
    if (up && down && !inner) paint(x, x, 0, HEIGHT - 1);
    else {
      if (up) paint(x, x, 0, meets ? ROWS[meets].at(-1) : ends(side[0], side[1], 7, ROWS, true));
      if (down) paint(x, x, meets ? ROWS[meets][0] : ends(side[0], side[1], 7, ROWS, false), HEIGHT - 1);
    }
  }
  const rows = ROWS[left || right] ?? [];
  for (const [n, y] of rows.entries()) {
    const side = rows.length === 1 || n === 0 ? [up, down] : [down, up];
    const meets = rows.length === 1 ? Math.max(up, down) : 0;
    const inner = rows.length === 2 && side[0] === 2;
    if (left && right && !inner) paint(0, WIDTH - 1, y, y);
    else {
      if (left)
        paint(
          0,
          meets
            ? COLUMNS[meets].at(rows.length === 1 && up && down && meets === 2 ? 0 : -1)
            : ends(side[0], side[1], 3, COLUMNS, true),
          y,
          y,
        );
      if (right)
        paint(
          meets
            ? COLUMNS[meets].at(rows.length === 1 && up && down && meets === 2 ? -1 : 0)
            : ends(side[0], side[1], 3, COLUMNS, false),
          WIDTH - 1,
          y,
          y,
        );
    }
  }
  return dots.map((row) => row.reduce((bits, dot) => (bits << 1) | dot, 0));
}

const rows = (f) => Array.from({ length: HEIGHT }, (_, y) => f(y));
const DRAWN = new Map([
  [0x5f, rows((y) => (y === 14 ? 0xff : 0))],
  [0xb0, rows((y) => (y % 2 === 0 ? 0x22 : 0x88))],
  [0xb1, rows((y) => (y % 2 === 0 ? 0x55 : 0xaa))],
  [0xb2, rows((y) => (y % 2 === 0 ? 0xdd : 0x77))],
  [0xdb, rows(() => 0xff)],
  [0xdc, rows((y) => (y >= 8 ? 0xff : 0))],
  [0xdd, rows(() => 0xf0)],
  [0xde, rows(() => 0x0f)],
  [0xdf, rows((y) => (y < 8 ? 0xff : 0))],
  ...BOXES.map((arms, n) => [0xb3 + n, box(arms)]),
]);

const glyphs = CODE_PAGE_437.map((character, code) => DRAWN.get(code) ?? letter(character));
const lines = glyphs.map((glyph) => `  "${glyph.map((byte) => byte.toString(16).padStart(2, "0")).join("")}",`);
writeFileSync(
  join(root, "sim/devices/vga-font.ts"),
  `/**
 * The display's characters: 8 by 16 dots each, in order of code page 437, sixteen rows of two hexadecimal digits whose
 * highest bit is the leftmost dot. Made by scripts/make-vga-font.mjs: letters from DejaVu Sans Mono, lines and blocks
 * drawn there.
 */
export const VGA_FONT: readonly string[] = [
${lines.join("\n")}
];
`,
);
if (process.argv[2] === "--show") {
  for (const code of process.argv[3].split(",").map((n) => Number.parseInt(n, 16)))
    console.log(
      `${glyphs[code].map((byte) => byte.toString(2).padStart(8, "0").replaceAll("0", ".").replaceAll("1", "#")).join("\n")}\n`,
    );
}

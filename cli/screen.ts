/** `--screen`: what is on the guest's display, as text here or in a file, or as a picture. */
import { writeFileSync } from "node:fs";
import { shown } from "../experiments/paths.ts";
import { Problem } from "../experiments/problem.ts";
import { pictureOf } from "../sim/devices/vga-picture.ts";
import type { Machine } from "../sim/machine.ts";
import { png } from "./png.ts";

/** Writes the screen to a file by its name's end and says so; without a file the text itself, framed. */
export function screenTo(machine: Machine, file: string | undefined): string {
  const { vga } = machine.board;
  const rows = vga.text();
  if (file === undefined) {
    if (rows.length === 0) return "(no text mode is set: the screen shows nothing)\n";
    const edge = `+${"-".repeat(vga.columns)}+`;
    return `${[edge, ...rows.map((row) => `|${row.padEnd(vga.columns)}|`), edge].join("\n")}\n`;
  }
  try {
    const picture = file.toLowerCase().endsWith(".png");
    writeFileSync(file, picture ? png(pictureOf(vga)) : `${rows.join("\n")}\n`);
  } catch (error) {
    throw new Problem("bad-output", `${shown(file)}: cannot be written (${(error as NodeJS.ErrnoException).code})`);
  }
  return "";
}

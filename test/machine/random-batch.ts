// Many random programs on one machine, one after the other: paging is on, some pages of the programs' window are not present
// or read-only, FS ends within it, GS has a base, and every exception leads to the program behind the one that raised it.
import { CELL, type CpuState, CR0, CR4, RIGHTS, SEG } from "../../sim/cpu/state.ts";
import { RandomProgram } from "./random-program.ts";
import { CODE_BASE, type Setup } from "./rig.ts";

const WINDOW = 0x180000;
const WINDOW_END = WINDOW + 0x4000;
/** Behind the window: where the next program begins, the tables, and the handler of all exceptions. */
const NEXT = 0x190000;
const GDT = 0x191000;
const IDT = 0x192000;
const HANDLER = 0x193000;
const DIRECTORY = 0x194000;
const TABLE = 0x195000;
const END = 0x196000;
const PRESENT_WRITABLE = 3;
const DATA = RIGHTS.G | RIGHTS.DB | RIGHTS.P | RIGHTS.S | 0x3;

/** A guest of `count` programs; the last is followed by one that shuts the processor down. */
export function randomBatch(firstSeed: number, count: number): Setup {
  const image = new Uint8Array(END - CODE_BASE);
  const view = new DataView(image.buffer);
  const put = (address: number, ...words: number[]): void => {
    for (const [n, word] of words.entries()) view.setUint32(address - CODE_BASE + 4 * n, word >>> 0, true);
  };
  let at = CODE_BASE;
  for (let n = 0; n < count; n++) {
    // mov dword [NEXT], next; the program
    const { code } = new RandomProgram(firstSeed + n, at + 10, true);
    const next = at + 10 + code.length;
    if (next > WINDOW - 16) throw new Error("too many programs for one batch");
    image.set([0xc7, 0x05], at - CODE_BASE);
    put(at + 2, NEXT, next);
    image.set(code, at + 10 - CODE_BASE);
    at = next;
  }
  // lidt [zeroes]; ud2
  image.set([0x0f, 0x01, 0x1d], at - CODE_BASE);
  put(at + 3, GDT);
  image.set([0x0f, 0x0b], at + 7 - CODE_BASE);

  put(GDT + 8, 0x0000ffff, 0x00cf9b00, 0x0000ffff, 0x00cf9300);
  for (let vector = 0; vector < 32; vector++) {
    put(IDT + 8 * vector, (0x08 << 16) | (HANDLER & 0xffff), (HANDLER & 0xffff0000) | 0x8e00);
  }
  // cld; fninit; mov esp, 170000h; jmp [NEXT]
  image.set([0xfc, 0xdb, 0xe3, 0xbc, 0, 0, 0x17, 0, 0xff, 0x25], HANDLER - CODE_BASE);
  put(HANDLER + 10, NEXT);
  put(DIRECTORY, TABLE | PRESENT_WRITABLE);
  for (let page = 0; page < 1024; page++) put(TABLE + 4 * page, (page << 12) | PRESENT_WRITABLE);
  put(TABLE + (WINDOW_END >>> 10), WINDOW_END & ~0xfff);
  put(TABLE + ((WINDOW_END + 0x1000) >>> 10), (WINDOW_END + 0x1000) | 1);

  const prepare = (state: CpuState): void => {
    state.set(CELL.gdtrBase, GDT);
    state.set(CELL.gdtrLimit, 23);
    state.set(CELL.idtrBase, IDT);
    state.set(CELL.idtrLimit, 0xff);
    state.set(CELL.cr3, DIRECTORY);
    state.setNumber(CELL.cr0, (CR0.PE | CR0.ET | CR0.MP | CR0.NE | CR0.WP | CR0.PG) >>> 0);
    state.set(CELL.cr4, CR4.OSFXSR | CR4.OSXMMEXCPT);
    state.setSegment(SEG.fs, 0x10, 0, WINDOW + 0x37ff, DATA);
    state.setSegment(SEG.gs, 0x10, 0x1000, 0xffffffff, DATA);
  };
  return { technique: "native", code: image, guestBytes: 2 << 20, prepare };
}

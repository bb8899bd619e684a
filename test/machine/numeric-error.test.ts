// x87 errors with CR0.NE clear: FERR#, IRQ 13, port F0h and IGNNE#, on bare hardware and under VT-x, where CR0.NE is fixed and the
// monitor makes IRQ 13 of the exception.
import { describe, expect, test } from "vitest";
import { bare, PLACE, Program } from "./assemble.ts";
import { CODE_BASE, guestWord, LIMIT, type Rig } from "./rig.ts";

const DATA = PLACE.log + 0x800;
const IRQ_13 = 0x2d;
const MF = 0x10;

const word = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);

/** 1 / 0 with the exception unmasked, then a waiting instruction at `waits`; the handlers count and end the error or not. */
function program(ne: boolean, interrupts: boolean): Program {
  const p = new Program();
  // 8259s at 20h and 28h, lines 2 and 13 open.
  p.out(0x20, 0x11).out(0x21, 0x20).out(0x21, 4).out(0x21, 1).out(0x21, 0xfb);
  p.out(0xa0, 0x11).out(0xa1, 0x28).out(0xa1, 2).out(0xa1, 1).out(0xa1, 0xdf);
  p.loadCr(0, ne ? 0x31 : 0x11);
  // fninit; mov dword [data], 37bh; fldcw [data]; fld1; fldz; fdivp
  p.code(0xdb, 0xe3, 0xc7, 0x05, ...word(DATA), ...word(0x37b), 0xd9, 0x2d, ...word(DATA));
  p.code(0xd9, 0xe8, 0xd9, 0xee, 0xde, 0xf9);
  if (interrupts) p.code(0xfb); // sti
  p.code(0x90, 0x90);
  p.label("waits").code(0xd9, 0xe8); // fld1
  p.label("after").exit();
  // The handler of IRQ 13: where it was; port F0h; fld1, which is ignored; fnclex; end of interrupt.
  p.label(`handler ${IRQ_13}`)
    .code(0x60, 0x8b, 0x44, 0x24, 0x20)
    .store(DATA + 4, "eax");
  p.code(0xff, 0x05, ...word(DATA + 8)).out(0xf0, 0);
  p.code(0xd9, 0xe8, 0xdd, 0xd8, 0xdb, 0xe2).out(0xa0, 0x20).out(0x20, 0x20).code(0x61, 0xcf);
  p.label(`handler ${MF}`).code(0xff, 0x05, ...word(DATA + 12), 0xdb, 0xe2, 0xcf);
  return p;
}

const WAYS = {
  native: { technique: "native" },
  "under VT-x": { technique: "vtx" },
  emulated: { technique: "vtx", emulateAlways: true },
} as const;

function run(way: keyof typeof WAYS, ne: boolean, interrupts = true): { rig: Rig; p: Program; kind: string } {
  const p = program(ne, interrupts);
  const rig = bare({ program: p, vectors: [IRQ_13, MF], ...WAYS[way] });
  return { rig, p, kind: rig.machine.run(LIMIT).kind };
}

describe.each(Object.keys(WAYS) as (keyof typeof WAYS)[])("an x87 error, %s,", (way) => {
  test("with CR0.NE clear is IRQ 13 at the instruction that waits, which runs when the handler has ended the error", () => {
    const { rig, p, kind } = run(way, false);
    expect(kind).toBe("exit");
    expect(guestWord(rig.machine, DATA + 4)).toBe(p.address("waits"));
    expect([8, 12].map((at) => guestWord(rig.machine, DATA + at))).toEqual([1, 0]);
  });

  test("with CR0.NE set is #MF", () => {
    const { rig, kind } = run(way, true);
    expect(kind).toBe("exit");
    expect([8, 12].map((at) => guestWord(rig.machine, DATA + at))).toEqual([0, 1]);
  });

  test("with CR0.NE clear and interrupts off keeps the processor where it is", () => {
    const { rig, p, kind } = run(way, false, false);
    expect(kind).toBe("dead-halt");
    expect(rig.machine.technique.exportCpu().cpu[16 * 2]).toBe(p.address("waits"));
    expect(p.address("waits")).toBeGreaterThan(CODE_BASE);
  });
});

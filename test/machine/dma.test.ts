// Disks move memory by themselves, natively and under a monitor: data, code, and page tables that are shadowed.
import { describe, expect, test } from "vitest";
import { bare, handlers, PLACE, Program } from "./assemble.ts";
import { guestWord, LIMIT, type Rig } from "./rig.ts";

const SECTOR = 512;
const TABLE = 0x8000;
const BM = 0xc000;

/** OUT of a byte to any port. */
function out(program: Program, port: number, value: number): Program {
  return program.mov("edx", port).code(0xb0, value, 0xee);
}

/** READ DMA of `count` sectors from `sector` to `address`, and waits for the bus master's interrupt bit. */
function readDma(program: Program, sector: number, count: number, address: number): Program {
  program.mov("eax", address).store(TABLE, "eax");
  program.mov("eax", 0x80000000 + count * SECTOR).store(TABLE + 4, "eax");
  program
    .mov("edx", BM + 4)
    .mov("eax", TABLE)
    .code(0xef); // OUT DX, EAX
  out(program, BM + 2, 0x66);
  out(out(program, 0x1f6, 0xe0), 0x1f2, count);
  out(out(out(program, 0x1f3, sector), 0x1f4, 0), 0x1f5, 0);
  out(program, 0x1f7, 0xc8);
  out(program, BM, 0x09);
  program.mov("edx", BM + 2).code(0xec, 0xa8, 0x04, 0x74, 0xfb); // IN AL, DX; TEST AL, 4; JZ -5
  out(program, BM, 0);
  return program.mov("edx", 0x1f7).code(0xec);
}

function disk(fill: (view: DataView) => void): Uint8Array {
  const image = new Uint8Array(16 * SECTOR);
  fill(new DataView(image.buffer));
  return image;
}

describe.each(["native", "vtx"] as const)("under %s", (technique) => {
  const run = (program: Program, image: Uint8Array, paging = false): Rig => {
    const rig = bare({ technique, program, vectors: [], disks: [image], paging, pmapLayout: "shuffled" });
    expect(rig.machine.run(LIMIT)).toEqual({ kind: "exit", status: 0 });
    return rig;
  };

  test("a transfer that crosses pages arrives whole", () => {
    const image = disk((view) => {
      for (let word = 0; word < 4 * 128; word++) view.setUint32(SECTOR + word * 4, 0x1000_0000 + word, true);
    });
    const program = readDma(new Program(), 1, 4, 0x180e00).exit();
    const rig = run(program, image);
    for (const word of [0, 127, 128, 129, 511]) {
      expect(guestWord(rig.machine, 0x180e00 + word * 4)).toBe(0x1000_0000 + word);
    }
  });

  test("the guest waits for its interrupt in HLT, and IRQ14 comes", () => {
    const program = new Program();
    program.out(0x20, 0x11).out(0x21, 0x20).out(0x21, 4).out(0x21, 1).out(0x21, 0xfb); // 8259s: IRQ2 and 14 open
    program.out(0xa0, 0x11).out(0xa1, 0x28).out(0xa1, 2).out(0xa1, 1).out(0xa1, 0xbf);
    program
      .mov("eax", 0x9000)
      .store(TABLE, "eax")
      .mov("eax", 0x80000200)
      .store(TABLE + 4, "eax");
    program
      .mov("edx", BM + 4)
      .mov("eax", TABLE)
      .code(0xef);
    out(out(program, 0x1f6, 0xe0), 0x1f2, 1);
    out(out(out(program, 0x1f3, 2), 0x1f4, 0), 0x1f5, 0);
    out(out(program, 0x1f7, 0xc8), BM, 0x09);
    program.code(0xfb, 0xf4).label("done").exit(); // STI; HLT
    handlers(program, [0x2e], true);
    const image = disk((view) => view.setUint32(2 * SECTOR, 0xcafe, true));
    const rig = bare({ technique, program, vectors: [0x2e], disks: [image] });
    expect(rig.machine.run(LIMIT)).toEqual({ kind: "exit", status: 0 });
    expect([guestWord(rig.machine, PLACE.log + 4), guestWord(rig.machine, 0x9000)]).toEqual([0x2e, 0xcafe]);
  });

  test("code that has run is replaced", () => {
    const call = (program: Program): Program => program.mov("eax", 0x180000).code(0xff, 0xd0);
    const image = disk((view) => {
      view.setUint8(0, 0xc3); // RET
      for (const [n, byte] of [0xbb, 0x11, 0, 0, 0, 0xc3].entries()) view.setUint8(SECTOR + n, byte); // MOV EBX, 11h
    });
    const program = readDma(new Program().mov("ebx", 0), 0, 1, 0x180000);
    call(program).store(0x5000, "ebx");
    readDma(program, 1, 1, 0x180000);
    call(program).store(0x5004, "ebx").exit();
    const rig = run(program, image);
    expect([guestWord(rig.machine, 0x5000), guestWord(rig.machine, 0x5004)]).toEqual([0, 0x11]);
  });

  test("a page table that is in use is replaced, and counts after INVLPG", () => {
    // A new upper table: its first page becomes 181000h instead of 0.
    const image = disk((view) => view.setUint32(0, 0x181007, true));
    const program = new Program().mov("eax", 0x1234).store(0x181010, "eax").mov("eax", 0x77).store(0x400010, "eax");
    readDma(program, 0, 1, PLACE.highTable);
    program.code(0x0f, 0x01, 0x3d, 0x00, 0x00, 0x40, 0x00); // INVLPG [400000h]
    program.load("ebx", 0x400010).store(0x5000, "ebx").exit();
    const rig = run(program, image, true);
    expect(guestWord(rig.machine, 0x5000)).toBe(0x1234);
  });

  test("what goes to ROM or to a hole is lost", () => {
    const image = disk((view) => view.setUint32(0, 0x5555, true));
    const program = readDma(new Program(), 0, 1, 0xf8000);
    readDma(program, 0, 1, 0xc8000);
    program.load("eax", 0xf8000).store(0x5000, "eax").load("eax", 0xc8000).store(0x5004, "eax").exit();
    const rig = run(program, image);
    expect([guestWord(rig.machine, 0x5000), guestWord(rig.machine, 0x5004)]).toEqual([0xffffffff, 0xffffffff]);
  });

  test("the bus master is where the base address register puts it, and nowhere when the function is disabled", () => {
    const select = (program: Program, register: number): Program =>
      program
        .mov("edx", 0xcf8)
        .mov("eax", 0x8000f900 + register)
        .code(0xef)
        .mov("edx", 0xcfc);
    const look = (program: Program, port: number, at: number): Program =>
      program.mov("edx", port).code(0x31, 0xc0, 0xec).store(at, "eax"); // XOR EAX, EAX; IN AL, DX
    const program = look(new Program(), BM + 2, 0x5000);
    select(program, 0x20).mov("eax", 0xffffffff).code(0xef, 0xed).store(0x5004, "eax"); // the size of the register
    select(program, 0x20).mov("eax", 0xd001).code(0xef);
    look(look(program, BM + 2, 0x5008), 0xd002, 0x500c);
    select(program, 0x04).mov("eax", 0).code(0xef);
    look(program, 0xd002, 0x5010).exit();
    const rig = run(program, new Uint8Array(SECTOR));
    const found = [0, 4, 8, 12, 16].map((offset) => guestWord(rig.machine, 0x5000 + offset));
    expect(found).toEqual([0x20, 0xfff1, 0xff, 0x20, 0xff]);
  });
});

test("a machine saved in the middle of a transfer and restored ends alike", () => {
  const image = disk((view) => view.setUint32(0, 0xbeef, true));
  const program = readDma(new Program(), 0, 8, 0x9000).exit();
  const make = (): Rig => bare({ technique: "native", program, vectors: [], disks: [image] });
  const first = make();
  expect(first.machine.run(200_000 * 12)).toMatchObject({ kind: "limit" });
  const second = make();
  second.machine.restore(first.machine.save());
  expect([first, second].map((rig) => rig.machine.run(LIMIT))).toEqual(new Array(2).fill({ kind: "exit", status: 0 }));
  expect(second.machine.ledger.clock.now).toBe(first.machine.ledger.clock.now);
  expect(guestWord(second.machine, 0x9000)).toBe(0xbeef);
});

// What a guest finds in the first megabyte and at the top of the address space, natively and virtualized.
import { describe, expect, test } from "vitest";
import type { TechniqueName } from "../../sim/machine.ts";
import { bare, handlers, PLACE, Program } from "./assemble.ts";
import { guestRam, guestWord, LIMIT, type Rig } from "./rig.ts";

const KB = 1024;
/** Where programs leave what they find. */
const FOUND = 0x5000;

/** An image whose word at offset n is n, but for code at `code` before its end. */
function image(bytes: number): Uint8Array {
  const firmware = new Uint8Array(bytes);
  const view = new DataView(firmware.buffer);
  for (let at = 0; at < bytes; at += 4) view.setUint32(at, at, true);
  // MOV EBX, 12345678h; RET 256 bytes before its end.
  firmware.set([0xbb, 0x78, 0x56, 0x34, 0x12, 0xc3], bytes - 256);
  return firmware;
}

function found({ machine }: Rig, n: number): number {
  return guestWord(machine, FOUND + 4 * n);
}

/** Loads each of the addresses into the next word of FOUND. */
function look(program: Program, addresses: readonly number[], from = 0): Program {
  for (const [n, address] of addresses.entries()) program.load("eax", address).store(FOUND + 4 * (from + n), "eax");
  return program;
}

const call = (program: Program, address: number): Program => program.mov("eax", address).code(0xff, 0xd0);

interface Case {
  readonly technique: TechniqueName;
  readonly paging: boolean;
}

describe.each<Case>([
  { technique: "native", paging: false },
  { technique: "native", paging: true },
  { technique: "vtx", paging: false },
  { technique: "vtx", paging: true },
])("$technique, paging $paging", ({ technique, paging }) => {
  const run = (program: Program, firmware: Uint8Array, vectors: readonly number[] = []): Rig => {
    const rig = bare({ technique, paging, program, vectors, firmware, pmapLayout: "shuffled" });
    expect(rig.machine.run(LIMIT)).toEqual({ kind: "exit", status: 0 });
    return rig;
  };

  test("C0000h to EFFFFh is empty, F0000h to FFFFFh is the firmware, and all of it loses what is written", () => {
    const places = [0xbfffc + 4, 0xefffc, 0xf0000, 0xffffc, 0x9fffc, 0x180000];
    const program = new Program().mov("ebx", 0x55aa1234);
    look(program, places);
    for (const place of places) program.store(place, "ebx");
    look(program, places, places.length).exit();
    const rig = run(program, image(64 * KB));
    const before = [0xffffffff, 0xffffffff, 0, 0xfffc, 0, 0];
    expect(places.map((_, n) => found(rig, n))).toEqual(before);
    const after = [...before.slice(0, 4), 0x55aa1234, 0x55aa1234];
    expect(places.map((_, n) => found(rig, places.length + n))).toEqual(after);
  });

  test("a word that runs from RAM into the display, or from a hole into ROM, has bytes of both", () => {
    const program = new Program().mov("ebx", 0x11223344).store(0x9fffc, "ebx");
    look(program, [0x9fffe, 0xefffe]).exit();
    const rig = run(program, image(64 * KB));
    expect([found(rig, 0), found(rig, 1)]).toEqual([0xffff1122, 0x0000ffff]);
  });

  test("an image of 128 KB begins at E0000h", () => {
    const program = look(new Program(), [0xdfffc, 0xe0000, 0xefffc, 0xf0000]).exit();
    const rig = run(program, image(128 * KB));
    expect([0, 1, 2, 3].map((n) => found(rig, n))).toEqual([0xffffffff, 0, 0xfffc, 0x10000]);
  });

  test("code in ROM runs, again and again", () => {
    const program = new Program().mov("esi", 1000).label("again");
    call(program, 0xfff00).code(0x01, 0x1d).code(0x00, 0x50, 0x00, 0x00); // ADD [FOUND], EBX
    program
      .code(0x4e, 0x0f, 0x85)
      .code(-21 & 0xff, 0xff, 0xff, 0xff)
      .exit(); // DEC ESI; JNZ again
    const rig = run(program, image(64 * KB));
    expect(found(rig, 0)).toBe((0x12345678 * 1000) % 2 ** 32);
  });

  test("the display's memory is the display's", () => {
    const program = new Program().mov("ebx", 0x07410742).store(0xb8000, "ebx");
    const rig = run(look(program, [0xb8000]).exit(), image(64 * KB));
    expect(found(rig, 0)).toBe(0x07410742);
    // Not in RAM: the bytes are nowhere but in the display.
    expect(guestRam(rig.machine)[0xb8000 / 4]).toBe(0);
  });

  test("a jump into nowhere executes FF FF: #UD at its address", () => {
    const program = new Program();
    program.mov("eax", 0xc8123).code(0xff, 0xe0).label("done").exit(); // JMP EAX
    handlers(program, [6], false);
    const rig = run(program, image(64 * KB), [6]);
    expect([4, 12].map((offset) => guestWord(rig.machine, PLACE.log + offset))).toEqual([6, 0xc8123]);
  });

  test("an instruction that begins in RAM takes the rest of its bytes from what is there", () => {
    const program = new Program().mov("ebx", 0x34b9ffff).store(0x9fffc, "ebx"); // MOV ECX, imm32 at 9FFFEh
    program.mov("eax", 0x9fffe).code(0xff, 0xe0).label("done").store(FOUND, "ecx").exit();
    handlers(program, [6], false);
    const rig = run(program, image(64 * KB), [6]);
    expect(guestWord(rig.machine, PLACE.log + 12)).toBe(0xa0003);
    expect(guestWord(rig.machine, FOUND)).toBe(0xffffff34);
  });
});

describe.each(["native", "vtx"] as const)("under %s", (technique) => {
  test.each([64, 128])("the last %i KB below 4 GB are the firmware again, and run", (kilobytes) => {
    const base = 2 ** 32 - kilobytes * KB;
    const program = look(new Program().mov("ebx", 0), [base - 4, base, 0xfffffffc]);
    call(program, 0xffffff00)
      .store(FOUND + 12, "ebx")
      .store(0xffffff00, "ebx");
    look(program, [0xfff00], 4).exit();
    const rig = bare({ technique, program, vectors: [], firmware: image(kilobytes * KB), pmapLayout: "shuffled" });
    expect(rig.machine.run(LIMIT)).toEqual({ kind: "exit", status: 0 });
    expect([0, 1, 2, 3, 4].map((n) => found(rig, n))).toEqual([
      0xffffffff,
      0,
      kilobytes * KB - 4,
      0x12345678,
      0x345678bb,
    ]);
  });

  /** Opens or closes gate A20 by the keyboard controller's output port; port 92h does not hold it open. */
  const gate = (open: boolean): number[] => [
    ...[0xb0, 0xd1, 0xe6, 0x64], // MOV AL, D1h; OUT 64h, AL
    ...[0xb0, open ? 0xdf : 0xdd, 0xe6, 0x60],
  ];

  test("with gate A20 closed an odd megabyte is the even one below it, and comes back when it opens", () => {
    const word = (value: number): number[] => [value, value >>> 8, value >>> 16, value >>> 24].map((b) => b & 0xff);
    const load = (address: number): number[] => [0xa1, ...word(address)]; // MOV EAX, m32
    const save = (n: number): number[] => [0xa3, ...word(FOUND + 4 * n)];
    const store = (address: number, value: number): number[] => [0xc7, 0x05, ...word(address), ...word(value)];
    // In the first megabyte, where it stays.
    const low = [
      ...store(0x6000, 1),
      ...store(0x106000, 2),
      ...gate(false),
      ...[...load(0x106000), ...save(0)],
      ...store(0x106000, 3),
      ...[...load(0x306000), ...save(1)],
      ...[...load(0x206000), ...save(2)],
      ...gate(true),
      ...[...load(0x6000), ...save(3)],
      ...[...load(0x106000), ...save(4)],
      ...[0x31, 0xc0, 0xe7, 0xf4],
    ];
    const program = new Program().mov("eax", 0x8000).code(0xff, 0xe0);
    const rig = bare({ technique, program, vectors: [], pmapLayout: "shuffled" });
    rig.machine.technique.writeGuest(0x206000, Uint8Array.of(77));
    rig.machine.technique.writeGuest(0x8000, Uint8Array.from(low));
    expect(rig.machine.run(LIMIT)).toEqual({ kind: "exit", status: 0 });
    expect([0, 1, 2, 3, 4].map((n) => found(rig, n))).toEqual([1, 77, 77, 3, 2]);
  });

  test("code runs at an odd megabyte with gate A20 closed", () => {
    const low = [...gate(false), 0xb8, 0x00, 0x90, 0x10, 0x00, 0xff, 0xe0]; // MOV EAX, 109000h; JMP EAX
    const program = new Program().mov("eax", 0x8000).code(0xff, 0xe0);
    const rig = bare({ technique, program, vectors: [] });
    rig.machine.technique.writeGuest(0x8000, Uint8Array.from(low));
    rig.machine.technique.writeGuest(0x9000, Uint8Array.of(0xb0, 0x05, 0xe6, 0xf4)); // MOV AL, 5; OUT F4h, AL
    expect(rig.machine.run(LIMIT)).toEqual({ kind: "exit", status: 5 });
  });
});

test("firmware of another size, or in less than a megabyte, is refused with what is possible", () => {
  const program = new Program();
  const boot = (firmware: Uint8Array, guestBytes: number): Rig =>
    bare({ technique: "native", program, vectors: [], firmware, guestBytes });
  expect(() => boot(image(96 * KB), 2 ** 22)).toThrow("65536 or 131072 bytes");
  expect(() => boot(image(64 * KB), 2 ** 19)).toThrow("RAM at least 1048576");
});

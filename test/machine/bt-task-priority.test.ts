// The task-priority register in translated code: what the guest reads, and when its interrupts come, is as on bare hardware.
import { describe, expect, test } from "vitest";
import { bare, PLACE, Program } from "./assemble.ts";
import { generator } from "./random-program.ts";
import { guestWord, LIMIT, type Rig } from "./rig.ts";

const APIC = 0xfee0_0000;
const VECTORS = [0x41, 0x52, 0x83];
/** Words that a guest writes. */
const RESULT = 0x5000;
const TABLE = 0x8000;
const OTHER = 0x1f000;
/** A linear page of its own for the APIC. */
const WINDOW = 0x40f000;
const WINDOW_PTE = PLACE.highTable + 4 * 15;

const bytes = (value: number): [number, number, number, number] => [
  ...([value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24] as const),
];

/** Each interrupt leaves its vector and the EIP that it interrupted in the log, and ends. */
function handlers(program: Program): void {
  for (const vector of VECTORS) {
    program.label(`handler ${vector}`).code(0x50, 0x51, 0xa1, ...bytes(PLACE.log));
    program.code(0xc7, 0x00, ...bytes(vector), 0x8b, 0x4c, 0x24, 0x08, 0x89, 0x48, 0x04);
    program.code(0x83, 0xc0, 0x08, 0xa3, ...bytes(PLACE.log));
    program.code(0xc7, 0x05, ...bytes(APIC + 0xb0), ...bytes(0), 0x59, 0x58, 0xcf);
  }
}

function start(): Program {
  const program = new Program().mov("eax", 0x1ff).store(APIC + 0xf0, "eax");
  return program.mov("edi", APIC).mov("esi", 0x20);
}

/** Folds a register into the result. */
const fold = (program: Program, register: "eax" | "ecx" | "ebx"): Program =>
  program.code(
    0xd1,
    0x05,
    ...bytes(RESULT),
    0x01,
    0x05 | ({ eax: 0, ecx: 1, ebx: 3 }[register] << 3),
    ...bytes(RESULT),
  );

/** Calls `label` `count` times. */
function repeat(program: Program, label: string, count: number): Program {
  program.mov("ebp", count);
  const name = `${label} again`;
  program.label(name).code(0xe8).relative(label).code(0x4d, 0x0f, 0x85).relative(name);
  return program;
}

function finish(program: Program): Program {
  program.load("eax", APIC + 0x80);
  fold(program, "eax").exit();
  return program;
}

interface Outcome {
  readonly end: object;
  readonly taskPriority: number;
  readonly log: readonly number[];
  readonly result: number;
  readonly other: number;
  readonly entry: number;
}

function outcome(rig: Rig, end: object): Outcome {
  const { machine } = rig;
  machine.technique.exportCpu();
  const log = Array.from({ length: 512 }, (_, n) => guestWord(machine, PLACE.log + 4 * n));
  const words = [RESULT, OTHER + 0x80, WINDOW_PTE].map((address) => guestWord(machine, address));
  const [result, other, entry] = words as [number, number, number];
  return { end, taskPriority: machine.board.apic.taskPriority, log, result, other, entry };
}

function run(technique: "native" | "bt", program: Program, step?: number): { rig: Rig; outcome: Outcome } {
  const setup = { technique, program, vectors: VECTORS, paging: true, guestBytes: 2 << 20 } as const;
  let rig = bare(setup);
  const offsets = Array.from({ length: 64 }, (_, n) =>
    n % 7 === 3 ? 0xb0 : n % 7 === 5 ? (OTHER - APIC) >>> 0 : 0x80,
  );
  rig.machine.technique.writeGuest(TABLE, Uint8Array.from(offsets.flatMap(bytes)));
  let end = rig.machine.run(LIMIT, step);
  while (step !== undefined && end.kind === "limit") {
    const saved = structuredClone(rig.machine.save());
    rig = bare(setup);
    rig.machine.restore(saved);
    end = rig.machine.run(LIMIT, step);
  }
  return { rig, outcome: outcome(rig, end) };
}

/** Runs a program both ways; how many accesses under binary translation were faults, and how many were not. */
function compare(program: Program): { readonly taken: number; readonly eliminated: number } {
  const native = run("native", program).outcome;
  const { rig, outcome: translated } = run("bt", program);
  expect(native.end).toEqual({ kind: "exit", status: 0 });
  expect(translated).toEqual(native);
  const counters = rig.machine.technique.counters();
  return { taken: counters["bt.faults.mmio"] ?? 0, eliminated: counters["bt.faults-eliminated.mmio"] ?? 0 };
}

/** Accesses to the register in every form, requests of interrupts to the processor itself, looks at priorities and flags. */
function randomProgram(seed: number): Program {
  const random = generator(seed);
  const pick = <T>(values: readonly T[]): T => values[random(values.length)] as T;
  const program = start().mov("eax", 0x30).mov("ecx", 0x150).mov("ebx", 0x70).mov("edx", 0xf3).mov("ebp", 30);
  program.code(0xfb).label("again");
  for (let n = 0; n < 24; n++) {
    const register = random(4); // EAX, ECX, EDX, EBX
    switch (random(9)) {
      case 0:
        program.code(0x89, 0x87 | (register << 3), ...bytes(0x80)); // MOV [EDI + 80h], r
        break;
      case 1:
        program.code(0x89, 0x04 | (register << 3), 0xb7); // MOV [EDI + ESI * 4], r
        break;
      case 2:
        program.code(0xc7, 0x87, ...bytes(0x80), ...bytes(pick([0, 0x20, 0x45, 0x60, 0xff, 0x1234])));
        break;
      case 3:
        program.code(pick([0xa1, 0xa3]), ...bytes(APIC + 0x80));
        break;
      case 4:
        program.code(0x8b, 0x87 | (register << 3), ...bytes(0x80));
        break;
      case 5:
        program.code(0xc7, 0x87, ...bytes(0x300), ...bytes(0x4_0000 | pick(VECTORS)));
        break;
      case 6:
        program.code(0x8b, 0x8f, ...bytes(pick([0xa0, 0x210, 0x110]))); // MOV ECX, [EDI + PPR, IRR, ISR]
        fold(program, "ecx");
        break;
      case 7:
        // CMP r, r; an access; SETcc by PUSHFD; AND ECX, status flags
        program.code(0x39, 0xc0 | random(64), 0x89, 0x97, ...bytes(0x80));
        program.code(0x9c, 0x59, 0x81, 0xe1, ...bytes(0x8d5));
        fold(program, "ecx");
        break;
      default:
        // The same instruction reaches the register, the end of interrupts, memory: ESI from a table.
        program.code(0x8b, 0x34, 0xad, ...bytes(TABLE), 0x89, 0x1c, 0x37, ...[0xbe, ...bytes(0x20)]);
    }
    if (random(6) === 0) program.code(pick([0xfa, 0xfb]));
  }
  program.code(0xfb, 0x90, 0x4d, 0x0f, 0x85).relative("again");
  for (const register of ["eax", "ecx", "ebx"] as const) fold(program, register);
  handlers(finish(program));
  return program;
}

describe("a guest's task priority", () => {
  test("holds interrupts back as on bare hardware, whatever is done to it", () => {
    let eliminated = 0;
    for (let seed = 1; seed <= 4; seed++) eliminated += compare(randomProgram(seed)).eliminated;
    expect(eliminated).toBeGreaterThan(200);
  });

  test("is saved with the machine between any two instructions", () => {
    const program = randomProgram(3);
    expect(run("bt", program, 2999).outcome).toEqual(run("bt", program).outcome);
  });

  test("is read and written without the monitor after a few faults", () => {
    const program = start().mov("eax", 0x25);
    repeat(program, "store", 200);
    repeat(program, "load", 200);
    finish(program);
    program.label("store").code(0x89, 0x87, ...bytes(0x80), 0xc3);
    program.label("load").code(0x8b, 0x8f, ...bytes(0x80), 0xc3);
    handlers(program);
    const { taken, eliminated } = compare(program);
    expect(taken).toBeLessThan(12);
    expect(eliminated).toBeGreaterThan(390);
  });
});

test("an interrupt that comes while the guest is in the cache meets the priority that was stored there", () => {
  const program = start().mov("eax", 0xf0);
  repeat(program, "store", 20);
  // Six times, so that the last finds everything adapted and chained: no arrival but the timer's is between the store and the load.
  program.mov("ebx", 6).label("pass").mov("eax", 0xf0).code(0xe8).relative("store");
  program
    .mov("eax", 0xb)
    .store(APIC + 0x3e0, "eax")
    .mov("eax", VECTORS[0] as number)
    .store(APIC + 0x320, "eax");
  program
    .mov("eax", 20_000)
    .code(0xfb)
    .store(APIC + 0x380, "eax")
    .mov("eax", 0);
  program.code(0xe8).relative("store").mov("ecx", 600_000).label("spin").code(0x49, 0x0f, 0x85).relative("spin");
  program.load("eax", PLACE.log).store(RESULT, "eax").code(0x4b, 0x0f, 0x85).relative("pass").exit();
  program.label("store").code(0x89, 0x87, ...bytes(0x80), 0xc3);
  handlers(program);
  const { rig, outcome: translated } = run("bt", program);
  expect(translated).toMatchObject({ end: { kind: "exit", status: 0 }, result: PLACE.log + 4 + 6 * 8 });
  expect(rig.machine.technique.counters()["bt.faults-eliminated.mmio"]).toBeGreaterThan(10);
});

describe("an instruction that has kept to the register", () => {
  /** Stores `value` 20 times through the window, does `change`, and stores another 20 times. */
  function changing(change: (program: Program) => void): Program {
    const program = start();
    program
      .mov("eax", (APIC | 0x1b) >>> 0)
      .store(WINDOW_PTE, "eax")
      .mov("edi", WINDOW)
      .mov("eax", 0x35);
    repeat(program, "store", 20);
    change(program);
    program.mov("eax", 0x47);
    program.mov("ebp", 20).label("more").code(0xe8).relative("store").code(0x4d, 0x0f, 0x85).relative("more");
    finish(program);
    program.label("store").code(0x89, 0x87, ...bytes(0x80), 0xc3);
    handlers(program);
    return program;
  }
  const setEntry = (program: Program, entry: number): Program =>
    program
      .mov("eax", entry)
      .store(WINDOW_PTE, "eax")
      .code(0x0f, 0x01, 0x3d, ...bytes(WINDOW)); // INVLPG

  test.each<[string, (program: Program) => void]>([
    ["follows the page table to memory", (program) => setEntry(program, OTHER | 3)],
    [
      "follows it when CR3 is loaded",
      (program) => {
        program.mov("eax", OTHER | 3).store(WINDOW_PTE, "eax");
        program.loadCr(3, PLACE.directoryB);
      },
    ],
    ["sets A and D again", (program) => setEntry(program, (APIC | 0x1b) >>> 0)],
    [
      "leaves the page when the APIC moves",
      (program) => program.mov("ecx", 0x1b).mov("eax", 0xfee0_1900).mov("edx", 0).code(0x0f, 0x30), // WRMSR
    ],
    [
      "uses its segment's base",
      (program) => {
        // GDT entry 2 has base 1000h from now on: MOV DS, 10h. The window's next page is memory.
        program.mov("eax", OTHER | 3).store(WINDOW_PTE + 4, "eax");
        program
          .mov("eax", 0x1000_ffff)
          .store(PLACE.gdt + 0x10, "eax")
          .mov("eax", 0x10)
          .code(0x8e, 0xd8);
      },
    ],
  ])("%s", (_, change) => {
    compare(changing(change));
  });
});

test("CPL 3 and what is no plain move of 32 bits go the usual way", () => {
  const program = start().mov("eax", 0x25);
  repeat(program, "or", 30);
  repeat(program, "word", 30);
  finish(program);
  program.label("or").code(0x09, 0x87, ...bytes(0x80), 0xc3); // OR [EDI + 80h], EAX
  program.label("word").code(0x66, 0x8b, 0x8f, ...bytes(0x80), 0xc3);
  handlers(program);
  expect(compare(program).taken).toBeGreaterThan(2);
});

// Interrupt shadow, TF and RF around instructions that the monitor emulates; events whose delivery meets pages that
// the shadow page tables do not have yet, or that are page tables. Everything is compared with bare hardware.
import { describe, expect, test } from "vitest";
import { type BareGuest, bare, handlers, LOG_WORDS, PLACE, Program } from "./assemble.ts";
import { differences, guestRam, guestWord, LIMIT, type Rig, registers } from "./rig.ts";

const TF = 0x100;
const RF = 0x10000;
const BS = 1 << 14;
const TIMER_VECTOR = 0x20;

interface Logged {
  readonly vector: number;
  readonly errorCode: number;
  readonly eip: number;
  readonly flags: number;
  readonly dr6: number;
}

function log({ machine }: Rig): Logged[] {
  const entries: Logged[] = [];
  const end = guestWord(machine, PLACE.log);
  for (let at = PLACE.log + 4; at < end; at += LOG_WORDS * 4) {
    const word = (n: number): number => guestWord(machine, at + n * 4);
    entries.push({ vector: word(0), errorCode: word(1), eip: word(2), flags: word(4), dr6: word(8) });
  }
  return entries;
}

const ACCESSED_AND_DIRTY = 0x60;

/** Runs a guest natively and under VT-x; all registers and all of RAM must be the same. Returns what was logged. */
function same(guest: Omit<BareGuest, "technique">): { log: Logged[]; vtx: Rig } {
  const native = bare({ ...guest, technique: "native" });
  expect(native.machine.run(LIMIT)).toEqual({ kind: "exit", status: 0 });
  const vtx = bare({ ...guest, technique: "vtx", pmapLayout: "shuffled" });
  expect(vtx.machine.run(LIMIT)).toEqual({ kind: "exit", status: 0 });
  expect(log(vtx)).toEqual(log(native));
  expect(registers(vtx.machine)).toEqual(registers(native.machine));
  const [ours, theirs] = [guestRam(vtx.machine), guestRam(native.machine)];
  const wrong = differences(ours, theirs).filter((at) => {
    const isTable = at >= PLACE.directoryA && at < PLACE.tablesEnd;
    const bits = (ours[at / 4] as number) ^ (theirs[at / 4] as number);
    return !isTable || (bits & ~ACCESSED_AND_DIRTY) !== 0;
  });
  expect(wrong.map((at) => at.toString(16))).toEqual([]);
  return { log: log(native), vtx };
}

/** Instructions that exit, each to be completed by the monitor. */
const EMULATED: Readonly<Record<string, readonly number[]>> = {
  "OUT 80h, AL": [0xe6, 0x80],
  "IN AL, 80h": [0xe4, 0x80],
  CPUID: [0x0f, 0xa2],
  "RDMSR of IA32_SYSENTER_CS": [0xb9, 0x74, 0x01, 0x00, 0x00, 0x0f, 0x32],
  "MOV CR3, EDX": [0x0f, 0x22, 0xda],
  "INVLPG [0]": [0x0f, 0x01, 0x3d, 0x00, 0x00, 0x00, 0x00],
  "a store to a page table": [0x89, 0x1d, 0x40, 0x30, 0x01, 0x00],
  "a read of the local APIC": [0x8b, 0x1d, 0x20, 0x00, 0xe0, 0xfe],
};
const emulated = Object.entries(EMULATED);
const lengthOfLast = (bytes: readonly number[]): number => (bytes[0] === 0xb9 ? 5 : 0);

/** Puts CR3 into EDX, and makes the high page table a traced one. */
function begin(): Program {
  return new Program().load("ebx", 0x400000).code(0x0f, 0x20, 0xda).mov("ebx", 0x5007); // MOV EDX, CR3
}

// An event that comes between two iterations of a string instruction pushes RF = 1. If its delivery is interrupted by a
// fault of the shadow, nothing in the VMCS tells the monitor so: INT 40h makes the handler's pages present beforehand.
describe("single step", () => {
  test.each(emulated)("traps right after %s, with DR6.BS", (_name, bytes) => {
    const program = begin()
      .push(2 | TF)
      .code(0x9d)
      .label("stepped")
      .code(...bytes)
      .label("after")
      .code(0x90)
      .exit();
    program.label("done");
    handlers(program, [1], true);
    const { log } = same({ program, vectors: [1], paging: true });
    const first = program.address("stepped") + lengthOfLast(bytes);
    const expected = lengthOfLast(bytes) === 0 ? program.address("after") : first;
    expect(log).toHaveLength(1);
    expect(log[0]).toMatchObject({ vector: 1, eip: expected });
    expect((log[0]?.dr6 as number) & BS).toBe(BS);
    expect((log[0]?.flags as number) & (TF | RF)).toBe(TF);
  });

  test.each(emulated)("is put off by MOV SS until after %s", (_name, bytes) => {
    const program = begin()
      .code(0x8c, 0xd0)
      .push(2 | TF)
      .code(0x9d); // MOV EAX, SS
    program
      .label("shadowed")
      .code(0x8e, 0xd0)
      .code(...bytes)
      .label("after")
      .code(0x90)
      .exit(); // MOV SS, EAX
    program.label("done");
    handlers(program, [1], true);
    const { log } = same({ program, vectors: [1], paging: true });
    const expected = program.address("shadowed") + 2 + (lengthOfLast(bytes) || bytes.length);
    expect(log).toHaveLength(1);
    expect(log[0]).toMatchObject({ vector: 1, eip: expected });
  });

  test("stops after the first iteration of REP OUTSB, with RF = 1 in the image", () => {
    const program = begin()
      .code(0xcd, 0x40)
      .mov("ecx", 3)
      .mov("esi", PLACE.log)
      .mov("edx", 0x80)
      .push(2 | TF)
      .code(0x9d);
    program.label("string").code(0xf3, 0x6e).code(0x90).exit();
    program.label("done");
    handlers(program, [1, 0x40], true);
    const { log } = same({ program, vectors: [1, 0x40], paging: true });
    expect(log).toHaveLength(2);
    expect(log[1]).toMatchObject({ vector: 1, eip: program.address("string") });
    expect((log[1]?.flags as number) & (TF | RF)).toBe(TF | RF);
  });

  test("stops after the first iteration of REP STOSD to a page table", () => {
    const program = begin()
      .code(0xcd, 0x40)
      .mov("ecx", 3)
      .mov("edi", PLACE.highTable + 0x100)
      .push(2 | TF)
      .code(0x9d);
    program.label("string").code(0xf3, 0xab).code(0x90).exit();
    program.label("done");
    handlers(program, [1, 0x40], true);
    const { log } = same({ program, vectors: [1, 0x40], paging: true });
    expect(log[1]).toMatchObject({ vector: 1, eip: program.address("string") });
  });

  test("traps on HLT and wakes it", () => {
    const program = begin()
      .push(2 | TF)
      .code(0x9d)
      .code(0xf4)
      .label("after")
      .exit()
      .label("done");
    handlers(program, [1], true);
    const { log } = same({ program, vectors: [1], paging: true });
    expect(log).toHaveLength(1);
    expect(log[0]).toMatchObject({ vector: 1, eip: program.address("after") });
  });
});

describe("an interrupt that waits for IF", () => {
  test.each(emulated)("comes after %s, which follows STI", (_name, bytes) => {
    const program = begin().timer(20);
    program.code(0x0f, 0x20, 0xda).mov("ebx", 0x5007).wait(200_000);
    program
      .label("sti")
      .code(0xfb, ...bytes)
      .label("after")
      .code(0x90, 0x90, 0x90)
      .exit()
      .label("done");
    handlers(program, [TIMER_VECTOR], true);
    // The end of the run comes before another tick: the handler sends no end of interrupt.
    const { log } = same({ program, vectors: [TIMER_VECTOR], paging: true });
    const expected = program.address("sti") + 1 + (lengthOfLast(bytes) || bytes.length);
    expect(log).toHaveLength(1);
    expect(log[0]).toMatchObject({ vector: TIMER_VECTOR, eip: expected });
  });

  test("does not come between STI and HLT, and wakes HLT at once", () => {
    const program = begin().timer(20).wait(200_000).code(0xfb, 0xf4).label("after").exit().label("done");
    handlers(program, [TIMER_VECTOR], true);
    const { log, vtx } = same({ program, vectors: [TIMER_VECTOR], paging: true });
    expect(log[0]).toMatchObject({ vector: TIMER_VECTOR, eip: program.address("after") });
    expect(vtx.machine.ledger.totals().filter(({ domain }) => domain === "idle")).toEqual([]);
  });

  test.each([
    ["STI; CLI", [0xfb, 0xfa]],
    ["STI; POPF with IF = 0", [0xfb, 0x9d]],
  ] as const)("does not come in %s", (_name, bytes) => {
    const program = begin()
      .push(2)
      .timer(20)
      .wait(200_000)
      .code(...bytes)
      .code(0x90)
      .exit()
      .label("done");
    handlers(program, [TIMER_VECTOR], true);
    expect(same({ program, vectors: [TIMER_VECTOR], paging: true }).log).toEqual([]);
  });
});

describe("RF", () => {
  test.each(emulated)("ends with %s", (_name, bytes) => {
    const program = begin()
      .iretTo("resumed", 2 | RF)
      .label("resumed")
      .code(...bytes)
      .code(0x9c, 0x5b); // PUSHF; POP EBX
    program.code(0xcd, 0x40).exit().label("done");
    handlers(program, [0x40], true);
    const { log } = same({ program, vectors: [0x40], paging: true });
    expect((log[0]?.flags as number) & RF).toBe(0);
  });

  test.each(["native", "vtx"] as const)(
    "is in the image of an interrupt between iterations of REP, under %s",
    (technique) => {
      // Once over the megabyte first, so that the second time no page fault comes between: only the timer.
      const program = begin().code(0xcd, 0x40).code(0xfc).mov("esi", 0x200000).mov("ecx", 0x40000).code(0xf3, 0xad); // CLD; REP LODSD
      program.timer(50).mov("esi", 0x200000).mov("ecx", 0x7fffffff).code(0xfb); // STI
      program.label("string").code(0xf3, 0xac).label("done").exit(); // REP LODSB
      handlers(program, [TIMER_VECTOR], false);
      program.label("handler 64").code(0xcf);
      const rig = bare({ technique, program, vectors: [TIMER_VECTOR, 0x40] });
      expect(rig.machine.run(LIMIT)).toEqual({ kind: "exit", status: 0 });
      const [first] = log(rig);
      expect(first).toMatchObject({ vector: TIMER_VECTOR, eip: program.address("string") });
      expect((first?.flags as number) & RF).toBe(RF);
    },
  );

  test("is not in the image that INT n pushes, nor in that of the trap after it", () => {
    const program = begin()
      .iretTo("resumed", 2 | RF)
      .label("resumed")
      .code(0xcd, 0x40)
      .exit()
      .label("done");
    handlers(program, [0x40], true);
    const { log } = same({ program, vectors: [0x40], paging: true });
    expect((log[0]?.flags as number) & RF).toBe(0);
  });

  test("is not in the image that a double fault pushes, whoever has noticed the second fault", () => {
    // The gate of #PF is not present. The second time the IDT is on a page that is not in the shadow yet.
    for (const fresh of [false, true]) {
      const program = begin();
      if (fresh) program.loadCr(3, PLACE.directoryB);
      program.load("eax", 0xc00000).label("done").exit();
      handlers(program, [8], false);
      const { log } = same({ program, vectors: [8], paging: true });
      expect(log.map(({ vector }) => vector)).toEqual([8]);
      expect((log[0]?.flags as number) & RF).toBe(0);
    }
  });
});

test("a breakpoint holds what follows a string instruction that has overwritten itself", () => {
  // MOV EAX, behind; MOV DR0, EAX; MOV EAX, 402h; MOV DR7, EAX; MOV EDI, string; MOV AL, 90h
  const program = new Program().mov("eax", "behind").code(0x0f, 0x23, 0xc0).mov("eax", 0x402).code(0x0f, 0x23, 0xf8);
  program.mov("edi", "string").mov("ecx", 40).mov("eax", 0x90);
  program.label("string").code(0xf3, 0xaa); // REP STOSB
  for (let n = 0; n < 4; n++) program.code(0x40);
  program.label("behind").code(0x40, 0x40);
  program.label("done").exit();
  handlers(program, [1], false);
  const { log } = same({ program, vectors: [1], paging: true });
  expect(log.map(({ eip }) => eip)).toEqual([program.address("behind")]);
});

/** Events, as code that causes them; EAX, EBX, ECX, EDX are free. */
const EVENTS: Readonly<Record<string, { vector: number; code: (p: Program) => Program }>> = {
  "INT 40h": { vector: 0x40, code: (p) => p.code(0xcd, 0x40) },
  INT3: { vector: 3, code: (p) => p.code(0xcc) },
  INTO: { vector: 4, code: (p) => p.mov("eax", 0x7fffffff).code(0x40, 0xce) }, // INC EAX
  INT1: { vector: 1, code: (p) => p.code(0xf1) },
  "#DE": { vector: 0, code: (p) => p.code(0x31, 0xc9, 0xf7, 0xf1) }, // XOR ECX, ECX; DIV ECX
  "#UD": { vector: 6, code: (p) => p.code(0x0f, 0x0b) },
  "#GP with an error code": { vector: 13, code: (p) => p.mov("eax", 0x7b).code(0x8e, 0xe0) }, // MOV FS, EAX
  "#NP of a segment": { vector: 13, code: (p) => p.code(0x9a, 0, 0, 0, 0, 0x80, 0) }, // CALL 80h:0
  "#PF": { vector: 14, code: (p) => p.load("eax", 0x00c00000) },
  "#PF of a write": { vector: 14, code: (p) => p.store(0x00500000, "eax") },
  "a single step": { vector: 1, code: (p) => p.push(0x3002 | TF).code(0x9d, 0x90) },
  "an external interrupt": { vector: TIMER_VECTOR, code: (p) => p.code(0xfb, 0xeb, 0xfe) }, // STI; JMP $
};

/** A stack in the upper half of a page table that is in use. */
const TRACED_STACK = PLACE.tablesEnd;

/** The delivery did meet a fault of the shadow: the event was injected again, or its frame written by the monitor. */
function expectInterrupted({ machine }: Rig, stackTop: number): void {
  expect(machine.technique.counters()["events.reinjected"]).toBeGreaterThan(0);
  const emulated = machine.technique.exits().find(({ cause }) => cause === "traced-write");
  if (stackTop === TRACED_STACK) expect(emulated?.count).toBeGreaterThan(0);
}

const events = Object.entries(EVENTS).map(([name, event]) => ({ name, ...event }));

describe.each([
  ["of their own", PLACE.innerStackTop],
  ["in a traced page table", TRACED_STACK],
])("with a stack %s", (_stack, innerStackTop) => {
  test.each(events)("$name from CPL 3 in a new address space leaves the frame of bare hardware", ({ vector, code }) => {
    const program = new Program().load("ebx", 0x400000);
    if (vector === TIMER_VECTOR) program.timer(300);
    program.loadCr(3, PLACE.directoryB).load("ebx", 0x400000).iretTo("user", 0x3002, PLACE.userStackTop);
    code(program.label("user")).label("done").exit();
    handlers(program, [vector], false);
    const { log, vtx } = same({ program, vectors: [vector], paging: true, innerStackTop });
    expect(log.map((entry) => entry.vector)).toEqual([vector]);
    expectInterrupted(vtx, innerStackTop);
  });

  test.each(events)("$name from CPL 0 in a new address space leaves the frame of bare hardware", ({ vector, code }) => {
    const program = new Program().load("ebx", 0x400000);
    if (vector === TIMER_VECTOR) program.timer(300);
    program.loadCr(3, PLACE.directoryB).load("ebx", 0x400000);
    code(program).label("done").exit();
    handlers(program, [vector], false);
    const { log } = same({ program, vectors: [vector], paging: true, stackTop: innerStackTop });
    expect(log.map((entry) => entry.vector)).toEqual([vector]);
  });

  test.each(events)(
    "$name whose handler is the first to use its page leaves the frame of bare hardware",
    ({ vector, code }) => {
      // Paging is turned on just before: nothing at all is in the shadow.
      const program = new Program().mov("eax", PLACE.directoryA).code(0x0f, 0x22, 0xd8);
      if (vector === TIMER_VECTOR) program.timer(300);
      program.loadCr(0, 0x80010011);
      code(program).label("done").exit();
      handlers(program, [vector], false);
      // #PF cases need addresses that are not mapped: 4 KB entries of the high table, and nothing at 12 MB.
      const { log } = same({ program, vectors: [vector], stackTop: innerStackTop });
      expect(log.map((entry) => entry.vector)).toEqual([vector]);
    },
  );
});

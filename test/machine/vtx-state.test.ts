// Guest state that neither the VMCS nor the processor holds for the monitor, and events that only an emulated
// instruction gives it to inject.
import { describe, expect, test } from "vitest";
import { bare, PLACE, Program } from "./assemble.ts";
import { emptyMachine, guestWord, LIMIT, type Rig } from "./rig.ts";

const WRMSR = [0x0f, 0x30] as const;
const RDTSC = [0x0f, 0x31] as const;
const CPUID = [0x0f, 0xa2] as const;
const VALUES = 0x6000;
const TECHNIQUES = ["native", "vtx"] as const;

/** IA32_TIME_STAMP_COUNTER = EDX:EAX. */
function setCounter(program: Program, high: number, low: number): Program {
  return program
    .mov("ecx", 0x10)
    .mov("edx", high)
    .mov("eax", low)
    .code(...WRMSR);
}

test.each(TECHNIQUES)("under %s the time-stamp counter goes on from what the guest has written", (technique) => {
  const program = setCounter(new Program(), 5, 0)
    .code(...RDTSC)
    .store(VALUES, "eax")
    .store(VALUES + 4, "edx");
  // An exit in between changes nothing.
  program
    .mov("eax", 0)
    .code(...CPUID, ...RDTSC)
    .store(VALUES + 8, "eax")
    .store(VALUES + 12, "edx")
    .exit();
  const rig = bare({ technique, program, vectors: [] });
  expect(rig.machine.run(LIMIT)).toEqual({ kind: "exit", status: 0 });
  const [first, firstHigh, second, secondHigh] = [0, 4, 8, 12].map((at) => guestWord(rig.machine, VALUES + at)) as [
    number,
    number,
    number,
    number,
  ];
  expect([firstHigh, secondHigh]).toEqual([5, 5]);
  expect(first).toBeLessThan(30_000);
  expect(second).toBeGreaterThan(first);
  expect(second).toBeLessThan(60_000);
});

test("what a guest has written to its time-stamp counter and MTRRs moves with it", () => {
  const program = setCounter(new Program(), 7, 0).mov("ecx", 0x2ff).mov("edx", 0).mov("eax", 0xc06);
  program.code(...WRMSR).label("here");
  for (let n = 0; n < 50; n++) program.code(0x90);
  program
    .code(...RDTSC)
    .store(VALUES, "edx")
    .mov("ecx", 0x2ff)
    .code(0x0f, 0x32) // RDMSR
    .store(VALUES + 4, "eax")
    .exit();
  let rig: Rig = bare({ technique: "vtx", program, vectors: [] });
  for (const technique of ["native", "vtx", "native"] as const) {
    expect(rig.machine.run(LIMIT, 12)).toMatchObject({ kind: "limit" });
    const next = emptyMachine({ technique });
    next.machine.importGuest(structuredClone(rig.machine.exportGuest()));
    rig = next;
  }
  expect(rig.machine.run(LIMIT)).toEqual({ kind: "exit", status: 0 });
  expect([0, 4].map((at) => guestWord(rig.machine, VALUES + at))).toEqual([7, 0xc06]);
});

test.each(TECHNIQUES)("under %s an INT that is fetched through a closed gate A20 is delivered", (technique) => {
  const program = new Program().mov("eax", 0x600).code(0xff, 0xe0); // JMP EAX
  program.label("back").exit();
  const rig = bare({ technique, program, vectors: [] });
  const write = (address: number, ...bytes: number[]): void => {
    rig.machine.technique.writeGuest(address, Uint8Array.from(bytes));
  };
  const handler = 0x540;
  write(PLACE.idt + 0x30 * 8, handler & 0xff, handler >> 8, 0x08, 0, 0, 0xee, 0, 0);
  write(handler, 0xff, 0x05, 0x00, 0x60, 0, 0, 0xcf); // INC DWORD [6000h]; IRET
  write(0x500, 0xcd, 0x30, 0xc3); // INT 30h; RET
  // Either port holds the gate open: the keyboard controller's output port, and port 92h.
  const close = [0xb0, 0xd1, 0xe6, 0x64, 0xb0, 0xdd, 0xe6, 0x60, 0xb0, 0x00, 0xe6, 0x92];
  const open = [0xb0, 0x02, 0xe6, 0x92];
  const call = [0xb8, 0x00, 0x05, 0x10, 0x00, 0xff, 0xd0]; // MOV EAX, 100500h; CALL EAX
  const back = [0xb8, ...[0, 8, 16, 24].map((shift) => (program.address("back") >>> shift) & 0xff), 0xff, 0xe0];
  write(0x600, ...close, ...call, ...open, ...back);
  expect(rig.machine.run(LIMIT)).toEqual({ kind: "exit", status: 0 });
  expect(guestWord(rig.machine, VALUES)).toBe(1);
});

describe.each([
  ["native", { technique: "native" }],
  ["vtx", { technique: "vtx" }],
  ["vtx, emulated", { technique: "vtx", emulateAlways: true }],
] as const)("under %s", (how, setup) => {
  test("an NMI interrupts whatever runs, and another one waits for its IRET", () => {
    const COMMAND = 0xfee00300;
    const program = new Program().mov("eax", 0x4400).store(COMMAND, "eax"); // an NMI to processor 0
    program.label("wait").code(0x83, 0x3d, 0x00, 0x60, 0, 0, 2, 0x75, 0xf7); // CMP DWORD [6000h], 2; JNE wait
    program.label("end").exit();
    program.label("handler 2").code(0x50, 0xff, 0x05, 0x00, 0x60, 0, 0); // PUSH EAX; INC DWORD [6000h]
    program.code(0x83, 0x3d, 0x00, 0x60, 0, 0, 1, 0x75, 0x19); // CMP DWORD [6000h], 1; JNE to POP EAX
    program.mov("eax", 0x4400).store(COMMAND, "eax").code(0x90, 0x90);
    program.load("eax", VALUES); // still 1
    program.store(VALUES + 4, "eax").code(0x58, 0xcf); // POP EAX; IRET
    const rig = bare({ ...setup, program, vectors: [2] });
    expect(rig.machine.run(LIMIT * 10)).toEqual({ kind: "exit", status: 0 });
    expect(guestWord(rig.machine, VALUES)).toBe(2);
    expect(guestWord(rig.machine, VALUES + 4)).toBe(1);
    if (how === "vtx") expect(rig.machine.technique.counters()["emulation.entries"]).toBeGreaterThan(0);
  });
});

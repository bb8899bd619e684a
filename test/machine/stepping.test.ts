// Single steps of code at CPL 3 and in virtual-8086 mode under a monitor, where the processor steps code that runs as it
// stands, and the monitor all other: every trap is that of bare hardware. At the end of a segment, too.
import { describe, expect, test } from "vitest";
import type { RunEnd } from "../../sim/result.ts";
import { Program } from "./assemble.ts";
import { AT, bootKernel, epilogue, type Kernel, little, prologue, VARIABLE, VECTOR } from "./kernel-frame.ts";
import {
  account,
  differences,
  emptyMachine,
  guestRam,
  LIMIT,
  type Rig,
  registers,
  type Setup,
  verdict,
} from "./rig.ts";

const TF = 0x100;
const VM = 0x20000;
const AWAY = 0x180000;
/** Of `bootKernel`. */
const GUEST_BYTES = 2 << 20;
/** So many traps leave TF as it is. */
const STEPS = 60;
/** CLD; REP MOVSB; INT3 */
const STRINGS = [0xfc, 0xf3, 0xa4, 0xcc] as const;

/** Runs what `begin` writes, until INT 30h or a fault; `code8086` is what is at 0C00:`ip`. */
function kernel(begin: (p: Program) => void, code8086: (p: Program) => number[] = () => [], ip = 0): Kernel {
  const p = new Program();
  prologue(p, false);
  p.mov("eax", "end").store(VARIABLE.resume, "eax").mov("eax", STEPS).store(VARIABLE.steps, "eax");
  p.mov("ecx", 3).mov("esi", AWAY);
  p.mov("edi", AWAY + 0x100);
  begin(p);
  p.label("leave").code(0xcd, VECTOR.leave).label("end").exit();
  epilogue(p, false);
  const bytes = [[AT.virtual8086 + ip, Uint8Array.from(code8086(p))]] as const;
  return { program: p, pae: false, interrupts: false, words: [], bytes };
}

/** To virtual-8086 mode at 0C00:`ip`, with DS and ES at 0D00h. */
function enterVirtual8086(p: Program, flags: number, ip = 0): void {
  for (const word of [0, 0, 0xd00, 0xd00, 0xc00, 0xff0, flags | VM | 2, AT.virtual8086 >>> 4, ip]) p.push(word);
  p.mov("esi", 0x20).mov("edi", 0x40).code(0xcf);
}

const KERNELS: Readonly<Record<string, Kernel>> = {
  "user code with a string, system calls and a fault": kernel((p) => {
    p.iretTo("user", TF | 2, AT.userStackTop).label("user");
    p.code(...STRINGS, 0xcd, VECTOR.call);
    p.mov("edx", "back").code(0x89, 0xe1, 0x0f, 0x34).label("back"); // MOV ECX, ESP; SYSENTER
    p.code(0x8c, 0xd8, 0x8e, 0xd0, 0x40, 0xfa); // MOV EAX, DS; MOV SS, EAX; INC EAX; CLI
  }),
  "user code that sets TF itself, before SYSENTER": kernel((p) => {
    p.iretTo("user", 2, AT.userStackTop).label("user");
    p.mov("edx", "back")
      .code(0x89, 0xe1)
      .push(TF | 2); // MOV ECX, ESP
    p.code(0x9d, 0x0f, 0x34).label("back").code(0x40); // POPFD; SYSENTER
  }),
  // ... MOV AX, 0D00h; MOV SS, AX; INC AX; PUSH AX; CLI
  "virtual-8086 code": kernel(
    (p) => enterVirtual8086(p, TF),
    () => [...STRINGS, 0xb8, 0x00, 0x0d, 0x8e, 0xd0, 0x40, 0x50, 0xfa],
  ),
  // PUSH 3102h; POPF; ... INT 31h; IN AL, 80h
  "virtual-8086 code at IOPL 3 that sets TF itself": kernel(
    (p) => enterVirtual8086(p, 0x3000),
    () => [0x68, 0x02, 0x31, 0x9d, ...STRINGS, 0xcd, VECTOR.call, 0xe4, 0x80],
  ),
  // CLI, which the monitor executes; IP is 10000h then
  "virtual-8086 code up to the end of its segment": kernel(
    (p) => enterVirtual8086(p, 0x3000, 0xffff),
    () => [0xfa],
    0xffff,
  ),
  "virtual-8086 code that is stepped beyond its segment": kernel(
    (p) => enterVirtual8086(p, 0x3000 | TF, 0xffff),
    () => [0xfa],
    0xffff,
  ),
  // INC AX; MOV EDX, leave; MOV ECX, stack; SYSENTER
  "virtual-8086 code that leaves by SYSENTER": kernel(
    (p) => enterVirtual8086(p, TF),
    (p) => [0x40, 0x66, 0xba, ...little(p.address("leave")), 0x66, 0xb9, ...little(AT.userStackTop), 0x0f, 0x34],
  ),
};

/** End, console, digest and data; registers, too, but for classical, where POPF at CPL 1 leaves IOPL alone. */
function expectSame(rig: Rig, end: RunEnd, native: Rig): void {
  expect(verdict(rig, end)).toEqual(verdict(native, { kind: "exit", status: 0 }));
  const data = ({ machine }: Rig): Uint32Array => guestRam(machine).subarray(AWAY / 4);
  expect(differences(data(rig), data(native))).toEqual([]);
  if (rig.machine.technique.name !== "classical") expect(registers(rig.machine)).toEqual(registers(native.machine));
}

describe.each(Object.entries(KERNELS))("%s", (_name, steps) => {
  const native = bootKernel(steps, { technique: "native" });
  native.machine.run(LIMIT);

  test.each([
    ["classical", {}],
    ["bt", {}],
    ["bt", { user: "translate" }],
  ] as const)("is stepped under %s %o as on bare hardware", (technique, bt) => {
    const rig = bootKernel(steps, { technique, bt, pmapLayout: "shuffled" });
    expectSame(rig, rig.machine.run(LIMIT), native);
  });

  test.each(["direct", "translate"] as const)(
    "goes on in a new machine wherever it was stopped, with user=%s",
    (user) => {
      const setup: Setup = { technique: "bt", bt: { user } };
      const reference = bootKernel(steps, setup);
      const whole = account(reference, reference.machine.run(LIMIT));
      let rig = bootKernel(steps, setup);
      let end = rig.machine.run(LIMIT, 211);
      while (end.kind === "limit") {
        const saved = structuredClone(rig.machine.save());
        rig = emptyMachine({ ...setup, guestBytes: GUEST_BYTES });
        rig.machine.restore(saved);
        end = rig.machine.run(LIMIT, 211);
      }
      expect(account(rig, end)).toEqual(whole);
    },
  );

  test("may move between bare hardware and binary translation every few instructions", () => {
    let rig = bootKernel(steps, { technique: "native" });
    let end: RunEnd = { kind: "limit", cs: 0, eip: 0 };
    for (let n = 1; end.kind === "limit"; n++) {
      const technique = n % 2 === 0 ? "native" : "bt";
      const user = n % 4 === 1 ? "direct" : "translate";
      const to = emptyMachine({ technique, bt: { user }, guestBytes: GUEST_BYTES });
      to.machine.importGuest(structuredClone(rig.machine.exportGuest()));
      rig = to;
      end = rig.machine.run(LIMIT, 17);
    }
    expectSame(rig, end, native);
  });
});

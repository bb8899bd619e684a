// A machine with firmware: it begins at the reset vector, and comes back there by every way that software has.
import { describe, expect, test } from "vitest";
import { TICKS_PER_CYCLE } from "../../sim/clock.ts";
import { profileNamed } from "../../sim/cpu/profiles/catalogue.ts";
import { resetState } from "../../sim/cpu/reset.ts";
import { CELL, GPR, SEG, X87 } from "../../sim/cpu/state.ts";
import { bare, Program } from "./assemble.ts";
import { emptyMachine, guestWord, LIMIT, PENTIUM4, PROFILES, registers } from "./rig.ts";

/** 64 KB with `code` at F000:E000 and a near jump to it at the reset vector. */
function firmware(code: readonly number[]): Uint8Array {
  const image = new Uint8Array(0x10000);
  image.set(code, 0xe000);
  image.set([0xe9, 0x0d, 0xe0], 0xfff0);
  return image;
}

const EXIT = [0xe6, 0xf4];
const COUNT = 0x500;
/** MOV AL, [COUNT]; INC AL; MOV [COUNT], AL: how often the machine has begun. */
const COUNTED = [0xa0, 0x00, 0x05, 0xfe, 0xc0, 0xa2, 0x00, 0x05];
/** CMP AL, 2; JB +2 (over the exit); OUT F4h, AL. */
const AGAIN = [...COUNTED, 0x3c, 0x02, 0x72, 0x02, ...EXIT];
const SPIN = [0xeb, 0xfe];

test.each(PROFILES)("%s after reset is as SDM vol. 3, table 10-1, says", (name) => {
  const profile = profileNamed(name);
  const state = resetState(profile);
  expect(state.flags).toBe(2);
  expect([state.eip, state.selector(SEG.cs), state.segmentBase(SEG.cs)]).toEqual([0xfff0, 0xf000, 0xffff0000]);
  expect(state.cr0).toBe(0x60000010);
  expect([CELL.cr2, CELL.cr3, CELL.cr4, CELL.efer, CELL.cpl].map((cell) => state.get(cell))).toEqual([0, 0, 0, 0, 0]);
  for (const segment of [SEG.cs, SEG.ss, SEG.ds, SEG.es, SEG.fs, SEG.gs]) {
    expect([state.segmentLimit(segment), state.segmentRights(segment)]).toEqual([0xffff, 0x93]);
  }
  expect([CELL.gdtrLimit, CELL.idtrLimit, CELL.dr6, CELL.dr7].map((cell) => state.get(cell))).toEqual([
    0xffff, 0xffff, 0xffff0ff0, 0x400,
  ]);
  expect(state.get(GPR.edx)).toBe(profile.cpuid[1]?.eax);
  expect([GPR.eax, GPR.ecx, GPR.ebx, GPR.esp, GPR.ebp, GPR.esi, GPR.edi].map((cell) => state.get(cell))).toEqual(
    new Array(7).fill(0),
  );
  expect(state.get(CELL.miscEnable)).toBe(1);
  expect([state.get(CELL.apicBase), state.get(X87.control), state.get(X87.status)]).toEqual([0xfee00900, 0x40, 0]);
});

describe.each(["native", "vtx"] as const)("under %s", (technique) => {
  test("a kernel that resets a machine without firmware ends its run there", () => {
    const program = new Program().out(0x92, 1).code(0xeb, 0xfe);
    const rig = bare({ technique, program, vectors: [] });
    expect(rig.machine.run(LIMIT)).toMatchObject({ kind: "dead-halt", cs: 0xf000 });
  });

  test("a machine with firmware begins at its reset vector", () => {
    const code = [0x66, 0x89, 0x16, 0x00, 0x06, 0xb0, 0x07, ...EXIT]; // MOV [600h], EDX; MOV AL, 7
    const rig = emptyMachine({ technique, firmware: firmware(code) });
    expect(rig.machine.run(LIMIT)).toEqual({ kind: "exit", status: 7 });
    expect(guestWord(rig.machine, 0x600)).toBe(profileNamed(PENTIUM4).cpuid[1]?.eax);
  });

  const WAYS: Readonly<Record<string, readonly number[]>> = {
    "port 92h bit 0": [0xb0, 0x01, 0xe6, 0x92],
    "command FEh of the keyboard controller": [0xb0, 0xfe, 0xe6, 0x64],
    "the keyboard controller's output port": [0xb0, 0xd1, 0xe6, 0x64, 0xb0, 0xde, 0xe6, 0x60],
    "port CF9h, soft": [0xba, 0xf9, 0x0c, 0xb0, 0x00, 0xee, 0xb0, 0x04, 0xee],
    "port CF9h, hard": [0xba, 0xf9, 0x0c, 0xb0, 0x02, 0xee, 0xb0, 0x06, 0xee],
  };

  test.each(Object.entries(WAYS))("%s resets processor and devices and keeps RAM", (_name, way) => {
    const code = [
      ...AGAIN,
      ...[0xb0, 0x5a, 0xe6, 0x21], // 8259 mask 5Ah
      ...[0xbc, 0x34, 0x12], // MOV SP, 1234h
      ...way,
      ...SPIN,
    ];
    const rig = emptyMachine({ technique, firmware: firmware(code) });
    expect(rig.machine.run(LIMIT)).toEqual({ kind: "exit", status: 2 });
    expect(guestWord(rig.machine, COUNT)).toBe(2);
    expect(registers(rig.machine).esp).toBe("0");
    expect(rig.machine.board.pic.readPort(0x21)).toBe(0xff);
    expect(rig.machine.board.a20).toBe(true);
  });

  test("a closed gate A20 is open again after a reset", () => {
    const close = [0xb0, 0xd1, 0xe6, 0x64, 0xb0, 0xdd, 0xe6, 0x60];
    const code = [...AGAIN, ...close, ...(WAYS["port 92h bit 0"] as number[]), ...SPIN];
    const rig = emptyMachine({ technique, firmware: firmware(code) });
    expect(rig.machine.run(LIMIT)).toEqual({ kind: "exit", status: 2 });
    expect(rig.machine.board.a20).toBe(true);
  });

  test("CMOS RAM survives a reset, and so does what was written to the debug ports", () => {
    const code = [
      ...AGAIN.slice(0, COUNTED.length),
      ...[0x3c, 0x02, 0x74, 0x0e], // CMP AL, 2; JE +14
      ...[0xb0, 0x0f, 0xe6, 0x70, 0xb0, 0x77, 0xe6, 0x71], // shutdown byte 77h
      ...[0xb0, 0xfe, 0xe6, 0x64],
      ...SPIN,
      ...[0xb0, 0x0f, 0xe6, 0x70, 0xe4, 0x71, ...EXIT],
    ];
    const rig = emptyMachine({ technique, firmware: firmware(code) });
    expect(rig.machine.run(LIMIT)).toEqual({ kind: "exit", status: 0x77 });
  });

  test("a reset from outside takes effect between two instructions, whatever runs", () => {
    const rig = emptyMachine({ technique, firmware: firmware([...AGAIN, ...SPIN]) });
    expect(rig.machine.run(100_000 * TICKS_PER_CYCLE)).toMatchObject({ kind: "limit" });
    rig.machine.reset();
    expect(rig.machine.run(LIMIT)).toEqual({ kind: "exit", status: 2 });
    expect(registers(rig.machine).cr0).toBe("60000010");
  });
});

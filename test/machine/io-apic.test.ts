// The I/O APIC, soft-off and what else of the chipset a kernel drives itself, natively and under a monitor.
import { describe, expect, test } from "vitest";
import { bare, handlers, PLACE, Program } from "./assemble.ts";
import { guestWord, LIMIT } from "./rig.ts";

const APIC = 0xfee00000;
const IO_APIC = 0xfec00000;
const VECTOR = 0x51;

/** Stores a constant at any address. */
function poke(program: Program, address: number, value: number): Program {
  return program.mov("eax", value).store(address, "eax");
}

/** 8259s masked, local APIC on, an entry of the I/O APIC open. */
function apicMode(input: number, low: number): Program {
  const program = new Program();
  program.out(0x20, 0x11).out(0x21, 0x20).out(0x21, 4).out(0x21, 1).out(0x21, 0xff);
  program.out(0xa0, 0x11).out(0xa1, 0x28).out(0xa1, 2).out(0xa1, 1).out(0xa1, 0xff);
  poke(program, APIC + 0xf0, 0x1ff);
  poke(program, APIC + 0x350, 0x10000);
  poke(poke(program, IO_APIC, 0x11 + 2 * input), IO_APIC + 0x10, 0);
  return poke(poke(program, IO_APIC, 0x10 + 2 * input), IO_APIC + 0x10, low);
}

describe.each(["native", "vtx"] as const)("under %s", (technique) => {
  test("the timer's ticks come through input 2, one after the other, while the 8259s are masked", () => {
    const program = apicMode(2, VECTOR);
    program.out(0x43, 0x34).out(0x40, 0xe8).out(0x40, 3); // every 1 000 pulses
    program.mov("ebx", 5).code(0xfb).label("wait").code(0xf4); // STI; HLT
    poke(program, APIC + 0xb0, 0).code(0x4b, 0x75, -15 & 0xff); // EOI; DEC EBX; JNZ wait
    program.label("done").exit();
    handlers(program, [VECTOR], true);
    const rig = bare({ technique, program, vectors: [VECTOR] });
    expect(rig.machine.run(LIMIT)).toEqual({ kind: "exit", status: 0 });
    const logged = (guestWord(rig.machine, PLACE.log) - PLACE.log - 4) / 36;
    expect([logged, guestWord(rig.machine, PLACE.log + 4)]).toEqual([5, VECTOR]);
    expect(rig.machine.board.ticksLost).toBe(0);
  });

  test("an SCI by the PM timer's overflow is level-triggered, and ends with its status", () => {
    const program = apicMode(9, 0x8000 | VECTOR);
    program.mov("edx", 0x602).code(0xb8, 1, 0, 0, 0, 0x66, 0xef); // PM1_EN.TMROF
    program.code(0xfb, 0xf4).label("done");
    program.mov("edx", 0x600).code(0xb8, 1, 0, 0, 0, 0x66, 0xef);
    poke(program, APIC + 0xb0, 0).code(0x90);
    poke(program, IO_APIC, 0x22)
      .load("eax", IO_APIC + 0x10)
      .store(0x5000, "eax")
      .exit();
    handlers(program, [VECTOR], true);
    const rig = bare({ technique, program, vectors: [VECTOR] });
    // The timer's bit 23 changes after 2.34 s.
    expect(rig.machine.run(100 * LIMIT)).toEqual({ kind: "exit", status: 0 });
    expect(guestWord(rig.machine, 0x5000)).toBe(0x8000 | VECTOR);
    expect(guestWord(rig.machine, PLACE.log)).toBe(PLACE.log + 4 + 36);
  });

  test("PM1a control with SLP_EN and the type of S5 switches the machine off", () => {
    const program = new Program().mov("edx", 0x604).code(0xb8, 0, 0x3c, 0, 0, 0x66, 0xef, 0xeb, 0xfe);
    const rig = bare({ technique, program, vectors: [] });
    expect(rig.machine.run(LIMIT)).toEqual({ kind: "power-off" });
    expect(rig.machine.run(LIMIT)).toEqual({ kind: "power-off" });
  });
});

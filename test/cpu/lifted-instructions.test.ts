// Lifted instructions that are given again: the same ones while the same bytes are there, and others when anything differs.
import { describe, expect, test } from "vitest";
import { LiftedInstructions } from "../../sim/cpu/lift/lifted-instructions.ts";
import { profileNamed } from "../../sim/cpu/profiles/catalogue.ts";

const AT = 0x1000;
const CODE32 = { bits: 32, stackBits: 32 } as const;
const ADD = Uint8Array.of(0x05, 1, 2, 3, 4, 0x90);

describe("an instruction at an address", () => {
  const instructions = new LiftedInstructions(profileNamed("pentium4-672"));
  const first = instructions.at(AT, ADD, CODE32);

  test("is the same object as long as its bytes are there, whatever follows", () => {
    expect(instructions.at(AT, ADD, CODE32)).toBe(first);
    expect(instructions.at(AT, Uint8Array.of(0x05, 1, 2, 3, 4, 0xf4), CODE32)).toBe(first);
  });

  test("is another one when a byte of it, the code segment or the stack's size differs", () => {
    const changed = instructions.at(AT, Uint8Array.of(0x05, 1, 2, 3, 5), CODE32);
    expect(changed).toMatchObject({ length: 5 });
    expect(changed).not.toEqual(first);
    expect(instructions.at(AT, ADD, CODE32)).toEqual(first);
    expect(instructions.at(AT, ADD, { bits: 16, stackBits: 16 })).toMatchObject({ length: 3 });
    const push = (stackBits: number): unknown => instructions.at(AT, Uint8Array.of(0x50), { bits: 32, stackBits });
    expect(push(16)).not.toEqual(push(32));
  });

  test("is none when it is cut off or undefined", () => {
    expect(instructions.at(AT, ADD.subarray(0, 3), CODE32)).toBe("truncated");
    expect(instructions.at(AT, Uint8Array.of(0x0f, 0x0b), CODE32)).toMatchObject({ length: 2 });
    // POPCNT, which this processor does not have.
    expect(instructions.at(AT, Uint8Array.of(0xf3, 0x0f, 0xb8, 0xc0), CODE32)).toBe("undefined");
  });
});

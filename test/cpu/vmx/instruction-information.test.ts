// What VM exits of VMX instructions say about their operands (SDM vol. 3, 28.2.1, tables 28-13 and 28-14).
import { expect, test } from "vitest";
import { Clock } from "../../../sim/clock.ts";
import { InstructionDecoder } from "../../../sim/cpu/decode.ts";
import type { Environment } from "../../../sim/cpu/environment.ts";
import { execute } from "../../../sim/cpu/interpreter.ts";
import { lift } from "../../../sim/cpu/lift/lift.ts";
import { pentium4_672 } from "../../../sim/cpu/profiles/pentium4-672.ts";
import { costTicks } from "../../../sim/cpu/profiles/profile.ts";
import { CpuState } from "../../../sim/cpu/state.ts";
import { REASON } from "../../../sim/cpu/vmx/reasons.ts";
import { Ledger, TIME_AREA_CELLS } from "../../../sim/ledger.ts";

/** The arguments of the check that comes before the operands. */
function recorded(bytes: readonly number[]): readonly number[] {
  const decoder = new InstructionDecoder(pentium4_672);
  expect(decoder.decode(Uint8Array.from(bytes), 32)).toBe("decoded");
  const lifted = lift(decoder.instruction, { bits: 32, stackBits: 32 }, costTicks(pentium4_672));
  const asked: number[] = [];
  const permits = (reason: number, qualification = 0, information = 0): boolean => {
    asked.push(reason, qualification >>> 0, information >>> 0);
    return false;
  };
  const env = { profile: pentium4_672, vmx: { permits } } as unknown as Environment;
  const ledger = new Ledger(new Clock(new Float64Array(TIME_AREA_CELLS), 1000));
  execute(lifted?.ops ?? [], 0, null, new CpuState(), env, ledger);
  return asked;
}

const [NO_INDEX, NO_BASE, REGISTER, ADDRESS_32] = [1 << 22, 1 << 27, 1 << 10, 1 << 7];
const base = (n: number): number => n << 23;
const index = (n: number): number => n << 18;
const segment = (n: number): number => n << 15;
const second = (n: number): number => n << 28;

test.each([
  [
    "VMCLEAR [EBX + ECX * 4 + 12345678h]",
    [0x66, 0x0f, 0xc7, 0xb4, 0x8b, 0x78, 0x56, 0x34, 0x12],
    REASON.vmclear,
    0x12345678,
    base(3) | index(1) | 2 | segment(3) | ADDRESS_32,
  ],
  [
    "VMPTRLD FS:[1000h]",
    [0x64, 0x0f, 0xc7, 0x35, 0x00, 0x10, 0x00, 0x00],
    REASON.vmptrld,
    0x1000,
    NO_BASE | NO_INDEX | segment(4) | ADDRESS_32,
  ],
  ["VMPTRST [ESI]", [0x0f, 0xc7, 0x3e], REASON.vmptrst, 0, base(6) | NO_INDEX | segment(3) | ADDRESS_32],
  ["VMXON [BP - 2]", [0x67, 0xf3, 0x0f, 0xc7, 0x76, 0xfe], REASON.vmxon, -2, base(5) | NO_INDEX | segment(2)],
  [
    "VMREAD [EBP - 8], ESI",
    [0x0f, 0x78, 0x75, 0xf8],
    REASON.vmread,
    -8,
    base(5) | NO_INDEX | segment(2) | ADDRESS_32 | second(6),
  ],
  ["VMREAD ECX, EDX", [0x0f, 0x78, 0xd1], REASON.vmread, 0, REGISTER | (1 << 3) | second(2)],
  [
    "VMWRITE EDI, [BX + SI + 5]",
    [0x67, 0x0f, 0x79, 0x78, 0x05],
    REASON.vmwrite,
    5,
    base(3) | index(6) | segment(3) | second(7),
  ],
  ["VMWRITE EAX, EBX", [0x0f, 0x79, 0xc3], REASON.vmwrite, 0, REGISTER | (3 << 3)],
  ["VMXOFF", [0x0f, 0x01, 0xc4], REASON.vmxoff, 0, 0],
] as const)("%s", (_text, bytes, reason, qualification, information) => {
  expect(recorded(bytes)).toEqual([reason, qualification >>> 0, information >>> 0]);
});

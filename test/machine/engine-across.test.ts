// Accesses to two pages in compiled code: what they read, write and cost is the interpreter's, and they hardly ever leave
// their region.
import { expect, test } from "vitest";
import { alike } from "../../experiments/verify/compare.ts";
import { CAPACITY } from "../../sim/cpu/engine/layout.ts";
import { EAGER_POLICY } from "../../sim/cpu/engine/policy.ts";
import { CELL, type CpuState, CR0, GPR } from "../../sim/cpu/state.ts";
import type { Machine } from "../../sim/machine.ts";
import { boot, CODE_BASE } from "./rig.ts";

const DIRECTORY = 0x180000;
const TABLE = 0x181000;
const PRESENT = 3;
/** Accesses go to the end of the page before, and on. */
const BORDER = 0x191000;
/** The page before and this one stand in another order than their addresses. */
const FRAMES = { below: 0x1a8000, above: 0x1a3000 } as const;

/** A machine that runs the code with ESI at the border of two pages, and ESP there, too. */
function machineOf(code: readonly number[], engine: typeof EAGER_POLICY | null, above: number): Machine {
  const { machine } = boot({
    ...{ technique: "native", code: Uint8Array.from(code), engine },
    prepare: (state: CpuState) => {
      state.set(CELL.cr3, DIRECTORY);
      state.set(CELL.cr0, state.cr0 | CR0.PG);
      state.set(GPR.esi, BORDER);
      state.set(GPR.esp, BORDER + 2);
      // Over code it begins with MOV AL, its second byte.
      state.set(GPR.edx, 0x00b01234);
    },
  });
  const { memory } = machine;
  memory.write32(DIRECTORY, TABLE | PRESENT);
  for (let n = 0; n < 1024; n++) memory.write32(TABLE + 4 * n, (n << 12) | PRESENT);
  memory.write32(TABLE + ((BORDER - 0x1000) >> 10), FRAMES.below | PRESENT);
  memory.write32(TABLE + (BORDER >> 10), above | PRESENT);
  memory.write32(FRAMES.below + 0xffc, 0x81c3a5e7);
  return machine;
}

/** Runs the code compiled and interpreted, and compares at many times; then how often a long run enters regions. */
function entriesOf(code: readonly number[], above: number = FRAMES.above): { entries: number; rounds: number } {
  const machines = [EAGER_POLICY, null].map((engine) => machineOf(code, engine, above)) as [Machine, Machine];
  const [compiled, interpreted] = machines;
  const meet = (until: number): void => {
    for (const machine of machines) machine.run(until);
    expect(compiled.ledger.clock.now).toBe(interpreted.ledger.clock.now);
    expect(alike(compiled, interpreted)).toBe(true);
  };
  for (let until = 997; until < 300_000; until += 997) meet(until);
  const { memory, core } = compiled;
  const entered = (): number =>
    new Int32Array(memory.buffer, memory.engineArea.entries, CAPACITY).reduce((sum, each) => sum + each, 0);
  const before = { entries: entered(), rounds: core.state.get(GPR.ecx) };
  meet(3_000_000);
  return { entries: entered() - before.entries, rounds: core.state.get(GPR.ecx) - before.rounds };
}

test.each([
  // mov eax, [esi - 3]; add ebx, eax; movzx eax, word [esi - 1]; xor ebx, eax; inc ecx; jmp
  ["loads", [0x8b, 0x46, 0xfd, 0x01, 0xc3, 0x0f, 0xb7, 0x46, 0xff, 0x31, 0xc3, 0x41, 0xeb, 0xf2]],
  // mov [esi - 3], ebx; mov [esi - 1], cx; lea ebx, [ebx + ebx * 4 + 1]; add edx, [esi]; inc ecx; jmp
  ["stores", [0x89, 0x5e, 0xfd, 0x66, 0x89, 0x4e, 0xff, 0x8d, 0x5c, 0x9b, 0x01, 0x03, 0x16, 0x41, 0xeb, 0xf0]],
  // add [esi - 3], ebx; xchg [esi - 2], ebx; rol word [esi - 1], 3; adc edx, ebx; inc ecx; jmp
  ["updates", [0x01, 0x5e, 0xfd, 0x87, 0x5e, 0xfe, 0x66, 0xc1, 0x46, 0xff, 0x03, 0x11, 0xda, 0x41, 0xeb, 0xf0]],
  // push ebx; pop edx; lea ebx, [ebx + edx * 8 + 1]; inc ecx; jmp
  ["push and pop", [0x53, 0x5a, 0x8d, 0x5c, 0xd3, 0x01, 0x41, 0xeb, 0xf7]],
])("%s do not leave compiled code", (_, code) => {
  const { entries, rounds } = entriesOf(code);
  expect(rounds).toBeGreaterThan(500);
  expect(entries).toBeLessThan(rounds / 100);
});

test("a store to code on the second of two pages is seen", () => {
  // mov al, 0; add ebx, eax; inc ecx; test cl, 63; jnz; mov [esi - 2], edx; add edx, 0x1000000; jmp
  const code = [
    ...[0xb0, 0x00, 0x01, 0xc3, 0x41, 0xf6, 0xc1, 0x3f, 0x75, 0xf6],
    ...[0x89, 0x56, 0xfe, 0x81, 0xc2, 0x00, 0x00, 0x00, 0x01, 0xeb, 0xeb],
  ];
  // The page above the border is that of the code.
  expect(entriesOf(code, CODE_BASE).rounds).toBeGreaterThan(500);
});

// An instruction whose bytes are on two pages, in a region: the second page is mapped elsewhere, with and without INVLPG, and written to.
import { expect, test } from "vitest";
import { alike } from "../../experiments/verify/compare.ts";
import { CAPACITY } from "../../sim/cpu/engine/layout.ts";
import { EAGER_POLICY, type EnginePolicy } from "../../sim/cpu/engine/policy.ts";
import { CELL, type CpuState, CR0, GPR } from "../../sim/cpu/state.ts";
import type { Machine } from "../../sim/machine.ts";
import { word } from "./random-program.ts";
import { boot, CODE_BASE } from "./rig.ts";

const PAGES = { directory: 0x180000, table: 0x181000 } as const;
const PRESENT = 3;
const LOOP = 0xfe0;
const BACK = 0xff5;
const CROSSING = 0xffd;
const RARE = 0x100;
const ENTRY_OF_SECOND = PAGES.table + (((CODE_BASE + 0x1000) >>> 12) << 2);
const OTHER_FRAME = 0x1a0000;

/** Code with the pieces at their places, and NOPs between them. */
function codeOf(...pieces: readonly (readonly [at: number, bytes: readonly number[]])[]): Uint8Array {
  const code = new Uint8Array(0x1020).fill(0x90);
  for (const [at, bytes] of pieces) code.set(bytes, at);
  return code;
}

function relative(from: number, to: number): number[] {
  return word(to - from - 4);
}

const TAIL = (high: number, operation: number): number[] => [
  0x00,
  high,
  operation,
  0xc3,
  0xe9,
  ...relative(0x1005, LOOP),
];

/** `changes`: every 64th time the second page is mapped elsewhere, sometimes with INVLPG, sometimes written to as well. */
function codeThat(changes: boolean): Uint8Array {
  return codeOf(
    [0, [0xe9, ...relative(1, LOOP)]],
    // inc ecx; test cl, 63; jz RARE; add eax, imm32, of which two bytes are on the second page; add ebx, eax; jmp LOOP
    [LOOP, [0x41, 0xf6, 0xc1, 0x3f, 0x0f, 0x84, ...relative(LOOP + 6, changes ? RARE : BACK)]],
    [CROSSING, [0x05, 0x11, 0x22]],
    [0x1000, TAIL(0, 0x01)],
    [
      RARE,
      [
        // xor dword [the page's entry], the difference of its frames
        ...[0x81, 0x35, ...word(ENTRY_OF_SECOND), ...word((CODE_BASE + 0x1000) ^ OTHER_FRAME)],
        // test cl, 64; jz over invlpg [second page]
        ...[0xf6, 0xc1, 0x40, 0x74, 0x07, 0x0f, 0x01, 0x3d, ...word(CODE_BASE + 0x1000)],
        // test ch, 1; jz over add byte [the other frame's part of the operand], 1
        ...[0xf6, 0xc5, 0x01, 0x74, 0x07, 0x80, 0x05, ...word(OTHER_FRAME + 1), 0x01],
        ...[0xe9, ...relative(RARE + 10 + 12 + 12 + 1, BACK)],
      ],
    ],
  );
}

function machineOf(code: Uint8Array, engine: EnginePolicy | null): Machine {
  const { machine } = boot({
    ...{ technique: "native", code, engine },
    prepare: (state: CpuState) => {
      state.set(CELL.cr3, PAGES.directory);
      state.set(CELL.cr0, state.cr0 | CR0.PG);
    },
  });
  const { memory } = machine;
  memory.write32(PAGES.directory, PAGES.table | PRESENT);
  for (let n = 0; n < 1024; n++) memory.write32(PAGES.table + 4 * n, (n << 12) | PRESENT);
  memory.copyIn(OTHER_FRAME, Uint8Array.from(TAIL(0x44, 0x29)));
  return machine;
}

test("does what the interpreter does when its second page changes", () => {
  const code = codeThat(true);
  const compiled = machineOf(code, EAGER_POLICY);
  const interpreted = machineOf(code, null);
  for (let until = 0; until < 2_000_000; until += 9973) {
    for (const machine of [compiled, interpreted]) machine.run(until);
    const [one, other] = [compiled, interpreted].map(({ ledger, core }) => [
      ledger.clock.now,
      core.state.eip,
      core.state.get(GPR.ebx),
    ]);
    expect(one).toEqual(other);
  }
  expect(alike(compiled, interpreted)).toBe(true);
  expect(compiled.core.state.get(GPR.ecx)).toBeGreaterThan(10_000);
});

test("does not end a region", () => {
  const machine = machineOf(codeThat(false), EAGER_POLICY);
  machine.run(2_000_000);
  const entries = new Int32Array(machine.memory.buffer, machine.memory.engineArea.entries, CAPACITY);
  expect(machine.core.state.get(GPR.ecx)).toBeGreaterThan(10_000);
  expect(entries.reduce((sum, each) => sum + each, 0)).toBeLessThan(100);
});

// String instructions without REP, RDTSC and PAUSE in compiled code: alike with the interpreter at any moment, and hardly
// ever run by it.
import { expect, test } from "vitest";
import { alike } from "../../experiments/verify/compare.ts";
import { EAGER_POLICY, type EnginePolicy } from "../../sim/cpu/engine/policy.ts";
import { CELL, type CpuState, CR0, GPR } from "../../sim/cpu/state.ts";
import type { Machine } from "../../sim/machine.ts";
import { word } from "./random-program.ts";
import { boot } from "./rig.ts";

const DIRECTORY = 0x180000;
const TABLE = 0x181000;
const PRESENT = 3;
const DATA = 0x190000;
const TARGET = 0x198000;

/** mov esi, DATA; mov edi, TARGET; on: `body`; inc ecx; add edx, eax; cmp esi, DATA + 0x3000; jb on; jmp to the beginning */
function programOf(body: readonly number[]): number[] {
  const tail = [0x41, 0x01, 0xc2, 0x81, 0xfe, ...word(DATA + 0x3000), 0x72];
  const on = -(body.length + tail.length + 1);
  const code = [0xbe, ...word(DATA), 0xbf, ...word(TARGET), ...body, ...tail, on & 0xff, 0xeb];
  return [...code, -(code.length + 1) & 0xff];
}

function machineOf(code: readonly number[], engine: EnginePolicy | null, prepare: (state: CpuState) => void): Machine {
  const { machine } = boot({
    ...{ technique: "native", code: Uint8Array.from(code), engine },
    prepare: (state: CpuState) => {
      state.set(CELL.cr3, DIRECTORY);
      state.set(CELL.cr0, state.cr0 | CR0.PG);
      state.set(GPR.esp, 0x1a0000);
      prepare(state);
    },
  });
  const { memory } = machine;
  memory.write32(DIRECTORY, TABLE | PRESENT);
  for (let n = 0; n < 1024; n++) memory.write32(TABLE + 4 * n, (n << 12) | PRESENT);
  // Some elements of both are alike, so that comparisons differ.
  for (let n = 0; n < 0x3000; n += 4) {
    memory.write32(DATA + n, Math.imul(n, 0x9e3779b1));
    memory.write32(TARGET + n, Math.imul(n, n % 32 === 0 ? 0x9e3779b1 : 0x85ebca6b));
  }
  return machine;
}

/** Runs the program compiled and interpreted, and compares at many times; instructions so far that compiled code left. */
function leftOf(code: readonly number[], prepare: (state: CpuState) => void = () => {}): { left: number; ran: number } {
  const machines = [EAGER_POLICY, null].map((engine) => machineOf(code, engine, prepare)) as [Machine, Machine];
  const [compiled, interpreted] = machines;
  const steps = 150;
  for (let n = 1; n <= steps; n++) {
    for (const machine of machines) machine.run(n * 4993);
    expect(compiled.ledger.clock.now).toBe(interpreted.ledger.clock.now);
    if (!alike(compiled, interpreted)) throw new Error(`differs after ${n} runs`);
  }
  const statistics = compiled.core.engineStatistics();
  expect(statistics["engine.regions.compiled"]).toBeGreaterThan(0);
  return { left: statistics["engine.interpreted"] as number, ran: compiled.core.state.get(GPR.ecx) };
}

test.each([
  ["lodsb; stosb", [0xac, 0xaa]],
  ["lodsw; stosw", [0x66, 0xad, 0x66, 0xab]],
  ["lodsd; stosd", [0xad, 0xab]],
  ["movsb", [0xa4]],
  ["movsw", [0x66, 0xa5]],
  ["movsd, and across pages", [0x46, 0xa5]],
  ["movsd from SS", [0x36, 0xa5]],
  ["cmpsb; sete al", [0xa6, 0x0f, 0x94, 0xc0]],
  ["cmpsw; setb al", [0x66, 0xa7, 0x0f, 0x92, 0xc0]],
  ["cmpsd; seto al", [0xa7, 0x0f, 0x90, 0xc0]],
  ["lodsb; scasb; setc ah", [0xac, 0xae, 0x0f, 0x92, 0xc4]],
  ["lodsd; scasd; adc ebx, eax", [0xad, 0xaf, 0x11, 0xc3]],
])("%s in compiled code", (_, body) => {
  const { left, ran } = leftOf(programOf(body));
  expect(ran).toBeGreaterThan(1000);
  expect(left).toBeLessThan(20);
});

test("with DF set the interpreter runs them", () => {
  // std; lodsb; scasw; cld; add esi, 3; movsd
  const { ran } = leftOf(programOf([0xfd, 0xac, 0x66, 0xaf, 0xfc, 0x83, 0xc6, 0x03, 0xa5]));
  expect(ran).toBeGreaterThan(500);
});

test.each([
  ["RDTSC and PAUSE", 0, 20],
  ["RDTSC of a counter that was written, by the interpreter", 12_345, Number.POSITIVE_INFINITY],
])("%s", (_, offset, most) => {
  // pause; rdtsc; xor ebx, edx; lodsb
  const { left, ran } = leftOf(programOf([0xf3, 0x90, 0x0f, 0x31, 0x31, 0xd3, 0xac]), (state) => {
    state.set(CELL.tscOffset, offset);
  });
  expect(ran).toBeGreaterThan(200);
  expect(left).toBeLessThan(most);
});

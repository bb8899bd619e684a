// Instructions of two accesses in compiled code: an instruction that compiled code gives up after its second access has
// walked begins again, and must then find in the TLB what it found there at first, as the interpreter does that goes on.
import { expect, test } from "vitest";
import { alike } from "../../experiments/verify/compare.ts";
import { EAGER_POLICY } from "../../sim/cpu/engine/policy.ts";
import { CELL, type CpuState, CR0, GPR } from "../../sim/cpu/state.ts";
import type { Machine } from "../../sim/machine.ts";
import { boot, CODE_BASE } from "./rig.ts";

const PAGES = { directory: 0x180000, identity: 0x181000, aliases: 0x182000 } as const;
const ALIASES = 0x400000;
/** More pages than the data TLB has entries, so that each visit walks. */
const COUNT = 96;
const PRESENT = 3;
const READ_AT = 0x190000;

/** push dword [esi]; sub esp, 0xffc; cmp esp, edi; ja on; mov esp, ebp; on: inc eax; jmp */
const CODE = Uint8Array.of(
  ...[0xff, 0x36, 0x81, 0xec, 0xfc, 0x0f, 0x00, 0x00, 0x39, 0xfc, 0x77, 0x02, 0x89, 0xec, 0x40, 0xeb, 0xef],
);

/** A machine that runs the code; all pages that it pushes to are the frame `frame`, and it pushes what is at `from`. */
function machineOf(frame: number, from: number, engine: typeof EAGER_POLICY | null): Machine {
  const { machine } = boot({
    ...{ technique: "native", code: CODE, engine },
    prepare: (state: CpuState) => {
      state.set(CELL.cr3, PAGES.directory);
      state.set(CELL.cr0, state.cr0 | CR0.PG);
      state.set(GPR.esi, from);
      // Pushes go behind the code, into its granule when the frame is its page.
      state.set(GPR.ebp, ALIASES + COUNT * 0x1000 + 0x34);
      state.set(GPR.edi, ALIASES + 0x1000);
      state.set(GPR.esp, ALIASES + COUNT * 0x1000 + 0x34);
    },
  });
  const { memory } = machine;
  memory.write32(PAGES.directory, PAGES.identity | PRESENT);
  memory.write32(PAGES.directory + 4, PAGES.aliases | PRESENT);
  for (let n = 0; n < 1024; n++) {
    memory.write32(PAGES.identity + 4 * n, (n << 12) | PRESENT);
    memory.write32(PAGES.aliases + 4 * n, frame | PRESENT);
  }
  return machine;
}

test.each([
  ["is watched for code", CODE_BASE, READ_AT],
  ["reaches the deadline", 0x1a0000, READ_AT],
  ["is missed after a load from two pages, which is paid for once", 0x1a0000, READ_AT + 0xffd],
])("the page of a second access %s", (_, frame, from) => {
  const compiled = machineOf(frame, from, EAGER_POLICY);
  const interpreted = machineOf(frame, from, null);
  for (let until = 0; until < 600_000; until += 997) {
    for (const machine of [compiled, interpreted]) machine.run(until);
    expect(compiled.ledger.clock.now).toBe(interpreted.ledger.clock.now);
    if (until % (20 * 997) === 0) expect(alike(compiled, interpreted)).toBe(true);
  }
  expect(alike(compiled, interpreted)).toBe(true);
  expect(compiled.core.engineStatistics()["engine.regions.compiled"]).toBeGreaterThan(0);
  expect(compiled.core.mmu.counters()["walk.count.data"]).toBeGreaterThan(200);
});

test("a loop that misses each time is compiled again, though nobody runs a block of it from its beginning", () => {
  // mov eax, [esi - 3], on two pages; add ebx, eax; inc ecx; jmp
  const code = Uint8Array.of(0x8b, 0x46, 0xfd, 0x01, 0xc3, 0x41, 0xeb, 0xf8);
  const machines = [EAGER_POLICY, null].map((engine) => {
    const { machine } = boot({
      ...{ technique: "native", code, engine },
      prepare: (state: CpuState) => {
        state.set(CELL.cr3, PAGES.directory);
        state.set(CELL.cr0, state.cr0 | CR0.PG);
        state.set(GPR.esi, READ_AT + 0x1000);
      },
    });
    const { memory } = machine;
    memory.write32(PAGES.directory, PAGES.identity | PRESENT);
    for (let n = 0; n < 1024; n++) memory.write32(PAGES.identity + 4 * n, (n << 12) | PRESENT);
    machine.run(600_000);
    return machine;
  }) as [Machine, Machine];
  expect(alike(...machines)).toBe(true);
  expect(machines[0].core.engineStatistics()["engine.regions.compiled"]).toBeGreaterThan(1);
});

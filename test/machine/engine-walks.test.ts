// Walks of TLB misses and INVLPG in compiled code against those of JavaScript, which the interpreter makes: the TLBs, the
// tables and the time are the same, whatever an entry of a table says.
import { expect, test } from "vitest";
import { Lockstep } from "../../experiments/verify/lockstep.ts";
import { TICKS_PER_CYCLE } from "../../sim/clock.ts";
import { EAGER_POLICY } from "../../sim/cpu/engine/policy.ts";
import { CELL, type CpuState, CR0, CR4, GPR, RIGHTS, SEG } from "../../sim/cpu/state.ts";
import type { Machine } from "../../sim/machine.ts";
import { alone } from "./lockstep.ts";
import { boot, CODE_BASE, PROFILES } from "./rig.ts";

const AT = { gdt: 0x180000, idt: 0x181000, directory: 0x182000, identity: 0x183000, pages: 0x184000 } as const;
const STACK = 0x190000;
const FRAMES = 0x1a0000;
const PAGES = 0x400000;
/** More than the larger of the two data TLBs has entries of the first level. */
const COUNT = 80;
const END = PAGES + COUNT * 0x1000;
const word = (value: number): number[] => [value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, value >>> 24];

/** mov eax, [esi]; mov [esi+0], edx; invlpg [edi]; add esi, 0x1000; add edi, 0x3000; cmp esi, END; jb; mov esi, ..; mov edi, ..; jmp */
const LOOP = [
  ...[0x8b, 0x06, 0x42, 0x89, 0x16, 0x0f, 0x01, 0x3f, 0x81, 0xc6, ...word(0x1000), 0x81, 0xc7, ...word(0x3000)],
  ...[0x81, 0xfe, ...word(END), 0x72, 0xe4, 0xbe, ...word(PAGES), 0xbf, ...word(PAGES + 0x2000), 0xeb, 0xd8],
];
/** #PF: add esp, 4; add dword [esp], 2; iret. */
const HANDLER = [0x83, 0xc4, 0x04, 0x83, 0x04, 0x24, 0x02, 0xcf];
const PRESENT = 1;
const WRITABLE = 2;
const USER = 4;

function machineOf(profile: string, engine: typeof EAGER_POLICY | null, writeProtect: boolean): Machine {
  const { machine } = boot({
    ...{ technique: "native", profile, code: Uint8Array.from([...LOOP, ...HANDLER]), engine },
    prepare: (state: CpuState) => {
      const rights = RIGHTS.P | RIGHTS.S | RIGHTS.DB | RIGHTS.G | RIGHTS.ACCESSED | RIGHTS.WRITABLE_OR_READABLE;
      state.setSegment(SEG.cs, 8, 0, 0xffffffff, rights | RIGHTS.CODE);
      state.set(CELL.gdtrBase, AT.gdt);
      state.set(CELL.gdtrLimit, 15);
      state.set(CELL.idtrBase, AT.idt);
      state.set(CELL.idtrLimit, 14 * 8 + 7);
      state.set(CELL.cr3, AT.directory);
      state.set(CELL.cr4, CR4.PSE | CR4.PGE);
      state.set(CELL.cr0, (state.cr0 | CR0.PG | (writeProtect ? CR0.WP : 0)) >>> 0);
      state.set(GPR.esi, PAGES);
      state.set(GPR.edi, PAGES);
      state.set(GPR.esp, STACK);
    },
  });
  const { memory } = machine;
  for (const [n, byte] of [0xff, 0xff, 0, 0, 0, 0x9b, 0xcf, 0].entries()) memory.write8(AT.gdt + 8 + n, byte);
  const handler = CODE_BASE + LOOP.length;
  memory.write32(AT.idt + 14 * 8, (8 << 16) | (handler & 0xffff));
  memory.write32(AT.idt + 14 * 8 + 4, (handler & 0xffff0000) | 0x8e00);
  memory.write32(AT.directory, AT.identity | PRESENT | WRITABLE);
  memory.write32(AT.directory + 4, AT.pages | PRESENT | WRITABLE | USER);
  for (let n = 0; n < 1024; n++) {
    memory.write32(AT.identity + 4 * n, (n << 12) | PRESENT | WRITABLE);
    memory.write32(
      AT.pages + 4 * n,
      (FRAMES + (n % 16) * 0x1000) | PRESENT | (n % 3 === 0 ? 0 : WRITABLE) | ((n % 2) * USER),
    );
  }
  return machine;
}

function pairOf(
  profile: string,
  writeProtect: boolean,
): { readonly both: Lockstep; readonly pair: readonly Machine[] } {
  const pair = [EAGER_POLICY, null].map((engine) => machineOf(profile, engine, writeProtect));
  const [compiled, interpreted] = pair as [Machine, Machine];
  return { both: new Lockstep(alone(compiled), alone(interpreted)), pair };
}

const ROUND = 15_000 * TICKS_PER_CYCLE;

test.each(PROFILES)("walks and INVLPG are done by compiled code: %s", (profile) => {
  const { both, pair } = pairOf(profile, false);
  both.run(40 * ROUND);
  expect(both.divergence?.report).toBe(undefined);
  const { core } = pair[0] as Machine;
  const counters = core.mmu.counters();
  const walks = counters["walk.count.data"] as number;
  expect(walks).toBeGreaterThan(300);
  expect(counters["tlb.flushes.page"]).toBeGreaterThan(300);
  // Hits of the second level are JavaScript's.
  const second = counters["tlb.data.second-level-hits"] as number;
  expect(core.engineStatistics()["engine.translations.slow"]).toBeLessThan(walks / 2 + second);
});

/** Entries of pages and directory that are changed, and how. */
const CHANGES: readonly ((at: Machine) => void)[] = [
  ...Array.from({ length: 32 }, (_, bit) => ({ memory }: Machine): void => {
    const entry = AT.pages + 4 * (bit + 7);
    memory.write32(entry, memory.read32(entry) ^ (1 << bit));
  }),
  ...[0, 1, 2, 5, 6, 7, 8, 12, 20, 25, 31].map((bit) => ({ memory }: Machine): void => {
    memory.write32(AT.directory + 4, memory.read32(AT.directory + 4) ^ (1 << bit));
  }),
  // Pages of the display's memory and of the firmware, of code, and of the tables themselves.
  ...[0xa0000, 0xf0000, CODE_BASE, AT.pages, AT.directory].map((frame) => ({ memory }: Machine): void => {
    for (let n = 0; n < 4; n++) memory.write32(AT.pages + 4 * (16 + n), frame | PRESENT | WRITABLE);
  }),
  ({ core }) => core.state.set(CELL.cr4, CR4.PSE),
  ({ core }) => core.mmu.watch([(PAGES >> 12) + 9, -1, -1, -1]),
];

test.each([
  ["", false],
  [" with CR0.WP", true],
] as const)("whatever an entry says%s", (_, writeProtect) => {
  for (const change of CHANGES.filter((_, n) => n % 2 === (writeProtect ? 1 : 0))) {
    const { both, pair } = pairOf(PROFILES[0], writeProtect);
    both.run(ROUND);
    for (const machine of pair) change(machine);
    both.run(3 * ROUND);
    expect(both.divergence?.report).toBe(undefined);
  }
});

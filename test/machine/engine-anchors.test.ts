// Accesses that share a translation in compiled code: random programs of structures, stacks, loops and calls over more pages than
// the data TLB has entries, some of whose accesses lie in two pages, against the interpreter.
import { expect, test } from "vitest";
import { alike } from "../../experiments/verify/compare.ts";
import { EAGER_POLICY, type EnginePolicy } from "../../sim/cpu/engine/policy.ts";
import { CELL, type CpuState, CR0 } from "../../sim/cpu/state.ts";
import type { Machine } from "../../sim/machine.ts";
import { Program } from "./assemble.ts";
import { generator, word } from "./random-program.ts";
import { boot } from "./rig.ts";

const PAGES = { directory: 0x180000, identity: 0x181000, aliases: 0x182000 } as const;
const POINTERS = 0x190000;
const POINTER_COUNT = 200;
const ALIASES = 0x400000;
/** More pages than the data TLB has entries. */
const COUNT = 400;
const FRAMES = 0x200000;
const FRAME_COUNT = 16;
const PRESENT = 3;
const GUEST_BYTES = 4 << 20;

const [EAX, EDX, EBX, ESP, EBP, ESI, EDI] = [0, 2, 3, 4, 5, 6, 7] as const;
const VALUES = [EAX, EDX] as const;
const BASES = [EBX, EBP, ESI] as const;

/** A loop without an end. ECX counts inner loops, EDI points to a table of pointers; two functions are called. */
class Pointers {
  readonly #program = new Program();
  readonly #below: (below: number) => number;
  #labels = 0;

  constructor(seed: number) {
    this.#below = generator(seed);
    const program = this.#program;
    const again = this.#below(2) === 0;
    if (again) program.label("start");
    program.code(0xbf, ...word(POINTERS));
    const top = ALIASES + 0x1000 * (1 + this.#below(COUNT - 1)) + this.#pick([0, 4, 8, 40, -20]);
    program.code(0xbc, ...word(top));
    if (!again) program.label("start");
    this.#pieces(14, true);
    program.code(0xe9).relative("start");
    for (const [name, length] of [
      ["one", 2],
      ["two", 3],
    ] as const) {
      program.label(name);
      this.#pieces(length, false);
      program.code(0xc3);
    }
  }

  get code(): Uint8Array {
    return this.#program.assemble();
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.#below(from.length)] as T;
  }

  #pieces(count: number, calls: boolean): void {
    for (let n = 0; n < count; n++) this.#piece(calls);
  }

  #piece(calls: boolean): void {
    const program = this.#program;
    switch (this.#below(calls ? 10 : 9)) {
      case 0: {
        // cmp al, imm8; jb over some instructions.
        const over = `over${this.#labels++}`;
        program.code(0x3c, this.#below(256), 0x0f, 0x82).relative(over);
        this.#some(1 + this.#below(4));
        program.label(over);
        break;
      }
      case 1: {
        // mov ecx, 1 to 6; some instructions; dec ecx; jnz.
        const loop = `loop${this.#labels++}`;
        program.code(0xb9, ...word(1 + this.#below(6))).label(loop);
        this.#some(1 + this.#below(6));
        program.code(0x49, 0x0f, 0x85).relative(loop);
        break;
      }
      case 3: {
        // The same for each of the pointers: mov pointer, [edi + ecx * 4].
        const loop = `loop${this.#labels++}`;
        program.code(0xb9, ...word(POINTER_COUNT - 1)).label(loop);
        program.code(0x8b, 0x04 + (this.#pick(BASES) << 3), 0x8f);
        this.#some(1 + this.#below(4));
        program.code(0x49, 0x0f, 0x85).relative(loop);
        break;
      }
      case 2: {
        // Pushes, something, and as many pops.
        const count = 1 + this.#below(3);
        for (let n = 0; n < count; n++) program.code(0x50 + this.#pick(VALUES));
        this.#some(2);
        for (let n = 0; n < count; n++) program.code(0x58 + this.#pick(VALUES));
        break;
      }
      case 9:
        program.code(0xe8).relative(this.#pick(["one", "two"]));
        break;
      default:
        this.#some(1 + this.#below(3));
    }
  }

  #some(count: number): void {
    for (let n = 0; n < count; n++) this.#program.code(...this.#instruction());
  }

  #instruction(): number[] {
    const base = this.#pick([...BASES, ESP]);
    const pointer = this.#pick(BASES);
    const value = this.#pick(VALUES);
    const near = this.#pick([0, 4, 8, 12, 16, 60, 124, -4, -8, -32, 2]);
    switch (this.#below(15)) {
      case 0:
      case 1:
        return [0x8b, ...operand(value, base, near)];
      case 2:
        return [0x89, ...operand(value, base, near)];
      case 3:
        return [0x01, ...operand(value, base, near)];
      case 4:
        return [0x0f, 0xb6, ...operand(value, base, near)];
      case 5:
        return [0x66, 0x89, ...operand(value, base, near)];
      case 6:
        return [0x03, ...operand(value, base, near)];
      case 7:
        // add pointer, imm8; inc pointer; lea pointer, [pointer + imm8]
        return this.#pick([
          [0x83, 0xc0 + pointer, near & 0xff],
          [0x40 + pointer],
          [0x8d, ...operand(pointer, pointer, near)],
        ]);
      case 8:
      case 13:
        // mov pointer, pointer
        return [0x8b, 0xc0 + (this.#pick(BASES) << 3) + pointer];
      case 9:
      case 10:
        return [0x8b, ...operand(pointer, EDI, this.#below(31) * 4)];
      case 11:
        // push [base]; pop [base], which is found after ESP has moved
        return [0xff, ...operand(6, base, near), 0x8f, ...operand(0, base, near)];
      default:
        // invlpg, or lea that leaves pointers alone
        return this.#below(4) === 0 ? [0x0f, 0x01, ...operand(7, pointer, near)] : [0x8d, ...operand(EAX, base, near)];
    }
  }
}

/** ModRM, SIB and displacement of [base + displacement]. */
function operand(register: number, base: number, displacement: number): number[] {
  return base === ESP
    ? [0x44 + (register << 3), 0x24, displacement & 0xff]
    : [0x40 + (register << 3) + base, displacement & 0xff];
}

function machineOf(seed: number, engine: EnginePolicy | null, code = new Pointers(seed).code): Machine {
  const { machine } = boot({
    ...{ technique: "native", code, engine, guestBytes: GUEST_BYTES },
    prepare: (state: CpuState) => {
      state.set(CELL.cr3, PAGES.directory);
      state.set(CELL.cr0, state.cr0 | CR0.PG);
      for (const base of BASES) state.set(base * 2, ALIASES + 0x800 + base * 0x1000);
    },
  });
  const { memory } = machine;
  const below = generator(seed + 1000);
  memory.write32(PAGES.directory, PAGES.identity | PRESENT);
  memory.write32(PAGES.directory + 4, PAGES.aliases | PRESENT);
  for (let n = 0; n < 1024; n++) {
    memory.write32(PAGES.identity + 4 * n, (n << 12) | PRESENT);
    memory.write32(PAGES.aliases + 4 * n, (FRAMES + (n % FRAME_COUNT) * 0x1000) | PRESENT);
  }
  for (let at = 0; at < FRAME_COUNT * 0x1000; at += 4) memory.write32(FRAMES + at, below(2 ** 32));
  for (let n = 0; n < POINTER_COUNT; n++) {
    const within = below(4) === 0 ? 0xf80 + below(32) * 8 : below(0x1000) & -4;
    memory.write32(POINTERS + 4 * n, ALIASES + 0x1000 * (1 + below(COUNT - 3)) + within);
  }
  return machine;
}

test.each([
  ["as by default, eagerly", EAGER_POLICY],
  ["without walks in compiled code", { ...EAGER_POLICY, miss: { ...EAGER_POLICY.miss, misses: 1e9 } }],
])("random programs of pointers do what the interpreter does %s", (_, policy) => {
  let compiled = 0;
  let regions = 0;
  for (let seed = 1; seed <= 80; seed++) {
    const machines = [machineOf(seed, policy), machineOf(seed, null)] as const;
    for (let until = 0; until < 1_200_000; until += 39_989) {
      for (const machine of machines) machine.run(until);
      const [one, other] = machines;
      const both = [one, other].map(({ ledger, core }) => [ledger.clock.now, core.state.eip]);
      expect(both[0], `seed ${seed}`).toEqual(both[1]);
    }
    expect(alike(...machines), `seed ${seed}`).toBe(true);
    const [{ core }] = machines;
    regions += core.engineStatistics()["engine.regions.compiled"] as number;
    compiled += core.mmu.counters()["walk.count.data"] as number;
  }
  expect(regions).toBeGreaterThan(200);
  expect(compiled).toBeGreaterThan(20_000);
});

test("a register that points to a structure gives its anchor to another that does", () => {
  const code = new Program()
    .code(0xbf, ...word(POINTERS))
    .label("start")
    // mov ebx, [edi]; mov eax, [ebx]; mov esi, ebx; lea ebp, [ebx + 4]; mov ebx, [edi + 4]
    .code(...[0x8b, 0x1f, 0x8b, 0x03, 0x89, 0xde, 0x8d, 0x6b, 0x04, 0x8b, 0x5f, 0x04])
    // add [esi + 8], eax; mov edx, [ebp]; mov esi, ebx; add [ebp + 8], edx; add [esi], edx; add [esi + 4], eax
    .code(...[0x01, 0x46, 0x08, 0x8b, 0x55, 0x00, 0x89, 0xde, 0x01, 0x55, 0x08, 0x01, 0x16, 0x01, 0x46, 0x04])
    .code(0xe9)
    .relative("start")
    .assemble();
  const machines = [machineOf(1, EAGER_POLICY, code), machineOf(1, null, code)] as const;
  for (const machine of machines) machine.run(400_000);
  expect(alike(...machines)).toBe(true);
});

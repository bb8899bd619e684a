// Random bytes as code, in every mode: bare hardware against the monitor, in lockstep over what has retired. In real
// mode the monitor emulates because it must, elsewhere because it is told to, or not at all. Everything is compared: the
// whole state of the processor and all of RAM.
import { describe, expect, test } from "vitest";
import { CELL, CpuState, CR0, CR4, FLAG, GPR, SEG, temporaryCell, X87 } from "../../sim/cpu/state.ts";
import { boot, differences, guestRam, LIMIT, type Rig, type Setup } from "./rig.ts";

const GUEST_BYTES = 2 << 20;
const ROUNDS = 8;
const STRIDE = 25;

/** 32-bit xorshift. */
function generator(seed: number): () => number {
  let x = (seed * 0x9e3779b9) | 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x >>> 0;
  };
}

/** IN, OUT, INS, OUTS and HLT depend on time, or end things; so does RDTSC (0F 31). */
const AVOIDED = [0xe4, 0xe5, 0xe6, 0xe7, 0xec, 0xed, 0xee, 0xef, 0x6c, 0x6d, 0x6e, 0x6f, 0xf4];

function randomBytes(random: () => number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) {
    const byte = random() & 0xff;
    bytes[i] = AVOIDED.includes(byte) || (byte === 0x31 && bytes[i - 1] === 0x0f) ? 0x90 : byte;
  }
  return bytes;
}

type Mode = (state: CpuState, random: () => number) => void;

const DATA = 0x93;
const SEGMENTS = [SEG.es, SEG.ss, SEG.ds, SEG.fs, SEG.gs];

function realSegments(state: CpuState, random: () => number): void {
  for (const segment of [...SEGMENTS, SEG.cs]) {
    const selector = random() & 0xffff;
    state.setSegment(segment, selector, selector * 16, 0xffff, DATA);
  }
  state.setSegment(SEG.ldtr, 0, 0, 0xffff, 0x82);
  state.set(CELL.idtrBase, 0);
  state.set(CELL.idtrLimit, 0x3ff);
}

/** System tables, out of the way of most stores of 16-bit code. */
const PLACE = { gdt: 0x1c0000, idt: 0x1c1000, tss: 0x1c2000, directory: 0x1d0000, table: 0x1d1000 } as const;
const SYSTEM_PAGES = { first: 0x1c0, end: 0x1d2 } as const;
const SELECTOR = { code: 0x08, data: 0x10, userCode: 0x1b, userData: 0x23, tss: 0x28 } as const;
const GDT_ENTRIES = 32;
/** Types that the free entries of the GDT have: code and data of all kinds, gates, a TSS, an LDT. */
const TYPES = [0x1a, 0x12, 0x1e, 0x16, 0x10, 0x18, 0x0c, 0x04, 0x0e, 0x09, 0x02] as const;

/** A descriptor of DPL `dpl`; the limit is 256 KB. */
function descriptor(type: number, dpl: number, base: number, big: number): readonly [low: number, high: number] {
  const rights = ((type | (dpl << 5) | 0x80) << 8) | 0x30000 | (big << 22);
  return [((base & 0xffff) << 16) | 0xffff, (base & 0xff000000) | rights | ((base >>> 16) & 0xff)];
}

/** GDT, IDT and TSS with which exceptions and far transfers mostly succeed. */
function systemTables(random: () => number): readonly (readonly [address: number, word: number])[] {
  const words: (readonly [number, number])[] = [];
  const put = (address: number, [low, high]: readonly [number, number]): void => {
    words.push([address, low], [address + 4, high]);
  };
  const base = (): number => random() & 0xffff0;
  put(PLACE.gdt, [0, 0]);
  put(PLACE.gdt + SELECTOR.code, descriptor(0x1a, 0, base(), random() & 1));
  put(PLACE.gdt + SELECTOR.data, descriptor(0x12, 0, base(), 1));
  put(PLACE.gdt + (SELECTOR.userCode & ~7), descriptor(0x1a, 3, base(), random() & 1));
  put(PLACE.gdt + (SELECTOR.userData & ~7), descriptor(0x12, 3, base(), 1));
  put(PLACE.gdt + SELECTOR.tss, descriptor(0x0b, 0, PLACE.tss, 0));
  for (let n = 6; n < GDT_ENTRIES; n++) {
    const type = TYPES[random() % TYPES.length] as number;
    const dpl = (random() & 1) * 3;
    // Gates: to the code segment of CPL 0, with a few parameters.
    const gate = [
      (SELECTOR.code << 16) | (random() & 0xffff),
      ((type | (dpl << 5) | 0x80) << 8) | (random() & 3),
    ] as const;
    put(PLACE.gdt + n * 8, type === 0x0c || type === 0x04 ? gate : descriptor(type, dpl, base(), random() & 1));
  }
  for (let vector = 0; vector < 256; vector++) {
    const type = [0x0e, 0x0f, 0x06, 0x07][random() & 3] as number;
    const rights = (type | (((random() & 1) * 3) << 5) | 0x80) << 8;
    put(PLACE.idt + vector * 8, [(SELECTOR.code << 16) | (random() & 0xffff), rights]);
  }
  // One page table for 4 MB: some pages absent, read-only or the supervisor's.
  words.push([PLACE.directory, PLACE.table | 7]);
  for (let page = 0; page < 1024; page++) {
    const chance = random();
    const flags = ((chance & 7) === 0 ? 0 : 1) | ((chance & 0x30) === 0 ? 0 : 2) | ((chance & 0x700) === 0 ? 0 : 4);
    const system = page >= SYSTEM_PAGES.first && page < SYSTEM_PAGES.end;
    words.push([PLACE.table + 4 * page, ((page & 0x1ff) << 12) | (system ? 3 : flags)]);
  }
  words.push([PLACE.tss + 4, random() & 0xfffc], [PLACE.tss + 8, SELECTOR.data], [PLACE.tss + 0x64, 0x680000]);
  return words;
}

function loadTables(state: CpuState): void {
  state.set(CELL.gdtrBase, PLACE.gdt);
  state.set(CELL.gdtrLimit, GDT_ENTRIES * 8 - 1);
  state.set(CELL.idtrBase, PLACE.idt);
  state.set(CELL.idtrLimit, 0x7ff);
  state.setSegment(SEG.tr, SELECTOR.tss, PLACE.tss, 0x2067, 0x8b);
}

/** Segments of a base in RAM, code and stack of `big` default size. */
function protectedSegments(state: CpuState, random: () => number, big: number, dpl: number): void {
  const rights = (dpl << 5) | (big << 14);
  const data = dpl === 0 ? SELECTOR.data : SELECTOR.userData;
  for (const segment of SEGMENTS) state.setSegment(segment, data, random() & 0xffff0, 0x3ffff, DATA | rights);
  const code = dpl === 0 ? SELECTOR.code : SELECTOR.userCode;
  state.setSegment(SEG.cs, code, random() & 0xffff0, 0x3ffff, 0x9b | rights);
  state.set(CELL.cpl, dpl);
  state.set(CELL.cr0, state.get(CELL.cr0) | CR0.PE);
  loadTables(state);
}

function paging(state: CpuState, random: () => number): void {
  state.set(CELL.cr3, PLACE.directory);
  state.set(CELL.cr0, state.get(CELL.cr0) | CR0.PG | ((random() & 1) === 0 ? CR0.WP : 0));
}

const MODES: Readonly<Record<string, Mode>> = {
  "32-bit protected mode with paging at CPL 0": (state, random) => {
    protectedSegments(state, random, 1, 0);
    paging(state, random);
  },
  "16-bit protected mode with paging at CPL 3": (state, random) => {
    protectedSegments(state, random, 0, 3);
    paging(state, random);
  },
  "real mode": (state, random) => {
    realSegments(state, random);
    state.set(CELL.cr0, CR0.ET);
  },
  "big real mode": (state, random) => {
    realSegments(state, random);
    state.set(CELL.cr0, CR0.ET);
    for (const segment of [SEG.ds, SEG.es]) {
      state.setSegment(segment, state.selector(segment), state.segmentBase(segment), 0xffffffff, 0x8093);
    }
  },
  "protected mode with the segments of real mode": (state, random) => {
    realSegments(state, random);
    state.set(CELL.cr0, CR0.ET | CR0.PE);
    loadTables(state);
  },
  "16-bit protected mode at CPL 0": (state, random) => protectedSegments(state, random, 0, 0),
  "16-bit protected mode at CPL 3": (state, random) => protectedSegments(state, random, 0, 3),
  "32-bit protected mode at CPL 0": (state, random) => protectedSegments(state, random, 1, 0),
  "32-bit protected mode at CPL 3 with alignment checks": (state, random) => {
    protectedSegments(state, random, 1, 3);
    state.set(CELL.cr0, state.get(CELL.cr0) | CR0.AM);
    state.flags |= FLAG.AC;
  },
  "virtual-8086 mode": (state, random) => {
    realSegments(state, random);
    for (const segment of [...SEGMENTS, SEG.cs]) {
      state.setSegment(segment, state.selector(segment), state.segmentBase(segment), 0xffff, 0xf3);
    }
    state.set(CELL.cr0, CR0.ET | CR0.PE);
    state.set(CELL.cpl, 3);
    state.flags |= FLAG.VM | ((random() & 3) << 12);
    if ((random() & 1) === 0) state.set(CELL.cr4, state.get(CELL.cr4) | CR4.VME);
    loadTables(state);
  },
};

/** Breakpoints near the code, and where the stack grows to; half of them random altogether, on ports too. */
function randomBreakpoints(state: CpuState, random: () => number): void {
  const code = state.segmentBase(SEG.cs) + state.eip;
  const stack = state.segmentBase(SEG.ss) + (state.get(GPR.esp) & 0xffff);
  for (let n = 0; n < 4; n++) state.set(CELL.dr0 + 2 * n, n < 2 ? code + (random() & 0x3f) : stack - (random() & 0x1f));
  const writes = 0xd100_00ff | (random() & 0xcc00_0000);
  state.set(CELL.dr7, ((random() & 1) === 0 ? writes : random() & 0xffff_00ff) | 0x400);
  if ((random() & 1) === 0) state.set(CELL.cr4, state.get(CELL.cr4) | CR4.DE);
}

function start(setup: Setup, seed: number, mode: Mode): Rig {
  const random = generator(seed);
  const ram = randomBytes(random, GUEST_BYTES);
  const view = new DataView(ram.buffer);
  for (const [address, word] of systemTables(random)) view.setUint32(address, word, true);
  const rig = boot({
    ...setup,
    guestBytes: GUEST_BYTES,
    prepare: (state) => {
      for (let n = 0; n < 8; n++) state.set(GPR.eax + 2 * n, random());
      state.eip = random() & 0xffff;
      // TF in one of four.
      state.flags = 2 | (random() & 0xcd5) | ((random() & 3) === 0 ? FLAG.TF : 0);
      mode(state, random);
      if (seed % 3 === 0) randomBreakpoints(state, random);
      // Half of them within 64 KB, where more succeeds.
      if ((random() & 1) === 0)
        for (let n = 0; n < 8; n++) state.set(GPR.eax + 2 * n, state.get(GPR.eax + 2 * n) & 0xffff);
    },
  });
  rig.machine.technique.writeGuest(0, ram);
  return rig;
}

const retired = ({ machine }: Rig): number => machine.ledger.retiredIn(["guest-user", "guest-kernel"]);

/** Runs until `count` instructions have retired, or for as many steps without any. */
function runTo(rig: Rig, count: number): string {
  let idle = 0;
  while (retired(rig) < count && idle < 50) {
    const before = retired(rig);
    const end = rig.machine.run(LIMIT * 10, 1);
    if (end.kind !== "limit") return end.kind;
    idle = retired(rig) === before ? idle + 1 : 0;
  }
  return idle < 50 ? "limit" : "stuck";
}

/** Everything of the processor that a program could see: micro-ops' temporaries are not. */
function architectural(rig: Rig): readonly number[] {
  const state = new CpuState();
  state.restore(rig.machine.technique.exportCpu().cpu);
  state.i32.fill(0, temporaryCell(0), temporaryCell(32));
  state.set(X87.transfer, 0);
  for (const cell of [CELL.repeating, CELL.resumeLoaded]) state.set(cell, 0);
  return state.save();
}

function compare(seed: number, mode: Mode, emulateAlways: boolean): void {
  const native = start({ technique: "native" }, seed, mode);
  const vtx = start({ technique: "vtx", emulateAlways, pmapLayout: "shuffled", seed }, seed, mode);
  for (let round = 1; round <= ROUNDS; round++) {
    const end = runTo(native, round * STRIDE);
    if (end === "stuck") break;
    const other = runTo(vtx, round * STRIDE);
    if (completesInstructions(vtx)) break;
    expect([seed, round, other]).toEqual([seed, round, end]);
    if (end === "triple-fault" || end === "unmodelled") break;
    expect([seed, round, ...architectural(vtx)]).toEqual([seed, round, ...architectural(native)]);
    expect([seed, differences(guestRam(vtx.machine), guestRam(native.machine))]).toEqual([seed, []]);
    if (end !== "limit") break;
  }
}

/** Whether an exit has been handled that completes an instruction: it does not count as retired. */
function completesInstructions({ machine }: Rig): boolean {
  return machine.technique.exits().some(({ cause }) => !UNCOUNTED.includes(cause));
}
const UNCOUNTED = ["hidden-page-fault", "real-mode-emulation"];

describe.each(Object.entries(MODES))("random code in %s", (_name, mode) => {
  test("does the same when it is emulated as on bare hardware", () => {
    for (let seed = 1; seed <= 15; seed++) compare(seed, mode, true);
  });

  test("does the same under VT-x, emulated or not as it must be, up to the first instruction that exits", () => {
    for (let seed = 101; seed <= 115; seed++) compare(seed, mode, false);
  });
});

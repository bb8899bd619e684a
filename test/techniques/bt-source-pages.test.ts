// A load of CR3 costs one comparison for each directory entry over translated code, and finds every page that has moved.
import { beforeEach, describe, expect, test } from "vitest";
import { profileNamed } from "../../sim/cpu/profiles/catalogue.ts";
import { CELL, CpuState, CR0, CR4 } from "../../sim/cpu/state.ts";
import type { Unit } from "../../sim/techniques/bt/cache.ts";
import { fetchAccess, SourcePages } from "../../sim/techniques/bt/source-pages.ts";
import { type EmulationHost, VirtualEnvironment } from "../../sim/techniques/virtual-environment.ts";
import { PENTIUM4 } from "../machine/rig.ts";

const [PRESENT, USER, ACCESSED, LARGE] = [1, 4, 0x20, 0x80];
const RAM_PAGES = 0x1000;
/** Guest-physical addresses. */
const PLACE = {
  directory: 0x1000,
  other: 0x2000,
  table: 0x3000,
  otherTable: 0x4000,
  device: RAM_PAGES * 4096,
} as const;

let memory: Map<number, number>;
let reads: number[];
let state: CpuState;
let watched: number[];
let detached: number[];
let source: SourcePages;

function make(): SourcePages {
  const host = {
    readGuest: (address: number) => memory.get(address) ?? 0,
    readEntry: (address: number) => {
      reads.push(address);
      return memory.get(address) ?? 0;
    },
  } as unknown as EmulationHost;
  return new SourcePages({
    env: new VirtualEnvironment(profileNamed(PENTIUM4), state, host),
    detach: (unit) => {
      detached.push(unit.address);
      source.remove(unit);
    },
    isRam: (page) => page < RAM_PAGES,
    watch: (page) => watched.push(page),
    unwatch: (page) => watched.splice(watched.indexOf(page), 1),
  });
}

/** A unit of a linear page, which is its name. */
function unit(linear: number, cpl: 0 | 3 = 0): Unit {
  const frames = [source.find(linear, fetchAccess(cpl))];
  return {
    address: linear,
    frames,
    translation: { source: [linear * 4096, 4], context: { cpl }, operands: [] },
  } as unknown as Unit;
}

/** The guest stores a word. */
function store(address: number, value: number): void {
  memory.set(address, value);
  if (watched.includes(address >>> 12)) source.wrote(address, 4);
}

function load(cr3: number): { readonly reads: readonly number[]; readonly detached: readonly number[] } {
  state.set(CELL.cr3, cr3);
  reads = [];
  detached = [];
  source.doubtAll();
  source.verify();
  return { reads, detached };
}

beforeEach(() => {
  memory = new Map();
  watched = [];
  detached = [];
  reads = [];
  state = new CpuState();
  state.set(CELL.cr0, CR0.PE | CR0.PG);
  state.set(CELL.cr4, CR4.PSE);
  state.set(CELL.cr3, PLACE.directory);
  for (const directory of [PLACE.directory, PLACE.other]) memory.set(directory + 4, PLACE.table | PRESENT);
  for (let page = 0; page < 16; page++) {
    for (const table of [PLACE.table, PLACE.otherTable]) memory.set(table + 4 * page, ((0x100 + page) << 12) | PRESENT);
  }
  source = make();
  source.verify();
});

/** Units of 16 pages from 4 MB on. */
function translate(): void {
  for (let page = 0; page < 16; page++) source.add(unit(0x400 + page));
}

describe("a load of CR3", () => {
  test("reads one directory entry, however many pages of code there are below", () => {
    translate();
    expect(watched).toEqual([PLACE.table >>> 12]);
    expect(load(PLACE.other)).toEqual({ reads: [PLACE.other + 4], detached: [] });
    memory.set(PLACE.directory + 4, PLACE.table | PRESENT | ACCESSED);
    expect(load(PLACE.directory)).toEqual({ reads: [PLACE.directory + 4], detached: [] });
  });

  test("reads the entries that were stored to, once, and detaches what they moved", () => {
    translate();
    store(PLACE.table + 4 * 3, (0x200 << 12) | PRESENT);
    store(PLACE.table + 4 * 5, (0x105 << 12) | PRESENT | USER);
    store(PLACE.table + 4 * 900, (0x300 << 12) | PRESENT);
    expect(load(PLACE.other).detached).toEqual([0x403]);
    expect(reads).toEqual([PLACE.other + 4, ...[3, 5].flatMap((n) => [PLACE.other + 4, PLACE.table + 4 * n])]);
    expect(load(PLACE.directory)).toEqual({ reads: [PLACE.directory + 4], detached: [] });
  });

  test("looks all pages up below another table, which is watched instead", () => {
    translate();
    memory.set(PLACE.otherTable + 4 * 7, 0);
    memory.set(PLACE.other + 4, PLACE.otherTable | PRESENT);
    expect(load(PLACE.other).detached).toEqual([0x407]);
    expect(reads).toHaveLength(1 + 2 * 16);
    expect(watched).toEqual([PLACE.otherTable >>> 12]);
    expect(load(PLACE.other).reads).toHaveLength(1);
  });

  test("detaches all pages below an entry that is not present, and the table is no longer watched", () => {
    translate();
    expect(load(PLACE.directory + 0x8000).detached).toHaveLength(16);
    expect(reads).toHaveLength(1);
    expect(watched).toEqual([]);
  });

  test("looks all pages up when one has been found by another entry meanwhile", () => {
    translate();
    memory.set(PLACE.directory + 4, PLACE.otherTable | PRESENT);
    source.doubt(0x402_000);
    source.verify();
    memory.set(PLACE.otherTable + 4 * 2, (0x555 << 12) | PRESENT);
    memory.set(PLACE.directory + 4, PLACE.table | PRESENT);
    expect(load(PLACE.directory).reads).toHaveLength(2 * 16);
    expect(load(PLACE.directory).reads).toHaveLength(1);
  });

  test("compares the entry of a large page, below which there is no table", () => {
    for (const directory of [PLACE.directory, PLACE.other]) memory.set(directory + 8, 0x800000 | LARGE | PRESENT);
    for (let page = 0; page < 16; page++) source.add(unit(0x800 + page));
    expect(watched).toEqual([]);
    expect(load(PLACE.other)).toEqual({ reads: [PLACE.other + 8], detached: [] });
    memory.set(PLACE.directory + 8, 0xc00000 | LARGE | PRESENT);
    expect(load(PLACE.directory).detached).toHaveLength(16);
  });

  test("looks pages up each time below a table that is not in RAM", () => {
    for (const directory of [PLACE.directory, PLACE.other]) memory.set(directory + 4, PLACE.device | PRESENT);
    for (let page = 0; page < 16; page++) memory.set(PLACE.device + 4 * page, ((0x100 + page) << 12) | PRESENT);
    translate();
    expect(watched).toEqual([]);
    expect(load(PLACE.other).reads).toHaveLength(2 * 16);
    memory.set(PLACE.device, 0);
    expect(load(PLACE.directory).detached).toEqual([0x400]);
  });

  test("keeps the kernel's units of a page that CPL 3 must no longer execute", () => {
    memory.set(PLACE.directory + 4, PLACE.table | PRESENT | USER);
    memory.set(PLACE.table, (0x100 << 12) | PRESENT | USER);
    source.add(unit(0x400));
    const user = unit(0x400, 3);
    source.add({ ...user, address: 3 });
    store(PLACE.table, (0x100 << 12) | PRESENT);
    expect(load(PLACE.directory).detached).toEqual([3]);
  });

  test("looks everything up when tables are read in another way than before", () => {
    translate();
    state.set(CELL.cr4, 0);
    source.verify();
    expect(reads.length).toBeGreaterThanOrEqual(2 * 16);
    expect(detached).toEqual([]);
    state.set(CELL.cr0, CR0.PE);
    source.verify();
    expect(detached).toHaveLength(16);
    expect(watched).toEqual([]);
  });
});

test("PAE paging has reaches of 2 MB under the pointers that the processor has", () => {
  state.set(CELL.cr4, CR4.PAE);
  state.set(CELL.pdpte0, PLACE.directory | PRESENT);
  memory.set(PLACE.directory + 8, PLACE.table | PRESENT);
  for (let page = 0; page < 16; page++) memory.set(PLACE.table + 8 * page, ((0x100 + page) << 12) | PRESENT);
  source.verify();
  for (let page = 0; page < 16; page++) source.add(unit(0x200 + page));
  expect(load(0)).toEqual({ reads: [PLACE.directory + 8], detached: [] });
  // The upper half of an entry.
  memory.set(PLACE.table + 8 * 2 + 4, 1);
  source.wrote(PLACE.table + 8 * 2 + 4, 4);
  expect(load(0).detached).toEqual([0x202]);
  state.set(CELL.pdpte0, 0);
  expect(load(0)).toMatchObject({ reads: [], detached: { length: 15 } });
});

test("what is known of pages is saved", () => {
  translate();
  store(PLACE.table + 4 * 3, (0x200 << 12) | PRESENT);
  const units = Array.from({ length: 16 }, (_, page) => {
    const frames = [0x100 + page];
    const context = { cpl: 0 };
    return {
      address: 0x400 + page,
      frames,
      translation: { source: [(0x400 + page) * 4096, 4], context, operands: [] },
    };
  }) as unknown as Unit[];
  const saved = structuredClone(source.save());
  const expected = load(PLACE.other);
  state.set(CELL.cr3, PLACE.directory);
  source = make();
  source.restore(saved, units);
  expect(load(PLACE.other)).toEqual(expected);
  expect(expected.detached).toEqual([0x403]);
});

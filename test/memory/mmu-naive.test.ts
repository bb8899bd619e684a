import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ACCESS, FLUSH } from "../../sim/cpu/environment.ts";
import type { TlbSide } from "../../sim/cpu/profiles/profile.ts";
import { CELL, CR0, CR4, EFER } from "../../sim/cpu/state.ts";
import { RAM_OFFSET } from "../../sim/memory/physical.ts";
import { Bench, busPattern, testProfile } from "./fixtures.ts";
import { NaiveMmu, NaiveTlb } from "./naive-mmu.ts";

/**
 * RAM of 256 KB: page directories at 0x1000 and 0x2000, tables at 0x3000 to 0x5000, data above. Linear addresses lie
 * in a dozen pages under four directory entries (one of them the last, so that addresses wrap), so that TLBs of a
 * few entries are under pressure and tables are data now and then. With PAE paging the two directories stand under
 * different pointer entries, one of which is not present.
 */
const RAM = 0x40000;
const ROOTS = [0x1000, 0x2000];
const DIRECTORY_INDICES = [0, 1, 2, 1023];
const PAGE_INDICES = [0, 1, 2, 1023];
/** PAE: the PDPTE registers for each root, and which entries of directories and tables are used. */
const PDPTES: Readonly<Record<number, readonly number[]>> = {
  4096: [0x1001, 0, 0x1000, 0x2001],
  8192: [0x2001, 0x1001, 0, 0x1019],
};
const PAE_INDICES = [0, 1, 2, 511];

/** What differs between the two paging modes. */
interface Mode {
  readonly pae: boolean;
  /** Linear addresses, from the upper half that the generator gives: index of directory and page, offset. */
  readonly linear: (directory: number, page: number, offset: number) => number;
  readonly entryBytes: 4 | 8;
  readonly indices: readonly number[];
}
const MODE_32: Mode = {
  pae: false,
  linear: (directory, page, offset) =>
    (DIRECTORY_INDICES[directory] as number) * 0x400000 + (PAGE_INDICES[page] as number) * 0x1000 + offset,
  entryBytes: 4,
  indices: PAGE_INDICES,
};
const MODE_PAE: Mode = {
  pae: true,
  linear: (directory, page, offset) =>
    ([0, 0, 1, 3][directory] as number) * 0x40000000 +
    (PAE_INDICES[directory] as number) * 0x200000 +
    (PAE_INDICES[page] as number) * 0x1000 +
    offset,
  entryBytes: 8,
  indices: PAE_INDICES,
};

interface Geometry {
  readonly first: readonly [number, number];
  readonly second: readonly [number, number] | null;
}

const geometries: Geometry[] = [
  { first: [4, 4], second: null },
  { first: [4, 2], second: [8, 4] },
  { first: [2, 2], second: [16, 4] },
  { first: [64, 64], second: null },
];

const side = ({ first, second }: Geometry): TlbSide => {
  const structure = ([entries, ways]: readonly [number, number]) => ({ entries, ways, replacement: "fifo" }) as const;
  return second === null
    ? { small: structure(first), source: "test" }
    : { small: structure(first), secondSmall: structure(second), source: "test" };
};

const linear = fc
  .tuple(
    fc.integer({ min: 0, max: 3 }),
    fc.integer({ min: 0, max: 3 }),
    fc.oneof(fc.constantFrom(0, 4, 0xffc, 0xffd, 0xffe, 0xfff), fc.integer({ min: 0, max: 0xfff })),
  )
  .map(([directory, page, offset]) => ({ directory, page, offset }));

/** Flags in which P, R/W and U/S are mostly set. */
const flags = fc
  .record({
    clear: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.integer({ min: 0, max: 7 }) }),
    ad: fc.integer({ min: 0, max: 3 }),
    global: fc.boolean(),
  })
  .map(({ clear, ad, global }) => (7 & ~clear) | (ad << 5) | (global ? 0x100 : 0));
const pte = fc
  .tuple(fc.oneof(fc.integer({ min: 1, max: 0x3f }), fc.constantFrom(0xfee00, 0x40)), flags)
  .map(([frame, low]) => ((frame << 12) | low) >>> 0);
const pde = fc.oneof(
  { weight: 3, arbitrary: fc.tuple(fc.constantFrom(0x3000, 0x4000, 0x5000), flags).map(([table, low]) => table | low) },
  { weight: 1, arbitrary: flags.map((low) => low | 0x80) },
  { weight: 1, arbitrary: flags.map((low) => (low | 0x80 | 0x00400000 | (1 << 21)) >>> 0) },
);

/** Upper half of an entry of PAE paging: mostly nothing, XD, bits of an address beyond RAM, reserved ones. */
const high = fc.oneof(
  { weight: 6, arbitrary: fc.constant(0) },
  { weight: 2, arbitrary: fc.constant(1 << 31) },
  { weight: 1, arbitrary: fc.constantFrom(1, 8, 0x10, 1 << 30) },
);
const slot = fc.integer({ min: 0, max: 3 });

const operation = fc.oneof(
  {
    weight: 20,
    arbitrary: fc.record({
      kind: fc.constantFrom("load" as const, "load" as const, "store" as const, "modify" as const, "probe" as const),
      linear,
      bytes: fc.constantFrom(1, 2, 4, 4, 8),
      user: fc.boolean(),
      value: fc.integer(),
    }),
  },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("fetch" as const), linear, user: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("invlpg" as const), linear }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("cr3" as const), root: fc.constantFrom(...ROOTS) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("flush" as const), pge: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("wp" as const), wp: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("nxe" as const), nxe: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("save" as const) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("pte" as const),
      table: fc.constantFrom(0x3000, 0x4000, 0x5000),
      slot,
      entry: pte,
      high,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("pde" as const),
      table: fc.constantFrom(...ROOTS),
      slot,
      entry: pde,
      high,
    }),
  },
);
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

interface Entry {
  readonly table: number;
  readonly slot: number;
  readonly entry: number;
  readonly high: number;
}

const VALUE_CELL = CELL.dr0;

/** Runs the operations on both and compares after each one. */
function compare(mode: Mode, geometry: Geometry, tables: readonly Entry[], operations: readonly Operation[]) {
  const bench = new Bench({
    profile: testProfile({ data: side(geometry), instruction: side(geometry) }),
    ramBytes: RAM,
  });
  const naive = new NaiveMmu(
    new Uint8Array(RAM),
    new NaiveTlb(geometry.first, geometry.second),
    new NaiveTlb(geometry.first, geometry.second),
    busPattern,
  );
  const setWord = (address: number, value: number): void => {
    bench.memory.write32(address, value);
    for (let i = 0; i < 4; i++) naive.ram[address + i] = (value >>> (8 * i)) & 255;
  };
  for (let at = 0x6000; at < RAM; at += 1028) setWord(at, Math.imul(at, 0x9e3779b1));
  const setEntry = ({ table, slot, entry, high }: Entry): void => {
    const index = (ROOTS.includes(table) && !mode.pae ? DIRECTORY_INDICES : mode.indices)[slot] as number;
    setWord(table + index * mode.entryBytes, entry);
    if (mode.pae) setWord(table + index * 8 + 4, high);
  };
  for (const each of tables) setEntry(each);
  const pae = mode.pae ? CR4.PAE : 0;
  const setRoot = (root: number): void => {
    bench.state.set(CELL.cr3, root);
    naive.controls.cr3 = root;
    if (!mode.pae) return;
    const pdptes = PDPTES[root] as readonly number[];
    for (const [n, pdpte] of pdptes.entries()) bench.state.set(CELL.pdpte0 + 2 * n, pdpte);
    naive.controls.pdptes = pdptes.map(BigInt);
  };
  naive.controls.mode = mode.pae ? "PAE" : "32-bit";
  setRoot(ROOTS[0] as number);
  bench.pagingOn(ROOTS[0] as number, { cr4: CR4.PSE | CR4.PGE | pae });
  const pattern = (address: number): number => {
    const bytes = naive.ram;
    return address < RAM ? (bytes[address] as number) : busPattern(address, 1);
  };
  let flushesAll = 1;
  let flushesNonGlobal = 0;
  let flushesPage = 0;

  for (const given of operations) {
    naive.fault = "";
    const op =
      "linear" in given
        ? { ...given, linear: mode.linear(given.linear.directory, given.linear.page, given.linear.offset) }
        : given;
    switch (op.kind) {
      case "load":
      case "modify":
      case "store":
      case "probe": {
        const write = op.kind !== "load";
        const access = (op.user ? ACCESS.USER : 0) | (op.kind === "modify" || op.kind === "probe" ? ACCESS.WRITE : 0);
        const addresses = naive.bytes(op.linear, op.bytes, write, op.user);
        if (op.kind === "probe") {
          if (addresses !== null && addresses.length > 0 && (op.linear % 4096) + op.bytes > 4096)
            naive.crossCycles -= 10;
          bench.mmu.probe(op.linear, op.bytes, access);
          break;
        }
        if (op.kind === "store") {
          bench.state.set(VALUE_CELL, op.value);
          if (op.bytes === 8) bench.mmu.store64(op.linear, access, VALUE_CELL);
          else bench.mmu.store(op.linear, op.bytes, op.value, access);
          addresses?.forEach((address, i) => {
            const byte = i < 4 ? (op.value >>> (8 * i)) & 255 : 0;
            if (address < RAM) naive.ram[address] = byte;
            else naive.busBytesWritten++;
          });
          break;
        }
        const expected = addresses === null ? null : addresses.map(pattern);
        let got: number[];
        bench.state.set(VALUE_CELL, 0);
        if (op.bytes === 8) {
          bench.mmu.load64(op.linear, access, VALUE_CELL);
          const words = [bench.state.get(VALUE_CELL), bench.state.get(VALUE_CELL + 2 - 1)];
          got = words.flatMap((word) => [0, 8, 16, 24].map((shift) => (word >>> shift) & 255));
        } else {
          const value = bench.mmu.load(op.linear, op.bytes, access);
          if (op.bytes < 4) expect(value >>> (8 * op.bytes)).toBe(0);
          got = Array.from({ length: op.bytes }, (_, i) => (value >>> (8 * i)) & 255);
        }
        if (expected !== null) expect(got).toEqual(expected);
        break;
      }
      case "fetch":
        expect(bench.mmu.fetch(op.linear, op.user)).toBe(
          naive.translate(naive.instruction, op.linear, false, op.user, true),
        );
        break;
      case "invlpg":
        flushesPage++;
        bench.mmu.flushPage(op.linear);
        naive.drop(naive.data, op.linear);
        naive.drop(naive.instruction, op.linear);
        break;
      case "cr3":
        flushesNonGlobal++;
        setRoot(op.root);
        bench.mmu.flushTlb(FLUSH.NON_GLOBAL);
        for (const tlb of [naive.data, naive.instruction]) tlb.flush((entry) => !entry.global, true);
        break;
      case "flush":
        flushesAll++;
        bench.state.set(CELL.cr4, CR4.PSE | pae | (op.pge ? CR4.PGE : 0));
        bench.mmu.flushTlb(FLUSH.ALL);
        naive.controls.cr4Pge = op.pge;
        for (const tlb of [naive.data, naive.instruction]) tlb.flush(() => true, true);
        break;
      case "wp":
        bench.state.set(CELL.cr0, CR0.PE | CR0.PG | (op.wp ? CR0.WP : 0));
        bench.mmu.pagingChanged();
        naive.controls.cr0Wp = op.wp;
        break;
      case "nxe":
        flushesAll++;
        bench.state.set(CELL.efer, op.nxe ? EFER.NXE : 0);
        bench.mmu.flushTlb(FLUSH.ALL);
        naive.controls.nxe = op.nxe;
        for (const tlb of [naive.data, naive.instruction]) tlb.flush(() => true, true);
        break;
      case "save": {
        const saved = JSON.parse(JSON.stringify(bench.mmu.save()));
        bench.mmu = bench.newMmu();
        bench.mmu.restore(saved);
        break;
      }
      case "pte":
      case "pde":
        setEntry(op);
        break;
    }
    expect(bench.takeFault()).toBe(naive.fault);
  }

  // Element by element is slow; where they differ is enough to know.
  const ram = bench.memory.u8.subarray(RAM_OFFSET, RAM_OFFSET + RAM);
  if (Buffer.compare(ram, naive.ram) !== 0) {
    expect(`RAM differs at 0x${ram.findIndex((byte, at) => byte !== naive.ram[at]).toString(16)}`).toBe("equal RAM");
  }
  const counters = bench.mmu.counters();
  expect({
    ...counters,
    walks: (counters["walk.count.data"] as number) + (counters["walk.count.instruction"] as number),
    references: (counters["walk.references.pde"] as number) + (counters["walk.references.pte"] as number),
  }).toMatchObject({
    "tlb.data.misses": naive.data.misses,
    "tlb.instruction.misses": naive.instruction.misses,
    "tlb.data.second-level-hits": naive.data.secondLevelHits,
    "tlb.instruction.second-level-hits": naive.instruction.secondLevelHits,
    "walk.updates": naive.updates,
    "tlb.flushes.all": flushesAll,
    "tlb.flushes.non-global": flushesNonGlobal,
    "tlb.flushes.page": flushesPage,
    walks: naive.walks,
    references: naive.references,
  });
  expect(bench.cycles("walk")).toBe(naive.walkCycles);
  expect(bench.cycles("instructions")).toBe(naive.crossCycles);
  const busWrites = bench.bus.accesses.filter((access) => access.kind === "write");
  expect(busWrites.reduce((sum, access) => sum + access.bytes, 0)).toBe(naive.busBytesWritten);
  return {
    misses: naive.data.misses,
    updates: naive.updates,
    secondLevelHits: naive.data.secondLevelHits,
    denied: naive.deniedFetches,
  };
}

const entries = (arbitrary: fc.Arbitrary<number>, count: number) =>
  fc.array(fc.tuple(arbitrary, high), { minLength: count, maxLength: count });
const initialTables = fc
  .tuple(entries(pde, 8), entries(pte, 12))
  .map(([pdes, ptes]): Entry[] => [
    ...pdes.map(([entry, high], i) => ({ table: ROOTS[i >> 2] as number, slot: i & 3, entry, high })),
    ...ptes.map(([entry, high], i) => ({ table: 0x3000 + (i >> 2) * 0x1000, slot: i & 3, entry, high })),
  ]);

describe("MMU against a naive one", () => {
  it.each([
    ["32-bit paging", MODE_32],
    ["PAE paging", MODE_PAE],
  ])(
    "gives the same values, faults, memory, counters and times over random accesses, flushes and table changes: %s",
    (_name, mode) => {
      const total = { misses: 0, updates: 0, secondLevelHits: 0, denied: 0 };
      fc.assert(
        fc.property(
          fc.constantFrom(...geometries),
          initialTables,
          fc.array(operation, { minLength: 20, maxLength: 200, size: "max" }),
          (geometry, tables, operations) => {
            const seen = compare(mode, geometry, tables, operations);
            for (const name of ["misses", "updates", "secondLevelHits", "denied"] as const) total[name] += seen[name];
          },
        ),
        { numRuns: 150, seed: 20060102, endOnFailure: true },
      );
      expect(total.misses).toBeGreaterThan(1000);
      expect(total.updates).toBeGreaterThan(200);
      expect(total.secondLevelHits).toBeGreaterThan(50);
      if (mode.pae) expect(total.denied).toBeGreaterThan(20);
    },
  );
});

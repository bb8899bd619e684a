import { describe, expect, it } from "vitest";
import { ACCESS, FLUSH } from "../../sim/cpu/environment.ts";
import { CELL, CR0, CR4, EFER, FLAG } from "../../sim/cpu/state.ts";
import { REASON } from "../../sim/memory/physical.ts";
import { Bench, busPattern, testProfile } from "./fixtures.ts";

const ROOT = 0x1000;
const TABLE = 0x2000;
const { READ, WRITE, USER, DESCRIPTOR } = ACCESS;
/** Present, and the usual combinations. */
const P = 1;
const RW = 3;
const URW = 7;
const CELL_PAIR = CELL.dr0;

function paged(entries: Record<number, number>, options: { cr0?: number; cr4?: number } = {}): Bench {
  const bench = new Bench();
  for (const [linear, entry] of Object.entries(entries)) bench.map(ROOT, TABLE, Number(linear), entry);
  bench.pagingOn(ROOT, options);
  return bench;
}

describe("MMU without paging", () => {
  it("reads and writes physical addresses in all widths", () => {
    const { mmu, memory, bus } = new Bench();
    mmu.store(0x5000, 4, 0x89abcdef, READ);
    expect(memory.read32(0x5000)).toBe(0x89abcdef | 0);
    expect([mmu.load(0x5000, 4, READ), mmu.load(0x5000, 2, READ), mmu.load(0x5003, 1, READ)]).toEqual([
      0x89abcdef | 0,
      0xcdef,
      0x89,
    ]);
    mmu.store(0x5001, 1, 0x1ff, READ);
    mmu.store(0x5002, 2, 0x12345, READ);
    expect(mmu.load(0x5000, 4, READ)).toBe(0x2345ffef);
    expect(mmu.fetch(0x5003, false)).toBe(0x5003);
    expect(bus.accesses).toEqual([]);
    expect(mmu.counters()["tlb.data.misses"]).toBe(0);
  });

  it("sends what lies beyond RAM to the bus: aligned accesses whole, others by bytes", () => {
    const { mmu, bus } = new Bench();
    expect(mmu.load(0xfee00020, 4, READ)).toBe(busPattern(0xfee00020, 4) | 0);
    expect(mmu.load(0xfee00002, 2, READ)).toBe(busPattern(0xfee00002, 2));
    mmu.store(0xfee000b0, 4, -1, READ);
    expect(bus.accesses.map(({ kind, address, bytes }) => `${kind} ${address.toString(16)} ${bytes}`)).toEqual([
      "read fee00020 4",
      "read fee00002 2",
      "write fee000b0 4",
    ]);
    expect(bus.accesses[2]?.value).toBe(0xffffffff);
    bus.accesses.length = 0;
    expect(mmu.load(0xfee00021, 4, READ)).toBe(busPattern(0xfee00021, 4) | 0);
    expect(bus.accesses.map((access) => access.bytes)).toEqual([1, 1, 1, 1]);
  });

  it("wraps at 4 GB", () => {
    const { mmu, memory, bus } = new Bench();
    mmu.store(0x100000000 + 0x6000, 4, 7, READ);
    expect(memory.read32(0x6000)).toBe(7);
    mmu.store(0xfffffffe, 4, 0x44332211, READ);
    expect(memory.read16(0)).toBe(0x4433);
    expect(bus.accesses.map(({ address, value }) => [address, value])).toEqual([
      [0xfffffffe, 0x11],
      [0xffffffff, 0x22],
    ]);
  });
});

describe("MMU with paging", () => {
  it("walks once, charges the walk, and then hits", () => {
    const bench = paged({ 20480: 0x9000 | URW });
    bench.memory.write32(0x9010, 1234);
    expect(bench.mmu.load(0x5010, 4, USER)).toBe(1234);
    // The PDE has A and D set already: one update, of the PTE.
    expect(bench.cycles("walk")).toBe(5 + 2 * 3 + 20);
    for (const offset of [0, 4, 1, 0xffc]) bench.mmu.load(0x5000 + offset, 1, USER);
    expect(bench.cycles("walk")).toBe(31);
    expect(bench.mmu.counters()).toMatchObject({
      "tlb.data.misses": 1,
      "walk.count.data": 1,
      "walk.references.pde": 1,
      "walk.references.pte": 1,
      "walk.updates": 1,
      "tlb.instruction.misses": 0,
    });
    expect(bench.mmu.walksFromMisses).toBe(1);
    expect(bench.memory.counters()).toMatchObject({ "references.pde": 1, "references.pte": 1 });
  });

  it("charges the domain that is running", () => {
    const bench = paged({ 20480: 0x9000 | URW });
    bench.accounts.current = bench.accounts.byDomain["guest-user"];
    bench.mmu.load(0x5000, 4, USER);
    expect(bench.ledger.totals().map(({ domain, activity, ticks }) => [domain, activity, ticks])).toEqual([
      ["guest-user", "walk", 31 * 12],
    ]);
  });

  it("walks again for the first write through an entry with D clear, and sees the tables as they are then", () => {
    const bench = paged({ 20480: 0x9000 | URW });
    bench.mmu.load(0x5000, 4, USER);
    expect(bench.memory.read32(bench.pteAddress(TABLE, 0x5000)) & 0x60).toBe(0x20);
    bench.mmu.store(0x5000, 4, 5, USER);
    bench.mmu.store(0x5004, 4, 5, USER);
    expect(bench.memory.read32(bench.pteAddress(TABLE, 0x5000)) & 0x60).toBe(0x60);
    expect(bench.mmu.counters()).toMatchObject({ "tlb.data.misses": 1, "walk.count.data": 2, "walk.updates": 2 });

    const moved = paged({ 20480: 0x9000 | URW });
    moved.memory.write32(0x9000, 1);
    moved.memory.write32(0xa000, 2);
    expect(moved.mmu.load(0x5000, 4, USER)).toBe(1);
    moved.memory.write32(moved.pteAddress(TABLE, 0x5000), 0xa000 | URW);
    expect(moved.mmu.load(0x5000, 4, USER)).toBe(1);
    moved.mmu.store(0x5008, 4, 9, USER);
    expect(moved.memory.read32(0xa008)).toBe(9);
    expect(moved.mmu.load(0x5000, 4, USER)).toBe(2);
    moved.memory.write32(moved.pteAddress(TABLE, 0x5000), 0);
    moved.mmu.flushPage(0x5000);
    moved.mmu.store(0x5008, 4, 9, USER);
    expect(moved.takeFault()).toBe("14/6@5008");
  });

  it("forgets after such a walk what the engine knew of the page, also where less is permitted now", () => {
    const narrowed = paged({ 20480: 0x9000 | URW });
    narrowed.mmu.load(0x5000, 4, USER);
    narrowed.memory.write32(narrowed.pteAddress(TABLE, 0x5000), 0xa000 | RW);
    narrowed.mmu.store(0x5000, 4, 1, READ);
    narrowed.mmu.load(0x5000, 4, USER);
    expect(narrowed.takeFault()).toBe("14/5@5000");

    const large = new Bench({ ramBytes: 0xc00000 });
    large.memory.write32(ROOT + 4 * 4, 0x00400000 | 0x87);
    large.memory.write32(0x00805000, 77);
    large.pagingOn(ROOT);
    expect(large.mmu.load(0x01005000, 4, USER)).toBe(0);
    large.memory.write32(ROOT + 4 * 4, 0x00800000 | 0x87);
    large.mmu.store(0x01000000, 4, 1, USER);
    expect(large.mmu.load(0x01005000, 4, USER)).toBe(77);
  });

  it("keeps using a cached translation until it is flushed", () => {
    const bench = paged({ 20480: 0x9000 | 0x67 });
    bench.mmu.store(0x5000, 4, 5, USER);
    bench.memory.write32(bench.pteAddress(TABLE, 0x5000), 0);
    expect(bench.mmu.load(0x5000, 4, USER)).toBe(5);
    bench.mmu.flushPage(0x5fff);
    expect(bench.mmu.load(0x5000, 4, USER)).toBe(0);
    expect(bench.takeFault()).toBe("14/4@5000");
    expect(bench.mmu.counters()["tlb.flushes.page"]).toBe(1);
  });

  it("gives the error code of every kind of fault, and the address of the byte that faulted", () => {
    const bench = paged({ 20480: 0x9000 | P, 24576: 0x9000 | RW, 28672: 0 });
    const fault = (linear: number, access: number): string => {
      if ((access & WRITE) !== 0) bench.mmu.store(linear, 4, 1, access & ~WRITE);
      else bench.mmu.load(linear, 4, access);
      return bench.takeFault();
    };
    expect(fault(0x7010, READ)).toBe("14/0@7010");
    expect(fault(0x7010, WRITE)).toBe("14/2@7010");
    expect(fault(0x7010, USER)).toBe("14/4@7010");
    expect(fault(0x5010, WRITE)).toBe("14/3@5010");
    expect(fault(0x5010, USER)).toBe("14/5@5010");
    expect(fault(0x6010, USER | WRITE)).toBe("14/7@6010");
    bench.memory.write32(ROOT + 4, 0x00202087 | (1 << 21));
    expect(fault(0x400010, WRITE)).toBe("14/11@400010");
    expect(bench.mmu.fetch(0x7010, true)).toBe(-1);
    expect(bench.takeFault()).toBe("14/4@7010");
    expect(bench.mmu.fetch(0x5010, true)).toBe(-1);
    expect(bench.takeFault()).toBe("14/5@5010");
  });

  it("lets the supervisor write read-only pages exactly while CR0.WP is clear", () => {
    const bench = paged({ 20480: 0x9000 | 5 }, { cr0: CR0.PE | CR0.PG });
    bench.mmu.store(0x5000, 4, 1, READ);
    bench.mmu.store(0x5004, 4, 2, READ);
    expect(bench.memory.read32(0x9004)).toBe(2);
    bench.mmu.store(0x5004, 4, 3, USER);
    expect(bench.takeFault()).toBe("14/7@5004");
    bench.mmu.store(0x5004, 4, 4, READ);
    bench.state.set(CELL.cr0, bench.state.cr0 | CR0.WP);
    bench.mmu.pagingChanged();
    bench.mmu.store(0x5004, 4, 5, READ);
    expect(bench.takeFault()).toBe("14/3@5004");
    expect(bench.memory.read32(0x9004)).toBe(4);
  });

  it("drops the entry that a fault used, so that the next access sees repaired tables without a flush", () => {
    const bench = paged({ 20480: 0x9000 | 5 });
    bench.mmu.load(0x5000, 4, USER);
    bench.memory.write32(bench.pteAddress(TABLE, 0x5000), 0x9000 | URW);
    bench.mmu.store(0x5000, 4, 1, USER);
    expect(bench.takeFault()).toBe("14/7@5000");
    bench.mmu.store(0x5000, 4, 1, USER);
    expect(bench.takeFault()).toBe("");
  });

  it("keeps global entries over a MOV CR3 flush only with CR4.PGE, and INVLPG drops them", () => {
    const global = { 20480: 0x9000 | 0x167, 24576: 0xa000 | 0x67 };
    const misses = (bench: Bench): number => bench.mmu.counters()["tlb.data.misses"] as number;
    const touch = (bench: Bench): number => {
      const before = misses(bench);
      bench.mmu.load(0x5000, 4, READ);
      bench.mmu.load(0x6000, 4, READ);
      return misses(bench) - before;
    };
    const on = paged(global);
    expect(touch(on)).toBe(2);
    on.mmu.flushTlb(FLUSH.NON_GLOBAL);
    expect(touch(on)).toBe(1);
    on.mmu.flushPage(0x5000);
    expect(touch(on)).toBe(1);
    on.mmu.flushTlb(FLUSH.ALL);
    expect(touch(on)).toBe(2);
    expect(on.mmu.counters()).toMatchObject({ "tlb.flushes.non-global": 1, "tlb.flushes.page": 1 });
    const off = paged(global, { cr4: CR4.PSE });
    touch(off);
    off.mmu.flushTlb(FLUSH.NON_GLOBAL);
    expect(touch(off)).toBe(2);
  });

  it("maps 4 MB pages with one reference, and INVLPG anywhere in one drops all of it", () => {
    const bench = new Bench({ ramBytes: 0x800000 });
    bench.memory.write32(ROOT + 4 * 4, 0x00400000 | 0xe7);
    bench.pagingOn(ROOT);
    bench.memory.write32(0x00712344, 99);
    bench.memory.write32(0x00400000, 98);
    expect(bench.mmu.load(0x01312344, 4, USER)).toBe(99);
    expect(bench.mmu.load(0x01000000, 4, USER)).toBe(98);
    expect(bench.mmu.counters()).toMatchObject({
      "tlb.data.misses": 1,
      "walk.references.pde": 1,
      "walk.references.pte": 0,
    });
    bench.memory.write32(ROOT + 4 * 4, 0);
    expect(bench.mmu.load(0x01000000, 4, USER)).toBe(98);
    bench.mmu.flushPage(0x013fffff);
    bench.mmu.load(0x01000000, 4, USER);
    expect(bench.takeFault()).toBe("14/4@1000000");
  });

  it("reaches beyond 4 GB with PSE-36 only where the profile has it", () => {
    const pde = 0x00400087 | (0xf << 13);
    const bench = new Bench();
    bench.memory.write32(ROOT, pde);
    bench.pagingOn(ROOT);
    expect(bench.mmu.load(0x10, 4, READ)).toBe(busPattern(0xf00400010, 4) | 0);
    const without = new Bench({ profile: testProfile({ pse36: false }) });
    without.memory.write32(ROOT, pde);
    without.pagingOn(ROOT);
    without.mmu.load(0x10, 4, READ);
    expect(without.takeFault()).toBe("14/9@10");
  });

  it("sends pages beyond RAM to the bus each time, and misses once", () => {
    const bench = paged({ 20480: 0xfee00000 | RW });
    for (let i = 0; i < 3; i++) expect(bench.mmu.load(0x5020, 4, READ)).toBe(busPattern(0xfee00020, 4) | 0);
    expect(bench.bus.accesses.length).toBe(3);
    expect(bench.mmu.counters()["tlb.data.misses"]).toBe(1);
  });

  it("has separate instruction and data TLBs", () => {
    const bench = paged({ 20480: 0x9000 | URW });
    expect(bench.mmu.fetch(0x5123, true)).toBe(0x9123);
    expect(bench.mmu.fetch(0x5fff, true)).toBe(0x9fff);
    bench.mmu.load(0x5000, 4, USER);
    expect(bench.mmu.counters()).toMatchObject({
      "tlb.instruction.misses": 1,
      "tlb.data.misses": 1,
      "walk.count.instruction": 1,
      "walk.count.data": 1,
    });
    bench.memory.write32(bench.pteAddress(TABLE, 0x5000), 0xa000 | URW);
    expect(bench.mmu.fetch(0x5123, true)).toBe(0x9123);
    bench.mmu.flushPage(0x5000);
    expect(bench.mmu.fetch(0x5123, true)).toBe(0xa123);
  });

  it("charges a second-level hit and no walk", () => {
    const small = { entries: 2, ways: 2, replacement: "fifo" } as const;
    const data = { small, secondSmall: { entries: 8, ways: 4, replacement: "fifo" } as const, source: "test" };
    const bench = new Bench({ profile: testProfile({ data }) });
    for (let page = 5; page < 8; page++) bench.map(ROOT, TABLE, page << 12, (page << 12) | 0x67);
    bench.pagingOn(ROOT);
    for (let page = 5; page < 8; page++) bench.mmu.load(page << 12, 4, READ);
    const walked = bench.cycles("walk");
    bench.mmu.load(0x5000, 4, READ);
    expect(bench.cycles("walk") - walked).toBe(2);
    expect(bench.mmu.counters()).toMatchObject({ "tlb.data.misses": 3, "tlb.data.second-level-hits": 1 });
  });

  it("tells whoever itemises costs each of them by name", () => {
    const bench = paged({ 20480: 0x9000 | URW, 24576: 0xa000 | 0x67 });
    const costs: string[] = [];
    bench.ledger.onCharge = (_account, ticks, cost) => costs.push(`${cost} ${ticks / 12}`);
    bench.mmu.load(0x5ffe, 4, READ);
    expect(costs).toEqual([
      "walkStart 5",
      "walkReference 3",
      "walkReference 3",
      "walkUpdate 20",
      "walkStart 5",
      "walkReference 3",
      "walkReference 3",
      "pageCross 10",
    ]);
  });

  describe("under PAE", () => {
    /** Linear 40000000h to 401FFFFFh: one 2 MB page at `address`; tables at ROOT. */
    function large(address: number, flags = 0xe7, efer = 0): Bench {
      const bench = new Bench();
      bench.memory.write32(ROOT, ((address % 2 ** 32) | flags) >>> 0);
      bench.memory.write32(ROOT + 4, Math.floor(address / 2 ** 32));
      bench.state.set(CELL.pdpte0 + 2, ROOT | 1);
      bench.state.set(CELL.efer, efer);
      bench.pagingOn(0, { cr4: CR4.PAE });
      return bench;
    }

    it("maps 2 MB pages with one reference and one TLB entry, and INVLPG anywhere in one drops all of it", () => {
      const bench = large(0);
      bench.memory.write32(0x9ffc, 0x12345678);
      expect(bench.mmu.load(0x40009ffc, 4, READ)).toBe(0x12345678);
      expect(bench.mmu.translate(0x401ffffc, READ)).toBe(0x1ffffc);
      expect(bench.mmu.counters()).toMatchObject({ "tlb.data.misses": 1, "walk.references.pde": 1 });
      bench.memory.write32(ROOT, 0);
      bench.mmu.flushPage(0x40100000);
      expect([bench.mmu.translate(0x40009ffc, READ), bench.takeFault()]).toEqual([-1, "14/0@40009ffc"]);
    });

    it("sends frames beyond 4 GB to the bus with their whole address", () => {
      const bench = large(0xf_ffe00000);
      bench.mmu.load(0x40001238, 4, READ);
      bench.mmu.store(0x40001239, 1, 0x5a, READ);
      expect(bench.bus.accesses.map(({ kind, address }) => [kind, address])).toEqual([
        ["read", 0xf_ffe01238],
        ["write", 0xf_ffe01239],
      ]);
      expect(bench.mmu.fetch(0x40000010, false)).toBe(0xf_ffe00010);
    });

    it("finds a pointer entry that is not present in the registers, not in memory", () => {
      const bench = large(0);
      expect([bench.mmu.translate(0x123, WRITE), bench.takeFault()]).toEqual([-1, "14/2@123"]);
      bench.state.set(CELL.pdpte0, ROOT | 1);
      expect(bench.mmu.translate(0x123, WRITE)).toBe(0x123);
      expect(bench.memory.references[REASON.pdpte]).toBe(0);
    });

    it("denies fetches by XD with NXE, and calls it reserved without", () => {
      const bench = large(2 ** 63, 0xe7, EFER.NXE);
      expect([bench.mmu.fetch(0x40000000, false), bench.takeFault()]).toEqual([-1, "14/17@40000000"]);
      expect([bench.mmu.fetch(0x40000000, true), bench.takeFault()]).toEqual([-1, "14/21@40000000"]);
      expect(bench.mmu.translate(0x40000000, USER)).toBe(0);
      bench.state.set(CELL.efer, 0);
      bench.mmu.flushTlb(FLUSH.ALL);
      expect([bench.mmu.fetch(0x40000000, false), bench.takeFault()]).toEqual([-1, "14/9@40000000"]);
      expect([bench.mmu.translate(0x40000000, WRITE), bench.takeFault()]).toEqual([-1, "14/11@40000000"]);
    });

    it("has the profile's own TLB for 2 MB pages, where that differs from the one for 4 MB pages", () => {
      const structure = (entries: number) => ({ entries, ways: entries, replacement: "fifo" }) as const;
      const data = { small: structure(4), large: structure(1), large2M: structure(2), source: "test" };
      const bench = new Bench({ profile: testProfile({ data }) });
      const misses = (first: number, second: number): number => {
        const before = bench.mmu.counters()["tlb.data.misses"] as number;
        for (let n = 0; n < 3; n++) for (const linear of [first, second]) bench.mmu.translate(linear, READ);
        return (bench.mmu.counters()["tlb.data.misses"] as number) - before;
      };
      for (const at of [0, 4, 8]) bench.memory.write32(ROOT + at, at === 4 ? 0x4000e7 : 0xe7);
      bench.pagingOn(ROOT);
      expect(misses(0, 0x400000)).toBe(6);
      bench.memory.write32(ROOT + 4, 0);
      bench.state.set(CELL.pdpte0, ROOT | 1);
      bench.pagingOn(0, { cr4: CR4.PAE });
      expect(misses(0, 0x200000)).toBe(2);
    });
  });

  it("counts references to descriptor tables", () => {
    const bench = paged({ 20480: 0x9000 | 0x67 });
    for (let i = 0; i < 2; i++) bench.mmu.load64(0x5008, DESCRIPTOR, CELL_PAIR);
    bench.mmu.load(0x5010, 4, DESCRIPTOR);
    bench.mmu.load(0x5010, 4, READ);
    expect(bench.memory.references[REASON.descriptor]).toBe(3);
  });
});

describe("accesses that cross a page", () => {
  it("read and write both pages, charge pageCross, and wrap at 4 GB", () => {
    const bench = paged({ 20480: 0xa000 | 0x67, 24576: 0x9000 | 0x67 });
    bench.mmu.store(0x5ffd, 4, 0x44332211, READ);
    expect(bench.memory.copyOut(0xaffd, 3)).toEqual(Uint8Array.of(0x11, 0x22, 0x33));
    expect(bench.memory.read8(0x9000)).toBe(0x44);
    expect(bench.mmu.load(0x5ffd, 4, READ)).toBe(0x44332211);
    expect(bench.mmu.load(0x5fff, 2, READ)).toBe(0x4433);
    expect(bench.cycles("instructions")).toBe(30);
    bench.mmu.load(0x5ffc, 4, READ);
    expect(bench.cycles("instructions")).toBe(30);

    bench.memory.write32(ROOT + 1023 * 4, 0x3067);
    bench.memory.write32(0x3000 + 1023 * 4, 0xb067);
    bench.map(ROOT, TABLE, 0, 0xc067);
    bench.mmu.store(0xfffffffe, 4, 0x55667788, READ);
    expect([bench.memory.read16(0xbffe), bench.memory.read16(0xc000)]).toEqual([0x7788, 0x5566]);
  });

  it("leave the first page untouched when the second faults", () => {
    const bench = paged({ 20480: 0x9000 | URW, 24576: 0xa000 | 5 });
    bench.mmu.store(0x5ffe, 4, -1, USER);
    expect(bench.takeFault()).toBe("14/7@6000");
    expect(bench.memory.read32(0x9ffc)).toBe(0);
    bench.state.setNumber(CELL_PAIR, 0x123456789ab);
    bench.mmu.store64(0x5ffc, USER, CELL_PAIR);
    expect(bench.takeFault()).toBe("14/7@6000");
    expect(bench.memory.read32(0x9ffc)).toBe(0);
    expect(bench.cycles("instructions")).toBe(0);
    bench.memory.write32(bench.pteAddress(TABLE, 0x6000), 0);
    bench.mmu.flushPage(0x6000);
    bench.mmu.load64(0x5ffc, USER, CELL_PAIR);
    expect(bench.takeFault()).toBe("14/4@6000");
    expect(bench.state.getNumber(CELL_PAIR)).toBe(0x123456789ab);
  });

  it("move 64 bits at any alignment", () => {
    const bench = paged({ 20480: 0x9000 | URW, 24576: 0xb000 | URW });
    for (const linear of [0x5100, 0x5103, 0x5ff9, 0x5ffc, 0x5fff]) {
      bench.state.setNumber(CELL_PAIR, 0x1122334455667 + linear);
      bench.mmu.store64(linear, USER, CELL_PAIR);
      bench.state.setNumber(CELL_PAIR, 0);
      bench.mmu.load64(linear, USER, CELL_PAIR);
      expect(bench.state.getNumber(CELL_PAIR)).toBe(0x1122334455667 + linear);
    }
  });

  it("can be probed over any number of pages, without touching data", () => {
    const bench = paged({ 20480: 0x9000 | URW, 24576: 0xa000 | URW, 28672: 0xb000 | 5 });
    bench.mmu.probe(0x5ff0, 0x1010, USER | WRITE);
    expect(bench.takeFault()).toBe("");
    expect(bench.memory.read32(bench.pteAddress(TABLE, 0x6000)) & 0x60).toBe(0x60);
    bench.mmu.probe(0x5ff0, 0x1011, USER | WRITE);
    expect(bench.takeFault()).toBe("14/7@7000");
    expect(bench.cycles("instructions")).toBe(0);
  });
});

describe("alignment check", () => {
  const strict = (): Bench => {
    const bench = paged({ 20480: 0x9000 | 0x67 }, { cr0: CR0.PE | CR0.PG | CR0.WP | CR0.AM });
    bench.state.flags = FLAG.ONE | FLAG.AC;
    return bench;
  };

  it("faults unaligned user accesses with error code 0, on the fast path too", () => {
    const bench = strict();
    for (const [linear, bytes] of [
      [0x5001, 2],
      [0x5002, 4],
    ] as const) {
      bench.mmu.load(linear, bytes, USER);
      expect(bench.takeFault()).toBe("17/0");
      bench.mmu.store(linear, bytes, -1, USER);
      expect(bench.takeFault()).toBe("17/0");
      bench.mmu.probe(linear, bytes, USER);
      expect(bench.takeFault()).toBe("17/0");
    }
    bench.mmu.load64(0x5004, USER, CELL_PAIR);
    expect(bench.takeFault()).toBe("17/0");
    expect(bench.memory.read32(0x9000)).toBe(0);
  });

  it("leaves aligned, supervisor and unchecked accesses alone", () => {
    const bench = strict();
    bench.mmu.load(0x5004, 4, USER);
    bench.mmu.load(0x5003, 1, USER);
    bench.mmu.load(0x5001, 4, READ);
    bench.mmu.load64(0x5008, USER, CELL_PAIR);
    expect(bench.takeFault()).toBe("");
    bench.state.flags = FLAG.ONE;
    bench.mmu.load(0x5001, 4, USER);
    expect(bench.takeFault()).toBe("");
    bench.state.flags = FLAG.ONE | FLAG.AC;
    bench.state.set(CELL.cr0, CR0.PE | CR0.PG | CR0.WP);
    bench.mmu.load(0x5001, 4, USER);
    expect(bench.takeFault()).toBe("");
  });

  it("comes after a page fault of the same access", () => {
    const bench = strict();
    bench.mmu.load(0x6001, 4, USER);
    expect(bench.takeFault()).toBe("14/4@6001");
  });
});

describe("writes to code", () => {
  it("are told from every path: fast, unaligned, crossing, 64-bit, and A and D updates", () => {
    const bench = paged({ 20480: 0x9000 | 0x67, 24576: 0xa000 | 0x67, 28672: 0xb000 | URW });
    const told: string[] = [];
    bench.memory.onCodeWrite = (address, bytes) => told.push(`${address.toString(16)} ${bytes}`);
    bench.mmu.store(0x5000, 4, 1, READ);
    bench.memory.codeGranules[0x9040 >> 6] = 1;
    bench.memory.codeGranules[0xa000 >> 6] = 1;
    bench.memory.codeGranules[bench.pteAddress(TABLE, 0x7000) >> 6] = 1;
    bench.mmu.store(0x503c, 4, 1, READ);
    bench.mmu.store(0x5080, 4, 1, READ);
    expect(told).toEqual([]);
    bench.mmu.store(0x5044, 4, 1, READ);
    bench.mmu.store(0x503f, 4, 1, READ);
    bench.mmu.store(0x5ffe, 4, 1, READ);
    bench.mmu.store64(0x5078, READ, CELL_PAIR);
    bench.mmu.load(0x7000, 4, READ);
    expect(told).toEqual(["9044 4", "903f 4", "a000 1", "a001 1", "9078 8", "201c 4"]);
  });
});

import { describe, expect, it } from "vitest";
import { TLB_ATTRIBUTE, Tlb, type TlbStructures } from "../../sim/memory/tlb.ts";

const fifo = (entries: number, ways = entries) => ({ entries, ways, replacement: "fifo" }) as const;
const PAGE = 0x1000;
const LARGE = 0x400000;

function make(structures: TlbStructures, seed = 1): { tlb: Tlb; evicted: string[] } {
  const evicted: string[] = [];
  return {
    tlb: new Tlb(structures, seed, (number, shift) => evicted.push(`${number.toString(16)}:${shift}`)),
    evicted,
  };
}

/** Numbers of the small pages (of the first `pages`) that hit. */
function present(tlb: Tlb, pages: number): number[] {
  return Array.from({ length: pages }, (_, page) => page).filter((page) => tlb.lookup(page * PAGE) >= 0);
}

describe("modelled TLB", () => {
  it("replaces first in, first out, and a hit changes nothing", () => {
    const { tlb, evicted } = make({ small: fifo(4) });
    for (let page = 0; page < 4; page++) tlb.insert(page * PAGE, 12, page * PAGE, 0);
    tlb.lookup(0);
    tlb.insert(4 * PAGE, 12, 0, 0);
    expect(present(tlb, 6)).toEqual([1, 2, 3, 4]);
    tlb.insert(5 * PAGE, 12, 0, 0);
    expect(present(tlb, 6)).toEqual([2, 3, 4, 5]);
    expect(evicted).toEqual(["0:12", "1:12"]);
  });

  it("replaces within the set that the page number selects", () => {
    const { tlb } = make({ small: fifo(8, 2) });
    for (const page of [0, 4, 8, 1]) tlb.insert(page * PAGE, 12, 0, 0);
    expect(present(tlb, 9)).toEqual([1, 4, 8]);
  });

  it("replaces pseudo-randomly in a sequence that the seed fixes", () => {
    const victims = (seed: number): number[] => {
      const { tlb } = make({ small: { entries: 8, ways: 8, replacement: "random" } }, seed);
      for (let page = 0; page < 40; page++) tlb.insert(page * PAGE, 12, 0, 0);
      return present(tlb, 40);
    };
    expect(victims(5)).toEqual(victims(5));
    expect(victims(5)).not.toEqual(victims(6));
    expect(victims(5)).not.toEqual([32, 33, 34, 35, 36, 37, 38, 39]);
    expect(victims(0).length).toBe(8);
  });

  it("lets large pages share the entries when the profile gives them none of their own", () => {
    const { tlb } = make({ small: fifo(2) });
    tlb.insert(5 * LARGE + 0x1234, 22, 7 * LARGE, 0);
    tlb.insert(PAGE, 12, 0, 0);
    const entry = tlb.lookup(5 * LARGE + 0x3fffff);
    expect(tlb.bases[entry]).toBe(7 * LARGE);
    expect(tlb.shifts[entry]).toBe(22);
    tlb.insert(2 * PAGE, 12, 0, 0);
    expect(tlb.lookup(5 * LARGE)).toBe(-1);
  });

  it("keeps large pages apart where they have a structure of their own", () => {
    const { tlb } = make({ small: fifo(2), large: fifo(1) });
    tlb.insert(LARGE, 22, 0, 0);
    for (let page = 0; page < 5; page++) tlb.insert(page * PAGE, 12, 0, 0);
    expect(tlb.lookup(LARGE)).toBeGreaterThanOrEqual(0);
    tlb.insert(2 * LARGE, 22, 0, 0);
    expect(tlb.lookup(LARGE)).toBe(-1);
    expect(present(tlb, 5)).toEqual([3, 4]);
  });

  it("finds in the second level what the first has lost, and moves it up", () => {
    const { tlb, evicted } = make({ small: fifo(2), secondSmall: fifo(8, 4) });
    for (let page = 0; page < 4; page++) tlb.insert(page * PAGE, 12, page * 2 * PAGE, TLB_ATTRIBUTE.USER);
    evicted.length = 0;
    expect(tlb.lookup(0)).toBe(-1);
    const entry = tlb.promote(0);
    expect(tlb.lookup(0)).toBe(entry);
    expect([tlb.bases[entry], tlb.attributes[entry]]).toEqual([0, TLB_ATTRIBUTE.USER]);
    expect(evicted).toEqual(["2:12"]);
    expect(tlb.promote(9 * PAGE)).toBe(-1);
  });

  it("writes a page that is cached already in place, in both levels", () => {
    const { tlb } = make({ small: fifo(2), secondSmall: fifo(4) });
    tlb.insert(0, 12, 0, 0);
    tlb.insert(PAGE, 12, 0, 0);
    tlb.insert(0, 12, 0x9000, TLB_ATTRIBUTE.DIRTY);
    expect(present(tlb, 2)).toEqual([0, 1]);
    tlb.insert(2 * PAGE, 12, 0, 0);
    expect(tlb.lookup(0)).toBe(-1);
    const entry = tlb.promote(0);
    expect([tlb.bases[entry], tlb.attributes[entry]]).toEqual([0x9000, TLB_ATTRIBUTE.DIRTY]);
  });

  it("flushes non-global entries, or all", () => {
    const { tlb } = make({ small: fifo(4), secondSmall: fifo(4) });
    tlb.insert(0, 12, 0, TLB_ATTRIBUTE.GLOBAL);
    tlb.insert(PAGE, 12, 0, 0);
    tlb.flushNonGlobal();
    expect(present(tlb, 2)).toEqual([0]);
    expect(tlb.promote(PAGE)).toBe(-1);
    tlb.flushAll();
    expect(present(tlb, 2)).toEqual([]);
    expect(tlb.promote(0)).toBe(-1);
  });

  it("flushes a page of any size, global or not, in both levels, and tells of the first", () => {
    const { tlb, evicted } = make({ small: fifo(4), large: fifo(2), secondSmall: fifo(4) });
    tlb.insert(LARGE, 22, 0, TLB_ATTRIBUTE.GLOBAL);
    tlb.insert(PAGE, 12, 0, TLB_ATTRIBUTE.GLOBAL);
    tlb.insert(2 * PAGE, 12, 0, 0);
    tlb.flushPage(LARGE + 0x12345);
    tlb.flushPage(PAGE + 5);
    expect(tlb.lookup(LARGE)).toBe(-1);
    expect(present(tlb, 4)).toEqual([2]);
    expect(tlb.promote(PAGE)).toBe(-1);
    expect(evicted).toEqual(["1:22", "1:12"]);
  });

  it("fills an invalid way before it replaces a valid one", () => {
    const { tlb, evicted } = make({ small: fifo(3) });
    for (let page = 0; page < 3; page++) tlb.insert(page * PAGE, 12, 0, 0);
    tlb.flushPage(PAGE);
    evicted.length = 0;
    tlb.insert(3 * PAGE, 12, 0, 0);
    expect(evicted).toEqual([]);
    tlb.insert(4 * PAGE, 12, 0, 0);
    expect(evicted).toEqual(["0:12"]);
  });

  it("keeps address spaces apart by tag", () => {
    const { tlb } = make({ small: fifo(4) });
    tlb.insert(0, 12, 0x5000, 0);
    tlb.currentTag = 1;
    expect(tlb.lookup(0)).toBe(-1);
    tlb.insert(0, 12, 0x6000, 0);
    tlb.flushPage(0);
    tlb.currentTag = 0;
    expect(tlb.bases[tlb.lookup(0)]).toBe(0x5000);
  });

  it("continues after save and restore as if nothing had happened", () => {
    const structures: TlbStructures = {
      small: { entries: 4, ways: 2, replacement: "random" },
      secondSmall: fifo(8, 2),
    };
    const one = make(structures, 3).tlb;
    for (let page = 0; page < 20; page++) one.insert(page * PAGE, 12, page, 0);
    const two = make(structures, 99).tlb;
    two.restore(JSON.parse(JSON.stringify(one.save())));
    for (const tlb of [one, two]) for (let page = 30; page < 50; page++) tlb.insert(page * PAGE, 12, page, 0);
    expect(two.save()).toEqual(one.save());
    expect(present(two, 50)).toEqual(present(one, 50));
  });

  it("refuses a geometry that has no whole sets", () => {
    expect(() => make({ small: fifo(6, 4) })).toThrow("6 entries cannot have 4 ways");
  });
});

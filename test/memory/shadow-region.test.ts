/** Shadow tables for a monitor that lives in the guest's linear space: its region, watched pages, lost translations. */
import { beforeEach, describe, expect, it } from "vitest";
import { REGION_BASE } from "../../sim/memory/shadow-host.ts";
import { A, D, DeprivilegedGuest, P, PS, U, W } from "./shadow-fixtures.ts";

const DIRECTORY = 1;
const OTHER = 2;
const TABLE = 4;
const DATA = 9;
const CR3 = DIRECTORY * 4096;
const to = (guestPage: number, flags: number): number => (guestPage << 12) | flags;

let guest: DeprivilegedGuest;
let lost: [linear: number, bytes: number][];
let written: [address: number, bytes: number][];

class Recording extends DeprivilegedGuest {
  override lost(linear: number, bytes: number): void {
    lost.push([linear, bytes]);
    super.lost(linear, bytes);
  }
  override watchedWrite(address: Parameters<DeprivilegedGuest["watchedWrite"]>[0], bytes: number): void {
    written.push([address, bytes]);
    super.watchedWrite(address, bytes);
  }
}

/** Linear 0 is DATA, by TABLE; the tables appear at linear 0x400000, and at the top, in the monitor's region. */
beforeEach(() => {
  guest = new Recording();
  guest.entry(DIRECTORY, 0, to(TABLE, P | W | U));
  guest.entry(DIRECTORY, 1, to(0, P | W | PS));
  guest.entry(DIRECTORY, 1023, to(0, P | W | PS));
  guest.entry(TABLE, 0, to(DATA, P | W | U));
  guest.activate({ paging: true, cr3: CR3 });
  lost = [];
  written = [];
});

const faultsOf = (body: () => void): string[] => {
  guest.faults.length = 0;
  body();
  expect(guest.shadow.verify()).toEqual([]);
  expect(guest.problems()).toEqual([]);
  return [...guest.faults];
};
const ram = (guestPage: number, offset = 0) => ({ kind: "ram", frame: guest.pmap[guestPage], offset });

describe("the monitor's region", () => {
  it("is in every root, with paging off too, and costs a fill in each", () => {
    for (const change of [{ cr3: OTHER * 4096 }, { paging: false }, { paging: true, cr3: 3 * 4096 }]) {
      const { fill } = guest.steps;
      guest.activate(change);
      expect(guest.steps.fill).toBe((fill as number) + 1);
      expect(guest.problems()).toEqual([]);
      expect(guest.shadow.verify()).toEqual([]);
    }
  });

  it("is under the last PAE pointer, present or not, and under no other that shares its directory", () => {
    const pdptes = [DIRECTORY, DIRECTORY, OTHER, DIRECTORY].map((page) => [to(page, P), 0] as const);
    guest.activate({ pae: { nxe: false, pdptes } });
    expect(faultsOf(() => guest.access(0x3fe00000))).toEqual(["guest"]);
    guest.activate({ pae: { nxe: false, pdptes: [...pdptes.slice(0, 3), [0, 0]] } });
    expect(faultsOf(() => guest.access(REGION_BASE))).toEqual(["guest"]);
    expect(faultsOf(() => guest.access(0xc0000000))).toEqual(["guest"]);
    expect(guest.shadow.counters()["shadow.roots"]).toBe(5);
  });

  it("hides what the guest has there, which is for the emulator, with A, D and the guest's own faults", () => {
    const page = REGION_BASE + DATA * 4096;
    expect(faultsOf(() => expect(guest.access(page + 8)).toEqual(ram(DATA, 8)))).toEqual(["region"]);
    expect(guest.peek(CR3 + 4092) & (A | D)).toBe(A);
    expect(faultsOf(() => guest.store(page, 1, 4))).toEqual(["region"]);
    expect(guest.peek(CR3 + 4092) & (A | D)).toBe(A | D);
    expect(guest.access(page, { user: true })).toEqual({ kind: "fault", errorCode: 5 });
    expect(guest.shadow.counters()["fault.region"]).toBe(2);
  });

  it("a store of the guest to the entry that would map it, and to its tables through it, is the guest's own business", () => {
    guest.access(0);
    expect(faultsOf(() => guest.store(0x400000 + CR3 + 4092, to(TABLE, P | W | A), 4))).toEqual(["traced-write"]);
    guest.dma(CR3 + 4092, to(0, P | W | PS | A | D), 4);
    expect(faultsOf(() => guest.store(REGION_BASE + TABLE * 4096, 0, 4))).toEqual(["region"]);
    expect(guest.access(0)).toEqual({ kind: "fault", errorCode: 0 });
  });

  it("begins where it says: the page before it is the guest's", () => {
    guest.entry(DIRECTORY, 1022, to(TABLE, P | W));
    guest.entry(TABLE, 1023, to(DATA, P | W));
    expect(faultsOf(() => guest.access(REGION_BASE - 1))).toEqual(["hidden"]);
  });
});

describe("watched pages", () => {
  it("are not writable for the guest, and every store is heard, however it is made", () => {
    guest.access(0, { write: true });
    guest.shadow.watch(DATA);
    expect(lost).toEqual([[0, 4096]]);
    expect(faultsOf(() => guest.access(0))).toEqual([]);
    guest.shadow.unwatch(DATA);
    guest.watch(DATA);
    expect(faultsOf(() => guest.store(4, 7, 4))).toEqual(["traced-write"]);
    guest.dma(DATA * 4096 - 2, 7, 4);
    expect(written).toEqual([
      [DATA * 4096 + 4, 4],
      [DATA * 4096, 2],
    ]);
  });

  it("are writable again, by a hidden fault, when the last watcher has gone", () => {
    guest.watch(DATA);
    guest.watch(DATA);
    guest.unwatch(DATA);
    expect(faultsOf(() => guest.store(0, 7, 4))).toEqual(["traced-write"]);
    guest.unwatch(DATA);
    expect(faultsOf(() => guest.store(0, 7, 4))).toEqual(["hidden"]);
    expect(() => guest.shadow.unwatch(DATA)).toThrow("guest page 0x9 is not watched");
  });

  it("that are tables remain traced, and tables that are watched no less watched", () => {
    guest.watch(TABLE);
    const { trace } = guest.steps;
    guest.access(0);
    // A of the entry that maps DATA is a write too. The directory begins to be traced, the table was watched already.
    expect(written).toEqual([[TABLE * 4096, 4]]);
    expect(guest.steps.trace).toBe(trace);
    expect(faultsOf(() => guest.store(0x400000 + TABLE * 4096, 0, 4))).toEqual(["traced-write"]);
    expect(guest.access(0)).toEqual({ kind: "fault", errorCode: 0 });
    guest.unwatch(TABLE);
    expect(faultsOf(() => guest.store(0x400000 + TABLE * 4096, to(DATA, P), 4))).toEqual(["traced-write"]);
    guest.watch(TABLE);
    guest.dma(CR3, 0, 4);
    expect(guest.shadow.isTraced(TABLE)).toBe(true);
    expect(faultsOf(() => guest.store(0x400000 + TABLE * 4096, 0, 4))).toEqual(["traced-write"]);
  });

  it("survive a reset of the shadow", () => {
    guest.watch(DATA);
    guest.shadow.reset();
    guest.activate({});
    expect(faultsOf(() => guest.store(0, 7, 4))).toEqual(["traced-write"]);
  });
});

describe("lost translations", () => {
  it("nothing is lost by use: not by the first access, nor by the first write, nor by one user after another", () => {
    guest.access(0);
    guest.access(0, { write: true });
    guest.access(0, { user: true, write: true });
    expect(lost).toEqual([]);
  });

  it("a page that the guest takes away is lost, and a table as a whole", () => {
    guest.access(0);
    guest.dma(TABLE * 4096, 0, 4);
    expect(lost).toEqual([[0, 4096]]);
    guest.dma(CR3, 0, 4);
    expect(lost).toEqual([
      [0, 4096],
      [0, 0x400000],
    ]);
  });

  it("without CR0.WP the user's read of a read-only page takes the supervisor's write away", () => {
    guest.entry(TABLE, 0, to(DATA, P | U));
    guest.activate({ wp: false });
    guest.access(0, { write: true });
    guest.access(0, { user: true });
    expect(lost).toEqual([[0, 4096]]);
  });

  it("of roots that are not active nobody has to hear", () => {
    guest.access(0);
    guest.activate({ cr3: OTHER * 4096 });
    guest.dma(TABLE * 4096, 0, 4);
    expect(lost).toEqual([]);
  });

  it("under PAE paging, execute-disable loses a page at every place at which its directory is", () => {
    guest.entry(DIRECTORY, 1, 0);
    guest.entry(TABLE, 1, 0);
    const pdptes = [DIRECTORY, DIRECTORY, OTHER, OTHER].map((page) => [to(page, P), 0] as const);
    guest.activate({ pae: { nxe: true, pdptes } });
    for (const linear of [0, 2 ** 30]) guest.access(linear, { fetch: true });
    expect(lost).toEqual([]);
    guest.dma(TABLE * 4096 + 4, 1 << 31, 4);
    expect(lost).toEqual([
      [0, 4096],
      [2 ** 30, 4096],
    ]);
    expect(guest.access(0, { fetch: true })).toEqual({ kind: "fault", errorCode: 17 });
  });
});

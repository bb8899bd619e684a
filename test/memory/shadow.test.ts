import { beforeEach, describe, expect, it } from "vitest";
import type { GuestPhysical } from "../../sim/memory/address.ts";
import { Shadow } from "../../sim/memory/shadow.ts";
import { SHADOW_STEPS } from "../../sim/memory/shadow-host.ts";
import { A, D, FakeGuest, P, PS, U, W } from "./shadow-fixtures.ts";

const DIRECTORY = 1;
const OTHER = 2;
const TABLE = 4;
const DATA = 9;
const CR3 = DIRECTORY * 4096;
/** Linear address of page `index` under directory entry 0. */
const page = (index: number): number => index * 4096;
const to = (guestPage: number, flags: number): number => (guestPage << 12) | flags;

let guest: FakeGuest;

/** Directory entry 0 refers to TABLE, whose entry 0 maps DATA; the tables appear at linear 0x400000 (TABLE at +0x4000). */
beforeEach(() => {
  guest = new FakeGuest();
  guest.entry(DIRECTORY, 0, to(TABLE, P | W | U));
  guest.entry(DIRECTORY, 1, to(0, P | W | PS));
  guest.entry(TABLE, 0, to(DATA, P | W | U));
  guest.activate({ paging: true, cr3: CR3 });
});

/** Where TABLE's and DIRECTORY's entries can be stored to. */
const tableEntry = (index: number): number => 0x400000 + TABLE * 4096 + index * 4;
const directoryEntry = (index: number): number => 0x400000 + DIRECTORY * 4096 + index * 4;

/** Faults of the accesses made by `body`, and the shadow verified after it. */
function faultsOf(body: () => void): string[] {
  guest.faults.length = 0;
  body();
  expect(guest.shadow.verify()).toEqual([]);
  return [...guest.faults];
}
const ram = (guestPage: number, offset = 0) => ({ kind: "ram", frame: guest.pmap[guestPage], offset });

describe("faults", () => {
  it("the first use of a page is one hidden fault, later ones none", () => {
    expect(faultsOf(() => expect(guest.access(0x123)).toEqual(ram(DATA, 0x123)))).toEqual(["hidden"]);
    expect(faultsOf(() => guest.access(0x456, { user: true }))).toEqual([]);
  });

  it("the first write of a page that was read is one more hidden fault, and sets D", () => {
    guest.access(0);
    expect(guest.peek(TABLE * 4096) & (A | D)).toBe(A);
    expect(guest.peek(DIRECTORY * 4096) & (A | D)).toBe(A);
    expect(faultsOf(() => guest.access(0, { write: true }))).toEqual(["hidden"]);
    expect(guest.peek(TABLE * 4096) & (A | D)).toBe(A | D);
    expect(faultsOf(() => guest.access(0, { write: true }))).toEqual([]);
  });

  it("a write first needs one fault in all", () => {
    expect(faultsOf(() => guest.store(8, 0x1234, 4))).toEqual(["hidden"]);
    expect(guest.peek(DATA * 4096 + 8)).toBe(0x1234);
  });

  it.each([
    ["a page that is not present", 0, { user: true }, 4],
    ["a user write to a read-only page", P | U, { user: true, write: true }, 7],
    ["a supervisor write to a read-only page", P | U, { write: true }, 3],
    ["a user read of a supervisor page", P | W, { user: true }, 5],
  ])("%s is the guest's fault, with its error code and without A", (_, flags, access, errorCode) => {
    guest.entry(TABLE, 0, to(DATA, flags));
    expect(faultsOf(() => expect(guest.access(0, access)).toEqual({ kind: "fault", errorCode }))).toEqual(["guest"]);
    expect(guest.peek(TABLE * 4096) & A).toBe(0);
    // Even when other accesses have filled the shadow.
    guest.access(0);
    expect(guest.access(0, access)).toEqual({ kind: "fault", errorCode });
  });

  it("a reserved bit in a large entry is the guest's fault, with RSVD", () => {
    guest.entry(DIRECTORY, 0, P | W | U | PS | (1 << 21));
    expect(guest.access(0, { write: true })).toEqual({ kind: "fault", errorCode: 1 | 2 | 8 });
  });

  it("a page outside RAM is a device at its guest-physical address, and is never mapped", () => {
    guest.entry(TABLE, 0, to(0xfee00, P | W));
    for (let i = 0; i < 2; i++) {
      expect(
        faultsOf(() => expect(guest.access(0x300, { write: true })).toEqual({ kind: "device", address: 0xfee00300 })),
      ).toEqual(["device"]);
    }
    expect(guest.peek(TABLE * 4096) & (A | D)).toBe(A | D);
  });

  it("PSE-36 addresses reach beyond 4 GB", () => {
    guest.entry(DIRECTORY, 0, P | PS | (3 << 13));
    expect(guest.access(0x1234)).toEqual({ kind: "device", address: 3 * 2 ** 32 + 0x1234 });
  });
});

describe("traced tables", () => {
  it("a store to a table in use is a traced write, others are not", () => {
    guest.access(0);
    expect(guest.shadow.isTraced(TABLE)).toBe(true);
    expect(guest.shadow.isTraced(DIRECTORY)).toBe(true);
    expect(guest.shadow.isTraced(DATA)).toBe(false);
    expect(faultsOf(() => guest.store(tableEntry(9), to(DATA, P), 4))).toEqual(["traced-write"]);
  });

  it("a table that is mapped writable when it comes into use becomes read-only everywhere", () => {
    guest.entry(TABLE, 1, to(5, P | W));
    guest.entry(TABLE, 2, to(5, P | W));
    guest.entry(5, 3, to(DATA, P | W));
    for (const address of [page(1), page(2), 0x405000]) {
      expect(faultsOf(() => guest.store(address, 0, 1))).toEqual(["hidden"]);
    }
    guest.entry(DIRECTORY, 2, to(5, P | W));
    guest.access(0x803000);
    expect(guest.shadow.counters()["shadow.write-protects"]).toBe(3);
    for (const address of [page(1), page(2), 0x405000]) {
      expect(faultsOf(() => guest.store(address, 0, 1))).toEqual(["traced-write"]);
    }
  });

  it("present to not present: the entry is zapped, and the next use is a true fault", () => {
    guest.access(0);
    expect(faultsOf(() => guest.store(tableEntry(0), 0, 4))).toEqual(["traced-write"]);
    expect(faultsOf(() => expect(guest.access(0)).toEqual({ kind: "fault", errorCode: 0 }))).toEqual(["guest"]);
  });

  it("not present to present with A and D: filled at once, no fault on use", () => {
    guest.access(0);
    guest.store(tableEntry(1), to(DATA, P | W | A | D), 4);
    expect(faultsOf(() => guest.access(page(1), { write: true }))).toEqual([]);
    guest.store(tableEntry(2), to(DATA, P | W | A), 4);
    expect(faultsOf(() => guest.access(page(2)))).toEqual([]);
    expect(faultsOf(() => guest.access(page(2), { write: true }))).toEqual(["hidden"]);
    guest.store(tableEntry(3), to(DATA, P | W), 4);
    expect(faultsOf(() => guest.access(page(3)))).toEqual(["hidden"]);
  });

  it("an unchanged entry costs a look, no zap and no fill", () => {
    guest.access(0, { write: true });
    guest.access(tableEntry(0), { write: true });
    const before = { ...guest.steps };
    guest.store(tableEntry(0), guest.peek(TABLE * 4096), 4);
    // The store's own address is walked through one level: a 4 MB page.
    const levels = (before["guest-level"] as number) + 1;
    expect(guest.steps).toEqual({ ...before, "guest-level": levels, examine: 1 });
    expect(faultsOf(() => guest.access(0, { write: true }))).toEqual([]);
  });

  it("an entry that maps another page is changed in place", () => {
    guest.access(0, { write: true });
    guest.store(tableEntry(0), to(10, P | W | A | D), 4);
    expect(faultsOf(() => expect(guest.access(4)).toEqual(ram(10, 4)))).toEqual([]);
  });

  it("a store across two pages, the second a table, changes both", () => {
    guest.entry(TABLE, 1, to(TABLE, P | W));
    guest.access(0);
    // The last two bytes of DATA, and the first two of TABLE: P of entry 0 is cleared.
    expect(faultsOf(() => guest.store(page(1) - 2, 0x00001234 | 0, 4))).toContain("traced-write");
    expect((guest.peek(DATA * 4096 + 4092) >>> 16) & 0xffff).toBe(0x1234);
    expect(guest.access(0)).toEqual({ kind: "fault", errorCode: 0 });
  });

  it("a store across two tables, and one across two entries, update every entry that they touch", () => {
    guest.entry(DIRECTORY, 3, to(5, P | W));
    guest.entry(TABLE, 0x3ff, to(0x10 + DATA, P | W));
    guest.entry(5, 0, to(DATA, P | W));
    guest.entry(5, 1, to(DATA, P | W));
    const last = 0x3ff * 4096;
    for (const address of [last, 0xc00000, 0xc01000]) guest.access(address);
    // 8 bytes of zeroes over the upper half of one entry, all of the next, the lower half of a third.
    guest.store(0x400000 + 5 * 4096 - 2, 0, 8);
    expect(guest.access(0xc00000)).toEqual({ kind: "fault", errorCode: 0 });
    expect(guest.access(0xc01000)).toEqual({ kind: "fault", errorCode: 0 });
    expect(guest.access(last)).toEqual(ram(DATA));
    expect(guest.shadow.verify()).toEqual([]);
  });

  it("a read-modify-write of one byte of an entry counts", () => {
    guest.access(0, { write: true });
    const low = guest.peek(TABLE * 4096) & 0xff;
    guest.store(tableEntry(0), low & ~W, 1);
    expect(guest.access(0, { write: true })).toEqual({ kind: "fault", errorCode: 3 });
  });

  it("the guest clearing A makes the next use a hidden fault that sets it; clearing D the next write", () => {
    guest.access(0, { write: true });
    guest.store(tableEntry(0), guest.peek(TABLE * 4096) & ~D, 4);
    expect(faultsOf(() => guest.access(0))).toEqual([]);
    expect(faultsOf(() => guest.access(0, { write: true }))).toEqual(["hidden"]);
    expect(guest.peek(TABLE * 4096) & D).toBe(D);
    guest.store(tableEntry(0), guest.peek(TABLE * 4096) & ~A, 4);
    expect(faultsOf(() => guest.access(0))).toEqual(["hidden"]);
    expect(guest.peek(TABLE * 4096) & A).toBe(A);
    guest.store(directoryEntry(0), guest.peek(DIRECTORY * 4096) & ~A, 4);
    expect(faultsOf(() => guest.access(0))).toEqual(["hidden"]);
    expect(guest.peek(DIRECTORY * 4096) & A).toBe(A);
  });

  it("rights of a directory entry bind every page under it", () => {
    guest.access(0, { write: true, user: true });
    guest.store(directoryEntry(0), to(TABLE, P | W | A), 4);
    expect(guest.access(0, { user: true })).toEqual({ kind: "fault", errorCode: 5 });
    guest.store(directoryEntry(0), to(TABLE, P | U | A), 4);
    expect(guest.access(0, { write: true })).toEqual({ kind: "fault", errorCode: 3 });
    expect(guest.access(0, { user: true })).toEqual(ram(DATA));
    expect(guest.shadow.verify()).toEqual([]);
  });

  it("a directory's entry that a table already shadowed comes back to is linked at once", () => {
    guest.access(0);
    guest.store(directoryEntry(2), to(TABLE, P | W | U | A), 4);
    expect(faultsOf(() => guest.access(0x800000))).toEqual([]);
  });

  it("two directories share a table, and each has its own rights", () => {
    guest.entry(OTHER, 0, to(TABLE, P | W | U));
    guest.entry(OTHER, 1, to(TABLE, P));
    guest.access(0, { write: true });
    guest.activate({ cr3: OTHER * 4096 });
    expect(faultsOf(() => guest.access(0, { write: true }))).toEqual(["hidden"]);
    expect(guest.access(0x400000, { write: true })).toEqual({ kind: "fault", errorCode: 3 });
    expect(guest.access(0x400000, { user: true })).toEqual({ kind: "fault", errorCode: 5 });
    // One store reaches all three.
    guest.dma(TABLE * 4096, 0, 4);
    expect(guest.access(0)).toEqual({ kind: "fault", errorCode: 0 });
    expect(guest.access(0x400000)).toEqual({ kind: "fault", errorCode: 0 });
    guest.activate({ cr3: CR3 });
    expect(guest.access(0)).toEqual({ kind: "fault", errorCode: 0 });
  });

  it("a directory that is its own table: its entries are pages, and its stores traced", () => {
    guest.entry(DIRECTORY, 0x3ff, to(DIRECTORY, P | W));
    guest.access(0);
    expect(faultsOf(() => expect(guest.access(0xfffff000)).toEqual(ram(DIRECTORY)))).toEqual(["hidden"]);
    expect(faultsOf(() => expect(guest.access(0xffc00000)).toEqual(ram(TABLE)))).toEqual(["hidden"]);
    expect(faultsOf(() => guest.store(0xffc00004, to(10, P | W | A), 4))).toContain("traced-write");
    expect(guest.access(page(1))).toEqual(ram(10));
    // Through itself it lets itself go.
    expect(faultsOf(() => guest.store(0xfffffffc, 0, 4))).toEqual(["traced-write"]);
    expect(guest.access(0xfffff000)).toEqual({ kind: "fault", errorCode: 0 });
    expect(guest.access(page(1))).toEqual(ram(10));
  });

  it("a page used as directory by one root and as table by another has a shadow of each", () => {
    guest.entry(OTHER, 0, to(DIRECTORY, P | W));
    guest.access(0);
    guest.activate({ cr3: OTHER * 4096 });
    expect(guest.access(0)).toEqual(ram(TABLE));
    guest.dma(DIRECTORY * 4096, 0, 4);
    expect(guest.access(0)).toEqual({ kind: "fault", errorCode: 0 });
    guest.activate({ cr3: CR3 });
    expect(guest.access(0)).toEqual({ kind: "fault", errorCode: 0 });
    expect(guest.shadow.verify()).toEqual([]);
  });
});

describe("CR0.WP clear", () => {
  beforeEach(() => {
    guest.entry(TABLE, 0, to(DATA, P | U));
    guest.activate({ wp: false });
  });

  it("the supervisor may write a read-only user page, and the user still may not", () => {
    expect(guest.access(0, { user: true })).toEqual(ram(DATA));
    expect(faultsOf(() => expect(guest.access(0, { write: true })).toEqual(ram(DATA)))).toEqual(["hidden"]);
    expect(faultsOf(() => guest.access(0, { write: true }))).toEqual([]);
    expect(guest.access(0, { user: true, write: true })).toEqual({ kind: "fault", errorCode: 7 });
    expect(faultsOf(() => expect(guest.access(0, { user: true })).toEqual(ram(DATA)))).toEqual(["hidden"]);
    expect(faultsOf(() => guest.access(0, { write: true }))).toEqual(["hidden"]);
  });

  it("a directory entry's R/W is not needed either, but gives the user nothing", () => {
    guest.entry(DIRECTORY, 0, to(TABLE, P | U));
    guest.entry(TABLE, 0, to(DATA, P | W | U));
    expect(guest.access(0, { write: true })).toEqual(ram(DATA));
    expect(guest.access(0, { user: true, write: true })).toEqual({ kind: "fault", errorCode: 7 });
  });

  it("setting WP again takes it back, and each value finds its own shadow", () => {
    guest.access(0, { write: true });
    guest.activate({ wp: true });
    expect(guest.access(0, { write: true })).toEqual({ kind: "fault", errorCode: 3 });
    guest.activate({ wp: false });
    expect(faultsOf(() => guest.access(0, { write: true }))).toEqual([]);
  });

  it("a traced page is not written, read-only or not", () => {
    guest.entry(TABLE, 5, to(TABLE, P | U));
    guest.access(0);
    expect(faultsOf(() => guest.store(page(5) + 4, to(DATA, P), 4))).toEqual(["traced-write"]);
  });
});

describe("4 MB pages", () => {
  it("are split, page by page, and D comes with the first write", () => {
    expect(guest.access(0x409010)).toEqual(ram(DATA, 0x10));
    expect(guest.peek(CR3 + 4) & (A | D)).toBe(A);
    expect(faultsOf(() => guest.access(0x409010, { write: true }))).toEqual(["hidden"]);
    expect(guest.peek(CR3 + 4) & (A | D)).toBe(A | D);
    expect(faultsOf(() => guest.access(0x40a000, { write: true }))).toEqual(["hidden"]);
  });

  it("a table inside one is traced, its neighbours are not", () => {
    guest.access(0);
    expect(faultsOf(() => guest.store(tableEntry(7), 0, 4))).toEqual(["traced-write"]);
    expect(faultsOf(() => guest.store(0x400000 + (TABLE + 1) * 4096, 0, 4))).toEqual(["hidden"]);
  });

  it("clearing D, or the whole entry, binds all its pages", () => {
    for (const at of [0x409000, 0x40a000]) guest.access(at, { write: true });
    guest.store(directoryEntry(1), guest.peek(CR3 + 4) & ~D, 4);
    guest.shadow.verify();
    expect(faultsOf(() => guest.access(0x409000, { write: true }))).toEqual(["hidden"]);
    expect(guest.peek(CR3 + 4) & D).toBe(D);
    guest.dma(CR3 + 4, 0, 4);
    for (const at of [0x409000, 0x40a000]) expect(guest.access(at)).toEqual({ kind: "fault", errorCode: 0 });
  });

  it("with CR4.PSE clear the same entry refers to a table", () => {
    guest.entry(0, 5, to(DATA, P | W));
    guest.access(0x405000);
    guest.activate({ pse: false });
    expect(guest.access(0x405000)).toEqual(ram(DATA));
    guest.activate({ pse: true });
    expect(faultsOf(() => expect(guest.access(0x405000)).toEqual(ram(5)))).toEqual([]);
  });
});

describe("roots", () => {
  it("reloading CR3 finds the same root, with all that was filled", () => {
    guest.access(0);
    const before = guest.root;
    guest.activate({ cr3: CR3 });
    expect(guest.root).toBe(before);
    expect(faultsOf(() => guest.access(0))).toEqual([]);
    expect(guest.shadow.counters()).toMatchObject({ "shadow.roots.hits": 1, "shadow.roots.misses": 1 });
  });

  it("switching between two address spaces keeps both", () => {
    guest.entry(OTHER, 0, to(5, P | W | U));
    guest.entry(5, 0, to(10, P | W | U));
    guest.access(0);
    guest.activate({ cr3: OTHER * 4096 });
    expect(guest.access(0)).toEqual(ram(10));
    for (let i = 0; i < 3; i++) {
      guest.activate({ cr3: CR3 });
      expect(faultsOf(() => expect(guest.access(0)).toEqual(ram(DATA)))).toEqual([]);
      guest.activate({ cr3: OTHER * 4096 });
      expect(faultsOf(() => expect(guest.access(0)).toEqual(ram(10)))).toEqual([]);
    }
    expect(guest.steps["root-switch"]).toBe(8);
  });

  it("tables of a root that is not active are kept up to date", () => {
    guest.access(0);
    guest.activate({ cr3: OTHER * 4096 });
    guest.dma(TABLE * 4096, to(11, P | A), 4);
    guest.activate({ cr3: CR3 });
    expect(guest.access(0)).toEqual(ram(11));
  });

  it("with paging off linear is guest-physical, and on again finds the old shadow", () => {
    guest.access(0);
    guest.activate({ paging: false });
    expect(guest.access(0x9010, { write: true, user: true })).toEqual(ram(DATA, 0x10));
    expect(guest.access(0xfee00000)).toEqual({ kind: "device", address: 0xfee00000 });
    // Tables are traced through the identity map too.
    expect(faultsOf(() => guest.store(TABLE * 4096, to(12, P | W | A), 4))).toEqual(["traced-write"]);
    guest.activate({ paging: true });
    expect(faultsOf(() => expect(guest.access(0)).toEqual(ram(12)))).toEqual([]);
  });

  it("a guest that starts with paging off makes its tables without a traced write", () => {
    const fresh = new FakeGuest();
    fresh.activate({ paging: false });
    fresh.store(CR3, to(TABLE, P | W), 4);
    fresh.store(TABLE * 4096, to(DATA, P | W), 4);
    expect(fresh.faults).toEqual(["hidden", "hidden"]);
    fresh.activate({ paging: true, cr3: CR3 });
    expect(fresh.access(0)).toMatchObject({ kind: "ram", frame: fresh.pmap[DATA] });
  });
});

describe("large pages of two address spaces", () => {
  it("each sets its own D", () => {
    guest.entry(OTHER, 1, to(0, P | W | PS));
    guest.access(0x409000);
    guest.activate({ cr3: OTHER * 4096 });
    guest.access(0x409000);
    guest.access(0x409000, { write: true });
    guest.activate({ cr3: CR3 });
    expect(faultsOf(() => guest.access(0x409000, { write: true }))).toEqual(["hidden"]);
    expect(guest.peek(CR3 + 4) & D).toBe(D);
  });
});

describe("INVLPG", () => {
  it("of a page that was never present does nothing, and of a present one loses nothing", () => {
    const before = { ...guest.steps };
    guest.shadow.invalidate(0x7fff0000);
    expect(guest.steps).toEqual(before);
    guest.access(0);
    guest.shadow.invalidate(0);
    expect(faultsOf(() => guest.access(0))).toEqual([]);
  });
});

describe("tables that turn into something else", () => {
  it("a table that no directory refers to is let go, and writable by a hidden fault", () => {
    guest.access(0);
    guest.store(tableEntry(8), 0, 4);
    guest.store(directoryEntry(0), 0, 4);
    expect(guest.shadow.isTraced(TABLE)).toBe(false);
    expect(faultsOf(() => guest.store(tableEntry(8), 0x1234, 4))).toEqual(["hidden"]);
    expect(faultsOf(() => guest.store(tableEntry(9), 0x1234, 4))).toEqual([]);
  });

  it("a table in use is traced however often it is written", () => {
    guest.access(0);
    for (let i = 0; i < 1024; i++) {
      guest.store(tableEntry(i), i === 0 ? guest.peek(TABLE * 4096) : to(DATA, P | W), 4);
    }
    expect(guest.shadow.counters()["fault.traced-write"]).toBe(1024);
    expect(faultsOf(() => guest.access(0))).toEqual([]);
  });

  it("a directory of a dead address space is let go after a run of stores", () => {
    guest.access(0);
    guest.entry(OTHER, 1, to(0, P | W | PS));
    guest.activate({ cr3: OTHER * 4096 });
    const kinds = faultsOf(() => {
      for (let i = 0; i < 40; i++) guest.store(directoryEntry(i), 0x01010101 * i, 4);
    });
    // Entry 0 lets the table go as well. 16 stores are emulated, the next makes the page writable.
    expect(kinds).toEqual([...Array(16).fill("traced-write"), "hidden"]);
    expect(guest.shadow.isTraced(DIRECTORY)).toBe(false);
    expect(guest.shadow.isTraced(TABLE)).toBe(false);
    expect(guest.shadow.counters()["shadow.floods"]).toBe(1);
  });

  it("a run of stores ends when the root is used in between", () => {
    guest.entry(OTHER, 1, to(0, P | W | PS));
    for (let i = 0; i < 40; i++) {
      guest.activate({ cr3: CR3 });
      guest.access(0);
      guest.activate({ cr3: OTHER * 4096 });
      expect(faultsOf(() => guest.store(tableEntry(4), to(i, P), 4))).toContain("traced-write");
    }
    expect(guest.shadow.counters()["shadow.floods"]).toBe(0);
  });

  it("stores made while the table was in use are not held against it", () => {
    guest.entry(OTHER, 1, to(0, P | W | PS));
    guest.access(0);
    for (let i = 0; i < 40; i++) guest.store(tableEntry(4), to(i, P), 4);
    guest.activate({ cr3: OTHER * 4096 });
    guest.store(tableEntry(4), 0, 4);
    expect(guest.shadow.isTraced(TABLE)).toBe(true);
  });
});

describe("tables in device memory", () => {
  it("a directory where nothing is reads as all ones: reserved with PSE, nothing without", () => {
    guest.activate({ cr3: 0x800000 });
    expect(guest.access(0, { write: true })).toEqual({ kind: "fault", errorCode: 1 | 2 | 8 });
    guest.activate({ pse: false });
    expect(guest.access(0x123)).toEqual({ kind: "device", address: 0xfffff123 });
    expect(guest.shadow.verify()).toEqual([]);
  });

  it.each([
    ["table", 0xa0000],
    ["directory", 0xa1000],
  ])("what was made from a %s there stays until INVLPG or the next activation", (_, changed) => {
    guest.device.set(0xa1000, to(0xa0, P | W | U));
    guest.device.set(0xa0000, to(DATA, P | W | U));
    guest.entry(TABLE, 0, to(10, P | W));
    guest.activate({ cr3: 0xa1000 });
    expect(guest.access(0)).toEqual(ram(DATA));
    expect(guest.device.get(0xa0000)).toBe(to(DATA, P | W | U | A));
    expect(guest.shadow.isTraced(0xa0)).toBe(false);
    const original = guest.device.get(changed) as number;
    guest.device.set(changed, 0);
    expect(guest.access(0)).toEqual(ram(DATA));
    guest.shadow.invalidate(0);
    expect(guest.access(0)).toEqual({ kind: "fault", errorCode: 0 });
    guest.device.set(changed, original);
    expect(guest.access(0)).toEqual(ram(DATA));
    guest.device.set(changed, 0);
    guest.activate({});
    expect(guest.access(0)).toEqual({ kind: "fault", errorCode: 0 });
    expect(guest.shadow.verify()).toEqual([]);
  });
});

describe("a directory in device memory over a table in RAM", () => {
  it("is followed by INVLPG, after save and restore too", () => {
    guest.device.set(0xa1000, to(TABLE, P | W | U));
    guest.activate({ cr3: 0xa1000 });
    expect(guest.access(0)).toEqual(ram(DATA));
    expect(guest.shadow.isTraced(TABLE)).toBe(true);
    const saved = guest.shadow.save();
    guest.shadow = new Shadow(guest, guest.options);
    guest.shadow.restore(saved);
    guest.device.set(0xa1000, 0);
    guest.shadow.invalidate(0);
    expect(guest.access(0)).toEqual({ kind: "fault", errorCode: 0 });
    expect(guest.shadow.verify()).toEqual([]);
  });
});

describe("frames", () => {
  it("the page made first goes when none is left, never the active root", () => {
    const small = new FakeGuest(32, 4);
    for (const root of [DIRECTORY, OTHER, 3]) small.entry(root, 0, to(0, P | W | PS));
    for (const root of [DIRECTORY, OTHER, 3]) small.entry(root, 1, to(TABLE, P));
    small.entry(TABLE, 0, to(DATA, P));
    small.activate({ paging: true, cr3: CR3 });
    small.access(0);
    small.access(0x400000);
    small.activate({ cr3: OTHER * 4096 });
    small.access(0);
    expect(small.shadow.counters()["shadow.evictions"]).toBe(0);
    small.activate({ cr3: 3 * 4096 });
    // The first root went, and its table under 0x400000 with it.
    expect(small.shadow.isTraced(DIRECTORY)).toBe(false);
    expect(small.shadow.isTraced(TABLE)).toBe(false);
    expect(small.shadow.counters()["shadow.evictions"]).toBe(1);
    small.access(0x400000);
    small.activate({ cr3: CR3 });
    small.access(0);
    expect(small.shadow.verify()).toEqual([]);
  });

  it("one frame is too few, and says so", () => {
    const tiny = new FakeGuest(32, 1);
    tiny.activate({});
    expect(() => tiny.access(0)).toThrow("at least two frames");
  });

  it("reset gives every frame back", () => {
    const frames = new FakeGuest().free.length;
    guest.access(0);
    guest.access(0x409000);
    guest.activate({ paging: false });
    guest.access(0);
    guest.shadow.reset();
    expect(guest.free.length).toBe(frames);
    expect(guest.shadow.isTraced(TABLE)).toBe(false);
    guest.activate({ paging: true });
    expect(guest.access(0)).toEqual(ram(DATA));
  });
});

describe("books", () => {
  it("save and restore continue with the same steps and the same tables", () => {
    const prepare = (): FakeGuest => {
      const made = new FakeGuest();
      made.entry(DIRECTORY, 0, to(TABLE, P | W | U));
      made.entry(DIRECTORY, 1, to(0, P | W | PS));
      for (let i = 0; i < 8; i++) made.entry(TABLE, i, to(DATA + i, P | W));
      made.activate({ paging: true, cr3: CR3 });
      for (let i = 0; i < 6; i++) made.access(page(i), { write: i % 2 === 0 });
      made.store(tableEntry(3), 0, 4);
      return made;
    };
    const go = (made: FakeGuest): void => {
      for (let i = 7; i >= 0; i--) made.access(page(i), { write: true });
      made.entry(DIRECTORY, 2, to(DATA, P | W));
      made.access(0x800000);
      made.activate({ wp: false });
      for (let i = 0; i < 8; i++) made.store(page(i), i, 2);
    };
    const straight = prepare();
    go(straight);
    const broken = prepare();
    const saved = JSON.parse(JSON.stringify(broken.shadow.save()));
    broken.shadow = new Shadow(broken, broken.options);
    broken.shadow.restore(saved);
    go(broken);
    expect(broken.steps).toEqual(straight.steps);
    expect(broken.memory).toEqual(straight.memory);
    expect(broken.shadow.save()).toEqual(straight.shadow.save());
    expect(broken.shadow.counters()).toEqual(straight.shadow.counters());
  });

  it("stores to pages that are not traced cost nothing", () => {
    guest.access(0);
    const before = { ...guest.steps };
    guest.shadow.guestWrote((DATA * 4096) as GuestPhysical, 4096);
    expect(guest.steps).toEqual(before);
  });

  it("every step that is charged has a name, and every name is charged by something", () => {
    guest.access(0, { write: true });
    guest.store(0x40a000, 1, 4);
    guest.entry(DIRECTORY, 2, to(10, P | W));
    guest.access(0x800000);
    guest.store(0x405000, 1, 4);
    guest.entry(5, 0, to(DATA, P));
    guest.entry(10, 0, to(DATA, P));
    guest.entry(DIRECTORY, 3, to(5, P));
    guest.access(0xc00000);
    guest.entry(DIRECTORY, 3, 0);
    expect(Object.keys(guest.steps).toSorted()).toEqual(Object.keys(SHADOW_STEPS).toSorted());
  });

  it("verification sees a wrong frame, a right too many, a lost trace and an unnoted entry", () => {
    guest.access(0);
    const root = guest.root / 4;
    const table = ((guest.memory[root] as number) >>> 12) * 1024;
    const leaf = guest.memory[table] as number;
    const verified = (at: number, value: number): string[] => {
      const before = guest.memory[at] as number;
      guest.memory[at] = value;
      const problems = guest.shadow.verify();
      guest.memory[at] = before;
      return problems;
    };
    expect(verified(table, leaf + 0x1000).join()).toContain("wrong frame");
    expect(verified(table, leaf | W).join()).toContain("writable, D clear");
    expect(verified(table + 1, leaf).join()).toContain("unnoted");
    guest.poke(TABLE * 4096, to(DATA, P | A));
    expect(guest.shadow.verify().join()).toContain("user, U/S clear");
    guest.poke(TABLE * 4096, to(DATA, P | U));
    expect(guest.shadow.verify().join()).toContain("not in the guest's tables");
  });
});

describe("a guest with PAE paging", () => {
  const POINTERS = 3;
  const XD = 1 << 31;
  /** Entry `index` of the table in `page`. */
  const wide = (page: number, index: number, low: number, high = 0): void => {
    guest.dma(page * 4096 + index * 8, low, 4);
    guest.dma(page * 4096 + index * 8 + 4, high, 4);
  };
  const load = (nxe = true): void => {
    const pdptes = guest.pdptes(POINTERS * 4096);
    if (pdptes === null) throw new Error("the load is #GP(0)");
    guest.activate({ paging: true, cr3: POINTERS * 4096, pae: { nxe, pdptes } });
  };

  /** Linear 40000000h is DATA, through DIRECTORY and TABLE; the first 2 MB are at linear 40200000h. */
  beforeEach(() => {
    guest = new FakeGuest();
    wide(POINTERS, 1, to(DIRECTORY, P));
    wide(DIRECTORY, 0, to(TABLE, P | W | U));
    wide(DIRECTORY, 1, to(0, P | W | U | PS));
    wide(TABLE, 0, to(DATA, P | W | U));
    load();
  });
  const AT = 0x40000000;
  const LARGE = 0x40200000;

  it("has its directories for roots, under a pointer table of the monitor's", () => {
    expect(guest.shadow.usesPae).toBe(true);
    expect(faultsOf(() => expect(guest.access(AT + 0x123)).toEqual(ram(DATA, 0x123)))).toEqual(["hidden"]);
    expect(guest.access(0)).toEqual({ kind: "fault", errorCode: 0 });
    expect(guest.shadow.isTraced(DIRECTORY)).toBe(true);
    expect(guest.shadow.counters()["shadow.roots"]).toBe(1);
  });

  it("may store to its pointer table without anything coming of it, until CR3 is loaded", () => {
    guest.access(AT);
    expect(guest.shadow.isTraced(POINTERS)).toBe(false);
    expect(faultsOf(() => guest.store(LARGE + POINTERS * 4096 + 8, 0, 4))).toEqual(["hidden"]);
    expect(faultsOf(() => expect(guest.access(AT)).toEqual(ram(DATA)))).toEqual([]);
    load();
    expect(guest.access(AT)).toEqual({ kind: "fault", errorCode: 0 });
  });

  it("has single pages of its 2 MB pages traced, and an entry changed by one of its halves", () => {
    guest.access(AT, { fetch: true });
    expect(faultsOf(() => guest.store(LARGE + 10 * 4096, 1, 4))).toEqual(["hidden"]);
    expect(faultsOf(() => guest.store(LARGE + TABLE * 4096 + 4, XD, 4))).toEqual(["traced-write"]);
    expect(faultsOf(() => expect(guest.access(AT)).toEqual(ram(DATA)))).toEqual([]);
    expect(faultsOf(() => guest.access(AT, { fetch: true }))).toEqual(["guest"]);
    expect(guest.access(AT, { fetch: true, user: true })).toEqual({ kind: "fault", errorCode: 21 });
    guest.store(LARGE + TABLE * 4096 + 4, 0x10, 4);
    expect(guest.access(AT)).toEqual({ kind: "fault", errorCode: 9 });
    guest.store(LARGE + TABLE * 4096 + 4, 0, 4);
    expect(guest.access(AT, { fetch: true })).toEqual(ram(DATA));
  });

  it("has bit 63 reserved without IA32_EFER.NXE, although its processor has it set", () => {
    wide(TABLE, 0, to(DATA, P | W | U), XD);
    expect(guest.access(AT, { write: true })).toEqual(ram(DATA));
    load(false);
    expect(guest.access(AT, { fetch: true })).toEqual({ kind: "fault", errorCode: 9 });
    expect(guest.access(LARGE, { fetch: true })).toEqual(ram(0));
    wide(TABLE, 0, 0);
    expect(guest.access(AT, { fetch: true })).toEqual({ kind: "fault", errorCode: 0 });
  });

  it("finds its roots again after an excursion into 32-bit paging, which reads the same tables as other ones", () => {
    guest.access(AT);
    guest.activate({ cr3: DIRECTORY * 4096, pae: null });
    expect(guest.shadow.usesPae).toBe(false);
    // As 4-byte entries: number 0 refers to TABLE, whose number 0 maps DATA; number 1 is an upper half; number 2 is large.
    expect(guest.access(0)).toEqual(ram(DATA));
    expect(guest.access(0x400000)).toEqual({ kind: "fault", errorCode: 0 });
    expect(guest.access(0x800000 + 5 * 4096)).toEqual(ram(5));
    expect(guest.shadow.verify()).toEqual([]);
    load();
    expect(faultsOf(() => expect(guest.access(AT)).toEqual(ram(DATA)))).toEqual([]);
  });
});

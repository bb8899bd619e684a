import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Shadow } from "../../sim/memory/shadow.ts";
import { type OracleControls, oracleWalk } from "./oracle.ts";
import { type Access, byteOf, DeprivilegedGuest, FakeGuest, type Outcome } from "./shadow-fixtures.ts";

/** Guest RAM as a guest without any shadow has it: the oracle's own copy, walked by the oracle's own walker. */
class Oracle {
  readonly words: Int32Array;
  readonly guest: FakeGuest;
  constructor(guest: FakeGuest) {
    this.guest = guest;
    this.words = new Int32Array(guest.guestPages * 1024);
    for (let i = 0; i < this.words.length; i++) this.words[i] = guest.peek(i * 4);
  }

  write(address: number, value: number, bytes: number): void {
    const view = new DataView(this.words.buffer);
    for (let i = 0; i < bytes; i++) {
      if (address + i < this.words.byteLength) view.setUint8(address + i, byteOf(value, i));
    }
  }

  /** Guest-physical address or error code; sets A and D. */
  translate(linear: number, access: Access): { address: number } | { errorCode: number } {
    const { paging, cr3, wp, pse, pae } = this.guest.paging;
    if (!paging) return { address: linear };
    const controls: OracleControls = {
      mode: pae === null ? "32-bit" : "PAE",
      cr3: BigInt(cr3),
      wp,
      pse,
      pge: false,
      nxe: pae?.nxe === true,
      pse36: true,
      pages1G: false,
      maxPhyAddr: 36n,
      pdptes: (pae?.pdptes ?? []).map(([low, high]) => BigInt(low >>> 0) | (BigInt(high >>> 0) << 32n)),
    };
    const word = (address: bigint): bigint => BigInt((this.words[Number(address) / 4] ?? -1) >>> 0);
    const read = (address: bigint, bytes: number): bigint =>
      bytes === 4 ? word(address) : word(address) | (word(address + 4n) << 32n);
    const described = { write: access.write === true, user: access.user === true, fetch: access.fetch === true };
    const result = oracleWalk(controls, BigInt(linear), described, read);
    if ("errorCode" in result) return result;
    // An entry used at two levels is marked once for each.
    for (const [at, entry] of result.marked) {
      const index = Number(at) / 4;
      if (index < this.words.length) this.words[index] = (this.words[index] as number) | Number(entry & 0x60n);
    }
    return { address: Number(result.physical) };
  }

  outcome(address: number): Outcome {
    const frame = this.guest.hostFrame(Math.floor(address / 4096));
    return frame === -1 ? { kind: "device", address } : { kind: "ram", frame, offset: address % 4096 };
  }

  access(linear: number, access: Access): Outcome {
    const found = this.translate(linear, access);
    return "errorCode" in found ? { kind: "fault", ...found } : this.outcome(found.address);
  }

  store(linear: number, value: number, bytes: number, access: Access): Outcome {
    const split = Math.min(bytes, 4096 - (linear % 4096));
    const first = this.translate(linear, { ...access, write: true });
    if ("errorCode" in first) return { kind: "fault", ...first };
    if (split < bytes) {
      const second = this.translate((linear + split) >>> 0, { ...access, write: true });
      if ("errorCode" in second) return { kind: "fault", ...second };
      for (let i = split; i < bytes; i++) this.write(second.address + i - split, byteOf(value, i), 1);
    }
    for (let i = 0; i < split; i++) this.write(first.address + i, byteOf(value, i), 1);
    return this.outcome(first.address);
  }

  /** First guest address whose word differs from the machine's, or -1. */
  difference(): number {
    for (let page = 0; page < this.guest.guestPages; page++) {
      const from = (this.guest.pmap[page] as number) * 1024;
      for (let i = 0; i < 1024; i++) {
        if (this.guest.memory[from + i] !== this.words[page * 1024 + i]) return page * 4096 + i * 4;
      }
    }
    return -1;
  }
}

const GUEST_PAGES = 24;
/** Pages 1 to 3 start as directories, 4 to 8 as tables; the rest is data at first. */
const DIRECTORIES = [1, 2, 3];
const TABLES = [4, 5, 6, 7, 8];
/** PAE: pointer tables of 32 bytes each, for CR3 values that name pages 0 to 3. */
const POINTERS = 9;

const slot = fc.constantFrom(0, 1, 2, 3, 0x3ff);
const flags = fc
  .record({
    present: fc.integer({ min: 0, max: 7 }),
    rights: fc.constantFrom(0, 2, 4, 6, 6, 6),
    marks: fc.constantFrom(0, 0x20, 0x60, 0x40),
    large: fc.integer({ min: 0, max: 7 }),
  })
  .map(({ present, rights, marks, large }) => (present === 0 ? 0 : 1) | rights | marks | (large === 0 ? 0x80 : 0));
const target = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: 0, max: GUEST_PAGES - 1 }) },
  { weight: 4, arbitrary: fc.constantFrom(...DIRECTORIES, ...TABLES) },
  { weight: 1, arbitrary: fc.constantFrom(GUEST_PAGES, 0x400, 0xfee00, 0xfffff) },
);
/** An entry: a page and flags; with PS and page 0 it maps the first 4 MB. */
const entry = fc.tuple(target, flags).map(([page, bits]) => ((bits & 0x80 ? page & 0xc00 : page) << 12) | bits);
const tableEntry = fc.record({
  page: fc.constantFrom(...DIRECTORIES, ...TABLES),
  slot,
  value: fc.oneof({ weight: 9, arbitrary: entry }, { weight: 1, arbitrary: fc.integer() }),
  /** PAE: XD, a frame beyond RAM, a reserved bit. */
  high: fc.oneof(
    { weight: 9, arbitrary: fc.constant(0) },
    { weight: 4, arbitrary: fc.constant(1 << 31) },
    { weight: 1, arbitrary: fc.constantFrom(4, 0x10, 1 << 30) },
  ),
});
/** A linear address whose indices and, read as an entry's place, offset are those that tables use. */
const linear = fc.record({
  pointer: fc.constantFrom(0, 0, 0, 1, 3),
  directory: fc.constantFrom(0, 0, 0, 1, 1, 2, 2, 3, 3, 0x3fe, 0x3ff),
  table: fc.oneof(
    { weight: 5, arbitrary: fc.integer({ min: 0, max: 3 }) },
    { weight: 2, arbitrary: fc.integer({ min: 0, max: 9 }) },
    { weight: 1, arbitrary: fc.constantFrom(24, 0x3fe, 0x3ff) },
  ),
  offset: slot,
  byte: fc.constantFrom(0, 0, 0, 1, 2, 3, 4, 4, 5),
});
type Place = typeof linear extends fc.Arbitrary<infer T> ? T : never;
function linearOf({ pointer, directory, table, offset, byte }: Place, pae: boolean): number {
  if (!pae) return ((directory << 22) | ((table & 0x3ff) << 12) | (offset << 2) | (byte & 3)) >>> 0;
  return (
    ((pointer << 30) | ((directory & 0x1ff) << 21) | ((table & 0x1ff) << 12) | ((offset & 0x1ff) << 3) | byte) >>> 0
  );
}
const user = fc.boolean();

const command = fc.oneof(
  { weight: 6, arbitrary: fc.record({ type: fc.constant("read" as const), linear, user, fetch: fc.boolean() }) },
  {
    weight: 8,
    arbitrary: fc.record({
      type: fc.constant("store" as const),
      linear,
      user,
      value: fc.oneof(entry, fc.integer()),
      bytes: fc.constantFrom(1, 2, 4, 4, 4, 8),
    }),
  },
  { weight: 5, arbitrary: fc.record({ type: fc.constant("edit" as const), at: tableEntry }) },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant("cr3" as const),
      page: fc.constantFrom(1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 9, 0x100),
    }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("invlpg" as const), linear }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("wp" as const), on: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("nxe" as const), on: fc.constantFrom(true, true, false) }) },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant("pae" as const), on: fc.constantFrom(true, true, true, false) }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("pse" as const), on: fc.constantFrom(true, true, false) }) },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant("paging" as const), on: fc.constantFrom(true, true, true, false) }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("save" as const) }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("watch" as const), page: target }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("unwatch" as const), page: target }) },
);
const tables = fc.array(tableEntry, { maxLength: 16, size: "max" });
const script = fc.array(command, { maxLength: 150, size: "max" });

interface Edit {
  readonly page: number;
  readonly slot: number;
  readonly value: number;
  readonly high: number;
}

interface Kind {
  /** The guest has CR4.PAE, and changes it; without, commands that need it are left out. */
  readonly pae: boolean;
  /** The monitor lives in the guest's linear space and does not flush the TLB. */
  readonly deprivileged: boolean;
}

function play(
  { pae, deprivileged }: Kind,
  frames: number,
  floodLimit: number,
  initial: readonly Edit[],
  commands: readonly (typeof command extends fc.Arbitrary<infer C> ? C : never)[],
): FakeGuest {
  const guest = new (deprivileged ? DeprivilegedGuest : FakeGuest)(GUEST_PAGES, frames, { floodLimit });
  for (let page = 9; page < GUEST_PAGES; page++) guest.poke(page * 4096, page * 0x01010101);
  const set = ({ page, slot: index, value, high }: Edit): void => {
    if (!pae) {
      guest.entry(page, index, value);
      return;
    }
    // Two stores, between which the shadow has to be right too.
    const at = page * 1024 + 2 * (index & 0x1ff);
    guest.dma(4 * at, value, 4);
    expect(guest.shadow.verify()).toEqual([]);
    guest.dma(4 * at + 4, high, 4);
  };
  // A plain start under what is random: every directory refers to tables, to itself and to the first 4 MB (2 MB); every
  // table maps data, tables and directories; so that stores reach the tables.
  for (const page of DIRECTORIES) {
    for (const [index, table] of [4, page + 4, page].entries())
      set({ page, slot: index, value: (table << 12) | 0x27, high: 0 });
    set({ page, slot: 3, value: 0x00e7, high: 0 });
  }
  for (const page of TABLES) {
    for (const [index, mapped] of [page, 13 - page, 9, 3].entries())
      set({ page, slot: index, value: (mapped << 12) | 0x67, high: mapped === 9 ? 1 << 31 : 0 });
  }
  for (let space = 0; pae && space < 4; space++) {
    const directories = [1 + (space % 3), 1 + ((space + 1) % 3), 0, 1 + (space % 2)];
    for (const [n, page] of directories.entries()) {
      guest.poke(POINTERS * 4096 + space * 32 + n * 8, page === 0 ? 0 : (page << 12) | 1);
      guest.poke(POINTERS * 4096 + space * 32 + n * 8 + 4, 0);
    }
  }
  for (const each of initial) set(each);
  const oracle = new Oracle(guest);
  let cr4Pae = pae;
  let nxe = true;
  let space = 1;
  guest.activate({ cr3: 0x1000 });
  /** What the guest's control registers mean; a load of PDPTEs that is #GP(0) changes nothing. */
  const activate = (change: Partial<FakeGuest["paging"]>, load: boolean): void => {
    const paging = { ...guest.paging, ...change };
    if (!cr4Pae || !paging.paging) {
      guest.activate({ ...change, pae: null });
      return;
    }
    const before = guest.paging.pae?.pdptes;
    const pdptes = load || before === undefined ? guest.pdptes(POINTERS * 4096 + (space % 4) * 32) : before;
    if (pdptes === null) return;
    guest.activate({ ...change, pae: { nxe, pdptes } });
  };
  activate({ paging: true }, true);
  for (const each of commands) {
    const linearly = "linear" in each ? linearOf(each.linear, guest.paging.pae !== null) : 0;
    if (each.type === "read") {
      const access = { user: each.user, fetch: each.fetch };
      const wanted = oracle.access(linearly, access);
      expect(guest.access(linearly, access)).toEqual(wanted);
    } else if (each.type === "store") {
      const wanted = oracle.store(linearly, each.value, each.bytes, { user: each.user });
      expect(guest.store(linearly, each.value, each.bytes, { user: each.user })).toEqual(wanted);
    } else if (each.type === "edit") {
      const { page, slot: index, value, high } = each.at;
      if (pae) {
        oracle.write(page * 4096 + (index & 0x1ff) * 8, value, 4);
        oracle.write(page * 4096 + (index & 0x1ff) * 8 + 4, high, 4);
      } else {
        oracle.write(page * 4096 + index * 4, value, 4);
      }
      set(each.at);
    } else if (each.type === "invlpg") {
      guest.shadow.invalidate(linearly);
    } else if (each.type === "save") {
      const saved = structuredClone(guest.shadow.save());
      guest.shadow = new Shadow(guest, guest.options);
      guest.shadow.restore(saved);
      expect(guest.shadow.save()).toEqual(saved);
    } else if (each.type === "cr3") {
      space = each.page;
      activate({ cr3: each.page * 4096 }, true);
    } else if (each.type === "watch") {
      if (guest instanceof DeprivilegedGuest) guest.watch(each.page);
    } else if (each.type === "unwatch") {
      if (guest instanceof DeprivilegedGuest) guest.unwatch(each.page);
    } else if (each.type === "pae") {
      if (!pae) continue;
      cr4Pae = each.on;
      activate({}, true);
    } else if (each.type === "nxe") {
      nxe = each.on;
      activate({}, false);
    } else {
      activate({ [each.type]: each.on }, each.type !== "wp");
    }
    expect(guest.shadow.verify()).toEqual([]);
    expect(oracle.difference()).toBe(-1);
    if (guest instanceof DeprivilegedGuest) expect(guest.problems()).toEqual([]);
  }
  guest.shadow.reset();
  expect(guest.free.length).toBe(frames);
  expect(guest.shadow.verify()).toEqual([]);
  return guest;
}

describe("shadow page tables against a guest without them", () => {
  const alone = { pae: false, deprivileged: false };
  const alonePae = { pae: true, deprivileged: false };
  const region = { pae: false, deprivileged: true };
  const regionPae = { pae: true, deprivileged: true };
  it.each([
    ["32-bit paging, with frames enough", alone, 64, 16],
    ["32-bit paging, with three frames, so that almost every path evicts another", alone, 3, 16],
    ["32-bit paging, with five frames and a flood limit of two", alone, 5, 2],
    ["PAE paging on and off, with frames enough", alonePae, 64, 16],
    ["PAE paging on and off, with seven frames, so that almost every path evicts another", alonePae, 7, 16],
    ["PAE paging on and off, with twelve frames and a flood limit of two", alonePae, 12, 2],
    ["the monitor within, 32-bit paging, with frames enough", region, 64, 16],
    ["the monitor within, 32-bit paging, with three frames", region, 3, 16],
    ["the monitor within, 32-bit paging, with five frames and a flood limit of two", region, 5, 2],
    ["the monitor within, PAE paging on and off, with frames enough", regionPae, 64, 16],
    ["the monitor within, PAE paging on and off, with eight frames", regionPae, 8, 16],
    ["the monitor within, PAE paging on and off, with twelve frames and a flood limit of two", regionPae, 13, 2],
  ])("every access ends alike, with the same A and D flags: %s", (_, kind, frames, floodLimit) => {
    fc.assert(
      fc.property(tables, script, (initial, commands) => {
        play(kind, frames, floodLimit, initial, commands);
      }),
      { numRuns: Number(process.env["SHADOW_RUNS"] ?? 60) },
    );
  });

  it.each([
    ["32-bit", alone, [3, 5, 64]],
    ["PAE", alonePae, [7, 12, 64]],
    ["32-bit, the monitor within", region, [3, 5, 64]],
    ["PAE, the monitor within", regionPae, [8, 13, 64]],
  ])("the random scripts reach every kind of event: %s", (_, kind, pools) => {
    const seen: Record<string, number> = {};
    fc.assert(
      fc.property(tables, script, fc.constantFrom(...pools), (initial, commands, frames) => {
        const guest = play(kind, frames, 2, initial, commands);
        const counters = { ...guest.shadow.counters(), ...guest.codes };
        for (const [name, value] of Object.entries(counters)) seen[name] = (seen[name] ?? 0) + value;
      }),
      { numRuns: 60, seed: 1 },
    );
    for (const name of [
      "fault.true",
      "fault.hidden",
      "fault.traced-write",
      "fault.device",
      "shadow.zaps",
      "shadow.write-protects",
      "shadow.evictions",
      "shadow.roots.hits",
      "shadow.untraced",
      "shadow.floods",
      ...(kind.pae ? ["code.16", "code.17", "code.9", "code.21"] : []),
      ...(kind.deprivileged ? ["fault.region", "watched", "lost"] : []),
    ]) {
      expect(seen[name], name).toBeGreaterThan(10);
    }
  });
});

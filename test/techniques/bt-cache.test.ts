// The translation cache as such: what is found, what is dropped, what comes back; over bytes that nobody runs.
import { describe, expect, test } from "vitest";
import { profileNamed } from "../../sim/cpu/profiles/catalogue.ts";
import { cacheBytes, TranslationCache, type Unit } from "../../sim/techniques/bt/cache.ts";
import { CACHE_BASE, LOOKUP_BYTES, lookupTable } from "../../sim/techniques/bt/layout.ts";
import { BT_USUAL, type BtParameters } from "../../sim/techniques/bt/parameters.ts";
import type { CodeContext } from "../../sim/techniques/bt/translation.ts";
import { Translator } from "../../sim/techniques/bt/translator.ts";
import { CALL_OUT } from "../../sim/techniques/bt/unit-writer.ts";

const CONTEXT: CodeContext = { codeBase: 0, limit: 0xffff_ffff, bits: 32, stackBits: 32, cpl: 0, as8086: false };

/** A cache over memory of its own, and guest code of `nop; jmp $+14` every 16 bytes, its linear pages at frames + 100. */
class Fixture {
  readonly memory: Uint8Array;
  readonly cache: TranslationCache;
  readonly sources = new Set<number>();
  readonly #translator: Translator;

  constructor(options: Partial<BtParameters> = {}) {
    const parameters = { ...BT_USUAL, cacheKb: 16, ...options };
    this.memory = new Uint8Array(cacheBytes(parameters));
    this.#translator = new Translator(profileNamed("pentium4-672"), parameters);
    const write = (offset: number, bytes: Uint8Array): void => this.memory.set(bytes, offset);
    this.cache = new TranslationCache({
      port: { place: write, patch: write },
      options: parameters,
      onSource: (page, isSource) => {
        if (isSource) this.sources.add(page);
        else this.sources.delete(page);
      },
    });
    this.cache.begin();
  }

  unit(eip: number): Unit {
    const code = [0x90, 0xeb, 0x0d];
    const translation = this.#translator.translate(eip, CONTEXT, (linear) => code[linear % 16] ?? 0x90);
    if (translation === null) throw new Error("no unit");
    return this.cache.place(translation, [(eip >>> 12) + 100]);
  }

  /** Where a unit's first direct branch leads. */
  target(unit: Unit): number {
    const [exit] = unit.translation.exits;
    const at = unit.offset + (exit?.patch ?? 0);
    return (CACHE_BASE + at + 4 + new DataView(this.memory.buffer).getInt32(at, true)) >>> 0;
  }

  chain(from: Unit, to: Unit): void {
    const [exit] = from.translation.exits;
    if (exit !== undefined) this.cache.chain(from, exit, to);
  }

  /** The address that the lookup table of `site` has for `eip`; 0 for none. */
  found(site: number, eip: number): number {
    const view = new DataView(this.memory.buffer);
    const table = lookupTable(site, false);
    const tag = view.getInt32(table + 4 * (eip & 0xff), true);
    return ((tag + eip) | 0) === 0 ? view.getUint32(table + 1024 + 4 * (tag & 0xff), true) : 0;
  }
}

describe("a unit", () => {
  test("is found by EIP and context, and by address", () => {
    const fixture = new Fixture();
    expect(fixture.cache.lookup(0x1000, CONTEXT)).toBeUndefined();
    const unit = fixture.unit(0x1000);
    expect(fixture.cache.lookup(0x1000, CONTEXT)).toBe(unit);
    expect(fixture.cache.lookup(0x1000, { ...CONTEXT, bits: 16 })).toBeUndefined();
    expect(fixture.cache.find(unit.address)).toBe(unit);
    expect(fixture.cache.find(unit.address + unit.translation.bytes.length)).toBeUndefined();
  });

  test("leads to its call-out until it is chained, and again when its target is dropped", () => {
    const fixture = new Fixture();
    const [from, to] = [fixture.unit(0x1000), fixture.unit(0x1010)];
    const stub = from.address + (from.translation.exits[0]?.stub ?? 0);
    expect(fixture.target(from)).toBe(stub);
    fixture.chain(from, to);
    expect(fixture.target(from)).toBe(to.address);
    expect(fixture.cache.invalidate(101 * 4096 + 0x10, 1)).toBe(1);
    expect(fixture.target(from)).toBe(stub);
    expect(fixture.cache.lookup(0x1010, CONTEXT)).toBeUndefined();
    expect(fixture.cache.statistics.counters()).toMatchObject({ "bt.exits.chained": 1, "bt.invalidations": 1 });
  });

  test("stays when other bytes of its page, or of its granule, are written", () => {
    const fixture = new Fixture();
    fixture.unit(0x1000);
    expect(fixture.cache.invalidate(101 * 4096 + 3, 13)).toBe(0);
    expect(fixture.cache.invalidate(100 * 4096, 4096)).toBe(0);
    expect(fixture.cache.invalidate(101 * 4096 + 2, 1)).toBe(1);
  });

  test("makes its page a source of translations, for as long as there is one", () => {
    const fixture = new Fixture();
    fixture.unit(0x1000);
    fixture.unit(0x1020);
    expect([...fixture.sources]).toEqual([101]);
    fixture.cache.invalidate(101 * 4096, 1);
    expect([...fixture.sources]).toEqual([101]);
    fixture.cache.invalidate(101 * 4096 + 0x20, 1);
    expect([...fixture.sources]).toEqual([]);
  });

  test("that is detached comes back when its page is where it was", () => {
    const fixture = new Fixture();
    const unit = fixture.unit(0x1000);
    fixture.cache.detach(unit);
    expect(fixture.cache.lookup(0x1000, CONTEXT)).toBeUndefined();
    expect(fixture.cache.revive(0x1000, CONTEXT, () => 7)).toBeUndefined();
    expect(fixture.cache.revive(0x1000, CONTEXT, (page) => page + 100)).toBe(unit);
    expect(fixture.cache.lookup(0x1000, CONTEXT)).toBe(unit);
  });

  test("that is armed calls out where it ends, chained or not, and is itself again", () => {
    const fixture = new Fixture();
    const [unit, to] = [fixture.unit(0x1000), fixture.unit(0x1010)];
    const end = unit.offset + unit.translation.boundary;
    const before = fixture.memory.slice(end, end + 5);
    fixture.cache.arm(unit);
    expect([...fixture.memory.slice(end, end + 2)]).toEqual([...CALL_OUT]);
    expect(fixture.cache.arrival(CACHE_BASE + end)?.kind).toBe("armed");
    fixture.chain(unit, to);
    expect([...fixture.memory.slice(end, end + 2)]).toEqual([...CALL_OUT]);
    fixture.cache.disarm(unit);
    expect(fixture.memory[end]).toBe(before[0]);
    expect(fixture.target(unit)).toBe(to.address);
  });
});

describe("the lookup tables", () => {
  test("have the targets of the context in use, until their unit goes", () => {
    const fixture = new Fixture();
    const [a, b] = [fixture.unit(0x1000), fixture.unit(0x2000)];
    fixture.cache.learn(0x5000, a);
    expect(fixture.found(0x5000, 0x1000)).toBe(0);
    fixture.cache.use(CONTEXT);
    fixture.cache.learn(0x5000, a);
    expect(fixture.found(0x5000, 0x1000)).toBe(a.address);
    // The same place of the table.
    fixture.cache.learn(0x5000, b);
    expect([fixture.found(0x5000, 0x1000), fixture.found(0x5000, 0x2000)]).toEqual([0, b.address]);
    fixture.cache.detach(b);
    expect(fixture.found(0x5000, 0x2000)).toBe(0);
    fixture.cache.learn(0x5000, a);
    fixture.cache.use({ ...CONTEXT, codeBase: 0x1000 });
    expect(fixture.found(0x5000, 0x1000)).toBe(0);
  });
});

describe("a full cache", () => {
  test("is flushed, and filled again from its beginning", () => {
    const fixture = new Fixture();
    const first = fixture.unit(0x1000);
    let n = 1;
    while (fixture.cache.statistics.flushes === 0) fixture.unit(0x1000 + 16 * n++);
    expect(first.dead).toBe(true);
    expect(fixture.cache.lookup(0x1000, CONTEXT)).toBeUndefined();
    expect(fixture.cache.lookup(0x1000 + 16 * (n - 1), CONTEXT)?.offset).toBe(LOOKUP_BYTES);
    expect(fixture.sources.size).toBe(1);
    expect(fixture.cache.statistics.occupancy).toBeLessThan(64);
  });
});

test("a cache that was saved is the same in other hands", () => {
  const fixture = new Fixture();
  fixture.cache.use(CONTEXT);
  const units = [0x1000, 0x1010, 0x1020, 0x2000].map((eip) => fixture.unit(eip));
  const [a, b, c, d] = units as [Unit, Unit, Unit, Unit];
  fixture.chain(a, b);
  fixture.chain(b, c);
  fixture.cache.learn(0x5000, a);
  fixture.cache.detach(d);
  fixture.cache.invalidate(101 * 4096 + 0x20, 1);
  const saved = structuredClone(fixture.cache.save());
  const other = new Fixture();
  other.memory.set(fixture.memory);
  other.cache.restore(saved);
  expect(other.cache.save()).toEqual(saved);
  expect([...other.cache.classes]).toEqual([...fixture.cache.classes]);
  // What is done to both from here on has the same effect on memory.
  for (const each of [fixture, other]) {
    each.cache.invalidate(101 * 4096 + 0x10, 1);
    each.cache.revive(0x2000, CONTEXT, (page) => page + 100);
    each.unit(0x1020);
    each.cache.use({ ...CONTEXT, limit: 0xffff });
  }
  expect(Buffer.compare(other.memory, fixture.memory)).toBe(0);
  expect(other.cache.save()).toEqual(fixture.cache.save());
});

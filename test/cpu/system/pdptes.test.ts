import { describe, expect, test } from "vitest";
import { CELL, CR0, CR4 } from "../../../sim/cpu/state.ts";
import { writeControl } from "../../../sim/cpu/system/control.ts";
import { loadPdptes } from "../../../sim/cpu/system/pdptes.ts";
import { Fixture } from "./fake-environment.ts";

const TABLE = 0xa020;
const OTHER = 0xa040;
const GOOD = [0x0000_1001, 0xf, 0xffff_fe19, 0, 0xffff_fffe, 0xffff_ffff, 0x0000_2e01, 0];
const PAGED = CR0.PE | CR0.ET | CR0.NE | CR0.PG;

const registers = (f: Fixture): number[] =>
  Array.from(f.state.i32.subarray(CELL.pdpte0, CELL.pdpte0 + 8), (word) => word >>> 0);

/** A processor at CPL 0 with a table at TABLE, another at OTHER, and registers that hold neither. */
function processor(cr0: number, cr4: number, table: readonly number[] = GOOD): Fixture {
  const f = new Fixture();
  f.state.set(CELL.cr0, cr0);
  f.state.set(CELL.cr3, TABLE | 0x18);
  f.state.set(CELL.cr4, cr4);
  for (const [n, word] of table.entries()) f.env.poke(TABLE + 4 * n, 4, word);
  f.state.i32.fill(0x5a, CELL.pdpte0, CELL.pdpte0 + 8);
  return f;
}

describe("PDPTE registers", () => {
  test.each<[what: string, cr: number, cr0: number, cr4: number, change: (f: Fixture) => number]>([
    ["MOV to CR3", 3, PAGED, CR4.PAE, (f) => f.state.get(CELL.cr3)],
    ["MOV to CR0 that sets PG", 0, PAGED & ~CR0.PG, CR4.PAE, () => PAGED],
    ["MOV to CR0 that changes CD", 0, PAGED, CR4.PAE, () => PAGED | CR0.CD],
    ["MOV to CR0 that changes CD and NW", 0, PAGED, CR4.PAE, () => PAGED | CR0.CD | CR0.NW],
    ["MOV to CR4 that sets PAE", 4, PAGED, 0, () => CR4.PAE],
    ["MOV to CR4 that changes PGE", 4, PAGED, CR4.PAE, () => CR4.PAE | CR4.PGE],
    ["MOV to CR4 that changes PSE", 4, PAGED, CR4.PAE, () => CR4.PAE | CR4.PSE],
  ])("are loaded by %s, or #GP(0) leaves everything as it was", (_what, cr, cr0, cr4, change) => {
    const f = processor(cr0, cr4);
    writeControl(f.state, f.env, cr, change(f), 0);
    expect(f.outcome()).toBe("ok");
    expect(registers(f)).toEqual(GOOD);
    // Whoever derives something from them hears of it.
    expect(f.env.log.length).toBeGreaterThan(0);

    const bad = processor(cr0, cr4, [...GOOD.slice(0, 6), 3, 0]);
    const before = bad.snapshot();
    writeControl(bad.state, bad.env, cr, change(bad), 0);
    expect(bad.outcome()).toBe("#GP(0)");
    expect(bad.changes(before)).toEqual([]);
    expect(bad.env.log).toEqual([]);
  });

  test.each<[what: string, cr: number, cr0: number, cr4: number, value: number]>([
    ["MOV to CR3 without PAE", 3, PAGED, CR4.PSE, OTHER],
    ["MOV to CR3 with paging off", 3, PAGED & ~CR0.PG, CR4.PAE, OTHER],
    ["MOV to CR0 that clears PG", 0, PAGED, CR4.PAE, PAGED & ~CR0.PG],
    ["MOV to CR0 that changes WP and TS", 0, PAGED, CR4.PAE, PAGED | CR0.WP | CR0.TS],
    ["MOV to CR4 that clears PAE", 4, PAGED, CR4.PAE, 0],
    ["MOV to CR4 that changes TSD", 4, PAGED, CR4.PAE, CR4.PAE | CR4.TSD],
    ["MOV to CR4 with paging off", 4, PAGED & ~CR0.PG, 0, CR4.PAE],
  ])("are left alone by %s, whatever the table holds", (_what, cr, cr0, cr4, value) => {
    const f = processor(cr0, cr4, [0xffff_ffff, 0xffff_ffff]);
    const before = registers(f);
    writeControl(f.state, f.env, cr, value, 0);
    expect(f.outcome()).toBe("ok");
    expect(registers(f)).toEqual(before);
  });

  test("take no present entry with a bit of 2:1, 8:5 or beyond the physical width, and any other", () => {
    for (let entry = 0; entry < 4; entry++) {
      for (let bit = 1; bit < 64; bit++) {
        const table = [...GOOD];
        table[2 * entry] = bit < 32 ? 1 + 2 ** bit : 1;
        table[2 * entry + 1] = bit < 32 ? 0 : 2 ** (bit - 32);
        const f = processor(PAGED, CR4.PAE, table);
        const before = registers(f);
        const valid = loadPdptes(f.state, f.env, TABLE);
        expect([bit, valid]).toEqual([bit, !(bit === 1 || bit === 2 || (bit >= 5 && bit <= 8) || bit >= 36)]);
        expect(registers(f)).toEqual(valid ? table : before);
      }
    }
  });
});

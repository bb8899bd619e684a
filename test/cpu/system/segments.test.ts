import { describe, expect, test } from "vitest";
import { BLOCKING, CELL, FLAG, RIGHTS, SEG } from "../../../sim/cpu/state.ts";
import {
  blockByMovSs,
  loadAccessRights,
  loadLdt,
  loadSegment,
  loadSegmentLimit,
  loadTaskRegister,
  NOT_ACCESSIBLE,
  segmentLinear,
  verifySegment,
} from "../../../sim/cpu/system/segments.ts";
import {
  AT,
  CODE,
  CONFORMING,
  DATA,
  dplBits,
  Fixture,
  PRESENT,
  SELECTOR,
  segmentDescriptor,
} from "./fake-environment.ts";

const FREE = SELECTOR.free;
const EXECUTE_ONLY = CODE & ~2;
const READ_ONLY = DATA & ~2;
const NOT_PRESENT = ~PRESENT;
const TSS = 9 | PRESENT;
const CALL_GATE = 12 | PRESENT;

/** [what, segment, CPL, selector, rights of the free descriptor, expected]. */
type Load = readonly [what: string, segment: number, cpl: number, selector: number, rights: number, expected: string];
const LOADS: readonly Load[] = [
  ["DS null", SEG.ds, 0, 0, 0, "ok"],
  ["DS null with RPL 3", SEG.ds, 3, 3, 0, "ok"],
  ["DS beyond the GDT", SEG.ds, 0, 0x200, 0, "#GP(200)"],
  ["DS beyond the GDT, RPL is not in the error code", SEG.ds, 0, 0x203, 0, "#GP(200)"],
  ["DS last descriptor of the GDT", SEG.ds, 0, 0x1f8, 0, "#GP(1f8)"],
  ["DS beyond the LDT", SEG.ds, 0, 0x204, 0, "#GP(204)"],
  ["DS writable data", SEG.ds, 0, FREE, DATA, "ok"],
  ["ES read-only data", SEG.es, 0, FREE, READ_ONLY, "ok"],
  ["FS expand-down data", SEG.fs, 0, FREE, DATA | 4, "ok"],
  ["GS readable code", SEG.gs, 0, FREE, CODE, "ok"],
  ["DS execute-only code", SEG.ds, 0, FREE, EXECUTE_ONLY, "#GP(60)"],
  ["DS execute-only conforming code", SEG.ds, 0, FREE, CONFORMING & ~2, "#GP(60)"],
  ["DS TSS", SEG.ds, 0, FREE, TSS, "#GP(60)"],
  ["DS call gate", SEG.ds, 0, FREE, CALL_GATE, "#GP(60)"],
  ["DS data of an outer ring", SEG.ds, 0, FREE, DATA | dplBits(3), "ok"],
  ["DS data of an inner ring", SEG.ds, 3, FREE, DATA, "#GP(60)"],
  ["DS data with too weak an RPL", SEG.ds, 0, FREE | 1, DATA, "#GP(60)"],
  ["DS data with RPL equal to DPL", SEG.ds, 0, FREE | 1, DATA | dplBits(1), "ok"],
  ["DS nonconforming code of an inner ring", SEG.ds, 3, FREE, CODE, "#GP(60)"],
  ["DS conforming code of an inner ring", SEG.ds, 3, FREE | 3, CONFORMING, "ok"],
  ["DS not present", SEG.ds, 0, FREE, DATA & NOT_PRESENT, "#NP(60)"],
  ["DS not present and not permitted", SEG.ds, 3, FREE, DATA & NOT_PRESENT, "#GP(60)"],
  ["SS null", SEG.ss, 0, 0, 0, "#GP(0)"],
  ["SS null with RPL 3", SEG.ss, 3, 3, 0, "#GP(0)"],
  ["SS beyond the GDT", SEG.ss, 0, 0x300, 0, "#GP(300)"],
  ["SS writable data", SEG.ss, 0, FREE, DATA, "ok"],
  ["SS of ring 3", SEG.ss, 3, FREE | 3, DATA | dplBits(3), "ok"],
  ["SS read-only data", SEG.ss, 0, FREE, READ_ONLY, "#GP(60)"],
  ["SS code", SEG.ss, 0, FREE, CODE, "#GP(60)"],
  ["SS with an RPL other than CPL", SEG.ss, 0, FREE | 1, DATA, "#GP(60)"],
  ["SS with a DPL outside CPL", SEG.ss, 0, FREE, DATA | dplBits(3), "#GP(60)"],
  ["SS with a DPL inside CPL", SEG.ss, 3, FREE | 3, DATA | dplBits(2), "#GP(60)"],
  ["SS not present", SEG.ss, 0, FREE, DATA & NOT_PRESENT, "#SS(60)"],
  ["SS LDT descriptor", SEG.ss, 0, FREE, 2 | PRESENT, "#GP(60)"],
];

describe("segment register loads", () => {
  test.each(LOADS)("%s", (_what, segment, cpl, selector, rights, expected) => {
    const f = new Fixture(cpl).gdt(FREE, segmentDescriptor(rights, 0x12345678, 0x23));
    const before = f.snapshot();
    loadSegment(f.state, f.env, segment, selector);
    expect(f.outcome()).toBe(expected);
    if (expected !== "ok") {
      expect(f.changes(before)).toEqual([]);
      return;
    }
    expect(f.state.selector(segment)).toBe(selector);
    if ((selector & ~3) === 0) {
      expect(f.state.segmentRights(segment)).toBe(RIGHTS.UNUSABLE);
      return;
    }
    expect(f.state.segmentBase(segment)).toBe(0x12345678);
    expect(f.state.segmentLimit(segment)).toBe(0x23fff);
    expect(f.state.segmentRights(segment)).toBe(rights | RIGHTS.ACCESSED);
    expect(f.env.peek(AT.gdt + FREE + 5, 1) & 1).toBe(1);
  });

  test("a selector with the table indicator reads the LDT", () => {
    const f = new Fixture().ldt(0x1c, segmentDescriptor(DATA, 0x777));
    loadSegment(f.state, f.env, SEG.ds, 0x1c);
    expect(f.outcome()).toBe("ok");
    expect(f.state.segmentBase(SEG.ds)).toBe(0x777);
  });

  test("without an LDT every LDT selector is beyond its table", () => {
    const f = new Fixture();
    loadLdt(f.state, f.env, 0);
    loadSegment(f.state, f.env, SEG.ds, 4);
    expect(f.outcome()).toBe("#GP(4)");
  });

  test("the accessed bit is written only when it is clear", () => {
    const f = new Fixture().gdt(FREE, segmentDescriptor(DATA | 1));
    f.env.readOnly.add(AT.gdt >>> 12);
    loadSegment(f.state, f.env, SEG.ds, FREE);
    expect(f.outcome()).toBe("ok");
    f.gdt(FREE, segmentDescriptor(DATA, 0x5000));
    const before = f.snapshot();
    loadSegment(f.state, f.env, SEG.ds, FREE);
    expect(f.outcome()).toBe(`#PF(3) at ${(AT.gdt + FREE + 5).toString(16)}`);
    expect(f.changes(before)).toEqual([]);
  });

  test("a descriptor on an absent page is a supervisor page fault", () => {
    const f = new Fixture(3);
    f.env.absent.add(AT.gdt >>> 12);
    loadSegment(f.state, f.env, SEG.ds, SELECTOR.data[3]);
    expect(f.outcome()).toBe(`#PF(0) at ${(AT.gdt + 0x40).toString(16)}`);
  });

  test("virtual-8086 mode gives base, limit and rights without a descriptor", () => {
    const f = new Fixture(3);
    f.state.flags |= FLAG.VM;
    loadSegment(f.state, f.env, SEG.ds, 0x1234);
    expect(f.outcome()).toBe("ok");
    expect(f.state.segmentBase(SEG.ds)).toBe(0x12340);
    expect(f.state.segmentLimit(SEG.ds)).toBe(0xffff);
    expect(f.state.segmentRights(SEG.ds)).toBe(0xf3);
  });

  test("MOV SS blocks interrupts for an instruction", () => {
    const f = new Fixture();
    blockByMovSs(f.state);
    expect(f.state.get(CELL.interruptibility)).toBe(BLOCKING.MOV_SS);
  });
});

/** [what, rights, limit, offset, bytes, write, fits]. */
type Access = readonly [
  what: string,
  rights: number,
  limit: number,
  offset: number,
  bytes: number,
  write: boolean,
  fits: boolean,
];
const ACCESSES: readonly Access[] = [
  ["last byte", DATA, 0xfff, 0xfff, 1, false, true],
  ["first byte beyond", DATA, 0xfff, 0x1000, 1, false, false],
  ["doubleword ending at the limit", DATA, 0xfff, 0xffc, 4, true, true],
  ["doubleword ending one beyond", DATA, 0xfff, 0xffd, 4, true, false],
  ["wrapping doubleword below a limit", DATA, 0xfffffffe, 0xffffffff, 4, false, false],
  ["wrapping doubleword, flat limit", DATA, 0xffffffff, 0xfffffffe, 4, false, true],
  ["expand-down, at the limit", DATA | 4, 0xfff, 0xfff, 1, false, false],
  ["expand-down, first byte above", DATA | 4, 0xfff, 0x1000, 4, true, true],
  ["expand-down, top of a 32-bit segment", DATA | 4, 0xfff, 0xfffffffc, 4, true, true],
  ["expand-down, wrapping", DATA | 4, 0xfff, 0xfffffffd, 4, true, false],
  ["expand-down, top of a 16-bit segment", (DATA | 4) & ~RIGHTS.DB, 0xfff, 0xfffc, 4, true, true],
  ["expand-down, beyond a 16-bit segment", (DATA | 4) & ~RIGHTS.DB, 0xfff, 0xfffd, 4, true, false],
  ["read of read-only data", READ_ONLY, 0xfff, 0, 4, false, true],
  ["write of read-only data", READ_ONLY, 0xfff, 0, 4, true, false],
  ["read of readable code", CODE, 0xfff, 0, 4, false, true],
  ["write of code", CODE, 0xfff, 0, 4, true, false],
  ["read of execute-only code", EXECUTE_ONLY, 0xfff, 0, 4, false, false],
  ["null segment", RIGHTS.UNUSABLE, 0, 0, 1, false, false],
];

describe("accesses through a segment", () => {
  test.each(ACCESSES)("%s", (_what, rights, limit, offset, bytes, write, fits) => {
    for (const segment of [SEG.ds, SEG.ss]) {
      const f = new Fixture();
      f.state.setSegment(segment, FREE, 0x10000, limit, rights);
      const linear = segmentLinear(f.state, segment, offset, bytes, write);
      expect(f.outcome()).toBe(fits ? "ok" : segment === SEG.ss ? "#SS(0)" : "#GP(0)");
      if (fits) expect(linear).toBe((0x10000 + offset) % 2 ** 32);
    }
  });
});

const OTHER = SELECTOR.other;
type SystemLoad = readonly [what: string, cpl: number, selector: number, rights: number, expected: string];
const TR_LOADS: readonly SystemLoad[] = [
  ["available 32-bit TSS", 0, OTHER, 9 | PRESENT, "ok"],
  ["available 16-bit TSS", 0, OTHER, 1 | PRESENT, "ok"],
  ["above CPL 0", 1, OTHER, 9 | PRESENT, "#GP(0)"],
  ["null", 0, 0, 0, "#GP(0)"],
  ["in the LDT", 0, OTHER | 4, 0, "#GP(6c)"],
  ["beyond the GDT", 0, 0x200, 0, "#GP(200)"],
  ["busy TSS", 0, OTHER, 11 | PRESENT, "#GP(68)"],
  ["code", 0, OTHER, CODE, "#GP(68)"],
  ["LDT", 0, OTHER, 2 | PRESENT, "#GP(68)"],
  ["not present", 0, OTHER, 9, "#NP(68)"],
];
const LDTR_LOADS: readonly SystemLoad[] = [
  ["LDT", 0, OTHER, 2 | PRESENT, "ok"],
  ["above CPL 0", 3, OTHER, 2 | PRESENT, "#GP(0)"],
  ["in the LDT", 0, OTHER | 4, 0, "#GP(6c)"],
  ["beyond the GDT", 0, 0x200, 0, "#GP(200)"],
  ["TSS", 0, OTHER, 9 | PRESENT, "#GP(68)"],
  ["data of the same type number", 0, OTHER, DATA, "#GP(68)"],
  ["not present", 0, OTHER, 2, "#NP(68)"],
];

describe("LTR and LLDT", () => {
  test.each(TR_LOADS)("LTR %s", (_what, cpl, selector, rights, expected) => {
    const f = new Fixture(cpl).gdt(OTHER, segmentDescriptor(rights, 0x5000, 0x67));
    const before = f.snapshot();
    loadTaskRegister(f.state, f.env, selector);
    expect(f.outcome()).toBe(expected);
    if (expected !== "ok") {
      expect(f.changes(before)).toEqual([]);
      return;
    }
    expect(f.state.segmentBase(SEG.tr)).toBe(0x5000);
    expect(f.state.segmentRights(SEG.tr)).toBe(rights | 2);
    expect(f.env.peek(AT.gdt + OTHER + 5, 1)).toBe(rights | 2);
  });

  test.each(LDTR_LOADS)("LLDT %s", (_what, cpl, selector, rights, expected) => {
    const f = new Fixture(cpl).gdt(OTHER, segmentDescriptor(rights, 0x5000, 0x67));
    const before = f.snapshot();
    loadLdt(f.state, f.env, selector);
    expect(f.outcome()).toBe(expected);
    if (expected === "ok") expect(f.state.segmentBase(SEG.ldtr)).toBe(0x5000);
    else expect(f.changes(before)).toEqual([]);
  });
});

/** [what, CPL, selector, rights, LAR, LSL, VERR, VERW]. */
type Query = readonly [what: string, cpl: number, selector: number, rights: number, visible: readonly boolean[]];
const QUERIES: readonly Query[] = [
  ["data", 0, FREE, DATA, [true, true, true, true]],
  ["read-only data", 0, FREE, READ_ONLY, [true, true, true, false]],
  ["readable code", 0, FREE, CODE, [true, true, true, false]],
  ["execute-only code", 0, FREE, EXECUTE_ONLY, [true, true, false, false]],
  ["data of an inner ring", 3, FREE, DATA, [false, false, false, false]],
  ["data with too weak an RPL", 0, FREE | 3, DATA, [false, false, false, false]],
  ["conforming code of an inner ring", 3, FREE | 3, CONFORMING, [true, true, true, false]],
  ["data not present", 0, FREE, DATA & NOT_PRESENT, [true, true, true, true]],
  ["available TSS", 0, FREE, TSS, [true, true, false, false]],
  ["call gate", 0, FREE, CALL_GATE, [true, false, false, false]],
  ["task gate", 0, FREE, 5 | PRESENT, [true, false, false, false]],
  ["interrupt gate", 0, FREE, 14 | PRESENT, [false, false, false, false]],
  ["null", 0, 0, DATA, [false, false, false, false]],
  ["beyond the table", 0, 0x200, DATA, [false, false, false, false]],
];

describe("LAR, LSL, VERR, VERW", () => {
  test.each(QUERIES)("%s", (_what, cpl, selector, rights, visible) => {
    const f = new Fixture(cpl).gdt(FREE, segmentDescriptor(rights, 0, 0x23));
    const { state, env } = f;
    const seen: boolean[] = [];
    const see = () => seen.push((state.flags & FLAG.ZF) !== 0);
    const access = loadAccessRights(state, env, selector);
    see();
    const limit = loadSegmentLimit(state, env, selector);
    see();
    verifySegment(state, env, selector, false);
    see();
    verifySegment(state, env, selector, true);
    see();
    expect(f.outcome()).toBe("ok");
    expect(seen).toEqual(visible);
    expect(access).toBe(visible[0] ? (rights & 0xf0ff) << 8 : NOT_ACCESSIBLE);
    expect(limit).toBe(visible[1] ? ((rights & RIGHTS.G) !== 0 ? 0x23fff : 0x23) : NOT_ACCESSIBLE);
  });

  test("a page fault of the descriptor's read leaves ZF alone", () => {
    const f = new Fixture();
    f.env.absent.add(AT.gdt >>> 12);
    f.state.flags |= FLAG.ZF;
    expect(loadAccessRights(f.state, f.env, FREE)).toBe(NOT_ACCESSIBLE);
    expect(f.outcome()).toBe(`#PF(0) at ${(AT.gdt + FREE).toString(16)}`);
    expect(f.state.flags & FLAG.ZF).toBe(FLAG.ZF);
  });
});

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  PAGING_32,
  PAGING_EPT,
  PAGING_LONG,
  PAGING_PAE,
  type PagingFeatures,
  type PagingFormat,
  tablesOf,
} from "../../sim/memory/page-tables.ts";
import { REASON } from "../../sim/memory/physical.ts";
import {
  FIRST_STAGE_REASONS,
  PF,
  SECOND_STAGE_REASONS,
  type SecondStage,
  WALK,
  WALK_OUTCOME,
  type WalkContext,
  WalkResult,
  walk,
} from "../../sim/memory/walk.ts";
import { type OracleControls, oracleWalk } from "./oracle.ts";

/** Sparse memory of 32-bit words. */
class Words {
  readonly words = new Map<number, number>();
  readonly reasons: number[] = [];
  /** Updates by address, in order. */
  readonly updates: (readonly [address: number, value: number])[] = [];
  readTable(address: number, reason: number): number {
    if (reason >= 0) this.reasons.push(reason);
    return this.words.get(address) ?? 0;
  }
  updateTable(address: number, value: number): void {
    this.words.set(address, value);
    this.updates.push([address, value]);
  }
  set64(address: number, entry: bigint): void {
    this.words.set(address, Number(entry & 0xffffffffn) | 0);
    this.words.set(address + 4, Number(entry >> 32n) | 0);
  }
  get64(address: number): bigint {
    const word = (at: number) => BigInt((this.words.get(at) ?? 0) >>> 0);
    return word(address) | (word(address + 4) << 32n);
  }
}

function contextOf(memory: Words, options: Partial<WalkContext> = {}): WalkContext {
  return {
    root: 0x1000,
    writeProtect: true,
    globalPages: true,
    fetchInErrorCode: false,
    memory,
    reasons: FIRST_STAGE_REASONS,
    secondStage: null,
    result: new WalkResult(),
    ...options,
  };
}

const WIDTH36: PagingFeatures = { physicalAddressBits: 36, pse: true, pse36: true };

describe("page walk, 32-bit paging", () => {
  const tables = tablesOf(PAGING_32, WIDTH36);
  const setUp = (pde: number, pte: number): Words => {
    const memory = new Words();
    memory.words.set(0x1000 + 1 * 4, pde);
    memory.words.set(0x2000 + 2 * 4, pte);
    return memory;
  };
  const LINEAR = 0x00402123;

  it("translates through two references and sets A, and D on a write only", () => {
    const memory = setUp(0x2007, 0x9007);
    const context = contextOf(memory);
    const result = walk(tables, context, LINEAR, WALK.USER);
    expect(result.outcome).toBe(WALK_OUTCOME.TRANSLATED);
    expect([result.pageBase, result.pageShift, result.updates, result.dirty]).toEqual([0x9000, 12, 2, false]);
    expect(Array.from(result.referenceAddress.subarray(0, result.references))).toEqual([0x1004, 0x2008]);
    expect(memory.reasons).toEqual([REASON.pde, REASON.pte]);
    expect([memory.words.get(0x1004), memory.words.get(0x2008)]).toEqual([0x2027, 0x9027]);
    expect(walk(tables, context, LINEAR, WALK.READ).updates).toBe(0);
    const written = walk(tables, context, LINEAR, WALK.WRITE | WALK.USER);
    expect([written.updates, written.dirty]).toEqual([1, true]);
    expect([memory.words.get(0x1004), memory.words.get(0x2008)]).toEqual([0x2027, 0x9067]);
  });

  it("leaves A and D alone in every entry when the walk ends in a fault", () => {
    for (const [pde, pte] of [
      [0x2007, 0x9006],
      [0x2005, 0x9007],
    ] as const) {
      const memory = setUp(pde, pte);
      const result = walk(tables, contextOf(memory), LINEAR, WALK.WRITE | WALK.USER);
      expect(result.outcome).not.toBe(WALK_OUTCOME.TRANSLATED);
      expect([memory.words.get(0x1004), memory.words.get(0x2008)]).toEqual([pde, pte]);
    }
  });

  it("maps a 4 MB page with address bits 39:32 from PSE-36 as far as the physical width goes", () => {
    const memory = new Words();
    memory.words.set(0x1004, 0x00c00087 | (0xa << 13));
    const result = walk(tables, contextOf(memory), 0x00712345, WALK.READ);
    expect([result.pageBase, result.pageShift, result.references]).toEqual([0xa00c00000, 22, 1]);
    memory.words.set(0x1004, 0x00c00087 | (0x1a << 13));
    expect(walk(tables, contextOf(memory), 0x00712345, WALK.READ).errorCode).toBe(PF.P | PF.RSVD);
  });

  it("ignores PS without CR4.PSE", () => {
    const memory = setUp(0x2087, 0x9007);
    const result = walk(tablesOf(PAGING_32, { physicalAddressBits: 36 }), contextOf(memory), LINEAR, WALK.READ);
    expect([result.pageBase, result.pageShift]).toEqual([0x9000, 12]);
  });

  it("reports a missing page table entry as not present even where a directory entry would deny the access", () => {
    const memory = setUp(0x2001, 0);
    const result = walk(tables, contextOf(memory), LINEAR, WALK.WRITE | WALK.USER);
    expect([result.outcome, result.errorCode]).toEqual([WALK_OUTCOME.NOT_PRESENT, PF.WR | PF.US]);
  });
});

describe("page walk against an oracle from the manual's prose", () => {
  const MODES: Record<OracleControls["mode"], PagingFormat> = {
    "32-bit": PAGING_32,
    PAE: PAGING_PAE,
    "4-level": PAGING_LONG,
  };
  /** Tables live in eight pages, so that entries often lead to other tables, themselves or rubbish. */
  const TABLE_PAGES = 8n;
  const rare = fc.integer({ min: 0, max: 15 }).map((n) => n === 0);
  const often = fc.integer({ min: 0, max: 15 }).map((n) => n !== 0);

  /** Entries with plausible flags: P, R/W and U/S mostly set, reserved bits rarely. */
  const entry = fc
    .record({
      page: fc.bigInt({ min: 1n, max: TABLE_PAGES }),
      present: often,
      write: often,
      user: often,
      ad: fc.bigInt({ min: 0n, max: 3n }),
      large: fc.boolean(),
      global: fc.boolean(),
      low: fc.oneof(
        { weight: 4, arbitrary: fc.constant(0n) },
        { weight: 2, arbitrary: fc.bigInt({ min: 0n, max: 9n }).map((n) => 1n << n) },
        { weight: 1, arbitrary: fc.bigInt({ min: 0n, max: 0x3ffn }) },
      ),
      high: fc.oneof(
        { weight: 8, arbitrary: fc.constant(0n) },
        { weight: 1, arbitrary: fc.integer({ min: 32, max: 62 }).map((n) => 1n << BigInt(n)) },
      ),
      xd: rare,
    })
    .map((e) => {
      const pageOrLarge = e.large && e.low === 0n ? (e.page - 1n) << 30n : e.page << 12n;
      return (
        BigInt(e.present) |
        (BigInt(e.write) << 1n) |
        (BigInt(e.user) << 2n) |
        (e.ad << 5n) |
        (BigInt(e.large) << 7n) |
        (BigInt(e.global) << 8n) |
        pageOrLarge |
        (e.low << 12n) |
        e.high |
        (BigInt(e.xd) << 63n)
      );
    });

  const controls = fc.record({
    mode: fc.constantFrom<OracleControls["mode"]>("32-bit", "PAE", "4-level"),
    wp: fc.boolean(),
    pse: fc.boolean(),
    pge: fc.boolean(),
    nxe: fc.boolean(),
    pse36: fc.boolean(),
    pages1G: fc.boolean(),
    maxPhyAddr: fc.constantFrom(32n, 36n, 40n, 48n),
    pdptes: fc.array(entry, { minLength: 4, maxLength: 4 }),
  });
  const access = fc.oneof(
    fc.record({ write: fc.boolean(), user: fc.boolean(), fetch: fc.constant(false) }),
    fc.record({ write: fc.constant(false), user: fc.boolean(), fetch: fc.constant(true) }),
  );

  it("agrees in translation, permissions, error code and A and D bits for every format", () => {
    let translated = 0;
    let faults = 0;
    const codes = new Set<number>();
    fc.assert(
      fc.property(
        controls,
        // Few distinct indices, so that entries are found again at several levels.
        fc.array(entry, { minLength: 4, maxLength: 40 }),
        fc.array(fc.tuple(fc.bigInt({ min: 0n, max: 0xffffffffffffn }), access), { minLength: 1, maxLength: 12 }),
        (given, entries, accesses) => {
          const oracle: OracleControls = { ...given, cr3: 0x1000n };
          const memory = new Words();
          const bytes = oracle.mode === "32-bit" ? 4 : 8;
          // Every word of the table pages is filled by going round the entries.
          for (let i = 0; i < Number(TABLE_PAGES) * (4096 / bytes); i++) {
            const value = entries[(i * 7 + (i >> 5)) % entries.length] as bigint;
            const at = 0x1000 + i * bytes;
            if (bytes === 8) memory.set64(at, value);
            else memory.words.set(at, Number(value & 0xffffffffn) | 0);
          }
          const tables = tablesOf(MODES[oracle.mode], {
            physicalAddressBits: Number(oracle.maxPhyAddr),
            pse: oracle.pse,
            pse36: oracle.pse36,
            pages1G: oracle.pages1G,
            nxe: oracle.nxe,
          });
          const context = contextOf(memory, {
            writeProtect: oracle.wp,
            globalPages: oracle.pge,
            fetchInErrorCode: oracle.nxe && oracle.mode !== "32-bit",
            pdptes: oracle.pdptes.map((e) => [Number(e & 0xffffffffn) | 0, Number(e >> 32n) | 0] as const),
          });
          for (const [address, kind] of accesses) {
            const linear = oracle.mode === "4-level" ? address : address & 0xffffffffn;
            memory.updates.length = 0;
            const expected = oracleWalk(oracle, linear, kind, (at, size) => {
              const word = (n: bigint) => BigInt((memory.words.get(Number(n)) ?? 0) >>> 0);
              return size === 4 ? word(at) : word(at) | (word(at + 4n) << 32n);
            });
            const flags = (kind.write ? WALK.WRITE : 0) | (kind.user ? WALK.USER : 0) | (kind.fetch ? WALK.FETCH : 0);
            const got = walk(tables, context, Number(linear), flags);
            if ("errorCode" in expected) {
              faults++;
              codes.add(expected.errorCode);
              expect(got.outcome).not.toBe(WALK_OUTCOME.TRANSLATED);
              expect(got.errorCode).toBe(expected.errorCode);
              expect(memory.updates).toEqual([]);
              continue;
            }
            translated++;
            expect(got.outcome).toBe(WALK_OUTCOME.TRANSLATED);
            expect(BigInt(got.pageBase) + (linear & ((1n << BigInt(got.pageShift)) - 1n))).toBe(expected.physical);
            expect([got.pageShift, got.writable, got.user, got.executable, got.global]).toEqual([
              expected.pageShift,
              expected.writable,
              expected.user,
              expected.executable,
              expected.global,
            ]);
            const marked = expected.marked.map(([at, value]) => [Number(at), Number(value & 0xffffffffn) | 0] as const);
            // Every update is one that the oracle makes; afterwards every entry has its flags (one used at two levels
            // those of both).
            for (const update of memory.updates) expect(marked).toContainEqual(update);
            for (const [at, word] of marked) expect((memory.words.get(at) as number) & word).toBe(word);
          }
        },
      ),
      { numRuns: 1000, seed: 20060101 },
    );
    // The generator reaches what it is meant to reach.
    expect(translated).toBeGreaterThan(500);
    expect(faults).toBeGreaterThan(500);
    for (const code of [0, 2, 3, 4, 5, 6, 7, 9, 16, 17, 21, 25]) expect(codes).toContain(code);
  });
});

describe("two-dimensional walk", () => {
  /** Guest tables at 0x10000.. map linear to 0x50000; second-stage tables at 0x100000.. add 0x1000000 to addresses. */
  const HOST = 0x1000000n;
  const TARGET = 0x50000;
  const LINEAR = 0x7f1234567abc;

  function setUp(options: { guestPte?: bigint; eptFlags?: (page: number) => bigint; accessedDirty?: boolean } = {}) {
    const memory = new Words();
    const guestFrames = [0x10000, 0x11000, 0x12000, 0x13000];
    const shifts = [39n, 30n, 21n, 12n];
    for (let n = 0; n < 4; n++) {
      const index = Number((BigInt(LINEAR) >> (shifts[n] as bigint)) & 511n);
      const next = n < 3 ? BigInt(guestFrames[n + 1] as number) | 7n : BigInt(TARGET) | 7n;
      memory.set64((guestFrames[n] as number) + Number(HOST) + index * 8, n === 3 ? (options.guestPte ?? next) : next);
    }
    memory.set64(0x100000, 0x101000n | 7n);
    memory.set64(0x101000, 0x102000n | 7n);
    memory.set64(0x102000, 0x103000n | 7n);
    for (let page = 0; page < 512; page++) {
      const flags = options.eptFlags?.(page) ?? 7n;
      memory.set64(0x103000 + page * 8, (BigInt(page) * 4096n + HOST) | flags);
    }
    const ept = tablesOf(PAGING_EPT, {
      physicalAddressBits: 40,
      eptAccessedDirty: options.accessedDirty === true,
    });
    const secondStage: SecondStage = {
      tables: ept,
      context: contextOf(memory, { root: 0x100000, reasons: SECOND_STAGE_REASONS }),
    };
    const tables = tablesOf(PAGING_LONG, { physicalAddressBits: 40, nxe: true });
    return { memory, tables, context: contextOf(memory, { root: 0x10000, secondStage }) };
  }

  it("makes 24 references for four levels over four, in the hardware's order", () => {
    const { memory, tables, context } = setUp();
    const result = walk(tables, context, LINEAR, WALK.READ);
    expect(result.outcome).toBe(WALK_OUTCOME.TRANSLATED);
    expect(result.pageBase).toBe(TARGET + Number(HOST));
    expect(result.references).toBe(24);
    const nested = [REASON["nested-pml4e"], REASON["nested-pdpte"], REASON["nested-pde"], REASON["nested-pte"]];
    const order = [REASON.pml4e, REASON.pdpte, REASON.pde, REASON.pte].flatMap((own) => [...nested, own]);
    expect(memory.reasons).toEqual([...order, ...nested]);
    expect(Array.from(result.referenceReason.subarray(0, 24))).toEqual(memory.reasons);
  });

  it("combines the permissions of both stages", () => {
    const { tables, context } = setUp({ eptFlags: (page) => (page === TARGET >> 12 ? 1n : 7n) });
    const result = walk(tables, context, LINEAR, WALK.READ);
    expect([result.writable, result.executable]).toEqual([false, false]);
    const write = walk(tables, context, LINEAR, WALK.WRITE);
    expect(write.outcome).toBe(WALK_OUTCOME.SECOND_STAGE);
    expect([write.secondStageAddress, write.secondStageTable]).toEqual([TARGET + 0xabc, false]);
  });

  it("reports a guest table that the second stage does not map, with its guest-physical address", () => {
    const { tables, context } = setUp({ eptFlags: (page) => (page === 0x12 ? 0n : 7n) });
    const result = walk(tables, context, LINEAR, WALK.READ);
    expect([result.outcome, result.secondStageTable]).toEqual([WALK_OUTCOME.SECOND_STAGE, true]);
    expect(Math.floor(result.secondStageAddress / 4096)).toBe(0x12);
    expect(result.references).toBe(4 + 1 + 4 + 1 + 4);
  });

  it("does not mark a guest table that the second stage keeps read-only", () => {
    const { memory, tables, context } = setUp({ eptFlags: (page) => (page === 0x13 ? 5n : 7n) });
    const before = new Map(memory.words);
    const result = walk(tables, context, LINEAR, WALK.READ);
    expect([result.outcome, result.secondStageTable]).toEqual([WALK_OUTCOME.SECOND_STAGE, true]);
    expect(memory.words).toEqual(before);
  });

  it("gives guest faults priority by the order of references", () => {
    const { tables, context } = setUp({ guestPte: 0n });
    const result = walk(tables, context, LINEAR, WALK.READ);
    expect([result.outcome, result.faultLevel, result.references]).toEqual([WALK_OUTCOME.NOT_PRESENT, 3, 20]);
  });

  it("calls write-only second-stage entries misconfigured", () => {
    const { tables, context } = setUp({ eptFlags: () => 2n });
    const result = walk(tables, context, LINEAR, WALK.READ);
    expect(result.outcome).toBe(WALK_OUTCOME.SECOND_STAGE);
    expect(context.secondStage?.context.result.outcome).toBe(WALK_OUTCOME.RESERVED);
  });

  it("denies writes by the second stage also while CR0.WP is clear", () => {
    const { tables, context } = setUp({ eptFlags: (page) => (page === TARGET >> 12 ? 5n : 7n) });
    const stage = context.secondStage as SecondStage;
    const secondStage = { ...stage, context: { ...stage.context, writeProtect: false } };
    const result = walk(tables, { ...context, writeProtect: false, secondStage }, LINEAR, WALK.WRITE);
    expect(result.outcome).toBe(WALK_OUTCOME.SECOND_STAGE);
  });

  it("sets second-stage A and D flags when they are enabled", () => {
    const { memory, tables, context } = setUp({ accessedDirty: true });
    walk(tables, context, LINEAR, WALK.WRITE);
    const leaf = memory.get64(0x103000 + (TARGET >> 12) * 8);
    expect(leaf & 0x300n).toBe(0x300n);
    expect(memory.get64(0x100000) & 0x300n).toBe(0x100n);
  });
});

// 64-bit micro-ops, put together by hand as a later lifter would, against big integers.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Clock } from "../../sim/clock.ts";
import { execute } from "../../sim/cpu/interpreter.ts";
import { type MicroOp, type MicroOpFields, microOp, OP } from "../../sim/cpu/micro-ops.ts";
import { CELL, FLAG, GPR, gprCell, SEG, temporaryCell } from "../../sim/cpu/state.ts";
import { Ledger, TIME_AREA_CELLS } from "../../sim/ledger.ts";
import { Fixture, MEMORY_BYTES } from "./system/fake-environment.ts";

const ledger = new Ledger(new Clock(new Float64Array(TIME_AREA_CELLS), 1000));
const T = temporaryCell(0);
const [RAX, RCX, RDX, R9] = [gprCell(0), gprCell(1), gprCell(2), gprCell(9)];
const LENGTH = 4;

/** An instruction of four bytes made of the given micro-ops. */
function instruction(...ops: [op: number, fields: MicroOpFields][]): MicroOp[] {
  const body = ops.map(([op, fields]) => microOp(op, fields));
  return [microOp(OP.BEGIN, { x: LENGTH }), ...body, microOp(OP.END, { imm: LENGTH })];
}

class Machine64 extends Fixture {
  set(cell: number, value: bigint): this {
    this.state.u64[cell >> 1] = BigInt.asUintN(64, value);
    return this;
  }
  get(cell: number): bigint {
    return this.state.u64[cell >> 1] as bigint;
  }
  run(ops: MicroOp[]): this {
    execute(ops, 0, null, this.state, this.env, ledger);
    return this;
  }
  memory64(at: number): bigint {
    return new DataView(this.env.memory.buffer).getBigUint64(at, true);
  }
  setMemory64(at: number, value: bigint): this {
    new DataView(this.env.memory.buffer).setBigUint64(at, value, true);
    return this;
  }
}

const u64 = fc.oneof(
  fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
  fc.bigInt({ min: (1n << 53n) - 4n, max: (1n << 53n) + 4n }),
  fc.constantFrom(0n, 1n, (1n << 63n) - 1n, 1n << 63n, (1n << 64n) - 1n, 1n << 32n, (1n << 32n) - 1n),
);
const wrap = (value: bigint): bigint => BigInt.asUintN(64, value);
const signed = (value: bigint): bigint => BigInt.asIntN(64, value);

/** SF, ZF, PF by counting. */
function resultFlags(result: bigint): number {
  const ones = (result & 0xffn).toString(2).replaceAll("0", "").length;
  return (ones % 2 === 0 ? FLAG.PF : 0) | (result === 0n ? FLAG.ZF : 0) | (signed(result) < 0n ? FLAG.SF : 0);
}
const AND_AF = ~FLAG.AF;

describe("ADD r64, r64 and SUB", () => {
  const add = instruction([OP.ADD64, { d: RAX, a: RAX, b: R9 }]);
  const sub = instruction([OP.SUB64, { d: RAX, a: RAX, b: R9 }]);

  test("give sum, difference and all flags", () => {
    fc.assert(
      fc.property(u64, u64, (a, b) => {
        for (const [ops, exact, signedExact, nibble] of [
          [add, a + b, signed(a) + signed(b), (a & 15n) + (b & 15n)],
          [sub, a - b, signed(a) - signed(b), (a & 15n) - (b & 15n)],
        ] as const) {
          const m = new Machine64().set(RAX, a).set(R9, b).run(ops);
          const result = wrap(exact);
          let flags = resultFlags(result);
          if (exact !== result) flags |= FLAG.CF;
          if (signedExact !== signed(result)) flags |= FLAG.OF;
          if (nibble < 0n || nibble > 15n) flags |= FLAG.AF;
          expect(m.get(RAX)).toBe(result);
          expect(m.get(R9)).toBe(b);
          expect(m.state.flags).toBe(flags | FLAG.ONE);
          expect(m.state.eip).toBe(0x1234 + LENGTH);
        }
      }),
      { seed: 1, numRuns: 400 },
    );
  });
});

describe("MOV r64 from a RIP-relative address", () => {
  /** The displacement counts from the next instruction. */
  const load = (displacement: number): MicroOp[] =>
    instruction(
      [OP.ADDRESS64, { d: T, a: CELL.rip, b: CELL.zero, imm: displacement + LENGTH }],
      [OP.LOAD64, { d: RAX, a: T, x: SEG.ds }],
    );

  test("reads eight bytes at RIP + length + displacement, aligned or not, forwards and backwards", () => {
    fc.assert(
      fc.property(u64, fc.integer({ min: -0x1000, max: 0x1000 }), (value, displacement) => {
        const at = 0x4000 + LENGTH + displacement;
        const m = new Machine64().set(CELL.rip, 0x4000n).setMemory64(at, value).run(load(displacement));
        expect(m.outcome()).toBe("ok");
        expect(m.get(RAX)).toBe(value);
      }),
      { seed: 2, numRuns: 200 },
    );
  });

  test("faults with the register unchanged when its page is absent", () => {
    const m = new Machine64().set(CELL.rip, 0x4000n).set(RAX, 1n << 60n);
    m.env.absent.add(5);
    m.run(load(0x1000 - LENGTH - 4));
    expect(m.outcome()).toBe("#PF(0) at 5000");
    expect(m.get(RAX)).toBe(1n << 60n);
    expect(m.state.eip).toBe(0x4000);
  });

  test("an address that is not canonical is #GP(0), through SS #SS(0)", () => {
    fc.assert(
      fc.property(u64, fc.constantFrom<number>(SEG.ds, SEG.ss), (base, segment) => {
        const m = new Machine64().set(R9, base).set(RAX, 77n);
        m.run(instruction([OP.LOAD64, { d: RAX, a: R9, x: segment }]));
        const top = signed(base) >> 47n;
        const isCanonical = top === 0n || top === -1n;
        if (!isCanonical) {
          expect(m.outcome()).toBe(segment === SEG.ss ? "#SS(0)" : "#GP(0)");
          expect(m.get(RAX)).toBe(77n);
        } else if (base + 8n > MEMORY_BYTES) {
          expect(m.outcome()).toMatch(/^#PF/);
          expect(BigInt(m.state.signal.address)).toBe(BigInt.asUintN(64, base) & ((1n << 48n) - 1n));
        }
      }),
      { seed: 3, numRuns: 500 },
    );
    const edges: [bigint, string][] = [
      [(1n << 47n) - 1n, "#PF"],
      [1n << 47n, "#GP(0)"],
      [wrap(-(1n << 47n)) - 1n, "#GP(0)"],
    ];
    for (const [address, expected] of edges) {
      const m = new Machine64().set(R9, address).run(instruction([OP.LOAD64, { d: RAX, a: R9, x: SEG.ds }]));
      expect(m.outcome().startsWith(expected)).toBe(true);
    }
  });

  test("addresses wrap in 64 bits and scale an index", () => {
    fc.assert(
      fc.property(u64, u64, fc.integer({ min: 0, max: 3 }), fc.integer(), (a, b, scale, imm) => {
        const m = new Machine64().set(RAX, a).set(R9, b);
        m.run(instruction([OP.ADDRESS64, { d: RDX, a: RAX, b: R9, x: scale, imm }]));
        expect(m.get(RDX)).toBe(wrap(a + (b << BigInt(scale)) + BigInt(imm)));
      }),
      { seed: 4, numRuns: 200 },
    );
  });
});

describe("PUSH r64", () => {
  /** The new stack pointer is committed after the store. */
  const push = (register: number): MicroOp[] =>
    instruction(
      [OP.ADDRESS64, { d: T, a: GPR.esp, b: CELL.zero, imm: -8 }],
      [OP.STORE64, { a: T, b: register, x: SEG.ss }],
      [OP.MOV64, { d: GPR.esp, a: T }],
    );

  test("stores eight bytes below RSP", () => {
    fc.assert(
      fc.property(u64, (value) => {
        const m = new Machine64().set(R9, value).set(GPR.esp, 0x6800n).run(push(R9));
        expect(m.memory64(0x67f8)).toBe(value);
        expect(m.get(GPR.esp)).toBe(0x67f8n);
      }),
      { seed: 5, numRuns: 100 },
    );
  });

  test("pushes the old RSP", () => {
    expect(new Machine64().set(GPR.esp, 0x6800n).run(push(GPR.esp)).memory64(0x67f8)).toBe(0x6800n);
  });

  test("that faults leaves RSP and memory: not canonical #SS(0), absent #PF, half of it on an absent page", () => {
    const cases: [bigint, string][] = [
      [1n << 62n, "#SS(0)"],
      [(1n << 47n) + 0x1000n, "#SS(0)"],
      [0x20000n, "#PF(2) at 1fff8"],
      [0x7004n, "#PF(2) at 7000"],
    ];
    for (const [rsp, expected] of cases) {
      const m = new Machine64().set(R9, 0x1122334455667788n).set(GPR.esp, rsp);
      m.env.absent.add(7);
      const memory = m.env.memory.slice();
      m.run(push(R9));
      expect(m.outcome()).toBe(expected);
      expect(m.get(GPR.esp)).toBe(rsp);
      expect(m.env.memory).toEqual(memory);
    }
  });
});

describe("SHLD r64, r64, CL", () => {
  test("shifts in bits of the second operand; counts are taken modulo 64", () => {
    const ops = instruction([OP.SHLD64, { d: RAX, a: RAX, b: R9, c: RCX }]);
    fc.assert(
      fc.property(u64, u64, fc.integer({ min: 0, max: 255 }), (a, b, cl) => {
        const m = new Machine64().set(RAX, a).set(R9, b).set(RCX, BigInt(cl)).run(ops);
        const count = BigInt(cl & 63);
        const result = wrap(((a << 64n) | b) >> (64n - count));
        expect(m.get(RAX)).toBe(result);
        if (count === 0n) {
          expect(m.state.flags).toBe(FLAG.ONE);
          return;
        }
        let flags = resultFlags(result) | FLAG.ONE;
        if (((a >> (64n - count)) & 1n) === 1n) flags |= FLAG.CF;
        // OF is defined for a count of 1, AF never.
        const mask = count === 1n ? AND_AF : AND_AF & ~FLAG.OF;
        if (signed(a) < 0n !== signed(result) < 0n) flags |= FLAG.OF;
        expect(m.state.flags & mask).toBe(flags & mask);
      }),
      { seed: 6, numRuns: 500 },
    );
  });
});

describe("MUL r64", () => {
  const ops = instruction([OP.MUL64, { d: RAX, c: RDX, a: RAX, b: R9 }]);

  test("gives all 128 bits, and CF = OF = whether the upper half matters", () => {
    fc.assert(
      fc.property(u64, u64, (a, b) => {
        const m = new Machine64().set(RAX, a).set(R9, b).run(ops);
        expect((m.get(RDX) << 64n) | m.get(RAX)).toBe(a * b);
        const significant = a * b >= 1n << 64n ? FLAG.CF | FLAG.OF : 0;
        expect(m.state.flags & (FLAG.CF | FLAG.OF)).toBe(significant);
      }),
      { seed: 7, numRuns: 500 },
    );
  });

  test("is exact above 2^53", () => {
    const a = (1n << 53n) + 1n;
    const m = new Machine64().set(RAX, a).set(R9, a).run(ops);
    expect([m.get(RDX), m.get(RAX)]).toEqual([(a * a) >> 64n, wrap(a * a)]);
    expect(m.get(RAX) & 1n).toBe(1n);
  });
});

test("a 32-bit write zeroes the upper half, a 16- or 8-bit one leaves it", () => {
  const m = new Machine64().set(RAX, -1n).set(RDX, -1n).set(RCX, -1n).set(R9, 0n);
  m.run(instruction([OP.MOV, { d: RAX, a: R9 }], [OP.PUT16, { d: RDX, a: R9 }], [OP.PUT8H, { d: RCX, a: R9 }]));
  expect([m.get(RAX), m.get(RDX), m.get(RCX)]).toEqual([0n, wrap(-65536n), wrap(-0xff01n)]);
});

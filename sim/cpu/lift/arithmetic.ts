/** Moves and integer arithmetic of SDM vol. 1, 5.1.1-5.1.6, on registers and memory. */
import { OpKind, Register } from "iced-x86";
import { CONDITION, CONDITIONS, OP } from "../micro-ops.ts";
import type { CostName } from "../profiles/profile.ts";
import { GPR, SEG, selectorCell } from "../state.ts";
import { type Lifter, segmentNumber } from "./lifter.ts";
import { type Rule, type RuleTable, UNDEFINED } from "./rule.ts";

/** dest = dest op source. */
function binary(op: number, cost: CostName = "alu", undefinedFlags = 0): Rule {
  return {
    cost,
    undefinedFlags,
    lift(l) {
      const a = l.readForUpdate(0);
      const source = l.operand(1);
      const d = l.target(0);
      l.emit(op, { w: l.width(0), d, a, ...source });
      l.write(0, d);
    },
  };
}

/** Flags of dest op source; nothing is written. */
function compare(op: number, undefinedFlags = 0): Rule {
  return {
    cost: "alu",
    undefinedFlags,
    lift(l) {
      const a = l.read(0);
      l.emit(op, { w: l.width(0), d: l.temporary(), a, ...l.operand(1) });
    },
  };
}

function unary(op: number): Rule {
  return {
    cost: "alu",
    lift(l) {
      const a = l.readForUpdate(0);
      const d = l.target(0);
      l.emit(op, { w: l.width(0), d, a });
      l.write(0, d);
    },
  };
}

/** SHL, SHR, SAR leave AF undefined, rotates do not touch it; OF is defined for a count of 1 only. */
function shift(op: number): Rule {
  return countBy(binary(op, "shift", UNDEFINED.OF_AF));
}

function rotate(op: number, cost: CostName): Rule {
  return countBy(binary(op, cost, UNDEFINED.OF));
}

/** The same with a count in CL priced as such, unless the rule's own price is higher in kind (RCL, RCR). */
function countBy(rule: Rule): Rule {
  return {
    ...rule,
    lift(l) {
      if (rule.cost === "shift" && l.isRegister(1)) l.cost = "shiftByCl";
      rule.lift(l);
    },
  };
}

function doubleShift(op: number): Rule {
  return {
    cost: "doubleShift",
    undefinedFlags: UNDEFINED.OF_AF,
    lift(l) {
      const a = l.readForUpdate(0);
      const b = l.read(1);
      const c = l.read(2);
      const d = l.target(0);
      l.emit(op, { w: l.width(0), d, a, b, c });
      l.write(0, d);
    },
  };
}

/** MUL and one-operand IMUL: (E)DX:(E)AX or AX. */
function wideMultiply(l: Lifter, op: number): void {
  const w = l.width(0);
  const low = l.temporary();
  const high = l.temporary();
  l.emit(op, { w, d: low, c: high, a: GPR.eax, b: l.read(0) });
  if (w === 8) {
    l.emit(OP.PUT8, { d: GPR.eax, a: low });
    l.emit(OP.PUT8H, { d: GPR.eax, a: high });
  } else {
    l.writeGpr(0, w, low);
    l.writeGpr(2, w, high);
  }
}

function bitTest(operation: number): Rule {
  return {
    cost: "bitTest",
    undefinedFlags: UNDEFINED.BIT_TEST,
    lift(l) {
      const w = l.width(0);
      const changes = operation !== 0;
      if (l.isMemory(0) && l.isRegister(1)) {
        l.added.push("bitString");
        const offset = l.read(1);
        const address = l.temporary();
        l.emit(OP.BIT_ADDRESS, { w, d: address, a: l.address(), b: offset, x: l.addressBits() });
        const a = l.temporary();
        l.loads++;
        l.emit(changes ? OP.LOAD_UPDATE : OP.LOAD, { w: w / 8, d: a, a: address, x: l.segment() });
        const d = l.temporary();
        l.emit(OP.BIT, { w, d, a, b: offset, x: operation });
        if (changes) l.store(w, address, l.segment(), d);
        return;
      }
      const a = changes ? l.readForUpdate(0) : l.read(0);
      const d = changes ? l.target(0) : l.temporary();
      l.emit(OP.BIT, { w, d, a, b: l.read(1), x: operation });
      if (changes) l.write(0, d);
    },
  };
}

function bitScan(op: number): Rule {
  return {
    cost: "bitScan",
    undefinedFlags: UNDEFINED.BIT_SCAN,
    lift(l) {
      const a = l.read(1);
      const d = l.target(0);
      l.emit(op, { w: l.width(0), d, a, b: l.read(0) });
      l.write(0, d);
    },
  };
}

function extend(op: number): Rule {
  return {
    cost: "signExtend",
    lift(l) {
      const d = l.target(0);
      if (op === OP.ZERO_EXTEND && l.isMemory(1)) {
        // A load extends with zeroes itself.
        l.load(l.width(1), l.address(), l.segment(), d);
        l.write(0, d);
        return;
      }
      l.emit(op, { w: l.width(1), d, a: l.read(1) });
      l.write(0, d);
    },
  };
}

function flagBit(kind: number): Rule {
  return { cost: "flagBit", lift: (l) => l.emit(OP.FLAG_BIT, { x: kind }) };
}

function decimal(x: number, undefinedFlags: number): Rule {
  return {
    cost: "decimal",
    undefinedFlags,
    lift(l) {
      const immediate = l.instruction.opCount > 0 ? l.immediate(0) : 0;
      l.helper("decimal", { x, a: l.constant(immediate) });
    },
  };
}

/** Moves: general, segment, control and debug registers share the mnemonic MOV. */
export function liftMov(l: Lifter): void {
  const target = l.instruction.opKind(0) === OpKind.Register ? l.instruction.op0Register : Register.None;
  const source = l.instruction.opKind(1) === OpKind.Register ? l.instruction.op1Register : Register.None;
  if (isSegment(target)) {
    const x = segmentNumber(target);
    l.helper("loadSegment", { a: l.read(1, 16), x, d: x === SEG.ss ? 1 : 0 });
  } else if (isSegment(source)) {
    // To a register the operand size decides; to memory it is always 16 bits (SDM vol. 2, MOV).
    const d = l.temporary();
    l.emit(OP.MOV, { d, a: selectorCell(segmentNumber(source)) });
    if (l.isMemory(0)) l.store(16, l.address(), l.segment(), d);
    else l.write(0, d);
  } else {
    liftPlainMov(l);
  }
}

/** A 32-bit register is loaded without a detour. */
function liftPlainMov(l: Lifter): void {
  if (!l.isRegister(0) || l.width(0) !== 32 || l.isRegister(1)) l.write(0, l.read(1));
  else if (l.isMemory(1)) l.load(32, l.address(), l.segment(), l.target(0));
  else l.emit(OP.CONST, { d: l.target(0), imm: l.immediate(1) });
}

function isSegment(register: number): boolean {
  return register >= Register.ES && register <= Register.GS;
}

const conditional: Record<string, Rule> = {};
for (const [x, name] of CONDITIONS.entries()) {
  conditional[`Set${name}`] = {
    cost: "conditionalMove",
    lift(l) {
      const d = l.temporary();
      l.emit(OP.SETCC, { d, x });
      l.write(0, d);
    },
  };
  conditional[`Cmov${name}`] = {
    cost: "conditionalMove",
    lift(l) {
      const a = l.read(1);
      const b = l.read(0);
      const d = l.target(0);
      l.emit(OP.SELECT, { d, a, b, x });
      l.write(0, d);
    },
  };
}

export const ARITHMETIC: RuleTable = {
  ...conditional,
  Mov: { cost: "alu", lift: liftMov },
  Movzx: extend(OP.ZERO_EXTEND),
  Movsx: extend(OP.SIGN_EXTEND),
  Lea: { cost: "lea", lift: (l) => l.write(0, l.address(0, l.target(0))) },
  Add: binary(OP.ADD),
  Adc: binary(OP.ADC, "aluCarry"),
  Sub: binary(OP.SUB),
  Sbb: binary(OP.SBB, "aluCarry"),
  And: binary(OP.AND, "alu", UNDEFINED.AF),
  Or: binary(OP.OR, "alu", UNDEFINED.AF),
  Xor: binary(OP.XOR, "alu", UNDEFINED.AF),
  Cmp: compare(OP.SUB),
  Test: compare(OP.AND, UNDEFINED.AF),
  Inc: unary(OP.INC),
  Dec: unary(OP.DEC),
  Neg: unary(OP.NEG),
  Not: unary(OP.NOT),
  Shl: shift(OP.SHL),
  Sal: shift(OP.SHL),
  Shr: shift(OP.SHR),
  Sar: shift(OP.SAR),
  Rol: rotate(OP.ROL, "shift"),
  Ror: rotate(OP.ROR, "shift"),
  Rcl: rotate(OP.RCL, "rotateCarry"),
  Rcr: rotate(OP.RCR, "rotateCarry"),
  Shld: doubleShift(OP.SHLD),
  Shrd: doubleShift(OP.SHRD),
  Mul: { cost: "multiplyWide", undefinedFlags: UNDEFINED.MULTIPLY, lift: (l) => wideMultiply(l, OP.MUL) },
  Imul: {
    cost: "multiply",
    undefinedFlags: UNDEFINED.MULTIPLY,
    lift(l) {
      const operands = l.instruction.opCount;
      if (operands === 1) {
        wideMultiply(l, OP.IMUL);
        return;
      }
      const a = l.read(operands - 2);
      const b = l.read(operands - 1);
      const d = l.target(0);
      l.emit(OP.IMUL, { w: l.width(0), d, c: l.temporary(), a, b });
      l.write(0, d);
    },
  },
  Div: {
    cost: "divide",
    undefinedFlags: UNDEFINED.ALL,
    lift: (l) => l.emit(OP.DIV, { w: l.width(0), a: l.read(0) }),
  },
  Idiv: {
    cost: "divide",
    undefinedFlags: UNDEFINED.ALL,
    lift: (l) => l.emit(OP.IDIV, { w: l.width(0), a: l.read(0) }),
  },
  Bt: bitTest(0),
  Bts: bitTest(1),
  Btr: bitTest(2),
  Btc: bitTest(3),
  Bsf: bitScan(OP.BSF),
  Bsr: bitScan(OP.BSR),
  Bswap: {
    cost: "byteSwap",
    lift(l) {
      const d = l.target(0);
      l.emit(OP.BSWAP, { w: l.width(0), d, a: l.read(0) });
      l.write(0, d);
    },
  },
  Xchg: {
    cost: "exchange",
    lift(l) {
      l.locks ||= l.isMemory(0);
      const a = l.readForUpdate(0);
      const b = l.read(1);
      const old = l.temporary();
      l.emit(OP.MOV, { d: old, a });
      l.write(0, b);
      l.write(1, old);
    },
  },
  Xadd: {
    cost: "exchange",
    lift(l) {
      const a = l.readForUpdate(0);
      const b = l.read(1);
      const old = l.temporary();
      l.emit(OP.MOV, { d: old, a });
      const sum = l.temporary();
      l.emit(OP.ADD, { w: l.width(0), d: sum, a, b });
      if (l.isMemory(0)) l.write(0, sum);
      l.write(1, old);
      if (!l.isMemory(0)) l.write(0, sum);
    },
  },
  Cmpxchg: {
    cost: "exchange",
    lift(l) {
      const w = l.width(0);
      const current = l.temporary();
      l.emit(OP.MOV, { d: current, a: l.readForUpdate(0) });
      const source = l.read(1);
      l.emit(OP.SUB, { w, d: l.temporary(), a: GPR.eax, b: current });
      // The destination is written in either case (SDM vol. 2, CMPXCHG).
      const stored = l.temporary();
      l.emit(OP.SELECT, { d: stored, a: source, b: current, x: CONDITION.E });
      l.write(0, stored);
      // Read after the write: on equality the destination may be the accumulator itself.
      const accumulator = l.temporary();
      l.emit(OP.SELECT, { d: accumulator, a: GPR.eax, b: current, x: CONDITION.E });
      l.writeGpr(0, w, accumulator);
    },
  },
  Cmpxchg8b: {
    cost: "compareExchange8",
    memoryIncluded: true,
    lift: (l) => l.helper("compareExchange8", { a: l.address(), x: l.segment() }),
  },
  Cbw: {
    cost: "signExtend",
    lift(l) {
      const d = l.temporary();
      l.emit(OP.SIGN_EXTEND, { w: 8, d, a: GPR.eax });
      l.writeGpr(0, 16, d);
    },
  },
  Cwde: { cost: "signExtend", lift: (l) => l.emit(OP.SIGN_EXTEND, { w: 16, d: GPR.eax, a: GPR.eax }) },
  Cwd: { cost: "signExtend", lift: (l) => signIntoDx(l, 16) },
  Cdq: { cost: "signExtend", lift: (l) => signIntoDx(l, 32) },
  Lahf: { cost: "lahf", lift: (l) => l.emit(OP.LAHF) },
  Sahf: { cost: "lahf", lift: (l) => l.emit(OP.SAHF) },
  Clc: flagBit(0),
  Stc: flagBit(1),
  Cmc: flagBit(2),
  Cld: flagBit(3),
  Std: flagBit(4),
  Daa: decimal(0, UNDEFINED.ALL & ~0xd5),
  Das: decimal(1, UNDEFINED.ALL & ~0xd5),
  Aaa: decimal(2, UNDEFINED.ALL & ~0x11),
  Aas: decimal(3, UNDEFINED.ALL & ~0x11),
  Aam: decimal(4, UNDEFINED.ALL & ~0xc4),
  Aad: decimal(5, UNDEFINED.ALL & ~0xc4),
  Salc: { cost: "alu", lift: (l) => l.helper("salc") },
};

/** (E)DX = sign of (E)AX. */
function signIntoDx(l: Lifter, w: number): void {
  const sign = l.temporary();
  l.emit(OP.SIGN_EXTEND, { w, d: sign, a: GPR.eax });
  const high = l.temporary();
  l.emit(OP.SIGN, { d: high, a: sign });
  l.writeGpr(2, w, high);
}

/** Shifts and rotates by the constant 1, for which OF is defined. */
export const BY_ONE: RuleTable = Object.fromEntries(
  ["Rol", "Ror", "Rcl", "Rcr", "Shl", "Sal", "Shr", "Sar"].map((name) => {
    const rule = ARITHMETIC[name] as Rule;
    return [name, { ...rule, undefinedFlags: (rule.undefinedFlags ?? 0) & ~UNDEFINED.OF }];
  }),
);

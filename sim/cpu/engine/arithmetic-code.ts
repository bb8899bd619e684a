/** Addition, subtraction, logic, multiplication and division, with lazy flags (flags-code.ts). */
import { type MicroOp, OP } from "../micro-ops.ts";
import { CELL } from "../state.ts";
import { FILL_TEMPORARY, type RegionCode, VALUE_TEMPORARY } from "./code.ts";
import { flagsKind, MADE_BY } from "./flags-code.ts";
import { madeByShift } from "./shift-code.ts";
import { WASM } from "./wasm.ts";

/** How an operation is made, and its flags. */
interface Arithmetic {
  readonly operation: number;
  readonly wasm: number;
  /** The second operand is 1. */
  readonly ones: boolean;
}

export const ARITHMETIC: Readonly<Record<number, Arithmetic>> = {
  [OP.ADD]: { operation: MADE_BY.ADD, wasm: WASM.i32Add, ones: false },
  [OP.ADC]: { operation: MADE_BY.ADC, wasm: WASM.i32Add, ones: false },
  [OP.SUB]: { operation: MADE_BY.SUB, wasm: WASM.i32Sub, ones: false },
  [OP.SBB]: { operation: MADE_BY.SBB, wasm: WASM.i32Sub, ones: false },
  [OP.NEG]: { operation: MADE_BY.SUB, wasm: WASM.i32Sub, ones: false },
  [OP.INC]: { operation: MADE_BY.INC, wasm: WASM.i32Add, ones: true },
  [OP.DEC]: { operation: MADE_BY.DEC, wasm: WASM.i32Sub, ones: true },
  [OP.AND]: { operation: MADE_BY.LOGIC, wasm: WASM.i32And, ones: false },
  [OP.OR]: { operation: MADE_BY.LOGIC, wasm: WASM.i32Or, ones: false },
  [OP.XOR]: { operation: MADE_BY.LOGIC, wasm: WASM.i32Xor, ones: false },
};

/** Second operand b + imm, at the top of the word. */
export function second(c: RegionCode, op: MicroOp, shift: number): void {
  const f = c.f;
  if (op.b === CELL.zero) {
    f.i32(op.imm << shift);
    return;
  }
  c.read(op.b);
  if (op.imm !== 0) {
    f.i32(op.imm);
    f.op(WASM.i32Add);
  }
  c.toTop(shift);
}

/** Addition, subtraction and logic. */
export function arithmetic(c: RegionCode, op: MicroOp): void {
  const f = c.f;
  const { a, b, result, carry } = c.flags;
  const shift = 32 - op.w;
  const { operation, wasm, ones } = ARITHMETIC[op.op] as Arithmetic;
  const keepsCarry = operation === MADE_BY.INC || operation === MADE_BY.DEC;
  const takesCarry = op.op === OP.ADC || op.op === OP.SBB;
  if (keepsCarry && !c.flagsDead()) {
    c.carry();
    f.set(carry);
  } else if (takesCarry) {
    c.carry();
    f.set(c.scratch);
  }
  // The operands may be the destination: the locals are set when both are read.
  if (op.op === OP.NEG) f.i32(0);
  else {
    c.read(op.a);
    c.toTop(shift);
  }
  if (ones) f.i32(1 << shift);
  else if (op.op === OP.NEG) {
    c.read(op.a);
    c.toTop(shift);
  } else second(c, op, shift);
  f.set(b);
  f.tee(a);
  f.get(b);
  f.op(wasm);
  if (takesCarry) {
    f.get(c.scratch);
    c.toTop(shift);
    f.op(wasm);
  }
  f.tee(result);
  if (shift !== 0) {
    f.i32(shift);
    f.op(WASM.i32ShrU);
  }
  c.write(op.d);
  c.setKind(flagsKind(operation, shift));
}

/** Low half to d, high half to c; CF = OF = whether the high half matters (interpreter32.ts). */
export function multiply(c: RegionCode, op: MicroOp): void {
  const f = c.f;
  const { b, result, carry } = c.flags;
  const signed = op.op === OP.IMUL;
  const shift = 32 - op.w;
  const low = c.temporary(VALUE_TEMPORARY);
  const high = c.temporary(FILL_TEMPORARY);
  if (op.w === 32) {
    for (const cell of [op.a, op.b]) {
      c.read(cell);
      f.op(signed ? WASM.i64ExtendI32S : WASM.i64ExtendI32U);
    }
    f.op(WASM.i64Mul);
    f.set(c.wide);
    f.get(c.wide);
    f.op(WASM.i32WrapI64);
    f.set(low);
    f.get(c.wide);
    f.i64(32);
    f.op(WASM.i64ShrU);
    f.op(WASM.i32WrapI64);
    f.set(high);
  } else {
    for (const cell of [op.a, op.b]) {
      c.read(cell);
      if (signed) c.signExtend(op.w);
      else c.mask(op.w);
    }
    f.op(WASM.i32Mul);
    f.tee(high);
    c.mask(op.w);
    f.set(low);
    f.get(high);
    f.i32(op.w);
    f.op(WASM.i32ShrU);
    c.mask(op.w);
    f.set(high);
  }
  f.get(high);
  if (signed) {
    f.get(low);
    c.toTop(shift);
    f.i32(31);
    f.op(WASM.i32ShrS);
    c.mask(op.w);
  } else f.i32(0);
  f.op(WASM.i32Ne);
  f.tee(carry);
  f.set(b);
  f.get(low);
  c.toTop(shift);
  f.set(result);
  f.get(low);
  c.write(op.d);
  f.get(high);
  c.write(op.c);
  madeByShift(c, shift);
}

/** DIV and IDIV of 32 bits; flags stay. What is #DE is left to the interpreter. */
export function divide(c: RegionCode, op: MicroOp): void {
  const f = c.f;
  const signed = op.op === OP.IDIV;
  const eax = c.registers[0] as number;
  const edx = c.registers[2] as number;
  const divisor = c.temporary(VALUE_TEMPORARY);
  c.read(op.a);
  f.tee(divisor);
  f.op(WASM.i32Eqz);
  if (signed) {
    // -2^63 / -1 would trap.
    f.get(divisor);
    f.i32(-1);
    f.op(WASM.i32Eq);
    f.get(edx);
    f.i32(0x80000000 | 0);
    f.op(WASM.i32Eq);
    f.op(WASM.i32And);
    f.op(WASM.i32Or);
  }
  c.rarely(() => c.giveUp());
  f.get(edx);
  f.op(signed ? WASM.i64ExtendI32S : WASM.i64ExtendI32U);
  f.i64(32);
  f.op(WASM.i64Shl);
  f.get(eax);
  f.op(WASM.i64ExtendI32U);
  f.op(WASM.i64Or);
  f.set(c.wide);
  f.get(c.wide);
  f.get(divisor);
  f.op(signed ? WASM.i64ExtendI32S : WASM.i64ExtendI32U);
  f.op(signed ? WASM.i64DivS : WASM.i64DivU);
  f.set(c.wide2);
  f.get(c.wide2);
  f.get(c.wide2);
  f.op(WASM.i32WrapI64);
  f.op(signed ? WASM.i64ExtendI32S : WASM.i64ExtendI32U);
  f.op(WASM.i64Ne);
  c.rarely(() => c.giveUp());
  f.get(c.wide2);
  f.op(WASM.i32WrapI64);
  f.set(eax);
  f.get(c.wide);
  f.op(WASM.i32WrapI64);
  f.get(eax);
  f.get(divisor);
  f.op(WASM.i32Mul);
  f.op(WASM.i32Sub);
  f.set(edx);
}

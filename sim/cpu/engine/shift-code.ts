/** Shifts and rotates with their flags (shifts.ts). */
import { type MicroOp, OP } from "../micro-ops.ts";
import { CELL, FLAG } from "../state.ts";
import { COUNT_TEMPORARY, FILL_TEMPORARY, type RegionCode, VALUE_TEMPORARY } from "./code.ts";
import { flagsKind, MADE_BY, UNKNOWN } from "./flags-code.ts";
import { WASM } from "./wasm.ts";

/** Sets flags from a result at the top of the word, CF in `carry` and OF in the lowest bit of b, when all are set. */
export function madeByShift(c: RegionCode, shift: number): void {
  c.setKind(flagsKind(MADE_BY.SHIFT, shift));
}

export function shiftOp(c: RegionCode, op: MicroOp): void {
  const f = c.f;
  const count = c.temporary(COUNT_TEMPORARY);
  const value = c.temporary(VALUE_TEMPORARY);
  const constant = op.b === CELL.zero ? op.imm & 31 : -1;
  c.read(op.a);
  c.mask(op.w);
  f.set(value);
  if (constant === 0) {
    f.get(value);
    c.write(op.d);
    return;
  }
  if (constant > 0) {
    f.i32(constant);
    f.set(count);
    shiftBy(c, op, value, count);
    return;
  }
  c.read(op.b);
  f.i32(31);
  f.op(WASM.i32And);
  f.tee(count);
  const before = c.kind;
  c.when(
    () => shiftBy(c, op, value, count),
    () => {
      f.get(value);
      c.write(op.d);
    },
  );
  if (c.kind !== before) c.kind = UNKNOWN;
}

/** A shift by a count that is not 0 (shifts.ts). */
export function shiftBy(c: RegionCode, op: MicroOp, value: number, count: number): void {
  const f = c.f;
  const { b, result, carry } = c.flags;
  const top = 32 - op.w;
  const bit = (): void => {
    f.i32(1);
    f.op(WASM.i32And);
  };
  const signBit = (emit: () => void): void => {
    emit();
    f.i32(op.w - 1);
    f.op(WASM.i32ShrU);
    bit();
  };
  const lastOut = (shift: number): void => {
    f.get(value);
    f.get(count);
    f.i32(1);
    f.op(WASM.i32Sub);
    f.op(shift);
    bit();
    f.set(carry);
  };
  switch (op.op) {
    case OP.SHL:
      // carry = count <= w ? bit w - count : 0
      f.get(value);
      f.i32(op.w);
      f.get(count);
      f.op(WASM.i32Sub);
      f.op(WASM.i32ShrU);
      f.get(count);
      f.i32(op.w);
      f.op(WASM.i32LeU);
      f.op(WASM.i32And);
      f.set(carry);
      f.get(value);
      f.get(count);
      f.op(WASM.i32Shl);
      f.set(value);
      signBit(() => f.get(value));
      f.get(carry);
      f.op(WASM.i32Xor);
      f.set(b);
      break;
    case OP.SHR:
      lastOut(WASM.i32ShrU);
      f.get(value);
      f.i32(op.w - 1);
      f.op(WASM.i32ShrU);
      f.set(b);
      f.get(value);
      f.get(count);
      f.op(WASM.i32ShrU);
      f.set(value);
      break;
    default:
      f.get(value);
      c.signExtend(op.w);
      f.set(value);
      lastOut(WASM.i32ShrS);
      f.i32(0);
      f.set(b);
      f.get(value);
      f.get(count);
      f.op(WASM.i32ShrS);
      f.set(value);
  }
  f.get(value);
  c.toTop(top);
  f.tee(result);
  if (top !== 0) {
    f.i32(top);
    f.op(WASM.i32ShrU);
  }
  c.write(op.d);
  madeByShift(c, top);
}

export function rotateOp(c: RegionCode, op: MicroOp): void {
  const f = c.f;
  const value = c.temporary(VALUE_TEMPORARY);
  const count = c.temporary(COUNT_TEMPORARY);
  const constant = op.b === CELL.zero ? op.imm & 31 : -1;
  c.read(op.a);
  c.mask(op.w);
  f.set(value);
  if (constant === 0) {
    f.get(value);
    c.write(op.d);
    return;
  }
  const dead = c.flagsDead();
  if (!dead) c.materialize();
  if (constant > 0) f.i32(constant);
  else {
    c.read(op.b);
    f.i32(31);
    f.op(WASM.i32And);
  }
  f.set(count);
  rotated(c, op, value, count);
  if (!dead) {
    if (constant < 0) {
      f.get(count);
      c.when(() => rotateFlags(c, op, value));
    } else rotateFlags(c, op, value);
  }
  f.get(value);
  c.write(op.d);
}

/** The value rotated in its width. */
export function rotated(c: RegionCode, op: MicroOp, value: number, count: number): void {
  const f = c.f;
  const left = op.op === OP.ROL;
  if (op.w === 32) {
    f.get(value);
    f.get(count);
    f.op(left ? WASM.i32Rotl : WASM.i32Rotr);
  } else {
    // Two copies of the value side by side (four of a byte), rotated in 32 bits.
    f.get(value);
    f.get(value);
    f.i32(16);
    f.op(WASM.i32Shl);
    f.op(WASM.i32Or);
    if (op.w === 8) {
      f.tee(c.scratch);
      f.get(c.scratch);
      f.i32(8);
      f.op(WASM.i32Shl);
      f.op(WASM.i32Or);
    }
    f.get(count);
    f.op(left ? WASM.i32Rotl : WASM.i32Rotr);
    c.mask(op.w);
  }
  f.set(value);
}

/** CF and OF of a rotate; the others stay. EFLAGS are in their local. */
export function rotateFlags(c: RegionCode, op: MicroOp, value: number): void {
  const f = c.f;
  const { eflags } = c.flags;
  const bitAt = (place: number): void => {
    f.get(value);
    if (place !== 0) {
      f.i32(place);
      f.op(WASM.i32ShrU);
    }
    f.i32(1);
    f.op(WASM.i32And);
  };
  f.get(eflags);
  f.i32(~(FLAG.CF | FLAG.OF));
  f.op(WASM.i32And);
  bitAt(op.op === OP.ROL ? 0 : op.w - 1);
  f.op(WASM.i32Or);
  bitAt(op.w - 1);
  bitAt(op.op === OP.ROL ? 0 : op.w - 2);
  f.op(WASM.i32Xor);
  f.i32(11);
  f.op(WASM.i32Shl);
  f.op(WASM.i32Or);
  f.set(eflags);
}

/** SHLD and SHRD of 32 bits; narrower ones are interpreted (region.ts keeps them out by `isNative`). */
export function doubleShift(c: RegionCode, op: MicroOp): void {
  const f = c.f;
  const { b, result, carry } = c.flags;
  const count = c.temporary(COUNT_TEMPORARY);
  const value = c.temporary(VALUE_TEMPORARY);
  const fill = c.temporary(FILL_TEMPORARY);
  c.read(op.a);
  f.set(value);
  c.read(op.b);
  f.set(fill);
  c.read(op.c);
  f.i32(31);
  f.op(WASM.i32And);
  f.tee(count);
  const before = c.kind;
  const left = op.op === OP.SHLD;
  c.when(
    () => {
      f.get(value);
      if (left) {
        f.i32(32);
        f.get(count);
      } else {
        f.get(count);
        f.i32(1);
      }
      f.op(WASM.i32Sub);
      f.op(WASM.i32ShrU);
      f.i32(1);
      f.op(WASM.i32And);
      f.set(carry);
      f.get(value);
      f.get(count);
      f.op(left ? WASM.i32Shl : WASM.i32ShrU);
      f.get(fill);
      f.i32(32);
      f.get(count);
      f.op(WASM.i32Sub);
      f.op(left ? WASM.i32ShrU : WASM.i32Shl);
      f.op(WASM.i32Or);
      f.tee(result);
      f.get(value);
      f.op(WASM.i32Xor);
      f.i32(31);
      f.op(WASM.i32ShrU);
      f.set(b);
      f.get(result);
      c.write(op.d);
      madeByShift(c, 0);
    },
    () => {
      f.get(value);
      c.write(op.d);
    },
  );
  if (c.kind !== before) c.kind = UNKNOWN;
}

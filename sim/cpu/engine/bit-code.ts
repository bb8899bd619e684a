/** Bit tests and scans, and the instructions that set flags alone. */
import { type MicroOp, OP } from "../micro-ops.ts";
import { FLAG, STATUS_FLAGS } from "../state.ts";
import { COUNT_TEMPORARY, type RegionCode, VALUE_TEMPORARY } from "./code.ts";
import { WASM } from "./wasm.ts";

/** CLC, STC, CMC, CLD, STD: mask and operation. */
const FLAG_BITS: readonly (readonly [number, number])[] = [
  [~FLAG.CF, WASM.i32And],
  [FLAG.CF, WASM.i32Or],
  [FLAG.CF, WASM.i32Xor],
  [~FLAG.DF, WASM.i32And],
  [FLAG.DF, WASM.i32Or],
];

/** CF = bit b of a; the other flags stay. */
export function bitOp(c: RegionCode, op: MicroOp): void {
  const f = c.f;
  const { eflags } = c.flags;
  const place = c.temporary(COUNT_TEMPORARY);
  const value = c.temporary(VALUE_TEMPORARY);
  c.materialize();
  c.read(op.b);
  f.i32(op.w - 1);
  f.op(WASM.i32And);
  f.set(place);
  c.read(op.a);
  f.tee(value);
  f.get(place);
  f.op(WASM.i32ShrU);
  f.i32(1);
  f.op(WASM.i32And);
  f.get(eflags);
  f.i32(~FLAG.CF);
  f.op(WASM.i32And);
  f.op(WASM.i32Or);
  f.set(eflags);
  f.get(value);
  if (op.x !== 0) {
    f.i32(1);
    f.get(place);
    f.op(WASM.i32Shl);
    if (op.x === 2) {
      f.i32(-1);
      f.op(WASM.i32Xor);
    }
    f.op(op.x === 1 ? WASM.i32Or : op.x === 2 ? WASM.i32And : WASM.i32Xor);
  }
  c.write(op.d);
}

export function bitAddress(c: RegionCode, op: MicroOp): void {
  const f = c.f;
  c.read(op.b);
  c.signExtend(op.w);
  f.i32(op.w === 32 ? 5 : 4);
  f.op(WASM.i32ShrS);
  f.i32(op.w / 8);
  f.op(WASM.i32Mul);
  c.read(op.a);
  f.op(WASM.i32Add);
  if (op.x === 16) c.mask(16);
  c.write(op.d);
}

export function bitScan(c: RegionCode, op: MicroOp): void {
  const f = c.f;
  const { eflags } = c.flags;
  const value = c.temporary(VALUE_TEMPORARY);
  c.materialize();
  c.read(op.a);
  c.mask(op.w);
  f.tee(value);
  c.when(
    () => {
      f.get(eflags);
      f.i32(~FLAG.ZF);
      f.op(WASM.i32And);
      f.set(eflags);
      if (op.op === OP.BSF) {
        f.get(value);
        f.op(WASM.i32Ctz);
      } else {
        f.i32(31);
        f.get(value);
        f.op(WASM.i32Clz);
        f.op(WASM.i32Sub);
      }
      c.write(op.d);
    },
    () => {
      f.get(eflags);
      f.i32(FLAG.ZF);
      f.op(WASM.i32Or);
      f.set(eflags);
      c.read(op.b);
      c.write(op.d);
    },
  );
}

/** CLC, STC, CMC, CLD, STD. */
export function flagBit(c: RegionCode, kind: number): void {
  const f = c.f;
  const { eflags } = c.flags;
  if (kind < 3) c.materialize();
  f.get(eflags);
  const [mask, op] = FLAG_BITS[kind] as readonly [number, number];
  f.i32(mask);
  f.op(op);
  f.set(eflags);
}

export function lahf(c: RegionCode): void {
  const f = c.f;
  const eax = c.registers[0] as number;
  c.materialize();
  f.get(eax);
  f.i32(~0xff00);
  f.op(WASM.i32And);
  f.get(c.flags.eflags);
  f.i32(STATUS_FLAGS & 0xff);
  f.op(WASM.i32And);
  f.i32(FLAG.ONE);
  f.op(WASM.i32Or);
  f.i32(8);
  f.op(WASM.i32Shl);
  f.op(WASM.i32Or);
  f.set(eax);
}

export function sahf(c: RegionCode): void {
  const f = c.f;
  const low = STATUS_FLAGS & 0xff;
  c.materialize();
  f.get(c.flags.eflags);
  f.i32(~low);
  f.op(WASM.i32And);
  f.get(c.registers[0] as number);
  f.i32(8);
  f.op(WASM.i32ShrU);
  f.i32(low);
  f.op(WASM.i32And);
  f.op(WASM.i32Or);
  f.set(c.flags.eflags);
}

/** The micro-ops of a native instruction, one after the other: the small ones here, the others by family. */
import { HELPER_NUMBER } from "../helpers.ts";
import { type MicroOp, OP } from "../micro-ops.ts";
import { baseCell, CELL, FLAG } from "../state.ts";
import { arithmetic, divide, multiply } from "./arithmetic-code.ts";
import { bitAddress, bitOp, bitScan, flagBit, lahf, sahf } from "./bit-code.ts";
import type { RegionCode } from "./code.ts";
import { FUNCTION } from "./contract.ts";
import { loadForUpdate, loadFrom, popAll, pushAll, store, translateAccess } from "./memory-code.ts";
import { segmentOffset } from "./segment-load-code.ts";
import { checkTarget } from "./segments-code.ts";
import { doubleShift, rotateOp, shiftOp } from "./shift-code.ts";
import { notIntercepted, readTimeStamp } from "./time-code.ts";
import { WASM } from "./wasm.ts";

export function emitOp(c: RegionCode, op: MicroOp): void {
  const f = c.f;
  switch (op.op) {
    case OP.BEGIN:
    case OP.END:
    case OP.END_BRANCH:
    case OP.CHECK_RELATIVE:
    case OP.JUMP:
    case OP.JUMP_IF:
    case OP.JUMP_TO:
    case OP.LOOP:
      // Branches end the node (compile.ts); the targets of direct ones are inside the segment (segments-code.ts).
      break;
    case OP.CHECK_TARGET:
      checkTarget(c, op.a);
      break;
    case OP.CONST:
      f.i32(op.imm);
      c.write(op.d);
      break;
    case OP.MOV:
      c.read(op.a);
      c.write(op.d);
      break;
    case OP.GET8H:
      c.read(op.a);
      f.i32(8);
      f.op(WASM.i32ShrU);
      f.i32(0xff);
      f.op(WASM.i32And);
      c.write(op.d);
      break;
    case OP.PUT8:
      mergeOp(c, op, 0xff, 0);
      break;
    case OP.PUT8H:
      mergeOp(c, op, 0xff, 8);
      break;
    case OP.PUT16:
      mergeOp(c, op, 0xffff, 0);
      break;
    case OP.ZERO_EXTEND:
      c.read(op.a);
      c.mask(op.w);
      c.write(op.d);
      break;
    case OP.SIGN_EXTEND:
      c.read(op.a);
      c.signExtend(op.w);
      c.write(op.d);
      break;
    case OP.SIGN:
      c.read(op.a);
      f.i32(31);
      f.op(WASM.i32ShrS);
      c.write(op.d);
      break;
    case OP.ADDRESS:
      addressOp(c, op);
      break;
    case OP.LOAD:
      loadFrom(c, translateAccess(c, op, false), op.w);
      c.write(op.d);
      break;
    case OP.LOAD_UPDATE:
      loadForUpdate(c, op);
      break;
    case OP.STORE:
      store(c, op);
      break;
    case OP.HELPER:
      helper(c, op);
      break;
    case OP.NOT:
      c.read(op.a);
      f.i32(-1);
      f.op(WASM.i32Xor);
      c.write(op.d);
      break;
    case OP.NEXT_IP:
      c.place(c.instruction.delta + op.imm);
      c.mask(op.w);
      c.write(op.d);
      break;
    case OP.BSWAP:
      byteSwap(c, op);
      break;
    case OP.SETCC:
      c.condition(op.x);
      c.write(op.d);
      break;
    case OP.SELECT:
      selectOp(c, op);
      break;
    case OP.MUL:
    case OP.IMUL:
      multiply(c, op);
      break;
    case OP.DIV:
    case OP.IDIV:
      divide(c, op);
      break;
    default:
      flagOp(c, op);
  }
}

/** Leaves the instruction in progress unless DF is clear. */
export function forwardOnly(c: RegionCode): void {
  c.f.get(c.flags.eflags);
  c.f.i32(FLAG.DF);
  c.f.op(WASM.i32And);
  c.rarely(() => c.giveUp());
}

function helper(c: RegionCode, op: MicroOp): void {
  if (op.imm === HELPER_NUMBER.pushAll) pushAll(c);
  else if (op.imm === HELPER_NUMBER.popAll) popAll(c);
  else if (op.imm === HELPER_NUMBER.rdtsc) readTimeStamp(c);
  else if (op.imm === HELPER_NUMBER.pause) notIntercepted(c);
  else if (op.imm === HELPER_NUMBER.readCr) {
    c.loadCell(CELL.cpl);
    c.rarely(() => c.giveUp());
    c.loadCell(CELL.cr2);
    c.write(op.d);
  } else {
    c.read(op.a);
    if (op.imm === HELPER_NUMBER.invlpg) {
      // Without a look at the segment's limit (SDM vol. 2, INVLPG).
      c.loadCell(baseCell(op.x));
      c.f.op(WASM.i32Add);
      c.f.call(FUNCTION.invalidate);
    } else {
      c.f.i32(segmentOffset(op.x));
      c.f.call(FUNCTION.loadSegment);
    }
    c.f.op(WASM.i32Eqz);
    c.rarely(() => c.giveUp());
  }
}

/** Micro-ops that make flags. */
export function flagOp(c: RegionCode, op: MicroOp): void {
  switch (op.op) {
    case OP.ADD:
    case OP.SUB:
    case OP.ADC:
    case OP.SBB:
    case OP.AND:
    case OP.OR:
    case OP.XOR:
    case OP.INC:
    case OP.DEC:
    case OP.NEG:
      arithmetic(c, op);
      break;
    case OP.SHL:
    case OP.SHR:
    case OP.SAR:
      shiftOp(c, op);
      break;
    case OP.ROL:
    case OP.ROR:
      rotateOp(c, op);
      break;
    case OP.SHLD:
    case OP.SHRD:
      doubleShift(c, op);
      break;
    case OP.BIT:
      bitOp(c, op);
      break;
    case OP.BIT_ADDRESS:
      bitAddress(c, op);
      break;
    case OP.BSF:
    case OP.BSR:
      bitScan(c, op);
      break;
    case OP.FLAG_BIT:
      flagBit(c, op.x);
      break;
    case OP.LAHF:
      lahf(c);
      break;
    case OP.SAHF:
      sahf(c);
      break;
    default:
      throw new Error(`compile: no translation of micro-op ${op.op}`);
  }
}

export function mergeOp(c: RegionCode, op: MicroOp, mask: number, shift: number): void {
  const f = c.f;
  c.read(op.d);
  f.i32(~(mask << shift));
  f.op(WASM.i32And);
  c.read(op.a);
  f.i32(mask);
  f.op(WASM.i32And);
  if (shift !== 0) {
    f.i32(shift);
    f.op(WASM.i32Shl);
  }
  f.op(WASM.i32Or);
  c.write(op.d);
}

export function addressOp(c: RegionCode, op: MicroOp): void {
  const f = c.f;
  let empty = true;
  const add = (emit: () => void): void => {
    emit();
    if (!empty) f.op(WASM.i32Add);
    empty = false;
  };
  if (op.a !== CELL.zero) add(() => c.read(op.a));
  if (op.b !== CELL.zero) {
    add(() => {
      c.read(op.b);
      if (op.x === 0) return;
      f.i32(op.x);
      f.op(WASM.i32Shl);
    });
  }
  if (op.imm !== 0 || empty) add(() => f.i32(op.imm));
  c.mask(op.w);
  c.write(op.d);
}

export function byteSwap(c: RegionCode, op: MicroOp): void {
  const f = c.f;
  const part = (rotate: number, mask: number): void => {
    c.read(op.a);
    f.i32(rotate);
    f.op(WASM.i32Rotl);
    f.i32(mask);
    f.op(WASM.i32And);
  };
  part(8, 0x00ff00ff);
  part(24, 0xff00ff00 | 0);
  f.op(WASM.i32Or);
  c.write(op.d);
}

export function selectOp(c: RegionCode, op: MicroOp): void {
  c.condition(op.x);
  c.f.set(c.scratch);
  c.read(op.a);
  c.read(op.b);
  c.f.get(c.scratch);
  c.f.op(WASM.select);
  c.write(op.d);
}

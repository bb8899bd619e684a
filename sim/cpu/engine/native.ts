/**
 * Which instructions are *native*: every micro-op has a translation, and nothing that can leave the instruction (an access
 * that misses the fast table, a division error) comes after a register or flag has changed, so that leaving means: nothing
 * of it has happened. And what a native micro-op reads and writes.
 */
import { HELPER_NUMBER } from "../helpers.ts";
import type { Lifted } from "../lift/lift.ts";
import { type MicroOp, OP } from "../micro-ops.ts";
import { FIRST_TEMPORARY, GPR, SEG, TEMPORARY_COUNT } from "../state.ts";

const set = (...ops: number[]): ReadonlySet<number> => new Set(ops);

/** Micro-ops that compiled code may hold. */
const NATIVE = set(
  ...[OP.BEGIN, OP.END, OP.END_BRANCH, OP.CONST, OP.MOV, OP.GET8H, OP.PUT8, OP.PUT8H, OP.PUT16],
  ...[OP.ZERO_EXTEND, OP.SIGN_EXTEND, OP.ADDRESS, OP.LOAD, OP.LOAD_UPDATE, OP.STORE, OP.ADD, OP.ADC, OP.SUB, OP.SBB],
  ...[OP.AND, OP.OR, OP.XOR, OP.INC, OP.DEC, OP.NEG, OP.NOT, OP.SHL, OP.SHR, OP.SAR, OP.ROL, OP.ROR, OP.SHLD, OP.SHRD],
  ...[OP.MUL, OP.IMUL, OP.DIV, OP.IDIV, OP.BIT, OP.BIT_ADDRESS, OP.BSF, OP.BSR, OP.BSWAP, OP.SETCC, OP.SELECT],
  ...[OP.FLAG_BIT, OP.LAHF, OP.SAHF, OP.NEXT_IP, OP.CHECK_RELATIVE, OP.CHECK_TARGET],
  ...[OP.JUMP, OP.JUMP_IF, OP.JUMP_TO, OP.LOOP, OP.SIGN, OP.HELPER],
);
/** Those that can leave the instruction. */
export const CAN_LEAVE = set(OP.LOAD, OP.LOAD_UPDATE, OP.STORE, OP.DIV, OP.IDIV, OP.CHECK_TARGET, OP.HELPER);
/** Those that change flags. */
const CHANGES_FLAGS = set(
  ...[OP.ADD, OP.ADC, OP.SUB, OP.SBB, OP.AND, OP.OR, OP.XOR, OP.INC, OP.DEC, OP.NEG, OP.SHL, OP.SHR, OP.SAR, OP.ROL],
  ...[OP.ROR, OP.SHLD, OP.SHRD, OP.MUL, OP.IMUL, OP.BIT, OP.BSF, OP.BSR, OP.FLAG_BIT, OP.SAHF],
);
/** Micro-ops whose 8- and 16-bit forms are left to the interpreter. */
const ONLY_WIDE = set(OP.DIV, OP.IDIV, OP.SHLD, OP.SHRD);
/** 16-bit branch targets are cut, and need the 16-bit limit: left to the interpreter. */
const NEAR = set(OP.JUMP, OP.JUMP_IF, OP.JUMP_TO);
const LAST_GPR = GPR.edi;

const { invlpg, loadSegment, pause, popAll, pushAll, rdtsc, readCr } = HELPER_NUMBER;

/** PUSHA and POPA of 32 bits, loads of segment registers but SS, INVLPG, MOV from CR2, RDTSC, PAUSE. */
function isNativeHelper({ imm, w, x, d }: MicroOp): boolean {
  if (imm === invlpg || imm === rdtsc || imm === pause || (imm === readCr && x === 2)) return true;
  if (imm === loadSegment) return d === 0 && x !== SEG.ss && x !== SEG.cs;
  return (imm === pushAll || imm === popAll) && w === 32 && x === 32;
}

/** Names the memory operand of a LOAD_UPDATE within its instruction: the store to it is no access of its own. */
export function updateKey({ x, a, w }: MicroOp): string {
  return `${x}:${a}:${w}`;
}

/** Whether a monitor may intercept an instruction that is native without one. */
export function isIntercepted({ ops }: Lifted): boolean {
  return ops.some(({ op, imm }) => op === OP.HELPER && (imm === rdtsc || imm === pause));
}

export function isNative(lifted: Lifted): boolean {
  const known = ({ op, imm }: MicroOp): boolean =>
    NEAR.has(op) || op === OP.LOOP || (op === OP.HELPER && (imm === invlpg || imm === readCr));
  if (lifted.rule.endsBlock === true && !lifted.ops.some(known)) return false;
  if (lifted.rule.setsShadow !== undefined || lifted.rule.loadsRf === true) return false;
  if (lifted.ops.some((op) => ONLY_WIDE.has(op.op) && op.w !== 32)) return false;
  let changed = false;
  const checked = new Set<string>();
  for (const op of lifted.ops) {
    if (!NATIVE.has(op.op)) return false;
    if (NEAR.has(op.op) && op.w !== 32) return false;
    if (op.op === OP.HELPER && !isNativeHelper(op)) return false;
    if (op.op === OP.LOOP && (op.c !== 32 || op.w !== 32 || op.x < 2)) return false;
    if (CAN_LEAVE.has(op.op)) {
      // A store that LOAD_UPDATE has checked cannot leave.
      if (changed && !(op.op === OP.STORE && checked.has(updateKey(op)))) return false;
      if (op.op === OP.LOAD_UPDATE) checked.add(updateKey(op));
      if (op.op === OP.DIV || op.op === OP.IDIV) changed = true;
    }
    if (CHANGES_FLAGS.has(op.op) || (writesCell(op) && op.d <= LAST_GPR) || op.op === OP.LAHF) changed = true;
    if (writesCell(op) && op.d > LAST_GPR && !isTemporary(op.d)) return false;
    // A store is the end of what can be taken back.
    if (op.op === OP.STORE || op.op === OP.HELPER) changed = true;
  }
  return true;
}

const WRITES_NO_CELL = set(
  ...[OP.BEGIN, OP.END, OP.END_BRANCH, OP.STORE, OP.FLAG_BIT, OP.LAHF, OP.SAHF, OP.CHECK_RELATIVE, OP.CHECK_TARGET],
  ...[OP.JUMP, OP.JUMP_IF, OP.JUMP_TO, OP.LOOP, OP.DIV, OP.IDIV, OP.HELPER],
);

const ALL_GPR = Object.values(GPR);
const NO_CELLS = set(OP.BEGIN, OP.END, OP.END_BRANCH, OP.JUMP, OP.JUMP_IF, OP.CHECK_RELATIVE, OP.FLAG_BIT);

/** Cells that a native micro-op names; possibly some that it does not use. */
export function cellsOf(op: MicroOp): readonly number[] {
  if (NO_CELLS.has(op.op)) return [];
  switch (op.op) {
    case OP.MUL:
    case OP.IMUL:
    case OP.SHLD:
    case OP.SHRD:
      return [op.a, op.b, op.c, op.d];
    case OP.DIV:
    case OP.IDIV:
      return [op.a, GPR.eax, GPR.edx];
    case OP.LAHF:
    case OP.SAHF:
      return [GPR.eax];
    case OP.LOOP:
      return [GPR.ecx];
    case OP.HELPER:
      if (op.imm === rdtsc) return [GPR.eax, GPR.edx];
      return op.imm === pushAll || op.imm === popAll ? ALL_GPR : [op.a];
    case OP.JUMP_TO:
    case OP.CHECK_TARGET:
      return [op.a];
    default:
      return [op.a, op.b, op.d];
  }
}

function writesCell(op: MicroOp): boolean {
  return !WRITES_NO_CELL.has(op.op);
}

const NONE: readonly number[] = [];

/** Cells that a native micro-op writes. */
export function cellsWritten(op: MicroOp): readonly number[] {
  switch (op.op) {
    case OP.MUL:
    case OP.IMUL:
      return [op.c, op.d];
    case OP.DIV:
    case OP.IDIV:
      return [GPR.eax, GPR.edx];
    case OP.LAHF:
      return [GPR.eax];
    case OP.LOOP:
      return [GPR.ecx];
    case OP.HELPER:
      switch (op.imm) {
        case rdtsc:
          return [GPR.eax, GPR.edx];
        case pushAll:
          return [GPR.esp];
        case popAll:
          return ALL_GPR;
        case readCr:
          return [op.d];
        default:
          return NONE;
      }
    default:
      return writesCell(op) ? [op.d] : NONE;
  }
}

function isTemporary(cell: number): boolean {
  return cell >= FIRST_TEMPORARY && cell < FIRST_TEMPORARY + 2 * TEMPORARY_COUNT;
}

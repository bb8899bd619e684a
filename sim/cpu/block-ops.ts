/**
 * Micro-ops of a block from those of its instructions: the END of one and the BEGIN of the next become one NEXT, and
 * direct jumps to an instruction of the same block name its place, so that a loop need not leave the interpreter.
 */
import { type MicroOp, microOp, OP } from "./micro-ops.ts";

/** One lifted instruction at a byte offset from the block's start. */
export interface BlockInstruction {
  readonly offset: number;
  readonly ops: readonly MicroOp[];
}

/** The block's micro-ops. `loops` permits jumps inside it; not for a block that is to run one instruction only. */
export function blockOps(instructions: readonly BlockInstruction[], loops: boolean): MicroOp[] {
  const places = loops ? jumpTargets(instructions) : new Map<number, number>();
  const ops: MicroOp[] = [];
  for (const instruction of instructions) {
    const end = ops.at(-1);
    const [begin, ...rest] = instruction.ops as readonly [MicroOp, ...MicroOp[]];
    if (places.has(instruction.offset)) places.set(instruction.offset, ops.length);
    if (end?.op === OP.END && !places.has(instruction.offset)) {
      ops[ops.length - 1] = microOp(OP.NEXT, { imm: end.imm, d: begin.imm, x: begin.x });
    } else {
      ops.push(begin);
    }
    for (const op of rest) ops.push(isInnerJump(op) ? withOrigin(op, instruction.offset) : op);
  }
  return ops.map((op) => (isInnerJump(op) ? withPlace(op, places) : op));
}

/** Offsets to which instructions of the block jump and at which one begins; their places are not known yet. */
function jumpTargets(instructions: readonly BlockInstruction[]): Map<number, number> {
  const starts = new Set(instructions.map(({ offset }) => offset));
  const targets = new Map<number, number>();
  for (const { offset, ops } of instructions) {
    for (const op of ops) {
      if (isInnerJump(op) && starts.has(offset + op.imm)) targets.set(offset + op.imm, -1);
    }
  }
  return targets;
}

/** A jump that could stay inside; 16-bit ones wrap and are left out. */
function isInnerJump(op: MicroOp): boolean {
  return op.w === 32 && (op.op === OP.JUMP_IF || op.op === OP.JUMP) && op.b === 0;
}

/** Keeps the jumping instruction's offset in `c` until places are known. */
function withOrigin(op: MicroOp, offset: number): MicroOp {
  return microOp(op.op, { ...op, c: offset });
}

function withPlace(op: MicroOp, places: ReadonlyMap<number, number>): MicroOp {
  const place = places.get(op.c + op.imm);
  return microOp(op.op, { ...op, c: place === undefined ? 0 : place + 1 });
}

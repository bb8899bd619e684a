/** Flags that nobody will ask for. */
import { OP } from "../micro-ops.ts";
import { CELL } from "../state.ts";
import { CAN_LEAVE } from "./native.ts";
import type { RegionNode } from "./region.ts";

const set = (...ops: number[]): ReadonlySet<number> => new Set(ops);
/** Micro-ops that replace all status flags, whatever they were (shifts: by a constant that is not 0). */
const REPLACES_FLAGS = set(OP.ADD, OP.SUB, OP.AND, OP.OR, OP.XOR, OP.NEG, OP.MUL, OP.IMUL);
const SHIFTS = set(OP.SHL, OP.SHR, OP.SAR);
/** Micro-ops that neither read nor change flags, and cannot leave. */
const INDIFFERENT = set(
  ...[OP.BEGIN, OP.END, OP.CONST, OP.MOV, OP.GET8H, OP.PUT8, OP.PUT8H, OP.PUT16, OP.ZERO_EXTEND, OP.SIGN_EXTEND],
  ...[OP.ADDRESS, OP.NOT, OP.BSWAP, OP.NEXT_IP, OP.SIGN],
);

/** Whether the flags that instruction `n` of a node makes are replaced before anything asks for them or may leave. */
export function flagsDeadAfter(node: RegionNode, n: number): boolean {
  for (const { lifted } of node.instructions.slice(n + 1)) {
    for (const op of lifted.ops) {
      if (INDIFFERENT.has(op.op)) continue;
      if (CAN_LEAVE.has(op.op)) return false;
      const constant = op.b === CELL.zero ? op.imm & 31 : 0;
      return REPLACES_FLAGS.has(op.op) || (SHIFTS.has(op.op) && constant !== 0);
    }
  }
  return false;
}

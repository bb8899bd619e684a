/**
 * What is known before code is made about the flags where a loop begins: their kind there (flags-code.ts), if it is the same
 * on all ways. Without it the kind would be unknown at every loop, and an INC in it would have to compute all flags to
 * keep one.
 */
import { type MicroOp, OP } from "../micro-ops.ts";
import { CELL } from "../state.ts";
import { ARITHMETIC } from "./arithmetic-code.ts";
import { EFLAGS_KIND, flagsKind, isShortCondition, MADE_BY, UNKNOWN } from "./flags-code.ts";
import type { RegionNode } from "./region.ts";
import type { Structure } from "./structure.ts";

const set = (...ops: number[]): ReadonlySet<number> => new Set(ops);
const SHIFTED = set(OP.MUL, OP.IMUL);
const SHIFTS = set(OP.SHL, OP.SHR, OP.SAR);
/** Micro-ops that leave the flags alone, in the locals as they are. */
const INDIFFERENT = set(
  ...[OP.BEGIN, OP.END, OP.END_BRANCH, OP.CONST, OP.MOV, OP.GET8H, OP.PUT8, OP.PUT8H, OP.PUT16, OP.ZERO_EXTEND],
  ...[OP.SIGN_EXTEND, OP.ADDRESS, OP.LOAD, OP.LOAD_UPDATE, OP.STORE, OP.NOT, OP.BSWAP, OP.NEXT_IP, OP.SIGN, OP.DIV],
  ...[OP.IDIV, OP.CHECK_RELATIVE, OP.CHECK_TARGET, OP.JUMP, OP.JUMP_TO, OP.LOOP, OP.BIT_ADDRESS],
);

/** Kind of the flags at the beginning of each node; `node` tells those that are instructions from other places. */
export function flagKinds(
  structure: Structure,
  successors: (place: number) => readonly number[],
  node: (place: number) => RegionNode | null,
): ReadonlyMap<number, number> {
  const kinds = new Map<number, number>([[structure.order[0] as number, EFLAGS_KIND]]);
  for (let changed = true; changed; ) {
    changed = false;
    for (const place of structure.order) {
      const before = kinds.get(place);
      if (before === undefined) continue;
      const here = node(place);
      const after = here === null ? before : kindAfter(here, before);
      for (const to of successors(place)) {
        const known = kinds.get(to);
        const meets = known === undefined || known === after ? after : UNKNOWN;
        if (meets === known) continue;
        kinds.set(to, meets);
        changed = true;
      }
    }
  }
  return kinds;
}

function kindAfter({ instructions }: RegionNode, before: number): number {
  let kind = before;
  for (const { lifted, native } of instructions) {
    if (!native) return EFLAGS_KIND;
    for (const op of lifted.ops) kind = kindAfterOp(op, kind);
  }
  return kind;
}

/** UNKNOWN where it is not worth to say. */
function kindAfterOp(op: MicroOp, before: number): number {
  if (INDIFFERENT.has(op.op)) return before;
  const arithmetic = ARITHMETIC[op.op];
  if (arithmetic !== undefined) return flagsKind(arithmetic.operation, 32 - op.w);
  if (SHIFTED.has(op.op)) return flagsKind(MADE_BY.SHIFT, 32 - op.w);
  if (SHIFTS.has(op.op) && op.b === CELL.zero)
    return (op.imm & 31) === 0 ? before : flagsKind(MADE_BY.SHIFT, 32 - op.w);
  const asks = op.op === OP.JUMP_IF || op.op === OP.SETCC || op.op === OP.SELECT;
  return asks && before !== UNKNOWN && isShortCondition(before, op.x) ? before : UNKNOWN;
}

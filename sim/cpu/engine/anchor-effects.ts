/** What micro-ops are for the analysis of anchors (anchors.ts): accesses, sums of a register and a constant, other changes. */
import { HELPER_NUMBER } from "../helpers.ts";
import { type MicroOp, OP } from "../micro-ops.ts";
import { CELL, FIRST_TEMPORARY, GPR } from "../state.ts";
import { cellsWritten, updateKey } from "./native.ts";

/** General registers; slots from here up are temporaries. */
export const REGISTERS = 8;

/** What a micro-op does, by its number in the instruction. Slots are registers and temporaries. */
export type Effect =
  /** Accesses `bytes` bytes where a slot points, through a class of segments; slot -1: where nobody can say. */
  | {
      readonly kind: "access";
      readonly n: number;
      readonly slot: number;
      readonly bytes: number;
      readonly write: boolean;
      readonly through: number;
    }
  /** Gives a slot the value of another and a constant. */
  | { readonly kind: "sum"; readonly n: number; readonly slot: number; readonly from: number; readonly add: number }
  /** Changes a slot. */
  | { readonly kind: "change"; readonly n: number; readonly slot: number }
  /** May change what is in the TLB, or a segment. */
  | { readonly kind: "end"; readonly n: number };

const ELSEWHERE = -1;

function slotOf(cell: number): number {
  if (cell <= GPR.edi) return cell / 2;
  return cell < FIRST_TEMPORARY ? ELSEWHERE : REGISTERS + (cell - FIRST_TEMPORARY) / 2;
}

/** The constant that a micro-op adds to cell a; null for all others. */
function constantAdded({ op, w, a, b, imm }: MicroOp): number | null {
  if (a === CELL.zero) return null;
  switch (op) {
    case OP.MOV:
      return 0;
    case OP.ADDRESS:
    case OP.ADD:
      return w === 32 && b === CELL.zero ? imm | 0 : null;
    case OP.SUB:
      return w === 32 && b === CELL.zero ? -imm | 0 : null;
    case OP.INC:
      return w === 32 ? 1 : null;
    case OP.DEC:
      return w === 32 ? -1 : null;
    default:
      return null;
  }
}

/** Helpers that change neither a segment nor the TLB, and make no access. */
const KEEPS_TRANSLATIONS: ReadonlySet<number> = new Set([
  HELPER_NUMBER.readCr,
  HELPER_NUMBER.rdtsc,
  HELPER_NUMBER.pause,
]);

/** The effects of a native instruction. `through`: the class of a segment; null: every access through it is given up. */
export function effectsOf(ops: readonly MicroOp[], through: (segment: number) => number | null): readonly Effect[] {
  const effects: Effect[] = [];
  /** Temporaries that have been given the value of a register and a constant. */
  const pointers = new Set<number>();
  const updated = new Set<string>();
  for (const [n, op] of ops.entries()) {
    const add = constantAdded(op);
    const from = add === null ? ELSEWHERE : slotOf(op.a);
    if (add !== null && (pointers.has(from) || (from >= 0 && from < REGISTERS))) {
      const slot = slotOf(op.d);
      if (slot >= REGISTERS) pointers.add(slot);
      if (slot >= 0) effects.push({ kind: "sum", n, slot, from, add });
      continue;
    }
    if (op.op === OP.LOAD_UPDATE) updated.add(updateKey(op));
    if (op.op === OP.LOAD || op.op === OP.LOAD_UPDATE || (op.op === OP.STORE && !updated.has(updateKey(op)))) {
      const segments = through(op.x);
      const slot = slotOf(op.a);
      const known = segments !== null && (pointers.has(slot) || (slot >= 0 && slot < REGISTERS));
      const write = op.op !== OP.LOAD;
      effects.push({ kind: "access", n, slot: known ? slot : ELSEWHERE, bytes: op.w, write, through: segments ?? 0 });
    }
    for (const cell of cellsWritten(op)) {
      const slot = slotOf(cell);
      if (pointers.has(slot) || (slot >= 0 && slot < REGISTERS)) effects.push({ kind: "change", n, slot });
      pointers.delete(slot);
    }
    if (op.op === OP.HELPER && !KEEPS_TRANSLATIONS.has(op.imm)) effects.push({ kind: "end", n });
  }
  return effects;
}

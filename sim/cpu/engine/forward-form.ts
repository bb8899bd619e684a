/**
 * String instructions without REP as micro-ops that compiled code has: what they do while DF is clear. The accesses are in
 * the order in which strings.ts makes them, and registers change after them.
 */
import type { Lifted } from "../lift/lift.ts";
import { type MicroOp, microOp, OP, REPEAT, STRING_KIND } from "../micro-ops.ts";
import type { CostTicks } from "../profiles/profile.ts";
import { CELL, GPR, SEG, temporaryCell } from "../state.ts";

const FIRST = temporaryCell(0);
const SECOND = temporaryCell(1);
const DIFFERENCE = temporaryCell(2);

/** The form of an instruction; null: it is no such string instruction, or has addresses of 16 bits. */
export function forwardForm(lifted: Lifted, costs: CostTicks): Lifted | null {
  const { ops, length, ticks } = lifted;
  const string = ops[1] as MicroOp;
  if (string.op !== OP.STRING || string.b !== REPEAT.NONE || string.c !== 32) return null;
  const body = bodyOf(string);
  if (body === null) return null;
  return {
    ...lifted,
    ops: [ops[0] as MicroOp, ...body, microOp(OP.END, { imm: length })],
    ticks: ticks + costs.stringIteration,
  };
}

function bodyOf({ x: kind, w, a: segment }: MicroOp): readonly MicroOp[] | null {
  const fromSource = (d: number): MicroOp => microOp(OP.LOAD, { w, d, a: GPR.esi, x: segment });
  const fromTarget = (d: number): MicroOp => microOp(OP.LOAD, { w, d, a: GPR.edi, x: SEG.es });
  const store = (b: number): MicroOp => microOp(OP.STORE, { w, a: GPR.edi, b, x: SEG.es });
  const compare = (a: number, b: number): MicroOp => microOp(OP.SUB, { w: 8 * w, d: DIFFERENCE, a, b });
  const [source, target] = [GPR.esi, GPR.edi].map((d) => microOp(OP.ADDRESS, { w: 32, d, a: d, b: CELL.zero, imm: w }));
  switch (kind) {
    case STRING_KIND.MOVS:
      return [fromSource(FIRST), store(FIRST), source as MicroOp, target as MicroOp];
    case STRING_KIND.STOS:
      return [store(GPR.eax), target as MicroOp];
    case STRING_KIND.LODS: {
      const put = w === 4 ? OP.MOV : w === 2 ? OP.PUT16 : OP.PUT8;
      return [fromSource(FIRST), microOp(put, { d: GPR.eax, a: FIRST }), source as MicroOp];
    }
    case STRING_KIND.SCAS:
      return [fromTarget(FIRST), compare(GPR.eax, FIRST), target as MicroOp];
    case STRING_KIND.CMPS:
      return [fromSource(FIRST), fromTarget(SECOND), compare(FIRST, SECOND), source as MicroOp, target as MicroOp];
    default:
      return null;
  }
}

/**
 * From a decoded instruction to micro-ops: the only place where an instruction's meaning stands is the tables
 * (arithmetic.ts, control-flow.ts, system.ts), put together here with its cost. Lifted code holds no absolute EIP.
 */
import { Code, type Instruction, Mnemonic } from "iced-x86";
import { byForm } from "../by-form.ts";
import { type MicroOp, microOp, OP } from "../micro-ops.ts";
import type { CostTicks } from "../profiles/profile.ts";
import { ARITHMETIC, BY_ONE } from "./arithmetic.ts";
import { CONTROL_FLOW } from "./control-flow.ts";
import { type CodeMode, Lifter } from "./lifter.ts";
import { MMX } from "./mmx.ts";
import type { Rule } from "./rule.ts";
import { SSE, SSE_NAMESAKES } from "./sse.ts";
import { SYSTEM, specialForm } from "./system.ts";
import { X87_INSTRUCTIONS } from "./x87.ts";

/** All modelled instructions by iced-x86's mnemonic. */
export const INSTRUCTIONS: Readonly<Record<string, Rule>> = {
  ...ARITHMETIC,
  ...CONTROL_FLOW,
  ...SYSTEM,
  ...X87_INSTRUCTIONS,
  ...MMX,
  ...SSE,
};

export interface Lifted {
  /** BEGIN, the instruction's own micro-ops, END or END_BRANCH. */
  readonly ops: readonly MicroOp[];
  readonly rule: Rule;
  readonly length: number;
  /** Static cost in ticks. */
  readonly ticks: number;
}

/** The rule of an instruction, or null when it is not modelled. */
export const ruleOf = byForm((instruction): Rule | null => {
  const name = Mnemonic[instruction.mnemonic] as string;
  const code = Code[instruction.code] as string;
  const byOne = /_1$/.test(code) ? BY_ONE[name] : undefined;
  return SSE_NAMESAKES[code] ?? byOne ?? INSTRUCTIONS[name] ?? null;
});

/** Lifts the instruction, or returns null when it is not modelled. */
export function lift(instruction: Instruction, mode: CodeMode, costs: CostTicks): Lifted | null {
  const lifter = new Lifter(instruction, mode);
  const rule = specialForm(lifter) ?? ruleOf(instruction);
  if (rule === null) return null;
  rule.lift(lifter);
  const ticks = staticTicks(rule, lifter, costs);
  const end = lifter.branches ? microOp(OP.END_BRANCH) : microOp(OP.END, { imm: lifter.length });
  const begin = microOp(OP.BEGIN, { imm: ticks, x: lifter.length });
  return { ops: [begin, ...lifter.ops, end], rule, length: lifter.length, ticks };
}

function staticTicks(rule: Rule, lifter: Lifter, costs: CostTicks): number {
  if (lifter.free) return 0;
  const cost = lifter.cost ?? rule.cost;
  let ticks = cost === null ? 0 : costs[cost];
  for (const added of lifter.added) ticks += costs[added];
  if (rule.memoryIncluded !== true) ticks += lifter.loads * costs.load + lifter.stores * costs.store;
  if (lifter.locks) ticks += costs.locked;
  return ticks;
}

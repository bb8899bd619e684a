/** Instructions of regions that the interpreter runs: what compiled code needs to have of them beside their micro-ops. */
import type { Account } from "../../ledger.ts";
import { HELPER_NUMBER, HELPERS, type Helper } from "../helpers.ts";
import type { Lifted } from "../lift/lift.ts";
import type { Rule } from "../lift/rule.ts";
import { type MicroOp, OP } from "../micro-ops.ts";
import type { RegionInstruction } from "./region.ts";
import { onlyHelper } from "./transition-call.ts";

/** An instruction that the interpreter runs for compiled code. */
export interface Interpreted {
  readonly ops: readonly MicroOp[];
  readonly rule: Rule;
  readonly account: Account;
  readonly ticks: number;
  readonly length: number;
  /** Its only micro-op between BEGIN and END is this helper; null: there are others. */
  readonly helper: Helper | null;
  readonly op: MicroOp;
  /** EIP moves behind it. */
  readonly falls: boolean;
  /** IRET of 32 bits. */
  readonly returns: boolean;
  /** What an STI's shadow covers; null: it is no STI, or that instruction is not known. */
  readonly shadowed: Interpreted | null;
}

export function interpretedOf({ lifted, account, shadowed }: RegionInstruction): Interpreted {
  return {
    ...plan(lifted, account),
    shadowed: shadowed === null ? null : { ...plan(shadowed, account), shadowed: null },
  };
}

function plan(lifted: Lifted, account: Account): Omit<Interpreted, "shadowed"> {
  const { ops, rule, ticks, length } = lifted;
  const op = ops[1] as MicroOp;
  const helper = onlyHelper(lifted) === null ? null : (HELPERS[op.imm] as Helper);
  const returns = helper !== null && op.imm === HELPER_NUMBER.iret && op.w === 32;
  const falls = ops[ops.length - 1]?.op === OP.END;
  return { ops, rule, account, ticks, length, helper, op, falls, returns };
}

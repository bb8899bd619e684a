/** Which instructions have a function of transition-code.ts, and with what a region calls it. */
import { HELPER_NUMBER } from "../helpers.ts";
import type { Lifted } from "../lift/lift.ts";
import { type MicroOp, OP } from "../micro-ops.ts";
import { FUNCTION } from "./contract.ts";
import type { RegionInstruction } from "./region.ts";
import type { FunctionBody } from "./wasm.ts";

/** An instruction's only micro-op between BEGIN and END, if that is a helper. */
export function onlyHelper({ ops }: Lifted): MicroOp | null {
  const op = ops[1] as MicroOp;
  return ops.length === 3 && op.op === OP.HELPER ? op : null;
}

/** Leaves the region by an instruction that compiled code can do by itself; false: it is none, and nothing is written. */
export function callTransition(f: FunctionBody, instruction: RegionInstruction, number: number): boolean {
  const { lifted, account, shadowed } = instruction;
  const op = onlyHelper(lifted);
  if (op === null) return false;
  const go = (function_: number, ...more: readonly number[]): true => {
    for (const value of [number, lifted.ticks, account, ...more]) f.i32(value);
    f.returnCall(function_);
    return true;
  };
  switch (op.imm) {
    case HELPER_NUMBER.sysenter:
      return go(FUNCTION.sysenter);
    case HELPER_NUMBER.sti:
      if (shadowed === null || onlyHelper(shadowed)?.imm !== HELPER_NUMBER.sysexit) return false;
      return go(FUNCTION.stiSysexit, shadowed.ticks);
    case HELPER_NUMBER.iret:
      return op.w === 32 && go(FUNCTION.interruptReturn);
    case HELPER_NUMBER.softwareInterrupt:
      return go(FUNCTION.softwareInterrupt, op.x, lifted.length);
    default:
      return false;
  }
}

/**
 * What the translator does with a guest instruction, from the facts of the core's instruction tables: copied as it is,
 * unless it transfers control, needs privilege, tells or changes what the guest must not see, or reads memory through a
 * segment that is not the guest's in the cache (CS, GS).
 */
import { Code, FlowControl, type Instruction, Mnemonic, OpKind, Register } from "iced-x86";
import { byForm } from "../../cpu/by-form.ts";
import { lift } from "../../cpu/lift/lift.ts";
import type { CodeMode } from "../../cpu/lift/lifter.ts";
import type { Rule } from "../../cpu/lift/rule.ts";
import type { CostTicks } from "../../cpu/profiles/profile.ts";

export type InstructionKind =
  | "identical"
  /** Near branches. */
  | "jump"
  | "conditional-jump"
  /** LOOPcc, JCXZ, JECXZ. */
  | "loop"
  | "call"
  | "indirect-jump"
  | "indirect-call"
  | "return"
  /** The monitor executes it, unless there is a sequence for it (inline.ts); the unit may go on behind it. */
  | "sensitive"
  /** The same for what never goes on behind itself, or hardly. */
  | "transfer";

/** They store the address of the last x87 instruction, which is the cache's. */
const STORES_X87_POINTER: ReadonlySet<Mnemonic> = new Set([
  ...[Mnemonic.Fnstenv, Mnemonic.Fstenv, Mnemonic.Fnsave, Mnemonic.Fsave, Mnemonic.Fxsave],
]);
/** They leave the CPL, and never come back to the next instruction by themselves. */
const TRANSFERS: ReadonlySet<Mnemonic> = new Set([
  ...[Mnemonic.Retf, Mnemonic.Iret, Mnemonic.Iretd, Mnemonic.Int, Mnemonic.Int3, Mnemonic.Int1],
  ...[Mnemonic.Sysenter, Mnemonic.Sysexit],
]);
/** Exits of VT-x that depend on nothing which the guest could tell. */
const HARMLESS_EXITS: readonly string[] = ["pause"];

const MEMORY_OPERANDS: ReadonlySet<OpKind> = new Set([
  ...[OpKind.Memory, OpKind.MemorySegSI, OpKind.MemorySegESI, OpKind.MemorySegDI, OpKind.MemorySegEDI],
]);

/** `as8086`: in a mode in which the processor does not know what it does know while translated code runs. */
export function instructionKind(
  instruction: Instruction,
  mode: CodeMode & { readonly as8086: boolean },
  costs: CostTicks,
): InstructionKind {
  const lifted = lift(instruction, mode, costs);
  if (lifted === null || lifted.rule.raisesUndefined === true) return "transfer";
  if (TRANSFERS.has(instruction.mnemonic) || isFarBranch(instruction)) return "transfer";
  const branch = nearBranch(instruction);
  if (branch !== null) {
    if (branch.startsWith("indirect") && usesForeignSegment(instruction)) return "transfer";
    return branchBits(instruction) === mode.bits ? branch : "transfer";
  }
  if (mode.as8086 && instruction.mnemonic === Mnemonic.Arpl) return "sensitive";
  return isSensitive(lifted.rule) || STORES_X87_POINTER.has(instruction.mnemonic) || usesForeignSegment(instruction)
    ? "sensitive"
    : "identical";
}

function isSensitive(rule: Rule): boolean {
  if (rule.privileged !== undefined || rule.sensitive === true || rule.endsBlock === true) return true;
  return rule.exits !== undefined && !HARMLESS_EXITS.includes(rule.exits);
}

const isFarBranch = byForm(({ code }) => /^(Jmp|Call)_(ptr|m16(16|32))/.test(Code[code] as string));
const isWordForm = byForm(({ code }) => /^Retnw|_rm16$/.test(Code[code] as string));

function nearBranch(instruction: Instruction): InstructionKind | null {
  const { mnemonic } = instruction;
  switch (instruction.flowControl) {
    case FlowControl.UnconditionalBranch:
      return "jump";
    case FlowControl.ConditionalBranch:
      return LOOPS.has(mnemonic) ? "loop" : "conditional-jump";
    case FlowControl.IndirectBranch:
      return "indirect-jump";
    case FlowControl.Call:
      return mnemonic === Mnemonic.Call ? "call" : null;
    case FlowControl.IndirectCall:
      return "indirect-call";
    case FlowControl.Return:
      return mnemonic === Mnemonic.Ret ? "return" : null;
    default:
      return null;
  }
}

const LOOPS: ReadonlySet<Mnemonic> = new Set([
  ...[Mnemonic.Loop, Mnemonic.Loope, Mnemonic.Loopne, Mnemonic.Jcxz, Mnemonic.Jecxz],
]);

/** Operand size of a near branch: that of the EIP which it loads. */
function branchBits(instruction: Instruction): number {
  if (instruction.opCount > 0) {
    const kind = instruction.op0Kind;
    if (kind === OpKind.NearBranch16) return 16;
    if (kind === OpKind.NearBranch32) return 32;
  }
  return isWordForm(instruction) ? 16 : 32;
}

/** Whether it reaches memory through CS or GS, which are the monitor's while translated code runs. */
function usesForeignSegment(instruction: Instruction): boolean {
  for (let n = 0; n < instruction.opCount; n++) {
    const kind = instruction.opKind(n);
    if (!MEMORY_OPERANDS.has(kind)) continue;
    const segment = instruction.memorySegment;
    if (segment === Register.CS || segment === Register.GS) return true;
  }
  return false;
}

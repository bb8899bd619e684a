/**
 * IRET in protected mode (SDM vol. 2, IRET/IRETD): to the same and to an outer level, 16- and 32-bit. A return to
 * virtual-8086 mode and a task return (EFLAGS.NT) stop as unmodelled, the latter after its VM exit in non-root
 * operation.
 *
 * IRET ends blocking by NMI even when it faults (vol. 3, 6.7.1), unless the VM-execution controls say otherwise.
 */
import { ACCESS, type Environment } from "../environment.ts";
import { BLOCKING, CELL, type CpuState, FLAG, limitCell, raise, SEG, unmodelled, VECTOR } from "../state.ts";
import { protectedMode, stopped } from "./checks.ts";
import { selectorError } from "./descriptors.ts";
import { returnFlags } from "./flags.ts";
import { checkReturnCode, commitOuter, prepareOuter, returnSame } from "./returns.ts";
import { loadStack, stackHolds } from "./stack.ts";
import { switchTask, TASK_SOURCE } from "./tasks.ts";

/** IRET with an operand size of 16 or 32 bits. Sets EIP; charges iretSame or iretOuter, and the caller nothing. */
export function interruptReturn(state: CpuState, env: Environment, width: 16 | 32): void {
  if (!protectedMode(state, "IRET")) return;
  unblockNmi(state, env);
  if ((state.flags & FLAG.NT) !== 0) {
    taskReturn(state, env);
    return;
  }
  const bytes = width / 8;
  if (!stackHolds(state, 0, 3 * bytes, bytes)) return;
  const eip = loadStack(state, env, 0, bytes);
  if (stopped(state)) return;
  const cs = loadStack(state, env, bytes, bytes) & 0xffff;
  if (stopped(state)) return;
  const image = loadStack(state, env, 2 * bytes, bytes);
  if (stopped(state)) return;
  if (width === 32 && (image & FLAG.VM) !== 0 && state.cpl === 0) {
    unmodelled(state, "IRET to virtual-8086 mode");
    return;
  }
  if (!checkReturnCode(state, env, cs)) return;
  if ((cs & 3) > state.cpl) {
    const ss = prepareOuter(state, env, cs, eip, 3 * bytes, bytes);
    if (stopped(state)) return;
    returnFlags(state, env, image, width);
    commitOuter(state, cs, ss, eip, 0);
    env.charge("iretOuter");
  } else if (returnSame(state, env, cs, eip, 3 * bytes)) {
    returnFlags(state, env, image, width);
    env.charge("iretSame");
  }
}

function unblockNmi(state: CpuState, env: Environment): void {
  const blocking = state.get(CELL.interruptibility);
  if ((blocking & BLOCKING.NMI) === 0 || env.intercepts?.iretKeepsNmiBlocking?.() === true) return;
  state.set(CELL.interruptibility, blocking & ~BLOCKING.NMI);
  env.attention();
}

/** EFLAGS.NT: back to the task that the link of the current TSS names. */
function taskReturn(state: CpuState, env: Environment): void {
  if (state.get(limitCell(SEG.tr)) < 1) {
    raise(state, VECTOR.TS, selectorError(state.selector(SEG.tr)));
    return;
  }
  const link = env.load(state.segmentBase(SEG.tr), 2, ACCESS.READ | ACCESS.DESCRIPTOR);
  if (!stopped(state)) switchTask(state, env, link, TASK_SOURCE.IRET);
}

/**
 * IRET (SDM vol. 2, IRET/IRETD), 16- and 32-bit: in protected mode to the same level, to an outer one and to
 * virtual-8086 mode; in real-address and virtual-8086 mode. With EFLAGS.NT it switches back to the calling task (tasks.ts).
 *
 * IRET ends blocking by NMI even when it faults (vol. 3, 6.7.1), unless the VM-execution controls say otherwise.
 */
import { ACCESS, type Environment } from "../environment.ts";
import { BLOCKING, CELL, type CpuState, FLAG, GPR, limitCell, NO_ERROR_CODE, raise, SEG, VECTOR } from "../state.ts";
import { segmentsAs8086, stopped } from "./checks.ts";
import { selectorError } from "./descriptors.ts";
import { enterVirtual8086Flags, returnFlags } from "./flags.ts";
import { interruptReturn8086, loadVirtual8086Segment } from "./mode8086.ts";
import { checkReturnCode, commitOuter, prepareOuter, returnSame } from "./returns.ts";
import { loadStack, setCpl, stackHolds } from "./stack.ts";
import { switchTask, TASK_SOURCE } from "./tasks.ts";

/**
 * IRET with an operand size of 16 or 32 bits; `next` is the EIP of the following instruction, which a task switch
 * saves. Sets EIP; charges iretSame, iretOuter or a task switch, and the caller nothing.
 */
export function interruptReturn(state: CpuState, env: Environment, width: 16 | 32, next: number): void {
  unblockNmi(state, env);
  if (segmentsAs8086(state)) {
    interruptReturn8086(state, env, width);
    return;
  }
  if ((state.flags & FLAG.NT) !== 0) {
    taskReturn(state, env, next);
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
    returnToVirtual8086(state, env, cs, eip, image);
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

/** Segment registers in the order in which a frame of virtual-8086 mode has them above ESP and SS. */
const FRAME_SEGMENTS = [SEG.es, SEG.ds, SEG.fs, SEG.gs] as const;
/** Offsets of ESP, SS and the first of FRAME_SEGMENTS in the frame; its size. */
const FRAME = { esp: 12, ss: 16, segments: 20, bytes: 36 } as const;

/** The rest of the frame, with all checks before anything changes; then CPL 3, segments and EFLAGS of the program. */
function returnToVirtual8086(state: CpuState, env: Environment, cs: number, eip: number, image: number): void {
  if (!stackHolds(state, 0, FRAME.bytes, 4)) return;
  const esp = loadStack(state, env, FRAME.esp, 4);
  if (stopped(state)) return;
  const ss = loadStack(state, env, FRAME.ss, 4);
  if (stopped(state)) return;
  for (let n = 0; n < FRAME_SEGMENTS.length; n++) {
    loadStack(state, env, FRAME.segments + 4 * n, 4);
    if (stopped(state)) return;
  }
  if (eip > 0xffff) {
    raise(state, VECTOR.GP, 0);
    return;
  }
  for (const [n, segment] of FRAME_SEGMENTS.entries()) {
    loadVirtual8086Segment(state, segment, loadStack(state, env, FRAME.segments + 4 * n, 4));
  }
  enterVirtual8086Flags(state, env, image);
  loadVirtual8086Segment(state, SEG.cs, cs);
  loadVirtual8086Segment(state, SEG.ss, ss);
  setCpl(state, 3);
  state.set(GPR.esp, esp);
  state.eip = eip;
  env.charge("iretOuter");
}

function unblockNmi(state: CpuState, env: Environment): void {
  const blocking = state.get(CELL.interruptibility);
  if ((blocking & BLOCKING.NMI) === 0 || env.intercepts?.iretKeepsNmiBlocking?.() === true) return;
  state.set(CELL.interruptibility, blocking & ~BLOCKING.NMI);
  env.attention();
}

/** EFLAGS.NT: back to the task that the link of the current TSS names. */
function taskReturn(state: CpuState, env: Environment, next: number): void {
  if (state.get(limitCell(SEG.tr)) < 1) {
    raise(state, VECTOR.TS, selectorError(state.selector(SEG.tr)));
    return;
  }
  const link = env.load(state.segmentBase(SEG.tr), 2, ACCESS.READ | ACCESS.DESCRIPTOR);
  if (stopped(state)) return;
  const flags = state.flags & ~FLAG.RF;
  switchTask(state, env, {
    selector: link,
    source: TASK_SOURCE.IRET,
    returnEip: next,
    flags,
    errorCode: NO_ERROR_CODE,
    ext: 0,
  });
}

/**
 * Delivery of exceptions, interrupts and INT n through the IDT (SDM vol. 3, 6.11 to 6.13; vol. 2, INT n), from
 * protected and virtual-8086 mode, or through the interrupt table of real-address mode (mode8086.ts), and how a second
 * fault combines with the one being delivered (vol. 3, table 6-5).
 *
 * Deciding that an event is delivered, acknowledging it, VM exits by the exception bitmap, CR2 and DR6 are the
 * core's. Task gates switch tasks (tasks.ts), where a fault may also come after everything has changed.
 *
 * Order: every check, in the manual's order; probe of the frame; accessed bits; stores; then registers. A failed
 * delivery has changed nothing but accessed bits, and charges nothing.
 */
import { ACCESS, type Environment } from "../environment.ts";
import {
  ACTIVITY,
  BLOCKING,
  CELL,
  type CpuState,
  FLAG,
  GPR,
  NO_ERROR_CODE,
  raise,
  SEG,
  selectorCell,
  VECTOR,
} from "../state.ts";
import { inRealMode, inVirtual8086, stopped } from "./checks.ts";
import {
  descriptorBase,
  descriptorLimit,
  descriptorRights,
  dpl,
  fetchDescriptor,
  gateIs32,
  gateOffset,
  gateSelector,
  isCode,
  isConforming,
  isNull,
  isPresent,
  loadFromSlot,
  loadNull,
  markAccessed,
  SLOT,
  SYSTEM_TYPE,
  selectorError,
  systemType,
} from "./descriptors.ts";
import { deliverReal } from "./mode8086.ts";
import {
  innerStack,
  moveStack,
  probeCurrentStack,
  probeNewStack,
  setCpl,
  setStackPointer,
  stackMask,
  storePush,
} from "./stack.ts";
import { switchTask, TASK_SOURCE } from "./tasks.ts";

/**
 * What causes a delivery: "software" is INT n, "software-exception" INT3 and INTO, "privileged-software" INT1;
 * "external" a maskable interrupt. The names are those of the VM-entry interruption types.
 */
export type EventKind = "exception" | "software" | "privileged-software" | "software-exception" | "external" | "nmi";

export interface DeliveryEvent {
  readonly vector: number;
  readonly kind: EventKind;
  /** Error code to push, or NO_ERROR_CODE. */
  readonly errorCode: number;
  /** EIP to push: of the faulting instruction for a fault, of the next one for a trap or interrupt. */
  readonly returnEip: number;
  /**
   * The image of EFLAGS gets RF = 1 although the vector does not say so (SDM vol. 3, 17.3.1.1): the general-detect
   * #DB, and interrupts and traps between two iterations of a string instruction.
   */
  readonly resume?: boolean;
}

const vectorSet = (...vectors: number[]): number => vectors.reduce((set, vector) => set | (1 << vector), 0);

/** Faults: exceptions that restart their instruction and push RF = 1. #DB is a fault only at times (`resume`). */
const FAULTS = vectorSet(
  VECTOR.DE,
  VECTOR.BR,
  VECTOR.UD,
  VECTOR.NM,
  9,
  VECTOR.TS,
  VECTOR.NP,
  VECTOR.SS,
  VECTOR.GP,
  VECTOR.PF,
  VECTOR.MF,
  VECTOR.AC,
  19,
  20,
);

/** DR7.GD, cleared by delivery of #DB (SDM vol. 3, 17.2.4). */
const DR7_GD = 1 << 13;

function isSoftware(kind: EventKind): boolean {
  return kind === "software" || kind === "software-exception";
}

/** EFLAGS as pushed for an event. */
export function flagsImage(state: CpuState, event: DeliveryEvent): number {
  const fault = event.kind === "exception" && event.vector < 32 && ((FAULTS >>> event.vector) & 1) !== 0;
  return fault || event.resume === true ? state.flags | FLAG.RF : state.flags;
}

/**
 * Delivers an event: on return the processor is at the handler's first instruction, or a fault of the delivery
 * itself is signalled (`combineFaults` says what becomes of it). Charges intSame or intInner for software
 * interrupts, pageFault, exception or interrupt otherwise, a task switch for a task gate; the caller adds nothing.
 */
export function deliver(state: CpuState, env: Environment, event: DeliveryEvent): void {
  if (inRealMode(state)) {
    if (deliverReal(state, env, event)) finish(state, env, event, false);
    return;
  }
  const ext = isSoftware(event.kind) ? 0 : 1;
  const idtError = event.vector * 8 + 2 + ext;
  if (event.vector * 8 + 7 > state.get(CELL.idtrLimit)) {
    raise(state, VECTOR.GP, idtError);
    return;
  }
  const gateAddress = (state.get(CELL.idtrBase) + event.vector * 8) >>> 0;
  env.load64(gateAddress, ACCESS.READ | ACCESS.DESCRIPTOR, SLOT.gate);
  if (stopped(state)) return;
  const gate = descriptorRights(state, SLOT.gate);
  const type = systemType(gate);
  const gateWithoutSizeOrTrap = type & ~9;
  const isTaskGate = type === SYSTEM_TYPE.TASK_GATE;
  if (type < 0 || (!isTaskGate && gateWithoutSizeOrTrap !== SYSTEM_TYPE.INTERRUPT_GATE16)) {
    raise(state, VECTOR.GP, idtError);
    return;
  }
  if (isSoftware(event.kind) && dpl(gate) < state.cpl) {
    raise(state, VECTOR.GP, idtError);
    return;
  }
  if (!isPresent(gate)) {
    raise(state, VECTOR.NP, idtError);
    return;
  }
  if (isTaskGate) {
    const committed = switchTask(state, env, {
      selector: gateSelector(state, SLOT.gate),
      source: TASK_SOURCE.TASK_GATE,
      returnEip: event.returnEip,
      flags: flagsImage(state, event),
      errorCode: event.errorCode,
      ext,
    });
    if (committed) taken(state, event);
    return;
  }
  const selector = gateSelector(state, SLOT.gate);
  if (!checkHandler(state, env, selector, ext)) return;
  const code = descriptorRights(state, SLOT.code);
  const inner = !isConforming(code) && dpl(code) < state.cpl;
  const done = inner
    ? enterInner(state, env, event, selector, dpl(code), ext)
    : enterSame(state, env, event, selector, ext);
  if (!done) return;
  let cleared = FLAG.TF | FLAG.NT | FLAG.RF | FLAG.VM;
  if ((type & 1) === 0) cleared |= FLAG.IF;
  state.flags &= ~cleared;
  state.eip = gateOffset(state, SLOT.gate);
  finish(state, env, event, inner);
}

/** Checks of the code segment that a gate names; its descriptor is left in SLOT.code. */
function checkHandler(state: CpuState, env: Environment, selector: number, ext: number): boolean {
  if (isNull(selector)) {
    raise(state, VECTOR.GP, ext);
    return false;
  }
  if (!fetchDescriptor(state, env, selector, SLOT.code, VECTOR.GP, ext)) return false;
  const rights = descriptorRights(state, SLOT.code);
  if (!isCode(rights) || dpl(rights) > state.cpl) {
    raise(state, VECTOR.GP, selectorError(selector, ext));
    return false;
  }
  if (!isPresent(rights)) {
    raise(state, VECTOR.NP, selectorError(selector, ext));
    return false;
  }
  if (inVirtual8086(state) && (isConforming(rights) || dpl(rights) !== 0)) {
    raise(state, VECTOR.GP, selectorError(selector, ext));
    return false;
  }
  return true;
}

/** #GP(EXT) unless the gate's entry point is inside the new code segment. */
function entryInside(state: CpuState, ext: number): boolean {
  if (gateOffset(state, SLOT.gate) <= descriptorLimit(state, SLOT.code)) return true;
  raise(state, VECTOR.GP, ext);
  return false;
}

/** Handler at the current privilege level: EFLAGS, CS, EIP and the error code go to the current stack. */
function enterSame(state: CpuState, env: Environment, event: DeliveryEvent, selector: number, ext: number): boolean {
  const bytes = gateIs32(state, SLOT.gate) ? 4 : 2;
  const count = event.errorCode === NO_ERROR_CODE ? 3 : 4;
  if (!probeCurrentStack(state, env, bytes, count, ext)) return false;
  if (!entryInside(state, ext) || !markAccessed(state, env, selector, SLOT.code)) return false;
  const base = state.segmentBase(SEG.ss);
  const rights = state.segmentRights(SEG.ss);
  const pointer = state.get(GPR.esp);
  pushReturn(state, env, event, base, rights, pointer, 1, bytes, state.cpl);
  state.set(GPR.esp, moveStack(pointer, -count * bytes, stackMask(rights)));
  loadFromSlot(state, SEG.cs, (selector & 0xfffc) | state.cpl, SLOT.code);
  return true;
}

/** Data segment registers in the order in which delivery from virtual-8086 mode pushes them. */
const VIRTUAL_FRAME = [SEG.gs, SEG.fs, SEG.ds, SEG.es] as const;

/**
 * Handler at an inner level: the stack comes from the TSS, and the old SS and ESP are pushed first; before them, from
 * virtual-8086 mode, the data segment registers, which become null.
 */
function enterInner(
  state: CpuState,
  env: Environment,
  event: DeliveryEvent,
  selector: number,
  level: number,
  ext: number,
): boolean {
  const bytes = gateIs32(state, SLOT.gate) ? 4 : 2;
  const saved = inVirtual8086(state) ? VIRTUAL_FRAME.length : 0;
  const count = saved + (event.errorCode === NO_ERROR_CODE ? 5 : 6);
  const newSs = innerStack(state, env, level, ext);
  if (stopped(state)) return false;
  const pointer = state.get(SLOT.innerStackPointer);
  if (!probeNewStack(state, env, pointer, bytes, count, level, selectorError(newSs, ext))) return false;
  if (!entryInside(state, ext)) return false;
  if (!markAccessed(state, env, newSs, SLOT.data) || !markAccessed(state, env, selector, SLOT.code)) return false;
  const base = descriptorBase(state, SLOT.data);
  const rights = descriptorRights(state, SLOT.data);
  for (let n = 0; n < saved; n++) {
    storePush(env, base, rights, pointer, n + 1, bytes, state.selector(VIRTUAL_FRAME[n] as number), level);
  }
  storePush(env, base, rights, pointer, saved + 1, bytes, state.selector(SEG.ss), level);
  storePush(env, base, rights, pointer, saved + 2, bytes, state.get(GPR.esp), level);
  pushReturn(state, env, event, base, rights, pointer, saved + 3, bytes, level);
  setStackPointer(state, rights, moveStack(pointer, -count * bytes, stackMask(rights)));
  loadFromSlot(state, SEG.ss, newSs, SLOT.data);
  loadFromSlot(state, SEG.cs, (selector & 0xfffc) | level, SLOT.code);
  setCpl(state, level);
  for (let n = 0; n < saved; n++) loadNull(state, VIRTUAL_FRAME[n] as number, 0);
  return true;
}

/** Stores EFLAGS, CS, EIP and the error code, if any, as items `first` and on of the frame. */
function pushReturn(
  state: CpuState,
  env: Environment,
  event: DeliveryEvent,
  base: number,
  rights: number,
  pointer: number,
  first: number,
  bytes: number,
  level: number,
): void {
  const cs = state.i32[selectorCell(SEG.cs)] as number;
  storePush(env, base, rights, pointer, first, bytes, flagsImage(state, event), level);
  storePush(env, base, rights, pointer, first + 1, bytes, cs, level);
  storePush(env, base, rights, pointer, first + 2, bytes, event.returnEip, level);
  if (event.errorCode === NO_ERROR_CODE) return;
  storePush(env, base, rights, pointer, first + 3, bytes, event.errorCode, level);
}

/** Blocking, activity and cost of a delivery that has succeeded. */
function finish(state: CpuState, env: Environment, event: DeliveryEvent, inner: boolean): void {
  taken(state, event);
  if (isSoftware(event.kind) || event.kind === "privileged-software") env.charge(inner ? "intInner" : "intSame");
  else if (event.kind !== "exception") env.charge("interrupt");
  else env.charge(event.vector === VECTOR.PF ? "pageFault" : "exception");
}

/** What the acceptance of an event ends and begins beside EFLAGS: blocking, halt, and for #DB DR7.GD. */
function taken(state: CpuState, event: DeliveryEvent): void {
  let blocking = state.get(CELL.interruptibility) & ~(BLOCKING.STI | BLOCKING.MOV_SS);
  if (event.kind === "nmi") blocking |= BLOCKING.NMI;
  state.set(CELL.interruptibility, blocking);
  state.set(CELL.activity, ACTIVITY.ACTIVE);
  if (event.vector === VECTOR.DB && event.kind === "exception") state.set(CELL.dr7, state.get(CELL.dr7) & ~DR7_GD);
}

/** What becomes of a fault met while delivering another event. */
export type Combination = "serial" | "double" | "triple";

const CONTRIBUTORY = vectorSet(VECTOR.DE, VECTOR.TS, VECTOR.NP, VECTOR.SS, VECTOR.GP);
const PAGE_FAULT = vectorSet(VECTOR.PF, 20);
const inSet = (set: number, vector: number): boolean => vector < 32 && ((set >>> vector) & 1) !== 0;

/**
 * SDM vol. 3, 6.15, table 6-5. "serial": the second exception is delivered in place of the first event; "double":
 * #DF(0) is; "triple": the processor shuts down. Interrupts, software interrupts and NMI are benign.
 */
export function combineFaults(first: Pick<DeliveryEvent, "kind" | "vector">, second: number): Combination {
  if (first.kind !== "exception") return "serial";
  const secondContributory = inSet(CONTRIBUTORY, second);
  const secondPageFault = inSet(PAGE_FAULT, second);
  if (first.vector === VECTOR.DF) return secondContributory || secondPageFault ? "triple" : "serial";
  if (inSet(PAGE_FAULT, first.vector)) return secondContributory || secondPageFault ? "double" : "serial";
  if (inSet(CONTRIBUTORY, first.vector)) return secondContributory ? "double" : "serial";
  return "serial";
}

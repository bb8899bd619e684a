/**
 * Numbered helpers: the large operations that are the same code for every executor (far transfers, segment loads,
 * system instructions). A micro-op HELPER names one by number and passes its fields; what each field means stands
 * beside it. Operands in memory arrive as an offset cell and a segment, because privilege is checked before memory.
 */

import * as decimals from "./decimal.ts";
import { ACCESS, type Environment } from "./environment.ts";
import { dataAccess, linearAddress } from "./interpreter.ts";
import type { MicroOp } from "./micro-ops.ts";
import { fxrstor, fxsave } from "./sse/fxsave.ts";
import { simd, simdStore } from "./sse/instructions.ts";
import { emms, maskedStore } from "./sse/operands.ts";
import * as stacks from "./stack-instructions.ts";
import { type CpuState, FLAG, GPR, INTERRUPT_KIND, NO_ERROR_CODE, OUTCOME, raise, SEG, VECTOR } from "./state.ts";
import { inVirtual8086, privileged, segmentsAs8086 } from "./system/checks.ts";
import * as control from "./system/control.ts";
import * as debug from "./system/debug.ts";
import * as far from "./system/far.ts";
import * as fastCalls from "./system/fast-calls.ts";
import * as flags from "./system/flags.ts";
import { interruptReturn } from "./system/iret.ts";
import * as misc from "./system/misc.ts";
import { monitor, mwait } from "./system/monitor-wait.ts";
import * as msr from "./system/msr.ts";
import * as ports from "./system/ports.ts";
import * as segments from "./system/segments.ts";
import * as tables from "./system/tables.ts";
import { switchTask } from "./system/tasks.ts";
import { SOFTWARE_INTERRUPT, softwareInterrupt8086 } from "./system/virtual8086.ts";
import { REASON } from "./vmx/reasons.ts";
import { x87 } from "./x87/instructions.ts";

export type Helper = (state: CpuState, env: Environment, u: MicroOp) => void;

const width = (u: MicroOp): 16 | 32 => (u.w === 16 ? 16 : 32);
const low = (state: CpuState, cell: number): number => state.i32[cell] as number;

/** A 16-bit operand: a register's cell a, or memory at segment x, offset a when d is 1. */
function selectorOperand(state: CpuState, env: Environment, u: MicroOp): number {
  if (u.d === 0) return low(state, u.a) & 0xffff;
  const linear = linearAddress(state, u.x, low(state, u.a), 2, false);
  return linear < 0 ? 0 : env.load(linear, 2, dataAccess(state, false));
}

const signalled = (state: CpuState): boolean => state.signal.outcome !== OUTCOME.NONE;

/** Reads a 64-bit VMCS pointer at segment x, offset a; null with a fault signalled. Bits above 52 do not survive. */
function vmcsPointer(state: CpuState, env: Environment, u: MicroOp): number | null {
  const linear = linearAddress(state, u.x, low(state, u.a), 8, false);
  if (linear < 0) return null;
  const first = env.load(linear, 4, ACCESS.READ);
  if (signalled(state)) return null;
  const second = env.load((linear + 4) >>> 0, 4, ACCESS.READ);
  if (signalled(state)) return null;
  return (second >>> 0) * 4294967296 + (first >>> 0);
}

/**
 * A VMX instruction: #UD where there is no VMX or no VMX operation, its exit, #GP(0), all before its operand. u.w is the
 * cell of what the exit records about operands (lift/vmx-information.ts), 0 without any.
 */
function vmxPermits(state: CpuState, env: Environment, reason: number, u: MicroOp | null = null): boolean {
  if (env.vmx === null) {
    raise(state, VECTOR.UD);
    return false;
  }
  const cell = u?.w ?? 0;
  return cell === 0 ? env.vmx.permits(reason) : env.vmx.permits(reason, low(state, cell), low(state, cell + 2));
}

function softwareEvent(state: CpuState, vector: number, kind: number): void {
  const signal = state.signal;
  signal.outcome = OUTCOME.INTERRUPT;
  signal.vector = vector;
  signal.interruptKind = kind;
}

const HELPER_TABLE = {
  // ---- integer instructions that are too large for micro-ops ----
  /** x: which of DAA, DAS, AAA, AAS, AAM, AAD; a: immediate. */
  decimal: (state, _env, u) => decimals.decimal(state, u.x, low(state, u.a)),
  salc: (state) => {
    const al = (state.flags & FLAG.CF) !== 0 ? 0xff : 0;
    state.i32[GPR.eax] = (low(state, GPR.eax) & ~0xff) | al;
  },
  /** a: index, b: lower bound, c: upper bound, w: width. */
  bound: (state, _env, u) => {
    const shift = 32 - u.w;
    const extend = (cell: number): number => (low(state, cell) << shift) >> shift;
    if (extend(u.a) < extend(u.b) || extend(u.a) > extend(u.c)) raise(state, VECTOR.BR);
  },
  /** CMPXCHG8B at segment x, offset a. */
  compareExchange8: (state, env, u) => stacks.compareExchange8(state, env, u),
  pushAll: (state, env, u) => stacks.pushAll(state, env, u.w / 8, u.x),
  popAll: (state, env, u) => stacks.popAll(state, env, u.w / 8, u.x),
  /** a: frame size, b: nesting level, w: operand size, x: stack size. */
  enter: (state, env, u) => stacks.enter(state, env, u.w / 8, u.x, low(state, u.a), low(state, u.b)),
  // ---- segments and far transfers ----
  /** a: selector, x: segment, d: 1 for MOV SS and POP SS, which hold interrupts off for an instruction. */
  loadSegment: (state, env, u) => {
    segments.loadSegment(state, env, u.x, low(state, u.a) & 0xffff);
    if (u.d === 1 && !signalled(state)) segments.blockByMovSs(state);
  },
  /** a: selector, b: offset, w: operand size, c: length. */
  farJump: (state, env, u) =>
    far.farJump(state, env, low(state, u.a) & 0xffff, low(state, u.b), width(u), (state.eip + u.c) >>> 0),
  farCall: (state, env, u) =>
    far.farCall(state, env, low(state, u.a) & 0xffff, low(state, u.b), width(u), (state.eip + u.c) >>> 0),
  /** a: bytes of parameters. */
  farReturn: (state, env, u) => far.farReturn(state, env, width(u), low(state, u.a)),
  iret: (state, env, u) => interruptReturn(state, env, width(u), (state.eip + u.c) >>> 0),
  sysenter: (state) => fastCalls.sysenter(state),
  sysexit: (state) => fastCalls.sysexit(state),
  // ---- interrupts ----
  undefined: (state) => raise(state, VECTOR.UD),
  /** #UD in real-address and virtual-8086 mode, before anything else of the instruction. */
  protectedOnly: (state) => {
    if (segmentsAs8086(state)) raise(state, VECTOR.UD);
  },
  /** x: vector; c: length. */
  softwareInterrupt: (state, env, u) => {
    const delivered =
      !inVirtual8086(state) ||
      softwareInterrupt8086(state, env, u.x, (state.eip + u.c) >>> 0) === SOFTWARE_INTERRUPT.TO_MONITOR;
    if (delivered) softwareEvent(state, u.x, INTERRUPT_KIND.SOFTWARE);
  },
  softwareException: (state, _env, u) => softwareEvent(state, u.x, INTERRUPT_KIND.SOFTWARE_EXCEPTION),
  privilegedSoftwareException: (state, _env, u) => softwareEvent(state, u.x, INTERRUPT_KIND.PRIVILEGED),
  /** INTO; c: length. */
  overflowInterrupt: (state, _env, u) => {
    if ((state.flags & FLAG.OF) !== 0) softwareEvent(state, VECTOR.OF, INTERRUPT_KIND.SOFTWARE_EXCEPTION);
    else state.eip = (state.eip + u.c) >>> 0;
  },
  // ---- flags ----
  /** d: EFLAGS as PUSHF stores it, w: operand size. */
  flagsForPush: (state, _env, u) => state.set(u.d, flags.flagsForPush(state, width(u))),
  /** a: value, w: operand size. */
  popFlags: (state, env, u) => flags.popFlags(state, env, low(state, u.a), width(u)),
  cli: (state) => flags.clearInterruptFlag(state),
  sti: (state, env) => flags.setInterruptFlag(state, env),
  // ---- ports ----
  /** d: result, a: port, w: bytes, x: 1 for an immediate port. */
  in: (state, env, u) => {
    const port = low(state, u.a) & (u.x === 1 ? 0xff : 0xffff);
    state.set(u.d, ports.inputPort(state, env, port, u.w, u.x === 1));
  },
  /** a: port, b: value. */
  out: (state, env, u) => {
    const port = low(state, u.a) & (u.x === 1 ? 0xff : 0xffff);
    ports.outputPort(state, env, port, u.w, low(state, u.b), u.x === 1);
  },
  /** The same without permission checks, which the processor made before a VM exit: for monitors. */
  inPermitted: (state, env, u) => state.set(u.d, env.readPort(low(state, u.a) & 0xffff, u.w)),
  /** A task switch whose checks of privilege and gate the processor made; a: selector, x: source, c: length. */
  taskSwitch: (state, env, u) => {
    const returnEip = (state.eip + u.c) >>> 0;
    const flags = state.flags & ~FLAG.RF;
    switchTask(state, env, {
      selector: low(state, u.a) & 0xffff,
      source: u.x,
      returnEip,
      flags,
      errorCode: NO_ERROR_CODE,
      ext: 0,
    });
  },
  outPermitted: (state, env, u) => {
    const value = low(state, u.b);
    env.writePort(low(state, u.a) & 0xffff, u.w, u.w === 4 ? value >>> 0 : value & (u.w === 2 ? 0xffff : 0xff));
  },
  // ---- system registers ----
  /** d: result, b: number of the general register, x: control register. */
  readCr: (state, env, u) => state.set(u.d, control.readControl(state, env, u.x, u.b)),
  /** a: value. */
  writeCr: (state, env, u) => control.writeControl(state, env, u.x, low(state, u.a), u.b),
  readDr: (state, env, u) => state.set(u.d, debug.readDebug(state, env, u.x, u.b)),
  writeDr: (state, env, u) => debug.writeDebug(state, env, u.x, low(state, u.a), u.b),
  clts: (state, env) => control.clearTaskSwitched(state, env),
  lmsw: (state, env, u) => {
    if (!privileged(state)) return;
    const linear = u.d === 1 ? linearAddress(state, u.x, low(state, u.a), 2, false) : -1;
    if (signalled(state)) return;
    const source = selectorOperand(state, env, u);
    if (!signalled(state)) control.loadMachineStatus(state, env, source, linear);
  },
  smsw: (state, env, u) => state.set(u.d, control.storeMachineStatus(state, env)),
  lgdt: (state, env, u) => descriptorTable(state, env, u, tables.GDTR),
  lidt: (state, env, u) => descriptorTable(state, env, u, tables.IDTR),
  sgdt: (state, env, u) => storeDescriptorTable(state, env, u, tables.GDTR),
  sidt: (state, env, u) => storeDescriptorTable(state, env, u, tables.IDTR),
  lldt: (state, env, u) => withSelector(state, env, u, segments.loadLdt),
  ltr: (state, env, u) => withSelector(state, env, u, segments.loadTaskRegister),
  sldt: (state, _env, u) => state.set(u.d, segments.storeSystemSelector(state, SEG.ldtr)),
  str: (state, _env, u) => state.set(u.d, segments.storeSystemSelector(state, SEG.tr)),
  verr: (state, env, u) => verify(state, env, u, false),
  verw: (state, env, u) => verify(state, env, u, true),
  /** d: result, a: selector, b: what d becomes when the descriptor is not accessible. */
  lar: (state, env, u) => query(state, u, segments.loadAccessRights(state, env, low(state, u.a) & 0xffff)),
  lsl: (state, env, u) => query(state, u, segments.loadSegmentLimit(state, env, low(state, u.a) & 0xffff)),
  /** d: result, a: selector, b: selector whose RPL it must not be below. */
  arpl: (state, _env, u) => state.set(u.d, misc.adjustRpl(state, low(state, u.a), low(state, u.b))),
  /** INVLPG of segment x, offset a; a segment limit does not matter (SDM vol. 2, INVLPG). */
  invlpg: (state, env, u) => {
    const linear = (state.segmentBase(u.x) + (low(state, u.a) >>> 0)) >>> 0;
    misc.invalidatePage(state, env, linear);
  },
  invd: (state, env) => misc.invalidateCaches(state, env),
  wbinvd: (state) => misc.writeBackCaches(state),
  hlt: (state, env) => misc.halt(state, env),
  pause: (_state, env) => {
    env.intercepts?.instruction(REASON.pause, 0);
  },
  cpuid: (state, env) => misc.cpuid(state, env),
  rdtsc: (state, env) => misc.readTimeStamp(state, env),
  rdpmc: (state, env) => misc.readPerformanceCounter(state, env),
  rdmsr: (state, env) => msr.readMsr(state, env),
  wrmsr: (state, env) => msr.writeMsr(state, env),
  /** a: offset, x: segment. */
  monitor: (state, env, u) => monitor(state, env, u.x, low(state, u.a)),
  mwait: (state, env) => mwait(state, env),
  // ---- x87 ----
  x87: (state, env, u) => x87(state, env, u),
  // ---- MMX and SSE: fields in sse/operands.ts ----
  simd: (state, env, u) => simd(state, env, u),
  simdStore: (state, env, u) => simdStore(state, env, u),
  /** a: offset, d: data, b: mask. */
  maskedStore: (state, env, u) => maskedStore(state, env, u),
  emms: (state, env) => emms(state, env),
  fxsave: (state, env, u) => fxsave(state, env, u),
  fxrstor: (state, env, u) => fxrstor(state, env, u),
  // ---- VMX ----
  vmxon: (state, env, u) => {
    if (!vmxPermits(state, env, REASON.vmxon, u)) return;
    // In VMX operation it fails without looking at its operand.
    const pointer = env.vmx?.inOperation === true ? 0 : vmcsPointer(state, env, u);
    if (pointer !== null) env.vmx?.vmxon(pointer);
  },
  vmxoff: (state, env) => {
    if (vmxPermits(state, env, REASON.vmxoff)) env.vmx?.vmxoff();
  },
  vmclear: (state, env, u) => {
    if (!vmxPermits(state, env, REASON.vmclear, u)) return;
    const pointer = vmcsPointer(state, env, u);
    if (pointer !== null) env.vmx?.vmclear(pointer);
  },
  vmptrld: (state, env, u) => {
    if (!vmxPermits(state, env, REASON.vmptrld, u)) return;
    const pointer = vmcsPointer(state, env, u);
    if (pointer !== null) env.vmx?.vmptrld(pointer);
  },
  vmptrst: (state, env, u) => {
    if (!vmxPermits(state, env, REASON.vmptrst, u)) return;
    const linear = linearAddress(state, u.x, low(state, u.a), 8, true);
    if (linear < 0) return;
    env.probe(linear, 8, ACCESS.WRITE);
    if (signalled(state)) return;
    const pointer = env.vmx?.vmptrst() ?? -1;
    env.store(linear, 4, pointer < 0 ? -1 : (pointer % 4294967296) | 0, ACCESS.WRITE);
    env.store((linear + 4) >>> 0, 4, pointer < 0 ? -1 : (pointer / 4294967296) | 0, ACCESS.WRITE);
  },
  /** a: encoding; d: destination register, or with b = 1 the offset of a memory operand in segment x. */
  vmread: (state, env, u) => {
    if (!vmxPermits(state, env, REASON.vmread, u)) return;
    const linear = u.b === 1 ? linearAddress(state, u.x, low(state, u.d), 4, true) : 0;
    if (linear < 0) return;
    if (u.b === 1) env.probe(linear, 4, ACCESS.WRITE);
    if (signalled(state)) return;
    const value = env.vmx?.vmread(low(state, u.a) >>> 0) ?? null;
    if (value === null) return;
    if (u.b === 1) env.store(linear, 4, value | 0, ACCESS.WRITE);
    else state.set(u.d, value);
  },
  /** d: encoding; a: value, or with b = 1 the offset of a memory operand in segment x. */
  vmwrite: (state, env, u) => {
    if (!vmxPermits(state, env, REASON.vmwrite, u)) return;
    let value = low(state, u.a);
    if (u.b === 1) {
      const linear = linearAddress(state, u.x, value, 4, false);
      if (linear < 0) return;
      value = env.load(linear, 4, ACCESS.READ);
      if (signalled(state)) return;
    }
    env.vmx?.vmwrite(low(state, u.d) >>> 0, value >>> 0);
  },
  vmlaunch: (state, env, u) => enter(state, env, u, true),
  vmresume: (state, env, u) => enter(state, env, u, false),
  vmcall: (state, env) => {
    if (vmxPermits(state, env, REASON.vmcall)) env.vmx?.vmcall();
  },
} as const satisfies Record<string, Helper>;

export type HelperName = keyof typeof HELPER_TABLE;

export const HELPER_NAMES = Object.keys(HELPER_TABLE) as HelperName[];
/** The helpers by number. */
export const HELPERS: readonly Helper[] = Object.values(HELPER_TABLE);
export const HELPER_NUMBER = Object.fromEntries(HELPER_NAMES.map((name, number) => [name, number])) as Readonly<
  Record<HelperName, number>
>;

function descriptorTable(state: CpuState, env: Environment, u: MicroOp, register: typeof tables.GDTR): void {
  if (!privileged(state)) return;
  const linear = linearAddress(state, u.x, low(state, u.a), 6, false);
  if (linear >= 0) tables.loadTable(state, env, register, linear, width(u));
}

function storeDescriptorTable(state: CpuState, env: Environment, u: MicroOp, register: typeof tables.GDTR): void {
  const linear = linearAddress(state, u.x, low(state, u.a), 6, true);
  if (linear >= 0) tables.storeTable(state, env, register, linear);
}

/** LLDT, LTR: privilege, then the operand, then the descriptor. */
function withSelector(
  state: CpuState,
  env: Environment,
  u: MicroOp,
  load: (state: CpuState, env: Environment, selector: number) => void,
): void {
  if (!privileged(state)) return;
  const selector = selectorOperand(state, env, u);
  if (!signalled(state)) load(state, env, selector);
}

function verify(state: CpuState, env: Environment, u: MicroOp, write: boolean): void {
  const selector = selectorOperand(state, env, u);
  if (!signalled(state)) segments.verifySegment(state, env, selector, write);
}

/** LAR, LSL: the value, or the old destination when there is none; ZF is set by the query itself. */
function query(state: CpuState, u: MicroOp, value: number): void {
  if (signalled(state)) return;
  state.set(u.d, value === segments.NOT_ACCESSIBLE ? low(state, u.b) : value);
}

/** VMLAUNCH, VMRESUME; c: length, by which EIP moves when the instruction failed and control stayed. */
function enter(state: CpuState, env: Environment, u: MicroOp, launch: boolean): void {
  if (!vmxPermits(state, env, launch ? REASON.vmlaunch : REASON.vmresume)) return;
  if (env.vmx?.vmenter(launch) === true || signalled(state)) return;
  state.eip = (state.eip + u.c) >>> 0;
}

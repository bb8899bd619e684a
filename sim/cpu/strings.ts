/**
 * String instructions (SDM vol. 2, MOVS, STOS, LODS, SCAS, CMPS, INS, OUTS, REP). Each iteration is complete in
 * itself: registers are committed after its memory accesses, so a fault or an event between iterations leaves a
 * state from which the instruction simply starts again. Its start is paid for once, unless an event was taken between.
 * Iterations that nobody can tell apart may be done at once (bulk-strings.ts).
 */
import { ACCESS, type Environment } from "./environment.ts";
import { subtractFlags, withStatus } from "./flags.ts";
import { dataAccess, linearAddress } from "./interpreter.ts";
import { type MicroOp, REPEAT, STRING_KIND } from "./micro-ops.ts";
import { CELL, type CpuState, FAST_READ, FAST_WRITE, FLAG, fastCell, GPR, OUTCOME, RIGHTS, SEG } from "./state.ts";
import { portPermitted } from "./system/ports.ts";

/**
 * Runs iterations until the count ends, a comparison ends it, an iteration signals, or the deadline is reached.
 * Returns whether the instruction is complete; EIP is then past it.
 */
export function stringInstruction(state: CpuState, env: Environment, u: MicroOp): boolean {
  const i32 = state.i32;
  const mask = u.c === 16 ? 0xffff : -1;
  const repeated = u.b !== REPEAT.NONE;
  if (repeated && i32[CELL.repeating] === 0) env.charge("stringStart");
  i32[CELL.repeating] = 0;
  for (;;) {
    if (repeated && ((i32[GPR.ecx] as number) & mask) === 0) break;
    if (repeated && mask === -1 && bulk(state, env, u)) {
      if (i32[GPR.ecx] === 0) break;
      if (env.expired()) {
        i32[CELL.repeating] = 1;
        return false;
      }
    }
    if (!iterate(state, env, u, mask)) return true;
    env.charge("stringIteration");
    if (!repeated) break;
    const ecx = i32[GPR.ecx] as number;
    const count = (ecx - 1) & mask;
    i32[GPR.ecx] = (ecx & ~mask) | count;
    if (count === 0 || comparisonEnds(u, i32[CELL.rflags] as number)) break;
    if (env.expired()) {
      i32[CELL.repeating] = 1;
      return false;
    }
  }
  const next = (i32[CELL.rip] as number) + u.imm;
  i32[CELL.rip] = next;
  return true;
}

/** Many iterations of MOVS or STOS at once, where the environment can; whether there were any. */
function bulk(state: CpuState, env: Environment, u: MicroOp): boolean {
  const { i32 } = state;
  const bytes = u.w;
  const moves = u.x === STRING_KIND.MOVS;
  if ((!moves && u.x !== STRING_KIND.STOS) || ((i32[CELL.rflags] as number) & (FLAG.DF | FLAG.AC)) !== 0) return false;
  const permitted = elementsPermitted(state, SEG.es, i32[GPR.edi] as number, bytes, true);
  const readable = moves ? elementsPermitted(state, u.a, i32[GPR.esi] as number, bytes, false) : permitted;
  const wanted = (i32[GPR.ecx] as number) >>> 0;
  const count = Math.min(wanted, permitted, readable);
  if (count === 0) return false;
  const target = (state.segmentBase(SEG.es) + (i32[GPR.edi] as number)) >>> 0;
  const write = dataAccess(state, true);
  let done = 0;
  if (moves) {
    const source = (state.segmentBase(u.a) + (i32[GPR.esi] as number)) >>> 0;
    done = env.moveString?.(source, target, bytes, count, dataAccess(state, false), write) ?? 0;
    i32[GPR.esi] = (i32[GPR.esi] as number) + done * bytes;
  } else {
    done = env.fillString?.(target, bytes, count, i32[GPR.eax] as number, write) ?? 0;
  }
  i32[GPR.edi] = (i32[GPR.edi] as number) + done * bytes;
  i32[GPR.ecx] = wanted - done;
  return done > 0;
}

/** So many elements from an offset upwards may be accessed through a segment; 0 where that is not so simple. */
function elementsPermitted(state: CpuState, segment: number, offset: number, bytes: number, write: boolean): number {
  const fast = write ? FAST_WRITE : FAST_READ;
  if (((state.i32[fastCell(segment)] as number) & fast) !== 0) return Number.POSITIVE_INFINITY;
  const rights = state.segmentRights(segment);
  const kinds = RIGHTS.UNUSABLE | RIGHTS.P | RIGHTS.S | RIGHTS.CODE | RIGHTS.EXPAND_DOWN_OR_CONFORMING;
  if ((rights & kinds) !== (RIGHTS.P | RIGHTS.S)) return 0;
  if (write && (rights & RIGHTS.WRITABLE_OR_READABLE) === 0) return 0;
  return Math.max(0, Math.floor((state.segmentLimit(segment) + 1 - (offset >>> 0)) / bytes));
}

function comparisonEnds(u: MicroOp, eflags: number): boolean {
  if (u.b === REPEAT.REPE) return (eflags & FLAG.ZF) === 0;
  if (u.b === REPEAT.REPNE) return (eflags & FLAG.ZF) !== 0;
  return false;
}

/** One iteration; false when it signalled (nothing of it is committed). */
function iterate(state: CpuState, env: Environment, u: MicroOp, mask: number): boolean {
  const i32 = state.i32;
  const bytes = u.w;
  const step = ((i32[CELL.rflags] as number) & FLAG.DF) !== 0 ? -bytes : bytes;
  const source = (i32[GPR.esi] as number) & mask;
  const target = (i32[GPR.edi] as number) & mask;
  let usesSource = false;
  let usesTarget = false;

  switch (u.x) {
    case STRING_KIND.MOVS: {
      const value = read(state, env, u.a, source, bytes);
      if (state.signal.outcome !== OUTCOME.NONE) return false;
      if (!write(state, env, target, bytes, value)) return false;
      usesSource = true;
      usesTarget = true;
      break;
    }
    case STRING_KIND.STOS:
      if (!write(state, env, target, bytes, i32[GPR.eax] as number)) return false;
      usesTarget = true;
      break;
    case STRING_KIND.LODS: {
      const value = read(state, env, u.a, source, bytes);
      if (state.signal.outcome !== OUTCOME.NONE) return false;
      const keep = bytes === 4 ? 0 : bytes === 2 ? ~0xffff : ~0xff;
      i32[GPR.eax] = ((i32[GPR.eax] as number) & keep) | value;
      usesSource = true;
      break;
    }
    case STRING_KIND.SCAS: {
      const value = read(state, env, SEG.es, target, bytes);
      if (state.signal.outcome !== OUTCOME.NONE) return false;
      compare(state, i32[GPR.eax] as number, value, bytes);
      usesTarget = true;
      break;
    }
    case STRING_KIND.CMPS: {
      const first = read(state, env, u.a, source, bytes);
      if (state.signal.outcome !== OUTCOME.NONE) return false;
      const second = read(state, env, SEG.es, target, bytes);
      if (state.signal.outcome !== OUTCOME.NONE) return false;
      compare(state, first, second, bytes);
      usesSource = true;
      usesTarget = true;
      break;
    }
    case STRING_KIND.INS:
      if (!inputString(state, env, u, target)) return false;
      usesTarget = true;
      break;
    default:
      if (!outputString(state, env, u, source)) return false;
      usesSource = true;
  }
  if (usesSource) i32[GPR.esi] = ((i32[GPR.esi] as number) & ~mask) | ((source + step) & mask);
  if (usesTarget) i32[GPR.edi] = ((i32[GPR.edi] as number) & ~mask) | ((target + step) & mask);
  return true;
}

function read(state: CpuState, env: Environment, segment: number, offset: number, bytes: number): number {
  const linear = linearAddress(state, segment, offset, bytes, false);
  return linear < 0 ? 0 : env.load(linear, bytes, dataAccess(state, false));
}

/** Stores through ES; false on a fault. */
function write(state: CpuState, env: Environment, offset: number, bytes: number, value: number): boolean {
  const linear = linearAddress(state, SEG.es, offset, bytes, true);
  if (linear >= 0) env.store(linear, bytes, value, dataAccess(state, true));
  return state.signal.outcome === OUTCOME.NONE;
}

function compare(state: CpuState, first: number, second: number, bytes: number): void {
  const shift = 32 - bytes * 8;
  const a = first << shift;
  const b = second << shift;
  const status = subtractFlags(a, b, (a - b) | 0, shift);
  state.i32[CELL.rflags] = withStatus(state.i32[CELL.rflags] as number, status);
}

/** INS: permission, then the exit, then the destination is probed so that a port is not read in vain. */
function inputString(state: CpuState, env: Environment, u: MicroOp, target: number): boolean {
  const port = (state.i32[GPR.edx] as number) & 0xffff;
  if (!portPermitted(state, env, port, u.w)) return false;
  const repeat = u.b !== REPEAT.NONE;
  const intercepts = env.intercepts;
  // The exit comes before faults of the segment and the page (SDM vol. 3, 26.1.1).
  const operand = (state.segmentBase(SEG.es) + (target >>> 0)) >>> 0;
  if (intercepts?.portIo(port, u.w, true, true, repeat, false, operand)) return false;
  const linear = linearAddress(state, SEG.es, target, u.w, true);
  if (linear < 0) return false;
  env.probe(linear, u.w, dataAccess(state, true));
  if (state.signal.outcome !== OUTCOME.NONE) return false;
  env.store(linear, u.w, env.readPort(port, u.w), dataAccess(state, true));
  return true;
}

function outputString(state: CpuState, env: Environment, u: MicroOp, source: number): boolean {
  const port = (state.i32[GPR.edx] as number) & 0xffff;
  if (!portPermitted(state, env, port, u.w)) return false;
  const repeat = u.b !== REPEAT.NONE;
  const intercepts = env.intercepts;
  const operand = (state.segmentBase(u.a) + (source >>> 0)) >>> 0;
  if (intercepts?.portIo(port, u.w, false, true, repeat, false, operand)) return false;
  const linear = linearAddress(state, u.a, source, u.w, false);
  if (linear < 0) return false;
  const value = env.load(linear, u.w, ACCESS.READ | (dataAccess(state, false) & ACCESS.USER));
  if (state.signal.outcome !== OUTCOME.NONE) return false;
  env.writePort(port, u.w, value);
  return true;
}

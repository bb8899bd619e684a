/**
 * Instructions that make several memory accesses: PUSHA, POPA, ENTER (SDM vol. 2), CMPXCHG8B. All accesses are
 * checked before the first store, so that a fault leaves nothing behind.
 */
import type { Environment } from "./environment.ts";
import { dataAccess, linearAddress } from "./interpreter.ts";
import type { MicroOp } from "./micro-ops.ts";
import { type CpuState, FLAG, GPR, gprCell, OUTCOME, SEG } from "./state.ts";

const ESP_NUMBER = 4;
const EBP_NUMBER = 5;

function stackAddress(pointer: number, stackBits: number): number {
  return stackBits === 16 ? pointer & 0xffff : pointer;
}

/** Stack offset for an access that will be made; false with a fault signalled. */
function probeStack(state: CpuState, env: Environment, offset: number, bytes: number): boolean {
  const linear = linearAddress(state, SEG.ss, offset, bytes, true);
  if (linear >= 0) env.probe(linear, bytes, dataAccess(state, true));
  return state.signal.outcome === OUTCOME.NONE;
}

function storeStack(state: CpuState, env: Environment, offset: number, bytes: number, value: number): void {
  env.store(linearAddress(state, SEG.ss, offset, bytes, true), bytes, value, dataAccess(state, true));
}

/** Reads from the stack; check the signal. */
function loadStack(state: CpuState, env: Environment, offset: number, bytes: number): number {
  const linear = linearAddress(state, SEG.ss, offset, bytes, false);
  return linear < 0 ? 0 : env.load(linear, bytes, dataAccess(state, false));
}

function setRegister(state: CpuState, number: number, bytes: number, value: number): void {
  const cell = gprCell(number);
  if (bytes === 4) state.set(cell, value);
  else state.i32[cell] = ((state.i32[cell] as number) & ~0xffff) | (value & 0xffff);
}

function setStackPointer(state: CpuState, stackBits: number, pointer: number): void {
  setRegister(state, ESP_NUMBER, stackBits / 8, pointer);
}

/** PUSHA: EAX, ECX, EDX, EBX, the old ESP, EBP, ESI, EDI. */
export function pushAll(state: CpuState, env: Environment, bytes: number, stackBits: number): void {
  const esp = state.i32[GPR.esp] as number;
  for (let n = 0; n < 8; n++) {
    if (!probeStack(state, env, stackAddress(esp - (n + 1) * bytes, stackBits), bytes)) return;
  }
  for (let n = 0; n < 8; n++) {
    const value = state.i32[gprCell(n)] as number;
    storeStack(state, env, stackAddress(esp - (n + 1) * bytes, stackBits), bytes, value);
  }
  setStackPointer(state, stackBits, stackAddress(esp - 8 * bytes, stackBits));
}

/** POPA: EDI, ESI, EBP, (ESP skipped), EBX, EDX, ECX, EAX; registers are written when all have been read. */
export function popAll(state: CpuState, env: Environment, bytes: number, stackBits: number): void {
  const esp = state.i32[GPR.esp] as number;
  const values: number[] = [];
  for (let n = 0; n < 8; n++) {
    values.push(loadStack(state, env, stackAddress(esp + n * bytes, stackBits), bytes));
    if (state.signal.outcome !== OUTCOME.NONE) return;
  }
  setStackPointer(state, stackBits, stackAddress(esp + 8 * bytes, stackBits));
  for (let n = 0; n < 8; n++) {
    if (n !== ESP_NUMBER) setRegister(state, n, bytes, values[7 - n] as number);
  }
}

/**
 * ENTER (SDM vol. 2; on a 16-bit stack with 32-bit operands processors keep the upper half of ESP in frame pointers):
 * saves EBP, copies `level` - 1 frame pointers of the enclosing procedures, makes room for `size` bytes. Loads
 * and stores alternate, as frames may overlap what is pushed; so all of both are checked first.
 */
export function enter(
  state: CpuState,
  env: Environment,
  bytes: number,
  stackBits: number,
  size: number,
  level: number,
): void {
  const depth = level & 31;
  const esp = state.i32[GPR.esp] as number;
  const ebp = state.i32[GPR.ebp] as number;
  const pushes = depth === 0 ? 1 : depth + 1;
  const slot = (n: number): number => stackAddress(esp - (n + 1) * bytes, stackBits);
  const outer = (n: number): number => stackAddress(ebp - n * bytes, stackBits);
  const bottom = stackAddress(esp - pushes * bytes - (size & 0xffff), stackBits);
  for (let n = 0; n < pushes; n++) if (!probeStack(state, env, slot(n), bytes)) return;
  for (let n = 1; n < depth; n++) {
    loadStack(state, env, outer(n), bytes);
    if (state.signal.outcome !== OUTCOME.NONE) return;
  }
  // The new top of the stack is checked as for a write (SDM vol. 2, ENTER).
  if (!probeStack(state, env, bottom, bytes)) return;

  const framePointer = stackBits === 16 ? (esp & ~0xffff) | slot(0) : slot(0);
  storeStack(state, env, slot(0), bytes, ebp);
  for (let n = 1; n < depth; n++) storeStack(state, env, slot(n), bytes, loadStack(state, env, outer(n), bytes));
  if (depth > 0) storeStack(state, env, slot(depth), bytes, framePointer);
  setRegister(state, EBP_NUMBER, bytes, framePointer);
  setStackPointer(state, stackBits, bottom);
}

/** CMPXCHG8B at segment x, offset a: EDX:EAX against memory; on equality ECX:EBX is stored, else memory is loaded. */
export function compareExchange8(state: CpuState, env: Environment, u: MicroOp): void {
  const linear = linearAddress(state, u.x, state.i32[u.a] as number, 8, true);
  if (linear < 0) return;
  const access = dataAccess(state, true);
  env.probe(linear, 8, access);
  if (state.signal.outcome !== OUTCOME.NONE) return;
  const upper = (linear + 4) >>> 0;
  const low = env.load(linear, 4, access);
  const high = env.load(upper, 4, access);
  const equal = low === state.i32[GPR.eax] && high === state.i32[GPR.edx];
  env.store(linear, 4, equal ? (state.i32[GPR.ebx] as number) : low, access);
  env.store(upper, 4, equal ? (state.i32[GPR.ecx] as number) : high, access);
  if (equal) {
    state.flags |= FLAG.ZF;
  } else {
    state.flags &= ~FLAG.ZF;
    state.set(GPR.eax, low);
    state.set(GPR.edx, high);
  }
}

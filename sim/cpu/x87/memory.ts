/**
 * Memory operands of the x87: values of up to ten bytes, and the environment and state images of FLDENV, FNSTENV, FRSTOR
 * and FNSAVE in their four layouts (SDM vol. 1, 8.1.10). All bytes are checked before the first is written.
 */
import type { Environment } from "../environment.ts";
import { dataAccess, linearAddress } from "../interpreter.ts";
import type { MicroOp } from "../micro-ops.ts";
import { type CpuState, CR0, FLAG, OUTCOME, X87 } from "../state.ts";
import * as stack from "./stack.ts";

const RESERVED = 0xffff_0000;
const REGISTER_BYTES = 10;

const signalled = (state: CpuState): boolean => state.signal.outcome !== OUTCOME.NONE;

/**
 * Linear address of the operand at segment x, offset a, of `bytes` bytes, which may be written; -1 with a fault.
 * `alignment` is what #AC wants (SDM vol. 3, table 6-7): for ten bytes 8, for images the width of their words.
 */
export function writableAddress(
  state: CpuState,
  env: Environment,
  u: MicroOp,
  bytes: number,
  alignment = Math.min(bytes, 8),
): number {
  const linear = linearAddress(state, u.x, state.i32[u.a] as number, bytes, true);
  if (linear < 0) return -1;
  env.probe(linear, bytes, dataAccess(state, true));
  if (!signalled(state) && alignment !== bytes) env.probe(linear, alignment, dataAccess(state, true));
  return signalled(state) ? -1 : linear;
}

/** The same for reading. */
function readableAddress(state: CpuState, env: Environment, u: MicroOp, bytes: number): number {
  const linear = linearAddress(state, u.x, state.i32[u.a] as number, bytes, false);
  if (linear < 0 || bytes <= 8) return linear;
  env.probe(linear, bytes, dataAccess(state, false));
  return signalled(state) ? -1 : linear;
}

/** Reads the operand at segment x, offset a: 2, 4, 8 or 10 bytes; null with a fault signalled. */
export function readOperand(state: CpuState, env: Environment, u: MicroOp, bytes: number): bigint | null {
  const linear = readableAddress(state, env, u, bytes);
  if (linear < 0) return null;
  const value = loadValue(state, env, linear, bytes);
  return signalled(state) ? null : value;
}

function loadValue(state: CpuState, env: Environment, linear: number, bytes: number): bigint {
  const access = dataAccess(state, false);
  if (bytes <= 4) return BigInt(env.load(linear, bytes, access) >>> 0);
  env.load64(linear, access, X87.transfer);
  const low = state.u64[X87.transfer >> 1] as bigint;
  if (bytes === 8 || signalled(state)) return low;
  return low | (BigInt(env.load((linear + 8) >>> 0, 2, access)) << 64n);
}

/** Writes a value to an address that was checked. */
export function storeValue(state: CpuState, env: Environment, linear: number, bytes: number, value: bigint): void {
  const access = dataAccess(state, true);
  if (bytes <= 4) {
    env.store(linear, bytes, Number(BigInt.asIntN(32, value)), access);
    return;
  }
  state.u64[X87.transfer >> 1] = BigInt.asUintN(64, value);
  env.store64(linear, access, X87.transfer);
  if (bytes === REGISTER_BYTES) env.store((linear + 8) >>> 0, 2, Number(value >> 64n), access);
}

/** A register in a state image, in words of 16 bits: images are aligned to no more. */
function storeWords(state: CpuState, env: Environment, linear: number, value: bigint): void {
  for (let at = 0; at < REGISTER_BYTES; at += 2) {
    const word = Number((value >> BigInt(8 * at)) & 0xffffn);
    env.store((linear + at) >>> 0, 2, word, dataAccess(state, true));
  }
}

function readWords(state: CpuState, env: Environment, linear: number): bigint {
  let value = 0n;
  for (let at = 0; at < REGISTER_BYTES && !signalled(state); at += 2) {
    value |= BigInt(env.load((linear + at) >>> 0, 2, dataAccess(state, false))) << BigInt(8 * at);
  }
  return value;
}

/** Bytes of the environment for an operand size of `w` bits. */
const environmentBytes = (w: number): number => (w === 16 ? 14 : 28);

function inProtectedMode(state: CpuState): boolean {
  return (state.cr0 & CR0.PE) !== 0 && (state.flags & FLAG.VM) === 0;
}

/** The seven words of the environment, in order, in the layout of the mode and of operand size `w`. */
function environmentWords(state: CpuState, w: number): number[] {
  const upper = w === 16 ? 0 : RESERVED;
  const words = [stack.control(state) | upper, stack.status(state) | upper, stack.tagWord(state) | upper];
  const instruction = state.get(X87.instructionOffset);
  const data = state.get(X87.dataOffset);
  const opcode = state.get(X87.opcode);
  if (inProtectedMode(state)) {
    const code = state.get(X87.instructionSelector);
    words.push(instruction, w === 16 ? code : code | (opcode << 16), data, state.get(X87.dataSelector) | upper);
    return words;
  }
  // Real-address and virtual-8086 mode: linear addresses.
  const codeLinear = instruction + state.get(X87.instructionSelector) * 16;
  const dataLinear = data + state.get(X87.dataSelector) * 16;
  if (w === 16) {
    words.push(codeLinear, ((codeLinear >>> 4) & 0xf000) | opcode, dataLinear, (dataLinear >>> 4) & 0xf000);
  } else {
    words.push((codeLinear & 0xffff) | upper, (((codeLinear >>> 16) & 0xffff) << 12) | opcode);
    words.push((dataLinear & 0xffff) | upper, ((dataLinear >>> 16) & 0xffff) << 12);
  }
  return words;
}

function storeEnvironment(state: CpuState, env: Environment, linear: number, w: number): void {
  const bytes = w / 8;
  const access = dataAccess(state, true);
  for (const [n, word] of environmentWords(state, w).entries()) {
    env.store((linear + n * bytes) >>> 0, bytes, w === 16 ? word & 0xffff : word | 0, access);
  }
}

/** Reads the seven words; null with a fault signalled. */
function loadWords(state: CpuState, env: Environment, linear: number, w: number): number[] | null {
  const words: number[] = [];
  for (let n = 0; n < 7; n++) {
    words.push(env.load((linear + (n * w) / 8) >>> 0, w / 8, dataAccess(state, false)) >>> 0);
    if (signalled(state)) return null;
  }
  return words;
}

function setEnvironment(state: CpuState, words: readonly number[], w: number): void {
  const [fcw, fsw, ftw, ip, cs, dp, ds] = words as [number, number, number, number, number, number, number];
  stack.setControl(state, fcw);
  stack.setStatus(state, fsw);
  stack.setTagWord(state, ftw);
  if (inProtectedMode(state)) {
    state.set(X87.instructionOffset, ip);
    state.set(X87.instructionSelector, cs & 0xffff);
    if (w === 32) state.set(X87.opcode, (cs >>> 16) & 0x7ff);
    state.set(X87.dataOffset, dp);
    state.set(X87.dataSelector, ds & 0xffff);
    return;
  }
  const upper = w === 16 ? 0xf000 : 0x0fff_f000;
  state.set(X87.instructionOffset, (ip & 0xffff) | ((cs & upper) << 4));
  state.set(X87.instructionSelector, 0);
  state.set(X87.opcode, cs & 0x7ff);
  state.set(X87.dataOffset, (dp & 0xffff) | ((ds & upper) << 4));
  state.set(X87.dataSelector, 0);
}

/** FNSTENV: stores, then masks all exceptions. */
export function fnstenv(state: CpuState, env: Environment, u: MicroOp): void {
  const linear = writableAddress(state, env, u, environmentBytes(u.w), u.w / 8);
  if (linear < 0) return;
  storeEnvironment(state, env, linear, u.w);
  stack.setControl(state, stack.control(state) | 0x3f);
}

export function fldenv(state: CpuState, env: Environment, u: MicroOp): void {
  const linear = readableAddress(state, env, u, environmentBytes(u.w));
  if (linear < 0) return;
  const words = loadWords(state, env, linear, u.w);
  if (words !== null) setEnvironment(state, words, u.w);
}

/** FNSAVE: environment and ST(0) to ST(7), then FNINIT. */
export function fnsave(state: CpuState, env: Environment, u: MicroOp): void {
  const head = environmentBytes(u.w);
  const linear = writableAddress(state, env, u, head + 8 * REGISTER_BYTES, u.w / 8);
  if (linear < 0) return;
  storeEnvironment(state, env, linear, u.w);
  for (let i = 0; i < 8; i++) {
    const { signExponent, significand } = stack.read(state, i);
    const value = (BigInt(signExponent) << 64n) | significand;
    storeWords(state, env, (linear + head + i * REGISTER_BYTES) >>> 0, value);
  }
  stack.initialize(state);
}

export function frstor(state: CpuState, env: Environment, u: MicroOp): void {
  const head = environmentBytes(u.w);
  const linear = readableAddress(state, env, u, head + 8 * REGISTER_BYTES);
  if (linear < 0) return;
  const words = loadWords(state, env, linear, u.w);
  if (words === null) return;
  const values: bigint[] = [];
  for (let i = 0; i < 8; i++) {
    values.push(readWords(state, env, (linear + head + i * REGISTER_BYTES) >>> 0));
    if (signalled(state)) return;
  }
  setEnvironment(state, words, u.w);
  for (const [i, value] of values.entries()) {
    const register = { signExponent: Number(value >> 64n), significand: BigInt.asUintN(64, value) };
    stack.writePhysical(state, stack.physical(state, i), register);
  }
}

/**
 * IN and OUT: the permission check by CPL, IOPL and the TSS's I/O permission bitmap (SDM vol. 1, 18.5), then the VM
 * exit, then the port. In virtual-8086 mode the bitmap alone counts; real-address mode checks nothing. The caller charges
 * `portCore`; the bus charges its wait.
 */
import { ACCESS, type Environment } from "../environment.ts";
import { type CpuState, limitCell, raise, SEG, VECTOR } from "../state.ts";
import { inRealMode, inVirtual8086, ioPrivilegeLevel, stopped } from "./checks.ts";
import { SYSTEM_TYPE } from "./descriptors.ts";

/** Offset of the bitmap's base in a 32-bit TSS. */
const BITMAP_BASE = 0x66;

/** Whether the program may access `bytes` ports from `port`; otherwise #GP(0), or a fault of the bitmap's read. */
export function portPermitted(state: CpuState, env: Environment, port: number, bytes: number): boolean {
  if (inRealMode(state)) return true;
  if (!inVirtual8086(state) && state.cpl <= ioPrivilegeLevel(state)) return true;
  const permitted = bitmapPermits(state, env, port & 0xffff, bytes);
  if (!permitted && !stopped(state)) raise(state, VECTOR.GP, 0);
  return permitted;
}

/** Two bytes of the bitmap are always read, so that an access may straddle bytes: both must be inside the limit. */
function bitmapPermits(state: CpuState, env: Environment, port: number, bytes: number): boolean {
  const limit = state.get(limitCell(SEG.tr));
  const type = state.segmentRights(SEG.tr) & 0xf;
  const tss32 = type === SYSTEM_TYPE.TSS32_BUSY || type === SYSTEM_TYPE.TSS32_AVAILABLE;
  if (!tss32 || BITMAP_BASE + 1 > limit) return false;
  const access = ACCESS.READ | ACCESS.DESCRIPTOR;
  const tss = state.segmentBase(SEG.tr);
  const at = env.load((tss + BITMAP_BASE) >>> 0, 2, access) + (port >>> 3);
  if (stopped(state) || at + 1 > limit) return false;
  const bits = env.load((tss + at) >>> 0, 2, access) >>> (port & 7);
  return !stopped(state) && (bits & ((1 << bytes) - 1)) === 0;
}

/** IN: the value, unsigned; 0 when it signals. `immediate`: the port is in the instruction, not in DX. */
export function inputPort(state: CpuState, env: Environment, port: number, bytes: number, immediate: boolean): number {
  port &= 0xffff;
  if (!portPermitted(state, env, port, bytes)) return 0;
  if (env.intercepts?.portIo(port, bytes, true, false, false, immediate, 0) === true) return 0;
  return env.readPort(port, bytes);
}

/** OUT of the low `bytes` bytes of `value`. */
export function outputPort(
  state: CpuState,
  env: Environment,
  port: number,
  bytes: number,
  value: number,
  immediate: boolean,
): void {
  port &= 0xffff;
  if (!portPermitted(state, env, port, bytes)) return;
  if (env.intercepts?.portIo(port, bytes, false, false, false, immediate, 0) === true) return;
  env.writePort(port, bytes, bytes === 4 ? value >>> 0 : value & (bytes === 2 ? 0xffff : 0xff));
}

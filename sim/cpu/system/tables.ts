/**
 * LGDT, LIDT, SGDT, SIDT (SDM vol. 2): a pseudo-descriptor in memory is a 16-bit limit and a 32-bit base. The caller
 * gives the linear address of the six bytes, limits checked, and charges.
 */
import { ACCESS, type Environment } from "../environment.ts";
import { CELL, type CpuState } from "../state.ts";
import { privileged, stopped } from "./checks.ts";

/** Cells of a descriptor-table register. */
interface TableRegister {
  readonly base: number;
  readonly limit: number;
}

export const GDTR: TableRegister = { base: CELL.gdtrBase, limit: CELL.gdtrLimit };
export const IDTR: TableRegister = { base: CELL.idtrBase, limit: CELL.idtrLimit };

/** LGDT, LIDT; with a 16-bit operand size the base has 24 bits. */
export function loadTable(
  state: CpuState,
  env: Environment,
  register: TableRegister,
  linear: number,
  width: 16 | 32,
): void {
  if (!privileged(state)) return;
  const limit = env.load(linear, 2, ACCESS.READ);
  if (stopped(state)) return;
  const base = env.load((linear + 2) >>> 0, 4, ACCESS.READ);
  if (stopped(state)) return;
  state.set(register.limit, limit);
  state.set(register.base, width === 16 ? base & 0xffffff : base);
}

/** SGDT, SIDT, at any privilege level; all 32 bits of the base are stored, whatever the operand size. */
export function storeTable(state: CpuState, env: Environment, register: TableRegister, linear: number): void {
  const access = state.cpl === 3 ? ACCESS.WRITE | ACCESS.USER : ACCESS.WRITE;
  // Two probes, so that alignment is checked as the two fields have it (SDM vol. 3, 2.4: the base's, not all six bytes').
  env.probe(linear, 2, access);
  if (stopped(state)) return;
  env.probe((linear + 2) >>> 0, 4, access);
  if (stopped(state)) return;
  env.store(linear, 2, state.get(register.limit), access);
  env.store((linear + 2) >>> 0, 4, state.get(register.base), access);
}

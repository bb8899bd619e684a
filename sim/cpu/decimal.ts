/** Decimal adjustment: DAA, DAS, AAA, AAS, AAM, AAD, from the operation sections of SDM vol. 2. */
import { resultFlags, withStatus } from "./flags.ts";
import { CELL, type CpuState, FLAG, GPR, raise, VECTOR } from "./state.ts";

/** Which instruction: 0 DAA, 1 DAS, 2 AAA, 3 AAS, 4 AAM, 5 AAD. AAM by zero raises #DE. */
export function decimal(state: CpuState, kind: number, immediate: number): void {
  const base = immediate & 0xff;
  if (kind === 0 || kind === 1) adjustPacked(state, kind === 1);
  else if (kind === 2 || kind === 3) adjustUnpacked(state, kind === 3);
  else if (kind === 5) beforeDivision(state, base);
  else if (base === 0) raise(state, VECTOR.DE);
  else afterMultiplication(state, base);
}

function setAx(state: CpuState, ax: number): void {
  state.i32[GPR.eax] = ((state.i32[GPR.eax] as number) & ~0xffff) | (ax & 0xffff);
}

function setStatus(state: CpuState, status: number): void {
  state.i32[CELL.rflags] = withStatus(state.i32[CELL.rflags] as number, status);
}

function adjustPacked(state: CpuState, subtracts: boolean): void {
  const eax = state.i32[GPR.eax] as number;
  const old = eax & 0xff;
  const carried = (state.flags & FLAG.CF) !== 0;
  let al = old;
  let carry = false;
  const lowAdjusts = (old & 0xf) > 9 || (state.flags & FLAG.AF) !== 0;
  if (lowAdjusts) {
    const adjusted = subtracts ? al - 6 : al + 6;
    carry = carried || adjusted < 0 || (!subtracts && adjusted > 0xff);
    al = adjusted & 0xff;
  }
  if (old > 0x99 || carried) {
    al = (subtracts ? al - 0x60 : al + 0x60) & 0xff;
    carry = true;
  } else if (!subtracts) {
    carry = false;
  }
  setAx(state, (eax & 0xff00) | al);
  const status = (carry ? FLAG.CF : 0) | (lowAdjusts ? FLAG.AF : 0) | resultFlags(al << 24, 24);
  setStatus(state, status);
}

function adjustUnpacked(state: CpuState, subtracts: boolean): void {
  const ax = (state.i32[GPR.eax] as number) & 0xffff;
  const adjusts = (ax & 0xf) > 9 || (state.flags & FLAG.AF) !== 0;
  const step = subtracts ? -0x106 : 0x106;
  const adjusted = adjusts ? ax + step : ax;
  setAx(state, adjusted & 0xff0f);
  setStatus(state, (adjusts ? FLAG.CF | FLAG.AF : 0) | resultFlags((adjusted & 0x0f) << 24, 24));
}

function afterMultiplication(state: CpuState, base: number): void {
  const al = (state.i32[GPR.eax] as number) & 0xff;
  const remainder = al % base;
  setAx(state, (Math.floor(al / base) << 8) | remainder);
  setStatus(state, resultFlags(remainder << 24, 24));
}

function beforeDivision(state: CpuState, base: number): void {
  const ax = (state.i32[GPR.eax] as number) & 0xffff;
  const al = ((ax & 0xff) + (ax >>> 8) * base) & 0xff;
  setAx(state, al);
  setStatus(state, resultFlags(al << 24, 24));
}

/** DIV and IDIV (SDM vol. 2): AX, DX:AX or EDX:EAX by an operand; #DE on zero or when the quotient does not fit. */
import { type CpuState, GPR, raise, VECTOR } from "./state.ts";

/** Divides and writes quotient and remainder registers, or raises #DE with nothing changed. */
export function divide(state: CpuState, width: number, operand: number, signed: boolean): void {
  const shift = 32 - width;
  const divisor = signed ? (operand << shift) >> shift : (operand << shift) >>> shift;
  if (divisor === 0) {
    raise(state, VECTOR.DE);
    return;
  }
  if (width === 32) divideWide(state, divisor, signed);
  else divideNarrow(state, width, divisor, signed);
}

/** 8- and 16-bit forms: the dividend fits in 32 bits. */
function divideNarrow(state: CpuState, width: number, divisor: number, signed: boolean): void {
  const i32 = state.i32;
  const eax = i32[GPR.eax] as number;
  const edx = i32[GPR.edx] as number;
  const bits = width === 8 ? (eax << 16) >>> 16 : ((edx << 16) | (eax & 0xffff)) >>> 0;
  const dividend = signed ? (width === 8 ? (bits << 16) >> 16 : bits | 0) : bits;
  const quotient = Math.trunc(dividend / divisor);
  const remainder = dividend - quotient * divisor;
  const limit = 2 ** width;
  if (signed ? quotient >= limit / 2 || quotient < -limit / 2 : quotient >= limit) {
    raise(state, VECTOR.DE);
    return;
  }
  if (width === 8) {
    i32[GPR.eax] = (eax & ~0xffff) | (quotient & 0xff) | ((remainder & 0xff) << 8);
  } else {
    i32[GPR.eax] = (eax & ~0xffff) | (quotient & 0xffff);
    i32[GPR.edx] = (edx & ~0xffff) | (remainder & 0xffff);
  }
}

/** 32-bit forms: exact in doubles while the dividend is below 2^53, in BigInt beyond. */
function divideWide(state: CpuState, divisor: number, signed: boolean): void {
  const high = state.i32[GPR.edx] as number;
  const low = (state.i32[GPR.eax] as number) >>> 0;
  const upper = signed ? high : high >>> 0;
  if (upper >= -0x100000 && upper < 0x100000) {
    const dividend = upper * 4294967296 + low;
    let quotient = Math.trunc(dividend / divisor);
    let remainder = dividend - quotient * divisor;
    // The rounded quotient may be one too large in magnitude: the remainder then has the wrong sign.
    if (remainder !== 0 && remainder < 0 !== dividend < 0) {
      const step = dividend < 0 === divisor < 0 ? 1 : -1;
      quotient -= step;
      remainder += step * divisor;
    }
    const fits = signed ? quotient <= 0x7fffffff && quotient >= -0x80000000 : quotient <= 0xffffffff;
    if (!fits) raise(state, VECTOR.DE);
    else commit(state, quotient, remainder);
    return;
  }
  const dividend = (BigInt(upper) << 32n) | BigInt(low);
  const quotient = dividend / BigInt(divisor);
  const fits = signed ? BigInt.asIntN(32, quotient) === quotient : BigInt.asUintN(32, quotient) === quotient;
  if (!fits) raise(state, VECTOR.DE);
  else commit(state, Number(quotient), Number(dividend % BigInt(divisor)));
}

function commit(state: CpuState, quotient: number, remainder: number): void {
  state.set(GPR.eax, quotient);
  state.set(GPR.edx, remainder);
}

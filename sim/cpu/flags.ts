/**
 * EFLAGS of integer arithmetic (SDM vol. 1, 3.4.3.1 and appendix A). Operands narrower than 32 bits are shifted to
 * the top of a 32-bit word by `shift` (24 for bytes, 16 for words, 0), where carry, overflow, sign and zero of the
 * 32-bit operation are those of the narrow one.
 */
import { FLAG, STATUS_FLAGS } from "./state.ts";

/** PF for each byte. */
const PARITY = new Uint8Array(256);
for (let byte = 0; byte < 256; byte++) {
  let bits = 0;
  for (let rest = byte; rest !== 0; rest >>= 1) bits += rest & 1;
  PARITY[byte] = bits % 2 === 0 ? FLAG.PF : 0;
}

/** SF, ZF, PF of a result at the top of the word. */
export function resultFlags(result: number, shift: number): number {
  return ((result >>> 24) & FLAG.SF) | (result === 0 ? FLAG.ZF : 0) | (PARITY[(result >>> shift) & 0xff] as number);
}

/** Flags of `result = a + b + carry`, all at the top of the word. Carry out is the majority of a, b and carry in. */
export function addFlags(a: number, b: number, result: number, shift: number): number {
  const carryOut = ((a & b) | ((a | b) & ~result)) >>> 31;
  const overflow = (((a ^ result) & (b ^ result)) >>> 20) & FLAG.OF;
  const auxiliary = ((a ^ b ^ result) >>> shift) & FLAG.AF;
  return carryOut | overflow | auxiliary | resultFlags(result, shift);
}

/** Flags of `result = a - b - borrow`. */
export function subtractFlags(a: number, b: number, result: number, shift: number): number {
  const borrowOut = ((~a & b) | ((~a | b) & result)) >>> 31;
  const overflow = (((a ^ b) & (a ^ result)) >>> 20) & FLAG.OF;
  const auxiliary = ((a ^ b ^ result) >>> shift) & FLAG.AF;
  return borrowOut | overflow | auxiliary | resultFlags(result, shift);
}

/** EFLAGS with its status flags replaced. */
export function withStatus(eflags: number, status: number): number {
  return (eflags & ~STATUS_FLAGS) | status;
}

/** Whether condition code `condition` (0 to 15) holds. */
export function conditionHolds(condition: number, eflags: number): boolean {
  let holds: boolean;
  switch (condition >> 1) {
    case 0:
      holds = (eflags & FLAG.OF) !== 0;
      break;
    case 1:
      holds = (eflags & FLAG.CF) !== 0;
      break;
    case 2:
      holds = (eflags & FLAG.ZF) !== 0;
      break;
    case 3:
      holds = (eflags & (FLAG.CF | FLAG.ZF)) !== 0;
      break;
    case 4:
      holds = (eflags & FLAG.SF) !== 0;
      break;
    case 5:
      holds = (eflags & FLAG.PF) !== 0;
      break;
    case 6:
      holds = signDiffersFromOverflow(eflags);
      break;
    default:
      holds = (eflags & FLAG.ZF) !== 0 || signDiffersFromOverflow(eflags);
  }
  return holds !== ((condition & 1) === 1);
}

function signDiffersFromOverflow(eflags: number): boolean {
  return ((eflags >>> 4) & FLAG.SF) !== (eflags & FLAG.SF);
}

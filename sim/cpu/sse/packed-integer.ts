/**
 * Packed integer arithmetic of MMX, SSE2 and SSSE3 (SDM vol. 1, 5.4, 5.6.3, 5.7): the same lanes in two or four words. All
 * operations work in place; lanes never depend on other words, but for the sums of PSADBW and the halves of quadwords.
 */
import type { MicroOp } from "../micro-ops.ts";
import type { CpuState } from "../state.ts";
import { immediateOf, wordsOf } from "./operands.ts";

/** An operation on the cells d (of the micro-op) and s. */
export type Run = (state: CpuState, u: MicroOp, s: number) => void;

type Lane = (a: number, b: number) => number;

/** Word by word. */
function words(f: Lane): Run {
  return (state, u, s) => {
    const { i32 } = state;
    const count = wordsOf(u);
    for (let k = 0; k < count; k++) i32[u.d + k] = f(i32[u.d + k] as number, i32[s + k] as number);
  };
}

/** By 16-bit lanes, given signed; the low 16 bits of results count. */
const signed16 = (f: Lane): Run =>
  words((a, b) => (f(a >> 16, b >> 16) << 16) | (f((a << 16) >> 16, (b << 16) >> 16) & 0xffff));
const unsigned16 = (f: Lane): Run =>
  words((a, b) => (f(a >>> 16, b >>> 16) << 16) | (f(a & 0xffff, b & 0xffff) & 0xffff));
const signed8 = (f: Lane): Run =>
  words(
    (a, b) =>
      (f(a >> 24, b >> 24) << 24) |
      ((f((a << 8) >> 24, (b << 8) >> 24) & 0xff) << 16) |
      ((f((a << 16) >> 24, (b << 16) >> 24) & 0xff) << 8) |
      (f((a << 24) >> 24, (b << 24) >> 24) & 0xff),
  );
const unsigned8 = (f: Lane): Run =>
  words(
    (a, b) =>
      (f(a >>> 24, b >>> 24) << 24) |
      ((f((a >>> 16) & 0xff, (b >>> 16) & 0xff) & 0xff) << 16) |
      ((f((a >>> 8) & 0xff, (b >>> 8) & 0xff) & 0xff) << 8) |
      (f(a & 0xff, b & 0xff) & 0xff),
  );

const clamp =
  (low: number, high: number) =>
  (value: number): number =>
    Math.min(Math.max(value, low), high);
/** Saturation to the ranges of bytes and words (SDM vol. 1, 9.3.2). */
export const toInt8 = clamp(-0x80, 0x7f);
export const toUint8 = clamp(0, 0xff);
export const toInt16 = clamp(-0x8000, 0x7fff);
const toUint16 = clamp(0, 0xffff);

const equal: Lane = (a, b) => (a === b ? -1 : 0);
const greater: Lane = (a, b) => (a > b ? -1 : 0);
const smaller: Lane = Math.min;
const larger: Lane = Math.max;
const average: Lane = (a, b) => (a + b + 1) >> 1;
/** PSIGN: a with the sign of b, 0 where b is 0. */
const withSignOf: Lane = (a, b) => (b < 0 ? -a : b === 0 ? 0 : a);
const absolute: Lane = (_a, b) => (b < 0 ? -b : b);

/** Upper word of an unsigned product. */
function highProduct(a: number, b: number): number {
  const low = a & 0xffff;
  const high = a >>> 16;
  const inner = low * (b & 0xffff);
  const middle = high * (b & 0xffff) + (inner >>> 16);
  const cross = low * (b >>> 16) + (middle % 65536);
  return (high * (b >>> 16) + Math.floor(middle / 65536) + Math.floor(cross / 65536)) | 0;
}

/** Quadword by quadword: f gives the low word, and the carry, borrow or high word through `high`. */
function addQuadwords(state: CpuState, u: MicroOp, s: number): void {
  const { i32 } = state;
  for (let k = 0; k < wordsOf(u); k += 2) {
    const low = ((i32[u.d + k] as number) >>> 0) + ((i32[s + k] as number) >>> 0);
    const carry = low >= 4294967296 ? 1 : 0;
    i32[u.d + k + 1] = (i32[u.d + k + 1] as number) + (i32[s + k + 1] as number) + carry;
    i32[u.d + k] = low;
  }
}

function subtractQuadwords(state: CpuState, u: MicroOp, s: number): void {
  const { i32 } = state;
  for (let k = 0; k < wordsOf(u); k += 2) {
    const low = ((i32[u.d + k] as number) >>> 0) - ((i32[s + k] as number) >>> 0);
    i32[u.d + k + 1] = (i32[u.d + k + 1] as number) - (i32[s + k + 1] as number) - (low < 0 ? 1 : 0);
    i32[u.d + k] = low;
  }
}

/** PMULUDQ: the low words of quadwords. */
function multiplyToQuadwords(state: CpuState, u: MicroOp, s: number): void {
  const { i32 } = state;
  for (let k = 0; k < wordsOf(u); k += 2) {
    const a = i32[u.d + k] as number;
    const b = i32[s + k] as number;
    i32[u.d + k] = Math.imul(a, b);
    i32[u.d + k + 1] = highProduct(a, b);
  }
}

/** Sum of the absolute differences of a word's four bytes. */
function differences(a: number, b: number): number {
  let sum = 0;
  for (let shift = 0; shift < 32; shift += 8) sum += Math.abs(((a >>> shift) & 0xff) - ((b >>> shift) & 0xff));
  return sum;
}

/** PSADBW. */
function sumDifferences(state: CpuState, u: MicroOp, s: number): void {
  const { i32 } = state;
  for (let k = 0; k < wordsOf(u); k += 2) {
    const low = differences(i32[u.d + k] as number, i32[s + k] as number);
    i32[u.d + k] = low + differences(i32[u.d + k + 1] as number, i32[s + k + 1] as number);
    i32[u.d + k + 1] = 0;
  }
}

const MANY = 255;
/** Shift count: the immediate where there is no source, else the source's low quadword; all that is large is MANY. */
function shiftCount(state: CpuState, u: MicroOp, s: number): number {
  if (s === 0) return immediateOf(u);
  const low = (state.i32[s] as number) >>> 0;
  return state.i32[s + 1] !== 0 || low > MANY ? MANY : low;
}

/** A shift of lanes of `bits` bits; a count that is too large gives 0, or for `arithmetic` shifts the sign. */
function shift(bits: number, f: (value: number, count: number) => number, arithmetic = false): Run {
  return (state, u, s) => {
    const { i32 } = state;
    let count = shiftCount(state, u, s);
    if (count >= bits && arithmetic) count = bits - 1;
    for (let k = 0; k < wordsOf(u); k++) i32[u.d + k] = count >= bits ? 0 : f(i32[u.d + k] as number, count);
  };
}

/** PSLLQ, PSRLQ. */
function shiftQuadwords(left: boolean): Run {
  return (state, u, s) => {
    const { i32 } = state;
    const count = shiftCount(state, u, s);
    for (let k = u.d; k < u.d + wordsOf(u); k += 2) {
      const low = i32[k] as number;
      const high = i32[k + 1] as number;
      if (count > 63) {
        i32[k] = 0;
        i32[k + 1] = 0;
      } else if (count >= 32) {
        i32[k] = left ? 0 : high >>> (count - 32);
        i32[k + 1] = left ? low << (count - 32) : 0;
      } else if (count > 0) {
        i32[k] = left ? low << count : (low >>> count) | (high << (32 - count));
        i32[k + 1] = left ? (high << count) | (low >>> (32 - count)) : high >>> count;
      }
    }
  };
}

const SIGNS_8 = 0x8080_8080 | 0;
const REST_8 = 0x7f7f_7f7f;

export const PACKED_INTEGER = {
  paddb: words((a, b) => ((a & REST_8) + (b & REST_8)) ^ ((a ^ b) & SIGNS_8)),
  paddw: signed16((a, b) => a + b),
  paddd: words((a, b) => a + b),
  paddq: addQuadwords,
  psubb: words((a, b) => ((a | SIGNS_8) - (b & REST_8)) ^ ((a ^ ~b) & SIGNS_8)),
  psubw: signed16((a, b) => a - b),
  psubd: words((a, b) => a - b),
  psubq: subtractQuadwords,
  paddsb: signed8((a, b) => toInt8(a + b)),
  paddsw: signed16((a, b) => toInt16(a + b)),
  paddusb: unsigned8((a, b) => toUint8(a + b)),
  paddusw: unsigned16((a, b) => toUint16(a + b)),
  psubsb: signed8((a, b) => toInt8(a - b)),
  psubsw: signed16((a, b) => toInt16(a - b)),
  psubusb: unsigned8((a, b) => toUint8(a - b)),
  psubusw: unsigned16((a, b) => toUint16(a - b)),
  pcmpeqb: unsigned8(equal),
  pcmpeqw: unsigned16(equal),
  pcmpeqd: words(equal),
  pcmpgtb: signed8(greater),
  pcmpgtw: signed16(greater),
  pcmpgtd: words(greater),
  pminub: unsigned8(smaller),
  pminsw: signed16(smaller),
  pmaxub: unsigned8(larger),
  pmaxsw: signed16(larger),
  pavgb: unsigned8(average),
  pavgw: unsigned16(average),
  and: words((a, b) => a & b),
  andNot: words((a, b) => ~a & b),
  or: words((a, b) => a | b),
  xor: words((a, b) => a ^ b),
  pmullw: signed16((a, b) => a * b),
  pmulhw: signed16((a, b) => (a * b) >> 16),
  pmulhuw: unsigned16((a, b) => Math.imul(a, b) >>> 16),
  pmulhrsw: signed16((a, b) => (((a * b) >> 14) + 1) >> 1),
  pmaddwd: words((a, b) => (a >> 16) * (b >> 16) + ((a << 16) >> 16) * ((b << 16) >> 16)),
  pmuludq: multiplyToQuadwords,
  psadbw: sumDifferences,
  psignb: signed8(withSignOf),
  psignw: signed16(withSignOf),
  psignd: words(withSignOf),
  pabsb: signed8(absolute),
  pabsw: signed16(absolute),
  pabsd: words(absolute),
  psllw: shift(16, (value, count) => ((value & 0xffff_0000) << count) | ((value << count) & 0xffff)),
  pslld: shift(32, (value, count) => value << count),
  psllq: shiftQuadwords(true),
  psrlw: shift(16, (value, count) => (((value >>> 16) >>> count) << 16) | ((value & 0xffff) >>> count)),
  psrld: shift(32, (value, count) => value >>> count),
  psrlq: shiftQuadwords(false),
  psraw: shift(
    16,
    (value, count) => (((value >> 16) >> count) << 16) | ((((value << 16) >> 16) >> count) & 0xffff),
    true,
  ),
  psrad: shift(32, (value, count) => value >> count, true),
} as const satisfies Record<string, Run>;

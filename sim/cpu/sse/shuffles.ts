/**
 * Operations that move lanes between words (SDM vol. 1, 5.4.3, 5.6.1.4, 5.7): unpack, pack, shuffle, byte shifts,
 * insertion and extraction, sign masks, and the horizontal sums of SSSE3. Results pass through the scratch words, because
 * source and destination may be the same register.
 */
import type { MicroOp } from "../micro-ops.ts";
import type { CpuState } from "../state.ts";
import { immediateOf, resultOf, wordsOf } from "./operands.ts";
import { type Run, toInt8, toInt16, toUint8 } from "./packed-integer.ts";

/** Word k of the result from the words at cells a (destination) and b (source), of which there are `count` each. */
type Word = (i32: Int32Array, k: number, a: number, b: number, count: number, immediate: number) => number;

function gather(word: Word): Run {
  return (state, u, s) => {
    const { i32 } = state;
    const count = wordsOf(u);
    const out = resultOf(u);
    for (let k = 0; k < count; k++) i32[out + k] = word(i32, k, u.d, s, count, immediateOf(u));
    for (let k = 0; k < count; k++) i32[u.d + k] = i32[out + k] as number;
  };
}

const byteAt = (i32: Int32Array, cell: number, n: number): number =>
  ((i32[cell + (n >> 2)] as number) >>> ((n & 3) * 8)) & 0xff;
/** 16-bit lane, signed. */
const laneAt = (i32: Int32Array, cell: number, n: number): number =>
  (n & 1) !== 0 ? (i32[cell + (n >> 1)] as number) >> 16 : ((i32[cell + (n >> 1)] as number) << 16) >> 16;

/** A word of four bytes, given by number. */
function bytes(
  byte: (i32: Int32Array, n: number, a: number, b: number, count: number, immediate: number) => number,
): Word {
  return (i32, k, a, b, count, immediate) => {
    let word = 0;
    for (let n = 0; n < 4; n++) word |= byte(i32, 4 * k + n, a, b, count, immediate) << (8 * n);
    return word;
  };
}

/** A word of two 16-bit lanes. */
function lanes(
  lane: (i32: Int32Array, n: number, a: number, b: number, count: number, immediate: number) => number,
): Word {
  return (i32, k, a, b, count, immediate) =>
    (lane(i32, 2 * k, a, b, count, immediate) & 0xffff) | (lane(i32, 2 * k + 1, a, b, count, immediate) << 16);
}

/** PUNPCKL, PUNPCKH: lanes of destination and source by turns, from the lower or upper half. */
const unpackBytes = (high: boolean): Run =>
  gather(bytes((i32, n, a, b, count) => byteAt(i32, (n & 1) !== 0 ? b : a, (n >> 1) + (high ? 2 * count : 0))));
const unpackLanes = (high: boolean): Run =>
  gather(lanes((i32, n, a, b, count) => laneAt(i32, (n & 1) !== 0 ? b : a, (n >> 1) + (high ? count : 0))));
const unpackWords = (high: boolean): Run =>
  gather((i32, k, a, b, count) => i32[((k & 1) !== 0 ? b : a) + (k >> 1) + (high ? count / 2 : 0)] as number);
const unpackQuadwords = (high: boolean): Run =>
  gather((i32, k, a, b) => i32[(k > 1 ? b : a) + (k & 1) + (high ? 2 : 0)] as number);

/** The n-th of `each` items per register: those of the destination, then those of the source. */
const ofBoth = (n: number, each: number, a: number, b: number): number => (n < each ? a : b);

const packLanes = (saturate: (value: number) => number): Run =>
  gather(bytes((i32, n, a, b, count) => saturate(laneAt(i32, ofBoth(n, 2 * count, a, b), n % (2 * count))) & 0xff));
const packWords: Run = gather(
  lanes((i32, n, a, b, count) => toInt16(i32[ofBoth(n, count, a, b) + (n % count)] as number)),
);

/** PHADDW and its kin: pairs of neighbours, of the destination and then of the source. */
const horizontalLanes = (f: (x: number, y: number) => number): Run =>
  gather(
    lanes((i32, n, a, b, count) => {
      const cell = ofBoth(n, count, a, b);
      const first = 2 * (n % count);
      return f(laneAt(i32, cell, first), laneAt(i32, cell, first + 1));
    }),
  );
const horizontalWords = (f: (x: number, y: number) => number): Run =>
  gather((i32, k, a, b, count) => {
    const half = count / 2;
    const cell = ofBoth(k, half, a, b) + 2 * (k % half);
    return f(i32[cell] as number, i32[cell + 1] as number);
  });

const field = (immediate: number, n: number): number => (immediate >>> (2 * n)) & 3;

/** PALIGNR: destination and source as one, shifted right by bytes. */
const align = gather(
  bytes((i32, n, a, b, count, immediate) => {
    const from = n + immediate;
    const each = 4 * count;
    return from < each ? byteAt(i32, b, from) : from < 2 * each ? byteAt(i32, a, from - each) : 0;
  }),
);

/** PMADDUBSW: unsigned bytes of the destination times signed ones of the source. */
const multiplyAddBytes = gather(
  lanes((i32, n, a, b) => {
    const product = (at: number): number => byteAt(i32, a, at) * ((byteAt(i32, b, at) << 24) >> 24);
    return toInt16(product(2 * n) + product(2 * n + 1));
  }),
);

/** The sign of each byte, and of each single or double, as a mask in a general register. */
const byteSigns: Run = (state, u, s) => {
  let mask = 0;
  for (let n = 0; n < 4 * wordsOf(u); n++) mask |= (byteAt(state.i32, s, n) >>> 7) << n;
  state.set(u.d, mask);
};
const wordSigns =
  (first: number, step: number): Run =>
  (state, u, s) => {
    let mask = 0;
    for (let k = first, n = 0; k < 4; k += step, n++) mask |= ((state.i32[s + k] as number) >>> 31) << n;
    state.set(u.d, mask);
  };

function insertLane(state: CpuState, u: MicroOp, s: number): void {
  const n = immediateOf(u) & (2 * wordsOf(u) - 1);
  const at = u.d + (n >> 1);
  const shift = (n & 1) * 16;
  state.i32[at] = ((state.i32[at] as number) & ~(0xffff << shift)) | (((state.i32[s] as number) & 0xffff) << shift);
}

function extractLane(state: CpuState, u: MicroOp, s: number): void {
  state.set(u.d, laneAt(state.i32, s, immediateOf(u) & (2 * wordsOf(u) - 1)) & 0xffff);
}

export const SHUFFLES = {
  punpcklbw: unpackBytes(false),
  punpckhbw: unpackBytes(true),
  punpcklwd: unpackLanes(false),
  punpckhwd: unpackLanes(true),
  punpckldq: unpackWords(false),
  punpckhdq: unpackWords(true),
  punpcklqdq: unpackQuadwords(false),
  punpckhqdq: unpackQuadwords(true),
  packsswb: packLanes(toInt8),
  packuswb: packLanes(toUint8),
  packssdw: packWords,
  pshufb: gather(
    bytes((i32, n, a, b, count) => {
      const control = byteAt(i32, b, n);
      return (control & 0x80) !== 0 ? 0 : byteAt(i32, a, control & (4 * count - 1));
    }),
  ),
  pshufw: gather(lanes((i32, n, _a, b, _count, immediate) => laneAt(i32, b, field(immediate, n)))),
  pshufd: gather((i32, k, _a, b, _count, immediate) => i32[b + field(immediate, k)] as number),
  pshuflw: gather(lanes((i32, n, _a, b, _c, immediate) => laneAt(i32, b, n < 4 ? field(immediate, n) : n))),
  pshufhw: gather(lanes((i32, n, _a, b, _c, immediate) => laneAt(i32, b, n < 4 ? n : 4 + field(immediate, n - 4)))),
  shufps: gather((i32, k, a, b, _count, immediate) => i32[(k > 1 ? b : a) + field(immediate, k)] as number),
  shufpd: gather(
    (i32, k, a, b, _count, immediate) => i32[(k > 1 ? b : a) + ((immediate >>> (k >> 1)) & 1) * 2 + (k & 1)] as number,
  ),
  psrldq: gather(bytes((i32, n, a, _b, _count, immediate) => (n + immediate > 15 ? 0 : byteAt(i32, a, n + immediate)))),
  pslldq: gather(bytes((i32, n, a, _b, _count, immediate) => (n < immediate ? 0 : byteAt(i32, a, n - immediate)))),
  palignr: align,
  pmaddubsw: multiplyAddBytes,
  phaddw: horizontalLanes((x, y) => x + y),
  phaddsw: horizontalLanes((x, y) => toInt16(x + y)),
  phsubw: horizontalLanes((x, y) => x - y),
  phsubsw: horizontalLanes((x, y) => toInt16(x - y)),
  phaddd: horizontalWords((x, y) => x + y),
  phsubd: horizontalWords((x, y) => x - y),
  movddup: gather((i32, k, _a, b) => i32[b + (k & 1)] as number),
  movsldup: gather((i32, k, _a, b) => i32[b + (k & 2)] as number),
  movshdup: gather((i32, k, _a, b) => i32[b + (k | 1)] as number),
  pmovmskb: byteSigns,
  movmskps: wordSigns(0, 1),
  movmskpd: wordSigns(1, 2),
  pinsrw: insertLane,
  pextrw: extractLane,
} as const satisfies Record<string, Run>;

/**
 * Floating-point instructions of SSE, SSE2 and SSE3 over their elements: packed, scalar, horizontal, and conversions between
 * elements of different sizes. Results of all elements are made first; then exceptions are reported, and unless one is
 * unmasked the destination is written.
 */
import { type CpuState, MXCSR } from "../state.ts";
import { comparison, DOUBLES, extreme, flagComparison, SINGLES } from "./compare.ts";
import { CONVERSIONS } from "./convert.ts";
import { DOUBLE_OPERATIONS } from "./double.ts";
import { report } from "./mxcsr.ts";
import { resultOf } from "./operands.ts";
import type { Run } from "./packed-integer.ts";
import { type ElementOperation, SINGLE_OPERATIONS } from "./single.ts";

const WORDS = 4;

function copy(state: CpuState, to: number, from: number, words: number): void {
  const { i32 } = state;
  for (let k = 0; k < words; k++) i32[to + k] = i32[from + k] as number;
}

/** Element by element of `size` words. */
function packed(f: ElementOperation, size: number): Run {
  return (state, u, s) => {
    const mxcsr = state.i32[MXCSR] as number;
    const out = resultOf(u);
    let flags = 0;
    for (let k = 0; k < WORDS; k += size) flags |= f(state, out + k, u.d + k, s + k, mxcsr);
    if (report(state, flags)) copy(state, u.d, out, WORDS);
  };
}

/** The lowest element alone. */
function scalar(f: ElementOperation, size: number): Run {
  return (state, u, s) => {
    const out = resultOf(u);
    const flags = f(state, out, u.d, s, state.i32[MXCSR] as number);
    if (flags === 0 || report(state, flags)) copy(state, u.d, out, size);
  };
}

/** HADD, HSUB: neighbours of the destination, then of the source. */
function horizontal(f: ElementOperation, size: number): Run {
  return (state, u, s) => {
    const mxcsr = state.i32[MXCSR] as number;
    const out = resultOf(u);
    let flags = 0;
    for (let k = 0; k < WORDS; k += size) {
      const from = 2 * k < WORDS ? u.d + 2 * k : s + 2 * k - WORDS;
      flags |= f(state, out + k, from, from + size, mxcsr);
    }
    if (report(state, flags)) copy(state, u.d, out, WORDS);
  };
}

/** ADDSUB: even elements are subtracted, odd ones added. */
function alternating(even: ElementOperation, odd: ElementOperation, size: number): Run {
  return (state, u, s) => {
    const mxcsr = state.i32[MXCSR] as number;
    const out = resultOf(u);
    let flags = 0;
    for (let k = 0; k < WORDS; k += size) {
      flags |= ((k / size) % 2 === 0 ? even : odd)(state, out + k, u.d + k, s + k, mxcsr);
    }
    if (report(state, flags)) copy(state, u.d, out, WORDS);
  };
}

/** `count` elements of `from` words to ones of `to` words; `clears`: what is above them in the destination. */
function conversion(f: ElementOperation, count: number, from: number, to: number, clears = false): Run {
  return (state, u, s) => {
    const mxcsr = state.i32[MXCSR] as number;
    const out = resultOf(u);
    let flags = 0;
    for (let n = 0; n < count; n++) flags |= f(state, out + n * to, s, s + n * from, mxcsr);
    if (!report(state, flags)) return;
    copy(state, u.d, out, count * to);
    if (clears) state.i32.fill(0, u.d + count * to, u.d + WORDS);
  };
}

const S = SINGLE_OPERATIONS;
const D = DOUBLE_OPERATIONS;
const less = (x: number, y: number): boolean => x < y;
const greater = (x: number, y: number): boolean => x > y;
const C = CONVERSIONS;

export const FLOATING = {
  addps: packed(S.add, 1),
  addss: scalar(S.add, 1),
  addpd: packed(D.add, 2),
  addsd: scalar(D.add, 2),
  subps: packed(S.subtract, 1),
  subss: scalar(S.subtract, 1),
  subpd: packed(D.subtract, 2),
  subsd: scalar(D.subtract, 2),
  mulps: packed(S.multiply, 1),
  mulss: scalar(S.multiply, 1),
  mulpd: packed(D.multiply, 2),
  mulsd: scalar(D.multiply, 2),
  divps: packed(S.divide, 1),
  divss: scalar(S.divide, 1),
  divpd: packed(D.divide, 2),
  divsd: scalar(D.divide, 2),
  sqrtps: packed(S.root, 1),
  sqrtss: scalar(S.root, 1),
  sqrtpd: packed(D.root, 2),
  sqrtsd: scalar(D.root, 2),
  minps: packed(extreme(SINGLES, less), 1),
  minss: scalar(extreme(SINGLES, less), 1),
  minpd: packed(extreme(DOUBLES, less), 2),
  minsd: scalar(extreme(DOUBLES, less), 2),
  maxps: packed(extreme(SINGLES, greater), 1),
  maxss: scalar(extreme(SINGLES, greater), 1),
  maxpd: packed(extreme(DOUBLES, greater), 2),
  maxsd: scalar(extreme(DOUBLES, greater), 2),
  cmpps: comparison(SINGLES, 4),
  cmpss: comparison(SINGLES, 1),
  cmppd: comparison(DOUBLES, 2),
  cmpsd: comparison(DOUBLES, 1),
  comiss: flagComparison(SINGLES, false),
  comisd: flagComparison(DOUBLES, false),
  ucomiss: flagComparison(SINGLES, true),
  ucomisd: flagComparison(DOUBLES, true),
  rcpps: packed(C.reciprocal, 1),
  rcpss: scalar(C.reciprocal, 1),
  rsqrtps: packed(C.reciprocalRoot, 1),
  rsqrtss: scalar(C.reciprocalRoot, 1),
  addsubps: alternating(S.subtract, S.add, 1),
  addsubpd: alternating(D.subtract, D.add, 2),
  haddps: horizontal(S.add, 1),
  haddpd: horizontal(D.add, 2),
  hsubps: horizontal(S.subtract, 1),
  hsubpd: horizontal(D.subtract, 2),
  cvtpi2ps: conversion(C.integerToSingle, 2, 1, 1),
  cvtsi2ss: conversion(C.integerToSingle, 1, 1, 1),
  cvtdq2ps: conversion(C.integerToSingle, 4, 1, 1),
  cvtpi2pd: conversion(C.integerToDouble, 2, 1, 2),
  cvtsi2sd: conversion(C.integerToDouble, 1, 1, 2),
  cvtdq2pd: conversion(C.integerToDouble, 2, 1, 2),
  cvtps2pi: conversion(C.singleToInteger, 2, 1, 1),
  cvtss2si: conversion(C.singleToInteger, 1, 1, 1),
  cvtps2dq: conversion(C.singleToInteger, 4, 1, 1),
  cvttps2pi: conversion(C.singleTruncated, 2, 1, 1),
  cvttss2si: conversion(C.singleTruncated, 1, 1, 1),
  cvttps2dq: conversion(C.singleTruncated, 4, 1, 1),
  cvtpd2pi: conversion(C.doubleToInteger, 2, 2, 1),
  cvtsd2si: conversion(C.doubleToInteger, 1, 2, 1),
  cvtpd2dq: conversion(C.doubleToInteger, 2, 2, 1, true),
  cvttpd2pi: conversion(C.doubleTruncated, 2, 2, 1),
  cvttsd2si: conversion(C.doubleTruncated, 1, 2, 1),
  cvttpd2dq: conversion(C.doubleTruncated, 2, 2, 1, true),
  cvtps2pd: conversion(C.singleToDouble, 2, 1, 2),
  cvtss2sd: conversion(C.singleToDouble, 1, 1, 2),
  cvtpd2ps: conversion(C.doubleToSingle, 2, 2, 1, true),
  cvtsd2ss: conversion(C.doubleToSingle, 1, 2, 1),
} as const satisfies Record<string, Run>;

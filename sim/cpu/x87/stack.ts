/**
 * The x87 register stack and its control and status words (SDM vol. 1, 8.1), as cells of the processor state.
 */
import { type CpuState, X87, x87RegisterCell } from "../state.ts";
import { classify } from "./arithmetic.ts";
import { type Float80, INDEFINITE, KIND, type Operand, unpack } from "./float80.ts";
import { ALL_EXCEPTIONS, type Context, EXCEPTION } from "./rounding.ts";

/** Status word bits beside the exception flags (SDM vol. 1, figure 8-4). */
export const STATUS = { SF: 1 << 6, ES: 1 << 7, C0: 1 << 8, C1: 1 << 9, C2: 1 << 10, C3: 1 << 14, B: 1 << 15 } as const;
const TOP_SHIFT = 11;
const TOP = 7 << TOP_SHIFT;
/** Bits of the control word that exist; bit 6 always reads 1. */
const CONTROL_BITS = 0x1f3f;
const CONTROL_ONES = 0x40;
/** Control word after FNINIT: all exceptions masked, extended precision, round to nearest. */
const CONTROL_INITIAL = 0x37f;

const word = (state: CpuState, cell: number): number => state.i32[cell] as number;

export function control(state: CpuState): number {
  return word(state, X87.control);
}

/** Sets the control word; an exception that it unmasks becomes pending. */
export function setControl(state: CpuState, value: number): void {
  state.set(X87.control, (value & CONTROL_BITS) | CONTROL_ONES);
  summarize(state);
}

export function status(state: CpuState): number {
  return word(state, X87.status);
}

/** Sets the status word; ES and B follow from flags and masks. */
export function setStatus(state: CpuState, value: number): void {
  state.set(X87.status, value & 0xffff);
  summarize(state);
}

function summarize(state: CpuState): void {
  const value = status(state);
  const pending = (value & ~control(state) & ALL_EXCEPTIONS) !== 0;
  state.set(X87.status, (value & ~(STATUS.ES | STATUS.B)) | (pending ? STATUS.ES | STATUS.B : 0));
}

/** FNINIT (SDM vol. 2). */
export function initialize(state: CpuState): void {
  state.set(X87.control, CONTROL_INITIAL);
  state.set(X87.status, 0);
  state.set(X87.valid, 0);
  for (const cell of [X87.instructionOffset, X87.instructionSelector, X87.dataOffset, X87.dataSelector, X87.opcode]) {
    state.set(cell, 0);
  }
}

/** Number of the register that is ST(i). */
export function physical(state: CpuState, i: number): number {
  return ((status(state) >>> TOP_SHIFT) + i) & 7;
}

export function isEmpty(state: CpuState, i: number): boolean {
  return ((word(state, X87.valid) >>> physical(state, i)) & 1) === 0;
}

export function setValid(state: CpuState, i: number, valid: boolean): void {
  const bit = 1 << physical(state, i);
  const all = word(state, X87.valid);
  state.set(X87.valid, valid ? all | bit : all & ~bit);
}

export function readPhysical(state: CpuState, n: number): Float80 {
  const cell = x87RegisterCell(n);
  return { signExponent: word(state, cell + 2) & 0xffff, significand: state.u64[cell >> 1] as bigint };
}

export function writePhysical(state: CpuState, n: number, value: Float80): void {
  const cell = x87RegisterCell(n);
  state.u64[cell >> 1] = value.significand;
  state.set(cell + 2, value.signExponent);
}

/** Value of ST(i), empty or not. */
export function read(state: CpuState, i: number): Float80 {
  return readPhysical(state, physical(state, i));
}

export function operand(state: CpuState, i: number): Operand {
  return unpack(read(state, i));
}

/** Writes ST(i) and makes it valid. */
export function write(state: CpuState, i: number, value: Float80): void {
  writePhysical(state, physical(state, i), value);
  setValid(state, i, true);
}

/** Moves the top of the stack by `by` registers (1: FINCSTP); tags stay. */
export function rotate(state: CpuState, by: number): void {
  const value = status(state);
  state.set(X87.status, (value & ~TOP) | (((value & TOP) + (by << TOP_SHIFT)) & TOP));
}

export function pop(state: CpuState): void {
  setValid(state, 0, false);
  rotate(state, 1);
}

export function push(state: CpuState, value: Float80): void {
  rotate(state, -1);
  write(state, 0, value);
}

/** Condition codes C3, C2, C0 from bits 2 to 0, as comparisons set them. */
export function setConditions(state: CpuState, codes: number): void {
  const bits =
    ((codes & 1) !== 0 ? STATUS.C0 : 0) | ((codes & 2) !== 0 ? STATUS.C2 : 0) | ((codes & 4) !== 0 ? STATUS.C3 : 0);
  state.set(X87.status, (status(state) & ~(STATUS.C0 | STATUS.C2 | STATUS.C3)) | bits);
}

/** C3, C2, C0 in bits 2 to 0. */
export function conditions(state: CpuState): number {
  const value = status(state);
  return ((value >>> 8) & 1) | ((value >>> 9) & 2) | ((value >>> 12) & 4);
}

export function setC1(state: CpuState, on: boolean): void {
  const value = status(state);
  state.set(X87.status, on ? value | STATUS.C1 : value & ~STATUS.C1);
}

/**
 * Reports what an operation found: flags, C1, and the summary when one is unmasked. False when the operation may not be
 * completed, because an invalid operation, denormal operand or division by zero is unmasked (SDM vol. 1, 8.7).
 */
export function report(state: CpuState, context: Context): boolean {
  const before = EXCEPTION.IE | EXCEPTION.DE | EXCEPTION.ZE;
  const stops = (context.flags & ~context.control & before) !== 0;
  const flags = stops ? context.flags & before : context.flags;
  setC1(state, !stops && context.roundedUp);
  if (flags !== 0) setStatus(state, status(state) | flags);
  return !stops;
}

/** Stack overflow (`over`, C1 = 1) or underflow; false when it is unmasked. */
export function stackFault(state: CpuState, over: boolean): boolean {
  setC1(state, over);
  setStatus(state, status(state) | EXCEPTION.IE | STATUS.SF);
  return (control(state) & EXCEPTION.IE) !== 0;
}

/** Pushes unless the stack is full; a masked overflow pushes the indefinite. */
export function pushChecked(state: CpuState, context: Context, value: () => Float80): void {
  if (!isEmpty(state, 7)) {
    if (stackFault(state, true)) push(state, INDEFINITE);
    return;
  }
  const result = value();
  if (report(state, context)) push(state, result);
}

/** The tag word with all of its values: 0 valid, 1 zero, 2 special, 3 empty (SDM vol. 1, 8.1.7). */
export function tagWord(state: CpuState): number {
  const valid = word(state, X87.valid);
  let tags = 0;
  for (let n = 0; n < 8; n++) {
    const tag = ((valid >>> n) & 1) === 0 ? 3 : tagOf(unpack(readPhysical(state, n)));
    tags |= tag << (2 * n);
  }
  return tags;
}

function tagOf(value: Operand): number {
  if (value.kind === KIND.ZERO) return 1;
  return classify(value) === 2 ? 0 : 2;
}

/** Takes from a tag word which registers are empty; the rest follows from the contents. */
export function setTagWord(state: CpuState, tags: number): void {
  let valid = 0;
  for (let n = 0; n < 8; n++) if (((tags >>> (2 * n)) & 3) !== 3) valid |= 1 << n;
  state.set(X87.valid, valid);
}

/** What every MMX instruction does to the stack: the top is R0, and no register is empty (SDM vol. 3, table 12-1). */
export function enterMmx(state: CpuState): void {
  state.set(X87.status, status(state) & ~TOP);
  state.set(X87.valid, 0xff);
}

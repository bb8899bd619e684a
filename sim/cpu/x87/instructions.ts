/**
 * The x87 instructions (SDM vol. 1, chapter 8; vol. 2): one helper, `x87`, whose micro-op names an operation of the table
 * below. Fields of the micro-op: b operation; a offset and x segment of a memory operand; w its FORMAT (conversions.ts), or
 * the operand size for environments; c bits 2:0 i of ST(i), bits 4:3 how many times the stack is popped, bit 5 ST(i) is the
 * destination; d the opcode's 11 bits, for FOP.
 *
 * Simplified: with CR0.NE = 0 FERR# is asserted by the instruction that finds an error, not by the one that made it; the pointers
 * of real-address mode keep selector and offset.
 */
import type { Environment } from "../environment.ts";
import { dataAccess, linearAddress } from "../interpreter.ts";
import type { MicroOp } from "../micro-ops.ts";
import { CELL, type CpuState, CR0, FLAG, GPR, OUTCOME, raise, SEG, VECTOR, X87 } from "../state.ts";
import * as arithmetic from "./arithmetic.ts";
import { FORMAT, FORMAT_BYTES, fromMemory, indefiniteBits, toMemory, toRegister, withSign } from "./conversions.ts";
import { errorEnded, errorPending } from "./errors.ts";
import * as fast from "./fast.ts";
import { BIAS, type Float80, finite, INDEFINITE, type Operand, pack, unpack, zero } from "./float80.ts";
import { fldenv, fnsave, fnstenv, frstor, readOperand, storeValue, writableAddress } from "./memory.ts";
import { Context, EXCEPTION } from "./rounding.ts";
import * as stack from "./stack.ts";
import { STATUS } from "./stack.ts";
import * as transcendental from "./transcendental.ts";

/** Fields of `c`. */
export const POP_ONCE = 1 << 3;
export const POP_TWICE = 2 << 3;
export const TO_STI = 1 << 5;
const register = (u: MicroOp): number => u.c & 7;
const pops = (u: MicroOp): number => (u.c >>> 3) & 3;

/** IA32_MISC_ENABLE bit 2: FOP is kept for every instruction, not only for one with an unmasked exception. */
const FOPCODE_COMPATIBILITY = 1 << 2;

type Run = (state: CpuState, env: Environment, u: MicroOp) => void;

interface Operation {
  readonly run: Run;
  /** Does not look at pending exceptions (FN... forms). */
  readonly noWait?: boolean;
  /** Leaves the instruction and data pointers alone: control instructions (SDM vol. 1, 8.1.8). */
  readonly isControl?: boolean;
}

type Binary = (context: Context, a: Operand, b: Operand) => Float80;

/** The same on cells, for the common case (fast.ts); false when it is not one. */
type Quick = (state: CpuState, d: number, a: number, b: number) => boolean;

function popTimes(state: CpuState, times: number): void {
  for (let n = 0; n < times; n++) stack.pop(state);
}

const context = (state: CpuState): Context => new Context(stack.control(state));

/** Formats that pass through X87.transfer: up to eight bytes. */
const isShort = (format: number): boolean => format !== FORMAT.FLOAT80 && format !== FORMAT.DECIMAL;

/** Reads the memory operand, of a short format, into X87.transfer; false with a fault. */
function loadBits(state: CpuState, env: Environment, u: MicroOp): boolean {
  const bytes = FORMAT_BYTES[u.w]!;
  const linear = linearAddress(state, u.x, state.i32[u.a] as number, bytes, false);
  if (linear < 0) return false;
  const access = dataAccess(state, false);
  if (bytes === 8) env.load64(linear, access, X87.transfer);
  else state.set(X87.transfer, env.load(linear, bytes, access));
  return state.signal.outcome === OUTCOME.NONE;
}

/** Turns what loadBits has read into a number in X87.transfer, if no exception can come of it. */
function expandBits(state: CpuState, format: number): boolean {
  const bits = state.i32[X87.transfer] as number;
  switch (format) {
    case FORMAT.FLOAT32:
      return fast.expand(state, 4);
    case FORMAT.FLOAT64:
      return fast.expand(state, 8);
    case FORMAT.INT32:
      return fast.expandInteger(state, bits);
    case FORMAT.INT16:
      return fast.expandInteger(state, (bits << 16) >> 16);
    default:
      return false;
  }
}

const rawBits = (state: CpuState): bigint => state.u64[X87.transfer >> 1] as bigint;

/** The number that expandBits has left in X87.transfer. */
function expanded(state: CpuState): Operand {
  return unpack({ signExponent: state.i32[X87.transfer + 2] as number, significand: rawBits(state) });
}

/** The memory operand, or ST(i); null with a fault signalled. An empty ST(i) is the caller's to see. */
function source(state: CpuState, env: Environment, u: MicroOp): Operand | null {
  if (u.w === FORMAT.NONE) return stack.operand(state, register(u));
  return loadBits(state, env, u) ? fromMemory(u.w, rawBits(state)) : null;
}

const eitherEmpty = (state: CpuState, u: MicroOp): boolean =>
  stack.isEmpty(state, 0) || (u.w === FORMAT.NONE && stack.isEmpty(state, register(u)));

/** FADD and its kin: destination = f(destination, source). */
function binary(f: Binary, quick: Quick | null = null): Run {
  return (state, env, u) => {
    const inMemory = u.w !== FORMAT.NONE;
    if (inMemory && !loadBits(state, env, u)) return;
    const toSti = (u.c & TO_STI) !== 0;
    const destination = toSti ? register(u) : 0;
    if (eitherEmpty(state, u)) {
      if (!stack.stackFault(state, false)) return;
      stack.write(state, destination, INDEFINITE);
    } else {
      const isNumber = inMemory && expandBits(state, u.w);
      const top = fast.stackCell(state, 0);
      const to = toSti ? fast.stackCell(state, register(u)) : top;
      const from = toSti ? top : isNumber ? X87.transfer : fast.stackCell(state, register(u));
      if (quick === null || inMemory !== isNumber || !quick(state, to, to, from)) {
        const found = context(state);
        const a = stack.operand(state, destination);
        const b = isNumber
          ? expanded(state)
          : inMemory
            ? fromMemory(u.w, rawBits(state))
            : stack.operand(state, toSti ? 0 : register(u));
        const result = f(found, a, b);
        if (!stack.report(state, found)) return;
        stack.write(state, destination, result);
      }
    }
    popTimes(state, pops(u));
  };
}

/** An operation on ST(0) alone. */
function unary(f: (context: Context, a: Operand) => Float80): Run {
  return (state) => {
    if (stack.isEmpty(state, 0)) {
      if (stack.stackFault(state, false)) stack.write(state, 0, INDEFINITE);
      return;
    }
    const found = context(state);
    const result = f(found, stack.operand(state, 0));
    if (stack.report(state, found)) stack.write(state, 0, result);
  };
}

/** FCHS, FABS: the sign alone changes. */
function signed(sign: (old: number) => number): Run {
  return (state) => {
    if (stack.isEmpty(state, 0)) {
      if (stack.stackFault(state, false)) stack.write(state, 0, INDEFINITE);
      return;
    }
    const value = stack.read(state, 0);
    stack.setC1(state, false);
    stack.write(state, 0, withSign(value, sign(value.signExponent >>> 15)));
  };
}

/** FCOM, FUCOM, FICOM, FTST: condition codes. */
function comparison(quietly: boolean): Run {
  return (state, env, u) => {
    const other = source(state, env, u);
    if (other === null) return;
    compareWith(state, u, other, quietly, stack.setConditions);
  };
}

/** FCOMI, FUCOMI: ZF, PF and CF; OF, SF and AF are cleared. */
function flagComparison(quietly: boolean): Run {
  return (state, _env, u) => {
    compareWith(state, u, stack.operand(state, register(u)), quietly, (s, order) => {
      const status = ((order & 1) !== 0 ? FLAG.CF : 0) | ((order & 2) !== 0 ? FLAG.PF : 0);
      const all = FLAG.CF | FLAG.PF | FLAG.ZF | FLAG.OF | FLAG.SF | FLAG.AF;
      s.flags = (s.flags & ~all) | status | ((order & 4) !== 0 ? FLAG.ZF : 0);
    });
  };
}

function compareWith(
  state: CpuState,
  u: MicroOp,
  other: Operand,
  quietly: boolean,
  set: (state: CpuState, order: number) => void,
): void {
  if (eitherEmpty(state, u)) {
    if (!stack.stackFault(state, false)) return;
    set(state, arithmetic.ORDER.UNORDERED);
  } else {
    const found = context(state);
    const order = arithmetic.compare(found, stack.operand(state, 0), other, quietly);
    if (!stack.report(state, found)) return;
    set(state, order);
  }
  popTimes(state, pops(u));
}

const ftst: Run = (state, _env, u) => {
  compareWith(state, { ...u, w: FORMAT.INT16 }, finite(0, 0, 0n, false), false, stack.setConditions);
};

/** Pushes the number in a cell, for which there is room. */
function pushCell(state: CpuState, cell: number): void {
  stack.setC1(state, false);
  stack.rotate(state, -1);
  fast.copy(state, fast.stackCell(state, 0), cell);
  stack.setValid(state, 0, true);
}

/** FLD, FILD, FBLD from memory, FLD ST(i). */
const load: Run = (state, env, u) => {
  if (u.w === FORMAT.NONE) {
    if (stack.isEmpty(state, register(u))) {
      if (stack.stackFault(state, false)) stack.push(state, INDEFINITE);
      return;
    }
    if (stack.isEmpty(state, 7)) {
      pushCell(state, fast.stackCell(state, register(u)));
      return;
    }
    const value = stack.read(state, register(u));
    stack.pushChecked(state, context(state), () => value);
    return;
  }
  let bits: bigint | null = null;
  if (isShort(u.w)) {
    if (!loadBits(state, env, u)) return;
    bits = rawBits(state);
    if (stack.isEmpty(state, 7) && expandBits(state, u.w)) {
      pushCell(state, X87.transfer);
      return;
    }
  } else {
    bits = readOperand(state, env, u, FORMAT_BYTES[u.w]!);
  }
  if (bits === null) return;
  const found = context(state);
  stack.pushChecked(state, found, () => toRegister(found, u.w, fromMemory(u.w, bits), bits));
};

/** FST, FIST, FISTTP, FBSTP to memory. Unmasked overflow and underflow store nothing (SDM vol. 1, 8.5.4). */
function storeToMemory(truncate: boolean): Run {
  return (state, env, u) => {
    const bytes = FORMAT_BYTES[u.w]!;
    const linear = writableAddress(state, env, u, bytes);
    if (linear < 0) return;
    if (u.w === FORMAT.FLOAT64 && !stack.isEmpty(state, 0) && fast.shrink(state, fast.stackCell(state, 0))) {
      env.store64(linear, dataAccess(state, true), X87.transfer);
      popTimes(state, pops(u));
      return;
    }
    let bits: bigint;
    if (stack.isEmpty(state, 0)) {
      if (!stack.stackFault(state, false)) return;
      bits = indefiniteBits(u.w);
    } else {
      const found = context(state);
      bits = toMemory(found, u.w, stack.read(state, 0), truncate);
      const stops = (found.flags & ~found.control & (EXCEPTION.OE | EXCEPTION.UE)) !== 0;
      if (!stack.report(state, found) || stops) return;
    }
    storeValue(state, env, linear, bytes, bits);
    popTimes(state, pops(u));
  };
}

/** FST ST(i), FSTP ST(i): a copy, whatever it holds. */
const storeToRegister: Run = (state, _env, u) => {
  if (stack.isEmpty(state, 0)) {
    if (!stack.stackFault(state, false)) return;
    stack.write(state, register(u), INDEFINITE);
  } else {
    stack.setC1(state, false);
    fast.copy(state, fast.stackCell(state, register(u)), fast.stackCell(state, 0));
    stack.setValid(state, register(u), true);
  }
  popTimes(state, pops(u));
};

const exchange: Run = (state, _env, u) => {
  const i = register(u);
  const emptyTop = stack.isEmpty(state, 0);
  const emptyOther = stack.isEmpty(state, i);
  if (!emptyTop && !emptyOther) {
    stack.setC1(state, false);
    const [a, b] = [fast.stackCell(state, 0), fast.stackCell(state, i)];
    fast.copy(state, X87.transfer, a);
    fast.copy(state, a, b);
    fast.copy(state, b, X87.transfer);
    return;
  }
  let top = stack.read(state, 0);
  let other = stack.read(state, i);
  if (!stack.stackFault(state, false)) return;
  if (emptyTop) top = INDEFINITE;
  if (emptyOther) other = INDEFINITE;
  stack.write(state, 0, other);
  stack.write(state, i, top);
};

/** FCMOVcc; an empty register is a fault whether or not the condition holds. */
function conditionalMove(holds: (flags: number) => boolean): Run {
  return (state, _env, u) => {
    if (eitherEmpty(state, u)) {
      if (stack.stackFault(state, false)) stack.write(state, 0, INDEFINITE);
      return;
    }
    if (holds(state.flags)) stack.write(state, 0, stack.read(state, register(u)));
  };
}

const fxam: Run = (state) => {
  const value = stack.read(state, 0);
  stack.setConditions(state, stack.isEmpty(state, 0) ? 5 : arithmetic.classify(unpack(value)));
  stack.setC1(state, value.signExponent >>> 15 === 1);
};

/**
 * FPREM, FPREM1: C2 while the reduction is partial and never otherwise, so that loops on it end; the quotient's low bits
 * in C0, C3, C1.
 */
function partialRemainder(nearest: boolean): Run {
  return (state) => {
    if (stack.isEmpty(state, 0) || stack.isEmpty(state, 1)) {
      if (stack.stackFault(state, false)) stack.write(state, 0, INDEFINITE);
      return;
    }
    stack.setConditions(state, stack.conditions(state) & ~2);
    const found = context(state);
    const result = arithmetic.remainder(found, stack.operand(state, 0), stack.operand(state, 1), nearest);
    if (!stack.report(state, found)) return;
    stack.write(state, 0, result.value);
    const q = result.quotient;
    if (q === "partial") stack.setConditions(state, 2);
    if (typeof q !== "number") return;
    stack.setConditions(state, ((q & 4) >>> 2) | ((q & 2) << 1));
    stack.setC1(state, (q & 1) !== 0);
  };
}

const fscale: Run = (state) => {
  if (stack.isEmpty(state, 0) || stack.isEmpty(state, 1)) {
    if (stack.stackFault(state, false)) stack.write(state, 0, INDEFINITE);
    return;
  }
  const found = context(state);
  const result = arithmetic.scale(found, stack.operand(state, 0), stack.operand(state, 1));
  if (stack.report(state, found)) stack.write(state, 0, result);
};

const fxtract: Run = (state) => {
  const empty = stack.isEmpty(state, 0);
  if (empty || !stack.isEmpty(state, 7)) {
    if (!stack.stackFault(state, !empty)) return;
    stack.write(state, 0, INDEFINITE);
    stack.push(state, INDEFINITE);
    return;
  }
  const found = context(state);
  const { exponent, significand } = arithmetic.extract(found, stack.operand(state, 0));
  if (!stack.report(state, found)) return;
  stack.write(state, 0, exponent);
  stack.push(state, significand);
};

/** FSIN, FCOS: an argument that is out of range sets C2 and stays. */
function trigonometric(f: (context: Context, a: Operand) => Float80): Run {
  const run = unary(f);
  return (state, env, u) => {
    if (!argumentInRange(state)) return;
    run(state, env, u);
  };
}

/** C2 says whether the argument in ST(0), if there is one, is out of range. */
function argumentInRange(state: CpuState): boolean {
  const out = !stack.isEmpty(state, 0) && transcendental.outOfRange(stack.operand(state, 0));
  stack.setConditions(state, (stack.conditions(state) & ~2) | (out ? 2 : 0));
  if (out) stack.setC1(state, false);
  return !out;
}

/** FSINCOS, FPTAN: two results, the second of which is pushed. */
function trigonometricPair(f: (context: Context, a: Operand) => transcendental.Pair): Run {
  return (state) => {
    const empty = stack.isEmpty(state, 0);
    if (empty || !stack.isEmpty(state, 7)) {
      stack.setConditions(state, stack.conditions(state) & ~2);
      if (!stack.stackFault(state, !empty)) return;
      stack.write(state, 0, INDEFINITE);
      stack.push(state, INDEFINITE);
      return;
    }
    if (!argumentInRange(state)) return;
    const found = context(state);
    const { value, pushed } = f(found, stack.operand(state, 0));
    if (!stack.report(state, found)) return;
    stack.write(state, 0, value);
    stack.push(state, pushed);
  };
}

/** FPATAN, FYL2X, FYL2XP1: ST(1) = f(ST(1), ST(0)), and a pop. */
function ofTwo(f: Binary): Run {
  return (state) => {
    let result = INDEFINITE;
    if (stack.isEmpty(state, 0) || stack.isEmpty(state, 1)) {
      if (!stack.stackFault(state, false)) return;
    } else {
      const found = context(state);
      result = f(found, stack.operand(state, 1), stack.operand(state, 0));
      if (!stack.report(state, found)) return;
    }
    stack.write(state, 1, result);
    stack.pop(state);
  };
}

/**
 * FLDPI and its kin: the constant to 66 bits, as the internal ROM has it, rounded by the rounding control without PE
 * (SDM vol. 1, 8.3.2). `tail` is the two bits below the significand.
 */
function constant(exponent: number, significand: bigint, tail: number): Run {
  return (state) => {
    const found = context(state);
    stack.pushChecked(state, found, () => {
      const rounding = found.rounding;
      const up = rounding === 0 ? tail > 2 : rounding === 2 && tail !== 0;
      return pack(0, exponent + BIAS, up ? significand + 1n : significand);
    });
  };
}

const fldz: Run = (state) => {
  stack.pushChecked(state, context(state), () => zero(0));
};

const rotate =
  (by: number): Run =>
  (state) => {
    stack.setC1(state, false);
    stack.rotate(state, by);
  };

const storeStatus: Run = (state, env, u) => {
  if (u.w === FORMAT.NONE) {
    state.i32[GPR.eax] = ((state.i32[GPR.eax] as number) & ~0xffff) | stack.status(state);
    return;
  }
  storeWord(state, env, u, stack.status(state));
};

function storeWord(state: CpuState, env: Environment, u: MicroOp, value: number): void {
  const linear = writableAddress(state, env, u, 2);
  if (linear >= 0) storeValue(state, env, linear, 2, BigInt(value));
}

const nothing: Run = () => undefined;
const subtract: Binary = (c, a, b) => arithmetic.add(c, a, b, 1);
const CONTROL = { isControl: true } as const;
const NO_WAIT = { isControl: true, noWait: true } as const;

const OPERATION_TABLE = {
  add: {
    run: binary(
      (c, a, b) => arithmetic.add(c, a, b, 0),
      (s, d, a, b) => fast.add(s, d, a, b, 0, 0),
    ),
  },
  multiply: { run: binary(arithmetic.multiply, fast.multiply) },
  subtract: { run: binary(subtract, (s, d, a, b) => fast.add(s, d, a, b, 0, fast.SIGN)) },
  subtractReversed: {
    run: binary(
      (c, a, b) => subtract(c, b, a),
      (s, d, a, b) => fast.add(s, d, a, b, fast.SIGN, 0),
    ),
  },
  divide: { run: binary(arithmetic.divide) },
  divideReversed: { run: binary((c, a, b) => arithmetic.divide(c, b, a)) },
  compare: { run: comparison(false) },
  compareQuietly: { run: comparison(true) },
  compareFlags: { run: flagComparison(false) },
  compareFlagsQuietly: { run: flagComparison(true) },
  ftst: { run: ftst },
  fxam: { run: fxam },
  load: { run: load },
  store: { run: storeToMemory(false) },
  storeTruncated: { run: storeToMemory(true) },
  storeToRegister: { run: storeToRegister },
  exchange: { run: exchange },
  fchs: { run: signed((old) => old ^ 1) },
  fabs: { run: signed(() => 0) },
  fsqrt: { run: unary(arithmetic.squareRoot) },
  frndint: { run: unary(arithmetic.roundInteger) },
  fscale: { run: fscale },
  fxtract: { run: fxtract },
  fprem: { run: partialRemainder(false) },
  fprem1: { run: partialRemainder(true) },
  fld1: { run: constant(0, arithmetic.ONE.significand, 0) },
  fldl2t: { run: constant(1, 0xd49a_784b_cd1b_8afen, 1) },
  fldl2e: { run: constant(0, 0xb8aa_3b29_5c17_f0bbn, 3) },
  fldpi: { run: constant(1, 0xc90f_daa2_2168_c234n, 3) },
  fldlg2: { run: constant(-2, 0x9a20_9a84_fbcf_f798n, 3) },
  fldln2: { run: constant(-1, 0xb172_17f7_d1cf_79abn, 3) },
  fldz: { run: fldz },
  moveBelow: { run: conditionalMove((flags) => (flags & FLAG.CF) !== 0) },
  moveEqual: { run: conditionalMove((flags) => (flags & FLAG.ZF) !== 0) },
  moveBelowOrEqual: { run: conditionalMove((flags) => (flags & (FLAG.CF | FLAG.ZF)) !== 0) },
  moveUnordered: { run: conditionalMove((flags) => (flags & FLAG.PF) !== 0) },
  moveNotBelow: { run: conditionalMove((flags) => (flags & FLAG.CF) === 0) },
  moveNotEqual: { run: conditionalMove((flags) => (flags & FLAG.ZF) === 0) },
  moveAbove: { run: conditionalMove((flags) => (flags & (FLAG.CF | FLAG.ZF)) === 0) },
  moveOrdered: { run: conditionalMove((flags) => (flags & FLAG.PF) === 0) },
  fsin: { run: trigonometric(transcendental.sine) },
  fcos: { run: trigonometric(transcendental.cosine) },
  fsincos: { run: trigonometricPair(transcendental.sineAndCosine) },
  fptan: { run: trigonometricPair(transcendental.tangent) },
  fpatan: { run: ofTwo(transcendental.arctangent) },
  f2xm1: { run: unary(transcendental.exponential) },
  fyl2x: { run: ofTwo(transcendental.yLog2X) },
  fyl2xp1: { run: ofTwo(transcendental.yLog2XPlusOne) },
  // Control instructions.
  fincstp: { run: rotate(1), ...CONTROL },
  fdecstp: { run: rotate(-1), ...CONTROL },
  /** FFREE; with a pop, FFREEP. */
  ffree: {
    ...CONTROL,
    run: (state, _env, u) => {
      stack.setValid(state, register(u), false);
      if (pops(u) !== 0) stack.rotate(state, 1);
    },
  },
  /** FNOP, and FWAIT, which differs in its #NM. */
  fnop: { run: nothing, ...CONTROL },
  fwait: { run: nothing, ...CONTROL },
  /** FNENI, FNDISI, FNSETPM: of the 8087 and 287, without effect since the 387. */
  ignored: { run: nothing, ...NO_WAIT },
  fninit: { run: (state) => stack.initialize(state), ...NO_WAIT },
  fnclex: {
    ...NO_WAIT,
    run: (state) => stack.setStatus(state, stack.status(state) & ~(0x3f | STATUS.SF | STATUS.ES | STATUS.B)),
  },
  fnstcw: { run: (state, env, u) => storeWord(state, env, u, stack.control(state)), ...NO_WAIT },
  fldcw: {
    ...CONTROL,
    run: (state, env, u) => {
      const bits = readOperand(state, env, u, 2);
      if (bits !== null) stack.setControl(state, Number(bits));
    },
  },
  fnstsw: { run: storeStatus, ...NO_WAIT },
  fnstenv: { run: fnstenv, ...NO_WAIT },
  fldenv: { run: fldenv, ...CONTROL },
  fnsave: { run: fnsave, ...NO_WAIT },
  frstor: { run: frstor, ...CONTROL },
} as const satisfies Record<string, Operation>;

export type X87Operation = keyof typeof OPERATION_TABLE;
const OPERATIONS: readonly Operation[] = Object.values(OPERATION_TABLE);
const NAMES = Object.keys(OPERATION_TABLE) as X87Operation[];
/** Number of an operation, as a micro-op carries it. */
export const x87Operation = (name: X87Operation): number => NAMES.indexOf(name);
const FWAIT = x87Operation("fwait");

/** Runs one x87 instruction: #NM, then a pending #MF, then memory faults, then its own exceptions. */
export function x87(state: CpuState, env: Environment, u: MicroOp): void {
  const operation = OPERATIONS[u.b] as Operation;
  const needed =
    u.b === FWAIT ? (state.cr0 & (CR0.MP | CR0.TS)) === (CR0.MP | CR0.TS) : (state.cr0 & (CR0.EM | CR0.TS)) !== 0;
  if (needed) {
    raise(state, VECTOR.NM);
    return;
  }
  if (operation.noWait !== true && errorPending(state, env)) return;
  const before = stack.status(state);
  operation.run(state, env, u);
  errorEnded(state, env, before);
  if (operation.isControl !== true && state.signal.outcome === OUTCOME.NONE) recordPointers(state, u);
}

/** FIP, FCS; FDP and FDS where there is a memory operand; FOP as IA32_MISC_ENABLE says (SDM vol. 1, 8.1.8, 8.1.9). */
function recordPointers(state: CpuState, u: MicroOp): void {
  state.set(X87.instructionOffset, state.eip);
  state.set(X87.instructionSelector, state.selector(SEG.cs));
  if (u.w !== FORMAT.NONE) {
    state.set(X87.dataOffset, state.i32[u.a] as number);
    state.set(X87.dataSelector, state.selector(u.x));
  }
  const always = (state.get(CELL.miscEnable) & FOPCODE_COMPATIBILITY) !== 0;
  if (always || (stack.status(state) & STATUS.ES) !== 0) state.set(X87.opcode, u.d);
}

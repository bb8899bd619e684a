/**
 * Lazy flags in compiled code. Instead of EFLAGS an arithmetic instruction leaves its kind, operands and result in locals;
 * the status flags are computed from them where something asks (flags.ts has the formulas). Operands narrower than 32 bits
 * are at the top of the word, as in the interpreter.
 *
 * A kind is an operation and the shift (0, 16 or 24) in one number: `operation << 5 | shift`.
 */
import { CONDITIONS } from "../micro-ops.ts";
import { FLAG, STATUS_FLAGS } from "../state.ts";
import { FunctionBody, WASM } from "./wasm.ts";

/** What made the flags. */
export const MADE_BY = {
  /** They are in EFLAGS. */
  EFLAGS: 0,
  /** result = a + b. */
  ADD: 1,
  /** result = a - b. */
  SUB: 2,
  LOGIC: 3,
  /** As SUB, with a borrow: not a comparison of a and b. */
  SBB: 4,
  /** As ADD, with a carry. */
  ADC: 5,
  /** As ADD and SUB with b = 1, but CF is kept, in `carry`. */
  INC: 6,
  DEC: 7,
  /** CF is `carry`, OF is the lowest bit of b. */
  SHIFT: 8,
} as const;

export const flagsKind = (operation: number, shift: number): number => (operation << 5) | shift;
/** The kind differs from one way here to another. */
export const UNKNOWN = -1;
export const EFLAGS_KIND = flagsKind(MADE_BY.EFLAGS, 0);

/** Locals that hold the lazy flags. `eflags` has all other flags at any time. */
export interface FlagLocals {
  readonly kind: number;
  readonly a: number;
  readonly b: number;
  readonly result: number;
  readonly carry: number;
  readonly eflags: number;
}

/** Type of the function that `statusFunction` makes: (kind, a, b, result, carry, eflags) -> eflags. */
export const STATUS_PARAMETERS = 6;

/** EFLAGS from lazy flags of any kind. */
export function statusFunction(): FunctionBody {
  const f = new FunctionBody(STATUS_PARAMETERS);
  const locals: FlagLocals = { kind: 0, a: 1, b: 2, result: 3, carry: 4, eflags: 5 };
  const shift = f.addLocal();
  const operation = f.addLocal();
  f.get(locals.kind);
  f.i32(31);
  f.op(WASM.i32And);
  f.set(shift);
  f.get(locals.kind);
  f.i32(5);
  f.op(WASM.i32ShrU);
  f.tee(operation);
  f.op(WASM.i32Eqz);
  f.open(WASM.if);
  f.get(locals.eflags);
  f.op(WASM.return);
  f.end();

  // Everything but the status flags, SF, ZF, PF.
  f.get(locals.eflags);
  f.i32(~STATUS_FLAGS);
  f.op(WASM.i32And);
  f.get(locals.result);
  f.i32(24);
  f.op(WASM.i32ShrU);
  f.i32(FLAG.SF);
  f.op(WASM.i32And);
  f.op(WASM.i32Or);
  f.get(locals.result);
  f.op(WASM.i32Eqz);
  f.i32(6);
  f.op(WASM.i32Shl);
  f.op(WASM.i32Or);
  f.get(locals.result);
  f.get(shift);
  f.op(WASM.i32ShrU);
  f.i32(0xff);
  f.op(WASM.i32And);
  f.op(WASM.i32Popcnt);
  f.i32(1);
  f.op(WASM.i32And);
  f.i32(1);
  f.op(WASM.i32Xor);
  f.i32(2);
  f.op(WASM.i32Shl);
  f.op(WASM.i32Or);
  f.set(locals.eflags);

  const isOneOf = (...operations: number[]): void => {
    f.i32(operations.reduce((mask, each) => mask | (1 << each), 0));
    f.get(operation);
    f.op(WASM.i32ShrU);
    f.i32(1);
    f.op(WASM.i32And);
  };
  const add = (emit: () => void): void => {
    f.get(locals.eflags);
    emit();
    f.op(WASM.i32Or);
    f.set(locals.eflags);
  };
  isOneOf(MADE_BY.ADD, MADE_BY.ADC, MADE_BY.INC);
  f.open(WASM.if);
  add(() => carryOfSum(f, locals));
  add(() => overflowFlag(f, () => overflowOfSum(f, locals)));
  add(() => auxiliary(f, locals, shift));
  f.end();
  isOneOf(MADE_BY.SUB, MADE_BY.SBB, MADE_BY.DEC);
  f.open(WASM.if);
  add(() => borrow(f, locals));
  add(() => overflowFlag(f, () => overflowOfDifference(f, locals)));
  add(() => auxiliary(f, locals, shift));
  f.end();
  f.get(operation);
  f.i32(MADE_BY.INC);
  f.op(WASM.i32GeU);
  f.open(WASM.if);
  f.get(locals.eflags);
  f.i32(~FLAG.CF);
  f.op(WASM.i32And);
  f.get(locals.carry);
  f.op(WASM.i32Or);
  f.set(locals.eflags);
  f.end();
  f.get(operation);
  f.i32(MADE_BY.SHIFT);
  f.op(WASM.i32Eq);
  f.open(WASM.if);
  add(() => {
    f.get(locals.b);
    f.i32(1);
    f.op(WASM.i32And);
    f.i32(11);
    f.op(WASM.i32Shl);
  });
  f.end();
  f.get(locals.eflags);
  return f;
}

/** CF of a sum with a carry: the majority of a, b and the inverted result. */
function carryOfSum(f: FunctionBody, l: FlagLocals): void {
  f.get(l.a);
  f.get(l.b);
  f.op(WASM.i32And);
  f.get(l.a);
  f.get(l.b);
  f.op(WASM.i32Or);
  f.get(l.result);
  f.i32(-1);
  f.op(WASM.i32Xor);
  f.op(WASM.i32And);
  f.op(WASM.i32Or);
  f.i32(31);
  f.op(WASM.i32ShrU);
}

/** CF of a difference with a borrow: the majority of the inverted a, b and the result. */
function borrow(f: FunctionBody, l: FlagLocals): void {
  const notA = (): void => {
    f.get(l.a);
    f.i32(-1);
    f.op(WASM.i32Xor);
  };
  notA();
  f.get(l.b);
  f.op(WASM.i32And);
  notA();
  f.get(l.b);
  f.op(WASM.i32Or);
  f.get(l.result);
  f.op(WASM.i32And);
  f.op(WASM.i32Or);
  f.i32(31);
  f.op(WASM.i32ShrU);
}

/** Sign bit: whether a sum overflows. */
function overflowOfSum(f: FunctionBody, l: FlagLocals): void {
  f.get(l.a);
  f.get(l.result);
  f.op(WASM.i32Xor);
  f.get(l.b);
  f.get(l.result);
  f.op(WASM.i32Xor);
  f.op(WASM.i32And);
}

function overflowOfDifference(f: FunctionBody, l: FlagLocals): void {
  f.get(l.a);
  f.get(l.b);
  f.op(WASM.i32Xor);
  f.get(l.a);
  f.get(l.result);
  f.op(WASM.i32Xor);
  f.op(WASM.i32And);
}

function overflowFlag(f: FunctionBody, emit: () => void): void {
  emit();
  f.i32(20);
  f.op(WASM.i32ShrU);
  f.i32(FLAG.OF);
  f.op(WASM.i32And);
}

function auxiliary(f: FunctionBody, l: FlagLocals, shift: number): void {
  f.get(l.a);
  f.get(l.b);
  f.op(WASM.i32Xor);
  f.get(l.result);
  f.op(WASM.i32Xor);
  f.get(shift);
  f.op(WASM.i32ShrU);
  f.i32(FLAG.AF);
  f.op(WASM.i32And);
}

/**
 * Leaves on the stack whether a condition (0 to 15) holds, for flags of a known kind, without computing the others. False
 * when there is no short way: compute EFLAGS then, and ask `conditionOfEflags`.
 */
export function conditionOf(f: FunctionBody, l: FlagLocals, kind: number, condition: number): boolean {
  const operation = kind >> 5;
  const positive = CONDITIONS[condition & ~1] as string;
  if (operation === MADE_BY.EFLAGS) conditionOfEflags(f, l.eflags, condition & ~1);
  else if (!positiveCondition(f, l, operation, positive)) return false;
  if ((condition & 1) !== 0) f.op(WASM.i32Eqz);
  return true;
}

/** Whether `conditionOf` has a short way. */
export function isShortCondition(kind: number, condition: number): boolean {
  return conditionOf(new FunctionBody(0), { kind: 0, a: 0, b: 0, result: 0, carry: 0, eflags: 0 }, kind, condition);
}

/** The condition without its negation, as 0 or 1. */
function positiveCondition(f: FunctionBody, l: FlagLocals, operation: number, name: string): boolean {
  const zero = (): void => {
    f.get(l.result);
    f.op(WASM.i32Eqz);
  };
  const negative = (): void => {
    f.get(l.result);
    f.i32(0);
    f.op(WASM.i32LtS);
  };
  const compare = (op: number): void => {
    f.get(l.a);
    f.get(l.b);
    f.op(op);
  };
  if (name === "e") {
    zero();
    return true;
  }
  if (name === "s") {
    negative();
    return true;
  }
  switch (operation) {
    case MADE_BY.SUB:
      return comparison(compare, name);
    case MADE_BY.LOGIC:
      if (name === "b" || name === "o") f.i32(0);
      else if (name === "be") zero();
      else if (name === "l") negative();
      else if (name === "le") {
        f.get(l.result);
        f.i32(0);
        f.op(WASM.i32LeS);
      } else return false;
      return true;
    case MADE_BY.ADD:
    case MADE_BY.ADC:
      if (name === "b") carryOf(f, l, operation);
      else if (name === "l" || name === "le") signedOf(f, l, name, () => overflowOfSum(f, l));
      else return false;
      return true;
    case MADE_BY.SBB:
      if (name === "b" || name === "be") {
        borrow(f, l);
        if (name === "be") {
          zero();
          f.op(WASM.i32Or);
        }
      } else if (name === "l" || name === "le") signedOf(f, l, name, () => overflowOfDifference(f, l));
      else return false;
      return true;
    case MADE_BY.INC:
    case MADE_BY.DEC: {
      const overflow = operation === MADE_BY.INC ? overflowOfSum : overflowOfDifference;
      if (name === "b") f.get(l.carry);
      else if (name === "l" || name === "le") signedOf(f, l, name, () => overflow(f, l));
      else return false;
      return true;
    }
    case MADE_BY.SHIFT:
      if (name === "b") f.get(l.carry);
      else if (name === "be") {
        f.get(l.carry);
        zero();
        f.op(WASM.i32Or);
      } else return false;
      return true;
    default:
      return false;
  }
}

/** Conditions after a comparison are comparisons of its operands. */
function comparison(compare: (op: number) => void, name: string): boolean {
  const op = ({ b: WASM.i32LtU, be: WASM.i32LeU, l: WASM.i32LtS, le: WASM.i32LeS } as Record<string, number>)[name];
  if (op === undefined) return false;
  compare(op);
  return true;
}

/** SF != OF, and for `le` also ZF. */
function signedOf(f: FunctionBody, l: FlagLocals, name: string, overflow: () => void): void {
  f.get(l.result);
  overflow();
  f.op(WASM.i32Xor);
  f.i32(0);
  f.op(WASM.i32LtS);
  if (name !== "le") return;
  f.get(l.result);
  f.op(WASM.i32Eqz);
  f.op(WASM.i32Or);
}

/** Whether a condition holds, as 0 or 1, for flags that are in EFLAGS. */
export function conditionOfEflags(f: FunctionBody, eflags: number, condition: number): void {
  const bit = (mask: number): void => {
    f.get(eflags);
    f.i32(mask);
    f.op(WASM.i32And);
    f.i32(0);
    f.op(WASM.i32Ne);
  };
  const signDiffers = (): void => {
    f.get(eflags);
    f.i32(4);
    f.op(WASM.i32ShrU);
    f.get(eflags);
    f.op(WASM.i32Xor);
    f.i32(FLAG.SF);
    f.op(WASM.i32And);
    f.i32(0);
    f.op(WASM.i32Ne);
  };
  switch (condition >> 1) {
    case 0:
      bit(FLAG.OF);
      break;
    case 1:
      bit(FLAG.CF);
      break;
    case 2:
      bit(FLAG.ZF);
      break;
    case 3:
      bit(FLAG.CF | FLAG.ZF);
      break;
    case 4:
      bit(FLAG.SF);
      break;
    case 5:
      bit(FLAG.PF);
      break;
    case 6:
      signDiffers();
      break;
    default:
      bit(FLAG.ZF);
      signDiffers();
      f.op(WASM.i32Or);
  }
  if ((condition & 1) !== 0) f.op(WASM.i32Eqz);
}

/** CF as 0 or 1 for flags that a known operation has made. */
export function carryOf(f: FunctionBody, l: FlagLocals, operation: number): void {
  switch (operation) {
    case MADE_BY.EFLAGS:
      f.get(l.eflags);
      f.i32(FLAG.CF);
      f.op(WASM.i32And);
      break;
    case MADE_BY.ADD:
      f.get(l.result);
      f.get(l.a);
      f.op(WASM.i32LtU);
      break;
    case MADE_BY.ADC:
      carryOfSum(f, l);
      break;
    case MADE_BY.SUB:
      f.get(l.a);
      f.get(l.b);
      f.op(WASM.i32LtU);
      break;
    case MADE_BY.SBB:
      borrow(f, l);
      break;
    case MADE_BY.LOGIC:
      f.i32(0);
      break;
    default:
      f.get(l.carry);
  }
}

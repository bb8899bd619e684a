/**
 * WebAssembly functions written as expressions and statements: what is longer than a few instructions and is made once,
 * not for each region (hardware-code.ts). A value is a function that puts itself on the stack; a number stands for a constant.
 */
import { FunctionBody, TYPE, WASM } from "./wasm.ts";

/** Puts an i32 (or an f64, where a function says so) on the stack. */
export type Value = (() => void) | number;
/** A local variable: a value that can be set. */
export interface Variable {
  (): void;
  readonly index: number;
}

/** A function under construction. `parameters` are i32. */
export class FunctionWriter {
  readonly body: FunctionBody;
  readonly #parameters: readonly Variable[];
  /** Constructs that are open around what is written now. */
  #depth = 0;

  constructor(parameters: number) {
    this.body = new FunctionBody(parameters);
    this.#parameters = Array.from({ length: parameters }, (_, index) => this.#variable(index));
  }

  #variable(index: number): Variable {
    return Object.assign(() => this.body.get(index), { index });
  }

  parameter(index: number): Variable {
    return this.#parameters[index] as Variable;
  }

  /** A new variable with a value. */
  variable(value: Value, type: number = TYPE.i32): Variable {
    const made = this.#variable(this.body.addLocal(type));
    this.set(made, value);
    return made;
  }

  set({ index }: Variable, value: Value): void {
    this.put(value);
    this.body.set(index);
  }

  put(value: Value): void {
    if (typeof value === "number") this.body.i32(value);
    else value();
  }

  #binary(opcode: number, a: Value, b: Value): Value {
    return () => {
      this.put(a);
      this.put(b);
      this.body.op(opcode);
    };
  }

  add = (a: Value, b: Value): Value => this.#binary(WASM.i32Add, a, b);
  sub = (a: Value, b: Value): Value => this.#binary(WASM.i32Sub, a, b);
  multiply = (a: Value, b: Value): Value => this.#binary(WASM.i32Mul, a, b);
  xor = (a: Value, b: Value): Value => this.#binary(WASM.i32Xor, a, b);
  and = (a: Value, b: Value): Value => this.#binary(WASM.i32And, a, b);
  or = (a: Value, b: Value): Value => this.#binary(WASM.i32Or, a, b);
  shl = (a: Value, b: Value): Value => this.#binary(WASM.i32Shl, a, b);
  shr = (a: Value, b: Value): Value => this.#binary(WASM.i32ShrU, a, b);
  remainder = (a: Value, b: Value): Value => this.#binary(WASM.i32RemU, a, b);
  equal = (a: Value, b: Value): Value => this.#binary(WASM.i32Eq, a, b);
  unequal = (a: Value, b: Value): Value => this.#binary(WASM.i32Ne, a, b);
  below = (a: Value, b: Value): Value => this.#binary(WASM.i32LtU, a, b);
  above = (a: Value, b: Value): Value => this.#binary(WASM.i32GtU, a, b);
  less = (a: Value, b: Value): Value => this.#binary(WASM.i32LtS, a, b);
  atLeast = (a: Value, b: Value): Value => this.#binary(WASM.i32GeS, a, b);
  addF64 = (a: Value, b: Value): Value => this.#binary(WASM.f64Add, a, b);
  atLeastF64 = (a: Value, b: Value): Value => this.#binary(WASM.f64Ge, a, b);
  equalF64 = (a: Value, b: Value): Value => this.#binary(WASM.f64Eq, a, b);

  not(value: Value): Value {
    return () => {
      this.put(value);
      this.body.op(WASM.i32Eqz);
    };
  }

  /** An f64 constant. */
  float(value: number): Value {
    return () => this.body.f64(value);
  }

  /** An i32 as an unsigned or signed f64. */
  toFloat(value: Value, signed = false): Value {
    return () => {
      this.put(value);
      this.body.op(signed ? WASM.f64ConvertI32S : WASM.f64ConvertI32U);
    };
  }

  /** An f64 as a signed i32. */
  truncate(value: Value): Value {
    return () => {
      this.put(value);
      this.body.op(WASM.i32TruncF64S);
    };
  }

  /** `condition ? a : b`, both evaluated. */
  choose(condition: Value, a: Value, b: Value): Value {
    return () => {
      this.put(a);
      this.put(b);
      this.put(condition);
      this.body.op(WASM.select);
    };
  }

  #load(opcode: number, align: number, at: Value, offset: number): Value {
    return () => {
      this.put(at);
      this.body.memory(opcode, offset, align);
    };
  }

  /** What stands in the shared memory `offset` bytes from `at`. */
  load = (at: Value, offset = 0): Value => this.#load(WASM.i32Load, 2, at, offset);
  load8 = (at: Value, offset = 0): Value => this.#load(WASM.i32Load8U, 0, at, offset);
  load16 = (at: Value, offset = 0): Value => this.#load(WASM.i32Load16U, 1, at, offset);
  load16Signed = (at: Value, offset = 0): Value => this.#load(WASM.i32Load16S, 1, at, offset);
  loadF64 = (at: Value, offset = 0): Value => this.#load(WASM.f64Load, 3, at, offset);

  #store(opcode: number, align: number, at: Value, offset: number, value: Value): void {
    this.put(at);
    this.put(value);
    this.body.memory(opcode, offset, align);
  }

  store(at: Value, value: Value, offset = 0): void {
    this.#store(WASM.i32Store, 2, at, offset, value);
  }

  store8(at: Value, value: Value, offset = 0): void {
    this.#store(WASM.i32Store8, 0, at, offset, value);
  }

  store16(at: Value, value: Value, offset = 0): void {
    this.#store(WASM.i32Store16, 1, at, offset, value);
  }

  storeF64(at: Value, value: Value, offset = 0): void {
    this.#store(WASM.f64Store, 3, at, offset, value);
  }

  /** Adds an f64 to a cell of the shared memory. */
  increase(at: Value, amount: Value, offset = 0): void {
    this.storeF64(at, this.addF64(this.loadF64(at, offset), amount), offset);
  }

  when(condition: Value, then: () => void, otherwise?: () => void): void {
    this.put(condition);
    this.body.open(WASM.if);
    this.#depth++;
    then();
    if (otherwise !== undefined) {
      this.body.op(WASM.else);
      otherwise();
    }
    this.#depth--;
    this.body.end();
  }

  /** Runs `body` as long as the condition holds. */
  repeat(condition: Value, body: () => void): void {
    this.body.open(WASM.loop);
    this.#depth++;
    const depth = this.#depth;
    this.when(condition, () => {
      body();
      this.body.br(this.#depth - depth);
    });
    this.#depth--;
    this.body.end();
  }

  /** `body`, which may go to the end of it by calling what it is given with a condition. */
  block(body: (leaveIf: (condition: Value) => void) => void): void {
    this.body.open(WASM.block);
    this.#depth++;
    const depth = this.#depth;
    body((condition) => {
      this.put(condition);
      this.body.brIf(this.#depth - depth);
    });
    this.#depth--;
    this.body.end();
  }

  return(value: Value): void {
    this.put(value);
    this.body.op(WASM.return);
  }

  call(index: number, ...values: Value[]): Value {
    return () => {
      for (const value of values) this.put(value);
      this.body.call(index);
    };
  }

  /** Calls a function whose result is of no interest. */
  do(value: Value): void {
    this.put(value);
    this.body.op(WASM.drop);
  }
}

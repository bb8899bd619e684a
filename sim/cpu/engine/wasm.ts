/**
 * A writer of WebAssembly modules (WebAssembly Core Specification 2.0, chapter 5, with tail calls): just the instructions
 * and sections that the compiler uses, as bytes. Nothing here knows of x86.
 */

/** Opcodes, by their names in the specification. */
export const WASM = {
  unreachable: 0x00,
  block: 0x02,
  loop: 0x03,
  if: 0x04,
  else: 0x05,
  end: 0x0b,
  br: 0x0c,
  brIf: 0x0d,
  return: 0x0f,
  call: 0x10,
  returnCall: 0x12,
  returnCallIndirect: 0x13,
  drop: 0x1a,
  select: 0x1b,
  localGet: 0x20,
  localSet: 0x21,
  localTee: 0x22,
  i32Load: 0x28,
  i64Load: 0x29,
  f64Load: 0x2b,
  i32Load8U: 0x2d,
  i32Load16S: 0x2e,
  i32Load16U: 0x2f,
  i32Store: 0x36,
  i64Store: 0x37,
  f64Store: 0x39,
  i32Store8: 0x3a,
  i32Store16: 0x3b,
  i32Const: 0x41,
  i64Const: 0x42,
  f64Const: 0x44,
  i32Eqz: 0x45,
  i32Eq: 0x46,
  i32Ne: 0x47,
  i32LtS: 0x48,
  i32LtU: 0x49,
  i32GtS: 0x4a,
  i32GtU: 0x4b,
  i32LeS: 0x4c,
  i32LeU: 0x4d,
  i32GeS: 0x4e,
  i32GeU: 0x4f,
  i64Eqz: 0x50,
  i64Ne: 0x52,
  i64GtU: 0x56,
  f64Eq: 0x61,
  f64Ne: 0x62,
  f64Lt: 0x63,
  f64Ge: 0x66,
  i32Clz: 0x67,
  i32Ctz: 0x68,
  i32Popcnt: 0x69,
  i32Add: 0x6a,
  i32Sub: 0x6b,
  i32Mul: 0x6c,
  i32DivS: 0x6d,
  i32DivU: 0x6e,
  i32RemS: 0x6f,
  i32RemU: 0x70,
  i32And: 0x71,
  i32Or: 0x72,
  i32Xor: 0x73,
  i32Shl: 0x74,
  i32ShrS: 0x75,
  i32ShrU: 0x76,
  i32Rotl: 0x77,
  i32Rotr: 0x78,
  i64Add: 0x7c,
  i64Sub: 0x7d,
  i64Mul: 0x7e,
  i64DivS: 0x7f,
  i64DivU: 0x80,
  i64RemS: 0x81,
  i64RemU: 0x82,
  i64Or: 0x84,
  i64Shl: 0x86,
  i64ShrS: 0x87,
  i64ShrU: 0x88,
  f64Add: 0xa0,
  f64Sub: 0xa1,
  f64Min: 0xa4,
  f64Max: 0xa5,
  i32WrapI64: 0xa7,
  i32TruncF64S: 0xaa,
  i64ExtendI32S: 0xac,
  i64ExtendI32U: 0xad,
  i64TruncF64S: 0xb0,
  f64ConvertI32S: 0xb7,
  f64ConvertI32U: 0xb8,
  i32Extend8S: 0xc0,
  i32Extend16S: 0xc1,
} as const;

export const TYPE = { i32: 0x7f, i64: 0x7e, f64: 0x7c, empty: 0x40 } as const;
const FUNCREF = 0x70;

/** A growing string of bytes with the encodings of the specification's chapter 5.2. */
export class Bytes {
  #data = new Uint8Array(1024);
  length = 0;

  byte(value: number): void {
    if (this.length === this.#data.length) this.#grow(this.length + 1);
    this.#data[this.length++] = value;
  }

  bytes(values: Uint8Array): void {
    if (this.length + values.length > this.#data.length) this.#grow(this.length + values.length);
    this.#data.set(values, this.length);
    this.length += values.length;
  }

  /** LEB128, unsigned. */
  unsigned(value: number): void {
    let rest = value >>> 0;
    while (rest >= 0x80) {
      this.byte((rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    this.byte(rest);
  }

  /** LEB128, signed 32 bits. */
  signed(value: number): void {
    let rest = value | 0;
    for (;;) {
      const low = rest & 0x7f;
      rest >>= 7;
      if ((rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0)) {
        this.byte(low);
        return;
      }
      this.byte(low | 0x80);
    }
  }

  float64(value: number): void {
    const view = new DataView(new ArrayBuffer(8));
    view.setFloat64(0, value, true);
    this.bytes(new Uint8Array(view.buffer));
  }

  name(text: string): void {
    this.unsigned(text.length);
    for (let i = 0; i < text.length; i++) this.byte(text.charCodeAt(i));
  }

  done(): Uint8Array {
    return this.#data.subarray(0, this.length);
  }

  #grow(needed: number): void {
    const larger = new Uint8Array(Math.max(needed, this.#data.length * 2));
    larger.set(this.#data);
    this.#data = larger;
  }
}

/** The body of a function under construction. Locals are i32 unless `addLocal` says otherwise. */
export class FunctionBody {
  readonly code = new Bytes();
  readonly #parameters: number;
  readonly #locals: number[] = [];
  /** Offsets in `code` of `if`s that are rarely taken. */
  readonly #rare: number[] = [];

  constructor(parameters: number) {
    this.#parameters = parameters;
  }

  /** The `if` that comes next is rarely taken. */
  rare(): void {
    this.#rare.push(this.code.length);
  }

  /** A new local; its index. */
  addLocal(type: number = TYPE.i32): number {
    this.#locals.push(type);
    return this.#parameters + this.#locals.length - 1;
  }

  op(opcode: number): void {
    this.code.byte(opcode);
  }

  get(local: number): void {
    this.code.byte(WASM.localGet);
    this.code.unsigned(local);
  }

  set(local: number): void {
    this.code.byte(WASM.localSet);
    this.code.unsigned(local);
  }

  tee(local: number): void {
    this.code.byte(WASM.localTee);
    this.code.unsigned(local);
  }

  i32(value: number): void {
    this.code.byte(WASM.i32Const);
    this.code.signed(value);
  }

  i64(value: number): void {
    this.code.byte(WASM.i64Const);
    this.code.signed(value);
  }

  f64(value: number): void {
    this.code.byte(WASM.f64Const);
    this.code.float64(value);
  }

  /** A load or store at a constant offset from the address on the stack; `align` is log2 of the alignment promised. */
  memory(opcode: number, offset: number, align = 0): void {
    this.code.byte(opcode);
    this.code.unsigned(align);
    this.code.unsigned(offset);
  }

  /** Opens `block`, `loop` or `if` without a result. */
  open(opcode: number): void {
    this.code.byte(opcode);
    this.code.byte(TYPE.empty);
  }

  /** Opens `if` with a result of one type. */
  openIf(type: number): void {
    this.code.byte(WASM.if);
    this.code.byte(type);
  }

  end(): void {
    this.code.byte(WASM.end);
  }

  br(depth: number): void {
    this.code.byte(WASM.br);
    this.code.unsigned(depth);
  }

  brIf(depth: number): void {
    this.code.byte(WASM.brIf);
    this.code.unsigned(depth);
  }

  call(index: number): void {
    this.code.byte(WASM.call);
    this.code.unsigned(index);
  }

  returnCall(index: number): void {
    this.code.byte(WASM.returnCall);
    this.code.unsigned(index);
  }

  returnCallIndirect(type: number): void {
    this.code.byte(WASM.returnCallIndirect);
    this.code.unsigned(type);
    this.code.unsigned(0);
  }

  /** The function's entry in the code section: size, locals, code, end. */
  encode(): Uint8Array {
    const body = this.#declarations();
    body.bytes(this.code.done());
    body.byte(WASM.end);
    const entry = new Bytes();
    entry.unsigned(body.length);
    entry.bytes(body.done());
    return entry.done();
  }

  /** Offsets of the `if`s that are rarely taken, from the function's declarations of locals. */
  rareBranches(): readonly number[] {
    const before = this.#declarations().length;
    return this.#rare.map((offset) => before + offset);
  }

  #declarations(): Bytes {
    const declarations = new Bytes();
    const groups: [count: number, type: number][] = [];
    for (const type of this.#locals) {
      const last = groups.at(-1);
      if (last !== undefined && last[1] === type) last[0]++;
      else groups.push([1, type]);
    }
    declarations.unsigned(groups.length);
    for (const [count, type] of groups) {
      declarations.unsigned(count);
      declarations.byte(type);
    }
    return declarations;
  }
}

/** A function type: parameters and results. */
export interface FunctionType {
  readonly parameters: readonly number[];
  readonly results: readonly number[];
}

/** A function of a module; one with a name is exported, one with a place is put into the table. */
export interface ModuleFunction {
  readonly type: number;
  /** Its entry in the code section (FunctionBody.encode). */
  readonly code: Uint8Array;
  readonly name?: string;
  readonly place?: number;
  /** Its branches that are rarely taken (FunctionBody.rareBranches). */
  readonly rare?: readonly number[];
}

/** A module that imports the memory `m.memory` and the table `m.table`, and functions of the module name `m`. */
export interface ModuleParts {
  readonly types: readonly FunctionType[];
  readonly imports: readonly { readonly name: string; readonly type: number }[];
  readonly memoryPages: number;
  readonly functions: readonly ModuleFunction[];
}

const SECTION = { custom: 0, type: 1, import: 2, function: 3, export: 7, element: 9, code: 10 } as const;

export function encodeModule(parts: ModuleParts): Uint8Array {
  const out = new Bytes();
  out.bytes(Uint8Array.of(0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00));
  section(out, SECTION.type, parts.types, (s, type) => {
    s.byte(0x60);
    for (const list of [type.parameters, type.results]) {
      s.unsigned(list.length);
      for (const each of list) s.byte(each);
    }
  });
  const imports = [
    (s: Bytes): void => {
      s.name("m");
      s.name("memory");
      s.byte(0x02);
      s.byte(0x01);
      s.unsigned(parts.memoryPages);
      s.unsigned(parts.memoryPages);
    },
    (s: Bytes): void => {
      s.name("m");
      s.name("table");
      s.byte(0x01);
      s.byte(FUNCREF);
      s.byte(0x00);
      s.unsigned(1);
    },
    ...parts.imports.map(({ name, type }) => (s: Bytes): void => {
      s.name("m");
      s.name(name);
      s.byte(0x00);
      s.unsigned(type);
    }),
  ];
  section(out, SECTION.import, imports, (s, write) => write(s));
  section(out, SECTION.function, parts.functions, (s, { type }) => s.unsigned(type));
  const exported = parts.functions.map(({ name }, index) => ({ name, index })).filter(({ name }) => name !== undefined);
  section(out, SECTION.export, exported, (s, { name, index }) => {
    s.name(name as string);
    s.byte(0x00);
    s.unsigned(parts.imports.length + index);
  });
  const placed = parts.functions
    .map(({ place }, index) => ({ place, index }))
    .filter(({ place }) => place !== undefined);
  section(out, SECTION.element, placed, (s, { place, index }) => {
    s.unsigned(0);
    s.byte(WASM.i32Const);
    s.signed(place as number);
    s.byte(WASM.end);
    s.unsigned(1);
    s.unsigned(parts.imports.length + index);
  });
  branchHints(out, parts);
  section(out, SECTION.code, parts.functions, (s, { code }) => s.bytes(code));
  return out.done();
}

/** Which branches are rarely taken: a section for compilers that look at it ("Branch Hinting" of the WebAssembly proposals). */
function branchHints(out: Bytes, { imports, functions }: ModuleParts): void {
  const content = new Bytes();
  content.name("metadata.code.branch_hint");
  const hinted = [...functions.entries()].filter(([, { rare }]) => rare !== undefined && rare.length > 0);
  content.unsigned(hinted.length);
  for (const [index, { rare = [] }] of hinted) {
    content.unsigned(imports.length + index);
    content.unsigned(rare.length);
    for (const offset of rare) {
      content.unsigned(offset);
      content.unsigned(1);
      content.byte(0);
    }
  }
  out.byte(SECTION.custom);
  out.unsigned(content.length);
  out.bytes(content.done());
}

function section<T>(out: Bytes, id: number, items: readonly T[], write: (s: Bytes, item: T) => void): void {
  const content = new Bytes();
  content.unsigned(items.length);
  for (const item of items) write(content, item);
  out.byte(id);
  out.unsigned(content.length);
  out.bytes(content.done());
}

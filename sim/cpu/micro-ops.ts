/**
 * Micro-ops: the small typed operations into which `lift` turns instructions and which executors run. They name
 * state cells (state.ts) directly. Width, access kind, segment and branch kind are fields, not separate operations.
 *
 * Order within an instruction: BEGIN (its cost), addresses, checks and probes, loads, compute, stores, registers,
 * flags, END (EIP). After the first store or commit nothing may fault; a LOAD with write intent is the probe of the
 * store that follows it. Exceptions to the rule (REP strings, ENTER, PUSHA) are whole helpers that keep it inside.
 */

/** Operations. Comments give fields: d, a, b, c are cells; w is the width in bits unless said otherwise. */
export const OP = {
  /** Starts an instruction: charge `imm` ticks; `x` is its length in bytes. */
  BEGIN: 0,
  /** Ends an instruction that falls through: RIP += imm, in 32 bits whatever the code segment's size. */
  END: 1,
  /** Ends an instruction that has set RIP itself. */
  END_BRANCH: 2,
  /** d = imm (zero upper half). */
  CONST: 3,
  /** d = a, 32 bits, upper half zeroed. */
  MOV: 4,
  /** d = bits 15:8 of a. */
  GET8H: 5,
  /** Low byte, second byte, low word of d = a. */
  PUT8: 6,
  PUT8H: 7,
  PUT16: 8,
  /** d = a zero- or sign-extended from w. */
  ZERO_EXTEND: 9,
  SIGN_EXTEND: 10,
  /** d = (a + (b << x) + imm) in w bits (16 or 32). */
  ADDRESS: 11,
  /** d = memory[segment x : a], w bytes (1, 2, 4), zero-extended; d is untouched on a fault. LOAD_UPDATE checks for writing as well. */
  LOAD: 12,
  LOAD_UPDATE: 13,
  /** memory[segment x : a] = b, w bytes. */
  STORE: 14,
  // arithmetic with flags: d = a op (b + imm); an immediate operand has the zero cell as b
  ADD: 15,
  ADC: 16,
  SUB: 17,
  SBB: 18,
  AND: 19,
  OR: 20,
  XOR: 21,
  INC: 22,
  DEC: 23,
  NEG: 24,
  /** d = ~a, no flags. */
  NOT: 25,
  // d = a shifted by b + imm; flags unless the masked count is 0
  SHL: 26,
  SHR: 27,
  SAR: 28,
  ROL: 29,
  ROR: 30,
  RCL: 31,
  RCR: 32,
  /** d = a shifted by count c with bits from b. */
  SHLD: 33,
  SHRD: 34,
  /** d = low half, c = high half of a * b. */
  MUL: 35,
  IMUL: 36,
  /** Divides (E)DX:(E)AX, or AX, by a; writes quotient and remainder registers; #DE. */
  DIV: 37,
  IDIV: 38,
  /** CF = bit b of a; d = a with the bit kept, set, reset, complemented (x = 0..3). */
  BIT: 39,
  /** d = a + byte offset of bit b (signed) in units of w bits; x = address size in bits. */
  BIT_ADDRESS: 40,
  /** d = index of lowest / highest set bit of a, or b when a is zero (ZF = 1). */
  BSF: 41,
  BSR: 42,
  BSWAP: 43,
  /** d = condition x ? 1 : 0. */
  SETCC: 44,
  /** d = condition x ? a : b. */
  SELECT: 45,
  /** CLC, STC, CMC, CLD, STD (x). */
  FLAG_BIT: 46,
  /** AH = flags; flags = AH. */
  LAHF: 47,
  SAHF: 48,
  /** d = RIP + imm: address of the next instruction, w bits. */
  NEXT_IP: 49,
  /** #GP(0) unless RIP + imm (or cell a when imm is absent: CHECK_TARGET) is inside the code segment. */
  CHECK_RELATIVE: 50,
  CHECK_TARGET: 51,
  /**
   * RIP += imm in w bits; x = branch kind, b = the instruction's length for a call. With c not 0 the target's BEGIN is
   * micro-op c - 1 of the same block.
   */
  JUMP: 52,
  /** If condition x: RIP += imm in w bits, and the instruction ends (c as JUMP); else goes on. */
  JUMP_IF: 53,
  /** RIP = a; x = branch kind; imm = instruction length (return address of a call). */
  JUMP_TO: 54,
  /** (E)CX -= 1; jump if not zero and condition (x: 0 LOOPNE, 1 LOOPE, 2 LOOP); w = address size; b = length. x = 3: JECXZ. */
  LOOP: 55,
  /** String instruction: x = kind, w = bytes, a = source segment, b = repeat, c = address size, imm = length. */
  STRING: 56,
  /** System helper number imm (helpers.ts) with all other fields. */
  HELPER: 57,
  /** A measuring marker: imm = kind, x = region. */
  MARKER: 58,
  // 64-bit forms; cells are whole
  CONST64: 59,
  MOV64: 60,
  /** d = a + (b << x) + imm (sign-extended), 64 bits. */
  ADDRESS64: 61,
  LOAD64: 62,
  STORE64: 63,
  ADD64: 64,
  SUB64: 65,
  SHLD64: 66,
  /** d = low, c = high of unsigned a * b. */
  MUL64: 67,
  /** d = a >> 31: all ones or zeroes. */
  SIGN: 68,
  /** END and the next instruction's BEGIN in one: RIP += imm; unless the deadline is reached, charge d ticks; x as BEGIN. */
  NEXT: 69,
} as const;

/** Condition codes in encoding order (SDM vol. 1, appendix B). */
export const CONDITIONS = [
  "o",
  "no",
  "b",
  "ae",
  "e",
  "ne",
  "be",
  "a",
  "s",
  "ns",
  "p",
  "np",
  "l",
  "ge",
  "le",
  "g",
] as const;
export const CONDITION = { E: 4, NE: 5 } as const;

/** Kinds of branches, for prediction: which of them use the return stack or the last-target table. */
export const BRANCH = { DIRECT: 0, CONDITIONAL: 1, INDIRECT: 2, CALL: 3, CALL_INDIRECT: 4, RETURN: 5 } as const;

export const REPEAT = { NONE: 0, REP: 1, REPE: 2, REPNE: 3 } as const;
export const STRING_KIND = { MOVS: 0, STOS: 1, LODS: 2, SCAS: 3, CMPS: 4, INS: 5, OUTS: 6 } as const;

export interface MicroOp {
  readonly op: number;
  readonly w: number;
  readonly d: number;
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly x: number;
  /** 32-bit immediate (signed), or a 64-bit one up to 2^53 for the 64-bit forms. */
  readonly imm: number;
}

/** The fields of a micro-op; those left out are 0. All micro-ops have one shape. */
export interface MicroOpFields {
  readonly w?: number;
  readonly d?: number;
  readonly a?: number;
  readonly b?: number;
  readonly c?: number;
  readonly x?: number;
  readonly imm?: number;
}

export function microOp(op: number, fields: MicroOpFields = {}): MicroOp {
  return {
    op,
    w: small(fields.w),
    d: small(fields.d),
    a: small(fields.a),
    b: small(fields.b),
    c: small(fields.c),
    x: small(fields.x),
    imm: small(fields.imm),
  };
}

/**
 * The same number, as V8's small integer if it is one of 32 bits. The result of floating-point arithmetic is none even then, and
 * a field that has once had such a value is a pointer to a number of its own in every micro-op.
 */
function small(value = 0): number {
  const integer = value | 0;
  return integer === value ? integer : value;
}

/**
 * A naive model of the two-operand ALU instructions and of group-2 shifts and rotates, written from the SDM
 * definitions with big integers and bit loops, to check the recorded vectors: nothing of sim/ is used here.
 * Simplification: families `alu` and `shift` (without SHLD and SHRD) only, and only vectors without exception.
 */
import { backgroundByte, type InstructionVector } from "./load.ts";

export interface Expected {
  /** the destination's value, or null when the instruction writes none (CMP, TEST) */
  readonly result: bigint | null;
  readonly flags: number;
  readonly target: Operand;
}

/** A byte, word or doubleword in a register (bit position in the file of eight) or in memory. */
export type Operand = { readonly register: number; readonly shift: number } | { readonly address: number };

const CF = 1;
const PF = 4;
const AF = 0x10;
const ZF = 0x40;
const SF = 0x80;
const OF = 0x800;

/** Bytes of the data window before (or, with `after`, behind) the instruction. */
export function memoryByte(vector: InstructionVector, address: number, after: boolean): number {
  for (const runs of after ? [vector.after.memory, vector.before.memory] : [vector.before.memory]) {
    for (const run of runs) {
      const i = address - run.address;
      if (i >= 0 && i < run.bytes.length) return run.bytes[i]!;
    }
  }
  return backgroundByte(address);
}

/** The operand's value before or after the instruction. */
export function operandValue(vector: InstructionVector, operand: Operand, after: boolean): bigint {
  const bits = vector.form.size;
  let value = 0n;
  if ("register" in operand) {
    const gpr = after ? vector.after.gpr : vector.before.gpr;
    value = BigInt(gpr[operand.register]!) >> BigInt(operand.shift);
  } else {
    for (let i = bits / 8; i-- > 0; ) value = (value << 8n) | BigInt(memoryByte(vector, operand.address + i, after));
  }
  return BigInt.asUintN(bits, value);
}

function registerOperand(number: number, bits: number): Operand {
  return bits === 8 && number > 3 ? { register: number - 4, shift: 8 } : { register: number, shift: 0 };
}

/** Reads little-endian bytes of the instruction, advancing. */
class Cursor {
  at = 0;
  readonly bytes: Uint8Array;
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }
  signed(length: number): bigint {
    let value = 0n;
    for (let i = 0; i < length; i++) value |= BigInt(this.bytes[this.at++]!) << BigInt(8 * i);
    return BigInt.asIntN(8 * length, value);
  }
}

function modrm(cursor: Cursor, gpr: Uint32Array, bits: number): { reg: number; rm: Operand } {
  const byte = cursor.bytes[cursor.at++]!;
  const mod = byte >> 6;
  const reg = (byte >> 3) & 7;
  const low = byte & 7;
  if (mod === 3) return { reg, rm: registerOperand(low, bits) };
  let base = low;
  let address = 0n;
  if (low === 4) {
    const sib = cursor.bytes[cursor.at++]!;
    base = sib & 7;
    const index = (sib >> 3) & 7;
    if (index !== 4) address += BigInt(gpr[index]!) << BigInt(sib >> 6);
  }
  if (mod === 0 && base === 5) address += cursor.signed(4);
  else {
    address += BigInt(gpr[base]!);
    if (mod === 1) address += cursor.signed(1);
    if (mod === 2) address += cursor.signed(4);
  }
  return { reg, rm: { address: Number(BigInt.asUintN(32, address)) } };
}

function resultFlags(result: bigint, bits: number): number {
  let ones = 0;
  for (let i = 0n; i < 8n; i++) ones += Number((result >> i) & 1n);
  return (ones % 2 === 0 ? PF : 0) | (result === 0n ? ZF : 0) | (result >> BigInt(bits - 1) ? SF : 0);
}

/** Operation 0..7 as in the encoding (ADD OR ADC SBB AND SUB XOR CMP); 8 is TEST. */
function arithmetic(
  operation: number,
  a: bigint,
  b: bigint,
  carry: bigint,
  bits: number,
): { result: bigint; flags: number } {
  const signed = (x: bigint): bigint => BigInt.asIntN(bits, x);
  let exact: bigint;
  let signedExact: bigint;
  let nibble: bigint;
  switch (operation) {
    case 0:
    case 2: {
      const c = operation === 2 ? carry : 0n;
      exact = a + b + c;
      signedExact = signed(a) + signed(b) + c;
      nibble = (a & 15n) + (b & 15n) + c;
      break;
    }
    case 3:
    case 5:
    case 7: {
      const c = operation === 3 ? carry : 0n;
      exact = a - b - c;
      signedExact = signed(a) - signed(b) - c;
      nibble = (a & 15n) - (b & 15n) - c;
      break;
    }
    default: {
      exact = operation === 1 ? a | b : operation === 6 ? a ^ b : a & b;
      signedExact = signed(exact);
      nibble = 0n;
    }
  }
  const result = BigInt.asUintN(bits, exact);
  let flags = resultFlags(result, bits);
  if (exact !== result) flags |= CF;
  if (signedExact !== signed(result)) flags |= OF;
  if (nibble < 0n || nibble > 15n) flags |= AF;
  return { result, flags };
}

/** Operation 0..7 as in the encoding (ROL ROR RCL RCR SHL SHR SAL SAR), one bit at a time. */
function shift(
  operation: number,
  value: bigint,
  count: number,
  flagsBefore: number,
  bits: number,
): { result: bigint; flags: number } {
  const top = BigInt(bits - 1);
  let result = value;
  let carry = BigInt(flagsBefore & CF);
  let overflow = flagsBefore & OF ? 1n : 0n;
  for (let i = 0; i < count; i++) {
    const before = result;
    const isLeft = operation === 0 || operation === 2 || operation === 4 || operation === 6;
    const out = isLeft ? before >> top : before & 1n;
    let into = 0n;
    if (operation < 2) into = out;
    else if (operation < 4) into = carry;
    else if (operation === 7) into = before >> top;
    result = isLeft ? BigInt.asUintN(bits, (before << 1n) | into) : (before >> 1n) | (into << top);
    carry = out;
    /* OF of a one-bit shift or rotate: whether the sign changed; SAR keeps it */
    overflow = (before ^ result) >> top;
  }
  const untouched =
    count === 0
      ? flagsBefore & (PF | AF | ZF | SF)
      : operation < 4
        ? flagsBefore & (PF | AF | ZF | SF)
        : resultFlags(result, bits);
  return { result, flags: untouched | Number(carry) | (overflow ? OF : 0) };
}

/** What the SDM says that a vector of family `alu` or `shift` does; null for instructions not modelled here. */
export function expected(vector: InstructionVector): Expected | null {
  const { gpr, eflags } = vector.before;
  const bits = vector.form.size;
  const cursor = new Cursor(vector.bytes);
  while ([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0xf0].includes(vector.bytes[cursor.at]!)) cursor.at++;
  const opcode = vector.bytes[cursor.at++]!;
  const carry = BigInt(eflags & CF);
  const value = (operand: Operand): bigint => operandValue(vector, operand, false);
  const alu = (operation: number, target: Operand, b: bigint): Expected => {
    const { result, flags } = arithmetic(operation, value(target), b, carry, bits);
    return { result: operation >= 7 ? null : result, flags, target };
  };
  const immediate = (length: number): bigint => BigInt.asUintN(bits, cursor.signed(length));
  const accumulator: Operand = { register: 0, shift: 0 };

  if (opcode === 0x0f) return null;
  if (opcode < 0x40) {
    const operation = opcode >> 3;
    if ((opcode & 7) >= 4) return alu(operation, accumulator, immediate(bits / 8));
    const { reg, rm } = modrm(cursor, gpr, bits);
    const register = registerOperand(reg, bits);
    return opcode & 2 ? alu(operation, register, value(rm)) : alu(operation, rm, value(register));
  }
  if (opcode >= 0x80 && opcode <= 0x83) {
    const { reg, rm } = modrm(cursor, gpr, bits);
    return alu(reg, rm, immediate(opcode === 0x81 ? bits / 8 : 1));
  }
  if (opcode === 0x84 || opcode === 0x85) {
    const { reg, rm } = modrm(cursor, gpr, bits);
    return alu(8, rm, value(registerOperand(reg, bits)));
  }
  if (opcode === 0xa8 || opcode === 0xa9) return alu(8, accumulator, immediate(bits / 8));
  if (opcode === 0xf6 || opcode === 0xf7) {
    const { rm } = modrm(cursor, gpr, bits);
    return alu(8, rm, immediate(bits / 8));
  }
  if (opcode === 0xc0 || opcode === 0xc1 || (opcode >= 0xd0 && opcode <= 0xd3)) {
    const { reg, rm } = modrm(cursor, gpr, bits);
    const count = opcode < 0xd0 ? Number(immediate(1)) : opcode < 0xd2 ? 1 : gpr[1]!;
    return { ...shift(reg, value(rm), count & 31, eflags, bits), target: rm };
  }
  return null;
}

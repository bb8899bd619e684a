/** The guest instruction that is being translated, and what its sequence needs to know and to do. */
import { Encoder, type Instruction, OpKind, Register } from "iced-x86";
import type { BtParameters } from "./parameters.ts";
import type { CodeContext } from "./translation.ts";
import type { UnitWriter } from "./unit-writer.ts";

export interface GuestInstruction {
  /** Decoded; reused from one instruction to the next. */
  readonly instruction: Instruction;
  readonly bytes: Uint8Array;
  readonly eip: number;
  readonly length: number;
  /** EIP behind it. */
  readonly next: number;
  readonly context: CodeContext;
  readonly options: BtParameters;
  /** It comes right after STI. */
  readonly shadow: boolean;
  readonly writer: UnitWriter;
}

/** The instruction as 32-bit code, which all code of the cache is; null when it has no such form. */
export function encode32(instruction: Instruction): Uint8Array | null {
  const encoder = new Encoder(32);
  try {
    encoder.encode(instruction, 0n);
    return encoder.takeBuffer();
  } catch {
    return null;
  } finally {
    encoder.free();
  }
}

/**
 * `code` with a general register and the memory operand of `instruction`, which `change` may make another: operand 0 and 1, or
 * 1 and 0.
 */
export function withMemoryOperand(
  instruction: Instruction,
  code: number,
  register: number,
  order: "register, memory" | "memory, register",
  change?: (copy: Instruction) => void,
): Uint8Array {
  const other = instruction.clone();
  try {
    other.code = code;
    if (order === "register, memory") {
      other.op0Kind = OpKind.Register;
      other.op0Register = register;
      other.op1Kind = OpKind.Memory;
    } else {
      other.op0Kind = OpKind.Memory;
      other.op1Kind = OpKind.Register;
      other.op1Register = register;
    }
    change?.(other);
    const bytes = encode32(other);
    if (bytes === null) throw new Error(`translator: no encoding of ${instruction}`);
    return bytes;
  } finally {
    other.free();
  }
}

/** Number of a general register of any width: EAX, AX, AL are 0. AH to BH are not asked for. */
export function registerNumber(register: Register): number {
  if (register >= Register.EAX && register <= Register.EDI) return register - Register.EAX;
  if (register >= Register.AX && register <= Register.DI) return register - Register.AX;
  throw new Error(`translator: register ${register}`);
}
/** Whether a general register is a part of the address of the instruction's memory operand. */
export function isInAddress(instruction: Instruction, register: number): boolean {
  return [instruction.memoryBase, instruction.memoryIndex].some(
    (part) => part !== Register.None && registerNumber(part) === register,
  );
}

/**
 * Every form of every instruction that a profile's processor has outside 64-bit mode, each as bytes: the list that
 * docs/COVERAGE.md shows and that tests run through. A form is one of iced-x86's codes (a row of the manual's opcode
 * tables), once with a register and once with a memory operand where it takes either.
 *
 * Left out: 64-bit forms, VEX and EVEX encodings, and whatever the decoder knows only by option (other vendors, test
 * registers). Operands are one choice of many; addresses are [EBX + displacement], in 16-bit code [BX + displacement].
 */
import {
  Code,
  CodeExt,
  CpuidFeature,
  Encoder,
  EncodingKind,
  Instruction,
  OpCodeOperandKind as Kind,
  Mnemonic,
  type OpCodeInfo,
  OpKind,
  Register,
} from "iced-x86";

export interface InstructionForm {
  /** iced-x86's name of the code, `Add_rm32_r32`. */
  readonly code: string;
  readonly mnemonic: string;
  /** The manual's notation: `ADD r/m32, r32`, and its opcode: `o32 01 /r`. */
  readonly syntax: string;
  readonly opcode: string;
  /** iced-x86's names of the extensions that it belongs to, lower case. */
  readonly features: readonly string[];
  /** Whether an operand in memory was chosen. */
  readonly memory: boolean;
  /** Encoded for a code segment of the wanted size, at address 0. */
  readonly bytes: Uint8Array;
}

/** Displacement of memory operands. */
export const FORM_DISPLACEMENT = 0x140;

const EITHER: Readonly<Record<number, number>> = {
  [Kind.r8_or_mem]: Register.CL,
  [Kind.r16_or_mem]: Register.CX,
  [Kind.r32_or_mem]: Register.ECX,
  [Kind.mm_or_mem]: Register.MM1,
  [Kind.xmm_or_mem]: Register.XMM1,
};
const REGISTERS: Readonly<Record<number, number>> = {
  [Kind.r8_reg]: Register.DL,
  [Kind.r8_opcode]: Register.DL,
  [Kind.r16_reg]: Register.DX,
  [Kind.r16_rm]: Register.DX,
  [Kind.r16_opcode]: Register.DX,
  [Kind.r32_reg]: Register.EDX,
  [Kind.r32_rm]: Register.EDX,
  [Kind.r32_opcode]: Register.EDX,
  [Kind.seg_reg]: Register.DS,
  [Kind.mm_reg]: Register.MM2,
  [Kind.mm_rm]: Register.MM2,
  [Kind.xmm_reg]: Register.XMM2,
  [Kind.xmm_rm]: Register.XMM2,
  [Kind.cr_reg]: Register.CR0,
  [Kind.dr_reg]: Register.DR0,
  [Kind.es]: Register.ES,
  [Kind.cs]: Register.CS,
  [Kind.ss]: Register.SS,
  [Kind.ds]: Register.DS,
  [Kind.fs]: Register.FS,
  [Kind.gs]: Register.GS,
  [Kind.al]: Register.AL,
  [Kind.cl]: Register.CL,
  [Kind.ax]: Register.AX,
  [Kind.dx]: Register.DX,
  [Kind.eax]: Register.EAX,
  [Kind.st0]: Register.ST0,
  [Kind.sti_opcode]: Register.ST1,
};
const IMMEDIATES: Readonly<Record<number, number>> = {
  [Kind.imm8]: OpKind.Immediate8,
  [Kind.imm8_const_1]: OpKind.Immediate8,
  [Kind.imm8sex16]: OpKind.Immediate8to16,
  [Kind.imm8sex32]: OpKind.Immediate8to32,
  [Kind.imm16]: OpKind.Immediate16,
  [Kind.imm32]: OpKind.Immediate32,
};
const BRANCHES: Readonly<Record<number, number>> = {
  [Kind.br16_1]: OpKind.NearBranch16,
  [Kind.br16_2]: OpKind.NearBranch16,
  [Kind.br32_1]: OpKind.NearBranch32,
  [Kind.br32_4]: OpKind.NearBranch32,
};
const MEMORY: readonly number[] = [Kind.mem, Kind.mem_mib, Kind.mem_offs, Kind.seg_rBX_al];
const STRINGS16: Readonly<Record<number, number>> = {
  [Kind.seg_rSI]: OpKind.MemorySegSI,
  [Kind.es_rDI]: OpKind.MemoryESDI,
  [Kind.seg_rDI]: OpKind.MemorySegDI,
};
const STRINGS: Readonly<Record<number, number>> = {
  [Kind.seg_rSI]: OpKind.MemorySegESI,
  [Kind.es_rDI]: OpKind.MemoryESEDI,
  [Kind.seg_rDI]: OpKind.MemorySegEDI,
};

/** All forms that a processor with these extensions decodes in code of `bits` bits, in the order of iced-x86's codes. */
export function instructionForms(features: readonly string[], bits: 16 | 32 = 32): InstructionForm[] {
  const known = new Set(features);
  const forms: InstructionForm[] = [];
  for (let code = 1; Code[code] !== undefined; code++) {
    const info = CodeExt.opCode(code);
    try {
      if (!isLegacyForm(info)) continue;
      const needed = featuresOf(code);
      if (!needed.every((feature) => known.has(feature))) continue;
      for (const memory of memoryChoices(info)) {
        const bytes = encode(info, memory, bits);
        if (bytes !== null) forms.push(describe(info, needed, memory, bytes));
      }
    } finally {
      info.free();
    }
  }
  return forms;
}

function describe(info: OpCodeInfo, features: string[], memory: boolean, bytes: Uint8Array): InstructionForm {
  return {
    code: Code[info.code] as string,
    mnemonic: Mnemonic[info.mnemonic] as string,
    syntax: info.instructionString,
    opcode: info.opCodeString,
    features,
    memory,
    bytes,
  };
}

function isLegacyForm(info: OpCodeInfo): boolean {
  // UD0 without a ModRM byte is what some old processors took 0F FF for; these want the byte.
  if (info.code === Code.Ud0) return false;
  return info.isInstruction && info.encoding === EncodingKind.Legacy && info.mode32 && info.decoderOption === 0;
}

function featuresOf(code: number): string[] {
  const instruction = new Instruction();
  instruction.code = code;
  const features = Array.from(instruction.cpuidFeatures(), (feature) =>
    (CpuidFeature[feature] as string).toLowerCase(),
  );
  instruction.free();
  return features;
}

function operandKinds(info: OpCodeInfo): number[] {
  return Array.from({ length: info.opCount }, (_, operand) => info.opKind(operand));
}

function memoryChoices(info: OpCodeInfo): boolean[] {
  const kinds = operandKinds(info);
  if (kinds.some((kind) => kind in EITHER)) return [false, true];
  return [kinds.some((kind) => MEMORY.includes(kind))];
}

/** The form's bytes with one choice of operands; null where this page has no such operand. */
function encode(info: OpCodeInfo, memory: boolean, bits: 16 | 32): Uint8Array | null {
  const instruction = new Instruction();
  const encoder = new Encoder(bits);
  try {
    instruction.code = info.code;
    for (const [operand, kind] of operandKinds(info).entries()) {
      if (!setOperand(instruction, operand, kind, memory, info.addressSize, bits)) return null;
    }
    encoder.encode(instruction, 0n);
    return encoder.takeBuffer();
  } finally {
    encoder.free();
    instruction.free();
  }
}

function setOperand(
  i: Instruction,
  operand: number,
  kind: number,
  memory: boolean,
  addressSize: number,
  bits: 16 | 32,
): boolean {
  const strings = bits === 16 ? STRINGS16 : STRINGS;
  const register = memory ? REGISTERS[kind] : (EITHER[kind] ?? REGISTERS[kind]);
  if (register !== undefined) {
    i.setOpKind(operand, OpKind.Register);
    i.setOpRegister(operand, register);
  } else if (kind in EITHER || MEMORY.includes(kind)) {
    setMemory(i, operand, kind, addressSize, bits);
  } else if (strings[kind] !== undefined) {
    i.setOpKind(operand, strings[kind]);
  } else if (IMMEDIATES[kind] !== undefined) {
    i.setOpKind(operand, IMMEDIATES[kind]);
    setImmediate(i, operand, IMMEDIATES[kind], kind === Kind.imm8_const_1);
  } else if (BRANCHES[kind] !== undefined) {
    i.setOpKind(operand, BRANCHES[kind]);
    if (BRANCHES[kind] === OpKind.NearBranch16) i.nearBranch16 = 0x10;
    else i.nearBranch32 = 0x10;
  } else if (kind === Kind.farbr2_2 || kind === Kind.farbr4_2) {
    i.setOpKind(operand, kind === Kind.farbr2_2 ? OpKind.FarBranch16 : OpKind.FarBranch32);
    if (kind === Kind.farbr2_2) i.farBranch16 = 0x10;
    else i.farBranch32 = 0x10;
    i.farBranchSelector = 0x08;
  } else {
    return false;
  }
  return true;
}

function setMemory(i: Instruction, operand: number, kind: number, addressSize: number, bits: 16 | 32): void {
  i.setOpKind(operand, OpKind.Memory);
  if (kind === Kind.seg_rBX_al) {
    i.memoryBase = addressSize === 16 || (addressSize === 0 && bits === 16) ? Register.BX : Register.EBX;
    i.memoryIndex = Register.AL;
    return;
  }
  if (kind !== Kind.mem_offs) i.memoryBase = bits === 16 ? Register.BX : Register.EBX;
  i.memoryDisplacement = BigInt(FORM_DISPLACEMENT);
  i.memoryDisplSize = bits / 8;
}

function setImmediate(i: Instruction, operand: number, kind: number, constantOne: boolean): void {
  // The second immediate of ENTER is its nesting level.
  if (operand === 1 && i.opKind(0) === OpKind.Immediate16) {
    i.setOpKind(operand, OpKind.Immediate8_2nd);
    i.immediate8_2nd = 2;
  } else if (kind === OpKind.Immediate8) i.immediate8 = constantOne ? 1 : 3;
  else if (kind === OpKind.Immediate8to16) i.immediate8to16 = 3;
  else if (kind === OpKind.Immediate8to32) i.immediate8to32 = 3;
  else if (kind === OpKind.Immediate16) i.immediate16 = 3;
  else i.immediate32 = 3;
}

/**
 * The builder with which the instruction tables write micro-ops: operands, addresses, the stack, and the count of
 * memory accesses from which an instruction's static cost is made.
 */
import { Code, type Instruction, MemorySizeExt, OpKind, Register } from "iced-x86";
import type { HelperName } from "../helpers.ts";
import { HELPER_NUMBER } from "../helpers.ts";
import { type MicroOp, type MicroOpFields, microOp, OP } from "../micro-ops.ts";
import type { CostName } from "../profiles/profile.ts";
import { CELL, GPR, gprCell, SEG, TEMPORARY_COUNT, temporaryCell } from "../state.ts";

/** What decides how bytes are lifted; part of the code cache's key. */
export interface CodeMode {
  /** Code segment's default size: 16, 32 or 64. */
  readonly bits: number;
  /** Width of the stack pointer that implicit stack accesses use: 16 or 32. */
  readonly stackBits: number;
}

export class Lifter {
  readonly ops: MicroOp[] = [];
  readonly instruction: Instruction;
  readonly mode: CodeMode;
  readonly length: number;
  /** Memory accesses that the instruction's cost must pay for. */
  loads = 0;
  stores = 0;
  /** The instruction sets RIP itself. */
  branches = false;
  /** Replaces the rule's cost for this form. */
  cost: CostName | null = null;
  /** Costs added to the rule's for this form. */
  readonly added: CostName[] = [];
  /** The instruction costs nothing: a measuring marker. */
  free = false;
  /** The bus is locked: a LOCK prefix, or XCHG with memory. */
  locks: boolean;
  #temporaries = 0;
  #address = -1;

  constructor(instruction: Instruction, mode: CodeMode) {
    this.instruction = instruction;
    this.mode = mode;
    this.length = instruction.length;
    this.locks = instruction.hasLockPrefix;
  }

  /** iced-x86's name of the encoding, `Movd_mm_rm32`. */
  get codeName(): string {
    return Code[this.instruction.code] as string;
  }

  emit(op: number, fields: MicroOpFields = {}): void {
    this.ops.push(microOp(op, fields));
  }

  /** A system helper (helpers.ts). */
  helper(name: HelperName, fields: MicroOpFields = {}): void {
    this.emit(OP.HELPER, { ...fields, imm: HELPER_NUMBER[name] });
  }

  temporary(): number {
    if (this.#temporaries === TEMPORARY_COUNT) throw new Error("lift: out of temporaries");
    return temporaryCell(this.#temporaries++);
  }

  constant(value: number): number {
    const d = this.temporary();
    this.emit(OP.CONST, { d, imm: value | 0 });
    return d;
  }

  isRegister(operand: number): boolean {
    return this.instruction.opKind(operand) === OpKind.Register;
  }

  isMemory(operand: number): boolean {
    return this.instruction.opKind(operand) === OpKind.Memory;
  }

  /** Width of an operand in bits. */
  width(operand: number): number {
    const kind = this.instruction.opKind(operand);
    if (kind === OpKind.Register) return registerWidth(this.instruction.opRegister(operand));
    if (kind === OpKind.Memory) return MemorySizeExt.size(this.instruction.memorySize) * 8;
    throw new Error("lift: an immediate has no width of its own");
  }

  /** Second operand of an arithmetic micro-op: a cell, or for an immediate the zero cell and `imm`. */
  operand(operand: number): { readonly b: number; readonly imm: number } {
    const kind = this.instruction.opKind(operand);
    if (kind === OpKind.Register || kind === OpKind.Memory) return { b: this.read(operand), imm: 0 };
    return { b: CELL.zero, imm: this.immediate(operand) | 0 };
  }

  /** Cell with the offset of the memory operand; computed once. A base of ESP counts as moved by `adjustEsp` (POP m). */
  address(adjustEsp = 0, into = -1): number {
    if (this.#address >= 0) return this.#address;
    const instruction = this.instruction;
    const base = instruction.memoryBase;
    const index = instruction.memoryIndex;
    const w = this.addressBits();
    let imm = Number(BigInt.asIntN(32, instruction.memoryDisplacement));
    let a = base === Register.None ? CELL.zero : registerCell(base);
    const b = index === Register.None ? CELL.zero : registerCell(index);
    if (a === GPR.esp && adjustEsp !== 0) {
      if (this.mode.stackBits === 32) imm += adjustEsp;
      else a = this.#movedSp(adjustEsp);
    }
    if (w === 32 && imm === 0 && b === CELL.zero && a !== CELL.zero) {
      this.#address = a;
      return a;
    }
    this.#address = into < 0 ? this.temporary() : into;
    this.emit(OP.ADDRESS, { w, d: this.#address, a, b, x: Math.log2(instruction.memoryIndexScale), imm });
    return this.#address;
  }

  /** ESP after SP has moved: a 16-bit stack pointer wraps and leaves the upper half. */
  #movedSp(bytes: number): number {
    const moved = this.temporary();
    this.emit(OP.MOV, { d: moved, a: GPR.esp });
    this.emit(OP.PUT16, { d: moved, a: this.stackPointer(bytes) });
    return moved;
  }

  /** Address size of the memory operand, from its registers or its displacement. */
  addressBits(): number {
    const base = this.instruction.memoryBase;
    const index = this.instruction.memoryIndex;
    if (base !== Register.None) return registerWidth(base);
    if (index !== Register.None) return registerWidth(index);
    return this.instruction.memoryDisplSize === 2 ? 16 : 32;
  }

  /** Segment (state.ts SEG) of the memory operand. */
  segment(): number {
    return segmentNumber(this.instruction.memorySegment);
  }

  load(w: number, address: number, segment: number, into = -1): number {
    const d = into < 0 ? this.temporary() : into;
    this.loads++;
    this.emit(OP.LOAD, { w: w / 8, d, a: address, x: segment });
    return d;
  }

  store(w: number, address: number, segment: number, value: number): void {
    this.stores++;
    this.emit(OP.STORE, { w: w / 8, a: address, b: value, x: segment });
  }

  /** Cell with an operand's value; bits above its width are undefined. */
  read(operand: number, width = 0): number {
    const instruction = this.instruction;
    const kind = instruction.opKind(operand);
    if (kind === OpKind.Register) return this.readRegister(instruction.opRegister(operand));
    if (kind === OpKind.Memory) return this.load(width || this.width(operand), this.address(), this.segment());
    return this.constant(this.immediate(operand));
  }

  /** Like `read`, for an operand that is written afterwards: a memory operand is checked for writing. */
  readForUpdate(operand: number): number {
    if (!this.isMemory(operand)) return this.read(operand);
    const d = this.temporary();
    this.loads++;
    this.emit(OP.LOAD_UPDATE, { w: this.width(operand) / 8, d, a: this.address(), x: this.segment() });
    return d;
  }

  readRegister(register: number): number {
    const cell = registerCell(register);
    if (!isHighByte(register)) return cell;
    const d = this.temporary();
    this.emit(OP.GET8H, { d, a: cell });
    return d;
  }

  /** Where an operation on an operand may put its result: the register itself when 32 bits wide, else a temporary. */
  target(operand: number): number {
    if (this.isRegister(operand) && this.width(operand) === 32) {
      return registerCell(this.instruction.opRegister(operand));
    }
    return this.temporary();
  }

  /** Writes a cell's value to an operand. */
  write(operand: number, value: number): void {
    if (this.isMemory(operand)) {
      this.store(this.width(operand), this.address(), this.segment(), value);
      return;
    }
    this.writeRegister(this.instruction.opRegister(operand), value);
  }

  writeRegister(register: number, value: number): void {
    const d = registerCell(register);
    switch (registerWidth(register)) {
      case 8:
        this.emit(isHighByte(register) ? OP.PUT8H : OP.PUT8, { d, a: value });
        break;
      case 16:
        this.emit(OP.PUT16, { d, a: value });
        break;
      default:
        if (d !== value) this.emit(OP.MOV, { d, a: value });
    }
  }

  /** Writes `w` bits of general register number `n`. */
  writeGpr(n: number, w: number, value: number): void {
    this.emit(w === 32 ? OP.MOV : w === 16 ? OP.PUT16 : OP.PUT8, { d: gprCell(n), a: value });
  }

  immediate(operand: number): number {
    const instruction = this.instruction;
    switch (instruction.opKind(operand)) {
      case OpKind.Immediate8:
        return instruction.immediate8;
      case OpKind.Immediate8_2nd:
        return instruction.immediate8_2nd;
      case OpKind.Immediate16:
        return instruction.immediate16;
      case OpKind.Immediate32:
        return instruction.immediate32 | 0;
      case OpKind.Immediate8to16:
        return instruction.immediate8to16;
      case OpKind.Immediate8to32:
        return instruction.immediate8to32;
      default:
        throw new Error(`lift: operand kind ${OpKind[instruction.opKind(operand)]}`);
    }
  }

  /** Stack pointer moved by `bytes`; commit it with `commitStack` after the access. */
  stackPointer(bytes: number): number {
    if (bytes === 0 && this.mode.stackBits === 32) return GPR.esp;
    const d = this.temporary();
    this.emit(OP.ADDRESS, { w: this.mode.stackBits, d, a: GPR.esp, b: CELL.zero, imm: bytes });
    return d;
  }

  commitStack(pointer: number): void {
    this.emit(this.mode.stackBits === 16 ? OP.PUT16 : OP.MOV, { d: GPR.esp, a: pointer });
  }

  /** Pushes; the access is part of the instruction's own cost. */
  push(w: number, value: number): void {
    const pointer = this.stackPointer(-w / 8);
    this.emit(OP.STORE, { w: w / 8, a: pointer, b: value, x: SEG.ss });
    this.commitStack(pointer);
  }

  /** Loads the top of the stack, as part of the instruction's own cost; ESP is not yet moved. */
  top(w: number): number {
    const d = this.temporary();
    this.emit(OP.LOAD, { w: w / 8, d, a: this.stackPointer(0), x: SEG.ss });
    return d;
  }

  /** Moves ESP past what `top` read. */
  drop(bytes: number): void {
    if (this.mode.stackBits === 32) this.emit(OP.ADDRESS, { w: 32, d: GPR.esp, a: GPR.esp, b: CELL.zero, imm: bytes });
    else this.commitStack(this.stackPointer(bytes));
  }
}

/** Cell of the general register that holds `register` (any width). */
export function registerCell(register: number): number {
  if (register >= Register.AL && register <= Register.BH) return gprCell((register - Register.AL) & 3);
  if (register >= Register.SPL && register <= Register.R15L) return gprCell(register - Register.SPL + 4);
  if (register >= Register.AX && register <= Register.R15W) return gprCell(register - Register.AX);
  if (register >= Register.EAX && register <= Register.R15D) return gprCell(register - Register.EAX);
  if (register >= Register.RAX && register <= Register.R15) return gprCell(register - Register.RAX);
  throw new Error(`lift: no general register ${Register[register]}`);
}

function isHighByte(register: number): boolean {
  return register >= Register.AH && register <= Register.BH;
}

/** Width in bits of a general, segment, control or debug register. */
export function registerWidth(register: number): number {
  if (register >= Register.AL && register <= Register.R15L) return 8;
  if (register >= Register.AX && register <= Register.R15W) return 16;
  if (register >= Register.EAX && register <= Register.R15D) return 32;
  if (register >= Register.RAX && register <= Register.R15) return 64;
  if (register >= Register.ES && register <= Register.GS) return 16;
  return 32;
}

/** Segment number (state.ts SEG) of a segment register. */
export function segmentNumber(register: number): number {
  return register - Register.ES;
}

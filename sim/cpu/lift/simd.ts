/** Operands of MMX and SSE instructions, for their tables (mmx.ts, sse.ts): which cells, which memory, which checks. */
import { Code, MemorySizeExt, OpKind, Register } from "iced-x86";
import { OP } from "../micro-ops.ts";
import type { CostName } from "../profiles/profile.ts";
import { type SimdOperation, simdOperation } from "../sse/instructions.ts";
import { OPERAND } from "../sse/operands.ts";
import { CELL, GPR, MXCSR, x87RegisterCell, xmmCell } from "../state.ts";
import { type Lifter, registerCell } from "./lifter.ts";
import type { Rule } from "./rule.ts";

const isMmx = (register: number): boolean => register >= Register.MM0 && register <= Register.MM7;
const isXmm = (register: number): boolean => register >= Register.XMM0 && register <= Register.XMM15;

function cellOf(register: number): number {
  if (isXmm(register)) return xmmCell(register - Register.XMM0);
  if (isMmx(register)) return x87RegisterCell(register - Register.MM0);
  return registerCell(register);
}

/** Operands of 16 bytes that may lie anywhere. */
const UNALIGNED = /^(Mov(up[sd]|dqu)|Lddqu)_/;

/** OPERAND bits that follow from the registers and the memory operand. */
function operandBits(l: Lifter): number {
  let bits = 0;
  for (let n = 0; n < l.instruction.opCount; n++) {
    if (l.isMemory(n)) {
      const bytes = MemorySizeExt.size(l.instruction.memorySize);
      if (bytes === 16 && !UNALIGNED.test(Code[l.instruction.code] as string)) bits |= OPERAND.ALIGNED;
      bits |= l.segment();
    } else if (l.isRegister(n)) {
      const register = l.instruction.opRegister(n);
      if (isXmm(register)) bits |= OPERAND.XMM | OPERAND.WIDE;
      if (isMmx(register)) bits |= OPERAND.MMX | (n === 0 ? OPERAND.TO_MMX : 0);
    }
  }
  return bits;
}

const memoryBytes = (l: Lifter): number => MemorySizeExt.size(l.instruction.memorySize);

/** Eight scratch words: four temporaries in a row. */
function scratch(l: Lifter): number {
  const first = l.temporary();
  for (let n = 1; n < 4; n++) l.temporary();
  return first;
}

/** Stores a register, from its word `from` on, or MXCSR. */
function emitStore(l: Lifter, from: number): void {
  const d = l.instruction.opCount > 1 ? cellOf(l.instruction.op1Register) + from : MXCSR;
  const x = operandBits(l) | (d === MXCSR ? OPERAND.XMM : 0);
  l.stores++;
  l.helper("simdStore", { d, a: l.address(), x, w: memoryBytes(l) });
}

function emit(l: Lifter, operation: SimdOperation, flags: number): void {
  const { instruction } = l;
  const count = instruction.opCount;
  const last = count - 1;
  const immediate = last > 0 && instruction.opKind(last) === OpKind.Immediate8 ? l.immediate(last) & 0xff : 0;
  let x = operandBits(l) | flags;
  const b = simdOperation(operation);
  // LDMXCSR has its only operand in memory.
  const sourceAt = count === 1 ? 0 : 1;
  const d = count === 1 ? MXCSR : cellOf(instruction.op0Register);
  if (instruction.opKind(sourceAt) === OpKind.Memory) {
    x |= OPERAND.MEMORY;
    l.loads++;
    l.helper("simd", { b, d, a: l.address(), c: scratch(l), x, w: memoryBytes(l) | (immediate << 16) });
    return;
  }
  const a = l.isRegister(sourceAt) ? cellOf(instruction.opRegister(sourceAt)) : 0;
  l.helper("simd", { b, d, a, c: scratch(l), x, w: immediate << 16 });
}

/** An operation with a register as destination. */
export function simd(operation: SimdOperation, cost: CostName, flags = 0): Rule {
  return { cost, lift: (l) => emit(l, operation, flags) };
}

/** A move, which goes to memory where the first operand is there: from word `from` of the register on. */
export function move(operation: SimdOperation, from = 0): Rule {
  return {
    cost: "simdMove",
    lift(l) {
      if (!l.isMemory(0)) {
        emit(l, operation, 0);
        return;
      }
      l.cost = "simdStore";
      emitStore(l, from);
    },
  };
}

/** A store of a register or MXCSR to memory. */
export function store(cost: CostName): Rule {
  return { cost, lift: (l) => emitStore(l, 0) };
}

/** MASKMOVQ, MASKMOVDQU: the address is (E)DI. */
export function maskedStore(cost: CostName): Rule {
  return {
    cost,
    memoryIncluded: true,
    lift(l) {
      const { instruction } = l;
      let a: number = GPR.edi;
      if (instruction.op0Kind === OpKind.MemorySegDI) {
        a = l.temporary();
        l.emit(OP.ADDRESS, { w: 16, d: a, a: GPR.edi, b: CELL.zero });
      }
      const x = (operandBits(l) & ~OPERAND.TO_MMX) | l.segment();
      const w = isXmm(instruction.op1Register) ? 16 : 8;
      l.helper("maskedStore", { d: cellOf(instruction.op1Register), b: cellOf(instruction.op2Register), a, x, w });
    },
  };
}

/** Rules of instructions whose operations have their names. */
export function rules(cost: CostName, names: readonly SimdOperation[]): Record<string, Rule> {
  return Object.fromEntries(
    names.map((name) => [`${(name[0] as string).toUpperCase()}${name.slice(1)}`, simd(name, cost)]),
  );
}

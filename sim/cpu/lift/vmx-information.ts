/**
 * What the VM exit of a VMX instruction records about its operands (SDM vol. 3, 28.2.1 and tables 28-13, 28-14). It is
 * known when the instruction is lifted: two constants, which travel in temporaries.
 *
 *    31  28 27 26  23 22 21  18 17  15  10  9    7  6  3   1   0
 *   +------+--+------+--+------+------+---+--------+----+-------+
 *   | Reg2 |NB| base |NI| index| seg  |reg| address|Reg1| scale |   NB, NI: no base, no index
 *   +------+--+------+--+------+------+---+--------+----+-------+
 *
 * Bits that the manual leaves undefined are 0.
 */
import { Register } from "iced-x86";
import { type Lifter, registerCell } from "./lifter.ts";

const REGISTER_OPERAND = 1 << 10;
const NO_INDEX = 1 << 22;
const NO_BASE = 1 << 27;
const ADDRESS_32 = 1 << 7;

const numberOf = (register: number): number => registerCell(register) / 2;

/** Displacement of the memory operand, sign-extended. */
function displacement(l: Lifter): number {
  const value = Number(BigInt.asIntN(32, l.instruction.memoryDisplacement));
  return l.addressBits() === 16 ? (value << 16) >> 16 : value;
}

function memoryInformation(l: Lifter): number {
  const { memoryBase, memoryIndex, memoryIndexScale } = l.instruction;
  const base = memoryBase === Register.None ? NO_BASE : numberOf(memoryBase) << 23;
  const index = memoryIndex === Register.None ? NO_INDEX : (numberOf(memoryIndex) << 18) | Math.log2(memoryIndexScale);
  return base | index | (l.segment() << 15) | (l.addressBits() === 32 ? ADDRESS_32 : 0);
}

/**
 * Cell of the qualification, behind which is the one of the instruction information. `operand` is the one that may be in
 * memory; `second` the register operand of VMREAD and VMWRITE that names the field, -1 for the others.
 */
export function vmxInformation(l: Lifter, operand: number, second: number): number {
  const register = second < 0 ? 0 : numberOf(l.instruction.opRegister(second)) << 28;
  if (l.isMemory(operand)) {
    const cell = l.constant(displacement(l));
    l.constant(memoryInformation(l) | register);
    return cell;
  }
  const cell = l.constant(0);
  l.constant(REGISTER_OPERAND | (numberOf(l.instruction.opRegister(operand)) << 3) | register);
  return cell;
}

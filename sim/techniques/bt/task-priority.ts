/**
 * Accesses to the task-priority register of the local APIC, in the data page. An instruction that has kept faulting for it is
 * not sure to reach it again: each time its offset is compared, without touching a flag, and elsewhere the monitor executes
 * it. Writes are left to the monitor as well while the APIC has requests, of which another priority may let one through or
 * hold one back (SDM vol. 3, 10.8.3.1).
 */
import { Code, type Instruction, OpKind, Register } from "iced-x86";
import { type GuestInstruction, registerNumber, withMemoryOperand } from "./guest-instruction.ts";
import { DATA } from "./layout.ts";
import type { RegisterOperand } from "./translation.ts";
import { fromSpill, GS, REG, slotOperand } from "./unit-writer.ts";

/** The task-priority register as an operand through a segment register (SEG); null when it is not one now. */
export type FindRegister = (segment: number, write: boolean) => RegisterOperand | null;

const LOADS: ReadonlySet<Code> = new Set([Code.Mov_r32_rm32, Code.Mov_EAX_moffs32]);
const STORES: ReadonlySet<Code> = new Set([Code.Mov_rm32_r32, Code.Mov_moffs32_EAX, Code.Mov_rm32_imm32]);
const ECX = fromSpill(REG.ecx, 0);
const JECXZ = 0xe3;

/** What writes the sequence; null where the instruction, or its operand, is not of the kind. */
export function taskPrioritySequence(guest: GuestInstruction, find: FindRegister): (() => void) | null {
  const { instruction, context, writer } = guest;
  const write = STORES.has(instruction.code);
  if (context.cpl !== 0 || context.bits !== 32 || (!write && !LOADS.has(instruction.code))) return null;
  if (instruction.op0Kind !== OpKind.Memory && instruction.op1Kind !== OpKind.Memory) return null;
  const operand = find(instruction.memorySegment - Register.ES, write);
  const difference = operand === null ? null : addressMinus(instruction, operand.offset);
  if (operand === null || difference === null) return null;
  return () => {
    writer.relyOn(operand);
    writer.spill(0, REG.ecx);
    writer.repairs(ECX);
    writer.emit(...difference);
    const here = writer.short(JECXZ);
    leaveToMonitor(guest);
    writer.land(here);
    if (write) store(guest);
    else load(guest);
  };
}

/** LEA ECX, [operand - offset], if its address is one of 32 bits. */
function addressMinus(instruction: Instruction, offset: number): Uint8Array | null {
  const parts = [instruction.memoryBase, instruction.memoryIndex].filter((part) => part !== Register.None);
  if (parts.some((part) => part < Register.EAX || part > Register.EDI)) return null;
  if (parts.length === 0 && instruction.memoryDisplSize !== 4) return null;
  return withMemoryOperand(instruction, Code.Lea_r32_m, Register.ECX, "register, memory", (lea) => {
    lea.segmentPrefix = Register.None;
    lea.memoryDisplSize = 4;
    lea.memoryDisplacement = BigInt.asUintN(32, instruction.memoryDisplacement - BigInt(offset));
  });
}

/** From where ECX is spilled. */
function leaveToMonitor({ writer, eip, length }: GuestInstruction): void {
  writer.restore(REG.ecx, 0);
  writer.callOut("instruction", eip, length, true, true);
  writer.guestIs(eip, [ECX]);
}

/** One more access: no flag changes. */
function count({ writer }: GuestInstruction): void {
  writer.load(REG.ecx, DATA.taskPriorityAccesses);
  writer.emit(0x8d, 0x49, 0x01); // LEA ECX, [ECX + 1]
  writer.store(DATA.taskPriorityAccesses, REG.ecx);
}

function load(guest: GuestInstruction): void {
  const { instruction, writer } = guest;
  count(guest);
  writer.restore(REG.ecx, 0);
  writer.load(registerNumber(instruction.op0Register), DATA.taskPriority);
}

function store(guest: GuestInstruction): void {
  const { instruction, writer, next } = guest;
  writer.load(REG.ecx, DATA.requests);
  const none = writer.short(JECXZ);
  leaveToMonitor(guest);
  writer.land(none);
  count(guest);
  if (instruction.op1Kind === OpKind.Immediate32) {
    writer.emitStore(GS, 0xc6, ...slotOperand(0, DATA.taskPriority), instruction.immediate32 & 0xff);
  } else {
    const register = registerNumber(instruction.op1Register);
    if (register === REG.ecx) writer.restore(REG.ecx, 0);
    else writer.emit(0x8b, 0xc8 | register); // MOV ECX, register
    writer.emitStore(GS, 0x88, ...slotOperand(REG.ecx, DATA.taskPriority)); // the register has 8 bits
  }
  writer.guestIs(next, [ECX]);
  writer.restore(REG.ecx, 0);
}

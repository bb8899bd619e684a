/**
 * Control flow. Direct branches lead out of the unit, to the monitor until their target is translated and then to it. A call
 * pushes the guest's return address. Returns and indirect branches look their target up in a table in front of the cache
 * (layout.ts) without touching flags, and call the monitor when it is not there.
 */
import { Code, OpKind, Register } from "iced-x86";
import { type GuestInstruction, registerNumber, withMemoryOperand } from "./guest-instruction.ts";
import type { InstructionKind } from "./instruction-kinds.ts";
import { CACHE_BASE, DATA, LOOKUP, lookupTable } from "./layout.ts";
import type { Repair } from "./translation.ts";
import { fromSpill, JUMP_THROUGH_TARGET, REG, SIZE, word } from "./unit-writer.ts";

const JMP = [0xe9] as const;
const CS = 0x2e;
const SS = 0x36;

/** Writes the branch that ends a unit. */
export function writeBranch(guest: GuestInstruction, kind: InstructionKind): void {
  const { writer, options } = guest;
  writer.end();
  switch (kind) {
    case "jump":
    case "conditional-jump":
    case "loop":
    case "call":
      if (directTarget(guest) > guest.context.limit) callMonitor(guest);
      else direct(guest, kind);
      return;
    default:
      if (options.returnLookup) lookUp(guest, kind);
      else writer.callOut("lookup", guest.eip, guest.length, false);
  }
}

/** The monitor executes the instruction, which ends the unit. */
export function callMonitor({ writer, eip, length }: GuestInstruction): void {
  writer.as("call-out");
  writer.end();
  writer.callOut("instruction", eip, length, false);
}

/** The unit ends before the instruction at `next`. */
export function endBefore({ writer }: Pick<GuestInstruction, "writer">, next: number): void {
  writer.end();
  writer.exit(next, ...JMP);
}

/** Branch targets are decoded relative to address 0. */
function directTarget({ instruction, eip }: GuestInstruction): number {
  return instruction.op0Kind === OpKind.NearBranch16
    ? (eip + instruction.nearBranch16) & 0xffff
    : (eip + instruction.nearBranch32) >>> 0;
}

function direct(guest: GuestInstruction, kind: InstructionKind): void {
  const { instruction, writer, next } = guest;
  const target = directTarget(guest);
  switch (kind) {
    case "conditional-jump":
      // The conditions of iced-x86 are numbered from 1, in the order of encoding.
      writer.exit(target, 0x0f, 0x80 | (instruction.conditionCode - 1));
      writer.guestIs(next, []);
      writer.exit(next, ...JMP);
      return;
    case "loop": {
      const [opcode] = guest.bytes.subarray(guest.length - 2);
      const counter16 = /_CX$|^Jcxz/.test(Code[instruction.code] as string);
      const jump = writer.short(...(counter16 ? [SIZE.address] : []), opcode as number);
      writer.guestIs(next, []);
      writer.exit(next, ...JMP);
      writer.land(jump);
      writer.guestIs(target, []);
      writer.exit(target, ...JMP);
      return;
    }
    case "call":
      pushReturnAddress(guest);
      writer.guestIs(target, []);
  }
  writer.exit(target, ...JMP);
}

function pushReturnAddress({ writer, next, context }: GuestInstruction): void {
  if (context.bits === 32) writer.emit(0x68, ...word(next));
  else writer.emit(SIZE.operand, 0x68, next & 0xff, (next >>> 8) & 0xff);
}

/**
 * Target to ECX; lookup with EAX; jump. Until the jump the state of the guest before the instruction can be had back, and
 * there is nothing that could fault after the stack pointer has moved.
 */
function lookUp(guest: GuestInstruction, kind: InstructionKind): void {
  const { writer, eip, length, context } = guest;
  const table = CACHE_BASE + lookupTable(eip, context.cpl === 3);
  const ecx = fromSpill(REG.ecx, 0);
  const both: readonly Repair[] = [ecx, fromSpill(REG.eax, 1)];

  writer.spill(0, REG.ecx);
  writer.repairs(ecx);
  if (kind === "return") loadFromStack(guest);
  else loadTarget(guest);
  writer.spill(1, REG.eax);
  writer.repairs(...both);
  writer.emit(0x0f, 0xb6, 0xc1); // MOVZX EAX, CL
  writer.emit(CS, 0x8b, 0x04, 0x85, ...word(table)); // MOV EAX, cs:[EAX * 4 + table]
  writer.emit(0x8d, 0x0c, 0x01); // LEA ECX, [ECX + EAX]
  const hit = writer.short(0xe3); // JECXZ
  writer.restore(REG.eax, 1);
  writer.restore(REG.ecx, 0);
  writer.callOut("lookup", eip, length, false);
  writer.land(hit);
  writer.emit(0x0f, 0xb6, 0xc0); // MOVZX EAX, AL
  writer.emit(CS, 0x8b, 0x04, 0x85, ...word(table + LOOKUP.targets));
  writer.store(DATA.jumpTarget, REG.eax);
  writer.restore(REG.eax, 1);
  writer.restore(REG.ecx, 0);
  moveStack(guest, kind);
  writer.emit(...JUMP_THROUGH_TARGET);
}

/** ECX <- the return address on the stack. */
function loadFromStack({ writer, context }: GuestInstruction): void {
  if (context.stackBits === 16) {
    writer.emit(0x0f, 0xb7, 0xcc); // MOVZX ECX, SP
    if (context.bits === 32) writer.emit(SS, 0x8b, 0x09);
    else writer.emit(SS, 0x0f, 0xb7, 0x09);
  } else if (context.bits === 32) writer.emit(0x8b, 0x0c, 0x24);
  else writer.emit(0x0f, 0xb7, 0x0c, 0x24);
}

/** ECX <- the operand of an indirect branch. */
function loadTarget({ instruction, writer, context }: GuestInstruction): void {
  const wide = context.bits === 32;
  if (instruction.op0Kind === OpKind.Memory) {
    const code = wide ? Code.Mov_r32_rm32 : Code.Movzx_r32_rm16;
    writer.emit(...withMemoryOperand(instruction, code, Register.ECX, "register, memory"));
    return;
  }
  const source = 0xc8 | registerNumber(instruction.op0Register);
  if (wide) writer.emit(0x8b, source);
  else writer.emit(0x0f, 0xb7, source);
}

/** What the branch does to the stack; it is undone if the processor stops before the jump. */
function moveStack(guest: GuestInstruction, kind: InstructionKind): void {
  const { instruction, writer, context } = guest;
  const bytes = context.bits / 8;
  const bits = context.stackBits;
  if (kind === "indirect-call") {
    pushReturnAddress(guest);
    writer.repairs({ kind: "add", register: REG.esp, delta: bytes, bits });
  } else if (kind === "return") {
    const delta = bytes + (instruction.opCount > 0 ? instruction.immediate16 : 0);
    // LEA ESP, [ESP + delta]; LEA SP, [ESP + delta]
    writer.emit(...(bits === 16 ? [SIZE.operand] : []), 0x8d, 0xa4, 0x24, ...word(delta));
    writer.repairs({ kind: "add", register: REG.esp, delta: -delta, bits });
  }
}

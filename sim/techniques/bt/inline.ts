/**
 * Sensitive instructions that need no monitor: sequences on virtual state in the data page, through GS. None changes a
 * flag, a register or memory that its instruction leaves alone; what is borrowed is spilled, so that the guest's state can
 * be had at every step.
 */
import { Code, Mnemonic, OpKind, Register } from "iced-x86";
import { FLAG } from "../../cpu/state.ts";
import { type GuestInstruction, isInAddress, registerNumber, withMemoryOperand } from "./guest-instruction.ts";
import { controlSlot, DATA, selectorSlot, spillSlot } from "./layout.ts";
import type { Repair } from "./translation.ts";
import { fromSpill, GS, REG, SIZE, slotOperand, word } from "./unit-writer.ts";

const SS = 0x36;
const JECXZ = 0xe3;
const JMP_SHORT = 0xeb;
/** MOV AL, m8 and back. */
const LOAD_AL = 0x8a;
const STORE_AL = 0x88;
const ECX = fromSpill(REG.ecx, 0);

/** A sequence, or null when this form of the instruction has none. */
type Sequence = (guest: GuestInstruction) => (() => void) | null;

/** For the guest's CPL 0 only. */
const kernel =
  (sequence: Sequence): Sequence =>
  (guest) =>
    guest.context.cpl === 0 ? sequence(guest) : null;

/** Not for virtual-8086 mode, where it depends on IOPL. */
const outside8086 =
  (sequence: Sequence): Sequence =>
  (guest) =>
    guest.context.as8086 && guest.context.cpl === 3 ? null : sequence(guest);

const SEQUENCES: ReadonlyMap<Mnemonic, Sequence> = new Map([
  [Mnemonic.Cli, kernel((guest) => () => guest.writer.storeValue(DATA.ifDelta, -FLAG.IF))],
  [Mnemonic.Sti, kernel((guest) => () => sti(guest))],
  [Mnemonic.Clts, kernel((guest) => () => clts(guest))],
  [Mnemonic.Pushf, outside8086((guest) => () => pushFlags(guest, 16))],
  [Mnemonic.Pushfd, outside8086((guest) => () => pushFlags(guest, 32))],
  [Mnemonic.Popf, kernel((guest) => () => popFlags(guest, 16))],
  [Mnemonic.Popfd, kernel((guest) => () => popFlags(guest, 32))],
  [Mnemonic.Rdtsc, kernel((guest) => () => rdtsc(guest))],
  [Mnemonic.Smsw, (guest) => () => storeWord(guest, controlSlot(0))],
  [Mnemonic.Mov, mov],
  [Mnemonic.Push, pushSelector],
  [Mnemonic.In, kernel((guest) => port80(guest, Code.In_AL_imm8, LOAD_AL))],
  [Mnemonic.Out, kernel((guest) => port80(guest, Code.Out_imm8_AL, STORE_AL))],
]);

/** What writes the sequence for an instruction; null when the monitor is needed. */
export function inlineSequence(guest: GuestInstruction): (() => void) | null {
  return SEQUENCES.get(guest.instruction.mnemonic)?.(guest) ?? null;
}

/** IF is 1, and the next instruction in the shadow; if an interrupt waits, the monitor knows what to do about it. */
function sti({ writer, next }: GuestInstruction): void {
  writer.storeValue(DATA.ifDelta, 0);
  writer.guestIs(next, [], true);
  writer.spill(0, REG.ecx);
  writer.guestIs(next, [ECX], true);
  writer.load(REG.ecx, DATA.pending);
  const none = writer.short(JECXZ);
  writer.restore(REG.ecx, 0);
  writer.callOut("pending", next, 0, true);
  writer.land(none);
  writer.restore(REG.ecx, 0);
}

function clts({ writer, eip, length }: GuestInstruction): void {
  writer.spill(0, REG.ecx);
  writer.repairs(ECX);
  writer.load(REG.ecx, DATA.ts);
  const clear = writer.short(JECXZ);
  writer.restore(REG.ecx, 0);
  writer.callOut("instruction", eip, length, true);
  writer.land(clear);
  writer.restore(REG.ecx, 0);
}

/** The hardware's image, and then IF and IOPL of the guest added to it where it stands. */
function pushFlags({ writer, context }: GuestInstruction, width: 16 | 32): void {
  const { stackBits } = context;
  const operand = width === 16 ? [SIZE.operand] : [];
  const moved: Repair = { kind: "add", register: REG.esp, delta: width / 8, bits: stackBits };
  const registers = [REG.ecx, REG.eax, ...(stackBits === 16 ? [REG.edx] : [])];
  /** With EAX: the top of the stack is at ESP, or at SP, which is in EDX. */
  const top = (opcode: number): void => {
    if (stackBits === 32) writer.emit(...operand, opcode, 0x04, 0x24);
    else writer.emit(SS, ...operand, opcode, 0x02);
  };
  writer.emit(...operand, 0x9c);
  const repairs: Repair[] = [moved];
  writer.repairs(...repairs);
  for (const [n, register] of registers.entries()) {
    writer.spill(n, register);
    repairs.push(fromSpill(register, n));
    writer.repairs(...repairs);
  }
  if (stackBits === 16) writer.emit(0x0f, 0xb7, 0xd4); // MOVZX EDX, SP
  top(0x8b);
  for (const delta of [DATA.ifDelta, DATA.ioplDelta]) {
    writer.load(REG.ecx, delta);
    writer.emit(0x8d, 0x04, 0x08); // LEA EAX, [EAX + ECX]
  }
  top(0x89);
  for (const [n, register] of registers.entries()) writer.restore(register, n);
}

/**
 * The hardware pops what is not virtual. What becomes of IF is looked up by bits 15:8 of the image, and whether TF or IOPL
 * ask for the monitor. If IF is 1 then and an interrupt waits, they do as well.
 */
function popFlags({ writer, eip, length, next, context }: GuestInstruction, width: 16 | 32): void {
  writer.spill(0, REG.ecx);
  writer.repairs(ECX);
  // As wide as the instruction reads, for the address of its fault: MOV ECX, [ESP], or MOVZX ECX, word [ESP].
  const load = width === 32 ? [0x8b] : [0x0f, 0xb7];
  if (context.stackBits === 32) writer.emit(...load, 0x0c, 0x24);
  else {
    writer.emit(0x0f, 0xb7, 0xcc); // MOVZX ECX, SP
    writer.emit(SS, ...load, 0x09);
  }
  writer.emit(0x0f, 0xb6, 0xcd); // MOVZX ECX, CH
  writer.emit(GS, 0x0f, 0xb6, 0x89, ...word(DATA.popFlags)); // MOVZX ECX, byte gs:[ECX + popFlags]
  const slow = writer.short(JECXZ);
  writer.emit(GS, 0x8b, 0x0c, 0x8d, ...word(DATA.ifDeltas)); // MOV ECX, gs:[ECX * 4 + ifDeltas]
  writer.emit(...(width === 16 ? [SIZE.operand] : []), 0x9d);
  writer.guestIs(next, [{ kind: "store", slot: DATA.ifDelta, register: REG.ecx }, ECX]);
  writer.store(DATA.ifDelta, REG.ecx);
  writer.guestIs(next, [ECX]);
  const enabled = writer.short(JECXZ);
  writer.restore(REG.ecx, 0);
  const done = writer.short(JMP_SHORT);
  writer.land(enabled);
  writer.load(REG.ecx, DATA.pending);
  const none = writer.short(JECXZ);
  writer.restore(REG.ecx, 0);
  writer.callOut("pending", next, 0, true);
  writer.land(slow);
  writer.guestIs(eip, [ECX]);
  writer.restore(REG.ecx, 0);
  writer.callOut("instruction", eip, length, true);
  writer.land(none);
  writer.guestIs(next, [ECX]);
  writer.restore(REG.ecx, 0);
  writer.land(done);
}

/** The hardware's counter and the guest's offset. LAHF and SETO keep the flags that the addition changes. */
function rdtsc({ writer }: GuestInstruction): void {
  const registers = [ECX, fromSpill(REG.eax, 1), fromSpill(REG.edx, 2)];
  const [low, high] = [DATA.tscOffset, DATA.tscOffset + 4];
  const flags = spillSlot(3);
  writer.spill(0, REG.ecx);
  writer.spill(1, REG.eax);
  writer.spill(2, REG.edx);
  writer.repairs(...registers);
  writer.emit(0x0f, 0x90, 0xc0); // SETO AL
  writer.emit(0x9f); // LAHF
  writer.store(flags, REG.eax);
  writer.emit(0x0f, 0x31);
  writer.emit(GS, 0x03, ...slotOperand(REG.eax, low)); // ADD EAX, gs:[low]
  writer.repairs({ kind: "flags", slot: flags }, ...registers);
  writer.emit(GS, 0x13, ...slotOperand(REG.edx, high)); // ADC EDX, gs:[high]
  writer.emit(0x8b, 0xc8); // MOV ECX, EAX
  writer.load(REG.eax, flags);
  writer.emit(0x04, 0x7f); // ADD AL, 7Fh: OF
  writer.emit(0x9e); // SAHF: the others
  writer.emit(0x8b, 0xc1); // MOV EAX, ECX
  writer.restore(REG.ecx, 0);
}

/** MOV from CRn, and MOV from a segment register. */
function mov(guest: GuestInstruction): (() => void) | null {
  const { instruction, writer, context } = guest;
  const source = instruction.op1Register;
  if (instruction.code === Code.Mov_r32_cr && context.cpl === 0) {
    const n = source - Register.CR0;
    return [0, 2, 3, 4].includes(n) ? () => writer.load(registerNumber(instruction.op0Register), controlSlot(n)) : null;
  }
  if (instruction.op1Kind !== OpKind.Register || source < Register.ES || source > Register.GS) return null;
  return () => storeWord(guest, selectorSlot(source - Register.ES));
}

/** A word of the data page to a register of 16 or 32 bits, or to 16 bits of memory. */
function storeWord({ instruction, writer }: GuestInstruction, slot: number): void {
  if (instruction.op0Kind === OpKind.Register) {
    const register = instruction.op0Register;
    const operand = register >= Register.EAX ? [] : [SIZE.operand];
    writer.emit(...operand, GS, 0x8b, ...slotOperand(registerNumber(register), slot));
    return;
  }
  const scratch = [REG.eax, REG.ecx, REG.edx].find((each) => !isInAddress(instruction, each)) as number;
  writer.spill(0, scratch);
  writer.repairs(fromSpill(scratch, 0));
  writer.load(scratch, slot);
  writer.emit(...withMemoryOperand(instruction, Code.Mov_rm16_r16, Register.AX + scratch, "memory, register"));
  writer.restore(scratch, 0);
}

function pushSelector({ instruction, writer }: GuestInstruction): (() => void) | null {
  const register = instruction.op0Register;
  if (instruction.op0Kind !== OpKind.Register || register < Register.ES || register > Register.GS) return null;
  const operand = (Code[instruction.code] as string).startsWith("Pushw") ? [SIZE.operand] : [];
  return () => writer.emit(...operand, GS, 0xff, ...slotOperand(6, selectorSlot(register - Register.ES)));
}

/** The register behind port 80h holds what was written to it last. */
function port80({ instruction, writer }: GuestInstruction, code: Code, opcode: number): (() => void) | null {
  if (instruction.code !== code || instruction.immediate8 !== 0x80) return null;
  const operation = [GS, opcode, ...slotOperand(REG.eax, DATA.port80)];
  return () => (opcode === STORE_AL ? writer.emitStore(...operation) : writer.emit(...operation));
}
